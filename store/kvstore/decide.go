package kvstore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// What a decision needs to know is asked of memory and the engine as they stand, and of what the same batch decided before.

func (s *Store) decideDoc(p *plan, put *store.DocPut) (store.DocResult, error) {
	if put.Doc.Kind == store.KindGate {
		return store.DocResult{Err: fmt.Errorf("%w: gates are put as gates", store.ErrConflict)}, nil
	}
	key := docKey(put.Doc.Kind, put.Doc.Group, put.Doc.ID)
	if len(key) > maxName {
		return store.DocResult{Err: &store.LimitError{What: "name of a document", Size: int64(len(key)), Limit: maxName}}, nil
	}
	if size := int64(len(put.Doc.Data)); size > maxRecord || p.bytes+size > maxAppends {
		return store.DocResult{Err: &store.LimitError{What: "document", Size: size, Limit: maxRecord}}, nil
	}
	p.bytes += int64(len(put.Doc.Data))
	cur, ok := p.docs[string(key)]
	if !ok {
		b, err := s.get(key)
		if err != nil {
			return store.DocResult{}, err
		}
		if b != nil {
			if cur, err = decodeDoc(b); err != nil {
				return store.DocResult{}, err
			}
		}
	}
	var version, last uint64
	if cur != nil {
		last = cur.version
		if cur.there(p.now) {
			version = cur.version
		}
	}
	if put.Expect != version {
		return store.DocResult{Version: version, Err: store.ErrConflict}, nil
	}
	if put.Delete && version == 0 {
		return store.DocResult{}, nil // gone already
	}
	next := &docRow{version: last + 1, updated: p.now, deleted: put.Delete}
	if !put.Delete {
		next.data = put.Doc.Data
		if put.TTL > 0 {
			next.expires = later(p.now, put.TTL)
		}
	}
	if p.docs == nil {
		p.docs = map[string]*docRow{}
	}
	p.docs[string(key)] = next
	p.ops.u8(opDoc)
	p.ops.bytes(key)
	p.ops.bytes(next.encode())
	return store.DocResult{Version: next.version}, nil
}

func (s *Store) decideGate(p *plan, g *store.Gate) error {
	if g.Destination == "" || g.Cause == "" {
		return fmt.Errorf("%w: a gate has a destination and a cause", store.ErrConflict)
	}
	if key := gateKey(g.Destination, g.Cause); len(key) > maxName {
		return &store.LimitError{What: "name of a gate", Size: int64(len(key)), Limit: maxName}
	}
	next := *g
	next.Since, next.Until = p.now, time.Time{}
	if next.Hold > 0 {
		next.Until = later(p.now, next.Hold)
	}
	p.ops.u8(opGate)
	p.ops.str(string(next.Destination))
	p.ops.str(next.Cause)
	encodeGate(&p.ops, &next)
	if p.gated == nil {
		p.gated = map[store.Destination]bool{}
	}
	p.gated[g.Destination] = true
	return nil
}

func (s *Store) decideSettle(p *plan, st *store.Settle) error {
	switch st.Op {
	case store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend:
		return s.decideOutcome(p, st)
	case store.OpCancel, store.OpHurry, store.OpExpire:
		return s.decideVerb(p, st)
	}
	return fmt.Errorf("%w: there is no operation %d", store.ErrConflict, st.Op)
}

