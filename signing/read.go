package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// state says how it stands with a part of a request.
type state uint8

const (
	present state = iota
	absent
	repeated
	tooLong
)

// text finds a short part of the request. The text is empty unless the part is present, and never empty if it is.
func (x *reading) text(p *Part) (string, state) {
	switch p.kind {
	case partHeader:
		return single(x.r.Header[p.name])
	case partJSON:
		return some(jsonText(x.r.Body, p.path))
	case partForm:
		if x.form == nil {
			x.form = x.readForm()
		}
		return single(x.form[p.name])
	case partQuery:
		if x.query == nil {
			x.query = url.Values{}
			if u, err := url.Parse(x.r.URL); err == nil {
				x.query = u.Query()
			}
		}
		return single(x.query[p.name])
	case partEntry:
		text, n := "", 0
		for i := range x.entries {
			if e := &x.entries[i]; e.key == p.name && (!x.v.s.Sets || n == 0 || e.value != text) {
				text = e.value
				n++
			}
		}
		if n > 1 {
			return "", repeated
		}
		return some(text, n == 1)
	case partText:
		return some(p.name, true)
	case partTimestamp:
		return some(x.stamp, true)
	case partMethod:
		return some(x.r.Method, true)
	case partURL:
		return some(x.r.URL, true)
	case partJoin, partFirst:
		return x.several(p)
	case partOptional:
		all := ""
		for i := range p.parts {
			text, state := x.text(&p.parts[i])
			if state != present {
				return "", state
			}
			if next := i + 1; next < len(p.parts) && p.parts[next].kind == partText && strings.Contains(text, p.parts[next].name) {
				return "", absent // it could stand for what follows, too
			}
			all += text
		}
		return some(all, true)
	case partLower:
		text, state := x.text(&p.parts[0])
		return lower(text), state
	default:
		return "", absent
	}
}

func (x *reading) several(p *Part) (string, state) {
	joined, n := "", 0
	for i := range p.parts {
		text, state := x.text(&p.parts[i])
		switch {
		case state == absent:
			continue
		case state != present || p.kind == partFirst:
			return text, state
		case n > 0:
			joined += p.name
		}
		joined += text
		n++
	}
	return some(joined, n > 0)
}

// lower makes the letters A to Z small, and leaves every other byte as it is.
func lower(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + ('a' - 'A')
		}
		return c
	}, text)
}

func some(text string, ok bool) (string, state) {
	if !ok || text == "" {
		return "", absent
	}
	return text, present
}

func single(values []string) (string, state) {
	switch {
	case len(values) == 0:
		return "", absent
	case len(values) > 1:
		return "", repeated
	case len(values[0]) > maxHeader:
		return "", tooLong
	}
	return some(values[0], true)
}

// readForm gives the fields of a form-encoded body; none where it is something else or damaged.
func (x *reading) readForm() url.Values {
	kind, _, _ := strings.Cut(x.r.Header.Get("Content-Type"), ";")
	if strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(x.r.Body)); err == nil {
			return form
		}
	}
	return url.Values{}
}

// readSignatures fills found with all that claims to be a signature, decoded.
func (x *reading) readSignatures() error {
	s := &x.v.s
	where := x.v.where
	switch {
	case s.Format == Numbered:
		for i := range x.v.numbered {
			text, state := x.text(&x.v.numbered[i])
			if state == absent {
				break
			}
			if state != present {
				return x.broken(&x.v.numbered[i], state)
			}
			x.add(s.Tags[0].Algorithm, text)
		}
		if len(x.found) == 0 {
			return x.broken(&x.v.numbered[0], absent)
		}
	case s.AnyValue && len(x.r.Header[s.Signature.name]) > 0:
		total := 0
		for _, text := range x.r.Header[s.Signature.name] {
			if total += len(text); total > maxHeader {
				return x.broken(&s.Signature, tooLong)
			}
			if err := x.split(text, where); err != nil {
				return err
			}
		}
	default:
		text, state := x.text(&s.Signature)
		second, state2 := x.text(&s.Second)
		switch {
		case state2 == repeated || state2 == tooLong:
			return x.broken(&s.Second, state2)
		case state != present && (state != absent || state2 != present):
			return x.broken(&s.Signature, state)
		}
		if state == present {
			if err := x.split(text, where); err != nil {
				return err
			}
		}
		if state2 == present {
			if err := x.split(second, s.Second.where()); err != nil {
				return err
			}
		}
	}
	if len(x.found) == 0 {
		switch s.Format {
		case Pairs, Tagged:
			return x.refuse(ErrMalformed, "%s has no signature of the version %s", where, s.tagNames())
		default:
			return x.refuse(ErrMalformed, "%s has no signature", where)
		}
	}
	if len(x.found) > maxSignatures {
		return x.refuse(ErrMalformed, "%s has more than %d signatures", where, maxSignatures)
	}
	readable := false
	for i := range x.found {
		c := &x.found[i]
		c.decode(s.Encoding)
		readable = readable || c.n > 0
	}
	if !readable {
		return x.refuse(ErrMalformed, "%s: %s", where, x.unreadable())
	}
	return nil
}

