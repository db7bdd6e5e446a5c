package hookgate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/storetest"
	"github.com/hookgate/hookgate/transform"
)

func TestEndpointIsStoredAsItWasGiven(t *testing.T) {
	t.Parallel()
	model := storetest.NewModel()
	sealer := newTestSealer(t)
	g := newSurface(t, Config{Store: model, Sealer: sealer})
	if err := g.RegisterSigner("mine", signing.StandardWebhooks); err != nil {
		t.Fatal(err)
	}
	if err := g.RegisterTransformer("thin", transform.Chain()); err != nil {
		t.Fatal(err)
	}
	given := Endpoint{
		Tenant: "acme", URL: "https://example.com/hook?a=b", Description: "billing",
		Header: map[string]string{"authorization": "Bearer tell-nobody"},
		Subscriptions: []Subscription{
			{Types: []string{"invoice.*"}, Unordered: true}, {Source: "github", Transformer: "thin", Block: true},
		},
		Signer: "mine", Transformer: "thin", MaxInFlight: 3, Timeout: 7 * time.Second, Labels: map[string]string{"team": "a"},
	}
	made, secret, err := g.CreateEndpoint(t.Context(), given)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID == "" || made.Version != 1 || secret.IsZero() || made.Created.IsZero() {
		t.Errorf("made %+v", made)
	}
	if given.Header["authorization"] != "Bearer tell-nobody" || made.Header["Authorization"] != redacted {
		t.Errorf("the header is %v", made.Header)
	}

	// As this gateway, another one on the same store, and the list show it.
	other := newSurface(t, Config{Store: model, Sealer: sealer})
	for _, g := range []*Gateway{g, other} {
		got, err := g.Endpoint(t.Context(), "acme", made.ID)
		if err != nil {
			t.Fatal(err)
		}
		list, err := g.Endpoints(t.Context(), "acme", Paging{})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("listed %v, %v", list.Items, err)
		}
		for _, got := range []*Endpoint{got, list.Items[0]} {
			if got.URL != given.URL || got.Description != given.Description || got.Signer != "mine" || got.Transformer != "thin" ||
				got.MaxInFlight != 3 || got.Timeout != 7*time.Second || !maps.Equal(got.Labels, given.Labels) ||
				!maps.Equal(got.Header, map[string]string{"Authorization": redacted}) || !got.Created.Equal(made.Created) ||
				len(got.Subscriptions) != 2 || !slices.Equal(got.Subscriptions[0].Types, []string{"invoice.*"}) ||
				!got.Subscriptions[0].Unordered || got.Subscriptions[1].Source != "github" || !got.Subscriptions[1].Block ||
				got.Subscriptions[1].Transformer != "thin" || got.Version != 1 || got.Paused || got.Disabled {
				t.Errorf("read %+v", got)
			}
		}
		tg := g.view.target(endpointDestination("acme", made.ID))
		header, err := tg.header()
		if err != nil || header["Authorization"] != "Bearer tell-nobody" {
			t.Errorf("the real header is %v, %v", header, err)
		}
		keys, err := tg.secrets(time.Now())
		if err != nil || len(keys) != 1 || keys[0].Reveal() != secret.Reveal() {
			t.Errorf("%d secrets, %v", len(keys), err)
		}
	}
}

