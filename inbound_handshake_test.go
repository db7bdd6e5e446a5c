package hookgate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
)

const handshakeSecret = "a secret of the events"

// handshakeRow is a row with a handshake of every method.
func handshakeRow() signing.Scheme {
	return signing.Scheme{
		Name: "many", Signature: signing.Header("X-Signature"),
		Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
		Type: signing.JSON("type"), ID: signing.JSON("id"),
		Handshakes: []signing.Handshake{
			{
				Method: http.MethodGet, When: []signing.Match{{Part: signing.Query("hub.mode"), Value: "subscribe"}},
				Token: signing.Query("hub.verify_token"), TokenSecret: signing.NewSecret("our verify token"), Challenge: signing.Query("hub.challenge"),
			},
			{Method: http.MethodHead, Reply: &signing.Reply{}},
			{
				Method: http.MethodOptions, Challenge: signing.Header("WebHook-Request-Origin"), Allowed: []string{"events.test"}, ReplyHeader: "WebHook-Allowed-Origin",
				Reply: &signing.Reply{Header: http.Header{"Allow": {"POST"}, "Webhook-Allowed-Rate": {"*"}}},
			},
			{Challenge: signing.Query("validationToken")},
			{When: []signing.Match{{Part: signing.JSON("type"), Value: "ping"}}, Signed: true, Reply: &signing.Reply{Status: http.StatusNoContent}},
			{Challenge: signing.Header("X-Hook-Secret"), Delivers: true, ReplyHeader: "X-Hook-Secret"},
		},
	}
}

