package kvstore

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// overlaid reads an engine together with rows that wait for it.
type overlaid struct {
	Reader
	keys  []string
	rows  map[string][]byte
	state overlayState
}

// overlayState tells whether rows were changed since an overlaid was made.
type overlayState struct{ applied, flushed, pruned uint64 }

// overlaid makes the reader of everything that waits; the caller holds flusher.running and mu.
func (s *Store) overlaid() *overlaid {
	state := overlayState{s.applied.Frame, s.flushed.Frame, s.pruning.changes}
	if s.over != nil && s.over.state == state {
		return &overlaid{keys: s.over.keys, rows: s.over.rows} // each reader has its own engine below
	}
	rows, frames, _ := s.gather()
	for _, f := range frames {
		f.pinned--
		s.touch(f) // the engine does not have it yet
	}
	s.delta, s.flushing = rows, nil // still to be written
	o := &overlaid{rows: make(map[string][]byte, len(rows)), keys: make([]string, 0, len(rows)), state: state}
	for k, v := range rows {
		o.rows[k] = v
		o.keys = append(o.keys, k)
	}
	slices.Sort(o.keys)
	s.over = o
	return &overlaid{keys: o.keys, rows: o.rows}
}

func (o *overlaid) Get(key []byte) []byte {
	if v, ok := o.rows[string(key)]; ok {
		return v
	}
	return o.Reader.Get(key)
}

func (o *overlaid) Scan(from, to []byte) iter.Seq2[[]byte, []byte] {
	return o.merge(o.Reader.Scan(from, to), o.between(from, to), 1)
}

func (o *overlaid) ScanBack(from, to []byte) iter.Seq2[[]byte, []byte] {
	list := slices.Clone(o.between(from, to))
	slices.Reverse(list)
	return o.merge(o.Reader.ScanBack(from, to), list, -1)
}

func (o *overlaid) between(from, to []byte) []string {
	i, _ := slices.BinarySearch(o.keys, string(from))
	j, _ := slices.BinarySearch(o.keys, string(to))
	return o.keys[i:max(i, j)]
}

// merge goes through both in one order; where both have a key, the waiting row counts.
func (o *overlaid) merge(engine iter.Seq2[[]byte, []byte], waiting []string, sign int) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for k, v := range engine {
			for len(waiting) > 0 && sign*strings.Compare(waiting[0], string(k)) < 0 {
				if w := o.rows[waiting[0]]; w != nil && !yield([]byte(waiting[0]), w) {
					return
				}
				waiting = waiting[1:]
			}
			if len(waiting) > 0 && bytes.Equal([]byte(waiting[0]), k) {
				continue
			}
			if !yield(k, v) {
				return
			}
		}
		for _, k := range waiting {
			if w := o.rows[k]; w != nil && !yield([]byte(k), w) {
				return
			}
		}
	}
}
