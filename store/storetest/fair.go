package storetest

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// fairCases: Claim goes round the tenants, then round a tenant's destinations.
var fairCases = []testCase{
	{"ABacklogDelaysNoOtherTenant", backlogOfATenant},
	{"ABacklogDelaysNoOtherDestination", backlogOfADestination},
	{"RetriesOfOneDelayNoOther", backlogOfRetries},
	{"TenantsTakeTurns", tenantsTakeTurns},
	{"ManyDestinationsAreOneTenant", manyDestinationsOneTenant},
	{"AHeldBacklogIsNoObstacle", heldBacklog},
	{"ReplaysAndRetriesDoNotStarveLiveOnes", liveIsNotStarved},
	{"AShutLaneIsNoObstacle", shutLaneBacklog},
}

// promptly makes sure that everything that was appended as ids comes with the next claim of ten.
func (s *suite) promptly(what string, ids ...store.ID) {
	s.Helper()
	got := map[store.ID]bool{}
	for _, l := range s.claim(store.ClaimRequest{Max: 10}).Leases {
		got[l.Event.ID] = true
	}
	for _, id := range ids {
		if !got[id] {
			s.Fatalf("Claim of ten did not bring %s", what)
		}
	}
}

func backlogOfATenant(s *suite) {
	s.large = true
	s.addMany(10_000, store.Event{Tenant: "big"}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:big", i%20))) })
	s.claim(store.ClaimRequest{Max: 50})
	small := s.add(store.Event{Tenant: "small"}, to("ep:small"))
	none := s.add(store.Event{}, to("ep:none"))
	shared := s.add(store.Event{Tenant: "third"}, to("ep:big0"))
	s.promptly("the only deliveries of three other tenants", small, none, shared)
}

func backlogOfADestination(s *suite) {
	s.large = true
	s.addMany(10_000, store.Event{Tenant: "a"}, func(int) store.NewDelivery { return to("ep:big") })
	s.claim(store.ClaimRequest{Max: 50})
	var ids []store.ID
	for i := range 5 {
		ids = append(ids, s.add(store.Event{Tenant: "a"}, to(store.Destination(fmt.Sprint("ep:", i)))))
	}
	s.promptly("the only deliveries of five other destinations", ids...)
}

func backlogOfRetries(s *suite) {
	s.large = true
	s.addMany(2000, store.Event{Tenant: "a"}, func(int) store.NewDelivery { return to("ep:big") })
	b := &store.Batch{}
	for _, l := range s.claimAll(store.ClaimRequest{Max: 1000}) {
		b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpRetry, Attempt: try(500)})
	}
	s.commit(b)
	other := s.add(store.Event{Tenant: "a"}, to("ep:other"))
	s.end(s.claimAll(store.ClaimRequest{Accept: []store.Destination{"ep:other"}})[0], store.OpRetry, 0)
	s.promptly("the only retry of another destination", other)
}

func tenantsTakeTurns(s *suite) {
	for _, tenant := range []string{"a", "b", "c"} {
		s.addMany(60, store.Event{Tenant: tenant}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", tenant, i/30))) })
	}
	tenants, dests := map[string]int{}, map[store.Destination]int{}
	for range 24 {
		for _, l := range s.claim(store.ClaimRequest{Max: 1}).Leases {
			tenants[l.Delivery.Tenant]++
			dests[l.Delivery.Destination]++
		}
	}
	for tenant, n := range tenants {
		if n < 6 || n > 10 {
			s.Errorf("of 24 claims tenant %q got %d, want about 8: %v", tenant, n, tenants)
		}
	}
	for dest, n := range dests {
		if n < 2 || n > 6 {
			s.Errorf("of 24 claims %q got %d, want about 4: %v", dest, n, dests)
		}
	}
	equal(s, len(tenants), 3, "tenants that were served")
	equal(s, len(dests), 6, "destinations that were served")
}

func manyDestinationsOneTenant(s *suite) {
	s.addMany(400, store.Event{Tenant: "many"}, func(i int) store.NewDelivery { return to(store.Destination(fmt.Sprint("ep:", i))) })
	s.addMany(50, store.Event{Tenant: "one"}, func(int) store.NewDelivery { return to("ep:one") })
	n := 0
	for _, l := range s.claim(store.ClaimRequest{Max: 40}).Leases {
		if l.Delivery.Tenant == "one" {
			n++
		}
	}
	if n < 15 {
		s.Errorf("a tenant with one destination got %d of 40 leases beside a tenant with 400, want about 20", n)
	}
}

func heldBacklog(s *suite) {
	s.large = true
	s.addMany(3000, store.Event{Tenant: "a"}, func(int) store.NewDelivery { return to("ep:held") })
	s.gate(store.Gate{Destination: "ep:held", Cause: "paused", Hold: -1})
	id := s.add(store.Event{Tenant: "a"}, to("ep:free"))
	other := s.add(store.Event{Tenant: "b"}, to("ep:free"))
	s.promptly("what is behind a held backlog", id, other)
	s.idle("the rest is held")
}

func liveIsNotStarved(s *suite) {
	s.classes(100, "ep:a")
	got := byClass(s.claim(store.ClaimRequest{Max: 10}).Leases)
	if got[store.Live] == 0 {
		s.Errorf("a claim of ten brought %v by class, want live ones among them", got)
	}
	got = byClass(s.claim(store.ClaimRequest{Max: 100, Worker: "other", PerClass: [store.Classes]int{store.Retry: 2, store.Replay: 1}}).Leases)
	if got[store.Live] < 80 || got[store.Retry] > 2 || got[store.Replay] > 1 {
		s.Errorf("a claim with limits for retries and replays brought %v by class, want every live one", got)
	}
}

func shutLaneBacklog(s *suite) {
	s.large = true
	s.addMany(2000, store.Event{}, func(int) store.NewDelivery { return lane("ep:a", "shut") })
	s.end(s.one(), store.OpRetry, 100*time.Hour)
	id := s.add(store.Event{}, lane("ep:a", "open"))
	plain := s.add(store.Event{}, to("ep:a"))
	got := map[store.ID]bool{}
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		got[l.Event.ID] = true
	}
	if !got[id] || !got[plain] || len(got) != 2 {
		s.Errorf("behind 2,000 deliveries of a shut lane, %d came, want the one of another lane and the one without", len(got))
	}
}
