package hookgate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store/memory"
)

func hmacHex(secret, text string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// providers are requests as real providers sign them; sign answers the headers for a body at a time.
var providers = []struct {
	name     string
	secret   string
	make     func(...Secret) (Verifier, error)
	sign     func(secret, body string, at time.Time) map[string]string
	stale    bool // the time is signed
	body     string
	typ, key string
}{
	{
		name: "github", secret: "It's a Secret to Everybody, and long", make: signing.GitHub,
		sign: func(secret, body string, _ time.Time) map[string]string {
			return map[string]string{
				"X-Hub-Signature-256": "sha256=" + hmacHex(secret, body), "X-GitHub-Event": "issues",
				"X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
			}
		},
		body: `{"action":"opened","issue":{"number":1}}`, typ: "issues.opened", key: "72d3162e-cc78-11e3-81ab-4c9367dc0958",
	},
	{
		name: "stripe", secret: "whsec_0123456789abcdef0123456789abcdef", make: signing.Stripe, stale: true,
		sign: func(secret, body string, at time.Time) map[string]string {
			ts := fmt.Sprint(at.Unix())
			return map[string]string{"Stripe-Signature": "t=" + ts + ",v1=" + hmacHex(secret, ts+"."+body) + ",v0=00"}
		},
		body: `{"id":"evt_1","type":"charge.succeeded"}`, typ: "charge.succeeded", key: "evt_1",
	},
	{
		name: "standard", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", make: signing.Standard, stale: true,
		sign: func(secret, body string, at time.Time) map[string]string {
			h := http.Header{}
			if err := signing.StandardWebhooks.Sign(h, signing.Message{ID: "msg_1", Time: at, Body: []byte(body)}, []Secret{signing.NewSecret(secret)}); err != nil {
				panic(err)
			}
			out := map[string]string{}
			for name := range h {
				out[name] = h.Get(name)
			}
			return out
		},
		body: `{"type":"contact.created"}`, typ: "contact.created", key: "msg_1",
	},
	{
		name: "slack", secret: "8f742231b10e8888abcd99yyyzzz85a5", make: signing.Slack, stale: true,
		sign: func(secret, body string, at time.Time) map[string]string {
			ts := fmt.Sprint(at.Unix())
			return map[string]string{"X-Slack-Request-Timestamp": ts, "X-Slack-Signature": "v0=" + hmacHex(secret, "v0:"+ts+":"+body)}
		},
		body: `{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}`, typ: "app_mention", key: "Ev1",
	},
}

// TestInboundProviders sends what providers send through a real server: genuine, repeated, changed, stale and unsigned.
func TestInboundProviders(t *testing.T) {
	t.Parallel()
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			g, s := inbound(t, nil)
			v, err := p.make(signing.NewSecret("whsec_"+strings.Repeat("QUJD", 8)), signing.NewSecret(p.secret))
			if err != nil {
				t.Fatal(err)
			}
			addSource(t, g, p.name, Source{Verifier: v})
			mux := http.NewServeMux()
			mux.Handle("/hooks/"+p.name, g.Inbound(p.name))
			srv := httptest.NewServer(mux)
			defer srv.Close()

			post := func(body string, header map[string]string) *http.Response {
				t.Helper()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/hooks/"+p.name, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				for name, value := range header {
					r.Header.Set(name, value)
				}
				resp, err := srv.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				return resp
			}
			now := time.Now()
			if got := post(p.body, nil).StatusCode; got != 401 {
				t.Errorf("unsigned: %d", got)
			}
			if got := post(p.body+" ", p.sign(p.secret, p.body, now)).StatusCode; got != 401 {
				t.Errorf("changed: %d", got)
			}
			if got := post(p.body, p.sign("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", p.body, now)).StatusCode; got != 401 {
				t.Errorf("signed by somebody else: %d", got)
			}
			if p.stale {
				if got := post(p.body, p.sign(p.secret, p.body, now.Add(-6*time.Minute))).StatusCode; got != 401 {
					t.Errorf("stale: %d", got)
				}
			}
			if n := len(s.all(t)); n != 0 {
				t.Fatalf("%d events before any was genuine", n)
			}
			first := post(p.body, p.sign(p.secret, p.body, now))
			again := post(p.body, p.sign(p.secret, p.body, now.Add(time.Second)))
			events := s.all(t)
			if first.StatusCode != 200 || again.StatusCode != 200 || len(events) != 1 {
				t.Fatalf("genuine: %d, repeated: %d, %d events", first.StatusCode, again.StatusCode, len(events))
			}
			ev := events[0]
			if id := ev.ID.String(); first.Header.Get(EventIDHeader) != id || again.Header.Get(EventIDHeader) != id {
				t.Errorf("answered %s and %s, stored %s", first.Header.Get(EventIDHeader), again.Header.Get(EventIDHeader), id)
			}
			if ev.Type != p.typ || ev.IdempotencyKey != p.key || ev.Source != p.name || string(ev.Payload) != p.body || ev.ContentType != "application/json" {
				t.Errorf("stored %+v", ev)
			}
			for name := range ev.Header {
				if strings.Contains(strings.ToLower(name), "signature") {
					t.Errorf("kept %s", name)
				}
			}
			list, err := g.Rejected(p.name)
			if err != nil || len(list) < 3 {
				t.Fatalf("%d rejected, %v", len(list), err)
			}
			text := fmt.Sprintf("%+v", list)
			if strings.Contains(text, p.secret) || strings.Contains(text, hmacHex(p.secret, p.body)) {
				t.Errorf("the rejected show a secret or a signature: %s", text)
			}
		})
	}
}

