package storetest

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

// byteCases: bytes in are bytes out, and so is every other field.
var byteCases = []testCase{
	{"PayloadsAreExact", payloadsAreExact},
	{"LargePayload", largePayload},
	{"OversizedPayloadIsRefused", oversizedPayload},
	{"EveryFieldOfAnEvent", everyFieldOfAnEvent},
	{"EveryFieldOfAnAttempt", everyFieldOfAnAttempt},
	{"TheStoreKeepsNoReference", keepsNoReference},
	{"WhatIsReturnedBelongsToTheCaller", belongsToTheCaller},
}

var oddPayloads = map[string][]byte{
	"nil":            nil,
	"empty":          {},
	"json":           []byte(`{"b":1,"a":2}`),
	"spaced json":    []byte("{ \"b\" : 1.0,\n\t\"a\":1e2, \"a\":2 }\n"),
	"large integer":  []byte(`{"id":9007199254740993}`),
	"escapes":        []byte(`"\u00e9\/<>&é"`),
	"not json":       []byte("a=1&b=%20"),
	"not utf-8":      {0xff, 0xfe, 0x00, 0xc3, 0x28},
	"zeros":          make([]byte, 3000),
	"quotes":         []byte(`'";--\`),
	"all bytes":      allBytes(),
	"line ends":      []byte("a\r\nb\nc\r"),
	"one byte":       {0},
	"looks encoded":  []byte("eyJhIjoxfQ=="),
	"byte order":     []byte("\xef\xbb\xbf{}"),
	"64 KiB of text": []byte(strings.Repeat("hook ", 13108)),
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func payloadsAreExact(s *suite) {
	ids := map[string]store.ID{}
	b := &store.Batch{}
	for name, p := range oddPayloads {
		ids[name] = s.id()
		b.Appends = append(b.Appends, store.Append{
			Event: &store.Event{ID: ids[name], Payload: p}, Deliveries: []store.NewDelivery{to("ep:a")},
		})
	}
	for _, r := range s.commit(b).Appends {
		s.ok(r.Err, "append")
	}
	for name, id := range ids {
		if got := s.event(id).Payload; !bytes.Equal(got, oddPayloads[name]) {
			s.Errorf("%s: Events answers %d bytes %.60q, want %d bytes %.60q", name, len(got), got, len(oddPayloads[name]), oddPayloads[name])
		}
	}
	names := map[store.ID]string{}
	for name, id := range ids {
		names[id] = name
	}
	all := s.claimAll(store.ClaimRequest{})
	equal(s, len(all), len(ids), "leases")
	for _, l := range all {
		if want := oddPayloads[names[l.Event.ID]]; !bytes.Equal(l.Event.Payload, want) {
			s.Errorf("%s: Claim answers %.60q, want %.60q", names[l.Event.ID], l.Event.Payload, want)
		}
	}
}

func largePayload(s *suite) {
	big := make([]byte, 5<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range big {
		big[i] = byte(rng.Uint32())
	}
	before := s.add(store.Event{Payload: []byte("before")}, to("ep:a"))
	id := s.add(store.Event{Payload: big}, to("ep:a"), to("ep:b"))
	after := s.add(store.Event{Payload: []byte("after")}, to("ep:a"))
	if !bytes.Equal(s.event(id).Payload, big) {
		s.Errorf("Events changed a payload of 5 MiB")
	}
	for _, l := range s.claimAll(store.ClaimRequest{}) {
		if l.Event.ID == id && !bytes.Equal(l.Event.Payload, big) {
			s.Errorf("Claim changed a payload of 5 MiB")
		}
	}
	equal(s, string(s.event(before).Payload), "before", "the neighbour's payload")
	equal(s, string(s.event(after).Payload), "after", "the neighbour's payload")
}

func oversizedPayload(s *suite) {
	if s.none(s.MaxPayload > 0, "name its largest payload") {
		return
	}
	fits, big, small := s.id(), s.id(), s.id()
	b := &store.Batch{Appends: []store.Append{
		{Event: &store.Event{ID: fits, Payload: make([]byte, s.MaxPayload)}},
		{Event: &store.Event{ID: big, Payload: make([]byte, s.MaxPayload+1), IdempotencyKey: "key"}, Deliveries: []store.NewDelivery{to("ep:a")}},
		{Event: &store.Event{ID: small, Payload: []byte("x")}},
	}}
	r := s.commit(b).Appends
	s.ok(r[0].Err, "append of the largest payload")
	if limit := asLimit(r[1].Err); limit == nil || limit.Size != int64(s.MaxPayload+1) || limit.Limit != int64(s.MaxPayload) {
		s.Errorf("append of a payload that is too large: %v, want a LimitError with both numbers", r[1].Err)
	}
	s.ok(r[2].Err, "append beside a payload that is too large")
	s.idle("the append was refused")
	id := s.add(store.Event{IdempotencyKey: "key"})
	equal(s, s.event(id).ID, id, "an event with the key of a refused append")
}

func everyFieldOfAnEvent(s *suite) {
	ev := store.Event{
		Tenant: "acmé", Source: "gïthub", Type: "push.ünicode", IdempotencyKey: "k\x00ey", OrderingKey: "order 7",
		ContentType: "application/json; charset=utf-8",
		Header: map[string][]string{
			"X-Many":  {"c", "a", "b", "a", ""},
			"X-Empty": {""},
			"x-case":  {"kept"},
			"X-Case":  {"Kept"},
			"X-Bytes": {"caf\xe9"},
		},
		Labels:  map[string]string{"customer": "7", "empty": "", "ключ": "значение"},
		Payload: []byte("body"), View: 1<<63 + 5,
	}
	given := ev
	before := time.Now()
	given.ID = s.id()
	r := s.append(store.Append{Event: &given, ExpireAfter: 90 * time.Minute, Deliveries: []store.NewDelivery{
		{Destination: "ep:a", Lane: "order 7"}, {Destination: "fn:b", Class: store.Replay},
	}})
	after := time.Now()
	s.ok(r.Err, "append")
	if r.ID != given.ID || r.Seq == 0 || r.Repeated || r.Deliveries != 2 || r.Accepted.Before(before) || r.Accepted.After(after) {
		s.Errorf("append between %v and %v: %+v", before, after, r)
	}
	want := ev
	want.ID, want.Seq, want.Accepted, want.Deliveries = given.ID, r.Seq, r.Accepted, 2
	want.Expires = r.Accepted.Add(90 * time.Minute)
	got := s.event(given.ID)
	if d := diffEvent(&want, &got); d != "" {
		s.Errorf("Events: %s", d)
	}
	leases := s.claimAll(store.ClaimRequest{})
	equal(s, len(leases), 2, "leases")
	for _, l := range leases {
		if d := diffEvent(&want, &l.Event); d != "" {
			s.Errorf("Claim: %s", d)
		}
		d := l.Delivery
		wantD := store.Delivery{
			ID: store.DeliveryID{Event: given.ID}, Seq: r.Seq, Tenant: ev.Tenant, Source: ev.Source, Type: ev.Type, Destination: "ep:a",
			Lane: "order 7", State: store.Leased, Due: d.Due, Gen: l.Gen, Created: r.Accepted,
		}
		if d.ID.N == 1 {
			wantD.ID.N, wantD.Destination, wantD.Lane, wantD.Class = 1, "fn:b", "", store.Replay
		}
		if diff := diffDelivery(&wantD, &d); diff != "" {
			s.Errorf("Claim: %s", diff)
		}
		now := s.delivery(d.ID)
		if diff := diffDelivery(&wantD, &now); diff != "" {
			s.Errorf("Deliveries: %s", diff)
		}
	}
	plain := s.event(s.add(store.Event{}))
	if plain.Header != nil || len(plain.Labels) > 0 || len(plain.Payload) > 0 || !plain.Expires.IsZero() || plain.Deliveries != 0 {
		s.Errorf("an event of which nothing was said: %+v", plain)
	}
}

func everyFieldOfAnAttempt(s *suite) {
	id := first(s.add(store.Event{}, to("ep:a")))
	l := s.one()
	time.Sleep(10 * time.Second)
	a := store.Attempt{
		Took: 1500 * time.Millisecond, Ago: 250 * time.Millisecond, Code: 503, Class: "status", Error: "503 Überlast",
		Response: []byte("\xff\x00body"),
	}
	given := a
	now := time.Now()
	s.must(store.Settle{ID: id, Gen: l.Gen, Op: store.OpRetry, After: time.Hour, Attempt: &given, Reason: "later"})
	got := s.attempts(id)
	want := a
	want.Delivery, want.No, want.Gen, want.Counted, want.At = id, 1, l.Gen, true, now.Add(-a.Ago-a.Took)
	if len(got) == 1 {
		want.No = got[0].No
	}
	if d := diffAttempts([]store.Attempt{want}, got); d != "" {
		s.Errorf("Attempts: %s", d)
	}
	d := s.delivery(id)
	if d.Attempts != 1 || d.Code != 503 || d.Error != a.Error || !sameTime(d.FirstAttempt, now.Add(-a.Ago)) || !sameTime(d.Due, now.Add(time.Hour)) {
		s.Errorf("the delivery after a retry at %v: %+v", now, d)
	}
}

func keepsNoReference(s *suite) {
	payload, response, data := []byte("payload"), []byte("response"), []byte("data")
	header, labels := map[string][]string{"A": {"1", "2"}}, map[string]string{"l": "1"}
	values := header["A"]
	id := s.id()
	s.add(store.Event{}, to("ep:b"))
	l := s.one()
	ev := &store.Event{ID: id, Payload: payload, Header: header, Labels: labels}
	b := &store.Batch{
		Docs:    []store.DocPut{{Doc: store.Doc{Kind: "endpoint", ID: "e", Data: data}}},
		Settles: []store.Settle{{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Attempt: &store.Attempt{Code: 200, Response: response}}},
		Appends: []store.Append{{Event: ev, Deliveries: []store.NewDelivery{to("ep:a")}}},
	}
	s.commit(b)
	if ev.Seq != 0 || !ev.Accepted.IsZero() || ev.Deliveries != 0 || b.Docs[0].Doc.Version != 0 || b.Settles[0].Attempt.No != 0 {
		s.Errorf("Commit wrote to the batch: %+v", b)
	}
	for _, x := range [][]byte{payload, response, data} {
		clear(x)
	}
	values[0] = "changed"
	labels["l"], labels["m"] = "changed", "new"
	header["A"], header["B"] = []string{"x"}, []string{"new"}
	b.Appends[0].Deliveries[0].Destination = "ep:changed"
	s.unharmed(id, l.Delivery.ID)
	if got := s.one(); string(got.Event.Payload) != "payload" || got.Delivery.Destination != "ep:a" {
		s.Errorf("the store kept a reference to a batch: %+v", got)
	}
}

// unharmed checks the records of keepsNoReference and belongsToTheCaller.
func (s *suite) unharmed(id store.ID, done store.DeliveryID) {
	s.Helper()
	ev := s.event(id)
	if string(ev.Payload) != "payload" || len(ev.Header) != 1 || len(ev.Header["A"]) != 2 || ev.Header["A"][0] != "1" ||
		len(ev.Labels) != 1 || ev.Labels["l"] != "1" {
		s.Errorf("the event changed: %+v", ev)
	}
	if as := s.attempts(done); len(as) != 1 || string(as[0].Response) != "response" {
		s.Errorf("the attempt changed: %+v", as)
	}
	if ds := s.docs(store.DocQuery{Kind: "endpoint"}); len(ds) != 1 || string(ds[0].Data) != "data" {
		s.Errorf("the document changed: %+v", ds)
	}
}

func belongsToTheCaller(s *suite) {
	s.add(store.Event{}, to("ep:b"))
	l := s.one()
	id := s.id()
	s.commit(&store.Batch{
		Docs:    []store.DocPut{{Doc: store.Doc{Kind: "endpoint", ID: "e", Data: []byte("data")}}},
		Settles: []store.Settle{{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Attempt: &store.Attempt{Code: 200, Response: []byte("response")}}},
		Appends: []store.Append{{
			Event:      &store.Event{ID: id, Payload: []byte("payload"), Header: map[string][]string{"A": {"1", "2"}}, Labels: map[string]string{"l": "1"}},
			Deliveries: []store.NewDelivery{to("ep:a")},
		}},
	})
	spoil := func(ev store.Event) {
		clear(ev.Payload)
		ev.Header["A"][0] = "changed"
		ev.Header["B"] = nil
		ev.Labels["l"] = "changed"
	}
	got := s.one()
	spoil(got.Event)
	s.unharmed(id, l.Delivery.ID)
	spoil(s.event(id))
	clear(s.attempts(l.Delivery.ID)[0].Response)
	clear(s.docs(store.DocQuery{Kind: "endpoint"})[0].Data)
	s.unharmed(id, l.Delivery.ID)
	s.end(got, store.OpRetry, 0)
	equal(s, string(s.one().Event.Payload), "payload", "the payload of the second claim")
}
