package hookgate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
)

func TestHangingEndpointDoesNotSlowTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: func(ctx context.Context, _ int, r *Request) (*Response, error) {
			if r.Endpoint.ID == "e0" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			time.Sleep(10 * time.Millisecond)
			return answer(200), nil
		}}
		g := startGateway(t, Config{Dispatcher: c, Workers: 16, PerDestination: 4})
		for i := range 10 {
			mustCreate(t, g, "", fmt.Sprintf("e%d", i))
		}
		start := time.Now()
		for range 200 { // 1,800 healthy deliveries of 10 ms on 12 free workers: 1.5 s
			mustPublish(t, g, Event{})
		}
		time.Sleep(10 * time.Second)
		healthy, last := 0, time.Duration(0)
		for _, a := range c.arrivals() {
			if a.endpoint != "e0" {
				healthy++
				last = max(last, a.at.Sub(start))
			}
		}
		if healthy != 1800 || last > 1800*time.Millisecond {
			t.Errorf("%d healthy deliveries, the last after %v", healthy, last)
		}
	})
}

func TestInFlightStaysUnderItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most [2]atomic.Int64
		c := &consumer{reply: func(_ context.Context, n int, r *Request) (*Response, error) {
			i := 0
			if r.Endpoint.ID == "narrow" {
				i = 1
			}
			if n := now[i].Add(1); n > most[i].Load() {
				most[i].Store(n)
			}
			time.Sleep(time.Millisecond)
			now[i].Add(-1)
			if n%5 == 0 {
				return answer(503), nil
			}
			return answer(200), nil
		}}
		g := startGateway(t, Config{Dispatcher: c, Workers: 32, PerDestination: 8})
		mustCreate(t, g, "", "wide")
		if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "narrow", URL: "https://example.com", MaxInFlight: 2, Subscriptions: []Subscription{{}}}); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			mustPublish(t, g, Event{})
		}
		time.Sleep(100 * time.Hour)
		if w, n := most[0].Load(), most[1].Load(); w != 8 || n != 2 {
			t.Errorf("%d and %d in flight at most, want 8 and 2", w, n)
		}
		if s, _ := g.store.Stats(t.Context()); s.Pending+s.Leased+s.Dead != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRetriesLeaveWorkersForFirstAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: func(ctx context.Context, _ int, r *Request) (*Response, error) {
			switch {
			case r.Event.Type == "fresh":
				return answer(200), nil
			case r.Attempt == 1:
				return answer(500), nil
			}
			<-ctx.Done() // retries hang
			return nil, ctx.Err()
		}}
		g := startGateway(t, Config{Dispatcher: c, Workers: 8, PerDestination: 4, Timeout: time.Hour})
		for i := range 10 {
			mustCreate(t, g, "", fmt.Sprintf("e%d", i), "bad")
		}
		mustCreate(t, g, "", "fresh", "fresh")
		for range 10 {
			mustPublish(t, g, Event{Type: "bad"})
		}
		time.Sleep(time.Minute)
		start := time.Now()
		for range 100 {
			mustPublish(t, g, Event{Type: "fresh"})
		}
		time.Sleep(time.Second)
		fresh := 0
		for _, a := range c.arrivals() {
			if a.endpoint == "fresh" {
				fresh++
				if since := a.at.Sub(start); since > 100*time.Millisecond {
					t.Fatalf("a first attempt waited %v for retries", since)
				}
			}
		}
		if fresh != 100 {
			t.Errorf("%d first attempts", fresh)
		}
	})
}

// Events that share a key first succeed in the order of their commits, and none is sent while an earlier one is undecided.
func TestOrderPerKeyWithFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keys, events = 7, 40
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex
		c := &consumer{reply: func(context.Context, int, *Request) (*Response, error) {
			mu.Lock()
			n := random.IntN(10)
			mu.Unlock()
			time.Sleep(time.Duration(n) * time.Millisecond)
			switch n {
			case 0:
				return answer(500), nil
			case 1:
				return answer(503, "Retry-After", "7"), nil
			case 2:
				return nil, failed(classReset, context.Canceled)
			}
			return answer(200), nil
		}}
		g := startGateway(t, Config{Dispatcher: c, Workers: 16, PerDestination: 8})
		mustCreate(t, g, "", "a")
		mustCreate(t, g, "", "b")
		ids := map[ID]int{}
		for i := range keys * events {
			ids[mustPublish(t, g, Event{OrderingKey: fmt.Sprintf("k%d", i%keys), Payload: fmt.Append(nil, i)})] = i
			if i%11 == 0 {
				time.Sleep(50 * time.Millisecond)
			}
		}
		time.Sleep(3000 * time.Hour)
		next := map[string]int{}
		for _, a := range c.arrivals() {
			lane := a.endpoint + a.key
			n := ids[a.event] / keys
			if n != next[lane] {
				t.Fatalf("%s: event %d was sent, and %d is not decided", lane, n, next[lane])
			}
			if a.ok {
				next[lane]++
			}
		}
		for lane, n := range next {
			if n != events {
				t.Errorf("%s: %d of %d succeeded", lane, n, events)
			}
		}
		if len(next) != 2*keys {
			t.Errorf("%d lanes", len(next))
		}
	})
}

