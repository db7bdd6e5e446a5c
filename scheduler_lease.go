package hookgate

import (
	"time"

	"github.com/hookgate/hookgate/store"
)

// This file is about the ends of leases: settled, given back, extended, or of attempts that do not return.

// settled takes outcomes that were recorded, or refused for good (results is nil: all of them).
func (s *scheduler) settled(items []settleItem, results []error) {
	var now time.Time
	s.mu.Lock()
	defer s.mu.Unlock()
	claim := false
	s.moved = true
	for i := range items {
		it := &items[i]
		w := it.work
		if now.IsZero() {
			now = time.Now()
		}
		if w == nil {
			if it.After > 0 {
				s.wakeAt(now.Add(it.After))
			}
			continue
		}
		if it.Op == store.OpExtend {
			w.extends = false
			if results != nil && results[i] == nil {
				w.until = now.Add(s.lease)
			}
			continue
		}
		d := w.dest
		last := len(s.all) - 1
		s.all[w.at] = s.all[last]
		s.all[w.at].at = w.at
		s.all[last] = nil
		s.all = s.all[:last]
		if s.held[w.class] >= s.share(w.class) {
			claim = true
		}
		s.held[w.class]--
		d.held--
		if d.capped && d.held <= s.perDest*3/4 {
			d.capped = false
			s.capped--
			claim = true
		}
		switch {
		case it.Op == store.OpRetry && it.After > 0, it.Op == store.OpRelease && it.After > 0:
			s.wakeAt(now.Add(it.After))
		case it.Op == store.OpRetry, it.Op == store.OpRelease, w.ordered:
			claim = true
		}
		s.forget(d)
	}
	if claim {
		s.more = true
	}
	if s.more {
		s.claimSoon()
	}
}

// giveBack releases what is ready for a destination that is held from now on.
func (s *scheduler) giveBack(name Destination) {
	s.mu.Lock()
	var items []settleItem
	if d := s.dests[name]; d != nil {
		items = s.takeReady(d, nil)
	}
	s.mu.Unlock()
	s.g.commit.post(false, items...)
}

// giveBackAll releases all that is ready: nothing will be tried any more.
func (s *scheduler) giveBackAll() {
	s.mu.Lock()
	var items []settleItem
	for _, d := range s.dests {
		items = s.takeReady(d, items)
	}
	s.mu.Unlock()
	s.g.commit.post(true, items...)
}

// takeReady empties the queues of a destination; with mu held.
func (s *scheduler) takeReady(d *destQueue, items []settleItem) []settleItem {
	for c := range store.Classes {
		for d.queues[c].head != nil {
			w := d.queues[c].pop()
			w.stage = workDecided
			s.queued--
			s.bytes -= w.size
			w.event, w.size = nil, 0
			items = append(items, w.settle(verdict{op: store.OpRelease, reason: w.reason}))
		}
	}
	return items
}

// overdueWork is an attempt that did not return.
type overdueWork struct {
	work  *work
	event *Event
}

// sweep looks at everything leased: leases that need more time, and attempts that did not return in theirs. The latter
// are decided now; the worker stays occupied until its attempt returns after all.
func (s *scheduler) sweep(now time.Time) (extend []settleItem, overdue []overdueWork, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.all {
		if w.stage == workDecided {
			continue
		}
		if w.stage == workRunning && !w.overdue.IsZero() && now.After(w.overdue) {
			overdue = append(overdue, s.abandon(w))
			continue
		}
		if !w.extends && w.until.Sub(now) < s.lease/2 {
			w.extends = true
			extend = append(extend, settleItem{Settle: store.Settle{ID: w.id, Gen: w.gen, Op: store.OpExtend, After: s.lease}, work: w})
		}
	}
	return extend, overdue, len(s.all)
}

// abandon decides work whose attempt does not return; with mu held.
func (s *scheduler) abandon(w *work) overdueWork {
	w.stage = workDecided
	s.stuck[w.id] = w
	return overdueWork{w, w.event}
}

// abandonAll decides everything that is still under way, and answers it.
func (s *scheduler) abandonAll() []overdueWork {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []overdueWork
	for _, w := range s.all {
		if w.stage == workRunning {
			left = append(left, s.abandon(w))
		}
	}
	return left
}

// stuckWork names the attempts that did not return in their time.
func (s *scheduler) stuckWork() []StuckAttempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]StuckAttempt, 0, len(s.stuck))
	for id, w := range s.stuck {
		list = append(list, StuckAttempt{Delivery: id, Destination: w.dest.name, Since: w.began})
	}
	return list
}
