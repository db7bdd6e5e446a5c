package hookgate

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// fakeKMS keeps keys that never leave it.
type fakeKMS struct {
	mu      sync.Mutex
	keys    map[string]*aesSealer
	current string
	fault   func(ctx context.Context) error // asked before each call
	wraps   int
	unwraps int
	running int // calls under way
	most    int // of running
}

func newFakeKMS(t testing.TB, ids ...string) *fakeKMS {
	t.Helper()
	k := &fakeKMS{keys: map[string]*aesSealer{}}
	for _, id := range ids {
		k.keys[id] = newTestSealer(t)
	}
	k.current = ids[0]
	return k
}

func (k *fakeKMS) KeyID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

func (k *fakeKMS) begin(ctx context.Context, id string, n *int) (*aesSealer, error) {
	k.mu.Lock()
	*n++
	k.running++
	k.most = max(k.most, k.running)
	fault, key := k.fault, k.keys[id]
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.running--
		k.mu.Unlock()
	}()
	if fault != nil {
		if err := fault(ctx); err != nil {
			return nil, err
		}
	}
	if key == nil {
		return nil, errors.New("no such key")
	}
	return key, nil
}

func (k *fakeKMS) Wrap(ctx context.Context, id string, dataKey []byte) ([]byte, error) {
	key, err := k.begin(ctx, id, &k.wraps)
	if err != nil {
		return nil, err
	}
	return key.Seal(dataKey, "kms")
}

func (k *fakeKMS) Unwrap(ctx context.Context, id string, wrapped []byte) ([]byte, error) {
	key, err := k.begin(ctx, id, &k.unwraps)
	if err != nil {
		return nil, err
	}
	return key.Open(wrapped, "kms")
}

func (k *fakeKMS) set(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fn()
}

func (k *fakeKMS) count() (wraps, unwraps, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wraps, k.unwraps, k.most
}

func TestEnvelopeOpensOnlyWhatItSealedForThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where the pause after a failure takes no time
		kms := newFakeKMS(t, "alias/hooks:3")
		s := newEnvelopeSealer(kms, nil)
		plain := []byte("whsec_the-secret")
		sealed, err := s.Seal(plain, "secret:acme/a")
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Seal(plain, "secret:acme/a")
		if err != nil || bytes.Contains(sealed, plain) || bytes.Equal(sealed, again) {
			t.Errorf("the sealed value shows what is in it, %v", err)
		}
		fresh := newEnvelopeSealer(kms, nil) // after a restart
		if got, err := fresh.Open(sealed, "secret:acme/a"); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %q, %v", got, err)
		}
		if _, err := s.Open(sealed, "secret:acme/b"); err != errSealed {
			t.Errorf("moved to another endpoint: %v", err)
		}
		for i := range sealed {
			for _, bit := range []byte{1, 0x80} {
				bent := bytes.Clone(sealed)
				bent[i] ^= bit
				if _, err := s.Open(bent, "secret:acme/a"); err == nil {
					t.Errorf("opened with byte %d changed", i)
				}
			}
			if _, err := s.Open(sealed[:i], "secret:acme/a"); err == nil {
				t.Errorf("opened when cut to %d bytes", i)
			}
		}

		// The key's ID is bound to the value, not only to the data key: with two names for one key it still has to fit.
		kms.keys["alias/hooks:4"] = kms.keys["alias/hooks:3"]
		renamed := bytes.Replace(sealed, []byte("alias/hooks:3"), []byte("alias/hooks:4"), 1)
		if _, err := s.Open(renamed, "secret:acme/a"); err != errSealed {
			t.Errorf("under another name of the key: %v", err)
		}
	})
}

func TestKeyProviderIsAskedRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kms := newFakeKMS(t, "one", "two")
		s := newEnvelopeSealer(kms, nil)
		var sealed [][]byte
		seal := func() {
			v, err := s.Seal([]byte("x"), "c")
			if err != nil {
				t.Fatal(err)
			}
			sealed = append(sealed, v)
		}
		for range 2*dataKeyValues + 1 {
			seal()
		}
		if wraps, unwraps, _ := kms.count(); wraps != 3 || unwraps != 3 {
			t.Errorf("%d values took %d wraps and %d unwraps", len(sealed), wraps, unwraps)
		}
		time.Sleep(dataKeyTime)
		seal()
		kms.set(func() { kms.current = "two" })
		seal()
		if wraps, _, _ := kms.count(); wraps != 5 {
			t.Errorf("an hour and a new key later: %d wraps", wraps)
		}
		for i, v := range sealed {
			if got := s.Current(v); got != (i == len(sealed)-1) {
				t.Fatalf("value %d is current: %v", i, got)
			}
		}
		s = newEnvelopeSealer(kms, nil)
		_, before, _ := kms.count()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range sealed {
					if got, err := s.Open(sealed[i], "c"); err != nil || string(got) != "x" {
						t.Errorf("value %d: %q, %v", i, got, err)
						return
					}
				}
			})
		}
		all.Wait()
		if _, unwraps, _ := kms.count(); unwraps != before+5 {
			t.Errorf("opening them all took %d unwraps", unwraps-before)
		}
	})
}

func TestUnwrappedKeysAreBounded(t *testing.T) {
	t.Parallel()
	kms := newFakeKMS(t, "one")
	s := newEnvelopeSealer(kms, nil)
	first, err := s.Seal([]byte("x"), "c")
	if err != nil {
		t.Fatal(err)
	}
	for range maxDataKeys + 50 {
		s.current = nil
		if _, err := s.Seal([]byte("x"), "c"); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.open) != maxDataKeys || len(s.heads) != maxDataKeys {
		t.Errorf("%d keys are kept, %d heads", len(s.open), len(s.heads))
	}
	if got, err := s.Open(first, "c"); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// A provider that hangs, fails, panics or talks nonsense makes errors that say so, within its time, and is not asked for the
// same key by everybody at once.
func TestKeyProviderFaults(t *testing.T) {
	t.Parallel()
	good := newFakeKMS(t, "one")
	for name, c := range map[string]struct {
		fault func(ctx context.Context) error
		took  time.Duration
		want  string
	}{
		"fails":          {func(context.Context) error { return errors.New("access denied") }, 0, `could not unwrap a data key (key one): access denied`},
		"heeds its time": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, providerTimeout, "deadline exceeded"},
		"hangs":          {func(context.Context) error { time.Sleep(time.Hour); return nil }, providerTimeout, "did not answer within 5s"},
		"panics":         {func(context.Context) error { panic("oh") }, 0, "the key provider panicked: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kms := &fakeKMS{keys: good.keys, current: "one"}
				sealed, err := newEnvelopeSealer(kms, nil).Seal([]byte("x"), "c")
				if err != nil {
					t.Fatal(err)
				}
				s := newEnvelopeSealer(kms, nil)
				kms.set(func() { kms.fault, kms.unwraps = c.fault, 0 })
				began := time.Now()
				var all sync.WaitGroup
				for range 50 {
					all.Go(func() {
						for range 20 { // many ask, and ask again
							if _, err := s.Open(sealed, "c"); err == nil || !strings.Contains(err.Error(), c.want) {
								if name == "heeds its time" && errors.Is(err, errProviderTimeout) {
									continue // both end at the same moment
								}
								t.Errorf("the error is %v", err)
							}
						}
					})
				}
				all.Wait()
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				if _, unwraps, most := kms.count(); most != 1 || unwraps > 2 {
					t.Errorf("%d calls, %d at a time", unwraps, most)
				}
				if _, err := s.Seal([]byte("x"), "c"); err == nil {
					t.Error("sealed")
				}
				kms.set(func() { kms.fault = nil })
				time.Sleep(2 * time.Hour)
				if got, err := s.Open(sealed, "c"); err != nil || string(got) != "x" {
					t.Errorf("when it works again: %q, %v", got, err)
				}
				if _, err := s.Seal([]byte("x"), "c"); err != nil {
					t.Errorf("when it works again: %v", err)
				}
			})
		})
	}
}

// oddKMS answers what no KMS should.
type oddKMS struct {
	id             string
	wrap, unwrap   []byte
	wrapE, unwrap2 error
}

func (k *oddKMS) KeyID() string                                        { return k.id }
func (k *oddKMS) Wrap(context.Context, string, []byte) ([]byte, error) { return k.wrap, k.wrapE }

func (k *oddKMS) Unwrap(context.Context, string, []byte) ([]byte, error) { return k.unwrap, k.unwrap2 }

