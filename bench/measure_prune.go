package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/store"
)

var measurePrune = measure{
	name: "prune",
	method: `
1,000,000 events of 1 KiB (quick: 30,000, in segments of 4 MiB), each delivered once by a dispatcher that says 200 at once, so each has its
delivery and its attempt on disk; but every fiftieth waits for an endpoint that is dead, and has to survive. Then, in the same
folder and without workers:

Disk: bytes allocated to the folder, without the space allocated ahead (empty segments, zeros at the end of others), per event,
over the 1,024 bytes of its payload. p99: 16 callers publish while a tenth of the finished events is pruned, in turn with
16 callers while nothing is pruned; the last tenth goes without a clock. Prune is called as the keeper does, with pauses of
20 ms; the rate of pruning does not count the pauses. Rate after: 64 callers before and after, each time as a share
of the log in turn with it, because what lies in between is minutes. Returned: bytes allocated to the folder before and after
(two segments are kept for reuse), over the payload of the events that were pruned.`,
	rows: []row{
		{"disk-per-event", "disk per finished 1 KiB event", "bytes", "payload", bar{below, 1.2, 0}},
		{"prune-p99", "publish p99 while 1,000,000 finished events are pruned", "ms", "without", bar{below, 4, 2}},
		{"prune-after", "publish rate after pruning, as a share of the log", "", "before", bar{atLeast, 0.95, 1.0}},
		{"prune-returned", "disk space returned by pruning, where every fiftieth event stays", "MiB", "payload pruned", bar{atLeast, 0.75, 0.95}},
		{name: "prune-rate", what: "pruning while publishing, pauses not counted", unit: "events/s"},
	},
	take: takePrune,
}

func takePrune(r *run) error {
	n := r.size(1_000_000, 30_000)
	dir := r.folder()
	if err := fillFinished(r, dir, n); err != nil {
		return err
	}
	if err := diskPerEvent(r, dir, n); err != nil {
		return err
	}
	g, err := r.openGateAndStore(dir, publishOnly())
	if err != nil {
		return err
	}
	filled := time.Now()
	waiting := n / survivorEvery
	g.accepted.Store(0)
	g.start()
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	d := r.span(700*time.Millisecond, 150*time.Millisecond)
	share := func(what string) ([][]float64, error) {
		v, err := r.inTurn("publish /s, log /s, "+what, r.slices(), g.publishSide(r, workers, d, "invoice.paid"), l.log(d))
		if err != nil {
			return nil, err
		}
		s := zip(v[0], v[1])[0]
		return each(s.ratios(), func(v float64) []float64 { return []float64{v} }), nil
	}
	before, err := share("before pruning")
	if err != nil {
		return err
	}
	held, err := onDisk(dir)
	if err != nil {
		return err
	}
	start := g.accepted.Load()
	pruned, err := prunePieces(r, g, n-waiting, filled)
	if err != nil {
		return err
	}
	left, err := onDisk(dir)
	if err != nil {
		return err
	}
	returned := held + (g.accepted.Load()-start)*payloadSize - left // what was published meanwhile takes its place
	const mib = 1 << 20
	r.report("prune-returned", series{{float64(returned) / mib, float64(pruned*payloadSize) / mib}}, "%d events pruned, %d spread among them wait; the folder had %d MiB before, %d MiB after, with %d events published meanwhile",
		pruned, waiting, held/mib, left/mib, g.accepted.Load()-start)
	after, err := share("after pruning")
	if err != nil {
		return err
	}
	r.report("prune-after", zip(after, before)[0], "")
	g.accepted.Add(int64(waiting))
	return errors.Join(g.finish(r, g.accepted.Load()), l.close())
}

// survivorEvery says which of the events that are to be pruned cannot be.
const survivorEvery = 50

// fillFinished leaves a folder with n events that were delivered, but for those that wait for a dead endpoint.
func fillFinished(r *run, dir string, n int) error {
	start := time.Now()
	c := config()
	c.Dispatcher = newInstant()
	g, err := r.openGateAndStore(dir, c)
	if err != nil {
		return err
	}
	err = errors.Join(
		g.endpoint(r.ctx, "all", nowhere, "invoice.paid"),
		g.endpoint(r.ctx, "dead", nowhere, "order.lost"),
		g.PauseEndpoint(r.ctx, "", "dead", "it does not answer"),
	)
	if err != nil {
		return err
	}
	g.start()
	if err := g.fill(r, n, func(i int) hookgate.Event {
		if i%survivorEvery == 0 {
			return g.event("order.lost", 0)
		}
		return g.event("invoice.paid", 0)
	}); err != nil {
		return err
	}
	waiting := int64(n / survivorEvery)
	if err := errors.Join(g.drained(r.ctx, waiting), g.close()); err != nil {
		return err
	}
	r.say("%d events finished after %v", n, time.Since(start).Round(10*time.Millisecond))
	return r.keeps(dir, int64(n), waiting)
}

func diskPerEvent(r *run, dir string, n int) error {
	all, err := onDisk(dir)
	if err != nil {
		return err
	}
	ahead, err := unwritten(dir)
	if err != nil {
		return err
	}
	r.report("disk-per-event", series{{float64(all-ahead) / float64(n), payloadSize}}, "%d MiB in all, %d MiB of it allocated ahead", all>>20, ahead>>20)
	return nil
}

// prunePieces prunes all of the n old events in pieces, with callers who publish, in turn with the same callers alone.
func prunePieces(r *run, g *gate, n int, filled time.Time) (pruned int, err error) {
	const publishers = 16
	publish := func(int) func() error { return g.caller(r.ctx, "invoice.paid") }
	inPrune := time.Duration(0)
	some := func(limit int) (more bool, err error) {
		defer func(start time.Time) { inPrune += time.Since(start) }(time.Now())
		res, err := g.store.Prune(r.ctx, store.PruneRequest{Done: time.Since(filled), Limit: limit})
		pruned += res.Events
		return res.More, err
	}
	piece := n / (r.slices() + 1)
	pruning := func() ([]float64, error) {
		var over atomic.Bool
		failed := make(chan error, 1)
		from := pruned
		inPrune = 0
		go func() {
			defer over.Store(true)
			for more := true; more && pruned-from < piece; {
				var err error
				if more, err = some(min(10_000, piece)); err != nil {
					failed <- err
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			failed <- nil
		}()
		l, err := r.callersUntil(publishers, func(time.Time) bool { return over.Load() }, publish)
		if err = errors.Join(err, <-failed); err != nil {
			return nil, err
		}
		return []float64{1e3 * l.p(0.99), perSecond(pruned-from, inPrune)}, nil
	}
	d := r.span(700*time.Millisecond, 150*time.Millisecond)
	alone16 := func() ([]float64, error) {
		l, err := r.callers(publishers, d, publish)
		return []float64{1e3 * l.p(0.99)}, err
	}
	v, err := r.inTurn("publish p99 ms while pruning, without", r.slices(), pruning, alone16)
	if err != nil {
		return pruned, err
	}
	// The rest, and then a few rounds more: what a round empties may be given back by the next one.
	for rounds := 0; rounds < 10; {
		more, err := some(0)
		if err != nil {
			return pruned, err
		}
		if !more {
			rounds++
			time.Sleep(r.span(200*time.Millisecond, 20*time.Millisecond))
		}
	}
	if pruned < n*95/100 {
		return pruned, fmt.Errorf("only %d of %d finished events were pruned", pruned, n)
	}
	r.report("prune-p99", zip(v[0], v[1])[0], "")
	r.report("prune-rate", alone(column(v[0], 1)...), "")
	return pruned, nil
}
