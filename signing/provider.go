package signing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Provider is what is known about one sender of webhooks, for tables and settings pages. The texts are short and in
// words; names of headers and fields in them stand between backquotes.
type Provider struct {
	// Name is what ForProvider takes, such as "stripe".
	Name string
	// Title is how the provider writes itself, such as "Stripe".
	Title string
	// Settings are what a verifier needs, or takes, beside its secrets.
	Settings []Setting

	// Header is where the proof is: headers, or fields of the body.
	Header string
	// Algorithm is how it is made and written, such as "HMAC-SHA256, hex".
	Algorithm string
	// Signs is what is signed, in order; empty if nothing is.
	Signs string
	// Time is the rule for the timestamp; empty if there is none.
	Time string
	// Secret is what to put in as the secret.
	Secret string
	// Type and ID say where the event's type and its ID come from; empty where the provider does not say.
	Type, ID string
	// Order says which events are kept in order: those that have the same there. Empty if none are.
	Order string
	// Handshake is how the provider checks a URL; empty if it does not.
	Handshake string
	// Source is where the rule is from: one of VendorCode, VendorDocs, ThirdParty.
	Source string
	// Covers is what the proof is worth.
	Covers Covers
}

// Where the rule of a provider is from, the best first.
const (
	VendorCode = "vendor code" // the vendor's own library or server
	VendorDocs = "vendor docs" // the vendor's documentation
	ThirdParty = "third party" // a library or directory by somebody else
)

// Setting is one of a provider's settings, such as the application key that Pusher sends along.
type Setting struct {
	Name     string
	Required bool
	// Secret: its value is a secret, to be stored and shown as one.
	Secret bool
	// Doc says in one sentence what to put in.
	Doc string
}

// Options is what a provider's verifier needs beside its secrets. The zero value is enough for most.
type Options struct {
	// Settings are the provider's own, by name; Provider.Settings lists them. A name that is not among them is an error.
	Settings map[string]string
	// Client fetches the keys and certificates of those providers that publish theirs. Give Gateway.HTTPClient, which
	// connects to no address that the operator did not allow. Nil is an error for a provider that has to fetch.
	Client *http.Client
	// OnSecret gets the secret that the provider brings itself when the URL is registered, as Asana and Notion do. Show it
	// to whoever registers the URL, or store it and make a verifier with it. Nil: such requests are refused.
	//
	// Anybody can send such a request. Set OnSecret only while you wait for one, and answer an error for every further one.
	// Until the first came, ForProvider takes no secret, and every event is refused. It may be called by many goroutines.
	OnSecret func(ctx context.Context, s Secret) error
}

// provider is an entry of the catalogue: a row, or code for those that no row can describe.
type provider struct {
	Provider
	row Scheme
	// adjust puts settings into the row, which is a copy; nil if there are none.
	adjust func(s *Scheme, settings map[string]string) error
	// code makes the verifier of a provider without a row; nil if there is a row.
	code func(o Options, secrets []Secret) (Verifier, error)
}

// lookUp finds a provider in the catalogue. Its row may be changed.
func lookUp(name string) (provider, bool) {
	p, ok := catalogue[name]
	if !ok {
		p, ok = coded[name]
	}
	p.Name = name
	p.Settings = slices.Concat(p.Settings, handshakeSettings(name))
	p.row.copyAs(name)
	return p, ok
}

// copyAs puts the name into the row and all behind it, and takes their lists from the catalogue, so that whoever changes
// a row changes its own.
func (s *Scheme) copyAs(name string) {
	s.Name = name
	s.Tags, s.Message = slices.Clone(s.Tags), slices.Clone(s.Message)
	s.Require, s.Handshakes = slices.Clone(s.Require), slices.Clone(s.Handshakes)
	if s.Otherwise != nil {
		other := *s.Otherwise
		other.copyAs(name)
		s.Otherwise = &other
	}
}

// ForProvider makes the verifier of a provider by its name, see Providers. A request is good if any of the secrets fits.
//
// An error means a name that is not known, a setting that is missing or not known, or a secret that is empty, too short or
// cannot be decoded; it says which.
func ForProvider(name string, o Options, secrets ...Secret) (Verifier, error) {
	p, ok := lookUp(name)
	if !ok {
		return nil, fmt.Errorf("signing: there is no provider %q; Providers lists them, and a Scheme of your own can describe another", name)
	}
	if err := p.checkSettings(o.Settings); err != nil {
		return nil, fmt.Errorf("signing: %s: %w", name, err)
	}
	list, reply, err := p.replies(o)
	if err != nil {
		return nil, fmt.Errorf("signing: %s: %w", name, err)
	}
	if len(secrets) == 0 && o.OnSecret != nil {
		return withHandshakes(name, waiting{name}, list, reply, nil)
	}
	if p.code != nil {
		v, err := p.code(o, secrets)
		if err != nil {
			return nil, err
		}
		return withHandshakes(name, v, list, reply, secrets)
	}
	if p.adjust != nil {
		if err := p.adjust(&p.row, o.Settings); err != nil {
			return nil, fmt.Errorf("signing: %s: %w", name, err)
		}
	}
	p.row.Handshakes = slices.Concat(p.row.Handshakes, list)
	if reply != nil {
		p.row.Answer = reply
	}
	return NewVerifier(p.row, secrets...)
}

// plain puts into the row the handshakes and the answer that it has without settings.
func (p *provider) plain() {
	if list, reply, err := p.replies(Options{}); err == nil {
		p.row.Handshakes = slices.Concat(p.row.Handshakes, list)
		if reply != nil {
			p.row.Answer = reply
		}
	}
}

// replies makes the provider's handshakes and its answer to events.
func (p *provider) replies(o Options) ([]Handshake, *Reply, error) {
	list, err := handshakes(p.Name, o.Settings)
	if err != nil {
		return nil, nil, err
	}
	delivers := false
	for i := range list {
		list[i].Deliver = o.OnSecret
		delivers = delivers || list[i].Delivers
	}
	if o.OnSecret != nil && !delivers {
		return nil, nil, errors.New("this provider brings no secret; leave Options.OnSecret nil")
	}
	reply, err := eventAnswer(p.Name, o.Settings)
	return list, reply, err
}

func (p *provider) checkSettings(given map[string]string) error {
	names := make([]string, len(p.Settings))
	for i, s := range p.Settings {
		names[i] = s.Name
		if s.Required && given[s.Name] == "" {
			return fmt.Errorf("the setting %s is required: %s", s.Name, s.Doc)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no setting %q; there is %s", name, orNone(names))
		}
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
