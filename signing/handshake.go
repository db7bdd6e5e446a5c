package signing

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
)

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
	for i := range h.When {
		text, state := x.text(&h.When[i].Part)
		if state != present || subtle.ConstantTimeCompare([]byte(text), []byte(h.When[i].Value)) == 0 {
			return nil, nil
		}
	}
	challenge, state := x.text(&h.Challenge)
	if state == absent && len(h.When) == 0 {
		return nil, nil // nothing but the method speaks for a handshake
	}
	if h.Signed {
		if _, err := x.prove(); err != nil {
			return nil, err
		}
	}
	if state != present {
		return nil, x.broken(&h.Challenge, state)
	}
	if len(challenge) > maxChallenge {
		return nil, x.refuse(ErrMalformed, "%s is longer than %d bytes", h.Challenge.where(), maxChallenge)
	}
	reply := &Reply{Status: http.StatusOK, Header: http.Header{}}
	reply.Header.Set("X-Content-Type-Options", "nosniff")
	if len(h.Members) == 0 {
		reply.Header.Set("Content-Type", "text/plain; charset=utf-8")
		reply.Body = []byte(challenge)
		return reply, nil
	}
	members := make(map[string]string, len(h.Members))
	for _, m := range h.Members {
		if !m.Digest {
			members[m.Name] = challenge
			continue
		}
		if !h.Signed && strings.Trim(challenge, harmlessChallenge) != "" {
			return nil, x.refuse(ErrMalformed, "%s has characters that a challenge does not have", h.Challenge.where())
		}
		digest, err := v.digest(challenge, m.Encoding)
		if err != nil {
			return nil, x.refuse(ErrMalformed, "the first secret makes no digest: %v", err)
		}
		members[m.Name] = m.Prefix + digest
	}
	body, err := json.Marshal(members)
	if err != nil {
		return nil, x.refuse(ErrMalformed, "%s does not fit into JSON", h.Challenge.where())
	}
	reply.Header.Set("Content-Type", "application/json")
	reply.Body = body
	return reply, nil
}

// harmlessChallenge has no braces, colons or dots: no event, and no message of a scheme, is made of these alone.
const harmlessChallenge = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-"

func (v *verifier) digest(challenge string, e Encoding) (string, error) {
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
		return "", nil
	}
	_, _ = h.Write([]byte(challenge))
	digest := mac.end(h)
	switch e {
	case Base64:
		return base64.StdEncoding.EncodeToString(digest), nil
	case Base64URL:
		return base64.RawURLEncoding.EncodeToString(digest), nil
	default:
		return hex.EncodeToString(digest), nil
	}
}
