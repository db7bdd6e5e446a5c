package signing

import (
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
