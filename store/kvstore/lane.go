package kvstore

import (
	"context"
	"slices"

	"github.com/hookgate/hookgate/store"
)

type laneKey struct {
	queue uint32
	hash  uint64
}

// lane is a lane with something undecided in it. known holds the undecided deliveries that memory knows, in order. The first
// is the head, the only one that may be tried, unless there may be an earlier one on disk:
//
//   - from more on (zero: none) there are first attempts that memory has passed over;
//   - first attempts that the queue has not loaded yet may come before a delivery that has a row and was never leased. What
//     was leased once was the head, and stays it. Before clear there are none.
type lane struct {
	key       laneKey
	known     []laneRef
	more      ref
	clear     ref
	searching bool
}

type laneRef struct {
	at    ref
	fresh bool // waits for its first attempt, without a row
	sure  bool // nothing on disk comes before it
}

// passed reports whether memory has passed over first attempts that come before a place, or are there.
func (l *lane) passed(at ref) bool { return l.more != (ref{}) && !at.before(l.more) }

// headOf is the one delivery of a lane that may be tried; false while it has to be found on disk.
func (s *Store) headOf(l *lane) (laneRef, bool) {
	if len(l.known) == 0 || l.passed(l.known[0].at) {
		return laneRef{}, false
	}
	h := l.known[0]
	if q := s.queues[l.key.queue]; !h.sure && q.unloaded > 0 && l.clear.before(h.at) && s.place(q).before(h.at) {
		return laneRef{}, false
	}
	// Of the deliveries of one event, one that is on its way comes before the others.
	for _, x := range l.known[1:] {
		if x.at.seq != h.at.seq {
			break
		}
		if s.byRef[x.at] != nil {
			return x, true
		}
	}
	return h, true
}

func compareLaneRef(x laneRef, at ref) int {
	switch {
	case x.at.before(at):
		return -1
	case at.before(x.at):
		return 1
	}
	return 0
}

// enterFresh adds a first attempt that its queue loads to its lane and reports whether it is the head.
func (s *Store) enterFresh(k laneKey, at ref) bool { return s.enter(k, laneRef{at, true, true}) }

// enterRow adds a delivery with a row.
func (s *Store) enterRow(at ref, r *row) bool {
	return s.enter(laneKey{r.queue, r.lane}, laneRef{at, false, r.gen > 0 || r.leased || r.abandoned > 0 || r.attempts > 0})
}

// enter adds an undecided delivery to its lane and reports whether it is the head.
func (s *Store) enter(k laneKey, x laneRef) bool {
	l := s.lanes[k]
	if l == nil {
		l = &lane{key: k}
		s.lanes[k] = l
	}
	i, found := slices.BinarySearchFunc(l.known, x.at, compareLaneRef)
	switch {
	case found:
		l.known[i].fresh = x.fresh
		l.known[i].sure = l.known[i].sure || x.sure
	case x.fresh && l.passed(x.at):
		return false // it is found again when the lane comes to it
	case x.fresh && len(l.known) >= laneSize && i == len(l.known):
		l.more = x.at
		return false
	default:
		l.known = slices.Insert(l.known, i, x)
	}
	h, ok := s.headOf(l)
	if !ok {
		s.searchFor(l)
	}
	return ok && h.at == x.at
}

// searchFor has the head of a lane looked for by the next Claim.
func (s *Store) searchFor(l *lane) {
	if !l.searching {
		l.searching = true
		s.scans = append(s.scans, l)
	}
}

// leaveLane takes a decided delivery out of its lane and makes the next one ready.
func (s *Store) leaveLane(k laneKey, at ref) {
	l := s.lanes[k]
	if l == nil {
		return
	}
	i, found := slices.BinarySearchFunc(l.known, at, compareLaneRef)
	if !found {
		return
	}
	l.known = slices.Delete(l.known, i, i+1)
	s.readyHead(l)
}

// readyHead offers the head of a lane to its queue, after it changed.
func (s *Store) readyHead(l *lane) {
	if err := s.offerHead(l); err != nil {
		s.searchFor(l) // the next Claim tries again
	}
}

func (s *Store) offerHead(l *lane) error {
	if len(l.known) == 0 && l.more == (ref{}) {
		delete(s.lanes, l.key)
		return nil
	}
	h, ok := s.headOf(l)
	if !ok {
		s.searchFor(l)
		return nil
	}
	if s.byRef[h.at] != nil {
		return nil
	}
	q := s.queues[l.key.queue]
	if h.fresh {
		q.window.pushFront(h.at)
		s.activate(q, store.Live)
		return nil
	}
	r, err := s.row(h.at)
	if err != nil || r == nil || !r.waits() {
		return err // or shut by a dead letter; whoever hurries or cancels it comes through here again
	}
	s.pushDue(q, r.class, r.due, h.at)
	return nil
}

