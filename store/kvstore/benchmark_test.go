package kvstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
)

// BenchmarkDelivery measures what the store does for one delivery, beside a log and an engine that cost little. An operation
// is one delivery; what the caller brings is made before.
func BenchmarkDelivery(b *testing.B) {
	for _, dests := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("Born%d", dests), func(b *testing.B) { benchmarkBorn(b, dests) })
		b.Run(fmt.Sprintf("Claimed%d", dests), func(b *testing.B) { benchmarkClaimed(b, dests) })
	}
}

// BenchmarkStats asks for figures while 4096 deliveries are leased and others wait behind them.
func BenchmarkStats(b *testing.B) {
	s := benchOpen(b)
	for n := range 200 {
		batch := &store.Batch{Lease: &store.ClaimRequest{Worker: "w", Max: 32, Lease: time.Hour}}
		if n >= 128 {
			batch.Lease = nil
		}
		for i := range 32 {
			batch.Appends = append(batch.Appends, publish(n*32+i, store.Destination(fmt.Sprint("d", n*32+i))))
		}
		commit(b, s, batch)
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Stats(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

const benchBatch = 32

// benchAppends makes batches of events of 256 bytes, to so many destinations in turn.
func benchAppends(b *testing.B, dests int) []store.Batch {
	names := make([]store.Destination, dests)
	for i := range names {
		names[i] = store.Destination(fmt.Sprint("ep:", i))
	}
	payload := make([]byte, 256)
	lease := &store.ClaimRequest{Worker: "w", Max: 1000, PerDestination: 100, Lease: time.Hour}
	batches := make([]store.Batch, (b.N+benchBatch-1)/benchBatch)
	n := 0
	for i := range batches {
		batches[i].Lease = lease
		for range benchBatch {
			batches[i].Appends = append(batches[i].Appends, store.Append{
				Event:      &store.Event{ID: testID(n), Type: "invoice.paid", Payload: payload},
				Deliveries: []store.NewDelivery{{Destination: names[n%dests]}},
			})
			n++
		}
	}
	return batches
}

func benchOpen(b *testing.B) *kvstore.Store {
	s := open(b, memory.NewMap(), &kvstore.Options{Log: &plainLog{}})
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	return s
}

// benchSettle fills in how a delivery ended: most were delivered, one in 16 is tried again in an hour.
func benchSettle(st *store.Settle, i int) {
	st.Op, st.Reason, st.Attempt = store.OpDone, "delivered", benchSuccess
	if i%16 == 15 {
		st.Op, st.Reason, st.After, st.Attempt = store.OpRetry, "", time.Hour, benchFailure
	}
}

var (
	benchSuccess = &store.Attempt{Took: time.Millisecond, Code: 200}
	benchFailure = &store.Attempt{Took: time.Millisecond, Code: 503, Class: "status", Error: "503 Service Unavailable"}
)

// Deliveries that are born leased: each commit settles those of the one before.
func benchmarkBorn(b *testing.B, dests int) {
	s := benchOpen(b)
	batches := benchAppends(b, dests)
	settles := make([]store.Settle, 0, benchBatch)
	b.ResetTimer()
	for i := range batches {
		batches[i].Settles = settles
		r := commit(b, s, &batches[i])
		settles = settles[:0]
		for j := range r.Appends {
			a := &r.Appends[j]
			if len(a.Leased) == 0 {
				b.Fatal("no lease was given")
			}
			st := store.Settle{ID: store.DeliveryID{Event: a.ID}, Gen: a.Leased[0].Gen}
			benchSettle(&st, j)
			settles = append(settles, st)
		}
		if i%4 == 0 {
			if _, err := s.Stats(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// Deliveries of a backlog that are claimed.
func benchmarkClaimed(b *testing.B, dests int) {
	s := benchOpen(b)
	batches := benchAppends(b, dests)
	for i := range batches {
		batches[i].Lease = nil
		commit(b, s, &batches[i])
	}
	settles := make([]store.Settle, 0, 256)
	b.ResetTimer()
	for left := len(batches) * benchBatch; left > 0; {
		r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: cap(settles), Lease: time.Hour})
		if err != nil || len(r.Leases) == 0 && !r.More {
			b.Fatalf("%d are left, and nothing is to be had: %v", left, err)
		}
		settles = settles[:0]
		for i := range r.Leases {
			st := store.Settle{ID: r.Leases[i].Delivery.ID, Gen: r.Leases[i].Gen}
			benchSettle(&st, i)
			settles = append(settles, st)
		}
		commit(b, s, &store.Batch{Settles: settles})
		left -= len(r.Leases)
	}
}
