package transform_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/transform"
)

// tag adds its name to a header, so that a test sees who was called and in which order.
func tag(name string) transform.Func {
	return func(_ context.Context, m *transform.Message) (*transform.Message, error) {
		m.Header.Add("X-Tag", name)
		return m, nil
	}
}

func message() *transform.Message {
	return &transform.Message{Type: "invoice.paid", Header: http.Header{}, Body: []byte(`{"n":1}`)}
}

func TestChainCallsInOrder(t *testing.T) {
	t.Parallel()
	m := message()
	got, err := transform.Chain(tag("a"), nil, tag("b"), transform.Chain(tag("c"), tag("d"))).Transform(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if tags := strings.Join(got.Header["X-Tag"], ""); tags != "abcd" {
		t.Errorf("called in the order %q, want abcd", tags)
	}
}

func TestChainHandsOnWhatEachAnswered(t *testing.T) {
	t.Parallel()
	other := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) {
		return &transform.Message{Header: m.Header, Body: []byte("other")}, nil
	})
	m := message()
	got, err := transform.Chain(other, tag("a")).Transform(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got == m || string(got.Body) != "other" || got.Header.Get("X-Tag") != "a" {
		t.Errorf("got %+v, want the other message with the tag", got)
	}
	if string(m.Body) != `{"n":1}` {
		t.Errorf("the first message's body became %q", m.Body)
	}
}

func TestChainStopsAtNil(t *testing.T) {
	t.Parallel()
	none := transform.Func(func(context.Context, *transform.Message) (*transform.Message, error) { return nil, nil })
	m := message()
	got, err := transform.Chain(tag("a"), none, tag("b")).Transform(t.Context(), m)
	if got != nil || err != nil {
		t.Errorf("got %v, %v; want nothing", got, err)
	}
	if tags := m.Header["X-Tag"]; len(tags) != 1 {
		t.Errorf("called %v, want only a", tags)
	}
}

func TestChainStopsAtAnError(t *testing.T) {
	t.Parallel()
	fault := errors.New("no such field")
	bad := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) { return m, fault })
	m := message()
	got, err := transform.Chain(tag("a"), bad, tag("b")).Transform(t.Context(), m)
	if got != nil || !errors.Is(err, fault) {
		t.Fatalf("got %v, %v; want nil and the error", got, err)
	}
	if want := "transformer 2 of 3: no such field"; err.Error() != want {
		t.Errorf("the error reads %q, want %q", err, want)
	}
	if tags := m.Header["X-Tag"]; len(tags) != 1 {
		t.Errorf("called %v, want only a", tags)
	}
}

func TestChainStopsWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	last := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) {
		cancel()
		return m, nil
	})
	m := message()
	got, err := transform.Chain(last, tag("b")).Transform(ctx, m)
	if got != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want the context's error", got, err)
	}
	if len(m.Header) != 0 {
		t.Errorf("the second transformer was called")
	}
}

func TestEmptyChainChangesNothing(t *testing.T) {
	t.Parallel()
	m := message()
	for _, c := range []transform.Transformer{transform.Chain(), transform.Chain(nil, nil)} {
		if got, err := c.Transform(t.Context(), m); got != m || err != nil {
			t.Errorf("got %v, %v; want the same message", got, err)
		}
	}
}

func TestChainKeepsItsOwnList(t *testing.T) {
	t.Parallel()
	list := []transform.Transformer{tag("a"), tag("b")}
	c := transform.Chain(list...)
	list[0] = tag("x")
	got, err := c.Transform(t.Context(), message())
	if err != nil {
		t.Fatal(err)
	}
	if tags := strings.Join(got.Header["X-Tag"], ""); tags != "ab" {
		t.Errorf("called %q, want ab", tags)
	}
}

func ExampleChain() {
	skipTests := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) {
		if m.Labels["env"] == "test" {
			return nil, nil // this destination gets nothing of it
		}
		return m, nil
	})
	shout := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) {
		m.Body = []byte(strings.ToUpper(string(m.Body))) // a new slice: the old one is shared
		return m, nil
	})
	t := transform.Chain(skipTests, shout)

	m, err := t.Transform(context.Background(), &transform.Message{Body: []byte("paid")})
	fmt.Println(string(m.Body), err)
	m, err = t.Transform(context.Background(), &transform.Message{Labels: map[string]string{"env": "test"}})
	fmt.Println(m, err)
	// Output:
	// PAID <nil>
	// <nil> <nil>
}
