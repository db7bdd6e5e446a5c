package storetest

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// settleCases: the outcome of a claimed delivery, fenced by the generation of the lease.
var settleCases = []testCase{
	{"Done", settleDone},
	{"DoneWithoutAnAttempt", doneWithoutAttempt},
	{"Retry", settleRetry},
	{"Dead", settleDead},
	{"Release", settleRelease},
	{"RetriesCount", retriesCount},
	{"AStaleGenerationIsRefused", staleGeneration},
	{"NoGenerationIsRefused", noGeneration},
	{"ALateReportIsKept", lateReport},
	{"TwiceIsRefused", settleTwice},
	{"AfterTheEndButBeforeTheNextClaim", settleAfterEnd},
	{"AnotherTenant", settleOtherTenant},
	{"Unknown", settleUnknown},
	{"MixedResults", mixedResults},
	{"NumbersNeverRepeat", numbersNeverRepeat},
	{"ALostLeaseDoesNotHarmTheNext", lostLeaseHarmsNobody},
	{"ManyAttempts", manyAttempts},
	{"OutcomesSurviveRestarts", outcomesSurvive},
}

func settleDone(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	time.Sleep(time.Second)
	at := time.Now()
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDone, Attempt: try(204), Reason: "delivered"})
	d := s.state(id, store.Done, "after OpDone")
	if !sameTime(d.Settled, at) || d.Code != 204 || d.Error != "" || d.Reason != "delivered" || d.Recorded == 0 || d.Attempts != 1 || !sameTime(d.FirstAttempt, at) {
		s.Errorf("a delivery that was done at %v: %+v", at, d)
	}
	as := s.attempts(id)
	if len(as) != 1 || as[0].Code != 204 || as[0].Late || !as[0].Counted || as[0].Gen != l.Gen || !sameTime(as[0].At, at.Add(-as[0].Took)) {
		s.Errorf("its attempts: %+v", as)
	}
	time.Sleep(1000 * time.Hour)
	s.idle("it is done for good")
}

func doneWithoutAttempt(s *suite) {
	for _, reason := range []string{"filtered", "delivered", ""} {
		id := first(s.add(store.Event{}, to("ep:a")))
		at := time.Now()
		s.must(store.Settle{ID: id, Gen: s.claims("it is due", id)[0].Gen, Op: store.OpDone, Reason: reason})
		d := s.state(id, store.Done, "after OpDone")
		if d.Reason != reason || !sameTime(d.Settled, at) || d.Recorded != 0 || d.Code != 0 || d.Attempts != 0 {
			s.Errorf("a delivery with nothing to do, for the reason %q: %+v", reason, d)
		}
		equal(s, len(s.attempts(id)), 0, "attempts")
	}
	s.idle("all is done")
}

func settleRetry(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	at := time.Now()
	a := try(503)
	a.Ago = 100 * time.Millisecond
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpRetry, After: 5 * time.Minute, Attempt: a})
	d := s.state(id, store.Pending, "after OpRetry")
	if d.Attempts != 1 || d.Class != store.Retry || !sameTime(d.Due, at.Add(5*time.Minute)) || d.Code != 503 || d.Error != a.Error ||
		!sameTime(d.FirstAttempt, at.Add(-a.Ago)) {
		s.Errorf("a delivery that failed at %v: %+v", at, d)
	}
	if as := s.attempts(id); len(as) != 1 || !as[0].Counted || as[0].Late {
		s.Errorf("its attempts: %+v", as)
	}
	time.Sleep(5*time.Minute + time.Second)
	l = s.claims("the retry is due", id)[0]
	equal(s, l.Delivery.Attempts, 1, "Attempts of the lease")
	equal(s, l.Delivery.Class, store.Retry, "the class of the lease")
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpRetry, After: time.Minute}) // an attempt that nobody describes
	d = s.delivery(id)
	equal(s, d.Attempts, 2, "Attempts")
	if !sameTime(d.FirstAttempt, at.Add(-a.Ago)) {
		s.Errorf("FirstAttempt is %v after the second, and was %v", d.FirstAttempt, at.Add(-a.Ago))
	}
}

