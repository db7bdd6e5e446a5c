package kvstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// turns is the order in which classes are looked at: live traffic most often, replays least, none never.
var turns = [...]store.Class{store.Live, store.Live, store.Retry, store.Live, store.Live, store.Retry, store.Replay}

// claiming is one Claim at work.
type claiming struct {
	*store.ClaimRequest
	now     time.Time
	worker  *worker
	planned int // leases that the batch on its way into the log will make for the worker
	budget  int // of deliveries looked at on disk
	granted []granted
	slab    leaseSlab
	skipped []skippedQueue
	dry     bool // the budget was used up
	later   bool // something had no room because of the batch on its way: when that is there, there may be some
}

// granted is a lease and the row of its delivery, nil where there is none.
type granted struct {
	lease *lease
	row   *row
}

type skippedQueue struct {
	q *queue
	c store.Class
}

// Claim hands out due work: see [store.Store].
func (s *Store) Claim(ctx context.Context, r store.ClaimRequest) (*store.ClaimResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	if r.Lease <= 0 {
		return nil, errors.New("claim: ClaimRequest.Lease must be positive")
	}
	s.life.RLock()
	defer s.life.RUnlock()
	var leases []store.Lease
	for {
		res, c, err := s.claim(&r)
		if err != nil {
			return nil, fmt.Errorf("claim: %w", err)
		}
		gave, err := s.noteClaim(c)
		if err != nil {
			return nil, fmt.Errorf("claim: %w", err)
		}
		gave = s.readClaimed(c, res) || gave
		if leases == nil {
			leases = res.Leases
		} else {
			leases = append(leases, res.Leases...)
		}
		if r.Max -= len(res.Leases); !gave || r.Max <= 0 {
			res.Leases = leases
			if gave {
				res.More, res.Next = true, 0
			}
			return res, nil
		}
		// Something became a dead letter: what waited behind it is due now.
	}
}

func (s *Store) claim(r *store.ClaimRequest) (*store.ClaimResult, *claiming, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(true); err != nil {
		return nil, nil, err
	}
	now := s.clock()
	s.expire(now)
	if err := s.wakeUp(now); err != nil {
		return nil, nil, err
	}
	c := &claiming{ClaimRequest: r, now: now, worker: s.workerOf(r.Worker), budget: scanBudget}
	if r.Worker == s.plan.worker {
		c.planned = s.plan.granted
	}
	if err := s.searchLanes(&c.budget); err != nil {
		return nil, nil, err
	}
	for going := true; going && len(c.granted) < c.Max; {
		going = false
		for _, class := range turns {
			if len(c.granted) >= c.Max {
				break
			}
			more, err := s.visit(c, class)
			if err != nil {
				s.unclaim(c)
				return nil, nil, err
			}
			going = going || more
		}
	}
	res := &store.ClaimResult{Next: -1}
	for class := range store.Classes {
		if s.rings[class].len() > 0 && (!c.full(class) || c.planned > 0) {
			res.More = true
		}
	}
	res.More = res.More || c.dry || c.later || len(s.scans) > 0
	for _, k := range c.skipped {
		s.activate(k.q, k.c)
	}
	s.nextWake(res, now)
	if len(c.granted) == 0 && c.worker.total == 0 {
		delete(s.workers, r.Worker)
	}
	return res, c, nil
}

// full reports whether the request allows no more of a class.
func (c *claiming) full(class store.Class) bool {
	limit, have := c.PerClass[class], c.worker.perClass[class]
	if class == store.Live {
		have += c.planned
	}
	return limit > 0 && have >= limit
}

// nextWake says when to ask again.
func (s *Store) nextWake(res *store.ClaimResult, now time.Time) {
	var at time.Time
	if len(s.wakes) > 0 {
		at = s.wakes[0].at
	}
	if len(s.expiry) > 0 && (at.IsZero() || s.expiry[0].until.Before(at)) {
		at = s.expiry[0].until
	}
	if !at.IsZero() {
		res.Next = max(at.Sub(now), 0)
	}
	if n := len(s.suspects); n > 0 && (res.Next < 0 || res.Next > suspectPoll) {
		res.Next = suspectPoll // nobody knows when the one that is being tried turns out to be innocent
	}
	if res.More {
		res.Next = 0
	}
}

