package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// The prefixes of Standard Webhooks secrets.
const (
	prefixHMAC    = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

// The lengths of Standard Webhooks HMAC keys, in bytes.
const (
	minStandardKey = 24
	maxStandardKey = 64
)

// key is one secret made ready for one algorithm.
type key struct {
	index     int // of the secret
	algorithm Algorithm
	mac       *macKey
	public    ed25519.PublicKey
	curve     *ecdsa.PublicKey
	token     [sha256.Size]byte // hashed, so that the comparison does not show its length
	text      Secret            // for SecretText
}

// kind gives the hash of an HMAC; nil for the others.
func (a Algorithm) kind() *hashKind {
	switch a {
	case HMACSHA256:
		return kindSHA256
	case HMACSHA1:
		return kindSHA1
	case HMACSHA512:
		return kindSHA512
	default:
		return nil
	}
}

// size says how many bytes a signature has, at least and at most.
func (a Algorithm) size() (shortest, longest int) {
	switch a {
	case Ed25519:
		return ed25519.SignatureSize, ed25519.SignatureSize
	case ECDSAP256:
		return 8, 72
	}
	if kind := a.kind(); kind != nil {
		return kind.size, kind.size
	}
	return sha256.Size, sha256.Size
}

// makeKeys makes a secret ready for each algorithm that the scheme has for it.
func (s *Scheme) makeKeys(index int, secret Secret) ([]key, error) {
	if secret.IsZero() {
		return nil, errors.New("is empty; put in the secret that the provider shows")
	}
	text := secret.Reveal()
	if strings.TrimSpace(text) != text {
		return nil, errors.New("begins or ends with white space, perhaps the newline of a file; trim it")
	}
	raw, only, err := s.decodeSecret(text)
	if err != nil {
		return nil, err
	}
	var keys []key
	seen := make(map[Algorithm]bool)
	for _, tag := range s.Tags {
		a := tag.Algorithm
		if seen[a] || (only != 0 && only != a) {
			continue
		}
		seen[a] = true
		k, err := makeKey(a, raw, text, s.minSecret(text))
		if err != nil {
			return nil, err
		}
		k.index = index
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("is of a kind that this scheme has no use for")
	}
	return keys, nil
}

func (s *Scheme) minSecret(text string) int {
	switch {
	case s.MinSecret > 0:
		return s.MinSecret
	case s.Secret == StandardSecret || s.Secret == TailSecret || (s.Secret == StandardOrText && strings.HasPrefix(text, prefixHMAC)):
		return minStandardKey
	case s.Secret == TextSecret || s.Secret == SHA1Secret || s.Secret == StandardOrText:
		return 8
	default:
		return 16
	}
}

// decodeSecret gives the bytes of the key and, where the text says so, the only algorithm that it is for.
func (s *Scheme) decodeSecret(text string) (raw []byte, only Algorithm, err error) {
	switch s.Secret {
	case HexSecret:
		raw, err = hex.DecodeString(text)
		if err != nil {
			return nil, 0, errors.New("is not hexadecimal; copy it again from the provider")
		}
		return raw, 0, nil
	case Base64Secret:
		raw, err = decodeBase64(text)
		return raw, 0, err
	case StandardSecret:
		switch {
		case strings.HasPrefix(text, prefixPrivate):
			return nil, 0, errors.New("is a private key (whsk_); a receiver holds the public key (whpk_), see PublicKey")
		case strings.HasPrefix(text, prefixPublic):
			raw, err = decodeBase64(text[len(prefixPublic):])
			return raw, Ed25519, err
		default:
			// Supabase shows its secrets as "v1,whsec_...".
			raw, err = decodeBase64(strings.TrimPrefix(strings.TrimPrefix(text, "v1,"+prefixHMAC), prefixHMAC))
			return raw, HMACSHA256, err
		}
	case StandardOrText:
		if rest, ok := strings.CutPrefix(text, prefixHMAC); ok {
			raw, err = decodeBase64(rest)
			return raw, 0, err
		}
		return []byte(text), 0, nil
	case TailSecret:
		raw, err = decodeBase64(text[strings.LastIndexByte(text, '_')+1:])
		return raw, 0, err
	case SHA1Secret:
		sum := sha1.Sum([]byte(text))
		return sum[:], 0, nil
	default:
		return []byte(text), 0, nil
	}
}

func makeKey(a Algorithm, raw []byte, text string, shortest int) (key, error) {
	k := key{algorithm: a, text: NewSecret(text)}
	var err error
	switch a {
	case Ed25519:
		if err := checkPublicKey(raw); err != nil {
			return key{}, err
		}
		k.public = bytes.Clone(raw)
		return k, nil
	case ECDSAP256:
		parsed, err := x509.ParsePKIXPublicKey(raw)
		if err != nil {
			return key{}, errors.New("is not a public key (SubjectPublicKeyInfo); copy it again from the provider")
		}
		pub, ok := parsed.(*ecdsa.PublicKey)
		if !ok || pub.Curve != elliptic.P256() {
			return key{}, errors.New("is a public key of another kind than ECDSA P-256")
		}
		k.curve = pub
		return k, nil
	}
	if len(raw) < shortest {
		return key{}, fmt.Errorf("is too short: it has %d bytes and must have %d or more; have the provider make a new one", len(raw), shortest)
	}
	switch a {
	case Token:
		k.token = sha256.Sum256(raw)
	default:
		if kind := a.kind(); kind != nil {
			k.mac, err = newMACKey(kind, raw)
		}
	}
	return k, err
}

// decodeBase64 reads standard base64 with padding, strictly.
func decodeBase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("is not base64; copy it again from the provider, all of it")
	}
	return raw, nil
}