func settleDead(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	at := time.Now()
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDead, Attempt: try(400), Reason: "refused"})
	d := s.state(id, store.Dead, "after OpDead")
	if d.Attempts != 1 || d.Reason != "refused" || d.Code != 400 || !sameTime(d.Settled, at) {
		s.Errorf("a delivery that is dead since %v: %+v", at, d)
	}
	if as := s.attempts(id); len(as) != 1 || !as[0].Counted {
		s.Errorf("its attempts: %+v", as)
	}
	time.Sleep(1000 * time.Hour)
	s.idle("a dead letter is not tried by itself")
}

func settleRelease(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	at := time.Now()
	s.must(store.Settle{ID: id, Gen: s.one().Gen, Op: store.OpRelease, After: time.Minute})
	d := s.state(id, store.Pending, "after OpRelease")
	if d.Attempts != 0 || d.Class != store.Live || !sameTime(d.Due, at.Add(time.Minute)) || !d.FirstAttempt.IsZero() || d.Abandoned != 0 {
		s.Errorf("a delivery that was given back at %v: %+v", at, d)
	}
	s.idle("it is not due for a minute")
	time.Sleep(time.Minute + time.Second)
	s.must(store.Settle{ID: id, Gen: s.claims("it is due", id)[0].Gen, Op: store.OpRelease, Attempt: try(0)})
	d = s.delivery(id)
	as := s.attempts(id)
	if d.Attempts != 0 || len(as) != 1 || as[0].Counted || as[0].Late {
		s.Errorf("a delivery that was given back with an attempt: %+v, %+v", d, as)
	}
	s.end(s.claims("it is due at once", id)[0], store.OpDone, 0)
}

func retriesCount(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	for i := range 10 {
		l := s.claims("the retry is due", id)[0]
		equal(s, l.Delivery.Attempts, i, "Attempts")
		s.end(l, store.OpRetry, time.Minute)
		time.Sleep(time.Minute + time.Second)
		if i%4 == 1 && s.Reopen != nil {
			s.reopen()
		}
	}
	s.end(s.claims("the last one", id)[0], store.OpDead, 0)
	equal(s, s.delivery(id).Attempts, 11, "Attempts")
	as := s.attempts(id)
	equal(s, len(as), 11, "recorded attempts")
	for i, a := range as {
		if !a.Counted || a.Late || i > 0 && !a.At.After(as[i-1].At) {
			s.Errorf("attempt %d: %+v", i, a)
		}
	}
}

func staleGeneration(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	old := s.one()
	time.Sleep(time.Minute + time.Second)
	l := s.one()
	for _, op := range []store.Op{store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend} {
		for _, gen := range []uint64{old.Gen, l.Gen + 1, l.Gen + 1<<40} {
			s.is(s.settle(store.Settle{ID: id, Gen: gen, Op: op, After: time.Hour}), fmt.Sprintf("%v with generation %d of %d", op, gen, l.Gen), store.ErrLeaseLost)
			d := s.state(id, store.Leased, "after a settle of another generation")
			if d.Gen != l.Gen || !sameTime(d.Due, l.Delivery.Due) || d.Attempts != 0 {
				s.Fatalf("%v of another generation changed the lease: %+v", op, d)
			}
		}
	}
	s.end(l, store.OpDone, 0)
}

func noGeneration(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	try := func(want store.State, when string) {
		for _, op := range []store.Op{store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend} {
			s.is(s.settle(store.Settle{ID: id, Op: op, After: time.Hour}), op.String()+" without a lease, "+when, store.ErrLeaseLost)
			s.state(id, want, "after "+op.String()+" without a lease, "+when)
		}
	}
	try(store.Pending, "before any claim")
	l := s.one()
	try(store.Leased, "while it is leased")
	s.end(l, store.OpRetry, 0)
	try(store.Pending, "after a retry")
	s.end(s.one(), store.OpDead, 0)
	try(store.Dead, "when it is dead")
	s.must(store.Settle{ID: id, Op: store.OpCancel})
	try(store.Cancelled, "when it is cancelled")
}

