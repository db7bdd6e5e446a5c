package kvstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Retention has two halves. Forgetting takes events out of the index, frame by frame from the oldest on. Dropping gives the
// log's segments back: one whose events are all forgotten is dropped as it is; of one that is half empty, the events that
// are still there are copied into a new frame first, under the same ID and place. So one delivery that waits for months
// costs its own bytes and no segment, wherever in the log it lies, and the log never takes more than about twice what is kept,
// plus the segment being written.
type pruneState struct {
	running sync.Mutex // one Prune at a time; taken after life
	at      uint64     // the frame that the pass has come to; 0 at its beginning
	within  bool       // it stopped within that frame, which is not looked at before the engine has what was done to it
	reached uint64     // what comes before it was looked at when it was old enough
	changes uint64     // counts changes of rows that no frame of the log says
	flushed uint64     // how many of them the engine has
	counted uint64     // how many there were when the segments were last gone through
}

const (
	prunePiece = 16      // frames that are looked at while commits wait
	walkPiece  = 1024    // rows of frames that are read in one transaction
	movePiece  = 1 << 20 // bytes of records that are copied in one frame
	moveBudget = 8 << 20 // bytes that one Prune copies
)

// Prune forgets a bounded piece: see [store.Store].
func (s *Store) Prune(ctx context.Context, r store.PruneRequest) (store.PruneResult, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	s.pruning.running.Lock()
	defer s.pruning.running.Unlock()
	res, err := s.prune(ctx, &r)
	if err != nil {
		return res, fmt.Errorf("prune: %w", err)
	}
	return res, nil
}

func (s *Store) prune(ctx context.Context, r *store.PruneRequest) (res store.PruneResult, err error) {
	limit := r.Limit
	if limit <= 0 {
		limit = 10_000
	}
	// The engine is brought up to date at the beginning of a pass and at its end, and not in between: every flush costs the
	// publishers some of the disk.
	s.mu.Lock()
	begins := s.pruning.at == 0 || s.pruning.within
	s.pruning.within = false
	s.mu.Unlock()
	if begins {
		if err := s.sync(); err != nil {
			return res, err
		}
	}
	looked := 0
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		var n, l int
		if n, l, more, err = s.forgetPiece(r, limit-res.Events); err != nil {
			return res, err
		}
		res.Events += n
		if looked += l; looked >= 10*limit || res.Events >= limit {
			res.More = more
			break
		}
	}
	if !res.More {
		if err := s.forgetGhosts(); err != nil {
			return res, err
		}
		if err := s.sync(); err != nil {
			return res, err
		}
	}
	bytes, more, err := s.dropSegments(ctx, !res.More)
	res.Bytes = bytes
	res.More = res.More || more
	return res, err
}

// forgetPiece looks at a few frames. It answers how many events it forgot and looked at, and whether the pass goes on.
func (s *Store) forgetPiece(r *store.PruneRequest, limit int) (forgot, looked int, more bool, err error) {
	s.commitMu.Lock() // nothing is being decided about what is forgotten here
	defer s.commitMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(true); err != nil {
		return 0, 0, false, err
	}
	now := s.clock()
	youngest := time.Duration(0)
	for _, d := range []time.Duration{r.Done, r.Dead} {
		if d > 0 && (youngest == 0 || d < youngest) {
			youngest = d
		}
	}
	if youngest == 0 {
		return 0, 0, false, nil
	}
	frames, err := s.framesFrom(s.pruning.at, prunePiece)
	if err != nil {
		return 0, 0, false, err
	}
	for _, f := range frames {
		if now.Sub(f.time) < youngest {
			s.pruning.at = 0
			return forgot, looked, false, nil
		}
		if forgot >= limit {
			return forgot, looked, true, nil
		}
		looked += len(f.events)
		if !f.dirty && !f.isNew && f.pinned == 0 { // the engine has all that there is to know about it
			n, err := s.forgetIn(f, r, now, limit-forgot)
			if err != nil {
				return forgot, looked, false, err
			}
			if forgot += n; forgot >= limit {
				s.pruning.within = true
				return forgot, looked, true, nil
			}
		}
		s.pruning.at = f.base + 1
		s.pruning.reached = max(s.pruning.reached, f.last()+1)
	}
	if len(frames) < prunePiece {
		s.pruning.at = 0
		return forgot, looked, false, nil
	}
	return forgot, looked, true, nil
}

// framesFrom lists frames that the engine has, in order.
func (s *Store) framesFrom(base uint64, n int) (frames []*frame, err error) {
	err = s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan(key64(kindFrame, base), []byte{kindFrame + 1}) {
			if len(frames) == n {
				return nil
			}
			if s.deleted(k) {
				continue
			}
			base := beUint64(k[1:])
			f := s.frames[base]
			if f == nil {
				if f, err = decodeFrame(base, v); err != nil {
					return err
				}
				if b := r.Get(key64(kindOpen, base)); b != nil {
					if err := f.decodeBits(b); err != nil {
						return err
					}
				}
			}
			frames = append(frames, f)
		}
		return nil
	})
	return frames, err
}

