package kvstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"github.com/hookgate/hookgate/store"
)

// New opens the store that an engine and a log hold, or begins a new one. It reads what was committed and not yet brought to
// the engine, and starts no goroutine; one starts at the first write and ends in Close. Close closes the engine and the log;
// if New fails, they are left to the caller.
func New(kv KV, o *Options) (*Store, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if opt.FlushEvery <= 0 {
		opt.FlushEvery = defaultFlush
	}
	if opt.Cache <= 0 {
		opt.Cache = defaultCache
	}
	if opt.Keys <= 0 {
		opt.Keys = defaultKeys
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Log == nil {
		l, err := newRowLog(kv)
		if err != nil {
			return nil, err
		}
		opt.Log = l
	}
	s := &Store{
		kv: kv, log: opt.Log, head: opt.Log.HeaderSize(), flushEvery: opt.FlushEvery, cacheMax: opt.Cache, logger: opt.Logger,
		delta: map[string][]byte{}, frames: map[uint64]*frame{},
	}
	s.flusher.kick = make(chan struct{}, 1)
	s.flusher.done = sync.NewCond(&s.mu)
	s.keys.limit = opt.Keys
	s.pruning.counted = math.MaxUint64 // the first pass goes through all segments
	s.sched.init()
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) recover() error {
	fresh, err := s.loadMeta()
	if err != nil {
		return err
	}
	s.now = s.meta.lastAt
	if err := s.loadSmall(); err != nil {
		return err
	}
	replayed := 0
	err = s.log.Recover(s.flushed, func(at Mark, b []byte) error {
		x, err := parseBody(b)
		if err != nil {
			return err
		}
		f, err := x.frame(at, s.head, s.meta.salt)
		if err != nil {
			return fmt.Errorf("frame %d: %w", at.Frame, err)
		}
		s.now = x.now
		if err := s.apply(at, x.now, x.ops, f, false); err != nil {
			return err
		}
		replayed++
		if len(s.delta) >= maxUnflushed/4 || len(s.unflushed) >= 4096 {
			return s.flushIfRoom()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !s.meta.clean || replayed > 0 {
		s.careful = s.meta.lastSeq
	}
	s.gen = (s.meta.opens + 1) << 40
	if fresh {
		err = s.flush()
	} else if replayed > 0 {
		err = s.flushIfRoom()
	}
	if err != nil {
		return err
	}
	return s.loadSchedule()
}

// flushIfRoom is flush for an engine that may be full: then what was read from the log waits in memory, and a store on a full
// disk opens all the same.
func (s *Store) flushIfRoom() error {
	if err := s.flush(); err != nil && !errors.Is(err, store.ErrFull) {
		return err
	}
	return nil
}

// loadMeta reads or makes what the engine remembers about the whole.
func (s *Store) loadMeta() (fresh bool, err error) {
	err = s.kv.View(context.Background(), func(r Reader) error {
		b := r.Get(metaKey)
		if b == nil {
			fresh = true
			return nil
		}
		return s.meta.decode(b)
	})
	if err != nil {
		return false, err
	}
	if fresh {
		var b [8]byte
		rand.Read(b[:])
		s.meta.salt = binary.LittleEndian.Uint64(b[:])
		s.meta.clean = true
		s.put(metaKey, s.meta.encode())
	}
	s.flushed, s.applied = s.meta.flushed, s.meta.flushed
	return fresh, nil
}

// loadSmall reads what lives in memory whole: queues, gates, idempotency keys.
func (s *Store) loadSmall() error {
	now := s.clock()
	return s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan([]byte{kindQueue}, []byte{kindQueue + 1}) {
			d := dec{b: v}
			name := queueName{d.str(), store.Destination(d.str())}
			if d.err != nil {
				return fmt.Errorf("%w: queue: %w", store.ErrCorrupt, d.err)
			}
			no := beUint64(k[1:])
			if no == 0 || no > uint64(s.meta.queues) {
				return fmt.Errorf("%w: there is a queue %d and should be only %d", store.ErrCorrupt, no, s.meta.queues)
			}
			s.addQueue(uint32(no), name)
		}
		for k, v := range r.Scan([]byte{kindGate}, []byte{kindGate + 1}) {
			g, err := decodeGateRow(k, v)
			if err != nil {
				return err
			}
			s.setGate(g)
		}
		return s.keys.load(r, now)
	})
}

func decodeGateRow(k, v []byte) (*store.Gate, error) {
	name, rest := cutName(k[1:])
	cause, _ := cutName(rest)
	g := &store.Gate{Destination: store.Destination(name), Cause: cause}
	d := dec{b: v}
	decodeGate(&d, g)
	if d.err != nil {
		return nil, fmt.Errorf("%w: gate: %w", store.ErrCorrupt, d.err)
	}
	return g, nil
}

// loadSchedule finds out how much waits, and where: a count and a cursor for the first attempts of each queue, the first due
// time for those that have a story, and the lanes that are shut.
func (s *Store) loadSchedule() error {
	err := s.view(func(r Reader) error {
		for k, bits := range r.Scan([]byte{kindOpen}, []byte{kindOpen + 1}) {
			base := beUint64(k[1:])
			row := r.Get(key64(kindFrame, base))
			if row == nil {
				return fmt.Errorf("%w: frame %d has open deliveries and no place", store.ErrCorrupt, base)
			}
			lost := false
			err := countOpen(base, row, bits, func(no uint32, at ref) {
				q := s.queue(no)
				if q == nil {
					lost = true
					return
				}
				if q.unloaded == 0 {
					q.cursor = at
				}
				q.unloaded++
			})
			if err == nil && lost {
				err = errors.New("it has deliveries for a queue that is not there")
			}
			if err != nil {
				return fmt.Errorf("%w: frame %d: %w", store.ErrCorrupt, base, err)
			}
		}
		for k := range r.Scan([]byte{kindShut}, []byte{kindShut + 1}) {
			at := refOf(k)
			b := r.Get(keyRef(kindRow, at))
			if b == nil {
				continue
			}
			x, err := decodeRow(b)
			if err != nil {
				continue // damaged: its lane is known to its frame, and opens when Claim has made a dead letter of it
			}
			s.enterRow(at, x)
		}
		for _, q := range s.queues[1:] {
			if q == nil {
				continue
			}
			if q.unloaded > 0 {
				s.activate(q, store.Live)
			}
			for c := range store.Classes {
				prefix := duePrefix(q.no, c)
				for k := range r.Scan(prefix, prefixEnd(prefix)) {
					due, _ := parseDue(k)
					q.due[c] = &dueList{more: due}
					s.oldest.list(q)
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.clock()
	for _, q := range s.queues[1:] {
		if q == nil {
			continue
		}
		for c, l := range q.due {
			switch {
			case l == nil:
			case l.more.After(s.now):
				s.arm(q, store.Class(c))
			default:
				if err := s.refill(q, store.Class(c), l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Close brings everything to the engine and closes it, and the log. A second Close does nothing.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	started := s.flusher.started
	if started {
		s.flusher.timer.Stop()
	}
	s.flusher.done.Broadcast()
	s.mu.Unlock()
	if started {
		s.kickFlusher()
		<-s.flusher.ended
	}
	err := s.flush()
	if err == nil {
		err = s.markClean()
	}
	if errors.Is(err, store.ErrFull) {
		err = nil // the log has what the engine had no room for
	}
	if e := s.kv.Close(); err == nil {
		err = e
	}
	if e := s.log.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// markClean notes that nothing was in flight when the store was closed.
func (s *Store) markClean() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil || len(s.byRef) > 0 || !s.opened && s.meta.clean {
		return nil
	}
	s.meta.clean = true
	b := s.meta.encode()
	return s.kv.Update(context.Background(), func(w Writer) error { return w.Put(metaKey, b) })
}
