package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// laneCases: in a lane only the head is handed out: the undecided delivery with the smallest Seq.
var laneCases = []testCase{
	{"OnlyTheHead", onlyTheHead},
	{"LanesAreApart", lanesAreApart},
	{"AfterEachOutcome", afterEachOutcome},
	{"ARetryShutsTheLane", retryShutsLane},
	{"ADeadLetterThatBlocks", deadThatBlocks},
	{"AnExpiredOneThatBlocks", expiredThatBlocks},
	{"AHurriedDeadLetterIsTheHeadAgain", hurriedHead},
	{"ALostLeaseKeepsItsPlace", lostLeaseKeepsPlace},
	{"ADelayedHeadShutsTheLane", delayedHead},
	{"CancelledInTheMiddle", cancelledInTheMiddle},
	{"BySeqNotByTimeOfAppend", bySeqNotByAppend},
	{"OneEventTwiceInALane", oneEventTwice},
	{"AppendedWhileTheHeadIsLeased", appendedWhileLeased},
	{"ALongLane", longLane},
	{"LanesSurviveRestarts", lanesSurvive},
	{"EightClaimersManyLanes", eightClaimersManyLanes},
}

// line appends n events, each with one delivery in the lane.
func (s *suite) line(n int, dest store.Destination, name string) []store.DeliveryID {
	s.Helper()
	var ids []store.DeliveryID
	for _, id := range s.addMany(n, store.Event{}, func(int) store.NewDelivery { return lane(dest, name) }) {
		ids = append(ids, first(id))
	}
	return ids
}

func onlyTheHead(s *suite) {
	ids := s.line(10, "ep:a", "k")
	for i, id := range ids {
		l := s.claims(fmt.Sprintf("delivery %d is the head", i), id)[0]
		s.idle("its lane is shut")
		s.end(l, store.OpDone, 0)
	}
	s.idle("the lane is empty")
	s.claims("a new one in the empty lane", s.line(1, "ep:a", "k")...)
}

func lanesAreApart(s *suite) {
	var heads []store.DeliveryID
	for _, dest := range []store.Destination{"ep:a", "ep:b"} {
		for _, name := range []string{"k", "K", "k2"} {
			heads = append(heads, s.line(3, dest, name)[0])
		}
		heads = append(heads, s.line(3, dest, "")...) // no lane at all
	}
	s.claims("every head, and everything without a lane", heads...)
}

func afterEachOutcome(s *suite) {
	ids := s.line(8, "ep:a", "k")
	end := []func(store.Lease){
		func(l store.Lease) { s.end(l, store.OpDone, 0) },
		func(l store.Lease) { s.end(l, store.OpDead, 0) },
		func(l store.Lease) {
			s.end(l, store.OpRelease, time.Hour)
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpCancel})
		},
		func(l store.Lease) {
			s.end(l, store.OpRetry, 1000*time.Hour)
			s.idle("the head waits")
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpExpire})
		},
		func(l store.Lease) {
			s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDead, Block: true})
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpCancel})
		},
		func(l store.Lease) {
			s.end(l, store.OpRelease, time.Hour)
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpExpire, Block: true})
			s.idle("the head blocks")
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpCancel})
		},
		func(l store.Lease) { s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone}) },
	}
	for i, f := range end {
		f(s.claims(fmt.Sprintf("delivery %d is the head", i), ids[i])[0])
	}
	s.claims("the last one", ids[7])
}

func retryShutsLane(s *suite) {
	ids := s.line(3, "ep:a", "k")
	other := s.line(1, "ep:a", "other")[0]
	for _, l := range s.claims("the heads", ids[0], other) {
		if l.Delivery.ID == ids[0] {
			s.end(l, store.OpRetry, 100*time.Hour)
		}
	}
	time.Sleep(99 * time.Hour)
	s.claims("the other lane, whose lease ended", other)
	time.Sleep(30 * time.Minute)
	s.claims("the other lane, whose lease ended", other)
	time.Sleep(30*time.Minute + time.Second)
	for _, l := range s.claims("the retry, and the other lane", ids[0], other) {
		if l.Delivery.ID == ids[0] {
			s.end(l, store.OpDone, 0)
		}
	}
	s.claims("the next", ids[1])
}

