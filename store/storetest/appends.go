package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// appendCases: an event is added with all its deliveries or not at all, once, whatever its ID.
var appendCases = []testCase{
	{"AnEventComesWithItsDeliveries", comesWithDeliveries},
	{"AnEventWithoutDeliveries", withoutDeliveries},
	{"AKnownIDIsRepeated", knownIDIsRepeated},
	{"AKnownIDTwiceInABatch", knownIDInABatch},
	{"SeqIsCommitOrder", seqIsCommitOrder},
	{"IDsInAnyOrder", idsInAnyOrder},
	{"IDsSurviveRestarts", idsSurviveRestarts},
	{"ABadItemHarmsNoNeighbour", badItemHarmsNobody},
	{"ItemsAreDecidedInOrder", itemsInOrder},
	{"AnEmptyBatch", emptyBatch},
	{"DelayedDeliveries", delayedDeliveries},
	{"ConcurrentCommits", concurrentCommits},
}

// laterCases: deliveries that are added to an event that is there.
var laterCases = []testCase{
	{"AddsToAnEvent", addsToAnEvent},
	{"ATakenNumberIsSkipped", takenNumberIsSkipped},
	{"AnUnknownEventIsNotFound", laterNotFound},
	{"SmallNumbersChangeNothing", laterSmallNumbers},
	{"ToAnEventOfTheSameBatch", laterSameBatch},
}

func asLimit(err error) *store.LimitError {
	var l *store.LimitError
	errors.As(err, &l)
	return l
}

func comesWithDeliveries(s *suite) {
	id := s.add(store.Event{Tenant: "a", Type: "t"}, to("ep:a"), to("ep:b"), to("ep:b"))
	equal(s, s.event(id).Deliveries, 3, "Event.Deliveries")
	ds := s.deliveries(store.DeliveryQuery{Tenant: "a", Event: id, Oldest: true})
	equal(s, len(ds), 3, "deliveries of the event")
	for _, d := range ds {
		want := store.Destination("ep:b")
		if d.ID.N == 0 {
			want = "ep:a"
		}
		equal(s, d.Destination, want, "the destination of "+d.ID.String())
		equal(s, d.State, store.Pending, "the state of a new delivery")
		equal(s, d.Class, store.Live, "the class of a new delivery")
		if d.Attempts != 0 || d.Recorded != 0 || d.Abandoned != 0 || !d.Settled.IsZero() || !d.FirstAttempt.IsZero() || !d.Origin.IsZero() {
			s.Errorf("a new delivery has a past: %+v", d)
		}
		equal(s, len(s.attempts(d.ID)), 0, "attempts of a new delivery")
	}
	s.claims("three deliveries", store.DeliveryID{Event: id}, store.DeliveryID{Event: id, N: 1}, store.DeliveryID{Event: id, N: 2})
}

func withoutDeliveries(s *suite) {
	id := s.add(store.Event{Payload: []byte("x")})
	equal(s, s.event(id).Deliveries, 0, "Event.Deliveries")
	s.idle("there is no delivery")
}

