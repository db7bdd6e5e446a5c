package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// keyCases: one idempotency key, one event, per tenant and source, within its window.
var keyCases = []testCase{
	{"ADuplicateGetsTheFirstID", duplicateGetsFirst},
	{"OtherContentIsAConflict", otherContentConflicts},
	{"TenantsAndSourcesHaveTheirOwn", keysOfTenants},
	{"TwiceInABatch", keyTwiceInABatch},
	{"TheWindowEnds", windowEnds},
	{"TheWindowIsADayByDefault", defaultWindow},
	{"TheWindowOutlivesTheDelivery", windowOutlives},
	{"ARefusedAppendTakesNoKey", refusedTakesNoKey},
	{"KeysSurviveRestarts", keysSurviveRestarts},
	{"ManyKeys", manyKeys},
	{"ConcurrentKeys", concurrentKeys},
}

// keyed is an append with an idempotency key.
func (s *suite) keyed(tenant, source, key string, fingerprint uint64) store.Append {
	return store.Append{
		Event:       &store.Event{ID: s.id(), Tenant: tenant, Source: source, IdempotencyKey: key},
		Fingerprint: fingerprint, Deliveries: []store.NewDelivery{to("ep:a")},
	}
}

// taken makes sure that the key of a is taken by the event id, for this content (ErrDuplicate) or other (ErrConflict).
func (s *suite) taken(a store.Append, id store.ID, want error, when string) {
	s.Helper()
	n := len(s.events(store.EventQuery{Tenant: store.AllTenants}))
	r := s.append(a)
	s.is(r.Err, "append with a taken key "+when, want)
	equal(s, r.ID, id, "the ID of the event that has the key "+when)
	equal(s, r.Repeated, false, "Repeated "+when)
	equal(s, len(s.events(store.EventQuery{Tenant: store.AllTenants})), n, "events "+when)
	equal(s, len(s.events(store.EventQuery{Tenant: store.AllTenants, IDs: []store.ID{a.Event.ID}})), 0, "events with the refused ID "+when)
}

// free makes sure that the key of a is free, and takes it.
func (s *suite) free(a store.Append, when string) store.ID {
	s.Helper()
	r := s.append(a)
	if r.Err != nil || r.ID != a.Event.ID || r.Repeated {
		s.Fatalf("append with a free key %s: %+v, want the ID %v", when, r, a.Event.ID)
	}
	return r.ID
}

func duplicateGetsFirst(s *suite) {
	id := s.free(s.keyed("", "", "k", 1), "at first")
	s.taken(s.keyed("", "", "k", 1), id, store.ErrDuplicate, "while it is pending")
	s.end(s.one(), store.OpDone, 0)
	s.taken(s.keyed("", "", "k", 1), id, store.ErrDuplicate, "when it is done")
	s.idle("a duplicate adds nothing")
	s.free(s.keyed("", "", "K", 1), "of another case")
	s.free(s.keyed("", "", "", 1), "that is empty")
	s.free(s.keyed("", "", "", 1), "that is empty again")
}

func otherContentConflicts(s *suite) {
	id := s.free(s.keyed("", "", "k", 1), "at first")
	s.taken(s.keyed("", "", "k", 2), id, store.ErrConflict, "by other content")
	s.taken(s.keyed("", "", "k", 0), id, store.ErrConflict, "by other content")
	s.taken(s.keyed("", "", "k", 1), id, store.ErrDuplicate, "by its own content after conflicts")
}

func keysOfTenants(s *suite) {
	ids := map[string]store.ID{}
	names := []string{"", "a", "b", "ab", "a\x00b"}
	for _, tenant := range names {
		for _, source := range names {
			ids[tenant+"/"+source] = s.free(s.keyed(tenant, source, "k", 1), fmt.Sprintf("for tenant %q and source %q", tenant, source))
		}
	}
	for _, tenant := range names {
		for _, source := range names {
			s.taken(s.keyed(tenant, source, "k", 1), ids[tenant+"/"+source], store.ErrDuplicate, fmt.Sprintf("for tenant %q and source %q", tenant, source))
		}
	}
}

func keyTwiceInABatch(s *suite) {
	b := &store.Batch{Appends: []store.Append{
		s.keyed("a", "", "k", 1), s.keyed("a", "", "other", 1), s.keyed("a", "", "k", 1), s.keyed("a", "", "k", 2), s.keyed("b", "", "k", 2),
	}}
	r := s.commit(b).Appends
	for _, i := range []int{0, 1, 4} {
		s.ok(r[i].Err, fmt.Sprintf("append %d", i))
	}
	s.is(r[2].Err, "the same key with the same content", store.ErrDuplicate)
	s.is(r[3].Err, "the same key with other content", store.ErrConflict)
	equal(s, r[2].ID, b.Appends[0].Event.ID, "the ID of the first")
	equal(s, r[3].ID, b.Appends[0].Event.ID, "the ID of the first")
	equal(s, len(s.claimAll(store.ClaimRequest{})), 3, "deliveries")
}

func windowEnds(s *suite) {
	a := s.keyed("", "", "k", 1)
	a.Window = time.Hour
	id := s.free(a, "at first")
	short := s.keyed("", "", "short", 1)
	short.Window = 2 * time.Minute
	s.free(short, "at first")
	time.Sleep(2*time.Minute + time.Second)
	short = s.keyed("", "", "short", 1)
	s.free(short, "after its short window")
	time.Sleep(58*time.Minute - 2*time.Second)
	s.taken(s.keyed("", "", "k", 1), id, store.ErrDuplicate, "a second before the window ends")
	time.Sleep(2 * time.Second)
	next := s.free(s.keyed("", "", "k", 2), "after the window")
	time.Sleep(23 * time.Hour)
	s.taken(s.keyed("", "", "k", 2), next, store.ErrDuplicate, "in the next window")
	s.taken(s.keyed("", "", "k", 1), next, store.ErrConflict, "in the next window")
	s.taken(s.keyed("", "", "short", 1), short.Event.ID, store.ErrDuplicate, "in its second window")
}

