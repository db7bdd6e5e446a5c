package hookgate

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := (*Config)(nil).withDefaults(true)
	if err != nil {
		t.Fatal(err)
	}
	if c.Workers != 64 || c.PerDestination != 16 || c.Timeout != 15*time.Second || c.ConnectTimeout != 5*time.Second ||
		c.MaxAge != 30*24*time.Hour || c.MaxPayload != 5<<20 || c.Signer == nil || c.Retry == nil || c.Logger == nil ||
		c.Sync != SyncEveryCommit || c.DrainTimeout != 30*time.Second || c.MinRetryAfter != time.Second || c.MaxRetryAfter != 24*time.Hour {
		t.Errorf("%+v", c)
	}
	c, err = (&Config{Workers: 3, Timeout: time.Second, MaxAge: -1, KeepDone: -1, DrainTimeout: -1, MinRetryAfter: 48 * time.Hour}).withDefaults(true)
	if err != nil {
		t.Fatal(err)
	}
	if c.PerDestination != 1 || c.ConnectTimeout != time.Second || c.TLSTimeout != time.Second || c.MaxAge != forGood || c.KeepDone != forGood ||
		c.DrainTimeout != 0 || c.MaxRetryAfter != 48*time.Hour {
		t.Errorf("%+v", c)
	}
	if c, err = (&Config{Workers: -5}).withDefaults(true); err != nil || c.Workers != 0 || c.PerDestination != 1 {
		t.Errorf("%d workers, %d per destination, %v", c.Workers, c.PerDestination, err)
	}
}

func TestConfigMistakesNameTheirField(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	for field, c := range map[string]Config{
		"Config.Workers":           {Workers: maxWorkers + 1},
		"Config.PerDestination":    {PerDestination: -1},
		"Config.Timeout":           {Timeout: -1},
		"Config.ConnectTimeout":    {ConnectTimeout: -1},
		"Config.TLSTimeout":        {TLSTimeout: -1},
		"Config.MinRetryAfter":     {MinRetryAfter: -1},
		"Config.MaxRetryAfter":     {MaxRetryAfter: time.Millisecond},
		"Config.IdempotencyWindow": {IdempotencyWindow: -1},
		"Config.MaxPayload":        {MaxPayload: -1},
		"Config.MaxResponse":       {MaxResponse: maxMaxResponse + 1},
		"Config.Window":            {Window: -1},
		"Config.AllowPrivate":      {AllowPrivate: []netip.Prefix{{}}},
		"Config.Sync":              {Sync: LoseUpTo(time.Second)},
	} {
		c.Store = s
		_, err := New(&c)
		wantField(t, err, field)
	}
	_, err := New(nil)
	wantField(t, err, "Config.Store")
	_, err = Open(t.TempDir(), &Config{Store: s})
	wantField(t, err, "Config.Store")
	_, err = Open(t.TempDir(), &Config{Sync: LoseUpTo(-time.Second)})
	wantField(t, err, "Config.Sync")
	_, err = Open("", nil)
	wantField(t, err, "path")
	if text := LoseUpTo(time.Second).String(); text != "lose up to 1s" || SyncEveryCommit.String() != "every commit" {
		t.Errorf("%q, %q", text, SyncEveryCommit)
	}
}

func TestOpenTellsOfAFolderInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("Open: %v, want ErrBusy", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	g, err = Open(dir, &Config{Sync: LoseUpTo(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
