package kvstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	budget  int // of deliveries looked at on disk
	granted []*lease
	rows    []*row // of granted; nil where there is none
	skipped []skippedQueue
	dry     bool // the budget was used up
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
		leases = append(leases, res.Leases...)
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
		if s.rings[class].len() > 0 && !c.full(class) {
			res.More = true
		}
	}
	res.More = res.More || c.dry || len(s.scans) > 0
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
	limit := c.PerClass[class]
	return limit > 0 && c.worker.perClass[class] >= limit
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
		if !accepts(c.Accept, d.name) || c.PerDestination > 0 && c.worker.perDest[d] >= c.PerDestination {
			c.skipped = append(c.skipped, skippedQueue{q, class})
			return false, nil
		}
		if granted || c.full(class) {
			return q.hasWorkNow(class, c.now), nil
		}
		at, ok, err := s.next(c, q, class)
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
		if granted, err = s.try(c, q, class, at); err != nil {
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
func (s *Store) next(c *claiming, q *queue, class store.Class) (ref, bool, error) {
	if q.again[class].len() > 0 {
		return q.again[class].pop(), true, nil
	}
	if at, ok, err := s.popDue(q, class, c.now); ok || err != nil {
		return at, ok, err
	}
	if class != store.Live {
		return ref{}, false, nil
	}
	if q.window.len() == 0 && q.unloaded > 0 {
		if err := s.fill(c, q); err != nil {
			return ref{}, false, err
		}
	}
	if q.window.len() == 0 {
		return ref{}, false, nil
	}
	return q.window.pop(), true, nil
}

// fill loads first attempts from disk into the window of a queue, and on the way into those of others.
func (s *Store) fill(c *claiming, q *queue) error {
	if c.budget <= 0 {
		return nil
	}
	start := q.cursor
	end, err := s.eachOpen(start, &c.budget, func(f *frame, i uint32, at ref) bool {
		x := s.queues[f.cells[i].queue]
		switch {
		case x.unloaded == 0 || at.before(x.cursor) || x.cursor.before(start):
			return true // loaded before, or others of its queue come first
		case x.window.len() >= windowSize:
			return x != q
		}
		x.unloaded--
		x.cursor = ref{at.seq, at.n + 1}
		s.load(x, f.cells[i].lane, at)
		return true
	})
	if err != nil {
		return err
	}
	if q.cursor.before(end) {
		q.cursor = end
	}
	if end.seq == maxSeq {
		q.unloaded = 0
	}
	return nil
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
		hash = r.lane
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
		s.suspects = append(s.suspects, suspected{q, class, at})
		return false, nil
	}
	s.gen++
	l := &lease{at: at, gen: s.gen, queue: q, class: class, lane: hash, lost: lost}
	if _, ok := f.cell(at); ok {
		l.frame = f
	}
	if f.ids != nil {
		l.id = store.DeliveryID{Event: f.ids[at.seq-f.base], N: at.n}
	}
	s.hold(l, c.Worker, later(c.now, c.Lease))
	if suspect {
		s.suspect = l
	}
	c.granted = append(c.granted, l)
	c.rows = append(c.rows, r)
	return true, nil
}

// unclaim gives everything back that a Claim was going to hand out.
func (s *Store) unclaim(c *claiming) {
	for _, l := range c.granted {
		if s.byRef[l.at] == l {
			s.endLease(l)
			s.offer(l.queue, l.class, l.at)
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
	for _, l := range c.granted {
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
	places := make([]place, len(c.granted))
	s.mu.Lock()
	for i, l := range c.granted {
		f, err := l.frame, error(nil)
		if f == nil {
			f, err = s.frameOf(l.at.seq)
		}
		if err == nil && f == nil {
			err = store.ErrNotFound
		}
		if err == nil {
			places[i].segment, places[i].offset, places[i].size, err = s.position(f, l.at.seq)
		}
		places[i].err = err
	}
	s.mu.Unlock()

	res.Leases = make([]store.Lease, 0, len(c.granted))
	records := s.readPlaces(c.granted, places)

	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range c.granted {
		if s.byRef[l.at] != l {
			continue // it ran out meanwhile
		}
		r := records[i]
		if r == nil {
			s.logger.Error("hookgate: an event cannot be read; its delivery becomes a dead letter", "seq", l.at.seq, "error", places[i].err)
			s.endLease(l)
			s.damaged = append(s.damaged, l.at)
			bad = true
			continue
		}
		l.id = store.DeliveryID{Event: r.event.ID, N: l.at.n}
		s.leases[l.id] = l
		d := s.describe(l.id, l.at, &r.event, l.queue)
		if l.at.n < uint64(len(r.targets)) {
			d.Lane = r.targets[l.at.n].lane
		}
		if row := c.rows[i]; row != nil {
			row.fill(&d)
		} else {
			d.Created = r.accepted
		}
		d.State, d.Class, d.Due, d.Gen, d.Abandoned = store.Leased, l.class, l.until, l.gen, l.lost
		res.Leases = append(res.Leases, store.Lease{Gen: l.gen, Delivery: d, Event: r.event})
	}
	return bad
}

// place is where the record of a claimed event is, or why it is nowhere.
type place struct {
	segment uint64
	offset  int64
	size    int
	err     error
}

// readTogether is how many bytes of neighbouring records are read at once, readOver how large a gap between them may be.
const (
	readTogether = 256 << 10
	readOver     = 4 << 10
)

// readPlaces reads records, neighbours at once; nil where one cannot be read, and its place says why.
func (s *Store) readPlaces(leases []*lease, places []place) []*record {
	records := make([]*record, len(places))
	order := make([]int, len(places)) // queues take turns, so neighbours may be far apart among the leases
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(places[a].segment, places[b].segment), cmp.Compare(places[a].offset, places[b].offset))
	})
	var buf []byte
	for i := 0; i < len(order); {
		first := places[order[i]]
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
		buf = slices.Grow(buf[:0], int(end-first.offset))[:end-first.offset]
		err := s.log.ReadAt(buf, first.segment, first.offset)
		for ; i < n; i++ {
			k := order[i]
			p := &places[k]
			if p.err = err; err == nil {
				at := p.offset - first.offset
				records[k], p.err = checkRecord(leases[k].at.seq, p.segment, p.offset, buf[at:at+int64(p.size)], true)
			}
			if p.err != nil { // retention may have moved it a moment ago
				s.mu.Lock()
				records[k], p.err = s.record(leases[k].at.seq, true)
				s.mu.Unlock()
			}
		}
	}
	return records
}

// describe makes the public record of a delivery, as far as its event says.
func (s *Store) describe(id store.DeliveryID, at ref, ev *store.Event, q *queue) store.Delivery {
	return store.Delivery{
		ID: id, Seq: at.seq, Tenant: ev.Tenant, Source: ev.Source, Type: ev.Type, Destination: q.dest.name,
	}
}
