package storetest

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// verbCases: what an operator may do to a delivery that nobody holds, in every state.
var verbCases = []testCase{
	{"EveryVerbInEveryState", everyVerb},
	{"VerbsOfOthersAreNotFound", verbsOfOthers},
	{"HurryARetry", hurryARetry},
	{"HurryADeadLetter", hurryADeadLetter},
	{"CancelIsForGood", cancelIsForGood},
	{"ExpireWhatIsHeld", expireHeld},
	{"AfterALeaseEnded", verbsAfterLease},
	{"VerbsSurviveRestarts", verbsSurvive},
}

// states are ways to bring a new delivery into a state.
var states = []struct {
	name  string
	state store.State
	bring func(s *suite, id store.DeliveryID)
}{
	{"new", store.Pending, func(*suite, store.DeliveryID) {}},
	{"retried", store.Pending, func(s *suite, id store.DeliveryID) { s.bring(id, store.OpRetry, 100*time.Hour) }},
	{"released", store.Pending, func(s *suite, id store.DeliveryID) { s.bring(id, store.OpRelease, 0) }},
	{"leased", store.Leased, func(s *suite, id store.DeliveryID) { s.bring(id, store.OpExtend, time.Hour) }},
	{"done", store.Done, func(s *suite, id store.DeliveryID) { s.bring(id, store.OpDone, 0) }},
	{"dead", store.Dead, func(s *suite, id store.DeliveryID) { s.bring(id, store.OpDead, 0) }},
	{"cancelled", store.Cancelled, func(s *suite, id store.DeliveryID) { s.must(store.Settle{ID: id, Op: store.OpCancel, Tenant: "a"}) }},
	{"cancelled when dead", store.Cancelled, func(s *suite, id store.DeliveryID) {
		s.bring(id, store.OpDead, 0)
		s.must(store.Settle{ID: id, Op: store.OpCancel, Tenant: "a"})
	}},
	{"expired", store.Dead, func(s *suite, id store.DeliveryID) { s.must(store.Settle{ID: id, Op: store.OpExpire, Tenant: "a"}) }},
	{"hurried", store.Pending, func(s *suite, id store.DeliveryID) {
		s.bring(id, store.OpDead, 0)
		s.must(store.Settle{ID: id, Op: store.OpHurry, Tenant: "a"})
	}},
}

// bring claims one delivery and settles it.
func (s *suite) bring(id store.DeliveryID, op store.Op, after time.Duration) {
	s.Helper()
	d := s.delivery(id)
	for _, l := range s.claimAll(store.ClaimRequest{Accept: []store.Destination{d.Destination}}) {
		if l.Delivery.ID == id {
			s.end(l, op, after)
			return
		}
	}
	s.Fatalf("%v was not handed out", id)
}

func everyVerb(s *suite) {
	n := 0
	for _, st := range states {
		for op := store.OpCancel; op <= store.OpExpire; op++ {
			n++
			dest := store.Destination(fmt.Sprint("ep:", n))
			id := first(s.add(store.Event{Tenant: "a"}, to(dest)))
			st.bring(s, id)
			before := s.state(id, st.state, "that is "+st.name)
			attempts := len(s.attempts(id))
			time.Sleep(time.Second)
			at := time.Now()
			err := s.settle(store.Settle{ID: id, Op: op, Tenant: "a", Reason: "by hand"})
			d := s.delivery(id)
			what := fmt.Sprintf("%v of one that is %s", op, st.name)
			equal(s, len(s.attempts(id)), attempts, "attempts after "+what)
			equal(s, d.Attempts, before.Attempts, "Attempts after "+what)
			equal(s, d.Recorded, before.Recorded, "Recorded after "+what)
			switch {
			case st.state != store.Pending && (st.state != store.Dead || op == store.OpExpire):
				if op == store.OpCancel && st.state == store.Cancelled || op == store.OpExpire && st.state == store.Dead {
					s.is(err, what, store.ErrConflict, nil) // it may repeat its answer
				} else {
					s.is(err, what, store.ErrConflict)
				}
				if diff := diffDelivery(&before, &d); diff != "" {
					s.Errorf("%s was refused and changed it: %s", what, diff)
				}
			case op == store.OpHurry:
				s.ok(err, what)
				if d.State != store.Pending || d.Due.After(at) {
					s.Errorf("%s at %v: %+v", what, at, d)
				}
				got := s.claimAll(store.ClaimRequest{Accept: []store.Destination{dest}})
				if len(got) != 1 || got[0].Delivery.ID != id {
					s.Errorf("Claim after %s: %v", what, leaseIDs(got))
				}
			default:
				s.ok(err, what)
				want := store.Cancelled
				if op == store.OpExpire {
					want = store.Dead
				}
				if d.State != want || d.Reason != "by hand" || !sameTime(d.Settled, at) {
					s.Errorf("%s at %v: %+v", what, at, d)
				}
				if got := s.claimAll(store.ClaimRequest{Accept: []store.Destination{dest}}); len(got) > 0 {
					s.Errorf("Claim after %s: %v, want nothing", what, leaseIDs(got))
				}
			}
		}
	}
}

