package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
)

// Events that are claimed together are read together, but whoever keeps one of them does not keep the others, and may write
// to what it got.
func TestClaimedEventsStandForThemselves(t *testing.T) {
	s := open(t, memory.NewMap(), nil)
	defer s.Close()
	b := &store.Batch{}
	const events = 20
	for n := range events {
		a := publish(n, "d", "e")
		a.Event.Payload = bytes.Repeat([]byte{byte(n)}, 100)
		a.Event.Type = strings.Repeat(string(rune('a'+n)), 50)
		a.Event.IdempotencyKey = a.Event.Type[:20]
		a.Event.Header = map[string][]string{"A": {"1", "2"}, "B": nil, "C": {a.Event.Type}}
		a.Event.Labels = map[string]string{"type": a.Event.Type}
		a.Deliveries[1].Lane = "lane of its own " + a.Event.Type
		b.Appends = append(b.Appends, a)
	}
	commit(t, s, b)
	r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 100, Lease: time.Hour})
	if err != nil || len(r.Leases) != 2*events {
		t.Fatalf("%d leases, %v", len(r.Leases), err)
	}
	var gone atomic.Int32
	kept := make([]store.Event, 0, 1)
	for i := range r.Leases {
		l := &r.Leases[i]
		n := int(l.Delivery.ID.Event[15])
		want := b.Appends[n].Event
		ev := &l.Event
		if ev.Type != want.Type || ev.IdempotencyKey != want.IdempotencyKey || ev.Labels["type"] != want.Type || !bytes.Equal(ev.Payload, want.Payload) {
			t.Errorf("event %d reads as %+v", n, ev)
		}
		if h := ev.Header; len(h) != 3 || strings.Join(h["A"], ",") != "1,2" || len(h["B"]) != 0 || strings.Join(h["C"], ",") != want.Type {
			t.Errorf("the headers of event %d read as %v", n, h)
		}
		if l.Delivery.Lane != b.Appends[n].Deliveries[l.Delivery.ID.N].Lane {
			t.Errorf("delivery %v has the lane %q", l.Delivery.ID, l.Delivery.Lane)
		}
		if cap(ev.Payload) != len(ev.Payload) {
			t.Errorf("the payload has room for %d bytes more", cap(ev.Payload)-len(ev.Payload))
		}
		clear(ev.Payload)
		ev.Header["A"] = append(ev.Header["A"], "x")
		if i == 7 {
			kept = append(kept, *ev)
			continue
		}
		runtime.AddCleanup(&ev.Payload[0], func(int) { gone.Add(1) }, 0)
	}
	r = nil
	for i := 0; i < 1000 && gone.Load() < 2*events-1; i++ {
		runtime.GC()
		runtime.Gosched() // cleanups have a goroutine of their own
	}
	if n := gone.Load(); n != 2*events-1 {
		t.Errorf("%d payloads of %d are still in memory", 2*events-1-n, 2*events-1)
	}
	runtime.KeepAlive(kept)
}

// A batch fills the window of a queue, and leases what it appends after that: nothing of it is forgotten.
func TestBornLeaseBehindAFullWindow(t *testing.T) {
	t.Parallel()
	s := open(t, memory.NewMap(), &kvstore.Options{Log: &plainLog{}})
	defer s.Close()
	const lanes = 66 // more than the window takes
	events := 0
	add := func(lane string) store.Append {
		a := publish(events, "d")
		events++
		a.Deliveries[0].Lane = lane
		return a
	}
	want := &store.ClaimRequest{Worker: "w", Max: 1000, Lease: time.Hour}
	b := &store.Batch{}
	for i := range lanes {
		b.Appends = append(b.Appends, add(fmt.Sprint("lane", i)))
	}
	commit(t, s, b)
	// One commit settles the heads of the lanes, appends their successors, and three without a lane.
	b = &store.Batch{Lease: want, Settles: settleAll(t, s, want)}
	for i := range lanes {
		b.Appends = append(b.Appends, add(fmt.Sprint("lane", i)))
	}
	b.Appends = append(b.Appends, add(""), add(""), add(""))
	born := &store.Batch{}
	for _, a := range commit(t, s, b).Appends {
		for _, g := range a.Leased {
			born.Settles = append(born.Settles, store.Settle{ID: store.DeliveryID{Event: a.ID, N: uint64(g.Index)}, Gen: g.Gen, Op: store.OpDone, Reason: "delivered"})
		}
	}
	if len(born.Settles) == 0 {
		t.Fatal("nothing was leased by the commit")
	}
	commit(t, s, born)
	for range 20 {
		commit(t, s, &store.Batch{Settles: settleAll(t, s, want)})
	}
	if st, err := s.Stats(ctx); err != nil || st.Pending+st.Leased != 0 {
		t.Errorf("at the end: %+v, %v", st, err)
	}
}

