package kvstore_test

import (
	"bytes"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/memory"
)

// Events that are claimed together are read together, but whoever keeps one of them does not keep the others, and may write
// to what it got.
func TestClaimedEventsStandForThemselves(t *testing.T) {
	s := open(t, memory.NewMap(), nil)
	defer s.Close()
	b := &store.Batch{}
	const events = 20
	for n := range events {
		a := publish(n, "d", "e")
		a.Event.Payload = bytes.Repeat([]byte{byte(n)}, 100)
		a.Event.Type = strings.Repeat(string(rune('a'+n)), 50)
		a.Event.IdempotencyKey = a.Event.Type[:20]
		a.Event.Header = map[string][]string{"A": {"1", "2"}, "B": nil, "C": {a.Event.Type}}
		a.Event.Labels = map[string]string{"type": a.Event.Type}
		a.Deliveries[1].Lane = "lane of its own " + a.Event.Type
		b.Appends = append(b.Appends, a)
	}
	commit(t, s, b)
	r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 100, Lease: time.Hour})
	if err != nil || len(r.Leases) != 2*events {
		t.Fatalf("%d leases, %v", len(r.Leases), err)
	}
	var gone atomic.Int32
	kept := make([]store.Event, 0, 1)
	for i := range r.Leases {
		l := &r.Leases[i]
		n := int(l.Delivery.ID.Event[15])
		want := b.Appends[n].Event
		ev := &l.Event
		if ev.Type != want.Type || ev.IdempotencyKey != want.IdempotencyKey || ev.Labels["type"] != want.Type || !bytes.Equal(ev.Payload, want.Payload) {
			t.Errorf("event %d reads as %+v", n, ev)
		}
		if h := ev.Header; len(h) != 3 || strings.Join(h["A"], ",") != "1,2" || len(h["B"]) != 0 || strings.Join(h["C"], ",") != want.Type {
			t.Errorf("the headers of event %d read as %v", n, h)
		}
		if l.Delivery.Lane != b.Appends[n].Deliveries[l.Delivery.ID.N].Lane {
			t.Errorf("delivery %v has the lane %q", l.Delivery.ID, l.Delivery.Lane)
		}
		if cap(ev.Payload) != len(ev.Payload) {
			t.Errorf("the payload has room for %d bytes more", cap(ev.Payload)-len(ev.Payload))
		}
		clear(ev.Payload)
		ev.Header["A"] = append(ev.Header["A"], "x")
		if i == 7 {
			kept = append(kept, *ev)
			continue
		}
		runtime.AddCleanup(&ev.Payload[0], func(int) { gone.Add(1) }, 0)
	}
	r = nil
	for i := 0; i < 1000 && gone.Load() < 2*events-1; i++ {
		runtime.GC()
		runtime.Gosched() // cleanups have a goroutine of their own
	}
	if n := gone.Load(); n != 2*events-1 {
		t.Errorf("%d payloads of %d are still in memory", 2*events-1-n, 2*events-1)
	}
	runtime.KeepAlive(kept)
}
