package signing

import (
	"maps"
	"slices"
	"strings"
)

// catalogue has every provider that is a row; coded has the others. A new row goes into the file of its kind.
var catalogue = func() map[string]provider {
	all := make(map[string]provider)
	for _, rows := range rowFiles() {
		maps.Copy(all, rows)
	}
	return all
}()

func rowFiles() []map[string]provider {
	return []map[string]provider{standardRows, codeRows, relayRows, moneyRows, messageRows, workRows, azureRows}
}

// Providers lists all that ForProvider knows, sorted by name.
func Providers() []Provider {
	var all []Provider
	for _, names := range []map[string]provider{catalogue, coded} {
		for name := range names {
			p, _ := lookUp(name)
			p.plain()
			p.describe()
			all = append(all, p.Provider)
		}
	}
	slices.SortFunc(all, func(a, b Provider) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Preset gives the row of a provider, to use or to change; ok is false for a name that is not among Presets.
func Preset(name string) (s Scheme, ok bool) {
	p, ok := lookUp(name)
	if !ok || p.code != nil || p.checkSettings(nil) != nil {
		return Scheme{}, false
	}
	p.plain()
	return p.row, true
}

// Presets lists the names of all rows, sorted: the Providers that are described by data alone and need no setting.
func Presets() []string {
	names := slices.Collect(maps.Keys(catalogue))
	names = slices.DeleteFunc(names, func(name string) bool {
		_, ok := Preset(name)
		return !ok
	})
	slices.Sort(names)
	return names
}

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