func knownIDIsRepeated(s *suite) {
	id := s.id()
	a := store.Append{Event: &store.Event{ID: id, Payload: []byte("first")}, Deliveries: []store.NewDelivery{to("ep:a")}}
	was := s.append(a)
	s.ok(was.Err, "append")
	time.Sleep(time.Hour)
	other := store.Append{Event: &store.Event{ID: id, Payload: []byte("second"), IdempotencyKey: "k"}, Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")}}
	check := func(when string) {
		for _, a := range []store.Append{a, other} {
			r := s.append(a)
			if r.Err != nil || !r.Repeated || r.ID != id || r.Seq != was.Seq || !sameTime(r.Accepted, was.Accepted) || r.Deliveries != 1 {
				s.Errorf("append of a known ID %s: %+v, the first time it was %+v", when, r, was)
			}
		}
	}
	check("while it is pending")
	equal(s, string(s.event(id).Payload), "first", "the payload")
	l := s.one()
	check("while it is leased")
	s.end(l, store.OpDone, 0)
	check("when it is done")
	s.idle("a repeated event adds nothing")
	s.add(store.Event{IdempotencyKey: "k"}) // a repeated append takes no key
	for _, way := range s.restarts() {
		way()
		check("after a restart")
	}
	s.idle("a repeated event adds nothing")
}

func knownIDInABatch(s *suite) {
	id := s.id()
	r := s.commit(&store.Batch{Appends: []store.Append{
		{Event: &store.Event{ID: id, Payload: []byte("1")}, Deliveries: []store.NewDelivery{to("ep:a")}},
		{Event: &store.Event{ID: id, Payload: []byte("2")}, Deliveries: []store.NewDelivery{to("ep:a")}},
		{Event: &store.Event{ID: s.id()}},
	}}).Appends
	if r[0].Err != nil || r[0].Repeated || r[1].Err != nil || !r[1].Repeated || r[1].Seq != r[0].Seq || r[2].Err != nil || r[2].Repeated {
		s.Errorf("one ID twice in a batch: %+v", r)
	}
	equal(s, string(s.event(id).Payload), "1", "the payload")
	s.one()
}

func seqIsCommitOrder(s *suite) {
	var last uint64
	check := func(r []store.AppendResult) {
		for _, a := range r {
			if a.Seq <= last {
				s.Fatalf("Seq %d comes after %d", a.Seq, last)
			}
			last = a.Seq
		}
	}
	for range 5 {
		b := &store.Batch{}
		for range 3 {
			b.Appends = append(b.Appends, store.Append{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{to("ep:a")}})
		}
		check(s.commit(b).Appends)
		time.Sleep(time.Second)
	}
	for _, way := range s.restarts() {
		way()
		check([]store.AppendResult{s.append(store.Append{Event: &store.Event{ID: s.id()}})})
	}
}

// idsOfAllKinds are IDs that ascend, descend, come from outside, or from a clock that was set back.
func (s *suite) idsOfAllKinds() []store.ID {
	var ids []store.ID
	for range 20 {
		ids = append(ids, s.id())
	}
	for i := range 20 {
		ids = append(ids, store.ID{0: 0x90, 1: byte(100 - i), 15: 1}) // descending
	}
	for i := range 40 {
		ids = append(ids, store.ID{0: byte(i*89 + 3), 3: byte(i * 31), 15: byte(i)}) // all over
	}
	ids = append(ids, store.ID{15: 1}, store.ID{0: 1}, store.ID{
		255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
	})
	for range 20 {
		ids = append(ids, s.id()) // as if the clock had been set back
	}
	return ids
}

func idsInAnyOrder(s *suite) {
	ids := s.idsOfAllKinds()
	b := &store.Batch{}
	for i, id := range ids {
		b.Appends = append(b.Appends, store.Append{
			Event:      &store.Event{ID: id, Payload: []byte(id.String())},
			Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")},
		})
		if len(b.Appends) == 7 || i == len(ids)-1 {
			for _, r := range s.commit(b).Appends {
				if r.Err != nil || r.Repeated {
					s.Fatalf("append of the new ID %v: %+v", r.ID, r)
				}
			}
			b = &store.Batch{}
		}
	}
	s.findable(ids)
	for _, ev := range s.events(store.EventQuery{Oldest: true}) {
		equal(s, ev.ID, ids[0], "the next event in commit order")
		ids = ids[1:]
	}
	equal(s, len(ids), 0, "events that are missing")
}

// findable makes sure that each event of idsInAnyOrder is there, once, by its ID.
func (s *suite) findable(ids []store.ID) {
	s.Helper()
	for _, id := range ids {
		equal(s, string(s.event(id).Payload), id.String(), "the payload of "+id.String())
		equal(s, s.delivery(store.DeliveryID{Event: id, N: 1}).Destination, "ep:b", "the second destination of "+id.String())
		if r := s.append(store.Append{Event: &store.Event{ID: id}}); !r.Repeated || r.Err != nil {
			s.Fatalf("append of the known ID %v: %+v", id, r)
		}
	}
	all := s.events(store.EventQuery{IDs: append([]store.ID{{7: 7}}, ids...), Page: store.Paging{Limit: 10}})
	equal(s, len(all), len(ids), "events that are found by a list of IDs")
}

func idsSurviveRestarts(s *suite) {
	ids := s.idsOfAllKinds()
	ways := s.restarts()
	for i, id := range ids {
		s.add(store.Event{ID: id, Payload: []byte(id.String())}, to("ep:a"), to("ep:b"))
		if i%40 == 20 {
			for _, way := range ways {
				way()
			}
		}
	}
	s.findable(ids)
}

func badItemHarmsNobody(s *suite) {
	old := s.add(store.Event{IdempotencyKey: "k"}, to("ep:a"))
	l := s.one()
	good, good2 := s.id(), s.id()
	r := s.commit(&store.Batch{
		Docs: []store.DocPut{
			{Doc: store.Doc{Kind: "endpoint", ID: "bad"}, Expect: 7},
			{Doc: store.Doc{Kind: "endpoint", ID: "good", Data: []byte("x")}},
		},
		Gates: []store.Gate{{Destination: "ep:z", Cause: "paused", Hold: -1}},
		Settles: []store.Settle{
			{ID: store.DeliveryID{Event: store.ID{9}}, Gen: 1, Op: store.OpDone},
			{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRetry, After: time.Hour, Attempt: try(500)},
			{ID: l.Delivery.ID, Gen: l.Gen + 1000, Op: store.OpDone},
		},
		Appends: []store.Append{
			{Event: &store.Event{ID: good}, Deliveries: []store.NewDelivery{to("ep:a")}},
			{Event: &store.Event{ID: s.id(), IdempotencyKey: "k"}, Fingerprint: 99, Deliveries: []store.NewDelivery{to("ep:a")}},
			{To: store.ID{9}, Deliveries: []store.NewDelivery{later("ep:a", 0)}},
			{Event: &store.Event{ID: old}},
			{Event: &store.Event{ID: good2}, Deliveries: []store.NewDelivery{to("ep:a")}},
		},
	})
	s.is(r.Docs[0].Err, "a document of another version", store.ErrConflict)
	s.ok(r.Docs[1].Err, "the document beside")
	s.ok(r.Gates[0], "the gate beside")
	s.is(r.Settles[0], "a settle of an unknown delivery", store.ErrNotFound)
	s.ok(r.Settles[1], "the settle beside")
	s.is(r.Settles[2], "a settle without the lease", store.ErrLeaseLost)
	s.ok(r.Appends[0].Err, "the append beside")
	s.is(r.Appends[1].Err, "an append whose key is taken", store.ErrConflict)
	s.is(r.Appends[2].Err, "deliveries of an unknown event", store.ErrNotFound)
	equal(s, r.Appends[3].Repeated, true, "Repeated of a known ID")
	s.ok(r.Appends[4].Err, "the append beside")
	equal(s, len(s.docs(store.DocQuery{Kind: "endpoint"})), 1, "documents")
	s.claims("the two good appends", first(good), first(good2))
	s.state(l.Delivery.ID, store.Pending, "after its retry")
}

// itemsInOrder: documents, gates, settles, appends; each kind in the order of its slice.
func itemsInOrder(s *suite) {
	s.add(store.Event{}, to("ep:a"))
	l := s.one()
	id := s.id()
	r := s.commit(&store.Batch{
		Appends: []store.Append{
			{Event: &store.Event{ID: id}, Deliveries: []store.NewDelivery{to("ep:held"), to("ep:a")}},
			{To: id, Deliveries: []store.NewDelivery{later("ep:b", 1)}},
		},
		Settles: []store.Settle{
			{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRelease, After: time.Hour},
			{ID: l.Delivery.ID, Op: store.OpHurry},
			{ID: l.Delivery.ID, Op: store.OpCancel, Reason: "enough"},
			{ID: l.Delivery.ID, Op: store.OpHurry},
		},
		Gates: []store.Gate{
			{Destination: "ep:held", Cause: "paused"},
			{Destination: "ep:held", Cause: "paused", Hold: -1},
			{Destination: "ep:a", Cause: "paused", Hold: -1},
			{Destination: "ep:a", Cause: "paused"},
		},
		Docs: []store.DocPut{
			{Doc: store.Doc{Kind: "job", ID: "j", Data: []byte("1")}},
			{Doc: store.Doc{Kind: "job", ID: "j", Data: []byte("2")}, Expect: 1},
			{Doc: store.Doc{Kind: "job", ID: "j", Data: []byte("3")}, Expect: 1},
		},
		Lease: ptr(request(store.ClaimRequest{})),
	})
	s.ok(r.Docs[0].Err, "the first put")
	s.ok(r.Docs[1].Err, "the second put")
	s.is(r.Docs[2].Err, "the third put", store.ErrConflict)
	for i := range 3 {
		s.ok(r.Settles[i], fmt.Sprintf("settle %d", i))
	}
	s.is(r.Settles[3], "a hurry after a cancel", store.ErrConflict)
	s.ok(r.Appends[0].Err, "append")
	s.ok(r.Appends[1].Err, "append to an event of the same batch")
	for _, g := range r.Appends[0].Leased {
		if g.Index == 0 {
			s.Errorf("a lease was granted on a destination that the same batch holds")
		}
	}
	equal(s, string(s.docs(store.DocQuery{Kind: "job"})[0].Data), "2", "the document")
	s.state(l.Delivery.ID, store.Cancelled, "after release, hurry, cancel")
	granted := len(r.Appends[0].Leased) + len(r.Appends[1].Leased)
	equal(s, granted+len(s.claimAll(store.ClaimRequest{})), 2, "leases on deliveries that are not held")
}

func emptyBatch(s *suite) {
	s.commit(&store.Batch{})
	s.commit(&store.Batch{Lease: ptr(request(store.ClaimRequest{}))})
	s.idle("nothing was appended")
}

func delayedDeliveries(s *suite) {
	id := s.add(store.Event{}, store.NewDelivery{Destination: "ep:a", After: time.Hour}, to("ep:a"), store.NewDelivery{Destination: "ep:a", After: time.Minute})
	at := time.Now()
	if d := s.delivery(first(id)); !sameTime(d.Due, at.Add(time.Hour)) || d.State != store.Pending {
		s.Errorf("a delivery after an hour, at %v: %+v", at, d)
	}
	s.end(s.claims("the one without delay", store.DeliveryID{Event: id, N: 1})[0], store.OpDone, 0)
	time.Sleep(time.Minute - time.Second)
	s.idle("nothing is due")
	time.Sleep(2 * time.Second)
	s.end(s.claims("the one after a minute", store.DeliveryID{Event: id, N: 2})[0], store.OpDone, 0)
	for _, way := range s.restarts() {
		way()
		s.idle("nothing is due after a restart")
	}
	time.Sleep(59 * time.Minute)
	s.claims("the one after an hour", first(id))
}

func concurrentCommits(s *suite) {
	const writers, rounds = 8, 20
	ids := make([][]store.ID, writers)
	for w := range writers {
		for range rounds {
			ids[w] = append(ids[w], s.id())
		}
	}
	results := make([][]store.AppendResult, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for _, id := range ids[w] {
				r, err := s.store.Commit(s.ctx, &store.Batch{Appends: []store.Append{
					{Event: &store.Event{ID: id, Payload: []byte(id.String())}, Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")}},
				}})
				if err != nil {
					s.Errorf("Commit: %v", err)
					return
				}
				results[w] = append(results[w], r.Appends[0])
			}
		})
	}
	wg.Wait()
	seqs := map[uint64]bool{}
	for w := range writers {
		for i, r := range results[w] {
			if r.Err != nil || r.ID != ids[w][i] || r.Repeated || seqs[r.Seq] || i > 0 && r.Seq <= results[w][i-1].Seq {
				s.Errorf("append %d of writer %d: %+v", i, w, r)
			}
			seqs[r.Seq] = true
		}
	}
	s.findable(slices.Concat(ids...))
	equal(s, len(s.claimAll(store.ClaimRequest{})), 2*writers*rounds, "leases")
}

