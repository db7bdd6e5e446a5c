package hookgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// handler is a Go function of this process that events are delivered to.
type handler struct {
	name    string
	sub     Subscription
	fn      func(ctx context.Context, ev *Event) error
	timeout time.Duration
	limit   int // calls at a time
}

// HandlerOption changes how a handler is called.
type HandlerOption func(*handler) error

// HandlerTimeout is how long one call may take; its context ends then. Without it: Config.Timeout.
//
// A call that does not return when its context ends has failed, and its slot stays taken until it returns.
func HandlerTimeout(d time.Duration) HandlerOption {
	return func(h *handler) error {
		if d <= 0 || d > maxTimeout {
			return fmt.Errorf("HandlerTimeout: must be more than 0 and at most %v", maxTimeout)
		}
		h.timeout = d
		return nil
	}
}

// HandlerLimit is how many calls may run at a time in this process. Without it: Config.PerDestination.
func HandlerLimit(n int) HandlerOption {
	return func(h *handler) error {
		if n <= 0 || n > maxEndpointFlight {
			return fmt.Errorf("HandlerLimit: must be at least 1 and at most %d", maxEndpointFlight)
		}
		h.limit = n
		return nil
	}
}

// Handle registers a function as a destination: each event that the subscription matches is delivered to it, of every
// tenant. It may be called before Run or while it runs.
//
// The name is durable: deliveries are stored under it, and what is pending for a name waits until a process registers it
// again. Keep it the same over releases. It is made of letters, digits, "-", "_" and ".", at most 64; a second handler with
// the same name is a *ConfigError. Events that were accepted before the first registration of a name are not delivered to
// it.
//
// What fn returns decides: nil is done, Permanent makes a dead letter, RetryAfter says when to try again, Ignore is done
// with a reason, and every other error, a panic too, is tried again as Config.Retry says. An event may be delivered again
// after a crash, so fn should be idempotent; ev.ID stays the same.
//
// fn is called by several goroutines at a time, for different events. The event and all that it points to may be shared
// with other deliveries: read it and keep it if you like, but do not change it.
func (g *Gateway) Handle(name string, s Subscription, fn func(ctx context.Context, ev *Event) error, opts ...HandlerOption) error {
	if !isHandlerName(name) {
		return configError("Handle", "%q is not a name: use letters, digits, -, _ and ., at most 64", cleanText(name, 100))
	}
	field := "Handle." + name
	if fn == nil {
		return configError(field, "the function is nil")
	}
	s.Types = append([]string(nil), s.Types...)
	if err := g.checkSubscription(field+".Subscription", &s); err != nil {
		return err
	}
	h := &handler{name: name, sub: s, fn: fn, timeout: g.cfg.Timeout, limit: g.cfg.PerDestination}
	for _, opt := range opts {
		if err := opt(h); err != nil {
			return configError(field, "%w", err)
		}
	}
	return g.inbound.addHandler(h)
}

// addHandler takes the name and puts the handler into the view.
func (s *inboundState) addHandler(h *handler) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	if s.handlers[h.name] {
		return configError("Handle."+h.name, "is registered already; each handler needs a name of its own")
	}
	s.handlers[h.name] = true
	s.g.view.setHandler(h)
	return nil
}

func isHandlerName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, nameLetters+".") == ""
}

// On registers a function that gets the payload decoded from JSON, for the rest like Handle.
//
// A payload that is no JSON, or does not fit T, is a Permanent error that says where, because it will not fit the next
// time either: the delivery becomes a dead letter, and Redeliver tries it again with a mended program. Fields that T does
// not have are ignored, so that a provider can add some. v belongs to the call.
func On[T any](g *Gateway, name string, s Subscription, fn func(ctx context.Context, ev *Event, v T) error, opts ...HandlerOption) error {
	if fn == nil {
		return configError("Handle."+name, "the function is nil")
	}
	return g.Handle(name, s, func(ctx context.Context, ev *Event) error {
		var v T
		if err := decodePayload(ev, &v); err != nil {
			return Permanent(err)
		}
		return fn(ctx, ev, v)
	}, opts...)
}

// payloadError is why a payload could not be decoded. Its text holds nothing of the payload; what it wraps may.
type payloadError struct {
	text string
	err  error
}

func (e *payloadError) Error() string { return e.text }
func (e *payloadError) Unwrap() error { return e.err }

func decodePayload(ev *Event, v any) error {
	err := json.Unmarshal(ev.Payload, v)
	if err == nil {
		return nil
	}
	syntax, mismatch := (*json.SyntaxError)(nil), (*json.UnmarshalTypeError)(nil)
	var text string
	switch {
	case len(ev.Payload) == 0:
		text = "the payload is empty, JSON was expected"
	case errors.As(err, &mismatch):
		kind, _, _ := strings.Cut(mismatch.Value, " ") // what follows is the value itself
		text = fmt.Sprintf("the payload does not fit: %s is a %s, not a %v (byte %d)", jsonPath(mismatch.Field), kind, mismatch.Type, mismatch.Offset)
	case errors.As(err, &syntax) && len(ev.Header["Content-Encoding"]) > 0:
		text = fmt.Sprintf("the payload is compressed (Content-Encoding %s): use Handle and unpack it", cleanText(strings.Join(ev.Header["Content-Encoding"], ", "), 50))
	case errors.As(err, &syntax):
		text = fmt.Sprintf("the payload is no JSON from byte %d on (Content-Type %s)", syntax.Offset, cleanText(ev.ContentType, 100))
	default:
		text = fmt.Sprintf("the payload does not fit %s", strings.TrimPrefix(fmt.Sprintf("%T", v), "*"))
	}
	return &payloadError{text: text, err: err}
}

// jsonPath is the path to a field; the names come from T, not from the payload.
func jsonPath(field string) string {
	if field == "" {
		return "the whole"
	}
	return cleanText(field, 100)
}
