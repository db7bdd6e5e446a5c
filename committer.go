package hookgate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/store"
)

// What bounds a commit, and how long things may wait for one.
const (
	batchBytes   = 4 << 20 // of payload
	batchAppends = 1024
	batchSettles = 4096

	settleCount = 512                  // outcomes that are worth a commit of their own
	settleWait  = 5 * time.Millisecond // how long an outcome waits for a commit to ride in

	gatherFor   = 100 * time.Microsecond // how long a commit waits for the callers of the one before
	gatherSpins = 64                     // how often it looks meanwhile before it sleeps

	stalledWait = time.Second // between tries to record outcomes that found no room
)

// committer owns all writes. Whatever arrives while a commit runs goes together into the next one: publishes, outcomes,
// documents, gates.
//
// There is no goroutine for it. The first caller that waits leads: it takes all that is pending, commits it, tells
// everybody their results, and goes on until its own item is done; then it wakes another waiting caller to lead. So a
// lone caller pays for no hand-over, and nobody leads for long. Outcomes have no caller that waits: they ride the next
// commit, and a goroutine, the flusher, leads for them when 5 ms have passed, many are there, or one is urgent. It ends when
// nothing is left.
type committer struct {
	store Store
	sched *scheduler
	log   *slog.Logger
	fail  func(error) // called once, when the store has failed for good

	ctx    context.Context // of every commit; no caller's
	cancel context.CancelFunc
	pool   sync.Pool // of *commitOp

	waiting atomic.Int32 // len(pending), for the leader that gathers

	mu      sync.Mutex
	ids     idMaker
	pending []*commitOp
	settles []settleItem
	urgent  bool // the settles are worth a commit now
	stalled bool // the last try to record settles found no room: wait before the next
	warned  bool // that was logged
	leading bool // somebody leads
	callers int  // how many the last commit had
	closed  bool
	failed  bool
	quiet   chan struct{} // closed when nobody leads any more; nil: nobody waits for that
	timer   *time.Timer   // the settles' 5 ms; armed only while settles wait
	armed   bool

	// The leader's own.
	batch store.Batch
	ops   []*commitOp
	items []settleItem
}

// commitOp is what one caller waits for.
type commitOp struct {
	appends []store.Append // of append
	batch   *store.Batch   // of do
	bytes   int64

	results []store.AppendResult
	receipt *store.Receipt
	err     error

	taken bool // a leader has it; under mu
	lead  bool // its caller was told to lead; under mu
	done  bool // the leader's own mark for its own item
	wake  chan wakeUp
}

type wakeUp uint8

const (
	wakeDone wakeUp = iota + 1
	wakeLead
)

func newOp() *commitOp { return &commitOp{wake: make(chan wakeUp, 1)} }

