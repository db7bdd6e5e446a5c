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
	no      uint64 // of the batch
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
	sameKey int      // of the event that is being decided
	hashes  []uint64 // of the idempotency keys of all appends; 0 for none
	row     row      // of the delivery that is being decided
	one     enc      // a row that is on its way into ops

	// What happens in memory.
	settling []*lease
	extends  []extension
	releases []*lease
	busy     []ref
	grants   []plannedGrant
	granted  int                       // how many leases there will be; 0 once they are there. See reserved
	newDests map[store.Destination]int // how many of them on destinations that memory does not have yet
	granter  *worker                   // who gets the grants, while the batch is being decided
	worker   string                    // the name
	leaseFor time.Duration             // and for how long
	leased   []store.Grant             // room for those of the events that follow
	poisoned int                       // how many of the poison and the damaged are decided
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
	no    uint32
	queue queueName
	lane  uint64
}

// roomForGrants is where the grants of an event with n deliveries go; the results of a batch share few arrays.
func (p *plan) roomForGrants(want *store.ClaimRequest, n int) []store.Grant {
	if want == nil || p.granted >= want.Max {
		return nil
	}
	if n = min(n, want.Max-p.granted); n > cap(p.leased) {
		p.leased = make([]store.Grant, 0, max(n, min(len(p.receipt.Appends)-len(p.events), 64)))
	}
	return p.leased[:0]
}

// reset makes the plan ready for the next batch. What nobody keeps is used again.
func (p *plan) reset(now time.Time, b *store.Batch) {
	*p = plan{
		no: p.no + 1, now: now, ops: enc{p.ops.b[:0]}, notes: enc{p.notes.b[:0]}, one: p.one, events: p.events[:0], targets: p.targets[:0],
		moved: p.moved[:0], settling: p.settling[:0], extends: p.extends[:0], releases: p.releases[:0], busy: p.busy[:0],
		grants: p.grants[:0], hashes: p.hashes[:0], keys: emptied(p.keys), lanes: emptied(p.lanes), receipt: &store.Receipt{},
	}
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

// letGo forgets what belongs to others, after the batch.
func (p *plan) letGo() {
	clear(p.events)
	clear(p.targets)
	clear(p.moved)
	clear(p.settling)
	clear(p.extends)
	clear(p.releases)
	clear(p.grants)
	p.receipt, p.frame, p.rows, p.docs, p.leased = nil, nil, nil, nil, nil
}

// emptied is an empty map to be used again; a large one is not, for that takes as long as it once was large.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > 1024 {
		return nil
	}
	clear(m)
	return m
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
	s.hashKeys(p, b.Appends)
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

// reserved is how many leases on a destination the batch that is on its way into the log will make: for a Claim meanwhile they
// are as good as there.
func (s *Store) reserved(d *dest) int {
	if p := &s.plan; p.granted > 0 && d.batch == p.no {
		return d.grants
	}
	return 0
}

// abandon forgets what was planned.
func (s *Store) abandon(p *plan) {
	p.granted = 0
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
				s.offer(s.queues[k.queue], store.Live, dueItem{p.now, at})
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
			s.offer(l.queue, l.class, l.dueItem)
			s.relane(laneKey{l.queue.no, l.lane})
		}
	}
}

// makeLeases grants what was planned; the deliveries are applied right after.
func (s *Store) makeLeases(p *plan) {
	if len(p.grants) == 0 {
		return
	}
	w := s.workerOf(p.worker) // p.granter may have gone home
	var slab leaseSlab
	for i := range p.grants {
		g := &p.grants[i]
		q := s.queue(g.no)
		if q == nil { // made by this very frame
			q = s.addQueue(g.no, g.queue)
		}
		l := slab.next(len(p.grants) - i - 1)
		l.dueItem, l.id, l.gen = dueItem{p.now, g.at}, g.id, g.gen
		l.queue, l.frame, l.class, l.lane, l.noted = q, p.frame, store.Live, g.lane, true
		s.hold(l, w, later(p.now, p.leaseFor))
	}
	p.granted = 0
}
