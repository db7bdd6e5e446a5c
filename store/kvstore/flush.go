package kvstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// flusher brings changed rows to the engine: one goroutine, started at the first write, woken by a timer that is armed only
// while something waits.
type flusher struct {
	kick    chan struct{}
	timer   *time.Timer
	armed   bool
	full    int // how many flushes in a row found no room
	started bool
	ended   chan struct{}
	done    *sync.Cond // on Store.mu; after every flush, and when the store fails or closes
	running sync.Mutex // one flush at a time
}

// wakeFlusher sees to it that what was just applied is flushed in time; the caller holds mu.
func (s *Store) wakeFlusher() {
	f := &s.flusher
	if !f.started {
		f.started = true
		f.ended = make(chan struct{})
		f.timer = time.AfterFunc(s.flushEvery, s.kickFlusher)
		f.armed = true
		go s.flushLoop()
		return
	}
	if !f.armed {
		f.armed = true
		f.timer.Reset(s.flushEvery << min(f.full, 5)) // an engine without room is not asked all the time
	}
}

// kickFlusher has a flush done now.
func (s *Store) kickFlusher() {
	select {
	case s.flusher.kick <- struct{}{}:
	default:
	}
}

func (s *Store) flushLoop() {
	defer close(s.flusher.ended)
	for range s.flusher.kick {
		s.mu.Lock()
		s.flusher.armed = false
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		if err := s.flush(); err != nil && errors.Is(err, store.ErrFull) {
			s.mu.Lock()
			if !s.closed {
				s.wakeFlusher() // later, there may be room
			}
			s.mu.Unlock()
		}
	}
}

// unapplied reports whether anything waits for the engine; the caller holds mu.
func (s *Store) unapplied() bool {
	return s.applied != s.flushed || len(s.delta) > 0 || len(s.dirty) > 0 || len(s.keys.fresh) > 0 || len(s.keys.ended) > 0
}

// flush brings everything that was applied to memory into the engine, in one transaction.
func (s *Store) flush() error {
	s.flusher.running.Lock()
	defer s.flusher.running.Unlock()
	return s.flushOnce()
}