func TestEveryFieldIsCheckedAtTheDoor(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	long := strings.Repeat("x", 20_000)
	many := make(map[string]string)
	for i := range 40 {
		many["x"+strings.Repeat("y", i)] = "v"
	}
	for field, set := range map[string]func(*Endpoint){
		"Endpoint.ID":                           func(e *Endpoint) { e.ID = "a/b" },
		"Endpoint.Tenant":                       func(e *Endpoint) { e.Tenant = "*" },
		"Endpoint.URL":                          func(e *Endpoint) { e.URL = "" },
		"Endpoint.URL ":                         func(e *Endpoint) { e.URL = "ftp://example.com" },
		"Endpoint.URL  ":                        func(e *Endpoint) { e.URL = "https://user:canary@example.com" },
		"Endpoint.URL   ":                       func(e *Endpoint) { e.URL = "https://example.com/" + long },
		"Endpoint.URL    ":                      func(e *Endpoint) { e.URL = "http://127.0.0.1/canary" },
		"Endpoint.URL     ":                     func(e *Endpoint) { e.URL = "http://[::ffff:10.0.0.1]/canary" },
		"Endpoint.URL      ":                    func(e *Endpoint) { e.URL = "https:///canary" },
		"Endpoint.Description":                  func(e *Endpoint) { e.Description = "\x00" },
		"Endpoint.Header":                       func(e *Endpoint) { e.Header = map[string]string{"Host": "canary"} },
		"Endpoint.Header ":                      func(e *Endpoint) { e.Header = map[string]string{"A": "canary\r\nB: c"} },
		"Endpoint.Header  ":                     func(e *Endpoint) { e.Header = map[string]string{"Webhook-Signature": "canary"} },
		"Endpoint.Header   ":                    func(e *Endpoint) { e.Header = many },
		"Endpoint.Header    ":                   func(e *Endpoint) { e.Header = map[string]string{"A": redacted} },
		"Endpoint.Labels":                       func(e *Endpoint) { e.Labels = many },
		"Endpoint.Labels ":                      func(e *Endpoint) { e.Labels = map[string]string{"": "x"} },
		"Endpoint.Subscriptions":                func(e *Endpoint) { e.Subscriptions = make([]Subscription, 100) },
		"Endpoint.Subscriptions[0].Source":      func(e *Endpoint) { e.Subscriptions = []Subscription{{Source: "git hub"}} },
		"Endpoint.Subscriptions[0].Types[1]":    func(e *Endpoint) { e.Subscriptions = []Subscription{{Types: []string{"a", "b*c"}}} },
		"Endpoint.Subscriptions[0].Types[0]":    func(e *Endpoint) { e.Subscriptions = []Subscription{{Types: []string{""}}} },
		"Endpoint.Subscriptions[1].Transformer": func(e *Endpoint) { e.Subscriptions = []Subscription{{}, {Transformer: "nope"}} },
		"Endpoint.Signer":                       func(e *Endpoint) { e.Signer = "nope" },
		"Endpoint.Transformer":                  func(e *Endpoint) { e.Transformer = "nope" },
		"Endpoint.MaxInFlight":                  func(e *Endpoint) { e.MaxInFlight = -1 },
		"Endpoint.MaxInFlight ":                 func(e *Endpoint) { e.MaxInFlight = 1 << 30 },
		"Endpoint.Timeout":                      func(e *Endpoint) { e.Timeout = -1 },
		"Endpoint.Timeout ":                     func(e *Endpoint) { e.Timeout = 100 * time.Hour },
		"Endpoint.Version":                      func(e *Endpoint) { e.Version = 3 },
	} {
		ep := Endpoint{URL: "https://example.com/"}
		set(&ep)
		_, _, err := g.CreateEndpoint(t.Context(), ep)
		if err == nil {
			t.Errorf("%s: accepted", field)
			continue
		}
		wantField(t, err, strings.TrimSpace(field))
		wantError(t, err, nil)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error repeats what it should not: %v", err)
		}
	}
	list, err := g.Endpoints(t.Context(), AllTenants, Paging{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("left behind: %v, %v", list.Items, err)
	}
}

