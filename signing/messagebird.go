package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"time"
)

// messagebirdProvider follows webhook-signature-jwt of MessageBird's library for Node.
var messagebirdProvider = provider{
	Provider: Provider{
		Title:     "MessageBird",
		Header:    "`MessageBird-Signature-JWT`",
		Algorithm: "JWT: HS256, HS384 or HS512",
		Signs:     "the SHA-256 of the URL and of the body, as claims `url_hash` and `payload_hash`",
		Time:      "claims `nbf` and `exp`, 5 seconds of leeway",
		Secret:    "the signing key, as text",
		ID:        "claim `jti`",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newMessageBird,
}

const messagebirdLeeway = 5 * time.Second

type messagebird struct{ keys secretKeys }

func newMessageBird(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := hmacKeys(secrets, 8)
	if err != nil {
		return nil, setupError("messagebird", err)
	}
	return &messagebird{keys}, nil
}

// Verify implements Verifier.
func (v *messagebird) Verify(r *Request) (Verdict, error) {
	header := http.CanonicalHeaderKey("MessageBird-Signature-JWT")
	t, k, err := headerJWT("messagebird", r, header, v.keys, hmacAlgorithms)
	if err != nil {
		return Verdict{}, err
	}
	if issuer, _ := t.text("iss"); issuer != "MessageBird" {
		return Verdict{}, refuse("messagebird", ErrMismatch, "the token was not issued by MessageBird")
	}
	d := Verdict{Key: k.index, Covers: CoversBody}
	var ok bool
	if d.ID, ok = t.text("jti"); !ok {
		return Verdict{}, refuse("messagebird", ErrMissing, "the token has no claim jti")
	}
	if !t.has("exp") {
		return Verdict{}, refuse("messagebird", ErrMissing, "the token has no claim exp, so it would be good for ever")
	}
	if err := t.hashed("url_hash", hex.DecodeString, []byte(r.URL), "the URL that the provider calls is another than the public URL set up here"); err != nil {
		return Verdict{}, named("messagebird", err)
	}
	if len(r.Body) > 0 || t.has("payload_hash") {
		if err := t.hashed("payload_hash", hex.DecodeString, r.Body, "the body was changed on its way"); err != nil {
			return Verdict{}, named("messagebird", err)
		}
	}
	if err := t.checkTime(r.Time, messagebirdLeeway); err != nil {
		return Verdict{}, named("messagebird", err)
	}
	return d, nil
}

// hmacAlgorithms are those of tokens that are signed with a shared secret.
var hmacAlgorithms = []string{"HS256", "HS384", "HS512"}

// headerJWT reads the token in a header and proves it. The times in it are left to the caller.
func headerJWT(scheme string, r *Request, header string, keys keySource, allowed []string) (*jwt, jwk, error) {
	text, err := headerOf(scheme, r, header)
	if err != nil {
		return nil, jwk{}, err
	}
	t, err := parseJWT(text)
	if err != nil {
		return nil, jwk{}, named(scheme, err)
	}
	k, err := t.verify(r.context(), keys, allowed)
	return t, k, named(scheme, err)
}

// hashed holds a claim against the SHA-256 of what it should be the hash of.
func (t *jwt) hashed(claim string, decode func(string) ([]byte, error), of []byte, otherwise string) error {
	text, ok := t.text(claim)
	if !ok {
		return flaw(ErrMissing, "the token has no claim %s, so nothing protects what that is about", claim)
	}
	got, err := decode(text)
	if err != nil || len(got) != sha256.Size {
		return flaw(ErrMalformed, "the claim %s of the token is not a SHA-256 hash", claim)
	}
	want := sha256.Sum256(of)
	if subtle.ConstantTimeCompare(got, want[:]) == 0 {
		return flaw(ErrMismatch, "the claim %s of the token is another hash: %s", claim, otherwise)
	}
	return nil
}
