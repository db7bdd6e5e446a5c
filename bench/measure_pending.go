package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate"
)

var measurePending = measure{
	name: "pending",
	method: `
A gateway with 10,000 endpoints and 1,000,000 pending events of 1 KiB, spread over the endpoints (quick: 1,000 and 100,000).

Publish rate: 64 callers in that gateway, in turn with 64 callers in a gateway that has the same endpoints and nothing pending:
a fresh copy, for each slice, of one that took 150,000 events for nobody, so that its journal has grown to full segments too; it
gets a slice that does not count first. Heap: what is live after two collections, over the same before anything was opened; taken without
Run, and again with 64 attempts hanging, when the window of ready work is full; the larger one counts. Open to first
delivery: from the call of Open to the 200 of the first POST. Warm is right after the last use. For cold, the pages of all
files of the folder are dropped before, with posix_fadvise and if that is not enough with drop_caches; mincore says whether
it worked. What was accepted and is not pending must have reached the receiver.`,
	rows: []row{
		{"pending-publish", "publish rate at 1,000,000 pending", "events/s", "when empty", bar{atLeast, 0.80, 0.95}},
		{"pending-heap", "heap with 1,000,000 pending and 10,000 endpoints, over idle", "MiB", "", bar{below, 64, 24}},
		{"open-warm", "open with 1,000,000 pending to the first delivery, warm", "s", "", bar{below, 0.3, 0.1}},
		{"open-cold", "open with 1,000,000 pending to the first delivery, cold", "s", "", bar{below, 2, 1}},
	},
	take: takePending,
}

func takePending(r *run) error {
	endpoints, pending := r.size(10_000, 1_000), r.size(1_000_000, 100_000)
	idle := liveHeap()
	door, err := r.receiver.open()
	if err != nil {
		return err
	}
	template, err := r.withEndpoints(endpoints, func(int) string { return door.url("all", "") })
	if err != nil {
		return err
	}
	deep, err := template.open(r, publishOnly())
	if err != nil {
		return err
	}
	deep.start()
	start := time.Now()
	if err := deep.fill(r, pending, func(i int) hookgate.Event { return deep.event(numbered(i%endpoints), 0) }); err != nil {
		return err
	}
	r.say("%d events pending after %v", pending, time.Since(start).Round(10*time.Millisecond))
	r.calm()

	empty, err := template.grown(r, r.size(150_000, 30_000))
	if err != nil {
		return err
	}
	if err := pendingPublish(r, deep, empty, endpoints); err != nil {
		return err
	}
	if err := deep.close(); err != nil {
		return err
	}
	if err := pendingHeap(r, deep.dir, idle); err != nil {
		return err
	}
	if err := pendingOpen(r, deep.dir); err != nil {
		return err
	}
	if err := pendingKept(r, deep, door); err != nil {
		return err
	}
	return errors.Join(door.close(), r.remove(deep.dir), r.remove(template.dir), r.remove(empty.dir))
}

// template is a folder with endpoints and without events. Copies of it are gateways to begin with.
type template struct{ dir string }

func (r *run) withEndpoints(n int, url func(i int) string) (*template, error) {
	start := time.Now()
	g, err := r.openGate(r.folder(), publishOnly())
	if err != nil {
		return nil, err
	}
	if err := errors.Join(g.endpoints(r.ctx, n, url), g.close()); err != nil {
		return nil, err
	}
	r.say("%d endpoints after %v", n, time.Since(start).Round(10*time.Millisecond))
	return &template{g.dir}, nil
}

// open opens a copy.
func (t *template) open(r *run, c *hookgate.Config) (*gate, error) {
	dir := r.folder()
	if err := copyFolder(dir, t.dir); err != nil {
		return nil, err
	}
	return r.openGate(dir, c)
}

// grown is a copy with n events that go nowhere.
func (t *template) grown(r *run, n int) (*template, error) {
	g, err := t.open(r, publishOnly())
	if err != nil {
		return nil, err
	}
	err = g.fill(r, n, func(int) hookgate.Event { return g.event("order.placed", 0) })
	return &template{g.dir}, errors.Join(err, g.close())
}

