package hookgate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/memory"
)

// watchedStore counts every call, and can be made to refuse or to wait.
type watchedStore struct {
	Store
	calls   atomic.Int64
	commits atomic.Int64
	err     atomic.Pointer[error]
	before  atomic.Pointer[func()] // called by each Commit
}

func (s *watchedStore) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	s.calls.Add(1)
	s.commits.Add(1)
	if before := s.before.Load(); before != nil {
		(*before)()
	}
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Commit(ctx, b)
}

func (s *watchedStore) Claim(ctx context.Context, r store.ClaimRequest) (*store.ClaimResult, error) {
	s.calls.Add(1)
	return s.Store.Claim(ctx, r)
}

func (s *watchedStore) Events(ctx context.Context, q EventQuery) (store.Page[Event], error) {
	s.calls.Add(1)
	return s.Store.Events(ctx, q)
}

func (s *watchedStore) Docs(ctx context.Context, q store.DocQuery) (store.Page[store.Doc], error) {
	s.calls.Add(1)
	return s.Store.Docs(ctx, q)
}

func (s *watchedStore) Stats(ctx context.Context) (Stats, error) {
	s.calls.Add(1)
	return s.Store.Stats(ctx)
}

// all answers every event in the order of acceptance, past the counters.
func (s *watchedStore) all(t testing.TB) []Event {
	t.Helper()
	page, err := s.Store.Events(t.Context(), EventQuery{Tenant: AllTenants, Oldest: true, Page: Paging{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	return page.Items
}

// tokenVerifier believes whoever says "good" in X-Token, which no real scheme should.
type tokenVerifier struct {
	calls atomic.Int64
	token string
}

func (v *tokenVerifier) Verify(r *signing.Request) (signing.Verdict, error) {
	v.calls.Add(1)
	if r.Header.Get("X-Token") != v.token {
		return signing.Verdict{}, fmt.Errorf("%w: X-Token is not what it should be", signing.ErrRefused)
	}
	return signing.Verdict{Type: r.Header.Get("X-Event"), ID: r.Header.Get("X-Delivery"), OrderingKey: r.Header.Get("X-Order")}, nil
}

// shakingVerifier answers a challenge in the query of a GET, and one in the body of a POST before any proof.
type shakingVerifier struct{ tokenVerifier }

func (v *shakingVerifier) HandshakeMethods() []string {
	return []string{http.MethodGet, http.MethodPost}
}

func (v *shakingVerifier) Handshake(r *signing.Request) (*signing.Reply, error) {
	if _, challenge, ok := strings.Cut(r.URL, "challenge="); ok && r.Method == http.MethodGet {
		if challenge == "wrong" {
			return nil, fmt.Errorf("%w: not ours", signing.ErrRefused)
		}
		return &signing.Reply{Body: []byte(challenge)}, nil
	}
	if challenge, ok := bytes.CutPrefix(r.Body, []byte("challenge:")); ok {
		return &signing.Reply{Status: 202, Header: http.Header{"Content-Type": {"application/json"}}, Body: challenge}, nil
	}
	return nil, nil
}

// inbound makes a gateway that only receives, over a watched store.
func inbound(t testing.TB, log *slog.Logger) (*Gateway, *watchedStore) {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	inner, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &watchedStore{Store: inner}
	g, err := New(&Config{Store: s, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, s
}

func addSource(t testing.TB, g *Gateway, name string, s Source) {
	t.Helper()
	if err := g.AddSource(name, s); err != nil {
		t.Fatal(err)
	}
}

// good is a request that tokenVerifier believes.
func good(body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://hooks.example.test/in?a=b", strings.NewReader(body))
	r.RemoteAddr = "192.0.2.1:4711"
	r.Header.Set("X-Token", "good")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func deliverTo(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// reader counts what is read of it.
type reader struct {
	io.Reader
	n int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}

func (r *reader) Close() error { return nil }

// TestInboundRefusesInOrder walks through the steps: each refusal has its status, nothing of a later step has happened,
// and the store was not touched before the sender was proven.
func TestInboundRefusesInOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		source   Source
		change   func(r *http.Request)
		body     string
		status   int
		read     bool // the body may be read
		verified int64
		stored   int64
		ring     bool
		reason   string
		header   [2]string
	}{
		{name: "method", change: func(r *http.Request) { r.Method = "GET" }, status: 405, ring: true, reason: "POST", header: [2]string{"Allow", "POST"}},
		{name: "head", change: func(r *http.Request) { r.Method = "HEAD" }, status: 405, ring: true, reason: "POST", header: [2]string{"Allow", "POST"}},
		{name: "method before size", source: Source{MaxBody: 3}, change: func(r *http.Request) { r.Method = "PUT" }, status: 405, ring: true, header: [2]string{"Allow", "POST"}},
		{name: "announced size", source: Source{MaxBody: 3, Allow: []netip.Prefix{}}, status: 413, ring: true, reason: "larger than 3"},
		{name: "address", source: Source{Allow: prefixes("198.51.100.0/24"), Rate: 1e-9}, status: 403, ring: true, reason: "192.0.2.1"},
		{name: "nobody", source: Source{Allow: prefixes()}, status: 403, ring: true},
		{name: "size", source: Source{MaxBody: 3}, change: func(r *http.Request) { r.ContentLength = -1 }, status: 413, read: true, ring: true},
		{name: "broken body", change: func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("bo"), failingReader{io.ErrUnexpectedEOF}))
		}, status: 400, read: true, ring: true, reason: "after 2 bytes"},
		{name: "body read by a middleware", change: func(r *http.Request) { _, _ = io.ReadAll(r.Body) }, status: 500, read: true, ring: true, reason: "middleware"},
		{name: "signature", change: func(r *http.Request) { r.Header.Del("X-Token") }, status: 401, read: true, verified: 1, ring: true, reason: "X-Token is not"},
		{name: "signature, status of the source", source: Source{Status: 403}, change: func(r *http.Request) { r.Header.Set("X-Token", "bad") }, status: 403, read: true, verified: 1, ring: true},
		{name: "check", source: Source{Check: func(*http.Request, []byte) error { return errors.New("no amount") }}, status: 422, read: true, verified: 1, ring: true, reason: "no amount"},
		{name: "accepted", status: 200, read: true, verified: 1, stored: 1},
		{name: "accepted from an allowed address", source: Source{Allow: prefixes("::ffff:192.0.2.0/120")}, status: 200, read: true, verified: 1, stored: 1},
		{name: "accepted at the limit", source: Source{MaxBody: 4}, status: 200, read: true, verified: 1, stored: 1},
		{name: "accepted, empty", body: "-", status: 200, read: true, verified: 1, stored: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, s := inbound(t, nil)
			v := &tokenVerifier{token: "good"}
			c.source.Verifier = v
			addSource(t, g, "src", c.source)
			before := s.calls.Load()

			body := &reader{Reader: strings.NewReader("body")}
			r := good("body")
			r.Body = body
			if c.body == "-" {
				r = good("")
			}
			if c.change != nil {
				c.change(r)
			}
			resp := deliverTo(g.Inbound("src"), r)
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
			if !c.read && resp.Header.Get("Connection") != "close" {
				t.Error("the server may go on reading the body")
			}
			if c.header[0] != "" && resp.Header.Get(c.header[0]) != c.header[1] {
				t.Errorf("%s is %q, want %q", c.header[0], resp.Header.Get(c.header[0]), c.header[1])
			}
			if !c.read && body.n > 0 {
				t.Errorf("%d bytes of the body were read", body.n)
			}
			if got := v.calls.Load(); got != c.verified {
				t.Errorf("the verifier was asked %d times, want %d", got, c.verified)
			}
			if got := int64(len(s.all(t))); got != c.stored {
				t.Errorf("%d events stored, want %d", got, c.stored)
			}
			if got := s.calls.Load() - before; c.stored == 0 && got != 0 {
				t.Errorf("the store was called %d times", got)
			}
			if id := resp.Header.Get(EventIDHeader); (id != "") != (c.stored == 1) {
				t.Errorf("%s is %q", EventIDHeader, id)
			}
			list, err := g.Rejected("src")
			if err != nil || (len(list) == 1) != c.ring {
				t.Fatalf("%d rejected, %v", len(list), err)
			}
			if c.ring && (list[0].Status != c.status || !strings.Contains(list[0].Reason, c.reason) || list[0].Remote != "192.0.2.1") {
				t.Errorf("kept as %+v, want the reason to say %q", list[0], c.reason)
			}
			text, _ := io.ReadAll(resp.Body)
			if c.reason != "" && strings.Contains(string(text), c.reason) {
				t.Errorf("the stranger was told %q", text)
			}
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func prefixes(list ...string) []netip.Prefix {
	out := []netip.Prefix{}
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestInboundOfUnknownSourceIs404UntilItIsAdded(t *testing.T) {
	t.Parallel()
	g, _ := inbound(t, nil)
	h := g.Inbound("later")
	if got := deliverTo(h, good("x")).StatusCode; got != 404 {
		t.Errorf("status %d before AddSource", got)
	}
	addSource(t, g, "later", Source{Verifier: &tokenVerifier{token: "good"}})
	if got := deliverTo(h, good("x")).StatusCode; got != 200 {
		t.Errorf("status %d after AddSource", got)
	}
}

func TestInboundStoresWhatCame(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}, Tenant: "acme"})
	body := "\x1f\x8b\x00 not unpacked \xff"
	r := good(body, "X-Event", "Push Hook", "X-Delivery", "d-1", "X-Order", "repo 7", "Content-Type", "application/json",
		"Content-Encoding", "gzip", "User-Agent", "prov/1", "Authorization", "Bearer secret", "Cookie", "c=secret",
		"X-Signature", "secret", "X-Topic", "t")
	resp := deliverTo(g.Inbound("src"), r)
	events := s.all(t)
	if resp.StatusCode != 200 || len(events) != 1 {
		t.Fatalf("status %d, %d events", resp.StatusCode, len(events))
	}
	if text, _ := io.ReadAll(resp.Body); len(text) != 0 || resp.Header.Get("Content-Length") != "0" {
		t.Errorf("the answer has a body: %q", text)
	}
	ev := events[0]
	if resp.Header.Get(EventIDHeader) != ev.ID.String() {
		t.Errorf("told %s, stored %s", resp.Header.Get(EventIDHeader), ev.ID)
	}
	want := Event{Tenant: "acme", Source: "src", Type: "Push_Hook", IdempotencyKey: "d-1", OrderingKey: "repo 7", ContentType: "application/json"}
	if ev.Tenant != want.Tenant || ev.Source != want.Source || ev.Type != want.Type || ev.IdempotencyKey != want.IdempotencyKey ||
		ev.OrderingKey != want.OrderingKey || ev.ContentType != want.ContentType {
		t.Errorf("stored %+v", ev)
	}
	if string(ev.Payload) != body {
		t.Errorf("payload %q", ev.Payload)
	}
	header := map[string]string{"Content-Encoding": "gzip", "User-Agent": "prov/1", "X-Event": "Push Hook", "X-Delivery": "d-1", "X-Topic": "t"}
	if len(ev.Header) != len(header) {
		t.Errorf("kept %v", ev.Header)
	}
	for name, v := range header {
		if got := http.Header(ev.Header).Get(name); got != v {
			t.Errorf("kept %s: %q", name, got)
		}
	}
}

func TestInboundAsksTheSourceForTypeIDAndKey(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	field := func(name, v string) func(*http.Request, []byte) string {
		return func(r *http.Request, body []byte) string {
			if r.Header.Get("X-Ask") == "" {
				return ""
			}
			return v + "-" + string(body)
		}
	}
	addSource(t, g, "src", Source{
		Verifier: signing.Unverified, Keep: []string{"x-mine"},
		TypeOf: field("type", "t"), IDOf: field("id", "i"), KeyOf: field("key", "k"),
	})
	deliverTo(g.Inbound("src"), good("b", "X-Ask", "1", "X-Mine", "m", "User-Agent", "u"))
	deliverTo(g.Inbound("src"), good("b"))
	deliverTo(g.Inbound("src"), good("b"))
	events := s.all(t)
	if len(events) != 3 {
		t.Fatalf("%d events: without an ID nothing is a duplicate", len(events))
	}
	if ev := events[0]; ev.Type != "t-b" || ev.IdempotencyKey != "i-b" || ev.OrderingKey != "k-b" || len(ev.Header) != 1 || ev.Header["X-Mine"][0] != "m" {
		t.Errorf("stored %+v", ev)
	}
	if ev := events[1]; ev.Type != "unknown" || ev.IdempotencyKey != "" || ev.OrderingKey != "" || ev.Header != nil {
		t.Errorf("stored %+v", ev)
	}
}

func TestInboundMakesAnyWordsFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 300)
	for in, want := range map[string]string{"": "unknown", "a.b": "a.b", "a b*\x00\xff": "a_b___", long: strings.Repeat("é", 128)} {
		if got := plainType(in); got != want || badType(got) != "" {
			t.Errorf("plainType(%q) = %q, %s", in, got, badType(got))
		}
	}
	sum := sha256.Sum256([]byte(long))
	for in, want := range map[string]string{"": "", "id 1": "id 1", long: "sha256:" + hex.EncodeToString(sum[:])} {
		if got := plainKey(in); got != want {
			t.Errorf("plainKey(%q) = %q", in, got)
		}
	}
	if plainKey("a\n") == plainKey("b\n") || strings.Contains(plainKey("a\n"), "\n") {
		t.Error("two IDs that are no text became one, or stayed as they were")
	}
	s := &source{}
	h := http.Header{}
	for i := range 100 {
		h.Set(fmt.Sprintf("X-Event-%03d", i), strings.Repeat("v", 1000))
	}
	h.Set("Content-Encoding", "br")
	h["X-Event-A"] = []string{"a\r\nb"}
	h.Set("Webhook-Id", "msg_1")
	kept := s.kept(h)
	if n := len(kept); n != 17 || kept["X-Event-A"] != nil || kept["Webhook-Id"] != nil || kept["Content-Encoding"] == nil || kept["X-Event-000"] == nil {
		t.Errorf("%d headers are kept", n)
	}
}

func TestInboundHandshakes(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	v := &shakingVerifier{tokenVerifier{token: "good"}}
	addSource(t, g, "src", Source{Verifier: v})
	before := s.calls.Load()
	shake := func(method, url, body string) *http.Response {
		return deliverTo(g.Inbound("src"), httptest.NewRequest(method, url, strings.NewReader(body)))
	}
	for _, c := range []struct {
		method, url, body string
		status            int
		text, header      string
	}{
		{"GET", "/in?challenge=abc", "", 200, "abc", "text/plain; charset=utf-8"},
		{"POST", "/in", "challenge:{}", 202, "{}", "application/json"},
		{"GET", "/in?challenge=wrong", "", 401, "unauthorized\n", "text/plain; charset=utf-8"},
		{"GET", "/in", "", 400, "bad request\n", "text/plain; charset=utf-8"},
		{"OPTIONS", "/in", "", 405, "method not allowed\n", "text/plain; charset=utf-8"},
		{"POST", "/in", "event", 401, "unauthorized\n", "text/plain; charset=utf-8"},
	} {
		resp := shake(c.method, c.url, c.body)
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status || string(text) != c.text || resp.Header.Get("Content-Type") != c.header {
			t.Errorf("%s %s %q: %d %q %v", c.method, c.url, c.body, resp.StatusCode, text, resp.Header)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: a browser may guess what it is", c.method, c.url)
		}
	}
	if got := shake("OPTIONS", "/in", "").Header.Get("Allow"); got != "POST, GET" {
		t.Errorf("Allow: %s", got)
	}
	if n := s.calls.Load() - before; n != 0 || v.calls.Load() != 1 {
		t.Errorf("handshakes called the store %d times and Verify %d times", n, v.calls.Load())
	}
	if got := deliverTo(g.Inbound("src"), good("event")).StatusCode; got != 200 || len(s.all(t)) != 1 {
		t.Errorf("an event of the same source: %d", got)
	}
}