func TestOwnSecretsAreChecked(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ep := Endpoint{ID: "a", URL: "https://example.com"}
	_, _, err := g.CreateEndpoint(t.Context(), ep, signing.NewSecret("whsec_!"))
	wantField(t, err, "secrets[0]")
	_, _, err = g.CreateEndpoint(t.Context(), ep, signing.StandardWebhooks.NewSecret(), Secret{})
	wantField(t, err, "secrets[1]")
	_, _, err = g.CreateEndpoint(t.Context(), ep, make([]Secret, 9)...)
	wantField(t, err, "secrets")
	own := []Secret{signing.StandardWebhooks.NewSecret(), signing.StandardWebhooks.NewSecret()}
	_, secret, err := g.CreateEndpoint(t.Context(), ep, own...)
	if err != nil || secret.Reveal() != own[0].Reveal() {
		t.Fatal(err)
	}
	keys, err := g.view.target("ep:/a").secrets(time.Now())
	if err != nil || len(keys) != 2 || keys[1].Reveal() != own[1].Reveal() {
		t.Errorf("%d secrets, %v", len(keys), err)
	}
}

func TestUpdateComparesVersions(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	made, _, err := g.CreateEndpoint(t.Context(), Endpoint{
		ID: "a", Tenant: "acme", URL: "https://example.com/1", Header: map[string]string{"X-Key": "one", "X-Env": "prod"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "a", Tenant: "acme", URL: "https://example.com"}); err != nil {
		wantError(t, err, ErrConflict, "there is an endpoint a already")
	} else {
		t.Error("made twice")
	}

	change := *made
	change.URL = "https://example.com/2"
	change.Header = map[string]string{"X-Key": redacted, "X-New": "two"}
	second, err := g.UpdateEndpoint(t.Context(), change)
	if err != nil || second.Version <= made.Version || second.URL != change.URL || !second.Created.Equal(made.Created) {
		t.Fatalf("updated to %+v, %v", second, err)
	}
	header, err := g.view.target("ep:acme/a").header()
	if err != nil || !maps.Equal(header, map[string]string{"X-Key": "one", "X-New": "two"}) {
		t.Errorf("the header is %v, %v", header, err)
	}
	_, err = g.UpdateEndpoint(t.Context(), change)
	wantError(t, err, ErrConflict, "read it again")

	change = *second
	change.Header = map[string]string{"X-Other": redacted}
	_, err = g.UpdateEndpoint(t.Context(), change)
	wantField(t, err, "Endpoint.Header")
	change.Version = 0
	_, err = g.UpdateEndpoint(t.Context(), change)
	wantField(t, err, "Endpoint.Version")

	own := signing.StandardWebhooks.NewSecret()
	third, err := g.UpdateEndpoint(t.Context(), *second, own)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := g.view.target("ep:acme/a").secrets(time.Now()); err != nil || len(keys) != 1 || keys[0].Reveal() != own.Reveal() {
		t.Errorf("%d secrets, %v", len(keys), err)
	}
	if header, err = g.view.target("ep:acme/a").header(); err != nil || header["X-Key"] != "one" || third.Header["X-Key"] != redacted {
		t.Errorf("the header is %v, %v", header, err)
	}
}

// TestForeignEndpointsAreNotFound tries every verb with the ID of another tenant's endpoint.
func TestForeignEndpointsAreNotFound(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	mine := mustCreate(t, g, "acme", "a")
	mustCreate(t, g, "", "none")
	for _, tenant := range []string{"other", "", "acm", "acme/"} {
		foreign := *mine
		foreign.Tenant = tenant
		_, readErr := g.Endpoint(t.Context(), tenant, "a")
		_, updateErr := g.UpdateEndpoint(t.Context(), foreign)
		_, rotateErr := g.RotateSecret(t.Context(), tenant, "a", 0)
		_, secretsErr := g.Secrets(t.Context(), tenant, "a")
		_, publishErr := g.Publish(t.Context(), Event{Tenant: tenant, Type: "x"}, To("a"))
		for name, err := range map[string]error{
			"Endpoint": readErr, "UpdateEndpoint": updateErr, "RotateSecret": rotateErr, "Secrets": secretsErr, "Publish": publishErr,
			"ImportSecret":    g.ImportSecret(t.Context(), tenant, "a", signing.StandardWebhooks.NewSecret(), 0),
			"PauseEndpoint":   g.PauseEndpoint(t.Context(), tenant, "a", ""),
			"ResumeEndpoint":  g.ResumeEndpoint(t.Context(), tenant, "a"),
			"DisableEndpoint": g.DisableEndpoint(t.Context(), tenant, "a", ""),
			"EnableEndpoint":  g.EnableEndpoint(t.Context(), tenant, "a"),
			"DeleteEndpoint":  g.DeleteEndpoint(t.Context(), tenant, "a"),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s for %q: %v", name, tenant, err)
			}
		}
	}
	_, err := g.Endpoint(t.Context(), AllTenants, "a")
	wantField(t, err, "tenant")
	wantField(t, g.DeleteEndpoint(t.Context(), AllTenants, "a"), "tenant")
	for tenant, want := range map[string]int{"acme": 1, "": 1, "other": 0, AllTenants: 2} {
		page, err := g.Endpoints(t.Context(), tenant, Paging{})
		if err != nil || len(page.Items) != want {
			t.Errorf("%q lists %d endpoints, %v", tenant, len(page.Items), err)
		}
	}
	if ep, err := g.Endpoint(t.Context(), "acme", "a"); err != nil || ep.Version != mine.Version || ep.Paused {
		t.Errorf("the endpoint was touched: %+v, %v", ep, err)
	}
}

