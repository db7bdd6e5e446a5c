package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"time"
)

// coded are the providers for which no row is enough: each has a file of its own.
var coded = map[string]provider{
	"adyen":          adyenProvider,
	"api-key-header": apiKeyProvider,
	"aws-sns":        snsProvider,
	"basic-auth":     basicProvider,
	"box":            boxProvider,
	"braintree":      braintreeProvider,
	"contentful":     contentfulProvider,
	"dropbox-sign":   dropboxSignProvider,
	"easypost":       easypostProvider,
	"ebay":           ebayProvider,
	"fusionauth":     fusionauthProvider,
	"google-pubsub":  pubsubProvider,
	"mandrill":       mandrillProvider,
	"messagebird":    messagebirdProvider,
	"netlify":        netlifyProvider,
	"paypal":         paypalProvider,
	"plaid":          plaidProvider,
	"twilio":         twilioProvider,
	"vonage":         vonageProvider,
	"wise":           wiseProvider,
}

// refuse makes the error of a verifier that is code.
func refuse(scheme string, kind error, format string, args ...any) error {
	return &Error{Scheme: scheme, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// setupError is a mistake in how a provider was set up.
func setupError(scheme string, err error) error { return fmt.Errorf("signing: %s: %w", scheme, err) }

// headerOf gives the one value of a header, whose name must be canonical.
func headerOf(scheme string, r *Request, name string) (string, error) {
	text, s := single(r.Header[name])
	return text, stateError(scheme, "header "+name, s)
}

func stateError(scheme, where string, s state) error {
	switch s {
	case present:
		return nil
	case repeated:
		return refuse(scheme, ErrMalformed, "%s comes more than once", where)
	case tooLong:
		return refuse(scheme, ErrMalformed, "%s is longer than %d bytes", where, maxHeader)
	default:
		return refuse(scheme, ErrMissing, "%s is not there: is a secret set at the provider, and does every proxy pass it on?", where)
	}
}

// optionalHeader gives a header that need not be there, and must not come twice.
func optionalHeader(scheme string, r *Request, name string) (string, error) {
	if len(r.Header[name]) == 0 {
		return "", nil
	}
	text, s := single(r.Header[name])
	if s == absent { // empty
		return "", nil
	}
	return text, stateError(scheme, "header "+name, s)
}

// macKeys are HMAC keys, one for each secret.
type macKeys []*macKey

// newMACKeys makes a key of each secret. decode gives the bytes of a secret's text; nil takes the text as it is.
func newMACKeys(kind *hashKind, secrets []Secret, shortest int, decode func(string) ([]byte, error)) (macKeys, error) {
	texts, err := plainSecrets(secrets, 1)
	if err != nil {
		return nil, err
	}
	keys := make(macKeys, len(texts))
	for i, text := range texts {
		raw := []byte(text)
		if decode != nil {
			if raw, err = decode(text); err != nil {
				return nil, fmt.Errorf("secret %d %w", i+1, err)
			}
		}
		if len(raw) < shortest {
			return nil, fmt.Errorf("secret %d is too short: it has %d bytes and must have %d or more; have the provider make a new one", i+1, len(raw), shortest)
		}
		if keys[i], err = newMACKey(kind, raw); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// match answers the index of the key by which got is the HMAC of all parts in a row, or -1.
func (m macKeys) match(got []byte, parts ...[]byte) int {
	for i, k := range m {
		if k.fits(got, parts...) {
			return i
		}
	}
	return -1
}

// fits compares in constant time.
func (m *macKey) fits(got []byte, parts ...[]byte) bool {
	h := m.kind.get()
	defer m.kind.put(h)
	if !m.begin(h) {
		return false
	}
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	want := m.end(h)
	return len(want) > 0 && subtle.ConstantTimeCompare(got, want) == 1
}

// decodeMAC reads a base64 MAC of n bytes, strictly.
func decodeMAC(text string, n int) ([]byte, bool) {
	raw, err := strictStd.DecodeString(text)
	return raw, err == nil && len(raw) == n && base64.StdEncoding.EncodedLen(n) == len(text)
}

// decodeLowerHex reads n bytes of hexadecimal in lower case, the one form in which the senders write it.
func decodeLowerHex(text string, n int) ([]byte, bool) {
	raw, err := hex.DecodeString(text)
	return raw, err == nil && len(raw) == n && strings.ToLower(text) == text
}

// mismatched is the error where everything can be read and no key fits.
func mismatched(scheme, where string, keys int) error {
	return refuse(scheme, ErrMismatch, "%s fits none of %s: the secret belongs to another endpoint, the key was rotated, or the body was changed on its way",
		where, count(keys, "key"))
}

// checkAge holds a time that is part of what was signed against the clock, in both directions.
func checkAge(scheme, where string, at, now time.Time, most time.Duration) error {
	switch age := clock(now).Sub(at); {
	case age > most:
		return refuse(scheme, ErrTooOld, "%s is %s ago and may be %s: somebody repeats an old request, a proxy held it back, or the clock of this machine is fast",
			where, age.Round(time.Millisecond), most)
	case age < -most:
		return refuse(scheme, ErrTooNew, "%s is %s ahead and may be %s: the clock of this machine is slow, or the sender's is fast",
			where, (-age).Round(time.Millisecond), most)
	}
	return nil
}

// clock gives the time of a request, or now if nobody says.
func clock(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

// mediaType gives the type in the header Content-Type, in lower case, with its parameters; empty if it cannot be read.
func mediaType(r *Request) (string, map[string]string) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil
	}
	return kind, params
}

// formOf reads the fields of a form-encoded body.
func formOf(scheme string, r *Request) (url.Values, error) {
	kind, _ := mediaType(r)
	if kind != "application/x-www-form-urlencoded" {
		return nil, refuse(scheme, ErrMalformed, "the body is not a form (Content-Type: application/x-www-form-urlencoded)")
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return nil, refuse(scheme, ErrMalformed, "the form in the body is damaged")
	}
	return form, nil
}

// field gives the one value of a form field, of any length.
func field(scheme string, form url.Values, name string) (string, error) {
	switch values := form[name]; {
	case len(values) > 1:
		return "", stateError(scheme, "form field "+name, repeated)
	case len(values) == 0 || values[0] == "":
		return "", stateError(scheme, "form field "+name, absent)
	default:
		return values[0], nil
	}
}

// jsonScalar gives the text of a string, number or boolean; empty and true for null and where there is none.
func jsonScalar(value json.RawMessage) (string, bool) {
	switch {
	case len(value) == 0 || value[0] == 'n':
		return "", true
	case value[0] == '{' || value[0] == '[':
		return "", false
	case value[0] != '"':
		return string(value), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// bodyHash is the SHA-256 of the body, in hexadecimal.
func bodyHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
