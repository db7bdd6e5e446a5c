package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// pruneCases: what the request allows is forgotten, bounded per call, and never what is open.
var pruneCases = []testCase{
	{"ZeroKeepsForGood", zeroKeeps},
	{"OnlyWhatIsOldEnough", onlyOldEnough},
	{"NeverWhatIsOpen", neverOpen},
	{"DeadLettersHaveTheirOwnAge", deadAge},
	{"ABoundedPiecePerCall", boundedPiece},
	{"GoneFromEverywhere", goneFromEverywhere},
	{"SurvivorsAreUnchanged", survivorsUnchanged},
	{"KeysOutlive", keysOutlivePrune},
	{"SurvivorsStillWork", survivorsWork},
	{"PruneSurvivesRestarts", pruneSurvives},
	{"LateReportsOfWhatIsGone", lateReportsOfGone},
	{"OneBatchOfManyFates", oneBatchOfManyFates},
}

const day = 24 * time.Hour

// prune forgets until there is no more to forget, and answers how many events went.
func (s *suite) prune(r store.PruneRequest) int {
	s.Helper()
	n := 0
	for range 10_000 {
		res, err := s.store.Prune(s.ctx, r)
		s.ok(err, "Prune")
		n += res.Events
		if r.Limit > 0 && res.Events > r.Limit {
			s.Fatalf("Prune forgot %d events at once, the limit is %d", res.Events, r.Limit)
		}
		if !res.More {
			return n
		}
	}
	s.Fatalf("Prune says More for ever")
	return 0
}

// finished adds n events and settles their deliveries.
func (s *suite) finished(n int, op store.Op) []store.ID {
	s.Helper()
	var ids []store.ID
	for range n {
		id := s.add(store.Event{Payload: []byte("payload")}, to("ep:a"))
		ids = append(ids, id)
		s.bring(first(id), op, 100*day)
	}
	return ids
}

func (s *suite) count() int {
	s.Helper()
	return len(s.events(store.EventQuery{Tenant: store.AllTenants}))
}

func zeroKeeps(s *suite) {
	s.finished(3, store.OpDone)
	s.finished(3, store.OpDead)
	time.Sleep(1000 * day)
	equal(s, s.prune(store.PruneRequest{}), 0, "events that were forgotten")
	equal(s, s.prune(store.PruneRequest{Dead: 2000 * day}), 0, "events that were forgotten")
	equal(s, s.count(), 6, "events")
	equal(s, s.prune(store.PruneRequest{Done: day}), 3, "events that were forgotten")
	equal(s, s.count(), 3, "events")
	equal(s, s.prune(store.PruneRequest{Dead: day}), 3, "events that were forgotten")
	equal(s, s.count(), 0, "events")
}

func onlyOldEnough(s *suite) {
	var ids []store.ID
	for range 5 {
		ids = append(ids, s.finished(2, store.OpDone)...)
		time.Sleep(day)
	}
	none := s.add(store.Event{}) // no deliveries: there is nothing to wait for
	time.Sleep(time.Hour)
	equal(s, s.prune(store.PruneRequest{Done: 10 * day}), 0, "events that were forgotten")
	equal(s, s.prune(store.PruneRequest{Done: 3 * day}), 6, "events that were forgotten")
	got := s.events(store.EventQuery{Oldest: true})
	equal(s, len(got), 5, "events")
	for i, ev := range got[:4] {
		equal(s, ev.ID, ids[6+i], "an event that is left")
	}
	time.Sleep(2 * day)
	equal(s, s.prune(store.PruneRequest{Done: day}), 5, "events that were forgotten")
	equal(s, len(s.events(store.EventQuery{IDs: []store.ID{none}})), 0, "events without deliveries")
}

