package signing

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"errors"
	"hash"
	"slices"
	"sync"
)

// macKey is an HMAC key as the two hash states that every HMAC with it begins with: after the inner and after the outer
// pad. Starting from them saves two of the hash's blocks for each message, and all keys share one pool of hashes, so that
// ten thousand keys cost ten thousand times 200 bytes and nothing else.
type macKey struct {
	kind   *hashKind
	states []byte // the inner one, then the outer one, of the same length
}

// hashKind is a hash function with its pool.
type hashKind struct {
	make        func() hash.Hash
	size, block int
	pool        sync.Pool
}

var (
	kindSHA1   = &hashKind{make: sha1.New, size: sha1.Size, block: sha1.BlockSize}
	kindSHA256 = &hashKind{make: sha256.New, size: sha256.Size, block: sha256.BlockSize}
	kindSHA512 = &hashKind{make: sha512.New, size: sha512.Size, block: sha512.BlockSize}
)

// hasher is a hash at work, with room for its sum, so that nothing has to be allocated.
type hasher struct {
	hash.Hash
	state encoding.BinaryUnmarshaler
	room  [sha512.Size]byte
}

func (k *hashKind) get() *hasher {
	if h, ok := k.pool.Get().(*hasher); ok {
		return h
	}
	h := k.make()
	state, _ := h.(encoding.BinaryUnmarshaler) // newMACKey has seen that it is one
	return &hasher{Hash: h, state: state}
}

func (k *hashKind) put(h *hasher) { k.pool.Put(h) }

func newMACKey(k *hashKind, key []byte) (*macKey, error) {
	h := k.make()
	if len(key) > k.block {
		_, _ = h.Write(key)
		key = h.Sum(nil)
	}
	m := &macKey{kind: k}
	for _, pad := range []byte{0x36, 0x5c} {
		block := make([]byte, k.block)
		copy(block, key)
		for i := range block {
			block[i] ^= pad
		}
		h.Reset()
		_, _ = h.Write(block)
		saver, ok := h.(encoding.BinaryMarshaler)
		if _, restores := h.(encoding.BinaryUnmarshaler); !ok || !restores {
			return nil, errors.New("the hash function of this build cannot save its state")
		}
		state, err := saver.MarshalBinary()
		if err != nil {
			return nil, err
		}
		m.states = append(slices.Grow(m.states, 2*len(state)-len(m.states)), state...)
	}
	return m, nil
}

// begin makes h ready for the message. A failure cannot happen with a state that the same hash saved; should it, the
// answer is false and the caller refuses.
func (m *macKey) begin(h *hasher) bool {
	return h.state.UnmarshalBinary(m.states[:len(m.states)/2]) == nil
}

// end gives the HMAC of what was written since begin, valid until the hasher is used again; nil on failure.
func (m *macKey) end(h *hasher) []byte {
	inner := h.Sum(h.room[:0])
	if h.state.UnmarshalBinary(m.states[len(m.states)/2:]) != nil {
		return nil
	}
	_, _ = h.Write(inner)
	return h.Sum(h.room[:0])
}
