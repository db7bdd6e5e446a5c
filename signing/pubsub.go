package signing

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// pubsubProvider follows Google's page on authenticated push subscriptions of Pub/Sub.
var pubsubProvider = provider{
	Provider: Provider{
		Title: "Google Pub/Sub",
		Settings: []Setting{
			{Name: "audience", Required: true, Doc: "The audience of the push subscription; the URL of the endpoint if none is set there."},
			{Name: "email", Required: true, Doc: "The e-mail address of the service account of the subscription: Google makes a token for this audience for whoever asks."},
		},
		Header:    "`Authorization: Bearer`",
		Algorithm: "JWT: RS256, by Google",
		Time:      "claims `exp` and `iat`, 1 minute of leeway",
		Secret:    "none, Google's keys are fetched; or a key set in JSON",
		Type:      "`message.attributes.eventType`",
		ID:        "`message.messageId`",
		Source:    VendorDocs,
		Covers:    CoversNothing,
	},
	code: newPubSub,
}

const (
	googleKeys   = "https://www.googleapis.com/oauth2/v3/certs"
	googleLeeway = time.Minute
)

type pubsub struct {
	audience, email string
	keys            keySource
	pinned          bool
}

func newPubSub(o Options, secrets []Secret) (Verifier, error) {
	v := &pubsub{audience: o.Settings["audience"], email: o.Settings["email"]}
	if len(secrets) == 0 {
		set, err := FetchKeySet(googleKeys, o.Client)
		if err != nil {
			return nil, setupError("google-pubsub", err)
		}
		v.keys = set
		return v, nil
	}
	keys, err := anyKeys(secrets)
	if err != nil {
		return nil, setupError("google-pubsub", err)
	}
	for i := range keys {
		if keys[i].family != rsaFamily {
			return nil, setupError("google-pubsub", errors.New("a secret is not a key set of Google, which has RSA keys only"))
		}
	}
	v.keys, v.pinned = keys, true
	return v, nil
}

// Verify implements Verifier.
func (v *pubsub) Verify(r *Request) (Verdict, error) {
	text, err := authorization(r, "Bearer")
	if err != nil {
		return Verdict{}, named("google-pubsub", err)
	}
	t, k, err := proveJWT(r, text, v.keys, []string{"RS256"})
	if err != nil {
		return Verdict{}, named("google-pubsub", err)
	}
	if issuer, _ := t.text("iss"); strings.TrimPrefix(issuer, "https://") != "accounts.google.com" {
		return Verdict{}, refuse("google-pubsub", ErrMismatch, "the token was not issued by Google")
	}
	if !slices.Contains(t.audience(), v.audience) {
		return Verdict{}, refuse("google-pubsub", ErrMismatch, "the token is for another audience than the setting audience")
	}
	email, _ := t.text("email")
	if email != v.email || string(t.claims["email_verified"]) != "true" {
		return Verdict{}, refuse("google-pubsub", ErrMismatch, "the token is of another account than the setting email, or its address is not verified")
	}
	if !t.has("exp") {
		return Verdict{}, refuse("google-pubsub", ErrMissing, "the token has no claim exp, so it would be good for ever")
	}
	if err := t.checkTime(r.Time, googleLeeway); err != nil {
		return Verdict{}, named("google-pubsub", err)
	}
	d := Verdict{Key: k.index, Covers: CoversNothing, Subject: email}
	if !v.pinned {
		d.Key = -1
	}
	d.Type, _ = jsonText(r.Body, []string{"message", "attributes", "eventType"})
	d.ID, _ = jsonText(r.Body, []string{"message", "messageId"})
	d.OrderingKey, _ = jsonText(r.Body, []string{"message", "orderingKey"})
	return d, nil
}
