package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Model is a store made of maps and slices, as plain as we could write it: what a store has to do, without being fast,
// small or durable. The random test compares other stores with it. It is slow and for tests only.
//
// A Model is safe for concurrent use.
type Model struct {
	*modelData // survives reopen

	mu     sync.Mutex
	now    func() time.Time
	closed bool
	failed error

	// Who was served when, so that Claim can go round.
	turn    uint64
	tenants map[string]uint64
	queues  map[modelQueue]uint64

	// fail, if set, is asked before each commit. A commit that fails is not applied, or applied and then reported.
	fail func() (err error, applied bool)
}

var _ store.Store = (*Model)(nil)

// NewModel makes an empty model.
func NewModel() *Model {
	return openModel(&modelData{
		byID: map[store.ID]*modelEvent{}, deliveries: map[store.DeliveryID]*modelDelivery{},
		leased: map[store.DeliveryID]*modelDelivery{}, lanes: map[modelLane][]*modelDelivery{},
		keys: map[modelKey]modelTaken{}, docs: map[modelDocName]*modelDoc{},
	})
}

func openModel(d *modelData) *Model {
	return &Model{modelData: d, now: time.Now, tenants: map[string]uint64{}, queues: map[modelQueue]uint64{}}
}

// reopen is a new process over the same data. Leases that nobody settled are lost.
func (m *Model) reopen() *Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(m.now())
	for _, d := range slices.Collect(maps.Values(m.leased)) {
		m.abandon(d, m.now())
	}
	m.closed = true
	n := openModel(m.modelData)
	n.now = m.now
	return n
}

// modelData is everything that is kept.
type modelData struct {
	seq        uint64
	gen        uint64
	commits    int
	events     []*modelEvent // by Seq
	byID       map[store.ID]*modelEvent
	deliveries map[store.DeliveryID]*modelDelivery
	leased     map[store.DeliveryID]*modelDelivery
	lanes      map[modelLane][]*modelDelivery // the undecided deliveries of each lane, by Seq, then N
	keys       map[modelKey]modelTaken
	docs       map[modelDocName]*modelDoc // deleted ones too: versions go on counting
	gates      []*modelGate
}

type (
	modelEvent struct {
		store.Event
		deliveries []*modelDelivery // by N
		batch      int              // in which commit it came
	}

	modelDelivery struct {
		store.Delivery
		event    *modelEvent
		block    bool // dead, and its lane stays shut
		worker   string
		attempts []store.Attempt

		// What the random test has to know to be fair.
		lost      int  // leases lost in a row
		restarted bool // some of them in a restart, which a store may have missed
		unsure    bool // the store is asked how many it counts, and whether it noticed that it is poison
		silent    bool // the last settle had no attempt
	}

	modelLane struct {
		tenant string
		dest   store.Destination
		lane   string
	}

	modelQueue struct {
		tenant string
		dest   store.Destination
	}

	modelKey   struct{ tenant, source, key string }
	modelTaken struct {
		id          store.ID
		fingerprint uint64
		until       time.Time
	}

	modelDocName struct{ kind, group, id string }
	modelDoc     struct {
		store.Doc
		gone bool
	}

	modelGate struct {
		store.Gate
		version uint64
		updated time.Time
	}
)

// holds reports whether the gate holds at a time.
func (g *modelGate) holds(now time.Time) bool {
	return g.Hold < 0 || g.Hold > 0 && now.Before(g.Until)
}

// undecided reports whether the delivery keeps its lane shut.
func (d *modelDelivery) undecided() bool { return d.State.Open() || d.State == store.Dead && d.block }

func (d *modelDelivery) laneKey() modelLane { return modelLane{d.Tenant, d.Destination, d.Lane} }

// setState is the one place where a state changes, so that lanes and leases follow.
func (m *Model) setState(d *modelDelivery, s store.State, block bool) {
	was := d.undecided()
	d.State, d.block = s, block
	if s == store.Leased {
		m.leased[d.ID] = d
	} else {
		delete(m.leased, d.ID)
	}
	if is := d.undecided(); d.Lane != "" && is != was {
		if is {
			m.enterLane(d)
		} else {
			k := d.laneKey()
			m.lanes[k] = slices.DeleteFunc(m.lanes[k], func(x *modelDelivery) bool { return x == d })
		}
	}
}

