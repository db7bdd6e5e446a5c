package kvstore

import (
	"context"
	"iter"
)

// KV is an ordered key-value engine that belongs to this process alone.
//
// Keys start with one byte that says which kind of row they are (see rows.go), so that an engine with buckets can keep
// each kind in one.
type KV interface {
	// Update runs fn in one durable transaction: when it returns nil, everything that fn put and deleted is on disk, and
	// otherwise nothing is. An error that wraps [store.ErrFull] means that there was no room; any other is fatal until
	// the engine is opened again. There is one Update at a time.
	Update(ctx context.Context, fn func(Writer) error) error

	// View runs fn over a snapshot. Views may run side by side, and beside an Update.
	View(ctx context.Context, fn func(Reader) error) error

	// Close gives the engine back; no other call is running then.
	Close() error
}

// Reader reads a snapshot. What it returns must not be written to; values are valid until the transaction ends, keys until
// the next step of their loop.
type Reader interface {
	// Get returns the value of key, or nil.
	Get(key []byte) []byte

	// Scan goes through the keys in [from, to) in ascending order, ScanBack in descending order.
	Scan(from, to []byte) iter.Seq2[[]byte, []byte]
	ScanBack(from, to []byte) iter.Seq2[[]byte, []byte]
}

// Writer also writes. Keys and values belong to the caller again when the call returns. Keys that come in ascending order
// within a kind of row make most engines faster, and that is how they come.
type Writer interface {
	Reader
	Put(key, value []byte) error
	Delete(key []byte) error
}

// Log is where frames are made durable. With none, [New] keeps them as rows of the KV.
//
// Append has one caller at a time; the other methods are safe for concurrent use.
type Log interface {
	// HeaderSize is how many bytes at the front of a frame the log wants for itself.
	HeaderSize() int

	// Append makes the frame durable and says where it is; its events are read back from there. Frames are numbered 1, 2,
	// 3 ... If there is no room it returns an error that wraps [store.ErrFull], and nothing was written; reserve says that
	// space kept back for outcomes may be used. Any other error is fatal.
	Append(frame []byte, reserve bool) (Mark, error)

	// ReadAt reads bytes of a frame's segment.
	ReadAt(p []byte, segment uint64, offset int64) error

	// Recover calls fn for every frame after mark, in order, with the frame's bytes behind the header. It is called once,
	// before anything else.
	Recover(after Mark, fn func(at Mark, body []byte) error) error

	// Sync returns when every frame that was appended survives a power cut. For a log whose Append sees to that, it has
	// nothing to do.
	Sync() error

	// Segments tells the segments, oldest first; the last is being written. Drop forgets one that is not.
	Segments() []Segment
	Drop(segment uint64) error

	// Size is how many bytes it takes on disk; Full says that it has only its reserve left.
	Size() int64
	Full() bool

	Close() error
}

// Mark is where a frame is: its segment, its offset there, and its number.
type Mark struct {
	Segment uint64
	Offset  int64
	Frame   uint64
}

// Segment is a part of a log that is forgotten as a whole. First and Last are the numbers of its frames, 0 and 0 for
// none.
type Segment struct {
	Number      uint64
	First, Last uint64
	Bytes       int64
}

// DeliveryRow is the kind of the rows that tell a delivery's story. An engine that finds one damaged answers DamagedRow in
// its place, so that the damage stays with that one delivery, which becomes a dead letter; any other damaged row it reports.
const DeliveryRow = kindRow

// DamagedRow is what a damaged row of a delivery reads as.
var DamagedRow = []byte{0xff}

// Ascending reports whether rows of a kind are put in the order of their keys, so that an engine may fill its pages.
func Ascending(kind byte) bool {
	switch kind {
	case kindFrame, kindFirst, kindAttempt, kindKeys, kindFrozen, kindLog:
		return true
	}
	return false
}
