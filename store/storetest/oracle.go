package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// oracle does everything twice, on the store and on the model, and compares the answers. Where the contract leaves a
// choice (which of the due deliveries, which generation, which version) it checks that the choice is a legal one, and lets
// the model follow it.
type oracle struct {
	s     *suite
	m     *Model
	now   time.Time     // the model's clock: when the last call ended
	slack time.Duration // the longest that a call took: the store's clock was at most so much earlier
	fatal func(format string, args ...any)
}

func newOracle(s *suite, fatal func(string, ...any)) oracle {
	return oracle{s: s, m: NewModel(), fatal: fatal}
}

// timed runs a call of the store, and sets the model's clock to its end.
func (o *oracle) timed(f func()) {
	start := time.Now()
	f()
	o.now = time.Now()
	o.slack = max(o.slack, o.now.Sub(start))
	o.m.now = func() time.Time { return o.now }
	o.m.expire(o.now)
}

// near takes b for a where they differ by no more than the calls took.
func (o *oracle) near(a *time.Time, b time.Time) {
	if d := a.Sub(b); d <= o.slack && d >= -o.slack {
		*a = b
	}
}

var conditions = []error{store.ErrNotFound, store.ErrConflict, store.ErrDuplicate, store.ErrLeaseLost}

// kind is the condition that an error is.
func kind(err error) error {
	for _, c := range conditions {
		if errors.Is(err, c) {
			return c
		}
	}
	return err
}

func (o *oracle) commitBoth(b *store.Batch) {
	var got *store.Receipt
	states := map[store.DeliveryID]store.State{}
	o.timed(func() { got = o.s.commit(b) })
	for _, x := range b.Settles {
		if d := o.m.deliveries[x.ID]; d != nil {
			states[x.ID] = d.State
		}
	}
	plain := *b
	plain.Lease = nil
	want := o.m.commit(&plain)
	for i := range want.Docs {
		g, w := got.Docs[i], want.Docs[i]
		if kind(g.Err) != kind(w.Err) {
			o.fatal("document %d, %+v: %v, want %v", i, b.Docs[i], g.Err, w.Err)
		}
		p := &b.Docs[i]
		d := o.m.docs[modelDocName{p.Doc.Kind, p.Doc.Group, p.Doc.ID}]
		switch {
		case w.Err != nil && d != nil && d.there(o.now) && g.Version != d.Version:
			o.fatal("document %d, %+v: its current version is %d, want %d", i, p, g.Version, d.Version)
		case w.Err == nil && d != nil && !p.Delete && g.Version < d.Version:
			o.fatal("document %d, %+v: version %d, want at least %d", i, p, g.Version, d.Version)
		case w.Err == nil && d != nil && !p.Delete:
			d.Version = g.Version
		}
	}
	for i := range want.Settles {
		g, w := kind(got.Settles[i]), kind(want.Settles[i])
		st, op := states[b.Settles[i].ID], b.Settles[i].Op
		repeats := g == nil && w == store.ErrConflict &&
			(op == store.OpCancel && st == store.Cancelled || op == store.OpExpire && st == store.Dead)
		if g != w && !repeats {
			o.fatal("settle %d, %+v: %v, want %v", i, b.Settles[i], got.Settles[i], want.Settles[i])
		}
	}
	for i := range want.Appends {
		o.sameAppend(i, &b.Appends[i], &got.Appends[i], &want.Appends[i])
	}
	for i := range want.Appends {
		o.grants(b.Lease, &b.Appends[i], &got.Appends[i])
	}
	if b.Lease != nil {
		n := 0
		for i := range got.Appends {
			n += len(got.Appends[i].Leased)
		}
		if n > b.Lease.Max {
			o.fatal("%d leases were granted, the request says Max %d", n, b.Lease.Max)
		}
	}
	o.adopt()
}

