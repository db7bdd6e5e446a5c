package storetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// leaseCases: what becomes of leases that end without a word.
var leaseCases = []testCase{
	{"AnEndedLeaseIsDueAgain", endedLeaseIsDue},
	{"AnExtendedLeaseGoesOn", extendedLease},
	{"EachLeaseEndsAtItsTime", eachLeaseEnds},
	{"AbandonedIsCounted", abandonedIsCounted},
	{"TheFifthInARowIsPoison", fifthIsPoison},
	{"AnyWordEndsTheRow", anyWordEndsTheRow},
	{"ExtendedAndLostIsLost", extendedAndLost},
	{"PoisonDoesNotBlockALane", poisonInLane},
	{"PoisonAcrossCrashes", poisonAcrossCrashes},
	{"ARestartLosesNoWork", restartLosesNoWork},
	{"AnOldLeaseIsWorthlessAfterARestart", oldLeaseAfterRestart},
}

// bornCases: leases on the deliveries of the batch itself, only where Claim would have granted them.
var bornCases = []testCase{
	{"AGrantIsALease", grantIsALease},
	{"OnlyWhereClaimWould", onlyWhereClaimWould},
	{"WithinTheLimits", grantsWithinLimits},
	{"OnlyTheHeadOfALane", grantsInLanes},
	{"NoneWithoutAsking", noGrantsWithoutAsking},
	{"NoneOnWhatWasThere", noGrantsOnRepeated},
	{"AGrantEnds", grantEnds},
}

func endedLeaseIsDue(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	var gens []uint64
	for range 3 {
		l := s.claims("it is due", id)[0]
		if slices.Contains(gens, l.Gen) {
			s.Errorf("generation %d was given out before", l.Gen)
		}
		gens = append(gens, l.Gen)
		time.Sleep(time.Minute - time.Second)
		s.idle("the lease has a second to go")
		time.Sleep(2 * time.Second)
	}
	d := s.delivery(id)
	equal(s, d.Attempts, 0, "Attempts: a lost lease counts nothing")
	equal(s, d.Class, store.Live, "the class")
}

func extendedLease(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	for range 5 {
		time.Sleep(50 * time.Second)
		s.end(l, store.OpExtend, time.Minute)
		d := s.state(id, store.Leased, "when it was extended")
		if !sameTime(d.Due, time.Now().Add(time.Minute)) || d.Gen != l.Gen {
			s.Errorf("the lease of generation %d ends at %v, want a minute from %v: %+v", l.Gen, d.Due, time.Now(), d)
		}
	}
	time.Sleep(59 * time.Second)
	s.idle("the lease was extended")
	time.Sleep(2 * time.Second)
	s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: store.OpExtend, After: time.Hour}), "extend after the end", store.ErrLeaseLost)
	l = s.claims("the lease ended", id)[0]
	s.end(l, store.OpExtend, time.Hour)
	time.Sleep(30 * time.Minute)
	s.end(l, store.OpDone, 0)
}

func eachLeaseEnds(s *suite) {
	s.addMany(5, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i))) })
	for i := range 5 {
		got := s.claimAll(store.ClaimRequest{Accept: []store.Destination{store.Destination(fmt.Sprint("ep:", i))}, Lease: time.Duration(5-i) * time.Minute})
		equal(s, len(got), 1, "leases")
	}
	for i := range 5 {
		time.Sleep(time.Minute)
		ls := s.claimAll(store.ClaimRequest{Lease: 100 * time.Hour})
		if len(ls) != 1 || ls[0].Delivery.Destination != store.Destination(fmt.Sprint("ep:", 4-i)) {
			s.Errorf("Claim after %d minutes: %v", i+1, leaseIDs(ls))
		}
	}
}

func (s *suite) lose(id store.DeliveryID, n int) {
	s.Helper()
	for range n {
		s.claims("its lease ended", id)
		time.Sleep(time.Minute + time.Second)
	}
}

func abandonedIsCounted(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	for i := range 4 {
		l := s.claims("its lease ended", id)[0]
		equal(s, l.Delivery.Abandoned, i, "Abandoned")
		equal(s, s.delivery(id).Abandoned, i, "Abandoned")
		time.Sleep(time.Minute + time.Second)
	}
	l := s.claims("four leases ended", id)[0]
	equal(s, l.Delivery.Abandoned, 4, "Abandoned")
	s.end(l, store.OpRetry, 0)
	equal(s, s.delivery(id).Abandoned, 0, "Abandoned after a settle")
}