func verbsOfOthers(s *suite) {
	id := first(s.add(store.Event{Tenant: "a"}, to("ep:a")))
	none := first(s.add(store.Event{}, to("ep:a")))
	for op := store.OpCancel; op <= store.OpExpire; op++ {
		s.is(s.settle(store.Settle{ID: id, Op: op, Tenant: "b"}), op.String()+" by another tenant", store.ErrNotFound)
		s.is(s.settle(store.Settle{ID: none, Op: op, Tenant: "b"}), op.String()+" by a tenant of what has none", store.ErrNotFound)
	}
	s.claims("nothing happened", id, none)
}

func hurryARetry(s *suite) {
	id := first(s.add(store.Event{Tenant: "a"}, to("ep:a")))
	s.end(s.one(), store.OpRetry, 100*time.Hour)
	s.idle("it waits")
	s.must(store.Settle{ID: id, Op: store.OpHurry, Tenant: "a"})
	l := s.claims("it was hurried", id)[0]
	s.end(l, store.OpRetry, time.Hour)
	s.idle("it waits again")
	time.Sleep(time.Hour + time.Second)
	s.end(s.claims("the hour is over", id)[0], store.OpDone, 0)
	time.Sleep(200 * time.Hour)
	s.idle("it is done")
}

func hurryADeadLetter(s *suite) {
	id := first(s.add(store.Event{Tenant: "a", Payload: []byte("x")}, to("ep:a")))
	s.end(s.one(), store.OpDead, 0)
	before := s.delivery(id)
	time.Sleep(time.Hour)
	s.must(store.Settle{ID: id, Op: store.OpHurry, Tenant: "a"})
	l := s.claims("it was hurried", id)[0]
	equal(s, string(l.Event.Payload), "x", "the payload")
	equal(s, l.Delivery.Class, store.Retry, "the class: its first counted attempt failed")
	if l.Gen == before.Gen {
		s.Errorf("generation %d was given out twice", l.Gen)
	}
	s.end(l, store.OpDone, 0)
	d := s.state(id, store.Done, "after its redelivery")
	if !sameTime(d.FirstAttempt, before.FirstAttempt) || !d.Settled.After(before.Settled) {
		s.Errorf("a delivery that was redelivered: %+v, before %+v", d, before)
	}
	equal(s, len(s.attempts(id)), 2, "attempts")
}

func cancelIsForGood(s *suite) {
	id := first(s.add(store.Event{Tenant: "a"}, to("ep:a")))
	l := s.one()
	s.is(s.settle(store.Settle{ID: id, Op: store.OpCancel, Tenant: "a"}), "cancel of what is leased", store.ErrConflict)
	s.end(l, store.OpRetry, time.Minute)
	s.must(store.Settle{ID: id, Op: store.OpCancel, Tenant: "a", Reason: "not wanted"})
	time.Sleep(1000 * time.Hour)
	s.idle("it was cancelled")
	s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDone}), "a settle of what was cancelled", store.ErrLeaseLost)
	s.state(id, store.Cancelled, "for good")
}

func expireHeld(s *suite) {
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused", Hold: -1})
	id := first(s.add(store.Event{Tenant: "a"}, to("ep:a")))
	time.Sleep(30 * 24 * time.Hour)
	s.must(store.Settle{ID: id, Op: store.OpExpire, Tenant: "a", Reason: "expired"})
	d := s.state(id, store.Dead, "after it expired")
	equal(s, d.Reason, "expired", "the reason")
	equal(s, d.Attempts, 0, "Attempts")
	s.gate(store.Gate{Destination: "ep:a", Cause: "paused"})
	s.idle("it is dead")
	s.must(store.Settle{ID: id, Op: store.OpHurry, Tenant: "a"})
	s.claims("it was hurried", id)
}

func verbsAfterLease(s *suite) {
	for op := store.OpCancel; op <= store.OpExpire; op++ {
		dest := store.Destination("ep:" + op.String())
		id := first(s.add(store.Event{}, to(dest)))
		l := s.claims("it is due", id)[0]
		time.Sleep(time.Minute + time.Second)
		s.must(store.Settle{ID: id, Op: op})
		s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDone}), "a settle of the lost lease", store.ErrLeaseLost)
		if op == store.OpHurry {
			s.end(s.claims("it was hurried", id)[0], store.OpDone, 0)
		}
		s.idle("nothing else")
	}
}

func verbsSurvive(s *suite) {
	for name, way := range s.restarts() {
		var ids []store.DeliveryID
		for _, id := range s.addMany(4, store.Event{}, func(int) store.NewDelivery { return to("ep:a") }) {
			ids = append(ids, first(id))
		}
		for _, l := range s.claims("all of them", ids...) {
			s.end(l, store.OpRetry, 100*time.Hour)
		}
		s.must(store.Settle{ID: ids[0], Op: store.OpCancel})
		s.must(store.Settle{ID: ids[1], Op: store.OpExpire})
		s.must(store.Settle{ID: ids[2], Op: store.OpHurry})
		way()
		s.state(ids[0], store.Cancelled, "after "+name)
		s.state(ids[1], store.Dead, "after "+name)
		s.end(s.claims("it was hurried before "+name, ids[2])[0], store.OpDone, 0)
		s.must(store.Settle{ID: ids[1], Op: store.OpHurry})
		s.end(s.claims("it was hurried after "+name, ids[1])[0], store.OpDone, 0)
		s.must(store.Settle{ID: ids[3], Op: store.OpCancel})
	}
}
