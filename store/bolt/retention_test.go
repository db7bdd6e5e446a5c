package bolt

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
)

// journalSize is how many bytes the files of a journal take.
func journalSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

// One destination is dead and has old work waiting all over a long journal. Retention gives the rest of the journal back, within
// the bound that package kvstore states, and what waits keeps its ID, its place and its bytes, and goes out in order: also
// when the store is opened again in the middle, and when it crashes at any point of it.
func TestRetentionWithOldWorkInEverySegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := 200_000
		if testing.Short() {
			events = 40_000
		}
		ctx := context.Background()
		dir := filepath.Join(t.TempDir(), "s")
		s, err := openFaulty(dir, &faults{})
		if err != nil {
			t.Fatal(err)
		}
		type kept struct {
			id      store.ID
			payload string
		}
		waits := map[uint64]kept{}
		keptBytes := int64(0)
		payload := func(n int) []byte { return append(make([]byte, 120), byte(n), byte(n>>8), byte(n>>16)) }
		for n := 0; n < events; {
			b := &store.Batch{}
			for range 500 {
				var id store.ID
				binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|0x7000)
				binary.BigEndian.PutUint64(id[8:], 1<<63|uint64(n))
				a := testAppend(id, payload(n), "fn:live")
				if n%50 == 7 {
					a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: "ep:dead", Lane: "one"})
				}
				b.Appends = append(b.Appends, a)
				n++
			}
			r, err := s.Commit(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range r.Appends {
				if len(b.Appends[i].Deliveries) == 2 {
					waits[a.Seq] = kept{a.ID, string(b.Appends[i].Event.Payload)}
					keptBytes += int64(len(b.Appends[i].Event.Payload)) + 100
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		for {
			r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Accept: []store.Destination{"fn:*"}, Max: 1000, Lease: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			b := &store.Batch{}
			for _, l := range r.Leases {
				b.Settles = append(b.Settles, done(l))
			}
			if _, err := s.Commit(ctx, b); err != nil {
				t.Fatal(err)
			}
			if len(r.Leases) == 0 && !r.More {
				break
			}
		}
		time.Sleep(2 * time.Hour)
		before := journalSize(t, dir)

		// check drains the dead destination of a copy.
		check := func(c *opened) {
			t.Helper()
			st, err := c.Stats(ctx)
			if err != nil || int(st.Pending) != len(waits) {
				t.Fatalf("%+v, %v, want %d that wait", st, err, len(waits))
			}
			last, seen := uint64(0), 0
			for {
				r, err := c.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 1000, Lease: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				b := &store.Batch{}
				for _, l := range r.Leases {
					w, ok := waits[l.Event.Seq]
					if !ok || l.Event.ID != w.id || string(l.Event.Payload) != w.payload {
						t.Fatalf("event %v at place %d, which is not what was appended", l.Event.ID, l.Event.Seq)
					}
					if l.Event.Seq <= last {
						t.Fatalf("place %d came after %d", l.Event.Seq, last)
					}
					last = l.Event.Seq
					seen++
					b.Settles = append(b.Settles, done(l))
				}
				if len(b.Settles) == 0 && !r.More {
					break
				}
				if _, err := c.Commit(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			if seen != len(waits) {
				t.Fatalf("%d were handed out, and %d wait", seen, len(waits))
			}
		}

		forgotten := 0
		for call := 0; ; call++ {
			r, err := s.Prune(ctx, store.PruneRequest{Done: time.Hour, Dead: time.Hour, Limit: 20_000})
			if err != nil {
				t.Fatal(err)
			}
			forgotten += r.Events
			switch call % 4 {
			case 1: // a crash here
				left := filepath.Join(t.TempDir(), "left")
				if err := s.snapshot(left); err != nil {
					t.Fatal(err)
				}
				c, err := openFaulty(left, &faults{})
				if err != nil {
					t.Fatalf("after a crash in the middle of retention: %v", err)
				}
				if call == 1 || !r.More {
					check(c)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			case 3:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = openFaulty(dir, &faults{}); err != nil {
					t.Fatal(err)
				}
			}
			if !r.More {
				break
			}
			if call > 1000 {
				t.Fatal("retention does not end")
			}
		}
		for range 3 { // what the last call moved is given back by the next
			time.Sleep(time.Minute)
			if _, err := s.Prune(ctx, store.PruneRequest{Done: time.Hour, Dead: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		if want := events - len(waits); forgotten != want {
			t.Errorf("%d events were forgotten, want %d", forgotten, want)
		}
		// The segment that is being written, the spare, a second one that is being made, and the pool of two.
		most := 2*keptBytes + 5*small.MaxSegment
		after := journalSize(t, dir)
		t.Logf("the journal had %d bytes and has %d, for %d that are kept", before, after, keptBytes)
		if after > most {
			t.Errorf("the journal takes %d bytes, want at most %d", after, most)
		}
		check(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
