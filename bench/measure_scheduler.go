package main

import (
	"errors"
	"sync/atomic"

	"github.com/hookgate/hookgate"
)

var measureScheduler = measure{
	name: "scheduler",
	method: `
What many endpoints cost. Two gateways, one with 10,000 endpoints (quick: 1,000), one with 10, and a dispatcher that answers 200 at
once. Every endpoint had a delivery before, so keys are unsealed. Each slice shuts the dispatcher, publishes a backlog over
all endpoints, opens the dispatcher, and takes the CPU of this process until all is delivered and recorded. The difference of the
two, per delivery, is what 9,990 more endpoints cost, in claims, scheduling, look-ups and cache misses together.

Idle endpoint: live heap of the running gateway with many endpoints, less that with ten, before anything is delivered.`,
	rows: []row{
		{"scheduler", "scheduling: CPU that 10,000 endpoints add to a delivery", "ns", "", bar{below, 1000, 100}},
		{"endpoint-heap", "heap per idle endpoint", "bytes", "", bar{below, 1024, 0}},
	},
	take: takeScheduler,
}

// scheduled is a gateway with endpoints and an instant dispatcher.
type scheduled struct {
	*gate
	endpoints  int
	dispatcher *instant
	next       atomic.Int64
}

func (r *run) newScheduled(endpoints int) (*scheduled, float64, error) {
	t, err := r.withEndpoints(endpoints, func(int) string { return nowhere })
	if err != nil {
		return nil, 0, err
	}
	s := &scheduled{endpoints: endpoints, dispatcher: newInstant()}
	c := config()
	c.Dispatcher = s.dispatcher
	before := liveHeap()
	if s.gate, err = r.openGate(t.dir, c); err != nil {
		return nil, 0, err
	}
	s.start()
	r.calm()
	return s, liveHeap() - before, nil
}

// toNext makes an event that goes to the next endpoint.
func (s *scheduled) toNext(int) hookgate.Event {
	return s.event(numbered(int(s.next.Add(1))%s.endpoints), 0)
}

// side answers the nanoseconds of CPU that one of n deliveries costs.
func (s *scheduled) side(r *run, n int) side {
	return func() ([]float64, error) {
		s.dispatcher.shut()
		if err := s.fill(r, n, s.toNext); err != nil {
			return nil, err
		}
		if err := s.dispatcher.hangs(r.ctx, 1); err != nil {
			return nil, err
		}
		r.calm()
		before, err := cpuTime()
		if err != nil {
			return nil, err
		}
		want := s.dispatcher.done.Load() + int64(n)
		s.dispatcher.open()
		// Asking the gateway for its figures costs something for each destination: it is not asked before the end.
		if err := s.dispatcher.reaches(r.ctx, want); err != nil {
			return nil, err
		}
		if err := s.drained(r.ctx, 0); err != nil {
			return nil, err
		}
		after, err := cpuTime()
		return []float64{float64((after - before).Nanoseconds()) / float64(n)}, err
	}
}

func takeScheduler(r *run) error {
	many, heapMany, err := r.newScheduled(r.size(10_000, 1_000))
	if err != nil {
		return err
	}
	few, heapFew, err := r.newScheduled(10)
	if err != nil {
		return err
	}
	for _, s := range []*scheduled{many, few} {
		if err := errors.Join(s.fill(r, s.endpoints, s.toNext), s.drained(r.ctx, 0)); err != nil {
			return err
		}
	}
	n := r.size(100_000, 10_000)
	v, err := r.inTurn("CPU ns per delivery with many endpoints, with ten", 2*r.slices()-1, many.side(r, n), few.side(r, n))
	if err != nil {
		return err
	}
	var added []float64
	for _, p := range zip(v[0], v[1])[0] {
		added = append(added, p.ours-p.limit)
	}
	r.report("scheduler", alone(added...), "a delivery without HTTP costs %s ns of CPU with %d endpoints, %s ns with 10",
		short(median(column(v[0], 0))), many.endpoints, short(median(column(v[1], 0))))
	r.report("endpoint-heap", alone((heapMany-heapFew)/float64(many.endpoints-few.endpoints)), "%d endpoints", many.endpoints)
	for _, s := range []*scheduled{many, few} {
		if got, want := s.dispatcher.done.Load(), s.accepted.Load(); got < want {
			return &lossError{inbox: "the instant dispatcher", want: int(want), got: int(got)}
		}
	}
	return errors.Join(many.finish(r, 0), few.finish(r, 0))
}