func TestBlockedLaneWaitsForAPerson(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		c := &consumer{reply: func(_ context.Context, _ int, r *Request) (*Response, error) {
			if broken.Load() && string(r.Body) == "first" {
				return answer(500), nil
			}
			return answer(200), nil
		}}
		g := startGateway(t, Config{Dispatcher: c})
		for id, block := range map[string]bool{"skips": false, "blocks": true} {
			if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: id, URL: "https://example.com", Subscriptions: []Subscription{{Types: []string{id}, Block: block}}}); err != nil {
				t.Fatal(err)
			}
		}
		ids := map[string][]ID{}
		for _, typ := range []string{"skips", "blocks"} {
			for _, body := range []string{"first", "second"} {
				ids[typ] = append(ids[typ], mustPublish(t, g, Event{Type: typ, OrderingKey: "k", Payload: []byte(body)}))
			}
		}
		time.Sleep(120 * time.Hour)
		wantState(t, g, ids["skips"][0], Dead, reasonExhausted)
		wantState(t, g, ids["skips"][1], Done, reasonDelivered)
		d := wantState(t, g, ids["blocks"][0], Dead, reasonExhausted)
		wantState(t, g, ids["blocks"][1], Pending, "")
		broken.Store(false)
		if err := g.Redeliver(t.Context(), "", d.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantState(t, g, ids["blocks"][0], Done, reasonDelivered)
		wantState(t, g, ids["blocks"][1], Done, reasonDelivered)
	})
}

// Destinations without work are forgotten: what the scheduler holds does not grow with the number of endpoints.
func TestSchedulerForgetsIdleDestinations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, Config{Dispatcher: &consumer{}})
		const n = idleDests + 500
		for i := range n {
			d := Destination(fmt.Sprintf("ep:/gone%d", i)) // endpoints that were deleted
			g.sched.mu.Lock()
			g.sched.add(&work{id: DeliveryID{Event: ID{1, byte(i >> 8), byte(i)}}, gen: 1}, d)
			g.sched.signal(1)
			g.sched.mu.Unlock()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		g.sched.mu.Lock()
		defer g.sched.mu.Unlock()
		if len(g.sched.dests) > idleDests || len(g.sched.all) != 0 {
			t.Errorf("%d destinations, %d leases are held", len(g.sched.dests), len(g.sched.all))
		}
	})
}

// Attempts at a destination that the scheduler does not know yet begin at once, as many as it takes.
func TestNewDestinationReachesItsLimitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var under atomic.Int64
		c := &consumer{reply: func(ctx context.Context, _ int, _ *Request) (*Response, error) {
			under.Add(1)
			defer under.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		g := startGateway(t, Config{Dispatcher: c, Workers: 16, PerDestination: 4})
		mustCreate(t, g, "", "a")
		evs := make([]Event, 10)
		for i := range evs {
			evs[i].Type = "test"
		}
		if _, err := g.PublishAll(t.Context(), evs); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := under.Load(); n != 4 {
			t.Errorf("%d attempts are under way, want 4", n)
		}
	})
}