func TestKeyProviderThatTalksNonsenseSealsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kms  *oddKMS
		want string
	}{
		"another key comes back": {&oddKMS{id: "k", wrap: []byte("w"), unwrap: make([]byte, 32)}, "does not unwrap what it wrapped"},
		"nothing comes back":     {&oddKMS{id: "k", wrap: []byte("w")}, "does not unwrap what it wrapped"},
		"nothing is wrapped":     {&oddKMS{id: "k"}, "has 0 bytes"},
		"too much is wrapped":    {&oddKMS{id: "k", wrap: make([]byte, maxWrapped+1)}, "has 4097 bytes"},
		"no name":                {&oddKMS{}, "1 to 255"},
		"a long name":            {&oddKMS{id: strings.Repeat("k", 256)}, "1 to 255"},
		"our name":               {&oddKMS{id: "file:00"}, "secrets.key"},
	} {
		_, err := newEnvelopeSealer(c.kms, nil).Seal([]byte("x"), "c")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := New(&Config{Store: newTestStore(t), KeyProvider: &oddKMS{}})
	wantField(t, err, "Config.KeyProvider")
	_, err = New(&Config{Store: newTestStore(t), KeyProvider: newFakeKMS(t, "a"), Sealer: newTestSealer(t)})
	wantField(t, err, "Config.KeyProvider")
}

// While a KMS does not answer, deliveries wait without losing an attempt, even those whose endpoint has less time than the
// KMS takes, and go out when it does.
func TestDeliveriesOutliveTheirKeyProvider(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("no route to the KMS") },
		"hangs": func(context.Context) error { time.Sleep(time.Minute); return errors.New("gave up") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, kms, c := newTestStore(t), newFakeKMS(t, "one"), &consumer{}
				config := Config{Store: store, KeyProvider: kms, Dispatcher: c, PlainSecrets: true} // PlainSecrets: newEngine brings no Sealer
				g := newEngine(t, config)
				_, secret, err := g.CreateEndpoint(t.Context(), Endpoint{
					ID: "a", URL: "https://example.com", Timeout: time.Second, Subscriptions: []Subscription{{}},
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Close(); err != nil {
					t.Fatal(err)
				}
				kms.set(func() { kms.fault = fault })
				g = startGateway(t, config)
				id := mustPublish(t, g, Event{})
				time.Sleep(10 * time.Hour)
				for i := 0; i < 1000 && delivery(t, g, id).State == Leased; i++ {
					time.Sleep(100 * time.Millisecond) // it is being tried at this very moment
				}
				d := wantState(t, g, id, Pending, "")
				list := attempts(t, g, d.ID)
				if d.Attempts != 0 || c.count() != 0 || len(list) == 0 {
					t.Errorf("%d attempts count, %d are recorded, %d requests", d.Attempts, len(list), c.count())
				}
				for _, a := range list {
					if a.Counted || !strings.Contains(a.Error, "key provider") {
						t.Errorf("%+v", a)
					}
				}
				_, err = g.RotateSecret(t.Context(), "", "a", 0)
				wantError(t, err, nil, "key provider")
				kms.set(func() { kms.fault = nil })
				time.Sleep(24 * time.Hour)
				wantState(t, g, id, Done, reasonDelivered)
				if all := c.arrivals(); len(all) != 1 || signedBy(t, all[0], map[string]Secret{"first": secret}) == "" {
					t.Errorf("%d requests, or another signature", len(all))
				}
			})
		})
	}
}

// A value of the time before data keys, as it was sealed then with the key 00 01 02 ... 1f, for acme/a.
const goldenSealed1 = "012e49e023a5110ffd8334473a30b7722a9a5e21699168dc04cc36c7a81a957f12acd18a6bc88a1f089cdd94dbcfeb61afe7e82b31b0c7d1184235d932" +
	"b9ce315b069a4069ba7d14b0e63a54aca8425af80bf6809c3376bdfc7e1a2e08f0a860bf144d26760d051074be8bd0d1f405acb643b357d332bd294695363879d" +
	"f0c2eb838357e0d44b37c2e3f82cf3e00b54a1a932c19aa4495208668d9489357e25d"

