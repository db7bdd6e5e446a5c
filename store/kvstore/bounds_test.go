package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
)

func publish(n int, dests ...store.Destination) store.Append {
	a := store.Append{Event: &store.Event{ID: testID(n), Type: "t", Payload: []byte(fmt.Sprint(n))}}
	for _, d := range dests {
		a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: d})
	}
	return a
}

// A store that is only written to keeps no more in memory than its cache.
func TestPublishingAloneStaysInTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.NewMap(), &kvstore.Options{Cache: 900})
		defer s.Close()
		for n := range 5000 {
			commit(t, s, &store.Batch{Appends: []store.Append{publish(n, "d")}})
			if n%100 == 0 {
				time.Sleep(time.Second)
				synctest.Wait()
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := s.CachedFrames(); n > 300 {
			t.Errorf("%d frames are in memory, and the cache is for about 90", n)
		}
	})
}

// When the system's clock was far ahead for a moment, what waits for a time still comes to it.
func TestClockThatStepsBackStopsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory.NewMap()
		s := open(t, m, nil)
		s.SystemClockWas(365 * 24 * time.Hour)
		commit(t, s, &store.Batch{Appends: []store.Append{publish(1, "d")}})
		check := func() {
			t.Helper()
			r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 10, Lease: time.Minute})
			if err != nil || len(r.Leases) != 1 {
				t.Fatalf("%+v, %v, want the delivery", r, err)
			}
			time.Sleep(61 * time.Second)
		}
		check()
		check() // its lease ran out
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, m, nil)
		check()
		check()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What an engine or a log could not take is refused for itself, and harms neither its neighbours nor the store.
func TestWhatIsTooLargeIsRefusedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memory.NewMap(), nil)
		defer s.Close()
		long := strings.Repeat("n", 40_000)
		b := &store.Batch{
			Docs: []store.DocPut{
				{Doc: store.Doc{Kind: "k", ID: long}},
				{Doc: store.Doc{Kind: "k", ID: strings.Repeat("\x00", 20_000)}}, // zeros take two bytes
				{Doc: store.Doc{Kind: "k", ID: "fine"}},
			},
			Gates: []store.Gate{{Destination: store.Destination(long), Cause: "c", Hold: -1}, {Destination: "d", Cause: "c", Hold: -1}},
		}
		b.Appends = append(b.Appends, publish(3, "d"))
		r, err := s.Commit(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, true, false} {
			if limit := (*store.LimitError)(nil); errors.As(r.Docs[i].Err, &limit) != want || !want && r.Docs[i].Err != nil {
				t.Errorf("document %d: %v", i, r.Docs[i].Err)
			}
		}
		if limit := (*store.LimitError)(nil); !errors.As(r.Gates[0], &limit) || r.Gates[1] != nil {
			t.Errorf("gates: %v", r.Gates)
		}
		if r.Appends[0].Err != nil {
			t.Errorf("append: %v", r.Appends[0].Err)
		}
		if err := s.AppendToLargeBatch(publish(4, "d")); err == nil {
			t.Error("a commit has no limit")
		}
		time.Sleep(time.Second)
		if st, err := s.Stats(ctx); err != nil || st.Failed != nil || st.Events != 1 {
			t.Errorf("stats are %+v, %v", st, err)
		}
	})
}

// fullKV is an engine whose updates fail for want of room while full is set.
type fullKV struct {
	kvstore.KV
	full *atomic.Bool
}

func (k fullKV) Update(ctx context.Context, fn func(kvstore.Writer) error) error {
	if k.full.Load() {
		return fmt.Errorf("%w: by the test", store.ErrFull)
	}
	return k.KV.Update(ctx, fn)
}

// plainLog is a log in memory that is never full.
type plainLog struct {
	mu     sync.Mutex
	frames [][]byte
}

func (l *plainLog) HeaderSize() int { return 0 }
func (l *plainLog) Append(f []byte, _ bool) (kvstore.Mark, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames = append(l.frames, bytes.Clone(f))
	n := uint64(len(l.frames))
	return kvstore.Mark{Segment: 1, Offset: int64(n) << 32, Frame: n}, nil
}