func (m *Model) enterLane(d *modelDelivery) {
	k := d.laneKey()
	m.lanes[k] = append(m.lanes[k], d)
	slices.SortFunc(m.lanes[k], compareDeliveries)
}

// expire ends the leases whose time is over.
func (m *Model) expire(now time.Time) {
	for _, d := range slices.Collect(maps.Values(m.leased)) {
		if !now.Before(d.Due) {
			m.abandon(d, d.Due)
		}
	}
}

// abandon ends a lease about which nobody said a word.
func (m *Model) abandon(d *modelDelivery, at time.Time) {
	d.Due = at
	d.Abandoned++
	d.lost++
	if d.Abandoned < 5 {
		m.setState(d, store.Pending, false)
		return
	}
	m.setState(d, store.Dead, false)
	d.Settled, d.Reason, d.unsure = at, "poison", true
}

// enter begins a call: it answers why the call cannot be served, and else leaves the model locked.
func (m *Model) enter(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		m.mu.Unlock()
		return err
	}
	m.expire(m.now())
	return nil
}

// Close forgets nothing; a second Close does nothing.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Commit does the batch item by item.
func (m *Model) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	if err := m.enter(ctx); errors.Is(err, store.ErrClosed) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
	}
	defer m.mu.Unlock()
	if m.failed != nil {
		return nil, m.failed
	}
	if m.fail != nil {
		if err, applied := m.fail(); err != nil {
			if errors.Is(err, store.ErrFull) {
				return nil, err
			}
			m.failed = fmt.Errorf("%w: %w", store.ErrFailed, err)
			if applied { // it is on disk, and nobody knows
				m.commit(b)
			}
			return nil, m.failed
		}
	}
	return m.commit(b), nil
}

func (m *Model) commit(b *store.Batch) *store.Receipt {
	r := &store.Receipt{}
	now := m.now()
	m.commits++
	for i := range b.Docs {
		r.Docs = append(r.Docs, m.putDoc(&b.Docs[i], now))
	}
	for i := range b.Gates {
		m.putGate(&b.Gates[i], now)
		r.Gates = append(r.Gates, nil)
	}
	for i := range b.Settles {
		r.Settles = append(r.Settles, m.settle(&b.Settles[i], now))
	}
	var added [][]*modelDelivery
	for i := range b.Appends {
		res, ds := m.add(&b.Appends[i], now)
		r.Appends = append(r.Appends, res)
		added = append(added, ds)
	}
	if b.Lease != nil {
		for i, ds := range added {
			for j, d := range ds {
				if m.count(b.Lease.Worker, nil) >= b.Lease.Max+m.heldBefore(b.Lease.Worker, added) {
					break
				}
				if m.due(d, b.Lease.Accept, now) && m.room(d, b.Lease) {
					m.lease(d, b.Lease, now)
					r.Appends[i].Leased = append(r.Appends[i].Leased, store.Grant{Index: j, Gen: d.Gen})
				}
			}
		}
	}
	return r
}

// heldBefore counts the leases that the worker held before this batch: Max does not count them.
func (m *Model) heldBefore(worker string, added [][]*modelDelivery) int {
	n := m.count(worker, nil)
	for _, ds := range added {
		for _, d := range ds {
			if d.State == store.Leased && d.worker == worker {
				n--
			}
		}
	}
	return n
}

func (m *Model) putDoc(p *store.DocPut, now time.Time) store.DocResult {
	if p.Doc.Kind == store.KindGate {
		return store.DocResult{Err: fmt.Errorf("%w: gates are put as gates", store.ErrConflict)}
	}
	name := modelDocName{p.Doc.Kind, p.Doc.Group, p.Doc.ID}
	d := m.docs[name]
	there := d != nil && d.there(now)
	switch {
	case there && p.Expect != d.Version:
		return store.DocResult{Version: d.Version, Err: store.ErrConflict}
	case !there && p.Expect != 0:
		return store.DocResult{Err: store.ErrConflict}
	case !there && p.Delete:
		return store.DocResult{}
	}
	if d == nil {
		d = &modelDoc{}
		m.docs[name] = d
	}
	version := d.Version
	if !p.Delete {
		version++
	}
	d.Doc = store.Doc{Kind: p.Doc.Kind, Group: p.Doc.Group, ID: p.Doc.ID, Version: version, Updated: now}
	d.gone = p.Delete
	if !p.Delete {
		d.Data = append([]byte{}, p.Doc.Data...)
		if p.TTL > 0 {
			d.Expires = now.Add(p.TTL)
		}
	}
	return store.DocResult{Version: version}
}