// forgetIn forgets up to limit events of a frame.
func (s *Store) forgetIn(f *frame, r *store.PruneRequest, now time.Time, limit int) (int, error) {
	age := now.Sub(f.time)
	rows := map[uint64][]rowAt{}
	err := s.kv.View(context.Background(), func(rd Reader) error {
		for k, v := range rd.Scan(key64(kindRow, f.base), key64(kindRow, f.last()+1)) {
			at := refOf(k)
			rows[at.seq] = append(rows[at.seq], rowAt{at, decodeRowOf(f, at, v)})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var gone []uint64
	left := 0
	for i := range f.events {
		seq := f.base + uint64(i)
		if f.forgot(seq) {
			continue
		}
		keep := r.Done
		open := false
		from, to := f.deliveries(seq)
		for c := from; c < to; c++ {
			open = open || f.open.has(c)
		}
		for _, x := range rows[seq] {
			open = open || x.row.waits()
			if x.row.state == store.Dead {
				keep = r.Dead
			}
		}
		if open || keep <= 0 || age < keep || len(gone) == limit {
			left++
			continue
		}
		gone = append(gone, seq)
	}
	if len(gone) == 0 {
		return 0, nil
	}
	for _, seq := range gone {
		if f.keys.After(now) {
			if err := s.leaveGhost(f, seq, now); err != nil {
				return 0, err
			}
		}
		for _, x := range rows[seq] {
			s.del(keyRef(kindRow, x.at))
			if x.row.state == store.Dead {
				s.del(deadKey(x.row.queue, x.at))
				s.meta.dead--
			}
			if x.row.lane != 0 && x.row.undecided() {
				s.del(keyRef(kindShut, x.at))
				s.leaveLane(laneKey{x.row.queue, x.row.lane}, x.at)
			}
		}
		if err := s.forgetPlace(f, seq); err != nil {
			return 0, err
		}
	}
	s.meta.events -= int64(len(gone))
	s.pruning.changes++
	s.wakeFlusher()
	if left == 0 {
		return len(gone), s.removeFrame(f)
	}
	f = s.cached(f)
	if f.gone == nil {
		f.gone = newBitset(len(f.events))
	}
	for _, seq := range gone {
		f.gone.set(uint32(seq - f.base))
	}
	f.rewrite = true
	s.touch(f)
	f.pruned = true
	return len(gone), nil
}

// ghost is what stays of a forgotten event while its idempotency key is taken.
type ghost struct {
	event      store.Event // ID, tenant, source and key
	stamp      stamp
	deliveries int
}

// leaveGhost keeps what an event's idempotency key needs, if it is still taken.
func (s *Store) leaveGhost(f *frame, seq uint64, now time.Time) error {
	r, err := s.record(seq, false)
	switch {
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case r.event.IdempotencyKey == "" || !r.keyExpires().After(now):
		return nil
	}
	e := enc{}
	e.raw(r.event.ID[:])
	e.str(r.event.Tenant)
	e.str(r.event.Source)
	e.str(r.event.IdempotencyKey)
	e.time(r.accepted)
	e.fix64(r.fingerprint)
	e.uint(uint64(r.window))
	e.uint(uint64(len(r.targets)))
	s.put(key64(kindGhost, seq), e.b)
	return nil
}

func decodeGhost(seq uint64, b []byte) (*ghost, error) {
	d := dec{b: b}
	g := &ghost{}
	copy(g.event.ID[:], d.raw(16))
	g.event.Tenant, g.event.Source, g.event.IdempotencyKey = d.str(), d.str(), d.str()
	g.stamp = stamp{seq: seq, accepted: d.time(), fingerprint: d.fix64(), window: time.Duration(d.uint())}
	g.deliveries = int(d.uint())
	if d.err != nil {
		return nil, fmt.Errorf("%w: idempotency key: %w", store.ErrCorrupt, d.err)
	}
	return g, nil
}

// forgetGhosts deletes those whose keys are free, the oldest first, a few at a time.
func (s *Store) forgetGhosts() error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	n := 0
	return s.kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan([]byte{kindGhost}, []byte{kindGhost + 1}) {
			if n++; n > 1000 {
				return nil
			}
			g, err := decodeGhost(beUint64(k[1:]), v)
			if err != nil || !g.stamp.keyExpires().After(now) {
				s.del(k)
				s.pruning.changes++
			}
		}
		return nil
	})
}

type rowAt struct {
	at  ref
	row *row
}

// cached makes sure that a frame which is about to change is the one that memory knows.
func (s *Store) cached(f *frame) *frame {
	if have := s.frames[f.base]; have != nil {
		return have
	}
	s.remember(f)
	return f
}

// forgetPlace deletes the rows that say where an event is, where they are its own.
func (s *Store) forgetPlace(f *frame, seq uint64) error {
	if f.firstID.IsZero() {
		id, err := s.idOf(f, seq)
		switch {
		case err == nil:
			s.del(asideKey(id))
		case !errors.Is(err, store.ErrCorrupt): // of a damaged one the row stays behind, and leads nowhere
			return err
		}
	}
	if i := uint32(seq - f.base); f.moved != nil && f.moved.has(i) {
		segment, _, _, err := s.position(f, seq)
		if err != nil {
			return err
		}
		s.del(key64(kindMoved, seq))
		s.del(guestKey(segment, seq))
	}
	return nil
}

// removeFrame deletes the rows of a frame whose events are all forgotten.
func (s *Store) removeFrame(f *frame) error {
	s.del(key64(kindFrame, f.base))
	if !f.firstID.IsZero() {
		s.del(firstKey(f.firstID))
	}
	if f.bits {
		s.del(key64(kindOpen, f.base))
	}
	prefix := key64(kindAttempt, f.base)
	err := s.kv.View(context.Background(), func(r Reader) error {
		for k := range r.Scan(prefix, prefixEnd(prefix)) {
			s.del(k)
		}
		return nil
	})
	if have := s.frames[f.base]; have != nil {
		s.forget(f.base, have)
	}
	if s.lastFrame != nil && s.lastFrame.base == f.base {
		s.lastFrame = nil
	}
	return err
}

func guestKey(segment, seq uint64) []byte {
	k := key64(kindGuest, segment)
	for i := 56; i >= 0; i -= 8 {
		k = append(k, byte(seq>>i))
	}
	return k
}
