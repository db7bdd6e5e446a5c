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

// Backlogs that fit no window are drained without going through the same deliveries again and again, however they are spread,
// and whether they are in memory or the store was opened with them.
func TestDrainLooksAtEachDeliveryAFewTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		events int
		dest   func(n int) int
		rounds func(dest int) int // how many claims later a delivery is settled
		most   float64            // visits for each delivery
	}{
		{"300 with 100 each", 30_000, func(n int) int { return n % 300 }, nil, 2.2},
		{"30 with 1000 each", 30_000, func(n int) int { return n % 30 }, nil, 2.2},
		{"one after the other", 30_000, func(n int) int { return n / 1000 }, nil, 2.2},
		{"one has nine of ten", 50_000, func(n int) int {
			if n%10 > 0 {
				return 0
			}
			return 1 + n/10%300
		}, nil, 2.5},
		{"of different speeds", 100_000, func(n int) int { return n % 300 }, func(dest int) int { return dest % 8 }, 3},
		{"of all sizes", 40_000, func(n int) int {
			h := uint64(uint32(n) * 2654435761)
			return int(h * h >> 32 * 120 >> 32)
		}, nil, 12},
	} {
		for _, opened := range []string{"", ", opened again"} {
			t.Run(c.name+opened, func(t *testing.T) {
				t.Parallel()
				drainCounting(t, c.events, c.dest, c.rounds, opened != "", c.most)
			})
		}
	}
}

func drainCounting(t *testing.T, events int, dest func(int) int, rounds func(int) int, again bool, most float64) {
	m, options := memory.NewMap(), &kvstore.Options{Log: &plainLog{}}
	s := open(t, m, options)
	numbers := map[store.Destination]int{}
	for n := 0; n < events; {
		b := &store.Batch{}
		for range min(500, events-n) {
			d := store.Destination(fmt.Sprint("d", dest(n)))
			numbers[d] = dest(n)
			b.Appends = append(b.Appends, publish(n, d))
			n++
		}
		commit(t, s, b)
	}
	if again {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, m, options)
	}
	var later [8][]store.Settle
	for round, left := 0, events; left > 0; round++ {
		r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 256, PerDestination: 4, Lease: time.Hour})
		if err != nil || round > events {
			t.Fatalf("%d are left: %v", left, err)
		}
		for _, l := range r.Leases {
			i := round
			if rounds != nil {
				i += rounds(numbers[l.Delivery.Destination])
			}
			st := store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered", Attempt: &store.Attempt{Code: 200}}
			later[i%8] = append(later[i%8], st)
		}
		if now := &later[round%8]; len(*now) > 0 {
			commit(t, s, &store.Batch{Settles: *now})
			left -= len(*now)
			*now = nil
		}
	}
	visits := float64(s.Visits()) / float64(events)
	t.Logf("%.2f visits for each delivery", visits)
	if visits > most {
		t.Errorf("%.2f visits for each delivery, want at most %v", visits, most)
	}
	if st, err := s.Stats(ctx); err != nil || st.Pending != 0 {
		t.Errorf("at the end: %+v, %v", st, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// However claims choose among destinations, what a queue has in memory and what it will find on disk are together all that it
// has: in the parts of a backlog that are drained side by side, behind gates, and beside what is appended meanwhile.
func TestNoWalkPassesOverADelivery(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { walkAround(t, seed) })
		})
	}
}