// lateReport: what is reported after the lease was lost is evidence, and nothing else.
func lateReport(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	old := s.one()
	time.Sleep(time.Minute + time.Second)
	l := s.one()
	at := time.Now()
	a := try(200)
	a.Ago = 10 * time.Second
	s.is(s.settle(store.Settle{ID: id, Gen: old.Gen, Op: store.OpDone, Attempt: a, Reason: "delivered"}), "a settle of a lost lease", store.ErrLeaseLost)
	as := s.attempts(id)
	if len(as) != 1 || !as[0].Late || as[0].Counted || as[0].Gen != old.Gen || as[0].Code != 200 || !sameTime(as[0].At, at.Add(-a.Ago-a.Took)) {
		s.Fatalf("the attempts after a late report at %v of generation %d: %+v", at, old.Gen, as)
	}
	d := s.state(id, store.Leased, "after a late report")
	if d.Recorded != as[0].No || d.Attempts != 0 || d.Gen != l.Gen || !sameTime(d.Due, l.Delivery.Due) || d.Code != 0 || d.Class != store.Live {
		s.Errorf("a late report changed the delivery: %+v", d)
	}
	s.end(l, store.OpRetry, time.Hour)
	s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDead, Attempt: try(418)}), "a settle after a settle", store.ErrLeaseLost)
	as = s.attempts(id)
	if len(as) < 2 || as[1].Late || as[1].Gen != l.Gen || !as[1].Counted {
		s.Errorf("the attempts after a retry: %+v", as)
	}
	// A lease makes one attempt. A store may take a second report for the first one again, or keep it.
	if len(as) > 3 || len(as) == 3 && (!as[2].Late || as[2].Code != 418) {
		s.Errorf("the attempts after a retry and another report of the same lease: %+v", as)
	}
	d = s.state(id, store.Pending, "after its retry and a late report")
	equal(s, d.Attempts, 1, "Attempts")
	equal(s, d.Code, 500, "Code, which is that of the last settle")
	for _, way := range s.restarts() {
		way()
		if got := s.attempts(id); diffAttempts(as, got) != "" {
			s.Errorf("after a restart: %s", diffAttempts(as, got))
		}
	}
}

func settleTwice(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpRetry, After: time.Hour})
	for _, op := range []store.Op{store.OpDone, store.OpDead, store.OpRelease, store.OpExtend} {
		s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: op, After: time.Minute}), op.String()+" after a retry", store.ErrLeaseLost)
	}
	d := s.state(id, store.Pending, "after its retry")
	equal(s, d.Attempts, 1, "Attempts")
	s.idle("it is due in an hour")
	time.Sleep(time.Hour + time.Second)
	s.end(s.one(), store.OpDone, 0)
	s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: store.OpRetry}), "a retry of the first lease, when it is done", store.ErrLeaseLost)
	s.state(id, store.Done, "in the end")

	// Two settles of one lease in one batch: the first one wins.
	id = first(s.add(store.Event{}, to("ep:a")))
	l = s.one()
	r := s.commit(&store.Batch{Settles: []store.Settle{
		{ID: id, Gen: l.Gen, Op: store.OpDone, Attempt: try(200)},
		{ID: id, Gen: l.Gen, Op: store.OpRetry, Attempt: try(500)},
	}})
	s.ok(r.Settles[0], "the first settle")
	s.is(r.Settles[1], "the second settle", store.ErrLeaseLost)
	s.state(id, store.Done, "after done and retry in one batch")
}

