package signing

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// paypalProvider follows PayPal's page on verifying webhook messages by oneself.
var paypalProvider = provider{
	Provider: Provider{
		Title:     "PayPal",
		Settings:  []Setting{{Name: "webhook_id", Required: true, Doc: "The ID of the webhook, as the list of webhooks of the app shows it; it is signed."}},
		Header:    "`PAYPAL-TRANSMISSION-SIG`, and `PAYPAL-CERT-URL` for the certificate",
		Algorithm: "RSA PKCS #1 v1.5 with SHA-256, base64",
		Signs:     "`PAYPAL-TRANSMISSION-ID`, `PAYPAL-TRANSMISSION-TIME`, the webhook's ID and the CRC-32 of the body, with bars between. A CRC is no hash: another body with the same one is quickly made",
		Secret:    "none, the certificate is fetched; or certificates in PEM that stand behind `PAYPAL-CERT-URL`",
		Type:      "`event_type`",
		ID:        "`id`",
		Source:    ThirdParty,
		Covers:    CoversMetadata,
	},
	code: newPayPal,
}

var paypalPath = regexp.MustCompile(`^/v1/notifications/certs/[A-Za-z0-9._-]{1,120}$`)

type paypal struct {
	webhookID string
	pinned    []*rsa.PublicKey
	certs     *certificates // nil if pinned
}

func newPayPal(o Options, secrets []Secret) (Verifier, error) {
	v := &paypal{webhookID: o.Settings["webhook_id"]}
	if strings.ContainsAny(v.webhookID, "| \t\r\n") {
		return nil, setupError("paypal", errors.New("the setting webhook_id is not the ID of a webhook; copy it again"))
	}
	var err error
	if len(secrets) > 0 {
		v.pinned, err = pinnedRSA(secrets)
	} else {
		v.certs, err = newCertificates(o.Client, checkPayPalCertificate)
	}
	if err != nil {
		return nil, setupError("paypal", err)
	}
	return v, nil
}

// Verify implements Verifier.
func (v *paypal) Verify(r *Request) (Verdict, error) {
	h := map[string]string{}
	for _, name := range []string{"Transmission-Id", "Transmission-Time", "Transmission-Sig", "Cert-Url", "Auth-Algo"} {
		text, err := headerOf("paypal", r, "Paypal-"+name)
		if err != nil {
			return Verdict{}, err
		}
		h[name] = text
	}
	if !strings.EqualFold(h["Auth-Algo"], "SHA256withRSA") {
		return Verdict{}, refuse("paypal", ErrMalformed, "header Paypal-Auth-Algo is not SHA256withRSA, the only one there is")
	}
	if strings.Contains(h["Transmission-Id"], "|") || strings.Contains(h["Transmission-Time"], "|") {
		return Verdict{}, refuse("paypal", ErrMalformed, "header Paypal-Transmission-Id or Paypal-Transmission-Time has a bar, which separates what is signed")
	}
	if _, err := time.Parse(time.RFC3339Nano, h["Transmission-Time"]); err != nil {
		return Verdict{}, refuse("paypal", ErrMalformed, "header Paypal-Transmission-Time is not an RFC 3339 time")
	}
	signature, err := strictStd.DecodeString(h["Transmission-Sig"])
	if err != nil || strings.ContainsAny(h["Transmission-Sig"], "\r\n") {
		return Verdict{}, refuse("paypal", ErrMalformed, "header Paypal-Transmission-Sig is not base64")
	}
	keys, err := v.keysAt(r, h["Cert-Url"])
	if err != nil {
		return Verdict{}, err
	}
	check := strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.Body)), 10)
	digest := sha256.Sum256([]byte(h["Transmission-Id"] + "|" + h["Transmission-Time"] + "|" + v.webhookID + "|" + check))
	for i, k := range keys {
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) != nil {
			continue
		}
		d := Verdict{Key: i, Covers: CoversMetadata}
		if v.pinned == nil {
			d.Key = -1
		}
		d.Type, _ = jsonText(r.Body, []string{"event_type"})
		d.ID, _ = jsonText(r.Body, []string{"id"})
		d.OrderingKey, _ = jsonText(r.Body, []string{"resource", "id"})
		return d, nil
	}
	return Verdict{}, refuse("paypal", ErrMismatch, "header Paypal-Transmission-Sig fits none of %s: webhook_id is another webhook's, or the body was changed on its way",
		count(len(keys), "certificate"))
}

func (v *paypal) keysAt(r *Request, address string) ([]*rsa.PublicKey, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		(u.Host != "api.paypal.com" && u.Host != "api.sandbox.paypal.com") || !paypalPath.MatchString(u.EscapedPath()) {
		return nil, refuse("paypal", ErrMalformed, "header %s is not the https address of a certificate of PayPal", http.CanonicalHeaderKey("Paypal-Cert-Url"))
	}
	if v.pinned != nil {
		return v.pinned, nil
	}
	k, err := v.certs.get(r, address)
	if err != nil {
		return nil, named("paypal", err)
	}
	return []*rsa.PublicKey{k}, nil
}

// checkPayPalCertificate demands a chain to the roots of this system, and the name that PayPal signs under.
func checkPayPalCertificate(chain []*x509.Certificate, now time.Time) error {
	return checkChain(chain, nil, now, func(name string) bool {
		return strings.HasPrefix(name, "messageverificationcerts.") && strings.HasSuffix(name, ".paypal.com")
	})
}

// checkChain verifies a chain to the roots, nil for those of the system, and the name of its first certificate.
func checkChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time, isName func(string) bool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("holds a certificate that is not trusted: %w", err)
	}
	for _, name := range append([]string{chain[0].Subject.CommonName}, chain[0].DNSNames...) {
		if isName(name) {
			return nil
		}
	}
	return errors.New("holds a certificate of another name")
}
