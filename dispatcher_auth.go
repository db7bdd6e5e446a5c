package hookgate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/hookgate/hookgate/signing"
)

// Authorizer proves to receivers that requests may come in, for the endpoints whose Auth.Kind is the name under which it is
// registered. It is called by many goroutines at once.
type Authorizer interface {
	// Check says what is wrong with the parameters of an endpoint, before they are stored: nil means that Dispatch can work
	// with them. The error names the parameter and holds no value of any.
	Check(a Auth) error

	// Dispatch adds its proof to a signed request and hands it to next. It may look at the answer, and ask next again with a
	// copy of the request whose Header is a copy too, all within the context. The headers of the signature are put back by
	// next, whatever they were changed to. The parameters are read, not changed.
	//
	// What it returns means what it means for a Dispatcher. A proof that cannot be had is a *DispatchError of class "auth",
	// with Local if the fault is on this side; see Gateway.ClientFailure.
	Dispatch(ctx context.Context, r *Request, a Auth, next Dispatcher) (*Response, error)
}

// RegisterAuthorizer gives an authorizer the name by which endpoints ask for it in Auth.Kind, with the same rules as
// RegisterSigner. The kinds that every gateway knows are taken.
func (g *Gateway) RegisterAuthorizer(name string, a Authorizer) error {
	if !isHandlerName(name) {
		return configError("RegisterAuthorizer", "%q is not a name: use letters, digits, -, _ and ., at most 64", cleanText(name, 100))
	}
	if a == nil {
		return configError("RegisterAuthorizer."+name, "the authorizer is nil")
	}
	g.parts.mu.Lock()
	defer g.parts.mu.Unlock()
	if authKinds[name] != nil || g.parts.authorizers[name] != nil {
		return configError("RegisterAuthorizer."+name, "is registered already")
	}
	if g.parts.authorizers == nil {
		g.parts.authorizers = make(map[string]Authorizer)
	}
	g.parts.authorizers[name] = a
	return nil
}

func (p *parts) authorizer(name string) (Authorizer, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	a, ok := p.authorizers[name]
	return a, ok
}

// authKind is a kind that every gateway knows: either one header that is known before the request is signed, or a way to
// sign the request as a whole.
type authKind struct {
	params []authParam
	header func(params map[string]string) (name, value string)
	sign   func(g *Gateway, r *Request, params map[string]string) error
}

// authParam is a parameter of a kind. bad says in words what is wrong with a value, or "".
type authParam struct {
	name     string
	optional bool
	bad      func(value string) string
}

var authKinds = map[string]*authKind{
	"basic": {
		params: []authParam{{name: "user", optional: true, bad: badBasicUser}, {name: "password", optional: true, bad: badBasic}},
		header: func(p map[string]string) (name, value string) {
			return "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(p["user"]+":"+p["password"]))
		},
	},
	"bearer": {
		params: []authParam{{name: "token", bad: badToken}},
		header: func(p map[string]string) (name, value string) { return "Authorization", "Bearer " + p["token"] },
	},
	"api-key": {
		params: []authParam{{name: "header", bad: badAPIKeyHeader}, {name: "key", bad: badAPIKey}},
		header: func(p map[string]string) (name, value string) {
			return textproto.CanonicalMIMEHeaderKey(p["header"]), p["key"]
		},
	},
	"aws-sigv4": {
		params: []authParam{
			{name: "region", bad: badScope},
			{name: "service", bad: badScope},
			{name: "access_key_id", bad: badScope},
			{name: "secret_access_key", bad: badToken},
			{name: "session_token", optional: true, bad: badToken},
		},
		sign: (*Gateway).signSigV4,
	},
}

func authKindNames() []string { return slices.Sorted(maps.Keys(authKinds)) }

func badBasicUser(s string) string {
	if strings.Contains(s, ":") {
		return "must not hold a colon, which ends it"
	}
	return badBasic(s)
}

func badBasic(s string) string { return badText(s, 4<<10) }

// badToken is for what stands in a header alone: visible ASCII.
func badToken(s string) string {
	if len(s) > 6<<10 {
		return "is longer than 6144 bytes"
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return "must not hold a space, a control character or a letter beyond ASCII"
		}
	}
	return ""
}

func badAPIKeyHeader(s string) string {
	if err := checkHeader(s, ""); err != nil {
		return "is not the name of a header that can be set: " + err.Error()
	}
	return ""
}

func badAPIKey(s string) string {
	if len(s) > maxHeaderValue || !isFieldValue(s) {
		return "holds a control character, or is longer than 8192 bytes"
	}
	return ""
}

// badScope is for what stands in the credential of AWS, whose parts are split by slashes.
func badScope(s string) string {
	if len(s) > 128 || strings.ContainsAny(s, "/,=") || badToken(s) != "" {
		return "must be visible ASCII without a slash, a comma or an equals sign, at most 128"
	}
	return ""
}