func addsToAnEvent(s *suite) {
	id := s.add(store.Event{Tenant: "a", Source: "src", Type: "t", Payload: []byte("x")}, to("ep:a"))
	s.end(s.one(), store.OpDone, 0)
	time.Sleep(time.Minute)
	at := time.Now()
	d := later("ep:b", 1<<40)
	d.Origin, d.Lane = first(id), "lane"
	r := s.append(store.Append{To: id, Deliveries: []store.NewDelivery{d}})
	if r.Err != nil || r.ID != id {
		s.Fatalf("deliveries added to an event: %+v", r)
	}
	got := s.delivery(store.DeliveryID{Event: id, N: d.N})
	ev := s.event(id)
	want := store.Delivery{
		ID: store.DeliveryID{Event: id, N: d.N}, Seq: ev.Seq, Tenant: "a", Source: "src", Type: "t", Destination: "ep:b", Lane: "lane",
		State: store.Pending, Class: store.Replay, Due: got.Due, Created: at, Origin: first(id),
	}
	if diff := diffDelivery(&want, &got); diff != "" || got.Due.After(at) {
		s.Errorf("a later delivery: %s: %+v", diff, got)
	}
	equal(s, ev.Deliveries, 1, "Event.Deliveries, which does not count later ones")
	l := s.claims("the later delivery", want.ID)[0]
	equal(s, string(l.Event.Payload), "x", "its payload")
	s.end(l, store.OpRetry, time.Hour)
	equal(s, s.delivery(want.ID).Class, store.Replay, "the class of a replayed delivery after a retry")
	r = s.append(store.Append{To: id, Deliveries: []store.NewDelivery{{Destination: "ep:c", N: store.FirstLater}}})
	s.ok(r.Err, "a later delivery of class Live, with the smallest number")
	s.claims("the second one", store.DeliveryID{Event: id, N: store.FirstLater})
	equal(s, len(s.deliveries(store.DeliveryQuery{Tenant: "a", Event: id})), 3, "deliveries of the event")
}

