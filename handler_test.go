package hookgate

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHandleChecksItsArguments(t *testing.T) {
	t.Parallel()
	g, _ := inbound(t, nil)
	fn := func(context.Context, *Event) error { return nil }
	for _, name := range []string{"", "a/b", "a b", "é", strings.Repeat("a", 65)} {
		if err := g.Handle(name, Subscription{}, fn); configField(err) != "Handle" {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"the function is nil": g.Handle("a", Subscription{}, nil),
		"function is nil":     On[int](g, "a", Subscription{}, nil),
		"not a source":        g.Handle("a", Subscription{Source: "a b"}, fn),
		"space":               g.Handle("a", Subscription{Types: []string{"a b"}}, fn),
		"not registered":      g.Handle("a", Subscription{Transformer: "none"}, fn),
		"HandlerTimeout":      g.Handle("a", Subscription{}, fn, HandlerTimeout(0)),
		"HandlerLimit":        g.Handle("a", Subscription{}, fn, HandlerLimit(-1)),
	} {
		if !strings.HasPrefix(configField(err), "Handle.a") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.Handle("a.b-c_1", Subscription{Source: "*"}, fn, HandlerTimeout(time.Minute), HandlerLimit(1)); err != nil {
		t.Error(err)
	}
	if err := g.Handle("a.b-c_1", Subscription{}, fn); configField(err) != "Handle.a.b-c_1" || !strings.Contains(err.Error(), "already") {
		t.Errorf("twice: %v", err)
	}
}

// push is a payload with something of everything.
type push struct {
	Ref        string `json:"ref"`
	Repository struct {
		ID int `json:"id"`
	} `json:"repository"`
	At time.Time `json:"at"`
}

func TestOnDecodesOrSaysWhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ payload, contentType, encoding, want string }{
		{payload: `{"ref":"main","repository":{"id":7},"unknown":[1]}`},
		{payload: ``, want: "the payload is empty, JSON was expected"},
		{payload: `{"ref":"canary","repository":{"id":"canary"}}`, want: "the payload does not fit: repository.id is a string, not a int (byte 43)"},
		{payload: `{"repository":{"id":12345678901234567890}}`, want: "the payload does not fit: repository.id is a number, not a int (byte 40)"},
		{payload: `["canary"]`, want: "the payload does not fit: the whole is a array, not a hookgate.push (byte 1)"},
		{payload: `payload=%7Bcanary`, contentType: "application/x-www-form-urlencoded", want: "the payload is no JSON from byte 1 on (Content-Type application/x-www-form-urlencoded)"},
		{payload: `{"ref":"canary"`, want: "the payload is no JSON from byte 15 on (Content-Type )"},
		{payload: `{"at":"canary"}`, want: "the payload does not fit hookgate.push"},
		{payload: "\x1f\x8bcanary", encoding: "gzip", want: "the payload is compressed (Content-Encoding gzip): use Handle and unpack it"},
	} {
		ev := &Event{Payload: []byte(c.payload), ContentType: c.contentType}
		if c.encoding != "" {
			ev.Header = map[string][]string{"Content-Encoding": {c.encoding}}
		}
		var v push
		err := decodePayload(ev, &v)
		if c.want == "" {
			if err != nil || v.Ref != "main" || v.Repository.ID != 7 {
				t.Errorf("%s: %+v, %v", c.payload, v, err)
			}
			continue
		}
		if err == nil || err.Error() != c.want || errors.Unwrap(err) == nil {
			t.Errorf("%s:\n got %v\nwant %s", c.payload, err, c.want)
		}
	}
}

func TestOnCallsWithTheDecodedPayload(t *testing.T) {
	t.Parallel()
	g, _ := inbound(t, nil)
	var got push
	fails := errors.New("later")
	err := On(g, "typed", Subscription{Source: "*"}, func(_ context.Context, ev *Event, v push) error {
		got = v
		return fails
	})
	if err != nil {
		t.Fatal(err)
	}
	h := g.view.target(handlerDestination("typed")).handler
	if h.timeout != g.cfg.Timeout || h.limit != g.cfg.PerDestination {
		t.Errorf("%v, %d", h.timeout, h.limit)
	}
	payload, err := json.Marshal(push{Ref: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.fn(t.Context(), &Event{Payload: payload}); !errors.Is(err, fails) || got.Ref != "main" {
		t.Errorf("%v, %+v", err, got)
	}
	err = h.fn(t.Context(), &Event{Payload: []byte("no")})
	outcome := (*outcomeError)(nil)
	if !errors.As(err, &outcome) || outcome.kind != outcomePermanent {
		t.Errorf("%v is not permanent", err)
	}
}
