package kvstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// KeysInMemory tells how many idempotency keys are held in memory, and how many bytes they, and the filters of all others, take.
func (s *Store) KeysInMemory() (keys, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.keys.blocks {
		for i := range b.parts {
			bytes += 16 * len(b.parts[i].slots)
			if b.frozen != nil {
				for _, f := range b.frozen[i] {
					bytes += 8 * len(f.filter)
				}
			}
		}
	}
	return s.keys.count, bytes
}

// CachedFrames tells how many frames are in memory.
func (s *Store) CachedFrames() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.frames)
}

// SystemClockWas makes the store believe that the system's clock once showed a later time than it does.
func (s *Store) SystemClockWas(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.clock().Add(ahead)
}

// Visits tells how many deliveries were looked at on disk.
func (s *Store) Visits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visits
}

// Flush brings everything to the engine.
func (s *Store) Flush() error { return s.flush() }

// noKV is an engine without rows.
type noKV struct{ KV }

type noRows struct{}

func (noKV) View(_ context.Context, fn func(Reader) error) error { return fn(noRows{}) }

func (noRows) Get([]byte) []byte { return nil }

func (noRows) Scan(_, _ []byte) iter.Seq2[[]byte, []byte] {
	return func(func([]byte, []byte) bool) {}
}

func (noRows) ScanBack(_, _ []byte) iter.Seq2[[]byte, []byte] {
	return func(func([]byte, []byte) bool) {}
}

// AppendToLargeBatch decides an append to a batch that is full.
func (s *Store) AppendToLargeBatch(a store.Append) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &plan{now: s.clock(), bytes: maxAppends}
	r, err := s.decideAppend(p, &a, 0, nil)
	return errors.Join(r.Err, err)
}

// SlowOldestDue is what Stats.OldestDue should be, found by going through everything. It is an error if the place from which
// Stats looks on has passed over something.
func (s *Store) SlowOldestDue() (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	s.expire(now)
	kept := s.oldest
	s.oldest = oldest{queues: slices.Clone(s.queues[1:])}
	age, err := s.oldestDue(now)
	if err == nil && s.oldest.from.before(kept.from) {
		err = fmt.Errorf("%v waits, and the search goes on from %v", s.oldest.from, kept.from)
	}
	for _, q := range s.queues[1:] {
		q.listed = slices.Contains(kept.queues, q)
	}
	s.oldest = kept
	return age, err
}

// CheckUnloaded makes sure that every queue knows how many first attempts of it are on disk alone, and from where on.
func (s *Store) CheckUnloaded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	behind := map[*queue]int{}
	budget := math.MaxInt
	_, err := s.eachOpen(ref{1, 0}, &budget, func(f *frame, c uint32, at ref) bool {
		if q := s.queues[f.cells[c].queue]; !at.before(s.place(q)) {
			behind[q]++
		}
		return true
	})
	for _, q := range s.queues[1:] {
		if err == nil && q.unloaded > 0 && behind[q] != q.unloaded {
			err = fmt.Errorf("queue %d has %d on disk and knows of %d", q.no, behind[q], q.unloaded)
		}
	}
	return err
}