func (o *oracle) sameAppend(i int, a *store.Append, g, w *store.AppendResult) {
	if kind(g.Err) != kind(w.Err) || g.Repeated != w.Repeated {
		o.fatal("append %d, %+v: %+v, want %+v", i, a, g, w)
	}
	if g.Err != nil && errors.Is(g.Err, store.ErrNotFound) {
		return
	}
	if g.ID != w.ID {
		o.fatal("append %d, %+v: the ID is %v, want %v", i, a, g.ID, w.ID)
	}
	ev := o.m.byID[w.ID]
	if g.Err != nil || a.Event == nil || ev == nil {
		return
	}
	accepted := w.Accepted
	o.near(&accepted, g.Accepted)
	if !sameTime(g.Accepted, accepted) || g.Deliveries != w.Deliveries {
		o.fatal("append %d, %+v: %+v, want %+v", i, a, g, w)
	}
	if g.Repeated {
		if g.Seq != ev.Seq {
			o.fatal("append %d: Seq is %d, and the first time it was %d", i, g.Seq, ev.Seq)
		}
		return
	}
	if n := len(o.m.events); n > 1 {
		for _, x := range o.m.events {
			if x != ev && x.Seq >= g.Seq && x.batch != ev.batch {
				o.fatal("append %d: Seq %d comes after %d", i, g.Seq, x.Seq)
			}
		}
	}
	// The store may leave gaps.
	ev.Seq = g.Seq
	o.m.seq = g.Seq
	for _, d := range ev.deliveries {
		d.Seq = g.Seq
	}
}

// grants follows the leases that came with an append.
func (o *oracle) grants(r *store.ClaimRequest, a *store.Append, g *store.AppendResult) {
	for _, x := range g.Leased {
		if r == nil || a.Event == nil || x.Index >= len(a.Deliveries) || x.Gen == 0 {
			o.fatal("a lease was granted that nobody asked for: %+v, %+v", a, g)
		}
		d := o.m.deliveries[store.DeliveryID{Event: g.ID, N: uint64(x.Index)}]
		o.follow(d, r, x.Gen, granted)
	}
}

const granted = "was granted"

// follow checks that a lease is legal and gives the same in the model.
func (o *oracle) follow(d *modelDelivery, r *store.ClaimRequest, gen uint64, how string) {
	switch {
	case d.State != store.Pending:
		o.fatal("a lease on %v %s, which is %v", d.ID, how, d.State)
	case o.now.Before(d.Due):
		o.fatal("a lease on %v %s, which is due at %v", d.ID, how, d.Due)
	case !accepted(r.Accept, d.Destination):
		o.fatal("a lease on %v %s, whose destination %q is not accepted", d.ID, how, d.Destination)
	case o.m.held(d.Destination, o.now):
		o.fatal("a lease on %v %s, whose destination %q is held", d.ID, how, d.Destination)
	case !o.m.room(d, r):
		o.fatal("a lease on %v %s beyond the limits of %+v", d.ID, how, r)
	case d.lost >= 5 && !d.restarted:
		o.fatal("a lease on %v %s, though %d leases on it were lost in a row", d.ID, how, d.lost)
	case gen == 0 || gen == d.Gen && !d.restarted:
		o.fatal("a lease on %v %s with the generation %d, the one before had %d", d.ID, how, gen, d.Gen)
	}
	if d.Lane != "" {
		in := o.m.lanes[d.laneKey()]
		for _, x := range in {
			if how == granted && x.ID.N >= store.FirstLater && x.Created.Equal(o.now) {
				continue // it came in the same batch
			}
			if x.unsure && x.lost >= 5 {
				continue // the store may have noticed by now that it is poison
			}
			if x.Seq < d.Seq || x.Seq == d.Seq && x != d && x.State == store.Leased {
				o.fatal("a lease on %v %s, and before it in lane %q is %v, which is %v", d.ID, how, d.Lane, x.ID, x.State)
			}
		}
	}
	o.m.lease(d, r, o.now)
	d.Gen = gen
}

func (o *oracle) claimBoth(r store.ClaimRequest) (res *store.ClaimResult, before time.Time) {
	before = time.Now()
	o.timed(func() { res = o.s.claim(r) })
	return res, before
}

func (o *oracle) legalClaim(r store.ClaimRequest, res *store.ClaimResult, before time.Time) {
	o.adopt() // this very Claim may have made dead letters of what was lost too often
	for i := range res.Leases {
		l := &res.Leases[i]
		d := o.m.deliveries[l.Delivery.ID]
		if d == nil {
			o.fatal("a lease was handed out on %v, which is unknown", l.Delivery.ID)
		}
		o.follow(d, &r, l.Gen, "was handed out")
		o.sameEvent(d.event, &l.Event)
		o.sameDelivery(d, &l.Delivery)
	}
	if res.More {
		o.adopt()
		return
	}
	for _, d := range o.m.claimable(&r, o.now) {
		busy := d.Lane != "" && slices.ContainsFunc(o.m.lanes[d.laneKey()], func(x *modelDelivery) bool { return x.State == store.Leased })
		alone := d.restarted && d.lost >= 2 // the store may count them all, and try what was leased at crashes one at a time
		if !busy && !alone && o.m.room(d, &r) {
			o.fatal("Claim says that there is no more, and %v could be handed out: %+v", d.ID, d.Delivery)
		}
	}
	o.adopt()
	if at := o.nextClaimable(&r); !at.IsZero() && (res.Next < 0 || before.Add(res.Next).After(at.Add(o.slack))) {
		o.fatal("Claim says Next %v at %v, and something can be claimed at %v", res.Next, o.now, at)
	}
}