func deadThatBlocks(s *suite) {
	ids := s.line(3, "ep:a", "k")
	block := func(i int) {
		l := s.claims("the head", ids[i])[0]
		s.must(store.Settle{ID: ids[i], Gen: l.Gen, Op: store.OpDead, Block: true, Attempt: try(500), Reason: "exhausted"})
		time.Sleep(1000 * time.Hour)
		s.idle("a dead letter blocks the lane")
		s.state(ids[i], store.Dead, "while it blocks")
	}
	block(0)
	s.must(store.Settle{ID: ids[0], Op: store.OpHurry})
	s.end(s.claims("the dead letter, hurried", ids[0])[0], store.OpDone, 0)
	block(1)
	s.must(store.Settle{ID: ids[1], Op: store.OpCancel})
	block(2)
	id := s.line(1, "ep:a", "k")[0]
	s.idle("the lane is blocked for what comes later too")
	s.must(store.Settle{ID: ids[2], Op: store.OpHurry})
	l := s.claims("the dead letter, hurried", ids[2])[0]
	s.must(store.Settle{ID: ids[2], Gen: l.Gen, Op: store.OpDead}) // without Block this time
	s.claims("the last one", id)
}

func expiredThatBlocks(s *suite) {
	ids := s.line(2, "ep:a", "k")
	s.must(store.Settle{ID: ids[0], Op: store.OpExpire, Block: true})
	s.idle("an expired delivery blocks the lane")
	s.must(store.Settle{ID: ids[0], Op: store.OpHurry})
	s.end(s.claims("the expired one, hurried", ids[0])[0], store.OpDead, 0)
	s.claims("the next", ids[1])
}

func hurriedHead(s *suite) {
	ids := s.line(3, "ep:a", "k")
	s.end(s.claims("the head", ids[0])[0], store.OpDead, 0)
	s.end(s.claims("the next", ids[1])[0], store.OpRetry, time.Minute)
	s.must(store.Settle{ID: ids[0], Op: store.OpHurry})
	time.Sleep(time.Hour)
	s.end(s.claims("the one that was dead is the head again", ids[0])[0], store.OpDone, 0)
	s.claims("then the next", ids[1])
}

func lostLeaseKeepsPlace(s *suite) {
	ids := s.line(3, "ep:a", "k")
	for range 3 {
		s.claims("the head", ids[0])
		time.Sleep(time.Minute + time.Second)
	}
	l := s.claims("the head", ids[0])[0]
	s.end(l, store.OpRelease, 0)
	l = s.claims("the head", ids[0])[0]
	s.must(store.Settle{ID: ids[0], Gen: l.Gen, Op: store.OpExtend, After: time.Hour})
	time.Sleep(30 * time.Minute)
	s.idle("the lease was extended")
	s.end(l, store.OpDone, 0)
	s.claims("the next", ids[1])
}

func delayedHead(s *suite) {
	d := lane("ep:a", "k")
	d.After = time.Hour
	head := first(s.add(store.Event{}, d))
	next := first(s.add(store.Event{}, lane("ep:a", "k")))
	s.idle("the head is not due")
	time.Sleep(time.Hour + time.Second)
	s.end(s.claims("the head", head)[0], store.OpDone, 0)
	s.claims("the next", next)
}

func cancelledInTheMiddle(s *suite) {
	ids := s.line(5, "ep:a", "k")
	s.must(store.Settle{ID: ids[1], Op: store.OpCancel})
	s.must(store.Settle{ID: ids[2], Op: store.OpExpire})
	s.must(store.Settle{ID: ids[4], Op: store.OpHurry})
	l := s.claims("the head", ids[0])[0]
	s.end(l, store.OpDone, 0)
	s.end(s.claims("the first that is undecided", ids[3])[0], store.OpDone, 0)
	s.claims("the last one", ids[4])
}