func fifthIsPoison(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	s.lose(id, 4)
	l := s.claims("four leases ended", id)[0]
	time.Sleep(time.Minute + time.Second)
	s.idle("five leases ended")
	d := s.state(id, store.Dead, "after five lost leases")
	equal(s, d.Reason, "poison", "the reason")
	equal(s, d.Attempts, 0, "Attempts")
	s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDone, Attempt: try(200)}), "a settle of the fifth lease", store.ErrLeaseLost)
	s.state(id, store.Dead, "after a late settle")
	if as := s.attempts(id); len(as) != 1 || !as[0].Late {
		s.Errorf("the attempts of a poisonous delivery: %+v, want a late one", as)
	}
	for _, way := range s.restarts() {
		way()
		equal(s, s.state(id, store.Dead, "after a restart").Reason, "poison", "the reason after a restart")
		s.idle("it is dead")
	}
	s.must(store.Settle{ID: id, Op: store.OpHurry})
	s.end(s.claims("hurried", id)[0], store.OpDone, 0)
}

func anyWordEndsTheRow(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	for _, op := range []store.Op{store.OpRelease, store.OpRetry} {
		s.lose(id, 4)
		s.end(s.claims("four leases ended", id)[0], op, 0)
		s.state(id, store.Pending, "after four lost leases and "+op.String())
	}
	s.lose(id, 4)
	s.end(s.claims("four leases ended", id)[0], store.OpDone, 0)
}

// extendedAndLost: what kills its process after a heartbeat is as poisonous.
func extendedAndLost(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	for range 5 {
		l := s.claims("its lease ended", id)[0]
		time.Sleep(30 * time.Second)
		s.end(l, store.OpExtend, time.Minute)
		time.Sleep(time.Minute + time.Second)
	}
	s.idle("five leases ended")
	equal(s, s.state(id, store.Dead, "after five lost leases").Reason, "poison", "the reason")
}

func poisonInLane(s *suite) {
	ids := s.line(2, "ep:a", "k")
	s.lose(ids[0], 5)
	s.claims("the next", ids[1])
	s.state(ids[0], store.Dead, "after five lost leases")
}

// poisonAcrossCrashes: a delivery that keeps killing the process is found out. A store may count fewer than there were,
// never more.
func poisonAcrossCrashes(s *suite) {
	if s.none(s.Crash != nil, "crash") {
		return
	}
	id := first(s.add(store.Event{}, to("ep:a")))
	for lost := 0; ; lost++ {
		time.Sleep(2 * time.Minute) // a lease that survived the crash ended
		ls := s.claimAll(store.ClaimRequest{})
		if len(ls) == 0 {
			if lost < 5 {
				s.Fatalf("it is not handed out any more after %d lost leases", lost)
			}
			break
		}
		if ls[0].Delivery.Abandoned > lost {
			s.Fatalf("Abandoned is %d after %d lost leases", ls[0].Delivery.Abandoned, lost)
		}
		if lost == 10 {
			s.Fatalf("it is still handed out after %d lost leases: Abandoned is %d", lost, ls[0].Delivery.Abandoned)
		}
		s.put(store.DocPut{Doc: store.Doc{Kind: "job", ID: fmt.Sprint(lost)}}) // something is written while it runs
		s.crash()
	}
	equal(s, s.state(id, store.Dead, "after so many crashes").Reason, "poison", "the reason")
	s.idle("it is dead")
}

func restartLosesNoWork(s *suite) {
	ids := s.addMany(30, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i%3))) })
	for name, way := range s.restarts() {
		s.claim(store.ClaimRequest{Max: 10})
		way()
		time.Sleep(2 * time.Minute)
		got := s.claimSuspects(len(ids))
		equal(s, len(got), len(ids), "deliveries that are due after "+name+" and the end of every lease")
		for i, l := range got {
			if i%2 == 0 {
				s.end(l, store.OpRelease, 0)
			}
		}
		way()
		time.Sleep(2 * time.Minute)
		got = s.claimSuspects(len(ids))
		equal(s, len(got), len(ids), "deliveries that are due after "+name+" and the end of every other lease")
		for _, l := range got {
			s.end(l, store.OpRelease, 0)
		}
	}
}

