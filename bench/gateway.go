package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/store/bolt"
)

// What every measure has in common.
const (
	workers  = 64   // attempts in flight, and callers where there are many
	mostOpen = 4096 // deliveries that may be open before callers who publish wait
	batch    = 500  // events per PublishAll when a store is filled
	loaders  = 8    // callers of PublishAll
)

// loopback is the one range that the guard must let through here.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// gate is hookgate as the measures use it: a gateway on a folder, with counts of what it accepted.
type gate struct {
	*hookgate.Gateway
	dir      string
	store    hookgate.Store // set if the measure wants to speak to the store itself
	serial   atomic.Uint64  // of payloads
	accepted atomic.Int64   // events

	stop   context.CancelFunc
	ended  chan error
	closed sync.Once
	failed error // what close found
}

// config is what hookgate is told: as many attempts at one receiver as the bare loop has callers; all else is default.
func config() *hookgate.Config {
	return &hookgate.Config{
		Workers:        workers,
		PerDestination: workers,
		AllowPrivate:   loopback,
		Logger:         slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// publishOnly is a config for a gateway that delivers nothing.
func publishOnly() *hookgate.Config {
	c := config()
	c.Workers = -1
	return c
}

// openGate opens a gateway. If the measure fails, it is closed with the measure.
func (r *run) openGate(dir string, c *hookgate.Config) (*gate, error) {
	gw, err := hookgate.Open(dir, c)
	if err != nil {
		return nil, err
	}
	g := &gate{Gateway: gw, dir: dir}
	r.gates = append(r.gates, g)
	return g, nil
}

// openGateAndStore opens the store by itself, so that the measure can call it. A quick run has too little for full segments.
func (r *run) openGateAndStore(dir string, c *hookgate.Config) (*gate, error) {
	s, err := bolt.Open(dir, &bolt.Options{MaxSegment: int64(r.size(64<<20, 4<<20))})
	if err != nil {
		return nil, err
	}
	c.Store, c.PlainSecrets = s, true
	gw, err := hookgate.New(c)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	g := &gate{Gateway: gw, dir: dir, store: s}
	r.gates = append(r.gates, g)
	return g, nil
}

// start calls Run in the background.
func (g *gate) start() {
	ctx, stop := context.WithCancel(context.Background())
	g.stop, g.ended = stop, make(chan error, 1)
	go func() { g.ended <- g.Run(ctx) }()
}

// close ends Run, the gateway, and the store if it was opened apart. A second call answers the same.
func (g *gate) close() error {
	g.closed.Do(func() {
		var errs [3]error
		if g.stop != nil {
			g.stop()
			errs[0] = <-g.ended
		}
		errs[1] = g.Close()
		if g.store != nil {
			errs[2] = g.store.Close()
		}
		g.failed = errors.Join(errs[:]...)
		g.Gateway, g.store = nil, nil // their memory must not count as somebody else's
	})
	return g.failed
}

// endpoint registers an endpoint for some types of events.
func (g *gate) endpoint(ctx context.Context, id, url string, types ...string) error {
	_, _, err := g.CreateEndpoint(ctx, hookgate.Endpoint{
		ID: id, URL: url, Subscriptions: []hookgate.Subscription{{Types: types}},
	})
	return err
}

// endpoints registers n endpoints "e0", "e1" ... which get the events of type "e0", "e1" ...
func (g *gate) endpoints(ctx context.Context, n int, url func(i int) string) error {
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = g.endpoint(ctx, numbered(i), url(i), numbered(i))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func numbered(i int) string { return fmt.Sprintf("e%d", i) }

// event makes the next event.
func (g *gate) event(typ string, key int) hookgate.Event {
	return hookgate.Event{Type: typ, ContentType: "application/json", Payload: newPayload(g.serial.Add(1), key)}
}

// caller answers a function that publishes one event per call.
func (g *gate) caller(ctx context.Context, typ string) func() error {
	return func() error { return g.publish(ctx, g.event(typ, 0)) }
}

func (g *gate) publish(ctx context.Context, ev hookgate.Event) error {
	if _, err := g.Publish(ctx, ev); err != nil {
		return err
	}
	g.accepted.Add(1)
	return nil
}

// batchCaller answers a function that publishes n events per call. next makes them.
func (g *gate) batchCaller(ctx context.Context, n int, next func() hookgate.Event) func() error {
	return func() error {
		evs := make([]hookgate.Event, n)
		for i := range evs {
			evs[i] = next()
		}
		_, err := g.PublishAll(ctx, evs)
		if err != nil {
			return err
		}
		g.accepted.Add(int64(n))
		return nil
	}
}

// fill publishes n events as fast as it goes. make gets numbers from 0 on.
func (g *gate) fill(r *run, n int, event func(i int) hookgate.Event) error {
	var next atomic.Int64
	_, err := r.callersUntil(loaders, func(time.Time) bool { return next.Load() >= int64(n) }, func(int) func() error {
		return func() error {
			from := int(next.Add(batch)) - batch
			i := from
			return g.batchCaller(r.ctx, min(batch, max(n-from, 0)), func() hookgate.Event {
				i++
				return event(i - 1)
			})()
		}
	})
	return err
}

// open says how many deliveries are not finished.
func (g *gate) open(ctx context.Context) (int64, error) {
	s, err := g.Stats(ctx)
	if err != nil {
		return 0, err
	}
	return s.Pending + s.Leased, nil
}

// patience is how long nothing may move before a measure gives up.
const patience = 20 * time.Second

// drained returns when at most left deliveries are not finished: delivered, and recorded as such on disk.
func (g *gate) drained(ctx context.Context, left int64) error {
	moved, last := time.Now(), int64(-1)
	for {
		n, err := g.open(ctx)
		switch {
		case err != nil:
			return err
		case n <= left:
			return nil
		case n != last:
			moved, last = time.Now(), n
		case time.Since(moved) > patience:
			return fmt.Errorf("%d deliveries have not moved for %v", n, patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// deliver publishes with 64 callers for d, and returns when everything is delivered and recorded. The callers
// wait while more than a few thousand deliveries are open, so that both halves of the work go on side by side, as they do in
// a program that keeps up.
func (g *gate) deliver(r *run, d time.Duration, typ string) (load, time.Duration, error) {
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var ahead atomic.Int64
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for ctx.Err() == nil {
			if n, err := g.open(ctx); err == nil {
				ahead.Store(n)
			}
			time.Sleep(time.Millisecond)
		}
	})
	start := time.Now()
	l, err := r.callers(workers, d, func(int) func() error {
		publish := g.caller(ctx, typ)
		return func() error {
			for ahead.Load() > mostOpen && ctx.Err() == nil {
				time.Sleep(200 * time.Microsecond)
			}
			return publish()
		}
	})
	stop()
	watcher.Wait()
	if err != nil {
		return l, 0, err
	}
	err = g.drained(r.ctx, 0)
	return l, time.Since(start), err
}

// keeps opens a folder again and fails if it does not know at least so many events and open deliveries.
func (r *run) keeps(dir string, events, open int64) error {
	g, err := r.openGate(dir, publishOnly())
	if err != nil {
		return err
	}
	s, err := g.Stats(r.ctx)
	if err = errors.Join(err, g.close()); err != nil {
		return err
	}
	if s.Events < events || s.Pending+s.Leased < open {
		return fmt.Errorf("LOSS: after opening again there are %d events and %d open deliveries, there should be %d and %d",
			s.Events, s.Pending+s.Leased, events, open)
	}
	return nil
}

// finish closes the gateway, opens its folder again to see that all is there, and removes it.
func (g *gate) finish(r *run, open int64) error {
	if err := g.close(); err != nil {
		return err
	}
	if err := r.keeps(g.dir, g.accepted.Load(), open); err != nil {
		return err
	}
	return r.remove(g.dir)
}

// instant is a dispatcher that delivers nowhere, at once, and counts. While it is shut, attempts wait.
type instant struct {
	mu      sync.RWMutex
	opened  chan struct{} // closed while it is open
	waiting atomic.Int64
	done    atomic.Int64
}

func newInstant() *instant {
	d := &instant{opened: make(chan struct{})}
	close(d.opened)
	return d
}

// Dispatch answers 200 without a receiver.
func (d *instant) Dispatch(ctx context.Context, _ *hookgate.Request) (*hookgate.Response, error) {
	d.mu.RLock()
	opened := d.opened
	d.mu.RUnlock()
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	select {
	case <-opened:
		d.done.Add(1)
		return &hookgate.Response{Status: 200}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *instant) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = make(chan struct{})
}

func (d *instant) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.opened)
}

// hangs returns when n attempts are under way.
func (d *instant) hangs(ctx context.Context, n int64) error { return until(ctx, &d.waiting, n) }

// reaches returns when n attempts were answered.
func (d *instant) reaches(ctx context.Context, n int64) error { return until(ctx, &d.done, n) }

// until returns when a count of attempts is n or more.
func until(ctx context.Context, count *atomic.Int64, n int64) error {
	for start := time.Now(); count.Load() < n; time.Sleep(time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(start) > patience {
			return fmt.Errorf("only %d of %d attempts were made within %v", count.Load(), n, patience)
		}
	}
	return nil
}

// counting is the HTTP dispatcher of hookgate with a count of the successes that matter.
type counting struct {
	*hookgate.HTTPDispatcher
	matters func(r *hookgate.Request) bool
	want    int64
	got     atomic.Int64
	reached chan struct{} // closed when as many came as are wanted
}

func newCounting(want int, matters func(r *hookgate.Request) bool) *counting {
	return &counting{HTTPDispatcher: hookgate.NewHTTPDispatcher(config()), matters: matters, want: int64(want), reached: make(chan struct{})}
}

// Dispatch makes the attempt over HTTP.
func (d *counting) Dispatch(ctx context.Context, r *hookgate.Request) (*hookgate.Response, error) {
	resp, err := d.HTTPDispatcher.Dispatch(ctx, r)
	if err == nil && resp.Status == 200 && d.matters(r) && d.got.Add(1) == d.want {
		close(d.reached)
	}
	return resp, err
}

// wait returns when as many deliveries succeeded as are wanted.
func (d *counting) wait(ctx context.Context) error {
	select {
	case <-d.reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("only %d of %d deliveries succeeded within %v", d.got.Load(), d.want, patience)
	}
}
