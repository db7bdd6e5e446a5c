package hookgate

import (
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

const (
	windowItems = 4096  // leases held at a time, at the least
	spareLeases = 384   // of one destination beyond its limit: ready next, or with an outcome on its way into the store
	claimItems  = 256   // asked for in one claim, at the most
	idleDests   = 16384 // destinations without work that are remembered, 200 bytes each; as many as key rings
)

// scheduler holds a window of work that is leased and ready, and decides who goes next. The store decides what enters
// the window, in its fair order over tenants and destinations; the scheduler decides only the order inside it: destinations
// take turns, none has more attempts under way than its limit, first attempts have workers that retries cannot take, and
// replays come last.
//
// Work enters in two ways: an append brings leases on its own deliveries (born leased: no read, no claim), and the claimer
// asks the store when there is reason to (see claimer.go).
//
// Its memory is bounded: windowItems leases, Config.Window bytes of payload (beyond that the event is read again
// when its turn comes), and nothing for a destination without work.
type scheduler struct {
	g       *Gateway
	worker  string // whose leases these are
	lease   time.Duration
	items   int // leases at a time
	window  int64
	perDest int // leases on one destination: more than its limit, because outcomes on their way into the store hold theirs
	workers int
	others  int // workers that retries and replays may have

	poke chan struct{} // there is a reason to claim

	mu      sync.Mutex
	ready   *sync.Cond // workers wait for work
	waiting int        // workers that wait
	waking  int        // of them, those that were woken and do not run yet
	running bool       // work may be claimed
	drain   bool       // workers are to end

	dests   map[Destination]*destQueue
	spare   *destQueue // forgotten ones, for the next that are new; a list by after[0]
	spares  int
	rings   [store.Classes]ring
	busy    [store.Classes]int // attempts under way
	all     []*work            // everything leased
	stuck   map[DeliveryID]*work
	queued  int   // of all, ready and not started
	active  int   // of all, under way
	bytes   int64 // of payload in memory
	average int64 // of payload per event, roughly
	turn    uint

	held   [store.Classes]int // of all, by class
	more   bool               // the store may have due work that we did not take
	capped int                // destinations that had all the leases they may have
	moved  bool               // leases ended since the last claim began
	alarm  *time.Timer        // when something falls due; armed only if that is known
	wake   time.Time          // when the alarm rings; zero: it does not

	born store.ClaimRequest // what leaseRequest answers; the leading committer's

	panics panicLog // of attempts
}

func newScheduler(g *Gateway, worker string) *scheduler {
	c := &g.cfg
	s := &scheduler{
		g:       g,
		worker:  worker,
		lease:   max(2*c.Timeout, 10*time.Second),
		items:   max(windowItems, 4*c.Workers),
		window:  c.Window,
		perDest: max(4*c.PerDestination, c.PerDestination+spareLeases),
		workers: c.Workers,
		others:  c.Workers,
		poke:    make(chan struct{}, 1),
		dests:   make(map[Destination]*destQueue),
		stuck:   make(map[DeliveryID]*work),
		average: 1 << 10,
	}
	if c.Workers > 1 {
		s.others -= max(c.Workers/8, 1)
	}
	s.ready = sync.NewCond(&s.mu)
	return s
}

// request is what a claim asks for, but for the number.
func (s *scheduler) request() store.ClaimRequest {
	return store.ClaimRequest{
		Worker: s.worker, Lease: s.lease, PerDestination: s.perDest, Accept: s.g.view.accept(),
		PerClass: [store.Classes]int{s.share(store.Live), s.share(store.Retry), s.share(store.Replay)},
	}
}

// share is how many leases a class may have, so that a flood of one leaves room for the others.
func (s *scheduler) share(c store.Class) int {
	switch c {
	case store.Live:
		return s.items * 3 / 4
	case store.Retry:
		return s.items / 2
	}
	return s.items / 8
}

// room is how many leases there is room for; with mu held.
func (s *scheduler) room() int {
	free := s.items - len(s.all)
	if s.bytes > s.window/2 {
		// Little memory is left for payloads. A few may still come, for other destinations than those that fill it.
		free = min(free, int(max(s.window-s.bytes, s.window/8)/max(s.average, 1))+1, 64)
	}
	return free
}

// leaseRequest asks for leases on the deliveries of an append; nil asks for none. The leading committer calls it.
func (s *scheduler) leaseRequest() *store.ClaimRequest {
	s.mu.Lock()
	running, free, queued := s.running, s.room(), s.queued
	s.mu.Unlock()
	if !running || free <= 0 || queued > s.items/2 {
		return nil
	}
	s.born = s.request()
	s.born.Max = free
	return &s.born
}

// committed takes what a commit means for the scheduler: leases granted, work that may be due, gates. The first of the
// batch's settles, the riders, come to settled instead.
func (s *scheduler) committed(b *store.Batch, r *store.Receipt, riders int) {
	operator := b.Settles[riders:]
	if len(b.Appends) == 0 && len(b.Gates) == 0 && len(operator) == 0 {
		return
	}
	now := time.Now()
	var held []Destination
	s.mu.Lock()
	if !s.running && !s.drain {
		s.mu.Unlock() // it never ran: nobody asked for leases
		return
	}
	added := 0
	claim := false
	for i := range b.Appends {
		ap, res := &b.Appends[i], &r.Appends[i]
		if res.Err != nil || res.Repeated || len(ap.Deliveries) == 0 {
			continue
		}
		if ap.Event != nil && len(res.Leased) > 0 {
			ev := ap.Event // the caller made it for the gateway, in a piece of memory of its own
			ev.Seq, ev.Accepted, ev.Deliveries = res.Seq, res.Accepted, len(ap.Deliveries)
			if ap.ExpireAfter > 0 {
				ev.Expires = res.Accepted.Add(ap.ExpireAfter)
			}
			for _, grant := range res.Leased {
				d := &ap.Deliveries[grant.Index]
				s.add(&work{
					id: DeliveryID{Event: res.ID, N: uint64(grant.Index)}, gen: grant.Gen, class: d.Class, ordered: d.Lane != "",
					tenant: ev.Tenant, event: ev, until: now.Add(s.lease),
				}, d.Destination)
				added++
			}
		}
		if len(res.Leased) < len(ap.Deliveries) {
			s.missed(ap, res, now, &claim)
		}
	}
	for i := range b.Gates {
		if r.Gates[i] != nil {
			continue
		}
		switch gate := &b.Gates[i]; {
		case gate.Hold == 0:
			claim = true
		default:
			held = append(held, gate.Destination)
			if gate.Hold > 0 {
				s.wakeAt(now.Add(gate.Hold))
			}
		}
	}
	if claim || len(operator) > 0 {
		s.more = true
		s.claimSoon()
	}
	draining := s.drain || !s.running
	s.signal(added)
	s.mu.Unlock()
	for _, d := range held {
		s.giveBack(d)
	}
	if draining && added > 0 {
		s.giveBackAll()
	}
}

// missed looks at the deliveries of an append that were not granted; with mu held.
func (s *scheduler) missed(ap *store.Append, res *store.AppendResult, now time.Time, claim *bool) {
	granted := 0
	for i := range ap.Deliveries {
		if granted < len(res.Leased) && res.Leased[granted].Index == i {
			granted++
			continue
		}
		d := &ap.Deliveries[i]
		if d.After > 0 {
			s.wakeAt(now.Add(d.After))
			continue
		}
		if q := s.dests[d.Destination]; q != nil && q.held >= s.perDest {
			continue // there will be reason to claim when it has fewer
		}
		*claim = true
	}
}

// add puts a lease into the window; with mu held.
func (s *scheduler) add(w *work, name Destination) {
	d := s.dests[name]
	if d == nil {
		d = s.newDest(name)
		s.dests[name] = d
	}
	d.held++
	s.held[w.class]++
	if d.held >= s.perDest && !d.capped {
		d.capped = true
		s.capped++
	}
	w.dest = d
	w.at = len(s.all)
	s.all = append(s.all, w)
	if len(s.all) == 1 {
		s.g.keeper.arm()
	}
	if ev := w.event; ev != nil {
		w.size = int64(len(ev.Payload)) + 512
		s.average += (w.size - s.average) / 16
		if s.bytes+w.size > s.window && s.bytes > 0 {
			w.event, w.size = nil, 0
		}
		s.bytes += w.size
	}
	s.queued++
	d.queues[w.class].push(w)
	s.enter(d, w.class)
}

// newDest makes the queues of a destination, or takes those of one that was forgotten; with mu held. pick learns the limit.
func (s *scheduler) newDest(name Destination) *destQueue {
	d := s.spare
	if d == nil {
		d = new(destQueue)
	} else {
		s.spare, s.spares = d.after[0], s.spares-1
	}
	*d = destQueue{name: name, limit: 1}
	return d
}

// signal wakes a worker when there is work for one; with mu held. It wakes one at a time, and that one wakes the next when
// it runs and there is more: where attempts are short, a few workers that stay awake do all of them.
func (s *scheduler) signal(n int) {
	if n > 0 && s.waiting > 0 && s.waking == 0 {
		s.waking++
		s.ready.Signal()
	}
}

// next answers the next work for a worker, which is under way from then on, and waits until there is some. prev, if not
// nil, is what the worker had before. Nil means that the worker is to end.
func (s *scheduler) next(prev *work) *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	if prev != nil {
		s.ended(prev)
	}
	for hastened := false; !s.drain; {
		if w := s.pick(); w != nil {
			if s.startable() {
				s.signal(1)
			}
			if s.more && s.queued < s.items/4 {
				s.claimSoon()
			}
			return w
		}
		if !hastened && (s.capped > 0 || s.more) && len(s.all) > s.active+s.queued {
			// There is more to do, and its way in is blocked by outcomes that are not recorded yet.
			hastened = true
			s.mu.Unlock()
			s.g.commit.hasten()
			s.mu.Lock()
			continue
		}
		s.waiting++
		s.ready.Wait()
		s.waiting--
		s.waking = max(s.waking-1, 0)
	}
	return nil
}

