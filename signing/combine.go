package signing

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// maxCombined is how many verifiers may be combined in one.
const maxCombined = 16

// AllOf verifies a request with every one of the verifiers, in order, and refuses it with the first refusal. Put cheap
// ones first, such as Allow.
//
// Type, ID, OrderingKey and Subject of the verdict are each from the first member that says one, Key from the first that
// has a key; Covers is the strongest of all.
//
// A handshake that one member would answer is answered only if all others let the request in, too; for this a member may
// look at a request twice. It is an error if there is no verifier, if one is nil, or if one is Unverified, which adds
// nothing.
func AllOf(verifiers ...Verifier) (Verifier, error) {
	m, err := newMembers("all-of", verifiers)
	if err != nil {
		return nil, err
	}
	return &allOf{m}, nil
}

// AnyOf verifies a request with one verifier after the other, and the first that lets it in gives the verdict; its Key is
// the place among that member's secrets. If none does, the error tells each one's reason, and is of the kind of the one
// that came furthest.
//
// Whoever can satisfy the weakest of them is let in. A handshake is answered by the first member that answers it. One
// that a member recognizes and refuses is refused, unless another answers it.
//
// It is an error if there is no verifier, if one is nil, or if one is Unverified, which would let everybody in.
func AnyOf(verifiers ...Verifier) (Verifier, error) {
	m, err := newMembers("any-of", verifiers)
	if err != nil {
		return nil, err
	}
	return &anyOf{m}, nil
}

// member is one of several verifiers.
type member struct {
	Verifier
	shaker  Handshaker // nil: it has no handshakes
	methods []string   // of its handshakes
}

type members []member

func newMembers(scheme string, verifiers []Verifier) (members, error) {
	switch {
	case len(verifiers) == 0:
		return nil, fmt.Errorf("signing: %s: no verifier is given; to take requests from anybody, write Unverified alone", scheme)
	case len(verifiers) > maxCombined:
		return nil, fmt.Errorf("signing: %s: %d verifiers are given, %d is the most", scheme, len(verifiers), maxCombined)
	}
	ms := make(members, len(verifiers))
	for i, v := range verifiers {
		if isNil(v) {
			return nil, fmt.Errorf("signing: %s: verifier %d of %d is nil; was the error of making it looked at?", scheme, i+1, len(verifiers))
		}
		if _, ok := v.(unverified); ok {
			return nil, fmt.Errorf("signing: %s: verifier %d of %d is Unverified, which stands alone: leave it out", scheme, i+1, len(verifiers))
		}
		ms[i].Verifier = v
		if h, ok := v.(Handshaker); ok {
			if methods := h.HandshakeMethods(); len(methods) > 0 {
				ms[i].shaker, ms[i].methods = h, slices.Clone(methods)
			}
		}
	}
	return ms, nil
}

// isNil also finds the nil pointer of a type with methods.
func isNil(v Verifier) bool {
	switch value := reflect.ValueOf(v); value.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return value.IsNil()
	default:
		return false
	}
}

// HandshakeMethods lists the methods of all members' handshakes.
func (ms members) HandshakeMethods() []string {
	var all []string
	for i := range ms {
		for _, method := range ms[i].methods {
			if !slices.Contains(all, method) {
				all = append(all, method)
			}
		}
	}
	return all
}

// Tolerance is the widest of the members': for how long one of them may take the same signature.
func (ms members) Tolerance() time.Duration {
	var widest time.Duration
	for i := range ms {
		if v, ok := ms[i].Verifier.(interface{ Tolerance() time.Duration }); ok {
			widest = max(widest, v.Tolerance())
		}
	}
	return widest
}

// shakes reports whether the member may take a request of this method for a handshake.
func (m *member) shakes(method string) bool {
	return m.shaker != nil && slices.Contains(m.methods, method)
}

type allOf struct{ members }

// Verify merges the verdicts of all members.
func (v *allOf) Verify(r *Request) (Verdict, error) {
	all := Verdict{Key: -1}
	for i := range v.members {
		one, err := v.members[i].Verify(r)
		if err != nil {
			return Verdict{}, refusalOf("all-of", err)
		}
		for _, f := range [...]struct {
			from string
			to   *string
		}{{one.Type, &all.Type}, {one.ID, &all.ID}, {one.OrderingKey, &all.OrderingKey}, {one.Subject, &all.Subject}} {
			if *f.to == "" {
				*f.to = f.from
			}
		}
		if all.Key < 0 {
			all.Key = one.Key
		}
		all.Covers = max(all.Covers, one.Covers)
	}
	return all, nil
}

