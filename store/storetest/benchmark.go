package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Benchmark measures what a gateway does all day. It calls open once per benchmark and closes the store.
//
// Where several items share a commit, an operation is one item.
func Benchmark(b *testing.B, open func(b *testing.B) Harness) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("Append%d", size), func(b *testing.B) {
			s := openBench(b, open)
			b.ResetTimer()
			for left := b.N; left > 0; left -= size {
				s.append(min(size, left), 1)
			}
		})
		b.Run(fmt.Sprintf("ClaimAndSettle%d", size), func(b *testing.B) {
			s := openBench(b, open)
			for left := b.N; left > 0; left -= 1000 {
				s.append(min(1000, left), 10)
			}
			b.ResetTimer()
			for left := b.N; left > 0; {
				left -= s.claimAndSettle(size)
			}
		})
		b.Run(fmt.Sprintf("Cycle%d", size), func(b *testing.B) {
			s := openBench(b, open)
			b.ResetTimer()
			for left := b.N; left > 0; {
				s.append(min(size, left), 10)
				for n := min(size, left); n > 0; {
					done := s.claimAndSettle(n)
					n, left = n-done, left-done
				}
			}
		})
	}
	b.Run("ClaimOf10000Destinations", func(b *testing.B) {
		s := openBench(b, open)
		for left := max(b.N, 10_000); left > 0; left -= 1000 {
			s.append(1000, 10_000)
		}
		b.ResetTimer()
		for left := b.N; left > 0; {
			left -= s.claim(64)
		}
	})
	b.Run("Docs", func(b *testing.B) {
		s := openBench(b, open)
		var versions [100]uint64
		data := make([]byte, 512)
		b.ResetTimer()
		for i := range b.N {
			d := store.Doc{Kind: "endpoint", ID: fmt.Sprint(i % 100), Data: data}
			r := s.commit(&store.Batch{Docs: []store.DocPut{{Doc: d, Expect: versions[i%100]}}})
			if r.Docs[0].Err != nil {
				b.Fatal(r.Docs[0].Err)
			}
			versions[i%100] = r.Docs[0].Version
		}
	})
}

// bench is a store under measurement.
type bench struct {
	*testing.B
	store   store.Store
	payload []byte
	made    uint64
}

func openBench(b *testing.B, open func(b *testing.B) Harness) *bench {
	s := &bench{B: b, store: open(b).Store, payload: make([]byte, 1024)}
	b.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			b.Errorf("Close: %v", err)
		}
	})
	b.ReportAllocs()
	return s
}

func (s *bench) commit(b *store.Batch) *store.Receipt {
	r, err := s.store.Commit(context.Background(), b)
	if err != nil {
		s.Fatalf("Commit: %v", err)
	}
	return r
}

// append adds n events of 1 KiB, each with one delivery, to so many destinations in turn.
func (s *bench) append(n, destinations int) {
	b := &store.Batch{Appends: make([]store.Append, n)}
	for i := range b.Appends {
		s.made++
		id := store.ID{6: 0x70, 8: 0x80}
		binary.BigEndian.PutUint64(id[8:], s.made|0x80<<56)
		dest := store.Destination(fmt.Sprint("ep:", s.made%uint64(destinations)))
		b.Appends[i] = store.Append{
			Event: &store.Event{ID: id, Type: "invoice.paid", Payload: s.payload}, Deliveries: []store.NewDelivery{{Destination: dest}},
		}
	}
	for _, r := range s.commit(b).Appends {
		if r.Err != nil {
			s.Fatalf("append: %v", r.Err)
		}
	}
}

func (s *bench) leases(n int) []store.Lease {
	res, err := s.store.Claim(context.Background(), store.ClaimRequest{Worker: "bench", Max: n, Lease: time.Hour})
	if err != nil {
		s.Fatalf("Claim: %v", err)
	}
	if len(res.Leases) == 0 && !res.More {
		s.Fatal("Claim: there is nothing left")
	}
	return res.Leases
}

func (s *bench) claim(n int) int { return len(s.leases(n)) }

func (s *bench) claimAndSettle(n int) int {
	leases := s.leases(n)
	b := &store.Batch{Settles: make([]store.Settle, len(leases))}
	for i, l := range leases {
		b.Settles[i] = store.Settle{
			ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered", Attempt: &store.Attempt{Took: time.Millisecond, Code: 200},
		}
	}
	for _, err := range s.commit(b).Settles {
		if err != nil {
			s.Fatalf("settle: %v", err)
		}
	}
	return len(leases)
}
