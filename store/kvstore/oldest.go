package kvstore

import (
	"math"
	"time"

	"github.com/hookgate/hookgate/store"
)

// oldest remembers where to look for what has waited longest, so that Stats need not go through everything that is leased.
type oldest struct {
	// Before from, every first attempt that is open is leased. It moves on as searches pass over what is leased or settled, and
	// back when a lease ends without a decision. base is the frame that from lies in, if it is known.
	from ref
	base uint64

	queues []*queue // those that may have deliveries due, or given back
}

// list notes that a queue may have deliveries due, or given back.
func (o *oldest) list(q *queue) {
	if !q.listed {
		q.listed = true
		o.queues = append(o.queues, q)
	}
}

// ended notes the end of a lease on a delivery that was appended with its event.
func (o *oldest) ended(l *lease) {
	if !l.at.before(o.from) {
		return
	}
	if c, ok := l.frame.cell(l.at); ok && l.frame.open.has(c) {
		o.from, o.base = l.at, l.frame.base
	}
}

// oldestDue tells how long the oldest delivery that could be tried has waited, whether its destination is held or not.
func (s *Store) oldestDue(now time.Time) (time.Duration, error) {
	oldest := now
	older := func(t time.Time) {
		if t.Before(oldest) {
			oldest = t
		}
	}
	f, err := s.oldestFresh()
	if err != nil {
		return 0, err
	}
	if f != nil {
		older(f.time)
	}
	for _, x := range s.suspects {
		older(x.due)
	}
	list := s.oldest.queues[:0]
	for _, q := range s.oldest.queues {
		q.listed = false
		for c := range store.Classes {
			q.again[c].each(func(it dueItem) { older(it.due) })
			if l := q.due[c]; l != nil && len(l.heap) > 0 {
				older(l.heap[0].due)
			} else if l != nil && !l.more.IsZero() {
				older(l.more)
			} else if q.again[c].len() == 0 {
				continue
			}
			q.listed = true
		}
		if q.listed {
			list = append(list, q)
		}
	}
	clear(s.oldest.queues[len(list):])
	s.oldest.queues = list
	return now.Sub(oldest), nil
}

// oldestFresh finds the frame of the first delivery that waits for its first attempt and is not leased; nil if there is none.
func (s *Store) oldestFresh() (*frame, error) {
	o := &s.oldest
	if f := s.frames[o.base]; f != nil { // mostly it is where it was found the last time
		if c, ok := f.cell(o.from); ok && f.open.has(c) && s.byRef[o.from] == nil {
			return f, nil
		}
	}
	var found *frame
	budget := math.MaxInt // what is passed over is leased, so there is not much of it
	at, err := s.eachOpen(o.from, &budget, func(f *frame, _ uint32, at ref) bool {
		if s.byRef[at] != nil {
			return true
		}
		found = f
		return false
	})
	if err != nil {
		return nil, err
	}
	if found != nil {
		o.from, o.base = at, found.base
	} else {
		o.from, o.base = ref{s.meta.lastSeq + 1, 0}, 0
	}
	return found, nil
}
