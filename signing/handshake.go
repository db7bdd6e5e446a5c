package signing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Handshaker is what a Verifier may also be: one that answers the requests with which a provider checks a URL before it
// sends events there. Those requests are not events.
type Handshaker interface {
	// Handshake answers a handshake. A nil reply with a nil error means that r is an ordinary request; an error means a
	// handshake that must be refused.
	Handshake(r *Request) (*Reply, error)
	// HandshakeMethods lists the HTTP methods that handshakes use; empty if this provider has none.
	HandshakeMethods() []string
}

// Reply is the answer to a handshake, or to an event. Status 0 is 200.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// clone is a copy that shares nothing, with its defaults filled in; of nil, an empty 200.
func (r *Reply) clone() *Reply {
	if r == nil {
		return &Reply{Status: http.StatusOK, Header: http.Header{}}
	}
	c := &Reply{Status: r.Status, Header: r.Header.Clone(), Body: bytes.Clone(r.Body)}
	if c.Status == 0 {
		c.Status = http.StatusOK
	}
	if c.Header == nil {
		c.Header = http.Header{}
	}
	return c
}

// Handshake is a request with which a provider checks a URL, and the reply. It is an ordinary request, and goes to
// Verify, unless Method fits, all of When holds, nothing of Unless is there, and, where When is empty, the Challenge is
// there.
//
// The reply is the challenge as plain text, unless Members, ReplyHeader or Reply say otherwise.
type Handshake struct {
	// Method is the request's; empty means POST.
	Method string
	// When must all hold.
	When []Match
	// Unless lists what only events have.
	Unless []Part
	// Signed makes the request prove itself as an event does. Set it for every provider that signs its handshakes.
	Signed bool

	// Token is where the request shows the token that the provider was told when the URL was registered, such as Meta's
	// hub.verify_token; TokenSecret is that token. It is no secret that signs. Zero Token: there is none. A zero
	// TokenSecret refuses the handshake.
	Token       Part
	TokenSecret Secret

	// Challenge is the text that the reply is made of, at most 1 KiB. Required unless there is a Reply.
	Challenge Part
	// Allowed lists what the challenge may be, in any letter case; "*" allows all. Empty: anything.
	Allowed []string

	// Delivers marks a challenge that is the secret with which the provider will sign. Deliver gets it, and its error
	// refuses the handshake; a nil Deliver refuses all. Such a handshake proves nothing: see Options.OnSecret.
	Delivers bool
	Deliver  func(ctx context.Context, s Secret) error

	// Members are those of the JSON object to reply with.
	Members []Member
	// ReplyHeader is the header that brings the challenge back.
	ReplyHeader string
	// Reply is what the reply has beside the challenge or, without Members and ReplyHeader, all of it. Nil: 200.
	Reply *Reply
}

// Member is a member of the JSON object that answers a handshake: the challenge itself; or, with Digest, its HMAC-SHA256
// under the first secret; or, with Hash, the SHA-256 of these parts, among which SecretText is the handshake's
// TokenSecret. A digest and a hash are written in this encoding, after this prefix.
//
// A digest is a signature over a text that the caller has chosen. Where the handshake is not Signed, it is made only of
// challenges of letters, digits and "+/=_-", and an event whose whole body is such a text is refused, so that nobody can
// ask for the signature of an event.
type Member struct {
	Name     string
	Digest   bool
	Hash     []Part
	Encoding Encoding
	Prefix   string
}

// Limits on handshakes.
const maxChallenge = 1 << 10 // bytes of a challenge

// checkHandshakes looks for mistakes in the handshakes of a row.
func (s *Scheme) checkHandshakes() error {
	for i := range s.Handshakes {
		h := &s.Handshakes[i]
		bad := func(format string, args ...any) error {
			return rowError("Handshakes", "number %d %s", i, fmt.Sprintf(format, args...))
		}
		switch h.Challenge.kind {
		case partNone:
			if h.Reply == nil || len(h.Members) > 0 || h.ReplyHeader != "" || h.Delivers || len(h.Allowed) > 0 {
				return bad("has no Challenge")
			}
			fallthrough
		default: // an event may have it too
			if len(h.When) == 0 && len(h.Unless) == 0 && h.method() == http.MethodPost {
				return bad("would take every event for a handshake: say When or Unless")
			}
		case partHeader, partQuery, partForm:
		}
		if n := len(h.TokenSecret.Reveal()); n > 0 && n < minToken {
			return bad("has a token of %d bytes; a token has %d at least", n, minToken)
		}
		for _, m := range h.Members {
			switch keyed := m.Digest || len(m.Hash) > 0; {
			case m.Name == "":
				return bad("has a member without Name")
			case keyed && (m.Encoding == 0 || m.Encoding >= Raw):
				return bad("has a Digest or Hash without Encoding")
			case m.Digest && len(m.Hash) > 0:
				return bad("has a member with both Digest and Hash")
			case m.Digest && !h.Signed && s.covers() == CoversMetadata:
				return bad("would sign for strangers what may be a message of this scheme: set Signed")
			}
		}
	}
	return nil
}

