package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/store"
)

// queryCases: pages by key, bounded by a limit and a budget.
var queryCases = []testCase{
	{"EventFilters", eventFilters},
	{"DeliveryFilters", deliveryFilters},
	{"ByIDs", byIDs},
	{"NewestAndOldestFirst", newestAndOldest},
	{"PagesOfEverySize", pagesOfEverySize},
	{"TheDefaultAndTheLargestLimit", limits},
	{"TheBudgetEndsAPage", budgetEndsPage},
	{"WithoutPayload", withoutPayload},
	{"ABadCursor", badCursor},
	{"PagesWhileWriting", pagesWhileWriting},
	{"StatesWhileSettling", statesWhileSettling},
	{"WhatWasCommittedIsSeen", committedIsSeen},
	{"ReadersBesideWriters", readersBesideWriters},
}

// shop adds 24 events in four hours, of two tenants and none, three sources, four types, with labels.
func (s *suite) shop() []store.Event {
	var all []store.Event
	for i := range 24 {
		ev := store.Event{
			ID: s.id(), Tenant: []string{"", "a", "b"}[i%3], Source: []string{"", "github", "stripe"}[i/3%3],
			Type:    []string{"invoice.paid", "invoice.void", "invoice", "push"}[i%4],
			Labels:  map[string]string{"even": fmt.Sprint(i%2 == 0), "third": fmt.Sprint(i % 3)},
			Payload: []byte(fmt.Sprint(i)),
		}
		if i%5 == 0 {
			ev.Labels = nil
		}
		s.add(ev, to(store.Destination(fmt.Sprint("ep:", i%4))), to("fn:all"))
		all = append(all, s.event(ev.ID))
		time.Sleep(10 * time.Minute)
	}
	return all
}

func eventFilters(s *suite) {
	all := s.shop()
	at := func(i int) time.Time { return all[i].Accepted }
	type filter struct {
		name string
		q    store.EventQuery
		want func(i int, ev *store.Event) bool
	}
	filters := []filter{
		{"all", store.EventQuery{}, func(int, *store.Event) bool { return true }},
		{"source", store.EventQuery{Source: ptr("github")}, func(_ int, ev *store.Event) bool { return ev.Source == "github" }},
		{"no source", store.EventQuery{Source: ptr("")}, func(_ int, ev *store.Event) bool { return ev.Source == "" }},
		{"type", store.EventQuery{Type: "invoice"}, func(_ int, ev *store.Event) bool { return ev.Type == "invoice" }},
		{"types", store.EventQuery{Type: "invoice.*"}, func(_ int, ev *store.Event) bool { return strings.HasPrefix(ev.Type, "invoice.") }},
		{"any type", store.EventQuery{Type: "*"}, func(int, *store.Event) bool { return true }},
		{"no such type", store.EventQuery{Type: "inv"}, func(int, *store.Event) bool { return false }},
		{"label", store.EventQuery{Labels: map[string]string{"even": "true"}}, func(i int, ev *store.Event) bool { return i%2 == 0 && ev.Labels != nil }},
		{"labels", store.EventQuery{Labels: map[string]string{"even": "true", "third": "1"}}, func(i int, ev *store.Event) bool { return i%2 == 0 && i%3 == 1 && ev.Labels != nil }},
		{"no such label", store.EventQuery{Labels: map[string]string{"even": "true", "missing": ""}}, func(int, *store.Event) bool { return false }},
		{"from", store.EventQuery{From: at(7)}, func(i int, _ *store.Event) bool { return i >= 7 }},
		{"to", store.EventQuery{To: at(7)}, func(i int, _ *store.Event) bool { return i < 7 }},
		{"between", store.EventQuery{From: at(3), To: at(9).Add(time.Nanosecond)}, func(i int, _ *store.Event) bool { return i >= 3 && i <= 9 }},
		{"an empty span", store.EventQuery{From: at(9), To: at(9)}, func(int, *store.Event) bool { return false }},
		{"source and type and span", store.EventQuery{Source: ptr("stripe"), Type: "push*", From: at(2), To: at(20)}, func(i int, ev *store.Event) bool {
			return ev.Source == "stripe" && ev.Type == "push" && i >= 2 && i < 20
		}},
	}
	for _, f := range filters {
		for _, tenant := range []string{store.AllTenants, "", "a", "b", "c"} {
			for _, oldest := range []bool{false, true} {
				for _, limit := range []int{0, 2} {
					q := f.q
					q.Tenant, q.Oldest, q.Page.Limit = tenant, oldest, limit
					var want []store.ID
					for i := range all {
						if (tenant == store.AllTenants || tenant == all[i].Tenant) && f.want(i, &all[i]) {
							want = append(want, all[i].ID)
						}
					}
					if !oldest {
						slices.Reverse(want)
					}
					var got []store.ID
					for _, ev := range s.events(q) {
						got = append(got, ev.ID)
					}
					if !slices.Equal(got, want) {
						s.Errorf("events by %s, tenant %q, oldest first %v, limit %d: %v, want %v", f.name, tenant, oldest, limit, got, want)
					}
				}
			}
		}
	}
}