func settleAfterEnd(s *suite) {
	for _, op := range []store.Op{store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend} {
		id := first(s.add(store.Event{}, to("ep:a")))
		l := s.claims("it is due", id)[0]
		time.Sleep(time.Minute + time.Second)
		s.is(s.settle(store.Settle{ID: id, Gen: l.Gen, Op: op, After: time.Hour, Attempt: try(200)}), op.String()+" after the end of the lease", store.ErrLeaseLost)
		as := s.attempts(id)
		if len(as) != 1 || !as[0].Late || as[0].Counted {
			s.Errorf("the attempts after a late %v: %+v", op, as)
		}
		s.end(s.claims("its lease ended", id)[0], store.OpDone, 0)
		equal(s, len(s.attempts(id)), 2, "attempts")
	}
}

func settleOtherTenant(s *suite) {
	id := first(s.add(store.Event{Tenant: "a"}, to("ep:a")))
	l := s.one()
	for _, tenant := range []string{"b", "aa", "A"} {
		for op := store.OpDone; op <= store.OpExpire; op++ {
			x := store.Settle{ID: id, Op: op, Tenant: tenant, After: time.Hour}
			if op <= store.OpExtend {
				x.Gen, x.Attempt = l.Gen, try(200)
			}
			s.is(s.settle(x), op.String()+" by another tenant", store.ErrNotFound)
		}
	}
	equal(s, len(s.attempts(id)), 0, "attempts after settles by another tenant")
	d := s.state(id, store.Leased, "after settles by another tenant")
	equal(s, d.Gen, l.Gen, "the generation")
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpDone, Tenant: "a", Attempt: try(200)})
}

func settleUnknown(s *suite) {
	id := s.add(store.Event{}, to("ep:a"))
	l := s.one()
	for _, x := range []store.DeliveryID{{Event: store.ID{9}}, {Event: id, N: 1}, {Event: id, N: store.FirstLater}, {}} {
		for op := store.OpDone; op <= store.OpExpire; op++ {
			st := store.Settle{ID: x, Op: op}
			if op <= store.OpExtend {
				st.Gen, st.Attempt = l.Gen, try(200)
			}
			s.is(s.settle(st), op.String()+" of an unknown delivery", store.ErrNotFound)
		}
	}
	for _, op := range []store.Op{0, store.OpExpire + 1, 255} {
		if err := s.settle(store.Settle{ID: first(id), Gen: l.Gen, Op: op}); err == nil {
			s.Errorf("settle with the unknown operation %d: no error", op)
		}
	}
	s.end(l, store.OpDone, 0)
}

func mixedResults(s *suite) {
	s.addMany(9, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i))) })
	ls := s.claimAll(store.ClaimRequest{})
	equal(s, len(ls), 9, "leases")
	b := &store.Batch{}
	ops := []store.Op{store.OpDone, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend}
	for i, l := range ls {
		x := store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: ops[i%len(ops)], After: time.Hour, Attempt: try(200 + i), Reason: fmt.Sprint(i)}
		if i >= 5 {
			x.Gen += 1000
		}
		b.Settles = append(b.Settles, x)
	}
	r := s.commit(b)
	want := []store.State{store.Done, store.Pending, store.Dead, store.Pending, store.Leased}
	for i, err := range r.Settles {
		d := s.delivery(ls[i].Delivery.ID)
		as := s.attempts(d.ID)
		if len(as) != 1 || as[0].Code != 200+i || as[0].Late != (i >= 5) {
			s.Errorf("settle %d: attempts %+v", i, as)
		}
		if i >= 5 {
			s.is(err, fmt.Sprintf("settle %d, without the lease", i), store.ErrLeaseLost)
			equal(s, d.State, store.Leased, fmt.Sprintf("the state after settle %d", i))
			continue
		}
		s.ok(err, fmt.Sprintf("settle %d", i))
		equal(s, d.State, want[i], fmt.Sprintf("the state after settle %d", i))
	}
}

