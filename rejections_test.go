package hookgate

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// standardRequest is signed as Standard Webhooks has it.
func standardRequest(t testing.TB, secret Secret, id, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://hooks.example.test/in", strings.NewReader(body))
	m := signing.Message{ID: id, Time: time.Now(), Method: r.Method, URL: r.URL.String(), Body: []byte(body)}
	if err := signing.StandardWebhooks.Sign(r.Header, m, []Secret{secret}); err != nil {
		t.Fatal(err)
	}
	return r
}

func standardVerifier(t testing.TB, secrets ...Secret) Verifier {
	t.Helper()
	v, err := signing.Standard(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifyAgainAfterTheSecretIsMended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g, s := inbound(t, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		right, wrong := signing.StandardWebhooks.NewSecret(), signing.StandardWebhooks.NewSecret()
		addSource(t, g, "src", Source{Verifier: standardVerifier(t, wrong), TypeOf: func(r *http.Request, _ []byte) string {
			return r.Host + r.URL.Path
		}})
		body := `{"type":"invoice.paid"}`
		if got := deliverTo(g.Inbound("src"), standardRequest(t, right, "msg_1", body)).StatusCode; got != 401 {
			t.Fatal(got)
		}
		time.Sleep(72 * time.Hour)
		list, err := g.Rejected("src")
		if err != nil || len(list) != 1 || !list[0].Whole || !strings.Contains(list[0].Reason, "no signature fits") {
			t.Fatalf("%+v, %v", list, err)
		}
		id := list[0].ID
		if _, err := g.VerifyAgain(t.Context(), "src", id); !errors.Is(err, signing.ErrMismatch) {
			t.Errorf("with the wrong secret: %v", err)
		}
		if err := g.ReplaceVerifier("src", standardVerifier(t, wrong, right)); err != nil {
			t.Fatal(err)
		}
		receipt, err := g.VerifyAgain(t.Context(), "src", id)
		if err != nil || receipt.Duplicate {
			t.Fatalf("%+v, %v", receipt, err)
		}
		events := s.all(t)
		if len(events) != 1 || events[0].ID != receipt.ID || string(events[0].Payload) != body || events[0].IdempotencyKey != "msg_1" ||
			events[0].Type != "hooks.example.test/in" {
			t.Errorf("stored %+v", events)
		}
		if list, _ := g.Rejected("src"); len(list) != 0 {
			t.Errorf("still among the rejected: %+v", list)
		}
		if _, err := g.VerifyAgain(t.Context(), "src", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("once more: %v", err)
		}
		for _, secret := range []Secret{right, wrong} {
			if strings.Contains(log.String(), secret.Reveal()) {
				t.Error("the log holds a secret")
			}
		}
	})
}

func TestVerifyAgainKeepsTheClockOfTheReceipt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, s := inbound(t, nil)
		secret := signing.StandardWebhooks.NewSecret()
		addSource(t, g, "src", Source{Verifier: standardVerifier(t, secret)})
		r := standardRequest(t, secret, "msg_1", "{}")
		time.Sleep(time.Hour)
		if got := deliverTo(g.Inbound("src"), r).StatusCode; got != 401 {
			t.Fatal(got)
		}
		list, _ := g.Rejected("src")
		if _, err := g.VerifyAgain(t.Context(), "src", list[0].ID); !errors.Is(err, signing.ErrTooOld) {
			t.Errorf("what was stale when it came: %v", err)
		}
		if len(s.all(t)) != 0 {
			t.Error("stored")
		}
	})
}

func TestVerifyAgainSaysWhyNot(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	v := &shakingVerifier{tokenVerifier{token: "good"}}
	check := errors.New("no amount")
	var checks error = check
	var mu sync.Mutex
	addSource(t, g, "src", Source{Verifier: v, MaxBody: 100, Check: func(*http.Request, []byte) error {
		mu.Lock()
		defer mu.Unlock()
		return checks
	}})
	last := func(r *http.Request, status int) string {
		t.Helper()
		if got := deliverTo(g.Inbound("src"), r).StatusCode; got != status {
			t.Fatalf("status %d, want %d", got, status)
		}
		list, err := g.Rejected("src")
		if err != nil || len(list) == 0 {
			t.Fatal(list, err)
		}
		return list[0].ID
	}
	again := func(id string) error {
		_, err := g.VerifyAgain(t.Context(), "src", id)
		return err
	}
	get := good("")
	get.Method = "GET"
	if err := again(last(get, 400)); err == nil || !strings.Contains(err.Error(), "GET") {
		t.Errorf("a GET: %v", err)
	}
	if err := again(last(good(strings.Repeat("x", 101)), 413)); err == nil || !strings.Contains(err.Error(), "whole") {
		t.Errorf("half a body: %v", err)
	}
	checked := last(good("x", "X-Delivery", "d"), 422)
	if err := again(checked); !errors.Is(err, check) {
		t.Errorf("Source.Check: %v", err)
	}
	mu.Lock()
	checks = nil
	mu.Unlock()
	if got := deliverTo(g.Inbound("src"), good("y", "X-Delivery", "d")).StatusCode; got != 200 {
		t.Fatal(got)
	}
	if err := again(checked); !errors.Is(err, ErrConflict) {
		t.Errorf("its ID was taken meanwhile: %v", err)
	}
	for source, id := range map[string]string{"src": "99", "other": checked} {
		if _, err := g.VerifyAgain(t.Context(), source, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s %s: %v", source, id, err)
		}
	}
	if _, err := g.Rejected("other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("rejected of no source: %v", err)
	}
	if n := len(s.all(t)); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestVerifyAgainAcceptsOnce(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "other"}})
	if got := deliverTo(g.Inbound("src"), good("x")).StatusCode; got != 401 {
		t.Fatal(got)
	}
	if err := g.ReplaceVerifier("src", &tokenVerifier{token: "good"}); err != nil {
		t.Fatal(err)
	}
	in := g.inbound.source("src")
	it := in.rejected.get("1")
	full := ErrFull
	s.err.Store(&full)
	if _, err := g.VerifyAgain(t.Context(), "src", "1"); !errors.Is(err, ErrFull) {
		t.Errorf("with a full store: %v", err)
	}
	s.err.Store(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := g.VerifyAgain(t.Context(), "src", "1"); err != nil && !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// The process died before the ring was written, and the request is there again.
	in.rejected.mu.Lock()
	in.rejected.insert(it)
	in.rejected.mu.Unlock()
	receipt, err := g.VerifyAgain(t.Context(), "src", "1")
	events := s.all(t)
	if err != nil || !receipt.Duplicate || len(events) != 1 || receipt.ID != events[0].ID {
		t.Errorf("%+v, %v, %d events", receipt, err, len(events))
	}
}