func (d *modelDoc) there(now time.Time) bool {
	return !d.gone && (d.Expires.IsZero() || now.Before(d.Expires))
}

func (m *Model) putGate(p *store.Gate, now time.Time) {
	g := &modelGate{Gate: *p, version: 1, updated: now}
	g.Since, g.Until = now, time.Time{}
	if p.Hold > 0 {
		g.Until = now.Add(p.Hold)
	}
	for i, old := range m.gates {
		if old.Destination == p.Destination && old.Cause == p.Cause {
			g.version = old.version + 1
			m.gates[i] = g
			return
		}
	}
	m.gates = append(m.gates, g)
}

func (g *modelGate) doc() store.Doc {
	data, _ := json.Marshal(g.Gate) // a struct of plain fields: it cannot fail
	return store.Doc{
		Kind: store.KindGate, ID: string(g.Destination) + " " + g.Cause, Version: g.version, Data: data, Updated: g.updated,
	}
}

func (m *Model) settle(s *store.Settle, now time.Time) error {
	d := m.deliveries[s.ID]
	if d == nil || s.Tenant != "" && s.Tenant != d.Tenant {
		return store.ErrNotFound
	}
	switch s.Op {
	case store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend:
		if d.State != store.Leased || d.Gen != s.Gen {
			m.record(d, s, now, true)
			return store.ErrLeaseLost
		}
	case store.OpCancel, store.OpHurry:
		if d.State != store.Pending && d.State != store.Dead {
			return store.ErrConflict
		}
	case store.OpExpire:
		if d.State != store.Pending {
			return store.ErrConflict
		}
	default:
		return fmt.Errorf("%w: there is no such operation", store.ErrConflict)
	}
	m.record(d, s, now, false)
	if s.Op == store.OpExtend { // it may still be lost
		d.Due = now.Add(s.After)
		return nil
	}
	d.Abandoned, d.lost, d.restarted, d.unsure = 0, 0, false, false
	d.Code, d.Error, d.Reason, d.Settled = 0, "", s.Reason, time.Time{}
	if s.Attempt != nil {
		d.Code, d.Error = s.Attempt.Code, s.Attempt.Error
	}
	d.silent = s.Attempt == nil
	counts := s.Op == store.OpRetry || s.Op == store.OpDead || s.Op == store.OpDone && s.Attempt != nil
	if counts {
		d.Attempts++
		if d.FirstAttempt.IsZero() {
			d.FirstAttempt = now
			if s.Attempt != nil {
				d.FirstAttempt = now.Add(-s.Attempt.Ago)
			}
		}
		if d.Class == store.Live && s.Op != store.OpDone {
			d.Class = store.Retry
		}
	}
	switch s.Op {
	case store.OpDone:
		d.Settled = now
		m.setState(d, store.Done, false)
	case store.OpRetry, store.OpRelease:
		d.Due = now.Add(s.After)
		m.setState(d, store.Pending, false)
	case store.OpDead, store.OpExpire:
		d.Settled = now
		m.setState(d, store.Dead, s.Block)
	case store.OpCancel:
		d.Settled = now
		m.setState(d, store.Cancelled, false)
	case store.OpHurry:
		d.Due = now
		m.setState(d, store.Pending, false)
	}
	return nil
}

// record keeps the attempt of a settle. A lease makes one attempt: of a lease that is lost, a second report is the first
// one again.
func (m *Model) record(d *modelDelivery, s *store.Settle, now time.Time, late bool) {
	if s.Attempt == nil || late && s.Gen == 0 {
		return
	}
	a := *s.Attempt
	for _, old := range d.attempts {
		if late && old.Gen == s.Gen {
			return
		}
	}
	d.Recorded++
	a.Delivery, a.No, a.Gen, a.Late = d.ID, d.Recorded, s.Gen, late
	a.Counted = !late && (s.Op == store.OpDone || s.Op == store.OpRetry || s.Op == store.OpDead)
	a.At = now.Add(-a.Ago - a.Took)
	a.Response = slices.Clone(a.Response)
	d.attempts = append(d.attempts, a)
}

