package hookgate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
)

// commitStore is a Store of which only Commit works: it takes its time, and says what a test wants it to say.
type commitStore struct {
	store.Store
	takes time.Duration

	mu      sync.Mutex
	commits int
	seen    map[ID]int
	settles []store.Settle
	fate    func(n int, b *store.Batch) error // of the n-th commit; nil: good
}

func (s *commitStore) Commit(_ context.Context, b *store.Batch) (*store.Receipt, error) {
	time.Sleep(s.takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	if s.fate != nil {
		if err := s.fate(s.commits, b); err != nil {
			return nil, err
		}
	}
	r := &store.Receipt{
		Docs: make([]store.DocResult, len(b.Docs)), Gates: make([]error, len(b.Gates)),
		Settles: make([]error, len(b.Settles)), Appends: make([]store.AppendResult, len(b.Appends)),
	}
	if s.seen == nil {
		s.seen = make(map[ID]int)
	}
	for i := range b.Appends {
		id := b.Appends[i].Event.ID
		s.seen[id]++
		r.Appends[i] = store.AppendResult{ID: id, Seq: uint64(len(s.seen)), Repeated: s.seen[id] > 1}
	}
	s.settles = append(s.settles, b.Settles...)
	return r, nil
}

func (s *commitStore) count() (commits, events, settles int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits, len(s.seen), len(s.settles)
}

func testCommitter(t *testing.T, s Store) *committer {
	g := &Gateway{cfg: Config{Workers: 1, PerDestination: 1, Timeout: time.Second, Window: 1 << 20}, store: s, log: slog.New(slog.DiscardHandler)}
	g.view.init(g)
	g.keeper = newKeeper(g)
	g.sched = newScheduler(g, "test")
	g.commit = newCommitter(s, g.sched, g.log, func(error) {})
	t.Cleanup(func() {
		if err := g.commit.close(context.Background()); err != nil {
			t.Log(err)
		}
	})
	return g.commit
}

func oneEvent() []store.Append { return []store.Append{{Event: &Event{Type: "test"}}} }

func TestCommitterSharesCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, rounds = 64, 50
		s := &commitStore{takes: time.Millisecond}
		c := testCommitter(t, s)
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for range rounds {
					ap := oneEvent()
					res, err := c.append(t.Context(), ap)
					if err != nil || len(res) != 1 || res[0].ID != ap[0].Event.ID || res[0].ID.IsZero() {
						t.Errorf("append: %v, %v", res, err)
					}
				}
			})
		}
		group.Wait()
		commits, events, _ := s.count()
		if events != callers*rounds {
			t.Errorf("%d events stored, want %d", events, callers*rounds)
		}
		// Without gathering it would be twice as many: half of the callers would always come too late.
		if commits > rounds*7/4 {
			t.Errorf("%d commits for %d rounds of %d callers", commits, rounds, callers)
		}
	})
}

func TestCommitterLoneCallerNeedsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{}
		c := testCommitter(t, s)
		before, start := runtime.NumGoroutine(), time.Now()
		for range 100 {
			if _, err := c.append(t.Context(), oneEvent()); err != nil {
				t.Fatal(err)
			}
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		if commits, _, _ := s.count(); commits != 100 {
			t.Errorf("%d commits, want 100", commits)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v for company", took)
		}
	})
}

func TestCommitterIDsFollowCommitOrder(t *testing.T) {
	t.Parallel()
	c := testCommitter(t, &commitStore{})
	var last ID
	for range 10_000 {
		ap := oneEvent()
		if _, err := c.append(t.Context(), ap); err != nil {
			t.Fatal(err)
		}
		if ap[0].Event.ID.Compare(last) <= 0 {
			t.Fatalf("%v after %v", ap[0].Event.ID, last)
		}
		last = ap[0].Event.ID
	}
}

func TestCommitterCancelledCallersHarmNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{takes: time.Millisecond}
		c := testCommitter(t, s)
		var (
			group            sync.WaitGroup
			accepted, unsure atomic.Int64
		)
		for i := range 64 {
			group.Go(func() {
				for n := range 50 {
					ctx, cancel := context.WithCancel(t.Context())
					if (i+n)%3 == 0 {
						ctx, cancel = context.WithTimeout(t.Context(), time.Duration((i*7+n*13)%1500)*time.Microsecond)
					}
					ap := oneEvent()
					_, err := c.append(ctx, ap)
					switch {
					case err == nil:
						accepted.Add(1)
						s.mu.Lock()
						if s.seen[ap[0].Event.ID] == 0 {
							t.Error("accepted and not stored")
						}
						s.mu.Unlock()
					case errors.Is(err, ErrUnknownOutcome):
						unsure.Add(1)
						if ap[0].Event.ID.IsZero() {
							t.Error("unknown outcome without an ID")
						}
					case !errors.Is(err, context.DeadlineExceeded):
						t.Errorf("append: %v", err)
					}
					cancel()
				}
			})
		}
		group.Wait()
		synctest.Wait()
		_, events, _ := s.count()
		if a, u := accepted.Load(), unsure.Load(); int64(events) < a || int64(events) > a+u || u == 0 {
			t.Errorf("%d accepted, %d unsure, %d stored", a, u, events)
		}
		if _, err := c.append(t.Context(), oneEvent()); err != nil { // somebody can still lead
			t.Error(err)
		}
	})
}

func TestCommitterSettlesRideAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{}
		c := testCommitter(t, s)
		var done atomic.Int64
		settle := func(urgent bool) {
			c.settle(store.Settle{ID: DeliveryID{Event: ID{1}}, Gen: 1, Op: store.OpDone}, urgent, func(err error) {
				if err != nil {
					t.Error(err)
				}
				done.Add(1)
			})
		}
		settle(false)
		if _, err := c.append(t.Context(), oneEvent()); err != nil {
			t.Fatal(err)
		}
		if commits, _, settles := s.count(); commits != 1 || settles != 1 || done.Load() != 1 {
			t.Errorf("%d commits, %d settles, %d told: a settle rides the next commit", commits, settles, done.Load())
		}

		start := time.Now()
		settle(false)
		time.Sleep(settleWait - time.Microsecond)
		if commits, _, _ := s.count(); commits != 1 {
			t.Error("a settle waits for company")
		}
		time.Sleep(2 * time.Microsecond)
		synctest.Wait()
		if commits, _, settles := s.count(); commits != 2 || settles != 2 {
			t.Errorf("%d commits, %d settles after %v", commits, settles, time.Since(start))
		}

		settle(true)
		synctest.Wait()
		if commits, _, _ := s.count(); commits != 3 {
			t.Error("an urgent settle does not wait")
		}
		for range settleCount {
			settle(false)
		}
		synctest.Wait()
		if commits, _, settles := s.count(); commits != 4 || settles != 3+settleCount {
			t.Errorf("%d commits, %d settles: many are worth a commit of their own", commits, settles)
		}
	})
}

func TestCommitterRepeatsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{}
		s.fate = func(n int, b *store.Batch) error {
			if n == 1 { // it happened, and nobody heard of it
				s.seen = map[ID]int{b.Appends[0].Event.ID: 1}
				return fmt.Errorf("connection lost: %w", store.ErrUnknownOutcome)
			}
			return nil
		}
		c := testCommitter(t, s)
		res, err := c.append(t.Context(), oneEvent())
		if err != nil || !res[0].Repeated {
			t.Errorf("%v, %v: want the answer of the repeat", res, err)
		}
		s.fate = func(int, *store.Batch) error { return store.ErrUnknownOutcome }
		ap := oneEvent()
		if _, err := c.append(t.Context(), ap); !errors.Is(err, ErrUnknownOutcome) || ap[0].Event.ID.IsZero() {
			t.Errorf("%v with %v", err, ap[0].Event.ID)
		}
	})
}

