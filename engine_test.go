package hookgate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// consumer is a receiver without a socket. It answers what reply says, and remembers what it got.
type consumer struct {
	reply func(ctx context.Context, n int, r *Request) (*Response, error) // n counts from 1; nil: 200

	mu  sync.Mutex
	got []arrival
}

type arrival struct {
	at       time.Time
	endpoint string
	event    ID
	body     string
	key      string
	attempt  int
	header   http.Header
	ok       bool
}

// Dispatch takes a request.
func (c *consumer) Dispatch(ctx context.Context, r *Request) (*Response, error) {
	c.mu.Lock()
	i := len(c.got)
	c.got = append(c.got, arrival{
		at: time.Now(), endpoint: r.Endpoint.ID, event: r.Event.ID, body: string(r.Body), key: r.Event.OrderingKey,
		attempt: r.Attempt, header: r.Header.Clone(),
	})
	c.mu.Unlock()
	res, err := &Response{Status: 200}, error(nil)
	if c.reply != nil {
		res, err = c.reply(ctx, i+1, r)
	}
	c.mu.Lock()
	c.got[i].ok = err == nil && res.Status < 300
	c.mu.Unlock()
	return res, err
}

func (c *consumer) arrivals() []arrival {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]arrival(nil), c.got...)
}

func (c *consumer) count() int { return len(c.arrivals()) }

// status answers n times with a status, then with 200.
func status(code, n int, header ...string) func(context.Context, int, *Request) (*Response, error) {
	return func(_ context.Context, i int, _ *Request) (*Response, error) {
		if i <= n {
			return answer(code, header...), nil
		}
		return answer(200), nil
	}
}

// newEngine answers a gateway that does not run yet.
func newEngine(t *testing.T, c Config) *Gateway {
	t.Helper()
	if c.Store == nil {
		c.Store = newTestStore(t)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return newSurface(t, c)
}

// startGateway answers a gateway that runs, and closes it when the test ends.
func startGateway(t *testing.T, c Config) *Gateway {
	t.Helper()
	g := newEngine(t, c)
	run(t, g)
	return g
}

func run(t *testing.T, g *Gateway) {
	t.Helper()
	go func() {
		if err := g.Run(context.Background()); err != nil && !errors.As(err, new(*StuckError)) && !errors.Is(err, ErrFailed) {
			t.Errorf("Run: %v", err)
		}
	}()
}

func mustPublish(t testing.TB, g *Gateway, ev Event, opts ...PublishOption) ID {
	t.Helper()
	if ev.Type == "" {
		ev.Type = "test"
	}
	r, err := g.Publish(context.Background(), ev, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// delivery answers the first delivery of an event.
func delivery(t testing.TB, g *Gateway, id ID) Delivery {
	t.Helper()
	page, err := g.store.Deliveries(context.Background(), DeliveryQuery{Tenant: AllTenants, Event: id})
	if err != nil || len(page.Items) == 0 {
		t.Fatalf("deliveries of %v: %d, %v", id, len(page.Items), err)
	}
	return page.Items[0]
}

func attempts(t testing.TB, g *Gateway, id DeliveryID) []Attempt {
	t.Helper()
	list, err := g.store.Attempts(context.Background(), AllTenants, id)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func wantState(t testing.TB, g *Gateway, id ID, state State, reason string) Delivery {
	t.Helper()
	d := delivery(t, g, id)
	if d.State != state || reason != "" && d.Reason != reason {
		t.Errorf("delivery is %v (%q), want %v (%q)", d.State, d.Reason, state, reason)
	}
	return d
}

func TestPublishIsDeliveredSigned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := startGateway(t, Config{Dispatcher: c})
		mustCreate(t, g, "acme", "a", "invoice.*")
		mustCreate(t, g, "acme", "b", "order.*")
		mustCreate(t, g, "other", "c", "invoice.*")
		id := mustPublish(t, g, Event{
			Tenant: "acme", Type: "invoice.paid", Payload: []byte(`{"a":1}`), ContentType: "application/json",
			Header: map[string][]string{"X-Trace": {"1"}},
		})
		time.Sleep(time.Second)
		got := c.arrivals()
		if len(got) != 1 || got[0].endpoint != "a" || got[0].event != id || got[0].body != `{"a":1}` || got[0].attempt != 1 {
			t.Fatalf("%+v", got)
		}
		h := got[0].header
		if h.Get("Webhook-Id") != id.String() || h.Get("Webhook-Signature") == "" || h.Get("Webhook-Timestamp") == "" || h.Get("X-Trace") != "1" {
			t.Errorf("header %v", h)
		}
		d := wantState(t, g, id, Done, reasonDelivered)
		if list := attempts(t, g, d.ID); len(list) != 1 || list[0].Code != 200 || !list[0].Counted || list[0].Late {
			t.Errorf("attempts %+v", list)
		}
	})
}

// A publish that finds the scheduler running needs no claim: the delivery is born leased.
func TestPublishedWorkIsBornLeased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := startGateway(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "a")
		start := time.Now()
		id := mustPublish(t, g, Event{})
		synctest.Wait()
		if got := c.arrivals(); len(got) != 1 || !got[0].at.Equal(start) {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Second)
		wantState(t, g, id, Done, reasonDelivered)
	})
}

func TestBacklogIsDeliveredWhenRunStarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := newEngine(t, Config{Dispatcher: c, Workers: 4, Window: 4 << 10}) // a window of 4 payloads: the others are read when it is their turn
		for i := range 5 {
			mustCreate(t, g, "", fmt.Sprintf("e%d", i))
		}
		seen := map[string]bool{}
		for i := range 500 {
			mustPublish(t, g, Event{Payload: fmt.Appendf(nil, "%04d%01020d", i, 0)})
		}
		run(t, g)
		time.Sleep(time.Minute)
		for _, a := range c.arrivals() {
			seen[a.endpoint+a.body[:4]] = true
		}
		if len(seen) != 2500 || c.count() != 2500 {
			t.Errorf("%d deliveries in %d requests", len(seen), c.count())
		}
		if s, err := g.store.Stats(t.Context()); err != nil || s.Pending+s.Leased+s.Dead != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		if g.sched.bytes != 0 || g.sched.queued != 0 || g.sched.active != 0 || len(g.sched.all) != 0 {
			t.Errorf("the scheduler still holds %d bytes, %d queued, %d active, %d leases", g.sched.bytes, g.sched.queued, g.sched.active, len(g.sched.all))
		}
	})
}

func TestDeliveryIsRetriedForThreeDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: status(500, 9)}
		g := startGateway(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "a")
		id := mustPublish(t, g, Event{})
		time.Sleep(100 * time.Hour)
		waits := []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
			20 * time.Hour, 24 * time.Hour,
		}
		got := c.arrivals()
		if len(got) != len(waits)+1 {
			t.Fatalf("%d attempts, want %d", len(got), len(waits)+1)
		}
		for i, wait := range waits {
			// Outcomes ride for up to 5 ms before they count as settled.
			if gap := got[i+1].at.Sub(got[i].at); gap < wait*8/10 || gap > wait*12/10+20*time.Millisecond {
				t.Errorf("wait %d was %v, want %v give or take a fifth", i+1, gap, wait)
			}
			if got[i+1].attempt != i+2 {
				t.Errorf("attempt %d calls itself %d", i+2, got[i+1].attempt)
			}
		}
		d := wantState(t, g, id, Done, reasonDelivered)
		list := attempts(t, g, d.ID)
		if len(list) != 10 {
			t.Fatalf("%d attempts recorded", len(list))
		}
		for i, a := range list {
			if !a.Counted || a.At.Sub(got[i].at).Abs() > time.Millisecond || (i < 9) != (a.Code == 500) {
				t.Errorf("attempt %d: %+v, made at %v", i+1, a, got[i].at)
			}
		}
	})
}

