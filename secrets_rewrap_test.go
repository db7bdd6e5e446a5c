package hookgate

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/storetest"
)

// writeKeys writes a secrets.key with these keys, the one that seals first.
func writeKeys(t testing.TB, dir string, keys ...[]byte) {
	t.Helper()
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(keyVersion + base64.StdEncoding.EncodeToString(k) + "\n")
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openFolder(t testing.TB, dir string, c Config) *Gateway {
	t.Helper()
	g, err := Open(dir, &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func TestKeyFileHoldsSeveralKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := bytes.Repeat([]byte{1}, keySize), bytes.Repeat([]byte{2}, keySize)
	open := func(keys ...[]byte) *envelopeSealer {
		t.Helper()
		writeKeys(t, dir, keys...)
		s, err := openSealer(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.(*envelopeSealer)
	}
	s := open(a)
	old, err := s.Seal([]byte("x"), "c")
	if err != nil || !s.Current(old) {
		t.Fatal(err)
	}
	s = open(b, a)
	if got, err := s.Open(old, "c"); err != nil || string(got) != "x" || s.Current(old) || s.otherKey(old) {
		t.Errorf("the second key: %q, %v", got, err)
	}
	fresh, err := s.Seal([]byte("y"), "c")
	if err != nil || !s.Current(fresh) {
		t.Fatal(err)
	}
	s = open(b)
	if got, err := s.Open(fresh, "c"); err != nil || string(got) != "y" {
		t.Errorf("the first key: %q, %v", got, err)
	}
	if _, err := s.Open(old, "c"); err != errOtherKey || !s.otherKey(old) {
		t.Errorf("without its key: %v", err)
	}

	writeKeys(t, dir, a, b, a)
	if _, err := openSealer(dir, nil); err == nil || !strings.Contains(err.Error(), "line 3 twice") {
		t.Errorf("a key twice: %v", err)
	}
	var many [][]byte
	for i := range maxFileKeys + 1 {
		many = append(many, bytes.Repeat([]byte{byte(i)}, keySize))
	}
	writeKeys(t, dir, many...)
	if _, err := openSealer(dir, nil); err == nil || !strings.Contains(err.Error(), "17 keys") {
		t.Errorf("too many keys: %v", err)
	}
	open(many[1:]...)
	text := keyVersion + base64.StdEncoding.EncodeToString(a) + "\n" + keyVersion + "Q0FOQVJZ\n"
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSealer(dir, nil); err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "Q0FOQVJZ") {
		t.Errorf("a bad second line: %v", err)
	}
}

// Everything that can be sealed is sealed under a new key while endpoints are rotated, made and deleted and deliveries run;
// then the old key goes, and nothing is missing.
func TestRewrapWhileEverythingGoesOn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	oldKey, newKey := goldenKey(), bytes.Repeat([]byte{9}, keySize)
	writeKeys(t, dir, oldKey)
	discard := Config{Logger: discardLog(), Sync: LoseUpTo(time.Second)}
	g := openFolder(t, dir, discard)
	for _, name := range []string{"declared", "forgotten"} {
		addSource(t, g, name, Source{Verifier: &tokenVerifier{token: "x"}})
		deliverTo(g.Inbound(name), good("body", "X-Token", "canary"))
	}
	const endpoints = 60
	for i := range endpoints {
		mustCreate(t, g, "acme", fmt.Sprint("e", i))
	}
	// One is as it was sealed before there were data keys.
	golden, err := hex.DecodeString(goldenSealed1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := encodeEndpoint(&Endpoint{URL: "https://example.com", Header: map[string]string{"X-Api-Key": "golden"}, Subscriptions: []Subscription{{}}}, string(ringSealed)+string(golden))
	if err != nil {
		t.Fatal(err)
	}
	put := store.DocPut{Doc: store.Doc{Kind: kindEndpoint, Group: "acme", ID: "a", Data: data}}
	if _, err := g.commitEndpoint(ctx, &store.Batch{Docs: []store.DocPut{put}}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}

	writeKeys(t, dir, newKey, oldKey)
	c := &consumer{}
	busy := discard
	busy.Dispatcher = c
	g = openFolder(t, dir, busy)
	addSource(t, g, "declared", Source{Verifier: &tokenVerifier{token: "x"}})
	run(t, g)
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; !stop.Load(); i++ {
			if _, err := g.RotateSecret(ctx, "acme", fmt.Sprint("e", i%10), -1); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for i := 0; !stop.Load(); i++ {
			id := fmt.Sprint("e", 10+i%10)
			if err := g.DeleteEndpoint(ctx, "acme", id); err != nil {
				t.Error(err)
			}
			mustCreate(t, g, "acme", id)
		}
	})
	all.Go(func() {
		for !stop.Load() {
			mustPublish(t, g, Event{Tenant: "acme"})
			time.Sleep(time.Millisecond)
		}
	})
	for c.count() < 100 {
		time.Sleep(time.Millisecond)
	}
	var results [3]RewrapResult
	var both sync.WaitGroup
	for i := range 2 { // two at a time do no harm
		both.Go(func() {
			var err error
			if results[i], err = g.RewrapSecrets(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	stop.Store(true)
	all.Wait()
	if results[2], err = g.RewrapSecrets(ctx); err != nil || results[2] != (RewrapResult{Endpoints: endpoints + 1}) {
		t.Errorf("again: %+v, %v", results[2], err)
	}
	// Those that nobody touched were rewrapped once, by the one or the other.
	if n := results[0].Rewrapped + results[1].Rewrapped; n < endpoints+1-20 || n > endpoints+1 || results[0].Rejected+results[1].Rejected != 2 {
		t.Errorf("%+v", results)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}

	writeKeys(t, dir, newKey)
	g = openFolder(t, dir, busy)
	for i := range endpoints {
		if infos, err := g.Secrets(ctx, "acme", fmt.Sprint("e", i)); err != nil || len(infos) != 1 {
			t.Errorf("e%d: %+v, %v", i, infos, err)
		}
	}
	for _, name := range []string{"declared", "forgotten"} {
		addSource(t, g, name, Source{Verifier: &tokenVerifier{token: "x"}})
		if list, err := g.Rejected(name); err != nil || len(list) != 1 {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
	run(t, g)
	before := c.count()
	id := mustPublish(t, g, Event{Tenant: "acme"}, To("a"))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := c.arrivals()
		for _, a := range got[before:] {
			if a.event != id {
				continue
			}
			key := signing.NewSecret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
			if signedBy(t, a, map[string]Secret{"first": key}) == "" || a.header.Get("X-Api-Key") != "golden" {
				t.Errorf("the golden endpoint got %v", a.header)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("nothing was delivered under the new key")
		}
	}
}

// From secrets.key to a KMS, and from stored as it is to sealed; what cannot be opened is told and left.
func TestRewrapToAnotherKeeper(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	g := openFolder(t, dir, Config{Logger: discardLog()})
	secret := signing.StandardWebhooks.NewSecret()
	if _, _, err := g.CreateEndpoint(ctx, Endpoint{ID: "a", URL: "https://example.com"}, secret); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	kms := newFakeKMS(t, "one")
	g = openFolder(t, dir, Config{Logger: discardLog(), KeyProvider: kms})
	kms.set(func() { kms.fault = func(context.Context) error { return errors.New("access denied") } })
	res, err := g.RewrapSecrets(ctx)
	wantError(t, err, nil, "ep:/a", "access denied")
	if res != (RewrapResult{Endpoints: 1, Failed: 1}) {
		t.Errorf("%+v", res)
	}
	kms.set(func() { kms.fault = nil })
	time.Sleep(providerPause + 10*time.Millisecond)
	if res, err := g.RewrapSecrets(ctx); err != nil || res != (RewrapResult{Endpoints: 1, Rewrapped: 1}) {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	g = openFolder(t, dir, Config{Logger: discardLog(), KeyProvider: kms})
	if keys, err := g.view.target("ep:/a").secrets(time.Now()); err != nil || len(keys) != 1 || keys[0].Reveal() != secret.Reveal() {
		t.Errorf("%d secrets, %v", len(keys), err)
	}
	if _, err := os.Stat(filepath.Join(dir, keyFile)); err == nil {
		t.Error("a key was made beside the KMS")
	}

	model := storetest.NewModel()
	plain := newSurface(t, Config{Store: model, PlainSecrets: true})
	if _, err := plain.RewrapSecrets(ctx); err == nil {
		t.Error("rewrapped without a sealer")
	} else {
		wantField(t, err, "Config.Sealer")
	}
	mustCreate(t, plain, "", "a")
	strict := newSurface(t, Config{Store: model, Sealer: newTestSealer(t)})
	res, err = strict.RewrapSecrets(ctx)
	wantError(t, err, nil, "PlainSecrets")
	if res.Failed != 1 {
		t.Errorf("%+v", res)
	}
	sealing := newSurface(t, Config{Store: model, PlainSecrets: true, KeyProvider: kms})
	if res, err := sealing.RewrapSecrets(ctx); err != nil || res.Rewrapped != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if got := sealing.view.target("ep:/a").sealed.reveal(); got[0] != ringSealed {
		t.Errorf("it is stored as %q", got[0])
	}
	if _, err := sealing.Secrets(ctx, "", "a"); err != nil {
		t.Error(err)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := strict.RewrapSecrets(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}
