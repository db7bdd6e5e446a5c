package kvstore

import (
	"container/heap"
	"context"
	"encoding/binary"
	"time"

	"github.com/hookgate/hookgate/store"
)

// pushDue makes a waiting delivery known to its queue. Only deliveries with a row come here.
func (s *Store) pushDue(q *queue, c store.Class, due time.Time, at ref) {
	l := q.due[c]
	if l == nil {
		l = &dueList{}
		q.due[c] = l
	}
	s.oldest.list(q)
	if !l.more.IsZero() && !due.Before(l.more) {
		return // its row is enough
	}
	heap.Push(&l.heap, dueItem{due, at})
	if len(l.heap) > max(2*dueSize, l.most) {
		l.spill()
		l.most = 2 * len(l.heap) // of equal times it may still hold many
	}
	if due.After(s.now) { // not the clock: Claim looks with the time at which it began
		s.wakeAt(q, c, due)
	} else {
		s.activate(q, c)
	}
}

// wakeAt sees to it that a queue is looked at when something of a class falls due.
func (s *Store) wakeAt(q *queue, c store.Class, at time.Time) {
	if l := q.due[c]; l.wake.IsZero() || at.Before(l.wake) {
		l.wake = at
		heap.Push(&s.wakes, wake{at, q, nil, c})
	}
}

// arm makes a queue ready if something of the class is due, and has it looked at when the next falls due that memory knows of.
// There is always a wake for it, whether the queue is looked at before or not. While a limit keeps what is due from being taken,
// later ones may be on disk alone: whoever ends a lease has reason to look again.
func (s *Store) arm(q *queue, c store.Class) {
	l := q.due[c]
	next := time.Time{}
	consider := func(at time.Time) {
		switch {
		case at.IsZero():
		case !at.After(s.now):
			s.activate(q, c)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	consider(l.more)
	for _, it := range l.heap {
		consider(it.due)
	}
	if !next.IsZero() {
		s.wakeAt(q, c, next)
	}
}

// spill forgets the later half of a full list, whose rows are enough. Equal times stay together.
func (l *dueList) spill() {
	keep := make(dueHeap, 0, 2*dueSize)
	for range dueSize {
		keep = append(keep, heap.Pop(&l.heap).(dueItem))
	}
	for len(l.heap) > 0 && l.heap[0].due.Equal(keep[len(keep)-1].due) {
		keep = append(keep, heap.Pop(&l.heap).(dueItem))
	}
	if len(l.heap) > 0 {
		l.more = l.heap[0].due
	}
	l.heap = keep // in order, so a heap
}

// refill reads the next rows of a list that has run out.
func (s *Store) refill(q *queue, c store.Class, l *dueList) error {
	prefix := duePrefix(q.no, c)
	more := l.more
	from := binary.BigEndian.AppendUint64(append([]byte{}, prefix...), uint64(more.UnixNano()))
	l.more = time.Time{}
	var last time.Time
	n := 0
	err := s.kv.View(context.Background(), func(r Reader) error {
		for k := range r.Scan(from, prefixEnd(prefix)) {
			due, at := parseDue(k)
			if n >= dueSize && !due.Equal(last) {
				l.more = due
				return nil
			}
			if s.deleted(k) {
				continue
			}
			heap.Push(&l.heap, dueItem{due, at})
			last = due
			n++
		}
		return nil
	})
	if err != nil {
		l.heap, l.more = nil, more // the next Claim tries again
		s.activate(q, c)
		return err
	}
	for _, rows := range []map[string][]byte{s.flushing, s.delta} {
		for k, v := range rows {
			if v == nil || len(k) != 30 || k[:14-8] != string(prefix) || k < string(from) {
				continue
			}
			due, at := parseDue([]byte(k))
			if l.more.IsZero() || due.Before(l.more) {
				heap.Push(&l.heap, dueItem{due, at})
			}
		}
	}
	s.arm(q, c)
	return nil
}

func parseDue(k []byte) (time.Time, ref) {
	return time.Unix(0, int64(beUint64(k[6:]))), ref{beUint64(k[14:]), beUint64(k[22:])}
}

// popDue takes the next delivery that is due.
func (s *Store) popDue(q *queue, c store.Class, now time.Time) (dueItem, bool, error) {
	l := q.due[c]
	if l == nil {
		return dueItem{}, false, nil
	}
	if len(l.heap) == 0 && !l.more.IsZero() && !l.more.After(now) {
		if err := s.refill(q, c, l); err != nil {
			return dueItem{}, false, err
		}
	}
	if len(l.heap) == 0 || l.heap[0].due.After(now) {
		return dueItem{}, false, nil
	}
	return heap.Pop(&l.heap).(dueItem), true, nil
}

// wakeUp puts back into the rings whatever waited for a time that has come.
func (s *Store) wakeUp(now time.Time) error {
	for len(s.wakes) > 0 && !s.wakes[0].at.After(now) {
		w := heap.Pop(&s.wakes).(wake)
		if w.dest != nil {
			s.unpark(w.dest)
			continue
		}
		l := w.queue.due[w.class]
		if !l.wake.Equal(w.at) {
			continue
		}
		l.wake = time.Time{}
		if len(l.heap) == 0 && !l.more.IsZero() && !l.more.After(now) {
			// Read now what is next: somebody wants to know when to ask again.
			if err := s.refill(w.queue, w.class, l); err != nil {
				return err
			}
			continue
		}
		s.arm(w.queue, w.class)
	}
	return nil
}
