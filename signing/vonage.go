package signing

import (
	"encoding/hex"
	"time"
)

// vonageProvider follows Vonage's page on signed webhooks; their libraries check the token and leave the body to the user.
var vonageProvider = provider{
	Provider: Provider{
		Title:     "Vonage",
		Header:    "`Authorization: Bearer`",
		Algorithm: "JWT: HS256",
		Signs:     "the SHA-256 of the body, as claim `payload_hash`",
		Time:      "claim `iat`, 5 minutes",
		Secret:    "the signature secret of the account, as text",
		ID:        "claim `jti`",
		Source:    ThirdParty,
		Covers:    CoversBody,
	},
	code: newVonage,
}

const vonageTolerance = 5 * time.Minute

type vonage struct{ keys secretKeys }

func newVonage(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := hmacKeys(secrets, 8)
	if err != nil {
		return nil, setupError("vonage", err)
	}
	return &vonage{keys}, nil
}

// Verify implements Verifier.
func (v *vonage) Verify(r *Request) (Verdict, error) {
	text, err := authorization(r, "Bearer")
	if err != nil {
		return Verdict{}, named("vonage", err)
	}
	t, k, err := proveJWT(r, text, v.keys, []string{"HS256"})
	if err != nil {
		return Verdict{}, named("vonage", err)
	}
	if err := t.hashed("payload_hash", hex.DecodeString, r.Body, "the body was changed on its way"); err != nil {
		return Verdict{}, named("vonage", err)
	}
	if err := t.checkAge(r.Time, vonageTolerance); err != nil {
		return Verdict{}, named("vonage", err)
	}
	if err := t.checkTime(r.Time, vonageTolerance); err != nil {
		return Verdict{}, named("vonage", err)
	}
	d := Verdict{Key: k.index, Covers: CoversBody}
	d.ID, _ = t.text("jti")
	return d, nil
}
