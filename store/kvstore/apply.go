package kvstore

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// The operations of a frame. Everything in them is decided: applying never refuses.
const (
	opQueue   = 1 + iota // number, tenant, destination
	opDoc                // a document as it is from now on, or its version if it was deleted
	opGate               // a gate as it is from now on
	opDone               // a delivery is done, with the attempt that says so
	opRow                // a delivery's row as it is from now on, and perhaps an attempt
	opAttempt            // an attempt, and nothing else
	opLeases             // leases that were given since the last frame
	opMoved              // retention copied events' records into this frame
	opOpened             // a process opened the store
	opFree               // a lease was given back untried
)

// apply changes memory as a durable frame says. fr holds the frame's events; it is nil where there are none. In recovery
// nothing is scheduled yet, and live is false.
func (s *Store) apply(at Mark, now time.Time, ops []byte, fr *frame, live bool) error {
	d := dec{b: ops}
	for len(d.b) > 0 && d.err == nil {
		var err error
		switch op := d.u8(); op {
		case opQueue:
			s.applyQueue(&d)
		case opDoc:
			s.applyDoc(&d)
		case opGate:
			s.applyGate(&d, live)
		case opDone:
			err = s.applyDone(&d, now, live)
		case opRow:
			err = s.applyRow(&d, now, live)
		case opAttempt:
			err = s.applyAttempt(&d, now, live)
		case opLeases:
			err = s.applyLeases(&d, live)
		case opMoved:
			err = s.applyMoved(&d, at)
		case opFree:
			err = s.applyFree(&d)
		case opOpened:
			s.meta.opens = d.uint()
		default:
			err = fmt.Errorf("%w: frame %d has an operation %d, newer than this program", store.ErrCorrupt, at.Frame, op)
		}
		if err != nil {
			return err
		}
	}
	if d.err != nil {
		return fmt.Errorf("%w: frame %d: %w", store.ErrCorrupt, at.Frame, d.err)
	}
	if fr != nil {
		if !live {
			if err := s.checkQueues(fr); err != nil {
				return err
			}
		}
		s.applyEvents(fr, live)
	}
	if now.After(s.meta.lastAt) {
		s.meta.lastAt = now
	}
	s.applied = at
	return nil
}

func queueKey(no uint32) []byte { return key64(kindQueue, uint64(no)) }

func (s *Store) applyQueue(d *dec) {
	no := uint32(d.uint())
	name := queueName{d.str(), store.Destination(d.str())}
	if no == 0 || no > s.meta.queues+1 {
		d.fail() // they are numbered without gaps
	}
	if d.err != nil {
		return
	}
	e := enc{}
	e.str(name.tenant)
	e.str(string(name.dest))
	s.put(queueKey(no), e.b)
	s.meta.queues = max(s.meta.queues, no)
	if s.byName[name] == nil {
		s.addQueue(no, name)
	}
}

// applyEvents adds a frame of events. Deliveries that wait for a time, or that replay, get rows; the others only their bit.
func (s *Store) applyEvents(f *frame, live bool) {
	f.isNew = true
	s.keep(f)
	s.unflushed = append(s.unflushed, f)
	s.touch(f)
	s.meta.lastSeq = f.last()
	s.meta.events += int64(len(f.events))
	s.meta.pending += int64(f.open.count())
	if s.inOrder(f) {
		f.firstID = f.ids[0]
		s.meta.lastID = f.ids[len(f.ids)-1]
	} else {
		for i, id := range f.ids {
			s.put(asideKey(id), encodeSeq(f.base+uint64(i)))
			if id.Compare(s.meta.maxAside) > 0 {
				s.meta.maxAside = id
			}
		}
	}
	for _, k := range f.taken {
		s.keys.add(k.entry, k.end)
	}
	for _, t := range f.delayed {
		r := &row{queue: t.queue, state: store.Pending, class: t.class, lane: t.lane, due: later(f.time, t.after), created: f.time}
		_ = s.setRow(t.at, nil, r) // no row is read for a new one
		if live {
			s.settled(t.at, laneKey{t.queue, t.lane}, r)
		}
	}
	f.taken, f.delayed = nil, nil
	if !live {
		return
	}
	for c, ok := f.open.from(0); ok; c, ok = f.open.from(c + 1) {
		s.arrive(f, c, f.refOf(c))
	}
}

