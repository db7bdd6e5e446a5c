package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// HeaderSize is how many bytes the caller leaves free at the start of a buffer for Append.
const HeaderSize = 48

// MaxBody is the longest body of a frame, in bytes.
const MaxBody = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameHeader is the part of a frame header that differs from frame to frame. The package doc has the layout.
type frameHeader struct {
	segment uint64
	seq     uint64
	lag     uint32
	flags   uint32
	back    int64
	length  int64
}

// synced is the last sequence number that was known to be on disk when the frame was written.
func (h *frameHeader) synced() uint64 {
	return h.seq - 1 - min(h.seq-1, uint64(h.lag))
}

// end is where the next frame starts, if this one starts at off.
func (h *frameHeader) end(off int64) int64 {
	return alignFrame(off + HeaderSize + h.length)
}

// alignFrame rounds up to the next place where a frame can start.
func alignFrame(off int64) int64 { return (off + 7) &^ 7 }

// putFrameHeader fills frame[:HeaderSize] for the body behind it. The length is taken from frame, not from h.
func putFrameHeader(frame []byte, marker uint64, h *frameHeader) {
	le := binary.LittleEndian
	le.PutUint64(frame[0:], marker)
	le.PutUint64(frame[8:], h.segment)
	le.PutUint64(frame[16:], h.seq)
	le.PutUint32(frame[24:], h.lag)
	le.PutUint32(frame[28:], h.flags)
	le.PutUint64(frame[32:], uint64(h.back))
	le.PutUint32(frame[40:], uint32(len(frame)-HeaderSize))
	sum := crc32.Update(0, castagnoli, frame[:44])
	le.PutUint32(frame[44:], crc32.Update(sum, castagnoli, frame[HeaderSize:]))
}

// headerSum is the checksum in a frame header.
func headerSum(b []byte) uint32 { return binary.LittleEndian.Uint32(b[44:]) }

// parseFrameHeader reads the HeaderSize bytes b, found at offset off of s. It says no to whatever cannot be a frame there,
// in particular to a body that would not fit, so that nobody acts on a length before this was asked. The checksum is still
// to be checked.
func parseFrameHeader(b []byte, s *segment, off int64) (h frameHeader, ok bool) {
	le := binary.LittleEndian
	if le.Uint64(b) != s.marker {
		return h, false
	}
	h = frameHeader{
		segment: le.Uint64(b[8:]),
		seq:     le.Uint64(b[16:]),
		lag:     le.Uint32(b[24:]),
		flags:   le.Uint32(b[28:]),
		back:    int64(le.Uint64(b[32:])),
		length:  int64(le.Uint32(b[40:])),
	}
	fits := h.length <= MaxBody && h.length <= s.size-off-HeaderSize
	return h, fits && h.segment == s.number && h.seq != 0
}