func goldenKey() []byte {
	key := make([]byte, keySize)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func TestSealedOfVersion1IsOpenedForGood(t *testing.T) {
	t.Parallel()
	sealed, err := hex.DecodeString(goldenSealed1)
	if err != nil {
		t.Fatal(err)
	}
	file, err := newFileKeys("", [][]byte{bytes.Repeat([]byte{7}, keySize), goldenKey()})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Sealer{"the file": newEnvelopeSealer(file, file), "a KMS": newEnvelopeSealer(newFakeKMS(t, "one"), file)} {
		g := newSurface(t, Config{Sealer: s})
		r, err := g.openRing("acme", "a", string(ringSealed)+string(sealed))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.first[0].Reveal() != "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" || r.header.reveal()["X-Api-Key"] != "golden" || r.keys[0].id != "00112233aabb" {
			t.Errorf("%s: another ring: %+v", name, r)
		}
		if _, err := g.openRing("acme", "b", string(ringSealed)+string(sealed)); !errors.Is(err, errSealed) {
			t.Errorf("%s: for another endpoint: %v", name, err)
		}
		if g.current(string(ringSealed) + string(sealed)) {
			t.Errorf("%s: it needs no new seal", name)
		}
	}
	if _, err := newEnvelopeSealer(newFakeKMS(t, "one"), nil).Open(sealed, "secret:acme/a"); err != errOtherKey {
		t.Errorf("without the key: %v", err)
	}
}

// FuzzOpenEnvelope opens values that nobody sealed.
func FuzzOpenEnvelope(f *testing.F) {
	file, err := newFileKeys("", [][]byte{goldenKey()})
	if err != nil {
		f.Fatal(err)
	}
	s := newEnvelopeSealer(file, file)
	sealed, err := s.Seal([]byte("x"), "c")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte{envelopeVersion, 255})
	f.Add([]byte{envelopeVersion, 1, 'k', 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Equal(data, sealed) {
			return
		}
		if _, err := s.Open(data, "c"); err == nil {
			t.Error("something was opened that was never sealed")
		}
		_, _ = s.Current(data), s.otherKey(data)
	})
}

// What is in memory can be printed, whatever prints it.
func TestRingsAndTargetsPrintNoSecret(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{PlainSecrets: true}) // the ring as it is stored shows everything
	_, secret, err := g.CreateEndpoint(t.Context(), Endpoint{
		ID: "a", URL: "https://example.com", Header: map[string]string{"Authorization": "canary-header"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tg := g.view.target("ep:/a")
	if header, err := tg.header(); err != nil || header["Authorization"] != "canary-header" {
		t.Fatal(header, err)
	}
	ring := tg.opened.Load()
	stored := tg.sealed.reveal()
	var out strings.Builder
	for _, v := range []any{tg, ring, *ring, ring.keys, ring.keys[0], ring.header, tg.sealed, &ring.header, struct{ h hidden[string] }{tg.sealed}, map[string]any{"a": ring, "b": tg}} {
		printEverywhere(&out, v)
	}
	for _, canary := range []string{"canary-header", secret.Reveal(), stored} {
		if showsCanary(out.String(), canary) != "" {
			t.Errorf("%q is printed", canary)
		}
	}
	if !strings.Contains(out.String(), redacted) || !strings.Contains(out.String(), "example.com") && !strings.Contains(fmt.Sprintf("%+v", *tg.endpoint), "example.com") {
		t.Error("this looks in the wrong place")
	}
}

// A rotation in a hurry, while the KMS does not answer, must not take an endpoint's other secrets with it.
func TestRotationLosesNothingThatComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, kms, c := newTestStore(t), newFakeKMS(t, "one"), &consumer{}
		config := Config{Store: store, KeyProvider: kms, Dispatcher: c, PlainSecrets: true}
		g := newEngine(t, config)
		ep := Endpoint{
			ID: "a", URL: "https://example.com", Subscriptions: []Subscription{{}},
			Header: map[string]string{"X-Team": "blue"}, Auth: &Auth{"bearer", map[string]string{"token": "first"}},
		}
		if _, _, err := g.CreateEndpoint(t.Context(), ep); err != nil {
			t.Fatal(err)
		}
		if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "plain", URL: "https://example.com"}); err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}

		g = startGateway(t, config)
		kms.set(func() { kms.current, kms.keys["two"] = "two", kms.keys["one"] }) // so that sealing goes on
		kms.fault = nil
		if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "b", URL: "https://example.com"}); err != nil {
			t.Fatal(err)
		}
		kms.set(func() { kms.fault = func(context.Context) error { return errors.New("no route") } })
		_, err := g.RotateSecret(t.Context(), "", "a", -1)
		wantError(t, err, nil, "no route", "UpdateEndpoint")
		if _, err := g.RotateSecret(t.Context(), "", "plain", -1); err != nil {
			t.Errorf("one with nothing to lose: %v", err)
		}
		kms.set(func() { kms.fault = nil })
		time.Sleep(2 * providerPause)
		if _, err := g.RotateSecret(t.Context(), "", "a", -1); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, g, Event{})
		time.Sleep(time.Minute)
		if all := c.arrivals(); len(all) != 1 || all[0].header.Get("Authorization") != "Bearer first" || all[0].header.Get("X-Team") != "blue" {
			t.Errorf("%d requests, or what they prove is lost", len(all))
		}
	})
}

