package signing

import (
	"encoding/hex"
	"time"
)

// netlifyProvider follows Netlify's page on payload signatures of deploy notifications.
var netlifyProvider = provider{
	Provider: Provider{
		Title:     "Netlify",
		Header:    "`X-Webhook-Signature`",
		Algorithm: "JWT: HS256",
		Signs:     "the SHA-256 of the body, as claim `sha256`",
		Secret:    "the JWS secret token of the notification, as text",
		Type:      "`X-Netlify-Event`",
		Source:    ThirdParty,
		Covers:    CoversBody,
	},
	code: newNetlify,
}

type netlify struct{ keys secretKeys }

func newNetlify(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := hmacKeys(secrets, 8)
	if err != nil {
		return nil, setupError("netlify", err)
	}
	return &netlify{keys}, nil
}

// Verify implements Verifier.
func (v *netlify) Verify(r *Request) (Verdict, error) {
	t, k, err := headerJWT("netlify", r, "X-Webhook-Signature", v.keys, []string{"HS256"})
	if err != nil {
		return Verdict{}, err
	}
	if issuer, _ := t.text("iss"); issuer != "netlify" {
		return Verdict{}, refuse("netlify", ErrMismatch, "the token was not issued by netlify")
	}
	if err := t.hashed("sha256", hex.DecodeString, r.Body, "the body was changed on its way"); err != nil {
		return Verdict{}, named("netlify", err)
	}
	if err := t.checkTime(r.Time, time.Minute); err != nil {
		return Verdict{}, named("netlify", err)
	}
	d := Verdict{Key: k.index, Covers: CoversBody}
	if d.Type, err = optionalHeader("netlify", r, "X-Netlify-Event"); err != nil {
		return Verdict{}, err
	}
	return d, nil
}
