package hookgate

import (
	"encoding/binary"
	"math/bits"
)

// The hash says whether two events say the same, and which endpoints an event was matched against. It is stored, so it must
// give the same answer in every release and on every machine. It is fast, eight bytes a multiplication, and no
// protection against somebody who looks for collisions: all that one could gain is that a repeat of his own key with
// other content is taken for a repeat.
const (
	hashSeed  = 0x8f1bbcdc5a827999
	hashLeft  = 0xca62c1d66ed9eba1
	hashRight = 0xb5c0fbcfec4d3b2f
)

// mix folds the product of 128 bits, in which every bit of both sides has a say.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^hashLeft, b^hashRight)
	return hi ^ lo ^ a
}

// hashBytes continues h with b and its length.
func hashBytes(h uint64, b []byte) uint64 {
	n := len(b)
	for len(b) >= 16 {
		h = mix(h^binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
		b = b[16:]
	}
	if len(b) > 0 {
		var rest [16]byte
		copy(rest[:], b)
		h = mix(h^binary.LittleEndian.Uint64(rest[:]), binary.LittleEndian.Uint64(rest[8:]))
	}
	return mix(h, uint64(n))
}

// hashString is hashBytes for a string.
func hashString(h uint64, s string) uint64 {
	n := len(s)
	for len(s) > 0 {
		var part [16]byte
		s = s[copy(part[:], s):]
		h = mix(h^binary.LittleEndian.Uint64(part[:]), binary.LittleEndian.Uint64(part[8:]))
	}
	return mix(h, uint64(n))
}

// hashMap continues h with pairs whose order means nothing.
func hashMap(h uint64, m map[string]string) uint64 {
	sum := uint64(len(m))
	for k, v := range m {
		sum += hashString(hashString(hashSeed, k), v)
	}
	return mix(h, sum)
}

// fingerprint is a hash of what an event says: the same idempotency key with another fingerprint is a conflict.
func fingerprint(ev *Event) uint64 {
	h := hashString(hashSeed, ev.Type)
	h = hashString(h, ev.ContentType)
	h = hashString(h, ev.OrderingKey)
	h = hashMap(h, ev.Labels)
	sum := uint64(len(ev.Header))
	for k, values := range ev.Header {
		one := hashString(hashSeed, k)
		for _, v := range values {
			one = hashString(one, v)
		}
		sum += one
	}
	return hashBytes(mix(h, sum), ev.Payload)
}