// decideOutcome settles a lease.
func (s *Store) decideOutcome(p *plan, st *store.Settle) error {
	l := s.leases[st.Gen]
	if l == nil || l.id != st.ID || l.settling {
		return s.decideLate(p, st)
	}
	if st.Tenant != "" && l.queue.tenant.name != st.Tenant {
		return store.ErrNotFound
	}
	if st.Op == store.OpExtend {
		p.extends = append(p.extends, extension{l, later(p.now, st.After)})
		return s.decideEvidence(p, l.at, st, false)
	}
	var r *row
	if l.frame != nil {
		if c, ok := l.frame.cell(l.at); ok && l.frame.open.has(c) {
			p.row = s.freshRow(l.frame, c)
			r = &p.row
		}
	}
	if r == nil {
		var err error
		if r, err = s.row(l.at); err != nil {
			return err
		}
		if r == nil {
			return store.ErrNotFound
		}
	}
	r.recorded = max(r.recorded, p.numbers[l.at])
	l.settling = true
	p.settling = append(p.settling, l)
	if st.Op == store.OpRelease && st.Attempt == nil && st.After <= 0 {
		if l.noted || l.lost > 0 {
			p.ops.u8(opFree)
			p.ops.ref(l.at)
		}
		p.releases = append(p.releases, l)
		if p.verbs {
			r.leased, r.abandoned = false, 0
			s.overlayRow(p, l.at, *r)
		}
		return nil
	}
	var t tried
	if st.Attempt != nil {
		t = newTried(l.at, r.recorded+1, st, p.now)
		t.counted = st.Op != store.OpRelease
		if p.twice {
			p.noteReport(l.at, st, r.recorded+1)
		}
	}
	if st.Op == store.OpDone && st.Attempt != nil && st.Reason == delivered && l.at.n < store.FirstLater && r.class != store.Replay && !r.silent {
		t.final, t.said = true, true
		p.ops.u8(opDone)
		t.encode(&p.ops, 0, p.now)
		if p.verbs {
			s.overlayRow(p, l.at, row{state: store.Done})
		}
		return nil
	}
	r.leased, r.abandoned, r.gen = false, 0, st.Gen
	r.code, r.err, r.reason = 0, "", st.Reason
	if a := st.Attempt; a != nil {
		r.recorded++
		r.code, r.err = a.Code, a.Error
	}
	if st.Op == store.OpRetry || st.Op == store.OpDead || st.Op == store.OpDone && st.Attempt != nil {
		r.attempts++
		r.silent = r.silent || st.Attempt == nil
		if r.first.IsZero() {
			r.first = p.now
			if st.Attempt != nil {
				r.first = t.began.Add(t.took)
			}
		}
	}
	switch st.Op {
	case store.OpDone:
		r.state, r.settled = store.Done, p.now
	case store.OpDead:
		r.state, r.settled, r.block = store.Dead, p.now, st.Block
	default:
		r.due = later(p.now, st.After)
	}
	if r.class == store.Live && (st.Op == store.OpRetry || st.Op == store.OpDead) {
		r.class = store.Retry
	}
	s.planRow(p, l.at, r, st.Attempt != nil, &t)
	if p.verbs {
		s.overlayRow(p, l.at, *r)
	}
	return nil
}

func (s *Store) planRow(p *plan, at ref, r *row, with bool, t *tried) {
	p.ops.u8(opRow)
	p.ops.ref(at)
	p.one.b = p.one.b[:0]
	r.encodeTo(&p.one)
	p.ops.bytes(p.one.b)
	if with {
		p.ops.u8(1)
		t.encode(&p.ops, 0, p.now)
	} else {
		p.ops.u8(0)
	}
}

func newTried(at ref, no int, st *store.Settle, now time.Time) tried {
	a := st.Attempt
	return tried{
		at: at, no: no, gen: st.Gen, began: now.Add(-max(a.Ago, 0) - max(a.Took, 0)), took: max(a.Took, 0), ago: max(a.Ago, 0),
		code: a.Code, class: a.Class, err: a.Error, response: a.Response,
	}
}

// decideLate keeps the attempt of a holder who lost its lease, once.
func (s *Store) decideLate(p *plan, st *store.Settle) error {
	at, q, err := s.find(st.ID)
	if err != nil {
		return err
	}
	if st.Tenant != "" && q.tenant.name != st.Tenant {
		return store.ErrNotFound
	}
	if err := s.decideEvidence(p, at, st, true); err != nil {
		return err
	}
	return store.ErrLeaseLost
}

