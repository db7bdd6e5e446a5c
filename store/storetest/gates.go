package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// gateCases: a destination is held while any of its causes holds.
var gateCases = []testCase{
	{"HeldUntilPutAgain", heldUntilPutAgain},
	{"HeldForATime", heldForATime},
	{"TwoCauses", twoCauses},
	{"TheSmallestLimitCounts", smallestLimit},
	{"OnlyItsDestination", onlyItsDestination},
	{"NewDeliveriesQueue", newDeliveriesQueue},
	{"GatesSurviveRestarts", gatesSurvive},
	{"GatesAreReadAsDocuments", gatesAsDocs},
	{"HeldRetries", heldRetries},
}

func heldUntilPutAgain(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	g := store.Gate{Destination: "ep:a", Cause: "paused", Hold: -1, Reason: "by a person"}
	s.gate(g)
	s.idle("it is held")
	time.Sleep(1000 * time.Hour)
	s.idle("it is held without an end")
	s.state(id, store.Pending, "while it is held")
	g.Hold = 0
	s.gate(g)
	s.claims("it is held no more", id)
}

func heldForATime(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	s.gate(store.Gate{Destination: "ep:a", Cause: "asked", Hold: time.Hour})
	s.idle("it is held")
	if res := s.claim(store.ClaimRequest{}); res.Next < 0 || res.Next > time.Hour {
		s.Errorf("Next is %v while a destination is held for an hour", res.Next)
	}
	time.Sleep(time.Hour - time.Second)
	s.idle("it is held for another second")
	time.Sleep(2 * time.Second)
	s.end(s.claims("the hold is over", id)[0], store.OpRetry, 0)
	s.gate(store.Gate{Destination: "ep:a", Cause: "asked", Hold: time.Hour})
	s.gate(store.Gate{Destination: "ep:a", Cause: "asked", Hold: time.Minute})
	time.Sleep(time.Minute + time.Second)
	s.claims("the shorter hold took the place of the longer", id)
}

func twoCauses(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused", Hold: -1})
	s.gate(store.Gate{Destination: "ep:a", Cause: "breaker", Hold: -1})
	s.gate(store.Gate{Destination: "ep:a", Cause: "asked", Hold: time.Minute})
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused"})
	s.idle("the breaker and the receiver hold")
	time.Sleep(2 * time.Minute)
	s.idle("the breaker holds")
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused", Hold: time.Hour})
	s.gate(store.Gate{Destination: "ep:a", Cause: "breaker"})
	s.idle("a person holds")
	time.Sleep(time.Hour + time.Second)
	s.claims("nobody holds", id)
}

