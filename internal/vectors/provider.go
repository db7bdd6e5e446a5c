package vectors

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// names says which providers of package signing verify a scheme, the first that there is. Other schemes are looked for
// by their own name and then by that of the entry's provider.
var names = map[string][]string{
	"standard-webhooks-v1":  {"standard"}, // whoever sends it
	"standard-webhooks-v1a": {"standard"},
	"stripe-v1":             {"stripe"},
	"github-sha256":         {"github"},
	"slack-v0":              {"slack"},
	"hubspot-v3":            {"hubspot"},
	"messagebird-jwt":       {"messagebird"},
	"adyen-payments":        {"adyen"},
	"sendgrid-ecdsa":        {"sendgrid"},
	"discord-ed25519":       {"discord"},
	"telnyx-ed25519":        {"telnyx"},
	"convoy-simple":         {"convoy"},
}

// last are tried when neither the scheme nor the provider has a name in the catalogue.
var last = map[string]string{"hub-signature": "bitbucket"}

// shortest is how many bytes a text has to have to be a secret here. Vendors publish examples with secrets such as
// "tofu", which no receiver should use: for others, the row's own limit is right.
const shortest = 3

// candidates lists the names under which the catalogue may have the entry's scheme, best first.
func (e *Entry) candidates() []string {
	list := slices.Clone(names[e.Scheme])
	list = append(list, e.Scheme)
	if e.Scheme == "hub-signature" { // by whoever sends it
		list = append(list, e.Provider)
	}
	for name := e.Scheme; ; { // acme-v2-sha256, then acme-v2, then acme
		cut := strings.LastIndexByte(name, '-')
		if cut < 1 {
			break
		}
		name = name[:cut]
		list = append(list, name)
	}
	return append(list, e.Provider, last[e.Scheme])
}

// provider finds the entry's provider in the catalogue.
func (e *Entry) provider() (signing.Provider, bool) {
	all := catalogue()
	for _, name := range e.candidates() {
		if p, ok := all[plain(name)]; ok && name != "" {
			return p, true
		}
	}
	return signing.Provider{}, false
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
		if value, ok := e.Params[s.Name]; ok {
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