// pick takes the next work out of its queue; nil if nothing may start now. With mu held.
//
// First attempts go first, but one turn in four begins with retries and one in sixteen with replays, so that nobody waits
// for ever. Retries and replays together never have all the workers.
func (s *scheduler) pick() *work {
	order := [...]store.Class{store.Live, store.Retry, store.Replay}
	s.turn++
	switch {
	case s.turn%16 == 0:
		order = [...]store.Class{store.Replay, store.Live, store.Retry}
	case s.turn%4 == 0:
		order = [...]store.Class{store.Retry, store.Live, store.Replay}
	}
	for _, c := range order {
		if c != store.Live && s.busy[store.Retry]+s.busy[store.Replay] >= s.others ||
			c == store.Replay && s.busy[store.Replay] >= max(s.others/2, 1) {
			continue
		}
		for s.rings[c].head != nil {
			d := s.leave(c)
			if d.queues[c].head == nil {
				continue
			}
			if d.limit = s.limitOf(d.name); d.running >= d.limit {
				continue // it comes back when that changes
			}
			w := d.queues[c].pop()
			w.stage = workRunning
			s.queued--
			s.active++
			s.busy[c]++
			d.running++
			for c := range store.Classes {
				s.enter(d, c) // of all: the limit may have grown
			}
			return w
		}
	}
	return nil
}