// inOrder reports whether a new frame's events can be found through its first ID: they ascend, they come after everything
// before, and none is so far ahead of the clock that those that follow would not.
func (s *Store) inOrder(f *frame) bool {
	last := s.meta.lastID
	for _, id := range f.ids {
		if id.Compare(last) <= 0 || !regularID(id, f.time) {
			return false
		}
		last = id
	}
	return true
}

// regularID reports whether an ID is one that a clock made: a UUIDv7 of no later than a minute from now.
func regularID(id store.ID, now time.Time) bool {
	ms := int64(beUint64(id[:8]) >> 16)
	return id[6]>>4 == 7 && ms <= now.UnixMilli()+60_000
}

func asideKey(id store.ID) []byte { return append([]byte{kindAside}, id[:]...) }
func firstKey(id store.ID) []byte { return append([]byte{kindFirst}, id[:]...) }

func encodeSeq(seq uint64) []byte {
	e := enc{}
	e.uint(seq)
	return e.b
}

// arrive offers a new first attempt to its queue.
func (s *Store) arrive(f *frame, c uint32, at ref) {
	q := s.queues[f.cells[c].queue]
	// A born leased one has no need to wait on disk, but a walk that others wait for will come by it, and counts it.
	if q.unloaded > 0 || q.window.len() >= windowSize && s.byRef[at] == nil {
		if q.unloaded == 0 {
			q.cursor = at
		}
		q.unloaded++
		s.activate(q, store.Live)
		return
	}
	s.load(q, f.cells[c].lane, at)
}

// load takes a first attempt into the window, or parks it in its lane.
func (s *Store) load(q *queue, hash uint64, at ref) {
	head := hash == 0 || s.enterFresh(laneKey{q.no, hash}, at)
	if head && s.byRef[at] == nil {
		q.window.push(at)
		s.activate(q, store.Live)
	}
}

// setRow changes the row of a delivery and every index of it. old is nil where the delivery had no row; r is nil where it
// has none any more.
func (s *Store) setRow(at ref, old, r *row) error {
	if old != nil {
		switch old.state {
		case store.Pending:
			s.del(dueKey(old.queue, old.class, old.due, at))
			s.meta.pending--
		case store.Dead:
			s.del(deadKey(old.queue, at))
			s.meta.dead--
		}
		if old.lane != 0 && old.undecided() {
			s.del(keyRef(kindShut, at))
		}
	} else if err := s.closeBit(at); err != nil {
		return err
	}
	if r == nil {
		if old != nil {
			s.del(keyRef(kindRow, at))
		}
		return nil
	}
	switch r.state {
	case store.Pending:
		s.put(dueKey(r.queue, r.class, r.due, at), []byte{})
		s.meta.pending++
	case store.Dead:
		s.put(deadKey(r.queue, at), []byte{})
		s.meta.dead++
	}
	if r.lane != 0 && r.undecided() {
		s.put(keyRef(kindShut, at), []byte{})
	}
	s.put(keyRef(kindRow, at), r.encode())
	return nil
}

// closeBit notes that a delivery no longer waits for its first attempt, if it did.
func (s *Store) closeBit(at ref) error {
	f, err := s.leasedFrame(at)
	if err != nil || f == nil {
		return err
	}
	c, ok := f.cell(at)
	if !ok || !f.open.has(c) {
		return nil
	}
	f.open.clear(c)
	f.leased.clear(c)
	s.touch(f)
	s.meta.pending--
	if q := s.queues[f.cells[c].queue]; q.unloaded > 0 && !at.before(s.place(q)) {
		q.unloaded--
	}
	return nil
}

