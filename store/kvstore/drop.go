package kvstore

import (
	"context"
	"fmt"
	"slices"
)

// segmentUse is what a segment of the log still holds.
type segmentUse struct {
	live   int64 // bytes of records that are needed
	guests int64 // of these, those that were copied there
	first  uint64
	last   uint64 // the frames of events that lie in it, from first to last
}

// dropSegments gives segments of the log back. During a pass it looks only at the oldest, and at what the engine has; with
// whole it goes through all of them, if anything was forgotten since it last did, and copies what is left in those that
// are at least half empty.
func (s *Store) dropSegments(ctx context.Context, whole bool) (bytes int64, more bool, err error) {
	if !whole {
		return s.dropOldest()
	}
	moved := int64(0)
	for {
		s.mu.Lock()
		news := s.pruning.changes != s.pruning.counted
		s.pruning.counted = s.pruning.changes
		s.mu.Unlock()
		if !news {
			return bytes, false, nil
		}
		use, err := s.countUse(ctx)
		if err != nil {
			return bytes, false, err
		}
		dropped, n, err := s.dropAndMove(ctx, use, moveBudget-moved)
		bytes += dropped
		if err != nil {
			return bytes, false, err
		}
		if moved += n; n == 0 {
			return bytes, false, nil
		}
		// What was copied can go when the engine knows where it is now.
		s.mu.Lock()
		s.pruning.changes++
		s.mu.Unlock()
		if moved >= moveBudget {
			return bytes, true, nil
		}
		if err := s.sync(); err != nil {
			return bytes, false, err
		}
	}
}

// dropOldest drops the oldest segment as long as nothing in it is needed.
func (s *Store) dropOldest() (bytes int64, more bool, err error) {
	for {
		list, _ := s.droppable()
		if len(list) == 0 {
			return bytes, false, nil
		}
		used, next, err := s.usesOldest(list[0].Number)
		if err != nil || used {
			return bytes, false, err
		}
		if err := s.drop(list[0]); err != nil {
			return bytes, false, err
		}
		bytes += list[0].Bytes
		s.mu.Lock()
		s.meta.dropBase = max(s.meta.dropBase, next)
		s.mu.Unlock()
	}
}

// droppable lists the segments of which the engine has everything, and the place up to which retention has come.
func (s *Store) droppable() ([]Segment, uint64) {
	segments := s.log.Segments()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usable(true) != nil {
		return nil, 0
	}
	n := 0
	for n < len(segments)-1 && segments[n].Last <= s.flushed.Frame {
		n++
	}
	return segments[:n], s.pruning.reached
}

func (s *Store) drop(g Segment) error {
	if err := s.log.Drop(g.Number); err != nil {
		return fmt.Errorf("give a segment back: %w", err)
	}
	return nil
}

// usesOldest reports whether anything in the oldest segment is needed, and if not, the first frame behind it.
func (s *Store) usesOldest(segment uint64) (used bool, next uint64, err error) {
	s.mu.Lock()
	next = s.meta.dropBase
	s.mu.Unlock()
	err = s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan(key64(kindFrame, next), []byte{kindFrame + 1}) {
			at, _, live, err := frameUse(beUint64(k[1:]), v)
			if err != nil {
				return err
			}
			if at > segment {
				break
			}
			if used = at == segment && live > 0; used {
				return nil
			}
			next = beUint64(k[1:]) + 1
		}
		prefix := key64(kindGuest, segment)
		for range r.Scan(prefix, prefixEnd(prefix)) {
			used = true
			break
		}
		return nil
	})
	return used, next, err
}

// frameUse reads out of a frame's row where its events are, and how many bytes of records there are needed.
func frameUse(base uint64, row []byte) (segment uint64, events int, live int64, err error) {
	d := dec{b: row}
	h, err := decodeFrameHead(&d)
	if err != nil {
		return 0, 0, 0, err
	}
	if h.flags&(frameGone|frameMoved) != 0 {
		f, err := decodeFrame(base, row)
		if err != nil {
			return 0, 0, 0, err
		}
		live, _ = f.bytes()
		return h.segment, h.events, live, nil
	}
	for range h.events {
		live += int64(d.uint())
		for range d.count(1) {
			if d.uint()&1 != 0 {
				d.raw(8)
			}
		}
	}
	return h.segment, h.events, live, d.err
}

