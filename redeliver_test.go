package hookgate

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
)

// claimAll takes what is due, as a worker would.
func claimAll(t testing.TB, g *Gateway) map[Destination]store.Lease {
	t.Helper()
	r, err := g.store.Claim(t.Context(), store.ClaimRequest{Worker: "test", Max: 100, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[Destination]store.Lease)
	for _, l := range r.Leases {
		out[l.Delivery.Destination] = l
	}
	return out
}

// settle ends a lease with an attempt that took 20 ms.
func settle(t testing.TB, g *Gateway, l store.Lease, s store.Settle, a *Attempt) {
	t.Helper()
	if l.Gen == 0 {
		t.Fatal("there is no lease")
	}
	s.ID, s.Gen = l.Delivery.ID, l.Gen
	a.Delivery, a.Gen, a.Took = s.ID, s.Gen, 20*time.Millisecond
	s.Attempt = a
	r, err := g.store.Commit(t.Context(), &store.Batch{Settles: []store.Settle{s}})
	if err != nil || r.Settles[0] != nil {
		t.Fatal(err, r)
	}
}

func TestRedeliverAndCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{})
		ctx := t.Context()
		for _, tenant := range []string{"", "acme"} {
			for _, id := range []string{"dead", "retry", "done", "leased"} {
				mustCreate(t, g, tenant, id)
			}
			r, err := g.Publish(ctx, Event{Tenant: tenant, Type: "x", Payload: []byte("same")})
			if err != nil {
				t.Fatal(err)
			}
			leases := claimAll(t, g)
			lease := func(id string) store.Lease { return leases[endpointDestination(tenant, id)] }
			failed := func() *Attempt { return &Attempt{Code: 500, Error: "the receiver answered 500"} }
			settle(t, g, lease("dead"), store.Settle{Op: store.OpDead, Reason: "retries exhausted"}, failed())
			settle(t, g, lease("retry"), store.Settle{Op: store.OpRetry, After: time.Hour}, failed())
			settle(t, g, lease("done"), store.Settle{Op: store.OpDone, Reason: "delivered"}, &Attempt{Code: 200})

			// Another tenant finds nothing, whatever its name.
			for _, other := range []string{"", "acme", "x"} {
				for _, l := range leases {
					if other != tenant {
						wantError(t, g.Redeliver(ctx, other, l.Delivery.ID), ErrNotFound)
						wantError(t, g.Cancel(ctx, other, l.Delivery.ID), ErrNotFound)
						_, err := g.Delivery(ctx, other, l.Delivery.ID)
						wantError(t, err, ErrNotFound)
						_, err = g.Attempts(ctx, other, l.Delivery.ID)
						wantError(t, err, ErrNotFound)
						_, err = g.Event(ctx, other, r.ID)
						wantError(t, err, ErrNotFound)
						_, err = g.Journey(ctx, other, r.ID)
						wantError(t, err, ErrNotFound)
					}
				}
			}
			wantField(t, g.Redeliver(ctx, AllTenants, lease("dead").Delivery.ID), "tenant")
			wantField(t, g.Cancel(ctx, AllTenants, lease("dead").Delivery.ID), "tenant")
			wantError(t, g.Redeliver(ctx, tenant, DeliveryID{Event: r.ID, N: 77}), ErrNotFound)

			wantError(t, g.Redeliver(ctx, tenant, lease("done").Delivery.ID), ErrConflict, "it is done")
			wantError(t, g.Cancel(ctx, tenant, lease("leased").Delivery.ID), ErrConflict, "being tried")
			for _, id := range []string{"dead", "retry"} {
				if err := g.Redeliver(ctx, tenant, lease(id).Delivery.ID); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			again := claimAll(t, g)
			for _, id := range []string{"dead", "retry"} {
				l := again[endpointDestination(tenant, id)]
				if l.Delivery.ID != lease(id).Delivery.ID || string(l.Event.Payload) != "same" {
					t.Errorf("%s is tried again as %+v", id, l)
				}
				settle(t, g, l, store.Settle{Op: store.OpDead}, failed())
				if err := g.Cancel(ctx, tenant, l.Delivery.ID); err != nil {
					t.Errorf("cancel %s: %v", id, err)
				}
				wantError(t, g.Redeliver(ctx, tenant, l.Delivery.ID), ErrConflict, "cancelled")
				d, err := g.Delivery(ctx, tenant, l.Delivery.ID)
				if err != nil || d.State != Cancelled {
					t.Errorf("%s is %v, %v", id, d, err)
				}
				if attempts, err := g.Attempts(ctx, tenant, l.Delivery.ID); err != nil || len(attempts) != 2 || attempts[1].Code != 500 {
					t.Errorf("the history of %s is %+v, %v", id, attempts, err)
				}
			}
		}
		stats, err := g.Stats(ctx)
		if err != nil || stats.Events != 2 || stats.Leased != 2 {
			t.Errorf("stats %+v, %v", stats, err)
		}
	})
}