func (g *Gateway) knowsAuth(kind string) bool {
	if authKinds[kind] != nil {
		return true
	}
	_, ok := g.parts.authorizer(kind)
	return ok
}

// checkAuthValues says what is wrong with an endpoint's Auth whose real values are known.
func (g *Gateway) checkAuthValues(a Auth, ep *Endpoint) error {
	if a.Kind == "" {
		return nil
	}
	k := authKinds[a.Kind]
	if k == nil {
		registered, ok := g.parts.authorizer(a.Kind)
		if !ok {
			return configError("Endpoint.Auth.Kind", "%q is not registered: call RegisterAuthorizer first", cleanText(a.Kind, maxPartName))
		}
		if err := registered.Check(Auth{Kind: a.Kind, Params: maps.Clone(a.Params)}); err != nil {
			return configError("Endpoint.Auth", "%w", err)
		}
		return nil
	}
	var names []string
	for _, p := range k.params {
		field := "Endpoint.Auth.Params[" + p.name + "]"
		names = append(names, p.name)
		value := a.Params[p.name]
		if value == "" {
			if !p.optional {
				return configError(field, "is required by the kind %s", a.Kind)
			}
			continue
		}
		if why := p.bad(value); why != "" {
			return configError(field, "%s", why)
		}
	}
	for name := range a.Params {
		if !slices.Contains(names, name) {
			return configError("Endpoint.Auth.Params["+name+"]", "is not a parameter of the kind %s, which has %s", a.Kind, strings.Join(names, ", "))
		}
	}
	if a.Kind == "basic" && a.Params["user"] == "" && a.Params["password"] == "" {
		return configError("Endpoint.Auth.Params", "the kind basic needs user, password, or both")
	}
	name := "Authorization"
	if k.header != nil {
		name, _ = k.header(a.Params)
	}
	if _, twice := ep.Header[name]; twice {
		return configError("Endpoint.Header", "%s is set by Endpoint.Auth: leave one of them out", name)
	}
	set, err := g.signerHeaders(ep)
	if err != nil {
		return err
	}
	if slices.Contains(set, name) {
		return configError("Endpoint.Auth", "%s is set by the endpoint's signer, which comes last: no proof would be in the request", name)
	}
	return nil
}

// tryAuthorized is the rest of an attempt at an endpoint with Auth or TLS. A header that is known before is signed with the rest of
// the request; whatever else there is to prove comes after the signature and covers it. In either case the headers of the
// signature stay as the signer made them.
func (g *Gateway) tryAuthorized(ctx context.Context, t *target, p *credentials, req *Request, m signing.Message) (*Response, error) {
	req.TLS = p.config
	kind := t.endpoint.auth().Kind
	builtIn := authKinds[kind]
	if builtIn != nil && builtIn.header != nil {
		name, value := builtIn.header(p.params)
		req.Header[name] = []string{value}
	}
	if kind == "" || builtIn != nil && builtIn.header != nil {
		if err := t.sign(req, m); err != nil {
			return nil, local(classSetup, err)
		}
		return dispatch(ctx, g.dispatcher, req)
	}

	before := maps.Clone(req.Header)
	if err := t.sign(req, m); err != nil {
		return nil, local(classSetup, err)
	}
	next := signedLast{next: g.dispatcher, signed: changedHeader(before, req.Header)}
	if builtIn != nil {
		if err := builtIn.sign(g, req, p.params); err != nil {
			return nil, err
		}
		return dispatch(ctx, next, req)
	}
	a, ok := g.parts.authorizer(kind)
	if !ok {
		return nil, local(classSetup, fmt.Errorf("the authorizer %q is not registered in this process: call RegisterAuthorizer before Run", kind))
	}
	res, err := a.Dispatch(ctx, req, Auth{Kind: kind, Params: p.params}, next)
	if res == nil && err == nil {
		err = failed(classOther, errors.New("the authorizer returned neither an answer nor an error"))
	}
	return res, err
}

// changedHeader answers the headers that are new or were set again.
func changedHeader(before, now http.Header) http.Header {
	out := make(http.Header, 4)
	for name, values := range now {
		old := before[name]
		if len(old) != len(values) || len(values) > 0 && &old[0] != &values[0] {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

// signedLast is a Dispatcher that puts the headers of the signature back.
type signedLast struct {
	next   Dispatcher
	signed http.Header
}

// Dispatch sends the request with its signature.
func (d signedLast) Dispatch(ctx context.Context, r *Request) (*Response, error) {
	if r.Header == nil {
		r.Header = make(http.Header, len(d.signed))
	}
	for name, values := range d.signed {
		r.Header[name] = slices.Clone(values)
	}
	return d.next.Dispatch(ctx, r)
}
