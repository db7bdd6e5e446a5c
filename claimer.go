package hookgate

import (
	"context"
	"errors"
	"time"

	"github.com/hookgate/hookgate/store"
)

const (
	claimAgain = time.Second      // after a claim that failed
	claimPause = time.Millisecond // at the least between claims that bring nothing
	stuckWait  = 30 * time.Second // before a delivery whose last attempt has not returned is looked at again
)

// claimer is a goroutine of Run: it fills the scheduler's window. It never polls: it asks the store when
// something was added, settled or opened that may have made work due, when the time comes at which the store said that
// something falls due, and when there is room again for what was left behind.
func (s *scheduler) claimer(ctx context.Context) {
	defer s.stopAlarm()
	if n, ok := s.g.store.(store.Notifier); ok {
		defer n.Notify(s.kick)()
	}
	s.kick()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		}
		for s.claim(ctx) {
		}
	}
}

// start lets work in.
func (s *scheduler) start() {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
}

// stop lets no more work in, gives back what was not started, and sends workers home when they ended what they have.
func (s *scheduler) stop() {
	s.mu.Lock()
	s.running, s.drain = false, true
	s.ready.Broadcast()
	s.mu.Unlock()
	s.giveBackAll()
}

// kick says that there may be work.
func (s *scheduler) kick() {
	s.mu.Lock()
	s.more = true
	s.claimSoon()
	s.mu.Unlock()
}

// claimSoon wakes the claimer if it could take a good piece; with mu held. Otherwise it is woken when there is room.
func (s *scheduler) claimSoon() {
	if !s.running || s.queued > s.items/2 || len(s.all) > s.items*3/4 && s.queued > 0 {
		return
	}
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// wakeAt sees to it that the store is asked at t; with mu held.
func (s *scheduler) wakeAt(t time.Time) {
	if !s.running || !s.wake.IsZero() && !t.Before(s.wake) {
		return
	}
	s.wake = t
	wait := max(time.Until(t), 0)
	if s.alarm == nil {
		s.alarm = time.AfterFunc(wait, s.rang)
	} else {
		s.alarm.Reset(wait)
	}
}

func (s *scheduler) rang() {
	s.mu.Lock()
	s.wake = time.Time{}
	s.mu.Unlock()
	s.kick()
}

func (s *scheduler) stopAlarm() {
	s.mu.Lock()
	if s.alarm != nil {
		s.alarm.Stop()
	}
	s.mu.Unlock()
}

// claim asks the store once, and reports whether to ask again at once.
func (s *scheduler) claim(ctx context.Context) bool {
	s.mu.Lock()
	n := min(s.room(), claimItems)
	if !s.running || n <= 0 {
		s.mu.Unlock()
		return false
	}
	s.more, s.moved = false, false
	s.wake = time.Time{} // from now on, what arrives meanwhile sets it again
	s.mu.Unlock()

	r := s.request()
	r.Max = n
	began := time.Now()
	res, err := s.g.store.Claim(ctx, r)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			return false
		}
		s.g.log.Warn("hookgate: work cannot be claimed; it is tried again", "error", err)
		s.mu.Lock()
		s.more = true
		s.wakeAt(time.Now().Add(claimAgain))
		s.mu.Unlock()
		return false
	}

	var refused []settleItem
	s.mu.Lock()
	for i := range res.Leases {
		l := &res.Leases[i]
		d := &l.Delivery
		if s.stuck[d.ID] != nil {
			refused = append(refused, settleItem{Settle: store.Settle{ID: d.ID, Gen: l.Gen, Op: store.OpRelease, After: stuckWait, Reason: releaseReason(d.Reason, reasonStuck)}})
			continue
		}
		ev := new(Event) // its own piece of memory: res.Leases is large
		*ev = l.Event
		s.add(&work{
			id: d.ID, gen: l.Gen, class: d.Class, ordered: d.Lane != "", attempts: d.Attempts, recorded: d.Recorded,
			first: d.FirstAttempt, reason: d.Reason, tenant: d.Tenant, event: ev, until: began.Add(s.lease),
		}, d.Destination)
	}
	s.signal(len(res.Leases) - len(refused))
	// A claim that brings less than it could may have met a limit that leases, ended since, had reached.
	s.more = s.more || res.More || len(res.Leases) >= n || s.moved
	if res.Next >= 0 {
		wait := res.Next
		if len(res.Leases) == 0 {
			wait = max(wait, claimPause)
		}
		s.wakeAt(time.Now().Add(wait))
	}
	draining := !s.running
	again := s.more && (len(res.Leases) > 0 || s.moved) && s.queued <= s.items/2
	s.mu.Unlock()

	if len(refused) > 0 {
		s.g.commit.post(false, refused...)
	}
	if draining {
		s.giveBackAll()
		return false
	}
	return again
}
