package kvstore

import (
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

const (
	windowSize = 64   // first attempts that a queue holds in memory beyond the cursor
	dueSize    = 256  // waiting deliveries that a queue holds in memory; the rest stays on disk
	laneSize   = 64   // first attempts that a lane holds in memory
	scanBudget = 8192 // deliveries that one Claim looks at to fill windows
	poisonAt   = 5    // leases lost in a row that make a dead letter
	suspectAt  = 2    // leases lost to crashes in a row from which on a delivery is tried alone
)

// suspectPoll is how soon to ask again while suspects wait for each other.
const suspectPoll = 5 * time.Millisecond

// sched is what decides who is next. Everything in it can be made again from the rows.
type sched struct {
	tenants  map[string]*tenant
	dests    map[store.Destination]*dest
	queues   []*queue // by number; [0] is unused
	byName   map[queueName]*queue
	lanes    map[laneKey]*lane
	leases   map[uint64]*lease // by gen
	byRef    map[ref]*lease
	expiry   expiryHeap
	wakes    wakeHeap
	rings    [store.Classes]deque[*tenant]
	workers  map[string]*worker
	gen      uint64
	notes    []*lease     // leases to be noted in the next frame
	lost     map[ref]int  // leases lost in a row since the last settle
	poison   []ref        // deliveries that lost too many
	damaged  []ref        // deliveries whose event cannot be read
	busy     map[ref]bool // an operator's verb is on its way to the log: not to be claimed
	suspect  *lease       // of the one delivery that is suspected of killing processes and leased
	suspects []suspected  // others, which wait until it is known to be innocent
	scans    []*lane      // lanes whose next delivery is to be found on disk
	oldest   oldest
	fills    fills
	visits   int // how many deliveries eachOpen has looked at; tests ask

	lastFrame *frame
}

// suspected is a delivery that was leased at each of the last crashes. Of those only one is tried at a time: otherwise whatever
// kills the process would take those with it that only happened to be on their way.
type suspected struct {
	queue *queue
	class store.Class
	dueItem
}

type queueName struct {
	tenant string
	dest   store.Destination
}

// tenant goes round among its queues, for each class by itself.
type tenant struct {
	name   string
	rings  [store.Classes]deque[*queue]
	inRing [store.Classes]bool
}

// dest is what the queues of one destination share.
type dest struct {
	name     store.Destination
	queues   []*queue
	gates    map[string]*store.Gate
	inflight int
	holders  []holder  // whose leases these are
	alone    [1]holder // room for the first of them: mostly there is one
	parked   bool      // some queue of it was taken out of its ring and waits for unpark

	batch  uint64 // the number of the batch that grants; see grantBorn
	grants int    // by that batch
}

// holder is a worker with leases on a destination.
type holder struct {
	worker *worker
	leases int
}

// queue is the work of one tenant for one destination.
type queue struct {
	no     uint32
	tenant *tenant
	dest   *dest
	inRing [store.Classes]bool

	// First attempts: those in the window, then those on disk, of which there are unloaded. None of these comes before cursor,
	// and mostly more is known: see place.
	window   deque[ref]
	cursor   ref
	unloaded int
	missed   [reaches]uint32 // numbers of reaches in which something of it was passed over
	passed   int             // the number of the last walk that found the window full

	again  [store.Classes]deque[dueItem] // given back or lost: due now
	due    [store.Classes]*dueList
	listed bool // in oldest.queues
}

// dueList holds the next of the deliveries that wait for a time; more is the due time from which on the rest is on disk,
// zero for none.
type dueList struct {
	heap dueHeap
	more time.Time
	wake time.Time // when the queue is looked at again; zero for not at all
	most int       // up to how many the heap may grow before some are forgotten
}

type dueItem struct {
	due time.Time
	at  ref
}

type lease struct {
	dueItem
	id       store.DeliveryID // zero until its event was read
	gen      uint64
	until    time.Time
	queue    *queue
	frame    *frame // pinned; nil for a delivery that was added later
	class    store.Class
	lane     uint64
	worker   *worker
	lost     int  // leases lost before this one
	noted    bool // the log knows of it
	over     bool // it ran out
	settling bool // its settle is on the way to the log: it does not expire
	index    int  // in the expiry heap
}

// worker is what Claim counts by.
type worker struct {
	total    int
	perClass [store.Classes]int
}

func (s *sched) init() {
	s.tenants = map[string]*tenant{}
	s.dests = map[store.Destination]*dest{}
	s.queues = []*queue{nil}
	s.byName = map[queueName]*queue{}
	s.lanes = map[laneKey]*lane{}
	s.leases = map[uint64]*lease{}
	s.byRef = map[ref]*lease{}
	s.workers = map[string]*worker{}
	s.lost = map[ref]int{}
	s.busy = map[ref]bool{}
}

func (s *sched) destOf(name store.Destination) *dest {
	d := s.dests[name]
	if d == nil {
		d = &dest{name: name}
		d.holders = d.alone[:0]
		s.dests[name] = d
	}
	return d
}

// addQueue makes the memory of queue number no.
func (s *sched) addQueue(no uint32, name queueName) *queue {
	t := s.tenants[name.tenant]
	if t == nil {
		t = &tenant{name: name.tenant}
		s.tenants[name.tenant] = t
	}
	d := s.destOf(name.dest)
	q := &queue{no: no, tenant: t, dest: d}
	d.queues = append(d.queues, q)
	for uint32(len(s.queues)) <= no {
		s.queues = append(s.queues, nil)
	}
	s.queues[no] = q
	s.byName[name] = q
	return q
}

// queue is queue number no; nil if there is none.
func (s *sched) queue(no uint32) *queue {
	if uint64(no) >= uint64(len(s.queues)) {
		return nil
	}
	return s.queues[no]
}

func (s *sched) workerOf(name string) *worker {
	w := s.workers[name]
	if w == nil {
		w = &worker{}
		s.workers[name] = w
	}
	return w
}

// heldBy is how many leases a worker has on the destination.
func (d *dest) heldBy(w *worker) int {
	for i := range d.holders {
		if d.holders[i].worker == w {
			return d.holders[i].leases
		}
	}
	return 0
}

// count notes n more leases of a worker, or less.
func (d *dest) count(w *worker, n int) {
	d.inflight += n
	for i := range d.holders {
		h := &d.holders[i]
		if h.worker != w {
			continue
		}
		if h.leases += n; h.leases == 0 {
			*h = d.holders[len(d.holders)-1]
			d.holders[len(d.holders)-1] = holder{}
			d.holders = d.holders[:len(d.holders)-1]
		}
		return
	}
	d.holders = append(d.holders, holder{w, n})
}

// held reports whether a gate holds the destination now.
func (d *dest) held(now time.Time) bool {
	for _, g := range d.gates {
		if g.Hold != 0 && (g.Until.IsZero() || g.Until.After(now)) {
			return true
		}
	}
	return false
}

// limit is the smallest in-flight limit of the destination's gates; 0 for none.
func (d *dest) limit() int {
	n := 0
	for _, g := range d.gates {
		if g.MaxInFlight > 0 && (n == 0 || g.MaxInFlight < n) {
			n = g.MaxInFlight
		}
	}
	return n
}

// activate puts a queue into the ring of a class, if it is not there.
func (s *sched) activate(q *queue, c store.Class) {
	if q.inRing[c] {
		return
	}
	q.inRing[c] = true
	t := q.tenant
	t.rings[c].push(q)
	if !t.inRing[c] {
		t.inRing[c] = true
		s.rings[c].push(t)
	}
}

// unpark looks again at every queue of a destination whose leases or gates changed.
func (s *sched) unpark(d *dest) {
	if !d.parked {
		return
	}
	d.parked = false
	for _, q := range d.queues {
		for c := range store.Classes {
			if q.hasWork(c) {
				s.activate(q, c)
			}
		}
	}
}

// hasWork reports whether looking at the queue could find something of the class, now or at a known time.
func (q *queue) hasWork(c store.Class) bool {
	if c == store.Live && (q.window.len() > 0 || q.unloaded > 0) {
		return true
	}
	if q.again[c].len() > 0 {
		return true
	}
	l := q.due[c]
	return l != nil && (len(l.heap) > 0 || !l.more.IsZero())
}

// accepts reports whether a list of destinations, exact or prefixes that end in "*", has d. A nil list has all.
func accepts(list []store.Destination, d store.Destination) bool {
	if list == nil {
		return true
	}
	for _, a := range list {
		if a == d {
			return true
		}
		if p, ok := strings.CutSuffix(string(a), "*"); ok && strings.HasPrefix(string(d), p) {
			return true
		}
	}
	return false
}

// leaseSlab makes many leases at once. It makes few enough that one which lasts does not keep much besides it.
type leaseSlab []lease

const leaseSlabSize = 32

// next makes a lease; up to n more will be wanted.
func (b *leaseSlab) next(n int) *lease {
	if len(*b) == 0 {
		*b = make([]lease, min(n+1, leaseSlabSize))
	}
	l := &(*b)[0]
	*b = (*b)[1:]
	return l
}

// hold makes a lease count.
func (s *Store) hold(l *lease, w *worker, until time.Time) {
	l.worker, l.until = w, until
	s.byRef[l.at] = l
	s.leases[l.gen] = l
	if l.frame != nil {
		l.frame.pinned++
	}
	w.total++
	w.perClass[l.class]++
	l.queue.dest.count(w, 1)
	s.expiry.add(l)
	if !l.noted {
		s.notes = append(s.notes, l)
	}
}

// relane offers the head of a lane after a lease in it ended without a decision: of the deliveries of one event, another may
// be the head now.
func (s *Store) relane(k laneKey) {
	if l := s.lanes[k]; k.hash != 0 && l != nil && len(l.known) > 1 && l.known[0].at.seq == l.known[1].at.seq {
		s.readyHead(l)
	}
}

// endLease takes a lease back and lets others in.
func (s *Store) endLease(l *lease) {
	delete(s.leases, l.gen)
	delete(s.byRef, l.at)
	if l.index >= 0 {
		s.expiry.remove(l.index)
	}
	if l.frame != nil {
		l.frame.pinned--
		s.oldest.ended(l)
		l.frame = nil // leases that were made together are kept together
	}
	l.worker.total--
	l.worker.perClass[l.class]--
	if s.suspect == l {
		s.suspect = nil
		waiting := s.suspects
		s.suspects = nil
		for _, w := range waiting {
			s.offer(w.queue, w.class, w.dueItem)
		}
	}
	d := l.queue.dest
	d.count(l.worker, -1)
	s.unpark(d)
}

// expire takes back the leases whose time is over. Their deliveries are due again, or poison.
func (s *Store) expire(now time.Time) {
	for len(s.expiry) > 0 && !s.expiry[0].until.After(now) {
		l := s.expiry[0]
		if l.settling { // its fate is being written: abandon puts it back
			s.expiry.remove(0)
			continue
		}
		s.endLease(l)
		l.over = true
		s.lost[l.at] = l.lost + 1
		s.offer(l.queue, l.class, l.dueItem)
		s.relane(laneKey{l.queue.no, l.lane})
	}
}

// offer makes a delivery that is due now known to its queue once more.
func (s *Store) offer(q *queue, c store.Class, it dueItem) {
	q.again[c].push(it)
	s.oldest.list(q)
	s.activate(q, c)
}
