package kvstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// A frame's body:
//
//	offset  size  field
//	     0     1  version, 1
//	     1     8  time of the commit, nanoseconds since 1970
//	     9     8  base: the place of the first event; 0 if the records that follow were moved here
//	    17     4  number of records
//	    21     4  length of the operations
//	    25        records, each after its length in 4 bytes; then the operations
//
// Numbers of fixed size are little endian, as everywhere in the store.
const (
	bodyVersion = 1
	bodyHeader  = 25
	maxRecord   = 256 << 20 // bytes of an event's record
	maxFanOut   = 1 << 20   // deliveries of one event
	maxAppends  = 512 << 20 // bytes of the events and documents of one commit
	maxBody     = 1<<30 - 4096
	maxName     = 30 << 10 // bytes of the key of a document or gate; engines have a limit there
)

// Commit decides, makes durable, and applies: see the package's doc.
func (s *Store) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("commit: %w: %w", store.ErrUnknownOutcome, err) // of a batch that may have been tried before
	}
	s.life.RLock()
	defer s.life.RUnlock()
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	r, err := s.commit(b, true)
	if errors.Is(err, store.ErrFull) && len(b.Appends) > 0 {
		// What was done can still be recorded: there is space kept back for it.
		if len(b.Settles)+len(b.Gates)+len(b.Docs) == 0 {
			return fullReceipt(b, err), nil
		}
		r, err = s.commit(b, false)
	}
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return r, nil
}

// notesOnly is the batch of commitNotes.
var notesOnly = &store.Batch{}

// fullReceipt refuses every append of a batch that has nothing else.
func fullReceipt(b *store.Batch, err error) *store.Receipt {
	r := &store.Receipt{Appends: make([]store.AppendResult, len(b.Appends))}
	for i := range r.Appends {
		r.Appends[i].Err = err
	}
	return r
}

// commit makes one frame of a batch; the caller holds commitMu. Without appends, these are refused as full.
func (s *Store) commit(b *store.Batch, appends bool) (*store.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.roomForChanges(); err != nil {
		return nil, err
	}
	now := s.clock()
	s.expire(now)
	p := &s.plan
	p.reset(now, b)
	defer p.letGo()
	if err := s.decide(p, b, appends); err != nil {
		s.abandon(p)
		return nil, err
	}
	if p.empty() && b == notesOnly {
		s.writeNotes(p)
	}
	if p.empty() {
		s.applyMemory(p)
		return p.receipt, nil
	}
	return p.receipt, s.finish(p)
}

// finish makes what was planned durable and applies it; the caller holds commitMu and mu.
func (s *Store) finish(p *plan) error {
	if !s.opened {
		p.notes.u8(opOpened)
		p.notes.uint(s.meta.opens + 1)
	}
	if len(p.notes.b) > 0 {
		p.notes.b = append(p.notes.b, p.ops.b...)
		p.ops, p.notes = p.notes, p.ops
	}
	s.mu.Unlock()
	err := s.write(p)
	s.mu.Lock()
	if err != nil {
		s.abandon(p)
		if limit := (*store.LimitError)(nil); !errors.Is(err, store.ErrFull) && !errors.As(err, &limit) {
			err = s.fail(err)
		}
		return err
	}
	s.opened = true
	s.makeLeases(p)
	if err := s.apply(p.mark, p.now, p.ops.b, p.frame, true); err != nil {
		return s.fail(err)
	}
	s.applyMemory(p)
	s.wakeFlusher()
	return nil
}

// commitNotes writes a frame that says which leases were given, and what became of poison; the caller holds commitMu.
func (s *Store) commitNotes() (*store.Receipt, error) {
	s.mu.Lock()
	if len(s.notes) == 0 && len(s.poison) == 0 && len(s.damaged) == 0 {
		s.mu.Unlock()
		return nil, nil
	}
	s.mu.Unlock()
	return s.commit(notesOnly, true)
}

// fail ends all writing for good, unless it has ended before.
func (s *Store) fail(err error) error {
	if s.failed == nil {
		if !errors.Is(err, store.ErrFailed) {
			err = fmt.Errorf("%w: %w", store.ErrFailed, err)
		}
		s.failed = err
		s.logger.Error("hookgate: the store has failed and takes no more writes until it is opened again", "error", err)
		s.flusher.done.Broadcast()
	}
	return s.failed
}

// roomForChanges waits until not too much is waiting for the engine.
func (s *Store) roomForChanges() error {
	for {
		if err := s.usable(true); err != nil {
			return err
		}
		if len(s.delta) < maxUnflushed {
			return nil
		}
		if s.stuck {
			s.kickFlusher()
			return fmt.Errorf("%w: too much waits to be brought to the index", store.ErrFull)
		}
		s.kickFlusher()
		s.flusher.done.Wait()
	}
}

