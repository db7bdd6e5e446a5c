// Package transform makes the message that goes out from the event that was stored: other headers, another body, or
// nothing at all for this destination.
//
// A [Transformer] runs at each attempt, after the event was stored and before the message is signed. The event itself
// stays as it came. So a transformer that was fixed works for events that are waiting already, and a signature always
// covers what was really sent.
//
//	renamed := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) {
//		m.Header.Set("X-Origin", "billing")
//		return m, nil
//	})
package transform

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Message is an event on its way to one destination, before it is signed.
//
// A transformer owns the message for as long as it runs: it may set any field and add to Header and Labels, which are this
// attempt's own copies. Body is the exception. Its bytes are shared with other destinations and must be treated as
// read-only; give Body another slice instead.
type Message struct {
	// ID, Tenant, Source, Type and Accepted tell of the event: its UUID, whose it is, where it came from ("" from the
	// application), what happened, and when it was accepted. They are for reading: changing them changes nothing that is
	// sent or stored.
	ID       string
	Tenant   string
	Source   string
	Type     string
	Accepted time.Time

	// Labels are the event's; for reading, like the fields above. Nil for none.
	Labels map[string]string

	// Method and URL are where the message goes. Another URL passes the address guard like any other. Both are empty for a
	// handler.
	Method string
	URL    string

	// Header is what goes out, except for the headers that signing adds; those always win. It is never nil when a gateway
	// calls.
	Header http.Header

	// ContentType is the media type of Body. Change it together with Body.
	ContentType string

	// Body goes out as it is, byte for byte. Nil is an empty body. Not one byte of it may be changed in place.
	Body []byte
}

// Transformer makes the message for one attempt. It is called by many goroutines at once.
type Transformer interface {
	// Transform answers the message that goes out: m itself, edited or not, or another one.
	//
	// Nil and no error means that this destination gets nothing of this event: the delivery is done, and shows that it was
	// filtered. An error fails the attempt, and the retry policy says when to try again.
	//
	// It should end when ctx does: that is the attempt's timeout. It may be called again for the same event, at the next
	// attempt, and then starts from the stored event once more.
	Transform(ctx context.Context, m *Message) (*Message, error)
}

// Func is a function as a Transformer.
type Func func(ctx context.Context, m *Message) (*Message, error)

// Transform calls f.
func (f Func) Transform(ctx context.Context, m *Message) (*Message, error) { return f(ctx, m) }

// Chain is one transformer made of several: each gets what the one before it answered. The first that answers nil, or
// an error, is the last one called; an error says which it was. The chain also ends, with the reason, before the next
// transformer once ctx has ended.
//
// An empty chain answers the message as it is. Nil transformers are left out. A panic goes through to the caller.
func Chain(ts ...Transformer) Transformer {
	return chain(slices.DeleteFunc(slices.Clone(ts), func(t Transformer) bool { return t == nil }))
}

type chain []Transformer

func (c chain) Transform(ctx context.Context, m *Message) (*Message, error) {
	for i, t := range c {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("before transformer %d of %d: %w", i+1, len(c), err)
		}
		next, err := t.Transform(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("transformer %d of %d: %w", i+1, len(c), err)
		}
		if next == nil {
			return nil, nil
		}
		m = next
	}
	return m, nil
}