func TestCommitterKeepsOutcomesWhileTheStoreIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		s := &commitStore{fate: func(_ int, b *store.Batch) error {
			if full.Load() || len(b.Appends) > 0 && len(b.Settles) > 0 {
				return store.ErrFull
			}
			return nil
		}}
		c := testCommitter(t, s)
		var told atomic.Int64
		c.settle(store.Settle{Op: store.OpDone, Gen: 1}, true, func(err error) {
			if err != nil {
				t.Error(err)
			}
			told.Add(1)
		})
		time.Sleep(10 * time.Second)
		if commits, _, _ := s.count(); told.Load() != 0 || commits < 5 || commits > 20 {
			t.Errorf("told %d times after %d tries", told.Load(), commits)
		}
		if _, err := c.append(t.Context(), oneEvent()); !errors.Is(err, ErrFull) {
			t.Errorf("append: %v, want ErrFull", err)
		}
		if err := c.flush(t.Context()); err == nil {
			t.Error("flush says nothing of what is left")
		}
		full.Store(false)
		time.Sleep(2 * time.Second)
		if told.Load() != 1 {
			t.Errorf("told %d times when there was room again", told.Load())
		}

		// Outcomes do not fail for the company of appends that find no room.
		c.settle(store.Settle{Op: store.OpDone, Gen: 2}, false, func(error) { told.Add(1) })
		if _, err := c.append(t.Context(), oneEvent()); !errors.Is(err, ErrFull) {
			t.Errorf("append: %v, want ErrFull", err)
		}
		if told.Load() != 2 {
			t.Errorf("told %d times, want 2", told.Load())
		}
	})
}

func TestCommitterTellsOfAFailedStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{fate: func(int, *store.Batch) error { panic("a bug in the store") }}
		c := testCommitter(t, s)
		failed := 0
		c.fail = func(error) { failed++ }
		for range 3 {
			if _, err := c.append(t.Context(), oneEvent()); !errors.Is(err, ErrFailed) {
				t.Errorf("append: %v, want ErrFailed", err)
			}
		}
		if failed != 1 {
			t.Errorf("told %d times, want once", failed)
		}
	})
}

func TestCommitterSplitsWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{takes: time.Millisecond}
		c := testCommitter(t, s)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				appends := make([]store.Append, 5000)
				for i := range appends {
					appends[i].Event = &Event{Type: "test"}
				}
				res, err := c.append(t.Context(), appends)
				if err != nil || len(res) != len(appends) {
					t.Errorf("%d results, %v", len(res), err)
				}
				for i := range res {
					if res[i].ID != appends[i].Event.ID {
						t.Fatal("results are not in the order of the appends")
					}
				}
			})
		}
		group.Wait()
		if commits, events, _ := s.count(); events != 15_000 || commits < 15 {
			t.Errorf("%d events in %d commits", events, commits)
		}
	})
}

func TestCommitterRefusesWhenClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &commitStore{takes: time.Millisecond}
		c := testCommitter(t, s)
		var told atomic.Int64
		c.settle(store.Settle{Gen: 1, Op: store.OpDone}, false, func(error) { told.Add(1) })
		go c.append(t.Context(), oneEvent())
		synctest.Wait()
		if err := c.close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, events, settles := s.count(); events != 1 || settles != 1 || told.Load() != 1 {
			t.Errorf("%d events, %d settles, told %d times: close waits for what is there", events, settles, told.Load())
		}
		if _, err := c.append(t.Context(), oneEvent()); !errors.Is(err, ErrClosed) {
			t.Errorf("append: %v, want ErrClosed", err)
		}
		if _, err := c.do(t.Context(), &store.Batch{}); !errors.Is(err, ErrClosed) {
			t.Errorf("do: %v, want ErrClosed", err)
		}
		c.settle(store.Settle{}, true, func(err error) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("settle: %v, want ErrClosed", err)
			}
		})
	})
}
