package hookgate

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

func TestReplaceVerifierWhileItRuns(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g, _ := inbound(t, slog.New(slog.NewTextHandler(&log, nil)))
	addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "old"}})
	if got := deliverTo(g.Inbound("src"), good("x")).StatusCode; got != 401 {
		t.Errorf("with the old secret: %d", got)
	}
	if err := g.ReplaceVerifier("src", &shakingVerifier{tokenVerifier{token: "good"}}); err != nil {
		t.Fatal(err)
	}
	if got := deliverTo(g.Inbound("src"), good("x")).StatusCode; got != 200 {
		t.Errorf("with the new secret: %d", got)
	}
	if got := deliverTo(g.Inbound("src"), httptest.NewRequest("GET", "/?challenge=1", nil)).StatusCode; got != 200 {
		t.Errorf("with the new handshake: %d", got)
	}
	if err := g.ReplaceVerifier("other", signing.Unverified); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no source: %v", err)
	}
	if err := g.ReplaceVerifier("src", nil); configField(err) != "Source.src.Verifier" {
		t.Errorf("with nil: %v", err)
	}
	if strings.Contains(log.String(), "takes events from anybody") {
		t.Error("warned of a verified source")
	}
	if err := g.ReplaceVerifier("src", signing.Unverified); err != nil || !strings.Contains(log.String(), "takes events from anybody") {
		t.Errorf("%v, log: %s", err, log.String())
	}
}

func configField(err error) string {
	e := (*ConfigError)(nil)
	if errors.As(err, &e) {
		return e.Field
	}
	return fmt.Sprintf("no ConfigError: %v", err)
}

func TestAddSourceChecksEverySetting(t *testing.T) {
	t.Parallel()
	g, _ := inbound(t, nil)
	v := &tokenVerifier{}
	for field, s := range map[string]Source{
		"Source.x.Verifier":       {},
		"Source.x.Tenant":         {Verifier: v, Tenant: "*"},
		"Source.x.MaxBody":        {Verifier: v, MaxBody: -1},
		"Source.x.MaxBody ":       {Verifier: v, MaxBody: 1 << 40},
		"Source.x.Status":         {Verifier: v, Status: 200},
		"Source.x.Rate":           {Verifier: v, Rate: -1},
		"Source.x.Burst":          {Verifier: v, Burst: -1},
		"Source.x.Allow":          {Verifier: v, Allow: make([]netip.Prefix, 1)},
		"Source.x.TrustedProxies": {Verifier: v, TrustedProxies: make([]netip.Prefix, 1)},
		"Source.x.PublicURL":      {Verifier: v, PublicURL: "hooks.example.com"},
		"Source.x.PublicURL ":     {Verifier: v, PublicURL: "ftp://hooks.example.com"},
		"Source.x.Keep":           {Verifier: v, Keep: []string{"authorization"}},
		"Source.x.Keep ":          {Verifier: v, Keep: []string{"webhook-signature"}},
		"Source.x.RejectedCount":  {Verifier: v, RejectedCount: 1 << 20},
		"Source.x.RejectedBytes":  {Verifier: v, RejectedBytes: 1 << 30},
	} {
		if err := g.AddSource("x", s); configField(err) != strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, name := range []string{"", "a/b", "a.b", "..", "é", strings.Repeat("a", 65)} {
		if err := g.AddSource(name, Source{Verifier: v}); configField(err) != "AddSource" {
			t.Errorf("name %q: %v", name, err)
		}
	}
	addSource(t, g, "x", Source{Verifier: v})
	if err := g.AddSource("x", Source{Verifier: v}); configField(err) != "AddSource" || !strings.Contains(err.Error(), "ReplaceVerifier") {
		t.Errorf("twice: %v", err)
	}
}

// tolerantVerifier takes a signature for a long time.
type tolerantVerifier struct{ tokenVerifier }

func (*tolerantVerifier) Tolerance() time.Duration { return 10 * time.Hour }

func TestInboundKeysOutliveSignatures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v            Verifier
		config, want time.Duration
	}{
		{&tokenVerifier{}, 24 * time.Hour, 24 * time.Hour},
		{&tokenVerifier{}, time.Minute, time.Hour},
		{&tolerantVerifier{}, time.Minute, 20 * time.Hour},
		{&tolerantVerifier{}, 24 * time.Hour, 24 * time.Hour},
	} {
		if got := newProof(c.v, c.config).window; got != c.want {
			t.Errorf("%T with %v: %v, want %v", c.v, c.config, got, c.want)
		}
	}
}
