package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of jwtAlgorithms
	_ "crypto/sha512"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a token, which comes in a header.
const (
	maxJWT     = maxHeader // bytes of the whole text
	maxMembers = 512       // members of a JSON object
)

// jwtFamily says what kind of key an algorithm takes. A key is of one family for good, so that a public key, which
// everybody knows, cannot serve as the secret of an HMAC.
type jwtFamily uint8

const (
	hmacFamily jwtFamily = iota + 1
	rsaFamily
	p256Family
	p384Family
	p521Family
	edFamily
)

// jwtAlgorithm is one of the signature algorithms of RFC 7518, or EdDSA.
type jwtAlgorithm struct {
	family jwtFamily
	hash   crypto.Hash
	pss    bool
	size   int // of an ECDSA coordinate, in bytes
}

// jwtAlgorithms are all that can be verified. "none" is not among them, whatever a caller allows.
var jwtAlgorithms = map[string]jwtAlgorithm{
	"HS256": {family: hmacFamily, hash: crypto.SHA256},
	"HS384": {family: hmacFamily, hash: crypto.SHA384},
	"HS512": {family: hmacFamily, hash: crypto.SHA512},
	"RS256": {family: rsaFamily, hash: crypto.SHA256},
	"RS384": {family: rsaFamily, hash: crypto.SHA384},
	"RS512": {family: rsaFamily, hash: crypto.SHA512},
	"PS256": {family: rsaFamily, hash: crypto.SHA256, pss: true},
	"ES256": {family: p256Family, hash: crypto.SHA256, size: 32},
	"ES384": {family: p384Family, hash: crypto.SHA384, size: 48},
	"ES512": {family: p521Family, hash: crypto.SHA512, size: 66},
	"EdDSA": {family: edFamily},
}

// keySource finds the keys that a token may have been signed with.
type keySource interface {
	// find gives the keys for a token that names kid, which may be empty. None is no error.
	find(ctx context.Context, kid string) ([]jwk, error)
}

// jwt is a token (RFC 7519) in the compact form of a JSON Web Signature (RFC 7515), taken apart. Nothing in it can be
// believed before verify.
type jwt struct {
	alg, kid  string
	claims    map[string]json.RawMessage
	signed    []byte // what the signature is over
	signature []byte
}

// flaw is an Error that does not know its scheme yet; see named.
func flaw(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// named says which scheme a flaw is of.
func named(scheme string, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Scheme == "" {
		return &Error{Scheme: scheme, Kind: e.Kind, Detail: e.Detail}
	}
	return err
}

// parseJWT takes a token apart. It refuses what is not strictly written, and extensions that must be understood.
func parseJWT(text string) (*jwt, error) {
	if len(text) > maxJWT {
		return nil, flaw(ErrMalformed, "the token is longer than %d bytes", maxJWT)
	}
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 3 {
		return nil, flaw(ErrMalformed, "the token has not three parts")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = strictURL.DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return nil, flaw(ErrMalformed, "part %d of the token is not base64url", i+1)
		}
	}
	header, ok := jsonMembers(raw[0])
	if !ok {
		return nil, flaw(ErrMalformed, "the header of the token is not a JSON object with each name once")
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := header[name]; ok {
			return nil, flaw(ErrMalformed, "the header of the token asks for %q, which is not supported", name)
		}
	}
	t := &jwt{signed: []byte(text[:len(parts[0])+1+len(parts[1])]), signature: raw[2]}
	if t.alg, ok = jsonString(header["alg"]); !ok {
		return nil, flaw(ErrMalformed, "the header of the token names no algorithm")
	}
	if id, there := header["kid"]; there {
		if t.kid, ok = jsonString(id); !ok {
			return nil, flaw(ErrMalformed, "the key ID in the header of the token is not a text")
		}
	}
	if t.claims, ok = jsonMembers(raw[1]); !ok {
		return nil, flaw(ErrMalformed, "the claims of the token are not a JSON object with each name once")
	}
	return t, nil
}

// jsonMembers takes an object apart; false if doc is anything else, has a name twice, or goes on behind the object.
func jsonMembers(doc []byte) (map[string]json.RawMessage, bool) {
	if !utf8.Valid(doc) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		name, ok := tok.(string)
		if err != nil || !ok || len(members) == maxMembers {
			return nil, false
		}
		var value json.RawMessage
		if _, twice := members[name]; twice || dec.Decode(&value) != nil {
			return nil, false
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, false
	}
	return members, dec.InputOffset() == int64(len(bytes.TrimRight(doc, " \t\r\n")))
}

// jsonFields is jsonMembers for what others read after us: false as well if two names differ in letter case only, which many
// decoders, that of Go among them, take for one name.
func jsonFields(doc []byte) (map[string]json.RawMessage, bool) {
	members, ok := jsonMembers(doc)
	seen := make(map[string]bool, len(members))
	for name := range members {
		folded := foldName(name)
		if seen[folded] {
			return nil, false
		}
		seen[folded] = true
	}
	return members, ok
}

// foldName makes the names equal that strings.EqualFold takes for equal: of each letter's forms it takes the first.
func foldName(name string) string {
	return strings.Map(func(c rune) rune {
		for {
			next := unicode.SimpleFold(c)
			if next <= c {
				return next
			}
			c = next
		}
	}, name)
}

