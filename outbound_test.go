package hookgate

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/storetest"
)

func TestPublishStoresWhatItWasGiven(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	mustCreate(t, g, "acme", "a", "invoice.*")
	mustCreate(t, g, "acme", "b", "other")
	mustCreate(t, g, "other", "c")
	payload := []byte("{\"a\": 1 }\n\x00\xff")
	given := Event{
		Tenant: "acme", Type: "invoice.paid", Payload: bytes.Clone(payload), ContentType: "application/json", IdempotencyKey: "k",
		OrderingKey: "o", Header: map[string][]string{"X-A": {"1", "2"}}, Labels: map[string]string{"l": "v"},
		Seq: 99, Deliveries: 99, Accepted: time.Unix(1, 0), Expires: time.Unix(2, 0),
	}
	r, err := g.Publish(t.Context(), given)
	if err != nil || r.ID.IsZero() || r.Deliveries != 1 || r.Duplicate || r.Err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	// What the caller does with his own afterwards is his business.
	given.Payload[0] = 'X'
	given.Header["X-A"][0] = "X"
	given.Labels["l"] = "X"
	ev, err := g.Event(t.Context(), "acme", r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ev.Payload, payload) || ev.ContentType != "application/json" || ev.IdempotencyKey != "k" || ev.OrderingKey != "o" ||
		ev.Header["X-A"][0] != "1" || ev.Labels["l"] != "v" || ev.Source != "" || ev.Seq == 99 || ev.Deliveries != 1 ||
		time.Since(ev.Accepted) > time.Hour || !ev.Expires.IsZero() || ev.View != g.view.version("acme") {
		t.Errorf("stored %+v", ev)
	}
	ds, err := g.Deliveries(t.Context(), DeliveryQuery{Tenant: "acme"})
	if err != nil || len(ds.Items) != 1 || ds.Items[0].Destination != "ep:acme/a" || ds.Items[0].Lane != "o" || ds.Items[0].State != Pending {
		t.Errorf("delivers %+v, %v", ds.Items, err)
	}

	r, err = g.Publish(t.Context(), Event{Type: "nobody.wants.this"})
	if err != nil || r.Deliveries != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := g.Event(t.Context(), "", r.ID); err != nil {
		t.Errorf("an event for nobody is not stored: %v", err)
	}
}

func TestPublishChecksTheEvent(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{MaxPayload: 100})
	long := strings.Repeat("x", 300)
	for field, ev := range map[string]Event{
		"Event.Type":           {},
		"Event.Type ":          {Type: "a b"},
		"Event.Type  ":         {Type: "a.*"},
		"Event.Type   ":        {Type: long},
		"Event.Type    ":       {Type: "a\xff"},
		"Event.Source":         {Type: "a", Source: "github"},
		"Event.Tenant":         {Type: "a", Tenant: "*"},
		"Event.Tenant ":        {Type: "a", Tenant: long},
		"Event.Tenant  ":       {Type: "a", Tenant: "a\n"},
		"Event.IdempotencyKey": {Type: "a", IdempotencyKey: long},
		"Event.OrderingKey":    {Type: "a", OrderingKey: "\x00"},
		"Event.ContentType":    {Type: "a", ContentType: "text/plain\r\nx: y"},
		"Event.Labels":         {Type: "a", Labels: map[string]string{"a": long}},
		"Event.Header":         {Type: "a", Header: map[string][]string{"Content-Length": {"1"}}},
		"Event.Header ":        {Type: "a", Header: map[string][]string{"a b": {"1"}}},
		"Event.Header  ":       {Type: "a", Header: map[string][]string{"A": make([]string, 100)}},
		"Event.Header   ":      {Type: "a", Header: map[string][]string{"A": {"x\ny"}}},
	} {
		_, err := g.Publish(t.Context(), ev)
		if err == nil {
			t.Errorf("%s: accepted", field)
			continue
		}
		wantField(t, err, strings.TrimSpace(field))
		wantError(t, err, nil)
	}
	if _, err := g.Publish(t.Context(), Event{Type: "a", Payload: make([]byte, 100)}); err != nil {
		t.Errorf("a payload of the largest size: %v", err)
	}
	_, err := g.Publish(t.Context(), Event{Type: "a", Payload: make([]byte, 101)})
	wantError(t, err, ErrTooLarge, "101", "100", "Event.Payload")
	limit := (*LimitError)(nil)
	if !errors.As(err, &limit) || limit.Size != 101 || limit.Limit != 100 {
		t.Errorf("the limit is %+v", limit)
	}
	if page, err := g.Events(t.Context(), EventQuery{Tenant: AllTenants}); err != nil || len(page.Items) != 1 {
		t.Errorf("%d events are stored, %v", len(page.Items), err)
	}
}

func TestPublishOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{MaxAge: 30 * 24 * time.Hour})
		ctx := t.Context()
		for _, id := range []string{"a", "b", "c"} {
			mustCreate(t, g, "", id, "x")
		}
		if err := g.Handle("h", Subscription{}, func(context.Context, *Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
		ev := Event{Type: "x"}
		if r, err := g.Publish(ctx, ev); err != nil || r.Deliveries != 4 {
			t.Errorf("%+v, %v", r, err)
		}
		r, err := g.Publish(ctx, ev, To("c", "a", "c"))
		if err != nil || r.Deliveries != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := g.Publish(ctx, Event{Type: "y"}, To("a")); err != nil || r.Deliveries != 0 {
			t.Errorf("to one that does not subscribe: %+v, %v", r, err)
		}
		if r, err := g.Publish(ctx, ev, To()); err != nil || r.Deliveries != 0 {
			t.Errorf("to nobody: %+v, %v", r, err)
		}
		_, err = g.Publish(ctx, ev, To("a", "nope"))
		wantError(t, err, ErrNotFound, "endpoint nope")

		r, err = g.Publish(ctx, ev, To("a"), NotBefore(time.Now().Add(time.Hour)), ExpireAfter(2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		d, err := g.Delivery(ctx, "", DeliveryID{Event: r.ID})
		if err != nil || time.Until(d.Due) != time.Hour {
			t.Errorf("due in %v, %v", time.Until(d.Due), err)
		}
		if ev, err := g.Event(ctx, "", r.ID); err != nil || time.Until(ev.Expires) != 2*time.Hour {
			t.Errorf("expires in %v, %v", time.Until(ev.Expires), err)
		}
		r, err = g.Publish(ctx, ev, To("a"), NotBefore(time.Now().Add(-time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := g.Delivery(ctx, "", DeliveryID{Event: r.ID}); err != nil || time.Until(d.Due) > 0 {
			t.Errorf("due in %v, %v", time.Until(d.Due), err)
		}
		for field, opts := range map[string][]PublishOption{
			"NotBefore":    {NotBefore(time.Now().Add(31 * 24 * time.Hour))},
			"NotBefore ":   {NotBefore(time.Now().Add(1000 * 24 * time.Hour))},
			"NotBefore  ":  {NotBefore(time.Now().Add(time.Hour)), ExpireAfter(time.Minute)},
			"ExpireAfter":  {ExpireAfter(0)},
			"ExpireAfter ": {ExpireAfter(-1)},
		} {
			_, err := g.Publish(ctx, ev, opts...)
			wantField(t, err, strings.TrimSpace(field))
			_, err = g.PublishAll(ctx, []Event{ev}, opts...)
			wantField(t, err, strings.TrimSpace(field))
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{IdempotencyWindow: time.Hour})
		ctx := t.Context()
		mustCreate(t, g, "acme", "a")
		ev := Event{
			Tenant: "acme", Type: "x", IdempotencyKey: "k", Payload: []byte("1"), OrderingKey: "o", ContentType: "text/plain",
			Labels: map[string]string{"a": "1", "b": "2"}, Header: map[string][]string{"A": {"1"}, "B": {"2"}},
		}
		first, err := g.Publish(ctx, ev)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // maps come in any order
			again, err := g.Publish(ctx, ev)
			if err != nil || again.ID != first.ID || !again.Duplicate || again.Deliveries != 0 {
				t.Fatalf("again: %+v, %v", again, err)
			}
		}
		for name, change := range map[string]func(*Event){
			"type":         func(e *Event) { e.Type = "y" },
			"payload":      func(e *Event) { e.Payload = []byte("2") },
			"ordering key": func(e *Event) { e.OrderingKey = "p" },
			"content type": func(e *Event) { e.ContentType = "" },
			"labels":       func(e *Event) { e.Labels = map[string]string{"a": "2", "b": "1"} },
			"header":       func(e *Event) { e.Header = map[string][]string{"A": {"2"}, "B": {"1"}} },
		} {
			other := ev
			change(&other)
			r, err := g.Publish(ctx, other)
			if r.ID != first.ID {
				t.Errorf("another %s: %+v", name, r)
			}
			wantError(t, err, ErrConflict, first.ID.String())
		}
		other := ev
		other.Tenant = ""
		if r, err := g.Publish(ctx, other); err != nil || r.Duplicate {
			t.Errorf("the key of another tenant: %+v, %v", r, err)
		}
		time.Sleep(time.Hour + time.Second)
		if r, err := g.Publish(ctx, ev); err != nil || r.Duplicate || r.ID == first.ID {
			t.Errorf("after the window: %+v, %v", r, err)
		}
	})
}

// slowStore holds commits back.
type slowStore struct {
	*storetest.Model
	hold chan struct{}
}

func (s *slowStore) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	if len(b.Appends) > 0 && s.hold != nil {
		<-s.hold
	}
	return s.Model.Commit(ctx, b)
}

func TestUnknownOutcomeIsMadeCertainWithTheID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{Model: storetest.NewModel()}
		g := newSurface(t, Config{Store: s})
		mustCreate(t, g, "", "a")
		mustCreate(t, g, "acme", "a")
		s.hold = make(chan struct{})
		go g.Publish(t.Context(), Event{Type: "leads"}) // a leader commits for all and waits; who follows can give up
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ev := Event{Type: "x", Payload: []byte("1")}
		type result struct {
			r   Receipt
			err error
		}
		results := make(chan result, 2)
		go func() {
			r, err := g.Publish(ctx, ev)
			results <- result{r, err}
		}()
		synctest.Wait()
		cancel() // it was not handed over yet: for sure it was not accepted
		got := <-results
		wantError(t, got.err, context.Canceled)
		if !got.r.ID.IsZero() || errors.Is(got.err, ErrUnknownOutcome) {
			t.Errorf("not handed over: %+v, %v", got.r, got.err)
		}

		go g.Publish(t.Context(), Event{Type: "leads"})
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		go func() {
			r, err := g.Publish(ctx, ev)
			results <- result{r, err}
		}()
		go func() {
			r, err := g.PublishAll(ctx, []Event{{}, ev})
			results <- result{r[1], err}
		}()
		synctest.Wait()
		s.hold <- struct{}{} // the first leader's own; the next commit has all others
		synctest.Wait()
		cancel()
		for range 2 {
			got := <-results
			wantError(t, got.err, ErrUnknownOutcome)
			if got.r.ID.IsZero() {
				t.Fatal("there is no ID to publish again with")
			}
			if page, err := g.Events(t.Context(), EventQuery{IDs: []ID{got.r.ID}}); err != nil || len(page.Items) != 0 {
				t.Errorf("accepted already: %v, %v", page.Items, err)
			}
			ev.ID = got.r.ID
		}
		close(s.hold)
		synctest.Wait()
		r, err := g.Publish(t.Context(), ev)
		if err != nil || r.ID != ev.ID || !r.Duplicate {
			t.Errorf("again: %+v, %v", r, err)
		}

		// The ID of something else is no way to get an event swallowed.
		other := ev
		other.Payload = []byte("2")
		_, err = g.Publish(t.Context(), other)
		wantError(t, err, ErrConflict, "other content")
		other = ev
		other.Tenant = "acme"
		_, err = g.Publish(t.Context(), other)
		wantError(t, err, ErrConflict)
		page, err := g.Deliveries(t.Context(), DeliveryQuery{Tenant: AllTenants})
		if err != nil || len(page.Items) != 4 {
			t.Errorf("%d deliveries, %v", len(page.Items), err)
		}
	})
}