// decideEvidence plans an attempt that settles nothing. A lease makes one attempt: of one that was lost, a second report is
// the first one again.
func (s *Store) decideEvidence(p *plan, at ref, st *store.Settle, late bool) error {
	if st.Attempt == nil || st.Gen == 0 {
		return nil
	}
	no := p.numbers[at]
	known := late && p.reports[report{at, st.Gen}]
	err := s.eachAttempt(at, func(t *tried) {
		no = max(no, t.no)
		known = known || late && t.gen == st.Gen
	})
	if err != nil || known {
		return err
	}
	r, err := s.oldRow(at)
	if err != nil {
		return err
	}
	if r != nil {
		no = max(no, r.recorded)
	}
	t := newTried(at, no+1, st, p.now)
	t.late = late
	p.ops.u8(opAttempt)
	t.encode(&p.ops, 0, p.now)
	p.noteReport(at, st, no+1)
	return nil
}

// noteReport remembers what this batch records of a delivery, where others of the batch may have to know.
func (p *plan) noteReport(at ref, st *store.Settle, no int) {
	if p.numbers == nil {
		p.numbers, p.reports = map[ref]int{}, map[report]bool{}
	}
	p.numbers[at] = no
	p.reports[report{at, st.Gen}] = true
}

// overlayRow remembers what this batch decided about a delivery.
func (s *Store) overlayRow(p *plan, at ref, r row) {
	if p.rows == nil {
		p.rows = map[ref]*row{}
	}
	p.rows[at] = &r
	if r.lane != 0 && r.undecided() {
		p.enterLane(laneKey{r.queue, r.lane})
	}
}

// enterLane notes that this batch adds to a lane, and reports whether it is the first to.
func (p *plan) enterLane(k laneKey) bool {
	if p.lanes[k] {
		return false
	}
	if p.lanes == nil {
		p.lanes = map[laneKey]bool{}
	}
	p.lanes[k] = true
	return true
}

// decideVerb does what an operator asks of a delivery that is not leased.
func (s *Store) decideVerb(p *plan, st *store.Settle) error {
	at, q, err := s.find(st.ID)
	if err != nil {
		return err
	}
	if st.Tenant != "" && q.tenant.name != st.Tenant {
		return store.ErrNotFound
	}
	r := p.rows[at]
	if l := s.byRef[at]; l != nil && r == nil {
		return fmt.Errorf("%w: an attempt of this delivery is on its way", store.ErrConflict)
	}
	if r == nil {
		if r, err = s.current(at); err != nil {
			return err
		}
	}
	if r == nil {
		return fmt.Errorf("%w: this delivery is done", store.ErrConflict)
	}
	ok := r.state == store.Pending || r.state == store.Dead && st.Op != store.OpExpire
	if !ok {
		return fmt.Errorf("%w: %s does not apply to a delivery that is %s", store.ErrConflict, st.Op, r.state)
	}
	next := *r
	next.recorded = max(next.recorded, p.numbers[at])
	next.leased, next.abandoned = false, 0
	next.code, next.err, next.reason, next.settled, next.block = 0, "", st.Reason, p.now, false
	switch st.Op {
	case store.OpCancel:
		next.state = store.Cancelled
	case store.OpExpire:
		next.state, next.block = store.Dead, st.Block
	case store.OpHurry:
		next.state, next.due, next.settled = store.Pending, p.now, time.Time{}
	}
	s.planRow(p, at, &next, false, nil)
	s.overlayRow(p, at, next)
	s.busy[at] = true
	p.busy = append(p.busy, at)
	return nil
}

