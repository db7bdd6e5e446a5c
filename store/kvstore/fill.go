package kvstore

// A queue that runs dry has to go through what waits on disk, in commit order, until it has found the next of its own. It would
// be slow if each of a thousand queues did so for itself, so a walk fills the windows of all whose deliveries it comes by. A
// queue of which it found nothing still has to learn that it need not look there again: that is what reaches are for.

// reach is a stretch of commit order that walks went through without a gap. Whatever queue has its cursor in it, and missed
// nothing, has no first attempts left on disk before its end: everything of it that was open there was loaded.
type reach struct {
	no       uint32 // 0 for none
	from, to ref
	used     int // the number of the walk that was in it last
}

const (
	reaches  = 4   // how many are remembered: different parts of a backlog may be worked off side by side
	reachGap = 256 // deliveries between the end of one and a queue's cursor that a walk goes through to stay in it
)

// fills is what memory knows about walks.
type fills struct {
	reaches [reaches]reach
	walks   int
	numbers uint32 // of reaches
}

// place is where the first attempts of a queue begin that are on disk alone.
func (s *sched) place(q *queue) ref {
	at := q.cursor
	for i := range s.fills.reaches {
		r := &s.fills.reaches[i]
		if q.missed[i] != r.no && at.before(r.to) && !q.cursor.before(r.from) {
			at = r.to
		}
	}
	return at
}

// reachFor chooses the reach that a walk for what begins at a place belongs to, and says where it has to start; -1 if the place
// is in none, and none ends before it.
func (s *sched) reachFor(at ref) (in int, start ref) {
	in = -1
	for i := range s.fills.reaches {
		r := &s.fills.reaches[i]
		if r.no == 0 || at.before(r.from) || at.seq > r.to.seq && at.seq-r.to.seq > reachGap {
			continue
		}
		if in < 0 || s.fills.reaches[in].to.before(r.to) {
			in = i
		}
	}
	if in >= 0 && s.fills.reaches[in].to.before(at) {
		return in, s.fills.reaches[in].to
	}
	return in, at
}

// newReach begins a reach, in the place of the one that was used the longest time ago.
func (s *sched) newReach(at ref) (in int) {
	for i := range s.fills.reaches {
		if s.fills.reaches[i].used < s.fills.reaches[in].used {
			in = i
		}
	}
	s.fills.numbers++
	s.fills.reaches[in] = reach{no: s.fills.numbers, from: at, to: at}
	return in
}

// fill loads first attempts from disk into the window of a queue, and on the way into those of others.
func (s *Store) fill(c *claiming, q *queue) error {
	if c.budget <= 0 {
		return nil
	}
	at := s.place(q)
	in, start := s.reachFor(at)
	if in >= 0 && start.before(at) {
		gap := min(c.budget, reachGap)
		c.budget -= gap
		end, err := s.fillAlong(in, start, at, q, &gap)
		c.budget += max(gap, 0)
		if err != nil {
			return err
		}
		if end.before(at) {
			in = -1 // it is a wide one
		}
	}
	if in < 0 {
		in = s.newReach(at)
	}
	end, err := s.fillAlong(in, at, ref{maxSeq, 0}, q, &c.budget)
	if err != nil {
		return err
	}
	if end.seq == maxSeq {
		q.unloaded = 0
		end = ref{s.meta.lastSeq + 1, 0}
	}
	if q.cursor.before(end) {
		q.cursor = end
	}
	if r := &s.fills.reaches[in]; !end.before(r.to) {
		r.to = end
		q.missed[in] = 0
	}
	return nil
}

// fillAlong goes through what is open from start on, within a reach, until it comes to stop, or to what q has no room for, or the
// budget is used up. It answers where it stopped.
func (s *Store) fillAlong(in int, start, stop ref, q *queue, budget *int) (ref, error) {
	s.fills.walks++
	r := &s.fills.reaches[in]
	r.used = s.fills.walks
	end, err := s.eachOpen(start, budget, func(f *frame, i uint32, at ref) bool {
		if !at.before(stop) {
			return false
		}
		x := s.queues[f.cells[i].queue]
		if x.unloaded == 0 {
			return true
		}
		switch from := s.place(x); {
		case at.before(from): // loaded before
		case from.before(start): // others of its queue come first
			x.missed[in] = r.no
		case x.window.len() < windowSize:
			x.unloaded--
			x.cursor = ref{at.seq, at.n + 1}
			s.load(x, f.cells[i].lane, at)
		case x == q:
			return false
		case x.passed != s.fills.walks:
			x.passed, x.missed[in], x.cursor = s.fills.walks, r.no, at
		}
		return true
	})
	if err == nil && stop.seq != maxSeq && r.to.before(end) {
		r.to = end
		if stop.before(end) {
			r.to = stop
		}
	}
	return end, err
}
