package signing

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// maxReason is how much of a foreign error's text is kept, in bytes.
const maxReason = 500

// Forward lets a function decide, such as one that asks a service of yours. Nil as error means that the sender is proven,
// and the verdict counts as it is: set Key to -1 where there is no key, and Covers to what the proof is worth.
//
// An error refuses the request. Its text goes to the operator only, shortened to 500 bytes: put no secret in it. An
// *Error is passed on as it is; any other becomes one of the kind ErrMismatch, or ErrUnavailable if the context ended. A
// panic refuses, too.
//
// The function may be called by many goroutines, and must neither change the request nor keep any part of it. Its context
// ends with the request; nothing else limits how long it takes. Forward is an error only if decide is nil.
func Forward(decide func(ctx context.Context, r *Request) (Verdict, error)) (Verifier, error) {
	if decide == nil {
		return nil, errors.New("signing: forward: the function is nil; to take requests from anybody, write Unverified")
	}
	return &forward{decide}, nil
}

type forward struct {
	decide func(context.Context, *Request) (Verdict, error)
}

// Verify asks the function.
func (f *forward) Verify(r *Request) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = Verdict{}, named("forward", flaw(ErrMismatch, "the function that decides had a panic: %s", panicText(p)))
		}
	}()
	if v, err = f.decide(r.context(), r); err != nil {
		return Verdict{}, refusalOf("forward", err)
	}
	return v, nil
}

// panicText names a panic. Only that of the runtime is repeated: others may hold what was sent.
func panicText(p any) string {
	if e, ok := p.(runtime.Error); ok {
		return plainReason(e.Error())
	}
	return fmt.Sprintf("a value of type %T", p)
}

// refusalOf gives a foreign error the form of ours.
func refusalOf(scheme string, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && e != nil && e.Kind != nil {
		return named(scheme, e)
	}
	kind := ErrMismatch
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		kind = ErrUnavailable
	}
	return &Error{Scheme: scheme, Kind: kind, Detail: plainReason(err.Error())}
}

// plainReason makes one line of a text, of bounded length.
func plainReason(text string) string {
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
}