// current is the row of a delivery as it stands, made up for one that has none; nil for one that is done without a row.
func (s *Store) current(at ref) (*row, error) {
	f, err := s.frameOf(at.seq)
	if err != nil {
		return nil, err
	}
	if f != nil {
		if c, ok := f.cell(at); ok && f.open.has(c) {
			r := s.freshRow(f, c)
			return &r, nil
		}
	}
	return s.row(at)
}

// decidePoison makes dead letters of what killed its process too often, and of what cannot be read.
func (s *Store) decidePoison(p *plan) error {
	p.poisoned, p.spoiled = len(s.poison), len(s.damaged)
	for _, list := range [][]ref{s.poison, s.damaged} {
		for _, at := range list {
			r, err := s.current(at)
			if err != nil {
				return err
			}
			if r == nil || !r.waits() || s.byRef[at] != nil || s.busy[at] {
				continue
			}
			r.state, r.settled, r.reason = store.Dead, p.now, reasonPoison
			r.err = "the process ended during each of the last attempts"
			if slices.Contains(s.damaged, at) {
				r.reason, r.err = reasonDamaged, "what is stored of the event is damaged"
			}
			r.recorded = max(r.recorded, p.numbers[at])
			r.abandoned = max(r.abandoned, s.lost[at])
			r.leased = false
			s.planRow(p, at, r, false, nil)
		}
	}
	return nil
}

// Reasons that the store itself gives.
const (
	reasonPoison  = "poison"
	reasonDamaged = "damaged"
)

// noteLeases writes down which leases were given, if a frame is written anyway, so that whatever keeps killing the process
// is found out.
func (s *Store) noteLeases(p *plan) {
	if p.empty() && len(s.notes) < 4096 {
		return
	}
	s.writeNotes(p)
}

func (s *Store) writeNotes(p *plan) {
	n := 0
	for _, l := range s.notes {
		if l.over || s.byRef[l.at] == l && !l.settling {
			s.notes[n] = l
			n++
		}
	}
	if n == 0 {
		s.notes = s.notes[:0]
		return
	}
	p.notes.u8(opLeases)
	p.notes.uint(uint64(n))
	for _, l := range s.notes[:n] {
		p.notes.ref(l.at)
		l.noted = true
	}
	clear(s.notes)
	s.notes = s.notes[:0]
}

// find tells where a delivery stands in commit order, and its queue. ErrNotFound if there is none.
func (s *Store) find(id store.DeliveryID) (ref, *queue, error) {
	seq, err := s.seqOf(id.Event)
	if err != nil {
		return ref{}, nil, err
	}
	if seq == 0 {
		return ref{}, nil, store.ErrNotFound
	}
	at := ref{seq, id.N}
	f, err := s.frameOf(seq)
	if err != nil {
		return ref{}, nil, err
	}
	if f == nil || f.forgot(seq) {
		return ref{}, nil, store.ErrNotFound
	}
	if c, ok := f.cell(at); ok {
		return at, s.queues[f.cells[c].queue], nil
	}
	r, err := s.row(at)
	if err != nil {
		return ref{}, nil, err
	}
	if r == nil {
		return ref{}, nil, store.ErrNotFound
	}
	return at, s.queues[r.queue], nil
}

