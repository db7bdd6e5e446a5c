package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// suite is one subtest: a store, and the verbs that the rules are written in. Each verb fails the test where the store
// answers with an error that the rule does not expect.
type suite struct {
	*testing.T
	Harness
	store store.Store
	ctx   context.Context
	ids   uint64
	done  bool // nothing is left to be checked at the end
	large bool // too large to be checked record by record
}

// none says that a rule does not apply to this store.
func (s *suite) none(can bool, what string) bool {
	s.Helper()
	if !can {
		s.Logf("not applicable: this harness cannot %s", what)
	}
	return !can
}

// id makes IDs that ascend.
func (s *suite) id() store.ID {
	s.ids++
	id := store.ID{0: 1, 6: 0x70, 8: 0x80}
	binary.BigEndian.PutUint64(id[8:], s.ids|0x80<<56)
	return id
}

func to(dest store.Destination) store.NewDelivery { return store.NewDelivery{Destination: dest} }

func lane(dest store.Destination, name string) store.NewDelivery {
	return store.NewDelivery{Destination: dest, Lane: name}
}

func later(dest store.Destination, n uint64) store.NewDelivery {
	return store.NewDelivery{Destination: dest, N: store.FirstLater + n, Class: store.Replay}
}

func first(ev store.ID) store.DeliveryID { return store.DeliveryID{Event: ev} }

func ptr[T any](v T) *T { return &v }

// commit commits, and checks the shape of the receipt.
func (s *suite) commit(b *store.Batch) *store.Receipt {
	s.Helper()
	r, err := s.store.Commit(s.ctx, b)
	if err != nil {
		s.Fatalf("Commit: %v", err)
	}
	if len(r.Docs) != len(b.Docs) || len(r.Gates) != len(b.Gates) || len(r.Settles) != len(b.Settles) || len(r.Appends) != len(b.Appends) {
		s.Fatalf("Commit: the receipt has %d docs, %d gates, %d settles, %d appends; the batch has %d, %d, %d, %d",
			len(r.Docs), len(r.Gates), len(r.Settles), len(r.Appends), len(b.Docs), len(b.Gates), len(b.Settles), len(b.Appends))
	}
	return r
}

// append commits one append and answers its result.
func (s *suite) append(a store.Append) store.AppendResult {
	s.Helper()
	return s.commit(&store.Batch{Appends: []store.Append{a}}).Appends[0]
}

// add adds an event with deliveries; without an ID it gets the next one.
func (s *suite) add(ev store.Event, ds ...store.NewDelivery) store.ID {
	s.Helper()
	if ev.ID.IsZero() {
		ev.ID = s.id()
	}
	if r := s.append(store.Append{Event: &ev, Deliveries: ds}); r.Err != nil || r.ID != ev.ID || r.Repeated {
		s.Fatalf("append of a new event: %+v", r)
	}
	return ev.ID
}

// addMany adds n events with one delivery each, in batches.
func (s *suite) addMany(n int, ev store.Event, d func(i int) store.NewDelivery) []store.ID {
	s.Helper()
	var ids []store.ID
	for from := 0; from < n; from += 1000 {
		b := &store.Batch{}
		for i := from; i < min(n, from+1000); i++ {
			e := ev
			e.ID = s.id()
			ids = append(ids, e.ID)
			b.Appends = append(b.Appends, store.Append{Event: &e, Deliveries: []store.NewDelivery{d(i)}})
		}
		for _, r := range s.commit(b).Appends {
			s.ok(r.Err, "append")
		}
	}
	return ids
}

