package hookgate

import (
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// This file is what the leading caller does with a batch: make it, commit it, tell everybody.

// take moves what is pending into the leader's batch.
func (c *committer) take() {
	c.mu.Lock()
	bytes, appends, n := int64(0), 0, 0
	for _, op := range c.pending {
		count := len(op.appends)
		if op.batch != nil {
			count += len(op.batch.Appends)
		}
		if n > 0 && (bytes+op.bytes > batchBytes || appends+count > batchAppends) {
			break
		}
		bytes += op.bytes
		appends += count
		op.taken = true
		n++
	}
	c.ops = append(c.ops[:0], c.pending[:n]...)
	rest := copy(c.pending, c.pending[n:])
	clear(c.pending[rest:])
	c.pending = c.pending[:rest]
	c.waiting.Store(int32(rest))

	n = min(len(c.settles), batchSettles)
	c.items = append(c.items[:0], c.settles[:n]...)
	rest = copy(c.settles, c.settles[n:])
	clear(c.settles[rest:])
	c.settles = c.settles[:rest]
	c.urgent = rest >= settleCount
	c.callers = len(c.ops)
	c.mu.Unlock()

	b := &c.batch
	var now time.Time
	for i := range c.items {
		it := &c.items[i]
		if it.Attempt != nil && !it.ended.IsZero() {
			if now.IsZero() {
				now = time.Now()
			}
			it.Attempt.Ago = now.Sub(it.ended)
		}
		if it.gate != nil {
			b.Gates = append(b.Gates, *it.gate)
		}
		b.Settles = append(b.Settles, it.Settle)
	}
	for _, op := range c.ops {
		if op.batch == nil {
			b.Appends = append(b.Appends, op.appends...)
			continue
		}
		b.Docs = append(b.Docs, op.batch.Docs...)
		b.Gates = append(b.Gates, op.batch.Gates...)
		b.Settles = append(b.Settles, op.batch.Settles...)
		b.Appends = append(b.Appends, op.batch.Appends...)
	}
	if len(b.Appends) > 0 {
		b.Lease = c.sched.leaseRequest()
	}
}

func emptyBatch(b *store.Batch) bool {
	return len(b.Docs) == 0 && len(b.Gates) == 0 && len(b.Settles) == 0 && len(b.Appends) == 0
}

// outcome is what a commit came to: for the callers, and for the outcomes that rode along.
type commitOutcome struct {
	receipt *store.Receipt
	err     error
	settles *store.Receipt // of the items alone, where they went by themselves
	settled error
}

// commit commits the batch, and makes an unknown outcome certain by committing it again.
func (c *committer) commit() commitOutcome {
	if emptyBatch(&c.batch) {
		return commitOutcome{receipt: &store.Receipt{}, settles: &store.Receipt{}}
	}
	receipt, err := c.certainly(&c.batch)
	out := commitOutcome{receipt, err, receipt, err}
	if errors.Is(err, ErrFull) && len(c.items) > 0 && len(c.ops) > 0 {
		// Outcomes may use room that is kept for them: they must not fail for their company.
		alone := store.Batch{Settles: c.batch.Settles[:len(c.items)]}
		for i := range c.items {
			if c.items[i].gate != nil {
				alone.Gates = append(alone.Gates, *c.items[i].gate)
			}
		}
		out.settles, out.settled = c.certainly(&alone)
	}
	return out
}

func (c *committer) certainly(b *store.Batch) (*store.Receipt, error) {
	receipt, err := c.guarded(b)
	for wait := 10 * time.Millisecond; errors.Is(err, ErrUnknownOutcome) && wait < 10*time.Second; wait *= 10 {
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return receipt, err
		}
		receipt, err = c.guarded(b)
	}
	if err != nil {
		return nil, err
	}
	if len(receipt.Docs) != len(b.Docs) || len(receipt.Gates) != len(b.Gates) || len(receipt.Settles) != len(b.Settles) || len(receipt.Appends) != len(b.Appends) {
		return nil, fmt.Errorf("%w: the store's receipt does not match the batch", ErrFailed)
	}
	return receipt, nil
}

// guarded keeps a panic of a store from taking the lead to its grave: everybody would wait for ever.
func (c *committer) guarded(b *store.Batch) (receipt *store.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic in the store: %v", ErrFailed, p)
		}
	}()
	return c.store.Commit(c.ctx, b)
}

// distribute tells everybody what became of the batch: first the scheduler, then who waits.
func (c *committer) distribute(own *commitOp, out commitOutcome) {
	if errors.Is(out.err, ErrFailed) {
		c.breakDown(out.err)
	} else if errors.Is(out.settled, ErrFailed) {
		c.breakDown(out.settled)
	}
	var settles []error
	if out.settles != nil && len(out.settles.Settles) >= len(c.items) {
		settles = out.settles.Settles[:len(c.items)]
	}
	if len(c.items) > 0 {
		c.finish(c.items, settles, out.settled)
	}
	if out.err == nil {
		c.sched.committed(&c.batch, out.receipt, len(c.items))
	}

	docs, gates, sets, apps := 0, 0, len(c.items), 0
	for i := range c.items {
		if c.items[i].gate != nil {
			gates++
		}
	}
	for i, op := range c.ops {
		c.ops[i] = nil
		op.err = out.err
		switch r := out.receipt; {
		case out.err != nil:
		case op.batch == nil:
			op.results = r.Appends[apps : apps+len(op.appends) : apps+len(op.appends)]
			apps += len(op.appends)
		default:
			b := op.batch
			op.receipt = &store.Receipt{
				Docs:    r.Docs[docs : docs+len(b.Docs)],
				Gates:   r.Gates[gates : gates+len(b.Gates)],
				Settles: r.Settles[sets : sets+len(b.Settles)],
				Appends: r.Appends[apps : apps+len(b.Appends)],
			}
			docs, gates, sets, apps = docs+len(b.Docs), gates+len(b.Gates), sets+len(b.Settles), apps+len(b.Appends)
		}
		if op == own {
			op.done = true
			continue
		}
		op.wake <- wakeDone
	}
	clear(c.items)
	b := &c.batch
	clear(b.Docs)
	clear(b.Gates)
	clear(b.Settles)
	clear(b.Appends)
	*b = store.Batch{Docs: b.Docs[:0], Gates: b.Gates[:0], Settles: b.Settles[:0], Appends: b.Appends[:0]}
}

// breakDown notes that the store takes no more writes.
func (c *committer) breakDown(err error) {
	c.mu.Lock()
	first := !c.failed
	c.failed = true
	c.mu.Unlock()
	if first {
		c.fail(err)
	}
}
