package signing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	prefixes := func(texts ...string) (list []netip.Prefix) {
		for _, text := range texts {
			list = append(list, netip.MustParsePrefix(text))
		}
		return list
	}
	v := must(Allow(prefixes("192.0.2.77/24", "2001:db8::/32", "::ffff:198.51.100.0/120", "203.0.113.9/32")...))
	for _, addr := range []string{
		"192.0.2.0", "192.0.2.255", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::1%eth0", "198.51.100.7", "::ffff:198.51.100.7", "203.0.113.9",
	} {
		if d, err := v.Verify(&Request{Remote: netip.MustParseAddr(addr)}); err != nil || d != (Verdict{Key: -1}) {
			t.Errorf("%s: got %+v, %v", addr, d, err)
		}
	}
	for _, addr := range []string{"192.0.3.0", "::ffff:192.0.3.0", "2001:db9::", "::192.0.2.1", "198.51.101.0", "203.0.113.8", "0.0.0.0", "::"} {
		wantRefused(t, v, &Request{Remote: netip.MustParseAddr(addr)}, ErrMismatch, "is in none of 4 ranges")
	}
	wantRefused(t, v, &Request{}, ErrMissing, "the sender's address is not known")
	// A header is not believed, whatever it says.
	wantRefused(t, v, lines("X-Forwarded-For: 192.0.2.1", "X-Real-Ip: 192.0.2.1"), ErrMissing, "is not known")

	for words, list := range map[string][]netip.Prefix{
		"no range is given":      nil,
		"range 2 of 2 is not":    append(prefixes("192.0.2.0/24"), netip.Prefix{}),
		"range 1 of 1 lets ever": prefixes("0.0.0.0/0"),
		"lets everybody in":      prefixes("::/0"),
		"everybody in":           prefixes("::ffff:0.0.0.0/96"),
		"mixes IPv4 and IPv6":    prefixes("::ffff:0.0.0.0/90"),
	} {
		if v, err := Allow(list...); err == nil || v != nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: got %v, %v, want an error that says %q", list, v, err, words)
		}
	}
}

func TestForward(t *testing.T) {
	t.Parallel()
	if v, err := Forward(nil); err == nil || v != nil || !strings.Contains(err.Error(), "the function is nil") {
		t.Errorf("got %v, %v", v, err)
	}
	type name struct{}
	ctx := context.WithValue(t.Context(), name{}, "mine")
	want := Verdict{Type: "t", ID: "i", Subject: "ann", Key: -1, Covers: CoversMetadata}
	v := must(Forward(func(c context.Context, r *Request) (Verdict, error) {
		if c.Value(name{}) != "mine" || string(r.Body) != "body" {
			return Verdict{}, errors.New("not what was sent")
		}
		return want, nil
	}))
	if d, err := v.Verify(&Request{Context: ctx, Body: []byte("body")}); err != nil || d != want {
		t.Errorf("got %+v, %v", d, err)
	}
	wantRefused(t, v, &Request{}, ErrMismatch, "signing: forward: no signature fits: not what was sent")

	var nothing []int
	typed := &Error{Scheme: "mine", Kind: ErrTooOld, Detail: "stale"}
	for _, c := range []struct {
		decide func() error
		kind   error
		words  string
	}{
		{func() error { return typed }, ErrTooOld, "signing: mine: too old: stale"},
		{func() error { return fmt.Errorf("around: %w", typed) }, ErrTooOld, "stale"},
		{func() error { return &Error{Detail: "without a kind"} }, ErrMismatch, "without a kind"},
		{func() error { return (*Error)(nil) }, ErrMismatch, "had a panic"},
		{func() error { return fmt.Errorf("asking: %w", context.DeadlineExceeded) }, ErrUnavailable, "asking: context deadline exceeded"},
		{func() error { return errors.New("two\nlines\x00" + strings.Repeat("ü", maxReason)) }, ErrMismatch, "two lines ü"},
		{func() error { panic("the secret " + testToken) }, ErrMismatch, "had a panic: a value of type string"},
		{func() error { panic(errors.New(testToken)) }, ErrMismatch, "had a panic: a value of type *errors.errorString"},
		{func() error { _ = nothing[len(nothing)]; return nil }, ErrMismatch, "had a panic: runtime error: index out of range"},
	} {
		v := must(Forward(func(context.Context, *Request) (Verdict, error) {
			return Verdict{Type: "t", Covers: CoversBody}, c.decide()
		}))
		wantRefused(t, v, &Request{}, c.kind, c.words)
		if _, err := v.Verify(&Request{}); len(err.Error()) > maxReason+100 || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("the text is longer than it may be, or not one line: %q", err)
		}
	}
}

// The zero value of nothing, and nothing given to a constructor, takes requests from anybody.
func TestNothingIsUnverifiedByAccident(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (Verifier, error){
		"Basic":             func() (Verifier, error) { return Basic("", Secret{}) },
		"Basic alone":       func() (Verifier, error) { return Basic("user") },
		"APIKey":            func() (Verifier, error) { return APIKey("", Secret{}) },
		"Bearer":            func() (Verifier, error) { return Bearer() },
		"JWT":               func() (Verifier, error) { return JWT(JWTOptions{}) },
		"JWT empty keys":    func() (Verifier, error) { return JWT(JWTOptions{Audience: []string{"a"}, Keys: &KeySet{}}) },
		"ClientCertificate": func() (Verifier, error) { return ClientCertificate(nil) },
		"Allow":             func() (Verifier, error) { return Allow() },
		"Forward":           func() (Verifier, error) { return Forward(nil) },
		"AllOf":             func() (Verifier, error) { return AllOf() },
		"AnyOf":             func() (Verifier, error) { return AnyOf() },
		"AllOf nil":         func() (Verifier, error) { return AllOf(nil) },
		"AnyOf nil":         func() (Verifier, error) { return AnyOf(nil, nil) },
		"AllOf nil pointer": func() (Verifier, error) { return AllOf((*bearer)(nil)) },
		"AllOf Unverified":  func() (Verifier, error) { return AllOf(Unverified) },
		"AnyOf Unverified":  func() (Verifier, error) { return AnyOf(must(Bearer(NewSecret(testToken))), Unverified) },
		"AllOf beside":      func() (Verifier, error) { return AllOf(must(Bearer(NewSecret(testToken))), Unverified) },
		"NewVerifier":       func() (Verifier, error) { return NewVerifier(Scheme{}) },
		"ForProvider":       func() (Verifier, error) { return ForProvider("", Options{}) },
	} {
		if v, err := f(); err == nil || v != nil {
			t.Errorf("%s: got %v, %v, want an error and no verifier", name, v, err)
		}
	}
	for _, v := range []Verifier{&apiKey{}, &bearer{}, &basic{}, &allow{}, &clientCertificate{}, &jwtVerifier{keys: secretKeys{}}} {
		r := lines("Authorization: Bearer "+testToken, "X-Api-Key: "+testToken)
		r.Remote, r.Time = netip.MustParseAddr("192.0.2.1"), time.Unix(1700000000, 0)
		if _, err := v.Verify(r); !errors.Is(err, ErrRefused) {
			t.Errorf("the zero value of %T lets a request in: %v", v, err)
		}
	}
}