func (s *Store) decideAppend(p *plan, a *store.Append, item int, want *store.ClaimRequest) (store.AppendResult, error) {
	if a.Event == nil {
		return s.decideLater(p, a)
	}
	ev := a.Event
	res := store.AppendResult{ID: ev.ID}
	switch {
	case ev.ID.IsZero():
		res.Err = fmt.Errorf("%w: an event needs an ID", store.ErrConflict)
		return res, nil
	case len(a.Deliveries) > maxFanOut:
		res.Err = &store.LimitError{What: "deliveries of one event", Size: int64(len(a.Deliveries)), Limit: maxFanOut}
		return res, nil
	}
	size := eventSize(ev)
	if size > maxRecord {
		res.Err = &store.LimitError{What: "event", Size: size, Limit: maxRecord}
		return res, nil
	}
	if all := p.bytes + size; all > maxAppends {
		res.Err = &store.LimitError{What: "commit", Size: all, Limit: maxAppends}
		return res, nil
	}
	if done, err := s.repeated(p, ev, &res); done || err != nil {
		return res, err
	}
	st := stamp{accepted: p.now, fingerprint: a.Fingerprint, window: a.Window}
	if st.window <= 0 {
		st.window = 24 * time.Hour
	}
	st.window = min(st.window, longest)
	if a.ExpireAfter > 0 {
		st.expires = later(p.now, a.ExpireAfter)
	}
	if ev.IdempotencyKey != "" {
		if done, err := s.keyTaken(p, a, p.hashes[item], &res); done || err != nil {
			return res, err
		}
	}
	st.seq = s.meta.lastSeq + 1 + uint64(len(p.events))
	from := len(p.targets)
	leased := p.roomForGrants(want, len(a.Deliveries))
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		q, no := s.planQueue(p, queueName{ev.Tenant, d.Destination})
		t := target{queue: no, lane: d.Lane, hash: laneHash(no, d.Lane), after: max(d.After, 0), class: d.Class}
		if t.class != store.Replay {
			t.class = store.Live
		}
		first := t.hash == 0 || p.enterLane(laneKey{no, t.hash}) && s.lanes[laneKey{no, t.hash}] == nil
		if want != nil && first && t.waits() {
			if gen, ok := s.grantBorn(p, want, q, d.Destination); ok {
				t.leased = true
				at := ref{st.seq, uint64(i)}
				p.grants = append(p.grants, plannedGrant{at, store.DeliveryID{Event: ev.ID, N: uint64(i)}, gen, no, queueName{ev.Tenant, d.Destination}, t.hash})
				leased = append(leased, store.Grant{Index: i, Gen: gen})
			}
		}
		p.targets = append(p.targets, t)
	}
	if n := len(leased); n > 0 {
		res.Leased, p.leased = leased[:n:n], leased[n:]
	}
	p.bytes += size
	p.events = append(p.events, plannedEvent{ev, st, from, len(p.targets), item, p.sameKey})
	if ev.ID.Compare(p.lastID) > 0 {
		p.lastID = ev.ID
	}
	res.Seq, res.Accepted, res.Deliveries = st.seq, p.now, len(a.Deliveries)
	return res, nil
}

func eventSize(ev *store.Event) int64 {
	n := len(ev.Payload) + len(ev.Tenant) + len(ev.Source) + len(ev.Type) + len(ev.IdempotencyKey) + len(ev.OrderingKey) + len(ev.ContentType)
	for k, v := range ev.Header {
		n += len(k)
		for _, x := range v {
			n += len(x) + 4
		}
	}
	for k, v := range ev.Labels {
		n += len(k) + len(v)
	}
	return int64(n)
}

// repeated answers an event whose ID is known already.
func (s *Store) repeated(p *plan, ev *store.Event, res *store.AppendResult) (bool, error) {
	if ev.ID.Compare(p.lastID) > 0 && ev.ID.Compare(s.meta.maxAside) > 0 {
		return false, nil // larger than every ID there is
	}
	if p.ids == nil {
		p.ids = map[store.ID]int{}
		for i := range p.events {
			p.ids[p.events[i].event.ID] = i
		}
	}
	for i := len(p.ids); i < len(p.events); i++ {
		p.ids[p.events[i].event.ID] = i
	}
	if i, ok := p.ids[ev.ID]; ok {
		first := &p.events[i]
		res.Repeated, res.Seq, res.Accepted, res.Deliveries = true, first.seq, first.accepted, first.to-first.from
		if first.event.Tenant != ev.Tenant {
			*res = store.AppendResult{ID: ev.ID, Err: fmt.Errorf("%w: the ID is taken", store.ErrConflict)}
		}
		return true, nil
	}
	seq, err := s.seqOf(ev.ID)
	if err != nil || seq == 0 {
		return false, err
	}
	r, err := s.record(seq, false)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return false, err
	}
	if r.event.Tenant != ev.Tenant {
		res.Err = fmt.Errorf("%w: the ID is taken", store.ErrConflict)
		return true, nil
	}
	res.Repeated, res.Seq, res.Accepted, res.Deliveries = true, seq, r.accepted, len(r.targets)
	return true, nil
}