func deliveryFilters(s *suite) {
	all := s.shop()
	for i, l := range s.claimAll(store.ClaimRequest{Lease: 1000 * time.Hour}) {
		switch i % 6 {
		case 0:
			s.end(l, store.OpDone, 0)
		case 1:
			s.end(l, store.OpRetry, time.Hour)
		case 2:
			s.end(l, store.OpDead, 0)
		case 3:
			s.end(l, store.OpRelease, time.Hour)
			s.must(store.Settle{ID: l.Delivery.ID, Op: store.OpCancel})
		case 4:
			s.end(l, store.OpRelease, 0)
		}
	}
	ds := s.deliveries(store.DeliveryQuery{Tenant: store.AllTenants, Oldest: true})
	equal(s, len(ds), 2*len(all), "deliveries")
	index := map[store.ID]int{}
	for i := range all {
		index[all[i].ID] = i
	}
	at := func(i int) time.Time { return all[i].Accepted }
	type filter struct {
		name string
		q    store.DeliveryQuery
		want func(i int, d *store.Delivery) bool
	}
	filters := []filter{
		{"all", store.DeliveryQuery{}, func(int, *store.Delivery) bool { return true }},
		{"event", store.DeliveryQuery{Event: all[4].ID}, func(i int, _ *store.Delivery) bool { return i == 4 }},
		{"an unknown event", store.DeliveryQuery{Event: store.ID{9}}, func(int, *store.Delivery) bool { return false }},
		{"destination", store.DeliveryQuery{Destination: "ep:2"}, func(_ int, d *store.Delivery) bool { return d.Destination == "ep:2" }},
		{"the destination of all", store.DeliveryQuery{Destination: "fn:all"}, func(_ int, d *store.Delivery) bool { return d.Destination == "fn:all" }},
		{"an unknown destination", store.DeliveryQuery{Destination: "ep:"}, func(int, *store.Delivery) bool { return false }},
		{"source", store.DeliveryQuery{Source: ptr("github")}, func(_ int, d *store.Delivery) bool { return d.Source == "github" }},
		{"no source", store.DeliveryQuery{Source: ptr("")}, func(_ int, d *store.Delivery) bool { return d.Source == "" }},
		{"type", store.DeliveryQuery{Type: "invoice"}, func(_ int, d *store.Delivery) bool { return d.Type == "invoice" }},
		{"types", store.DeliveryQuery{Type: "invoice.*"}, func(_ int, d *store.Delivery) bool { return strings.HasPrefix(d.Type, "invoice.") }},
		{"span", store.DeliveryQuery{From: at(3), To: at(9)}, func(i int, _ *store.Delivery) bool { return i >= 3 && i < 9 }},
		{"two states", store.DeliveryQuery{States: []store.State{store.Dead, store.Cancelled}}, func(_ int, d *store.Delivery) bool {
			return d.State == store.Dead || d.State == store.Cancelled
		}},
		{"state and destination", store.DeliveryQuery{States: []store.State{store.Dead}, Destination: "fn:all"}, func(_ int, d *store.Delivery) bool {
			return d.State == store.Dead && d.Destination == "fn:all"
		}},
		{"state and event", store.DeliveryQuery{States: []store.State{store.Done, store.Pending}, Event: all[6].ID}, func(i int, d *store.Delivery) bool {
			return i == 6 && (d.State == store.Done || d.State == store.Pending)
		}},
		{"state and type and source", store.DeliveryQuery{States: []store.State{store.Pending, store.Leased}, Type: "invoice*", Source: ptr("stripe")}, func(_ int, d *store.Delivery) bool {
			return d.State.Open() && d.Source == "stripe" && strings.HasPrefix(d.Type, "invoice")
		}},
	}
	for st := store.Pending; st <= store.Cancelled; st++ {
		filters = append(filters, filter{"state " + st.String(), store.DeliveryQuery{States: []store.State{st}}, func(_ int, d *store.Delivery) bool { return d.State == st }})
	}
	for _, f := range filters {
		for _, tenant := range []string{store.AllTenants, "", "a", "b", "c"} {
			for _, oldest := range []bool{false, true} {
				q := f.q
				q.Tenant, q.Oldest = tenant, oldest
				q.Page.Limit = len(f.name) % 5 // 0 and small ones
				want := map[store.DeliveryID]bool{}
				for i := range ds {
					if (tenant == store.AllTenants || tenant == ds[i].Tenant) && f.want(index[ds[i].ID.Event], &ds[i]) {
						want[ds[i].ID] = true
					}
				}
				got := s.deliveries(q)
				for i, d := range got {
					if !want[d.ID] {
						s.Errorf("deliveries by %s, tenant %q, oldest first %v: %v does not match, or comes twice", f.name, tenant, oldest, d.ID)
					}
					delete(want, d.ID)
					if i > 0 && (oldest && d.Seq < got[i-1].Seq || !oldest && d.Seq > got[i-1].Seq) {
						s.Errorf("deliveries by %s, tenant %q, oldest first %v: Seq %d comes after %d", f.name, tenant, oldest, d.Seq, got[i-1].Seq)
					}
				}
				if len(want) > 0 {
					s.Errorf("deliveries by %s, tenant %q, oldest first %v: %d are missing", f.name, tenant, oldest, len(want))
				}
			}
		}
	}
}