func rowVerifier(t *testing.T, s signing.Scheme) Verifier {
	t.Helper()
	v, err := signing.NewVerifier(s, signing.NewSecret(handshakeSecret))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func handshakeMAC(body string) string {
	mac := hmac.New(sha256.New, []byte(handshakeSecret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// ask sends a request of "Name: value" lines to a real server, and reads the answer.
func ask(t *testing.T, server *httptest.Server, method, path, body string, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// TestHandshakesOverTheWire: every method, good and bad, through a server; nothing of it is stored.
func TestHandshakesOverTheWire(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: rowVerifier(t, handshakeRow()), Status: 403, MaxBody: 1000})
	server := httptest.NewServer(g.Inbound("src"))
	t.Cleanup(server.Close)
	before := s.calls.Load()
	for _, c := range []struct {
		method, path, body string
		lines              []string
		status             int
		text               string
		header             string
	}{
		{"GET", "/?hub.mode=subscribe&hub.verify_token=our+verify+token&hub.challenge=42", "", nil, 200, "42", "Content-Type: text/plain; charset=utf-8"},
		{"GET", "/?hub.mode=subscribe&hub.verify_token=another+token&hub.challenge=42", "", nil, 403, "forbidden\n", ""},
		{"GET", "/", "", nil, 400, "bad request\n", ""},
		{"HEAD", "/", "", nil, 200, "", "Content-Length: 0"},
		{"OPTIONS", "/", "", []string{"WebHook-Request-Origin: events.test"}, 200, "", "WebHook-Allowed-Origin: events.test"},
		{"OPTIONS", "/", "", []string{"WebHook-Request-Origin: events.test"}, 200, "", "WebHook-Allowed-Rate: *"},
		{"OPTIONS", "/", "", []string{"WebHook-Request-Origin: other.test"}, 403, "forbidden\n", "WebHook-Allowed-Origin: "},
		{"OPTIONS", "/", "", nil, 400, "bad request\n", ""},
		{"POST", "/?validationToken=a%3Cb", "", nil, 200, "a<b", "X-Content-Type-Options: nosniff"},
		{"POST", "/", `{"type":"ping"}`, []string{"X-Signature: " + handshakeMAC(`{"type":"ping"}`)}, 204, "", "Content-Type: "},
		{"POST", "/", `{"type":"ping"}`, []string{"X-Signature: " + handshakeMAC(`{}`)}, 403, "forbidden\n", ""},
		{"DELETE", "/?hub.mode=subscribe&hub.verify_token=our+verify+token&hub.challenge=42", "", nil, 405, "method not allowed\n", "Allow: POST, GET, HEAD, OPTIONS"},
		{"PUT", "/?validationToken=a", "", nil, 405, "method not allowed\n", "Allow: POST, GET, HEAD, OPTIONS"},
		{"POST", "/?validationToken=a", strings.Repeat("x", 1001), nil, 413, "request entity too large\n", ""},
	} {
		resp, text := ask(t, server, c.method, c.path, c.body, c.lines...)
		if resp.StatusCode != c.status || text != c.text {
			t.Errorf("%s %s %v: %d %q", c.method, c.path, c.lines, resp.StatusCode, text)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok && resp.Header.Get(name) != value {
			t.Errorf("%s %s: %s is %q", c.method, c.path, name, resp.Header.Get(name))
		}
		if resp.Header.Get(EventIDHeader) != "" {
			t.Errorf("%s %s became an event", c.method, c.path)
		}
	}
	if n := s.calls.Load() - before; n != 0 {
		t.Errorf("handshakes called the store %d times", n)
	}
	list, err := g.Rejected("src")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 8 {
		t.Errorf("%d requests are among the rejected", len(list))
	}
	for _, it := range list {
		if text := fmt.Sprint(it); strings.Contains(text, "token=") || strings.Contains(text, "our verify") {
			t.Errorf("a rejected handshake shows its token: %s", text)
		}
	}
	body := `{"type":"made","id":"1"}`
	if resp, _ := ask(t, server, "POST", "/", body, "X-Signature: "+handshakeMAC(body)); resp.StatusCode != 200 || len(s.all(t)) != 1 {
		t.Errorf("an event of the same source: %d", resp.StatusCode)
	}
}

// TestHandshakesComeAfterTheCheapChecks: who may not call and who calls too often learns nothing from a handshake.
func TestHandshakesComeAfterTheCheapChecks(t *testing.T) {
	t.Parallel()
	g, _ := inbound(t, nil)
	const good = "/?hub.mode=subscribe&hub.verify_token=our+verify+token&hub.challenge=42"
	addSource(t, g, "nobody", Source{Verifier: rowVerifier(t, handshakeRow()), Allow: []netip.Prefix{}})
	addSource(t, g, "slow", Source{Verifier: rowVerifier(t, handshakeRow()), Rate: 0.001})
	nobody, slow := httptest.NewServer(g.Inbound("nobody")), httptest.NewServer(g.Inbound("slow"))
	t.Cleanup(nobody.Close)
	t.Cleanup(slow.Close)
	if resp, text := ask(t, nobody, "GET", good, ""); resp.StatusCode != 403 || strings.Contains(text, "42") {
		t.Errorf("from an address that is not allowed: %d %q", resp.StatusCode, text)
	}
	if resp, text := ask(t, slow, "GET", good, ""); resp.StatusCode != 200 || text != "42" {
		t.Errorf("the first: %d %q", resp.StatusCode, text)
	}
	if resp, _ := ask(t, slow, "GET", good, ""); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the second: %d %v", resp.StatusCode, resp.Header)
	}
}

// TestDeliveredSecretIsNotKept: a secret that nobody waited for is in no list, no log and no answer.
func TestDeliveredSecretIsNotKept(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	g, _ := inbound(t, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	row := handshakeRow()
	addSource(t, g, "src", Source{Verifier: rowVerifier(t, row)})
	w := deliverTo(g.Inbound("src"), shakeHand())
	if w.StatusCode != 401 || w.Header.Get("X-Hook-Secret") != "" {
		t.Errorf("nobody waits: %d %v", w.StatusCode, w.Header)
	}
	list, err := g.Rejected("src")
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Reason, "OnSecret") {
		t.Fatalf("the operator sees %+v, %v", list, err)
	}
	kept := g.inbound.source("src").rejected.get(list[0].ID)
	if text := fmt.Sprintf("%v %s %+v %s", list, list[0].Body, *kept, kept.Body) + out.String(); strings.Contains(text, "b537207f") || strings.Contains(text, "from the body") {
		t.Errorf("the secret is kept: %s", text)
	}
	if _, err := g.VerifyAgain(t.Context(), "src", list[0].ID); err == nil {
		t.Error("a request without its body is verified")
	}

	got := ""
	for i := range row.Handshakes {
		row.Handshakes[i].Deliver = func(_ context.Context, s signing.Secret) error { got = s.Reveal(); return nil }
	}
	if err := g.ReplaceVerifier("src", rowVerifier(t, row)); err != nil {
		t.Fatal(err)
	}
	if w := deliverTo(g.Inbound("src"), shakeHand()); w.StatusCode != 200 || w.Header.Get("X-Hook-Secret") != "b537207f20cbfa02" || got != "b537207f20cbfa02" {
		t.Errorf("somebody waits: %d %v, delivered %q", w.StatusCode, w.Header, got)
	}
	if strings.Contains(out.String(), "b537207f") {
		t.Errorf("the log shows the secret: %s", out.String())
	}
}

func shakeHand() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://hooks.example.test/in?s=b537207f20cbfa02", strings.NewReader("from the body b537207f20cbfa02"))
	r.Header.Set("X-Hook-Secret", "b537207f20cbfa02")
	return r
}

// TestAnswerComesWhenTheEventIsSafe: the provider's words are said for an event that is stored, and for its repeat.
func TestAnswerComesWhenTheEventIsSafe(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	row := handshakeRow()
	row.Answer = &signing.Reply{Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("[accepted]")}
	addSource(t, g, "src", Source{Verifier: rowVerifier(t, row)})
	server := httptest.NewServer(g.Inbound("src"))
	t.Cleanup(server.Close)
	body := `{"type":"made","id":"1"}`
	sign := "X-Signature: " + handshakeMAC(body)

	full := error(store.ErrFull)
	s.err.Store(&full)
	if resp, text := ask(t, server, "POST", "/", body, sign); resp.StatusCode != 503 || strings.Contains(text, "accepted") {
		t.Errorf("an event that is not stored: %d %q", resp.StatusCode, text)
	}
	s.err.Store(nil)
	first := ""
	for range 2 {
		resp, text := ask(t, server, "POST", "/", body, sign)
		if resp.StatusCode != 200 || text != "[accepted]" || resp.Header.Get("Content-Type") != "text/plain" || resp.Header.Get(EventIDHeader) == "" {
			t.Errorf("got %d %q %v", resp.StatusCode, text, resp.Header)
		}
		if first != "" && resp.Header.Get(EventIDHeader) != first {
			t.Errorf("the repeat is another event")
		}
		first = resp.Header.Get(EventIDHeader)
	}
	for what, c := range map[string][]string{
		"a forged event": {`{"type":"made","id":"2"}`, sign},
		"a conflict":     {`{"type":"made","id":"1","x":1}`, "X-Signature: " + handshakeMAC(`{"type":"made","id":"1","x":1}`)},
	} {
		if resp, text := ask(t, server, "POST", "/", c[0], c[1]); resp.StatusCode/100 != 4 || strings.Contains(text, "accepted") {
			t.Errorf("%s: %d %q", what, resp.StatusCode, text)
		}
	}
	if n := len(s.all(t)); n != 1 {
		t.Errorf("%d events are stored", n)
	}
}

// badAnswer answers what no stored event may be answered.
type badAnswer struct{ tokenVerifier }

func (*badAnswer) Answer(*signing.Request) *signing.Reply {
	return &signing.Reply{Status: 500, Body: []byte("x")}
}

func TestAnswerCannotDenyAnEvent(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: &badAnswer{tokenVerifier{token: "good"}}})
	if got := deliverTo(g.Inbound("src"), good("event")).StatusCode; got != 200 || len(s.all(t)) != 1 {
		t.Errorf("a stored event is answered %d", got)
	}
}

// keyless cannot fetch the keys that it verifies with.
type keyless struct{ handshake bool }

func (keyless) Verify(*signing.Request) (signing.Verdict, error) {
	return signing.Verdict{}, &signing.Error{Scheme: "keyless", Kind: signing.ErrUnavailable, Detail: "no route"}
}

func (keyless) HandshakeMethods() []string { return nil }

func (k keyless) Handshake(r *signing.Request) (*signing.Reply, error) {
	if k.handshake {
		_, err := k.Verify(r)
		return nil, err
	}
	return nil, nil
}

// TestWithoutKeysComeAgain: a request that may be good is not refused for good, and the log says why.
func TestWithoutKeysComeAgain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	g, s := inbound(t, slog.New(slog.NewTextHandler(&out, nil)))
	addSource(t, g, "event", Source{Verifier: keyless{}})
	addSource(t, g, "shake", Source{Verifier: keyless{handshake: true}})
	for _, name := range []string{"event", "shake"} {
		if resp := deliverTo(g.Inbound(name), good("event")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "10" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
		if !strings.Contains(out.String(), "source="+name) {
			t.Errorf("%s: the log says %s", name, out.String())
		}
	}
	if len(s.all(t)) != 0 {
		t.Error("an event that nobody proved")
	}
}
