package hookgate

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/store/storetest"
)

// newSurface answers a gateway over a fresh store in memory, or over c.Store, with a sealer unless c says otherwise.
func newSurface(t testing.TB, c Config) *Gateway {
	t.Helper()
	if c.Store == nil {
		c.Store = storetest.NewModel()
	}
	if c.Sealer == nil && !c.PlainSecrets {
		c.Sealer = newTestSealer(t)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	g, err := New(&c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func newTestSealer(t testing.TB) *aesSealer {
	t.Helper()
	key := make([]byte, keySize)
	_, _ = rand.Read(key)
	s, err := newAESSealer(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustCreate makes an endpoint of a tenant that subscribes to the types.
func mustCreate(t testing.TB, g *Gateway, tenant, id string, types ...string) *Endpoint {
	t.Helper()
	ep, _, err := g.CreateEndpoint(t.Context(), Endpoint{
		ID: id, Tenant: tenant, URL: "https://example.com/" + id, Subscriptions: []Subscription{{Types: types}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ep
}

// wantError checks an error: what it is, how it begins, and that the package is named once.
func wantError(t testing.TB, err, is error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", is)
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("the error is %q, want one that is %q", err, is)
	}
	text := err.Error()
	if !strings.HasPrefix(text, "hookgate: ") || strings.Count(text, "hookgate: ") != 1 {
		t.Errorf("the error %q does not name the package once, in front", text)
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("the error %q does not say %q", text, p)
		}
	}
}

func wantField(t testing.TB, err error, field string) {
	t.Helper()
	config := (*ConfigError)(nil)
	if !errors.As(err, &config) {
		t.Fatalf("the error is %v, want a ConfigError for %s", err, field)
	}
	if config.Field != field {
		t.Errorf("the field is %s, want %s (%v)", config.Field, field, err)
	}
}
