package oauth2

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/hookgate/hookgate"
)

const (
	// maxSources is how many endpoints' tokens are kept; beyond that all are forgotten and fetched again.
	maxSources = 16384

	// maxLife is how long a token is used whose end nobody told.
	maxLife = time.Hour

	// A token is fetched again when this much of its life is left: a fifth, at most early. An attempt that begins with it
	// then does not end without it.
	early = time.Minute
	part  = 5

	// patience is how long a token that still holds is used on after its successor could not be had.
	patience = 10 * time.Second
)

var errUseless = errors.New("the token endpoint answered with one that cannot be sent, or is no bearer token")

// fetch asks for a token.
type fetch func(ctx context.Context) (*oauth2.Token, error)

// fetcher makes the calls of an endpoint. It learns which style works, if none is told.
func (a *Authorizer) fetcher(params map[string]string) fetch {
	c := &clientcredentials.Config{
		ClientID: params["client_id"], ClientSecret: params["client_secret"], TokenURL: params["token_url"],
		Scopes: strings.Fields(params["scopes"]), EndpointParams: url.Values{},
	}
	c.AuthStyle, _ = style(params["auth_style"]) // checked when it was stored
	if audience := params["audience"]; audience != "" {
		c.EndpointParams.Set("audience", audience)
	}
	for name, value := range params {
		if own, ok := strings.CutPrefix(name, extra); ok {
			c.EndpointParams.Set(own, value)
		}
	}
	return func(ctx context.Context) (*oauth2.Token, error) {
		return c.Token(context.WithValue(ctx, oauth2.HTTPClient, a.client))
	}
}

// cache has a source for each endpoint and what it was told. Its zero value is ready to use.
type cache struct {
	mu      sync.Mutex
	sources map[[sha256.Size]byte]*source
}

// source answers the endpoint's. Other parameters are another source, so that a new secret is used at once.
func (c *cache) source(ep *hookgate.Endpoint, auth hookgate.Auth, fetcher func(map[string]string) fetch) *source {
	key := keyOf(ep, auth)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[key]
	if s == nil {
		if c.sources == nil || len(c.sources) >= maxSources {
			c.sources = make(map[[sha256.Size]byte]*source)
		}
		s = &source{fetch: fetcher(auth.Params)}
		c.sources[key] = s
	}
	return s
}

func keyOf(ep *hookgate.Endpoint, auth hookgate.Auth) (key [sha256.Size]byte) {
	h := sha256.New()
	write := func(s string) {
		_, _ = h.Write([]byte{byte(len(s) >> 16), byte(len(s) >> 8), byte(len(s))})
		_, _ = io.WriteString(h, s)
	}
	if ep != nil {
		write(ep.Tenant)
		write(ep.ID)
	}
	for _, name := range slices.Sorted(maps.Keys(auth.Params)) {
		write(name)
		write(auth.Params[name])
	}
	h.Sum(key[:0])
	return key
}

// source has the token of an endpoint.
type source struct {
	fetch fetch

	mu    sync.Mutex
	token string
	renew time.Time // when the next one is fetched
	end   time.Time // of the token
	call  *call     // the one under way; nil: none
}

// call is one call for a token.
type call struct {
	done  chan struct{} // closed when the rest is set
	token string
	err   error
	ended bool // the caller had no more time: the error is its own
}

// get answers a token; kept says that it was there already. While one caller fetches, others wait, or use the token that there
// is if it holds a little longer.
func (s *source) get(ctx context.Context) (token string, kept bool, err error) {
	for {
		s.mu.Lock()
		now := time.Now()
		holds := s.token != "" && now.Before(s.end)
		if holds && (now.Before(s.renew) || s.call != nil) {
			token = s.token
			s.mu.Unlock()
			return token, true, nil
		}
		c := s.call
		if c == nil {
			c = &call{done: make(chan struct{})}
			s.call = c
			s.mu.Unlock()
			s.lead(ctx, c)
			if c.err != nil && holds {
				return s.makeDo(c)
			}
			return c.token, false, c.err
		}
		s.mu.Unlock()
		select {
		case <-c.done:
			if !c.ended {
				return c.token, false, c.err
			}
		case <-ctx.Done():
			return "", false, ctx.Err()
		}
	}
}

// lead makes the call that the others wait for.
func (s *source) lead(ctx context.Context, c *call) {
	var got *oauth2.Token
	err := errors.New("the call for a token panicked")
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.call = nil
		if c.err, c.ended = err, err != nil && ctx.Err() != nil; err == nil {
			s.keep(got, time.Now())
			c.token = s.token
		}
		close(c.done)
	}()
	if got, err = s.fetch(ctx); err == nil && !useful(got) {
		err = errUseless
	}
}

// useful reports whether a token can stand in a header as a bearer token.
func useful(t *oauth2.Token) bool {
	bad := func(c rune) bool { return c <= ' ' || c >= 0x7f }
	return t.AccessToken != "" && len(t.AccessToken) <= 16<<10 && !strings.ContainsFunc(t.AccessToken, bad) && t.Type() == "Bearer"
}

// keep stores a token; with mu held.
func (s *source) keep(t *oauth2.Token, now time.Time) {
	life := maxLife
	if !t.Expiry.IsZero() {
		life = t.Expiry.Sub(now)
	}
	s.token, s.end = t.AccessToken, now.Add(life)
	s.renew = s.end.Add(-min(life/part, early))
}

// makeDo is for a token that could not be renewed yet: the one that there is holds a little longer.
func (s *source) makeDo(c *call) (token string, kept bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" || !time.Now().Before(s.end) {
		return "", false, c.err
	}
	s.renew = time.Now().Add(patience)
	return s.token, true, nil
}

// drop forgets a token that a receiver refused, unless there is another one by now.
func (s *source) drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}