// A limit that is changed holds for the next attempt, whatever the destination did before and has under way.
func TestAChangedLimitHoldsForTheNextAttempt(t *testing.T) {
	t.Parallel()
	const name = Destination("ep:/a")
	s := testCommitter(t, &commitStore{}).sched
	g := s.g
	g.cfg.PerDestination, s.others = 3, 100
	var under []*work
	version, id := uint64(0), byte(0)
	limit := func(n int) { // 0: no such endpoint
		var tg *target
		if version++; n > 0 {
			tg = &target{destination: name, endpoint: &Endpoint{Version: version}, limit: n, g: g}
		}
		g.view.put(name, tg)
	}
	add := func(n int, c store.Class) {
		for range n {
			id++
			s.mu.Lock()
			s.add(&work{id: DeliveryID{Event: ID{id}}, class: c}, name)
			s.mu.Unlock()
		}
	}
	end := func(n int) {
		for _, w := range under[:n] {
			s.decide(w)
			s.settled([]settleItem{{work: w}}, []error{nil})
			s.free(w)
		}
		under = under[n:]
	}
	start := func(most int) (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for ; n < most; n++ {
			w := s.pick()
			if w == nil {
				break
			}
			under = append(under, w)
		}
		return n
	}
	starts := func(what string, want int) {
		t.Helper()
		if n := start(100); n != want {
			t.Fatalf("%s: %d attempts start, want %d", what, n, want)
		}
	}

	limit(4)
	add(10, store.Live)
	starts("a new destination", 4)
	limit(2)
	end(2)
	starts("a lower limit", 0)
	end(1)
	starts("room within the lower limit", 1)
	limit(4)
	end(1)
	starts("a higher limit", 3)
	end(4)
	starts("the rest", 2)
	end(2)
	limit(1)
	add(3, store.Live)
	starts("a lower limit of one that was idle", 1)
	limit(2)
	end(1)
	starts("the rest again", 2)
	end(1)
	limit(1)
	add(9, store.Live)
	starts("a lower limit of a busy one", 0)
	limit(0)
	end(1)
	starts("an endpoint that another process may have made", 1)
	limit(3)
	s.begin(under[0], time.Now(), time.Now(), 3)
	starts("it was found in the store", 2)
	limit(0)
	g.view.sharing.shared = false
	end(3)
	starts("a destination that is gone", 3)
	limit(1)
	end(3)
	starts("a limit of one", 1)
	limit(2)
	add(1, store.Retry)
	end(1)
	starts("two more", 2)
	end(2)
	starts("the last", 1)
	end(1)

	// When the limit grows, retries still have their turn; first attempts came when it was reached and have none.
	add(2, store.Live)
	add(2, store.Retry)
	s.turn = 0
	if n := start(2); n != 2 || s.busy[store.Live] != 2 {
		t.Fatalf("%d attempts started, %v by class", n, s.busy)
	}
	add(1, store.Live)
	limit(9)
	starts("all classes at a higher limit", 3)
	end(5)
	if len(s.all) != 0 || s.active != 0 || s.queued != 0 {
		t.Errorf("%d leases, %d attempts, %d queued are left", len(s.all), s.active, s.queued)
	}
}

// hangingRead is a store where one event cannot be read until it is let go.
type hangingRead struct {
	Store
	hangs atomic.Pointer[ID]
	let   chan struct{}
}

func (s *hangingRead) Events(ctx context.Context, q store.EventQuery) (store.Page[Event], error) {
	if id := s.hangs.Load(); id != nil && len(q.IDs) == 1 && q.IDs[0] == *id {
		<-s.let
	}
	return s.Store.Events(ctx, q)
}

// An event that is read again before its attempt, and takes long, holds only its own delivery.
func TestAHangingReadHoldsNoOtherDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &hangingRead{Store: newTestStore(t), let: make(chan struct{})}
		c := &consumer{reply: func(_ context.Context, _ int, r *Request) (*Response, error) {
			if r.Endpoint.ID == "slow" {
				<-s.let
			}
			return answer(200), nil
		}}
		g := newEngine(t, Config{Store: s, Dispatcher: c, Workers: 8, PerDestination: 2, Window: 4 << 10})
		mustCreate(t, g, "", "slow", "slow")
		mustCreate(t, g, "", "a", "a")
		payload := make([]byte, 3000)
		ids := []ID{mustPublish(t, g, Event{Type: "slow", Payload: payload})} // there is no room in memory for another
		for range 10 {
			ids = append(ids, mustPublish(t, g, Event{Type: "a", Payload: payload}))
		}
		s.hangs.Store(&ids[1])
		run(t, g)
		time.Sleep(5 * time.Second)
		if n := c.count(); n != 1+9 {
			t.Errorf("%d events were sent, want all but the one that cannot be read", n)
		}
		close(s.let)
		time.Sleep(time.Minute)
		for _, id := range ids {
			wantState(t, g, id, Done, reasonDelivered)
		}
	})
}

// Destinations without work are forgotten, and what is used again for others has nothing of theirs.
func TestForgottenDestinationsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testCommitter(t, &commitStore{}).sched
		deliver := func(name Destination) {
			w := &work{class: store.Class(len(name)) % store.Classes}
			s.mu.Lock()
			s.add(w, name)
			d := *w.dest
			if got := s.pick(); got != w {
				t.Fatalf("%s: got the work of %v", name, got)
			}
			s.mu.Unlock()
			if d.name != name || d.limit < 1 || d.held != 1 || d.running != 0 || d.capped {
				t.Fatalf("%s begins as %+v", name, d)
			}
			s.begin(w, time.Now(), time.Now(), 9)
			s.decide(w)
			s.settled([]settleItem{{work: w}}, []error{nil})
			s.free(w)
		}
		const names = 3 * idleDests
		for i := range names {
			deliver(Destination(fmt.Sprint("d", i)))
			deliver(Destination(fmt.Sprint("d", i/2)))
		}
		if n := len(s.dests); n > idleDests || n < idleDests/2 {
			t.Errorf("%d destinations are remembered, want at most %d", n, idleDests)
		}
		if s.spares > idleDests || len(s.all) != 0 {
			t.Errorf("%d spare ones, %d leases", s.spares, len(s.all))
		}
		for name, d := range s.dests {
			if d.name != name || d.held != 0 || d.running != 0 {
				t.Fatalf("%s is %+v", name, d)
			}
		}
	})
}
