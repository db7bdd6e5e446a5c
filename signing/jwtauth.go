package signing

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// JWTOptions says which tokens JWT takes. Audience is required, and either Keys or Secrets.
type JWTOptions struct {
	// Header is where the token is, alone. Empty: in Authorization, behind the word Bearer.
	Header string

	// Keys are the sender's public keys, see NewKeySet and FetchKeySet. Secrets are what the tokens are signed with where
	// sender and receiver share it: 16 bytes or more, RFC 7518 asks for 32. One of the two is required, both is an error.
	Keys    *KeySet
	Secrets []Secret

	// Algorithms are those that a token may be signed by, by their names in RFC 7518; Empty: RS256, ES256 and EdDSA with
	// Keys, HS256 with Secrets.
	Algorithms []string

	// Audience are the names by which a token may call its receiver (claim aud); one must be among the token's. Required:
	// otherwise a token that was made for somebody else would do.
	Audience []string

	// Issuer is who must have made the token (claim iss). Empty: whoever has one of the keys.
	Issuer string

	// Claims must each have exactly this text, such as "email": "push@example.iam.gserviceaccount.com". Set it where the
	// issuer makes tokens for many senders and any of them can ask for our audience.
	Claims map[string]string

	// Leeway is how far the clocks may be apart. 0: 30 s. Negative: not at all. At most 10 minutes.
	Leeway time.Duration

	// MaxAge is how long ago a token may have been made (claim iat, which is then required). 0: it may be used until it
	// ends (claim exp). A token that has no exp is refused, unless MaxAge or BodyClaim bounds what it is good for.
	MaxAge time.Duration

	// BodyClaim is the claim that holds the hash of the body; empty: there is none, and the token says who sends but not
	// what. BodyHash is the hash, SHA-256 if 0, or SHA-384 or SHA-512; BodyEncoding how it is written, Hex if 0.
	BodyClaim    string
	BodyHash     crypto.Hash
	BodyEncoding Encoding
}

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 10 * time.Minute
	minTokenKey   = 16
)

// JWT verifies senders that show a JSON Web Token (RFC 7519). The verdict's Subject is the claim sub. It covers the body
// (CoversBody) with BodyClaim, and nothing without: then whoever reads one request can make others until the token ends.
//
// Nothing that a token says is believed before its signature fits: not which algorithm it wants, which must be an allowed
// one, nor where its keys are. A verifier with a fetched KeySet asks for keys within the request's context; where they
// cannot be had, the error is of the kind ErrUnavailable.
//
// An error means an option that is missing or contradicts another, or a secret that is empty or too short.
func JWT(o JWTOptions) (Verifier, error) {
	v, err := newJWT(o)
	if err != nil {
		return nil, fmt.Errorf("signing: jwt: %w", err)
	}
	return v, nil
}

type jwtVerifier struct {
	o      JWTOptions
	keys   keySource
	claims []string // the names in o.Claims, in order
}

func newJWT(o JWTOptions) (*jwtVerifier, error) {
	o.Algorithms, o.Audience = slices.Clone(o.Algorithms), slices.Clone(o.Audience)
	v := &jwtVerifier{}
	wanted := []string{"RS256", "ES256", "EdDSA"}
	switch {
	case o.Keys == nil && len(o.Secrets) == 0:
		return nil, optionError("Keys", "is needed, or Secrets: say by what the tokens are verified")
	case o.Keys != nil && len(o.Secrets) > 0:
		return nil, optionError("Keys", "is given and Secrets too: a sender signs with a private key or with a shared secret")
	case o.Keys != nil && o.Keys.remote == nil && len(o.Keys.keys) == 0:
		return nil, optionError("Keys", "is empty; make it with NewKeySet or FetchKeySet")
	case o.Keys != nil:
		v.keys = o.Keys
	default:
		keys, err := hmacKeys(o.Secrets, minTokenKey)
		if err != nil {
			return nil, err
		}
		v.keys, wanted = keys, []string{"HS256"}
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = wanted
	}
	for _, name := range o.Algorithms {
		a, ok := jwtAlgorithms[name]
		if !ok {
			return nil, optionError("Algorithms", "%.20q is not one that can be verified", name)
		}
		if (a.family == hmacFamily) != (o.Keys == nil) {
			return nil, optionError("Algorithms", "%s does not go with what the tokens are verified by: HS with Secrets, all others with Keys", name)
		}
	}
	if len(o.Audience) == 0 || slices.Contains(o.Audience, "") {
		return nil, optionError("Audience", "say by which name tokens call this receiver, often its URL")
	}
	for name, text := range o.Claims {
		if name == "" || text == "" {
			return nil, optionError("Claims", "a name or its text is empty")
		}
	}
	switch {
	case o.Leeway == 0:
		o.Leeway = defaultLeeway
	case o.Leeway < 0:
		o.Leeway = 0
	case o.Leeway > maxLeeway:
		return nil, optionError("Leeway", "%s is more than %s", o.Leeway, maxLeeway)
	}
	if o.MaxAge < 0 {
		return nil, optionError("MaxAge", "must not be negative")
	}
	if err := o.checkBody(); err != nil {
		return nil, err
	}
	if o.Header != "" {
		var err error
		if o.Header, err = headerName(o.Header); err != nil {
			return nil, optionError("Header", "%v", err)
		}
	}
	o.Claims = maps.Clone(o.Claims)
	v.o, v.claims = o, slices.Sorted(maps.Keys(o.Claims))
	return v, nil
}

// optionError is a mistake in the options; it names the field.
func optionError(field, format string, args ...any) error {
	return fmt.Errorf("%s.%s: %s", "JWTOptions", field, fmt.Sprintf(format, args...))
}