// Where the key of a KMS is gone for good, an update with everything in it needs nothing of what was.
func TestUpdateBringsBackWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, kms, c := newTestStore(t), newFakeKMS(t, "one"), &consumer{}
		config := Config{Store: store, KeyProvider: kms, Dispatcher: c, PlainSecrets: true}
		g := newEngine(t, config)
		made, secret, err := g.CreateEndpoint(t.Context(), Endpoint{
			ID: "a", URL: "https://example.com", Subscriptions: []Subscription{{}},
			Header: map[string]string{"X-Team": "blue"}, Auth: &Auth{"bearer", map[string]string{"token": "first"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		lost := newFakeKMS(t, "two")
		config.KeyProvider = lost
		g = startGateway(t, config)
		for range 2 {
			_, err = g.UpdateEndpoint(t.Context(), *made, secret) // with values that are REDACTED
			wantError(t, err, nil, "no such key")
			made.Auth.Params["token"] = "second"
		}
		made.Header["X-Team"] = "red"
		_, err = g.UpdateEndpoint(t.Context(), *made)
		wantError(t, err, nil, "no such key")
		if _, err := g.UpdateEndpoint(t.Context(), *made, secret); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, g, Event{})
		time.Sleep(time.Minute)
		if all := c.arrivals(); len(all) != 1 || all[0].header.Get("Authorization") != "Bearer second" || all[0].header.Get("X-Team") != "red" {
			t.Errorf("%d requests, or another proof", len(all))
		}
	})
}

// What changes secrets waits for the KMS before it takes a lock that others want.
func TestPauseDoesNotWaitForTheKeyProvider(t *testing.T) {
	t.Parallel()
	store, kms := newTestStore(t), newFakeKMS(t, "one")
	config := Config{Store: store, KeyProvider: kms, PlainSecrets: true}
	g := newEngine(t, config)
	made, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "a", URL: "https://example.com"})
	if err != nil {
		t.Fatal(err)
	}
	made.Header = map[string]string{"X-Team": "blue"}
	for name, change := range map[string]func(g *Gateway) error{
		"rotate": func(g *Gateway) error { _, err := g.RotateSecret(t.Context(), "", "a", 0); return err },
		"update": func(g *Gateway) error { _, err := g.UpdateEndpoint(t.Context(), *made); return err },
		"rewrap": func(g *Gateway) error { _, err := g.RewrapSecrets(t.Context()); return err },
	} {
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		asked, answer := make(chan struct{}, 10), make(chan struct{})
		kms.set(func() {
			kms.fault = func(context.Context) error {
				asked <- struct{}{}
				<-answer
				return errors.New("no route")
			}
			kms.keys["two"], kms.current = kms.keys["one"], "two" // or there is nothing to rewrap
		})
		g = newEngine(t, config)
		changed := make(chan error, 1)
		go func() { changed <- change(g) }()
		<-asked
		paused := make(chan error, 1)
		go func() { paused <- g.PauseEndpoint(context.Background(), "", "a", "meanwhile") }()
		select {
		case err := <-paused:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(providerTimeout / 2):
			t.Errorf("%s: a pause waits for the key provider", name)
		}
		close(answer)
		wantError(t, <-changed, nil, "key provider")
	}
}