// hashKeys makes the hashes of the idempotency keys of a batch, and has their places fetched.
func (s *Store) hashKeys(p *plan, appends []store.Append) {
	some := false
	for i := range appends {
		hash := uint64(0)
		if ev := appends[i].Event; ev != nil && ev.IdempotencyKey != "" {
			hash, some = keyHash(s.meta.salt, ev.Tenant, ev.Source, ev.IdempotencyKey), true
		}
		p.hashes = append(p.hashes, hash)
	}
	if some {
		s.keys.fetch(p.hashes)
	}
}

// keyTaken answers an event whose idempotency key, of which it gets the hash, is taken.
func (s *Store) keyTaken(p *plan, a *store.Append, hash uint64, res *store.AppendResult) (bool, error) {
	ev := a.Event
	same := func(o *store.Event) bool {
		return o.IdempotencyKey == ev.IdempotencyKey && o.Tenant == ev.Tenant && o.Source == ev.Source
	}
	answer := func(id store.ID, seq uint64, st *stamp, deliveries int) {
		res.ID, res.Seq, res.Accepted, res.Deliveries = id, seq, st.accepted, deliveries
		res.Err = store.ErrDuplicate
		if st.fingerprint != a.Fingerprint {
			res.Err = fmt.Errorf("%w: the idempotency key was used with other content", store.ErrConflict)
		}
	}
	before, planned := p.keys[hash]
	if !planned {
		before = -1
	}
	for i := before; i >= 0; i = p.events[i].sameKey {
		if o := &p.events[i]; same(o.event) {
			answer(o.event.ID, o.seq, &o.stamp, o.to-o.from)
			return true, nil
		}
	}
	taken := false
	err := s.keys.find(s, hash, func(seq uint64) (bool, error) {
		g, err := s.keyHolder(seq)
		if err != nil || g == nil {
			return false, err
		}
		if same(&g.event) && g.stamp.keyExpires().After(p.now) {
			answer(g.event.ID, seq, &g.stamp, g.deliveries)
			taken = true
		}
		return taken, nil
	})
	if err != nil || taken {
		return taken, err
	}
	if p.keys == nil {
		p.keys = map[uint64]int{}
	}
	p.keys[hash] = len(p.events)
	p.sameKey = before
	return false, nil
}

// keyHolder reads what is known of the event that took an idempotency key; nil if nothing is.
func (s *Store) keyHolder(seq uint64) (*ghost, error) {
	r, err := s.record(seq, false)
	if err == nil {
		return &ghost{r.event, r.stamp, len(r.targets)}, nil
	}
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) {
		return nil, err
	}
	b, err := s.get(key64(kindGhost, seq))
	if err != nil || b == nil {
		return nil, err
	}
	return decodeGhost(seq, b)
}

// planQueue tells the number of a queue, a new one if need be; of a new one there is no memory yet.
func (s *Store) planQueue(p *plan, name queueName) (*queue, uint32) {
	if q := s.byName[name]; q != nil {
		return q, q.no
	}
	if no, ok := p.queues[name]; ok {
		return nil, no
	}
	if p.queues == nil {
		p.queues = map[queueName]uint32{}
	}
	no := s.meta.queues + uint32(len(p.queues)) + 1
	p.queues[name] = no
	p.ops.u8(opQueue)
	p.ops.uint(uint64(no))
	p.ops.str(name.tenant)
	p.ops.str(string(name.dest))
	return nil, no
}