// checkBody fills in how the claim with the body's hash is written.
func (o *JWTOptions) checkBody() error {
	if o.BodyClaim == "" {
		if o.BodyHash != 0 || o.BodyEncoding != 0 {
			return optionError("BodyClaim", "say which claim holds the hash of the body")
		}
		return nil
	}
	switch o.BodyHash {
	case 0:
		o.BodyHash = crypto.SHA256
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return optionError("BodyHash", "take crypto.SHA256, SHA384 or SHA512")
	}
	switch o.BodyEncoding {
	case 0:
		o.BodyEncoding = Hex
	case Hex, Base64, Base64URL:
	default:
		return optionError("BodyEncoding", "take Hex, Base64 or Base64URL")
	}
	return nil
}

// Tolerance is how long the same token may be taken, where MaxAge bounds it.
func (v *jwtVerifier) Tolerance() time.Duration {
	if v.o.MaxAge == 0 {
		return 0
	}
	return v.o.MaxAge + v.o.Leeway
}

// Verify proves the token's signature, and only then reads what it says.
func (v *jwtVerifier) Verify(r *Request) (Verdict, error) {
	d, err := v.verify(r)
	if err != nil {
		return Verdict{}, named("jwt", err)
	}
	return d, nil
}

func (v *jwtVerifier) verify(r *Request) (Verdict, error) {
	var text string
	var err error
	if v.o.Header == "" {
		text, err = authorization(r, "Bearer")
	} else {
		text, err = headerText(r, v.o.Header)
	}
	if err != nil {
		return Verdict{}, err
	}
	t, err := parseJWT(text)
	if err != nil {
		return Verdict{}, err
	}
	key, err := t.verify(r.context(), v.keys, v.o.Algorithms)
	if err != nil {
		return Verdict{}, err
	}
	if err := v.checkTime(t, r.Time); err != nil {
		return Verdict{}, err
	}
	if err := v.checkClaims(t); err != nil {
		return Verdict{}, err
	}
	d := Verdict{Key: -1}
	if v.o.Keys == nil {
		d.Key = key.index
	}
	if v.o.BodyClaim != "" {
		if err := v.checkBody(t, r.Body); err != nil {
			return Verdict{}, err
		}
		d.Covers = CoversBody
	}
	d.Subject, _ = t.text("sub")
	return d, nil
}

func (v *jwtVerifier) checkTime(t *jwt, now time.Time) error {
	if !t.has("exp") && v.o.MaxAge == 0 && v.o.BodyClaim == "" {
		return flaw(ErrMissing, "the token does not say when it ends (claim exp): have the issuer set it, or set MaxAge here")
	}
	if err := t.checkTime(now, v.o.Leeway); err != nil {
		return err
	}
	if v.o.MaxAge > 0 {
		return t.checkAge(now, v.o.MaxAge+v.o.Leeway)
	}
	return nil
}

// checkClaims says which claim has another text than it must have. The texts themselves are not told.
func (v *jwtVerifier) checkClaims(t *jwt) error {
	if v.o.Issuer != "" {
		switch issuer, ok := t.text("iss"); {
		case !ok:
			return flaw(ErrMissing, "the token does not name its issuer (claim iss)")
		case issuer != v.o.Issuer:
			return flaw(ErrMismatch, "the token is of another issuer (claim iss) than this source is set up for")
		}
	}
	switch audience := t.audience(); {
	case len(audience) == 0:
		return flaw(ErrMissing, "the token names no audience (claim aud), so it may have been made for anybody")
	case !slices.ContainsFunc(audience, func(name string) bool { return slices.Contains(v.o.Audience, name) }):
		return flaw(ErrMismatch, "the token is for another audience (claim aud) than this source is set up for: set the same one at the sender and here")
	}
	for _, name := range v.claims {
		got, ok := t.text(name)
		if value := bytes.TrimSpace(t.claims[name]); !ok && len(value) > 0 && strings.IndexByte(`"{[n`, value[0]) < 0 {
			got, ok = string(value), true // true, false, or a number
		}
		if !ok {
			return flaw(ErrMissing, "the token has no text in the claim %s", name)
		}
		if subtle.ConstantTimeCompare([]byte(got), []byte(v.o.Claims[name])) == 0 {
			return flaw(ErrMismatch, "the claim %s of the token has another text than this source is set up for", name)
		}
	}
	return nil
}

// checkBody holds the body against the claim with its hash.
func (v *jwtVerifier) checkBody(t *jwt, body []byte) error {
	claim, ok := t.text(v.o.BodyClaim)
	if !ok {
		return flaw(ErrMissing, "the token has no hash of the body in the claim %s", v.o.BodyClaim)
	}
	var hashed []byte
	var err error
	if v.o.BodyEncoding == Hex {
		hashed, err = hex.DecodeString(claim)
	} else {
		hashed, err = v.o.BodyEncoding.base64().DecodeString(claim)
	}
	h := v.o.BodyHash.New()
	if err != nil || len(hashed) != h.Size() || strings.ContainsAny(claim, "\r\n") {
		return flaw(ErrMalformed, "the claim %s of the token is not a hash of the body as it should be written", v.o.BodyClaim)
	}
	_, _ = h.Write(body)
	if subtle.ConstantTimeCompare(h.Sum(nil), hashed) == 0 {
		cause := "a middleware changed the body, or the token belongs to another request"
		if len(body) == 0 {
			cause = "the body is empty, perhaps because a middleware read it first"
		}
		return flaw(ErrMismatch, "the claim %s of the token is the hash of another body: %s", v.o.BodyClaim, cause)
	}
	return nil
}