// flushOnce is flush for a caller that holds flusher.running.
func (s *Store) flushOnce() error {
	f := &s.flusher
	s.mu.Lock()
	if s.failed != nil || !s.unapplied() {
		s.mu.Unlock()
		return nil
	}
	pruned := s.pruning.changes
	rows, frames, mark := s.gather()
	s.mu.Unlock()

	keys := make([]string, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	err := s.log.Sync() // the engine must never be ahead of the log
	if err == nil {
		err = s.writeRows(keys, rows)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	defer f.done.Broadcast()
	for _, fr := range frames {
		fr.pinned--
	}
	if err != nil {
		// What is newer stands; the rest waits again.
		for k, v := range rows {
			if _, newer := s.delta[k]; !newer {
				s.delta[k] = v
			}
		}
		for _, fr := range frames {
			s.touch(fr) // what the engine says of it is not true yet
		}
		s.flushing = nil
		if !errors.Is(err, store.ErrFull) {
			return s.fail(err)
		}
		s.stuck = true
		f.full++
		return err
	}
	s.stuck, s.over, f.full = false, nil, 0
	s.flushing = nil
	s.flushed = mark
	s.keys.froze()
	s.pruning.flushed = pruned
	n := 0
	for n < len(s.unflushed) && !s.unflushed[n].isNew {
		n++
	}
	s.unflushed = slices.Delete(s.unflushed, 0, n)
	s.evict()
	return nil
}

func (s *Store) writeRows(keys []string, rows map[string][]byte) error {
	return s.kv.Update(context.Background(), func(w Writer) error {
		for _, k := range keys {
			var err error
			if v := rows[k]; v != nil {
				err = w.Put([]byte(k), v)
			} else {
				err = w.Delete([]byte(k))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// gather takes the rows that are to be written; the caller holds mu. Until the flush is over they are found in s.flushing.
func (s *Store) gather() (rows map[string][]byte, frames []*frame, mark Mark) {
	s.meta.flushNo++
	for _, fr := range s.unflushed {
		if fr.isNew {
			frames = append(frames, fr)
		}
	}
	frames = append(frames, s.dirty...)
	for _, fr := range frames {
		fr.pinned++
		s.gatherFrame(fr)
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	s.keys.rows(s.meta.flushNo, s.put)
	s.keys.freeze(s.meta.flushNo, s.put)
	for _, hour := range s.keys.forget(s.clock()) {
		s.deleteKeys(hour)
	}
	s.meta.flushed = s.applied
	s.meta.clean = false
	s.put(metaKey, s.meta.encode())
	s.flushing = s.delta
	s.delta = make(map[string][]byte, len(s.flushing)/2)
	return s.flushing, frames, s.applied
}

func (s *Store) gatherFrame(f *frame) {
	if f.isNew || f.rewrite {
		s.put(key64(kindFrame, f.base), f.encode())
		if f.isNew && !f.firstID.IsZero() {
			s.put(firstKey(f.firstID), encodeSeq(f.base))
		}
	}
	switch open := f.open.any(); {
	case open:
		s.put(key64(kindOpen, f.base), f.encodeBits())
		f.bits = true
	case f.bits:
		s.del(key64(kindOpen, f.base))
		f.bits = false
	}
	if len(f.packed) > 0 {
		s.put(attemptKey(f.base, s.meta.flushNo), f.packed)
		f.packed = nil
	}
	f.isNew, f.rewrite, f.dirty = false, false, false
}

func attemptKey(base, no uint64) []byte {
	k := key64(kindAttempt, base)
	for i := 56; i >= 0; i -= 8 {
		k = append(k, byte(no>>i))
	}
	return k
}

// deleteKeys deletes the rows of a block of idempotency keys that has ended, those that the engine does not have yet included.
func (s *Store) deleteKeys(hour int64) {
	for _, prefix := range [][]byte{keysKey(hour, 0)[:9], frozenKey(hour, 0, 0)[:9]} {
		err := s.overlay(prefix, func(k, _ []byte) error {
			s.del(k)
			return nil
		})
		if err != nil {
			s.logger.Warn("hookgate: old idempotency keys could not be deleted", "error", err)
		}
	}
}

// sync returns when the engine has everything that was committed when it was called; all who wait share one flush. A failed
// store answers from what the engine has; one without room for the flush answers that it is full.
func (s *Store) sync() error {
	s.mu.Lock()
	want, pruned := s.applied.Frame, s.pruning.changes
	err := s.usable(false)
	there := func() bool { return s.flushed.Frame >= want && s.pruning.flushed >= pruned }
	done := err != nil || s.failed != nil || there()
	s.mu.Unlock()
	if done {
		return err
	}
	s.flusher.running.Lock()
	defer s.flusher.running.Unlock()
	s.mu.Lock()
	done = there()
	s.mu.Unlock()
	if done {
		return nil
	}
	err = s.flushOnce()
	if errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}

// view is the engine's View for those who read after sync. When the engine does not take what is waiting, for want of room
// or because the store has failed, they see it all the same.
func (s *Store) view(fn func(Reader) error) error {
	var over *overlaid
	s.mu.Lock()
	waiting := s.stuck || s.failed != nil
	s.mu.Unlock()
	if waiting {
		s.flusher.running.Lock() // no flush comes between the waiting rows and the engine's
		defer s.flusher.running.Unlock()
		s.mu.Lock()
		if s.stuck || s.failed != nil {
			over = s.overlaid()
		}
		s.mu.Unlock()
	}
	return s.kv.View(context.Background(), func(r Reader) error {
		if over != nil {
			over.Reader = r
			r = over
		}
		return fn(r)
	})
}