// claimSuspects claims all there is, up to n, and gives back what a store may try only one at a time, so that it goes on.
func (s *suite) claimSuspects(n int) []store.Lease {
	s.Helper()
	got := map[store.DeliveryID]store.Lease{}
	for range 2 * n {
		ls := s.claimAll(store.ClaimRequest{})
		for _, l := range ls {
			got[l.Delivery.ID] = l
			if l.Delivery.Abandoned >= 2 {
				s.end(l, store.OpRelease, 0)
			}
		}
		if len(ls) == 0 {
			break
		}
	}
	return slices.Collect(maps.Values(got))
}

// oldLeaseAfterRestart: either the lease is still alive, or it was lost for good. Never do two hold it.
func oldLeaseAfterRestart(s *suite) {
	for name, way := range s.restarts() {
		id := first(s.add(store.Event{}, to("ep:a")))
		old := s.claims("it is due", id)[0]
		way()
		if got := s.claimAll(store.ClaimRequest{}); len(got) == 1 {
			err := s.settle(store.Settle{ID: id, Gen: old.Gen, Op: store.OpDone, Attempt: try(201)})
			s.is(err, "a settle with a lease from before "+name, store.ErrLeaseLost)
			s.state(id, store.Leased, "after a settle with an old lease")
			s.end(got[0], store.OpDone, 0)
		} else {
			s.end(old, store.OpDone, 0)
		}
		s.idle("it is done")
	}
}

func grantIsALease(s *suite) {
	b := &store.Batch{Lease: ptr(request(store.ClaimRequest{}))}
	for i := range 6 {
		b.Appends = append(b.Appends, store.Append{
			Event:      &store.Event{ID: s.id()},
			Deliveries: []store.NewDelivery{to(store.Destination(fmt.Sprint("ep:a", i))), to("ep:b")},
		})
	}
	at := time.Now()
	r := s.commit(b)
	granted := map[store.DeliveryID]uint64{}
	for i, a := range r.Appends {
		for _, g := range a.Leased {
			id := store.DeliveryID{Event: b.Appends[i].Event.ID, N: uint64(g.Index)}
			if g.Gen == 0 || granted[id] != 0 || g.Index > 1 {
				s.Fatalf("a grant of %v: %+v", id, g)
			}
			granted[id] = g.Gen
		}
	}
	s.Logf("%d of 12 deliveries were born leased", len(granted))
	for id, gen := range granted {
		d := s.state(id, store.Leased, "that was born leased")
		equal(s, d.Gen, gen, "its generation")
		if !sameTime(d.Due, at.Add(time.Minute)) {
			s.Errorf("%v was born leased for a minute at %v, and its lease ends at %v", id, at, d.Due)
		}
	}
	rest := s.claimAll(store.ClaimRequest{})
	equal(s, len(rest)+len(granted), 12, "grants and leases")
	for _, l := range rest {
		equal(s, granted[l.Delivery.ID], uint64(0), "the generation of a grant on what was claimed")
	}
	for id, gen := range granted {
		s.is(s.settle(store.Settle{ID: id, Gen: gen + 1000, Op: store.OpDone}), "a settle with another generation", store.ErrLeaseLost)
		s.must(store.Settle{ID: id, Gen: gen, Op: store.OpDone, Attempt: try(200), Reason: "delivered"})
		d := s.state(id, store.Done, "that was settled")
		equal(s, d.Recorded, 1, "Recorded")
	}
}

func onlyWhereClaimWould(s *suite) {
	s.gate(store.Gate{Destination: "ep:held", Cause: "paused", Hold: -1})
	s.gate(store.Gate{Destination: "ep:full", Cause: "limit", MaxInFlight: 1})
	s.add(store.Event{}, to("ep:full"))
	equal(s, len(s.claimAll(store.ClaimRequest{})), 1, "leases within the limit")
	r := s.commit(&store.Batch{
		Gates: []store.Gate{{Destination: "ep:now", Cause: "asked", Hold: time.Hour}},
		Appends: []store.Append{{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{
			to("ep:held"), to("ep:full"), to("ep:now"), to("fn:none"), {Destination: "ep:later", After: time.Second}, to("ep:a"),
		}}},
		Lease: ptr(request(store.ClaimRequest{Accept: []store.Destination{"ep:*"}})),
	})
	s.ok(r.Appends[0].Err, "append")
	for _, g := range r.Appends[0].Leased {
		if g.Index != 5 {
			s.Errorf("a lease was granted on delivery %d, where Claim would not have: held, full, held, not accepted, not due, free", g.Index)
		}
	}
	got := s.claimAll(store.ClaimRequest{Accept: []store.Destination{"ep:*"}})
	equal(s, len(got)+len(r.Appends[0].Leased), 1, "grants and leases")
}

