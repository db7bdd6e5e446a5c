package hookgate

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/store"
)

// idMaker makes event IDs: UUIDs of version 7, each greater than the one before, whoever in this process made it. Random
// bytes are read in bulk, because a system call for each ID would cost more than the rest. It is not safe for concurrent
// use.
//
// This is what uuid.NewV7FromReader does, without an allocation for each.
type idMaker struct {
	block [1024]byte
	left  int // random bytes at the end of block that are unused
}

const (
	idRandom = 8  // random bytes of an ID
	idTick   = 12 // bits of an ID that count within a millisecond, in ticks of 256 ns
)

// lastID is the time of the ID that was made last: milliseconds, followed by ticks.
var lastID atomic.Int64

func (m *idMaker) next() store.ID {
	if m.left < idRandom {
		rand.Read(m.block[:]) // it never fails: without randomness it ends the program
		m.left = len(m.block)
	}
	var id store.ID
	copy(id[8:], m.block[len(m.block)-m.left:])
	m.left -= idRandom

	at := nextTime(time.Now())
	binary.BigEndian.PutUint64(id[:8], uint64(at>>idTick<<16|at&(1<<idTick-1)))
	id[6] |= 0x70             // version 7
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	return id
}

// nextTime is the time of the next ID: now, or a tick after the last one if that is later.
func nextTime(now time.Time) int64 {
	nano := now.UnixNano()
	ms := nano / int64(time.Millisecond)
	at := ms<<idTick | (nano-ms*int64(time.Millisecond))>>8
	for {
		last := lastID.Load()
		at = max(at, last+1)
		if lastID.CompareAndSwap(last, at) {
			return at
		}
	}
}
