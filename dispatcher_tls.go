package hookgate

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"slices"
	"time"
)

// maxPEM is how large each part of an endpoint's TLS settings may be: a chain of a dozen certificates, or a bundle of a
// company's authorities, and not the bundle of a whole system.
const maxPEM = 64 << 10

// clientConfig makes of an endpoint's TLS settings what a dispatcher gets. Errors say what is wrong and nothing of what is in
// the settings. Nil without an error: there are none.
//
// Sessions that the config begins are resumed with this config alone: a receiver takes a resumed session for who began it.
func (c *tlsDoc) clientConfig() (*tls.Config, error) {
	if *c == (tlsDoc{}) {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	if c.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.Key))
		if err != nil {
			return nil, errors.New("the certificate and its key cannot be used")
		}
		out.Certificates = []tls.Certificate{pair} // with its leaf parsed
	}
	if c.RootCAs != "" {
		certs, err := readCertificates(c.RootCAs)
		if err != nil {
			return nil, err
		}
		out.RootCAs = x509.NewCertPool()
		for _, cert := range certs {
			out.RootCAs.AddCert(cert)
		}
	}
	return out, nil
}

// check says what is wrong with TLS settings at a time; the error is a *ConfigError that names the field.
func (c *tlsDoc) check(now time.Time) error {
	bad := func(field, format string, args ...any) error {
		return configError("Endpoint.TLS."+field, format, args...)
	}
	switch {
	case c.Certificate != "" && c.Key == "":
		return bad("Key", "is required: the private key of Certificate, in PEM")
	case c.Certificate == "" && c.Key != "":
		return bad("Certificate", "is required: the certificate that Key is for, in PEM, with those that lead to its authority")
	}
	if c.Certificate != "" {
		if err := c.checkCertificate(now, bad); err != nil {
			return err
		}
	}
	if c.RootCAs == "" {
		return nil
	}
	certs, err := readCertificates(c.RootCAs)
	if err != nil {
		return bad("RootCAs", "%w", err)
	}
	if !slices.ContainsFunc(certs, func(cert *x509.Certificate) bool { return now.Before(cert.NotAfter) }) {
		return bad("RootCAs", "has expired: the last of its certificates ended at %s", lastEnd(certs))
	}
	return nil
}

func (c *tlsDoc) checkCertificate(now time.Time, bad func(field, format string, args ...any) error) error {
	chain, err := readCertificates(c.Certificate)
	if err != nil {
		return bad("Certificate", "%w", err)
	}
	if _, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.Key)); err != nil {
		if block, _ := pem.Decode([]byte(c.Key)); block == nil || block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
			return bad("Key", "is not a private key in PEM without a passphrase")
		}
		return bad("Key", "is not the private key of the first certificate in Certificate")
	}
	leaf := chain[0]
	switch uses := leaf.ExtKeyUsage; {
	case !now.Before(leaf.NotAfter):
		return bad("Certificate", "has expired: it ended at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case len(uses) > 0 && !slices.Contains(uses, x509.ExtKeyUsageClientAuth) && !slices.Contains(uses, x509.ExtKeyUsageAny):
		return bad("Certificate", "is not for clients: a certificate for TLS client authentication is needed")
	}
	return nil
}

func lastEnd(certs []*x509.Certificate) string {
	var end time.Time
	for _, cert := range certs {
		if cert.NotAfter.After(end) {
			end = cert.NotAfter
		}
	}
	return end.UTC().Format(time.RFC3339)
}

// readCertificates reads a text of PEM certificates, one at least and nothing else.
func readCertificates(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("holds something that is no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a certificate that cannot be read")
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("is not a certificate in PEM (-----BEGIN CERTIFICATE-----)")
	}
	return certs, nil
}

// addIdentity gives the config of a connection what belongs to the identity. What keeps connections safe stays as it is.
func addIdentity(config, identity *tls.Config) {
	config.Certificates = identity.Certificates
	config.GetClientCertificate = identity.GetClientCertificate
	config.ClientSessionCache = identity.ClientSessionCache // never that of others
	if identity.RootCAs != nil {
		config.RootCAs = identity.RootCAs
	}
}

// remoteAlert is what the other side said as it ended TLS, such as "tls: bad certificate"; "": it said nothing. The words are
// those of crypto/tls.
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err != nil {
		return op.Err.Error()
	}
	return ""
}

// withTLSHint adds to a failure what the endpoint's own part in it may be. A receiver that does not like a client certificate
// often just ends the connection.
func withTLSHint(f *DispatchError, identity *tls.Config) *DispatchError {
	if f.Local || f.Class != classTLS && (f.Class != classReset || identity == nil) {
		return f
	}
	said := remoteAlert(f.Err) != ""
	var unknown x509.UnknownAuthorityError
	switch {
	case identity == nil && said:
		return fault(classTLS, false, f.Err, "%s; if it wants a client certificate, set Endpoint.TLS", f.Err)
	case identity == nil:
		return f
	case identity.RootCAs != nil && errors.As(f.Err, &unknown):
		return fault(classTLS, false, f.Err, "%s; the endpoint trusts those in its TLS.RootCAs alone", f.Err)
	case len(identity.Certificates) == 0 || f.Class == classTLS && !said:
		return f
	}
	if leaf := identity.Certificates[0].Leaf; leaf != nil && !time.Now().Before(leaf.NotAfter) {
		return fault(classTLS, false, f.Err, "%s; the endpoint's client certificate ended at %s: give it a new one in Endpoint.TLS",
			f.Err, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return fault(f.Class, false, f.Err, "%s; the receiver may not accept the client certificate in Endpoint.TLS", f.Err)
}
