package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// docKinds are the kinds of documents that the tests put.
var docKinds = []string{"endpoint", "secret", "job", store.KindGate}

// snapshot is everything that a store tells.
type snapshot struct {
	events     []store.Event
	deliveries []store.Delivery
	attempts   map[store.DeliveryID][]store.Attempt
	docs       map[string][]store.Doc
}

func (s *suite) snapshot() *snapshot {
	s.Helper()
	snap := &snapshot{attempts: map[store.DeliveryID][]store.Attempt{}, docs: map[string][]store.Doc{}}
	pages := store.Paging{Limit: 1000}
	snap.events = s.events(store.EventQuery{Tenant: store.AllTenants, Oldest: true, Page: pages})
	snap.deliveries = s.deliveries(store.DeliveryQuery{Tenant: store.AllTenants, Oldest: true, Page: pages})
	for _, d := range snap.deliveries {
		snap.attempts[d.ID] = s.attempts(d.ID)
	}
	for _, kind := range docKinds {
		snap.docs[kind] = s.docs(store.DocQuery{Kind: kind, Tenant: store.AllTenants, Page: pages})
	}
	return snap
}

// finish checks at the end of every subtest that the records of the store agree with each other, and that they are the
// same after it was opened again.
func (s *suite) finish() {
	s.Helper()
	if s.large {
		return
	}
	before := s.snapshot()
	s.consistent(before)
	if s.Reopen == nil || s.Failed() {
		return
	}
	now := time.Now()
	s.reopen()
	after := s.snapshot()
	s.consistent(after)
	if diff := before.diff(after, now); diff != "" {
		s.Errorf("opened again, the store tells another story: %s", diff)
	}
}

// diff says where two snapshots of one store differ. Leases may be lost between them, and what was due stays due.
func (a *snapshot) diff(b *snapshot, now time.Time) string {
	if len(a.events) != len(b.events) || len(a.deliveries) != len(b.deliveries) {
		return fmt.Sprintf("%d events and %d deliveries, then %d and %d", len(a.events), len(a.deliveries), len(b.events), len(b.deliveries))
	}
	for i := range a.events {
		if d := diffEvent(&a.events[i], &b.events[i]); d != "" {
			return d
		}
	}
	for i := range a.deliveries {
		x, y := a.deliveries[i], b.deliveries[i]
		if x.State == store.Leased && x.Abandoned >= 3 && y.State == store.Dead && y.Reason == "poison" {
			continue // one lease too many
		}
		for _, d := range []*store.Delivery{&x, &y} {
			if d.State == store.Leased || d.State == store.Pending && !d.Due.After(now) {
				d.Due = now
			}
			if d.State == store.Leased {
				d.State = store.Pending
			}
			d.Gen, d.Abandoned = 0, 0
			if !d.State.Open() {
				d.Due = time.Time{} // it says nothing any more
			}
		}
		if a.deliveries[i].State == store.Leased {
			y.Due = x.Due
		}
		if d := diffDelivery(&x, &y); d != "" {
			return d
		}
	}
	for id := range a.attempts {
		if d := diffAttempts(a.attempts[id], b.attempts[id]); d != "" {
			return d
		}
	}
	for kind := range a.docs {
		if d := diffDocs(a.docs[kind], b.docs[kind]); d != "" {
			return d
		}
	}
	return ""
}

// sameTime compares to the microsecond: a store may round below that.
func sameTime(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() == b.IsZero()
	}
	d := a.Sub(b)
	return d > -time.Microsecond && d < time.Microsecond
}

func diffEvent(a, b *store.Event) string {
	if !bytes.Equal(a.Payload, b.Payload) {
		return fmt.Sprintf("event %v: a payload of %d bytes %.40q, then of %d bytes %.40q", a.ID, len(a.Payload), a.Payload, len(b.Payload), b.Payload)
	}
	if !maps.EqualFunc(a.Header, b.Header, slices.Equal[[]string]) {
		return fmt.Sprintf("event %v: the header is %q, then %q", a.ID, a.Header, b.Header)
	}
	if !maps.Equal(a.Labels, b.Labels) {
		return fmt.Sprintf("event %v: the labels are %q, then %q", a.ID, a.Labels, b.Labels)
	}
	return diffFields(*a, *b, "Payload", "Header", "Labels")
}

func diffDelivery(a, b *store.Delivery) string { return diffFields(*a, *b) }

func diffAttempts(a, b []store.Attempt) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%d attempts, then %d: %+v, then %+v", len(a), len(b), a, b)
	}
	for i := range a {
		if !bytes.Equal(a[i].Response, b[i].Response) {
			return fmt.Sprintf("attempt %d: the response is %q, then %q", a[i].No, a[i].Response, b[i].Response)
		}
		if d := diffFields(a[i], b[i], "Response", "Ago"); d != "" {
			return d
		}
	}
	return ""
}

func diffDocs(a, b []store.Doc) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%d documents, then %d", len(a), len(b))
	}
	for i := range a {
		if !bytes.Equal(a[i].Data, b[i].Data) {
			return fmt.Sprintf("document %q: %q, then %q", a[i].ID, a[i].Data, b[i].Data)
		}
		if d := diffFields(a[i], b[i], "Data"); d != "" {
			return d
		}
	}
	return ""
}

