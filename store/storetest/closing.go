package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// closeCases: after Close every call answers ErrClosed.
var closeCases = []testCase{
	{"EveryMethodSaysSo", everyMethodSaysSo},
	{"WithoutAnyWrite", closeWithoutWrite},
	{"Often", closeOften},
	{"WhileInUse", closeWhileInUse},
}

// contextCases: a context that was cancelled.
var contextCases = []testCase{
	{"CancelledBefore", cancelledBefore},
	{"CancelledClaim", cancelledClaim},
	{"CancelledMeanwhile", cancelledMeanwhile},
}

// againCases: committing the same batch again changes nothing.
var againCases = []testCase{
	{"TheWholeBatch", wholeBatchAgain},
	{"AfterRestarts", againAfterRestarts},
	{"ALateReport", lateReportAgain},
}

// statsCases: figures.
var statsCases = []testCase{
	{"Counts", statsCounts},
	{"OldestDue", statsOldestDue},
}

// calls are all methods that may fail.
func (s *suite) calls() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Commit": func(ctx context.Context) error {
			_, err := s.store.Commit(ctx, &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: s.id()}}}})
			return err
		},
		"Claim": func(ctx context.Context) error {
			_, err := s.store.Claim(ctx, request(store.ClaimRequest{}))
			return err
		},
		"Prune": func(ctx context.Context) error {
			_, err := s.store.Prune(ctx, store.PruneRequest{Done: time.Hour})
			return err
		},
		"Events": func(ctx context.Context) error {
			_, err := s.store.Events(ctx, store.EventQuery{Tenant: store.AllTenants})
			return err
		},
		"Deliveries": func(ctx context.Context) error {
			_, err := s.store.Deliveries(ctx, store.DeliveryQuery{Tenant: store.AllTenants})
			return err
		},
		"Docs": func(ctx context.Context) error {
			_, err := s.store.Docs(ctx, store.DocQuery{Kind: "endpoint", Tenant: store.AllTenants})
			return err
		},
		"Attempts": func(ctx context.Context) error {
			_, err := s.store.Attempts(ctx, store.AllTenants, store.DeliveryID{Event: store.ID{1}})
			return err
		},
		"Stats": func(ctx context.Context) error {
			_, err := s.store.Stats(ctx)
			return err
		},
	}
}

func everyMethodSaysSo(s *suite) {
	s.add(store.Event{}, to("ep:a"), to("ep:a"))
	s.end(s.claim(store.ClaimRequest{Max: 1}).Leases[0], store.OpRetry, time.Minute)
	s.claim(store.ClaimRequest{Max: 1})
	s.ok(s.store.Close(), "Close")
	for range 2 {
		for name, call := range s.calls() {
			s.is(call(s.ctx), name+" after Close", store.ErrClosed)
		}
		s.ok(s.store.Close(), "Close again")
	}
	s.done = true
}

func closeWithoutWrite(s *suite) {
	s.ok(s.store.Close(), "Close of a store that was not used")
	s.done = true
	if s.Reopen == nil {
		return
	}
	for range 3 {
		next, err := s.Reopen()
		s.ok(err, "reopen")
		s.store = next
		equal(s, s.count(), 0, "events")
		s.ok(s.store.Close(), "Close")
	}
}

func closeOften(s *suite) {
	if s.none(s.Reopen != nil, "reopen") {
		return
	}
	for i := range 20 {
		s.add(store.Event{}, to("ep:a"))
		equal(s, s.count(), i+1, "events")
		s.reopen()
	}
	equal(s, len(s.claimAll(store.ClaimRequest{})), 20, "leases")
}

