package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// faultCases: the n-th durable write fails, for every n.
var faultCases = []testCase{
	{"ABrokenDisk", brokenDisk},
	{"AFullDisk", fullDisk},
	{"AFailedStoreStillReads", failedStillReads},
}

var errInjected = errors.New("injected by the test")

// job is one step of the work that the sweeps do: a batch, and what has to be true if it was done.
type job struct {
	name  string
	batch func() *store.Batch
	check func()
}

// jobs appends, claims and settles, puts documents and gates, in steps that can be repeated after an error.
func (s *suite) jobs() []job {
	var list []job
	for i := range 6 {
		id := s.id()
		dest := store.Destination(fmt.Sprint("ep:", i))
		b := &store.Batch{
			Docs:    []store.DocPut{{Doc: doc("endpoint", "", fmt.Sprint(id), "x")}},
			Appends: []store.Append{{Event: &store.Event{ID: id, IdempotencyKey: fmt.Sprint(id), Payload: []byte("x")}, Deliveries: []store.NewDelivery{to(dest), to("fn:b")}}},
		}
		list = append(list, job{fmt.Sprint("append ", i), func() *store.Batch { return b }, func() {
			equal(s, string(s.event(id).Payload), "x", "the payload of an event that was accepted")
			equal(s, len(s.deliveries(store.DeliveryQuery{Event: id})), 2, "deliveries of an event that was accepted")
			equal(s, len(s.docs(store.DocQuery{Kind: "endpoint", IDs: []string{fmt.Sprint(id)}})), 1, "documents beside an event that was accepted")
		}})
		var settle *store.Batch
		list = append(list, job{fmt.Sprint("settle ", i), func() *store.Batch {
			if settle == nil {
				ls, err := s.store.Claim(s.ctx, request(store.ClaimRequest{Accept: []store.Destination{dest}}))
				if err == nil && len(ls.Leases) == 1 {
					l := ls.Leases[0]
					op := []store.Op{store.OpDone, store.OpRetry, store.OpDead}[i%3]
					settle = &store.Batch{Settles: []store.Settle{{ID: l.Delivery.ID, Gen: l.Gen, Op: op, After: 999 * time.Hour, Attempt: try(200 + i)}}}
				}
			}
			return settle
		}, func() {
			want := []store.State{store.Done, store.Pending, store.Dead}[i%3]
			s.state(first(id), want, "whose outcome was recorded")
			equal(s, len(s.attempts(first(id))), 1, "attempts of what was settled once")
		}})
	}
	return list
}

// brokenDisk: after a write that failed the store refuses every other; opened again it has all that it acknowledged, and
// each batch as a whole or not at all.
func brokenDisk(s *suite) {
	if s.none(s.FailAt != nil, "fail") || s.none(s.Reopen != nil, "reopen") {
		return
	}
	for n := 1; ; n++ {
		jobs := s.jobs()
		var acked []job
		s.FailAt(n, true, errInjected)
		failed := false
		for _, j := range jobs {
			b := j.batch()
			if b == nil {
				continue
			}
			r, err := s.store.Commit(s.ctx, b)
			if err == nil {
				for i := range r.Appends {
					s.ok(r.Appends[i].Err, j.name)
				}
				for i := range r.Settles {
					s.ok(r.Settles[i], j.name)
				}
			}
			switch {
			case err == nil && failed:
				s.Fatalf("%s succeeded after write %d failed", j.name, n)
			case err == nil:
				acked = append(acked, j)
			default:
				if !failed && errors.Is(err, store.ErrUnknownOutcome) {
					failed = true
					break
				}
				failed = true
				s.is(err, fmt.Sprintf("%s after write %d failed", j.name, n), store.ErrFailed)
			}
		}
		if failed {
			st, err := s.store.Stats(s.ctx)
			s.ok(err, "Stats of a store that failed")
			if st.Failed == nil {
				s.Errorf("Stats of a store that failed says that it is well")
			}
		}
		s.FailAt(0, true, nil)
		_ = s.store.Close() // a store that failed may say so once more
		next, err := s.Reopen()
		s.ok(err, "reopen after a failure")
		s.store = next
		for _, j := range acked {
			j.check()
		}
		// Whatever is left can be done now, and what was unknown can be repeated.
		time.Sleep(2 * time.Minute)
		for i, j := range jobs {
			if i%2 == 0 {
				for _, r := range s.commit(j.batch()).Appends {
					s.ok(r.Err, j.name+" again")
				}
				j.check()
			}
		}
		for _, l := range s.claimAll(store.ClaimRequest{}) {
			s.end(l, store.OpDone, 0)
		}
		s.consistent(s.snapshot())
		if !failed && n > 2*len(jobs) {
			return
		}
		if n > 200 {
			s.Fatalf("write %d still fails a batch of %d", n, len(jobs))
		}
	}
}

