package hookgate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/storetest"
)

// TestSecretsShowNowhere plants secrets in every place that takes one, and looks for them in whatever can be printed,
// logged, encoded or read from the store.
func TestSecretsShowNowhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var logged bytes.Buffer
	model := storetest.NewModel()
	config := Config{Store: model, Sealer: newTestSealer(t), Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	g := newSurface(t, config)

	secrets := []string{"Bearer canary-header-1", "canary-header-2"}
	var errs []error
	var things []any
	keep := func(err error, values ...any) {
		if err != nil {
			errs = append(errs, err)
		}
		things = append(things, values...)
	}
	plant := func(s Secret, err error) Secret {
		keep(err, s)
		if !s.IsZero() {
			secrets = append(secrets, s.Reveal(), strings.TrimPrefix(s.Reveal(), "whsec_"))
		}
		return s
	}
	made, first, err := g.CreateEndpoint(ctx, Endpoint{
		ID: "a", Tenant: "acme", URL: "https://example.com", Header: map[string]string{"Authorization": secrets[0], "X-Api-Key": secrets[1]},
		Subscriptions: []Subscription{{}},
	})
	keep(err, made, *made)
	plant(first, nil)
	plant(g.RotateSecret(ctx, "acme", "a", time.Hour))
	own := plant(signing.StandardWebhooks.NewSecret(), nil)
	keep(g.ImportSecret(ctx, "acme", "a", own, 0))
	ep, err := g.Endpoint(ctx, "acme", "a")
	keep(err, ep, *ep)
	list, err := g.Endpoints(ctx, "acme", Paging{})
	keep(err, list, list.Items[0])
	infos, err := g.Secrets(ctx, "acme", "a")
	keep(err, infos)
	receipt, err := g.Publish(ctx, Event{Type: "x", Tenant: "acme"})
	keep(err, receipt)
	j, err := g.Journey(ctx, "acme", receipt.ID)
	keep(err, j, *j, j.String())
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	if len(secrets) != 8 || infos == nil {
		t.Fatalf("%d secrets were planted", len(secrets))
	}

	// Mistakes with secrets in them.
	bad := signing.NewSecret("whsec_canary-bad-secret!")
	secrets = append(secrets, "canary-bad-secret", "canary-user", "canary-value")
	keep(g.ImportSecret(ctx, "acme", "a", bad, 0))
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://example.com"}, bad)
	keep(err)
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://canary-user:canary-value@example.com"})
	keep(err)
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://example.com/\x00?canary-value"})
	keep(err)
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://example.com", Header: map[string]string{"A": "canary-value\n"}})
	keep(err)
	_, err = g.Publish(ctx, Event{Type: "x", Header: map[string][]string{"A": {"canary-value\x00"}}, Payload: []byte("canary-value")})
	keep(err)
	change := *ep
	change.Header = map[string]string{"A": "canary-value\r"}
	_, err = g.UpdateEndpoint(ctx, change)
	keep(err)
	lost := newSurface(t, Config{Store: model, Logger: config.Logger})
	_, err = lost.Secrets(ctx, "acme", "a")
	keep(err)
	if len(errs) != 8 {
		t.Errorf("%d errors, want 8", len(errs))
	}

	// What is in memory.
	tg := g.view.target("ep:acme/a")
	header, err := tg.header()
	keys, err2 := tg.secrets(time.Now())
	if err != nil || err2 != nil || header["X-Api-Key"] != "canary-header-2" || len(keys) != 3 {
		t.Fatalf("the endpoint cannot use its secrets: %v, %v", err, err2)
	}
	things = append(things, keys, *tg.endpoint, tg, config)

	var seen strings.Builder
	for _, thing := range things {
		data, _ := json.Marshal(thing)
		fmt.Fprintf(&seen, "%v %+v %#v %s %s\n", thing, thing, thing, thing, data)
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("thing", "it", thing)
	}
	for _, err := range errs {
		fmt.Fprintf(&seen, "%v %+v %#v\n", err, err, err)
		slog.New(slog.NewTextHandler(&logged, nil)).Info("error", "error", err)
	}
	seen.Write(logged.Bytes())
	for _, kind := range []string{kindEndpoint, kindMarker, store.KindGate, "secret"} {
		docs, err := model.Docs(context.Background(), store.DocQuery{Kind: kind, Tenant: AllTenants})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs.Items {
			fmt.Fprintf(&seen, "%s %s %s\n", d.Group, d.ID, d.Data)
			var doc endpointDoc
			if json.Unmarshal(d.Data, &doc) == nil {
				seen.Write(doc.Secrets)
			}
		}
	}
	if !strings.Contains(seen.String(), "REDACTED") || !strings.Contains(seen.String(), "https://example.com") {
		t.Error("this looks in the wrong place")
	}
	for _, s := range secrets {
		if i := strings.Index(seen.String(), s); i >= 0 {
			t.Errorf("%q shows: %q", s, seen.String()[max(0, i-100):min(seen.Len(), i+100)])
		}
	}
}

