package hookgate

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// requests is a Dispatcher that remembers what it was to send.
type requests struct {
	got    chan http.Header
	status atomic.Int64
}

func (d *requests) Dispatch(_ context.Context, r *Request) (*Response, error) {
	d.got <- r.Header.Clone()
	return &Response{Status: int(d.status.Load())}, nil
}

// TestRequestHasRealHeadersAndEveryKey: what is REDACTED to everybody else is real to the receiver, from the folder's files
// alone too.
func TestRequestHasRealHeadersAndEveryKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		dir := t.TempDir()
		sent := &requests{got: make(chan http.Header, 10)}
		sent.status.Store(200)
		g, err := Open(dir, &Config{Dispatcher: sent})
		if err != nil {
			t.Fatal(err)
		}
		_, first, err := g.CreateEndpoint(ctx, Endpoint{
			ID: "a", Tenant: "acme", URL: "https://example.com", Header: map[string]string{"Authorization": "Bearer real"}, Subscriptions: []Subscription{{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		second, err := g.RotateSecret(ctx, "acme", "a", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}

		g, err = Open(dir, &Config{Dispatcher: sent})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		go g.Run(ctx)
		check := func(keys ...Secret) {
			t.Helper()
			if _, err := g.Publish(ctx, Event{Tenant: "acme", Type: "x", Payload: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			h := <-sent.got
			if h.Get("Authorization") != "Bearer real" {
				t.Errorf("the header is %q", h.Get("Authorization"))
			}
			signatures := strings.Fields(h.Get("Webhook-Signature"))
			if len(signatures) != len(keys) {
				t.Fatalf("%d signatures, want %d", len(signatures), len(keys))
			}
			for i, key := range keys { // each alone is enough, the newest first
				one := h.Clone()
				one.Set("Webhook-Signature", signatures[i])
				v, err := signing.Standard(key)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := v.Verify(&signing.Request{Method: "POST", URL: "https://example.com", Header: one, Body: []byte("hello"), Time: time.Now()}); err != nil {
					t.Errorf("signature %d: %v", i, err)
				}
			}
		}
		check(second, first)
		time.Sleep(time.Hour)
		check(second)

		sent.status.Store(http.StatusGone)
		check(second)
		synctest.Wait()
		ep, err := g.Endpoint(ctx, "acme", "a")
		if err != nil || !ep.Disabled || len(ep.Holds) != 1 || ep.Holds[0].Cause != causeDisabled {
			t.Errorf("after 410: %+v, %v", ep, err)
		}
		if err := g.EnableEndpoint(ctx, "acme", "a"); err != nil {
			t.Fatal(err)
		}
		sent.status.Store(200)
		check(second)
	})
}
