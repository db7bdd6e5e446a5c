package vectors

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// names says which provider of package signing verifies a scheme, by the plain name of the scheme. Other schemes are looked
// for by their own name and then by that of the entry's provider.
var names = map[string]string{
	"standardwebhooksv1":  "standard", // whoever sends it
	"standardwebhooksv1a": "standard",
	"standardwebhooks":    "standard",
	"stripev1":            "stripe",
	"githubsha256":        "github",
	"slackv0":             "slack",
	"hubspotv3":           "hubspot",
	"messagebirdjwt":      "messagebird",
	"adyenpayments":       "adyen",
	"sendgridecdsa":       "sendgrid",
	"discorded25519":      "discord",
	"telnyxed25519":       "telnyx",
	"convoysimple":        "convoy",
}

// aliases are other names of providers, and of the ways that any sender may take.
var aliases = map[string]string{
	"apikey": "api-key-header", "basic": "basic-auth", "dgtoken": "deepgram",
	"facebook": "meta", "instagram": "meta", "messenger": "meta", "twitter": "x", "hellosign": "dropbox-sign",
	"forgejo": "gitea", "maxio": "chargify", "intuit": "quickbooks", "eventgrid": "azure-event-grid", "pubsub": "google-pubsub",
	"sns": "aws-sns", "msgraph": "microsoft-graph", "msteams": "microsoft-teams",
}

// last are tried when neither the scheme nor the provider has a name in the catalogue, by the plain name of the scheme.
var last = map[string]string{"hubsignature": "bitbucket", "hubsignature256": "github", "xhubsignature256": "github"}

// shortest is how many bytes a text has to have to be a secret here. Vendors publish examples with secrets such as
// "tofu", which no receiver should use: for others, the row's own limit is right.
const shortest = 3

// candidates lists the names under which the catalogue may have the entry's scheme, best first.
func (e *Entry) candidates() []string {
	scheme := plain(e.Scheme)
	own, known := named(e.Provider)
	var list []string
	switch {
	case names[scheme] == "standard" && known && e.isOwnStandard(own):
		list = append(list, e.Provider)
	case names[scheme] != "":
		list = append(list, names[scheme])
	}
	list = append(list, e.Scheme)
	if scheme == "hubsignature" { // by whoever sends it
		list = append(list, e.Provider)
	}
	for name := e.Scheme; ; { // acme-v2-sha256, then acme-v2, then acme
		cut := strings.LastIndexAny(name, "-_./: ")
		if cut < 2 { // the X of a header's name is no provider
			break
		}
		name = name[:cut]
		list = append(list, name)
	}
	return append(list, e.Provider, last[scheme])
}

// isOwnStandard says whether the provider's own row fits better than that of Standard Webhooks: it takes the headers of Svix too,
// or a secret in another form.
func (e *Entry) isOwnStandard(own signing.Provider) bool {
	if strings.HasPrefix(own.Header, "`Svix-Signature`") {
		return true
	}
	_, err := signing.Standard(e.secrets()...)
	return err != nil && strings.HasPrefix(own.Header, "`Webhook-Signature`: `v1,`")
}

// provider finds the entry's provider in the catalogue.
func (e *Entry) provider() (signing.Provider, bool) {
	for _, name := range e.candidates() {
		if p, ok := named(name); ok {
			return p, true
		}
	}
	return signing.Provider{}, false
}

// named looks for a name, however it is written.
func named(name string) (signing.Provider, bool) {
	p, ok := catalogue()[plain(name)]
	if other := aliases[plain(name)]; !ok && other != "" {
		p, ok = catalogue()[plain(other)]
	}
	return p, ok
}

// catalogue has all providers by their plain names.
var catalogue = sync.OnceValue(func() map[string]signing.Provider {
	all := map[string]signing.Provider{}
	for _, p := range signing.Providers() {
		all[plain(p.Name)] = p
	}
	return all
})

// plain is a name without what people write in several ways: "Coinbase_Commerce" is "coinbasecommerce".
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
}

// Verifier makes the verifier of a receiver that is configured as the entry says. An error that does not match
// ErrCannotRun means that its secret cannot be used.
func (e *Entry) Verifier() (signing.Verifier, error) {
	p, ok := e.provider()
	if !ok {
		return nil, fmt.Errorf("%w: there is no provider for the scheme %q of %q", ErrCannotRun, e.Scheme, e.Provider)
	}
	settings := map[string]string{}
	for _, s := range p.Settings {
		if value, ok := e.param(s); ok {
			settings[s.Name] = value
		} else if s.Required {
			return nil, fmt.Errorf("%w: %s needs params.%s: %s", ErrCannotRun, p.Name, s.Name, s.Doc)
		}
	}
	if row, ok := signing.Preset(p.Name); ok && len(settings) == 0 {
		if fitted, changed := e.fit(row); changed {
			return signing.NewVerifier(fitted, e.secrets()...)
		}
	}
	return signing.ForProvider(p.Name, signing.Options{Settings: settings}, e.secrets()...)
}

// param gives a setting, however its name is written: "publicKey" or, where it is required, "key" is "public_key" too.
func (e *Entry) param(s signing.Setting) (value string, ok bool) {
	if value, ok = e.Params[s.Name]; ok {
		return value, true
	}
	sorted := slices.Sorted(maps.Keys(e.Params))
	for _, name := range sorted {
		if plain(name) == plain(s.Name) {
			return e.Params[name], true
		}
	}
	for _, name := range sorted {
		if s.Required && plain(name) != "" && strings.HasSuffix(plain(s.Name), plain(name)) {
			return e.Params[name], true
		}
	}
	return "", false
}

// fit gives a row the entry's window, and lets it take the short secrets of published examples.
func (e *Entry) fit(row signing.Scheme) (fitted signing.Scheme, changed bool) {
	window := time.Duration(e.Tolerance) * time.Second
	if has := row.Time.Tolerance > 0; (has || window > 0 && !reflect.ValueOf(row.Time.From).IsZero()) && row.Time.Tolerance != window {
		row.Time.Tolerance, changed = window, true
	}
	if row.Secret == signing.TextSecret && row.MinSecret != shortest {
		row.MinSecret, changed = shortest, true
	}
	if row.Otherwise != nil {
		if other, too := e.fit(*row.Otherwise); too {
			row.Otherwise, changed = &other, true
		}
	}
	return row, changed
}