func (s *suite) ok(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// is fails unless err is one of the wanted conditions; nil is one too.
func (s *suite) is(err error, what string, want ...error) {
	s.Helper()
	for _, w := range want {
		if w == nil && err == nil || w != nil && errors.Is(err, w) {
			return
		}
	}
	s.Fatalf("%s: got the error %v, want %v", what, err, want)
}

// equal fails unless got is want.
func equal[T comparable](s *suite, got, want T, what string) {
	s.Helper()
	if got != want {
		s.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (s *suite) settle(x store.Settle) error {
	s.Helper()
	return s.commit(&store.Batch{Settles: []store.Settle{x}}).Settles[0]
}

// must settles and fails if that is refused.
func (s *suite) must(x store.Settle) {
	s.Helper()
	if err := s.settle(x); err != nil {
		s.Fatalf("%v of %v: %v", x.Op, x.ID, err)
	}
}

// end settles a lease.
func (s *suite) end(l store.Lease, op store.Op, after time.Duration) {
	s.Helper()
	x := store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: op, After: after}
	if op != store.OpExtend && op != store.OpRelease {
		x.Attempt = try(500)
	}
	if op == store.OpDone {
		x.Attempt, x.Reason = try(200), "delivered"
	}
	s.must(x)
}

// try is an attempt that ended just now.
func try(code int) *store.Attempt {
	a := &store.Attempt{Took: 20 * time.Millisecond, Code: code, Response: []byte("answer")}
	if code >= 300 {
		a.Class, a.Error = "status", "the answer was no"
	}
	return a
}

// request completes a claim: who, how many, how long.
func request(r store.ClaimRequest) store.ClaimRequest {
	if r.Worker == "" {
		r.Worker = "worker"
	}
	if r.Max == 0 {
		r.Max = 100
	}
	if r.Lease == 0 {
		r.Lease = time.Minute
	}
	return r
}

// claim claims once.
func (s *suite) claim(r store.ClaimRequest) *store.ClaimResult {
	s.Helper()
	r = request(r)
	now := time.Now()
	res, err := s.store.Claim(s.ctx, r)
	if err != nil {
		s.Fatalf("Claim: %v", err)
	}
	if len(res.Leases) > r.Max {
		s.Fatalf("Claim: %d leases, want at most Max, %d", len(res.Leases), r.Max)
	}
	for _, l := range res.Leases {
		d := l.Delivery
		if d.State != store.Leased || d.Gen != l.Gen || l.Gen == 0 || d.ID.Event != l.Event.ID || l.Event.ID.IsZero() {
			s.Fatalf("Claim: a lease of generation %d on %v of event %v is not whole: %+v", l.Gen, d.ID, l.Event.ID, d)
		}
		if !accepted(r.Accept, d.Destination) {
			s.Fatalf("Claim: %q was handed out, accepted is %q", d.Destination, r.Accept)
		}
		if d.Due.Before(now.Add(r.Lease)) || d.Due.After(time.Now().Add(r.Lease)) {
			s.Fatalf("Claim: the lease of %v ends at %v, want %v after %v", d.ID, d.Due, r.Lease, now)
		}
	}
	return res
}

// claimAll claims until there is no more to claim. A store that says More over and over and hands nothing out fails.
func (s *suite) claimAll(r store.ClaimRequest) []store.Lease {
	s.Helper()
	var all []store.Lease
	for idle := 0; ; {
		res := s.claim(r)
		all = append(all, res.Leases...)
		if !res.More {
			return all
		}
		if idle++; len(res.Leases) > 0 {
			idle = 0
		}
		if idle == 100 {
			s.Fatalf("Claim: says More a hundred times and hands nothing out")
		}
	}
}

// one claims the only delivery that is due.
func (s *suite) one() store.Lease {
	s.Helper()
	all := s.claimAll(store.ClaimRequest{})
	if len(all) != 1 {
		s.Fatalf("Claim: %d leases, want 1: %v", len(all), leaseIDs(all))
	}
	return all[0]
}

// idle makes sure that nothing can be claimed.
func (s *suite) idle(what string) {
	s.Helper()
	if all := s.claimAll(store.ClaimRequest{}); len(all) > 0 {
		s.Fatalf("Claim: got %v, want nothing: %s", leaseIDs(all), what)
	}
}

func leaseIDs(ls []store.Lease) []store.DeliveryID {
	var ids []store.DeliveryID
	for _, l := range ls {
		ids = append(ids, l.Delivery.ID)
	}
	slices.SortFunc(ids, store.DeliveryID.Compare)
	return ids
}

// claims makes sure that exactly these deliveries can be claimed.
func (s *suite) claims(what string, want ...store.DeliveryID) []store.Lease {
	s.Helper()
	all := s.claimAll(store.ClaimRequest{})
	slices.SortFunc(want, store.DeliveryID.Compare)
	if got := leaseIDs(all); !slices.Equal(got, want) {
		s.Fatalf("Claim: got %v, want %v: %s", got, want, what)
	}
	return all
}

// walk reads every page.
func walk[T any](s *suite, p store.Paging, read func(store.Paging) (store.Page[T], error)) []T {
	s.Helper()
	var all []T
	for range 100_000 {
		pg, err := read(p)
		s.ok(err, "read a page")
		limit := p.Limit
		if limit == 0 {
			limit = 100
		}
		if len(pg.Items) > min(limit, 1000) {
			s.Fatalf("a page has %d items, want at most %d", len(pg.Items), limit)
		}
		if p.Budget > 0 && pg.Scanned > p.Budget {
			s.Fatalf("a page looked at %d records, its budget is %d", pg.Scanned, p.Budget)
		}
		if pg.Scanned < len(pg.Items) {
			s.Fatalf("a page has %d items and says that it looked at %d records", len(pg.Items), pg.Scanned)
		}
		all = append(all, pg.Items...)
		if pg.Next == "" {
			return all
		}
		p.Cursor = pg.Next
	}
	s.Fatalf("the pages have no end")
	return nil
}

func (s *suite) events(q store.EventQuery) []store.Event {
	s.Helper()
	return walk(s, q.Page, func(p store.Paging) (store.Page[store.Event], error) {
		q.Page = p
		return s.store.Events(s.ctx, q)
	})
}

func (s *suite) deliveries(q store.DeliveryQuery) []store.Delivery {
	s.Helper()
	return walk(s, q.Page, func(p store.Paging) (store.Page[store.Delivery], error) {
		q.Page = p
		return s.store.Deliveries(s.ctx, q)
	})
}

func (s *suite) docs(q store.DocQuery) []store.Doc {
	s.Helper()
	return walk(s, q.Page, func(p store.Paging) (store.Page[store.Doc], error) {
		q.Page = p
		return s.store.Docs(s.ctx, q)
	})
}

func (s *suite) event(id store.ID) store.Event {
	s.Helper()
	all := s.events(store.EventQuery{Tenant: store.AllTenants, IDs: []store.ID{id}})
	if len(all) != 1 {
		s.Fatalf("there are %d events %v, want 1", len(all), id)
	}
	return all[0]
}

func (s *suite) delivery(id store.DeliveryID) store.Delivery {
	s.Helper()
	all := s.deliveries(store.DeliveryQuery{Tenant: store.AllTenants, IDs: []store.DeliveryID{id}})
	if len(all) != 1 {
		s.Fatalf("there are %d deliveries %v, want 1", len(all), id)
	}
	return all[0]
}

func (s *suite) state(id store.DeliveryID, want store.State, what string) store.Delivery {
	s.Helper()
	d := s.delivery(id)
	equal(s, d.State, want, "the state of "+id.String()+" "+what)
	return d
}

func (s *suite) attempts(id store.DeliveryID) []store.Attempt {
	s.Helper()
	all, err := s.store.Attempts(s.ctx, store.AllTenants, id)
	s.ok(err, "Attempts")
	return all
}

// put writes a document and answers its version.
func (s *suite) put(p store.DocPut) uint64 {
	s.Helper()
	r := s.commit(&store.Batch{Docs: []store.DocPut{p}}).Docs[0]
	s.ok(r.Err, "put the document "+p.Doc.ID)
	return r.Version
}

// gate puts a gate.
func (s *suite) gate(g store.Gate) {
	s.Helper()
	s.ok(s.commit(&store.Batch{Gates: []store.Gate{g}}).Gates[0], "put a gate")
}

// reopen closes the store and opens the same data.
func (s *suite) reopen() {
	s.Helper()
	s.ok(s.store.Close(), "Close")
	next, err := s.Reopen()
	s.ok(err, "reopen")
	s.store = next
}

// crash opens the same data as if the process had been killed.
func (s *suite) crash() {
	s.Helper()
	next, err := s.Crash()
	s.ok(err, "open after a crash")
	s.store = next
}

// restarts are the ways in which this store can be opened again, by name.
func (s *suite) restarts() map[string]func() {
	s.Helper()
	ways := map[string]func(){}
	if !s.none(s.Reopen != nil, "reopen") {
		ways["reopen"] = s.reopen
	}
	if !s.none(s.Crash != nil, "crash") {
		ways["crash"] = s.crash
	}
	return ways
}
