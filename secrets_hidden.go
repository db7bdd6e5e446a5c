package hookgate

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is a value with secrets in it, held so that what it is part of can be printed. The package fmt does not ask an
// unexported field how it wants to be printed: it looks inside, through one pointer at the most. Here it finds an address.
type hidden[T any] struct{ p **T }

// hide takes a value in.
func hide[T any](v T) hidden[T] {
	both := &struct {
		p *T
		v T
	}{v: v}
	both.p = &both.v
	return hidden[T]{&both.p}
}

// reveal answers it; the zero value if there is none.
func (h hidden[T]) reveal() (v T) {
	if h.p != nil {
		v = **h.p
	}
	return v
}

// Format writes REDACTED, whatever the verb.
func (h hidden[T]) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is REDACTED.
func (h hidden[T]) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is REDACTED.
func (h hidden[T]) MarshalText() ([]byte, error) { return []byte(redacted), nil }
