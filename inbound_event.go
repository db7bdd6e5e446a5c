package hookgate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
)

// typeUnknown is the type of an inbound event for which neither the verifier nor Source.TypeOf has one.
const typeUnknown = "unknown"

// event makes the event of a request whose sender is proven.
func (s *source) event(v signing.Verdict, req *signing.Request, r *http.Request) *Event {
	if s.TypeOf != nil {
		if t := s.TypeOf(r, req.Body); t != "" {
			v.Type = t
		}
	}
	if s.IDOf != nil {
		if id := s.IDOf(r, req.Body); id != "" {
			v.ID = id
		}
	}
	if s.KeyOf != nil {
		v.OrderingKey = s.KeyOf(r, req.Body)
	}
	return &Event{
		Tenant: s.Tenant, Source: s.name, Type: plainType(v.Type),
		IdempotencyKey: plainKey(v.ID), OrderingKey: plainKey(v.OrderingKey),
		ContentType: plainContentType(req.Header.Get("Content-Type")), Header: s.kept(req.Header), Payload: req.Body,
	}
}

// plainType makes a provider's word fit to be an event's type: GitLab's "Push Hook" becomes "Push_Hook".
func plainType(t string) string {
	if t == "" {
		return typeUnknown
	}
	if badType(t) == "" {
		return t
	}
	t = strings.Map(func(r rune) rune {
		if r <= ' ' || r == '*' || r == 0x7f || r == utf8.RuneError {
			return '_'
		}
		return r
	}, t)
	for len(t) > maxType {
		_, n := utf8.DecodeLastRuneInString(t)
		t = t[:len(t)-n]
	}
	return t
}

// plainKey keeps a provider's ID as it is unless it is too long or no text; then its hash, which tells the same apart.
func plainKey(k string) string {
	if badKey(k) == "" {
		return k
	}
	sum := sha256.Sum256([]byte(k))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// plainContentType is the content type, or none if it could not be sent on.
func plainContentType(v string) string {
	if len(v) > maxContentType || !isFieldValue(v) {
		return ""
	}
	return v
}

// neverKept are headers that prove who the sender is to others than us.
func neverKept(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie":
		return true
	}
	return false
}

// kept picks the headers that stay with the event: by name in order, as many as fit. What could not be sent on to an
// endpoint is left out, and so are the headers that our own signature will use.
func (s *source) kept(h http.Header) map[string][]string {
	names := s.keep
	if s.Keep == nil {
		for name := range h {
			if name == "User-Agent" || tellsOfEvent(name) && !neverKept(name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	var out map[string][]string
	count, size := 0, 0
	add := func(name string) {
		values := h[name]
		more := 0
		for _, v := range values {
			if checkHeader(name, v) != nil {
				return
			}
			more += len(name) + len(v)
		}
		if len(values) == 0 || name == "Content-Type" || out[name] != nil || count+len(values) > maxEventHeader || size+more > maxHeaderBytes {
			return
		}
		if out == nil {
			out = make(map[string][]string, len(names)+1)
		}
		out[name] = slices.Clone(values)
		count, size = count+len(values), size+more
	}
	add("Content-Encoding") // the payload cannot be read without it
	for _, name := range names {
		add(name)
	}
	return out
}

// take appends an inbound event with its deliveries. The provider's ID is its idempotency key, so that a repeat finds the
// first one in the append itself: there is no moment between looking and writing. A duplicate has the ID of the first, which
// is durable by then.
func (g *Gateway) take(ctx context.Context, s *source, p *proof, ev *Event) (Receipt, error) {
	a := store.Append{Event: ev, Window: p.window}
	// Only the body counts: headers differ in a repeat that numbers itself or has a new timestamp.
	a.Fingerprint = hashBytes(hashSeed, ev.Payload)
	a.Deliveries, ev.View = g.view.match(ev)
	results, err := g.commit.append(ctx, []store.Append{a})
	if err != nil {
		return Receipt{ID: ev.ID}, err
	}
	res := results[0]
	switch {
	case res.Err == nil:
		return Receipt{ID: res.ID, Deliveries: res.Deliveries, Duplicate: res.Repeated}, nil
	case errors.Is(res.Err, store.ErrDuplicate), s.IDDecides && errors.Is(res.Err, ErrConflict):
		return Receipt{ID: res.ID, Duplicate: true}, nil
	}
	return Receipt{ID: ev.ID}, res.Err
}
