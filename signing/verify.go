package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// NewVerifier makes a verifier of a row and the secrets that the receiver holds. A request is good if any of them fits,
// so that a secret can be rotated. It is also a Handshaker.
//
// An error means a mistake in the row, or a secret that is empty, too short, or cannot be decoded; it says which.
func NewVerifier(s Scheme, secrets ...Secret) (Verifier, error) {
	if s.Name == "" {
		return nil, errors.New("signing: Scheme.Name: say what it is called")
	}
	v, err := newVerifier(s, secrets, 0)
	if err != nil {
		return nil, fmt.Errorf("signing: %s: %w", s.Name, err)
	}
	return v, nil
}

// verifier is a row at work. Nothing in it changes after it was made, but for the budget.
type verifier struct {
	s         Scheme
	covers    Covers
	where     string // of the signature, for errors
	numbered  []Part
	keys      []key
	secrets   []Secret
	otherwise *verifier
	inner     Verifier // proves signed handshakes, where no row does
	lends     bool     // strangers get digests made with the secret: see checkLent
	explain   budget
}

func newVerifier(s Scheme, secrets []Secret, depth int) (*verifier, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	switch {
	case len(secrets) == 0:
		return nil, errors.New("no secret is given; put in the one that the provider shows")
	case len(secrets) > maxSecrets:
		return nil, fmt.Errorf("%d secrets are given, %d is the most; drop the expired ones", len(secrets), maxSecrets)
	case depth > 4:
		return nil, rowError("Otherwise", "goes too deep")
	}
	v := &verifier{s: s, covers: s.covers(), where: s.Signature.where(), numbered: s.numbered(), secrets: append([]Secret(nil), secrets...)}
	for i, secret := range secrets {
		keys, err := s.makeKeys(i, secret)
		if err != nil {
			return nil, fmt.Errorf("secret %d of %d %w", i+1, len(secrets), err)
		}
		v.keys = append(v.keys, keys...)
	}
	if s.Otherwise != nil {
		var err error
		if v.otherwise, err = newVerifier(*s.Otherwise, secrets, depth+1); err != nil {
			return nil, err
		}
	}
	v.lends = s.lends() || v.otherwise != nil && v.otherwise.lends
	for w := v.otherwise; w != nil; w = w.otherwise {
		w.lends = v.lends
	}
	return v, nil
}

// reading is one request being verified. They are reused, so that verifying allocates only what it answers.
type reading struct {
	v     *verifier
	r     *Request
	now   time.Time
	form  url.Values
	query url.Values

	entries []entry // of a list
	found   []candidate
	stamp   string           // the text of the timestamp
	fields  [maxParts]string // the texts of the message's parts
	head    []byte           // what is to be hashed before the next large part, or a whole message
}

// entry is one of a list, in the text of the signature.
type entry struct{ key, value string }

// candidate is a signature out of the request.
type candidate struct {
	algorithm Algorithm
	text      string
	got       [80]byte // decoded; an ECDSA signature has up to 72
	n         int      // 0: unreadable
}

var readings = sync.Pool{New: func() any { return new(reading) }}

func newReading(v *verifier, r *Request) *reading {
	x := readings.Get().(*reading)
	x.v, x.r, x.now = v, r, clock(r.Time)
	return x
}

// free gives the reading back, with nothing of the request left in it.
func (x *reading) free() {
	clear(x.entries[:cap(x.entries)])
	clear(x.found[:cap(x.found)])
	head := x.head[:0]
	if cap(head) > maxHeader {
		head = nil
	}
	*x = reading{entries: x.entries[:0], found: x.found[:0], head: head}
	readings.Put(x)
}

// Verify finds the signatures, tries every key on each, then looks at the clock.
func (v *verifier) Verify(r *Request) (Verdict, error) {
	v = v.choose(r)
	x := newReading(v, r)
	defer x.free()
	index, err := x.prove()
	if err != nil {
		return Verdict{}, err
	}
	if err := x.checkLent(); err != nil {
		return Verdict{}, err
	}
	d := Verdict{Key: index, Covers: v.covers}
	for _, f := range [...]struct {
		part *Part
		text *string
	}{{&v.s.Type, &d.Type}, {&v.s.ID, &d.ID}, {&v.s.OrderingKey, &d.OrderingKey}} {
		text, state := x.text(f.part)
		if state == repeated || state == tooLong {
			return Verdict{}, x.broken(f.part, state)
		}
		*f.text = text
	}
	return d, nil
}