// fieldPrime is 2^255 - 19, curveD the d of edwards25519.
var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD     = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)
		d.Mul(d, big.NewInt(-121665))
		return d.Mod(d, fieldPrime)
	}()
)

// checkPublicKey refuses what is no Ed25519 public key, and the keys of small order: under those, anybody can make
// signatures that verify.
func checkPublicKey(raw []byte) error {
	if len(raw) != ed25519.PublicKeySize {
		return fmt.Errorf("has %d bytes, an Ed25519 public key has %d", len(raw), ed25519.PublicKeySize)
	}
	// The key is y, little-endian, with the sign of x in the top bit. x^2 = (y^2-1) / (d*y^2+1) must have a root.
	le := bytes.Clone(raw)
	le[31] &= 0x7f
	for i, j := 0, len(le)-1; i < j; i, j = i+1, j-1 {
		le[i], le[j] = le[j], le[i]
	}
	y := new(big.Int).SetBytes(le)
	if y.Cmp(fieldPrime) >= 0 {
		return errors.New("is not an Ed25519 public key; copy it again from the provider")
	}
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, big.NewInt(1))
	v := new(big.Int).Mul(yy, curveD)
	v.Add(v, big.NewInt(1))
	xx := u.Mul(u, v.ModInverse(v.Mod(v, fieldPrime), fieldPrime)) // v is never 0: -1/d is not a square
	if big.Jacobi(xx.Mod(xx, fieldPrime), fieldPrime) < 0 {
		return errors.New("is not an Ed25519 public key; copy it again from the provider")
	}
	if smallOrder(xx, yy) {
		return errors.New("is a weak public key, under which anybody can sign; do not use it")
	}
	return nil
}

// smallOrder reports whether a point of edwards25519, given by the squares of its coordinates, has an order that divides
// eight. Doubling a point of order eight twice gives one with x = 0; order four has y = 0, and order two and one x = 0.
func smallOrder(xx, yy *big.Int) bool {
	if xx.Sign() == 0 || new(big.Int).Mod(yy, fieldPrime).Sign() == 0 {
		return true
	}
	// The double of (x, y) has y' = (y^2 + x^2) / (1 - d*x^2*y^2). It is of order four if that is 0.
	sum := new(big.Int).Add(xx, yy)
	return sum.Mod(sum, fieldPrime).Sign() == 0
}
