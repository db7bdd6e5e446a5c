package main

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate"
)

var measureIdempotent = measure{
	name: "idempotent",
	method: `
1,000,000 events with an idempotency key each (quick: 50,000), all within their window. Then 64 callers publish events with new
keys, in turn with 64 callers who publish without, in the same gateway. At the end some of the old keys are published again
and must be told to be duplicates.`,
	rows: []row{
		{"idempotent", "idempotent publish with a window of 1,000,000 keys", "events/s", "plain publish", bar{atLeast, 0.80, 0.95}},
	},
	take: takeIdempotent,
}

func takeIdempotent(r *run) error {
	n := r.size(1_000_000, 50_000)
	g, err := r.openGate(r.folder(), publishOnly())
	if err != nil {
		return err
	}
	if err := g.endpoint(r.ctx, "all", nowhere, "invoice.paid"); err != nil {
		return err
	}
	g.start()
	start := time.Now()
	if err := g.fill(r, n, func(i int) hookgate.Event { return old(i) }); err != nil {
		return err
	}
	r.say("%d keys after %v", n, time.Since(start).Round(10*time.Millisecond))
	pending := g.accepted.Load()
	d := r.span(700*time.Millisecond, 150*time.Millisecond)
	keyed := func() ([]float64, error) {
		l, err := r.callers(workers, d, func(int) func() error {
			return func() error {
				ev := g.event("invoice.paid", 0)
				ev.IdempotencyKey = string(ev.Payload[offsetN : offsetN+digitsLong])
				return g.publish(r.ctx, ev)
			}
		})
		return []float64{l.rate()}, err
	}
	s, err := r.against("publish /s with key, without", keyed, g.publishSide(r, workers, d, "invoice.paid"))
	if err != nil {
		return err
	}
	pending = g.accepted.Load() - pending
	for i := 0; i < n; i += n / 100 {
		if rec, err := g.Publish(r.ctx, old(i)); err != nil || !rec.Duplicate {
			return fmt.Errorf("event %d was published again with its key, and was not told to be a duplicate: %w", i, err)
		}
	}
	r.report("idempotent", s[0], "%d keys before, 100 old ones were duplicates", n)
	return g.finish(r, pending)
}

// old is the i-th event of the fill, the same each time. It goes nowhere.
func old(i int) hookgate.Event {
	return hookgate.Event{
		Type: "order.placed", ContentType: "application/json", IdempotencyKey: fmt.Sprintf("order-%d", i), Payload: newPayload(uint64(i), 0),
	}
}