// Tolerance is how far the time of a request may be from the clock, and so how long a repeated one can still be good; 0 if
// the provider sets no limit.
func (v *verifier) Tolerance() time.Duration {
	longest := v.s.Time.Tolerance
	if v.otherwise != nil {
		longest = max(longest, v.otherwise.Tolerance())
	}
	return longest
}

// choose picks the first of the rows whose signature is there, or the first of all.
func (v *verifier) choose(r *Request) *verifier {
	if v.otherwise == nil {
		return v
	}
	for w := v; w != nil; w = w.otherwise {
		p := &w.s.Signature
		if len(w.numbered) > 0 {
			p = &w.numbered[0]
		}
		x := newReading(w, r)
		_, state := x.text(p)
		if state == absent {
			_, state = x.text(&w.s.Second)
		}
		x.free()
		if state != absent {
			return w
		}
	}
	return v
}

// prove answers the index of the secret that fits.
func (x *reading) prove() (int, error) {
	s := &x.v.s
	if err := x.readSignatures(); err != nil {
		return 0, err
	}
	stamp, err := x.readTime()
	if err != nil {
		return 0, err
	}
	for i := range s.Require {
		m := &s.Require[i]
		text, state := x.text(&m.Part)
		if state != present {
			return 0, x.broken(&m.Part, state)
		}
		if subtle.ConstantTimeCompare([]byte(text), []byte(m.Value)) == 0 {
			return 0, x.refuse(ErrMalformed, "%s has another value than this source is set up for", m.Part.where())
		}
	}
	for i := range s.Message {
		p := &s.Message[i]
		if p.kind == partBody || p.kind == partSecret {
			continue
		}
		text, state := x.text(p)
		if state != present && (state != absent || p.kind != partOptional) {
			return 0, x.broken(p, state)
		}
		x.fields[i] = text
	}
	if s.noEmptyBody && len(x.r.Body) == 0 {
		return 0, x.refuse(ErrMalformed, "the body is empty, which this provider never sends: did a middleware read it first?")
	}
	if x.wants(SHA256) && bytes.IndexByte(x.r.Body, 0) >= 0 {
		// Whoever has one hash of a secret and a message can make that of a longer one, but for the zero bytes in its middle.
		return 0, x.refuse(ErrMalformed, "the body has a zero byte, so that the hash %s could have been made without the secret", x.v.where)
	}
	index := x.match(x.v.keys, x.r.Body)
	if index < 0 {
		return 0, x.mismatch()
	}
	return index, x.checkTime(stamp)
}

// match answers the index of the first secret whose key fits a candidate, or -1.
func (x *reading) match(keys []key, body []byte) int {
	for i := range keys {
		if x.fits(&keys[i], body) {
			return keys[i].index
		}
	}
	return -1
}

// fits compares one key with every candidate of its algorithm, in constant time over the whole length.
func (x *reading) fits(k *key, body []byte) bool {
	if !x.wants(k.algorithm) {
		return false
	}
	switch k.algorithm {
	case Token:
		return x.compare(k.algorithm, k.token[:])
	case Ed25519, ECDSAP256:
		return x.checkPublic(k, body)
	case SHA256:
		h := kindSHA256.get()
		defer kindSHA256.put(h)
		h.Reset()
		x.write(h, k, body)
		return x.compare(k.algorithm, h.Sum(h.room[:0]))
	default:
		h := k.mac.kind.get()
		defer k.mac.kind.put(h)
		if !k.mac.begin(h) {
			return false
		}
		x.write(h, k, body)
		return x.compare(k.algorithm, k.mac.end(h))
	}
}

func (x *reading) wants(a Algorithm) bool {
	for i := range x.found {
		if x.found[i].algorithm == a && x.found[i].n > 0 {
			return true
		}
	}
	return false
}

// compare reports whether a candidate is sum. An empty sum fits nothing.
func (x *reading) compare(a Algorithm, sum []byte) bool {
	fit := 0
	for i := range x.found {
		if c := &x.found[i]; c.algorithm == a && c.n > 0 {
			fit |= subtle.ConstantTimeCompare(c.got[:c.n], sum)
		}
	}
	return fit&1 == 1
}

// checkPublic verifies with a public key, which needs the message in one piece.
func (x *reading) checkPublic(k *key, body []byte) bool {
	x.write(nil, k, body)
	var digest [sha256.Size]byte
	if k.algorithm == ECDSAP256 {
		digest = sha256.Sum256(x.head)
	}
	for i := range x.found {
		c := &x.found[i]
		if c.algorithm != k.algorithm || c.n == 0 {
			continue
		}
		if k.algorithm == Ed25519 {
			if ed25519.Verify(k.public, x.head, c.got[:c.n]) {
				return true
			}
		} else if ecdsa.VerifyASN1(k.curve, digest[:], c.got[:c.n]) {
			return true
		}
	}
	return false
}

