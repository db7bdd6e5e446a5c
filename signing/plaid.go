package signing

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// plaidProvider follows Plaid's page on webhook verification. Its keys are had from an API that wants credentials, so they
// are given as secrets.
var plaidProvider = provider{
	Provider: Provider{
		Title:     "Plaid",
		Header:    "`Plaid-Verification`",
		Algorithm: "JWT: ES256",
		Signs:     "the SHA-256 of the body, as claim `request_body_sha256`",
		Time:      "claim `iat`, 5 minutes",
		Secret:    "the key, in JSON, as `/webhook_verification_key/get` gives it in the member `key`; one secret for each key ID",
		Type:      "`webhook_type` and `webhook_code`",
		Source:    VendorDocs,
		Covers:    CoversBody,
	},
	code: newPlaid,
}

const plaidTolerance = 5 * time.Minute

type plaid struct{ keys *KeySet }

func newPlaid(_ Options, secrets []Secret) (Verifier, error) {
	texts, err := plainSecretsPEM(secrets)
	if err != nil {
		return nil, setupError("plaid", err)
	}
	set := &KeySet{}
	for i, text := range texts {
		fail := func(err error) (Verifier, error) {
			return nil, setupError("plaid", fmt.Errorf("secret %d %w", i+1, err))
		}
		keys, err := parseKeySet([]byte(text))
		if err != nil {
			return fail(err)
		}
		members, _ := jsonMembers([]byte(text)) // parseKeySet has read it
		if _, set := members["keys"]; set {
			return fail(errors.New("is a set of keys; give the member key of the answer as it is, one secret for each key"))
		}
		if expired, ok := jsonScalar(members["expired_at"]); !ok || expired != "" {
			return fail(errors.New("is a key that has expired; fetch the key that the latest webhooks name"))
		}
		for _, k := range keys {
			if k.id == "" || k.family != p256Family {
				return fail(errors.New("is not a P-256 key with an ID (kid); give the member key of the answer as it is"))
			}
			k.index = i
			set.keys = append(set.keys, k)
		}
	}
	return &plaid{set}, nil
}

// Verify implements Verifier.
func (v *plaid) Verify(r *Request) (Verdict, error) {
	t, k, err := headerJWT("plaid", r, "Plaid-Verification", v.keys, []string{"ES256"})
	if err != nil {
		return Verdict{}, err
	}
	if err := t.hashed("request_body_sha256", hex.DecodeString, r.Body, "the body was changed on its way"); err != nil {
		return Verdict{}, named("plaid", err)
	}
	if err := t.checkAge(r.Time, plaidTolerance); err != nil {
		return Verdict{}, named("plaid", err)
	}
	if err := t.checkTime(r.Time, plaidTolerance); err != nil {
		return Verdict{}, named("plaid", err)
	}
	d := Verdict{Key: k.index, Covers: CoversBody}
	d.Type, _ = jsonText(r.Body, []string{"webhook_type"})
	if code, ok := jsonText(r.Body, []string{"webhook_code"}); ok {
		d.Type += "." + code
	}
	d.OrderingKey, _ = jsonText(r.Body, []string{"item_id"})
	return d, nil
}
