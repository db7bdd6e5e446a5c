package hookgate

import (
	"context"
	"sync"
	"time"
)

// attemptContext is what context.WithDeadline makes, for an attempt, but made when somebody waits for its end. The dispatcher
// of the gateway looks at the deadline and never waits, so most attempts need neither a timer nor a place among the
// children of the parent, which all workers share.
//
// One difference is left. Nobody sees which came first if nobody looks until the deadline has passed and the parent ended
// too: then it was the deadline.
type attemptContext struct {
	parent   context.Context // has no deadline of its own
	deadline time.Time

	mu    sync.Mutex
	real  context.Context // nil until it is needed
	stop  context.CancelFunc
	ended attemptEnd // what had ended it when end was called, if it was not made by then
}

// attemptEnd is what ended an attempt's context.
type attemptEnd uint8

const (
	notEnded attemptEnd = iota
	endedByDeadline
	endedByParent
	endedByItself
)

func newAttemptContext(parent context.Context, deadline time.Time) *attemptContext {
	return &attemptContext{parent: parent, deadline: deadline}
}

// end cancels it: the attempt is over.
func (c *attemptContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real != nil {
		c.stop()
	} else if c.ended = c.endedBy(); c.ended == notEnded {
		c.ended = endedByItself
	}
}

// endedBy says what ended it, while it is not made; with mu held.
func (c *attemptContext) endedBy() attemptEnd {
	switch {
	case c.ended != notEnded:
		return c.ended
	case !time.Now().Before(c.deadline):
		return endedByDeadline
	case c.parent.Err() != nil:
		return endedByParent
	}
	return notEnded
}

// made answers the context that this one stands for; with mu held. What has ended it already is all that may be seen to.
func (c *attemptContext) made() context.Context {
	if c.real != nil {
		return c.real
	}
	switch c.endedBy() {
	case endedByDeadline:
		c.real, c.stop = context.WithDeadline(context.WithoutCancel(c.parent), c.deadline)
	case endedByItself:
		c.real, c.stop = context.WithCancel(context.WithoutCancel(c.parent))
		c.stop()
	default:
		c.real, c.stop = context.WithDeadline(c.parent, c.deadline)
	}
	return c.real
}

func (c *attemptContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *attemptContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made().Done()
}

func (c *attemptContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil && c.endedBy() == notEnded {
		return nil
	}
	return c.made().Err()
}

// Value also finds what the context package hides in a context of its own, so that children of this one need no goroutine.
func (c *attemptContext) Value(key any) any {
	c.mu.Lock()
	real := c.real
	c.mu.Unlock()
	if real != nil {
		return real.Value(key)
	}
	return c.parent.Value(key)
}
