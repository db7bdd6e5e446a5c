package hookgate

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// KeyProvider wraps and unwraps the keys that secrets are sealed with: the door to a key management service (KMS), whose
// own key never comes here. Set Config.KeyProvider to use one in the place of secrets.key.
//
// It is asked rarely. A data key seals up to 1,024 values in up to an hour, and unwrapped ones are kept in memory. A call
// has 5 seconds, whether it heeds its context or not. While it fails, secrets that are not open already cannot be used:
// deliveries that need them wait and are tried again without counting an attempt, and changes of secrets are errors.
//
// A KeyProvider must be safe for concurrent use, and must not keep or change what it is given. Its errors are logged and
// stored with attempts, so they must hold no secret.
type KeyProvider interface {
	// KeyID names the key that new values are to be sealed under now, such as the name and version of a key at the KMS. It
	// is called for every value that is sealed, so it must be fast. It is stored in clear beside the value, has 1 to 255
	// bytes, and does not begin with "file:".
	KeyID() string
	// Wrap encrypts a data key of 32 bytes under the named key. What it answers is stored, and has at most 4,096 bytes.
	Wrap(ctx context.Context, keyID string, dataKey []byte) ([]byte, error)
	// Unwrap is the way back. It has to know every key that something may still be sealed under; RewrapSecrets sees to it
	// that old ones can go.
	Unwrap(ctx context.Context, keyID string, wrapped []byte) ([]byte, error)
}

// How data keys are used.
const (
	dataKeyValues   = 1024            // sealed with one; far from where random nonces meet
	dataKeyTime     = time.Hour       // until another one seals
	maxDataKeys     = 1024            // unwrapped ones that are kept
	maxKeyID        = 255             // its length is one byte
	maxWrapped      = 4096            // of a wrapped data key
	providerTimeout = 5 * time.Second // for a call of a KeyProvider
	providerPause   = time.Second     // after a failure, until the next call for the same key
)

var errProviderTimeout = fmt.Errorf("the key provider did not answer within %v: see whether it can be reached; nothing is lost", providerTimeout)

// A value sealed by envelopeVersion: the version, the length of the key's ID (1 byte) and the ID, the length of the wrapped
// data key (2 bytes, big endian) and that, which is the head; then a nonce, and the ciphertext with its tag. The head and
// the context are authenticated with the value.
const envelopeVersion = 2

// envelopeSealer seals with AES-256-GCM under data keys that a KeyProvider wraps.
type envelopeSealer struct {
	keys KeyProvider
	file *fileKeys // opens what secrets.key sealed; nil: there is none

	mu      sync.Mutex
	current *dataKey            // seals
	open    map[string]*dataKey // by head
	heads   []string            // of open, in the order in which they came
	next    int                 // the place in heads that is used next when all are taken
}

// dataKey is a data key, or one that the provider is asked for.
type dataKey struct {
	keyID string
	began time.Time
	ready chan struct{} // closed when the rest is there

	head  []byte
	aead  cipher.AEAD
	err   error
	ended time.Time

	left int // values that it may still seal; the sealer's mu is held
}

func newEnvelopeSealer(p KeyProvider, file *fileKeys) *envelopeSealer {
	return &envelopeSealer{keys: p, file: file, open: make(map[string]*dataKey)}
}

// String keeps keys out of anything that is printed.
func (s *envelopeSealer) String() string { return "the sealer of the key provider" }

// GoString is String.
func (s *envelopeSealer) GoString() string { return s.String() }

// Seal encrypts plain and binds it to the key and the context.
func (s *envelopeSealer) Seal(plain []byte, context string) ([]byte, error) {
	k, err := s.sealing()
	if err != nil {
		return nil, err
	}
	n := len(k.head)
	out := make([]byte, n+sealNonce, n+sealNonce+len(plain)+sealTag)
	copy(out, k.head)
	if _, err := rand.Read(out[n:]); err != nil {
		return nil, err
	}
	return k.aead.Seal(out, out[n:], plain, k.bound(context)), nil
}