func takenNumberIsSkipped(s *suite) {
	id := s.add(store.Event{}, to("ep:a"))
	a := store.Append{To: id, Deliveries: []store.NewDelivery{later("ep:b", 1), later("ep:b", 2), later("ep:b", 1)}}
	s.ok(s.append(a).Err, "later deliveries")
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		s.end(l, store.OpDone, 0)
	}
	again := store.Append{To: id, Deliveries: []store.NewDelivery{later("ep:x", 1), later("ep:c", 3), later("ep:x", 2)}}
	for range 2 {
		s.ok(s.append(again).Err, "later deliveries of which some are there")
	}
	s.claims("the new one", store.DeliveryID{Event: id, N: store.FirstLater + 3})
	for _, n := range []uint64{1, 2} {
		d := s.state(store.DeliveryID{Event: id, N: store.FirstLater + n}, store.Done, "that was skipped")
		equal(s, d.Destination, "ep:b", "its destination")
	}
	for _, way := range s.restarts() {
		way()
		s.ok(s.append(again).Err, "later deliveries that are there, after a restart")
	}
	equal(s, len(s.deliveries(store.DeliveryQuery{Event: id})), 4, "deliveries of the event")
}

func laterNotFound(s *suite) {
	s.add(store.Event{}, to("ep:a"))
	r := s.append(store.Append{To: store.ID{5}, Deliveries: []store.NewDelivery{later("ep:a", 0)}})
	s.is(r.Err, "deliveries of an unknown event", store.ErrNotFound)
	equal(s, len(s.deliveries(store.DeliveryQuery{Tenant: store.AllTenants})), 1, "deliveries")
}

