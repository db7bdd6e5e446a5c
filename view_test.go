package hookgate

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// newTestView answers a view that nothing is behind.
func newTestView() *view {
	g := &Gateway{ownsStore: true, log: slog.New(slog.DiscardHandler)}
	g.cfg.PerDestination = 16
	g.view.init(g)
	return &g.view
}

func (v *view) putEndpoint(t testing.TB, ep *Endpoint) {
	t.Helper()
	data, err := encodeEndpoint(ep, strings.Repeat("x", 130))
	if err != nil {
		t.Fatal(err)
	}
	tg, err := v.newTarget(&store.Doc{Group: ep.Tenant, ID: ep.ID, Version: ep.Version, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	v.put(tg.destination, tg)
}

func destinations(ds []store.NewDelivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, string(d.Destination)+"|"+d.Lane)
	}
	return out
}

func TestSubscriptionMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sub         Subscription
		source, typ string
		want        bool
	}{
		{Subscription{}, "", "invoice.paid", true},
		{Subscription{}, "github", "push", false},
		{Subscription{Source: "github"}, "github", "push", true},
		{Subscription{Source: "github"}, "", "push", false},
		{Subscription{Source: "*"}, "", "push", true},
		{Subscription{Source: "*"}, "github", "push", true},
		{Subscription{Types: []string{"invoice.paid"}}, "", "invoice.paid", true},
		{Subscription{Types: []string{"invoice.paid"}}, "", "invoice.paid.late", false},
		{Subscription{Types: []string{"invoice.*"}}, "", "invoice.paid", true},
		{Subscription{Types: []string{"invoice.*"}}, "", "invoice", false},
		{Subscription{Types: []string{"invoice.*"}}, "", "invoices.paid", false},
		{Subscription{Types: []string{"a", "*"}}, "", "anything", true},
	} {
		if got := c.sub.matches(c.source, c.typ); got != c.want {
			t.Errorf("%+v for %q from %q: %v", c.sub, c.typ, c.source, got)
		}
	}
}

// TestMatchFindsEverySubscriber compares the index with a look at every subscription, while endpoints come, change and go.
func TestMatchFindsEverySubscriber(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	v := newTestView()
	v.setHandler(&handler{name: "every", sub: Subscription{Source: "*"}})
	v.setHandler(&handler{name: "paid", sub: Subscription{Types: []string{"invoice.paid", "invoice.*"}, Unordered: true}})

	types := []string{"invoice.paid", "invoice.sent", "invoice.paid.late", "push", "pull.opened", "p"}
	wanted := []string{"invoice.paid", "invoice.*", "inv*", "*", "push", "p*", "pull.*", "other"}
	sources := []string{"", "github", "stripe"}
	wantedSources := []string{"", "github", "*", "stripe"}
	all := make(map[string]*Endpoint)
	version := uint64(0)
	for range 3000 {
		id := fmt.Sprintf("e%02d", r.IntN(60))
		tenant := []string{"", "acme", "a/b"}[r.IntN(3)]
		key := tenant + "/" + id
		version++
		if r.IntN(4) == 0 {
			delete(all, key)
			v.put(endpointDestination(tenant, id), nil)
		} else {
			ep := &Endpoint{ID: id, Tenant: tenant, Version: version, Disabled: r.IntN(8) == 0}
			for range r.IntN(4) {
				s := Subscription{Source: wantedSources[r.IntN(len(wantedSources))], Unordered: r.IntN(3) == 0}
				for range r.IntN(4) {
					s.Types = append(s.Types, wanted[r.IntN(len(wanted))])
				}
				ep.Subscriptions = append(ep.Subscriptions, s)
			}
			all[key] = ep
			v.putEndpoint(t, ep)
		}

		ev := &Event{Tenant: tenant, Source: sources[r.IntN(len(sources))], Type: types[r.IntN(len(types))], OrderingKey: "k"}
		var want []string
		for _, ep := range all {
			i := slices.IndexFunc(ep.Subscriptions, func(s Subscription) bool { return s.matches(ev.Source, ev.Type) })
			if ep.Tenant != tenant || ep.Disabled || i < 0 {
				continue
			}
			lane := "k"
			if ep.Subscriptions[i].Unordered {
				lane = ""
			}
			want = append(want, "ep:"+tenant+"/"+ep.ID+"|"+lane)
		}
		slices.Sort(want)
		want = append(want, "fn:every|k")
		if ev.Source == "" && strings.HasPrefix(ev.Type, "invoice.") {
			want = append(want, "fn:paid|")
		}
		got, _ := v.match(ev)
		if !slices.Equal(destinations(got), want) {
			t.Fatalf("%s from %q for %q goes to\n%v, want\n%v", ev.Type, ev.Source, tenant, destinations(got), want)
		}
	}
	for key := range all {
		tenant, id, _ := splitEndpoint(Destination("ep:" + key))
		v.put(endpointDestination(tenant, id), nil)
	}
	if len(v.tenants) != 0 || len(v.targets) != 2 {
		t.Errorf("%d tenants and %d targets are left over", len(v.tenants), len(v.targets))
	}
}

