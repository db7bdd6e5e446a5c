package hookgate

import (
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Errors that a caller can act on. Test for them with errors.Is.
var (
	// ErrFull: the store has no room for new events. Deliveries go on; free disk space and it recovers by itself.
	ErrFull = store.ErrFull
	// ErrFailed: the disk failed the store. Nothing more is written until it is opened again.
	ErrFailed = store.ErrFailed
	// ErrBusy: another process has the store open.
	ErrBusy = store.ErrBusy
	// ErrCorrupt: what is stored is damaged; the message says where.
	ErrCorrupt = store.ErrCorrupt
	// ErrNotFound: there is no such thing, or it belongs to another tenant.
	ErrNotFound = store.ErrNotFound
	// ErrConflict: somebody changed it meanwhile, or an idempotency key was used again with other content.
	ErrConflict = store.ErrConflict
	// ErrUnknownOutcome: the event may or may not have been accepted. Publish again with the ID that came with this error:
	// that is harmless in either case.
	ErrUnknownOutcome = store.ErrUnknownOutcome
	// ErrClosed: the gateway was closed or is shutting down.
	ErrClosed = errors.New("hookgate: the gateway is closed")
	// ErrRunning: Run was called while it runs.
	ErrRunning = errors.New("hookgate: already running")
)

// ConfigError is a mistake in a setting or an argument; Field names it.
type ConfigError struct {
	Field string
	Err   error
}

// Error names the field.
func (e *ConfigError) Error() string { return fmt.Sprintf("hookgate: %s: %v", e.Field, e.Err) }

// Unwrap gives the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

func configError(field, format string, args ...any) error {
	return &ConfigError{Field: field, Err: fmt.Errorf(format, args...)}
}

// A handler says what becomes of its delivery with the error it returns: nil is done; Permanent, RetryAfter and Ignore
// say more; any other error follows the retry policy.

type outcomeError struct {
	err   error
	kind  outcomeKind
	after time.Duration
}

type outcomeKind uint8

const (
	outcomePermanent outcomeKind = iota + 1
	outcomeRetryAfter
	outcomeIgnore
)

func (e *outcomeError) Error() string { return e.err.Error() }
func (e *outcomeError) Unwrap() error { return e.err }

// Permanent says that trying again will not help: the delivery becomes a dead letter now. A nil err stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{err: err, kind: outcomePermanent}
}

// RetryAfter says when to try again. The attempt counts, and the wait is clamped like a Retry-After header. A nil err
// stays nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{err: err, kind: outcomeRetryAfter, after: d}
}

// Ignore says that there was nothing to do: the delivery is done, and shows the reason.
func Ignore(reason string) error {
	return &outcomeError{err: errors.New(reason), kind: outcomeIgnore}
}