func grantsWithinLimits(s *suite) {
	ds := []store.NewDelivery{
		to("ep:a"), to("ep:a"), to("ep:a"), to("ep:b"), to("ep:b"), to("ep:c"), to("ep:d"),
		{Destination: "ep:e", Class: store.Replay},
		{Destination: "ep:f", Class: store.Replay},
	}
	r := request(store.ClaimRequest{Max: 4, PerDestination: 2, PerClass: [store.Classes]int{store.Replay: 1}})
	s.add(store.Event{}, to("ep:b"))
	equal(s, len(s.claimAll(r)), 1, "leases that the worker holds before")
	res := s.commit(&store.Batch{Lease: &r, Appends: []store.Append{{Event: &store.Event{ID: s.id()}, Deliveries: ds}}}).Appends[0]
	per := map[store.Destination]int{"ep:b": 1}
	replays := 0
	for _, g := range res.Leased {
		per[ds[g.Index].Destination]++
		if ds[g.Index].Class == store.Replay {
			replays++
		}
	}
	if len(res.Leased) > 4 || per["ep:a"] > 2 || per["ep:b"] > 2 || replays > 1 {
		s.Errorf("the grants %+v are beyond Max 4, 2 per destination, 1 replay", res.Leased)
	}
	rest := s.claimAll(r)
	equal(s, len(rest)+len(res.Leased), 2+1+1+1+1, "grants and leases within the limits per destination and class")
}

func grantsInLanes(s *suite) {
	shut := s.line(1, "ep:a", "shut")
	s.end(s.claims("the head", shut...)[0], store.OpRetry, time.Hour)
	b := &store.Batch{Lease: ptr(request(store.ClaimRequest{}))}
	for _, name := range []string{"shut", "open", "open", "shut", "open"} {
		b.Appends = append(b.Appends, store.Append{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{lane("ep:a", name)}})
	}
	r := s.commit(b)
	granted := 0
	for i, a := range r.Appends {
		granted += len(a.Leased)
		if len(a.Leased) > 0 && i != 1 {
			s.Errorf("a lease was granted on append %d, which is not the head of its lane", i)
		}
	}
	if granted == 0 {
		s.claims("the head", first(b.Appends[1].Event.ID))
		return
	}
	s.idle("the head was born leased")
	s.must(store.Settle{ID: first(b.Appends[1].Event.ID), Gen: r.Appends[1].Leased[0].Gen, Op: store.OpDone})
	s.claims("the next", first(b.Appends[2].Event.ID))
}

func noGrantsWithoutAsking(s *suite) {
	r := s.commit(&store.Batch{Appends: []store.Append{{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{to("ep:a")}}}})
	equal(s, len(r.Appends[0].Leased), 0, "grants that nobody asked for")
	s.one()
}

func noGrantsOnRepeated(s *suite) {
	id := s.add(store.Event{IdempotencyKey: "k"}, to("ep:a"))
	r := s.commit(&store.Batch{
		Lease: ptr(request(store.ClaimRequest{})),
		Appends: []store.Append{
			{Event: &store.Event{ID: id}, Deliveries: []store.NewDelivery{to("ep:a")}},
			{Event: &store.Event{ID: s.id(), IdempotencyKey: "k"}, Deliveries: []store.NewDelivery{to("ep:a")}},
		},
	})
	equal(s, len(r.Appends[0].Leased)+len(r.Appends[1].Leased), 0, "grants on appends that added nothing")
	s.claims("the first one", first(id))
}

func grantEnds(s *suite) {
	id := s.id()
	r := s.commit(&store.Batch{
		Lease:   ptr(request(store.ClaimRequest{})),
		Appends: []store.Append{{Event: &store.Event{ID: id}, Deliveries: []store.NewDelivery{to("ep:a")}}},
	})
	if len(r.Appends[0].Leased) == 0 {
		s.Log("this store granted none")
		s.one()
		return
	}
	time.Sleep(time.Minute + time.Second)
	err := s.settle(store.Settle{ID: first(id), Gen: r.Appends[0].Leased[0].Gen, Op: store.OpDone})
	s.is(err, "a settle after the grant ended", store.ErrLeaseLost)
	equal(s, s.claims("the grant ended", first(id))[0].Delivery.Abandoned, 1, "Abandoned")
	for _, way := range s.restarts() {
		way()
		time.Sleep(2 * time.Minute)
		s.claims("a restart after a grant", first(id))
	}
}