func TestPauseAndDisableAreHeldApart(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ctx := t.Context()
	mustCreate(t, g, "acme", "a")
	deliveries := func() int {
		t.Helper()
		r, err := g.Publish(ctx, Event{Tenant: "acme", Type: "x"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Deliveries
	}
	state := func() *Endpoint {
		t.Helper()
		ep, err := g.Endpoint(ctx, "acme", "a")
		if err != nil {
			t.Fatal(err)
		}
		return ep
	}
	if err := errors.Join(g.PauseEndpoint(ctx, "acme", "a", "moving house"), g.DisableEndpoint(ctx, "acme", "a", "it is gone")); err != nil {
		t.Fatal(err)
	}
	ep := state()
	causes := make(map[string]string)
	for _, h := range ep.Holds {
		causes[h.Cause] = h.Reason
		if h.Since.IsZero() || !h.Until.IsZero() {
			t.Errorf("held from %v until %v", h.Since, h.Until)
		}
	}
	if !ep.Paused || !ep.Disabled || !maps.Equal(causes, map[string]string{"paused": "moving house", "disabled": "it is gone"}) {
		t.Errorf("held by %v: %+v", causes, ep)
	}
	if n := deliveries(); n != 0 {
		t.Errorf("%d deliveries for a disabled endpoint", n)
	}
	if err := g.EnableEndpoint(ctx, "acme", "a"); err != nil {
		t.Fatal(err)
	}
	if ep := state(); !ep.Paused || ep.Disabled || len(ep.Holds) != 1 {
		t.Errorf("after enabling: %+v", ep)
	}
	if n := deliveries(); n != 1 {
		t.Errorf("%d deliveries for a paused endpoint", n)
	}
	claim := store.ClaimRequest{Worker: "w", Max: 10, Lease: time.Minute}
	if r, err := g.store.Claim(ctx, claim); err != nil || len(r.Leases) != 0 {
		t.Errorf("%d leases while paused, %v", len(r.Leases), err)
	}
	if err := g.ResumeEndpoint(ctx, "acme", "a"); err != nil {
		t.Fatal(err)
	}
	if ep := state(); ep.Paused || len(ep.Holds) != 0 {
		t.Errorf("after resuming: %+v", ep)
	}
	if r, err := g.store.Claim(ctx, claim); err != nil || len(r.Leases) != 1 {
		t.Errorf("%d leases after resuming, %v", len(r.Leases), err)
	}
}

func TestDeletedEndpointLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ctx := t.Context()
	mustCreate(t, g, "acme", "a")
	if _, err := g.Publish(ctx, Event{Tenant: "acme", Type: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.PauseEndpoint(ctx, "acme", "a", ""), g.DeleteEndpoint(ctx, "acme", "a")); err != nil {
		t.Fatal(err)
	}
	_, err := g.Endpoint(ctx, "acme", "a")
	wantError(t, err, ErrNotFound)
	if tg, err := g.view.find(ctx, "ep:acme/a"); tg != nil || err != nil {
		t.Errorf("found %v, %v", tg, err)
	}
	r, err := g.store.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 10, Lease: time.Minute})
	if err != nil || len(r.Leases) != 1 {
		t.Errorf("what is pending for it cannot end: %d leases, %v", len(r.Leases), err)
	}
	made := mustCreate(t, g, "acme", "a")
	if made.Version <= 1 {
		t.Errorf("the version began again at %d", made.Version)
	}
	if ep, err := g.Endpoint(ctx, "acme", "a"); err != nil || ep.Paused || slices.ContainsFunc(g.view.rings.open, func(t *target) bool { return t != nil }) {
		t.Errorf("the new one is %+v, %v", ep, err)
	}
}

func TestRotationOverlaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{})
		ctx := t.Context()
		_, first, err := g.CreateEndpoint(ctx, Endpoint{ID: "a", URL: "https://example.com"})
		if err != nil {
			t.Fatal(err)
		}
		active := func(want ...Secret) {
			t.Helper()
			keys, err := g.view.target("ep:/a").secrets(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			same := func(a, b Secret) bool { return a.Reveal() == b.Reveal() }
			if !slices.EqualFunc(keys, want, same) {
				t.Errorf("%d secrets are active, want %d", len(keys), len(want))
			}
			info, err := g.Secrets(ctx, "", "a")
			if err != nil || len(info) != len(want) {
				t.Errorf("%d secrets are listed, %v", len(info), err)
			}
		}
		rotate := func(overlap time.Duration) Secret {
			t.Helper()
			s, err := g.RotateSecret(ctx, "", "a", overlap)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		active(first)
		second := rotate(0)
		active(second, first)
		time.Sleep(23 * time.Hour)
		active(second, first)
		third := rotate(48 * time.Hour)
		active(third, second, first) // a longer overlap does not make the first live longer
		time.Sleep(time.Hour)
		active(third, second)
		info, err := g.Secrets(ctx, "", "a")
		if err != nil || !info[0].Expires.IsZero() || time.Until(info[1].Expires) != 47*time.Hour || info[0].ID == info[1].ID {
			t.Errorf("listed %+v, %v", info, err)
		}
		own := signing.StandardWebhooks.NewSecret()
		if err := g.ImportSecret(ctx, "", "a", own, -1); err != nil {
			t.Fatal(err)
		}
		active(own)
		want := []Secret{own}
		for range maxKeys - 1 {
			want = slices.Insert(want, 0, rotate(time.Hour))
		}
		active(want...)
		_, err = g.RotateSecret(ctx, "", "a", time.Hour)
		wantError(t, err, ErrConflict, "the limit is 8", "negative overlap")
		time.Sleep(time.Hour)
		active(want[0])
		wantField(t, g.ImportSecret(ctx, "", "a", Secret{}, 0), "ImportSecret")
		wantField(t, g.ImportSecret(ctx, "", "a", signing.NewSecret("whsec_?"), 0), "ImportSecret")
	})
}

