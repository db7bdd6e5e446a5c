package signing

import (
	"net/http"
	"slices"
)

// Part is a piece of a request: where a Scheme finds a signature, a timestamp or an event's type, or what it signs. Make
// one with Header, JSON, Form, Query, Entry, Text, Join, FirstOf, Optional or Lower, or use Body, Timestamp, Method, URL or SecretText.
// The zero value is no part.
type Part struct {
	kind  partKind
	name  string
	path  []string
	parts []Part
}

type partKind uint8

const (
	partNone partKind = iota
	partHeader
	partJSON
	partForm
	partQuery
	partEntry
	partText
	partJoin
	partFirst
	partOptional
	partLower
	partBody
	partTimestamp
	partMethod
	partURL
	partSecret
)

// Parts that have no name.
var (
	// Body is the whole body, byte for byte.
	Body = Part{kind: partBody}
	// Timestamp is the text of the timestamp exactly as it was sent.
	Timestamp = Part{kind: partTimestamp}
	// Method is the request's method.
	Method = Part{kind: partMethod}
	// URL is the request's full public URL.
	URL = Part{kind: partURL}
	// SecretText is the text of the secret, for the old schemes that hash it instead of using an HMAC.
	SecretText = Part{kind: partSecret}
)

// Header is the value of a header, which must not come twice.
func Header(name string) Part {
	return Part{kind: partHeader, name: http.CanonicalHeaderKey(name)}
}

// JSON is the text of a string, number or boolean in a JSON body, found by the names of the members that lead to it. In
// an array "0" is the first element, and "*" is all elements: each must have the same text there, or there is none.
func JSON(path ...string) Part { return Part{kind: partJSON, path: slices.Clone(path)} }

// Form is a field of a form-encoded body.
func Form(name string) Part { return Part{kind: partForm, name: name} }

// Query is a field of the URL's query.
func Query(name string) Part { return Part{kind: partQuery, name: name} }

// Entry is an entry of the signature text where that is a list: "t" in "t=1,v1=2". In a Positional list "0" is the first.
func Entry(key string) Part { return Part{kind: partEntry, name: key} }

// Text is this text itself.
func Text(text string) Part { return Part{kind: partText, name: text} }

// Join is the text of those parts that are there, with sep between them. It is absent if all are.
func Join(sep string, parts ...Part) Part {
	return Part{kind: partJoin, name: sep, parts: slices.Clone(parts)}
}

// FirstOf is the first of the parts that is there.
func FirstOf(parts ...Part) Part { return Part{kind: partFirst, parts: slices.Clone(parts)} }

// Optional is the texts of all parts, one behind the other, or nothing where one of them is absent, or has in it the Text
// that follows. In Message it may be absent, unlike every other part.
func Optional(parts ...Part) Part {
	return Part{kind: partOptional, parts: slices.Clone(parts)}
}

// Lower is the part with its letters A to Z made small.
func Lower(p Part) Part { return Part{kind: partLower, parts: []Part{p}} }

// where names the part for an operator.
func (p *Part) where() string {
	switch p.kind {
	case partHeader:
		return "header " + p.name
	case partJSON:
		s := "field "
		for i, name := range p.path {
			if i > 0 {
				s += "."
			}
			s += name
		}
		return s + " of the JSON body"
	case partForm:
		return "form field " + p.name
	case partQuery:
		return "query field " + p.name
	case partEntry:
		return "entry " + p.name + " of the signature"
	case partOptional:
		for i := range p.parts {
			if p.parts[i].kind != partText {
				return p.parts[i].where()
			}
		}
	case partJoin, partFirst, partLower:
		if len(p.parts) > 0 {
			return p.parts[0].where()
		}
	case partBody:
		return "the body"
	}
	return "the request"
}

// each calls f for the part and all in it.
func (p *Part) each(f func(*Part)) {
	f(p)
	for i := range p.parts {
		p.parts[i].each(f)
	}
}