// decideLater adds deliveries to an event that is there.
func (s *Store) decideLater(p *plan, a *store.Append) (store.AppendResult, error) {
	res := store.AppendResult{ID: a.To}
	seq, tenant, accepted, err := s.eventToAdd(p, a.To)
	if err != nil {
		return res, err
	}
	if seq == 0 {
		res.Err = store.ErrNotFound
		return res, nil
	}
	res.Seq, res.Accepted = seq, accepted
	for i := range a.Deliveries {
		if a.Deliveries[i].N < store.FirstLater {
			res.Err = fmt.Errorf("%w: a delivery that is added later has a number of %d or more", store.ErrConflict, uint64(store.FirstLater))
			return res, nil
		}
	}
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		at := ref{seq, d.N}
		have, err := s.row(at)
		if err != nil {
			return res, err
		}
		if have != nil || p.rows[at] != nil {
			continue
		}
		_, no := s.planQueue(p, queueName{tenant, d.Destination})
		next := row{
			queue: no, state: store.Pending, class: d.Class, lane: laneHash(no, d.Lane), laneName: d.Lane,
			due: later(p.now, d.After), created: p.now, origin: d.Origin,
		}
		s.planRow(p, at, &next, false, nil)
		s.overlayRow(p, at, next)
		res.Deliveries++
	}
	return res, nil
}

// eventToAdd finds the event that deliveries are added to, which may be one of the batch itself; seq 0 if there is none.
func (s *Store) eventToAdd(p *plan, id store.ID) (seq uint64, tenant string, accepted time.Time, err error) {
	for i := range p.events {
		if ev := &p.events[i]; ev.event.ID == id {
			return ev.seq, ev.event.Tenant, ev.accepted, nil
		}
	}
	if seq, err = s.seqOf(id); err != nil || seq == 0 {
		return 0, "", time.Time{}, err
	}
	r, err := s.record(seq, false)
	if errors.Is(err, store.ErrNotFound) {
		return 0, "", time.Time{}, nil
	}
	if err != nil {
		return 0, "", time.Time{}, err
	}
	return seq, r.event.Tenant, r.accepted, nil
}

// grantBorn leases a delivery of the batch itself where Claim would: nothing of its queue waits before it, and no gate, limit or
// lane is in its way. q is nil for a queue that the batch makes.
func (s *Store) grantBorn(p *plan, want *store.ClaimRequest, q *queue, name store.Destination) (uint64, bool) {
	if p.granted >= want.Max || want.Lease <= 0 || p.gated[name] || !accepts(want.Accept, name) {
		return 0, false
	}
	w := p.granter
	if w == nil {
		w = s.workerOf(want.Worker)
		p.granter, p.worker, p.leaseFor = w, want.Worker, want.Lease
	}
	if limit := want.PerClass[store.Live]; limit > 0 && w.perClass[store.Live]+p.granted >= limit {
		return 0, false
	}
	var d *dest
	if q != nil {
		if q.unloaded > 0 || q.window.len() > 0 || q.again[store.Live].len() > 0 {
			return 0, false
		}
		d = q.dest
	} else if d = s.dests[name]; d == nil {
		planned := p.newDests[name]
		if want.PerDestination > 0 && planned >= want.PerDestination {
			return 0, false
		}
		if p.newDests == nil {
			p.newDests = map[store.Destination]int{}
		}
		p.newDests[name]++
	}
	if d != nil {
		if d.batch != p.no {
			d.batch, d.grants = p.no, 0
		}
		if d.held(p.now) {
			return 0, false
		}
		if limit := d.limit(); limit > 0 && d.inflight+d.grants >= limit {
			return 0, false
		}
		if want.PerDestination > 0 && d.heldBy(w)+d.grants >= want.PerDestination {
			return 0, false
		}
		d.grants++
	}
	p.granted++
	s.gen++
	return s.gen, true
}