// nextClaimable is when the next delivery can be claimed if nobody does anything; zero for never.
func (o *oracle) nextClaimable(r *store.ClaimRequest) time.Time {
	var best time.Time
	for _, d := range o.m.deliveries {
		if !d.State.Open() || !accepted(r.Accept, d.Destination) || !o.m.isHead(d) || o.behind(d, r) || d.restarted && d.lost >= 2 || d.Abandoned >= 4 && d.State == store.Leased {
			continue
		}
		at, never := d.Due, false
		for _, g := range o.m.gates {
			if g.Destination == d.Destination && g.holds(o.now) {
				never = never || g.Hold < 0
				if g.Until.After(at) {
					at = g.Until
				}
			}
		}
		if !never && at.After(o.now) && (best.IsZero() || at.Before(best)) {
			best = at
		}
	}
	return best
}

// behind reports whether a limit keeps from Claim what is due already, and comes before d: a store need not know of d yet.
func (o *oracle) behind(d *modelDelivery, r *store.ClaimRequest) bool {
	if o.m.room(d, r) {
		return false
	}
	for _, x := range o.m.deliveries {
		if x != d && x.State == store.Pending && !x.Due.After(o.now) && x.Class == d.Class && x.Tenant == d.Tenant && x.Destination == d.Destination {
			return true
		}
	}
	return false
}

func (o *oracle) sameEvent(ev *modelEvent, got *store.Event) {
	want := ev.Event
	o.near(&want.Accepted, got.Accepted)
	o.near(&want.Expires, got.Expires)
	if d := diffEvent(&want, got); d != "" {
		o.fatal("the model and the store differ: %s", d)
	}
}

func poison(d *store.Delivery) bool { return d.State == store.Dead && d.Reason == "poison" }

func (o *oracle) sameDelivery(d *modelDelivery, got *store.Delivery) {
	want, have := d.Delivery, *got
	for _, t := range []struct {
		a *time.Time
		b time.Time
	}{{&want.Due, have.Due}, {&want.Created, have.Created}, {&want.FirstAttempt, have.FirstAttempt}, {&want.Settled, have.Settled}} {
		o.near(t.a, t.b)
	}
	want.Recorded = have.Recorded // consistent checks it
	if d.unsure && have.Abandoned <= d.lost {
		want.Abandoned = have.Abandoned
	}
	if want.State != store.Leased {
		want.Gen = have.Gen
	}
	if d.silent || want.Reason == "poison" {
		want.Code, want.Error = have.Code, have.Error
	}
	if want.State.Open() {
		want.Settled, want.Reason = have.Settled, have.Reason
		if want.State == store.Pending && !want.Due.After(o.now) && !have.Due.After(o.now) {
			want.Due = have.Due
		}
	} else {
		want.Due, want.Abandoned = have.Due, have.Abandoned
		if want.Reason == "poison" && !have.Settled.IsZero() {
			want.Settled = have.Settled
		}
	}
	if diff := diffDelivery(&want, &have); diff != "" {
		o.fatal("the model and the store differ: %s; abandoned up to %d times\nmodel %+v\nstore %+v", diff, d.lost, d.Delivery, *got)
	}
}

// adopt reads the deliveries about which there is a doubt, and lets the model follow where the store may be right: a store
// may have counted fewer lost leases in restarts, and may notice that a delivery is poison only when its turn comes.
func (o *oracle) adopt() {
	for _, ev := range o.m.events {
		for _, d := range ev.deliveries {
			if !d.unsure {
				continue
			}
			got := o.s.delivery(d.ID)
			switch {
			case got.Abandoned > d.lost:
				o.fatal("%v: Abandoned is %d after %d lost leases", d.ID, got.Abandoned, d.lost)
			case poison(&got) && !poison(&d.Delivery) && d.State.Open():
				if d.lost < 5 {
					o.fatal("%v is poison after %d lost leases", d.ID, d.lost)
				}
				o.m.setState(d, store.Dead, false)
				d.Settled, d.Reason = got.Settled, got.Reason
			case poison(&d.Delivery) && got.State == store.Pending:
				o.m.setState(d, store.Pending, false)
				d.Reason, d.Settled = got.Reason, time.Time{}
			}
			d.Abandoned = got.Abandoned
			if !d.State.Open() {
				d.unsure = false
			}
		}
	}
}

