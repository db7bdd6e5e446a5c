package main

import (
	"errors"
	"time"

	"github.com/hookgate/hookgate"
)

var measurePublish = measure{
	name: "publish",
	method: `
Durable publishes. 64 callers publish 1 KiB events, each with one delivery for an endpoint, in a gateway that has no workers,
so the work stays pending. PublishAll: 8 callers, 100 events a call, in a gateway of its own. The limit for both is the log
with 64 callers. Afterwards both folders are opened again, and all events must be there.`,
	rows: []row{
		{"publish", "durable publishes, 64 callers", "events/s", "log", bar{atLeast, 0.90, 1.3}},
		{"publish-all", "PublishAll of 100, 8 callers", "events/s", "log", bar{atLeast, 2.0, 3.0}},
		{name: "publish-p99", what: "durable publish, 64 callers, p99", unit: "ms"},
	},
	take: takePublish,
}

// nowhere is the URL of endpoints that get nothing because there are no workers.
const nowhere = "http://127.0.0.1:9/"

// openPublisher opens a new gateway without workers, with one endpoint for all events.
func (r *run) openPublisher() (*gate, error) {
	g, err := r.openGate(r.folder(), publishOnly())
	if err != nil {
		return nil, err
	}
	if err := g.endpoint(r.ctx, "all", nowhere, "*"); err != nil {
		return nil, err
	}
	g.start()
	return g, nil
}

// publishSide answers publishes a second and the p99 in milliseconds.
func (g *gate) publishSide(r *run, callers int, d time.Duration, typ string) side {
	return func() ([]float64, error) {
		l, err := r.callers(callers, d, func(int) func() error { return g.caller(r.ctx, typ) })
		return []float64{l.rate(), 1e3 * l.p(0.99)}, err
	}
}

func takePublish(r *run) error {
	const together = 100
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	one, err := r.openPublisher()
	if err != nil {
		return err
	}
	many, err := r.openPublisher()
	if err != nil {
		return err
	}
	d := r.span(800*time.Millisecond, 150*time.Millisecond)
	all := func() ([]float64, error) {
		done, err := r.callers(loaders, d, func(int) func() error {
			return many.batchCaller(r.ctx, together, func() hookgate.Event { return many.event("invoice.paid", 0) })
		})
		return []float64{together * done.rate()}, err
	}
	v, err := r.inTurn("publish /s, PublishAll /s, log /s", r.slices(), one.publishSide(r, workers, d, "invoice.paid"), all, l.log(d))
	if err != nil {
		return err
	}
	r.report("publish", zip(v[0], v[2])[0], "")
	r.report("publish-all", zip(v[1], v[2])[0], "")
	r.report("publish-p99", alone(column(v[0], 1)...), "")
	return errors.Join(one.finish(r, one.accepted.Load()), many.finish(r, many.accepted.Load()), l.close())
}

var measureSingle = measure{
	name: "single",
	method: `
One caller who publishes one event after the other: p50 of Publish over the p50 of one 4 KiB append + fdatasync.`,
	rows: []row{
		{"single", "one caller: publish p50", "ms", "fdatasync p50", bar{below, 1.3, 0.9}},
	},
	take: takeSingle,
}

func takeSingle(r *run) error {
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	g, err := r.openPublisher()
	if err != nil {
		return err
	}
	d := r.span(700*time.Millisecond, 150*time.Millisecond)
	ours := func() ([]float64, error) {
		done, err := r.callers(1, d, func(int) func() error { return g.caller(r.ctx, "invoice.paid") })
		return []float64{1e3 * done.p(0.5)}, err
	}
	s, err := r.against("publish p50 ms, fdatasync p50 ms", ours, l.sync(d))
	if err != nil {
		return err
	}
	r.report("single", s[0], "")
	return errors.Join(g.finish(r, g.accepted.Load()), l.close())
}