// Neither a delivery that waits for its keys nor a ring of refused requests keeps a gateway from closing.
func TestCloseDoesNotWaitForTheKeyProvider(t *testing.T) {
	t.Parallel()
	kms, dir := newFakeKMS(t, "one"), t.TempDir()
	config := Config{KeyProvider: kms, DrainTimeout: 500 * time.Millisecond, Logger: discardLog()}
	g := openFolder(t, dir, config)
	if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "a", URL: "https://example.com", Subscriptions: []Subscription{{}}}); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 10)
	kms.set(func() {
		kms.fault = func(ctx context.Context) error { asked <- struct{}{}; <-ctx.Done(); return ctx.Err() }
	})
	g = openFolder(t, dir, config)
	v, err := signing.ForProvider("github", signing.Options{}, signing.NewSecret("a text of a secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.AddSource("in", Source{Verifier: v}); err != nil {
		t.Fatal(err)
	}
	g.Inbound("in").ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")))
	run(t, g)
	id := mustPublish(t, g, Event{})
	<-asked
	began := time.Now()
	if err := g.Close(); err != nil {
		t.Errorf("it is the fault of no attempt: %v", err)
	}
	if took := time.Since(began); took > providerTimeout/2 {
		t.Errorf("Close took %v", took)
	}
	kms.set(func() { kms.fault = nil })
	g = openFolder(t, dir, config)
	if d := delivery(t, g, id); d.State != Pending || d.Attempts != 0 {
		t.Errorf("%v after %d attempts", d.State, d.Attempts)
	}
}

// panicSealer is a Sealer that opens nothing.
type panicSealer struct {
	Sealer
	exits bool
}

func (s panicSealer) Open([]byte, string) ([]byte, error) {
	if s.exits {
		runtime.Goexit()
	}
	panic("oh")
}

func TestSealerThatPanicsEndsNothing(t *testing.T) {
	t.Parallel()
	for want, exits := range map[string]bool{"panicked: oh": false, "Goexit": true} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := startGateway(t, Config{Sealer: panicSealer{newTestSealer(t), exits}, Dispatcher: &consumer{}})
				if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "a", URL: "https://example.com", Subscriptions: []Subscription{{}}}); err != nil {
					t.Fatal(err)
				}
				id := mustPublish(t, g, Event{})
				time.Sleep(time.Minute)
				d := wantState(t, g, id, Pending, "")
				list := attempts(t, g, d.ID)
				if d.Attempts != 0 || len(list) == 0 || !strings.Contains(list[0].Error, want) {
					t.Errorf("%d attempts count: %+v", d.Attempts, list)
				}
			})
		})
	}
}

// A KMS that hangs holds up the deliveries that need it, and not those of others.
func TestHangingKeyProviderHoldsUpNoOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, kms := newTestStore(t), newFakeKMS(t, "one")
		config := Config{Store: store, KeyProvider: kms, Dispatcher: &consumer{}, PlainSecrets: true, Workers: 8}
		g := newEngine(t, config)
		for i := range 40 {
			if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{
				ID: fmt.Sprint("e", i), URL: "https://example.com", Subscriptions: []Subscription{{Types: []string{"slow"}}},
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		kms.set(func() { kms.fault = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		g = newEngine(t, config)
		took := make(chan time.Duration, 100)
		if err := g.Handle("fast", Subscription{Types: []string{"fast"}}, func(_ context.Context, ev *Event) error {
			took <- time.Since(ev.Accepted)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		run(t, g)
		slow := mustPublish(t, g, Event{Type: "slow"})
		for range 60 {
			time.Sleep(500 * time.Millisecond)
			mustPublish(t, g, Event{Type: "fast"})
			if d := <-took; d > time.Second {
				t.Errorf("a handler waited %v for the keys of endpoints", d)
			}
		}

		kms.set(func() { kms.fault = nil })
		time.Sleep(time.Hour)
		page, err := g.Deliveries(t.Context(), DeliveryQuery{Event: slow, Page: Paging{Limit: 100}})
		if err != nil || len(page.Items) != 40 {
			t.Fatalf("%d deliveries, %v", len(page.Items), err)
		}
		for _, d := range page.Items {
			if d.State != Done || d.Attempts != 1 {
				t.Errorf("%s: %v after %d attempts", d.Destination, d.State, d.Attempts)
			}
		}
	})
}