// write hashes the message, or gathers it in head if h is nil. Short parts are gathered first; the body is not copied.
func (x *reading) write(h *hasher, k *key, body []byte) {
	x.head = x.head[:0]
	for i := range x.v.s.Message {
		switch x.v.s.Message[i].kind {
		case partBody:
			if h == nil {
				x.head = append(x.head, body...)
				continue
			}
			if len(x.head) > 0 {
				_, _ = h.Write(x.head)
				x.head = x.head[:0]
			}
			_, _ = h.Write(body)
		case partSecret:
			x.head = append(x.head, k.text.Reveal()...)
		default:
			x.head = append(x.head, x.fields[i]...)
		}
	}
	if h != nil && len(x.head) > 0 {
		_, _ = h.Write(x.head)
	}
}

// timestamp is a moment in the unit of the rule, or, for RFC 3339, in nanoseconds.
type timestamp struct {
	at time.Time
	n  int64
}

// readTime finds and reads the timestamp.
func (x *reading) readTime() (timestamp, error) {
	rule := &x.v.s.Time
	if rule.From.kind == partNone {
		return timestamp{}, nil
	}
	text, state := x.text(&rule.From)
	if state != present {
		return timestamp{}, x.broken(&rule.From, state)
	}
	x.stamp = text
	if rule.Unit == RFC3339 {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return timestamp{}, x.refuse(ErrMalformed, "%s is not an RFC 3339 time", rule.From.where())
		}
		return timestamp{at: at}, nil
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return timestamp{}, x.refuse(ErrMalformed, "%s is not a Unix time: digits only", rule.From.where())
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > 1<<53 {
		return timestamp{}, x.refuse(ErrMalformed, "%s is not a Unix time: too many digits", rule.From.where())
	}
	if x.v.covers == CoversMetadata && rule.Unit == Seconds && len(text) != 10 {
		// Where a token follows the time at once, as Mailgun has it, digits could move from one to the other, and a request
		// that is repeated would get a new ID.
		return timestamp{}, x.refuse(ErrMalformed, "%s is not a Unix time of 10 digits", rule.From.where())
	}
	return timestamp{n: n}, nil
}

// checkTime compares the timestamp with the clock, in its own unit: a request of 300.9 s, sent in whole seconds, is as
// old as one of 300.
func (x *reading) checkTime(t timestamp) error {
	rule := &x.v.s.Time
	if rule.Tolerance == 0 {
		return nil
	}
	var age time.Duration
	switch rule.Unit {
	case RFC3339:
		age = x.now.Sub(t.at) // saturates
	case Milliseconds:
		age = scale(x.now.UnixMilli()-t.n, time.Millisecond)
	default:
		age = scale(x.now.Unix()-t.n, time.Second)
	}
	switch {
	case age > rule.Tolerance && rule.Unit == Milliseconds && t.n < msFloor:
		return x.refuse(ErrTooOld, "%s looks like seconds, and the row has it in milliseconds (TimeRule.Unit)", rule.From.where())
	case age > rule.Tolerance:
		return x.refuse(ErrTooOld, "the signature fits, and %s is %s ago and may be %s: somebody repeats an old request, a proxy held it back, or the clock of this machine is fast; set it by NTP",
			rule.From.where(), age.Round(time.Millisecond), rule.Tolerance)
	case age < -rule.Tolerance && !rule.AgeOnly && rule.Unit == Seconds && t.n >= msFloor:
		return x.refuse(ErrTooNew, "%s looks like milliseconds, and the row has it in seconds (TimeRule.Unit)", rule.From.where())
	case age < -rule.Tolerance && !rule.AgeOnly:
		return x.refuse(ErrTooNew, "the signature fits, and %s is %s ahead and may be %s: the clock of this machine is slow, or the sender's is fast; set it by NTP",
			rule.From.where(), (-age).Round(time.Millisecond), rule.Tolerance)
	}
	return nil
}

// msFloor tells seconds from milliseconds: as seconds it is the year 5138, as milliseconds 1973.
const msFloor = 100_000_000_000

// scale gives n units, or the longest duration if that is longer.
func scale(n int64, unit time.Duration) time.Duration {
	const longest = time.Duration(1<<63 - 1)
	switch most := int64(longest / unit); {
	case n > most:
		return longest
	case n < -most:
		return -longest
	default:
		return time.Duration(n) * unit
	}
}