// fullDisk: ErrFull means that nothing was written; when there is room again the store goes on by itself.
func fullDisk(s *suite) {
	if s.none(s.FailAt != nil, "fail") {
		return
	}
	for n := 1; n < 20; n++ {
		jobs := s.jobs()
		s.FailAt(n, n%2 == 0, fmt.Errorf("%w: injected by the test", store.ErrFull))
		refused := map[int]bool{}
		for i, j := range jobs {
			b := j.batch()
			if b == nil {
				continue
			}
			r, err := s.store.Commit(s.ctx, b)
			if err == nil {
				for _, a := range r.Appends {
					if err == nil {
						err = a.Err
					}
				}
			}
			s.is(err, fmt.Sprintf("%s when write %d finds no room", j.name, n), nil, store.ErrFull)
			if err == nil {
				j.check()
				continue
			}
			refused[i] = true
			for _, a := range b.Appends {
				equal(s, len(s.events(store.EventQuery{IDs: []store.ID{a.Event.ID}})), 0, "events that were refused for want of room")
			}
		}
		s.FailAt(0, true, nil)
		time.Sleep(time.Minute)
		for i, j := range jobs {
			if !refused[i] {
				continue
			}
			if b := j.batch(); b != nil && i%2 == 0 {
				for _, a := range s.commit(b).Appends {
					s.ok(a.Err, j.name+" when there is room again")
				}
				equal(s, len(s.events(store.EventQuery{IDs: []store.ID{b.Appends[0].Event.ID}})), 1, "events when there is room again")
			}
		}
		time.Sleep(2 * time.Minute)
		for _, l := range s.claimAll(store.ClaimRequest{}) {
			s.end(l, store.OpDone, 0)
		}
		st, err := s.store.Stats(s.ctx)
		s.ok(err, "Stats")
		if st.Failed != nil {
			s.Fatalf("a full disk is not fatal, and Stats says %v", st.Failed)
		}
	}
}

func failedStillReads(s *suite) {
	if s.none(s.FailAt != nil, "fail") {
		return
	}
	id := s.add(store.Event{Payload: []byte("x")}, to("ep:a"), to("ep:a"))
	ls := s.claimAll(store.ClaimRequest{})
	s.end(ls[0], store.OpDone, 0)
	before := s.snapshot()
	s.FailAt(1, true, errInjected)
	lost := &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: s.id()}, Deliveries: []store.NewDelivery{to("ep:a")}}}}
	_, err := s.store.Commit(s.ctx, lost)
	s.is(err, "Commit when the write fails", store.ErrFailed, store.ErrUnknownOutcome)
	for range 3 {
		_, err = s.store.Commit(s.ctx, &store.Batch{Settles: []store.Settle{{ID: ls[1].Delivery.ID, Gen: ls[1].Gen, Op: store.OpDone}}})
		s.is(err, "Commit after a failure", store.ErrFailed)
		_, err = s.store.Commit(s.ctx, lost)
		s.is(err, "Commit after a failure", store.ErrFailed)
	}
	equal(s, string(s.event(id).Payload), "x", "the payload, from a store that failed")
	if d := before.diff(s.snapshot(), time.Now()); d != "" {
		s.Errorf("a store that failed tells another story: %s", d)
	}
	st, err := s.store.Stats(s.ctx)
	s.ok(err, "Stats of a store that failed")
	if st.Failed == nil {
		s.Errorf("Stats of a store that failed says that it is well")
	}
	s.FailAt(0, true, nil)
	_, err = s.store.Commit(s.ctx, lost)
	s.is(err, "Commit after a failure, when writes would succeed again", store.ErrFailed)
	s.done = true
	_ = s.store.Close() // a store that failed may say so once more
	if s.Reopen == nil {
		return
	}
	next, err := s.Reopen()
	s.ok(err, "reopen after a failure")
	s.store = next
	s.event(id)
	s.state(ls[0].Delivery.ID, store.Done, "whose outcome was recorded")
	r := s.commit(lost).Appends[0]
	s.ok(r.Err, "append of unknown outcome, again")
	equal(s, len(s.deliveries(store.DeliveryQuery{Event: r.ID})), 1, "its deliveries")
}
