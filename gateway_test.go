package hookgate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/memory"
)

func newTestStore(t testing.TB) Store {
	t.Helper()
	s, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// brokenStore is a Store whose writes fail for good when a test says so.
type brokenStore struct {
	Store
	broken atomic.Bool
}

// Commit commits, or fails.
func (s *brokenStore) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	if s.broken.Load() {
		return nil, fmt.Errorf("sync: input/output error: %w", ErrFailed)
	}
	return s.Store.Commit(ctx, b)
}

func TestRunOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newEngine(t, Config{Dispatcher: &consumer{}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		synctest.Wait()
		if err := g.Run(ctx); !errors.Is(err, ErrRunning) {
			t.Errorf("second Run: %v, want ErrRunning", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v, want nil after a clean drain", err)
		}
		if err := g.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Run again: %v, want ErrClosed", err)
		}
		if _, err := g.Publish(t.Context(), Event{Type: "test"}); err != nil {
			t.Errorf("Publish after Run: %v", err)
		}
	})
}

func TestCloseTwiceAndWithoutRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newEngine(t, Config{Dispatcher: &consumer{}})
		for range 2 {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := g.Publish(t.Context(), Event{Type: "test"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Publish: %v, want ErrClosed", err)
		}
		if err := g.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Run: %v, want ErrClosed", err)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestShutdownLetsAttemptsFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: func(context.Context, int, *Request) (*Response, error) {
			time.Sleep(5 * time.Second)
			return answer(200), nil
		}}
		g := startGateway(t, Config{Dispatcher: c, Workers: 4, PerDestination: 4})
		mustCreate(t, g, "", "a")
		var ids []ID
		for range 20 {
			ids = append(ids, mustPublish(t, g, Event{}))
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(start); took < 4*time.Second || took > 4100*time.Millisecond {
			t.Errorf("took %v: attempts had 4 s left", took)
		}
		if c.count() != 4 {
			t.Errorf("%d requests: nothing new may start", c.count())
		}
		done := 0
		for _, id := range ids {
			d := delivery(t, g, id)
			switch d.State {
			case Done:
				done++
			case Pending:
				if d.Attempts != 0 || d.Recorded != 0 || d.Abandoned != 0 || d.Due.After(time.Now()) {
					t.Errorf("not started and not untouched: %+v", d)
				}
			default:
				t.Errorf("%v", d.State)
			}
		}
		if done != 4 {
			t.Errorf("%d done, want 4", done)
		}
	})
}

func TestShutdownGivesBackWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: func(ctx context.Context, _ int, _ *Request) (*Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		g := startGateway(t, Config{Dispatcher: c, Timeout: time.Hour})
		mustCreate(t, g, "", "a")
		id := mustPublish(t, g, Event{})
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if ctx.Err() != nil {
			t.Error("Shutdown took longer than it may")
		}
		d := wantState(t, g, id, Pending, reasonShutdown)
		list := attempts(t, g, d.ID)
		if d.Attempts != 0 || d.Abandoned != 0 || len(list) != 1 || list[0].Counted {
			t.Errorf("%+v, %+v: a shutdown never burns an attempt", d, list)
		}
	})
}

func TestCloseNamesTheHandlerThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		g := startGateway(t, Config{DrainTimeout: 10 * time.Second})
		if err := g.Handle("stubborn", Subscription{}, func(context.Context, *Event) error {
			<-let
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		id := mustPublish(t, g, Event{})
		time.Sleep(time.Second)
		start := time.Now()
		err := g.Close()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("Close took %v", took)
		}
		var stuck *StuckError
		if !errors.As(err, &stuck) || len(stuck.Attempts) != 1 || stuck.Attempts[0].Destination != "fn:stubborn" || stuck.Attempts[0].Delivery.Event != id {
			t.Errorf("Close: %v", err)
		}
		d := wantState(t, g, id, Pending, "")
		if d.Attempts != 0 {
			t.Errorf("%+v", d)
		}
		close(let)
	})
}

func TestRunStartsAndStopsHundredsOfTimes(t *testing.T) {
	s := newTestStore(t)
	before := runtime.NumGoroutine()
	var published, delivered atomic.Int64
	for i := range 200 {
		g, err := New(&Config{Store: s, PlainSecrets: true, Workers: 8, Dispatcher: &consumer{}, DrainTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Handle("h", Subscription{}, func(context.Context, *Event) error {
			delivered.Add(1)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		for range i % 7 {
			if _, err := g.Publish(t.Context(), Event{Type: "test"}); err != nil {
				t.Fatal(err)
			}
			published.Add(1)
		}
		switch i % 3 {
		case 0:
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := g.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before+2 {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before\n%s", n, before, buf[:runtime.Stack(buf, true)])
	}
	stats, err := s.Stats(t.Context())
	if err != nil || delivered.Load()+stats.Pending != published.Load() || stats.Leased != 0 {
		t.Errorf("%d published, %d delivered, %+v, %v", published.Load(), delivered.Load(), stats, err)
	}
}