// jsonString reads a string that is not empty.
func jsonString(value json.RawMessage) (string, bool) {
	var s *string
	if len(value) == 0 || json.Unmarshal(value, &s) != nil || s == nil || *s == "" {
		return "", false
	}
	return *s, true
}

// verify proves that one of the keys signed the token, by one of the allowed algorithms, and answers which key.
func (t *jwt) verify(ctx context.Context, keys keySource, allowed []string) (jwk, error) {
	a, known := jwtAlgorithms[t.alg]
	if !known || !slices.Contains(allowed, t.alg) {
		return jwk{}, flaw(ErrMalformed, "the token is signed by another algorithm than %s", strings.Join(allowed, ", "))
	}
	candidates, err := keys.find(ctx, t.kid)
	if err != nil {
		return jwk{}, err
	}
	tried := 0
	for i := range candidates {
		k := &candidates[i]
		if k.family != a.family || (k.alg != "" && k.alg != t.alg) {
			continue
		}
		if tried++; tried > maxSecrets {
			break
		}
		if a.fits(k, t.signed, t.signature) {
			return *k, nil
		}
	}
	switch {
	case len(candidates) == 0:
		return jwk{}, flaw(ErrMismatch, "no key has the ID that the token names: was the key rotated, or is the token somebody else's?")
	case tried == 0:
		return jwk{}, flaw(ErrMismatch, "no key is of the kind that the token's algorithm takes")
	}
	return jwk{}, flaw(ErrMismatch, "the token fits none of %s: the key belongs to another endpoint, or was rotated", count(tried, "key"))
}

// fits checks one signature with one key of the right family.
func (a jwtAlgorithm) fits(k *jwk, signed, signature []byte) bool {
	if a.family == edFamily {
		return len(k.ed25519) == ed25519.PublicKeySize && ed25519.Verify(k.ed25519, signed, signature)
	}
	if a.family == hmacFamily {
		if len(k.hmac) == 0 {
			return false
		}
		mac := hmac.New(a.hash.New, k.hmac)
		_, _ = mac.Write(signed)
		return subtle.ConstantTimeCompare(mac.Sum(nil), signature) == 1
	}
	h := a.hash.New()
	_, _ = h.Write(signed)
	digest := h.Sum(nil)
	switch {
	case a.family == rsaFamily && k.rsa != nil && a.pss:
		return rsa.VerifyPSS(k.rsa, a.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case a.family == rsaFamily && k.rsa != nil:
		return rsa.VerifyPKCS1v15(k.rsa, a.hash, digest, signature) == nil
	case k.ecdsa != nil && len(signature) == 2*a.size:
		r, s := new(big.Int).SetBytes(signature[:a.size]), new(big.Int).SetBytes(signature[a.size:])
		return ecdsa.Verify(k.ecdsa, digest, r, s)
	}
	return false
}

// text gives a claim that is a string and not empty.
func (t *jwt) text(claim string) (string, bool) { return jsonString(t.claims[claim]) }

// has reports whether the claim is there, whatever it holds.
func (t *jwt) has(claim string) bool {
	_, ok := t.claims[claim]
	return ok
}

// audience gives the claim aud, which is one text or a list of them.
func (t *jwt) audience() []string {
	if one, ok := t.text("aud"); ok {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(t.claims["aud"], &many) != nil {
		return nil
	}
	return many
}

// moment gives a claim that is a time, in seconds since 1970; false if it is not there.
func (t *jwt) moment(claim string) (time.Time, bool, error) {
	value, ok := t.claims[claim]
	if !ok {
		return time.Time{}, false, nil
	}
	var seconds *float64
	if json.Unmarshal(value, &seconds) != nil || seconds == nil || math.Abs(*seconds) > 1<<40 {
		return time.Time{}, false, flaw(ErrMalformed, "the claim %s of the token is not a time", claim)
	}
	whole, part := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}

// checkTime holds exp, nbf and iat against the clock, as far as they are there. A token may be used up to leeway before
// and after; at exp plus leeway it is over.
func (t *jwt) checkTime(now time.Time, leeway time.Duration) error {
	now = clock(now)
	exp, ok, err := t.moment("exp")
	switch {
	case err != nil:
		return err
	case ok && !now.Before(exp.Add(leeway)):
		return flaw(ErrTooOld, "the token expired %s ago: somebody repeats an old request, a proxy held it back, or the clock of this machine is fast",
			now.Sub(exp).Round(time.Millisecond))
	}
	for _, claim := range []string{"nbf", "iat"} {
		at, ok, err := t.moment(claim)
		switch {
		case err != nil:
			return err
		case ok && now.Before(at.Add(-leeway)):
			return flaw(ErrTooNew, "the token begins %s ahead: the clock of this machine is slow, or the sender's is fast",
				at.Sub(now).Round(time.Millisecond))
		}
	}
	return nil
}

// checkAge demands a claim iat that is at most that old.
func (t *jwt) checkAge(now time.Time, most time.Duration) error {
	now = clock(now)
	at, ok, err := t.moment("iat")
	switch {
	case err != nil:
		return err
	case !ok:
		return flaw(ErrMissing, "the token does not say when it was made (iat)")
	case now.Sub(at) > most:
		return flaw(ErrTooOld, "the token was made %s ago, it may be %s: somebody repeats an old request, or a proxy held it back",
			now.Sub(at).Round(time.Millisecond), most)
	}
	return nil
}