func neverOpen(s *suite) {
	s.gate(store.Gate{Destination: "ep:held", Cause: "paused", Hold: -1})
	var open []store.ID
	for _, ds := range [][]store.NewDelivery{
		{to("ep:held")},                                    // waits for its first attempt
		{to("ep:held"), to("ep:b")},                        // half done
		{to("ep:b"), to("ep:held")},                        // the other way round
		{{Destination: "ep:b", After: 999999 * time.Hour}}, // not before
	} {
		open = append(open, s.add(store.Event{Payload: []byte("open")}, ds...))
	}
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		s.end(l, store.OpDone, 0)
	}
	open = append(open, s.finished(1, store.OpRetry)...)
	hurried := s.finished(1, store.OpDead)[0]
	later := s.finished(1, store.OpDone)[0]
	s.finished(2, store.OpDone)
	s.finished(2, store.OpDead)
	s.must(store.Settle{ID: first(hurried), Op: store.OpHurry})
	s.ok(s.append(store.Append{To: later, Deliveries: []store.NewDelivery{{Destination: "ep:held", N: store.FirstLater}}}).Err, "a later delivery")
	open = append(open, hurried, later)
	time.Sleep(50 * day)
	leased := s.add(store.Event{}, to("ep:leased"))
	s.claim(store.ClaimRequest{Accept: []store.Destination{"ep:leased"}, Lease: 1000 * day})
	open = append(open, leased)
	time.Sleep(40 * day)
	equal(s, s.prune(store.PruneRequest{Done: day, Dead: day}), 4, "events that were forgotten")
	for _, id := range open {
		s.event(id)
	}
	equal(s, s.count(), len(open), "events")
}

func deadAge(s *suite) {
	done, dead := s.finished(2, store.OpDone), s.finished(2, store.OpDead)
	mixed := s.add(store.Event{}, to("ep:a"), to("ep:a"))
	ls := s.claimAll(store.ClaimRequest{})
	s.end(ls[0], store.OpDone, 0)
	s.end(ls[1], store.OpDead, 0)
	cancelled := s.add(store.Event{}, to("ep:a"))
	s.must(store.Settle{ID: first(cancelled), Op: store.OpCancel})
	time.Sleep(10 * day)
	equal(s, s.prune(store.PruneRequest{Done: 9 * day, Dead: 20 * day}), 3, "events that were forgotten, done or cancelled")
	equal(s, len(s.events(store.EventQuery{IDs: append(done, cancelled)})), 0, "events that were done or cancelled")
	equal(s, len(s.events(store.EventQuery{IDs: append(dead, mixed)})), 3, "events with dead letters")
	time.Sleep(5 * day)
	s.must(store.Settle{ID: first(dead[0]), Op: store.OpHurry})
	s.bring(first(dead[0]), store.OpDone, 0)
	equal(s, s.prune(store.PruneRequest{Done: 9 * day, Dead: 20 * day}), 1, "events that were forgotten, dead once and done in the end")
	time.Sleep(6 * day)
	equal(s, s.prune(store.PruneRequest{Done: 100 * day, Dead: 20 * day}), 2, "events that were forgotten, with dead letters")
	equal(s, s.count(), 0, "events")
}

func boundedPiece(s *suite) {
	s.large = true
	for range 60 {
		s.add(store.Event{})
	}
	time.Sleep(10 * day)
	res, err := s.store.Prune(s.ctx, store.PruneRequest{Done: day, Limit: 7})
	s.ok(err, "Prune")
	if res.Events > 7 || res.Events == 0 || !res.More {
		s.Errorf("Prune with a limit of 7: %+v", res)
	}
	equal(s, s.count(), 60-res.Events, "events after the first piece")
	s.add(store.Event{Type: "new"})
	equal(s, res.Events+s.prune(store.PruneRequest{Done: day, Limit: 7}), 60, "events that were forgotten in the end")
	equal(s, s.count(), 1, "events")
	equal(s, s.prune(store.PruneRequest{Done: day, Limit: 7}), 0, "events that were forgotten after that")
}

func goneFromEverywhere(s *suite) {
	id := s.add(store.Event{Tenant: "a", Source: "src", Type: "t", Labels: map[string]string{"l": "1"}}, to("ep:a"), lane("ep:b", "k"))
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		s.end(l, store.OpRetry, 0)
	}
	ls := s.claimAll(store.ClaimRequest{})
	s.end(ls[0], store.OpDone, 0)
	s.end(ls[1], store.OpDead, 0)
	d := later("ep:c", 1)
	s.ok(s.append(store.Append{To: id, Deliveries: []store.NewDelivery{d}}).Err, "a later delivery")
	s.end(s.one(), store.OpDone, 0)
	time.Sleep(10 * day)
	equal(s, s.prune(store.PruneRequest{Done: day, Dead: day}), 1, "events that were forgotten")
	for _, q := range []store.EventQuery{{}, {IDs: []store.ID{id}}, {Source: ptr("src")}, {Type: "t"}, {Labels: map[string]string{"l": "1"}}, {Oldest: true}} {
		for _, tenant := range []string{"a", store.AllTenants} {
			q.Tenant = tenant
			equal(s, len(s.events(q)), 0, "events")
		}
	}
	for _, q := range []store.DeliveryQuery{
		{},
		{Event: id},
		{IDs: []store.DeliveryID{first(id), {Event: id, N: 1}, {Event: id, N: d.N}}},
		{Destination: "ep:b"},
		{States: []store.State{store.Dead}},
		{States: []store.State{store.Done}},
		{Destination: "ep:b", States: []store.State{store.Dead}},
		{Oldest: true},
	} {
		for _, tenant := range []string{"a", store.AllTenants} {
			q.Tenant = tenant
			equal(s, len(s.deliveries(q)), 0, "deliveries")
		}
	}
	for _, l := range ls {
		_, err := s.store.Attempts(s.ctx, store.AllTenants, l.Delivery.ID)
		s.is(err, "Attempts of what was forgotten", store.ErrNotFound)
		for op := store.OpCancel; op <= store.OpExpire; op++ {
			s.is(s.settle(store.Settle{ID: l.Delivery.ID, Op: op}), op.String()+" of what was forgotten", store.ErrNotFound)
		}
	}
	r := s.append(store.Append{To: id, Deliveries: []store.NewDelivery{later("ep:c", 2)}})
	s.is(r.Err, "a later delivery of what was forgotten", store.ErrNotFound)
	s.idle("it was forgotten")
}