// limitOf answers how many attempts at a time a destination takes now; with mu held. The view knows it before anything that
// may take long is done for an attempt: reading its event, say. Of an endpoint that another process may have made a moment
// ago, one attempt finds out, and begin tells the others.
func (s *scheduler) limitOf(name Destination) int {
	v := &s.g.view
	switch t := v.target(name); {
	case t != nil:
		return max(t.limit, 1)
	case v.sharing.shared && isEndpoint(name):
		return 1
	}
	return s.g.cfg.PerDestination
}

// startable reports whether some destination may have an attempt started; with mu held.
func (s *scheduler) startable() bool {
	for c := range s.rings {
		if s.rings[c].head != nil {
			return true
		}
	}
	return false
}

// begin notes that the attempt begins, when it counts as failed if it does not return, and how many attempts at a time
// the destination takes: more than pick has seen, if it was looked for in the store meanwhile.
func (s *scheduler) begin(w *work, now, overdue time.Time, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.began, w.overdue = now, overdue
	d := w.dest
	more := limit > d.limit
	d.limit = limit
	if !more {
		return
	}
	for c := range store.Classes {
		s.enter(d, c)
	}
	if s.startable() {
		s.signal(1)
	}
}

// free gives back the slot of a worker that cannot call next any more.
func (s *scheduler) free(w *work) {
	s.mu.Lock()
	s.ended(w)
	s.signal(1)
	s.mu.Unlock()
}

// decide claims the right to say what became of work under way: false if somebody else did, because it was overdue or the
// gateway shut down.
func (s *scheduler) decide(w *work) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.stage == workDecided {
		return false
	}
	w.stage = workDecided
	return true
}

// ended gives the worker's slot free; with mu held.
func (s *scheduler) ended(w *work) {
	d := w.dest
	s.active--
	s.busy[w.class]--
	d.running--
	s.bytes -= w.size
	w.event, w.size = nil, 0
	if s.stuck[w.id] == w {
		delete(s.stuck, w.id)
	}
	for c := range store.Classes {
		s.enter(d, c)
	}
	s.forget(d)
}

// forget drops what is known of a destination without work; with mu held. Some are kept, because those that had
// work are the most likely to have some again.
func (s *scheduler) forget(d *destQueue) {
	if d.held == 0 && d.running == 0 && len(s.dests) > idleDests {
		for c := range store.Classes {
			if d.inRing[c] {
				return // pick drops it from the ring, and it is forgotten another time
			}
		}
		delete(s.dests, d.name)
		if s.spares < idleDests {
			*d = destQueue{}
			d.after[0], s.spare = s.spare, d
			s.spares++
		}
	}
}
