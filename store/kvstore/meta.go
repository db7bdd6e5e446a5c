package kvstore

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// meta is what the engine remembers about the whole. It is one row, written with every flush.
type meta struct {
	flushed  Mark
	clean    bool // nothing happened since: the store was closed
	opens    uint64
	lastSeq  uint64
	lastID   store.ID // the largest ID that is found through its frame
	maxAside store.ID // the largest ID that has a row of its own
	lastAt   time.Time
	events   int64
	pending  int64
	dead     int64
	queues   uint32
	flushNo  uint64
	salt     uint64 // of the hashes of idempotency keys
	dropBase uint64 // the first frame that may lie in the oldest segment
}

var metaKey = []byte{kindMeta, 's'}

const metaVersion = 1

func (m *meta) encode() []byte {
	e := enc{}
	e.u8(metaVersion)
	e.uint(m.flushed.Segment)
	e.uint(uint64(m.flushed.Offset))
	e.uint(m.flushed.Frame)
	if m.clean {
		e.u8(1)
	} else {
		e.u8(0)
	}
	e.uint(m.opens)
	e.uint(m.lastSeq)
	e.raw(m.lastID[:])
	e.raw(m.maxAside[:])
	e.time(m.lastAt)
	e.int(m.events)
	e.int(m.pending)
	e.int(m.dead)
	e.uint(uint64(m.queues))
	e.uint(m.flushNo)
	e.fix64(m.salt)
	e.uint(m.dropBase)
	return e.b
}

func (m *meta) decode(b []byte) error {
	d := dec{b: b}
	if v := d.u8(); v != metaVersion && d.err == nil {
		return errVersion("meta", v)
	}
	m.flushed = Mark{d.uint(), int64(d.uint()), d.uint()}
	m.clean = d.u8() == 1
	m.opens = d.uint()
	m.lastSeq = d.uint()
	copy(m.lastID[:], d.raw(16))
	copy(m.maxAside[:], d.raw(16))
	m.lastAt = d.time()
	m.events = d.int()
	m.pending = d.int()
	m.dead = d.int()
	m.queues = uint32(d.uint())
	m.flushNo = d.uint()
	m.salt = d.fix64()
	m.dropBase = d.uint()
	if d.err != nil {
		return fmt.Errorf("%w: meta: %w", store.ErrCorrupt, d.err)
	}
	return nil
}
