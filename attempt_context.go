package hookgate

import (
	"context"
	"sync"
	"time"
)

// attemptContext is what context.WithDeadline makes, for an attempt, but made when somebody waits for its end. The dispatcher
// of the gateway looks at the deadline and never waits, so most attempts need neither a timer nor a place among the
// children of the parent, which all workers share.
type attemptContext struct {
	parent   context.Context // has no deadline of its own
	deadline time.Time

	mu    sync.Mutex
	real  context.Context // nil until it is needed
	stop  context.CancelFunc
	ended bool
}

func newAttemptContext(parent context.Context, deadline time.Time) *attemptContext {
	return &attemptContext{parent: parent, deadline: deadline}
}

// end cancels it: the attempt is over.
func (c *attemptContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.real != nil {
		c.stop()
	}
}

// made answers the context that this one stands for; with mu held.
func (c *attemptContext) made() context.Context {
	if c.real == nil {
		c.real, c.stop = context.WithDeadline(c.parent, c.deadline)
		if c.ended {
			c.stop()
		}
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
	if c.real == nil && !c.ended && c.parent.Err() == nil && time.Now().Before(c.deadline) {
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
