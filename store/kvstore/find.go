package kvstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hookgate/hookgate/store"
)

// seqOf finds the place of an event by its ID; 0 if there is none.
func (s *Store) seqOf(id store.ID) (uint64, error) {
	if id.Compare(s.meta.maxAside) <= 0 {
		b, err := s.get(asideKey(id))
		if err != nil {
			return 0, err
		}
		if b != nil {
			d := dec{b: b}
			seq := d.uint()
			if d.err != nil {
				return 0, fmt.Errorf("%w: place of event %v: %w", store.ErrCorrupt, id, d.err)
			}
			return seq, nil
		}
	}
	if id.Compare(s.meta.lastID) > 0 {
		return 0, nil
	}
	for _, f := range slices.Backward(s.unflushed) {
		if !f.firstID.IsZero() && f.firstID.Compare(id) <= 0 {
			i, ok := slices.BinarySearchFunc(f.ids, id, store.ID.Compare)
			if !ok {
				return 0, nil
			}
			return f.base + uint64(i), nil
		}
	}
	base := uint64(0)
	err := s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.ScanBack([]byte{kindFirst}, append(firstKey(id), 0)) {
			if s.deleted(k) {
				continue
			}
			d := dec{b: v}
			if base = d.uint(); d.err != nil {
				return fmt.Errorf("%w: place of a frame: %w", store.ErrCorrupt, d.err)
			}
			return nil
		}
		return nil
	})
	if err != nil || base == 0 {
		return 0, err
	}
	f, err := s.frameOf(base)
	if err != nil || f == nil {
		return 0, err
	}
	return s.searchID(f, id)
}

// searchID looks for an ID in a frame whose events ascend, by reading some of their records.
func (s *Store) searchID(f *frame, id store.ID) (uint64, error) {
	lo, hi := 0, len(f.events)
	for lo < hi {
		mid := (lo + hi) / 2
		seq := f.base + uint64(mid)
		if f.forgot(seq) && f.ids == nil {
			// Its record may be gone: go through the others one by one.
			return s.walkIDs(f, id)
		}
		got, err := s.idOf(f, seq)
		if errors.Is(err, store.ErrCorrupt) {
			return s.walkIDs(f, id) // it says nothing about where to look
		}
		if err != nil {
			return 0, err
		}
		switch c := got.Compare(id); {
		case c == 0 && f.forgot(seq):
			return 0, nil
		case c == 0:
			return seq, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, nil
}

func (s *Store) walkIDs(f *frame, id store.ID) (uint64, error) {
	for i := range f.events {
		seq := f.base + uint64(i)
		if f.forgot(seq) {
			continue
		}
		got, err := s.idOf(f, seq)
		if errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if got == id {
			return seq, nil
		}
	}
	return 0, nil
}

// smallRecord is up to which size the record of an event is read whole, and so checked, where only its ID is wanted.
const smallRecord = 64 << 10

// idOf tells the ID of an event, from memory if the frame is new.
func (s *Store) idOf(f *frame, seq uint64) (store.ID, error) {
	if f.ids != nil {
		return f.ids[seq-f.base], nil
	}
	segment, offset, size, err := s.position(f, seq)
	if err != nil {
		return store.ID{}, err
	}
	if size <= smallRecord {
		r, err := s.readRecord(seq, segment, offset, size, false)
		if err != nil {
			return store.ID{}, err
		}
		return r.event.ID, nil
	}
	var b [idPrefix]byte
	if err := s.log.ReadAt(b[:], segment, offset); err != nil {
		return store.ID{}, err
	}
	return readID(b[:]), nil
}

// position tells where the record of an event is.
func (s *Store) position(f *frame, seq uint64) (segment uint64, offset int64, size int, err error) {
	i := uint32(seq - f.base)
	if f.moved != nil && f.moved.has(i) {
		b, err := s.get(key64(kindMoved, seq))
		if err != nil {
			return 0, 0, 0, err
		}
		d := dec{b: b}
		segment, offset, size = d.uint(), int64(d.uint()), int(d.uint())
		if d.err != nil {
			return 0, 0, 0, fmt.Errorf("%w: it is not said where event %d was moved", store.ErrCorrupt, seq)
		}
		return segment, offset, size, nil
	}
	slot := f.events[i]
	return f.segment, f.start + int64(slot.offset), int(slot.size), nil
}

// record reads an event. ErrNotFound if it is not there any more.
func (s *Store) record(seq uint64, payload bool) (*record, error) {
	f, err := s.frameOf(seq)
	if err != nil {
		return nil, err
	}
	if f == nil || f.forgot(seq) {
		return nil, store.ErrNotFound
	}
	segment, offset, size, err := s.position(f, seq)
	if err != nil {
		return nil, err
	}
	return s.readRecord(seq, segment, offset, size, payload)
}

// readRecord reads an event from the log; it needs no lock.
func (s *Store) readRecord(seq, segment uint64, offset int64, size int, payload bool) (*record, error) {
	b := make([]byte, size)
	if err := s.log.ReadAt(b, segment, offset); err != nil {
		return nil, fmt.Errorf("read event %d: %w", seq, err)
	}
	r := &record{}
	if err := r.check(seq, segment, offset, b, payload); err != nil {
		return nil, err
	}
	return r, nil
}

// check decodes the record of an event that was read from the log.
func (r *record) check(seq, segment uint64, offset int64, b []byte, payload bool) error {
	if err := r.decode(b, payload); err != nil {
		return fmt.Errorf("event %d in segment %d at offset %d: %w", seq, segment, offset, err)
	}
	if r.seq != seq {
		return fmt.Errorf("%w: event %d stands where event %d should be", store.ErrCorrupt, r.seq, seq)
	}
	return nil
}

// eachAttempt goes through the attempts of a delivery, in no order.
func (s *Store) eachAttempt(at ref, fn func(*tried)) error {
	f, err := s.frameOf(at.seq)
	if err != nil || f == nil {
		return err
	}
	each := func(b []byte) error {
		d := dec{b: b}
		for len(d.b) > 0 && d.err == nil {
			var t tried
			t.decode(&d, f.base, f.time)
			if d.err == nil && t.at == at {
				fn(&t)
			}
		}
		if d.err != nil {
			return fmt.Errorf("%w: attempts: %w", store.ErrCorrupt, d.err)
		}
		return nil
	}
	if err := s.overlay(key64(kindAttempt, f.base), func(_, v []byte) error { return each(v) }); err != nil {
		return err
	}
	return each(f.packed)
}
