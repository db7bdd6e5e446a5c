package signing

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// NewSigner makes a signer of a row: it sets the headers that NewVerifier with the same row takes, down to the byte. It is
// also a HeaderLister, and may be used by many goroutines.
//
// The headers are that of the signature; that of the timestamp, where the row has one; those of ID and Type, where the row
// finds these in headers, with Message.ID and Message.Type; and those of Require.
//
// Of several Tags with the same algorithm the first is used. Pairs, Tagged, Group, Numbered and Positional hold a signature of every secret, and so do Plain headers with AnyValue,
// one header for each. Any other Plain header has room for one: it is signed with the first secret, the newest, and a
// receiver has to change its secret at the moment of the rotation, or take two for a while.
//
// Secrets are those that the verifier takes, except that Ed25519 signs with the private key: "whsk_" for a StandardSecret,
// and otherwise its 32 bytes of seed, or seed and public key, in hex or base64 as the row has it. NewSecret makes the long
// form: its second half is what the receiver needs.
//
// An error means a mistake in the row, or a row that cannot sign: its signature or its timestamp is not in a header, a
// Token, ECDSA.
func NewSigner(s Scheme) (Signer, error) {
	if s.Name == "" {
		return nil, errors.New("signing: Scheme.Name: say what it is called")
	}
	signer, err := newRowSigner(s)
	if err != nil {
		return nil, fmt.Errorf("signing: %s: %w", s.Name, err)
	}
	return signer, nil
}

// rowSigner is a row that signs. Nothing in it changes after it was made.
type rowSigner struct {
	v      *verifier // the row at work; it has no keys
	keys   keyMaking
	all    bool     // there is room for a signature of every secret
	second string   // the header for the signature of the second secret; empty: none
	own    []string // the headers that are set before the message is put together

	id, kind, stamp string  // of these, those for the ID, the type and the time; empty: none
	entry           string  // the entry of the list that is the timestamp; empty: none
	signsID         bool    // the ID is a part of the message
	fixed           []Match // the other ones
	rest            *Part   // what the receiver joins to the type's header; nil: nothing
	separator       string  // in front of that
}

func newRowSigner(s Scheme) (*rowSigner, error) {
	s.Otherwise, s.Handshakes = nil, nil // a signer uses the first of the rows
	if err := s.check(); err != nil {
		return nil, err
	}
	r := &rowSigner{v: &verifier{s: s, covers: s.covers(), where: s.Signature.where(), numbered: s.numbered()}}
	if s.Signature.kind != partHeader {
		return nil, rowError("Signature", "%s cannot be signed: a signer sets headers and nothing else", s.Signature.where())
	}
	switch s.Format {
	case Plain:
		r.all = s.AnyValue
	case Pairs, Tagged, Group, Numbered:
		r.all = true
	case Positional:
		r.all = true
		if s.Time.From.kind != partEntry || s.Time.From.name != "0" {
			return nil, rowError("Time.From", `must be Entry("0") for a signer: the first entry of a Positional list is the time`)
		}
	default:
		return nil, rowError("Format", "a signer cannot write it")
	}
	if err := r.placeHeaders(&s); err != nil {
		return nil, err
	}
	var err error
	for i := range s.Message {
		s.Message[i].each(func(p *Part) {
			if p.kind == partEntry && p.name != r.entry {
				err = rowError("Message", "a signer does not know the entry %s", p.name)
			}
			r.signsID = r.signsID || (p.kind == partHeader && p.name == r.id)
		})
	}
	if err != nil {
		return nil, err
	}
	// A receiver takes a signature under any of the tags: the first of each algorithm is enough.
	r.v.s.Tags = nil
	for _, tag := range s.Tags {
		if !slices.ContainsFunc(r.v.s.Tags, func(t Tag) bool { return t.Algorithm == tag.Algorithm }) {
			r.v.s.Tags = append(r.v.s.Tags, tag)
		}
	}
	r.keys, err = newKeyMaking(&r.v.s)
	return r, err
}

// placeHeaders finds out which headers are to be set beside the signature.
func (r *rowSigner) placeHeaders(s *Scheme) error {
	switch from := &s.Time.From; from.kind {
	case partNone:
	case partEntry:
		r.entry = from.name
		for _, t := range s.Tags {
			if t.Name == r.entry {
				return rowError("Time.From", "the entry %s is a signature", r.entry)
			}
		}
	default:
		if r.stamp = headerNameOf(from); r.stamp == "" {
			return rowError("Time.From", "%s cannot be set: a signer sets headers and nothing else", from.where())
		}
	}
	r.second = headerNameOf(&s.Second)
	r.id, r.kind = headerNameOf(&s.ID), headerNameOf(&s.Type)
	if s.Type.kind == partJoin && r.kind != "" && len(s.Type.parts) > 1 {
		r.rest = &Part{kind: partJoin, name: s.Type.name, parts: s.Type.parts[1:]}
		r.separator = s.Type.name
	}
	for _, m := range s.Require {
		if m.Part.kind != partHeader {
			return rowError("Require", "%s cannot be set: a signer sets headers and nothing else", m.Part.where())
		}
		if fieldError(m.Value) != nil {
			return rowError("Require", "the value for %s cannot stand in a header", m.Part.where())
		}
		r.fixed = append(r.fixed, m)
	}
	for _, name := range []string{r.id, r.kind, r.stamp} {
		if name != "" {
			r.own = append(r.own, name)
		}
	}
	for _, m := range r.fixed {
		r.own = append(r.own, m.Part.name)
	}
	all := r.Headers()
	for i, name := range all {
		if i > 0 && all[i-1] == name {
			return rowError("Signature", "the header %s would have to hold two things", name)
		}
	}
	return nil
}

