package hookgate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

// A value sealed by sealVersion is the version, four bytes that name the key, a random nonce, and the ciphertext with its tag.
const (
	sealVersion = 1
	sealHead    = 1 + 4
	sealNonce   = 12
	sealTag     = 16
)

var (
	errOtherKey = errors.New("it was sealed with another key: put the old " + keyFile + " back, or its lines below those of the new one")
	errSealed   = errors.New("the sealed value is damaged, or belongs somewhere else")
)

// keeperError says that whoever keeps the key did not open a value, this time or for good.
type keeperError struct{ err error }

func (e *keeperError) Error() string { return e.err.Error() }
func (e *keeperError) Unwrap() error { return e.err }

// mayComeBack reports whether what could not be opened may be opened later, such as when a KMS can be reached again.
func mayComeBack(err error) bool {
	return errors.As(err, new(*keeperError)) && !errors.Is(err, errOtherKey) && !errors.Is(err, errSealed)
}

// aesSealer seals with AES-256-GCM and a key of secrets.key. It wraps data keys, and opens what was sealed with the key itself:
// before there were data keys, everything was. Nonces are random: with one key for the secrets of a gateway, 2^32 values would have to
// be sealed before two nonces are likely to be the same.
type aesSealer struct {
	aead cipher.AEAD
	head [sealHead]byte
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func newAESSealer(key []byte) (*aesSealer, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	s := &aesSealer{aead: aead}
	sum := sha256.Sum256(append([]byte("hookgate key id "), key...))
	s.head[0] = sealVersion
	copy(s.head[1:], sum[:])
	return s, nil
}

// Seal encrypts plain and binds it to the context.
func (s *aesSealer) Seal(plain []byte, context string) ([]byte, error) {
	out := make([]byte, sealHead+sealNonce, sealHead+sealNonce+len(plain)+sealTag)
	copy(out, s.head[:])
	if _, err := rand.Read(out[sealHead:]); err != nil {
		return nil, err
	}
	return s.aead.Seal(out, out[sealHead:], plain, s.bound(context)), nil
}

// Open decrypts what Seal made for the same context.
func (s *aesSealer) Open(sealed []byte, context string) ([]byte, error) {
	switch {
	case len(sealed) < sealHead+sealNonce+sealTag || sealed[0] != sealVersion:
		return nil, errSealed
	case s.otherKey(sealed):
		return nil, errOtherKey
	}
	plain, err := s.aead.Open(nil, sealed[sealHead:sealHead+sealNonce], sealed[sealHead+sealNonce:], s.bound(context))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// bound is what a sealed value is bound to: its head and where it belongs.
func (s *aesSealer) bound(context string) []byte {
	return append(s.head[:len(s.head):len(s.head)], context...)
}

func (s *aesSealer) otherKey(sealed []byte) bool {
	return len(sealed) >= sealHead && sealed[0] == sealVersion && string(sealed[1:sealHead]) != string(s.head[1:])
}

// String keeps the key out of anything that is printed.
func (s *aesSealer) String() string { return "the sealer of " + keyFile }

// GoString is String.
func (s *aesSealer) GoString() string { return s.String() }
