package signing

import (
	"errors"
	"fmt"
)

// ErrRefused matches every error of a Verifier about a request. Its text is all that a stranger may learn.
var ErrRefused = errors.New("the request could not be verified")

// Why a request was refused. Test for them with errors.Is.
var (
	// ErrMissing: a header or field that the scheme needs is not there.
	ErrMissing = errors.New("missing")
	// ErrMalformed: a header or field is there and cannot be read.
	ErrMalformed = errors.New("malformed")
	// ErrMismatch: everything can be read, and no signature fits any key.
	ErrMismatch = errors.New("no signature fits")
	// ErrTooOld: the signature fits, and its timestamp is too long ago.
	ErrTooOld = errors.New("too old")
	// ErrTooNew: the signature fits, and its timestamp is too far ahead of the clock.
	ErrTooNew = errors.New("too new")
)

// Error is why a request was refused, in words for the operator: which header, how many keys, how stale, and what is
// the likely cause. It never holds a secret, a signature, or anything else out of the request. It matches ErrRefused and
// its Kind.
type Error struct {
	Scheme string // the scheme that refused, such as "github"
	Kind   error  // ErrMissing, ErrMalformed, ErrMismatch, ErrTooOld or ErrTooNew
	Detail string // the words

	// HoldsSecret: the request brings a secret of ours, so it must be neither kept nor shown.
	HoldsSecret bool
}

// Error gives all of it in one line.
func (e *Error) Error() string { return fmt.Sprintf("signing: %s: %s: %s", e.Scheme, e.Kind, e.Detail) }

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Is matches ErrRefused.
func (e *Error) Is(target error) bool { return target == ErrRefused }