func byIDs(s *suite) {
	all := s.shop()
	ids := []store.ID{all[20].ID, {9}, all[3].ID, all[4].ID, all[3].ID}
	got := s.events(store.EventQuery{Tenant: store.AllTenants, IDs: ids})
	if len(got) != 3 || got[0].ID != all[20].ID || got[1].ID != all[4].ID || got[2].ID != all[3].ID {
		s.Errorf("events 20, 4 and 3 by ID, newest first: %+v", got)
	}
	for i := range got {
		want := s.event(got[i].ID)
		if d := diffEvent(&want, &got[i]); d != "" {
			s.Errorf("by ID: %s", d)
		}
	}
	got = s.events(store.EventQuery{Tenant: "a", IDs: ids, Type: all[4].Type, Oldest: true})
	if len(got) != 1 || got[0].ID != all[4].ID {
		s.Errorf("the event of tenant a by ID: %+v", got)
	}
	equal(s, len(s.events(store.EventQuery{Tenant: store.AllTenants, IDs: []store.ID{{}, {8}}})), 0, "events by IDs that are unknown")
	dids := []store.DeliveryID{first(all[7].ID), {Event: all[7].ID, N: 1}, {Event: all[7].ID, N: 2}, first(all[0].ID), {Event: store.ID{9}}}
	ds := s.deliveries(store.DeliveryQuery{Tenant: store.AllTenants, IDs: dids})
	if len(ds) != 3 || ds[0].ID.Event != all[7].ID || ds[1].ID.Event != all[7].ID || ds[2].ID != dids[3] {
		s.Errorf("two deliveries of event 7 and one of event 0 by ID: %+v", ds)
	}
	equal(s, len(s.deliveries(store.DeliveryQuery{Tenant: all[7].Tenant, IDs: dids, Destination: "fn:all"})), 1, "deliveries by ID and destination")
}

func newestAndOldest(s *suite) {
	var ids []store.ID
	for _, id := range s.idsOfAllKinds() {
		ids = append(ids, s.add(store.Event{ID: id}, to("ep:a")))
	}
	for _, limit := range []int{1000, 7} {
		got := s.events(store.EventQuery{Oldest: true, Page: store.Paging{Limit: limit}})
		equal(s, len(got), len(ids), "events")
		for i, ev := range got {
			equal(s, ev.ID, ids[i], fmt.Sprintf("event %d, oldest first", i))
		}
		for i, ev := range s.events(store.EventQuery{Page: store.Paging{Limit: limit}}) {
			equal(s, ev.ID, ids[len(ids)-1-i], fmt.Sprintf("event %d, newest first", i))
		}
		for i, d := range s.deliveries(store.DeliveryQuery{Page: store.Paging{Limit: limit}}) {
			equal(s, d.ID.Event, ids[len(ids)-1-i], fmt.Sprintf("delivery %d, newest first", i))
		}
	}
}

