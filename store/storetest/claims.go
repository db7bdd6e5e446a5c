package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// claimCases: what is due, to one claimer at a time, within the limits that it names.
var claimCases = []testCase{
	{"NothingIsNoError", nothingIsNoError},
	{"OnlyOnce", onlyOnce},
	{"EightClaimersEachOnce", eightClaimers},
	{"OnlyWhatIsDue", onlyDue},
	{"MaxAndMore", maxAndMore},
	{"MaxCountsNoOldLeases", maxCountsNoOldLeases},
	{"PerClassCountsHeldLeases", perClass},
	{"PerDestinationCountsHeldLeases", perDestination},
	{"WorkersCountByThemselves", workersByThemselves},
	{"Accept", acceptNames},
	{"AcceptHandsOutAllOfIt", acceptAll},
	{"FollowingNextMissesNothing", followNext},
	{"NextKnowsTheEndOfALease", nextAndLeases},
	{"TenThousandDestinations", tenThousandDestinations},
	{"ALongBacklogDrainsInFull", longBacklog},
	{"ManyRetriesAtManyTimes", manyRetries},
	{"ManyRetriesAtOneTime", manyRetriesAtOnce},
}

func nothingIsNoError(s *suite) {
	res := s.claim(store.ClaimRequest{})
	if len(res.Leases) != 0 || res.More || res.Next >= 0 {
		s.Errorf("Claim of an empty store: %+v, want no leases, no More and a negative Next", res)
	}
	s.add(store.Event{}, to("ep:a"))
	s.end(s.one(), store.OpDone, 0)
	s.idle("all is done")
	if res := s.claim(store.ClaimRequest{}); res.Next >= 0 {
		s.Errorf("Claim when all is done: Next is %v, want it negative", res.Next)
	}
}

func onlyOnce(s *suite) {
	ids := s.addMany(30, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i%4))) })
	seen := map[store.DeliveryID]bool{}
	for i := range ids {
		res := s.claim(store.ClaimRequest{Max: 1, Worker: fmt.Sprint(i % 3)})
		if len(res.Leases) != 1 || seen[res.Leases[0].Delivery.ID] {
			s.Fatalf("Claim %d: %v, want one that was not handed out before", i, leaseIDs(res.Leases))
		}
		seen[res.Leases[0].Delivery.ID] = true
	}
	s.idle("everything is leased")
	for id := range seen {
		s.state(id, store.Leased, "after its claim")
	}
}

func eightClaimers(s *suite) {
	const n = 400
	s.addMany(n, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i%7))) })
	var mu sync.Mutex
	seen := map[store.DeliveryID]int{}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 2 * n {
				res, err := s.store.Claim(s.ctx, request(store.ClaimRequest{Worker: fmt.Sprint(w), Max: 3}))
				if err != nil {
					s.Errorf("Claim: %v", err)
					return
				}
				mu.Lock()
				for _, l := range res.Leases {
					seen[l.Delivery.ID]++
				}
				mu.Unlock()
				if len(res.Leases) == 0 && !res.More {
					return
				}
				var settles []store.Settle
				for _, l := range res.Leases {
					settles = append(settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Attempt: try(200)})
				}
				r, err := s.store.Commit(s.ctx, &store.Batch{Settles: settles})
				if err != nil {
					s.Errorf("Commit: %v", err)
					return
				}
				for i, err := range r.Settles {
					if err != nil {
						s.Errorf("settle of %v by the only holder of its lease: %v", settles[i].ID, err)
					}
				}
			}
			s.Errorf("Claim: there is no end of %d deliveries", n)
		})
	}
	wg.Wait()
	equal(s, len(seen), n, "deliveries that were claimed")
	for id, times := range seen {
		equal(s, times, 1, "claims of "+id.String())
	}
}

func onlyDue(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	s.end(l, store.OpRetry, 10*time.Minute)
	s.idle("the retry is not due")
	time.Sleep(10*time.Minute - time.Second)
	s.idle("the retry is due in a second")
	time.Sleep(2 * time.Second)
	s.claims("the retry is due", id)
}