// write encodes the frame and makes it durable; the caller holds commitMu and not mu.
func (s *Store) write(p *plan) error {
	b := append(s.buf[:0], make([]byte, s.head+bodyHeader)...)
	if len(p.events) > 0 {
		p.frame = newFrame(p.base, p.now, len(p.events), len(p.targets))
	}
	first := len(b) + recordGap
	for i := range p.events {
		ev := &p.events[i]
		targets := p.targets[ev.from:ev.to]
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		b = appendEvent(b, ev.event, &ev.stamp, targets)
		size := len(b) - at - recordGap
		binary.LittleEndian.PutUint32(b[at:], uint32(size))
		p.frame.add(ev.event, &ev.stamp, at+recordGap-first, size, targets, s.meta.salt)
	}
	for _, m := range p.moved {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(m)))
		b = append(b, m...)
	}
	b = append(b, p.ops.b...)
	putBodyHeader(b[s.head:], p.now, p.base, len(p.events)+len(p.moved), len(p.ops.b))
	if cap(b) <= 16<<20 {
		s.buf = b
	} else {
		s.buf = nil
	}
	if size := len(b) - s.head; size > maxBody {
		return &store.LimitError{What: "commit", Size: int64(size), Limit: maxBody}
	}
	mark, err := s.log.Append(b, len(p.events)+len(p.moved) == 0)
	if err != nil {
		return err
	}
	p.mark = mark
	if f := p.frame; f != nil {
		f.segment, f.start = mark.Segment, mark.Offset+int64(first)
	}
	return nil
}

// newFrame makes the memory of a frame whose events are added next.
func newFrame(base uint64, now time.Time, events, cells int) *frame {
	f := &frame{base: base, time: now, events: make([]slot, 0, events), ids: make([]store.ID, 0, events), cells: make([]cell, 0, cells)}
	f.newBits(cells)
	return f
}

// add adds the next event of a new frame.
func (f *frame) add(ev *store.Event, st *stamp, offset, size int, targets []target, salt uint64) {
	f.ids = append(f.ids, ev.ID)
	f.events = append(f.events, slot{uint32(offset), uint32(size), uint32(len(f.cells))})
	for n := range targets {
		t := &targets[n]
		c := uint32(len(f.cells))
		f.cells = append(f.cells, cell{t.queue, t.hash})
		if !t.waits() {
			f.delayed = append(f.delayed, delayedTarget{ref{st.seq, uint64(n)}, t.after, t.class, t.queue, t.hash})
			continue
		}
		f.open.set(c)
		if t.leased {
			f.leased.set(c)
		}
	}
	if ev.IdempotencyKey != "" {
		end := st.keyExpires()
		if end.After(f.keys) {
			f.keys = end
		}
		f.taken = append(f.taken, takenKey{keyEntry{keyHash(salt, ev.Tenant, ev.Source, ev.IdempotencyKey), st.seq}, end})
	}
}

// delayedTarget is a delivery of a new frame that gets a row at once.
type delayedTarget struct {
	at    ref
	after time.Duration
	class store.Class
	queue uint32
	lane  uint64
}

// takenKey is an idempotency key that a new frame takes.
type takenKey struct {
	entry keyEntry
	end   time.Time
}

// waits reports whether the delivery waits for its first attempt without a row of its own.
func (t *target) waits() bool { return t.after == 0 && t.class == store.Live }

func putBodyHeader(b []byte, now time.Time, base uint64, records, ops int) {
	b[0] = bodyVersion
	binary.LittleEndian.PutUint64(b[1:], uint64(now.UnixNano()))
	binary.LittleEndian.PutUint64(b[9:], base)
	binary.LittleEndian.PutUint32(b[17:], uint32(records))
	binary.LittleEndian.PutUint32(b[21:], uint32(ops))
}

// body is a frame's body taken apart.
type body struct {
	now     time.Time
	base    uint64
	records [][]byte
	first   int // offset of the first record in the body
	ops     []byte
}

func parseBody(b []byte) (*body, error) {
	if len(b) < bodyHeader {
		return nil, fmt.Errorf("%w: a frame is too short", store.ErrCorrupt)
	}
	if b[0] != bodyVersion {
		return nil, errVersion("frame", b[0])
	}
	le := binary.LittleEndian
	x := &body{now: time.Unix(0, int64(le.Uint64(b[1:]))), base: le.Uint64(b[9:]), first: bodyHeader + recordGap}
	n, ops := int(le.Uint32(b[17:])), int(le.Uint32(b[21:]))
	rest := b[bodyHeader:]
	if n > len(rest)/recordGap {
		return nil, fmt.Errorf("%w: a frame says that it has %d records", store.ErrCorrupt, n)
	}
	x.records = make([][]byte, n)
	for i := range x.records {
		if len(rest) < recordGap || uint64(le.Uint32(rest)) > uint64(len(rest)-recordGap) {
			return nil, fmt.Errorf("%w: a frame ends within a record", store.ErrCorrupt)
		}
		size := le.Uint32(rest)
		x.records[i] = rest[recordGap : recordGap+size]
		rest = rest[recordGap+size:]
	}
	if len(rest) != ops {
		return nil, fmt.Errorf("%w: a frame's operations have %d bytes and should have %d", store.ErrCorrupt, len(rest), ops)
	}
	x.ops = rest
	return x, nil
}

// frame makes the memory of the events in a frame that is read again; nil if it has none.
func (x *body) frame(at Mark, head int, salt uint64) (*frame, error) {
	if x.base == 0 || len(x.records) == 0 {
		return nil, nil
	}
	records := make([]*record, len(x.records))
	cells := 0
	for i, b := range x.records {
		r, err := decodeEvent(b, false)
		if err != nil {
			return nil, err
		}
		records[i] = r
		cells += len(r.targets)
	}
	f := newFrame(x.base, x.now, len(records), cells)
	f.segment, f.start = at.Segment, at.Offset+int64(head+x.first)
	offset := 0
	for i, r := range records {
		f.add(&r.event, &r.stamp, offset, len(x.records[i]), r.targets, salt)
		offset += len(x.records[i]) + recordGap
	}
	return f, nil
}
