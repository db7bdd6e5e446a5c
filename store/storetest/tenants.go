package storetest

import (
	"fmt"

	"github.com/hookgate/hookgate/store"
)

// tenantCases: no tenant sees or touches what belongs to another, by no method; empty means the events without a tenant.
var tenantCases = []testCase{
	{"EmptyIsNoTenant", emptyIsNoTenant},
	{"ForeignIDsOnEveryMethod", foreignIDs},
	{"ForeignCursors", foreignCursors},
	{"OneDestinationOfTwoTenants", oneDestinationTwoTenants},
	{"SimilarNames", similarNames},
}

func emptyIsNoTenant(s *suite) {
	none := s.add(store.Event{Type: "t"}, to("ep:a"))
	a := s.add(store.Event{Tenant: "a", Type: "t"}, to("ep:a"))
	for _, c := range []struct {
		tenant string
		want   []store.ID
	}{{"", []store.ID{none}}, {"a", []store.ID{a}}, {store.AllTenants, []store.ID{a, none}}, {"b", nil}} {
		evs := s.events(store.EventQuery{Tenant: c.tenant})
		ds := s.deliveries(store.DeliveryQuery{Tenant: c.tenant})
		equal(s, len(evs), len(c.want), fmt.Sprintf("events of tenant %q", c.tenant))
		equal(s, len(ds), len(c.want), fmt.Sprintf("deliveries of tenant %q", c.tenant))
		for i := range c.want {
			equal(s, evs[i].ID, c.want[i], fmt.Sprintf("an event of tenant %q", c.tenant))
			equal(s, ds[i].ID.Event, c.want[i], fmt.Sprintf("a delivery of tenant %q", c.tenant))
		}
	}
	for _, c := range []struct {
		tenant string
		id     store.ID
		want   error
	}{{"", none, nil}, {"", a, store.ErrNotFound}, {"a", a, nil}, {"a", none, store.ErrNotFound}, {store.AllTenants, a, nil}, {store.AllTenants, none, nil}} {
		_, err := s.store.Attempts(s.ctx, c.tenant, first(c.id))
		s.is(err, fmt.Sprintf("Attempts for tenant %q of event %v", c.tenant, c.id), c.want)
	}
}

// foreignIDs asks for a's records as tenant b, and as nobody, by every method that takes an ID.
func foreignIDs(s *suite) {
	id := s.add(store.Event{Tenant: "a", Source: "src", Type: "t", IdempotencyKey: "k", Labels: map[string]string{"l": "1"}, Payload: []byte("secret")}, to("ep:a"), to("ep:a"))
	s.put(store.DocPut{Doc: doc("endpoint", "a", "e", "secret")})
	ls := s.claimAll(store.ClaimRequest{})
	s.end(ls[0], store.OpRetry, 0)
	s.end(ls[1], store.OpDead, 0)
	before := s.snapshot()
	for _, tenant := range []string{"b", "", "A", "a ", "aa"} {
		what := fmt.Sprintf(" for tenant %q", tenant)
		for _, q := range []store.EventQuery{
			{},
			{IDs: []store.ID{id}},
			{Source: ptr("src")},
			{Type: "t"},
			{Type: "*"},
			{Labels: map[string]string{"l": "1"}},
			{From: s.event(id).Accepted},
			{Oldest: true},
			{NoPayload: true},
		} {
			q.Tenant = tenant
			equal(s, len(s.events(q)), 0, "events"+what)
		}
		for _, q := range []store.DeliveryQuery{
			{},
			{IDs: []store.DeliveryID{first(id), {Event: id, N: 1}}},
			{Event: id},
			{Destination: "ep:a"},
			{States: []store.State{store.Pending, store.Dead}},
			{Event: id, States: []store.State{store.Dead}},
			{Destination: "ep:a", States: []store.State{store.Dead}},
			{Source: ptr("src")},
			{Type: "t"},
			{Oldest: true},
			{From: s.event(id).Accepted},
		} {
			q.Tenant = tenant
			equal(s, len(s.deliveries(q)), 0, "deliveries"+what)
		}
		for _, q := range []store.DocQuery{{}, {IDs: []string{"e"}}} {
			q.Kind, q.Tenant = "endpoint", tenant
			equal(s, len(s.docs(q)), 0, "documents"+what)
		}
		_, err := s.store.Attempts(s.ctx, tenant, ls[0].Delivery.ID)
		s.is(err, "Attempts"+what, store.ErrNotFound)
		if tenant != "" { // a settle without a tenant says nothing of it
			for _, l := range ls {
				for op := store.OpCancel; op <= store.OpExpire; op++ {
					s.is(s.settle(store.Settle{ID: l.Delivery.ID, Op: op, Tenant: tenant}), op.String()+what, store.ErrNotFound)
				}
				for op := store.OpDone; op <= store.OpExtend; op++ {
					s.is(s.settle(store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: op, Tenant: tenant, Attempt: try(299)}), op.String()+what, store.ErrNotFound)
				}
			}
		}
		r := s.commit(&store.Batch{
			Docs: []store.DocPut{
				{Doc: doc("endpoint", tenant, "e", "mine"), Expect: 1},
				{Doc: doc("endpoint", tenant, "e", "mine"), Expect: 1, Delete: true},
			},
			Appends: []store.Append{{Event: &store.Event{ID: id, Tenant: tenant, Payload: []byte("other")}, Deliveries: []store.NewDelivery{to("ep:b")}}},
		})
		s.is(r.Docs[0].Err, "put of a's document"+what, store.ErrConflict)
		equal(s, r.Appends[0].Repeated || r.Appends[0].Err != nil, true, "that nothing was appended under a's ID"+what)
	}
	if d := before.diff(s.snapshot(), s.event(id).Accepted); d != "" {
		s.Errorf("what other tenants did changed the records: %s", d)
	}
}

