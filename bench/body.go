package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"
	"time"
)

// The payload of every event is 1 KiB of JSON. Three of its members stand at fixed places, so that the receiver reads them
// without parsing: a serial number, the moment of publishing (Unix nanoseconds; one machine, one clock), and a key.
const (
	payloadSize = 1 << 10

	payloadHead = `{"n":"0000000000000000000","at":"0000000000000000000","key":"00000","type":"invoice.paid","data":"`
	payloadTail = `"}`
	offsetN     = 6
	offsetAt    = 33
	offsetKey   = 61
	digitsLong  = 19
	digitsKey   = 5
)

var payloadTemplate = func() []byte {
	b := append(make([]byte, 0, payloadSize), payloadHead...)
	for len(b) < payloadSize-len(payloadTail) {
		b = append(b, "The quick brown fox jumps over the lazy dog. "[len(b)%45])
	}
	return append(b, payloadTail...)
}()

// newPayload makes a payload of its own for one event.
func newPayload(n uint64, key int) []byte {
	b := make([]byte, payloadSize)
	copy(b, payloadTemplate)
	putDigits(b[offsetN:offsetN+digitsLong], n)
	putDigits(b[offsetKey:offsetKey+digitsKey], uint64(key))
	return b
}

// stamp notes in the payload that it is published now.
func stamp(b []byte, now time.Time) {
	putDigits(b[offsetAt:offsetAt+digitsLong], uint64(now.UnixNano()))
}

func putDigits(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

var errPayload = errors.New("the body is not a payload of this program")

func readDigits(b []byte) (uint64, error) {
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, errPayload
		}
		v = v*10 + uint64(c-'0')
	}
	return v, nil
}

// readPayload gives back what newPayload and stamp wrote.
func readPayload(b []byte) (n, at, key uint64, err error) {
	if len(b) < len(payloadHead) {
		return 0, 0, 0, errPayload
	}
	var errs [3]error
	n, errs[0] = readDigits(b[offsetN : offsetN+digitsLong])
	at, errs[1] = readDigits(b[offsetAt : offsetAt+digitsLong])
	key, errs[2] = readDigits(b[offsetKey : offsetKey+digitsKey])
	return n, at, key, errors.Join(errs[:]...)
}

// standardSigner makes the signature of the Standard Webhooks scheme with as little work as there can be. It is for one
// goroutine.
type standardSigner struct {
	mac hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

func newStandardSigner() *standardSigner {
	key := sha256.Sum256([]byte("a key for the bare loop"))
	return &standardSigner{mac: hmac.New(sha256.New, key[:])}
}

func (s *standardSigner) sign(id string, at time.Time, body []byte) (timestamp, signature string) {
	s.buf = strconv.AppendInt(s.buf[:0], at.Unix(), 10)
	timestamp = string(s.buf)
	s.buf = append(append(append(append(s.buf[:0], id...), '.'), timestamp...), '.')
	s.mac.Reset()
	s.mac.Write(s.buf)
	s.mac.Write(body)
	s.buf = append(s.buf[:0], "v1,"...)
	return timestamp, string(base64.StdEncoding.AppendEncode(s.buf, s.mac.Sum(s.sum[:0])))
}