func maxAndMore(s *suite) {
	s.addMany(25, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i%3))) })
	total := 0
	for {
		res := s.claim(store.ClaimRequest{Max: 10})
		total += len(res.Leases)
		if total < 25 && (len(res.Leases) == 0 || !res.More) {
			s.Fatalf("Claim: %d leases and More %v, with %d of 25 handed out", len(res.Leases), res.More, total)
		}
		if total >= 25 {
			break
		}
	}
	s.idle("everything is leased")
}

func maxCountsNoOldLeases(s *suite) {
	s.addMany(20, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	for range 4 {
		equal(s, len(s.claim(store.ClaimRequest{Max: 5}).Leases), 5, "leases of a worker that holds some")
	}
}

// classes makes n deliveries of each class.
func (s *suite) classes(n int, dest store.Destination) {
	s.addMany(n, store.Event{}, func(int) store.NewDelivery { return to(dest) })
	for _, l := range s.claimAll(store.ClaimRequest{Accept: []store.Destination{dest}}) {
		s.end(l, store.OpRetry, 0)
	}
	s.addMany(n, store.Event{}, func(int) store.NewDelivery { return to(dest) })
	s.addMany(n, store.Event{}, func(int) store.NewDelivery { return store.NewDelivery{Destination: dest, Class: store.Replay} })
}

func byClass(ls []store.Lease) (n [store.Classes]int) {
	for _, l := range ls {
		n[l.Delivery.Class]++
	}
	return n
}

func perClass(s *suite) {
	s.classes(12, "ep:a")
	r := store.ClaimRequest{PerClass: [store.Classes]int{store.Live: 6, store.Retry: 3, store.Replay: 2}}
	got := s.claimAll(r)
	equal(s, byClass(got), r.PerClass, "leases by class")
	if more := s.claimAll(r); len(more) > 0 {
		s.Errorf("Claim: %v beyond the limits per class", byClass(more))
	}
	for _, l := range got {
		if l.Delivery.Class == store.Retry {
			s.end(l, store.OpDone, 0)
		}
	}
	equal(s, byClass(s.claimAll(r)), [store.Classes]int{store.Retry: 3}, "leases by class after the retries were settled")
	got = s.claimAll(store.ClaimRequest{PerClass: [store.Classes]int{store.Live: 6}})
	equal(s, byClass(got), [store.Classes]int{store.Retry: 6, store.Replay: 10}, "leases by class where only one has a limit")
}

func perDestination(s *suite) {
	s.addMany(30, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i%3))) })
	r := store.ClaimRequest{PerDestination: 2}
	got := s.claimAll(r)
	per := map[store.Destination]int{}
	for _, l := range got {
		per[l.Delivery.Destination]++
	}
	for _, dest := range []store.Destination{"ep:0", "ep:1", "ep:2"} {
		equal(s, per[dest], 2, "leases on "+string(dest))
	}
	if more := s.claimAll(r); len(more) > 0 {
		s.Errorf("Claim: %v beyond the limit per destination", leaseIDs(more))
	}
	s.end(got[0], store.OpDone, 0)
	more := s.claimAll(r)
	if len(more) != 1 || more[0].Delivery.Destination != got[0].Delivery.Destination {
		s.Errorf("Claim after one of %q was settled: %v, want one more of it", got[0].Delivery.Destination, leaseIDs(more))
	}
	time.Sleep(2 * time.Minute)
	equal(s, len(s.claimAll(r)), 6, "leases after all of them ended")
}