// settleAll claims, and says that all of it is done.
func settleAll(t *testing.T, s *kvstore.Store, want *store.ClaimRequest) (list []store.Settle) {
	t.Helper()
	r, err := s.Claim(ctx, *want)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Leases {
		list = append(list, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered"})
	}
	return list
}

// hookLog calls a function before the next append.
type hookLog struct {
	plainLog
	hook func() error
}

func (l *hookLog) Append(f []byte, reserved bool) (kvstore.Mark, error) {
	if hook := l.hook; hook != nil {
		l.hook = nil
		if err := hook(); err != nil {
			return kvstore.Mark{}, err
		}
	}
	return l.plainLog.Append(f, reserved)
}

// A lease that a batch makes for its own delivery counts while the batch is on its way to the disk: for a gate's limit, and for
// those of the worker. When the batch fails, it is as if it had not been.
func TestLimitsBesideABornLease(t *testing.T) {
	t.Parallel()
	perClass := [store.Classes]int{store.Live: 1}
	for name, c := range map[string]struct {
		gate  int                // MaxInFlight of d; 0 for none
		claim store.ClaimRequest // while the batch is on its way
		want  int                // leases of it
	}{
		"a gate":              {1, store.ClaimRequest{Worker: "x", Accept: []store.Destination{"d"}}, 0},
		"a wide gate":         {2, store.ClaimRequest{Worker: "x", Accept: []store.Destination{"d"}}, 1},
		"PerDestination":      {0, store.ClaimRequest{Worker: "w", Accept: []store.Destination{"d"}, PerDestination: 1}, 0},
		"of another worker":   {0, store.ClaimRequest{Worker: "x", Accept: []store.Destination{"d"}, PerDestination: 1}, 1},
		"PerClass":            {0, store.ClaimRequest{Worker: "w", Accept: []store.Destination{"e"}, PerClass: perClass}, 0},
		"PerClass of another": {0, store.ClaimRequest{Worker: "x", Accept: []store.Destination{"e"}, PerClass: perClass}, 1},
	} {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", the batch fails: ", fails), func(t *testing.T) {
				t.Parallel()
				log := &hookLog{}
				s := open(t, memory.NewMap(), &kvstore.Options{Log: log})
				defer s.Close()
				more := false
				claim := func(r store.ClaimRequest) []store.Lease {
					t.Helper()
					r.Max, r.Lease = 1, time.Hour
					res, err := s.Claim(ctx, r)
					if err != nil {
						t.Fatal(err)
					}
					more = res.More
					return res.Leases
				}
				// d has a retry that is due, e a first attempt.
				commit(t, s, &store.Batch{
					Gates:   []store.Gate{{Destination: "d", Cause: "slow", MaxInFlight: c.gate}},
					Appends: []store.Append{publish(1, "d")},
				})
				l := claim(store.ClaimRequest{Worker: "w"})[0]
				commit(t, s, &store.Batch{Settles: []store.Settle{{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRetry, Attempt: &store.Attempt{Code: 500}}}})
				commit(t, s, &store.Batch{Appends: []store.Append{publish(2, "e")}})
				claimed := -1
				log.hook = func() error {
					claimed = len(claim(c.claim))
					if claimed == 0 && !more {
						t.Error("there is room as soon as the batch has ended, and Claim does not say that there is more")
					}
					if fails {
						return store.ErrFull
					}
					return nil
				}
				want := &store.ClaimRequest{Worker: "w", Max: 1, Lease: time.Hour}
				res, err := s.Commit(ctx, &store.Batch{Appends: []store.Append{publish(3, "d")}, Lease: want})
				switch {
				case fails && (err != nil || !errors.Is(res.Appends[0].Err, store.ErrFull)):
					t.Fatalf("the batch came to %+v, %v", res, err)
				case !fails && (err != nil || len(res.Appends[0].Leased) != 1):
					t.Fatalf("the batch got no lease: %+v, %v", res, err)
				}
				if claimed != c.want {
					t.Errorf("%d were claimed meanwhile, want %d", claimed, c.want)
				}
				if fails {
					if n := len(claim(c.claim)); n != 1-c.want {
						t.Errorf("%d were claimed after the batch failed, want %d", n, 1-c.want)
					}
				}
			})
		}
	}
}

// failingReads is an engine one of whose reads fails.
type failingReads struct {
	kvstore.KV
	in  atomic.Int64 // so many reads later
	off atomic.Bool  // not now
}

var errRead = errors.New("input/output error")

func (k *failingReads) View(c context.Context, fn func(kvstore.Reader) error) error {
	if !k.off.Load() && k.in.Add(-1) == 0 {
		return errRead
	}
	return k.KV.View(c, fn)
}

// A read that fails costs the Claim that made it, and nothing else: whatever it was about is handed out later.
func TestClaimAfterAFailedReadMissesNothing(t *testing.T) {
	t.Parallel()
	failures := 0
	for in := range 40 {
		synctest.Test(t, func(t *testing.T) {
			kv := &failingReads{KV: memory.NewMap()}
			o := &kvstore.Options{Log: &plainLog{}, Cache: 1}
			s := open(t, kv, o)
			lost := map[store.DeliveryID]bool{}
			for n := range 12 {
				a := publish(n, "d")
				if n%2 == 0 {
					a.Deliveries[0].Lane = fmt.Sprint("lane", n%4)
				}
				if n%3 == 0 {
					a.Deliveries[0].After = time.Second
				}
				commit(t, s, &store.Batch{Appends: []store.Append{a}})
				lost[store.DeliveryID{Event: a.Event.ID}] = true
			}
			b := &store.Batch{}
			r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 5, Lease: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range r.Leases {
				b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRetry, After: time.Duration(1+i/2) * time.Second})
			}
			commit(t, s, b)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, kv, o)
			defer s.Close()
			kv.in.Store(int64(in))
			for range 30 {
				r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 2, Lease: time.Hour})
				if err != nil {
					if !errors.Is(err, errRead) {
						t.Fatal(err)
					}
					if errors.Is(err, store.ErrFailed) {
						return // it was the Claim's own commit: to be opened again, which is another matter
					}
					failures++
					continue
				}
				b := &store.Batch{}
				for _, l := range r.Leases {
					delete(lost, l.Delivery.ID)
					b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered"})
				}
				kv.off.Store(true) // a commit that cannot read is another matter
				commit(t, s, b)
				kv.off.Store(false)
				time.Sleep(500 * time.Millisecond)
			}
			if len(lost) > 0 {
				t.Errorf("read %d failed: %d were never handed out", in, len(lost))
			}
		})
	}
	if failures < 10 {
		t.Errorf("only %d claims failed: the test does not test", failures)
	}
}