// countUse goes through the rows of all frames, a few in each transaction.
func (s *Store) countUse(ctx context.Context) (map[uint64]*segmentUse, error) {
	use := map[uint64]*segmentUse{}
	of := func(segment uint64) *segmentUse {
		u := use[segment]
		if u == nil {
			u = &segmentUse{}
			use[segment] = u
		}
		return u
	}
	s.mu.Lock()
	from := key64(kindFrame, s.meta.dropBase)
	s.mu.Unlock()
	needed := uint64(0) // the first frame with a record where it was written
	for n := walkPiece; n == walkPiece; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n = 0
		err := s.kv.View(ctx, func(r Reader) error {
			for k, v := range r.Scan(from, []byte{kindFrame + 1}) {
				if n++; n > walkPiece {
					n = walkPiece
					from = append([]byte{}, k...)
					return nil
				}
				base := beUint64(k[1:])
				segment, events, live, err := frameUse(base, v)
				if err != nil {
					return err
				}
				u := of(segment)
				u.live += live
				u.last = base + uint64(events) - 1
				if u.first == 0 {
					u.first = base
				}
				if needed == 0 && live > 0 {
					needed = base
				}
			}
			n = 0
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := s.kv.View(ctx, func(r Reader) error {
		for k := range r.Scan([]byte{kindGuest}, []byte{kindGuest + 1}) {
			d := dec{b: r.Get(key64(kindMoved, beUint64(k[9:])))}
			d.uint()
			d.uint()
			size := int64(d.uint())
			u := of(beUint64(k[1:]))
			u.live += size
			u.guests += size
		}
		return nil
	})
	s.mu.Lock()
	s.meta.dropBase = max(s.meta.dropBase, needed)
	s.mu.Unlock()
	return use, err
}

// dropAndMove drops the segments of which nothing is needed, and copies what is left in those that are at least half empty, up
// to a number of bytes.
func (s *Store) dropAndMove(ctx context.Context, use map[uint64]*segmentUse, budget int64) (bytes, moved int64, err error) {
	list, reached := s.droppable()
	for _, g := range list {
		if err := ctx.Err(); err != nil {
			return bytes, moved, err
		}
		u := use[g.Number]
		switch {
		case u == nil || u.live == 0:
			if err := s.drop(g); err != nil {
				return bytes, moved, err
			}
			bytes += g.Bytes
			continue
		case 2*u.live > g.Bytes || u.last >= reached && u.live > u.guests || moved >= budget:
			continue // full enough, or there is more to forget in it
		}
		left, err := s.survivors(g.Number, u)
		if err != nil {
			return bytes, moved, err
		}
		for moved < budget {
			n, err := s.move(left, g.Number)
			if err != nil {
				return bytes, moved, err
			}
			if moved += n; n == 0 {
				break
			}
		}
	}
	return bytes, moved, nil
}

// survivors lists the events whose records lie in a segment and are needed.
func (s *Store) survivors(segment uint64, u *segmentUse) (left []uint64, err error) {
	err = s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan(key64(kindFrame, u.first), key64(kindFrame, u.last+1)) {
			f, err := decodeFrame(beUint64(k[1:]), v)
			if err != nil {
				return err
			}
			if f.segment != segment {
				continue
			}
			for i := range f.events {
				if !f.forgot(f.base+uint64(i)) && (f.moved == nil || !f.moved.has(uint32(i))) {
					left = append(left, f.base+uint64(i))
				}
			}
		}
		prefix := key64(kindGuest, segment)
		for k := range r.Scan(prefix, prefixEnd(prefix)) {
			left = append(left, beUint64(k[9:]))
		}
		return nil
	})
	slices.Sort(left)
	return left, err
}

// move copies records of events into a new frame. It answers how many bytes it copied; 0 when nothing was left to copy.
func (s *Store) move(seqs []uint64, segment uint64) (int64, error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.roomForChanges(); err != nil {
		return 0, err
	}
	p := &s.plan
	p.reset(s.clock(), notesOnly)
	defer p.letGo()
	var size int64
	var list []uint64
	for _, seq := range seqs {
		if size >= movePiece {
			break
		}
		f, err := s.frameOf(seq)
		if err != nil {
			return 0, err
		}
		if f == nil || f.forgot(seq) {
			continue
		}
		seg, offset, n, err := s.position(f, seq)
		if err != nil {
			return 0, err
		}
		if seg != segment {
			continue
		}
		b := make([]byte, n)
		if err := s.log.ReadAt(b, seg, offset); err != nil {
			return 0, err
		}
		if _, err := decodeEvent(b, false); err != nil {
			// It moves as it is: it can be neither delivered nor shown, but what its deliveries were stays known.
			s.logger.Error("hookgate: retention came by a damaged event", "seq", seq, "error", err)
		}
		p.moved = append(p.moved, b)
		list = append(list, seq)
		size += int64(n)
	}
	if len(list) == 0 {
		return 0, nil
	}
	p.ops.u8(opMoved)
	p.ops.uint(uint64(len(list)))
	for i, seq := range list {
		p.ops.uint(seq)
		p.ops.uint(uint64(len(p.moved[i])))
	}
	return size, s.finish(p)
}

// applyMoved learns where records were copied to.
func (s *Store) applyMoved(d *dec, at Mark) error {
	offset := at.Offset + int64(s.head+bodyHeader+recordGap)
	for range d.count(2) {
		seq := d.uint()
		size := d.uint()
		if d.err != nil {
			return nil
		}
		here := offset
		offset += int64(size) + recordGap
		f, err := s.frameOf(seq)
		if err != nil {
			return err
		}
		if f == nil || f.forgot(seq) {
			continue
		}
		i := uint32(seq - f.base)
		if f.moved == nil {
			f.moved = newBitset(len(f.events))
		} else if f.moved.has(i) {
			segment, _, _, err := s.position(f, seq)
			if err != nil {
				return err
			}
			s.del(guestKey(segment, seq))
		}
		e := enc{}
		e.uint(at.Segment)
		e.uint(uint64(here))
		e.uint(size)
		s.put(key64(kindMoved, seq), e.b)
		s.put(guestKey(at.Segment, seq), []byte{})
		f.moved.set(i)
		f.rewrite = true
		s.touch(f)
	}
	return nil
}
