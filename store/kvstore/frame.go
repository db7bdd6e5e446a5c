package kvstore

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// frame is what memory holds of a frame with events: where they are, where their deliveries go, and which of these still
// wait for a first attempt. Its name is base, the place of its first event in commit order.
type frame struct {
	base    uint64
	segment uint64
	start   int64 // of the first event's record in the segment
	time    time.Time
	firstID store.ID  // zero if its events are all found aside
	keys    time.Time // until when an idempotency key of its events is taken; zero without keys
	events  []slot
	cells   []cell
	gone    bitset // events that retention forgot; nil for none
	moved   bitset // events that retention copied to elsewhere; nil for none
	open    bitset
	leased  bitset

	ids     []store.ID      // while it is new
	delayed []delayedTarget // while it is being applied
	taken   []takenKey      // while it is being applied
	packed  []byte          // attempts that wait for the flush
	isNew   bool            // not in the engine yet
	dirty   bool            // bits differ from the engine's, or packed is not empty
	rewrite bool            // gone or moved differ from the engine's
	pruned  bool            // dirty, and by retention alone
	bits    bool            // the engine has a row of bits for it
	pinned  int             // on its way to the engine, or leased
	used    uint64          // when it was last looked for
}

// slot is one event of a frame.
type slot struct {
	offset uint32 // from start
	size   uint32
	first  uint32 // index of its first delivery in cells
}

// cell is one delivery of a frame.
type cell struct {
	queue uint32
	lane  uint64
}

// recordGap is what stands between the records of a frame: the size of the next.
const recordGap = 4

// weight is what it counts in the cache.
func (f *frame) weight() int { return 8 + len(f.events) + len(f.cells) }

func (f *frame) last() uint64 { return f.base + uint64(len(f.events)) - 1 }

func (f *frame) has(seq uint64) bool { return seq >= f.base && seq-f.base < uint64(len(f.events)) }

// forgot reports whether retention has forgotten an event.
func (f *frame) forgot(seq uint64) bool { return f.gone != nil && f.gone.has(uint32(seq-f.base)) }

// deliveries tells the range of an event's deliveries in cells.
func (f *frame) deliveries(seq uint64) (from, to uint32) {
	i := int(seq - f.base)
	from = f.events[i].first
	if i+1 < len(f.events) {
		return from, f.events[i+1].first
	}
	return from, uint32(len(f.cells))
}

// cell finds the index of a delivery that was appended with its event.
func (f *frame) cell(at ref) (uint32, bool) {
	if !f.has(at.seq) || at.n >= store.FirstLater {
		return 0, false
	}
	from, to := f.deliveries(at.seq)
	if at.n >= uint64(to-from) {
		return 0, false
	}
	return from + uint32(at.n), true
}

// refOf finds the delivery of a cell.
func (f *frame) refOf(c uint32) ref {
	i, found := slices.BinarySearchFunc(f.events, c, func(s slot, c uint32) int { return int(s.first) - int(c) })
	if !found {
		i--
	}
	// Events without deliveries share their first with the next one, whose cell it is.
	for i+1 < len(f.events) && f.events[i+1].first == f.events[i].first {
		i++
	}
	return ref{f.base + uint64(i), uint64(c - f.events[i].first)}
}

// bytes is how much its events take, without those that are gone or elsewhere.
func (f *frame) bytes() (live, all int64) {
	for i, s := range f.events {
		all += int64(s.size)
		if (f.gone == nil || !f.gone.has(uint32(i))) && (f.moved == nil || !f.moved.has(uint32(i))) {
			live += int64(s.size)
		}
	}
	return live, all
}

const frameVersion = 1

const (
	frameGone = 1 << iota
	frameMoved
)

func (f *frame) encode() []byte {
	e := enc{make([]byte, 0, 64+4*len(f.events)+3*len(f.cells))}
	e.u8(frameVersion)
	var flags byte
	if f.gone != nil {
		flags |= frameGone
	}
	if f.moved != nil {
		flags |= frameMoved
	}
	e.u8(flags)
	e.uint(f.segment)
	e.uint(uint64(f.start))
	e.time(f.time)
	e.raw(f.firstID[:])
	e.time(f.keys)
	e.uint(uint64(len(f.events)))
	for i, s := range f.events {
		next := uint32(len(f.cells))
		if i+1 < len(f.events) {
			next = f.events[i+1].first
		}
		e.uint(uint64(s.size))
		e.uint(uint64(next - s.first))
		for _, c := range f.cells[s.first:next] {
			if c.lane == 0 {
				e.uint(uint64(c.queue) << 1)
			} else {
				e.uint(uint64(c.queue)<<1 | 1)
				e.fix64(c.lane)
			}
		}
	}
	for _, set := range []bitset{f.gone, f.moved} {
		for _, w := range set {
			e.fix64(w)
		}
	}
	return e.b
}

// frameHead is the fixed part of a frame's row.
type frameHead struct {
	flags   byte
	segment uint64
	start   int64
	time    time.Time
	firstID store.ID
	keys    time.Time
	events  int
}