func foreignCursors(s *suite) {
	for i := range 20 {
		s.add(store.Event{Tenant: []string{"a", "b"}[i%2]}, to("ep:a"))
		s.put(store.DocPut{Doc: doc("endpoint", []string{"a", "b"}[i%2], fmt.Sprint(i), "")})
	}
	p := store.Paging{Limit: 3}
	for _, from := range []string{"a", store.AllTenants} {
		evs, err := s.store.Events(s.ctx, store.EventQuery{Tenant: from, Page: p})
		s.ok(err, "Events")
		ds, err := s.store.Deliveries(s.ctx, store.DeliveryQuery{Tenant: from, Page: p})
		s.ok(err, "Deliveries")
		docs, err := s.store.Docs(s.ctx, store.DocQuery{Kind: "endpoint", Tenant: from, Page: p})
		s.ok(err, "Docs")
		evs, err = s.store.Events(s.ctx, store.EventQuery{Tenant: "b", Page: store.Paging{Cursor: evs.Next}})
		s.is(err, "Events with the cursor of another tenant", nil, store.ErrBadCursor)
		for _, ev := range evs.Items {
			equal(s, ev.Tenant, "b", "the tenant of an event, with the cursor of another tenant")
		}
		ds, err = s.store.Deliveries(s.ctx, store.DeliveryQuery{Tenant: "b", Page: store.Paging{Cursor: ds.Next}})
		s.is(err, "Deliveries with the cursor of another tenant", nil, store.ErrBadCursor)
		for _, d := range ds.Items {
			equal(s, d.Tenant, "b", "the tenant of a delivery, with the cursor of another tenant")
		}
		docs, err = s.store.Docs(s.ctx, store.DocQuery{Kind: "endpoint", Tenant: "b", Page: store.Paging{Cursor: docs.Next}})
		s.is(err, "Docs with the cursor of another tenant", nil, store.ErrBadCursor)
		for _, d := range docs.Items {
			equal(s, d.Group, "b", "the group of a document, with the cursor of another tenant")
		}
	}
}

func oneDestinationTwoTenants(s *suite) {
	a := s.add(store.Event{Tenant: "a"}, to("fn:shared"))
	b := s.add(store.Event{Tenant: "b"}, to("fn:shared"))
	for _, l := range s.claims("one of each tenant", first(a), first(b)) {
		equal(s, l.Delivery.Tenant, l.Event.Tenant, "the tenant of a lease")
		s.end(l, store.OpDead, 0)
	}
	for tenant, id := range map[string]store.ID{"a": a, "b": b} {
		ds := s.deliveries(store.DeliveryQuery{Tenant: tenant, Destination: "fn:shared", States: []store.State{store.Dead}})
		if len(ds) != 1 || ds[0].ID.Event != id {
			s.Errorf("the dead letters of tenant %q: %+v", tenant, ds)
		}
	}
	s.gate(store.Gate{Destination: "fn:shared", Cause: "paused", Hold: -1}) // a gate is the destination's, whoever uses it
	s.must(store.Settle{ID: first(a), Tenant: "a", Op: store.OpHurry})
	s.idle("it is held")
}

func similarNames(s *suite) {
	tenants := []string{"a", "ab", "a\x00", "a\x00b", "A", "é", "e\u0301", " ", "a/b", "\xff"}
	ids := map[string]store.ID{}
	for _, t := range tenants {
		ids[t] = s.add(store.Event{Tenant: t, IdempotencyKey: "k"}, lane("ep:a", t+" lane"))
		s.put(store.DocPut{Doc: doc("endpoint", t, "e", t)})
	}
	for _, t := range tenants {
		evs := s.events(store.EventQuery{Tenant: t})
		ds := s.deliveries(store.DeliveryQuery{Tenant: t, Destination: "ep:a"})
		docs := s.docs(store.DocQuery{Kind: "endpoint", Tenant: t})
		if len(evs) != 1 || evs[0].ID != ids[t] || len(ds) != 1 || ds[0].ID.Event != ids[t] || len(docs) != 1 || string(docs[0].Data) != t {
			s.Errorf("the records of tenant %q: %+v, %+v, %+v", t, evs, ds, docs)
		}
	}
	equal(s, len(s.claimAll(store.ClaimRequest{})), len(tenants), "leases")
}
