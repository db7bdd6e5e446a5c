package signing

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// Limits of keys. Whoever can name a key must not be able to make us work for long.
const (
	maxSetKeys = 64   // keys of one set
	minRSABits = 2048 // NIST SP 800-131A; RFC 7518 asks for the same
	maxRSABits = 8192
)

// jwk is a key by which tokens are verified. It has one family, and only the field of that.
type jwk struct {
	index   int    // of the secret that it comes from
	id, alg string // alg: the only algorithm that it is for, or empty
	family  jwtFamily
	hmac    []byte
	rsa     *rsa.PublicKey
	ecdsa   *ecdsa.PublicKey
	ed25519 ed25519.PublicKey
}

// KeySet holds the public keys of somebody who signs tokens: a JSON Web Key Set (RFC 7517). NewKeySet makes one of its
// text, FetchKeySet one that is read from its address and kept up to date. It may be used by many goroutines.
type KeySet struct {
	keys   []jwk
	remote *remote[[]jwk] // nil if the keys are fixed
}

// NewKeySet reads a set, {"keys": [...]}, or a single key. Keys for encryption and of kinds that are not known are left
// out, as RFC 7517 asks. It is an error if no key is left, if one is damaged or too weak, and if one is symmetric: who
// may verify with it could sign too, so it has no place in a set.
func NewKeySet(jwksJSON []byte) (*KeySet, error) {
	keys, err := parseKeySet(jwksJSON)
	if err != nil {
		return nil, fmt.Errorf("signing: key set: %w", err)
	}
	return &KeySet{keys: keys}, nil
}

// FetchKeySet names a set by its address, https only; nothing is fetched before the first token comes. Give
// Gateway.HTTPClient as the client: it connects to no address that the operator did not allow. Redirects are not
// followed.
//
// A set is kept as long as the server's Cache-Control says, a minute at the least and a day at the most, an hour if it
// says nothing. A token that names an unknown key has the set fetched again, once in ten seconds for all tokens together.
// When it cannot be fetched, the last set goes on to hold. A set has up to 256 KiB.
func FetchKeySet(url string, client *http.Client) (*KeySet, error) {
	m, err := newRemote(url, client, parseKeySet)
	if err != nil {
		return nil, fmt.Errorf("signing: key set: %w", err)
	}
	m.accept = "application/json"
	return &KeySet{remote: m}, nil
}

// find gives the keys that are called kid, or all if that is empty.
func (s *KeySet) find(ctx context.Context, kid string) ([]jwk, error) {
	if s.remote == nil {
		return keysNamed(s.keys, kid), nil
	}
	keys, err := s.remote.get(ctx, func(keys []jwk) bool { return len(keysNamed(keys, kid)) > 0 })
	if err != nil {
		return nil, err
	}
	return keysNamed(keys, kid), nil
}

func keysNamed(keys []jwk, kid string) []jwk {
	if kid == "" {
		return keys
	}
	var found []jwk
	for i := range keys {
		if keys[i].id == kid {
			found = append(found, keys[i])
		}
	}
	return found
}

// secretKeys are keys that were set up one by one. They have no names: whatever a token calls its key, all are tried.
type secretKeys []jwk

func (s secretKeys) find(context.Context, string) ([]jwk, error) { return s, nil }

// hmacKeys makes HMAC keys of secrets that are used as text. Text of a public key is refused: everybody knows it.
func hmacKeys(secrets []Secret, shortest int) (secretKeys, error) {
	texts, err := plainSecrets(secrets, shortest)
	if err != nil {
		return nil, err
	}
	keys := make(secretKeys, len(texts))
	for i, text := range texts {
		if isKeyFile(text) {
			return nil, fmt.Errorf("secret %d is a key file; this sender signs with a shared secret", i+1)
		}
		keys[i] = jwk{index: i, family: hmacFamily, hmac: []byte(text)}
	}
	return keys, nil
}

// isKeyFile reports whether a text is PEM, JSON, or a public key in base64, as PEM has it between its lines.
func isKeyFile(text string) bool {
	if strings.Contains(text, "-----BEGIN ") || strings.HasPrefix(text, "{") {
		return true
	}
	raw, err := base64.StdEncoding.DecodeString(text) // which skips line breaks
	if err != nil {
		return false
	}
	_, err = x509.ParsePKIXPublicKey(raw)
	return err == nil
}

// plainSecrets gives the texts of secrets that are used as they are.
func plainSecrets(secrets []Secret, shortest int) ([]string, error) {
	if len(secrets) == 0 {
		return nil, errors.New("needs a secret: put in what the provider shows")
	}
	if len(secrets) > maxSecrets {
		return nil, fmt.Errorf("has %d secrets, %d are the most: take out those that are no longer used", len(secrets), maxSecrets)
	}
	texts := make([]string, len(secrets))
	for i, s := range secrets {
		text := s.Reveal()
		switch {
		case text == "":
			return nil, fmt.Errorf("secret %d is empty; put in the secret that the provider shows", i+1)
		case strings.TrimSpace(text) != text:
			return nil, fmt.Errorf("secret %d begins or ends with white space, perhaps the newline of a file; trim it", i+1)
		case len(text) < shortest:
			return nil, fmt.Errorf("secret %d is too short: it has %d bytes and must have %d or more; have the provider make a new one", i+1, len(text), shortest)
		}
		texts[i] = text
	}
	return texts, nil
}

