package journal

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
)

// scanWindow is how much is read at a time.
const scanWindow = 256 << 10

// scanner reads a segment that may hold anything at all, with plain reads: a file that was cut short must be an error, and
// through a memory map it would be the end of the process. It holds more than scanWindow bytes only for the body of a frame
// whose checksum it has seen to be right.
type scanner struct {
	seg   *segment
	buf   []byte
	start int64 // offset of buf in the file
}

// bytes returns the n bytes at off, valid until the next call.
func (s *scanner) bytes(off, n int64) ([]byte, error) {
	if off < s.start || off+n > s.start+int64(len(s.buf)) {
		want := min(max(n, scanWindow), s.seg.size-off)
		if want < n {
			return nil, io.ErrUnexpectedEOF
		}
		s.buf = slices.Grow(s.buf[:0], int(want))[:want]
		s.start = off
		if err := readFull(s.seg.file, s.buf, off); err != nil {
			s.buf = s.buf[:0]
			return nil, err
		}
	}
	i := off - s.start
	return s.buf[i : i+n], nil
}

// use makes s read another segment.
func (s *scanner) use(seg *segment) {
	s.seg, s.buf = seg, s.buf[:0]
}

// frame reports whether an intact frame starts at off. An error means that reading failed, and says nothing about that.
func (s *scanner) frame(off int64) (h frameHeader, ok bool, err error) {
	if off < blockSize || off%8 != 0 || off > s.seg.size-HeaderSize {
		return h, false, nil
	}
	b, err := s.bytes(off, HeaderSize)
	if err != nil {
		return h, false, err
	}
	h, ok = parseFrameHeader(b, s.seg, off)
	if !ok {
		return h, false, nil
	}
	want := headerSum(b)
	sum := crc32.Update(0, castagnoli, b[:44])
	for at, end := off+HeaderSize, off+HeaderSize+h.length; at < end; {
		b, err := s.bytes(at, min(end-at, scanWindow/2))
		if err != nil {
			return h, false, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		at += int64(len(b))
	}
	return h, sum == want, nil
}

// body returns the body of the intact frame at off, valid until the next call of any method.
func (s *scanner) body(off int64, h *frameHeader) ([]byte, error) {
	return s.bytes(off+HeaderSize, h.length)
}

// next finds the first intact frame at off or behind it.
func (s *scanner) next(off int64) (at int64, h frameHeader, ok bool, err error) {
	for off = max(alignFrame(off), blockSize); off <= s.seg.size-HeaderSize; {
		b, err := s.bytes(off, min(scanWindow, s.seg.size-off))
		if err != nil {
			return 0, h, false, err
		}
		i := indexMarker(b, s.seg.marker)
		if i < 0 {
			off += int64(len(b))
			continue
		}
		off += int64(i)
		if h, ok, err = s.frame(off); ok || err != nil {
			return off, h, ok, err
		}
		off += 8
	}
	return 0, h, false, nil
}

// indexMarker finds marker in b, at multiples of 8 only. The length of b is a multiple of 8.
func indexMarker(b []byte, marker uint64) int {
	for i := 0; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) == marker {
			return i
		}
	}
	return -1
}

// peek reads the header of the first frame of s and checks it for plausibility, not by its checksum.
func (s *segment) peek() (h frameHeader, ok bool, err error) {
	var b [HeaderSize]byte
	if err := readFull(s.file, b[:], blockSize); err != nil {
		return h, false, err
	}
	h, ok = parseFrameHeader(b[:], s, blockSize)
	return h, ok, nil
}
