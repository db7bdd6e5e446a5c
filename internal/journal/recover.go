package journal

import (
	"fmt"
	"path/filepath"
	"slices"
)

// load finds out what is in the folder and makes j ready for Append. On an error the caller closes the files.
func (j *Journal) load(from Position, after uint64, replay func(Frame) error) error {
	segments, pooled, err := j.listFiles()
	if err != nil {
		return fmt.Errorf("open journal %s: %w", j.dir, err)
	}
	p := &j.preparer
	for _, n := range segments {
		s, err := j.openSegment(n)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, s)
		p.number = max(p.number, n)
	}
	p.number++
	p.nextSize = j.opt.MinSegment
	if len(j.segments) == 0 {
		if err := j.create(after); err != nil {
			return fmt.Errorf("create journal %s: %w", j.dir, err)
		}
	}

	r := recovery{j: j, after: after, replay: replay}
	if err := r.run(from); err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return fmt.Errorf("open journal %s: %w", j.dir, err)
	}
	newest := j.cur
	if len(p.spares) > 0 {
		newest = p.spares[len(p.spares)-1]
	}
	p.nextSize = min(max(2*newest.size, j.opt.MinSegment), j.opt.MaxSegment)
	if err := j.openPool(pooled); err != nil {
		return fmt.Errorf("open journal %s: %w", j.dir, err)
	}
	return nil
}

// listFiles returns the numbers of the segments, in order, and of the files in the pool. It removes what was left half-made,
// and makes durable the names it found.
func (j *Journal) listFiles() (segments, pooled []uint64, err error) {
	if err := j.fs.Mkdir(j.dir); err != nil {
		return nil, nil, err
	}
	names, err := j.fs.ReadDir(j.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if name == tempName {
			if err := j.fs.Remove(filepath.Join(j.dir, name)); err != nil {
				return nil, nil, err
			}
		}
		if n, ok := parseName(name, segmentSuffix); ok {
			segments = append(segments, n)
		}
		if n, ok := parseName(name, poolSuffix); ok {
			pooled = append(pooled, n)
		}
	}
	slices.Sort(segments)
	return segments, pooled, j.fs.SyncDir(j.dir)
}