// anyEndpoint answers a function that publishes to one endpoint after the other.
func (g *gate) anyEndpoint(ctx context.Context, next *atomic.Int64, endpoints int) func() error {
	return func() error { return g.publish(ctx, g.event(numbered(int(next.Add(1))%endpoints), 0)) }
}

func pendingPublish(r *run, deep *gate, none *template, endpoints int) error {
	d := r.span(700*time.Millisecond, 150*time.Millisecond)
	var next atomic.Int64
	rate := func(g *gate) ([]float64, error) {
		l, err := r.callers(workers, d, func(int) func() error { return g.anyEndpoint(r.ctx, &next, endpoints) })
		return []float64{l.rate()}, err
	}
	empty := func() ([]float64, error) {
		g, err := none.open(r, publishOnly())
		if err != nil {
			return nil, err
		}
		g.start()
		flushDisk(g.dir) // the copy
		if _, err := rate(g); err != nil {
			return nil, err // to warm it up, as the other one is
		}
		r.calm()
		v, err := rate(g)
		return v, errors.Join(err, g.close(), r.remove(g.dir))
	}
	s, err := r.against("publish /s when deep, when empty", func() ([]float64, error) { return rate(deep) }, empty)
	if err != nil {
		return err
	}
	r.report("pending-publish", s[0], "%d pending at the end, %d endpoints", deep.accepted.Load(), endpoints)
	return nil
}

// liveHeap is what is reachable, in bytes.
func liveHeap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func pendingHeap(r *run, dir string, idle float64) error {
	const mib = 1 << 20
	dispatcher := newInstant()
	dispatcher.shut()
	c := config()
	c.Dispatcher, c.DrainTimeout = dispatcher, -1
	g, err := r.openGate(dir, c)
	if err != nil {
		return err
	}
	opened := (liveHeap() - idle) / mib
	g.start()
	if err := dispatcher.hangs(r.ctx, workers); err != nil {
		return err
	}
	time.Sleep(r.span(500*time.Millisecond, 200*time.Millisecond)) // the window fills up
	running := (liveHeap() - idle) / mib
	if err := g.close(); err != nil {
		return err
	}
	r.say("heap MiB: %.1f when opened, %.1f with 64 attempts hanging", opened, running)
	r.report("pending-heap", alone(max(opened, running)), "%.1f MiB after Open, %.1f MiB with 64 attempts hanging; %.1f MiB before", opened, running, idle/mib)
	return nil
}

func pendingOpen(r *run, dir string) error {
	how := ""
	first := func() ([]float64, error) {
		dispatcher := newCounting(1, func(*hookgate.Request) bool { return true })
		defer dispatcher.Close()
		c := config()
		c.Dispatcher = dispatcher
		start := time.Now()
		g, err := r.openGate(dir, c)
		if err != nil {
			return nil, err
		}
		opened := time.Since(start)
		g.start()
		err = dispatcher.wait(r.ctx)
		took := time.Since(start)
		return []float64{took.Seconds(), opened.Seconds()}, errors.Join(err, g.close())
	}
	cold := func() ([]float64, error) {
		var err error
		if how, err = coolDown(dir); err != nil {
			return nil, err
		}
		return first()
	}
	v, err := r.inTurn("open to first delivery, s: warm, cold", r.slices(), first, cold)
	if err != nil {
		return err
	}
	r.report("open-warm", alone(column(v[0], 0)...), "%s s of it in Open", short(median(column(v[0], 1))))
	r.report("open-cold", alone(column(v[1], 0)...), "%s s of it in Open; cold by %s", short(median(column(v[1], 1))), how)
	return nil
}

// pendingKept makes sure that each event is either pending or was received.
func pendingKept(r *run, deep *gate, door *door) error {
	g, err := r.openGate(deep.dir, publishOnly())
	if err != nil {
		return err
	}
	open, err := g.open(r.ctx)
	if err := errors.Join(err, g.close()); err != nil {
		return err
	}
	ports, err := door.read()
	if err != nil {
		return err
	}
	if got := ports.Inboxes["all"].Unique + int(open); got < int(deep.accepted.Load()) {
		return &lossError{inbox: "all", want: int(deep.accepted.Load()), got: got}
	}
	return nil
}