func numbersNeverRepeat(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	ways := s.restarts()
	last := 0
	for round := range 4 {
		old := s.claims("it is due", id)[0]
		time.Sleep(time.Minute + time.Second)
		s.is(s.settle(store.Settle{ID: id, Gen: old.Gen, Op: store.OpDone, Attempt: try(201 + round)}), "a late settle", store.ErrLeaseLost)
		s.end(s.claims("its lease ended", id)[0], store.OpDead, 0)
		as := s.attempts(id)
		if n := len(as); n != 2*(round+1) || as[n-2].No <= last || as[n-1].No <= as[n-2].No {
			s.Fatalf("round %d: the attempts %+v do not go on after number %d", round, as, last)
		}
		last = as[len(as)-1].No
		equal(s, s.delivery(id).Recorded, last, "Recorded")
		for _, way := range ways {
			way()
			equal(s, s.delivery(id).Recorded, last, "Recorded after a restart")
		}
		s.must(store.Settle{ID: id, Op: store.OpHurry}) // redeliver: the history goes on
		equal(s, s.delivery(id).Attempts, round+1, "Attempts after a hurry")
	}
}

func lostLeaseHarmsNobody(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	old := s.claim(store.ClaimRequest{Worker: "old"}).Leases[0]
	time.Sleep(time.Minute + time.Second)
	l := s.one()
	s.end(l, store.OpDone, 0)
	before := s.delivery(id)
	for _, op := range []store.Op{store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend, store.OpDone} {
		s.is(s.settle(store.Settle{ID: id, Gen: old.Gen, Op: op}), op.String()+" of a lost lease when it is done", store.ErrLeaseLost)
	}
	after := s.delivery(id)
	if d := diffDelivery(&before, &after); d != "" {
		s.Errorf("settles of a lost lease changed what was done: %s", d)
	}
	time.Sleep(time.Hour)
	s.idle("it is done")
}

func manyAttempts(s *suite) {
	const n = 120
	s.large = true
	id := first(s.add(store.Event{}, to("ep:a")))
	for i := range n {
		a := try(500)
		a.Response = []byte(fmt.Sprintf("answer %d", i))
		s.must(store.Settle{ID: id, Gen: s.one().Gen, Op: store.OpRetry, After: time.Second, Attempt: a})
		time.Sleep(2 * time.Second)
		if i == 50 && s.Reopen != nil {
			s.reopen()
		}
	}
	as := s.attempts(id)
	equal(s, len(as), n, "attempts")
	for i, a := range as {
		if want := fmt.Sprintf("answer %d", i); string(a.Response) != want || i > 0 && a.No <= as[i-1].No {
			s.Fatalf("attempt %d: %+v", i, a)
		}
	}
	equal(s, s.delivery(id).Attempts, n, "Attempts")
}

func outcomesSurvive(s *suite) {
	s.addMany(8, store.Event{Tenant: "a", Source: "src", Type: "t"}, func(i int) store.NewDelivery {
		return lane(store.Destination(fmt.Sprint("ep:", i)), "k")
	})
	for i, l := range s.claimAll(store.ClaimRequest{}) {
		switch i {
		case 0:
			s.end(l, store.OpDone, 0)
		case 1:
			s.end(l, store.OpRetry, 10*time.Hour)
		case 2:
			s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDead, Block: true, Reason: "exhausted", Attempt: try(501)})
		case 3:
			s.end(l, store.OpRelease, 10*time.Hour)
		case 4:
			s.end(l, store.OpRelease, 0)
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpCancel, Reason: "not wanted"})
		case 5:
			s.end(l, store.OpRetry, 0)
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpExpire, Reason: "expired"})
		case 6:
			s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "filtered"})
		}
	}
	before := s.snapshot()
	for name, way := range s.restarts() {
		now := time.Now()
		way()
		if d := before.diff(s.snapshot(), now); d != "" {
			s.Errorf("after %s the store tells another story: %s", name, d)
		}
	}
}