func defaultWindow(s *suite) {
	id := s.free(s.keyed("", "", "k", 1), "at first")
	time.Sleep(24*time.Hour - time.Second)
	s.taken(s.keyed("", "", "k", 1), id, store.ErrDuplicate, "a second before a day is over")
	time.Sleep(2 * time.Second)
	s.free(s.keyed("", "", "k", 1), "after a day")
}

// windowOutlives: keys do not depend on what became of the event, nor on how many others there were since.
func windowOutlives(s *suite) {
	a := s.keyed("", "", "k", 1)
	a.Window = 30 * 24 * time.Hour
	id := s.free(a, "at first")
	s.end(s.one(), store.OpDead, 0)
	for range 29 {
		time.Sleep(24*time.Hour + time.Second)
		s.free(s.keyed("", "", "other", 1), "of a day")
	}
	s.taken(s.keyed("", "", "k", 1), id, store.ErrDuplicate, "after 29 days")
}

func refusedTakesNoKey(s *suite) {
	known := s.add(store.Event{}, to("ep:a"))
	r := s.append(store.Append{Event: &store.Event{ID: known, IdempotencyKey: "k"}, Fingerprint: 1})
	equal(s, r.Repeated, true, "Repeated of a known ID with a new key")
	id := s.free(s.keyed("", "", "k", 2), "after a repeated append")
	refused := s.keyed("", "", "k", 3)
	s.taken(refused, id, store.ErrConflict, "by other content")
	refused.Event.IdempotencyKey = "new"
	s.free(refused, "with the ID of an append that was refused")
	zero := s.keyed("", "", "zero", 1)
	zero.Event.ID = store.ID{}
	if r := s.append(zero); r.Err == nil {
		s.Errorf("append of an event without an ID: %+v, want an error", r)
	}
	s.free(s.keyed("", "", "zero", 2), "after an append without an ID")
}

func keysSurviveRestarts(s *suite) {
	a := s.keyed("t", "s", "k", 1)
	a.Window = 10 * time.Hour
	id := s.free(a, "at first")
	for name, way := range s.restarts() {
		way()
		s.taken(s.keyed("t", "s", "k", 1), id, store.ErrDuplicate, "after "+name)
		s.taken(s.keyed("t", "s", "k", 2), id, store.ErrConflict, "after "+name)
		time.Sleep(time.Hour)
		way()
		s.taken(s.keyed("t", "s", "k", 1), id, store.ErrDuplicate, "an hour later, after "+name)
		s.free(s.keyed("t", "s", name, 1), "after "+name)
	}
	time.Sleep(8*time.Hour + time.Second)
	if s.Reopen != nil {
		s.reopen()
	}
	time.Sleep(2 * time.Hour)
	s.free(s.keyed("t", "s", "k", 2), "after the window")
}

func manyKeys(s *suite) {
	const n = 3000
	s.large = true
	var ids []store.ID
	for from := 0; from < n; from += 100 {
		b := &store.Batch{}
		for i := from; i < from+100; i++ {
			a := s.keyed("", "", fmt.Sprint("key ", i), uint64(i))
			a.Deliveries = nil
			ids = append(ids, a.Event.ID)
			b.Appends = append(b.Appends, a)
		}
		for _, r := range s.commit(b).Appends {
			s.ok(r.Err, "append")
		}
		time.Sleep(10 * time.Minute)
	}
	check := func() {
		b := &store.Batch{}
		for i := range n {
			b.Appends = append(b.Appends, s.keyed("", "", fmt.Sprint("key ", i), uint64(i)))
		}
		for i, r := range s.commit(b).Appends {
			s.is(r.Err, "append with a taken key", store.ErrDuplicate)
			equal(s, r.ID, ids[i], "the ID of the first")
		}
	}
	check()
	if s.Reopen != nil {
		s.reopen()
		check()
	}
}

func concurrentKeys(s *suite) {
	const callers, keys = 8, 20
	appends := make([][]store.Append, callers)
	for c := range callers {
		for k := range keys {
			appends[c] = append(appends[c], s.keyed("", "", fmt.Sprint("key ", k), 1))
		}
	}
	var mu sync.Mutex
	winners := map[string][]store.ID{}
	losers := map[string][]store.ID{}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for _, a := range appends[c] {
				r, err := s.store.Commit(s.ctx, &store.Batch{Appends: []store.Append{a}})
				if err != nil {
					s.Errorf("Commit: %v", err)
					return
				}
				mu.Lock()
				if res := r.Appends[0]; res.Err == nil {
					winners[a.Event.IdempotencyKey] = append(winners[a.Event.IdempotencyKey], res.ID)
				} else {
					losers[a.Event.IdempotencyKey] = append(losers[a.Event.IdempotencyKey], res.ID)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for key, ids := range winners {
		equal(s, len(ids), 1, "events with the key "+key)
		for _, id := range losers[key] {
			equal(s, id, ids[0], "the ID that a duplicate of "+key+" got")
		}
	}
	equal(s, len(winners), keys, "keys with an event")
	equal(s, len(s.claimAll(store.ClaimRequest{})), keys, "deliveries")
}