// diffFields compares two records field by field, but for those named in but.
func diffFields[T any](a, b T, but ...string) string {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		name := x.Type().Field(i).Name
		if slices.Contains(but, name) {
			continue
		}
		p, q := x.Field(i).Interface(), y.Field(i).Interface()
		if t, ok := p.(time.Time); ok {
			if sameTime(t, q.(time.Time)) {
				continue
			}
		} else if reflect.DeepEqual(p, q) {
			continue
		}
		return fmt.Sprintf("%T %v: %s is %v, then %v", a, x.FieldByIndex([]int{0}).Interface(), name, p, q)
	}
	return ""
}

// consistent checks that what a store tells agrees with itself.
func (s *suite) consistent(snap *snapshot) {
	s.Helper()
	events := map[store.ID]*store.Event{}
	var seq uint64
	for i := range snap.events {
		ev := &snap.events[i]
		if ev.Seq <= seq || events[ev.ID] != nil {
			s.Errorf("event %v: Seq is %d after %d, or its ID comes twice", ev.ID, ev.Seq, seq)
		}
		seq = ev.Seq
		events[ev.ID] = ev
	}
	newest := s.events(store.EventQuery{Tenant: store.AllTenants, NoPayload: true, Page: store.Paging{Limit: 1000}})
	for i, ev := range newest {
		if j := len(newest) - 1 - i; len(newest) != len(snap.events) || snap.events[j].ID != ev.ID {
			s.Errorf("newest first is not oldest first backwards")
			break
		}
	}
	states := map[store.State]int{}
	tenants := map[string]int{}
	born := map[store.ID]uint64{}
	seen := map[store.DeliveryID]bool{}
	for i := range snap.deliveries {
		d := &snap.deliveries[i]
		states[d.State]++
		tenants[d.Tenant]++
		if seen[d.ID] {
			s.Errorf("delivery %v comes twice", d.ID)
		}
		seen[d.ID] = true
		ev := events[d.ID.Event]
		if ev == nil {
			s.Errorf("delivery %v has no event", d.ID)
			continue
		}
		if d.Seq != ev.Seq || d.Tenant != ev.Tenant || d.Source != ev.Source || d.Type != ev.Type {
			s.Errorf("delivery %v does not say what its event says: %+v, %+v", d.ID, d, ev)
		}
		if d.ID.N < store.FirstLater {
			born[d.ID.Event]++
			if d.ID.N >= uint64(ev.Deliveries) {
				s.Errorf("delivery %v: its event came with %d deliveries", d.ID, ev.Deliveries)
			}
		}
		s.consistentDelivery(d, snap.attempts[d.ID])
	}
	for id, ev := range events {
		if born[id] != uint64(ev.Deliveries) {
			s.Errorf("event %v came with %d deliveries, and there are %d", id, ev.Deliveries, born[id])
		}
	}
	s.consistentCounts(snap, states, tenants)
}

func (s *suite) consistentDelivery(d *store.Delivery, attempts []store.Attempt) {
	s.Helper()
	last, counted := 0, 0
	for _, a := range attempts {
		if a.No <= last || a.Delivery != d.ID || a.Late && a.Counted {
			s.Errorf("attempt %d of %v after attempt %d: %+v", a.No, d.ID, last, a)
		}
		last = a.No
		if a.Counted {
			counted++
		}
	}
	if last != d.Recorded {
		s.Errorf("delivery %v: Recorded is %d, and its last attempt is number %d", d.ID, d.Recorded, last)
	}
	if counted > d.Attempts {
		s.Errorf("delivery %v: Attempts is %d, and %d attempts counted", d.ID, d.Attempts, counted)
	}
	if d.FirstAttempt.IsZero() != (d.Attempts == 0) {
		s.Errorf("delivery %v: Attempts is %d and FirstAttempt %v", d.ID, d.Attempts, d.FirstAttempt)
	}
	if !d.State.Open() && d.Settled.IsZero() {
		s.Errorf("delivery %v is %v, and Settled is zero", d.ID, d.State)
	}
	if d.Created.IsZero() || d.Class >= store.Classes || d.State < store.Pending || d.State > store.Cancelled {
		s.Errorf("delivery %v is not whole: %+v", d.ID, d)
	}
}

func (s *suite) consistentCounts(snap *snapshot, states map[store.State]int, tenants map[string]int) {
	s.Helper()
	for st := store.Pending; st <= store.Cancelled; st++ {
		got := s.deliveries(store.DeliveryQuery{Tenant: store.AllTenants, States: []store.State{st}, Page: store.Paging{Limit: 1000}})
		if len(got) != states[st] {
			s.Errorf("the query for %v deliveries finds %d, and there are %d", st, len(got), states[st])
		}
	}
	for tenant, n := range tenants {
		got := s.deliveries(store.DeliveryQuery{Tenant: tenant, Page: store.Paging{Limit: 1000}})
		if len(got) != n {
			s.Errorf("the query for the deliveries of tenant %q finds %d, and there are %d", tenant, len(got), n)
		}
	}
	st, err := s.store.Stats(s.ctx)
	s.ok(err, "Stats")
	if st.Exact && (st.Events != int64(len(snap.events)) || st.Pending != int64(states[store.Pending]) ||
		st.Leased != int64(states[store.Leased]) || st.Dead != int64(states[store.Dead])) {
		s.Errorf("Stats says %+v; there are %d events, and deliveries: %v", st, len(snap.events), states)
	}
}