// Open decrypts what Seal made for the same context, or what secrets.key sealed before.
func (s *envelopeSealer) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) > 0 && sealed[0] == sealVersion {
		if s.file == nil {
			return nil, errOtherKey
		}
		return s.file.open(sealed, context)
	}
	head, keyID, wrapped, ok := splitEnvelope(sealed)
	if !ok {
		return nil, errSealed
	}
	k, err := s.unwrapped(head, keyID, wrapped)
	if err != nil {
		return nil, err
	}
	rest := sealed[len(head):]
	plain, err := k.aead.Open(nil, rest[:sealNonce], rest[sealNonce:], k.bound(context))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

func (k *dataKey) bound(context string) []byte {
	return append(k.head[:len(k.head):len(k.head)], context...)
}

// Current reports whether a value is sealed under the key that seals now.
func (s *envelopeSealer) Current(sealed []byte) bool {
	_, keyID, _, ok := splitEnvelope(sealed)
	return ok && keyID == s.keys.KeyID()
}

// otherKey reports whether a value was sealed with a key of a secrets.key that is not here.
func (s *envelopeSealer) otherKey(sealed []byte) bool {
	if len(sealed) > 0 && sealed[0] == sealVersion {
		return s.file == nil || s.file.sealedBy(sealed) == nil
	}
	_, keyID, _, ok := splitEnvelope(sealed)
	return ok && strings.HasPrefix(keyID, fileKeyID) && (s.file == nil || s.file.key(keyID) == nil)
}

// splitEnvelope takes a sealed value apart.
func splitEnvelope(sealed []byte) (head []byte, keyID string, wrapped []byte, ok bool) {
	if len(sealed) < 2 || sealed[0] != envelopeVersion {
		return nil, "", nil, false
	}
	n := 2 + int(sealed[1])
	if n == 2 || len(sealed) < n+2 {
		return nil, "", nil, false
	}
	end := n + 2 + int(binary.BigEndian.Uint16(sealed[n:]))
	if end == n+2 || end > n+2+maxWrapped || len(sealed) < end+sealNonce+sealTag {
		return nil, "", nil, false
	}
	return sealed[:end], string(sealed[2:n]), sealed[n+2 : end], true
}

func envelopeHead(keyID string, wrapped []byte) []byte {
	head := append([]byte{envelopeVersion, byte(len(keyID))}, keyID...)
	head = binary.BigEndian.AppendUint16(head, uint16(len(wrapped)))
	return append(head, wrapped...)
}

func checkKeyID(p KeyProvider, id string) error {
	_, ours := p.(*fileKeys)
	switch {
	case id == "" || len(id) > maxKeyID:
		return configError("Config.KeyProvider", "its KeyID has %d bytes: it needs 1 to %d", len(id), maxKeyID)
	case !ours && strings.HasPrefix(id, fileKeyID):
		return configError("Config.KeyProvider", "its KeyID begins with %s, which stands for %s: take another", fileKeyID, keyFile)
	}
	return nil
}

// sealing answers the data key to seal a value with.
func (s *envelopeSealer) sealing() (*dataKey, error) {
	id := s.keys.KeyID()
	if err := checkKeyID(s.keys, id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	k := s.current
	if k == nil || k.keyID != id || k.left == 0 || k.over() {
		k = &dataKey{keyID: id, began: time.Now(), ready: make(chan struct{}), left: dataKeyValues}
		s.current = k
		s.ask(k, func() { s.make(k) })
	}
	k.left--
	s.mu.Unlock()
	return k, k.wait()
}

// make fills in a new data key. It is not used before it was seen to come back.
func (s *envelopeSealer) make(k *dataKey) {
	key := make([]byte, keySize)
	defer clear(key)
	if _, err := rand.Read(key); err != nil {
		k.err = err
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), providerTimeout)
	defer cancel()
	wrapped, err := s.keys.Wrap(ctx, k.keyID, key)
	switch {
	case err != nil:
		k.err = providerError("wrap", k.keyID, err)
		return
	case len(wrapped) == 0 || len(wrapped) > maxWrapped:
		k.err = fmt.Errorf("the key provider's wrapped key has %d bytes: it needs 1 to %d", len(wrapped), maxWrapped)
		return
	}
	back, err := s.keys.Unwrap(ctx, k.keyID, wrapped)
	switch {
	case err != nil:
		k.err = providerError("unwrap", k.keyID, err)
	case subtle.ConstantTimeCompare(back, key) != 1:
		k.err = fmt.Errorf("the key provider does not unwrap what it wrapped (key %s): nothing is sealed with it", cleanText(k.keyID, 100))
	default:
		k.aead, k.err = newGCM(key)
		k.head = envelopeHead(k.keyID, wrapped)
		s.mu.Lock()
		s.remember(k)
		s.mu.Unlock()
	}
}

