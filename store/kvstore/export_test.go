package kvstore

import (
	"context"
	"errors"
	"iter"
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
