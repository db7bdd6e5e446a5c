package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

var measureLatency = measure{
	name: "latency",
	method: `
From the call of Publish to the arrival of the whole request at the receiver, at 1,000 events a second whether or not the last
one is through (open loop), idle otherwise. The same with the bare loop gives what HTTP alone takes. The difference of
the two p50 is what hookgate adds; its limit is the p50 of one 4 KiB append + fdatasync.`,
	rows: []row{
		{"latency", "publish to receipt at 1,000/s: p50 added over no store", "ms", "fdatasync p50", bar{below, 3, 1.5}},
		{name: "latency-p50", what: "publish to receipt at 1,000/s, p50", unit: "ms", against: "no store"},
		{name: "latency-p99", what: "publish to receipt at 1,000/s, p99", unit: "ms", against: "no store"},
	},
	take: takeLatency,
}

func takeLatency(r *run) error {
	const rate = 1000
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	door, err := r.receiver.open()
	if err != nil {
		return err
	}
	bare, err := newBareLoop(door.url("bare", "lag=1"), workers)
	if err != nil {
		return err
	}
	defer bare.close()
	g, err := r.openGate(r.folder(), config())
	if err != nil {
		return err
	}
	if err := g.endpoint(r.ctx, "all", door.url("all", "lag=1"), "*"); err != nil {
		return err
	}
	g.start()

	d := r.span(2*time.Second, 400*time.Millisecond)
	arrivals := func(inbox string, want int) ([]float64, error) {
		c, err := door.lag(inbox)
		if err == nil && c.Count != want {
			err = &lossError{inbox: inbox, want: want, got: c.Count}
		}
		return []float64{time.Duration(c.P50).Seconds() * 1e3, time.Duration(c.P99).Seconds() * 1e3}, err
	}
	ours := func() ([]float64, error) {
		n, err := r.paced(rate, d, func(ctx context.Context) error {
			ev := g.event("invoice.paid", 0)
			stamp(ev.Payload, time.Now())
			return g.publish(ctx, ev)
		})
		if err = errors.Join(err, g.drained(r.ctx, 0)); err != nil {
			return nil, err
		}
		return arrivals("all", n)
	}
	without := func() ([]float64, error) {
		signers := sync.Pool{New: func() any { return newStandardSigner() }}
		n, err := r.paced(rate, d, func(context.Context) error {
			s := signers.Get().(*standardSigner)
			defer signers.Put(s)
			n := bare.serial.Add(1)
			body := newPayload(n, 0)
			stamp(body, time.Now())
			return bare.post(s, n, body)
		})
		if err != nil {
			return nil, err
		}
		return arrivals("bare", n)
	}
	v, err := r.inTurn("p50 ms: hookgate, no store, fdatasync", r.slices(), ours, without, l.sync(d/4))
	if err != nil {
		return err
	}
	added := make([][]float64, len(v[0]))
	for i := range added {
		added[i] = []float64{v[0][i][0] - v[1][i][0]}
	}
	over := zip(v[0], v[1])
	r.report("latency", zip(added, v[2])[0], "")
	r.report("latency-p50", over[0], "")
	r.report("latency-p99", over[1], "")
	if _, err := door.expect("all", int(g.accepted.Load())); err != nil {
		return err
	}
	return errors.Join(g.finish(r, 0), door.close(), l.close())
}

// paced calls f so many times a second for d, each time in a goroutine of its own, and answers how often. It returns when
// all calls did.
func (r *run) paced(rate int, d time.Duration, f func(ctx context.Context) error) (int, error) {
	ctx, stop := context.WithCancelCause(r.ctx)
	defer stop(nil)
	every := time.Second / time.Duration(rate)
	n := int(d / every)
	start := time.Now()
	var all sync.WaitGroup
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * every)))
		all.Go(func() {
			if err := f(ctx); err != nil {
				stop(err)
			}
		})
		if ctx.Err() != nil {
			break
		}
	}
	all.Wait()
	return n, context.Cause(ctx)
}
