package kvstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Options adjusts New. Nil means all defaults.
type Options struct {
	// Log is where frames are made durable; nil keeps them as rows of the KV.
	Log Log

	// FlushEvery is how long decided changes may wait in memory before they go to the KV. 0: 100 ms.
	FlushEvery time.Duration

	// Cache is how many deliveries' places are kept in memory beside the windows. 0: 65,536.
	Cache int

	// Keys is how many idempotency keys are kept in memory; more go to the KV. 0: 2,097,152, about 64 MiB.
	Keys int

	// Logger gets what nobody is there to be told. Nil: slog.Default.
	Logger *slog.Logger
}

const (
	defaultFlush = 100 * time.Millisecond
	defaultCache = 1 << 16
	defaultKeys  = 1 << 21
	maxUnflushed = 1 << 17 // changed rows that may wait for the engine before commits wait too
)

// Store is a [store.Store] over a KV. New makes one.
type Store struct {
	kv         KV
	log        Log
	head       int // the log's header size
	flushEvery time.Duration
	cacheMax   int
	logger     *slog.Logger

	life     sync.RWMutex // held for reading by every call, for writing by Close; taken first
	commitMu sync.Mutex   // one commit at a time; taken before mu
	buf      []byte       // the frame being made; under commitMu
	plan     plan         // under commitMu

	mu     sync.Mutex
	closed bool
	failed error     // why no write is done any more
	now    time.Time // the store's
	seen   time.Time // the system's at that moment, with its monotonic reading

	// Rows that are decided and durable but not in the engine yet: first the newest, then those on their way.
	delta    map[string][]byte // nil value: deleted
	flushing map[string][]byte
	stuck    bool      // the engine had no room at the last flush
	over     *overlaid // what reads go by then; nil if they did not ask
	applied  Mark      // what the log holds and memory has applied
	flushed  Mark      // what the engine has
	meta     meta

	frames     map[uint64]*frame
	unflushed  []*frame // in order of base; new since the last flush, and those on their way
	dirty      []*frame // older ones with changed bits
	cacheCells int      // the weight of all frames
	evictAt    int      // when to look again for frames to forget
	useClock   uint64

	flusher flusher

	sched
	keys keyTable

	careful uint64 // deliveries up to this place may have been in flight at a crash: their leases are noted before they are used
	opened  bool   // the log says that this process has the store
	pruning pruneState
}

var _ store.Store = (*Store)(nil)

// get reads a row as it stands after the last commit.
func (s *Store) get(key []byte) ([]byte, error) {
	if v, ok := s.delta[string(key)]; ok {
		return v, nil
	}
	if v, ok := s.flushing[string(key)]; ok {
		return v, nil
	}
	var out []byte
	err := s.kv.View(context.Background(), func(r Reader) error {
		if v := r.Get(key); v != nil {
			out = append([]byte{}, v...)
		}
		return nil
	})
	return out, err
}

func (s *Store) put(key, value []byte) { s.delta[string(key)] = value }
func (s *Store) del(key []byte)        { s.delta[string(key)] = nil }