func workersByThemselves(s *suite) {
	s.addMany(30, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	for _, w := range []string{"one", "two", "three"} {
		equal(s, len(s.claimAll(store.ClaimRequest{Worker: w, PerDestination: 4, PerClass: [store.Classes]int{5}})), 4, "leases of worker "+w)
	}
}

func acceptNames(s *suite) {
	dests := []store.Destination{"ep:a", "ep:ab", "fn:a", "fn:b", "ep:", "fn:*"}
	for _, d := range dests {
		s.add(store.Event{}, to(d))
	}
	for _, c := range []struct {
		accept []store.Destination
		want   int
	}{
		{[]store.Destination{}, 0},
		{[]store.Destination{"ep:x", "ep", "EP:a"}, 0},
		{[]store.Destination{"ep:a"}, 1},
		{[]store.Destination{"fn:b", "fn:z"}, 1},
		{[]store.Destination{"ep:a*"}, 1}, // ep:ab, as ep:a is leased
		{[]store.Destination{"ep:x*", "fn:*"}, 2},
		{[]store.Destination{"*"}, 1},
		{nil, 0},
	} {
		if got := s.claimAll(store.ClaimRequest{Accept: c.accept}); len(got) != c.want {
			s.Errorf("Claim of %q: %d leases, want %d", c.accept, len(got), c.want)
		}
	}
}

// acceptAll: what others cannot serve is no obstacle, however much of it there is, and is there for those who can.
func acceptAll(s *suite) {
	s.addMany(500, store.Event{}, func(int) store.NewDelivery { return to("fn:gone") })
	s.addMany(5, store.Event{}, func(int) store.NewDelivery { return to("fn:here") })
	equal(s, len(s.claimAll(store.ClaimRequest{Accept: []store.Destination{"fn:here"}})), 5, "leases on fn:here")
	if res := s.claim(store.ClaimRequest{Accept: []store.Destination{"fn:here"}}); res.More {
		s.Errorf("Claim says More of a destination that is not accepted")
	}
	equal(s, len(s.claimAll(store.ClaimRequest{})), 500, "leases on the others")
}

// follow claims, waiting as long as Next says, until n deliveries came, and answers when each came.
func (s *suite) follow(n int) map[store.DeliveryID]time.Time {
	s.Helper()
	came := map[store.DeliveryID]time.Time{}
	for range 20 * (n + 2) {
		res := s.claim(store.ClaimRequest{Lease: 1000 * time.Hour})
		for _, l := range res.Leases {
			if came[l.Delivery.ID].IsZero() {
				came[l.Delivery.ID] = time.Now()
			}
		}
		switch {
		case len(came) == n:
			return came
		case res.More:
		case res.Next < 0:
			s.Fatalf("Next is %v with %d of %d deliveries still to come", res.Next, n-len(came), n)
		default:
			time.Sleep(max(res.Next, time.Microsecond))
		}
	}
	s.Fatalf("following Next found %d of %d deliveries", len(came), n)
	return nil
}

func followNext(s *suite) {
	due := map[store.DeliveryID]time.Time{}
	for i, after := range []time.Duration{3 * time.Second, time.Hour, 7 * time.Minute, 50 * time.Hour} {
		id := s.add(store.Event{}, store.NewDelivery{Destination: store.Destination(fmt.Sprint("ep:", i)), After: after})
		due[first(id)] = time.Now().Add(after)
	}
	for range 3 {
		s.add(store.Event{}, to("ep:0"))
	}
	for i, l := range s.claimAll(store.ClaimRequest{}) {
		after := time.Duration(i+1) * 10 * time.Minute
		s.end(l, store.OpRetry, after)
		due[l.Delivery.ID] = time.Now().Add(after)
	}
	s.add(store.Event{}, to("ep:held"))
	s.gate(store.Gate{Destination: "ep:held", Cause: "asked", Hold: 100 * time.Minute})
	due[first(s.events(store.EventQuery{})[0].ID)] = time.Now().Add(100 * time.Minute)
	for id, at := range s.follow(len(due)) {
		if late := at.Sub(due[id]); late < 0 || late > time.Second {
			s.Errorf("%v was due at %v and came at %v", id, due[id], at)
		}
	}
}

func nextAndLeases(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	s.one()
	end := time.Now().Add(time.Minute)
	came := s.follow(1)
	if late := came[id].Sub(end); late < 0 || late > time.Second {
		s.Errorf("a lease ended at %v, and following Next the delivery came at %v", end, came[id])
	}
}

func tenThousandDestinations(s *suite) {
	const n = 10_000
	s.large = true
	s.addMany(n, store.Event{}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprintf("ep:%05d", i))) })
	seen := map[store.DeliveryID]bool{}
	for _, l := range s.claimAll(store.ClaimRequest{Max: 2000}) {
		seen[l.Delivery.ID] = true
	}
	equal(s, len(seen), n, "deliveries that were handed out")
}