func TestSecretsNeedASealer(t *testing.T) {
	t.Parallel()
	model := storetest.NewModel()
	none, err := New(&Config{Store: model})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	_, _, err = none.CreateEndpoint(t.Context(), Endpoint{ID: "a", URL: "https://example.com"})
	wantField(t, err, "Config.Sealer")
	wantError(t, err, nil, "PlainSecrets")

	plain := newSurface(t, Config{Store: model, PlainSecrets: true})
	_, secret, err := plain.CreateEndpoint(t.Context(), Endpoint{ID: "a", URL: "https://example.com"})
	if err != nil {
		t.Fatal(err)
	}

	// A sealer alone does not believe what is stored in clear; with PlainSecrets it does, and the next rotation seals it.
	sealer := newTestSealer(t)
	sealed := newSurface(t, Config{Store: model, Sealer: sealer})
	_, err = sealed.Secrets(t.Context(), "", "a")
	wantField(t, err, "Config.PlainSecrets")
	both := newSurface(t, Config{Store: model, Sealer: sealer, PlainSecrets: true})
	keys, err := both.view.target("ep:/a").secrets(time.Now())
	if err != nil || len(keys) != 1 || keys[0].Reveal() != secret.Reveal() {
		t.Errorf("%d secrets, %v", len(keys), err)
	}
	if _, err := both.RotateSecret(t.Context(), "", "a", 0); err != nil {
		t.Fatal(err)
	}
	later := newSurface(t, Config{Store: model, Sealer: sealer})
	if info, err := later.Secrets(t.Context(), "", "a"); err != nil || len(info) != 2 {
		t.Errorf("%d secrets, %v", len(info), err)
	}
	_, err = newSurface(t, Config{Store: model, PlainSecrets: true}).Secrets(t.Context(), "", "a")
	wantField(t, err, "Config.Sealer")

	// The key is lost: old secrets cannot be kept, and a new one can be made.
	lost := newSurface(t, Config{Store: model})
	_, err = lost.Secrets(t.Context(), "", "a")
	wantError(t, err, errOtherKey, keyFile)
	_, err = lost.RotateSecret(t.Context(), "", "a", 0)
	wantError(t, err, errOtherKey)
	if _, err := lost.RotateSecret(t.Context(), "", "a", -1); err != nil {
		t.Fatal(err)
	}
	if info, err := lost.Secrets(t.Context(), "", "a"); err != nil || len(info) != 1 {
		t.Errorf("%d secrets, %v", len(info), err)
	}
}

// TestOtherProcessesSeeChanges: two gateways on one store, which neither of them opened.
func TestOtherProcessesSeeChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		model, sealer := storetest.NewModel(), newTestSealer(t)
		a, b := newSurface(t, Config{Store: model, Sealer: sealer}), newSurface(t, Config{Store: model, Sealer: sealer})
		deliveries := func(g *Gateway) int {
			r, err := g.Publish(ctx, Event{Type: "x"})
			if err != nil {
				t.Fatal(err)
			}
			return r.Deliveries
		}
		ep := mustCreate(t, a, "", "a")
		if n := deliveries(a); n != 1 {
			t.Errorf("%d deliveries where it was made", n)
		}
		// Whoever is to deliver to it does not take it for deleted, however new it is.
		if tg, err := b.view.find(ctx, "ep:/a"); tg == nil || err != nil {
			t.Errorf("the other finds %v, %v", tg, err)
		}
		mustCreate(t, a, "", "b")
		time.Sleep(viewPoll + viewBusy)
		if n := deliveries(b); n != 2 {
			t.Errorf("%d deliveries at the other", n)
		}
		if err := a.DeleteEndpoint(ctx, "", "b"); err != nil {
			t.Fatal(err)
		}
		secret, err := a.RotateSecret(ctx, "", "a", -1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(viewPoll + viewBusy)
		if n := deliveries(b); n != 1 {
			t.Errorf("%d deliveries after one was deleted", n)
		}
		keys, err := b.view.target("ep:/a").secrets(time.Now())
		if err != nil || len(keys) != 1 || keys[0].Reveal() != secret.Reveal() {
			t.Errorf("%d secrets at the other, %v", len(keys), err)
		}
		// The other does not know of this yet: its update is refused, and the one after it is not.
		if err := a.DisableEndpoint(ctx, "", "a", ""); err != nil {
			t.Fatal(err)
		}
		change := *ep
		change.Version = b.view.target("ep:/a").endpoint.Version
		_, err = b.UpdateEndpoint(ctx, change)
		wantError(t, err, ErrConflict)
		if err := a.EnableEndpoint(ctx, "", "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.RotateSecret(ctx, "", "a", 0); err != nil { // which does not care about versions
			t.Fatal(err)
		}
		time.Sleep(viewPoll + viewBusy)
		a.view.fresh()
		if av, bv := a.view.version(""), b.view.version(""); av != bv {
			t.Errorf("the views are %d and %d", av, bv)
		}
	})
}

