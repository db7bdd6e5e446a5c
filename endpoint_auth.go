package hookgate

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Auth says how requests prove to a receiver that they may come in, beside their signature. Its zero value, like nil, is: not at all.
//
// The kinds that every gateway knows, with their parameters:
//
//	basic      user, password: HTTP Basic
//	bearer     token: in the Authorization header
//	api-key    header, key: in a header of that name
//	aws-sigv4  region, service, access_key_id, secret_access_key, session_token (may be missing): AWS Signature Version 4
//
// Others are registered with RegisterAuthorizer, such as OAuth 2.0 client credentials of the contrib module. All parameters are
// sealed like the values of Endpoint.Header, and come back as REDACTED; UpdateEndpoint keeps the stored value of each that is
// REDACTED, as long as the kind stays the same.
//
// An Auth prints without the values of its parameters.
type Auth struct {
	Kind   string
	Params map[string]string
}

// ClientTLS is how an endpoint's connections are made, beyond what holds for all. It needs an https URL. Its zero value, like nil,
// asks for nothing. Everything is PEM, sealed, and comes back as REDACTED; UpdateEndpoint keeps what is REDACTED. Connections with
// these settings are used for this endpoint alone.
//
// A ClientTLS prints without what is in it.
type ClientTLS struct {
	// Certificate proves to the receiver who connects (mutual TLS), followed by those that lead to its authority. Key is
	// its private key, without a passphrase. One that has expired is refused; from the day on that it expires, attempts say so.
	Certificate string
	Key         string

	// RootCAs are the authorities that are trusted for this endpoint, instead of the system's and not beside them.
	RootCAs string
}

// The limits of Auth; see checkAuth.
const (
	maxAuthParams = 32
	maxAuthBytes  = 16 << 10
)

// redacted answers an Auth as it is shown.
func (a Auth) redacted() Auth {
	return Auth{Kind: a.Kind, Params: redactAll(slices.Collect(maps.Keys(a.Params)))}
}

func redactAll(names []string) map[string]string {
	if len(names) == 0 {
		return nil
	}
	out := make(map[string]string, len(names))
	for _, name := range names {
		out[name] = redacted
	}
	return out
}

// String tells the kind and the names of the parameters.
func (a Auth) String() string {
	if a.Kind == "" && len(a.Params) == 0 {
		return "none"
	}
	return cleanText(a.Kind, maxPartName) + "(" + cleanText(strings.Join(slices.Sorted(maps.Keys(a.Params)), " "), 200) + ")"
}

