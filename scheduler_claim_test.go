package hookgate

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
)

// lateClaims is a store whose claims are decided at once and answered late: outcomes are recorded meanwhile.
type lateClaims struct{ Store }

func (s lateClaims) Claim(ctx context.Context, r store.ClaimRequest) (*store.ClaimResult, error) {
	res, err := s.Store.Claim(ctx, r)
	time.Sleep(50 * time.Millisecond)
	return res, err
}

// A claim may bring little because leases, ended before its answer came, had reached a limit. Nothing else would tell the
// claimer to ask again.
func TestClaimThatRacesWithOutcomesIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := newEngine(t, Config{Store: lateClaims{newTestStore(t)}, Dispatcher: c, Workers: 4, PerDestination: 2})
		mustCreate(t, g, "", "e")
		n := 5*g.sched.perDest + 7
		for i := range n {
			mustPublish(t, g, Event{Payload: fmt.Append(nil, i)})
		}
		run(t, g)
		time.Sleep(5 * time.Second) // before the first lease could end: the claimer looks then, whatever happened
		if s, err := g.store.Stats(t.Context()); err != nil || s.Pending+s.Leased+s.Dead != 0 || c.count() != n {
			t.Errorf("%d of %d were sent; %+v, %v", c.count(), n, s, err)
		}
	})
}

// A delivery that its process dies with, five times in a row, is not tried a sixth time.
func TestPoisonIsADeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := newEngine(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "e")
		id := mustPublish(t, g, Event{})
		for i := range 5 {
			// Somebody takes it and is never heard of again.
			res, err := g.store.Claim(t.Context(), store.ClaimRequest{Worker: fmt.Sprint("process ", i), Max: 1, Lease: time.Second})
			if err != nil || len(res.Leases) != 1 {
				t.Fatalf("claim %d: %+v, %v", i, res, err)
			}
			time.Sleep(2 * time.Second)
		}
		run(t, g)
		time.Sleep(time.Minute)
		wantState(t, g, id, Dead, "poison")
		if c.count() != 0 {
			t.Errorf("it was sent %d times", c.count())
		}
	})
}

func TestHandleWakesWhatWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTestStore(t)
		first := newEngine(t, Config{Store: s})
		mustHandle(t, first, "h", func(context.Context, *Event) error { return nil })
		id := mustPublish(t, first, Event{})
		g := startGateway(t, Config{Store: s})
		time.Sleep(time.Minute)
		wantState(t, g, id, Pending, "")
		mustHandle(t, g, "h", func(context.Context, *Event) error { return nil })
		time.Sleep(10 * time.Millisecond)
		wantState(t, g, id, Done, reasonDelivered)
	})
}

func TestPanicLogsItsStackOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := startGateway(t, Config{Workers: 1, PerDestination: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		mustHandle(t, g, "h", func(context.Context, *Event) error { panic("boom") })
		for range 10 {
			mustPublish(t, g, Event{})
		}
		time.Sleep(time.Second)
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		lines, stacks := strings.Count(log.String(), "panic in an attempt"), strings.Count(log.String(), "stack=")
		if lines < 10 || stacks != 1 {
			t.Errorf("%d lines with %d stacks", lines, stacks)
		}
	})
}
