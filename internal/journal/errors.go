package journal

import "errors"

// Errors to compare with errors.Is. What they are wrapped in says which file, where, and why.
var (
	// ErrFull means that there is no space for the frame. Nothing was written, and a later Append may find space again.
	ErrFull = errors.New("no space left in the journal")

	// ErrFailed means that a write or a sync failed, now or earlier, and that the journal takes no more writes until it is
	// opened again. Whether the frame of the Append that saw it first is on disk is unknown: it may be there after Open.
	ErrFailed = errors.New("the journal has failed and must be opened again")

	// ErrCorrupt means that bytes that were on disk are not as they were written.
	ErrCorrupt = errors.New("the journal is damaged")

	// ErrForeign means that a segment belongs to another store.
	ErrForeign = errors.New("the journal belongs to another store")

	// ErrVersion means that a newer program wrote this.
	ErrVersion = errors.New("the journal has a newer format")

	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the journal is closed")

	// ErrNoSegment means that the journal does not hold the segment, or no longer.
	ErrNoSegment = errors.New("no such segment in the journal")

	// ErrTooLarge means that the body is longer than MaxBody.
	ErrTooLarge = errors.New("the frame is too large for the journal")
)