func bySeqNotByAppend(s *suite) {
	early := s.add(store.Event{})
	ids := s.line(2, "ep:a", "k")
	d := later("ep:a", 1)
	d.Lane = "k"
	s.ok(s.append(store.Append{To: early, Deliveries: []store.NewDelivery{d}}).Err, "a later delivery of an earlier event")
	l := s.claims("the later delivery of the earlier event", store.DeliveryID{Event: early, N: d.N})[0]
	for _, way := range s.restarts() {
		s.end(l, store.OpRetry, time.Hour)
		way()
		s.idle("the head waits for its retry after a restart")
		time.Sleep(time.Hour + time.Second)
		l = s.claims("the head, after a restart", store.DeliveryID{Event: early, N: d.N})[0]
	}
	// Meanwhile another one comes, with a place between the two that wait.
	s.ok(s.append(store.Append{To: ids[0].Event, Deliveries: []store.NewDelivery{d}}).Err, "a later delivery of an event in the middle")
	s.end(l, store.OpDone, 0)
	for range 2 {
		got := s.one()
		equal(s, got.Event.ID, ids[0].Event, "the event of the head, which has two deliveries in the lane")
		s.end(got, store.OpDone, 0)
	}
	s.claims("the second event", ids[1])
}

func oneEventTwice(s *suite) {
	id := s.add(store.Event{}, lane("ep:a", "k"), lane("ep:a", "k"), lane("ep:b", "k"))
	next := first(s.add(store.Event{}, lane("ep:a", "k")))
	got := map[uint64]bool{}
	for range 2 {
		ls := s.claimAll(store.ClaimRequest{Accept: []store.Destination{"ep:a"}})
		if len(ls) != 1 || ls[0].Event.ID != id || got[ls[0].Delivery.ID.N] {
			s.Fatalf("Claim: %v, want one of the first event", leaseIDs(ls))
		}
		got[ls[0].Delivery.ID.N] = true
		s.end(ls[0], store.OpDone, 0)
	}
	s.claims("the next event, and the other destination", next, store.DeliveryID{Event: id, N: 2})
}

func appendedWhileLeased(s *suite) {
	head := s.line(1, "ep:a", "k")
	l := s.claims("the head", head...)[0]
	ids := s.line(2, "ep:a", "k")
	s.idle("the head is leased")
	s.end(l, store.OpRetry, time.Minute)
	ids = append(ids, s.line(1, "ep:a", "k")...)
	s.idle("the head waits for its retry")
	time.Sleep(time.Minute + time.Second)
	s.end(s.claims("the head", head...)[0], store.OpDone, 0)
	for _, id := range ids {
		s.end(s.claims("the next", id)[0], store.OpDone, 0)
	}
}

// longLane goes beyond whatever a store keeps of a lane in memory.
func longLane(s *suite) {
	const n = 400
	s.large = true
	ids := s.line(n, "ep:a", "k")
	s.line(1, "ep:a", "other")
	for i, id := range ids {
		ls := s.claimAll(store.ClaimRequest{Lease: 100 * time.Hour})
		ls = slices.DeleteFunc(ls, func(l store.Lease) bool { return l.Delivery.Lane == "other" })
		if len(ls) != 1 || ls[0].Delivery.ID != id {
			s.Fatalf("Claim %d of a long lane: %v, want %v", i, leaseIDs(ls), id)
		}
		switch i % 7 {
		case 3:
			s.end(ls[0], store.OpRetry, time.Minute)
			time.Sleep(2 * time.Minute)
			s.end(s.claims("the retry", id)[0], store.OpDone, 0)
		case 5:
			s.end(ls[0], store.OpDead, 0)
		default:
			s.end(ls[0], store.OpDone, 0)
		}
		if i == 150 && s.Reopen != nil {
			s.reopen()
		}
	}
}

