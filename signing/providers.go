package signing

import (
	"maps"
	"slices"
	"time"
)

// The providers, one row each. A new one is a row here and, if it is common, a function below.
var presets = map[string]Scheme{
	"standard": standard("standard", "Webhook-"),
	"svix":     svix(),
	"stripe": {
		Signature: Header("Stripe-Signature"), Format: Pairs, Tags: []Tag{{Name: "v1"}},
		Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Timestamp, Text("."), Body},
		Time:    TimeRule{From: Entry("t"), Tolerance: 5 * time.Minute, AgeOnly: true},
		Type:    JSON("type"), ID: JSON("id"),
	},
	"github": {
		Signature: Header("X-Hub-Signature-256"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Body},
		Type:    Join(".", Header("X-GitHub-Event"), JSON("action")), ID: Header("X-GitHub-Delivery"),
	},
	"slack": {
		Signature: Header("X-Slack-Signature"), Prefix: "v0=",
		Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Text("v0:"), Timestamp, Text(":"), Body},
		Time:    TimeRule{From: Header("X-Slack-Request-Timestamp"), Tolerance: 5 * time.Minute},
		Type:    FirstOf(JSON("event", "type"), JSON("type")), ID: JSON("event_id"),
		Handshakes: []Handshake{{
			When: []Match{{JSON("type"), "url_verification"}}, Signed: true,
			Challenge: JSON("challenge"), Members: []Member{{Name: "challenge"}},
		}},
	},
	"shopify": {
		Signature: Header("X-Shopify-Hmac-Sha256"),
		Algorithm: HMACSHA256, Encoding: Base64, Secret: TextSecret,
		Message: []Part{Body},
		Type:    Header("X-Shopify-Topic"), ID: Header("X-Shopify-Webhook-Id"),
	},
	"linear": {
		Signature: Header("Linear-Signature"),
		Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Body},
		// The time is in the body, which is signed; the header of the same name is not.
		Time: TimeRule{From: JSON("webhookTimestamp"), Unit: Milliseconds, Tolerance: time.Minute},
		Type: Join(".", JSON("type"), JSON("action")), ID: Header("Linear-Delivery"),
	},
	"twitch": {
		Signature: Header("Twitch-Eventsub-Message-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Header("Twitch-Eventsub-Message-Id"), Timestamp, Body},
		Time:    TimeRule{From: Header("Twitch-Eventsub-Message-Timestamp"), Unit: RFC3339, Tolerance: 10 * time.Minute},
		// Such as "notification.channel.follow": the message type tells a notification from a revocation.
		Type: Join(".", Header("Twitch-Eventsub-Message-Type"), Header("Twitch-Eventsub-Subscription-Type")),
		ID:   Header("Twitch-Eventsub-Message-Id"),
		Handshakes: []Handshake{{
			When:   []Match{{Header("Twitch-Eventsub-Message-Type"), "webhook_callback_verification"}},
			Signed: true, Challenge: JSON("challenge"),
		}},
	},
	"zoom": {
		Signature: Header("X-Zm-Signature"), Prefix: "v0=",
		Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Text("v0:"), Timestamp, Text(":"), Body},
		Time:    TimeRule{From: Header("X-Zm-Request-Timestamp")}, // signed; Zoom sets no limit
		Type:    JSON("event"),
		Handshakes: []Handshake{{
			// Signed, because the reply is a signature over a text of the caller's choice.
			When: []Match{{JSON("event"), "endpoint.url_validation"}}, Signed: true,
			Challenge: JSON("payload", "plainToken"),
			Members:   []Member{{Name: "plainToken"}, {Name: "encryptedToken", Digest: true, Encoding: Hex}},
		}},
	},
}

// standard is Standard Webhooks, version 1 with HMAC and 1a with Ed25519, under headers of this prefix.
func standard(name, prefix string) Scheme {
	return Scheme{
		Name:      name,
		Signature: Header(prefix + "Signature"), Format: Tagged,
		Tags:     []Tag{{"v1", HMACSHA256}, {"v1a", Ed25519}},
		Encoding: Base64, Secret: StandardSecret,
		Message: []Part{Header(prefix + "Id"), Text("."), Timestamp, Text("."), Body},
		Time:    TimeRule{From: Header(prefix + "Timestamp"), Tolerance: 5 * time.Minute},
		Type:    JSON("type"), ID: Header(prefix + "Id"),
	}
}

// svix is the same under Svix's own headers, or under the standard ones; never a mixture.
func svix() Scheme {
	s, other := standard("svix", "Svix-"), standard("svix", "Webhook-")
	s.Otherwise = &other
	return s
}

// Preset gives the row of a provider, to use or to change; ok is false for a name that is not among Presets.
func Preset(name string) (s Scheme, ok bool) {
	s, ok = presets[name]
	s.Name = name
	return s, ok
}

// Presets lists the names of all rows, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// Standard verifies Standard Webhooks: secrets with "whsec_" or plain base64 for signatures of version 1, public keys
// with "whpk_" for version 1a. The time may be off by five minutes either way. The ID is the header Webhook-Id, the type
// the member "type" of the body.
func Standard(secrets ...Secret) (Verifier, error) { return preset("standard", secrets) }

// Svix verifies what Svix sends: Standard Webhooks, under the headers Svix-Id, Svix-Timestamp and Svix-Signature or the
// standard ones.
func Svix(secrets ...Secret) (Verifier, error) { return preset("svix", secrets) }

// Stripe verifies what Stripe sends. A secret is the whole text, "whsec_" included. A request may be five minutes old.
// The ID and type are the members "id" and "type" of the body.
func Stripe(secrets ...Secret) (Verifier, error) { return preset("stripe", secrets) }

// GitHub verifies what GitHub sends, by the header X-Hub-Signature-256; the old SHA-1 is not taken. The type is the
// header X-GitHub-Event and, where the body has one, the action: "push", "issues.opened". The ID is X-GitHub-Delivery.
// GitHub's ping is an ordinary event of the type "ping".
//
// The action is found in JSON bodies only: set the content type of the hook to application/json.
func GitHub(secrets ...Secret) (Verifier, error) { return preset("github", secrets) }

// Slack verifies what Slack sends and answers its url_verification. The time may be off by five minutes either way. The
// type is that of the inner event, if there is one: "app_mention".
func Slack(secrets ...Secret) (Verifier, error) { return preset("slack", secrets) }

// Shopify verifies what Shopify sends. The type is the topic as Shopify writes it: "products/create".
func Shopify(secrets ...Secret) (Verifier, error) { return preset("shopify", secrets) }

// Linear verifies what Linear sends. The time may be off by one minute either way. The type is the entity and the
// action: "Issue.create".
func Linear(secrets ...Secret) (Verifier, error) { return preset("linear", secrets) }

// Twitch verifies what Twitch EventSub sends and answers its callback verification. The time may be off by ten minutes
// either way. The type is that of the message and that of the subscription: "notification.channel.follow".
func Twitch(secrets ...Secret) (Verifier, error) { return preset("twitch", secrets) }

// Zoom verifies what Zoom sends and answers its URL validation. Zoom signs the time and sets no limit for it, and gives
// events no ID.
func Zoom(secrets ...Secret) (Verifier, error) { return preset("zoom", secrets) }

func preset(name string, secrets []Secret) (Verifier, error) {
	s, _ := Preset(name)
	return NewVerifier(s, secrets...)
}
