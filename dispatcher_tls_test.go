package hookgate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func (ca *testCA) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
}

// client makes a client certificate with a key of its own.
func (ca *testCA) client(t *testing.T, name string, end time.Time, uses ...x509.ExtKeyUsage) ClientTLS {
	t.Helper()
	if uses == nil {
		uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: end.Add(-48 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return ClientTLS{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// serveTLS is a receiver that answers with the name in the client certificate of the connection.
func serveTLS(t *testing.T, config *tls.Config) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %s", r.Header.Get("X-Want"), name)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = config
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func mustConfig(t *testing.T, c ClientTLS) *tls.Config {
	t.Helper()
	doc := tlsDoc(c)
	if err := doc.check(time.Now()); err != nil {
		t.Fatal(err)
	}
	config, err := doc.clientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestClientCertificatesDoNotMix: endpoints with certificates of their own, and one with none, take turns at one host. Neither
// a kept connection nor a TLS session of one serves another.
func TestClientCertificatesDoNotMix(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		for _, keepAlive := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s keep-alive %v", name, keepAlive), func(t *testing.T) {
				t.Parallel()
				ca := newTestCA(t)
				server := ca.server(t, "127.0.0.1")
				server.MaxVersion, server.ClientAuth, server.ClientCAs = version, tls.VerifyClientCertIfGiven, ca.pool
				srv := serveTLS(t, server)
				srv.Config.SetKeepAlivesEnabled(keepAlive)
				config := &Config{AllowPrivate: loopback}
				d := newHTTPDispatcher(config, newGuard(config), ca.pool)
				t.Cleanup(func() { d.Close() })
				d.client.MaxBody = 100
				who := map[string]*tls.Config{"nobody": nil}
				for _, name := range []string{"a", "b", "c"} {
					who[name] = mustConfig(t, ca.client(t, name, time.Now().Add(time.Hour)))
				}
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						for range 15 {
							for name, identity := range who {
								r := post(srv.URL, "{}")
								r.TLS = identity
								r.Header.Set("X-Want", name)
								res, err := d.Dispatch(t.Context(), r)
								if err != nil {
									t.Error(err)
								} else if got := string(res.Body); got != name+" "+name {
									t.Errorf("wanted and got: %s", got)
								}
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// TestRootCAsAreTrustedAlone: an endpoint's own authorities are trusted for it and nobody else, and no others for it; also when
// a connection or a session of the other kind is there.
func TestRootCAsAreTrustedAlone(t *testing.T) {
	t.Parallel()
	system, own := newTestCA(t), newTestCA(t)
	public, private := serveTLS(t, system.server(t, "127.0.0.1")), serveTLS(t, own.server(t, "127.0.0.1"))
	config := &Config{AllowPrivate: loopback}
	d := newHTTPDispatcher(config, newGuard(config), system.pool)
	t.Cleanup(func() { d.Close() })
	identity := mustConfig(t, ClientTLS{RootCAs: own.pem()})
	for range 3 {
		for _, c := range []struct {
			url  string
			tls  *tls.Config
			want string
		}{
			{public.URL, nil, ""},
			{private.URL, identity, ""},
			{private.URL, nil, "authority that this machine does not know"},
			{public.URL, identity, "TLS.RootCAs alone"},
		} {
			r := post(c.url, "{}")
			r.TLS = c.tls
			_, err := d.Dispatch(t.Context(), r)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			if de := dispatchError(t, err); de.Class != classTLS || de.Local || !strings.Contains(de.Error(), c.want) {
				t.Errorf("got %v, want %q", de, c.want)
			}
		}
	}
}

func TestRefusedClientCertificatesGetAHint(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, other := newTestCA(t), newTestCA(t)
			server := ca.server(t, "127.0.0.1")
			server.MaxVersion, server.ClientAuth, server.ClientCAs = version, tls.RequireAndVerifyClientCert, ca.pool
			srv := serveTLS(t, server)
			config := &Config{AllowPrivate: loopback}
			d := newHTTPDispatcher(config, newGuard(config), ca.pool)
			t.Cleanup(func() { d.Close() })
			stale := tlsDoc(ca.client(t, "stale", time.Now().Add(-time.Hour)))
			expired, err := stale.clientConfig()
			if err != nil {
				t.Fatal(err)
			}
			stranger := mustConfig(t, other.client(t, "stranger", time.Now().Add(time.Hour)))
			send := func(identity *tls.Config) *DispatchError {
				r := post(srv.URL, "{}")
				r.TLS = identity
				_, err := d.Dispatch(t.Context(), r)
				return dispatchError(t, err)
			}
			if de := send(expired); de.Class != classTLS || de.Local || !strings.Contains(de.Error(), "client certificate ended at 20") {
				t.Errorf("expired: %v", de)
			}
			// The receiver's alert may get lost when it closes the connection over what was sent.
			if de := send(stranger); de.Class != classTLS && de.Class != classReset || !strings.Contains(de.Error(), "may not accept the client certificate") {
				t.Errorf("stranger: %v", de)
			}
			if de := send(nil); de.Class != classReset && (de.Class != classTLS || !strings.Contains(de.Error(), "set Endpoint.TLS")) {
				t.Errorf("none: %v", de)
			}
			r := post("http"+strings.TrimPrefix(srv.URL, "https"), "{}")
			r.TLS = stranger
			_, err = d.Dispatch(t.Context(), r)
			if de := dispatchError(t, err); de.Class != classTLS || !strings.Contains(de.Error(), "https") {
				t.Errorf("http: %v", de)
			}
		})
	}
}

func TestTLSIsCheckedAtTheDoor(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ca := newTestCA(t)
	good, other := ca.client(t, "good", time.Now().Add(time.Hour)), ca.client(t, "other", time.Now().Add(time.Hour))
	serverOnly := ca.client(t, "server", time.Now().Add(time.Hour), x509.ExtKeyUsageServerAuth)
	old := *ca
	template := *ca.cert
	template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	old.cert = &x509.Certificate{Raw: der}
	for _, c := range []struct {
		name  string
		tls   ClientTLS
		url   string
		field string
	}{
		{"no key", ClientTLS{Certificate: good.Certificate}, "", "Endpoint.TLS.Key"},
		{"no certificate", ClientTLS{Key: good.Key}, "", "Endpoint.TLS.Certificate"},
		{"not its key", ClientTLS{Certificate: good.Certificate, Key: other.Key}, "", "Endpoint.TLS.Key"},
		{"swapped", ClientTLS{Certificate: good.Key, Key: good.Certificate}, "", "Endpoint.TLS.Certificate"},
		{"no PEM", ClientTLS{Certificate: "canary", Key: "canary"}, "", "Endpoint.TLS.Certificate"},
		{"no PEM key", ClientTLS{Certificate: good.Certificate, Key: "canary"}, "", "Endpoint.TLS.Key"},
		{"expired", ca.client(t, "old", time.Now().Add(-time.Minute)), "", "Endpoint.TLS.Certificate"},
		{"for servers", serverOnly, "", "Endpoint.TLS.Certificate"},
		{"no roots", ClientTLS{RootCAs: "canary"}, "", "Endpoint.TLS.RootCAs"},
		{"old roots", ClientTLS{RootCAs: old.pem()}, "", "Endpoint.TLS.RootCAs"},
		{"a key for roots", ClientTLS{RootCAs: ca.pem() + good.Key}, "", "Endpoint.TLS.RootCAs"},
		{"large", ClientTLS{RootCAs: strings.Repeat(ca.pem(), 200)}, "", "Endpoint.TLS.RootCAs"},
		{"lost", ClientTLS{RootCAs: redacted}, "", "Endpoint.TLS.RootCAs"},
		{"http", good, "http://example.com", "Endpoint.TLS"},
	} {
		if c.url == "" {
			c.url = "https://example.com"
		}
		_, _, err := g.CreateEndpoint(t.Context(), Endpoint{URL: c.url, TLS: &c.tls})
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		wantField(t, err, c.field)
		if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), good.Key[40:60]) {
			t.Errorf("%s: %v shows a value", c.name, err)
		}
	}
}

// TestEndpointTLSReachesTheConnection goes all the way: create, restart, deliver, update, expire.
func TestEndpointTLSReachesTheConnection(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	ca := newTestCA(t)
	server := ca.server(t, "127.0.0.1")
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
	got := make(chan string, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.TLS.PeerCertificates[0].Subject.CommonName + " " + r.Header.Get("Authorization")
	}))
	srv.TLS = server
	srv.StartTLS()
	t.Cleanup(srv.Close)

	dir := t.TempDir()
	g, err := Open(dir, &Config{AllowPrivate: loopback})
	if err != nil {
		t.Fatal(err)
	}
	settings := ca.client(t, "first", time.Now().Add(time.Hour))
	settings.RootCAs = ca.pem()
	_, _, err = g.CreateEndpoint(ctx, Endpoint{
		ID: "a", URL: srv.URL, Subscriptions: []Subscription{{}}, TLS: &settings, Auth: &Auth{"bearer", map[string]string{"token": "t"}},
	})
	if err = errors.Join(err, g.Close()); err != nil {
		t.Fatal(err)
	}
	if g, err = Open(dir, &Config{AllowPrivate: loopback}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer func() {
		stop()
		running.Wait()
		g.Close()
	}()
	deliver := func(want string) {
		t.Helper()
		mustPublish(t, g, Event{})
		select {
		case name := <-got:
			if name != want {
				t.Errorf("the receiver saw %q, want %q", name, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing came")
		}
	}
	deliver("first Bearer t")
	ep, err := g.Endpoint(ctx, "", "a")
	if err != nil || *ep.TLS != (ClientTLS{redacted, redacted, redacted}) {
		t.Fatalf("%v, %v", ep.TLS, err)
	}
	second := ca.client(t, "second", time.Now().Add(time.Hour))
	ep.TLS.Certificate, ep.TLS.Key = second.Certificate, second.Key // the authorities stay
	if ep, err = g.UpdateEndpoint(ctx, *ep); err != nil {
		t.Fatal(err)
	}
	deliver("second Bearer t")
	ep.TLS.Certificate = settings.Certificate // whose key is another
	_, err = g.UpdateEndpoint(ctx, *ep)
	wantField(t, err, "Endpoint.TLS.Key")
	ep.TLS.Certificate = redacted
	ep.Auth = &Auth{}
	if _, err = g.UpdateEndpoint(ctx, *ep); err != nil {
		t.Fatal(err)
	}
	deliver("second ")
}
