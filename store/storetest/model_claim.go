package storetest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

// due reports whether a delivery may be handed out as far as it and its destination are concerned.
func (m *Model) due(d *modelDelivery, accept []store.Destination, now time.Time) bool {
	return d.State == store.Pending && !now.Before(d.Due) && accepted(accept, d.Destination) && m.isHead(d) &&
		!m.held(d.Destination, now)
}

func (m *Model) isHead(d *modelDelivery) bool { return d.Lane == "" || m.lanes[d.laneKey()][0] == d }

func (m *Model) held(dest store.Destination, now time.Time) bool {
	for _, g := range m.gates {
		if g.Destination == dest && g.holds(now) {
			return true
		}
	}
	return false
}

// room reports whether one more lease on the delivery is within every limit but Max.
func (m *Model) room(d *modelDelivery, r *store.ClaimRequest) bool {
	if n := r.PerClass[d.Class]; n > 0 &&
		m.count(r.Worker, func(x *modelDelivery) bool { return x.Class == d.Class }) >= n {
		return false
	}
	there := func(x *modelDelivery) bool { return x.Destination == d.Destination }
	if r.PerDestination > 0 && m.count(r.Worker, there) >= r.PerDestination {
		return false
	}
	limit := 0
	for _, g := range m.gates {
		if g.Destination == d.Destination && g.MaxInFlight > 0 && (limit == 0 || g.MaxInFlight < limit) {
			limit = g.MaxInFlight
		}
	}
	if limit == 0 {
		return true
	}
	n := 0
	for _, x := range m.leased {
		if there(x) {
			n++
		}
	}
	return n < limit
}

// count counts the leases of a worker.
func (m *Model) count(worker string, which func(*modelDelivery) bool) int {
	n := 0
	for _, x := range m.leased {
		if x.worker == worker && (which == nil || which(x)) {
			n++
		}
	}
	return n
}

func (m *Model) lease(d *modelDelivery, r *store.ClaimRequest, now time.Time) {
	m.gen++
	d.Gen = m.gen
	d.worker = r.Worker
	d.Due = now.Add(r.Lease)
	m.setState(d, store.Leased, false)
	m.turn++
	m.tenants[d.Tenant] = m.turn
	m.queues[modelQueue{d.Tenant, d.Destination}] = m.turn
}

// Claim hands out live deliveries before retries and these before replays; in a class it goes round the tenants, and
// round the destinations of each.
func (m *Model) Claim(ctx context.Context, r store.ClaimRequest) (*store.ClaimResult, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := m.now()
	res := &store.ClaimResult{}
	for c := range store.Classes {
		line := m.queueUp(m.claimable(&r, now), c)
		for len(res.Leases) < r.Max && len(line) > 0 {
			t := line[0] // whoever was served goes to the end
			line = line[1:]
			q := t.queues[0]
			t.queues = t.queues[1:]
			d := q.waiting[0]
			q.waiting = q.waiting[1:]
			if !m.room(d, &r) {
				q.waiting = nil
			} else {
				m.lease(d, &r, now)
				res.Leases = append(res.Leases, store.Lease{
					Gen: d.Gen, Delivery: d.Delivery, Event: cloneEvent(&d.event.Event, true),
				})
			}
			if len(q.waiting) > 0 {
				t.queues = append(t.queues, q)
			}
			if len(t.queues) > 0 {
				line = append(line, t)
			}
		}
	}
	for _, d := range m.claimable(&r, now) {
		if m.room(d, &r) {
			res.More = true
			break
		}
	}
	res.Next = m.next(now)
	return res, nil
}

type (
	tenantLine struct {
		name   string
		queues []*queueLine
	}
	queueLine struct {
		dest    store.Destination
		waiting []*modelDelivery
	}
)

// queueUp puts the deliveries of a class in line: tenants by when they were served, the longest ago first, and the same
// for the destinations of each.
func (m *Model) queueUp(ds []*modelDelivery, c store.Class) []*tenantLine {
	tenants, queues := map[string]*tenantLine{}, map[modelQueue]*queueLine{}
	var line []*tenantLine
	for _, d := range ds {
		if d.Class != c {
			continue
		}
		t := tenants[d.Tenant]
		if t == nil {
			t = &tenantLine{name: d.Tenant}
			tenants[d.Tenant] = t
			line = append(line, t)
		}
		k := modelQueue{d.Tenant, d.Destination}
		if queues[k] == nil {
			queues[k] = &queueLine{dest: d.Destination}
			t.queues = append(t.queues, queues[k])
		}
		queues[k].waiting = append(queues[k].waiting, d)
	}
	for _, t := range line {
		slices.SortStableFunc(t.queues, func(a, b *queueLine) int {
			return cmp.Compare(m.queues[modelQueue{t.name, a.dest}], m.queues[modelQueue{t.name, b.dest}])
		})
	}
	slices.SortStableFunc(line, func(a, b *tenantLine) int { return cmp.Compare(m.tenants[a.name], m.tenants[b.name]) })
	return line
}

// claimable is everything that may be handed out now, but for the limits that count leases.
func (m *Model) claimable(r *store.ClaimRequest, now time.Time) []*modelDelivery {
	var list []*modelDelivery
	for _, ev := range m.events {
		for _, d := range ev.deliveries {
			if m.due(d, r.Accept, now) {
				list = append(list, d)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *modelDelivery) int { return a.Due.Compare(b.Due) })
	return list
}

// next is how long until something happens by itself: a delivery falls due, a lease or a hold ends.
func (m *Model) next(now time.Time) time.Duration {
	wait := time.Duration(-1)
	sooner := func(at time.Time) {
		if d := at.Sub(now); d > 0 && (wait < 0 || d < wait) {
			wait = d
		}
	}
	for _, d := range m.deliveries {
		if d.State.Open() {
			sooner(d.Due)
		}
	}
	for _, g := range m.gates {
		if g.holds(now) && g.Hold > 0 {
			sooner(g.Until)
		}
	}
	return wait
}

// accepted reports whether a list of destinations, exact or prefixes that end in "*", has d. A nil list has all.
func accepted(list []store.Destination, d store.Destination) bool {
	if list == nil {
		return true
	}
	for _, a := range list {
		if matches(string(a), string(d)) {
			return true
		}
	}
	return false
}

// matches reports whether s is the pattern, or begins as the pattern does before its "*".
func matches(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, prefix)
	}
	return pattern == s
}
