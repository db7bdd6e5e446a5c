package kvstore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// plan is a batch being decided: the operations that say what was decided, and what memory does when they are durable.
type plan struct {
	now     time.Time
	receipt *store.Receipt
	ops     enc
	notes   enc   // of leases; they come before the operations
	verbs   bool  // some settle is an operator's verb: it sees what the ones before it did
	bytes   int64 // of events and documents, about
	twice   bool  // some delivery may be settled more than once
	base    uint64
	events  []plannedEvent
	targets []target // of all events
	moved   [][]byte // records that retention moves
	frame   *frame
	mark    Mark

	// What earlier items of this batch decided.
	docs    map[string]*docRow
	rows    map[ref]*row
	numbers map[ref]int // of attempts that settle nothing
	reports map[report]bool
	queues  map[queueName]uint32
	ids     map[store.ID]int // index into events
	keys    map[uint64]int   // hash -> the last event that takes such a key
	lanes   map[laneKey]bool
	gated   map[store.Destination]bool // gates that this batch puts
	lastID  store.ID
	sameKey int // of the event that is being decided

	// What happens in memory.
	settling []*lease
	extends  []extension
	releases []*lease
	busy     []ref
	grants   []plannedGrant
	granted  grantCount
	worker   string        // who gets the grants
	leaseFor time.Duration // and for how long
	poisoned int           // how many of the poison and the damaged are decided
	spoiled  int
}

type plannedEvent struct {
	event *store.Event
	stamp
	from, to int // in targets
	item     int // in Batch.Appends
	sameKey  int // the event before whose key has the same hash; -1 for none
}

// report names the attempt of a lease.
type report struct {
	at  ref
	gen uint64
}

type extension struct {
	lease *lease
	until time.Time
}

type plannedGrant struct {
	at    ref
	id    store.DeliveryID
	gen   uint64
	queue queueName
	class store.Class
	lane  uint64
}

// grantCount counts the leases that a batch asks for on its own deliveries.
type grantCount struct {
	total   int
	perDest map[store.Destination]int
}

func (p *plan) reset(now time.Time, b *store.Batch) {
	*p = plan{
		now: now, ops: enc{p.ops.b[:0]}, notes: enc{p.notes.b[:0]}, events: p.events[:0], targets: p.targets[:0], moved: p.moved[:0],
		settling: p.settling[:0], extends: p.extends[:0], keys: p.keys, releases: p.releases[:0], busy: p.busy[:0], grants: p.grants[:0],
		receipt: &store.Receipt{},
	}
	clear(p.keys)
	if n := len(b.Docs); n > 0 {
		p.receipt.Docs = make([]store.DocResult, n)
	}
	if n := len(b.Gates); n > 0 {
		p.receipt.Gates = make([]error, n)
	}
	if n := len(b.Settles); n > 0 {
		p.receipt.Settles = make([]error, n)
		for i := range b.Settles {
			p.verbs = p.verbs || b.Settles[i].Op >= store.OpCancel
		}
		p.twice = repeats(b.Settles)
	}
	if n := len(b.Appends); n > 0 {
		p.receipt.Appends = make([]store.AppendResult, n)
	}
}

// empty reports whether there is nothing to write.
func (p *plan) empty() bool {
	return len(p.ops.b) == 0 && len(p.notes.b) == 0 && len(p.events) == 0 && len(p.moved) == 0
}

// repeats reports whether two settles may be about one delivery.
func repeats(list []store.Settle) bool {
	var seen [1024]uint64 // bits of a hash: a false alarm only costs a little time
	for i := range list {
		id := &list[i].ID
		h := (beUint64(id.Event[8:])*0x9e3779b97f4a7c15 + id.N*0xd6e8feb86659fd93) >> 48
		if seen[h/64]&(1<<(h%64)) != 0 {
			return true
		}
		seen[h/64] |= 1 << (h % 64)
	}
	return false
}

var errFullForNow = fmt.Errorf("%w: only what was done is still recorded", store.ErrFull)

// decide goes through a batch. An error means that the engine or the log cannot be read.
func (s *Store) decide(p *plan, b *store.Batch, appends bool) error {
	p.lastID = s.meta.lastID
	for i := range b.Docs {
		r, err := s.decideDoc(p, &b.Docs[i])
		if errors.Is(err, store.ErrCorrupt) {
			r, err = store.DocResult{Err: err}, nil // the others can do nothing for it
		}
		if err != nil {
			return err
		}
		p.receipt.Docs[i] = r
	}
	for i := range b.Gates {
		p.receipt.Gates[i] = s.decideGate(p, &b.Gates[i])
	}
	for i := range b.Settles {
		err := s.decideSettle(p, &b.Settles[i])
		if err != nil && !expected(err) {
			return err
		}
		p.receipt.Settles[i] = err
	}
	if err := s.decidePoison(p); err != nil {
		return err
	}
	for i := range b.Appends {
		if !appends {
			p.receipt.Appends[i].Err = errFullForNow
			continue
		}
		r, err := s.decideAppend(p, &b.Appends[i], i, b.Lease)
		if errors.Is(err, store.ErrCorrupt) {
			r.Err, err = err, nil
		}
		if err != nil {
			return err
		}
		p.receipt.Appends[i] = r
	}
	if len(p.events) > 0 {
		p.base = p.events[0].seq
	}
	s.noteLeases(p)
	return nil
}

// expected tells an item's own fate from trouble with the engine.
func expected(err error) bool {
	return errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrLeaseLost) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict)
}

// abandon forgets what was planned.
func (s *Store) abandon(p *plan) {
	for _, l := range p.settling {
		if s.byRef[l.at] != l {
			continue
		}
		l.settling = false
		if l.index < 0 {
			s.expiry.add(l)
		}
	}
	for _, at := range p.busy {
		delete(s.busy, at)
		if k, err := s.laneOf(at, nil); err == nil {
			if r, err := s.oldRow(at); err == nil && r != nil && r.waits() {
				s.pushDue(s.queues[r.queue], r.class, r.due, at)
			} else if err == nil && r == nil && k.queue != 0 {
				s.offer(s.queues[k.queue], store.Live, at)
			}
		}
	}
}

// applyMemory does what needs no record: leases extended or given back.
func (s *Store) applyMemory(p *plan) {
	for _, at := range p.busy {
		delete(s.busy, at)
	}
	s.poison = s.poison[p.poisoned:]
	s.damaged = s.damaged[p.spoiled:]
	for _, x := range p.extends {
		if s.byRef[x.lease.at] == x.lease && !x.lease.settling {
			x.lease.until = x.until
			s.expiry.fix(x.lease)
		}
	}
	for _, l := range p.releases {
		if s.byRef[l.at] == l {
			s.endLease(l)
			delete(s.lost, l.at)
			if l.lost > 0 && len(s.notes) > 0 { // they are nothing to hold against it any more
				s.notes = slices.DeleteFunc(s.notes, func(n *lease) bool { return n.at == l.at })
			}
			s.offer(l.queue, l.class, l.at)
			s.relane(laneKey{l.queue.no, l.lane})
		}
	}
}

// makeLeases grants what was planned; the deliveries are applied right after.
func (s *Store) makeLeases(p *plan) {
	for i := range p.grants {
		g := &p.grants[i]
		q := s.byName[g.queue]
		if q == nil { // made by this very frame
			no := p.queues[g.queue]
			q = s.addQueue(no, g.queue)
		}
		l := &lease{at: g.at, id: g.id, gen: g.gen, queue: q, frame: p.frame, class: g.class, lane: g.lane, noted: true}
		s.hold(l, p.worker, later(p.now, p.leaseFor))
	}
}