func TestEndpointDestinationTakesSlashes(t *testing.T) {
	t.Parallel()
	for _, tenant := range []string{"", "acme", "a/b", "/"} {
		got, id, ok := splitEndpoint(endpointDestination(tenant, "x-1"))
		if got != tenant || id != "x-1" || !ok {
			t.Errorf("%q became %q and %q", tenant, got, id)
		}
	}
	if _, _, ok := splitEndpoint(handlerDestination("a/b")); ok {
		t.Error("a handler was taken for an endpoint")
	}
}

// TestVersionTellsChanges: the version of the view is stored with events. It has to be the same in another process that
// knows the same, whatever way it came to know it.
func TestVersionTellsChanges(t *testing.T) {
	t.Parallel()
	a, b := newTestView(), newTestView()
	for i := range 40 {
		a.putEndpoint(t, &Endpoint{ID: fmt.Sprint(i), Tenant: "acme", Version: uint64(i + 7)})
	}
	for i := range 40 {
		b.putEndpoint(t, &Endpoint{ID: fmt.Sprint(39 - i), Tenant: "acme", Version: 1})
	}
	for i := range 40 {
		b.putEndpoint(t, &Endpoint{ID: fmt.Sprint(i), Tenant: "acme", Version: uint64(i + 7)})
	}
	first := a.version("acme")
	if got := b.version("acme"); got != first || first == a.version("other") {
		t.Errorf("the versions are %d and %d", first, got)
	}
	a.putEndpoint(t, &Endpoint{ID: "3", Tenant: "acme", Version: 100})
	if a.version("acme") == first {
		t.Error("a change of an endpoint did not change the version")
	}
	a.putEndpoint(t, &Endpoint{ID: "x", Tenant: "other", Version: 1})
	second := a.version("acme")
	a.setHandler(&handler{name: "h"})
	if a.version("acme") == second {
		t.Error("a new handler did not change the version")
	}
}

func TestOlderDocumentChangesNothing(t *testing.T) {
	t.Parallel()
	v := newTestView()
	v.putEndpoint(t, &Endpoint{ID: "a", Version: 5, Description: "new"})
	v.putEndpoint(t, &Endpoint{ID: "a", Version: 4, Description: "old"})
	if got := v.target("ep:/a").endpoint.Description; got != "new" {
		t.Errorf("the view went back to the %s one", got)
	}
}