func TestPublishAllJudgesEachByItself(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{MaxPayload: 10})
	ctx := t.Context()
	mustCreate(t, g, "", "a")
	evs := []Event{
		{Type: "1"},
		{},
		{Type: "2", IdempotencyKey: "k"},
		{Type: "3", Payload: make([]byte, 11)},
		{Type: "2", IdempotencyKey: "k"},
		{Type: "4", IdempotencyKey: "k"},
		{Type: "5"},
	}
	rs, err := g.PublishAll(ctx, evs)
	if len(rs) != len(evs) {
		t.Fatalf("%d receipts", len(rs))
	}
	wantError(t, err, ErrTooLarge, "event 1: Event.Type", "event 3: ", "event 5: ")
	for i, bad := range []bool{false, true, false, true, false, true, false} {
		if (rs[i].Err != nil) != bad {
			t.Errorf("event %d: %v", i, rs[i].Err)
		}
		if bad {
			wantError(t, rs[i].Err, nil)
			continue
		}
		if _, err := g.Event(ctx, "", rs[i].ID); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if !rs[4].Duplicate || rs[4].ID != rs[2].ID || rs[0].Deliveries != 1 {
		t.Errorf("receipts %+v", rs)
	}
	page, err := g.Events(ctx, EventQuery{Oldest: true})
	if err != nil || len(page.Items) != 3 || page.Items[0].ID != rs[0].ID || page.Items[2].ID != rs[6].ID {
		t.Errorf("stored %d events, %v", len(page.Items), err)
	}
	if rs, err := g.PublishAll(ctx, nil); err != nil || len(rs) != 0 {
		t.Errorf("of none: %v, %v", rs, err)
	}
	_, err = g.PublishAll(ctx, make([]Event, maxPublishAll+1))
	wantField(t, err, "PublishAll")
}