func closeWhileInUse(s *suite) {
	ids := make([][]store.ID, 4)
	for w := range ids {
		for range 200 {
			ids[w] = append(ids[w], s.id())
		}
	}
	acked := make([]int, len(ids))
	var wg sync.WaitGroup
	for w := range ids {
		wg.Go(func() {
			for _, id := range ids[w] {
				_, err := s.store.Commit(s.ctx, &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: id}, Deliveries: []store.NewDelivery{to("ep:a")}}}})
				if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrUnknownOutcome) {
					return
				} else if err != nil {
					s.Errorf("Commit while the store is closed: %v", err)
					return
				}
				acked[w]++
				if _, err := s.store.Claim(s.ctx, request(store.ClaimRequest{Max: 1})); err != nil && !errors.Is(err, store.ErrClosed) {
					s.Errorf("Claim while the store is closed: %v", err)
				}
				if _, err := s.store.Stats(s.ctx); err != nil && !errors.Is(err, store.ErrClosed) {
					s.Errorf("Stats while the store is closed: %v", err)
				}
			}
		})
	}
	closed := make(chan error, 2)
	for range 2 {
		wg.Go(func() {
			time.Sleep(time.Microsecond)
			closed <- s.store.Close()
		})
	}
	wg.Wait()
	s.ok(<-closed, "Close while in use")
	s.ok(<-closed, "Close at the same time")
	s.done = true
	if s.Reopen == nil {
		return
	}
	next, err := s.Reopen()
	s.ok(err, "reopen")
	s.store = next
	for w := range ids {
		for _, id := range ids[w][:acked[w]] {
			s.event(id)
		}
	}
}

// cancelledBefore: ErrUnknownOutcome says that the batch may be there; the bare error of the context, that it is not.
func cancelledBefore(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	b := &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{to("ep:b"), to("ep:b")}}}}
	_, err := s.store.Commit(ctx, b)
	s.is(err, "Commit with a cancelled context", nil, store.ErrUnknownOutcome, context.Canceled)
	r := s.commit(b).Appends[0]
	if r.Err != nil || err == nil && !r.Repeated || err != nil && !errors.Is(err, store.ErrUnknownOutcome) && r.Repeated {
		s.Errorf("Commit of the same batch again, after it answered %v: %+v", err, r)
	}
	for name, call := range s.calls() {
		if name != "Attempts" {
			s.is(call(ctx), name+" with a cancelled context", nil, context.Canceled, store.ErrUnknownOutcome)
		}
	}
	time.Sleep(2 * time.Minute)
	s.claims("what was committed", id, first(b.Appends[0].Event.ID), store.DeliveryID{Event: b.Appends[0].Event.ID, N: 1})
}