// parseKeySet reads a set or a single key.
func parseKeySet(doc []byte) ([]jwk, error) {
	members, ok := jsonMembers(doc)
	if !ok {
		return nil, errors.New("is not a JSON object with each name once")
	}
	raw := []json.RawMessage{doc}
	if list, ok := members["keys"]; ok {
		if json.Unmarshal(list, &raw) != nil {
			return nil, errors.New("its member keys is not a list")
		}
	} else if _, ok := members["kty"]; !ok {
		return nil, errors.New("is neither a set of keys nor a key: it has no member keys and no member kty")
	}
	if len(raw) > maxSetKeys {
		return nil, fmt.Errorf("has more than %d keys", maxSetKeys)
	}
	var keys []jwk
	for i, r := range raw {
		k, use, err := parseJWK(r)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if use {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("has no key that signatures can be verified with")
	}
	return keys, nil
}

// parseJWK reads one key; use is false for those of kinds and for purposes that are not ours.
func parseJWK(doc []byte) (k jwk, use bool, err error) {
	var m struct {
		Kty, Use, Kid, Alg, Crv, N, E, X, Y string
		Ops                                 []string `json:"key_ops"`
	}
	if _, ok := jsonFields(doc); !ok || json.Unmarshal(doc, &m) != nil {
		return jwk{}, false, errors.New("is not a JSON object with texts for values")
	}
	if (m.Use != "" && m.Use != "sig") || (m.Ops != nil && !slices.Contains(m.Ops, "verify")) {
		return jwk{}, false, nil
	}
	k = jwk{id: m.Kid, alg: m.Alg}
	part := func(text string) []byte {
		raw, e := strictURL.DecodeString(text)
		if e != nil || len(raw) == 0 || strings.ContainsAny(text, "\r\n") {
			err = errors.New("has a number that is missing or not base64url")
		}
		return raw
	}
	switch {
	case m.Kty == "oct":
		return jwk{}, false, errors.New("is symmetric; a set is for public keys, give a shared secret as a secret")
	case m.Kty == "RSA":
		n, e := part(m.N), part(m.E)
		if err == nil {
			k.family = rsaFamily
			k.rsa, err = makeRSA(n, e)
		}
	case m.Kty == "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[m.Crv]
		if curve == nil {
			return jwk{}, false, nil
		}
		x, y := part(m.X), part(m.Y)
		if err == nil {
			point := append(append([]byte{4}, x...), y...)
			if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
				err = errors.New("has a coordinate of the wrong length")
			} else if k.ecdsa, err = ecdsa.ParseUncompressedPublicKey(curve, point); err != nil {
				err = errors.New("is not a point of its curve")
			} else {
				k.family = curveFamily(curve)
			}
		}
	case m.Kty == "OKP" && m.Crv == "Ed25519":
		x := part(m.X)
		if err == nil {
			k.family, k.ed25519 = edFamily, x
			err = checkPublicKey(x)
		}
	default:
		return jwk{}, false, nil
	}
	if err != nil {
		return jwk{}, false, err
	}
	// Of an algorithm that is not known, or that takes another kind of key, nothing can be verified.
	if a, ok := jwtAlgorithms[k.alg]; k.alg != "" && (!ok || a.family != k.family) {
		return jwk{}, false, nil
	}
	return k, true, nil
}

func curveFamily(c elliptic.Curve) jwtFamily {
	switch c {
	case elliptic.P256():
		return p256Family
	case elliptic.P384():
		return p384Family
	case elliptic.P521():
		return p521Family
	default:
		return 0
	}
}

// makeRSA makes a public key of its numbers, both big-endian.
func makeRSA(n, e []byte) (*rsa.PublicKey, error) {
	e = bytes.TrimLeft(e, "\x00")
	if len(e) > 4 {
		return nil, errors.New("has an RSA exponent that is too large")
	}
	exponent := 0
	for _, b := range e {
		exponent = exponent<<8 | int(b)
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exponent}
	return k, checkRSA(k)
}

// checkRSA refuses keys that are too weak, or so large that a check takes long.
func checkRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("is an RSA key of %d bits, which is too weak; have the sender use %d or more", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("is an RSA key of %d bits; %d are the most", bits, maxRSABits)
	case k.N.Bit(0) == 0 || k.E < 3 || k.E&1 == 0 || k.E > 1<<31-1:
		return errors.New("is not an RSA key")
	}
	return nil
}

// publicJWK makes a key of a public key of the standard library.
func publicJWK(public any) (jwk, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		return jwk{family: rsaFamily, rsa: p}, checkRSA(p)
	case *ecdsa.PublicKey:
		if f := curveFamily(p.Curve); f != 0 {
			return jwk{family: f, ecdsa: p}, nil
		}
	case ed25519.PublicKey:
		return jwk{family: edFamily, ed25519: p}, checkPublicKey(p)
	}
	return jwk{}, errors.New("is a public key of a kind that is not supported")
}

// pemPublic reads one public key, or the key of one certificate, in PEM.
func pemPublic(text string) (any, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("is not one public key in PEM (-----BEGIN PUBLIC KEY-----); copy it again, first and last line included")
	}
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		if strings.Contains(block.Type, "PRIVATE") {
			return nil, errors.New("is a private key; a receiver holds the public key")
		}
		return nil, errors.New("is PEM of another kind than a public key or a certificate")
	}
	if err != nil {
		return nil, errors.New("is damaged PEM; copy it again, first and last line included")
	}
	return public, nil
}
