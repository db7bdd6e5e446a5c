package kvstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/memory"
)

// A lane that memory cannot hold goes on in the middle of an event: one with more deliveries in the lane than memory takes, or
// with more of others than a Claim looks at. Meanwhile nobody else goes short.
func TestLaneGoesOnInTheMiddleOfAnEvent(t *testing.T) {
	t.Parallel()
	lane := func(n int, d store.Destination, deliveries int) store.Append {
		a := publish(n)
		for range deliveries {
			a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: d, Lane: "k"})
		}
		return a
	}
	cases := map[string][]store.Append{}
	for _, n := range []int{64, 65, 66, 129, 200} {
		cases[fmt.Sprint(n, " of one event")] = []store.Append{lane(0, "d", n)}
	}
	var beforeWide []store.Append
	for n := range 64 {
		beforeWide = append(beforeWide, lane(n, "d", 1))
	}
	wide := lane(64, "d", 1)
	for n := range 8200 {
		wide.Deliveries = append(wide.Deliveries, store.NewDelivery{Destination: store.Destination(fmt.Sprint("e", n)), Lane: "k"})
	}
	cases["a wide event"] = append(beforeWide, wide)
	for name, appends := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, memory.NewMap(), nil)
			defer s.Close()
			want := map[store.Destination]int{}
			for _, a := range appends {
				for _, d := range a.Deliveries {
					if d.Destination == "d" {
						want["d"]++
					}
				}
			}
			for n := range 200 { // more than a window
				appends = append(appends, publish(1000+n, "other"))
				want["other"]++
			}
			commit(t, s, &store.Batch{Appends: appends})
			for claims := 0; len(want) > 0; claims++ {
				r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 10, Lease: time.Hour, Accept: []store.Destination{"d", "other"}})
				if err != nil || claims > 1000 {
					t.Fatalf("after %d claims %v are left, %v", claims, want, err)
				}
				b := &store.Batch{}
				for i := range r.Leases {
					l := &r.Leases[i]
					b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered"})
					if want[l.Delivery.Destination]--; want[l.Delivery.Destination] == 0 {
						delete(want, l.Delivery.Destination)
					}
				}
				commit(t, s, b)
			}
		})
	}
}