func (l *plainLog) ReadAt(p []byte, _ uint64, offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	copy(p, l.frames[offset>>32-1][offset&(1<<32-1):])
	return nil
}

func (l *plainLog) Recover(after kvstore.Mark, fn func(kvstore.Mark, []byte) error) error {
	for i := int(after.Frame); i < len(l.frames); i++ {
		if err := fn(kvstore.Mark{Segment: 1, Offset: int64(i+1) << 32, Frame: uint64(i + 1)}, l.frames[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *plainLog) Sync() error { return nil }
func (l *plainLog) Segments() []kvstore.Segment {
	return []kvstore.Segment{{Number: 1, First: 1, Last: uint64(len(l.frames))}}
}
func (l *plainLog) Drop(uint64) error { return nil }
func (l *plainLog) Size() int64       { return 0 }
func (l *plainLog) Full() bool        { return false }
func (l *plainLog) Close() error      { return nil }

// While the engine takes nothing, what is decided is true all the same: nothing that waits is forgotten by retention, nothing
// that is done is handed out again, reads see it, memory has a bound, and a store that is opened then has it too.
func TestEngineThatIsFullForAWhile(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { engineFull(t, seed) })
		})
	}
}

func engineFull(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	m, log, full := memory.NewMap(), &plainLog{}, &atomic.Bool{}
	o := &kvstore.Options{Log: log, Cache: 200}
	s := open(t, fullKV{m, full}, o)
	state := map[store.DeliveryID]store.State{} // Pending: retried, or never tried
	n := 0
	check := func() {
		t.Helper()
		seen := map[store.DeliveryID]store.State{}
		for cursor := ""; ; {
			page, err := s.Deliveries(ctx, store.DeliveryQuery{Tenant: store.AllTenants, Page: store.Paging{Limit: 1000, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page.Items {
				seen[d.ID] = d.State
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		for id, want := range state {
			have, ok := seen[id]
			switch {
			case want == store.Pending && (!ok || !have.Open()):
				t.Fatalf("%v waits, and the store says %v %v", id, have, ok)
			case want == store.Done && ok && have != want:
				t.Fatalf("%v is done, and the store says %v", id, have)
			}
		}
	}
	for range 30 {
		full.Store(rng.IntN(3) > 0)
		for range rng.IntN(8) {
			b := &store.Batch{}
			for range 1 + rng.IntN(5) {
				a := publish(n, "d")
				b.Appends = append(b.Appends, a)
				state[store.DeliveryID{Event: a.Event.ID}] = store.Pending
				n++
			}
			r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: rng.IntN(6), Lease: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range r.Leases {
				if state[l.Delivery.ID] != store.Pending {
					t.Fatalf("%v is %v and was handed out", l.Delivery.ID, state[l.Delivery.ID])
				}
				st := store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered", Attempt: &store.Attempt{Code: 200}}
				if rng.IntN(3) == 0 {
					st.Op, st.After = store.OpRetry, time.Duration(rng.IntN(60))*time.Minute
				} else {
					state[l.Delivery.ID] = store.Done
				}
				b.Settles = append(b.Settles, st)
			}
			commit(t, s, b)
			if rng.IntN(2) == 0 {
				time.Sleep(150 * time.Millisecond)
				synctest.Wait()
			}
			if rng.IntN(4) == 0 {
				check()
			}
		}
		if rng.IntN(3) == 0 {
			time.Sleep(time.Hour)
		}
		if _, err := s.Prune(ctx, store.PruneRequest{Done: time.Minute, Dead: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(8) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, fullKV{m, full}, o)
		}
		check()
	}
	full.Store(false)
	left := 0
	for _, st := range state {
		if st == store.Pending {
			left++
		}
	}
	time.Sleep(2 * time.Hour)
	got := 0
	for {
		r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 100, Lease: 10 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if got += len(r.Leases); len(r.Leases) == 0 && !r.More {
			break
		}
	}
	if got != left {
		t.Errorf("%d were to be had at the end, and %d wait", got, left)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// An engine that stays full does not fill memory, nor does anybody wait for it for ever.
func TestEngineThatStaysFullEndsCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := &atomic.Bool{}
		s := open(t, fullKV{memory.NewMap(), full}, &kvstore.Options{Log: &plainLog{}})
		full.Store(true)
		for n := 0; ; {
			b := &store.Batch{}
			for range 20_000 {
				a := publish(n, "d")
				a.Deliveries[0].After = time.Hour // so that each has rows
				b.Appends = append(b.Appends, a)
				n++
			}
			r, err := s.Commit(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			if errors.Is(r.Appends[0].Err, store.ErrFull) {
				break
			}
			if n > 400_000 {
				t.Fatalf("%d events wait in memory", n)
			}
			time.Sleep(150 * time.Millisecond)
			synctest.Wait()
		}
		full.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		commit(t, s, &store.Batch{Appends: []store.Append{publish(1_000_000, "d")}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Everything at once, and closed in the middle of it, hundreds of times: every call gets a true answer, and nothing is left
// running.
func TestCloseWhileEverythingRuns(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	before := runtime.NumGoroutine()
	m := memory.NewMap()
	var n atomic.Int64
	acknowledged := int64(0)
	for round := range rounds {
		if round%20 == 0 {
			m, acknowledged = memory.NewMap(), 0 // a small store opens faster
		}
		s := open(t, m, &kvstore.Options{FlushEvery: time.Millisecond, Keys: 50, Cache: 100})
		var all sync.WaitGroup
		var accepted atomic.Int64
		fine := func(what string, err error) bool {
			if err != nil && !errors.Is(err, store.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
			return err == nil
		}
		for w := range 3 {
			worker := fmt.Sprint("w", w)
			all.Go(func() {
				for {
					b := &store.Batch{Lease: &store.ClaimRequest{Worker: worker, Max: 1, Lease: time.Minute}}
					a := publish(int(n.Add(1)), "d", "e")
					a.Event.IdempotencyKey = fmt.Sprint(n.Load())
					a.Deliveries[0].Lane = worker
					b.Appends = append(b.Appends, a)
					r, err := s.Claim(ctx, store.ClaimRequest{Worker: worker, Max: 4, Lease: time.Minute})
					if !fine("claim", err) {
						return
					}
					for i, l := range r.Leases {
						b.Settles = append(b.Settles, store.Settle{
							ID: l.Delivery.ID, Gen: l.Gen, Op: [...]store.Op{store.OpDone, store.OpRetry, store.OpDead, store.OpRelease}[i%4], Attempt: &store.Attempt{Code: 200},
						})
					}
					got, err := s.Commit(ctx, b)
					if !fine("commit", err) {
						return
					}
					if got.Appends[0].Err == nil {
						accepted.Add(1)
					}
				}
			})
		}
		all.Go(func() {
			for {
				if _, err := s.Prune(ctx, store.PruneRequest{Done: time.Hour, Dead: time.Hour}); !fine("prune", err) {
					return
				}
			}
		})
		all.Go(func() {
			for {
				_, err := s.Deliveries(ctx, store.DeliveryQuery{Tenant: store.AllTenants, Page: store.Paging{Limit: 50}})
				if !fine("deliveries", err) {
					return
				}
				if _, err := s.Events(ctx, store.EventQuery{Tenant: store.AllTenants, Oldest: true, Page: store.Paging{Limit: 50}}); !fine("events", err) {
					return
				}
				if _, err := s.Stats(ctx); !fine("stats", err) {
					return
				}
			}
		})
		time.Sleep(3 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		acknowledged += accepted.Load()
	}
	s := open(t, m, nil)
	st, err := s.Stats(ctx)
	if err != nil || st.Events != acknowledged {
		t.Errorf("%d events were accepted, and the store has %+v, %v", acknowledged, st, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 1000 {
			t.Fatalf("%d goroutines were running, and now %d are", before, runtime.NumGoroutine())
		}
		time.Sleep(time.Millisecond)
	}
}

// slowKV is an engine whose updates wait for gate while it is there.
type slowKV struct {
	kvstore.KV
	gate atomic.Pointer[chan struct{}]
}

func (k *slowKV) Update(ctx context.Context, fn func(kvstore.Writer) error) error {
	if gate := k.gate.Load(); gate != nil {
		<-*gate
	}
	return k.KV.Update(ctx, fn)
}

// Retention that comes by an event while its retry is on the way to the engine does not take it for done.
func TestPruneBesideAFlushForgetsNothingThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := &slowKV{KV: memory.NewMap()}
		s := open(t, kv, &kvstore.Options{Log: &plainLog{}})
		var retried store.Settle
		for n := range 40 {
			b := &store.Batch{Appends: []store.Append{publish(n, "d")}}
			if n == 30 {
				b.Appends[0] = publish(n, "e")
				b.Lease = &store.ClaimRequest{Worker: "w", Max: 1, Lease: 24 * time.Hour}
			}
			r := commit(t, s, b)
			if n == 30 {
				retried = store.Settle{ID: store.DeliveryID{Event: r.Appends[0].ID}, Gen: r.Appends[0].Leased[0].Gen, Op: store.OpRetry, After: 10 * time.Hour}
			}
		}
		time.Sleep(time.Hour)
		request := store.PruneRequest{Done: time.Minute, Dead: time.Minute, Limit: 1}
		if r, err := s.Prune(ctx, request); err != nil || !r.More {
			t.Fatalf("%+v, %v, want a pass that goes on", r, err)
		}
		gate := make(chan struct{})
		kv.gate.Store(&gate)
		commit(t, s, &store.Batch{Settles: []store.Settle{retried}})
		time.Sleep(150 * time.Millisecond)
		synctest.Wait() // a flush is on its way
		// This call stays in the middle of the pass, so it does not wait for the flush.
		if r, err := s.Prune(ctx, request); err != nil || r.Events != 0 {
			t.Errorf("%+v, %v, want nothing to be forgotten", r, err)
		}
		kv.gate.Store(nil)
		close(gate)
		page, err := s.Deliveries(ctx, store.DeliveryQuery{Tenant: store.AllTenants, IDs: []store.DeliveryID{retried.ID}})
		if err != nil || len(page.Items) != 1 || page.Items[0].State != store.Pending {
			t.Errorf("the retry is gone: %+v, %v", page.Items, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A frame that is heavier than the whole cache is in memory once, and not thrown away while it is used: what is noted in it
// reaches the engine.
func TestFrameHeavierThanTheCache(t *testing.T) {
	t.Parallel()
	m, o := memory.NewMap(), &kvstore.Options{Log: &plainLog{}, Cache: 8}
	s := open(t, m, o)
	heavy := publish(1, "a", "b")
	for range 200 {
		heavy.Deliveries = append(heavy.Deliveries, store.NewDelivery{Destination: "z"})
	}
	commit(t, s, &store.Batch{Appends: []store.Append{heavy}})
	commit(t, s, &store.Batch{Appends: []store.Append{publish(2, "c")}})
	again := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, m, o)
	}
	claim := func(d store.Destination) []store.Lease {
		t.Helper()
		r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 1, Lease: time.Hour, Accept: []store.Destination{d}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Leases
	}
	again()
	var held []store.Lease
	for _, d := range []store.Destination{"a", "c", "b"} { // the event of c is in another frame
		held = append(held, claim(d)...)
	}
	if len(held) != 3 {
		t.Fatalf("%d leases", len(held))
	}
	for _, l := range held {
		commit(t, s, &store.Batch{Settles: []store.Settle{{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered"}}})
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	again()
	defer s.Close()
	for _, d := range []store.Destination{"a", "b", "c"} {
		if n := len(claim(d)); n > 0 {
			t.Errorf("the delivery to %s is given again after its success was recorded", d)
		}
	}
}