// notifyStore tells of every commit of any gateway.
type notifyStore struct {
	*storetest.Model
	wake map[int]func()
}

func (s *notifyStore) Notify(wake func()) (stop func()) {
	n := len(s.wake)
	s.wake[n] = wake
	return func() { delete(s.wake, n) }
}

func (s *notifyStore) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	defer func() {
		for _, wake := range s.wake {
			wake()
		}
	}()
	return s.Model.Commit(ctx, b)
}

func TestNotifierMakesChangesKnownSooner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s, sealer := &notifyStore{storetest.NewModel(), map[int]func(){}}, newTestSealer(t)
		a, b := newSurface(t, Config{Store: s, Sealer: sealer}), newSurface(t, Config{Store: s, Sealer: sealer})
		time.Sleep(viewNotify)
		mustCreate(t, a, "", "a")
		if r, err := b.Publish(ctx, Event{Type: "x"}); err != nil || r.Deliveries != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil || len(s.wake) != 0 {
			t.Errorf("%d are still to be told, %v", len(s.wake), err)
		}
	})
}

// docsStore counts what is read and can give other documents.
type docsStore struct {
	*storetest.Model
	docs   atomic.Int64
	change func(*store.Doc)
}

func (s *docsStore) Docs(ctx context.Context, q store.DocQuery) (Page[store.Doc], error) {
	s.docs.Add(1)
	page, err := s.Model.Docs(ctx, q)
	for i := range page.Items {
		if s.change != nil && q.Kind == kindEndpoint {
			s.change(&page.Items[i])
		}
	}
	return page, err
}

func TestUnchangedViewCostsOneSmallRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &docsStore{Model: storetest.NewModel()}
		g := newSurface(t, Config{Store: s})
		for _, id := range []string{"a", "b", "c"} {
			mustCreate(t, g, "", id)
		}
		before := s.docs.Load()
		for range 1000 { // 100 seconds
			if _, err := g.Publish(t.Context(), Event{Type: "x"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.docs.Load() - before; n < 40 || n > 60 {
			t.Errorf("%d reads in 100 seconds", n)
		}
	})
}

func TestDamagedEndpointDoesNotKeepOthersFromWork(t *testing.T) {
	t.Parallel()
	s := &docsStore{Model: storetest.NewModel()}
	sealer := newTestSealer(t)
	g := newSurface(t, Config{Store: s, Sealer: sealer})
	mustCreate(t, g, "", "bad")
	mustCreate(t, g, "", "good")
	s.change = func(d *store.Doc) {
		if d.ID == "bad" {
			d.Data = d.Data[:10]
		}
	}
	g = newSurface(t, Config{Store: s, Sealer: sealer})
	r, err := g.Publish(t.Context(), Event{Type: "x"})
	if err != nil || r.Deliveries != 1 {
		t.Errorf("%d deliveries, %v", r.Deliveries, err)
	}
	if _, err := g.view.find(t.Context(), "ep:/bad"); !errors.Is(err, errDamagedDoc) {
		t.Errorf("the damaged one: %v", err) // not "deleted"
	}
	if err := g.DeleteEndpoint(t.Context(), "", "bad"); err != nil {
		t.Error(err)
	}
	s.change = func(d *store.Doc) { d.Data = []byte(`{"format":2}`) }
	if _, err := New(&Config{Store: s, Sealer: sealer}); err == nil {
		t.Error("documents of a newer version were read")
	} else {
		wantError(t, err, errNewerDoc)
	}
}