// visit gives one queue of the class its turn. It answers false when no queue is left to look at.
func (s *Store) visit(c *claiming, class store.Class) (bool, error) {
	ring := &s.rings[class]
	if ring.len() == 0 || c.full(class) {
		return false, nil
	}
	t := ring.pop()
	t.inRing[class] = false
	q := t.rings[class].pop()
	q.inRing[class] = false
	again, err := s.take(c, q, class)
	if again || err != nil {
		s.activate(q, class)
	}
	if t.rings[class].len() > 0 && !t.inRing[class] {
		t.inRing[class] = true
		ring.push(t)
	}
	return true, err
}

// take grants one of a queue's deliveries, and answers whether there may be more.
func (s *Store) take(c *claiming, q *queue, class store.Class) (again bool, err error) {
	d := q.dest
	for granted := false; ; {
		limit := d.limit()
		if d.held(c.now) || limit > 0 && d.inflight >= limit {
			d.parked = true // out of the rings until its gates or leases change, or a hold ends
			return false, nil
		}
		if !accepts(c.Accept, d.name) || c.PerDestination > 0 && d.heldBy(c.worker) >= c.PerDestination {
			c.skipped = append(c.skipped, skippedQueue{q, class})
			return false, nil
		}
		if n := s.reserved(d); n > 0 && (limit > 0 && d.inflight+n >= limit || c.PerDestination > 0 && c.planned > 0 && d.heldBy(c.worker)+n >= c.PerDestination) {
			c.skipped, c.later = append(c.skipped, skippedQueue{q, class}), true
			return false, nil
		}
		if granted || c.full(class) {
			return q.hasWorkNow(class, c.now), nil
		}
		it, ok, err := s.next(c, q, class)
		if err != nil {
			return false, err
		}
		if !ok {
			if class == store.Live && q.unloaded > 0 && q.window.len() == 0 {
				c.dry = true // the next Claim goes on looking
				c.skipped = append(c.skipped, skippedQueue{q, class})
			}
			return false, nil
		}
		if granted, err = s.try(c, q, class, it.at); err != nil {
			s.offer(q, class, it)
			return false, err
		}
	}
}

// hasWorkNow reports whether a queue has something of the class that is due.
func (q *queue) hasWorkNow(c store.Class, now time.Time) bool {
	if c == store.Live && (q.window.len() > 0 || q.unloaded > 0) || q.again[c].len() > 0 {
		return true
	}
	l := q.due[c]
	return l != nil && (len(l.heap) > 0 && !l.heap[0].due.After(now) || len(l.heap) == 0 && !l.more.IsZero() && !l.more.After(now))
}

// next takes the next candidate of a queue, which may turn out to be none.
func (s *Store) next(c *claiming, q *queue, class store.Class) (dueItem, bool, error) {
	if q.again[class].len() > 0 {
		return q.again[class].pop(), true, nil
	}
	if it, ok, err := s.popDue(q, class, c.now); ok || err != nil {
		return it, ok, err
	}
	if class != store.Live {
		return dueItem{}, false, nil
	}
	if q.window.len() == 0 && q.unloaded > 0 {
		if err := s.fill(c, q); err != nil {
			return dueItem{}, false, err
		}
	}
	if q.window.len() == 0 {
		return dueItem{}, false, nil
	}
	return dueItem{c.now, q.window.pop()}, true, nil // since when, its frame knows
}