// restarted follows what became of the leases, and of the counts of lost ones, when the store was opened again.
func (o *oracle) restarted() {
	o.m.now = func() time.Time { return o.now }
	for _, ev := range o.m.events {
		for _, d := range ev.deliveries {
			if d.State == store.Leased {
				d.unsure, d.restarted = true, true
				if got := o.s.delivery(d.ID); got.State == store.Leased && got.Gen == d.Gen {
					continue // it survived
				}
				d.lost++
				d.Due = o.now
				o.m.setState(d, store.Pending, false)
			} else if d.State == store.Pending && d.lost > 0 {
				d.unsure, d.restarted = true, true
			}
		}
	}
	o.adopt()
	o.compareAll()
}

func (o *oracle) pruneBoth(r store.PruneRequest) {
	n := 0
	o.timed(func() { n = o.s.prune(r) })
	there := distinct(o.s.events(store.EventQuery{Tenant: store.AllTenants, NoPayload: true, Page: store.Paging{Limit: 1000}}),
		func(e store.Event) store.ID { return e.ID })
	whole := map[int]bool{} // batches of which nothing has to be kept
	for _, ev := range o.m.events {
		whole[ev.batch] = true
	}
	for _, ev := range o.m.events {
		if !ev.forgettable(r, o.now) {
			whole[ev.batch] = false
		}
	}
	gone := map[store.ID]bool{}
	for _, ev := range o.m.events {
		switch may := ev.forgettable(r, o.now); {
		case !there[ev.ID] && !may:
			o.fatal("%v was forgotten, and %+v does not allow it", ev.ID, r)
		case there[ev.ID] && whole[ev.batch]:
			o.fatal("%v was not forgotten, though %+v allows it for all of its batch", ev.ID, r)
		case !there[ev.ID]:
			gone[ev.ID] = true
		}
	}
	if n != len(gone) {
		o.fatal("Prune says that it forgot %d events, and %d are gone", n, len(gone))
	}
	o.m.events = slices.DeleteFunc(o.m.events, func(ev *modelEvent) bool {
		if gone[ev.ID] {
			delete(o.m.byID, ev.ID)
			for _, d := range ev.deliveries {
				delete(o.m.deliveries, d.ID)
			}
		}
		return gone[ev.ID]
	})
}