// TestFingerprintStays: fingerprints are stored, so a release that computes others would take repeats for conflicts.
func TestFingerprintStays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ev   Event
		want uint64
	}{
		{Event{}, 0x6f0a3709bfc40ece},
		{Event{Type: "invoice.paid", Payload: []byte("{}"), ContentType: "application/json", OrderingKey: "o"}, 0x2f20610835f8cfc4},
		{Event{Type: "x", Payload: bytes.Repeat([]byte("0123456789"), 10), Labels: map[string]string{"a": "1", "b": "2"}, Header: map[string][]string{"A": {"1", "2"}}}, 0x7930833116fa0341},
	} {
		if got := fingerprint(&c.ev); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.ev, got, c.want)
		}
	}
}

// TestFingerprintTellsApart moves bytes over the borders of what is hashed.
func TestFingerprintTellsApart(t *testing.T) {
	t.Parallel()
	seen := make(map[uint64]int)
	for i, ev := range []Event{
		{Type: "ab"},
		{Type: "a", ContentType: "b"},
		{ContentType: "ab"},
		{Type: "a", Payload: []byte("b")},
		{Payload: []byte("ab")},
		{Payload: []byte("ab\x00")},
		{Payload: make([]byte, 16)},
		{Payload: make([]byte, 17)},
		{Payload: make([]byte, 32)},
		{OrderingKey: "ab"},
		{Labels: map[string]string{"a": "b"}},
		{Labels: map[string]string{"b": "a"}},
		{Labels: map[string]string{"ab": ""}},
		{Header: map[string][]string{"A": {"b"}}},
		{Header: map[string][]string{"A": {"b", ""}}},
		{Header: map[string][]string{"A": {"", "b"}}},
	} {
		h := fingerprint(&ev)
		if other, ok := seen[h]; ok {
			t.Errorf("%d and %d have the same fingerprint", i, other)
		}
		seen[h] = i
	}
	for i := range 1000 { // one bit
		p := make([]byte, 125)
		p[i/8] = 1 << (i % 8)
		h := fingerprint(&Event{Payload: p})
		if other, ok := seen[h]; ok {
			t.Errorf("bit %d and %d have the same fingerprint", i, other)
		}
		seen[h] = i
	}
}

func BenchmarkFingerprint(b *testing.B) {
	ev := Event{Type: "invoice.paid", Payload: make([]byte, 1024)}
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		fingerprint(&ev)
	}
}

// BenchmarkPrepare is what a publish does before the committer.
func BenchmarkPrepare(b *testing.B) {
	g := newSurface(b, Config{})
	mustCreate(b, g, "", "a")
	ev := Event{Type: "invoice.paid", Payload: make([]byte, 1024)}
	b.ReportAllocs()
	for b.Loop() {
		var (
			o publishOptions
			p = new(struct {
				event  Event
				append [1]store.Append
			})
		)
		p.event = ev
		if err := g.prepare(&p.event, &p.append[0], &o, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}
