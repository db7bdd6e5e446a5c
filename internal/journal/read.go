package journal

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
)

// ReadAt fills p with the bytes of a segment that start at off, counted from the start of the file. It reads only what
// frames cover, and checks nothing: who wants the checksum uses ReadFrame. A segment dropped meanwhile stays readable until
// the call returns.
//
// It answers ErrNoSegment for a segment that was dropped, and ErrClosed. A failed journal can still be read.
func (j *Journal) ReadAt(p []byte, segment uint64, off int64) error {
	s, used, err := j.acquire(segment)
	if err != nil {
		return fmt.Errorf("read segment %d: %w", segment, err)
	}
	defer j.release(s)
	if off < blockSize || off > used || int64(len(p)) > used-off {
		return fmt.Errorf("read segment %d: there are no %d bytes at offset %d, the frames end at %d", segment, len(p), off, used)
	}
	if err := readFull(s.file, p, off); err != nil {
		return fmt.Errorf("read segment %d at offset %d: %w", segment, off, err)
	}
	return nil
}

// ReadFrame reads the frame at pos and checks its checksum. It reads into buf, or into a larger buffer if buf is too small
// for the frame and its header; Body is part of that buffer.
//
// Errors are those of ReadAt, and ErrCorrupt if there is no intact frame at pos.
func (j *Journal) ReadFrame(pos Position, buf []byte) (Frame, error) {
	f, err := j.readFrame(pos, buf)
	if err != nil {
		return Frame{}, fmt.Errorf("read frame in segment %d at offset %d: %w", pos.Segment, pos.Offset, err)
	}
	return f, nil
}

func (j *Journal) readFrame(pos Position, buf []byte) (Frame, error) {
	s, used, err := j.acquire(pos.Segment)
	if err != nil {
		return Frame{}, err
	}
	defer j.release(s)
	if pos.Offset < blockSize || pos.Offset%8 != 0 || pos.Offset > used-HeaderSize {
		return Frame{}, fmt.Errorf("%w: no frame can start there, the frames end at offset %d", ErrCorrupt, used)
	}
	buf = slices.Grow(buf[:0], HeaderSize)[:HeaderSize]
	if err := readFull(s.file, buf, pos.Offset); err != nil {
		return Frame{}, err
	}
	h, ok := parseFrameHeader(buf, s, pos.Offset)
	if !ok || h.end(pos.Offset) > used {
		return Frame{}, fmt.Errorf("%w: its header is bad", ErrCorrupt)
	}
	buf = slices.Grow(buf, int(h.length))[:HeaderSize+h.length]
	body := buf[HeaderSize:]
	if err := readFull(s.file, body, pos.Offset+HeaderSize); err != nil {
		return Frame{}, err
	}
	sum := crc32.Update(0, castagnoli, buf[:44])
	if crc32.Update(sum, castagnoli, body) != headerSum(buf) {
		return Frame{}, fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	if h.flags != 0 {
		return Frame{}, fmt.Errorf("%w: it has the unknown flags %#x", ErrVersion, h.flags)
	}
	return Frame{Position: pos, Seq: h.seq, Body: body}, nil
}

// acquire finds a segment and keeps its file open until release, and unchanged up to used.
func (j *Journal) acquire(n uint64) (s *segment, used int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, 0, ErrClosed
	}
	i, ok := j.find(n)
	if !ok {
		return nil, 0, ErrNoSegment
	}
	s = j.segments[i]
	s.refs++
	return s, s.used, nil
}

func (j *Journal) release(s *segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.refs--
	if s.gone && s.refs == 0 {
		s.file.Close()
	}
}

// leave closes the file of a segment that nobody will look for again, or lets its last reader do so. The caller holds mu.
func (j *Journal) leave(s *segment) {
	if s.gone {
		return
	}
	s.gone = true
	if s.refs == 0 {
		s.file.Close()
	}
}

// find returns where in j.segments the segment n is. The caller holds mu.
func (j *Journal) find(n uint64) (int, bool) {
	return slices.BinarySearchFunc(j.segments, n, func(s *segment, n uint64) int { return cmp.Compare(s.number, n) })
}

// Segments describes the segments that hold frames, oldest first. The last one is current: it takes the next frame, and
// may still be empty. Segments that wait for use are not among them.
func (j *Journal) Segments() []Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]Segment, 0, len(j.segments))
	for _, s := range j.segments {
		list = append(list, Segment{Number: s.number, Size: s.size, Used: s.used, First: s.first, Last: s.last})
	}
	return list
}

// Size returns how many bytes the journal takes on disk, with the segments that wait for use.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := &j.preparer
	size := p.making
	for _, list := range [][]*segment{j.segments, p.spares, p.skipped, p.pool} {
		for _, s := range list {
			size += s.size
		}
	}
	return size
}

// Drop takes a whole segment out of the journal, for good when it returns. Its file is kept for a new segment if there is
// room in the pool, else removed. Calls to ReadAt that have begun go on.
//
// Drop only what Open's after will cover from now on: of frames that are not there to replay, Open says ErrCorrupt. The
// current segment cannot be dropped, nor the one with the last frame, as they are how the journal knows where it stands.
func (j *Journal) Drop(n uint64) error {
	j.dropping.lock()
	defer j.dropping.unlock()
	if err := j.drop(n); err != nil {
		return fmt.Errorf("drop segment %d: %w", n, err)
	}
	return nil
}

func (j *Journal) drop(n uint64) error {
	j.mu.Lock()
	err := j.refusalLocked()
	i, ok := j.find(n)
	switch {
	case err != nil:
	case !ok:
		err = ErrNoSegment
	case j.segments[i] == j.cur || j.segments[i].last == j.seq:
		err = errors.New("it is in use: it is the current one or holds the last frame")
	}
	if err != nil {
		j.mu.Unlock()
		return err
	}
	s := j.segments[i]
	keep := j.poolTakes(s)
	j.mu.Unlock()

	path := filepath.Join(j.dir, segmentName(n))
	if keep {
		err = j.fs.Rename(path, filepath.Join(j.dir, poolName(n)))
	} else {
		err = j.fs.Remove(path)
	}
	if err != nil {
		return err
	}
	// Before the file may become another segment: a power cut must not bring it back under its old name.
	if err := j.fs.SyncDir(j.dir); err != nil {
		return j.fail(fmt.Errorf("sync folder: %w", err))
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	i, _ = j.find(n)
	j.segments = slices.Delete(j.segments, i, i+1)
	if keep {
		j.preparer.pool = append(j.preparer.pool, s)
	} else {
		j.leave(s)
	}
	j.preparer.retryAt = j.preparer.retryAt.Add(-retryPrepare) // there is space now
	return nil
}