// Format writes what String says, whatever the verb.
func (a Auth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue is String.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalJSON writes the values of the parameters as REDACTED.
func (a Auth) MarshalJSON() ([]byte, error) {
	type plain Auth
	return json.Marshal(plain(a.redacted()))
}

func (c ClientTLS) redacted() ClientTLS {
	hide := func(s string) string {
		if s == "" {
			return ""
		}
		return redacted
	}
	return ClientTLS{Certificate: hide(c.Certificate), Key: hide(c.Key), RootCAs: hide(c.RootCAs)}
}

// String tells what is set.
func (c ClientTLS) String() string {
	var set []string
	for _, f := range []struct{ name, value string }{{"Certificate", c.Certificate}, {"Key", c.Key}, {"RootCAs", c.RootCAs}} {
		if f.value != "" {
			set = append(set, f.name)
		}
	}
	if len(set) == 0 {
		return "none"
	}
	return "tls(" + strings.Join(set, " ") + ")"
}

// Format writes what String says, whatever the verb.
func (c ClientTLS) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String.
func (c ClientTLS) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON writes what is set as REDACTED.
func (c ClientTLS) MarshalJSON() ([]byte, error) {
	type plain ClientTLS
	return json.Marshal(plain(c.redacted()))
}

// authDoc is an Auth in the endpoint's document: the values are in the ring.
type authDoc struct {
	Kind   string   `json:"kind"`
	Params []string `json:"params,omitempty"`
}

// tlsDoc is a ClientTLS with its real values, as it is sealed in the ring. In the document they are REDACTED.
type tlsDoc struct {
	Certificate string `json:"c,omitempty"`
	Key         string `json:"k,omitempty"`
	RootCAs     string `json:"r,omitempty"`
}

// credentials are what a ring holds for Endpoint.Auth and Endpoint.TLS, opened. They are never edited.
type credentials struct {
	params map[string]string
	tls    tlsDoc
	config *tls.Config // of tls; nil: it asks for nothing
	broken error       // why there is no config
}

// credentialsDoc is how credentials are sealed.
type credentialsDoc struct {
	Params map[string]string `json:"a,omitempty"`
	TLS    *tlsDoc           `json:"t,omitempty"`
}

// newCredentials answers nil if there are none.
func newCredentials(params map[string]string, t tlsDoc) *credentials {
	if len(params) == 0 && t == (tlsDoc{}) {
		return nil
	}
	p := &credentials{params: params, tls: t}
	if p.config, p.broken = t.clientConfig(); p.broken != nil {
		p.broken = fmt.Errorf("Endpoint.TLS: %w", p.broken)
	}
	return p
}

func (p *credentials) doc() *credentialsDoc {
	if p == nil {
		return nil
	}
	d := &credentialsDoc{Params: p.params}
	if p.tls != (tlsDoc{}) {
		d.TLS = &p.tls
	}
	return d
}

func (d *credentialsDoc) open() *credentials {
	if d == nil {
		return nil
	}
	var t tlsDoc
	if d.TLS != nil {
		t = *d.TLS
	}
	return newCredentials(d.Params, t)
}

// with gives a ring that was just made its credentials.
func (r *keyRing) with(p *credentials) *keyRing {
	r.credentials = p
	return r
}

// auth answers what Endpoint.Auth asks for; the zero value: nothing.
func (ep *Endpoint) auth() Auth {
	if ep.Auth == nil {
		return Auth{}
	}
	return *ep.Auth
}

// clientTLS answers what Endpoint.TLS asks for; the zero value: nothing.
func (ep *Endpoint) clientTLS() ClientTLS {
	if ep.TLS == nil {
		return ClientTLS{}
	}
	return *ep.TLS
}

// credentials answers what the endpoint's requests prove themselves with; nil: it needs nothing.
func (t *target) credentials() (*credentials, error) {
	if t.endpoint.Auth == nil && t.endpoint.TLS == nil {
		return nil, nil
	}
	ring, err := t.ring()
	if err != nil {
		return nil, err
	}
	if ring.credentials == nil {
		return &credentials{}, nil // a kind without parameters
	}
	return ring.credentials, ring.credentials.broken
}

// checkAuth is for what can be told without the values, which may be REDACTED.
func (g *Gateway) checkAuth(ep *Endpoint) error {
	a, t := ep.auth(), ep.clientTLS()
	switch {
	case a.Kind == "" && len(a.Params) > 0:
		return configError("Endpoint.Auth.Kind", "is required with Params: %s, or one that is registered", strings.Join(authKindNames(), ", "))
	case len(a.Params) > maxAuthParams:
		return configError("Endpoint.Auth.Params", "%d are more than %d", len(a.Params), maxAuthParams)
	case a.Kind != "" && !g.knowsAuth(a.Kind):
		return configError("Endpoint.Auth.Kind", "%q is not registered: call RegisterAuthorizer first, or use one of %s",
			cleanText(a.Kind, maxPartName), strings.Join(authKindNames(), ", "))
	}
	size := 0
	for name, value := range a.Params {
		if !isHandlerName(name) {
			return configError("Endpoint.Auth.Params", "a name is made of letters, digits, -, _ and ., at most 64")
		}
		size += len(name) + len(value)
	}
	if size > maxAuthBytes {
		return configError("Endpoint.Auth.Params", "%d bytes are more than %d", size, maxAuthBytes)
	}
	for _, f := range []struct{ name, value string }{{"Certificate", t.Certificate}, {"Key", t.Key}, {"RootCAs", t.RootCAs}} {
		if len(f.value) > maxPEM {
			return configError("Endpoint.TLS."+f.name, "%d bytes are more than %d", len(f.value), maxPEM)
		}
	}
	if t != (ClientTLS{}) && len(ep.URL) > 5 && strings.EqualFold(ep.URL[:5], "http:") {
		return configError("Endpoint.TLS", "is for https URLs, and Endpoint.URL is an http one")
	}
	return nil
}

// mergeCredentials answers the credentials of an endpoint as a caller wants it to be. What is REDACTED is taken from the one before. The
// endpoint's header is canonical; only its names matter.
func (g *Gateway) mergeCredentials(ep *Endpoint, before *Endpoint, stored *credentials) (*credentials, error) {
	if stored == nil {
		stored = &credentials{}
	}
	kind, params := ep.auth().Kind, maps.Clone(ep.auth().Params)
	for name, value := range params {
		if value != redacted {
			continue
		}
		old, ok := stored.params[name]
		if !ok || kind != before.auth().Kind {
			return nil, configError("Endpoint.Auth.Params["+name+"]", "is REDACTED, and none is stored for this kind: put the real one in")
		}
		params[name] = old
	}
	if err := g.checkAuthValues(Auth{Kind: kind, Params: params}, ep); err != nil {
		return nil, err
	}
	t := tlsDoc(ep.clientTLS())
	for _, f := range []struct {
		name       string
		value, old *string
	}{
		{"Certificate", &t.Certificate, &stored.tls.Certificate},
		{"Key", &t.Key, &stored.tls.Key},
		{"RootCAs", &t.RootCAs, &stored.tls.RootCAs},
	} {
		if *f.value != redacted {
			continue
		}
		if *f.old == "" {
			return nil, configError("Endpoint.TLS."+f.name, "is REDACTED, and none is stored: put the real one in")
		}
		*f.value = *f.old
	}
	if t == stored.tls {
		return newCredentials(params, t), nil // one that has expired may stay
	}
	if err := t.check(time.Now()); err != nil {
		return nil, err
	}
	return newCredentials(params, t), nil
}

// sameCredentials reports whether an update leaves Auth and TLS as they are.
func sameCredentials(old, ep *Endpoint) bool {
	a, b := ep.auth(), old.auth()
	return a.Kind == b.Kind && maps.Equal(a.Params, b.Params) && ep.clientTLS() == old.clientTLS()
}