// eachText calls f for each part that must be a short text.
func (h *Handshake) eachText(f func(field string, p *Part)) {
	f("Handshakes", &h.Challenge)
	f("Handshakes", &h.Token)
	for i := range h.When {
		f("Handshakes", &h.When[i].Part)
	}
	for i := range h.Unless {
		f("Handshakes", &h.Unless[i])
	}
	for _, m := range h.Members {
		for i := range m.Hash {
			if m.Hash[i].kind != partSecret {
				f("Handshakes", &m.Hash[i])
			}
		}
	}
}

// lends reports whether strangers get signatures made with the secret of the events.
func (s *Scheme) lends() bool {
	for i := range s.Handshakes {
		if h := &s.Handshakes[i]; !h.Signed {
			for _, m := range h.Members {
				if m.Digest {
					return true
				}
			}
		}
	}
	return false
}

// HandshakeMethods lists the methods of the row's handshakes.
func (v *verifier) HandshakeMethods() []string {
	var methods []string
	for w := v; w != nil; w = w.otherwise {
		for i := range w.s.Handshakes {
			methods = append(methods, w.s.Handshakes[i].method())
		}
	}
	return methods
}

func (h *Handshake) method() string {
	if h.Method == "" {
		return http.MethodPost
	}
	return h.Method
}

// Handshake answers r if it is one of the row's handshakes.
func (v *verifier) Handshake(r *Request) (*Reply, error) {
	for w := v; w != nil; w = w.otherwise {
		for i := range w.s.Handshakes {
			if h := &w.s.Handshakes[i]; h.method() == r.Method {
				if reply, err := w.shake(h, r); reply != nil || err != nil {
					return reply, err
				}
			}
		}
	}
	return nil, nil
}

func (v *verifier) shake(h *Handshake, r *Request) (*Reply, error) {
	x := newReading(v, r)
	defer x.free()
	if !x.isHandshake(h) {
		return nil, nil
	}
	if h.Signed {
		if err := x.proveHandshake(); err != nil {
			return nil, err
		}
	}
	if err := x.checkToken(h); err != nil {
		return nil, err
	}
	challenge := ""
	if h.Challenge.kind != partNone {
		var err error
		if challenge, err = x.challenge(h); err != nil {
			return nil, keepOut(h, err)
		}
	}
	if h.Delivers {
		if err := x.deliver(h, challenge); err != nil {
			return nil, keepOut(h, err)
		}
	}
	return x.reply(h, challenge)
}

// isHandshake reports whether the request is this handshake, good or bad.
func (x *reading) isHandshake(h *Handshake) bool {
	for i := range h.When {
		text, state := x.text(&h.When[i].Part)
		if state != present || subtle.ConstantTimeCompare([]byte(text), []byte(h.When[i].Value)) == 0 {
			return false
		}
	}
	for i := range h.Unless {
		if _, state := x.text(&h.Unless[i]); state != absent {
			return false
		}
	}
	if len(h.When) == 0 && h.Challenge.kind != partNone {
		if _, state := x.text(&h.Challenge); state == absent {
			return false // nothing but the method speaks for a handshake
		}
	}
	return true
}

func (x *reading) proveHandshake() error {
	if x.v.inner != nil {
		_, err := x.v.inner.Verify(x.r)
		return err
	}
	y := x
	if w := x.v.choose(x.r); w != x.v {
		y = newReading(w, x.r)
		defer y.free()
	}
	_, err := y.prove()
	return err
}

// checkToken looks at the token that was agreed on. Both are hashed first, so that not even the length shows.
func (x *reading) checkToken(h *Handshake) error {
	if h.Token.kind == partNone {
		return nil
	}
	if h.TokenSecret.IsZero() {
		return x.refuse(ErrMissing, "the provider checks the URL, and the token that it was told is not set up here: give the same one to both")
	}
	text, state := x.text(&h.Token)
	if state != present {
		return x.broken(&h.Token, state)
	}
	shown, want := sha256.Sum256([]byte(text)), sha256.Sum256([]byte(h.TokenSecret.Reveal()))
	if subtle.ConstantTimeCompare(shown[:], want[:]) == 0 {
		return x.refuse(ErrMismatch, "%s is not the token that is set up here: give the same one to both", h.Token.where())
	}
	return nil
}

// challenge finds the text that the reply is made of and sees to it that it does no harm there.
func (x *reading) challenge(h *Handshake) (string, error) {
	where := h.Challenge.where()
	text, state := x.text(&h.Challenge)
	if state != present {
		return "", x.broken(&h.Challenge, state)
	}
	if len(text) > maxChallenge {
		return "", x.refuse(ErrMalformed, "%s is longer than %d bytes", where, maxChallenge)
	}
	if h.ReplyHeader != "" && strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", x.refuse(ErrMalformed, "%s has characters that a header cannot bring back", where)
	}
	if len(h.Allowed) > 0 && !slices.ContainsFunc(h.Allowed, func(a string) bool { return a == "*" || strings.EqualFold(a, text) }) {
		return "", x.refuse(ErrMismatch, "%s is not one of those that are allowed", where)
	}
	return text, nil
}