// Handshake answers with the reply of one member, if no other refuses the request. Rows are asked first. The answer of
// another member may have an effect of its own, such as a subscription that it confirms: before it is asked, all that can
// refuse the request have been.
func (v *allOf) Handshake(r *Request) (*Reply, error) {
	var plain, rows, others []*member
	for i := range v.members {
		m := &v.members[i]
		switch _, row := m.Verifier.(*verifier); {
		case !m.shakes(r.Method):
			plain = append(plain, m)
		case row:
			rows = append(rows, m)
		default:
			others = append(others, m)
		}
	}
	reply, silent, err := shake(rows, r)
	if err != nil || reply == nil && len(others) == 0 {
		return nil, err // an ordinary request, which goes to Verify
	}
	if err := admitted(append(plain, silent...), r); err != nil {
		if reply == nil && r.Method == http.MethodPost {
			return nil, nil // it may be an event of another member of an AnyOf around; here Verify refuses it
		}
		return nil, err
	}
	other, silent, err := shake(others, r)
	if err != nil {
		return nil, err
	}
	if reply == nil {
		reply = other
	}
	if reply == nil {
		return nil, nil
	}
	if err := admitted(silent, r); err != nil {
		return nil, err
	}
	return reply, nil
}

// shake gives the first reply, and the members to which the request is no handshake.
func shake(ms []*member, r *Request) (reply *Reply, silent []*member, err error) {
	for _, m := range ms {
		one, err := m.shaker.Handshake(r)
		switch {
		case err != nil:
			return nil, nil, refusalOf("all-of", err)
		case one == nil:
			silent = append(silent, m)
		case reply == nil:
			reply = one
		}
	}
	return reply, silent, nil
}

// admitted says why one of the members refuses the request; nil if none does.
func admitted(ms []*member, r *Request) error {
	for _, m := range ms {
		if _, err := m.Verify(r); err != nil {
			return refusalOf("all-of", err)
		}
	}
	return nil
}

type anyOf struct{ members }

// Verify gives the verdict of the first member that lets the request in.
func (v *anyOf) Verify(r *Request) (Verdict, error) {
	reasons := make([]error, 0, maxCombined)
	for i := range v.members {
		one, err := v.members[i].Verify(r)
		if err == nil {
			return one, nil
		}
		reasons = append(reasons, err)
	}
	return Verdict{}, v.refusal(reasons)
}

// Handshake gives the first member's answer.
func (v *anyOf) Handshake(r *Request) (*Reply, error) {
	var reasons []error
	for i := range v.members {
		if m := &v.members[i]; m.shakes(r.Method) {
			reply, err := m.shaker.Handshake(r)
			switch {
			case err != nil:
				reasons = append(reasons, err)
			case reply != nil:
				return reply, nil
			}
		}
	}
	if len(reasons) > 0 {
		return nil, v.refusal(reasons)
	}
	return nil, nil
}

// furthest are the kinds of refusals, by how far the request came before it was refused.
var furthest = []error{ErrUnavailable, ErrTooOld, ErrTooNew, ErrMismatch, ErrMalformed, ErrMissing}

// refusal gathers the reasons of all that were asked.
func (v *anyOf) refusal(reasons []error) error {
	kind := ErrMismatch
	texts := make([]string, len(reasons))
	rank := len(furthest)
	for i, err := range reasons {
		e := (*Error)(nil)
		if !errors.As(refusalOf(fmt.Sprintf("verifier %d", i+1), err), &e) {
			continue // refusalOf makes one of every error
		}
		texts[i] = fmt.Sprintf("%s: %s: %s", e.Scheme, e.Kind, plainReason(e.Detail))
		if at := slices.IndexFunc(furthest, func(k error) bool { return errors.Is(e, k) }); at >= 0 && at < rank {
			kind, rank = furthest[at], at
		}
	}
	return &Error{Scheme: "any-of", Kind: kind, Detail: "none of " + count(len(reasons), "verifier") + " lets it in: " + strings.Join(texts, "; ")}
}