func lanesSurvive(s *suite) {
	for name, way := range s.restarts() {
		lanes := map[string][]store.DeliveryID{}
		for _, kind := range []string{"retry", "leased", "blocked", "dead", "done", "fresh", "delayed", "expired", "poison"} {
			if kind == "delayed" {
				d := lane("ep:a", name+kind)
				d.After = time.Hour
				lanes[kind] = []store.DeliveryID{first(s.add(store.Event{}, d))}
			}
			lanes[kind] = append(lanes[kind], s.line(3, "ep:a", name+kind)...)
		}
		s.must(store.Settle{ID: lanes["expired"][0], Op: store.OpExpire, Block: true})
		for _, l := range s.claimAll(store.ClaimRequest{Accept: []store.Destination{"ep:a"}}) {
			switch kind := l.Delivery.Lane[len(name):]; kind {
			case "retry":
				s.end(l, store.OpRetry, time.Hour)
			case "blocked":
				s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDead, Block: true})
			case "dead":
				s.end(l, store.OpDead, 0)
			case "done":
				s.end(l, store.OpDone, 0)
			case "fresh":
				s.end(l, store.OpRelease, 0)
			}
		}
		way()
		time.Sleep(2 * time.Minute) // a lease may have survived; now it ended
		got := s.claimAll(store.ClaimRequest{})
		want := []store.DeliveryID{lanes["leased"][0], lanes["dead"][1], lanes["done"][1], lanes["fresh"][0], lanes["poison"][0]}
		slices.SortFunc(want, store.DeliveryID.Compare)
		if !slices.Equal(leaseIDs(got), want) {
			s.Fatalf("after %s: Claim brings %v, want %v of %v", name, leaseIDs(got), want, lanes)
		}
		for _, l := range got {
			s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDead, Block: true})
		}
		way()
		s.idle("every lane is shut after " + name)
		time.Sleep(time.Hour)
		got = s.claims("the retry and the delayed one after "+name, lanes["retry"][0], lanes["delayed"][0])
		for _, l := range got {
			s.end(l, store.OpDone, 0)
		}
		for _, l := range s.claims("the next ones after "+name, lanes["retry"][1], lanes["delayed"][1]) {
			s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDead, Block: true})
		}
		s.must(store.Settle{ID: lanes["blocked"][0], Op: store.OpHurry})
		s.must(store.Settle{ID: lanes["expired"][0], Op: store.OpCancel})
		for _, l := range s.claims("hurried, and behind the cancelled, after "+name, lanes["blocked"][0], lanes["expired"][1]) {
			s.must(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDead, Block: true})
		}
	}
}

func eightClaimersManyLanes(s *suite) {
	const lanes, length = 12, 15
	s.addMany(lanes*length, store.Event{}, func(i int) store.NewDelivery { return lane("ep:a", fmt.Sprint("lane ", i%lanes)) })
	var mu sync.Mutex
	busy, last, tries := map[string]bool{}, map[string]uint64{}, map[store.DeliveryID]int{}
	left := lanes * length
	take := func(l store.Lease) store.Settle {
		mu.Lock()
		defer mu.Unlock()
		d := l.Delivery
		if busy[d.Lane] {
			s.Errorf("%q has two leases at a time", d.Lane)
		}
		if d.Seq < last[d.Lane] || d.Seq == last[d.Lane] && tries[d.ID] == 0 {
			s.Errorf("%q: Seq %d comes after %d", d.Lane, d.Seq, last[d.Lane])
		}
		busy[d.Lane], last[d.Lane] = true, d.Seq
		tries[d.ID]++
		x := store.Settle{ID: d.ID, Gen: l.Gen, Op: store.OpDone, Attempt: try(200)}
		if d.Seq%5 == 0 && tries[d.ID] == 1 {
			x.Op, x.Attempt = store.OpRetry, try(500)
		} else {
			left--
		}
		return x
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 10_000 {
				mu.Lock()
				over := left == 0
				mu.Unlock()
				if over {
					return
				}
				res, err := s.store.Claim(s.ctx, request(store.ClaimRequest{Worker: fmt.Sprint(w), Max: 3, Lease: time.Hour}))
				if err != nil {
					s.Errorf("Claim: %v", err)
					return
				}
				b := &store.Batch{}
				for _, l := range res.Leases {
					b.Settles = append(b.Settles, take(l))
				}
				time.Sleep(time.Microsecond) // let the others try
				mu.Lock()
				for _, l := range res.Leases {
					busy[l.Delivery.Lane] = false // from now on somebody may see the settle
				}
				mu.Unlock()
				r, err := s.store.Commit(s.ctx, b)
				if err != nil {
					s.Errorf("Commit: %v", err)
					return
				}
				for _, err := range r.Settles {
					if err != nil {
						s.Errorf("settle: %v", err)
					}
				}
				if len(res.Leases) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	equal(s, left, 0, "deliveries that were not done")
}
