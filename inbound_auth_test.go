package hookgate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// made gives a verifier that must be made without an error.
func made(t *testing.T) func(signing.Verifier, error) signing.Verifier {
	return func(v signing.Verifier, err error) signing.Verifier {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What a combination may not lose on its way into the gateway: a proxy in between, the refusal of a handshake, the
// tolerance of its members.
func TestInboundCombinedVerifiers(t *testing.T) {
	t.Parallel()
	must := made(t)
	g, s := inbound(t, nil)
	office := must(signing.Allow(netip.MustParsePrefix("203.0.113.0/24")))
	slack := must(signing.Slack(signing.NewSecret("a secret for tests")))
	key := must(signing.APIKey("X-Api-Key", signing.NewSecret("a key for tests")))
	addSource(t, g, "src", Source{
		Verifier:       must(signing.AllOf(office, must(signing.AnyOf(slack, key)))),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, // httptest's requests come from there
		Status:         http.StatusForbidden,
	})
	now := time.Now()
	const challenge = `{"type":"url_verification","challenge":"c"}`
	for name, c := range map[string]struct {
		body   string
		header map[string]string
		status int
		text   string
	}{
		"a key":                     {"event", map[string]string{"X-Forwarded-For": "203.0.113.7", "X-Api-Key": "a key for tests"}, 200, ""},
		"a key from elsewhere":      {"event", map[string]string{"X-Forwarded-For": "198.51.100.7", "X-Api-Key": "a key for tests"}, 403, "forbidden\n"},
		"somebody in front":         {"event", map[string]string{"X-Forwarded-For": "203.0.113.7, 198.51.100.7", "X-Api-Key": "a key for tests"}, 403, "forbidden\n"},
		"another key":               {"event", map[string]string{"X-Forwarded-For": "203.0.113.7", "X-Api-Key": "a key for text"}, 403, "forbidden\n"},
		"a handshake":               {challenge, map[string]string{"X-Forwarded-For": "203.0.113.7", "X-Slack-Signature": "sign"}, 200, `{"challenge":"c"}`},
		"a handshake from outside":  {challenge, map[string]string{"X-Forwarded-For": "198.51.100.7", "X-Slack-Signature": "sign"}, 403, "forbidden\n"},
		"a handshake, not signed":   {challenge, map[string]string{"X-Forwarded-For": "203.0.113.7"}, 403, "forbidden\n"},
		"a handshake, proxy itself": {challenge, map[string]string{"X-Slack-Signature": "sign"}, 403, "forbidden\n"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/in", strings.NewReader(c.body))
		r.RemoteAddr = "192.0.2.1:1234"
		for name, value := range c.header {
			r.Header.Set(name, value)
		}
		if c.header["X-Slack-Signature"] != "" {
			r.Header = slackHeader(r.Header, now, c.body)
		}
		resp := deliverTo(g.Inbound("src"), r)
		text := new(bytes.Buffer)
		_, _ = text.ReadFrom(resp.Body)
		if resp.StatusCode != c.status || text.String() != c.text {
			t.Errorf("%s: got %d %q, want %d %q", name, resp.StatusCode, text, c.status, c.text)
		}
	}
	if n := len(s.all(t)); n != 1 {
		t.Errorf("%d events are stored, want the one with the key", n)
	}
	refused, err := g.Rejected("src")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range refused {
		if strings.Contains(r.Reason, "a key for te") || r.Reason == "" {
			t.Errorf("the reason says %q", r.Reason)
		}
	}
	wide := must(signing.AnyOf(key, &tolerantVerifier{}))
	if got := newProof(must(signing.AllOf(office, wide)), time.Hour).window; got != 20*time.Hour {
		t.Errorf("keys are remembered for %v, while a member takes a signature for 10 h before and after", got)
	}
}

// slackHeader signs as Slack does.
func slackHeader(h http.Header, at time.Time, body string) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	h.Set("X-Slack-Request-Timestamp", stamp)
	h.Set("X-Slack-Signature", "v0="+hmacHex("a secret for tests", "v0:"+stamp+":"+body))
	return h
}

// The log tells of a source that takes events from anybody; no combination hides one.
func TestInboundUnverifiedCannotHide(t *testing.T) {
	t.Parallel()
	key, err := signing.Bearer(signing.NewSecret("a token for tests"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(...signing.Verifier) (signing.Verifier, error){"AllOf": signing.AllOf, "AnyOf": signing.AnyOf} {
		for _, list := range [][]signing.Verifier{{signing.Unverified}, {key, signing.Unverified}, {signing.Unverified, key}} {
			if v, err := f(list...); err == nil || v != nil {
				t.Errorf("%s takes Unverified", name)
			}
		}
	}
	var log bytes.Buffer
	g, _ := inbound(t, slog.New(slog.NewTextHandler(&log, nil)))
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		if v, err := signing.Allow(netip.MustParsePrefix(all)); err == nil || v != nil {
			t.Errorf("an address of %s is a proof", all)
		}
	}
	addSource(t, g, "open", Source{Verifier: signing.Unverified})
	if !strings.Contains(log.String(), "takes events from anybody") {
		t.Errorf("the log says %q", log.String())
	}
}

// A client's certificate is proven by the connection, from a real client to a real server.
func TestInboundClientCertificate(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "partner"}, DNSNames: []string{"hooks.partner.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)

	g, s := inbound(t, nil)
	addSource(t, g, "partner", Source{Verifier: made(t)(signing.ClientCertificate(roots, "DNS:hooks.partner.example"))})
	server := httptest.NewUnstartedServer(g.Inbound("partner"))
	server.TLS = &tls.Config{ClientCAs: roots, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	post := func() int {
		resp, err := client.Post(server.URL, "text/plain", strings.NewReader("event"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := post(); got != http.StatusUnauthorized {
		t.Errorf("without a certificate: %d", got)
	}
	client.CloseIdleConnections()
	transport := client.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	client = &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	if got := post(); got != http.StatusOK || len(s.all(t)) != 1 {
		t.Errorf("with the certificate: %d", got)
	}
}