func (s *Scheme) tagNames() string {
	names := make([]string, len(s.Tags))
	for i, t := range s.Tags {
		names[i] = t.Name
	}
	return strings.Join(names, " or ")
}

func (x *reading) add(a Algorithm, text string) {
	if len(x.found) <= maxSignatures { // one more than is allowed, to know it
		x.found = append(x.found, candidate{algorithm: a, text: text})
	}
}

// split takes the text with the signatures apart.
func (x *reading) split(text, where string) error {
	s := &x.v.s
	switch s.Format {
	case Plain, Group, Positional, Numbered:
		if rest, ok := strings.CutPrefix(text, s.Prefix); ok {
			text = rest
		} else if !s.PrefixOptional {
			return x.refuse(ErrMalformed, "%s does not begin with %s%s", where, s.Prefix, otherPrefix(text))
		}
		if s.Format == Plain {
			x.add(s.Tags[0].Algorithm, text)
			return nil
		}
	}
	if s.Sets {
		text = strings.ReplaceAll(text, " ", s.Separator)
	}
	count := 0
	for item := range strings.SplitSeq(text, s.Separator) {
		item = strings.Trim(item, " ")
		if count++; count > maxEntries {
			return x.refuse(ErrMalformed, "%s has more than %d entries", where, maxEntries)
		}
		switch s.Format {
		case Group:
			x.add(s.Tags[0].Algorithm, item)
		case Positional:
			if count > 1 {
				x.add(s.Tags[0].Algorithm, item)
				continue
			}
			x.entries = append(x.entries, entry{"0", item})
		case Pairs:
			name, value, ok := strings.Cut(item, "=")
			if !ok {
				return x.refuse(ErrMalformed, "%s has an entry without a value", where)
			}
			x.entry(name, value)
		case Tagged:
			if name, value, ok := strings.Cut(item, ","); ok {
				x.entry(name, value)
			}
		}
	}
	return nil
}

// entry keeps an entry of a list: as a signature if its tag says so.
func (x *reading) entry(name, value string) {
	for i := range x.v.s.Tags {
		if t := &x.v.s.Tags[i]; t.Name == name {
			x.add(t.Algorithm, value)
			return
		}
	}
	x.entries = append(x.entries, entry{name, value})
}

// decode reads the text strictly. What is not exactly a signature of its algorithm leaves n at 0.
func (c *candidate) decode(e Encoding) {
	if c.text == "" || strings.ContainsAny(c.text, "\r\n") { // package base64 would skip those
		return
	}
	if c.algorithm == Token {
		c.decodeToken(e)
		return
	}
	shortest, longest := c.algorithm.size()
	var room [128]byte // enough for the longest: 64 bytes in hex
	if len(c.text) > len(room) {
		return
	}
	src := room[:copy(room[:], c.text)]
	var n int
	var err error
	switch e {
	case Hex:
		if hex.DecodedLen(len(src)) > len(c.got) {
			return
		}
		n, err = hex.Decode(c.got[:], src)
	default:
		enc := e.base64()
		if enc.DecodedLen(len(src)) > len(c.got) {
			return
		}
		n, err = enc.Decode(c.got[:], src)
	}
	if err != nil || n < shortest || n > longest {
		return
	}
	c.n = n
}

// decodeToken keeps the hash of a token, as keys do.
func (c *candidate) decodeToken(e Encoding) {
	raw := []byte(c.text)
	var err error
	switch e {
	case Hex:
		raw, err = hex.DecodeString(c.text)
	case Base64, Base64URL:
		raw, err = e.base64().DecodeString(c.text)
	}
	if err == nil {
		sum := sha256.Sum256(raw)
		c.n = copy(c.got[:], sum[:])
	}
}

// base64 gives the decoder.
func (e Encoding) base64() *base64.Encoding {
	if e == Base64URL {
		return strictURL
	}
	return strictStd
}

var (
	strictStd = base64.StdEncoding.Strict()
	strictURL = base64.RawURLEncoding.Strict()
)

// broken is the error for a part that is not as it should be.
func (x *reading) broken(p *Part, s state) error {
	switch s {
	case repeated:
		return x.refuse(ErrMalformed, "%s comes more than once", p.where())
	case tooLong:
		return x.refuse(ErrMalformed, "%s is longer than %d bytes", p.where(), maxHeader)
	default:
		if p == &x.v.s.Signature || len(x.v.numbered) > 0 && p == &x.v.numbered[0] {
			if other := x.otherSender(); other != "" {
				return x.refuse(ErrMissing, "%s is not there; %s", p.where(), other)
			}
		}
		return x.refuse(ErrMissing, "%s is not there: is a secret set at the provider, and does every proxy pass it on?", p.where())
	}
}

func (x *reading) refuse(kind error, format string, args ...any) error {
	return &Error{Scheme: x.v.s.Name, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