func walkAround(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	m, options := memory.NewMap(), &kvstore.Options{Log: &plainLog{}, Cache: 3000}
	s := open(t, m, options)
	names := make([]store.Destination, 24)
	for i := range names {
		names[i] = store.Destination(fmt.Sprint("d", i))
	}
	n, done := 0, 0
	var born []store.Settle
	add := func(events int) {
		for events > 0 {
			b := &store.Batch{}
			some := rng.IntN(len(names))
			for range min(1+rng.IntN(120), events) {
				i := rng.IntN(len(names))
				if rng.IntN(3) == 0 {
					i = some // it comes in lumps
				}
				a := publish(n, names[i*i/len(names)])
				switch rng.IntN(10) {
				case 0:
					a.Deliveries[0].Lane = fmt.Sprint("lane", rng.IntN(5))
				case 1:
					a.Deliveries[0].After = time.Duration(rng.IntN(3)) * time.Second
				}
				b.Appends = append(b.Appends, a)
				n, events = n+1, events-1
			}
			if rng.IntN(3) == 0 {
				b.Lease = &store.ClaimRequest{Worker: "w", Max: 1 + rng.IntN(60), Lease: time.Minute}
				b.Settles, born = append(b.Settles, born...), nil // so that there is room in the middle of a commit
			}
			for _, a := range commit(t, s, b).Appends {
				for _, g := range a.Leased {
					born = append(born, store.Settle{ID: store.DeliveryID{Event: a.ID, N: uint64(g.Index)}, Gen: g.Gen, Op: store.OpDone, Reason: "delivered"})
					done++
				}
			}
			if err := s.CheckUnloaded(); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(6000)
	for round := 0; done < n; round++ {
		if round > 20_000 {
			t.Fatalf("%d of %d are done", done, n)
		}
		if n < 12_000 && rng.IntN(10) == 0 {
			add(rng.IntN(500))
		}
		r := store.ClaimRequest{Worker: "w", Max: 1 + rng.IntN(200), Lease: time.Minute}
		switch rng.IntN(4) {
		case 0:
			r.Accept = names[rng.IntN(len(names)):][:1]
		case 1:
			r.Accept = names[len(names)/2:]
		case 2:
			r.PerDestination = 1 + rng.IntN(80)
		}
		switch rng.IntN(40) {
		case 0:
			g := store.Gate{Destination: names[rng.IntN(len(names))], Cause: "c", Hold: time.Duration(rng.IntN(2)) * time.Second}
			commit(t, s, &store.Batch{Gates: []store.Gate{g}})
		case 1:
			time.Sleep(time.Second)
		case 2:
			if rng.IntN(3) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, m, options)
			}
		}
		got, err := s.Claim(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		b := &store.Batch{Settles: born}
		born = nil
		for _, l := range got.Leases {
			st := store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered", Attempt: &store.Attempt{Code: 200}}
			if rng.IntN(20) == 0 {
				st = store.Settle{ID: st.ID, Gen: st.Gen, Op: store.OpRelease}
			} else {
				done++
			}
			b.Settles = append(b.Settles, st)
		}
		if rng.IntN(4) == 0 {
			id := store.DeliveryID{Event: testID(rng.IntN(n))} // an operator's, anywhere in the backlog; mostly of none that waits
			b.Settles = append(b.Settles, store.Settle{ID: id, Op: store.OpHurry})
		}
		commit(t, s, b)
		if err := s.CheckUnloaded(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if len(got.Leases) == 0 && !got.More {
			time.Sleep(100 * time.Millisecond)
		}
	}
	if st, err := s.Stats(ctx); err != nil || st.Pending != 0 {
		t.Fatalf("at the end: %+v, %v", st, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Destinations that are close by their places, but with many deliveries of others in between, do not wait for those.
func TestWideEventsBetweenTwoDestinations(t *testing.T) {
	t.Parallel()
	m, options := memory.NewMap(), &kvstore.Options{Log: &plainLog{}}
	s := open(t, m, options)
	commit(t, s, &store.Batch{Appends: []store.Append{publish(0, "a")}})
	wide := make([]store.Destination, 1000)
	for i := range wide {
		wide[i] = store.Destination(fmt.Sprint("z", i%20))
	}
	for n := range 250 {
		commit(t, s, &store.Batch{Appends: []store.Append{publish(1+n, wide...)}})
	}
	commit(t, s, &store.Batch{Appends: []store.Append{publish(1000, "b")}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, m, options)
	defer s.Close()
	for _, d := range []store.Destination{"a", "b"} {
		r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 1, Lease: time.Hour, Accept: []store.Destination{d}})
		if err != nil || len(r.Leases) != 1 {
			t.Errorf("%s: %d leases, %v", d, len(r.Leases), err)
		}
	}
}