func decodeFrameHead(d *dec) (h frameHead, err error) {
	if v := d.u8(); v != frameVersion && d.err == nil {
		return h, errVersion("frame", v)
	}
	h.flags = d.u8()
	h.segment = d.uint()
	h.start = int64(d.uint())
	h.time = d.time()
	copy(h.firstID[:], d.raw(16))
	h.keys = d.time()
	h.events = d.count(2)
	if d.err != nil {
		return h, fmt.Errorf("%w: frame: %w", store.ErrCorrupt, d.err)
	}
	return h, nil
}

func decodeFrame(base uint64, b []byte) (*frame, error) {
	d := dec{b: b}
	h, err := decodeFrameHead(&d)
	if err != nil {
		return nil, err
	}
	f := &frame{base: base, segment: h.segment, start: h.start, time: h.time, firstID: h.firstID, keys: h.keys}
	f.events = make([]slot, h.events)
	f.cells = make([]cell, 0, h.events)
	var offset uint32
	for i := range f.events {
		size := uint32(d.uint())
		f.events[i] = slot{offset, size, uint32(len(f.cells))}
		offset += size + recordGap
		for range d.count(1) {
			q := d.uint()
			c := cell{queue: uint32(q >> 1)}
			if q&1 != 0 {
				c.lane = d.fix64()
			}
			f.cells = append(f.cells, c)
		}
	}
	if h.flags&frameGone != 0 {
		f.gone = d.bitset(len(f.events))
	}
	if h.flags&frameMoved != 0 {
		f.moved = d.bitset(len(f.events))
	}
	f.newBits(len(f.cells))
	if d.err != nil {
		return nil, fmt.Errorf("%w: frame: %w", store.ErrCorrupt, d.err)
	}
	return f, nil
}

// countOpen goes through the open deliveries of a frame's two rows without making the frame, and calls fn with the queue
// and the place of each. It is how a store with a million waiting deliveries opens at once.
func countOpen(base uint64, row, bits []byte, fn func(queue uint32, at ref)) error {
	d := dec{b: row}
	h, err := decodeFrameHead(&d)
	if err != nil {
		return err
	}
	o := dec{b: bits}
	o.u8()
	words := o.b
	i := 0
	for ev := range h.events {
		d.uint()
		for n := range d.count(1) {
			q := d.uint()
			if q&1 != 0 {
				d.raw(8)
			}
			at := i / 8 // little endian words: byte i/8 holds bit i
			if at >= len(words) {
				return errShort
			}
			if words[at]&(1<<(i%8)) != 0 {
				fn(uint32(q>>1), ref{base + uint64(ev), uint64(n)})
			}
			i++
		}
	}
	return d.err
}

// bitset is a bit per thing.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

// newBits makes room for the bits of n deliveries.
func (f *frame) newBits(n int) {
	words := (n + 63) / 64
	b := make(bitset, 2*words)
	f.open, f.leased = b[:words:words], b[words:]
}

func (b bitset) has(i uint32) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) set(i uint32)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i uint32)    { b[i/64] &^= 1 << (i % 64) }

func (b bitset) any() bool {
	for _, w := range b {
		if w != 0 {
			return true
		}
	}
	return false
}

func (b bitset) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// from finds the first bit that is set at i or behind it.
func (b bitset) from(i uint32) (uint32, bool) {
	for w := i / 64; int(w) < len(b); w++ {
		v := b[w]
		if w == i/64 {
			v &= ^uint64(0) << (i % 64)
		}
		if v != 0 {
			return w*64 + uint32(bits.TrailingZeros64(v)), true
		}
	}
	return 0, false
}

func (d *dec) bitset(n int) bitset {
	b := newBitset(n)
	for i := range b {
		b[i] = d.fix64()
	}
	return b
}

// encodeBits writes the open bits and, where any is set, the leased ones.
func (f *frame) encodeBits() []byte {
	e := enc{make([]byte, 0, 1+16*len(f.open))}
	some := f.leased.any()
	if some {
		e.u8(1)
	} else {
		e.u8(0)
	}
	for _, w := range f.open {
		e.fix64(w)
	}
	if some {
		for _, w := range f.leased {
			e.fix64(w)
		}
	}
	return e.b
}

func (f *frame) decodeBits(b []byte) error {
	d := dec{b: b}
	some := d.u8() == 1
	for i := range f.open {
		f.open[i] = d.fix64()
	}
	if some {
		for i := range f.leased {
			f.leased[i] = d.fix64()
		}
	}
	f.bits = true
	if over := len(f.cells) % 64; over > 0 && d.err == nil && (f.open[len(f.open)-1]|f.leased[len(f.open)-1])>>over != 0 {
		d.err = errors.New("more is open than there is")
	}
	if d.err != nil {
		return fmt.Errorf("%w: open deliveries: %w", store.ErrCorrupt, d.err)
	}
	return nil
}
