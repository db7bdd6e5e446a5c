package signing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// fusionauthProvider follows FusionAuth's page on signing webhooks.
var fusionauthProvider = provider{
	Provider: Provider{
		Title: "FusionAuth",
		Settings: []Setting{{
			Name: "jwks_url", Doc: "The address of the key set of your FusionAuth, https://.../.well-known/jwks.json, where the signing key is a key pair; empty if the key is given as a secret.",
		}},
		Header:    "`X-FusionAuth-Signature-JWT`",
		Algorithm: "JWT: HS, RS and ES with 256, 384 or 512 bits, PS256, EdDSA",
		Signs:     "the SHA-256 of the body, as claim `request_body_sha256`",
		Time:      "claims `exp`, `nbf` and `iat` if they are there",
		Secret:    "the shared key as text, or a public key in PEM, or a key set in JSON; none with `jwks_url`",
		Type:      "`event.type`",
		ID:        "`event.id`",
		Source:    VendorDocs,
		Covers:    CoversBody,
	},
	code: newFusionAuth,
}

var fusionauthAlgorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"}

type fusionauth struct{ keys keySource }

func newFusionAuth(o Options, secrets []Secret) (Verifier, error) {
	address := o.Settings["jwks_url"]
	if address != "" {
		if len(secrets) > 0 {
			return nil, setupError("fusionauth", errors.New("give either secrets or the setting jwks_url"))
		}
		set, err := FetchKeySet(address, o.Client)
		if err != nil {
			return nil, setupError("fusionauth", fmt.Errorf("the setting jwks_url: %w", err))
		}
		return &fusionauth{set}, nil
	}
	keys, err := anyKeys(secrets)
	if err != nil {
		return nil, setupError("fusionauth", err)
	}
	return &fusionauth{keys}, nil
}

// anyKeys makes keys of secrets of all kinds: text for HMAC, PEM for a public key, JSON for a key or a set of them.
func anyKeys(secrets []Secret) (mixedKeys, error) {
	texts, err := plainSecretsPEM(secrets)
	if err != nil {
		return nil, err
	}
	var keys mixedKeys
	for i, text := range texts {
		var own []jwk
		switch {
		case strings.HasPrefix(text, "-----BEGIN "):
			var public any
			if public, err = pemPublic(text); err == nil {
				own = make([]jwk, 1)
				own[0], err = publicJWK(public)
			}
		case strings.HasPrefix(text, "{"):
			own, err = parseKeySet([]byte(text))
		default:
			var list secretKeys
			if list, err = hmacKeys(secrets[i:i+1], 8); err != nil {
				return nil, err
			}
			own = list
		}
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		for _, k := range own {
			k.index = i
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// mixedKeys are keys with and without a name. A token that names its key is for those of that name, and for those without.
type mixedKeys []jwk

func (m mixedKeys) find(_ context.Context, kid string) ([]jwk, error) {
	if kid == "" {
		return m, nil
	}
	var found []jwk
	for i := range m {
		if m[i].id == "" || m[i].id == kid {
			found = append(found, m[i])
		}
	}
	return found, nil
}

// Verify implements Verifier.
func (v *fusionauth) Verify(r *Request) (Verdict, error) {
	t, k, err := headerJWT("fusionauth", r, http.CanonicalHeaderKey("X-FusionAuth-Signature-JWT"), v.keys, fusionauthAlgorithms)
	if err != nil {
		return Verdict{}, err
	}
	if err := t.hashed("request_body_sha256", decodeStd, r.Body, "the body was changed on its way"); err != nil {
		return Verdict{}, named("fusionauth", err)
	}
	if err := t.checkTime(r.Time, time.Minute); err != nil {
		return Verdict{}, named("fusionauth", err)
	}
	d := Verdict{Key: k.index, Covers: CoversBody}
	if _, fetched := v.keys.(*KeySet); fetched {
		d.Key = -1
	}
	d.Type, _ = jsonText(r.Body, []string{"event", "type"})
	d.ID, _ = jsonText(r.Body, []string{"event", "id"})
	return d, nil
}