// unwrapped answers the data key of a sealed value.
func (s *envelopeSealer) unwrapped(head []byte, keyID string, wrapped []byte) (*dataKey, error) {
	from := s.keys
	if strings.HasPrefix(keyID, fileKeyID) {
		if s.file == nil || s.file.key(keyID) == nil {
			return nil, errOtherKey
		}
		from = s.file
	}
	s.mu.Lock()
	k := s.open[string(head)]
	if k == nil || k.failed() && k.over() {
		k = &dataKey{keyID: keyID, began: time.Now(), ready: make(chan struct{}), head: append([]byte(nil), head...)}
		s.remember(k)
		wrapped = append([]byte(nil), wrapped...)
		s.ask(k, func() { k.unwrap(from, wrapped) })
	}
	s.mu.Unlock()
	return k, k.wait()
}

func (k *dataKey) unwrap(from KeyProvider, wrapped []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), providerTimeout)
	defer cancel()
	key, err := from.Unwrap(ctx, k.keyID, wrapped) // perhaps a copy that the provider keeps: it is not wiped
	switch {
	case err != nil:
		k.err = providerError("unwrap", k.keyID, err)
	case len(key) != keySize:
		k.err = fmt.Errorf("the key provider unwrapped a key of %d bytes, not %d (key %s)", len(key), keySize, cleanText(k.keyID, 100))
	default:
		k.aead, k.err = newGCM(key)
	}
}

func providerError(what, keyID string, err error) error {
	if errors.Is(err, errOtherKey) || errors.Is(err, errSealed) {
		return err
	}
	return fmt.Errorf("the key provider could not %s a data key (key %s): %w", what, cleanText(keyID, 100), err)
}

// remember keeps a data key, in the place of the oldest if there are as many as there may be; mu is held.
func (s *envelopeSealer) remember(k *dataKey) {
	head := string(k.head)
	if s.open[head] == nil {
		if len(s.heads) < maxDataKeys {
			s.heads = append(s.heads, head)
		} else {
			delete(s.open, s.heads[s.next])
			s.heads[s.next] = head
			s.next = (s.next + 1) % maxDataKeys
		}
	}
	s.open[head] = k
}

// ask has a data key filled in, and its ready closed in the end; mu is held. A provider that does not return keeps its
// goroutine, and nobody asks it again for the same key until it does.
func (s *envelopeSealer) ask(k *dataKey, fill func()) {
	go func() { // ends with the provider's answer
		defer close(k.ready)
		defer func() {
			if p := recover(); p != nil {
				k.err = fmt.Errorf("the key provider panicked: %v", p)
			} else if k.aead == nil && k.err == nil {
				k.err = errors.New("the key provider ended its goroutine (runtime.Goexit)")
			}
			k.ended = time.Now()
		}()
		fill()
	}()
}

// wait waits for the key to be filled in, but no longer than a provider has for that.
func (k *dataKey) wait() error {
	select {
	case <-k.ready:
		return k.err
	default:
	}
	limit := time.NewTimer(providerTimeout - time.Since(k.began))
	defer limit.Stop()
	select {
	case <-k.ready:
		return k.err
	case <-limit.C:
		return errProviderTimeout
	}
}

func (k *dataKey) isReady() bool {
	select {
	case <-k.ready:
		return true
	default:
		return false
	}
}

func (k *dataKey) failed() bool { return k.isReady() && k.err != nil }

// over reports whether a key should not be used any more: it has sealed for long enough, or it failed and the pause is over.
func (k *dataKey) over() bool {
	if k.failed() {
		return time.Since(k.ended) >= providerPause
	}
	return k.isReady() && time.Since(k.ended) >= dataKeyTime
}
