package hookgate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/memory"
)

func TestInboundDuplicatesAndConflicts(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	v := &tokenVerifier{token: "good"}
	addSource(t, g, "src", Source{Verifier: v})
	addSource(t, g, "other", Source{Verifier: v})
	addSource(t, g, "loose", Source{Verifier: v, IDDecides: true})
	post := func(source, body, id string) (int, string) {
		resp := deliverTo(g.Inbound(source), good(body, "X-Delivery", id, "X-Retry-Num", body))
		return resp.StatusCode, resp.Header.Get(EventIDHeader)
	}
	status, first := post("src", "one", "d")
	if status != 200 {
		t.Fatal(status)
	}
	if status, id := post("src", "one", "d"); status != 200 || id != first {
		t.Errorf("duplicate: %d, %s, want the ID of the first, %s", status, id, first)
	}
	if status, id := post("src", "two", "d"); status != 409 || id != "" {
		t.Errorf("conflict: %d, %q", status, id)
	}
	if list, _ := g.Rejected("src"); len(list) != 1 || list[0].Status != 409 || !strings.Contains(list[0].Reason, "IDDecides") {
		t.Errorf("the conflict was kept as %+v", list)
	}
	if status, id := post("other", "one", "d"); status != 200 || id == first {
		t.Errorf("the same ID at another source: %d, %s", status, id)
	}
	_, first = post("loose", "one", "d")
	if status, id := post("loose", "two", "d"); status != 200 || id != first {
		t.Errorf("the ID decides: %d, %s", status, id)
	}
	if n := len(s.all(t)); n != 3 {
		t.Errorf("%d events", n)
	}
}

// arrivals tells of every request that was verified.
type arrivals struct {
	signing.Verifier
	verified *sync.WaitGroup
}

func (a arrivals) Verify(r *signing.Request) (signing.Verdict, error) {
	defer a.verified.Done()
	return a.Verifier.Verify(r)
}

func TestInboundConcurrentDuplicatesMakeOneEvent(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	const n = 64
	var verified sync.WaitGroup
	verified.Add(n)
	addSource(t, g, "src", Source{Verifier: arrivals{&tokenVerifier{token: "good"}, &verified}})
	allAreHere := verified.Wait
	s.before.Store(&allAreHere) // nothing is stored before the last one has come
	var ids [n]string
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			resp := deliverTo(g.Inbound("src"), good("body", "X-Delivery", "same"))
			if resp.StatusCode != 200 {
				t.Errorf("status %d", resp.StatusCode)
			}
			ids[i] = resp.Header.Get(EventIDHeader)
		})
	}
	wg.Wait()
	events := s.all(t)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	for _, id := range ids {
		if id != events[0].ID.String() {
			t.Errorf("answered %s, stored %s", id, events[0].ID)
		}
	}
}

func TestInboundKeyStaysTakenForTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner, err := memory.New()
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
		g, err := New(&Config{Store: inner, IdempotencyWindow: 48 * time.Hour, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}})
		post := func() string {
			t.Helper()
			resp := deliverTo(g.Inbound("src"), good("x", "X-Delivery", "d"))
			if resp.StatusCode != 200 {
				t.Fatal(resp.StatusCode)
			}
			return resp.Header.Get(EventIDHeader)
		}
		first := post()
		time.Sleep(47 * time.Hour)
		if got := post(); got != first {
			t.Error("a repeat within the window became an event of its own")
		}
		time.Sleep(3 * time.Hour)
		if got := post(); got == first {
			t.Error("the key stayed taken for longer than the window")
		}
	})
}

func TestInboundWithoutAStoreIs503(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err   error
		after string
	}{
		{ErrFull, "30"},
		{fmt.Errorf("append: %w", ErrFailed), "60"},
		{store.ErrClosed, "5"},
		{errors.New("no such table"), "60"},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			t.Parallel()
			g, s := inbound(t, nil)
			addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}})
			s.err.Store(&c.err)
			resp := deliverTo(g.Inbound("src"), good("x", "X-Delivery", "d"))
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != c.after || resp.Header.Get(EventIDHeader) != "" {
				t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
			if list, _ := g.Rejected("src"); len(list) != 0 {
				t.Errorf("kept among the rejected: %+v", list)
			}
			s.err.Store(nil)
		})
	}
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		g, s := inbound(t, nil)
		v := &tokenVerifier{token: "good"}
		addSource(t, g, "src", Source{Verifier: v})
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.calls.Load()
		resp := deliverTo(g.Inbound("src"), good("x"))
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "5" {
			t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		if n := s.calls.Load() - before; n != 0 || v.calls.Load() != 0 {
			t.Errorf("the store was called %d times, the verifier %d times", n, v.calls.Load())
		}
		if err := g.AddSource("more", Source{Verifier: signing.Unverified}); !errors.Is(err, ErrClosed) {
			t.Errorf("AddSource after Close: %v", err)
		}
	})
}

func TestInboundOfASenderThatLeft(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	resp := deliverTo(g.Inbound("src"), good("x", "X-Delivery", "d").WithContext(ctx))
	if resp.StatusCode != 503 {
		t.Errorf("status %d", resp.StatusCode)
	}
	first := deliverTo(g.Inbound("src"), good("x", "X-Delivery", "d"))
	if first.StatusCode != 200 || len(s.all(t)) != 1 {
		t.Errorf("when it came again: %d, %d events", first.StatusCode, len(s.all(t)))
	}
}

// TestInboundWhileEverythingChanges is for the race detector: requests come in while sources are added and replaced, the
// rejected are looked at, and the gateway closes.
func TestInboundWhileEverythingChanges(t *testing.T) {
	t.Parallel()
	for range 10 {
		g, s := inbound(t, nil)
		addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}})
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 20 {
					token := []string{"good", "other", "bad"}[j%3]
					resp := deliverTo(g.Inbound("src"), good("x", "X-Token", token, "X-Delivery", fmt.Sprint(i, "-", j)))
					switch resp.StatusCode {
					case 200:
						accepted.Add(1)
					case 401, 503:
					default:
						t.Errorf("status %d", resp.StatusCode)
					}
				}
			})
		}
		wg.Go(func() {
			for i := range 20 {
				token := []string{"good", "other"}[i%2]
				if err := g.ReplaceVerifier("src", &tokenVerifier{token: token}); err != nil {
					t.Error(err)
				}
				if err := g.AddSource(fmt.Sprint("s", i), Source{Verifier: signing.Unverified}); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				list, err := g.Rejected("src")
				if err != nil {
					t.Error(err)
				}
				for _, it := range list {
					if _, err := g.VerifyAgain(t.Context(), "src", it.ID); err == nil {
						accepted.Add(1)
					}
				}
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if n := int64(len(s.all(t))); n != accepted.Load() {
			t.Errorf("%d accepted, %d stored", accepted.Load(), n)
		}
	}
}

// BenchmarkInbound is what a request costs besides the disk.
func BenchmarkInbound(b *testing.B) {
	g, _ := inbound(b, nil)
	secret := signing.NewSecret("It's a Secret to Everybody, and long")
	v, err := signing.GitHub(secret)
	if err != nil {
		b.Fatal(err)
	}
	addSource(b, g, "github", Source{Verifier: v})
	h := g.Inbound("github")
	body := `{"action":"opened","padding":"` + strings.Repeat("x", 1000) + `"}`
	header := http.Header{
		"X-Hub-Signature-256": {"sha256=" + hmacHex(secret.Reveal(), body)}, "X-Github-Event": {"issues"}, "Content-Type": {"application/json"},
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header = header
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