func TestMatchAllocatesOnlyItsAnswer(t *testing.T) {
	v := newTestView()
	for i := range 1000 {
		v.putEndpoint(t, &Endpoint{ID: fmt.Sprint("n", i), Tenant: "big", Version: 1, Subscriptions: []Subscription{
			{Types: []string{fmt.Sprint("type.", i), fmt.Sprintf("group.%d.*", i%100)}},
		}})
	}
	v.putEndpoint(t, &Endpoint{ID: "one", Tenant: "small", Version: 1, Subscriptions: []Subscription{{}}})
	for _, ev := range []*Event{
		{Tenant: "small", Type: "type.7"}, {Tenant: "big", Type: "type.7"}, {Tenant: "big", Type: "group.7.x"},
	} {
		if n := testing.AllocsPerRun(100, func() { v.match(ev) }); n != 1 {
			t.Errorf("%s of %s: %v allocations", ev.Type, ev.Tenant, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { v.match(&Event{Tenant: "big", Type: "nobody"}) }); n != 0 {
		t.Errorf("%v allocations for no match", n)
	}
}

// fillView makes a typical endpoint n times, in one tenant or each in its own.
func fillView(t testing.TB, n int, oneTenant bool) *view {
	t.Helper()
	v := newTestView()
	for i := range n {
		tenant := "the-one-tenant"
		if !oneTenant {
			tenant = fmt.Sprintf("tenant-%06d", i)
		}
		v.putEndpoint(t, &Endpoint{
			ID: fmt.Sprintf("h6yvqz2mcx3r4tk%06d", i), Tenant: tenant, Version: 1,
			URL: fmt.Sprintf("https://hooks.customer-%06d.example.com/webhooks/incoming", i),
			Subscriptions: []Subscription{
				{Types: []string{fmt.Sprintf("invoice.%d", i%1000), fmt.Sprintf("customer.%d", i), "account.*"}},
			},
		})
	}
	return v
}

func heapNow() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestIdleEndpointTakesLessThanAKibibyte(t *testing.T) {
	const n = 10_000
	for _, oneTenant := range []bool{true, false} {
		before := heapNow()
		v := fillView(t, n, oneTenant)
		each := (heapNow() - before) / n
		runtime.KeepAlive(v)
		t.Logf("one tenant %v: %d bytes for each of %d endpoints", oneTenant, each, n)
		if each > 1024 {
			t.Errorf("one tenant %v: %d bytes for an idle endpoint", oneTenant, each)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, oneTenant := range []bool{true, false} {
		v := fillView(b, 10_000, oneTenant)
		ev := &Event{Type: "invoice.17", Tenant: "the-one-tenant"} // ten of ten thousand
		name := "ten-of-10000"
		if !oneTenant {
			ev.Type, ev.Tenant, name = "invoice.17", "tenant-000017", "one-of-10000-tenants"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.match(ev)
			}
		})
	}
}

func BenchmarkChangeEndpoint(b *testing.B) {
	v := fillView(b, 10_000, true)
	ep := v.target(endpointDestination("the-one-tenant", "h6yvqz2mcx3r4tk000777")).endpoint.clone()
	for b.Loop() {
		ep.Version++
		v.putEndpoint(b, ep)
	}
}

// TestViewUnderFire changes, reads and publishes at the same time, and compares the view with the store in the end.
func TestViewUnderFire(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ctx := t.Context()
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 150 {
				id := fmt.Sprintf("e%02d", r.IntN(20))
				var err error
				switch r.IntN(7) {
				case 0, 1:
					_, _, err = g.CreateEndpoint(ctx, Endpoint{ID: id, URL: "https://example.com", Subscriptions: []Subscription{{Types: []string{"x"}}}})
				case 2:
					err = g.DeleteEndpoint(ctx, "", id)
				case 3:
					_, err = g.RotateSecret(ctx, "", id, -1)
				case 4:
					err = g.DisableEndpoint(ctx, "", id, "")
				case 5:
					err = g.EnableEndpoint(ctx, "", id)
				case 6:
					_, err = g.Publish(ctx, Event{Type: "x"})
				}
				if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				if tg := g.view.target(endpointDestination("", id)); tg != nil {
					if _, err := tg.secrets(time.Now()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	fresh := newSurface(t, Config{Store: g.store, Sealer: g.sealer})
	if a, b := g.view.version(""), fresh.view.version(""); a != b {
		t.Errorf("the view has version %d, the store %d", a, b)
	}
	if a, b := len(g.view.targets), len(fresh.view.targets); a != b {
		t.Errorf("the view has %d endpoints, the store %d", a, b)
	}
}
