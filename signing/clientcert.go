package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ClientCertificate verifies senders by the certificate with which they opened the TLS connection (mTLS). Each name says
// of which kind it is, and one of them must be in the certificate, exactly:
//
//	CN:billing                              the common name of the subject
//	DNS:billing.example.com                 a DNS name; the letter case does not matter
//	URI:spiffe://example.com/billing        a URI
//	SPKI:Lm8e9...=                          the base64 of the SHA-256 of its SubjectPublicKeyInfo
//
// The server has to ask for certificates: set ClientCAs and ClientAuth of its tls.Config, to tls.RequireAndVerifyClientCert
// or, where other sources of the same server do without, tls.VerifyClientCertIfGiven. Only what the connection says is
// believed, never a header: behind a proxy that ends TLS nobody is let in.
//
// Roots, if not nil, narrows down who may have issued the certificate. Set it where the server's ClientCAs serve several
// senders: otherwise the authority of one could issue the name of another. With Roots, no names means everybody whom
// these roots certify; without, it is an error.
//
// The verdict's Subject is the name that was found, as it is written here, or the common name if none is asked for. The
// proof covers the body (CoversBody): the connection that the certificate opened protects every byte.
func ClientCertificate(roots *x509.CertPool, names ...string) (Verifier, error) {
	v := &clientCertificate{roots: roots}
	if len(names) == 0 && roots == nil {
		return nil, errors.New("signing: client-certificate: no name is given; say whose certificate it must be, such as DNS:billing.example.com")
	}
	for i, text := range names {
		name := certificateName{text: text}
		var ok bool
		if name.kind, name.value, ok = strings.Cut(text, ":"); !ok || strings.TrimSpace(name.value) == "" {
			return nil, fmt.Errorf("signing: client-certificate: name %d has no kind or no value; write it as CN:, DNS:, URI: or SPKI: and the value", i+1)
		}
		switch name.kind {
		case "CN", "DNS", "URI":
		case "SPKI":
			raw, err := strictStd.DecodeString(name.value)
			if err != nil || len(raw) != sha256.Size || strings.ContainsAny(name.value, "\r\n") {
				return nil, fmt.Errorf("signing: client-certificate: name %d is not the base64 of a SHA-256, which has 44 characters", i+1)
			}
			name.pin = [sha256.Size]byte(raw)
		default:
			return nil, fmt.Errorf("signing: client-certificate: name %d is of an unknown kind; CN:, DNS:, URI: and SPKI: are those there are", i+1)
		}
		v.names = append(v.names, name)
	}
	return v, nil
}

type clientCertificate struct {
	roots *x509.CertPool
	names []certificateName
}

type certificateName struct {
	text, kind, value string
	pin               [sha256.Size]byte
}

// Verify looks at the certificate that the connection's server has verified.
func (v *clientCertificate) Verify(r *Request) (Verdict, error) {
	subject, err := v.find(r)
	if err != nil {
		return Verdict{}, named("client-certificate", err)
	}
	return Verdict{Key: -1, Subject: subject, Covers: CoversBody}, nil
}

func (v *clientCertificate) find(r *Request) (string, error) {
	if r.TLS == nil {
		return "", flaw(ErrMissing, "the request came without TLS: let the server that has the handler end TLS itself, no proxy in front of it")
	}
	var leaf *x509.Certificate
	for _, chain := range r.TLS.VerifiedChains {
		if len(chain) > 0 && chain[0] != nil {
			leaf = chain[0]
			break
		}
	}
	switch {
	case leaf == nil && len(r.TLS.PeerCertificates) > 0:
		return "", flaw(ErrMismatch, "nobody has verified the sender's certificate: set ClientCAs of the server's tls.Config, and ClientAuth to one that verifies")
	case leaf == nil:
		return "", flaw(ErrMissing, "the sender showed no certificate: does the server ask for one (ClientAuth of its tls.Config), and has the sender one?")
	}
	now := clock(r.Time)
	switch { // the connection may have been open for long
	case now.After(leaf.NotAfter):
		return "", flaw(ErrTooOld, "the sender's certificate expired %s ago: the sender has to renew it", now.Sub(leaf.NotAfter).Round(time.Second))
	case now.Before(leaf.NotBefore):
		return "", flaw(ErrTooNew, "the sender's certificate begins %s ahead: the clock of this machine is slow, or the sender's authority's is fast",
			leaf.NotBefore.Sub(now).Round(time.Second))
	}
	if v.roots != nil && !v.issued(leaf, r, now) {
		return "", flaw(ErrMismatch, "the sender's certificate is of another authority than this source's roots: it belongs to another sender, or an intermediate is missing")
	}
	if len(v.names) == 0 {
		return leaf.Subject.CommonName, nil
	}
	for i := range v.names {
		if v.names[i].in(leaf) {
			return v.names[i].text, nil
		}
	}
	return "", flaw(ErrMismatch, "the sender's certificate has none of %s: it has %s and %s; it belongs to another sender, or was renewed with another name or key",
		count(len(v.names), "wanted name"), count(len(leaf.DNSNames), "DNS name"), count(len(leaf.URIs), "URI"))
}

// issued reports whether the roots certify the leaf.
func (v *clientCertificate) issued(leaf *x509.Certificate, r *Request, now time.Time) bool {
	between := x509.NewCertPool()
	add := func(chain []*x509.Certificate) {
		for _, c := range chain[min(1, len(chain)):] {
			if c != nil {
				between.AddCert(c)
			}
		}
	}
	for _, chain := range r.TLS.VerifiedChains {
		add(chain)
	}
	add(r.TLS.PeerCertificates)
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// in reports whether the certificate has the name.
func (n *certificateName) in(c *x509.Certificate) bool {
	switch n.kind {
	case "CN":
		return c.Subject.CommonName == n.value
	case "DNS":
		for _, name := range c.DNSNames {
			if strings.EqualFold(name, n.value) {
				return true
			}
		}
	case "URI":
		for _, u := range c.URIs {
			if u != nil && u.String() == n.value {
				return true
			}
		}
	case "SPKI":
		hashed := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		return subtle.ConstantTimeCompare(hashed[:], n.pin[:]) == 1
	}
	return false
}