// TestInboundForwards is the whole way: a provider's request becomes an event, and goes to a typed handler and, byte for
// byte and signed by us, to an endpoint that subscribes to the source.
func TestInboundForwards(t *testing.T) {
	t.Parallel()
	type issue struct {
		Action string `json:"action"`
	}
	type arrival struct {
		header http.Header
		body   []byte
	}
	arrived := make(chan arrival, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- arrival{r.Header, body}
	}))
	defer receiver.Close()

	s, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g, err := New(&Config{Store: s, PlainSecrets: true, AllowPrivate: prefixes("127.0.0.0/8", "::1/128")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	p := providers[0]
	v, err := p.make(signing.NewSecret(p.secret))
	if err != nil {
		t.Fatal(err)
	}
	addSource(t, g, "github", Source{Verifier: v})
	called := make(chan issue, 1)
	err = On(g, "issues", Subscription{Source: "github", Types: []string{"issues.*"}}, func(_ context.Context, ev *Event, v issue) error {
		called <- v
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := g.CreateEndpoint(t.Context(), Endpoint{URL: receiver.URL, Subscriptions: []Subscription{{Source: "github"}}})
	if err != nil {
		t.Fatal(err)
	}

	r := httptest.NewRequest(http.MethodPost, "/in", strings.NewReader(p.body))
	r.Header.Set("Content-Type", "application/json")
	for name, value := range p.sign(p.secret, p.body, time.Now()) {
		r.Header.Set(name, value)
	}
	resp := deliverTo(g.Inbound("github"), r)
	if resp.StatusCode != 200 {
		t.Fatal(resp.StatusCode)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- g.Run(ctx) }()

	if v := <-called; v.Action != "opened" {
		t.Errorf("the handler got %+v", v)
	}
	got := <-arrived
	if !bytes.Equal(got.body, []byte(p.body)) || got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Github-Event") != "issues" {
		t.Errorf("forwarded %q %v", got.body, got.header)
	}
	if got.header.Get("X-Hub-Signature-256") != "" || got.header.Get("Webhook-Id") != resp.Header.Get(EventIDHeader) {
		t.Errorf("forwarded with %v", got.header)
	}
	ours := standardVerifier(t, secret)
	if _, err := ours.Verify(&signing.Request{Method: http.MethodPost, Header: got.header, Body: got.body}); err != nil {
		t.Errorf("what we sent does not verify: %v", err)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// TestRejectedOfAFolder keeps the ring in the gateway's folder, sealed, over a restart.
func TestRejectedOfAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Gateway {
		g, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "new"}})
		return g
	}
	g := open()
	if got := deliverTo(g.Inbound("src"), good("body", "X-Token", "mended")).StatusCode; got != 401 {
		t.Fatal(got)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = open()
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	list, err := g.Rejected("src")
	if err != nil || len(list) != 1 || string(list[0].Body) != "body" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := g.ReplaceVerifier("src", &tokenVerifier{token: "mended"}); err != nil {
		t.Fatal(err)
	}
	receipt, err := g.VerifyAgain(t.Context(), "src", list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	page, err := g.Events(t.Context(), EventQuery{IDs: []ID{receipt.ID}})
	if err != nil || len(page.Items) != 1 || string(page.Items[0].Payload) != "body" {
		t.Errorf("%+v, %v", page.Items, err)
	}
}