// longBacklog goes beyond whatever a store keeps of a destination in memory.
func longBacklog(s *suite) {
	const n = 5000
	s.large = true
	s.addMany(n, store.Event{}, func(i int) store.NewDelivery {
		if i%2 == 0 {
			return to("ep:a")
		}
		return to("ep:b")
	})
	seen := map[store.DeliveryID]bool{}
	for round := 0; len(seen) < n; round++ {
		res := s.claim(store.ClaimRequest{Max: 300, Lease: time.Hour})
		b := &store.Batch{}
		for _, l := range res.Leases {
			if seen[l.Delivery.ID] {
				s.Fatalf("%v was handed out again after it was done", l.Delivery.ID)
			}
			seen[l.Delivery.ID] = true
			b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Attempt: try(200), Reason: "delivered"})
		}
		for _, err := range s.commit(b).Settles {
			s.ok(err, "settle")
		}
		if len(seen) < n && len(res.Leases) == 0 && !res.More {
			s.Fatalf("Claim: nothing, with %d of %d done", len(seen), n)
		}
		if round == 5 && s.Reopen != nil {
			s.reopen()
		}
	}
	s.idle("all is done")
	equal(s, len(s.deliveries(store.DeliveryQuery{States: []store.State{store.Done}, Page: store.Paging{Limit: 1000}})), n, "deliveries that are done")
}

func manyRetries(s *suite) {
	const n = 1500
	s.large = true
	ids := s.addMany(n, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	order := map[store.DeliveryID]time.Time{}
	start := time.Now()
	b := &store.Batch{}
	for i, l := range s.claimAll(store.ClaimRequest{Max: n}) {
		after := time.Duration((i*7919)%n+1) * time.Second
		order[l.Delivery.ID] = start.Add(after)
		b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRetry, After: after, Attempt: try(500)})
	}
	equal(s, len(b.Settles), len(ids), "leases")
	for _, err := range s.commit(b).Settles {
		s.ok(err, "retry")
	}
	for i := range 4 {
		time.Sleep(n/4*time.Second + time.Millisecond)
		got := s.claimAll(store.ClaimRequest{Max: 200, Lease: 100 * time.Hour})
		for _, l := range got {
			if due := order[l.Delivery.ID]; due.After(time.Now()) {
				s.Fatalf("%v was handed out %v before it was due", l.Delivery.ID, time.Until(due))
			}
		}
		if i == 0 {
			equal(s, len(got), n/4, "deliveries that fell due and were handed out")
		}
		if i == 1 && s.Reopen != nil {
			s.reopen() // its leases may be lost: what was due is due again, or leased
		}
	}
	leased := s.deliveries(store.DeliveryQuery{States: []store.State{store.Leased}, Page: store.Paging{Limit: 1000}})
	equal(s, len(leased), n, "deliveries that are leased in the end")
}

func manyRetriesAtOnce(s *suite) {
	const n = 1500
	s.large = true
	s.addMany(n, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	b := &store.Batch{}
	for _, l := range s.claimAll(store.ClaimRequest{Max: n}) {
		b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRetry, After: time.Hour, Attempt: try(500)})
	}
	equal(s, len(b.Settles), n, "leases")
	s.commit(b)
	if s.Reopen != nil {
		s.reopen()
	}
	s.idle("nothing is due for an hour")
	time.Sleep(time.Hour + time.Second)
	equal(s, len(s.claimAll(store.ClaimRequest{Max: 100, Lease: 100 * time.Hour})), n, "retries that came back")
}