// leasedFrame is frameOf for a delivery that is probably leased.
func (s *Store) leasedFrame(at ref) (*frame, error) {
	if l := s.byRef[at]; l != nil && l.frame != nil {
		return l.frame, nil
	}
	return s.frameOf(at.seq)
}

// oldRow reads the row of a delivery for a change; nil if it has none.
func (s *Store) oldRow(at ref) (*row, error) {
	f, err := s.leasedFrame(at)
	if err != nil {
		return nil, err
	}
	if f != nil {
		if c, ok := f.cell(at); ok && f.open.has(c) {
			return nil, nil // a delivery with a bit has no row
		}
	}
	return s.row(at)
}

func decodeRef(d *dec) ref { return ref{d.uint(), d.uint()} }

func (e *enc) ref(r ref) {
	e.uint(r.seq)
	e.uint(r.n)
}

// packedSize is how many bytes an attempt takes, about, if there is nothing to say of it.
const packedSize = 28

// pack keeps an attempt with its frame until the flush.
func (s *Store) pack(t *tried) error {
	f, err := s.leasedFrame(t.at)
	if err != nil || f == nil {
		return err
	}
	if f.packed == nil {
		f.packed = make([]byte, 0, packedSize*(1+min(f.open.count(), 64))) // others of the frame probably follow
	}
	e := enc{f.packed}
	t.encode(&e, f.base, f.time)
	f.packed = e.b
	s.touch(f)
	return nil
}

func (s *Store) applyDone(d *dec, now time.Time, live bool) error {
	var t tried
	t.decode(d, 0, now)
	if d.err != nil {
		return nil
	}
	old, err := s.oldRow(t.at)
	if err != nil {
		return err
	}
	k, err := s.laneOf(t.at, old)
	if err != nil {
		return err
	}
	if err := s.setRow(t.at, old, nil); err != nil {
		return err
	}
	if err := s.pack(&t); err != nil {
		return err
	}
	if live {
		s.settled(t.at, k, nil)
	}
	return nil
}

// laneOf tells the lane of a delivery; the hash is 0 for none.
func (s *Store) laneOf(at ref, r *row) (laneKey, error) {
	if r != nil {
		return laneKey{r.queue, r.lane}, nil
	}
	f, err := s.leasedFrame(at)
	if err != nil || f == nil {
		return laneKey{}, err
	}
	c, ok := f.cell(at)
	if !ok {
		return laneKey{}, nil
	}
	return laneKey{f.cells[c].queue, f.cells[c].lane}, nil
}

func (s *Store) applyRow(d *dec, now time.Time, live bool) error {
	at := decodeRef(d)
	b := d.bytes()
	with := d.u8()
	var t tried
	if with == 1 {
		t.decode(d, 0, now)
	}
	if d.err != nil {
		return nil
	}
	var r row
	err := r.decode(b)
	if err == nil && s.queue(r.queue) == nil {
		err = fmt.Errorf("%w: delivery: there is no queue %d", store.ErrCorrupt, r.queue)
	}
	if err != nil {
		return err
	}
	old, err := s.oldRow(at)
	if err != nil {
		return err
	}
	if err := s.setRow(at, old, &r); err != nil {
		return err
	}
	if with == 1 {
		err = s.pack(&t)
	} else if f, e := s.leasedFrame(at); f != nil {
		s.touch(f) // retention leaves alone what has just changed
		err = e
	}
	if err != nil {
		return err
	}
	if live {
		s.settled(at, laneKey{r.queue, r.lane}, &r)
	}
	return nil
}

