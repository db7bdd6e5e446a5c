package signing

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Unsigned signs nothing and takes no secret. A receiver cannot tell its requests from anybody else's: use it only where
// something else proves them, such as a client certificate or a token among the endpoint's headers.
var Unsigned Signer = unsigned{}

type unsigned struct{}

// Sign leaves h as it is.
func (unsigned) Sign(http.Header, Message, []Secret) error { return nil }

// CheckSecret refuses every secret: it would look as if it were used.
func (unsigned) CheckSecret(Secret) error {
	return errors.New("signing: Unsigned signs nothing and takes no secret; leave it out, or choose a signer")
}

// NewSecret gives the zero Secret.
func (unsigned) NewSecret() Secret { return Secret{} }

// Headers is empty.
func (unsigned) Headers() []string { return nil }

// SignerFor gives a signer that comes with the package, by its name; ok is false for a name that is not among Signers.
//
//	standard         Standard Webhooks, see StandardWebhooks
//	svix             the same under the headers Svix-Id, Svix-Timestamp and Svix-Signature
//	stripe           Stripe-Signature: t=,v1=
//	github           X-Hub-Signature-256, X-GitHub-Event, X-GitHub-Delivery
//	shopify          X-Shopify-Hmac-Sha256, X-Shopify-Topic, X-Shopify-Webhook-Id
//	slack            X-Slack-Signature, X-Slack-Request-Timestamp
//	hookdeck         X-Hookdeck-Signature, and -2 with the older secret during a rotation
//	convoy           X-Convoy-Signature, the body alone in hex
//	convoy-advanced  X-Convoy-Signature: t=,v1=
//	outpost          X-Outpost-Signature: v0=, with topic, event ID and timestamp
//	http-message     RFC 9421, see HTTPMessageSignatures
//	none             Unsigned
//
// github, shopify, slack and convoy have room for one signature: see NewSigner for what that means for a rotation.
func SignerFor(name string) (s Signer, ok bool) {
	s, ok = readySigners()[name]
	return s, ok
}

// Signers lists the names that SignerFor knows, sorted.
func Signers() []string { return slices.Sorted(maps.Keys(readySigners())) }

// readySigners makes them when the first is asked for.
var readySigners = sync.OnceValue(func() map[string]Signer {
	all := map[string]Signer{
		"standard":     StandardWebhooks,
		"none":         Unsigned,
		"http-message": mustSign(HTTPMessageSignatures(HTTPMessageOptions{})),
	}
	for _, name := range []string{"svix", "stripe", "github", "shopify", "slack", "hookdeck", "convoy", "convoy-advanced", "outpost"} {
		row, _ := Preset(name)
		if name == "outpost" {
			row.Time = TimeRule{From: Header("X-Outpost-Timestamp"), Unit: RFC3339} // sent, not signed
		}
		all[name] = mustSign(newRowSigner(row))
	}
	// Receivers know these texts by how they begin.
	for _, name := range []string{"stripe", "outpost"} {
		all[name].(*rowSigner).keys.prefix = prefixHMAC
	}
	return all
})

// mustSign is for rows of this package: whether they sign is a matter of its tests.
func mustSign[S any](s S, err error) S {
	if err != nil {
		panic(err)
	}
	return s
}