// overlay goes through the rows with a prefix as they stand after the last commit, in no order.
func (s *Store) overlay(prefix []byte, fn func(key, value []byte) error) error {
	seen := func(k string) bool {
		_, a := s.delta[k]
		_, b := s.flushing[k]
		return a || b
	}
	err := s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan(prefix, prefixEnd(prefix)) {
			if seen(string(k)) {
				continue
			}
			if err := fn(k, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p := string(prefix)
	for k, v := range s.flushing {
		if _, newer := s.delta[k]; newer || v == nil || len(k) < len(p) || k[:len(p)] != p {
			continue
		}
		if err := fn([]byte(k), v); err != nil {
			return err
		}
	}
	for k, v := range s.delta {
		if v == nil || len(k) < len(p) || k[:len(p)] != p {
			continue
		}
		if err := fn([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// prefixEnd is the first key behind all that begin with prefix.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return []byte{0xff, 0xff, 0xff, 0xff}
}

// deleted reports whether a row that the engine has was deleted since.
func (s *Store) deleted(key []byte) bool {
	if v, ok := s.delta[string(key)]; ok {
		return v == nil
	}
	v, ok := s.flushing[string(key)]
	return ok && v == nil
}

// row reads the row of a delivery; nil if it has none. A damaged one reads as a delivery that waits, so that Claim comes by
// it and makes a dead letter of it.
func (s *Store) row(at ref) (*row, error) {
	b, err := s.get(keyRef(kindRow, at))
	if err != nil || b == nil {
		return nil, err
	}
	r, err := decodeRow(b)
	if err == nil && s.queue(r.queue) == nil {
		err = fmt.Errorf("%w: delivery: there is no queue %d", store.ErrCorrupt, r.queue)
	}
	if err == nil || !errors.Is(err, store.ErrCorrupt) {
		return r, err
	}
	f, e := s.leasedFrame(at)
	if e != nil || f == nil {
		return nil, e
	}
	if _, ok := f.cell(at); !ok {
		return nil, nil // it was added later, and nobody knows any more where it was to go
	}
	s.logger.Error("hookgate: the record of a delivery is damaged", "seq", at.seq, "delivery", at.n, "error", err)
	return damagedRow(f, at), nil
}

// decodeRowOf reads the row of a delivery of a frame, and makes one up if it is damaged.
func decodeRowOf(f *frame, at ref, b []byte) *row {
	if r, err := decodeRow(b); err == nil {
		return r
	}
	return damagedRow(f, at)
}

func damagedRow(f *frame, at ref) *row {
	r := &row{damaged: true, state: store.Pending, class: store.Retry, created: f.time, due: f.time}
	if c, ok := f.cell(at); ok {
		r.queue, r.lane = f.cells[c].queue, f.cells[c].lane
	}
	return r
}

// frameOf finds the frame that holds an event; nil if there is none.
func (s *Store) frameOf(seq uint64) (*frame, error) {
	if seq == 0 || seq > s.meta.lastSeq {
		return nil, nil
	}
	if n := len(s.unflushed); n > 0 && seq >= s.unflushed[0].base {
		lo, hi := 0, n
		for lo < hi {
			mid := (lo + hi) / 2
			if s.unflushed[mid].base <= seq {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if f := s.unflushed[lo-1]; f.has(seq) {
			return f, nil
		}
		return nil, nil
	}
	if f := s.lastFrame; f != nil && f.has(seq) {
		return f, nil
	}
	var found *frame
	err := s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.ScanBack([]byte{kindFrame}, key64(kindFrame, seq+1)) {
			base := beUint64(k[1:])
			if s.deleted(k) {
				return nil
			}
			if f := s.frames[base]; f != nil {
				found = f
				return nil
			}
			f, err := s.loadFrame(r, base, v)
			found = f
			return err
		}
		return nil
	})
	if err != nil || found == nil || !found.has(seq) {
		return nil, err
	}
	s.lastFrame = found
	return found, nil
}

// loadFrame makes the memory of a frame from its rows and keeps it in the cache.
func (s *Store) loadFrame(r Reader, base uint64, b []byte) (*frame, error) {
	f, err := decodeFrame(base, b)
	if err != nil {
		return nil, err
	}
	if b := r.Get(key64(kindOpen, base)); b != nil {
		if err := f.decodeBits(b); err != nil {
			return nil, err
		}
	}
	if err := s.checkQueues(f); err != nil {
		return nil, err
	}
	s.remember(f)
	return f, nil
}

// checkQueues makes sure that the deliveries of a frame go somewhere.
func (s *Store) checkQueues(f *frame) error {
	for i := range f.cells {
		if s.queue(f.cells[i].queue) == nil {
			return fmt.Errorf("%w: frame %d has deliveries for a queue %d that is not there", store.ErrCorrupt, f.base, f.cells[i].queue)
		}
	}
	return nil
}

// remember puts a frame into the cache and makes room for it.
func (s *Store) remember(f *frame) {
	s.keep(f)
	s.evict()
}

// keep puts a frame into the cache.
func (s *Store) keep(f *frame) {
	s.useClock++
	f.used = s.useClock
	s.frames[f.base] = f
	s.cacheCells += f.weight()
}

// evict forgets the older half of the cache when it is full, but nothing that the engine does not have or that is in use.
func (s *Store) evict() {
	if s.cacheCells <= max(s.cacheMax, s.evictAt) {
		return
	}
	old := s.useClock - uint64(len(s.frames)/2)
	for base, f := range s.frames {
		if !f.dirty && !f.isNew && f.pinned == 0 && f.used <= old && f.used < s.useClock { // the newest is about to be used
			s.forget(base, f)
		}
	}
	s.evictAt = s.cacheCells + s.cacheMax/4 // if much is in use, this is not gone through every time
}

func (s *Store) forget(base uint64, f *frame) {
	delete(s.frames, base)
	s.cacheCells -= f.weight()
	if s.lastFrame == f {
		s.lastFrame = nil
	}
}

// touch marks a frame as changed, so that the next flush writes it.
func (s *Store) touch(f *frame) {
	f.pruned = false
	if !f.dirty {
		f.dirty = true
		if !f.isNew {
			s.dirty = append(s.dirty, f)
		}
	}
}

// clock is the store's time: the system's, but it never steps back. When the system's does, it goes on from where it was, so
// that whatever waits for a time still comes to it.
func (s *Store) clock() time.Time {
	t := time.Now()
	if !s.seen.IsZero() {
		s.now = s.now.Add(max(t.Sub(s.seen), 0)) // by the monotonic clock
	}
	s.seen = t
	if t = t.Round(0); t.After(s.now) {
		s.now = t
	}
	return s.now
}

// longest is the longest time that is waited for anything. Records hold no year after 2262.
const longest = 100 * 365 * 24 * time.Hour

// later adds a duration without leaving the years that a record can hold.
func later(now time.Time, d time.Duration) time.Time { return now.Add(min(max(d, 0), longest)) }

// usable says why a call cannot be served.
func (s *Store) usable(write bool) error {
	switch {
	case s.closed:
		return store.ErrClosed
	case write && s.failed != nil:
		return s.failed
	}
	return nil
}

func beUint64(b []byte) uint64 {
	var v uint64
	for _, c := range b[:8] {
		v = v<<8 | uint64(c)
	}
	return v
}

const maxSeq = math.MaxUint64
