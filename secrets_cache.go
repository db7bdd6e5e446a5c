package hookgate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxRings is how many opened key rings are kept. An opened ring saves a decryption, or a call to wherever a custom Sealer
// keeps its key, for each attempt.
const maxRings = 16384

// openings are the places for workers that open key rings. That is a matter of microseconds, or of seconds if a KeyProvider
// does not answer: then a quarter of the workers wait for it, and the others do what needs no key of it.
type openings chan struct{}

// openingPatience is how long a worker waits for a place.
const openingPatience = 50 * time.Millisecond

func newOpenings(workers int) openings { return make(openings, max(workers/4, 1)) }

// enter takes a place, if there is one soon. It is for one call of open, which gives it back.
func (o openings) enter(ctx context.Context) bool {
	select {
	case o <- struct{}{}:
		return true
	default:
	}
	patience := time.NewTimer(openingPatience)
	defer patience.Stop()
	select {
	case o <- struct{}{}:
		return true
	case <-patience.C:
	case <-ctx.Done():
	}
	return false
}

// open opens a target's ring, in a place that was taken, and waits no longer than the context allows. A Sealer of the
// application's own may do what it likes in the meantime.
func (o openings) open(ctx context.Context, t *target) error {
	done := make(chan error, 1)
	go func() { // ends with the answer of the sealer
		err := errors.New("the sealer ended its goroutine (runtime.Goexit)")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the sealer panicked: %v", p)
			}
			<-o
			done <- err
		}()
		_, err = t.ring()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ringCache says which targets have their key ring open: some of them, not all that were ever sent something. A ring belongs
// to a target, and a change of the endpoint makes another target, so what is open is never out of date.
type ringCache struct {
	mu   sync.Mutex
	open []*target // nil: a free place
	next int       // the place that is used next when there are as many as there may be
}

// keep lets a target have its ring, in the place of the one that has had its own for longest.
func (c *ringCache) keep(t *target, r *keyRing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.opened.Load() != nil || t.g.view.target(t.destination) != t {
		return // somebody else opened it, or the endpoint was changed meanwhile
	}
	if len(c.open) < maxRings {
		t.place = int32(len(c.open))
		c.open = append(c.open, t)
	} else {
		if old := c.open[c.next]; old != nil {
			old.opened.Store(nil)
		}
		t.place = int32(c.next)
		c.open[c.next] = t
		c.next = (c.next + 1) % maxRings
	}
	t.opened.Store(r)
}

func (c *ringCache) forget(t *target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.opened.Load() != nil {
		c.open[t.place] = nil
		t.opened.Store(nil)
	}
}