func cancelledClaim(s *suite) {
	s.addMany(10, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	got := 0
	if res, err := s.store.Claim(ctx, request(store.ClaimRequest{Max: 4})); err == nil {
		got = len(res.Leases)
	} else {
		s.is(err, "Claim with a cancelled context", context.Canceled)
	}
	equal(s, got+len(s.claimAll(store.ClaimRequest{})), 10, "leases: a claim that fails holds nothing back")
}

// cancelledMeanwhile: whatever a cancelled Commit answers, its batch is there as a whole or not at all, and others that
// ran at the same time do not suffer.
func cancelledMeanwhile(s *suite) {
	const rounds = 60
	batches := make([]*store.Batch, rounds)
	for i := range batches {
		batches[i] = &store.Batch{Appends: []store.Append{
			{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")}},
			{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")}},
		}}
	}
	errs := make([]error, rounds)
	var wg sync.WaitGroup
	for i, b := range batches {
		ctx, cancel := context.WithCancel(s.ctx)
		wg.Go(func() { _, errs[i] = s.store.Commit(ctx, b) })
		if i%2 == 0 {
			wg.Go(cancel)
		} else {
			defer cancel()
		}
	}
	wg.Wait()
	for i, b := range batches {
		if i%2 == 1 {
			s.ok(errs[i], "a Commit that nobody cancelled")
		} else {
			s.is(errs[i], "a Commit that was cancelled", nil, store.ErrUnknownOutcome, context.Canceled)
		}
		a := len(s.events(store.EventQuery{IDs: []store.ID{b.Appends[0].Event.ID}}))
		z := len(s.events(store.EventQuery{IDs: []store.ID{b.Appends[1].Event.ID}}))
		if surely := errs[i] != nil && !errors.Is(errs[i], store.ErrUnknownOutcome); a != z || errs[i] == nil && a != 1 || surely && a != 0 {
			s.Errorf("Commit answered %v, and of its two events %d and %d are there", errs[i], a, z)
		}
		for _, r := range s.commit(b).Appends {
			if r.Err != nil || a == 1 && !r.Repeated {
				s.Errorf("Commit of the same batch again: %+v", r)
			}
		}
	}
	equal(s, len(s.claimAll(store.ClaimRequest{})), rounds*4, "leases")
}

// everything is a batch with an item of each kind.
func (s *suite) everything() *store.Batch {
	s.addMany(6, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:old", i))) })
	old := s.add(store.Event{})
	ls := s.claimAll(store.ClaimRequest{Accept: []store.Destination{"ep:old*"}, Lease: 1000 * time.Hour})
	equal(s, len(ls), 6, "leases")
	b := &store.Batch{
		Docs: []store.DocPut{
			{Doc: doc("endpoint", "", "e", "1")},
			{Doc: doc("endpoint", "", "e", "2"), Expect: 1},
			{Doc: doc("job", "", "j", "1"), TTL: 1000 * time.Hour},
		},
		Gates: []store.Gate{{Destination: "ep:held", Cause: "paused", Hold: -1}},
		Appends: []store.Append{
			{Event: &store.Event{ID: s.id(), IdempotencyKey: "k"}, Fingerprint: 1, Deliveries: []store.NewDelivery{to("ep:new"), lane("ep:new", "k")}},
			{Event: &store.Event{ID: s.id(), IdempotencyKey: "k"}, Fingerprint: 2},
			{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{lane("ep:new", "k"), to("ep:held")}},
			{To: old, Deliveries: []store.NewDelivery{later("ep:new", 3), later("ep:new", 4)}},
			{To: store.ID{9}, Deliveries: []store.NewDelivery{later("ep:new", 3)}},
		},
	}
	for i, op := range []store.Op{store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpRelease, store.OpRelease} {
		b.Settles = append(b.Settles, store.Settle{ID: ls[i].Delivery.ID, Gen: ls[i].Gen, Op: op, After: 100 * time.Hour, Attempt: try(200 + i), Reason: "r"})
	}
	b.Settles = append(b.Settles,
		store.Settle{ID: ls[4].Delivery.ID, Op: store.OpCancel},
		store.Settle{ID: ls[5].Delivery.ID, Op: store.OpExpire},
		store.Settle{ID: ls[0].Delivery.ID, Gen: ls[0].Gen + 1000, Op: store.OpDead, Attempt: try(299)},
	)
	return b
}

// again commits the batch again and compares the records.
func (s *suite) again(b *store.Batch, when string) {
	s.Helper()
	gates := b.Gates
	b.Gates = nil // to put a gate again begins its time anew: that is no change of a record
	defer func() { b.Gates = gates }()
	before := s.snapshot()
	r := s.commit(b)
	for i, d := range r.Docs {
		s.is(d.Err, fmt.Sprintf("document %d %s", i, when), store.ErrConflict)
	}
	for i, err := range r.Settles {
		s.is(err, fmt.Sprintf("settle %d %s", i, when), store.ErrLeaseLost, store.ErrConflict, nil)
	}
	for i, a := range r.Appends {
		switch {
		case i == 1:
			s.is(a.Err, "the append whose key was taken "+when, store.ErrConflict)
		case i == 4:
			s.is(a.Err, "the append to an unknown event "+when, store.ErrNotFound)
		case a.Err != nil || b.Appends[i].Event != nil && !a.Repeated:
			s.Errorf("append %d %s: %+v", i, when, a)
		}
	}
	if d := before.diff(s.snapshot(), time.Now()); d != "" {
		s.Fatalf("%s changed something: %s", when, d)
	}
}

func wholeBatchAgain(s *suite) {
	b := s.everything()
	s.commit(b)
	for range 3 {
		s.again(b, "committed again")
		time.Sleep(time.Minute)
	}
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		s.end(l, store.OpDone, 0)
	}
	s.again(b, "committed again when its deliveries were done")
}

func againAfterRestarts(s *suite) {
	b := s.everything()
	s.commit(b)
	for name, way := range s.restarts() {
		way()
		s.again(b, "committed again after "+name)
	}
}

// lateReportAgain: a report that came too late and is repeated is one attempt.
func lateReportAgain(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	time.Sleep(2 * time.Minute)
	x := store.Settle{ID: id, Gen: l.Gen, Op: store.OpDone, Attempt: try(200)}
	for range 3 {
		s.is(s.settle(x), "a late settle", store.ErrLeaseLost)
		equal(s, len(s.attempts(id)), 1, "attempts")
	}
	s.end(s.one(), store.OpDone, 0)
	equal(s, len(s.attempts(id)), 2, "attempts")
}

func statsCounts(s *suite) {
	check := func(when string, events, pending, leased, dead int64) {
		st, err := s.store.Stats(s.ctx)
		s.ok(err, "Stats")
		if st.Failed != nil || st.Full {
			s.Errorf("Stats %s: %+v, want a store that is well", when, st)
		}
		if st.Exact && (st.Events != events || st.Pending != pending || st.Leased != leased || st.Dead != dead) {
			s.Errorf("Stats %s: %+v, want %d events, %d pending, %d leased, %d dead", when, st, events, pending, leased, dead)
		}
	}
	check("of an empty store", 0, 0, 0, 0)
	s.addMany(10, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	id := s.add(store.Event{}, to("ep:b"), to("ep:b"))
	check("after 12 deliveries", 11, 12, 0, 0)
	ls := s.claimAll(store.ClaimRequest{Accept: []store.Destination{"ep:a"}})
	check("after ten claims", 11, 2, 10, 0)
	s.end(ls[0], store.OpDone, 0)
	s.end(ls[1], store.OpRetry, time.Hour)
	s.end(ls[2], store.OpDead, 0)
	s.end(ls[3], store.OpRelease, 0)
	s.end(ls[4], store.OpExtend, time.Hour)
	check("after five settles", 11, 4, 6, 1)
	s.must(store.Settle{ID: first(id), Op: store.OpCancel})
	s.must(store.Settle{ID: store.DeliveryID{Event: id, N: 1}, Op: store.OpExpire})
	check("after a cancel and an expire", 11, 2, 6, 2)
	s.must(store.Settle{ID: ls[2].Delivery.ID, Op: store.OpHurry})
	check("after a hurry", 11, 3, 6, 1)
	s.ok(s.append(store.Append{To: id, Deliveries: []store.NewDelivery{later("ep:c", 1)}}).Err, "a later delivery")
	check("after a later delivery", 11, 4, 6, 1)
	time.Sleep(2 * time.Minute)
	s.claim(store.ClaimRequest{Accept: []store.Destination{"none"}})
	check("after five leases ended", 11, 9, 1, 1)
	if s.Reopen != nil {
		s.reopen()
		time.Sleep(2 * time.Hour)
		s.claim(store.ClaimRequest{Accept: []store.Destination{"none"}})
		check("after reopening, and the end of every lease", 11, 10, 0, 1)
	}
}

func statsOldestDue(s *suite) {
	oldest := func() time.Duration {
		st, err := s.store.Stats(s.ctx)
		s.ok(err, "Stats")
		return st.OldestDue
	}
	equal(s, oldest(), 0, "OldestDue of an empty store")
	s.add(store.Event{}, store.NewDelivery{Destination: "ep:a", After: 2 * time.Hour})
	time.Sleep(time.Hour)
	equal(s, oldest(), 0, "OldestDue while nothing is due")
	time.Sleep(2 * time.Hour)
	if got := oldest(); got <= 0 || got > 61*time.Minute {
		s.Errorf("OldestDue is %v for a delivery that is due for an hour", got)
	}
	s.one()
	equal(s, oldest(), 0, "OldestDue while everything is leased")
}