func TestRingCacheIsBoundedAndForgets(t *testing.T) {
	t.Parallel()
	v := newTestView()
	v.g.cfg.PlainSecrets = true
	ring, err := v.g.sealRing("", "x", newRing([]ringKey{newRingKey(signing.NewSecret("s"), time.Now())}, nil))
	if err != nil {
		t.Fatal(err)
	}
	put := func(id string, version uint64) *target {
		t.Helper()
		data, err := encodeEndpoint(&Endpoint{ID: id}, ring)
		if err != nil {
			t.Fatal(err)
		}
		tg, err := v.newTarget(&store.Doc{ID: id, Version: version, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		v.put(tg.destination, tg)
		if keys, err := tg.secrets(time.Now()); err != nil || len(keys) != 1 {
			t.Fatalf("%d secrets, %v", len(keys), err)
		}
		return tg
	}
	for i := range maxRings + 100 {
		put(fmt.Sprint(i), 1)
	}
	open := 0
	for _, tg := range v.targets {
		if tg.opened.Load() != nil {
			open++
		}
	}
	if n := len(v.rings.open); n != maxRings || open != maxRings {
		t.Errorf("%d rings are kept and %d open, want %d", n, open, maxRings)
	}
	old := put("7", 2)
	put("7", 3)
	if old.opened.Load() != nil {
		t.Error("the ring of a changed endpoint is kept")
	}
	if _, err := old.secrets(time.Now()); err != nil || old.opened.Load() != nil {
		t.Errorf("an attempt under way brought it back, %v", err)
	}
}

// Attempts, changes and the end of the oldest ring come together; after that a ring is open where the cache says so, and
// nowhere else.
func TestOpenRingsAreThoseOfCurrentTargets(t *testing.T) {
	t.Parallel()
	g := newEngine(t, Config{Dispatcher: &consumer{}})
	const endpoints = 20
	for i := range endpoints {
		mustCreate(t, g, "", fmt.Sprint("e", i))
	}
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			for i := range 300 {
				id := fmt.Sprint("e", (i*7+worker)%endpoints)
				if i%5 == 0 {
					if _, err := g.RotateSecret(t.Context(), "", id, -1); err != nil {
						t.Error(err)
					}
				} else if keys, err := g.view.target(endpointDestination("", id)).secrets(time.Now()); err != nil || len(keys) != 1 {
					t.Errorf("%d secrets, %v", len(keys), err)
				}
			}
		})
	}
	all.Wait()
	c := &g.view.rings
	for i, tg := range c.open {
		if tg != nil && (tg.opened.Load() == nil || int(tg.place) != i || g.view.target(tg.destination) != tg) {
			t.Errorf("place %d is that of a target of %s that is closed, elsewhere or gone", i, tg.destination)
		}
	}
	for i := range endpoints {
		tg := g.view.target(endpointDestination("", fmt.Sprint("e", i)))
		if tg.opened.Load() != nil && c.open[tg.place] != tg {
			t.Errorf("the ring of %s is open without a place", tg.destination)
		}
		got, err := tg.secrets(time.Now())
		want, err2 := g.openRing("", tg.endpoint.ID, tg.sealed.reveal())
		if err != nil || err2 != nil || got[0].Reveal() != want.first[0].Reveal() {
			t.Errorf("%s is signed for with another secret than is stored: %v, %v", tg.destination, err, err2)
		}
	}
}
