package vectors

import (
	"errors"
	"fmt"

	"github.com/hookgate/hookgate/signing"
)

// ErrCannotRun matches an error of Check that says nothing about the verifier: nobody knows the scheme, or the entry is
// damaged.
var ErrCannotRun = errors.New("cannot be run")

// Check verifies the entry and compares the verdict. Nil means that it is the right one. The error says in which way it
// is not, or matches ErrCannotRun. It holds no secret.
func (e *Entry) Check() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the verifier panicked: %v", p)
		}
	}()
	if e.damage != "" {
		return fmt.Errorf("%w: %s", ErrCannotRun, e.damage)
	}
	request, err := e.Request()
	if err != nil {
		return err
	}
	verifier, err := e.Verifier()
	if errors.Is(err, ErrCannotRun) {
		return err
	}
	if err == nil {
		if _, err = verifier.Verify(request); err != nil && !errors.Is(err, signing.ErrRefused) {
			return fmt.Errorf("the error of the verifier does not match ErrRefused: %w", err)
		}
	}
	switch {
	case e.Valid && err != nil:
		return fmt.Errorf("must be accepted (%s), and was refused: %w", e.Why, err)
	case !e.Valid && err == nil:
		return fmt.Errorf("must be refused (%s), and was accepted", e.Why)
	}
	return nil
}