// deliver gives the secret to whoever waits for it. What that function says is its own: it may hold the secret.
func (x *reading) deliver(h *Handshake, text string) error {
	if h.Deliver == nil {
		return x.refuse(ErrMissing, "the provider brings the secret, and nobody waits for it: set Options.OnSecret while you register the URL")
	}
	if len(text) < minToken {
		return x.refuse(ErrMalformed, "%s brings a secret of fewer than %d bytes", h.Challenge.where(), minToken)
	}
	if err := h.Deliver(x.r.context(), NewSecret(text)); err != nil {
		return x.refuse(ErrMismatch, "the provider brings a secret, and Options.OnSecret did not want it")
	}
	return nil
}

// keepOut marks the refusal of a request that holds a secret.
func keepOut(h *Handshake, err error) error {
	if e := (*Error)(nil); h.Delivers && errors.As(err, &e) {
		e.HoldsSecret = true
	}
	return err
}

// reply makes the answer.
func (x *reading) reply(h *Handshake, challenge string) (*Reply, error) {
	reply := h.Reply.clone()
	reply.Header.Set("X-Content-Type-Options", "nosniff")
	switch {
	case h.ReplyHeader != "":
		reply.Header.Set(h.ReplyHeader, challenge)
	case len(h.Members) > 0:
		members := make(map[string]string, len(h.Members))
		for i := range h.Members {
			text, err := x.member(h, &h.Members[i], challenge)
			if err != nil {
				return nil, err
			}
			members[h.Members[i].Name] = text
		}
		body, err := json.Marshal(members)
		if err != nil {
			return nil, x.refuse(ErrMalformed, "%s does not fit into JSON", h.Challenge.where())
		}
		reply.Header.Set("Content-Type", "application/json")
		reply.Body = body
	case h.Reply == nil:
		reply.Header.Set("Content-Type", "text/plain; charset=utf-8")
		reply.Body = []byte(challenge)
	}
	return reply, nil
}

func (x *reading) member(h *Handshake, m *Member, challenge string) (string, error) {
	if !m.Digest && len(m.Hash) == 0 {
		return challenge, nil
	}
	if !h.Signed && !harmless(challenge) {
		return "", x.refuse(ErrMalformed, "%s has characters that a challenge does not have", h.Challenge.where())
	}
	if m.Digest {
		digest, err := x.v.digest(challenge, m.Encoding)
		if err != nil {
			return "", x.refuse(ErrMalformed, "the first secret makes no digest: %v", err)
		}
		return m.Prefix + digest, nil
	}
	hash := sha256.New()
	for i := range m.Hash {
		p := &m.Hash[i]
		if p.kind == partSecret {
			if h.TokenSecret.IsZero() {
				return "", x.refuse(ErrMissing, "the provider checks the URL, and the token that it was told is not set up here: give the same one to both")
			}
			_, _ = hash.Write([]byte(h.TokenSecret.Reveal()))
			continue
		}
		text, state := x.text(p)
		if state != present {
			return "", x.broken(p, state)
		}
		_, _ = hash.Write([]byte(text))
	}
	return m.Prefix + m.Encoding.encode(hash.Sum(nil)), nil
}

// harmlessChallenge has no braces, colons or dots: no event, and no message of a scheme, is made of these alone.
const harmlessChallenge = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-"

func harmless(text string) bool { return strings.Trim(text, harmlessChallenge) == "" }

// checkLent refuses an event whose signature a stranger could have asked for, as the digest of a challenge.
func (x *reading) checkLent() error {
	if x.v.lends && len(x.r.Body) <= maxHeader && harmless(string(x.r.Body)) {
		return x.refuse(ErrMalformed, "the body could be the challenge of a handshake, of which anybody may have the digest; it is no event")
	}
	return nil
}

// digest is the HMAC of a challenge under the first secret.
func (v *verifier) digest(challenge string, e Encoding) (string, error) {
	if len(v.secrets) == 0 {
		return "", errors.New("there is none")
	}
	raw, _, err := v.s.decodeSecret(v.secrets[0].Reveal())
	if err != nil {
		return "", err
	}
	mac, err := newMACKey(kindSHA256, raw)
	if err != nil {
		return "", err
	}
	h := kindSHA256.get()
	defer kindSHA256.put(h)
	if !mac.begin(h) {
		return "", errors.New("the hash function did not start")
	}
	_, _ = h.Write([]byte(challenge))
	return e.encode(mac.end(h)), nil
}

// encode writes bytes as decoding reads them.
func (e Encoding) encode(raw []byte) string {
	switch e {
	case Base64, Base64URL:
		return e.base64().EncodeToString(raw)
	default:
		return hex.EncodeToString(raw)
	}
}
