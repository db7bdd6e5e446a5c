package kvstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
)

// Whatever happens, Stats tells of the delivery that has waited longest, though it does not look at all of them.
func TestOldestDueIsTheOldest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { oldestDue(t, seed) })
		})
	}
}

func oldestDue(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	options := &kvstore.Options{Log: &plainLog{}, Cache: 100}
	m := memory.NewMap()
	s := open(t, m, options)
	dest := func() store.Destination { return store.Destination(fmt.Sprint("d", rng.IntN(6))) }
	var held []store.Settle
	verbs := seed%3 == 1  // what was cancelled or hurried may be counted a while longer
	shared := seed%3 == 2 // deliveries of one event share a lane: those that are not its head, and have a row, are not counted
	n := 0
	claim := func() *store.ClaimRequest {
		r := &store.ClaimRequest{Worker: "w", Max: rng.IntN(40), Lease: time.Duration(1+rng.IntN(90)) * time.Second}
		if rng.IntN(3) == 0 {
			r.Accept = []store.Destination{dest(), dest()}
		}
		return r
	}
	for step := range 700 {
		switch rng.IntN(12) {
		case 0, 1, 2:
			b := &store.Batch{}
			for range 1 + rng.IntN(20) {
				a := publish(n, dest(), "e")
				if rng.IntN(4) == 0 {
					a.Deliveries[0].After = time.Duration(rng.IntN(60)) * time.Second
				} else if rng.IntN(4) == 0 {
					a.Deliveries[1].Lane = fmt.Sprint("lane", rng.IntN(4))
				}
				if shared && rng.IntN(3) == 0 {
					a = publish(n, "e", "e", "e")
					lane := fmt.Sprint("lane", rng.IntN(30))
					for i := range a.Deliveries {
						a.Deliveries[i].Lane = lane
					}
				}
				b.Appends = append(b.Appends, a)
				n++
			}
			if rng.IntN(2) == 0 {
				b.Lease = claim()
			}
			for _, a := range commit(t, s, b).Appends {
				for _, g := range a.Leased {
					held = append(held, store.Settle{ID: store.DeliveryID{Event: a.ID, N: uint64(g.Index)}, Gen: g.Gen})
				}
			}
		case 3, 4, 5:
			r, err := s.Claim(ctx, *claim())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range r.Leases {
				held = append(held, store.Settle{ID: l.Delivery.ID, Gen: l.Gen})
			}
		case 6, 7, 8:
			b := &store.Batch{}
			for len(held) > 0 && rng.IntN(30) > 0 {
				i := rng.IntN(len(held))
				st := held[i]
				held[i] = held[len(held)-1]
				held = held[:len(held)-1]
				switch rng.IntN(6) {
				case 0, 1:
					st.Op, st.After, st.Attempt = store.OpRetry, time.Duration(rng.IntN(40))*time.Second, &store.Attempt{Code: 500}
				case 2:
					st.Op = store.OpRelease
					if rng.IntN(2) == 0 {
						st.After = time.Duration(rng.IntN(20)) * time.Second
					}
				case 3:
					continue // its lease runs out
				default:
					st.Op, st.Reason, st.Attempt = store.OpDone, "delivered", &store.Attempt{Code: 200}
				}
				b.Settles = append(b.Settles, st)
				if verbs && rng.IntN(20) == 0 {
					b.Settles = append(b.Settles, store.Settle{ID: st.ID, Op: store.OpCancel + store.Op(rng.IntN(3))})
				}
			}
			commit(t, s, b)
		case 9:
			time.Sleep(time.Duration(rng.IntN(30)) * time.Second)
		case 10:
			if rng.IntN(2) == 0 {
				g := store.Gate{Destination: dest(), Cause: "c", MaxInFlight: rng.IntN(4), Hold: time.Duration(rng.IntN(3)-1) * 20 * time.Second}
				commit(t, s, &store.Batch{Gates: []store.Gate{g}})
			}
		case 11:
			switch rng.IntN(12) {
			case 0: // a crash
				left := m.Clone()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				m = left
				s = open(t, m, options)
				held = nil
			case 1:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, m, options)
				held = nil
			default:
				time.Sleep(150 * time.Millisecond)
				synctest.Wait() // a flush is over
			}
		}
		if rng.IntN(3) == 0 {
			continue // it need not be asked each time
		}
		slow, err := s.SlowOldestDue()
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(ctx)
		if err != nil || st.OldestDue != slow {
			t.Fatalf("step %d: Stats says %v, and what has waited longest waits for %v (%v)", step, st.OldestDue, slow, err)
		}
		if shared || rng.IntN(8) > 0 {
			continue
		}
		if want := longestWait(t, s); st.OldestDue < want || st.OldestDue > want && !verbs {
			t.Fatalf("step %d: Stats says %v, and the deliveries say %v", step, st.OldestDue, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// longestWait asks all deliveries that wait for how long they have been due.
func longestWait(t *testing.T, s *kvstore.Store) (longest time.Duration) {
	t.Helper()
	q := store.DeliveryQuery{Tenant: store.AllTenants, States: []store.State{store.Pending}, Page: store.Paging{Limit: 1000}}
	for {
		page, err := s.Deliveries(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Items {
			longest = max(longest, time.Since(d.Due))
		}
		if q.Page.Cursor = page.Next; page.Next == "" {
			return longest
		}
	}
}