func smallestLimit(s *suite) {
	s.addMany(20, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	s.gate(store.Gate{Destination: "ep:a", Cause: "limit", MaxInFlight: 5})
	s.gate(store.Gate{Destination: "ep:a", Cause: "slow start", MaxInFlight: 2})
	got := s.claimAll(store.ClaimRequest{})
	equal(s, len(got), 2, "leases with limits of 5 and 2")
	equal(s, len(s.claimAll(store.ClaimRequest{Worker: "other"})), 0, "leases of another worker: the limit is for all")
	s.end(got[0], store.OpDone, 0)
	equal(s, len(s.claimAll(store.ClaimRequest{Worker: "other"})), 1, "leases after one was settled")
	s.gate(store.Gate{Destination: "ep:a", Cause: "slow start"})
	equal(s, len(s.claimAll(store.ClaimRequest{})), 3, "more leases when only the limit of 5 is left")
	s.gate(store.Gate{Destination: "ep:a", Cause: "limit", MaxInFlight: 3})
	s.idle("five leases, and a limit of 3")
	time.Sleep(2 * time.Minute)
	equal(s, len(s.claimAll(store.ClaimRequest{})), 3, "leases after all of them ended")
	s.gate(store.Gate{Destination: "ep:a", Cause: "limit"})
	equal(s, len(s.claimAll(store.ClaimRequest{})), 16, "leases without a limit")
}

func onlyItsDestination(s *suite) {
	for _, d := range []store.Destination{"ep:a", "ep:ab", "ep:a b", "ep", "fn:a"} {
		s.add(store.Event{}, to(d))
	}
	s.gate(store.Gate{Destination: "ep:a", Cause: "b", Hold: -1})
	s.gate(store.Gate{Destination: "ep:a b", Cause: "c", Hold: -1})
	equal(s, len(s.claimAll(store.ClaimRequest{})), 3, "leases on destinations that are not held")
	s.gate(store.Gate{Destination: "ep:a", Cause: "b c", Hold: 0})
	s.idle("another cause was opened")
}

func newDeliveriesQueue(s *suite) {
	s.gate(store.Gate{Destination: "ep:a", Cause: "disabled", Hold: -1})
	s.addMany(10, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	s.idle("it is held")
	equal(s, len(s.deliveries(store.DeliveryQuery{Destination: "ep:a", States: []store.State{store.Pending}})), 10, "deliveries that wait")
	s.gate(store.Gate{Destination: "ep:a", Cause: "disabled"})
	equal(s, len(s.claimAll(store.ClaimRequest{})), 10, "leases after the hold")
}

func gatesSurvive(s *suite) {
	for i := range 6 {
		s.add(store.Event{}, to(store.Destination(fmt.Sprint("ep:", i%2))))
	}
	s.gate(store.Gate{Destination: "ep:0", Cause: "paused", Hold: -1})
	s.gate(store.Gate{Destination: "ep:0", Cause: "asked", Hold: 10 * time.Hour})
	s.gate(store.Gate{Destination: "ep:1", Cause: "limit", MaxInFlight: 1})
	s.gate(store.Gate{Destination: "ep:1", Cause: "paused", Hold: -1})
	s.gate(store.Gate{Destination: "ep:1", Cause: "paused"})
	for name, way := range s.restarts() {
		way()
		if got := s.claimAll(store.ClaimRequest{}); len(got) > 1 || len(got) == 1 && got[0].Delivery.Destination != "ep:1" {
			s.Fatalf("after %s: Claim brings %v past the gates", name, leaseIDs(got))
		}
		time.Sleep(2 * time.Minute)
	}
	equal(s, len(s.claimAll(store.ClaimRequest{})), 1, "leases within the limit")
	s.gate(store.Gate{Destination: "ep:0", Cause: "paused"})
	s.idle("the other cause still holds")
	if s.Reopen != nil {
		s.reopen()
	}
	time.Sleep(10 * time.Hour)
	equal(s, len(s.claimAll(store.ClaimRequest{})), 4, "leases after the holds, with a limit of 1 on the other destination")
}

func gatesAsDocs(s *suite) {
	equal(s, len(s.docs(store.DocQuery{Kind: store.KindGate})), 0, "gates at first")
	at := time.Now()
	s.gate(store.Gate{Destination: "ep:a", Cause: "asked", Hold: time.Hour, MaxInFlight: 7, Reason: "429"})
	time.Sleep(time.Minute)
	s.gate(store.Gate{Destination: "ep:b", Cause: "paused", Hold: -1})
	check := func(when string) {
		docs := s.docs(store.DocQuery{Kind: store.KindGate})
		equal(s, len(docs), 2, "gates "+when)
		for i, id := range []string{"ep:a asked", "ep:b paused"} {
			equal(s, docs[i].ID, id, "the ID of a gate "+when)
			equal(s, docs[i].Kind, store.KindGate, "its kind "+when)
			equal(s, docs[i].Group, "", "its group "+when)
		}
		var a, b store.Gate
		s.ok(json.Unmarshal(docs[0].Data, &a), "read the gate")
		s.ok(json.Unmarshal(docs[1].Data, &b), "read the gate")
		if a.Destination != "ep:a" || a.Cause != "asked" || a.MaxInFlight != 7 || a.Reason != "429" || !sameTime(a.Since, at) || !sameTime(a.Until, at.Add(time.Hour)) {
			s.Errorf("the gate that was put at %v, %s: %+v", at, when, a)
		}
		if b.Destination != "ep:b" || b.Cause != "paused" || !sameTime(b.Since, at.Add(time.Minute)) || !b.Until.IsZero() {
			s.Errorf("the gate that was put a minute after %v, %s: %+v", at, when, b)
		}
		equal(s, len(s.docs(store.DocQuery{Kind: store.KindGate, IDs: []string{"ep:b paused", "ep:x paused"}})), 1, "gates by ID "+when)
	}
	check("at once")
	for name, way := range s.restarts() {
		way()
		check("after " + name)
	}
	r := s.commit(&store.Batch{Docs: []store.DocPut{
		{Doc: store.Doc{Kind: store.KindGate, ID: "ep:b paused"}, Expect: s.docs(store.DocQuery{Kind: store.KindGate})[1].Version, Delete: true},
		{Doc: store.Doc{Kind: store.KindGate, ID: "ep:c paused", Data: []byte("{}")}},
	}})
	if r.Docs[0].Err == nil || r.Docs[1].Err == nil {
		s.Errorf("put of documents of kind gate: %+v, want errors", r.Docs)
	}
	check("after somebody tried to put them")
	s.gate(store.Gate{Destination: "ep:b", Cause: "paused"})
	for _, d := range s.docs(store.DocQuery{Kind: store.KindGate, IDs: []string{"ep:b paused"}}) {
		var g store.Gate
		s.ok(json.Unmarshal(d.Data, &g), "read the gate")
		if g.Hold != 0 || !g.Until.IsZero() {
			s.Errorf("a gate that was opened: %+v", g)
		}
	}
}

// heldRetries: what waits for a retry, or lost its lease, is held as well.
func heldRetries(s *suite) {
	s.addMany(3, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	ls := s.claimAll(store.ClaimRequest{})
	s.end(ls[0], store.OpRetry, time.Second)
	s.end(ls[1], store.OpRelease, 0)
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused", Hold: -1})
	time.Sleep(time.Hour)
	s.idle("it is held")
	s.must(store.Settle{ID: ls[0].Delivery.ID, Op: store.OpHurry})
	s.idle("it is held, also from those who are in a hurry")
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused"})
	equal(s, len(s.claimAll(store.ClaimRequest{})), 3, "leases after the hold")
}