// applyAttempt keeps an attempt that changes nothing else. If its delivery still waits, the row learns its number.
func (s *Store) applyAttempt(d *dec, now time.Time, live bool) error {
	var t tried
	t.decode(d, 0, now)
	if d.err != nil {
		return nil
	}
	if err := s.pack(&t); err != nil {
		return err
	}
	f, err := s.leasedFrame(t.at)
	if err != nil {
		return err
	}
	if f != nil {
		if c, ok := f.cell(t.at); ok && f.open.has(c) {
			return s.giveRow(f, c, t.at, live, func(r *row) { r.recorded = t.no })
		}
	}
	r, err := s.row(t.at)
	if err != nil || r == nil {
		return err
	}
	r.recorded = max(r.recorded, t.no)
	s.put(keyRef(kindRow, t.at), r.encode())
	return nil
}

// giveRow gives a row to a delivery that had only its bit, without changing where it stands.
func (s *Store) giveRow(f *frame, c uint32, at ref, live bool, change func(*row)) error {
	r := s.freshRow(f, c)
	change(&r)
	if err := s.setRow(at, nil, &r); err != nil || !live {
		return err
	}
	if (r.lane == 0 || s.enterRow(at, &r)) && s.byRef[at] == nil {
		s.pushDue(s.queues[r.queue], r.class, r.due, at)
	}
	return nil
}

// applyLeases notes leases: the second note without a settle between is a lease that was lost.
func (s *Store) applyLeases(d *dec, live bool) error {
	for range d.count(2) {
		at := decodeRef(d)
		if d.err != nil {
			return nil
		}
		f, err := s.leasedFrame(at)
		if err != nil {
			return err
		}
		var c uint32
		fresh := false
		if f != nil {
			c, fresh = f.cell(at)
			fresh = fresh && f.open.has(c)
		}
		switch {
		case fresh && !f.leased.has(c):
			f.leased.set(c)
			s.touch(f)
		case fresh: // lost once, and given again: from here on it needs a row to count
			if err := s.giveRow(f, c, at, live, func(r *row) { r.leased, r.abandoned = true, 1 }); err != nil {
				return err
			}
		default:
			r, err := s.row(at)
			if err != nil {
				return err
			}
			if r == nil || !r.waits() {
				continue
			}
			if r.leased {
				r.abandoned++
			}
			r.leased = true
			s.put(keyRef(kindRow, at), r.encode())
		}
	}
	return nil
}

// applyFree forgets that a delivery was leased.
func (s *Store) applyFree(d *dec) error {
	at := decodeRef(d)
	if d.err != nil {
		return nil
	}
	f, err := s.leasedFrame(at)
	if err != nil {
		return err
	}
	if f != nil {
		if c, ok := f.cell(at); ok && f.open.has(c) {
			f.leased.clear(c)
			s.touch(f)
			return nil
		}
	}
	r, err := s.row(at)
	if err != nil || r == nil {
		return err
	}
	r.leased, r.abandoned = false, 0
	s.put(keyRef(kindRow, at), r.encode())
	return nil
}

// freshRow is the row that a delivery without one would have.
func (s *Store) freshRow(f *frame, c uint32) row {
	return row{
		queue: f.cells[c].queue, state: store.Pending, class: store.Live, lane: f.cells[c].lane, due: f.time, created: f.time,
		leased: f.leased.has(c),
	}
}

// settled brings the schedule up to date after a delivery was settled or changed; r is its row, nil if it is done.
func (s *Store) settled(at ref, k laneKey, r *row) {
	if l := s.byRef[at]; l != nil {
		s.endLease(l)
	}
	delete(s.lost, at)
	switch {
	case r != nil && r.waits():
		if k.hash == 0 || s.enterRow(at, r) {
			s.pushDue(s.queues[r.queue], r.class, r.due, at)
		}
		s.relane(k)
	case r != nil && r.undecided():
		if k.hash != 0 {
			s.enterRow(at, r)
		}
	case k.hash != 0:
		s.leaveLane(k, at)
	}
}
