package hookgate

import (
	"time"

	"github.com/hookgate/hookgate/store"
)

// destQueue is the work of one destination.
type destQueue struct {
	name    Destination
	limit   int // attempts at a time, as pick or begin has seen it last
	held    int // leases
	running int // attempts under way
	capped  bool
	queues  [store.Classes]workList
	inRing  [store.Classes]bool
	after   [store.Classes]*destQueue // in the ring
}

// ring is the destinations of a class that may start an attempt now, in turn.
type ring struct{ head, tail *destQueue }

func (s *scheduler) enter(d *destQueue, c store.Class) {
	if d.inRing[c] || d.queues[c].head == nil || d.running >= d.limit {
		return
	}
	d.inRing[c] = true
	r := &s.rings[c]
	if r.tail == nil {
		r.head = d
	} else {
		r.tail.after[c] = d
	}
	r.tail = d
}

func (s *scheduler) leave(c store.Class) *destQueue {
	r := &s.rings[c]
	d := r.head
	r.head = d.after[c]
	if r.head == nil {
		r.tail = nil
	}
	d.after[c], d.inRing[c] = nil, false
	return d
}

// workList is a queue of work.
type workList struct{ head, tail *work }

func (l *workList) push(w *work) {
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
}

func (l *workList) pop() *work {
	w := l.head
	l.head = w.next
	if l.head == nil {
		l.tail = nil
	}
	w.next = nil
	return w
}

// work is a delivery that this process holds a lease on.
type work struct {
	id       DeliveryID
	gen      uint64
	dest     *destQueue
	next     *work
	at       int // in scheduler.all
	class    store.Class
	stage    workStage // under scheduler.mu
	extends  bool      // an extension is on its way; under scheduler.mu
	ordered  bool      // it is in a lane
	attempts int       // counted so far
	recorded int
	first    time.Time // when the first counted attempt ended
	reason   string    // of the last settle
	tenant   string
	event    *Event // nil: to be read
	size     int64
	until    time.Time // when the lease ends
	overdue  time.Time // when an attempt that did not return counts as failed
	began    time.Time // the attempt
	attempt  Attempt   // its record, once it ended
}

type workStage uint8

const (
	workReady workStage = iota
	workRunning
	workDecided // its outcome is on the way into the store
)
