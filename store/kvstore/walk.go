package kvstore

import (
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// walker goes through the frames of the engine in one direction, a frame at a time: each step is a short transaction of its
// own, so that no reader ever stands in the way of a writer.
type walker struct {
	s        *Store
	oldest   bool
	lo, hi   uint64 // places of events that may be of interest, both included
	from, to time.Time
	resume   ref // deliveries before it (behind it, newest first) were answered before
	done     bool
}

// walk begins at the cursor, or where the times say.
func (s *Store) walk(from, to time.Time, oldest bool, x *paging) (*walker, error) {
	w := &walker{s: s, oldest: oldest, lo: 1, hi: maxSeq - 1, from: from, to: to, resume: x.from}
	err := s.view(func(r Reader) error {
		if !from.IsZero() {
			w.lo = max(s.firstFrom(r, from), 1)
		}
		if !to.IsZero() {
			w.hi = s.firstFrom(r, to) - 1
		}
		return nil
	})
	if x.from.seq > 0 {
		if oldest {
			w.lo = max(w.lo, x.from.seq)
		} else {
			w.hi = min(w.hi, x.from.seq)
		}
	}
	return w, err
}

// only narrows the walk to one event; false if there is none of that ID.
func (w *walker) only(id store.ID) (bool, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	seq, err := w.s.seqOf(id)
	if err != nil || seq == 0 || seq < w.lo || seq > w.hi {
		return false, err
	}
	w.lo, w.hi = seq, seq
	return true, nil
}

// firstFrom finds the place of the first event that was accepted at t or later, by halving.
func (s *Store) firstFrom(r Reader, t time.Time) uint64 {
	lo, hi := uint64(1), uint64(1)
	for k, v := range r.ScanBack([]byte{kindFrame}, []byte{kindFrame + 1}) {
		d := dec{b: v}
		h, err := decodeFrameHead(&d)
		if err == nil {
			hi = beUint64(k[1:]) + uint64(h.events)
		}
		break
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		before := true // events that are gone are before everything
		next := mid + 1
		for k, v := range r.ScanBack([]byte{kindFrame}, key64(kindFrame, mid+1)) {
			d := dec{b: v}
			if h, err := decodeFrameHead(&d); err == nil {
				before = h.time.Before(t)
				next = max(next, beUint64(k[1:])+uint64(h.events))
			}
			break
		}
		if before {
			lo = min(next, hi)
		} else {
			hi = mid
		}
	}
	return lo
}

// next answers the next frame and the rows of its deliveries; nil at the end. With told, only frames in which some delivery
// has a bit or a row.
func (w *walker) next(told bool) (*frame, map[ref]*row, error) {
	if w.done || w.lo > w.hi {
		return nil, nil, nil
	}
	var f *frame
	rows := map[ref]*row{}
	err := w.s.view(func(r Reader) error {
		key, value := w.pick(r, told)
		if key == nil {
			return nil
		}
		var err error
		if f, err = decodeFrame(beUint64(key[1:]), value); err != nil {
			return err
		}
		if b := r.Get(key64(kindOpen, f.base)); b != nil {
			if err := f.decodeBits(b); err != nil {
				return err
			}
		}
		for k, v := range r.Scan(key64(kindRow, f.base), key64(kindRow, f.last()+1)) {
			rows[refOf(k)] = decodeRowOf(f, refOf(k), v)
		}
		return nil
	})
	if err != nil || f == nil {
		w.done = true
		return nil, nil, err
	}
	if w.oldest {
		w.lo = f.last() + 1
	} else {
		w.hi = f.base - 1
		w.done = f.base <= 1
	}
	return f, rows, nil
}

// pick finds the row of the next frame.
func (w *walker) pick(r Reader, told bool) (key, value []byte) {
	at := w.hi
	if w.oldest {
		at = w.lo
	}
	if told {
		var ok bool
		if at, ok = w.pickTold(r); !ok {
			return nil, nil
		}
	}
	// The frame that holds the place, if one does.
	for k, v := range r.ScanBack([]byte{kindFrame}, key64(kindFrame, at+1)) {
		d := dec{b: v}
		h, err := decodeFrameHead(&d)
		base := beUint64(k[1:])
		if err == nil && base+uint64(h.events) <= w.lo {
			break
		}
		if !w.oldest || base+uint64(h.events) > at {
			return k, v
		}
		break
	}
	if !w.oldest {
		return nil, nil
	}
	for k, v := range r.Scan(key64(kindFrame, at), key64(kindFrame, w.hi+1)) {
		return k, v
	}
	return nil, nil
}

// pickTold finds the next place near which a bit or a row stands.
func (w *walker) pickTold(r Reader) (uint64, bool) {
	if w.oldest {
		best, ok := uint64(0), false
		start := w.lo
		for k, v := range r.ScanBack([]byte{kindFrame}, key64(kindFrame, w.lo+1)) {
			d := dec{b: v}
			if h, err := decodeFrameHead(&d); err == nil && beUint64(k[1:])+uint64(h.events) > w.lo {
				start = beUint64(k[1:])
			}
			break
		}
		for k := range r.Scan(key64(kindOpen, start), key64(kindOpen, w.hi+1)) {
			best, ok = max(beUint64(k[1:]), w.lo), true
			break
		}
		for k := range r.Scan(key64(kindRow, w.lo), key64(kindRow, w.hi+1)) {
			if seq := refOf(k).seq; !ok || seq < best {
				best, ok = seq, true
			}
			break
		}
		return best, ok
	}
	best, ok := uint64(0), false
	for k := range r.ScanBack([]byte{kindOpen}, key64(kindOpen, w.hi+1)) {
		best, ok = beUint64(k[1:]), true
		break
	}
	for k := range r.ScanBack(key64(kindRow, w.lo), key64(kindRow, w.hi+1)) {
		if seq := refOf(k).seq; !ok || seq > best {
			best, ok = seq, true
		}
		break
	}
	return best, ok
}

// events lists the events of a frame that are of interest, in the direction of the walk.
func (w *walker) events(f *frame) []uint64 {
	lo, hi := f.base, f.last()
	if w.resume.seq > 0 {
		if w.oldest {
			lo = max(lo, w.resume.seq)
		} else {
			hi = min(hi, w.resume.seq)
		}
	}
	var out []uint64
	for seq := lo; seq <= hi; seq++ {
		out = append(out, seq)
	}
	if !w.oldest {
		slices.Reverse(out)
	}
	return out
}

// placed is a delivery that a walk came by.
type placed struct {
	at    ref
	row   *row // nil: its bit or its attempts say everything
	fresh bool
	queue *queue
}

// frameDeliveries lists the deliveries of a frame that may match, in the direction of the walk.
func (s *Store) frameDeliveries(f *frame, rows map[ref]*row, w *walker, q *store.DeliveryQuery) ([]placed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(s.clock())
	only := uint64(0)
	if !q.Event.IsZero() {
		seq, err := s.seqOf(q.Event)
		if err != nil || seq == 0 {
			return nil, err
		}
		only = seq
	}
	var out []placed
	add := func(at ref, no uint32, r *row, fresh bool) {
		if w.resume.seq > 0 && (w.oldest && at.before(w.resume) || !w.oldest && w.resume.before(at)) {
			return
		}
		if only != 0 && at.seq != only || f.forgot(at.seq) {
			return
		}
		queue := s.queue(no)
		if queue == nil || !matchTenant(q.Tenant, queue.tenant.name) || q.Destination != "" && queue.dest.name != q.Destination {
			return
		}
		if len(q.States) > 0 {
			state := store.Done
			switch {
			case fresh:
				state = store.Pending
			case r != nil:
				state = r.state
			}
			if state == store.Pending && s.byRef[at] != nil {
				state = store.Leased
			}
			if !slices.Contains(q.States, state) {
				return
			}
		}
		out = append(out, placed{at, r, fresh, queue})
	}
	for seq := f.base; seq <= f.last(); seq++ {
		from, to := f.deliveries(seq)
		for c := from; c < to; c++ {
			at := ref{seq, uint64(c - from)}
			add(at, f.cells[c].queue, rows[at], f.open.has(c))
		}
	}
	for at, r := range rows {
		if at.n >= store.FirstLater && r.queue != 0 {
			add(at, r.queue, r, false)
		}
	}
	slices.SortFunc(out, func(a, b placed) int {
		c := 1
		if a.at.before(b.at) {
			c = -1
		}
		if !w.oldest {
			c = -c
		}
		return c
	})
	return out, nil
}

// publicDelivery makes the public record of a delivery that a walk came by; nil if it is gone since.
func (s *Store) publicDelivery(f *frame, p placed) (*store.Delivery, time.Time, error) {
	r, err := s.readAgain(f, p.at.seq, false)
	if err != nil || r == nil {
		return nil, time.Time{}, err
	}
	d := s.describe(store.DeliveryID{Event: r.event.ID, N: p.at.n}, p.at, &r.event, p.queue)
	if p.at.n < uint64(len(r.targets)) {
		d.Lane = r.targets[p.at.n].lane
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.row != nil:
		p.row.fill(&d)
	case p.fresh:
		d.State, d.Created, d.Due = store.Pending, r.accepted, r.accepted
	default:
		var h history
		if err := s.eachAttemptInOrder(p.at, func(t *tried) { h.add(t) }); err != nil {
			return nil, time.Time{}, err
		}
		h.fill(&d, r.accepted)
	}
	s.addLease(&d, p.at)
	return &d, r.accepted, nil
}