// try grants a candidate if it still may be tried.
func (s *Store) try(c *claiming, q *queue, class store.Class, at ref) (bool, error) {
	if s.byRef[at] != nil || s.busy[at] {
		return false, nil
	}
	f, err := s.frameOf(at.seq)
	if err != nil || f == nil {
		return false, err
	}
	var r *row
	it := dueItem{f.time, at}
	cellNo, fresh := f.cell(at)
	fresh = fresh && f.open.has(cellNo)
	hash := uint64(0)
	lost := s.lost[at]
	if fresh {
		hash = f.cells[cellNo].lane
		if lost == 0 && f.leased.has(cellNo) {
			lost = 1 // by a process before this one
		}
	} else {
		if r, err = s.row(at); err != nil {
			return false, err
		}
		if r != nil && r.damaged {
			s.damaged = append(s.damaged, at)
			return false, nil
		}
		if r == nil || !r.waits() || r.class != class || r.queue != q.no {
			return false, nil
		}
		if r.due.After(c.now) {
			s.pushDue(q, r.class, r.due, at)
			return false, nil
		}
		hash, it.due = r.lane, r.due
		if lost == 0 {
			lost = r.abandoned
			if r.leased {
				lost++
			}
		}
	}
	if !s.isHead(laneKey{q.no, hash}, at) {
		return false, nil // it is offered again when it becomes the head
	}
	if lost >= poisonAt {
		s.lost[at] = lost
		s.poison = append(s.poison, at)
		return false, nil
	}
	suspect := lost >= suspectAt && s.lost[at] == 0 // lost by processes before this one
	if suspect && s.suspect != nil {
		s.suspects = append(s.suspects, suspected{q, class, it})
		return false, nil
	}
	s.gen++
	l := c.slab.next(c.Max - len(c.granted) - 1)
	l.dueItem, l.gen, l.queue, l.class, l.lane, l.lost = it, s.gen, q, class, hash, lost
	if _, ok := f.cell(at); ok {
		l.frame = f
	}
	if f.ids != nil {
		l.id = store.DeliveryID{Event: f.ids[at.seq-f.base], N: at.n}
	}
	s.hold(l, c.worker, later(c.now, c.Lease))
	if suspect {
		s.suspect = l
	}
	if c.granted == nil {
		c.granted = make([]granted, 0, min(c.Max, 64))
	}
	c.granted = append(c.granted, granted{l, r})
	return true, nil
}

// unclaim gives everything back that a Claim was going to hand out.
func (s *Store) unclaim(c *claiming) {
	for i := range c.granted {
		if l := c.granted[i].lease; s.byRef[l.at] == l {
			s.endLease(l)
			s.offer(l.queue, l.class, l.dueItem)
			s.relane(laneKey{l.queue.no, l.lane})
		}
	}
	for _, k := range c.skipped {
		s.activate(k.q, k.c)
	}
	c.granted, c.skipped = nil, nil
}

