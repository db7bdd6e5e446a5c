package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// keyMaking is how the signer of a row comes by its keys.
type keyMaking struct {
	s       *Scheme
	prefix  string // of a new text
	private bool   // the secret is an Ed25519 key
}

func newKeyMaking(s *Scheme) (keyMaking, error) {
	k := keyMaking{s: s}
	public, shared := 0, 0
	for _, t := range s.Tags {
		switch a := t.Algorithm; {
		case a == Ed25519:
			public++
		case a == SHA256 || a.kind() != nil:
			shared++
		case a == Token:
			return k, rowError("Algorithm", "a Token is no signature: let the endpoint have it as a header of its own")
		case a == ECDSAP256:
			return k, rowError("Algorithm", "ECDSAP256 verifies only; sign with Ed25519 or an HMAC")
		default:
			return k, rowError("Algorithm", "a signer cannot use it")
		}
	}
	switch {
	case s.Secret == StandardSecret:
	case public > 0 && shared > 0:
		return k, rowError("Tags", "one secret cannot be a key for Ed25519 and for an HMAC, unless it is a StandardSecret")
	case public > 0 && s.Secret != HexSecret && s.Secret != Base64Secret:
		return k, rowError("Secret", "must be HexSecret, Base64Secret or StandardSecret to sign with Ed25519")
	default:
		k.private = public > 0
	}
	if _, err := k.make(k.fresh()); err != nil {
		return k, rowError("Secret", "a signer cannot make one: a fresh one %v", err)
	}
	return k, nil
}

// signKey is a key that signs for one algorithm.
type signKey struct {
	key
	private ed25519.PrivateKey
}

// rowSecret is a secret made ready for the signer of a row.
type rowSecret struct {
	owner *rowSigner
	keys  []signKey
	err   error
}

// key gives the key for an algorithm; nil if the secret is for another.
func (s *rowSecret) key(a Algorithm) *signKey {
	for i := range s.keys {
		if s.keys[i].algorithm == a {
			return &s.keys[i]
		}
	}
	return nil
}

// ready gives the keys of a secret. They are made once, as long as the secret is used by one signer.
func (r *rowSigner) ready(s Secret) *rowSecret {
	if s.p == nil {
		return &rowSecret{err: errors.New("is empty; make one with NewSecret")}
	}
	p := *s.p
	if k := p.row.Load(); k != nil && k.owner == r {
		return k
	}
	k := &rowSecret{owner: r}
	k.keys, k.err = r.keys.make(s)
	p.row.Store(k)
	return k
}

// make decodes a secret as strictly as the row's verifier does.
func (m *keyMaking) make(s Secret) ([]signKey, error) {
	if m.s.Secret == StandardSecret {
		ready := s.signer()
		if ready.err != nil {
			return nil, ready.err
		}
		k := signKey{key: key{algorithm: HMACSHA256, mac: &ready.mac}}
		if ready.private != nil {
			k = signKey{key: key{algorithm: Ed25519}, private: ready.private}
		}
		for _, t := range m.s.Tags {
			if t.Algorithm == k.algorithm {
				return []signKey{k}, nil
			}
		}
		return nil, errors.New("is of a kind that this scheme has no use for")
	}
	if m.private {
		return m.makePrivate(s.Reveal())
	}
	keys, err := m.s.makeKeys(0, s)
	if err != nil {
		return nil, err
	}
	out := make([]signKey, len(keys))
	for i := range keys {
		out[i].key = keys[i]
	}
	return out, nil
}

// makePrivate reads an Ed25519 key: the seed, or the seed and the public key.
func (m *keyMaking) makePrivate(text string) ([]signKey, error) {
	if strings.TrimSpace(text) != text {
		return nil, errors.New("begins or ends with white space, perhaps the newline of a file; trim it")
	}
	raw, _, err := m.s.decodeSecret(text)
	if err != nil {
		return nil, err
	}
	if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("has %d bytes; an Ed25519 key has %d, or %d with its public key", len(raw), ed25519.SeedSize, ed25519.PrivateKeySize)
	}
	private := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	// As in decodePrivate: a public key that is not its own would give the seed away.
	if len(raw) == ed25519.PrivateKeySize && subtle.ConstantTimeCompare(private, raw) == 0 {
		return nil, errors.New("holds a public key that does not belong to its private one; copy it again, all of it")
	}
	return []signKey{{key: key{algorithm: Ed25519}, private: private}}, nil
}

// fresh makes a secret of the row's kind; the zero Secret for a kind that it does not know.
func (m *keyMaking) fresh() Secret {
	raw := make([]byte, max(32, m.s.MinSecret))
	_, _ = rand.Read(raw) // never fails
	if m.private {
		raw = ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	}
	switch m.s.Secret {
	case StandardSecret:
		for _, t := range m.s.Tags {
			if t.Algorithm == HMACSHA256 {
				return StandardWebhooks.NewSecret()
			}
		}
		return NewEd25519Secret()
	case StandardOrText, TailSecret:
		return StandardWebhooks.NewSecret()
	case HexSecret:
		return NewSecret(hex.EncodeToString(raw))
	case Base64Secret:
		return NewSecret(base64.StdEncoding.EncodeToString(raw))
	case TextSecret, SHA1Secret:
		return NewSecret(m.prefix + hex.EncodeToString(raw))
	default:
		return Secret{}
	}
}

// appendSignature signs the message whose short parts are in fields.
func (x *reading) appendSignature(out []byte, k *signKey, e Encoding) ([]byte, error) {
	body := x.r.Body
	switch {
	case k.private != nil:
		x.write(nil, &k.key, body)
		return e.append(out, ed25519.Sign(k.private, x.head)), nil
	case k.mac == nil: // SHA256
		h := kindSHA256.get()
		defer kindSHA256.put(h)
		h.Reset()
		x.write(h, &k.key, body)
		return e.append(out, h.Sum(h.room[:0])), nil
	}
	h := k.mac.kind.get()
	defer k.mac.kind.put(h)
	if !k.mac.begin(h) {
		return out, errors.New("the hash function of this build cannot restore its state")
	}
	x.write(h, &k.key, body)
	sum := k.mac.end(h)
	if len(sum) == 0 {
		return out, errors.New("the hash function of this build cannot restore its state")
	}
	return e.append(out, sum), nil
}

// append writes bytes in this encoding.
func (e Encoding) append(out, raw []byte) []byte {
	if e == Hex {
		return hex.AppendEncode(out, raw)
	}
	return e.base64().AppendEncode(out, raw)
}
