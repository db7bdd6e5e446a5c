package hookgate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
)

func TestJourneyTellsItAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{})
		ctx := t.Context()
		nothing := func(context.Context, *Event) error { return nil }
		err := errors.Join(
			g.Handle("print", Subscription{Types: []string{"invoice.*"}}, nothing),
			g.Handle("push", Subscription{Source: "github"}, nothing),
		)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a-done", "b-dead", "c-retry", "d-paused", "e-leased", "f-gone"} {
			mustCreate(t, g, "acme", id, "invoice.paid")
		}
		mustCreate(t, g, "acme", "x-other", "customer.*", "order.*")
		mustCreate(t, g, "acme", "y-disabled", "invoice.paid")
		mustCreate(t, g, "other", "of-another-tenant", "customer.*")
		if _, _, err := g.CreateEndpoint(ctx, Endpoint{ID: "z-none", Tenant: "acme", URL: "https://example.com"}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(g.DisableEndpoint(ctx, "acme", "y-disabled", "")); err != nil {
			t.Fatal(err)
		}
		ev := Event{
			ID:     ID{0: 1, 15: 2},
			Tenant: "acme", Type: "invoice.paid", Payload: []byte(`{"n":1}`), OrderingKey: "customer-1",
		}
		r, err := g.Publish(ctx, ev)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		leases := claimAll(t, g)
		lease := func(id string) store.Lease { return leases[endpointDestination("acme", id)] }
		settle(t, g, lease("a-done"), store.Settle{Op: store.OpDone, Reason: "delivered"}, &Attempt{Code: 204})
		settle(t, g, lease("b-dead"), store.Settle{Op: store.OpDead, Reason: "retries exhausted"}, &Attempt{Code: 500, Class: "status", Error: "the receiver answered 500"})
		settle(t, g, lease("c-retry"), store.Settle{Op: store.OpRetry, After: time.Minute}, &Attempt{Class: "timeout", Error: "no answer in time"})
		settle(t, g, lease("d-paused"), store.Settle{Op: store.OpRelease}, &Attempt{Class: "local", Error: "no file descriptor left"})
		settle(t, g, lease("f-gone"), store.Settle{Op: store.OpRetry, After: time.Hour}, &Attempt{Code: 503, Class: "status", Error: "the receiver answered 503"})
		later, err := g.Publish(ctx, Event{ID: ID{0: 2}, Tenant: "acme", Type: "invoice.paid", OrderingKey: "customer-1"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(g.PauseEndpoint(ctx, "acme", "d-paused", "they move house"), g.DeleteEndpoint(ctx, "acme", "f-gone")); err != nil {
			t.Fatal(err)
		}
		mustCreate(t, g, "acme", "w-new", "invoice.paid")

		j, err := g.Journey(ctx, "acme", r.ID)
		if err != nil {
			t.Fatal(err)
		}
		const want = `event 01000000-0000-0000-0000-000000000002 invoice.paid, 7 bytes, from the application, tenant acme, accepted 2000-01-01 00:00:00.000
  to ep:acme/a-done: done, delivered
    attempt 1 at 2000-01-01 00:00:00.980, 20ms: 204
  to ep:acme/b-dead: dead, retries exhausted
    attempt 1 at 2000-01-01 00:00:00.980, 20ms: 500, the receiver answered 500
    next: nothing, until somebody asks for Redeliver
  to ep:acme/c-retry: pending
    attempt 1 at 2000-01-01 00:00:00.980, 20ms: no answer in time
    next: is tried at 2000-01-01 00:01:01.000, in 1m0s
  to ep:acme/d-paused: pending
    attempt 1 at 2000-01-01 00:00:00.980, 20ms: no file descriptor left (does not count)
    next: waits while its destination is held: paused (they move house)
  to ep:acme/e-leased: leased
    next: an attempt is under way; if nothing is heard of it by 2000-01-01 00:01:01.000, it is tried again
  to ep:acme/f-gone: pending
    attempt 1 at 2000-01-01 00:00:00.980, 20ms: 503, the receiver answered 503
    next: becomes a dead letter when it is due at 2000-01-01 01:00:01.000: its endpoint was deleted
  to fn:print: leased
    next: an attempt is under way; if nothing is heard of it by 2000-01-01 00:01:01.000, it is tried again
  not to ep:acme/w-new: it was made after the event was accepted
  not to ep:acme/x-other: the type is invoice.paid, it wants customer.*, order.*
  not to ep:acme/y-disabled: it is disabled
  not to ep:acme/z-none: it has no subscription
  not to fn:push: the event is from the application, it wants those from the source github
  (endpoints or handlers changed since it was accepted)
`
		if got := j.String(); got != want {
			t.Errorf("the journey is\n%s\nwant\n%s", got, want)
		}

		// The one behind it waits for it, and says so.
		j, err = g.Journey(ctx, "acme", later.ID)
		if err != nil {
			t.Fatal(err)
		}
		next := make(map[Destination]string)
		for _, d := range j.Deliveries {
			next[d.Destination] = d.Next
		}
		if got := next["ep:acme/c-retry"]; got != "waits for its turn behind delivery 01000000-0000-0000-0000-000000000002.2, which has the same ordering key" {
			t.Errorf("behind a retry: %s", got)
		}
		if got := next["ep:acme/b-dead"]; got != "is due, and tried as soon as a worker is free and Run runs" {
			t.Errorf("behind a dead letter: %s", got)
		}
	})
}

func TestJourneySaysThatNothingChanged(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	mustCreate(t, g, "", "a", "x")
	r, err := g.Publish(t.Context(), Event{Type: "y"})
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, g, "other", "b") // of no concern
	if err := g.PauseEndpoint(t.Context(), "", "a", ""); err != nil {
		t.Fatal(err)
	}
	j, err := g.Journey(t.Context(), "", r.ID)
	if err != nil || j.Changed || len(j.Unmatched) != 1 || !strings.Contains(j.String(), "it goes nowhere") {
		t.Errorf("%v, %v", j, err)
	}
	_, err = g.Journey(t.Context(), "", ID{1})
	wantError(t, err, ErrNotFound)
	_, err = g.Journey(t.Context(), AllTenants, r.ID)
	wantField(t, err, "tenant")
}

func TestUnmatchedIsBounded(t *testing.T) {
	t.Parallel()
	v := newTestView()
	for i := range 1500 {
		v.putEndpoint(t, &Endpoint{ID: fmt.Sprint(i), Version: 1})
	}
	out, more := v.unmatched(&Event{}, map[Destination]bool{"ep:/7": true}, maxUnmatched)
	if len(out) != maxUnmatched || more != 499 {
		t.Errorf("%d and %d more", len(out), more)
	}
}