// laterSmallNumbers: what becomes of a number below FirstLater is not said, but nothing that was there may change.
func laterSmallNumbers(s *suite) {
	id := s.add(store.Event{}, to("ep:a"), to("ep:b"))
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		s.end(l, store.OpDone, 0)
	}
	s.append(store.Append{To: id, Deliveries: []store.NewDelivery{to("ep:x"), {Destination: "ep:x", N: 1}, {Destination: "ep:x", N: 2}}})
	s.idle("a number below FirstLater adds nothing")
	equal(s, s.state(first(id), store.Done, "after that").Destination, "ep:a", "its destination")
	equal(s, len(s.deliveries(store.DeliveryQuery{Event: id})), 2, "deliveries of the event")
}

func laterSameBatch(s *suite) {
	id := s.id()
	r := s.commit(&store.Batch{Appends: []store.Append{
		{Event: &store.Event{ID: id}, Deliveries: []store.NewDelivery{to("ep:a")}},
		{To: id, Deliveries: []store.NewDelivery{later("ep:b", 4), later("ep:c", 5)}},
		{To: id, Deliveries: []store.NewDelivery{later("ep:x", 4)}},
	}}).Appends
	for i := range r {
		s.ok(r[i].Err, "append")
	}
	s.claims("all three", first(id), store.DeliveryID{Event: id, N: store.FirstLater + 4}, store.DeliveryID{Event: id, N: store.FirstLater + 5})
	equal(s, s.delivery(store.DeliveryID{Event: id, N: store.FirstLater + 4}).Destination, "ep:b", "the destination")
}
