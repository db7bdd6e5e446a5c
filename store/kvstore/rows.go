package kvstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// The kinds of rows, by the first byte of their key. docs/format.md tells the same with examples.
const (
	kindMeta    = 'm' // m name                                      -> see meta.go
	kindFrame   = 'f' // f base                                      -> where the frame is and the table of its events
	kindFirst   = 'x' // x id of a frame's first event               -> base
	kindAside   = 's' // s id of an event outside its frame's range  -> seq
	kindOpen    = 'o' // o base                                      -> bits of the deliveries that wait for a first attempt
	kindRow     = 'v' // v seq n                                     -> a delivery with a story of its own
	kindDue     = 'r' // r queue class due seq n                     -> nothing; such deliveries that wait
	kindShut    = 'l' // l seq n                                     -> nothing; such deliveries that keep a lane shut
	kindDead    = 'd' // d queue seq n                               -> nothing; dead letters
	kindAttempt = 'a' // a base flush                                -> attempts, packed
	kindQueue   = 'q' // q number                                    -> tenant, destination
	kindGate    = 'g' // g destination 0 cause                       -> gate
	kindDoc     = 'c' // c kind 0 group 0 id                         -> document
	kindKeys    = 'h' // h hour number                               -> idempotency keys that end in that hour, packed
	kindFrozen  = 'z' // z hour flush hash                           -> the same keys again, sorted by hash, of parts that memory holds no more
	kindGhost   = 'k' // k seq                                       -> what an idempotency key needs of an event that is forgotten
	kindMoved   = 'u' // u seq                                       -> where retention moved the event's record
	kindGuest   = 'w' // w segment seq                               -> nothing; events whose record was moved to that segment
	kindLog     = 'j' // j segment frame                             -> a frame, where the KV is also the log
)

// ref points at a delivery: the place of its event in commit order, and its number.
type ref struct{ seq, n uint64 }

func (r ref) before(o ref) bool { return r.seq < o.seq || r.seq == o.seq && r.n < o.n }

// row is a delivery with a story of its own.
type row struct {
	queue     uint32
	state     store.State
	class     store.Class
	leased    bool // a lease was noted and nothing was heard since
	block     bool // dead, and its lane stays shut
	silent    bool // some attempt was counted that was not recorded
	damaged   bool // made up: the real one cannot be read
	lane      uint64
	laneName  string // empty where the event's record says it
	due       time.Time
	gen       uint64
	attempts  int
	recorded  int
	abandoned int
	code      int
	err       string
	reason    string
	created   time.Time
	first     time.Time
	settled   time.Time
	origin    store.DeliveryID
}

const rowVersion = 1

func (r *row) encode() []byte {
	e := enc{make([]byte, 0, 96)}
	r.encodeTo(&e)
	return e.b
}

func (r *row) encodeTo(e *enc) {
	e.u8(rowVersion)
	e.u8(byte(r.state) | byte(r.class)<<4)
	var flags byte
	if r.leased {
		flags |= 1
	}
	if r.block {
		flags |= 2
	}
	if !r.origin.IsZero() {
		flags |= 4
	}
	if r.lane != 0 {
		flags |= 8
	}
	if r.silent {
		flags |= 16
	}
	e.u8(flags)
	e.uint(uint64(r.queue))
	if r.lane != 0 {
		e.fix64(r.lane)
		e.str(r.laneName)
	}
	e.time(r.due)
	e.uint(r.gen)
	e.uint(uint64(r.attempts))
	e.uint(uint64(r.recorded))
	e.uint(uint64(r.abandoned))
	e.int(int64(r.code))
	e.str(r.err)
	e.str(r.reason)
	e.time(r.created)
	e.time(r.first)
	e.time(r.settled)
	if !r.origin.IsZero() {
		e.raw(r.origin.Event[:])
		e.uint(r.origin.N)
	}
}

func decodeRow(b []byte) (*row, error) {
	r := &row{}
	if err := r.decode(b); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *row) decode(b []byte) error {
	d := dec{b: b}
	if v := d.u8(); v != rowVersion {
		return errVersion("delivery", v)
	}
	st := d.u8()
	flags := d.u8()
	*r = row{state: store.State(st & 15), class: store.Class(st >> 4), leased: flags&1 != 0, block: flags&2 != 0, silent: flags&16 != 0}
	r.queue = uint32(d.uint())
	if flags&8 != 0 {
		r.lane = d.fix64()
		r.laneName = d.str()
	}
	r.due = d.time()
	r.gen = d.uint()
	r.attempts = int(d.uint())
	r.recorded = int(d.uint())
	r.abandoned = int(d.uint())
	r.code = int(d.int())
	r.err = d.str()
	r.reason = d.str()
	r.created = d.time()
	r.first = d.time()
	r.settled = d.time()
	if flags&4 != 0 {
		copy(r.origin.Event[:], d.raw(16))
		r.origin.N = d.uint()
	}
	if d.err != nil {
		return fmt.Errorf("%w: delivery: %w", store.ErrCorrupt, d.err)
	}
	if r.class >= store.Classes || r.state != store.Pending && r.state != store.Done && r.state != store.Dead && r.state != store.Cancelled {
		return fmt.Errorf("%w: delivery: there is no state %d of class %d", store.ErrCorrupt, r.state, r.class)
	}
	return nil
}

// undecided reports whether the row keeps its lane shut.
func (r *row) undecided() bool { return r.waits() || r.state == store.Dead && r.block }

// waits reports whether the row is one of a delivery that may still be tried by itself.
func (r *row) waits() bool { return r.state == store.Pending }

func dueKey(queue uint32, class store.Class, due time.Time, at ref) []byte {
	b := make([]byte, 0, 30)
	b = append(b, kindDue)
	b = binary.BigEndian.AppendUint32(b, queue)
	b = append(b, byte(class))
	b = binary.BigEndian.AppendUint64(b, uint64(due.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, at.seq)
	return binary.BigEndian.AppendUint64(b, at.n)
}

func duePrefix(queue uint32, class store.Class) []byte {
	b := append(make([]byte, 0, 14), kindDue)
	b = binary.BigEndian.AppendUint32(b, queue)
	return append(b, byte(class))
}

func deadKey(queue uint32, at ref) []byte {
	b := append(make([]byte, 0, 21), kindDead)
	b = binary.BigEndian.AppendUint32(b, queue)
	b = binary.BigEndian.AppendUint64(b, at.seq)
	return binary.BigEndian.AppendUint64(b, at.n)
}

// laneHash names a lane in eight bytes (FNV-1a). Two lanes of one hash would wait for each other, and nothing worse.
func laneHash(queue uint32, lane string) uint64 {
	if lane == "" {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := 0; i < 4; i++ {
		h = (h ^ uint64(byte(queue>>(8*i)))) * 1099511628211
	}
	for i := 0; i < len(lane); i++ {
		h = (h ^ uint64(lane[i])) * 1099511628211
	}
	if h == 0 {
		h = 1
	}
	return h
}
