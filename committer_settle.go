package hookgate

import (
	"errors"
	"time"

	"github.com/hookgate/hookgate/store"
)

// This file is the committer's other half: outcomes, which nobody waits for.

// settleItem is an outcome on its way into the store.
type settleItem struct {
	store.Settle
	ended time.Time   // when the attempt did, so that the store knows how long before the commit that was
	gate  *store.Gate // put in the same commit
	work  *work       // whose lease it is; nil: nobody's in this process
	done  func(error)
}

// settle hands an outcome over: it rides the next commit, or goes within 5 ms (urgent: at once). done, which may be nil,
// is called with the item's fate, from any goroutine; it must not wait for the committer.
func (c *committer) settle(s store.Settle, urgent bool, done func(error)) {
	c.post(urgent, settleItem{Settle: s, done: done})
}

// post is settle for several, with all that belongs to them.
func (c *committer) post(urgent bool, items ...settleItem) {
	if len(items) == 0 {
		return
	}
	c.mu.Lock()
	if c.closed || c.failed {
		c.mu.Unlock()
		c.finish(items, nil, ErrClosed)
		return
	}
	c.settles = append(c.settles, items...)
	c.urgent = c.urgent || urgent || len(c.settles) >= settleCount
	if !c.leading {
		c.rest()
	}
	c.mu.Unlock()
}

// hasten makes the outcomes that wait go now.
func (c *committer) hasten() {
	c.mu.Lock()
	if len(c.settles) > 0 && !c.closed {
		c.urgent = true
		if !c.leading {
			c.rest()
		}
	}
	c.mu.Unlock()
}

// rest is called with mu held when nobody leads: it starts the flusher, or the timer that will.
func (c *committer) rest() {
	switch {
	case len(c.settles) == 0:
	case c.urgent && !c.stalled:
		c.leading = true
		go c.lead(nil) // the flusher: leads for outcomes that nobody waits for; ends when nothing is left
	case !c.armed:
		c.armed = true
		wait := settleWait
		if c.stalled {
			wait = stalledWait
		}
		if c.timer == nil {
			c.timer = time.AfterFunc(wait, c.tick)
		} else {
			c.timer.Reset(wait)
		}
	}
}

// tick is the end of the settles' wait.
func (c *committer) tick() {
	c.mu.Lock()
	c.armed, c.stalled = false, false
	if len(c.settles) == 0 {
		c.mu.Unlock()
		return
	}
	c.urgent = true
	if c.leading {
		c.mu.Unlock()
		return
	}
	c.leading = true
	c.mu.Unlock()
	c.lead(nil)
}

// finish is the end of outcomes: known, or to be tried again. What finds no room stays in memory; it is bounded because
// each such outcome still holds its lease, and leases are bounded by the scheduler's window.
func (c *committer) finish(items []settleItem, results []error, err error) {
	if err != nil && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrClosed) && !errors.Is(err, store.ErrClosed) && c.ctx.Err() == nil {
		c.mu.Lock()
		first := !c.warned
		c.settles = append(append(make([]settleItem, 0, len(items)+len(c.settles)), items...), c.settles...)
		c.stalled, c.warned = true, true
		c.mu.Unlock()
		if first {
			c.log.Warn("hookgate: outcomes cannot be recorded; they stay in memory and are tried again", "outcomes", len(items), "error", err)
		}
		return
	}
	if results != nil {
		c.mu.Lock()
		c.stalled, c.warned = false, false
		c.mu.Unlock()
	}
	for i := range items {
		if items[i].done == nil {
			continue
		}
		if results != nil {
			items[i].done(results[i])
		} else {
			items[i].done(err)
		}
	}
	c.sched.settled(items, results)
}