// noteClaim writes down the leases of deliveries that may have been in flight when a process ended before this one, and that
// this process has the store at all: without it, a payload that kills the process at once would do so for ever. It makes
// dead letters of those that did it too often, and says whether it did. After a clean start, and once one frame was written,
// it has nothing to do.
func (s *Store) noteClaim(c *claiming) (gave bool, err error) {
	s.mu.Lock()
	gave = len(s.poison) > 0 || len(s.damaged) > 0
	need := gave || !s.opened && len(c.granted) > 0 || len(s.notes) >= 4096 // as many as a commit lets wait
	for i := range c.granted {
		l := c.granted[i].lease
		need = need || l.at.seq <= s.careful && !l.noted
	}
	s.mu.Unlock()
	if !need {
		return false, nil
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if _, err = s.commitNotes(); err != nil {
		s.mu.Lock()
		s.unclaim(c)
		s.mu.Unlock()
	}
	return gave, err
}

// readClaimed fills in what the events say, and says whether one could not be read: it is to become a dead letter.
func (s *Store) readClaimed(c *claiming, res *store.ClaimResult) (bad bool) {
	if len(c.granted) == 0 {
		return false
	}
	read, _ := readings.Get().(*reading)
	if read == nil {
		read = &reading{}
	}
	read.places = slices.Grow(read.places, len(c.granted))
	s.mu.Lock()
	for i := range c.granted {
		l := c.granted[i].lease
		f, err := l.frame, error(nil)
		if f == nil {
			f, err = s.frameOf(l.at.seq)
		}
		if err == nil && f == nil {
			err = store.ErrNotFound
		}
		p := place{at: l.at}
		if err == nil {
			p.segment, p.offset, p.size, err = s.position(f, l.at.seq)
		}
		p.err = err
		read.places = append(read.places, p)
	}
	s.mu.Unlock()

	res.Leases = make([]store.Lease, len(c.granted))
	s.readPlaces(read, res.Leases)

	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := range c.granted {
		l := c.granted[i].lease
		if s.byRef[l.at] != l {
			continue // it ran out meanwhile
		}
		if err := read.places[i].err; err != nil {
			s.logger.Error("hookgate: an event cannot be read; its delivery becomes a dead letter", "seq", l.at.seq, "error", err)
			s.endLease(l)
			s.damaged = append(s.damaged, l.at)
			bad = true
			continue
		}
		if n != i {
			res.Leases[n].Event = res.Leases[i].Event
		}
		ev, d := &res.Leases[n].Event, &res.Leases[n].Delivery
		l.id = store.DeliveryID{Event: ev.ID, N: l.at.n}
		*d = s.describe(l.id, l.at, ev, l.queue)
		d.Lane = read.places[i].lane
		if row := c.granted[i].row; row != nil {
			row.fill(d)
		} else {
			d.Created = ev.Accepted
		}
		d.State, d.Class, d.Due, d.Gen, d.Abandoned = store.Leased, l.class, l.until, l.gen, l.lost
		res.Leases[n].Gen = l.gen
		n++
	}
	clear(res.Leases[n:])
	res.Leases = res.Leases[:n]
	read.giveBack()
	return bad
}

// reading is the memory that a Claim reads events with.
type reading struct {
	places []place
	order  []int
	buf    []byte
	record record
}

var readings sync.Pool

// giveBack leaves the memory to the next Claim, without what it holds.
func (r *reading) giveBack() {
	if cap(r.buf) > 2*readTogether {
		r.buf = nil
	}
	if cap(r.record.targets) > 1024 {
		r.record.targets = nil
	}
	clear(r.places)
	clear(r.record.targets[:cap(r.record.targets)])
	r.places, r.order, r.buf, r.record = r.places[:0], r.order[:0], r.buf[:0], record{targets: r.record.targets[:0]}
	readings.Put(r)
}

// place is where the record of a claimed event is, or why it is nowhere.
type place struct {
	at      ref
	segment uint64
	offset  int64
	size    int
	lane    string // of the delivery, as the record says
	err     error
}

// readTogether is how many bytes of neighbouring records are read at once, readOver how large a gap between them may be.
const (
	readTogether = 256 << 10
	readOver     = 4 << 10
)

// readPlaces reads the events of places into leases, neighbours at once. The place of one that cannot be read says why.
func (s *Store) readPlaces(read *reading, leases []store.Lease) {
	places := read.places
	for i := range places {
		read.order = append(read.order, i) // queues take turns, so neighbours may be far apart among the leases
	}
	order := read.order
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(places[a].segment, places[b].segment), cmp.Compare(places[a].offset, places[b].offset))
	})
	for i := 0; i < len(order); {
		first := &places[order[i]]
		if first.err != nil {
			i++
			continue
		}
		end := first.offset + int64(first.size)
		n := i + 1
		for ; n < len(order); n++ {
			p := &places[order[n]]
			stop := p.offset + int64(p.size)
			// An event with several deliveries is met several times; a small gap is read over.
			if p.err != nil || p.segment != first.segment || p.offset > end+readOver || stop-first.offset > readTogether {
				break
			}
			end = max(end, stop)
		}
		start := first.offset
		read.buf = slices.Grow(read.buf[:0], int(end-start))[:end-start]
		err := s.log.ReadAt(read.buf, first.segment, start)
		for ; i < n; i++ {
			p := &places[order[i]]
			r := &read.record
			if p.err = err; err == nil {
				at := p.offset - start
				p.err = r.check(p.at.seq, p.segment, p.offset, read.buf[at:at+int64(p.size)], true)
			}
			if p.err != nil { // retention may have moved it a moment ago
				s.mu.Lock()
				r, p.err = s.record(p.at.seq, true)
				s.mu.Unlock()
			}
			if p.err != nil {
				continue
			}
			leases[order[i]].Event = r.event
			if p.at.n < uint64(len(r.targets)) {
				p.lane = r.targets[p.at.n].lane
			}
		}
	}
}

// describe makes the public record of a delivery, as far as its event says.
func (s *Store) describe(id store.DeliveryID, at ref, ev *store.Event, q *queue) store.Delivery {
	return store.Delivery{
		ID: id, Seq: at.seq, Tenant: ev.Tenant, Source: ev.Source, Type: ev.Type, Destination: q.dest.name,
	}
}