func pagesOfEverySize(s *suite) {
	s.addMany(53, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	id := s.add(store.Event{}, slices.Repeat([]store.NewDelivery{to("ep:b")}, 20)...)
	for limit := 1; limit < 60; limit += 3 {
		for _, oldest := range []bool{false, true} {
			p := store.Paging{Limit: limit, Budget: 1 + limit%7*5}
			evs := s.events(store.EventQuery{Oldest: oldest, Page: p})
			ds := s.deliveries(store.DeliveryQuery{Oldest: oldest, Page: p})
			equal(s, len(evs), 54, "events in pages")
			equal(s, len(ds), 73, "deliveries in pages")
			equal(s, len(distinct(ds, func(d store.Delivery) store.DeliveryID { return d.ID })), 73, "different deliveries in pages")
			equal(s, len(distinct(evs, func(e store.Event) store.ID { return e.ID })), 54, "different events in pages")
			equal(s, len(s.deliveries(store.DeliveryQuery{Event: id, Oldest: oldest, Page: p})), 20, "deliveries of an event in pages")
			equal(s, len(s.deliveries(store.DeliveryQuery{Destination: "ep:b", Oldest: oldest, Page: p})), 20, "deliveries of a destination in pages")
		}
	}
}

func distinct[T any, K comparable](list []T, key func(T) K) map[K]bool {
	m := map[K]bool{}
	for _, v := range list {
		m[key(v)] = true
	}
	return m
}

func limits(s *suite) {
	s.large = true
	s.addMany(2100, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	for _, c := range []struct{ limit, want int }{{0, 100}, {1, 1}, {1000, 1000}, {5000, 1000}} {
		evs, err := s.store.Events(s.ctx, store.EventQuery{Page: store.Paging{Limit: c.limit}})
		s.ok(err, "Events")
		ds, err := s.store.Deliveries(s.ctx, store.DeliveryQuery{Page: store.Paging{Limit: c.limit}})
		s.ok(err, "Deliveries")
		if len(evs.Items) != c.want || len(ds.Items) != c.want || evs.Next == "" || ds.Next == "" {
			s.Errorf("with the limit %d there are %d events and %d deliveries on the first page, want %d and a Next", c.limit, len(evs.Items), len(ds.Items), c.want)
		}
	}
	evs, err := s.store.Events(s.ctx, store.EventQuery{Type: "none", Page: store.Paging{Budget: 500}})
	s.ok(err, "Events")
	if len(evs.Items) != 0 || evs.Next == "" || evs.Scanned > 500 {
		s.Errorf("a page for which 500 records may be looked at: %d items, %d looked at, Next %q", len(evs.Items), evs.Scanned, evs.Next)
	}
}

func budgetEndsPage(s *suite) {
	s.addMany(100, store.Event{Type: "common"}, func(int) store.NewDelivery { return to("ep:a") })
	rare := s.add(store.Event{Type: "rare"}, to("ep:b"))
	s.addMany(100, store.Event{Type: "common"}, func(int) store.NewDelivery { return to("ep:a") })
	for _, oldest := range []bool{false, true} {
		empty, found := 0, 0
		q := store.EventQuery{Type: "rare", Oldest: oldest, Page: store.Paging{Budget: 10}}
		for range 1000 {
			pg, err := s.store.Events(s.ctx, q)
			s.ok(err, "Events")
			if pg.Scanned > 10 {
				s.Fatalf("a page looked at %d records, its budget is 10", pg.Scanned)
			}
			for _, ev := range pg.Items {
				equal(s, ev.ID, rare, "the rare event")
				found++
			}
			if len(pg.Items) == 0 && pg.Next != "" {
				empty++
			}
			if q.Page.Cursor = pg.Next; pg.Next == "" {
				break
			}
		}
		equal(s, q.Page.Cursor, "", "the cursor in the end")
		equal(s, found, 1, "rare events")
		if empty == 0 {
			s.Errorf("no page was ended by its budget: 201 records, a budget of 10")
		}
		p := store.Paging{Budget: 7}
		equal(s, len(s.deliveries(store.DeliveryQuery{Type: "rare", Oldest: oldest, Page: p})), 1, "deliveries of the rare event")
		equal(s, len(s.deliveries(store.DeliveryQuery{Destination: "ep:b", States: []store.State{store.Pending}, Oldest: oldest, Page: p})), 1, "deliveries of the rare destination")
		equal(s, len(s.events(store.EventQuery{Type: "none", Oldest: oldest, Page: p})), 0, "events of no type")
		equal(s, len(s.events(store.EventQuery{Type: "common", Oldest: oldest, Page: p})), 200, "common events")
		equal(s, len(s.deliveries(store.DeliveryQuery{Tenant: "other", Oldest: oldest, Page: p})), 0, "deliveries of another tenant")
	}
}

func withoutPayload(s *suite) {
	id := s.add(store.Event{Payload: []byte("x"), Type: "t", Labels: map[string]string{"a": "b"}}, to("ep:a"))
	for _, q := range []store.EventQuery{{NoPayload: true}, {NoPayload: true, IDs: []store.ID{id}}} {
		got := s.events(q)
		if len(got) != 1 || len(got[0].Payload) != 0 || got[0].Type != "t" || got[0].Labels["a"] != "b" || got[0].Deliveries != 1 {
			s.Errorf("an event without its payload: %+v", got)
		}
	}
	equal(s, string(s.event(id).Payload), "x", "the payload, asked for")
}

func badCursor(s *suite) {
	s.addMany(20, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	for i := range 5 {
		s.put(store.DocPut{Doc: doc("endpoint", "", fmt.Sprint(i), "")})
		s.gate(store.Gate{Destination: store.Destination(fmt.Sprint("ep:", i)), Cause: "limit", MaxInFlight: 1})
	}
	p := store.Paging{Limit: 2}
	evs, err := s.store.Events(s.ctx, store.EventQuery{Page: p})
	s.ok(err, "Events")
	ds, err := s.store.Deliveries(s.ctx, store.DeliveryQuery{Page: p})
	s.ok(err, "Deliveries")
	docs, err := s.store.Docs(s.ctx, store.DocQuery{Kind: "endpoint", Page: p})
	s.ok(err, "Docs")
	gates, err := s.store.Docs(s.ctx, store.DocQuery{Kind: store.KindGate, Page: p})
	s.ok(err, "Docs")
	if evs.Next == "" || ds.Next == "" || docs.Next == "" || gates.Next == "" {
		s.Fatalf("first pages without a Next: %q, %q, %q, %q", evs.Next, ds.Next, docs.Next, gates.Next)
	}
	bad := []string{"x", "0", " ", "\x00", "!!!", "AAAA", "../..", strings.Repeat("f", 500), evs.Next + "x", evs.Next[:len(evs.Next)-1], evs.Next[1:]}
	for _, c := range append(bad, ds.Next, docs.Next, gates.Next) {
		_, err := s.store.Events(s.ctx, store.EventQuery{Page: store.Paging{Cursor: c}})
		s.is(err, fmt.Sprintf("Events with the cursor %q", c), store.ErrBadCursor)
	}
	for _, c := range append(bad, evs.Next, docs.Next, gates.Next) {
		_, err := s.store.Deliveries(s.ctx, store.DeliveryQuery{Page: store.Paging{Cursor: c}})
		s.is(err, fmt.Sprintf("Deliveries with the cursor %q", c), store.ErrBadCursor)
	}
	for _, c := range append(bad, evs.Next, ds.Next, gates.Next) {
		_, err := s.store.Docs(s.ctx, store.DocQuery{Kind: "endpoint", Page: store.Paging{Cursor: c}})
		s.is(err, fmt.Sprintf("Docs with the cursor %q", c), store.ErrBadCursor)
	}
	_, err = s.store.Events(s.ctx, store.EventQuery{Oldest: true, Page: store.Paging{Cursor: evs.Next}})
	s.is(err, "Events with a cursor of the other direction", store.ErrBadCursor)
	_, err = s.store.Deliveries(s.ctx, store.DeliveryQuery{Oldest: true, Page: store.Paging{Cursor: ds.Next}})
	s.is(err, "Deliveries with a cursor of the other direction", store.ErrBadCursor)
	// The size of the page may change from one to the next.
	more, err := s.store.Events(s.ctx, store.EventQuery{Page: store.Paging{Cursor: evs.Next, Limit: 100, Budget: 1000}})
	s.ok(err, "Events with a larger limit")
	equal(s, len(more.Items), 18, "the rest of the events")
}

// pagesWhileWriting: whatever was there all the time comes exactly once, whatever happens between the pages.
func pagesWhileWriting(s *suite) {
	ids := s.addMany(60, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	for i := range 30 {
		s.put(store.DocPut{Doc: doc("endpoint", "", fmt.Sprintf("%03d", i*10), "")})
	}
	for _, oldest := range []bool{false, true} {
		evs, ds, docs := map[store.ID]int{}, map[store.DeliveryID]int{}, map[string]int{}
		q := store.EventQuery{Oldest: oldest, Page: store.Paging{Limit: 7}}
		dq := store.DeliveryQuery{Oldest: oldest, Page: store.Paging{Limit: 7}}
		cq := store.DocQuery{Kind: "endpoint", Page: store.Paging{Limit: 4}}
		for range 100 {
			pg, err := s.store.Events(s.ctx, q)
			s.ok(err, "Events")
			for _, ev := range pg.Items {
				evs[ev.ID]++
			}
			dpg, err := s.store.Deliveries(s.ctx, dq)
			s.ok(err, "Deliveries")
			for _, d := range dpg.Items {
				ds[d.ID]++
			}
			cpg, err := s.store.Docs(s.ctx, cq)
			s.ok(err, "Docs")
			for _, d := range cpg.Items {
				docs[d.ID]++
			}
			if q.Page.Cursor, dq.Page.Cursor, cq.Page.Cursor = pg.Next, dpg.Next, cpg.Next; pg.Next == "" || dpg.Next == "" || cpg.Next == "" {
				break
			}
			s.add(store.Event{ID: store.ID{0: 0x20, 14: byte(len(evs)), 15: byte(len(ids))}, Payload: []byte("new")}, to("ep:b"))
			s.end(s.claim(store.ClaimRequest{Max: 1, Accept: []store.Destination{"ep:a"}}).Leases[0], store.OpRetry, 0)
			s.put(store.DocPut{Doc: doc("endpoint", "", fmt.Sprintf("%03d-%d", len(docs)*10, len(ids)), "")})
			ids = append(ids, store.ID{})
		}
		if q.Page.Cursor != "" {
			for _, ev := range s.events(q) {
				evs[ev.ID]++
			}
		}
		if dq.Page.Cursor != "" {
			for _, d := range s.deliveries(dq) {
				ds[d.ID]++
			}
		}
		if cq.Page.Cursor != "" {
			for _, d := range s.docs(cq) {
				docs[d.ID]++
			}
		}
		for id, n := range evs {
			equal(s, n, 1, "how often event "+id.String()+" came")
		}
		for _, id := range ids[:60] {
			equal(s, evs[id], 1, "how often event "+id.String()+" came")
			equal(s, ds[first(id)], 1, "how often delivery "+first(id).String()+" came")
		}
		for i := range 30 {
			equal(s, docs[fmt.Sprintf("%03d", i*10)], 1, fmt.Sprintf("how often document %d came", i))
		}
	}
}

func statesWhileSettling(s *suite) {
	s.addMany(90, store.Event{}, func(int) store.NewDelivery { return to("ep:a") })
	stay := map[store.DeliveryID]bool{}
	var leaving []store.Lease
	for i, l := range s.claimAll(store.ClaimRequest{Lease: 100 * time.Hour}) {
		if i%3 == 0 {
			leaving = append(leaving, l)
		} else {
			s.end(l, store.OpRetry, time.Hour)
			stay[l.Delivery.ID] = true
		}
	}
	seen := map[store.DeliveryID]int{}
	q := store.DeliveryQuery{States: []store.State{store.Pending}, Page: store.Paging{Limit: 5}}
	for range 200 {
		pg, err := s.store.Deliveries(s.ctx, q)
		s.ok(err, "Deliveries")
		for _, d := range pg.Items {
			equal(s, d.State, store.Pending, "the state of what was asked for")
			seen[d.ID]++
		}
		if q.Page.Cursor = pg.Next; pg.Next == "" {
			break
		}
		if len(leaving) > 0 {
			s.end(leaving[0], []store.Op{store.OpDone, store.OpRetry, store.OpDead}[len(leaving)%3], time.Minute)
			leaving = leaving[1:]
		}
	}
	for id, n := range seen {
		equal(s, n, 1, "how often "+id.String()+" came")
	}
	for id := range stay {
		equal(s, seen[id], 1, "how often "+id.String()+", which was pending all the time, came")
	}
}

// committedIsSeen: a read sees everything that was committed before it began.
func committedIsSeen(s *suite) {
	for i := range 30 {
		id := s.add(store.Event{Tenant: "a"}, to("ep:a"))
		if got, err := s.store.Events(s.ctx, store.EventQuery{Tenant: "a", Page: store.Paging{Limit: 1}}); err != nil || len(got.Items) != 1 || got.Items[0].ID != id {
			s.Fatalf("Events at once after the append of %v: %+v, %v", id, got.Items, err)
		}
		l := s.one()
		s.state(l.Delivery.ID, store.Leased, "at once after its claim")
		s.end(l, store.OpDone, 0)
		s.state(l.Delivery.ID, store.Done, "at once after OpDone")
		equal(s, len(s.attempts(l.Delivery.ID)), 1, "attempts at once after OpDone")
		equal(s, len(s.deliveries(store.DeliveryQuery{Tenant: "a", States: []store.State{store.Done}})), i+1, "deliveries that are done")
		v := s.put(store.DocPut{Doc: doc("job", "", "j", fmt.Sprint(i)), Expect: uint64(i)})
		if d := s.docs(store.DocQuery{Kind: "job"}); len(d) != 1 || d[0].Version != v || string(d[0].Data) != fmt.Sprint(i) {
			s.Fatalf("Docs at once after a put of version %d: %+v", v, d)
		}
	}
}

// readersBesideWriters: reads and writes run side by side, and a read never misses what was committed when it began, nor
// sees half of a batch.
func readersBesideWriters(s *suite) {
	const rounds = 60
	var committed atomic.Int64
	ids := make([]store.ID, 2*rounds)
	for i := range ids {
		ids[i] = s.id()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range rounds {
			b := &store.Batch{}
			for _, id := range ids[2*i : 2*i+2] {
				b.Appends = append(b.Appends, store.Append{Event: &store.Event{ID: id}, Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")}})
			}
			if _, err := s.store.Commit(s.ctx, b); err != nil {
				s.Errorf("Commit: %v", err)
				return
			}
			committed.Add(2)
		}
	})
	wg.Go(func() {
		for range rounds {
			res, err := s.store.Claim(s.ctx, request(store.ClaimRequest{Max: 3, Accept: []store.Destination{"ep:a"}}))
			if err != nil {
				s.Errorf("Claim: %v", err)
				return
			}
			b := &store.Batch{}
			for _, l := range res.Leases {
				b.Settles = append(b.Settles, store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Attempt: try(200), Reason: "delivered"})
			}
			if _, err := s.store.Commit(s.ctx, b); err != nil {
				s.Errorf("Commit: %v", err)
				return
			}
			if _, err := s.store.Prune(s.ctx, store.PruneRequest{Done: day}); err != nil {
				s.Errorf("Prune: %v", err)
			}
		}
	})
	for range 3 {
		wg.Go(func() {
			for range rounds {
				n := committed.Load()
				evs, err := s.store.Events(s.ctx, store.EventQuery{Page: store.Paging{Limit: 1000}})
				if err != nil || int64(len(evs.Items)) < n || len(evs.Items)%2 != 0 {
					s.Errorf("Events beside a writer of two at a time: %d, want an even number of at least %d: %v", len(evs.Items), n, err)
					return
				}
				ds, err := s.store.Deliveries(s.ctx, store.DeliveryQuery{Destination: "ep:b", Page: store.Paging{Limit: 1000}})
				if err != nil || int64(len(ds.Items)) < n {
					s.Errorf("Deliveries beside a writer: %d, want at least %d: %v", len(ds.Items), n, err)
					return
				}
				if _, err := s.store.Stats(s.ctx); err != nil {
					s.Errorf("Stats: %v", err)
				}
			}
		})
	}
	wg.Wait()
	equal(s, s.count(), 2*rounds, "events")
}