func survivorsUnchanged(s *suite) {
	ids := s.idsOfAllKinds()[:70]
	var survivors []store.ID
	for i, id := range ids {
		ev := store.Event{
			ID: id, Tenant: fmt.Sprint(i % 3), Type: "t", Payload: []byte(fmt.Sprint("payload ", i)),
			Header: map[string][]string{"H": {fmt.Sprint(i)}}, Labels: map[string]string{"i": fmt.Sprint(i)},
		}
		s.add(ev, to(store.Destination(fmt.Sprint("ep:", i))), lane("ep:k", fmt.Sprint(i%3, "k", i%5)))
		if i%4 == 0 {
			survivors = append(survivors, id)
		}
	}
	for range 40 {
		ls := s.claimAll(store.ClaimRequest{Lease: time.Hour})
		if len(ls) == 0 {
			break
		}
		for _, l := range ls {
			switch {
			case !slices.Contains(survivors, l.Event.ID):
				s.end(l, store.OpDone, 0)
			case l.Delivery.ID.N == 0:
				s.end(l, store.OpRetry, 100*day)
			default:
				s.end(l, store.OpDead, 0)
			}
		}
	}
	time.Sleep(20 * day)
	before := s.snapshot()
	s.prune(store.PruneRequest{Done: day, Limit: 9})
	after := s.snapshot()
	equal(s, len(after.events), len(survivors), "events that are left")
	want := &snapshot{attempts: map[store.DeliveryID][]store.Attempt{}, docs: before.docs}
	for _, ev := range before.events {
		if slices.Contains(survivors, ev.ID) {
			want.events = append(want.events, ev)
		}
	}
	for _, d := range before.deliveries {
		if slices.Contains(survivors, d.ID.Event) {
			want.deliveries = append(want.deliveries, d)
			want.attempts[d.ID] = before.attempts[d.ID]
		}
	}
	if d := want.diff(after, time.Now()); d != "" {
		s.Errorf("Prune changed what it left: %s", d)
	}
	for _, id := range survivors {
		r := s.append(store.Append{Event: &store.Event{ID: id, Tenant: s.event(id).Tenant}})
		if !r.Repeated || r.Err != nil {
			s.Errorf("append under the ID of a survivor: %+v", r)
		}
	}
}

func keysOutlivePrune(s *suite) {
	a := s.keyed("t", "s", "k", 1)
	a.Window = 30 * day
	id := s.free(a, "at first")
	s.end(s.one(), store.OpDone, 0)
	time.Sleep(10 * day)
	s.finished(1, store.OpDone)
	equal(s, s.prune(store.PruneRequest{Done: day}), 1, "events that were forgotten")
	s.taken(s.keyed("t", "s", "k", 1), id, store.ErrDuplicate, "after its event was forgotten")
	s.taken(s.keyed("t", "s", "k", 2), id, store.ErrConflict, "after its event was forgotten")
	for name, way := range s.restarts() {
		way()
		s.taken(s.keyed("t", "s", "k", 1), id, store.ErrDuplicate, "after its event was forgotten, and "+name)
	}
	time.Sleep(20*day + time.Hour)
	s.free(s.keyed("t", "s", "k", 2), "after the window")
}