// headerNameOf names the header that makes a part present; empty if there is none.
func headerNameOf(p *Part) string {
	switch p.kind {
	case partHeader:
		return p.name
	case partJoin, partFirst:
		if len(p.parts) > 0 {
			return headerNameOf(&p.parts[0])
		}
	}
	return ""
}

// Headers lists the headers that Sign sets, sorted.
func (r *rowSigner) Headers() []string {
	names := slices.Clone(r.own)
	if len(r.v.numbered) > 0 {
		for i := range r.v.numbered {
			names = append(names, r.v.numbered[i].name)
		}
	} else {
		names = append(names, r.v.s.Signature.name)
	}
	if r.second != "" {
		names = append(names, r.second)
	}
	slices.Sort(names)
	return names
}

// CheckSecret says whether Sign can use a secret.
func (r *rowSigner) CheckSecret(s Secret) error {
	if k := r.ready(s); k.err != nil {
		return fmt.Errorf("signing: %s: the secret %w", r.v.s.Name, k.err)
	}
	return nil
}

// NewSecret makes a secret of the row's kind.
func (r *rowSigner) NewSecret() Secret { return r.keys.fresh() }

// rowWriting is room for making the headers of a row, reused.
type rowWriting struct {
	request Request
	out     []byte
	cuts    []int      // where in out a header ends
	old     [][]string // what stood in the own headers
}

var rowWritings = sync.Pool{New: func() any { return new(rowWriting) }}

// Sign sets the headers.
func (r *rowSigner) Sign(h http.Header, m Message, secrets []Secret) error {
	if err := r.sign(h, &m, secrets); err != nil {
		return fmt.Errorf("signing: %s: %w", r.v.s.Name, err)
	}
	return nil
}

func (r *rowSigner) sign(h http.Header, m *Message, secrets []Secret) error {
	switch {
	case len(secrets) == 0:
		return errors.New("there is no secret to sign with; make one with NewSecret")
	case len(secrets) > maxSecrets:
		return fmt.Errorf("%d secrets are given, %d is the most; drop the expired ones", len(secrets), maxSecrets)
	case r.second != "":
		secrets = secrets[:min(len(secrets), 2)]
	case !r.all:
		secrets = secrets[:1]
	}
	w := rowWritings.Get().(*rowWriting)
	w.request = Request{Method: m.Method, URL: m.URL, Header: h, Body: m.Body, Time: m.Time}
	x := newReading(r.v, &w.request)
	w.old = w.old[:0]
	for _, name := range r.own {
		w.old = append(w.old, h[name])
	}
	err := r.setOwn(h, m, x)
	if err == nil {
		err = r.write(w, x, secrets)
	}
	if err == nil {
		r.set(h, w)
	} else {
		for i, name := range r.own {
			if w.old[i] == nil {
				delete(h, name)
			} else {
				h[name] = w.old[i]
			}
		}
	}
	x.free()
	w.request = Request{}
	clear(w.old)
	rowWritings.Put(w)
	return err
}

// setOwn sets the headers that the message may have in it, and the timestamp.
func (r *rowSigner) setOwn(h http.Header, m *Message, x *reading) error {
	if r.stamp != "" || r.entry != "" {
		var err error
		if x.stamp, err = stampText(x.now, r.v.s.Time.Unit); err != nil {
			return err
		}
	}
	if r.entry != "" {
		x.entries = append(x.entries, entry{r.entry, x.stamp})
	}
	values := make([]string, len(r.own)) // one allocation for all of them
	n := 0
	put := func(name, value string) {
		values[n] = value
		h[name] = values[n : n+1 : n+1]
		n++
	}
	if r.stamp != "" {
		put(r.stamp, x.stamp)
	}
	if r.id != "" {
		if r.signsID {
			if err := checkID(m.ID); err != nil {
				return errors.New("Message.ID must have 1 to 512 bytes, without dots, spaces and control characters: use the event's ID")
			}
		} else if m.ID == "" || fieldError(m.ID) != nil {
			return errors.New("Message.ID must be a text that can stand in a header: set it to the event's ID")
		}
		put(r.id, m.ID)
	}
	for _, f := range r.fixed {
		put(f.Part.name, f.Value)
	}
	if r.kind == "" {
		return nil
	}
	if m.Type == "" {
		delete(h, r.kind)
		return nil
	}
	if err := fieldError(m.Type); err != nil {
		return fmt.Errorf("Message.Type %w", err)
	}
	put(r.kind, r.typeText(m.Type, x))
	return nil
}