// create makes the first segment. A caller that has seen frames before is told that they are gone.
func (j *Journal) create(after uint64) error {
	if after > 0 {
		return fmt.Errorf("%w: there are no segments, yet frames up to number %d were in it", ErrCorrupt, after)
	}
	s, err := j.makeSegment(0)
	if err != nil {
		if failed := j.Failed(); failed != nil {
			return failed
		}
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	j.segments = append(j.segments, s)
	return j.fs.SyncDir(filepath.Dir(j.dir))
}

// openPool opens the files of the pool, as far as they are worth keeping, and removes the others.
func (j *Journal) openPool(numbers []uint64) error {
	for _, n := range numbers {
		path := filepath.Join(j.dir, poolName(n))
		file, err := j.fs.Open(path)
		if err != nil {
			return err
		}
		s := &segment{number: n, file: file}
		if s.size, err = file.Size(); err != nil {
			file.Close()
			return err
		}
		if s.size%blockSize == 0 && j.poolTakes(s) {
			j.preparer.pool = append(j.preparer.pool, s)
			continue
		}
		file.Close()
		if err := j.fs.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// recovery reads the journal once, from its oldest frame that matters to its end.
type recovery struct {
	j      *Journal
	scan   scanner
	after  uint64
	replay func(Frame) error

	tail int         // the segment read last, an index into j.segments
	end  int64       // where its last intact frame ends, the place for the next one
	seq  uint64      // number of the last intact frame, 0 before the first
	last int64       // where it starts, in tail
	head frameHeader // its header

	lost  []span     // frames behind a hole, which nobody was promised
	empty []*segment // passed over between two segments with frames
}

// span is a part of a segment.
type span struct {
	seg      *segment
	from, to int64
}

// run reads and replays. Its errors name the file.
func (r *recovery) run(from Position) error {
	off, err := r.begin(from)
	for err == nil {
		if err = r.readSegment(off); err != nil {
			break
		}
		more := false
		if more, err = r.follow(); !more {
			break
		}
		off = blockSize
	}
	if err != nil {
		return fmt.Errorf("recover journal: %w", err)
	}
	if r.seq < r.after {
		return fmt.Errorf("recover journal: %w: %s: the last intact frame is number %d, yet number %d was in it once",
			ErrCorrupt, r.path(r.segment()), r.seq, r.after)
	}
	if err := r.describeOlder(); err != nil {
		return fmt.Errorf("recover journal: %w", err)
	}
	return nil
}

func (r *recovery) segment() *segment { return r.j.segments[r.tail] }

func (r *recovery) path(s *segment) string {
	return filepath.Join(r.j.dir, segmentName(s.number))
}

// readError says where reading failed.
func (r *recovery) readError(s *segment, err error) error {
	return fmt.Errorf("read %s: %w", r.path(s), err)
}

// begin sets tail and returns the offset to read from. It believes from only if a frame stands there that is not too late.
func (r *recovery) begin(from Position) (int64, error) {
	segments := r.j.segments
	i := slices.IndexFunc(segments, func(s *segment) bool { return s.number >= from.Segment })
	if i < 0 {
		i = len(segments) - 1
	}
	if s := segments[i]; s.number == from.Segment {
		r.scan.use(s)
		h, ok, err := r.scan.frame(from.Offset)
		if err != nil {
			return 0, r.readError(s, err)
		}
		if ok && h.seq <= r.after+1 {
			r.tail = i
			return from.Offset, nil
		}
	}
	for ; i > 0; i-- {
		h, ok, err := segments[i].peek()
		if err != nil {
			return 0, r.readError(segments[i], err)
		}
		if ok && h.seq <= r.after+1 {
			break
		}
	}
	r.tail = i
	return blockSize, nil
}

// readSegment replays the frames of the segment tail from off to the first place without one, and leaves that in end.
func (r *recovery) readSegment(off int64) error {
	s := r.segment()
	r.scan.use(s)
	if off > blockSize {
		// The frames before are not read. The first one still gives the segment its first number.
		h, ok, err := s.peek()
		if err != nil {
			return r.readError(s, err)
		}
		if ok {
			s.first = h.seq
		}
	}
	for {
		r.end = off
		h, ok, err := r.scan.frame(off)
		if err != nil {
			return r.readError(s, err)
		}
		if !ok {
			return nil
		}
		if err := r.accept(s, off, &h); err != nil {
			return err
		}
		off = h.end(off)
	}
}

// accept takes the intact frame at off as the next one.
func (r *recovery) accept(s *segment, off int64, h *frameHeader) error {
	switch {
	case h.flags != 0:
		return fmt.Errorf("%w: %s: the frame at offset %d has the unknown flags %#x", ErrVersion, r.path(s), off, h.flags)
	case r.seq == 0 && h.seq > r.after+1:
		return fmt.Errorf("%w: %s: the first frame, at offset %d, is number %d, and number %d is missing",
			ErrCorrupt, r.path(s), off, h.seq, r.after+1)
	case r.seq != 0 && h.seq != r.seq+1 && !r.dropped(off, h):
		return fmt.Errorf("%w: %s: the frame at offset %d is number %d, and should be number %d",
			ErrCorrupt, r.path(s), off, h.seq, r.seq+1)
	}
	if h.seq > r.after && r.replay != nil {
		body, err := r.scan.body(off, h)
		if err != nil {
			return r.readError(s, err)
		}
		if err := r.replay(Frame{Position: Position{s.number, off}, Seq: h.seq, Body: body}); err != nil {
			return fmt.Errorf("replay frame %d of %s: %w", h.seq, r.path(s), err)
		}
	}
	r.seq, r.last, r.head = h.seq, off, *h
	if s.first == 0 {
		s.first = h.seq
	}
	s.last, s.used = h.seq, h.end(off)
	return nil
}

// dropped reports whether the frames missing before the frame h at off may have been dropped: whole segments of which none
// is to be replayed.
func (r *recovery) dropped(off int64, h *frameHeader) bool {
	return off == blockSize && h.seq > r.seq && h.seq <= r.after+1
}

// follow is asked where no intact frame stands at end. It reports whether the journal goes on in a later segment, and
// makes that the tail. If not, the journal ends here, and everything behind is known to be nothing that was promised.
func (r *recovery) follow() (bool, error) {
	at := r.segment()
	if err := r.search(at, r.end+8); err != nil {
		return false, err
	}
	for k := r.tail + 1; k < len(r.j.segments); k++ {
		s := r.j.segments[k]
		r.scan.use(s)
		h, ok, err := r.scan.frame(blockSize)
		if err != nil {
			return false, r.readError(s, err)
		}
		if !ok || len(r.lost) > 0 {
			if err := r.search(s, blockSize); err != nil {
				return false, err
			}
			continue
		}
		if r.seq != 0 && h.seq > r.seq+1 && !r.dropped(blockSize, &h) {
			return false, r.hole(r.seq+1, h.seq, s, blockSize)
		}
		if r.seq != 0 && h.seq == r.seq+1 && h.back != r.end {
			return false, fmt.Errorf("%w: %s: the frames end at offset %d, and by the next segment they end at %d",
				ErrCorrupt, r.path(at), r.end, h.back)
		}
		r.empty = append(r.empty, r.j.segments[r.tail+1:k]...)
		if at.last == 0 {
			r.empty = append(r.empty, at)
		}
		r.tail = k
		return true, nil
	}
	return false, nil
}

// search looks for intact frames in s from off on, behind the hole at end. If one of them shows that the frame which should
// be there was on disk once, that is damage. If none does, they are what a power cut left of frames that were not synced.
func (r *recovery) search(s *segment, off int64) error {
	r.scan.use(s)
	for {
		at, h, ok, err := r.scan.next(off)
		if err != nil {
			return r.readError(s, err)
		}
		if !ok {
			return nil
		}
		missing := r.seq + 1
		if r.seq == 0 {
			missing = min(r.after+1, h.seq-1)
		}
		if h.synced() >= missing {
			return r.hole(missing, h.seq, s, at)
		}
		r.lost = append(r.lost, span{s, at, h.end(at)})
		off = h.end(at)
	}
}

// hole is the error for a frame that is missing, as the frame found in s at off shows: at end, or at the start of s if the
// journal has gone on there.
func (r *recovery) hole(missing, found uint64, s *segment, off int64) error {
	where, at := r.segment(), r.end
	if s != where && off > blockSize {
		where, at = s, blockSize
	}
	return fmt.Errorf("%w: %s: there is no intact frame at offset %d, where number %d or a later one should be, yet number %d is intact in segment %d at offset %d",
		ErrCorrupt, r.path(where), at, missing, found, s.number, off)
}

// describeOlder fills in what Segments tells about the segments that were not read.
func (r *recovery) describeOlder() error {
	segments := r.j.segments
	for k, s := range segments[:r.tail] {
		if s.last != 0 {
			continue
		}
		h, ok, err := s.peek()
		if err != nil {
			return r.readError(s, err)
		}
		n := segments[k+1]
		next, nextOK, err := n.peek()
		if err != nil {
			return r.readError(n, err)
		}
		if ok && nextOK && n.number == s.number+1 && next.seq > h.seq && next.back > blockSize && next.back <= s.size {
			s.first, s.last, s.used = h.seq, next.seq-1, next.back
			continue
		}
		if err := r.measure(s); err != nil {
			return err
		}
	}
	return nil
}

// measure reads the frames of s, over any damage, only to count them. Damage in frames that need no replay is for their
// readers to find.
func (r *recovery) measure(s *segment) error {
	r.scan.use(s)
	for off := int64(blockSize); ; {
		at, h, ok, err := r.scan.next(off)
		if err != nil {
			return r.readError(s, err)
		}
		if !ok {
			return nil
		}
		if s.first == 0 {
			s.first = h.seq
		}
		off = h.end(at)
		s.last, s.used = h.seq, off
	}
}

// finish puts the segments in their places, and makes the end of the journal durable.
func (r *recovery) finish() error {
	j := r.j
	if r.seq == 0 {
		r.tail, r.end = 0, blockSize
	}
	j.cur = r.segment()
	j.cur.used = r.end
	j.lastEnd, j.seq = r.end, r.seq
	behind := j.segments[r.tail+1:]
	j.preparer.spares = slices.Clone(behind[:min(len(behind), 2)])
	j.preparer.skipped = slices.Clone(behind[len(j.preparer.spares):])
	j.segments = slices.DeleteFunc(j.segments[:r.tail+1], func(s *segment) bool { return slices.Contains(r.empty, s) })
	j.preparer.skipped = append(j.preparer.skipped, r.empty...)

	for _, l := range r.lost {
		if err := eraseSpan(l); err != nil {
			return fmt.Errorf("erase lost frames in segment %d: %w", l.seg.number, err)
		}
	}
	from := r.end
	switch {
	case r.seq == 0:
	case r.head.lag == 0:
		from = r.last
	default:
		from = blockSize
	}
	if err := r.rewrite(span{j.cur, from, r.end}); err != nil {
		return fmt.Errorf("make segment %d durable: %w", j.cur.number, err)
	}
	return nil
}

// eraseSpan makes sure that lost frames stay lost: they must not come back behind the frames that take their place.
func eraseSpan(l span) error {
	to := min(l.to, l.seg.size)
	for off := l.from; off < to; {
		n := min(to-off, zeroChunk)
		if err := writeFull(l.seg.file, zeros[:n], off); err != nil {
			return err
		}
		off += n
	}
	return l.seg.file.Sync()
}

// rewrite writes the same bytes once more and syncs them. Frames that are not known to be on disk may only be in the memory
// of the system, as clean pages, if the sync that should have written them failed.
func (r *recovery) rewrite(l span) error {
	r.scan.use(l.seg)
	to := min(l.to, l.seg.size)
	for off := l.from; off < to; {
		b, err := r.scan.bytes(off, min(to-off, scanWindow))
		if err != nil {
			return err
		}
		if err := writeFull(l.seg.file, b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return l.seg.file.Sync()
}