func (o *oracle) eventsBoth(q store.EventQuery) {
	var got []store.Event
	o.timed(func() { got = o.s.events(q) })
	want := walk(o.s, store.Paging{Limit: 1000}, func(p store.Paging) (store.Page[store.Event], error) {
		q.Page = p
		return o.m.Events(o.s.ctx, q)
	})
	if len(got) != len(want) {
		o.fatal("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		o.sameEvent(&modelEvent{Event: want[i]}, &got[i])
	}
}

func (o *oracle) deliveriesBoth(q store.DeliveryQuery) {
	var got []store.Delivery
	o.timed(func() { got = o.s.deliveries(q) })
	want := walk(o.s, store.Paging{Limit: 1000}, func(p store.Paging) (store.Page[store.Delivery], error) {
		q.Page = p
		return o.m.Deliveries(o.s.ctx, q)
	})
	if len(got) != len(want) {
		o.fatal("%d deliveries, want %d", len(got), len(want))
	}
	ids := distinct(want, func(d store.Delivery) store.DeliveryID { return d.ID })
	for i := range got {
		if !ids[got[i].ID] {
			o.fatal("%v does not match, or comes twice", got[i].ID)
		}
		delete(ids, got[i].ID)
		if i > 0 && got[i].Seq != got[i-1].Seq && (got[i].Seq > got[i-1].Seq) != q.Oldest {
			o.fatal("Seq %d comes after %d, oldest first %v", got[i].Seq, got[i-1].Seq, q.Oldest)
		}
		o.sameDelivery(o.m.deliveries[got[i].ID], &got[i])
	}
}

func (o *oracle) docsBoth(q store.DocQuery) {
	var got []store.Doc
	o.timed(func() { got = o.s.docs(q) })
	q.Page = store.Paging{Limit: 1000}
	want, err := o.m.Docs(o.s.ctx, q)
	if err != nil || len(got) != len(want.Items) {
		o.fatal("%d documents, want %d: %v", len(got), len(want.Items), err)
	}
	for i := range got {
		if w := &want.Items[i]; got[i].Group != w.Group || got[i].ID != w.ID || got[i].Version != w.Version || !bytes.Equal(got[i].Data, w.Data) {
			o.fatal("the document %+v, want %+v", got[i], w)
		}
	}
}

func (o *oracle) attemptsBoth(tenant string, d *modelDelivery) {
	var got []store.Attempt
	var err error
	o.timed(func() { got, err = o.s.store.Attempts(o.s.ctx, tenant, d.ID) })
	_, want := o.m.Attempts(o.s.ctx, tenant, d.ID)
	if kind(err) != kind(want) {
		o.fatal("Attempts of %v for tenant %q: %v, want %v", d.ID, tenant, err, want)
	}
	if err == nil {
		o.sameAttempts(d, got)
	}
}

// compareAll compares everything that the store tells with the model.
func (o *oracle) compareAll() {
	var snap *snapshot
	o.timed(func() { snap = o.s.snapshot() })
	if len(snap.events) != len(o.m.events) || len(snap.deliveries) != len(o.m.deliveries) {
		o.fatal("the store has %d events and %d deliveries, want %d and %d", len(snap.events), len(snap.deliveries), len(o.m.events), len(o.m.deliveries))
	}
	for i, ev := range o.m.events {
		o.sameEvent(ev, &snap.events[i])
	}
	for i := range snap.deliveries {
		got := &snap.deliveries[i]
		d := o.m.deliveries[got.ID]
		if d == nil {
			o.fatal("delivery %v is unknown to the model", got.ID)
		}
		o.sameDelivery(d, got)
		o.sameAttempts(d, snap.attempts[got.ID])
	}
	o.sameDocs(snap)
	o.sameGates(snap.docs[store.KindGate])
	o.s.consistent(snap)
	if o.s.Failed() {
		o.fatal("the records of the store do not agree with each other")
	}
}

func (o *oracle) sameAttempts(d *modelDelivery, got []store.Attempt) {
	if len(got) != len(d.attempts) {
		o.fatal("%v has %d attempts, want %d: %+v, want %+v", d.ID, len(got), len(d.attempts), got, d.attempts)
	}
	want := slices.Clone(d.attempts)
	for i := range want {
		o.near(&want[i].At, got[i].At)
		want[i].No = got[i].No
	}
	if diff := diffAttempts(want, got); diff != "" {
		o.fatal("the attempts of %v: want the first, the store has the second: %s", d.ID, diff)
	}
}

func (o *oracle) sameDocs(snap *snapshot) {
	n := 0
	for _, d := range o.m.docs {
		if d.there(o.now) {
			n++
		}
	}
	for _, kind := range []string{"endpoint", "job"} {
		for i := range snap.docs[kind] {
			got := &snap.docs[kind][i]
			d := o.m.docs[modelDocName{got.Kind, got.Group, got.ID}]
			if d == nil || !d.there(o.now) || d.Version != got.Version || !bytes.Equal(d.Data, got.Data) {
				o.fatal("the document %+v, want %+v", got, d)
			}
			want := d.Doc
			o.near(&want.Updated, got.Updated)
			o.near(&want.Expires, got.Expires)
			if diff := diffDocs([]store.Doc{want}, []store.Doc{*got}); diff != "" {
				o.fatal("a document: %s", diff)
			}
			n--
		}
	}
	if n != 0 {
		o.fatal("%d documents are missing", n)
	}
}

// sameGates checks the gates that hold or limit; others may be there or not.
func (o *oracle) sameGates(docs []store.Doc) {
	for _, g := range o.m.gates {
		i := slices.IndexFunc(docs, func(d store.Doc) bool { return d.ID == string(g.Destination)+" "+g.Cause })
		active := g.holds(o.now) || g.MaxInFlight > 0
		if i < 0 {
			if active {
				o.fatal("the gate %+v is missing", g.Gate)
			}
			continue
		}
		var got store.Gate
		if err := json.Unmarshal(docs[i].Data, &got); err != nil {
			o.fatal("the gate %q: %v", docs[i].ID, err)
		}
		since, until := g.Since, g.Until
		o.near(&since, got.Since)
		o.near(&until, got.Until)
		if got.MaxInFlight != g.MaxInFlight || active && (!sameTime(got.Since, since) || !sameTime(got.Until, until)) {
			o.fatal("the gate %+v, want %+v", got, g.Gate)
		}
	}
}
