package kvstore

import (
	"encoding/binary"
	"errors"
	"time"
)

// enc appends values to a buffer in the store's own form: varints, and strings with their length in front.
type enc struct{ b []byte }

func (e *enc) u8(v byte)      { e.b = append(e.b, v) }
func (e *enc) uint(v uint64)  { e.b = binary.AppendUvarint(e.b, v) }
func (e *enc) int(v int64)    { e.b = binary.AppendVarint(e.b, v) }
func (e *enc) fix64(v uint64) { e.b = binary.LittleEndian.AppendUint64(e.b, v) }
func (e *enc) raw(v []byte)   { e.b = append(e.b, v...) }
func (e *enc) str(v string)   { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *enc) bytes(v []byte) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *enc) time(t time.Time) {
	if t.IsZero() {
		e.uint(0)
		return
	}
	e.uint(uint64(t.UnixNano()))
}

var errShort = errors.New("the record ends too early")

// dec reads what enc wrote. After a fault every read gives zero values and err says so; the caller asks once, at the end.
// Nothing is allocated for a length before the bytes are known to be there.
type dec struct {
	b   []byte
	err error
}

func (d *dec) fail() { d.b, d.err = nil, errShort }

func (d *dec) u8() byte {
	if len(d.b) < 1 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *dec) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *dec) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *dec) fix64() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

// raw gives the next n bytes without copying them.
func (d *dec) raw(n uint64) []byte {
	if uint64(len(d.b)) < n {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *dec) bytes() []byte { return d.raw(d.uint()) }
func (d *dec) str() string   { return string(d.bytes()) }

// count reads a number of things of which each takes at least min bytes.
func (d *dec) count(min int) int {
	n := d.uint()
	if n > uint64(len(d.b)/min) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *dec) time() time.Time {
	v := d.uint()
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(v))
}

// key building: big endian, so that bytes order as numbers do.

func key64(kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, n)
}

func keyRef(kind byte, r ref) []byte {
	b := make([]byte, 0, 17)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, r.seq)
	return binary.BigEndian.AppendUint64(b, r.n)
}

func refOf(key []byte) ref {
	return ref{binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:])}
}
