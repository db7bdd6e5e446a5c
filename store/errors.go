package store

import (
	"errors"
	"fmt"
)

// The conditions that a store tells apart. Use errors.Is: a store wraps them with what it was doing.
var (
	// ErrFull: there is no room for appends. Settles still work, and appends will when there is room again.
	ErrFull = errors.New("the store is full: free disk space, it recovers by itself")

	// ErrFailed: a write or sync failed, so the store refuses every further write until it is opened again.
	ErrFailed = errors.New("the store has failed and must be opened again")

	// ErrBusy: somebody else has the store open.
	ErrBusy = errors.New("the store is in use by another process")

	// ErrCorrupt: what is stored is damaged.
	ErrCorrupt = errors.New("the store is damaged")

	// ErrNotFound: there is no such thing, or it belongs to another tenant.
	ErrNotFound = errors.New("not found")

	// ErrConflict: the version, the content or the state is not the expected one.
	ErrConflict = errors.New("conflict")

	// ErrDuplicate: the idempotency key is taken by an event with the same content.
	ErrDuplicate = errors.New("duplicate")

	// ErrLeaseLost: the lease ended, or somebody else has it.
	ErrLeaseLost = errors.New("the lease was lost")

	// ErrUnknownOutcome: the commit may or may not have happened; commit the same batch again to find out.
	ErrUnknownOutcome = errors.New("the outcome is unknown: repeat with the same ID")

	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")

	// ErrForeignTx: the transaction is not one of this store's.
	ErrForeignTx = errors.New("the transaction does not belong to this store")

	// ErrBadCursor: the cursor was not made by this query.
	ErrBadCursor = errors.New("the cursor does not belong to this query")
)

// LimitError says that something is larger than a store keeps.
type LimitError struct {
	What  string
	Size  int64
	Limit int64
}

// Error names the thing and both numbers.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d is over the limit of %d", e.What, e.Size, e.Limit)
}
