// Package oauth2 proves to receivers who sends with tokens of OAuth 2.0 client credentials (RFC 6749 section 4.4). Register it
// once, and endpoints ask for it by name:
//
//	err := gw.RegisterAuthorizer("oauth2", oauth2.New(gw))
//
//	Auth: &hookgate.Auth{Kind: "oauth2", Params: map[string]string{
//		"token_url":     "https://login.example.com/oauth/token",
//		"client_id":     "hooks",
//		"client_secret": secret,
//		"scopes":        "events:write other", // may be missing
//		"audience":      "https://api.example.com", // may be missing; sent as the parameter audience
//		"auth_style":    "header", // or "body": where the client's name and secret go; missing: whichever works
//		"param.tenant":  "17", // any parameter of your own, here tenant
//	}}
//
// All of them are sealed in the store and come back as REDACTED.
//
// A token is kept in memory, for one endpoint, and fetched again a little before it ends. However many attempts need a new one,
// there is one call for it at a time. An answer of 401 drops the token that was used: if it had been kept, a new one is fetched
// and the request is sent once more, within the same attempt and its time. A second 401 is the attempt's answer.
//
// The call for a token goes through the address guard, follows no redirect and ends with the attempt. If there is no token, the
// attempt fails with class "auth"; the text names the endpoint's part in it and repeats nothing of what the token endpoint
// said, except for the error codes of RFC 6749. A fault on our side uses up no attempt.
package oauth2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/hookgate/hookgate"
)

// class is that of an attempt without a token.
const class = "auth"

// extra is how parameters of the caller's own begin.
const extra = "param."

// Authorizer is a hookgate.Authorizer. Make one with New. It is safe for concurrent use.
type Authorizer struct {
	client  *http.Client
	failure func(ctx context.Context, err error) *hookgate.DispatchError
	tokens  cache
}

// New makes an authorizer whose calls for tokens go through the gateway's address guard.
func New(gw *hookgate.Gateway) *Authorizer {
	return &Authorizer{client: gw.HTTPClient(), failure: gw.ClientFailure}
}

// Check says which parameter is missing, unknown or wrong.
func (a *Authorizer) Check(auth hookgate.Auth) error {
	p := auth.Params
	for _, name := range []string{"token_url", "client_id", "client_secret"} {
		if p[name] == "" {
			return fmt.Errorf("the parameter %s is required by OAuth 2.0 client credentials", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		switch own, isOwn := strings.CutPrefix(name, extra); {
		case isOwn && (own == "" || slices.Contains([]string{"grant_type", "scope", "client_id", "client_secret", "audience"}, own)):
			return fmt.Errorf("the parameter %s cannot be set: it has a parameter of its own", name)
		case isOwn:
		case !slices.Contains([]string{"token_url", "client_id", "client_secret", "scopes", "audience", "auth_style"}, name):
			return fmt.Errorf("the parameter %s is not one of token_url, client_id, client_secret, scopes, audience, auth_style and param.NAME", name)
		}
		if strings.ContainsFunc(p[name], func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Errorf("the parameter %s holds a control character", name)
		}
	}
	u, err := url.Parse(p["token_url"])
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("the parameter token_url is not an http or https URL without a user name and fragment")
	}
	if _, err := style(p["auth_style"]); err != nil {
		return err
	}
	return nil
}

func style(s string) (oauth2.AuthStyle, error) {
	switch s {
	case "":
		return oauth2.AuthStyleAutoDetect, nil
	case "header":
		return oauth2.AuthStyleInHeader, nil
	case "body":
		return oauth2.AuthStyleInParams, nil
	}
	return 0, errors.New(`the parameter auth_style is neither "header" nor "body"`)
}

// Dispatch sends a request with a token.
func (a *Authorizer) Dispatch(ctx context.Context, r *hookgate.Request, auth hookgate.Auth, next hookgate.Dispatcher) (*hookgate.Response, error) {
	s := a.tokens.source(r.Endpoint, auth, a.fetcher)
	token, kept, err := s.get(ctx)
	if err != nil {
		return nil, a.noToken(ctx, err)
	}
	again := *r
	if kept {
		again.Header = r.Header.Clone()
	}
	res, err := next.Dispatch(ctx, withToken(r, token))
	if err != nil || res == nil || res.Status != http.StatusUnauthorized {
		return res, err
	}
	if !kept {
		return res, nil // the next attempt will see whether this token has come to be known
	}
	s.drop(token)
	if token, _, err = s.get(ctx); err != nil {
		return nil, a.noToken(ctx, err)
	}
	return next.Dispatch(ctx, withToken(&again, token))
}

func withToken(r *hookgate.Request, token string) *hookgate.Request {
	if r.Header == nil {
		r.Header = make(http.Header, 8)
	}
	r.Header["Authorization"] = []string{"Bearer " + token}
	return r
}

// codes are the errors of RFC 6749 section 5.2, which may be repeated: nobody can hide a secret in them.
var codes = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

// noToken says why there is no token. Nothing of what came back is in it.
func (a *Authorizer) noToken(ctx context.Context, err error) *hookgate.DispatchError {
	fault := &hookgate.DispatchError{Class: class}
	var answer *oauth2.RetrieveError
	switch {
	case errors.Is(err, errUseless):
		fault.Err = fmt.Errorf("no token: %w", errUseless)
	case errors.As(err, &answer) && answer.Response != nil && (answer.Response.StatusCode/100 != 2 || answer.ErrorCode != ""):
		text := fmt.Sprintf("no token: the token endpoint answered %d", answer.Response.StatusCode)
		if slices.Contains(codes, answer.ErrorCode) {
			text += ", " + answer.ErrorCode
		}
		if answer.Response.StatusCode/100 == 3 {
			text += ": redirects are not followed, correct token_url"
		}
		fault.Err = errors.New(text)
	case errors.As(err, &answer), !isTransport(err) && ctx.Err() == nil:
		fault.Err = errors.New("no token: what the token endpoint answered is not a token")
	default:
		f := a.failure(ctx, err)
		fault.Local = f.Local
		fault.Err = fmt.Errorf("no token: %w", plain(f))
	}
	return fault
}

// plain is the reason of a failure, whose text is safe.
func plain(f *hookgate.DispatchError) error {
	if f.Err != nil {
		return f.Err
	}
	return f
}

// isTransport reports whether an error comes from making the call and not from reading the answer.
func isTransport(err error) bool {
	var u *url.Error
	return errors.As(err, &u)
}