// isHead reports whether a delivery may be tried as far as its lane is concerned.
func (s *Store) isHead(k laneKey, at ref) bool {
	if k.hash == 0 {
		return true
	}
	l := s.lanes[k]
	if l == nil {
		return true
	}
	h, ok := s.headOf(l)
	if !ok {
		s.searchFor(l)
	}
	return ok && h.at == at
}

// searchLanes finds the heads of lanes that may be on disk, as far as the budget goes.
func (s *Store) searchLanes(budget *int) error {
	for len(s.scans) > 0 && *budget > 0 {
		l := s.scans[0]
		done := true
		if _, ok := s.headOf(l); !ok && s.lanes[l.key] == l {
			var err error
			if done, err = s.searchLane(l, budget); err != nil {
				return err
			}
		}
		if done {
			s.scans = slices.Delete(s.scans, 0, 1)
			l.searching = false
			if s.lanes[l.key] == l {
				if err := s.offerHead(l); err != nil {
					s.searchFor(l)
					return err
				}
			}
		}
	}
	return nil
}

// searchLane looks for the deliveries of one lane that memory has passed over, or that its queue has not come to. It is done
// when it has found some, or when there are none.
func (s *Store) searchLane(l *lane, budget *int) (done bool, err error) {
	q := s.queues[l.key.queue]
	passed := l.more != (ref{}) && (len(l.known) == 0 || l.passed(l.known[0].at))
	from := l.more
	if !passed {
		if len(l.known) == 0 {
			return true, nil
		}
		if from = s.place(q); from.before(l.clear) {
			from = l.clear
		}
	}
	found := 0
	full := false
	end, err := s.eachOpen(from, budget, func(f *frame, c uint32, at ref) bool {
		switch {
		case passed && q.unloaded > 0 && !at.before(s.place(q)):
			return false // what comes from here on goes through the queue's window
		case !passed && !at.before(l.known[0].at):
			return false
		case f.cells[c].queue != q.no || f.cells[c].lane != l.key.hash:
			return true
		case found == laneSize:
			full = true
			return false
		}
		if i, have := slices.BinarySearchFunc(l.known, at, compareLaneRef); !have {
			l.known = slices.Insert(l.known, i, laneRef{at, true, true})
		}
		found++
		return passed // of the others one is enough: it is the head
	})
	switch {
	case err != nil:
		return false, err
	case passed && (full || *budget < 0):
		l.more = end
		return full || found > 0, nil
	case passed:
		l.more = ref{}
		return true, nil
	case *budget < 0:
		l.clear = end
		return false, nil
	}
	l.clear = l.known[0].at
	return true, nil
}

// eachOpen goes through the deliveries that wait for a first attempt, from a place on, until fn says no or the budget is
// used up. It answers where it stopped; after the last one, a place behind everything.
func (s *Store) eachOpen(from ref, budget *int, fn func(f *frame, c uint32, at ref) bool) (ref, error) {
	stop := ref{maxSeq, 0}
	if from.seq > s.meta.lastSeq {
		return stop, nil
	}
	visit := func(f *frame) bool {
		c := uint32(0)
		if f.has(from.seq) {
			lo, hi := f.deliveries(from.seq)
			c = lo + uint32(min(from.n, uint64(hi-lo)))
		}
		for {
			i, ok := f.open.from(c)
			if !ok {
				return true
			}
			at := f.refOf(i)
			s.visits++
			if *budget--; *budget < 0 || !fn(f, i, at) {
				stop = at
				return false
			}
			c = i + 1
		}
	}
	limit := uint64(maxSeq)
	if len(s.unflushed) > 0 {
		limit = s.unflushed[0].base
	}
	if from.seq < limit {
		start := from.seq
		if f, err := s.frameOf(from.seq); err != nil {
			return stop, err
		} else if f != nil {
			start = f.base
		}
		going := true
		err := s.kv.View(context.Background(), func(r Reader) error {
			for k := range r.Scan(key64(kindOpen, start), key64(kindOpen, limit)) {
				base := beUint64(k[1:])
				f := s.frames[base]
				if f == nil {
					if s.deleted(k) {
						continue
					}
					row := r.Get(key64(kindFrame, base))
					if row == nil {
						continue
					}
					var err error
					if f, err = s.loadFrame(r, base, row); err != nil {
						return err
					}
				}
				if going = visit(f); !going {
					return nil
				}
			}
			return nil
		})
		if err != nil || !going {
			return stop, err
		}
	}
	for _, f := range s.unflushed {
		if f.last() < from.seq {
			continue
		}
		if !visit(f) {
			break
		}
	}
	return stop, nil
}
