package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// authority issues certificates of clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string, parent *authority) *authority {
	a := &authority{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	signer, by := c, a.key
	if parent != nil {
		signer, by = parent.cert, parent.key
	}
	a.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, signer, &a.key.PublicKey, by))))
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a client's certificate, with the authority's own behind it.
func (a *authority) issue(usage x509.ExtKeyUsage) tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "billing"},
		DNSNames: []string{"billing.example.com"}, URIs: []*url.URL{must(url.Parse("spiffe://example.com/billing"))},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der := must(x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key))
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

// connect opens a connection to a real server and answers what the server's handler sees of it.
func connect(t *testing.T, server *tls.Config, client *tls.Certificate) *tls.ConnectionState {
	t.Helper()
	var seen *tls.ConnectionState
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.TLS }))
	s.TLS = server
	s.StartTLS()
	defer s.Close()
	c := s.Client()
	if client != nil {
		c.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{*client}
	}
	res, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return seen
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	root, other := newAuthority("root", nil), newAuthority("other root", nil)
	between := newAuthority("intermediate", root)
	both := root.pool()
	both.AddCert(other.cert)
	server := func() *tls.Config {
		return &tls.Config{ClientCAs: both, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	}
	own, foreign := between.issue(x509.ExtKeyUsageClientAuth), other.issue(x509.ExtKeyUsageClientAuth)
	ownState, foreignState := connect(t, server(), &own), connect(t, server(), &foreign)

	hashed := sha256.Sum256(own.Leaf.RawSubjectPublicKeyInfo)
	pin := "SPKI:" + base64.StdEncoding.EncodeToString(hashed[:])
	for _, name := range []string{"CN:billing", "DNS:Billing.Example.com", "URI:spiffe://example.com/billing", pin} {
		for _, roots := range []*x509.CertPool{nil, root.pool()} {
			v := must(ClientCertificate(roots, "CN:somebody else", name))
			want := Verdict{Key: -1, Subject: name, Covers: CoversBody}
			if d, err := v.Verify(&Request{TLS: ownState}); err != nil || d != want {
				t.Errorf("%s: got %+v, %v", name, d, err)
			}
		}
	}
	if d, err := must(ClientCertificate(root.pool())).Verify(&Request{TLS: ownState}); err != nil || d.Subject != "billing" {
		t.Errorf("roots alone: got %+v, %v", d, err)
	}

	// The same names of another authority, which the server trusts for another sender.
	if _, err := must(ClientCertificate(nil, "CN:billing")).Verify(&Request{TLS: foreignState}); err != nil {
		t.Errorf("without roots the server's authorities are those that count: %v", err)
	}
	wantRefused(t, must(ClientCertificate(root.pool(), "CN:billing")), &Request{TLS: foreignState}, ErrMismatch, "of another authority")
	wantRefused(t, must(ClientCertificate(root.pool())), &Request{TLS: foreignState}, ErrMismatch, "of another authority")
	wantRefused(t, must(ClientCertificate(nil, pin)), &Request{TLS: foreignState}, ErrMismatch, "none of 1 wanted name: it has 1 DNS name and 1 URI")

	v := must(ClientCertificate(nil, "CN:billing"))
	for _, name := range []string{"CN:Billing", "CN:billing.example.com", "DNS:billing", "DNS:example.com", "DNS:*.example.com", "URI:spiffe://example.com/Billing", "URI:spiffe://example.com"} {
		wantRefused(t, must(ClientCertificate(nil, name)), &Request{TLS: ownState}, ErrMismatch, "none of 1 wanted name")
	}
	wantRefused(t, v, &Request{}, ErrMissing, "came without TLS")
	wantRefused(t, v, lines("X-Client-Cert: CN=billing", "X-Forwarded-Client-Cert: Subject=\"CN=billing\""), ErrMissing, "came without TLS")
	wantRefused(t, v, &Request{TLS: connect(t, server(), nil)}, ErrMissing, "showed no certificate")
	wantRefused(t, v, &Request{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}, {nil}}}}, ErrMissing, "showed no certificate")
	unchecked := connect(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}, &own)
	wantRefused(t, v, &Request{TLS: unchecked}, ErrMismatch, "nobody has verified")
	wantRefused(t, must(ClientCertificate(root.pool(), "CN:billing")), &Request{TLS: unchecked}, ErrMismatch, "nobody has verified")

	// A connection outlives the certificate that opened it.
	wantRefused(t, v, &Request{TLS: ownState, Time: time.Now().Add(2 * time.Hour)}, ErrTooOld, "expired")
	wantRefused(t, v, &Request{TLS: ownState, Time: time.Now().Add(-2 * time.Hour)}, ErrTooNew, "ahead")

	// A certificate of a server is none of a client, even if the server's own check is turned around.
	wrong := root.issue(x509.ExtKeyUsageServerAuth)
	wantRefused(t, must(ClientCertificate(root.pool(), "CN:billing")),
		&Request{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{wrong.Leaf, root.cert}}}}, ErrMismatch, "another authority")

	for words, name := range map[string]string{
		"name 1 has no kind": "billing", "no kind or no value": "CN:", "has no kind or no v": "DNS: ", "name 1 is of an unknown kind": "IP:192.0.2.1",
		"is not the base64 of a SHA-256": "SPKI:AAAA", "name 1 is not the base64": pin[:len(pin)-1], "which has 44 characters": pin + "\n",
	} {
		if v, err := ClientCertificate(nil, name); err == nil || v != nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: got %v, %v, want an error that says %q", name, v, err, words)
		}
	}
}
