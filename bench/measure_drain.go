package main

import (
	"errors"
	"time"

	"github.com/hookgate/hookgate"
)

var measureDrain = measure{
	name: "drain",
	method: `
Working off a backlog. Each slice opens a new gateway, publishes the backlog before Run, then calls Run: the clock goes from
there until every delivery is done and recorded on disk. The limit is the bare loop.`,
	rows: []row{
		{"drain", "drain of a backlog", "events/s", "bare loop", bar{atLeast, 0.88, 0.97}},
	},
	take: takeDrain,
}

func takeDrain(r *run) error {
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	door, err := r.receiver.open()
	if err != nil {
		return err
	}
	n, total := r.size(30_000, 4_000), 0
	ours := func() ([]float64, error) {
		g, err := r.openGate(r.folder(), config())
		if err != nil {
			return nil, err
		}
		if err := g.endpoint(r.ctx, "all", door.url("all", ""), "*"); err != nil {
			return nil, err
		}
		g.serial.Store(uint64(total))
		if err := g.fill(r, n, func(int) hookgate.Event { return g.event("invoice.paid", 0) }); err != nil {
			return nil, err
		}
		total += n
		r.calm()
		start := time.Now()
		g.start()
		if err := g.drained(r.ctx, 0); err != nil {
			return nil, err
		}
		took := time.Since(start)
		return []float64{perSecond(n, took)}, g.finish(r, 0)
	}
	s, err := r.against("drain /s, bare loop /s", ours, l.bare(r.span(1500*time.Millisecond, 250*time.Millisecond)))
	if err != nil {
		return err
	}
	c, err := door.expect("all", total)
	if err != nil {
		return err
	}
	r.report("drain", s[0], "%d events per slice; %d delivered, %d of them twice", n, c.Unique, c.Repeated)
	return errors.Join(door.close(), l.close())
}