// typeText is what stands in the type's header. Where the receiver joins something out of the body to it, such as the action
// of GitHub, that is cut off.
func (r *rowSigner) typeText(typ string, x *reading) string {
	if r.rest == nil {
		return typ
	}
	text, state := x.text(r.rest)
	n := len(typ) - len(r.separator) - len(text)
	if state != present || n <= 0 || typ[n:] != r.separator+text {
		return typ
	}
	return typ[:n]
}

// fieldError says what is wrong with the value of a header.
func fieldError(text string) error {
	if len(text) > 512 {
		return errors.New("is longer than 512 bytes")
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == 0x7f || (c == ' ' && (i == 0 || i == len(text)-1)) {
			return errors.New("holds a control character, or a space at an end, and cannot stand in a header")
		}
	}
	return nil
}

// stampText writes a timestamp.
func stampText(at time.Time, unit TimeUnit) (string, error) {
	if at.Unix() < 0 {
		return "", errors.New("Message.Time is before 1970; set it to the time of the attempt")
	}
	switch unit {
	case Milliseconds:
		return strconv.FormatInt(at.UnixMilli(), 10), nil
	case RFC3339:
		return at.UTC().Format(time.RFC3339), nil
	default:
		return strconv.FormatInt(at.Unix(), 10), nil
	}
}

// write makes the texts of the signature headers.
func (r *rowSigner) write(w *rowWriting, x *reading, secrets []Secret) error {
	s := &r.v.s
	for i := range s.Message {
		p := &s.Message[i]
		if p.kind == partBody || p.kind == partSecret {
			continue
		}
		text, state := x.text(p)
		if state != present {
			return fmt.Errorf("%s is signed, and the message has it not, or more than once: see to it that it is there", p.where())
		}
		x.fields[i] = text
	}
	w.out, w.cuts = w.out[:0], w.cuts[:0]
	joint := "="
	if s.Format == Tagged {
		joint = ","
	}
	item := func() { // begins an entry of a list
		if len(w.out) > 0 {
			w.out = append(w.out, s.Separator...)
		}
	}
	switch {
	case s.Format == Positional:
		w.out = append(w.out, x.stamp...)
	case s.Format == Group:
		w.out = append(w.out, s.Prefix...)
	case r.entry != "":
		w.out = append(append(append(w.out, r.entry...), joint...), x.stamp...)
	}
	made := 0
	for i := range s.Tags {
		tag := &s.Tags[i]
		for j, secret := range secrets {
			ready := r.ready(secret)
			if ready.err != nil {
				return fmt.Errorf("secret %d of %d %w", j+1, len(secrets), ready.err)
			}
			k := ready.key(tag.Algorithm)
			if k == nil {
				continue
			}
			if made++; made > maxSignatures {
				return fmt.Errorf("more than %d signatures would be made; drop the expired secrets", maxSignatures)
			}
			switch s.Format {
			case Plain, Numbered:
				w.out = append(w.out, s.Prefix...)
			case Group:
				if made > 1 {
					item()
				}
			case Pairs, Tagged:
				item()
				w.out = append(append(w.out, tag.Name...), joint...)
			default:
				item()
			}
			var err error
			if w.out, err = x.appendSignature(w.out, k, s.Encoding); err != nil {
				return err
			}
			if s.Format == Plain || s.Format == Numbered {
				w.cuts = append(w.cuts, len(w.out))
			}
		}
	}
	if made == 0 {
		return errors.New("no secret fits an entry of the signature")
	}
	if len(w.cuts) == 0 {
		w.cuts = append(w.cuts, len(w.out))
	}
	return nil
}

// set puts the finished texts into the header. Nothing can fail any more.
func (r *rowSigner) set(h http.Header, w *rowWriting) {
	text := string(w.out)
	values := make([]string, len(w.cuts))
	from := 0
	for i, to := range w.cuts {
		values[i], from = text[from:to], to
	}
	switch {
	case len(r.v.numbered) > 0:
		for i := range r.v.numbered {
			delete(h, r.v.numbered[i].name) // perhaps one that nobody signed
			if i < len(values) {
				h[r.v.numbered[i].name] = values[i : i+1 : i+1]
			}
		}
	case r.second != "":
		h[r.v.s.Signature.name] = values[:1:1]
		delete(h, r.second)
		if len(values) > 1 {
			h[r.second] = values[1:2:2]
		}
	default:
		h[r.v.s.Signature.name] = values
	}
}
