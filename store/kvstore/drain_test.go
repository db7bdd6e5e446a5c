package kvstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
)

var ctx = context.Background()

func testID(n int) store.ID {
	var id store.ID
	ms := time.Now().UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = 0x70
	id[8] = 0x80
	for i := range 4 {
		id[15-i] = byte(n >> (8 * i))
	}
	return id
}

func open(t testing.TB, m kvstore.KV, o *kvstore.Options) *kvstore.Store {
	t.Helper()
	s, err := kvstore.New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A backlog that is far larger than every window is drained whole, in order within each lane, each delivery once, also when
// the store is opened again in the middle, and when some are retried, released or given up.
func TestLargeBacklogIsDrainedInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { drainInOrder(t, seed) })
		})
	}
}

func drainInOrder(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := memory.NewMap()
	s := open(t, m, &kvstore.Options{Cache: 2000})
	const events = 6000
	total := 0
	for n := 0; n < events; {
		b := &store.Batch{}
		for range min(1+rng.IntN(60), events-n) {
			lane := ""
			if rng.IntN(3) > 0 {
				lane = fmt.Sprint("lane", rng.IntN(1+int(seed)*40))
			}
			a := store.Append{Event: &store.Event{ID: testID(n), Type: "t", OrderingKey: lane, Payload: []byte(fmt.Sprint(n))}}
			for range 1 + rng.IntN(2) {
				a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: store.Destination(fmt.Sprint("d", len(a.Deliveries), rng.IntN(3))), Lane: lane})
				total++
			}
			b.Appends = append(b.Appends, a)
			n++
		}
		if _, err := s.Commit(ctx, b); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(40) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, m, &kvstore.Options{Cache: 2000})
		}
	}
	done := map[store.DeliveryID]bool{}
	last := map[string]uint64{}
	idle := 0
	for len(done) < total {
		res, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 1 + rng.IntN(200), PerDestination: 1 + rng.IntN(300), Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Leases) == 0 {
			if idle++; idle > 50 && !res.More {
				t.Fatalf("%d of %d are done, and nothing is to be had (next in %v)", len(done), total, res.Next)
			}
			if !res.More && res.Next > 0 {
				time.Sleep(res.Next)
			}
			continue
		}
		idle = 0
		b := &store.Batch{}
		for _, l := range res.Leases {
			d := &l.Delivery
			if done[d.ID] {
				t.Fatalf("%v was handed out after it was done", d.ID)
			}
			st := store.Settle{ID: d.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered", Attempt: &store.Attempt{Code: 200}}
			switch rng.IntN(12) {
			case 0:
				st.Op, st.After = store.OpRetry, time.Duration(rng.IntN(3))*time.Millisecond
			case 1:
				st = store.Settle{ID: d.ID, Gen: l.Gen, Op: store.OpRelease, After: time.Duration(rng.IntN(2)) * time.Millisecond}
			case 2:
				st.Op, st.Reason = store.OpDead, "refused"
			}
			if st.Op == store.OpDone || st.Op == store.OpDead {
				done[d.ID] = true
			}
			if d.Lane != "" {
				k := fmt.Sprint(d.Destination, d.Lane)
				if d.Seq < last[k] {
					t.Fatalf("%v came after a later one of its lane", d.ID)
				}
				last[k] = d.Seq
			}
			b.Settles = append(b.Settles, st)
		}
		r, err := s.Commit(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range r.Settles {
			if err != nil {
				t.Fatalf("settle %v: %v", b.Settles[i], err)
			}
		}
		if rng.IntN(60) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, m, &kvstore.Options{Cache: 2000})
		}
	}
	st, err := s.Stats(ctx)
	if err != nil || st.Pending != 0 || st.Leased != 0 || st.Events != events {
		t.Fatalf("at the end: %+v, %v", st, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