// add is one Append. The deliveries that it answers are in the order of Append.Deliveries where they are new.
func (m *Model) add(a *store.Append, now time.Time) (store.AppendResult, []*modelDelivery) {
	if a.Event == nil {
		return m.addLater(a, now)
	}
	if a.Event.ID.IsZero() {
		return store.AppendResult{Err: fmt.Errorf("%w: an event needs an id", store.ErrConflict)}, nil
	}
	if old := m.byID[a.Event.ID]; old != nil {
		return store.AppendResult{
			ID: old.ID, Repeated: true, Seq: old.Seq, Accepted: old.Accepted, Deliveries: old.Deliveries,
		}, nil
	}
	key := modelKey{a.Event.Tenant, a.Event.Source, a.Event.IdempotencyKey}
	if key.key != "" {
		if k, taken := m.keys[key]; taken && now.Before(k.until) {
			if k.fingerprint == a.Fingerprint {
				return store.AppendResult{Err: store.ErrDuplicate, ID: k.id}, nil
			}
			return store.AppendResult{Err: store.ErrConflict, ID: k.id}, nil
		}
		window := a.Window
		if window == 0 {
			window = 24 * time.Hour
		}
		m.keys[key] = modelTaken{a.Event.ID, a.Fingerprint, now.Add(window)}
	}
	m.seq++
	ev := &modelEvent{Event: cloneEvent(a.Event, true)}
	ev.Seq, ev.Accepted, ev.Deliveries = m.seq, now, len(a.Deliveries)
	ev.Expires = time.Time{}
	if a.ExpireAfter > 0 {
		ev.Expires = now.Add(a.ExpireAfter)
	}
	ev.batch = m.commits
	m.events = append(m.events, ev)
	m.byID[ev.ID] = ev
	for i := range a.Deliveries {
		m.addDelivery(ev, &a.Deliveries[i], uint64(i), now)
	}
	return store.AppendResult{ID: ev.ID, Seq: ev.Seq, Accepted: now, Deliveries: ev.Deliveries}, slices.Clone(ev.deliveries)
}

func (m *Model) addLater(a *store.Append, now time.Time) (store.AppendResult, []*modelDelivery) {
	ev := m.byID[a.To]
	if ev == nil {
		return store.AppendResult{Err: store.ErrNotFound}, nil
	}
	r := store.AppendResult{ID: ev.ID, Seq: ev.Seq, Accepted: ev.Accepted}
	for i := range a.Deliveries {
		if a.Deliveries[i].N < store.FirstLater {
			r.Err = fmt.Errorf("%w: the number of a later delivery is too small", store.ErrConflict)
			return r, nil
		}
	}
	for i := range a.Deliveries {
		n := a.Deliveries[i].N
		if m.deliveries[store.DeliveryID{Event: ev.ID, N: n}] == nil {
			m.addDelivery(ev, &a.Deliveries[i], n, now)
			r.Deliveries++
		}
	}
	return r, nil
}

func (m *Model) addDelivery(ev *modelEvent, n *store.NewDelivery, number uint64, now time.Time) {
	d := &modelDelivery{event: ev}
	d.Delivery = store.Delivery{
		ID: store.DeliveryID{Event: ev.ID, N: number}, Seq: ev.Seq, Tenant: ev.Tenant, Source: ev.Source, Type: ev.Type,
		Destination: n.Destination, Lane: n.Lane, State: store.Pending, Class: n.Class, Due: now.Add(n.After), Created: now,
	}
	if number >= store.FirstLater {
		d.Origin = n.Origin
	}
	m.deliveries[d.ID] = d
	ev.deliveries = append(ev.deliveries, d)
	slices.SortFunc(ev.deliveries, compareDeliveries)
	if d.Lane != "" {
		m.enterLane(d)
	}
}

func compareDeliveries(a, b *modelDelivery) int {
	if a.Seq != b.Seq {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	}
	return a.ID.Compare(b.ID)
}

func cloneEvent(e *store.Event, payload bool) store.Event {
	c := *e
	c.Header = maps.Clone(e.Header)
	for k, v := range c.Header {
		c.Header[k] = slices.Clone(v)
	}
	c.Labels = maps.Clone(e.Labels)
	c.Payload = nil
	if payload {
		c.Payload = append([]byte{}, e.Payload...)
	}
	return c
}