func TestDeliveryThatNeverSucceedsIsADeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: status(500, 1000)}
		g := startGateway(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "a")
		id := mustPublish(t, g, Event{})
		time.Sleep(120 * time.Hour)
		d := wantState(t, g, id, Dead, reasonExhausted)
		if c.count() != 10 || d.Attempts != 10 {
			t.Errorf("%d requests, %d attempts", c.count(), d.Attempts)
		}
		c.reply = nil
		if err := g.Redeliver(t.Context(), "", d.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantState(t, g, id, Done, reasonDelivered)
	})
}

func TestRetryAfterHoldsTheDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		c.reply = func(_ context.Context, n int, r *Request) (*Response, error) {
			if n == 1 {
				return answer(429, "Retry-After", "120"), nil
			}
			return answer(200), nil
		}
		g := startGateway(t, Config{Dispatcher: c, Workers: 1})
		mustCreate(t, g, "", "a", "a")
		mustCreate(t, g, "", "b", "b")
		start := time.Now()
		for range 5 {
			mustPublish(t, g, Event{Type: "a"})
		}
		time.Sleep(10 * time.Second)
		for range 5 {
			mustPublish(t, g, Event{Type: "a"})
			mustPublish(t, g, Event{Type: "b"})
		}
		time.Sleep(5 * time.Minute)
		a, b := 0, 0
		for i, got := range c.arrivals() {
			since := got.at.Sub(start)
			switch {
			case got.endpoint == "b":
				b++
				if since > 11*time.Second {
					t.Errorf("the other endpoint waited: %v", since)
				}
			case i > 0 && (since < 120*time.Second || since > 125*time.Second):
				t.Errorf("request %d after %v, want it when 120 s are over", i, since)
			default:
				a++
			}
		}
		if a != 11 || b != 5 {
			t.Errorf("%d requests to a, %d to b", a, b)
		}
		if s, _ := g.store.Stats(t.Context()); s.Pending+s.Leased+s.Dead != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGoneDisablesTheEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: status(410, 1)}
		g := startGateway(t, Config{Dispatcher: c, Workers: 1})
		mustCreate(t, g, "", "a")
		first := mustPublish(t, g, Event{})
		time.Sleep(time.Second)
		wantState(t, g, first, Dead, reasonGone)
		ep, err := g.Endpoint(t.Context(), "", "a")
		if err != nil || !ep.Disabled {
			t.Fatalf("%+v, %v", ep, err)
		}
		if r, err := g.Publish(t.Context(), Event{Type: "test"}); err != nil || r.Deliveries != 0 {
			t.Errorf("%+v, %v: a disabled endpoint gets no new deliveries", r, err)
		}
		time.Sleep(time.Hour)
		if c.count() != 1 {
			t.Errorf("%d requests", c.count())
		}
		if err := g.EnableEndpoint(t.Context(), "", "a"); err != nil {
			t.Fatal(err)
		}
		second := mustPublish(t, g, Event{})
		time.Sleep(time.Second)
		wantState(t, g, second, Done, reasonDelivered)
	})
}

func TestPauseHoldsAndResumeDelivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := startGateway(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "a")
		if err := g.PauseEndpoint(t.Context(), "", "a", "maintenance"); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			mustPublish(t, g, Event{})
		}
		time.Sleep(24 * time.Hour)
		if c.count() != 0 {
			t.Fatalf("%d requests while paused", c.count())
		}
		start := time.Now()
		if err := g.ResumeEndpoint(t.Context(), "", "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := c.arrivals(); len(got) != 10 || got[9].at.Sub(start) > 100*time.Millisecond {
			t.Errorf("%d requests", len(got))
		}
	})
}

func TestDelayedAndExpiredEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := startGateway(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "a")
		start := time.Now()
		late := mustPublish(t, g, Event{}, NotBefore(start.Add(time.Hour)))
		time.Sleep(2 * time.Hour)
		if got := c.arrivals(); len(got) != 1 || got[0].at.Sub(start) < time.Hour || got[0].at.Sub(start) > time.Hour+time.Second {
			t.Fatalf("%+v", got)
		}
		wantState(t, g, late, Done, reasonDelivered)

		if err := g.PauseEndpoint(t.Context(), "", "a", ""); err != nil {
			t.Fatal(err)
		}
		short := mustPublish(t, g, Event{}, ExpireAfter(time.Minute))
		old := mustPublish(t, g, Event{})
		time.Sleep(2 * time.Minute)
		if err := g.ResumeEndpoint(t.Context(), "", "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantState(t, g, short, Dead, reasonExpired)
		wantState(t, g, old, Done, reasonDelivered)
		if c.count() != 2 {
			t.Errorf("%d requests", c.count())
		}
	})
}

func TestHeldWorkEndsAtMaxAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := startGateway(t, Config{Dispatcher: c, MaxAge: 24 * time.Hour})
		mustCreate(t, g, "", "a")
		if err := g.PauseEndpoint(t.Context(), "", "a", ""); err != nil {
			t.Fatal(err)
		}
		var ids []ID
		for range 250 {
			ids = append(ids, mustPublish(t, g, Event{}))
		}
		time.Sleep(24*time.Hour - time.Minute)
		wantState(t, g, ids[0], Pending, "")
		time.Sleep(3 * time.Minute)
		for _, id := range ids {
			wantState(t, g, id, Dead, reasonTooOld)
		}
		if err := g.Redeliver(t.Context(), "", delivery(t, g, ids[7]).ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		wantState(t, g, ids[7], Pending, reasonRedeliver) // its age does not matter any more
		if err := g.ResumeEndpoint(t.Context(), "", "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantState(t, g, ids[7], Done, reasonDelivered)
	})
}

func TestDeletedEndpointLeavesDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := newEngine(t, Config{Dispatcher: c})
		mustCreate(t, g, "", "a")
		id := mustPublish(t, g, Event{})
		if err := g.DeleteEndpoint(t.Context(), "", "a"); err != nil {
			t.Fatal(err)
		}
		run(t, g)
		time.Sleep(time.Second)
		if d := delivery(t, g, id); d.State != Dead && d.State != Cancelled {
			t.Errorf("%+v", d)
		}
		if c.count() != 0 {
			t.Errorf("%d requests", c.count())
		}
	})
}

func TestOldEventsArePruned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		c.reply = func(_ context.Context, _ int, r *Request) (*Response, error) {
			if r.Event.Type == "bad" {
				return answer(410), nil
			}
			return answer(200), nil
		}
		g := startGateway(t, Config{Dispatcher: c, KeepDone: time.Hour, KeepDead: 2 * time.Hour})
		mustCreate(t, g, "", "a", "good")
		mustCreate(t, g, "", "b", "bad")
		good, bad := mustPublish(t, g, Event{Type: "good"}), mustPublish(t, g, Event{Type: "bad"})
		events := func(id ID) int {
			page, err := g.store.Events(t.Context(), EventQuery{Tenant: AllTenants, IDs: []ID{id}})
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Items)
		}
		time.Sleep(59 * time.Minute)
		if events(good) != 1 || events(bad) != 1 {
			t.Error("pruned too early")
		}
		time.Sleep(5 * time.Minute)
		if events(good) != 0 || events(bad) != 1 {
			t.Errorf("%d of the finished, %d of the dead are left after an hour", events(good), events(bad))
		}
		time.Sleep(time.Hour)
		if events(bad) != 0 {
			t.Error("the dead letter is left after two hours")
		}
	})
}

func TestStoreThatFailsStopsRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &brokenStore{Store: newTestStore(t)}
		g := newEngine(t, Config{Store: s, Dispatcher: &consumer{}})
		mustCreate(t, g, "", "a")
		ended := make(chan error, 1)
		go func() { ended <- g.Run(t.Context()) }()
		mustPublish(t, g, Event{})
		time.Sleep(time.Second)
		s.broken.Store(true)
		if _, err := g.Publish(t.Context(), Event{Type: "test"}); !errors.Is(err, ErrFailed) {
			t.Errorf("Publish: %v, want ErrFailed", err)
		}
		if err := <-ended; !errors.Is(err, ErrFailed) {
			t.Errorf("Run: %v, want ErrFailed", err)
		}
		if err := g.Close(); errors.Is(err, ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
}
