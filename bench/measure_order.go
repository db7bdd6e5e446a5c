package main

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/retry"
)

var measureOrder = measure{
	name: "order",
	method: `
Not about speed. 64 callers publish with an ordering key each, to an endpoint that refuses every 20th message when it comes
for the first time, with retries after 20 ms. The receiver must get all of them, and those of a key in the order in
which they were published.`,
	rows: []row{
		{"order", "messages that came after a later one of their key", "", "", bar{atMost, 0, 0}},
	},
	take: takeOrder,
}

func takeOrder(r *run) error {
	door, err := r.receiver.open()
	if err != nil {
		return err
	}
	c := config()
	// Eight times are more than enough for a receiver that refuses once.
	c.Retry = retry.Schedule(slices.Repeat([]time.Duration{20 * time.Millisecond}, 8)...)
	g, err := r.openGate(r.folder(), c)
	if err != nil {
		return err
	}
	if err := g.endpoint(r.ctx, "all", door.url("all", "order=1&fail=20"), "*"); err != nil {
		return err
	}
	g.start()
	count := r.size(300, 60)
	errs := make([]error, workers)
	var all sync.WaitGroup
	for key := range workers {
		all.Go(func() {
			for n := 1; n <= count && errs[key] == nil; n++ {
				ev := g.event("invoice.paid", key)
				putDigits(ev.Payload[offsetN:offsetN+digitsLong], uint64(n))
				ev.OrderingKey = numbered(key)
				errs[key] = g.publish(r.ctx, ev)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := g.drained(r.ctx, 0); err != nil {
		return err
	}
	got, err := door.expect("all", int(g.accepted.Load()))
	if err != nil {
		return err
	}
	r.report("order", alone(float64(got.Disorders)), "%d messages of %d keys, %d refused once, %d delivered twice", got.Unique, workers, got.Refused, got.Repeated)
	return errors.Join(g.finish(r, 0), door.close())
}
