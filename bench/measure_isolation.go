package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate"
)

var measureIsolation = measure{
	name: "isolation",
	method: `
Ten endpoints with a backlog of the same size, and default limits: a quarter of the workers per destination. The clock goes
from Run until the last event of endpoints 1 to 9 is delivered. Ours: endpoint 0 answers after 10 s. The limit: it answers at
once. In a design with one pool of workers for all, the nine end up at 64 x 9 / 10 s = 57 deliveries a second.`,
	rows: []row{
		{"isolation", "nine of ten endpoints while one hangs 10 s per request", "/s", "without it", bar{atLeast, 0.90, 0.97}},
	},
	take: takeIsolation,
}

func takeIsolation(r *run) error {
	n := r.size(2_000, 250)
	side := func(query string) side {
		return func() ([]float64, error) { return isolationSlice(r, n, query) }
	}
	s, err := r.against("the nine /s with one that hangs, without", side("delay=10s"), side(""))
	if err != nil {
		return err
	}
	r.report("isolation", s[0], "%d events per endpoint", n)
	return nil
}

func isolationSlice(r *run, n int, query string) ([]float64, error) {
	const endpoints = 10
	door, err := r.receiver.open()
	if err != nil {
		return nil, err
	}
	dispatcher := newCounting((endpoints-1)*n, func(r *hookgate.Request) bool { return r.Endpoint.ID != numbered(0) })
	defer dispatcher.Close()
	c := config()
	c.PerDestination = 0
	c.DrainTimeout = -1 // nobody waits for the one that hangs
	c.Dispatcher = dispatcher
	g, err := r.openGate(r.folder(), c)
	if err != nil {
		return nil, err
	}
	err = g.endpoints(r.ctx, endpoints, func(i int) string {
		if i == 0 {
			return door.url(numbered(i), query)
		}
		return door.url(numbered(i), "")
	})
	if err != nil {
		return nil, err
	}
	if err := g.fill(r, endpoints*n, func(i int) hookgate.Event { return g.event(numbered(i%endpoints), i%endpoints) }); err != nil {
		return nil, err
	}
	r.calm()
	start := time.Now()
	g.start()
	if err := dispatcher.wait(r.ctx); err != nil {
		return nil, err
	}
	took := time.Since(start)
	for i := 1; i < endpoints; i++ {
		if _, err := door.expect(numbered(i), n); err != nil {
			return nil, err
		}
	}
	if open, err := g.open(r.ctx); err != nil || query != "" && open < int64(n)-workers {
		return nil, errors.Join(err, fmt.Errorf("only %d deliveries are left for the endpoint that hangs, of %d", open, n))
	}
	rate := perSecond((endpoints-1)*n, took)
	return []float64{rate}, errors.Join(g.finish(r, 0), door.close())
}
