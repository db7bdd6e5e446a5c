package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	blockSize     = 4096 // the block of the segment header, and the unit of segment sizes
	headerLen     = 64   // the part of that block in use
	formatVersion = 1
	minimumSize   = 2 * blockSize

	segmentSuffix = ".seg"
	poolSuffix    = ".pool"
	tempName      = "next.tmp"
)

var segmentMagic = [8]byte{'h', 'o', 'o', 'k', 'g', 's', 'e', 'g'}

// segment is one file of the journal. number, marker, size and file stay the same as long as the file is a segment; the
// others are guarded by Journal.mu.
type segment struct {
	number uint64
	marker uint64
	size   int64
	file   File

	used        int64  // where the next frame starts
	first, last uint64 // sequence numbers; zero without frames

	refs int  // readers that use file at the moment
	gone bool // out of the journal for good: the last reader closes file
}

// room is the size of the largest frame that an empty segment takes, header included.
func (s *segment) room() int64 { return s.size - blockSize }

// Segment describes one file of the journal.
type Segment struct {
	Number uint64
	Size   int64 // of the file, in bytes
	Used   int64 // up to the end of its last frame, in bytes, the file's own header included

	// First and Last are the sequence numbers of its frames. Both are zero if it holds none.
	First, Last uint64
}

func segmentName(n uint64) string { return fmt.Sprintf("%016x%s", n, segmentSuffix) }
func poolName(n uint64) string    { return fmt.Sprintf("%016x%s", n, poolSuffix) }

// parseName is the inverse of segmentName and poolName. It says no to every other spelling of the same number.
func parseName(name, suffix string) (n uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 || strings.ToLower(digits) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil && n != 0
}

// segmentHeader is what a segment says about itself.
type segmentHeader struct {
	storeID [16]byte
	number  uint64
	marker  uint64
	size    int64
}

// appendTo returns b with the header block added, all of it.
func (h *segmentHeader) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, segmentMagic[:]...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, 0)
	b = append(b, h.storeID[:]...)
	b = le.AppendUint64(b, h.number)
	b = le.AppendUint64(b, h.marker)
	b = le.AppendUint64(b, uint64(h.size))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, zeros[:blockSize-headerLen]...)
}

// parseSegmentHeader reads the first headerLen bytes of a file. Its errors say what is wrong, not with which file.
func parseSegmentHeader(b []byte, storeID [16]byte) (h segmentHeader, err error) {
	le := binary.LittleEndian
	if [8]byte(b) != segmentMagic {
		return h, fmt.Errorf("%w: it does not begin like a segment", ErrCorrupt)
	}
	if le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return h, fmt.Errorf("%w: the checksum of its header is wrong", ErrCorrupt)
	}
	if v := le.Uint32(b[8:]); v > formatVersion {
		return h, fmt.Errorf("%w: it has format version %d and this program knows up to %d", ErrVersion, v, formatVersion)
	}
	if flags := le.Uint32(b[12:]); flags != 0 {
		return h, fmt.Errorf("%w: it has the unknown flags %#x", ErrVersion, flags)
	}
	h = segmentHeader{
		storeID: [16]byte(b[16:]),
		number:  le.Uint64(b[32:]),
		marker:  le.Uint64(b[40:]),
		size:    int64(le.Uint64(b[48:])),
	}
	if h.storeID != storeID {
		return h, fmt.Errorf("%w: it belongs to store %x, not to %x", ErrForeign, h.storeID, storeID)
	}
	return h, nil
}

// openSegment opens segment n and checks its header. It says nothing about the frames.
func (j *Journal) openSegment(n uint64) (*segment, error) {
	path := filepath.Join(j.dir, segmentName(n))
	file, err := j.fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	s, err := j.checkSegment(file, n)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("segment %s: %w", path, err)
	}
	return s, nil
}

func (j *Journal) checkSegment(file File, n uint64) (*segment, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size < minimumSize {
		return nil, fmt.Errorf("%w: its size is only %d bytes", ErrCorrupt, size)
	}
	b := make([]byte, headerLen)
	if err := readFull(file, b, 0); err != nil {
		return nil, err
	}
	h, err := parseSegmentHeader(b, j.opt.StoreID)
	if err != nil {
		return nil, err
	}
	if h.number != n {
		return nil, fmt.Errorf("%w: its header says that it is segment %d", ErrCorrupt, h.number)
	}
	// A file that lost its end may have lost frames that nothing else could show to be missing.
	if h.size < minimumSize || h.size > size {
		return nil, fmt.Errorf("%w: its size is %d bytes and should be %d", ErrCorrupt, size, h.size)
	}
	return &segment{number: n, marker: h.marker, size: h.size, file: file, used: blockSize}, nil
}

// readFull fills p from off. A file that ends before is an error like any other.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