func newCommitter(s Store, sched *scheduler, log *slog.Logger, fail func(error)) *committer {
	c := &committer{store: s, sched: sched, log: log, fail: fail}
	c.pool.New = func() any { return newOp() }
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// append hands events over and waits for their fate, one result each in their order. It fills in the ID of an event that
// has none, before it waits, so that a caller has it together with ErrUnknownOutcome. The events belong to the gateway from
// then on; their payloads must not change while a delivery of theirs may be under way.
//
// ctx ends the wait and nothing else: what was handed over may still be committed, and the error says so.
func (c *committer) append(ctx context.Context, appends []store.Append) ([]store.AppendResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(appends) <= batchAppends {
		if size := payloadSize(appends); size <= batchBytes || len(appends) == 1 {
			op := c.pool.Get().(*commitOp)
			op.appends, op.bytes = appends, size
			if err := c.wait(ctx, op, c.enqueue(op)); err != nil {
				return nil, err
			}
			results := op.results
			c.recycle(op)
			return results, nil
		}
	}
	return c.appendMany(ctx, appends)
}

// appendMany cuts what is too much for one commit into pieces. They are pending together, in their order.
func (c *committer) appendMany(ctx context.Context, appends []store.Append) ([]store.AppendResult, error) {
	var ops []*commitOp
	for rest := appends; len(rest) > 0; {
		n, size := 0, int64(0)
		for n < len(rest) && n < batchAppends {
			more := payloadSize(rest[n : n+1])
			if n > 0 && size+more > batchBytes {
				break
			}
			size += more
			n++
		}
		ops = append(ops, &commitOp{appends: rest[:n], bytes: size, wake: make(chan wakeUp, 1)})
		rest = rest[n:]
	}
	lead := c.enqueue(ops...)
	results := make([]store.AppendResult, 0, len(appends))
	var failed error
	for i, op := range ops {
		// A failed piece takes none of its neighbours with it: each of its events has the error as its result.
		if err := c.wait(ctx, op, lead && i == 0); err != nil {
			failed = err
			for range op.appends {
				results = append(results, store.AppendResult{Err: err})
			}
			continue
		}
		results = append(results, op.results...)
	}
	if failed != nil && len(ops) > 1 {
		return results, nil
	}
	return results, failed
}

func payloadSize(appends []store.Append) int64 {
	n := int64(0)
	for i := range appends {
		if ev := appends[i].Event; ev != nil {
			n += int64(len(ev.Payload)) + 256
		}
	}
	return n
}

// do commits documents, gates, appends and settles without a lease (operator verbs), together with whatever else waits.
func (c *committer) do(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	op := c.pool.Get().(*commitOp)
	op.batch, op.bytes = b, payloadSize(b.Appends)
	if err := c.wait(ctx, op, c.enqueue(op)); err != nil {
		return nil, err
	}
	receipt := op.receipt
	c.recycle(op)
	return receipt, nil
}

// recycle takes an op that nobody else knows any more.
func (c *committer) recycle(op *commitOp) {
	*op = commitOp{wake: op.wake}
	c.pool.Put(op)
}

// enqueue makes ops pending and reports whether the caller has to lead. Events get their IDs here, so that the order of
// IDs is the order of commits.
func (c *committer) enqueue(ops ...*commitOp) (lead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range ops {
		appends := op.appends
		if op.batch != nil {
			appends = op.batch.Appends
		}
		for i := range appends {
			if ev := appends[i].Event; ev != nil && ev.ID.IsZero() {
				ev.ID = c.ids.next()
			}
		}
		if c.closed {
			op.err, op.done, op.taken = ErrClosed, true, true
			op.wake <- wakeDone
			continue
		}
		c.pending = append(c.pending, op)
	}
	c.waiting.Store(int32(len(c.pending)))
	if c.closed || c.leading || len(c.pending) == 0 {
		return false
	}
	c.leading = true
	return true
}

// wait waits until op is done, and leads when that is the caller's turn. An error means that op must not be used again.
func (c *committer) wait(ctx context.Context, op *commitOp, lead bool) error {
	for !op.done {
		if lead {
			c.lead(op)
			continue
		}
		select {
		case w := <-op.wake:
			lead = w == wakeLead
			if !lead {
				return op.err
			}
		case <-ctx.Done():
			return c.leave(ctx, op)
		}
	}
	select {
	case <-op.wake:
	default:
	}
	return op.err
}

// leave is for a caller whose context ended while it waited.
func (c *committer) leave(ctx context.Context, op *commitOp) error {
	c.mu.Lock()
	if op.taken {
		c.mu.Unlock()
		select {
		case <-op.wake: // it was just done
			return op.err
		default:
		}
		return fmt.Errorf("%w (%w while the commit was under way)", ErrUnknownOutcome, ctx.Err())
	}
	for i, p := range c.pending {
		if p == op {
			c.pending = append(c.pending[:i], c.pending[i+1:]...)
			break
		}
	}
	c.waiting.Store(int32(len(c.pending)))
	if op.lead {
		c.passOn() // unlocks
	} else {
		c.mu.Unlock()
	}
	return ctx.Err()
}

// lead commits what is pending until own is done (nil: one commit), then lets another lead.
func (c *committer) lead(own *commitOp) {
	for {
		c.gather()
		c.take()
		err := c.commit()
		c.distribute(own, err)
		c.mu.Lock()
		if own == nil || own.done {
			c.passOn()
			return
		}
		c.mu.Unlock()
	}
}

// passOn is called by a leader that ends, with mu held, which it gives back. Whoever arrived first leads next;
// without anybody, outcomes that are due are left to the flusher.
func (c *committer) passOn() {
	if len(c.pending) > 0 {
		next := c.pending[0]
		next.lead = true
		c.mu.Unlock()
		next.wake <- wakeLead
		return
	}
	c.leading = false
	c.rest()
	if !c.leading && c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
	c.mu.Unlock()
}

// gather gives the callers of the last commit a moment to come again. Without it, callers that publish in a loop split
// into two halves that take turns, and each sync carries half of what it could. A lone caller never waits.
func (c *committer) gather() {
	want := int32(c.callers - c.callers/4)
	if c.callers < 2 || c.waiting.Load() >= want {
		return
	}
	start := time.Now()
	for range gatherSpins {
		runtime.Gosched()
		if c.waiting.Load() >= want || time.Since(start) > gatherFor {
			return
		}
	}
	time.Sleep(gatherFor / 2)
}

// flush returns when every outcome that was handed over before is recorded, or cannot be.
func (c *committer) flush(ctx context.Context) error {
	for {
		op := newOp()
		if err := c.wait(ctx, op, c.enqueue(op)); err != nil {
			return err
		}
		c.mu.Lock()
		left, stalled := len(c.settles), c.stalled
		c.mu.Unlock()
		switch {
		case left == 0:
			return nil
		case stalled:
			return fmt.Errorf("%d outcomes could not be recorded: these deliveries are made again", left)
		}
	}
}

// close refuses what comes from now on and waits for what is under way, until ctx ends.
func (c *committer) close(ctx context.Context) error {
	err := c.flush(ctx)
	if errors.Is(err, ErrClosed) {
		err = nil
	}
	c.mu.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	var quiet chan struct{}
	if c.leading {
		if c.quiet == nil {
			c.quiet = make(chan struct{})
		}
		quiet = c.quiet
	}
	c.mu.Unlock()
	if quiet != nil {
		select {
		case <-quiet:
		case <-ctx.Done():
			err = errors.Join(err, errors.New("a commit did not end in time"))
		}
	}
	c.cancel()
	return err
}
