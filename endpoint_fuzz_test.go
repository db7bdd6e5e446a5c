package hookgate

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// FuzzStoredEndpoint reads documents that nobody wrote. What can be read comes out the same when it is written and read
// again, and can be matched against; what cannot is an error.
func FuzzStoredEndpoint(f *testing.F) {
	good, err := encodeEndpoint(&Endpoint{
		URL: "https://example.com", Header: map[string]string{"A": "b"}, Labels: map[string]string{"a": "b"},
		Subscriptions: []Subscription{{Source: "*", Types: []string{"a.*", "b"}}, {}},
	}, "sring")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "x.y")
	f.Add([]byte(`{"format":1}`), "")
	f.Add([]byte(`{"format":2,"url":"x"}`), "")
	f.Add([]byte(`{"format":1,"subscriptions":[{"types":["*","**","*a",""]}]}`), "a")
	f.Add([]byte(`{"format":1,"secrets":"cA==","header":["A","A",""]}`), "a")
	f.Add([]byte(`{"format":1,"auth":{"kind":"basic","params":["a","a",""]},"tls":{"c":"x","r":""}}`), "a")
	f.Add([]byte(`{"format":1,"secrets":"cHsicCI6eyJhIjp7ImEiOiJiIn0sInQiOnsiYyI6IngifX19","auth":{"kind":""},"tls":{}}`), "a")
	f.Add([]byte(`null`), "")
	g := newTestView().g
	g.cfg.PlainSecrets = true
	f.Fuzz(func(t *testing.T, data []byte, typ string) {
		doc := store.Doc{Group: "acme", ID: "a", Version: 1, Data: data}
		ep, ring, err := decodeEndpoint(&doc)
		if err != nil {
			return
		}
		doc.Data, err = encodeEndpoint(ep, ring)
		if err != nil {
			t.Fatal(err)
		}
		again, ringAgain, err := decodeEndpoint(&doc)
		if err != nil || ringAgain != ring || !reflect.DeepEqual(again.clone(), ep.clone()) {
			t.Errorf("%+v became %+v, %v", ep, again, err)
		}
		if r, err := g.openRing("acme", "a", ring); err == nil {
			if sealed, err := g.sealRing("acme", "a", r); err != nil || sealed == "" {
				t.Errorf("a ring that was read cannot be written: %v", err)
			}
		}
		v := newTestView()
		tg, err := v.newTarget(&doc)
		if err != nil {
			t.Fatal(err)
		}
		v.put(tg.destination, tg)
		ev := &Event{Tenant: "acme", Type: typ}
		small, _ := v.match(ev)
		for i := range indexFrom {
			other := doc
			other.ID = string(rune('b' + i))
			tg, _ := v.newTarget(&other)
			v.put(tg.destination, tg)
		}
		large, _ := v.match(ev)
		if len(large) != len(small)*(indexFrom+1) {
			t.Errorf("%d deliveries of one, %d of %d by the index", len(small), len(large), indexFrom+1)
		}
		v.put(tg.destination, nil)
	})
}

// FuzzOpenSealed opens values that nobody sealed.
func FuzzOpenSealed(f *testing.F) {
	s := newTestSealer(f)
	sealed, err := s.Seal([]byte("x"), "c")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed[:20], "c")
	f.Add([]byte{sealVersion}, "")
	f.Fuzz(func(t *testing.T, data []byte, context string) {
		if _, err := s.Open(data, context); err == nil {
			t.Error("something was opened that was never sealed")
		}
	})
}

// FuzzClientTLS: whatever a tenant gives for its TLS settings is refused by field or can be used, and is not in the error.
func FuzzClientTLS(f *testing.F) {
	f.Add("", "", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "")
	f.Add("a", "b", "c")
	f.Fuzz(func(t *testing.T, certificate, key, roots string) {
		c := tlsDoc{certificate, key, roots}
		err := c.check(time.Now())
		config, made := c.clientConfig()
		switch {
		case err == nil && made != nil:
			t.Errorf("%v, but the door let it in", made)
		case err == nil && (config == nil) != (c == tlsDoc{}):
			t.Errorf("the config is %v", config)
		case err != nil && !errors.As(err, new(*ConfigError)):
			t.Errorf("%v names no field", err)
		}
	})
}
