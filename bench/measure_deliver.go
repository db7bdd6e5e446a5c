package main

import (
	"errors"
	"time"
)

var measureDeliver = measure{
	name: "deliver",
	method: `
The whole job. 64 callers publish 1 KiB events for two seconds, 64 workers sign and POST them to one endpoint, and the slice
ends when the last one is delivered and that is recorded on disk. The limit is the bare loop: 64 callers POST the same signed
payload to the same receiver. CPU is user and system time of this process (the receiver is another one). Connections are
counted by the receiver over all slices together.`,
	rows: []row{
		{"deliver", "publish + signed delivery + durable completion, 64 callers", "events/s", "bare loop", bar{atLeast, 0.75, 0.85}},
		{"deliver-cpu", "CPU per 1,000 deliveries", "ms", "bare loop", bar{below, 1.8, 1.4}},
		{"deliver-connections", "connections opened to one receiver", "", "workers", bar{atMost, 1, 0}},
	},
	take: takeDeliver,
}

func takeDeliver(r *run) error {
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	door, err := r.receiver.open()
	if err != nil {
		return err
	}
	g, err := r.openGate(r.folder(), config())
	if err != nil {
		return err
	}
	if err := g.endpoint(r.ctx, "all", door.url("all", ""), "*"); err != nil {
		return err
	}
	g.start()
	d := r.span(2*time.Second, 300*time.Millisecond)
	s, err := r.against("deliver /s, bare loop /s", g.deliverSide(r, d, "invoice.paid", 1), l.bare(d))
	if err != nil {
		return err
	}
	c, err := door.expect("all", int(g.accepted.Load()))
	if err != nil {
		return err
	}
	ports, err := door.read()
	if err != nil {
		return err
	}
	r.report("deliver", s[0], "%d delivered, %d of them twice", c.Unique, c.Repeated)
	r.report("deliver-cpu", s[1], "")
	r.report("deliver-connections", series{{float64(ports.Connections), workers}}, "for %d requests", c.Requests)
	return errors.Join(g.finish(r, 0), door.close(), l.close())
}

// deliverSide answers deliveries a second and milliseconds of CPU per 1,000 of them, where each event makes fanOut of them.
func (g *gate) deliverSide(r *run, d time.Duration, typ string, fanOut int) side {
	return func() ([]float64, error) {
		before, err := cpuTime()
		if err != nil {
			return nil, err
		}
		done, took, err := g.deliver(r, d, typ)
		if err != nil {
			return nil, err
		}
		after, err := cpuTime()
		n := fanOut * done.calls
		return []float64{perSecond(n, took), perThousand(after-before, n)}, err
	}
}

var measureFanOut = measure{
	name: "fan-out",
	method: `
As deliver, but each event goes to ten endpoints, each with a secret of its own, at the same receiver. Counted are
deliveries. The body is stored once.`,
	rows: []row{
		{"fan-out", "fan-out 1 to 10, deliveries", "/s", "bare loop", bar{atLeast, 0.70, 0.85}},
		{name: "fan-out-cpu", what: "fan-out 1 to 10, CPU per 1,000 deliveries", unit: "ms", against: "bare loop"},
	},
	take: takeFanOut,
}

func takeFanOut(r *run) error {
	const fanOut = 10
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	door, err := r.receiver.open()
	if err != nil {
		return err
	}
	g, err := r.openGate(r.folder(), config())
	if err != nil {
		return err
	}
	for i := range fanOut {
		if err := g.endpoint(r.ctx, numbered(i), door.url(numbered(i), ""), "*"); err != nil {
			return err
		}
	}
	g.start()
	d := r.span(2*time.Second, 300*time.Millisecond)
	s, err := r.against("fan-out deliveries /s, bare loop /s", g.deliverSide(r, d, "invoice.paid", fanOut), l.bare(d))
	if err != nil {
		return err
	}
	for i := range fanOut {
		if _, err := door.expect(numbered(i), int(g.accepted.Load())); err != nil {
			return err
		}
	}
	r.report("fan-out", s[0], "%d events", g.accepted.Load())
	r.report("fan-out-cpu", s[1], "")
	return errors.Join(g.finish(r, 0), door.close(), l.close())
}