func survivorsWork(s *suite) {
	var lanes []store.DeliveryID
	for i := range 20 {
		id := s.add(store.Event{Payload: []byte(fmt.Sprint(i))}, lane("ep:k", "k"))
		lanes = append(lanes, first(id))
		s.finished(2, store.OpDone)
	}
	for _, l := range s.claims("the head", lanes[0]) {
		s.end(l, store.OpRetry, 15*day)
	}
	time.Sleep(10 * day)
	equal(s, s.prune(store.PruneRequest{Done: day, Limit: 11}), 40, "events that were forgotten")
	for _, way := range s.restarts() {
		way()
	}
	s.idle("the head waits for its retry")
	time.Sleep(6 * day)
	for i, id := range lanes {
		l := s.claims("the head", id)[0]
		equal(s, string(l.Event.Payload), fmt.Sprint(i), "the payload")
		s.end(l, store.OpDone, 0)
		if i == 7 {
			equal(s, s.prune(store.PruneRequest{Done: day}), 8, "events that were forgotten")
		}
	}
	equal(s, s.prune(store.PruneRequest{Done: day}), 12, "events that were forgotten")
	equal(s, s.count(), 0, "events")
	s.claims("a new one", s.line(1, "ep:k", "k")...)
}

func pruneSurvives(s *suite) {
	for name, way := range s.restarts() {
		gone := s.finished(5, store.OpDone)
		stays := s.add(store.Event{}, store.NewDelivery{Destination: "ep:z", After: 9999 * day})
		time.Sleep(10 * day)
		equal(s, s.prune(store.PruneRequest{Done: day}), 5, "events that were forgotten")
		last := s.add(store.Event{})
		seq := s.event(last).Seq
		way()
		equal(s, len(s.events(store.EventQuery{IDs: gone})), 0, "forgotten events after "+name)
		s.event(stays)
		if next := s.event(s.add(store.Event{})).Seq; next <= seq {
			s.Errorf("after %s, Seq %d comes after %d", name, next, seq)
		}
		time.Sleep(2 * day)
		equal(s, s.prune(store.PruneRequest{Done: day}), 2, "events that were forgotten")
		way()
		if next := s.event(s.add(store.Event{})).Seq; next <= seq {
			s.Errorf("when everything done was forgotten, after %s, Seq %d comes after %d", name, next, seq)
		}
		time.Sleep(2 * day)
		s.prune(store.PruneRequest{Done: day})
	}
}

func lateReportsOfGone(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	old := s.one()
	time.Sleep(2 * time.Minute)
	s.end(s.one(), store.OpDone, 0)
	time.Sleep(10 * day)
	equal(s, s.prune(store.PruneRequest{Done: day}), 1, "events that were forgotten")
	s.is(s.settle(store.Settle{ID: id, Gen: old.Gen, Op: store.OpDone, Attempt: try(200)}), "a late settle of what was forgotten", store.ErrNotFound)
	s.idle("it was forgotten")
}

// oneBatchOfManyFates: events that came in one batch may be forgotten together with the last of them, but never early.
func oneBatchOfManyFates(s *suite) {
	ids := s.addMany(40, store.Event{Payload: []byte("payload")}, func(i int) store.NewDelivery {
		return lane(store.Destination(fmt.Sprint("ep:", i)), "k")
	})
	for i, l := range s.claims("all of them", firsts(ids)...) {
		switch i % 4 {
		case 0:
			s.end(l, store.OpRetry, 100*day)
		case 1:
			s.end(l, store.OpDead, 0)
		default:
			s.end(l, store.OpDone, 0)
		}
	}
	time.Sleep(10 * day)
	gone := s.prune(store.PruneRequest{Done: day, Limit: 100})
	left := s.deliveries(store.DeliveryQuery{Page: store.Paging{Limit: 1000}})
	equal(s, len(left), 40-gone, "deliveries that are left")
	equal(s, s.count(), 40-gone, "events that are left")
	states := map[store.State]int{}
	for _, d := range left {
		states[d.State]++
		equal(s, string(s.event(d.ID.Event).Payload), "payload", "the payload of what is left")
	}
	if states[store.Pending] != 10 || states[store.Dead] != 10 {
		s.Errorf("of 10 pending and 10 dead ones, %v are left", states)
	}
	if s.Reopen != nil {
		s.reopen()
	}
	time.Sleep(91 * day)
	equal(s, len(s.claimAll(store.ClaimRequest{})), 10, "retries that came back")
}

func firsts(ids []store.ID) []store.DeliveryID {
	var out []store.DeliveryID
	for _, id := range ids {
		out = append(out, first(id))
	}
	return out
}
