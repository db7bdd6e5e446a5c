package oauth2

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/hookgate/hookgate"
)

// issuer gives out token1, token2 and so on, each after a while.
type issuer struct {
	calls atomic.Int64
	life  time.Duration // 0: it does not say
	slow  time.Duration
	fails atomic.Bool
}

func (i *issuer) fetch(ctx context.Context) (*oauth2.Token, error) {
	n := i.calls.Add(1)
	select {
	case <-time.After(i.slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if i.fails.Load() {
		return nil, errors.New("the issuer is down")
	}
	t := &oauth2.Token{AccessToken: fmt.Sprint("token", n), TokenType: "bearer"}
	if i.life > 0 {
		t.Expiry = time.Now().Add(i.life)
	}
	return t, nil
}

func want(t *testing.T, s *source, token string, kept bool) {
	t.Helper()
	got, was, err := s.get(t.Context())
	if err != nil || got != token || was != kept {
		t.Errorf("got %q, kept %v, %v; want %q, kept %v", got, was, err, token, kept)
	}
}

func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	for life, renewed := range map[time.Duration]time.Duration{
		time.Hour:        59 * time.Minute,
		10 * time.Second: 8 * time.Second,
		0:                59 * time.Minute, // an hour is enough for one whose end is not known
	} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{life: life}
			s := &source{fetch: i.fetch}
			want(t, s, "token1", false)
			time.Sleep(renewed - time.Millisecond)
			want(t, s, "token1", true)
			time.Sleep(time.Millisecond)
			want(t, s, "token2", false)
			want(t, s, "token2", true)
			s.drop("token1") // another was there by then
			want(t, s, "token2", true)
			s.drop("token2")
			want(t, s, "token3", false)
		})
	}
}

func TestManyWaitForOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{life: time.Hour, slow: time.Second}
		s := &source{fetch: i.fetch}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { want(t, s, "token1", false) })
		}
		all.Wait()
		if n := i.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
		// Nobody waits while a token is renewed that still holds.
		time.Sleep(59 * time.Minute)
		all.Go(func() { want(t, s, "token2", false) })
		synctest.Wait()
		for range 10 {
			want(t, s, "token1", true)
		}
		all.Wait()
		want(t, s, "token2", true)
		// A failure is the same for all that waited for it.
		i.fails.Store(true)
		s.drop("token2")
		for range 100 {
			all.Go(func() {
				if token, _, err := s.get(t.Context()); err == nil || err.Error() != "the issuer is down" {
					t.Errorf("%q, %v", token, err)
				}
			})
		}
		all.Wait()
		if n := i.calls.Load(); n != 3 {
			t.Errorf("%d calls", n)
		}
	})
}

// The end of one attempt is not the failure of the others that waited with it.
func TestWhoGivesUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{life: time.Hour, slow: time.Minute}
		s := &source{fetch: i.fetch}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := s.get(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		synctest.Wait()
		all.Go(func() { want(t, s, "token2", false) })
		all.Go(func() { // one that waits and has no more time
			if _, _, err := s.get(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		all.Wait()
	})
}

func TestTokenThatHoldsOutlivesTheIssuer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{life: time.Hour}
		s := &source{fetch: i.fetch}
		want(t, s, "token1", false)
		i.fails.Store(true)
		time.Sleep(59*time.Minute + time.Second)
		want(t, s, "token1", true)
		want(t, s, "token1", true)
		if n := i.calls.Load(); n != 2 {
			t.Errorf("%d calls: one is enough for a while", n)
		}
		time.Sleep(time.Minute)
		if token, _, err := s.get(t.Context()); err == nil {
			t.Errorf("%q was used after its end", token)
		}
		i.fails.Store(false)
		want(t, s, "token4", false)
	})
}

func TestTokenThatCannotBeSentIsRefused(t *testing.T) {
	t.Parallel()
	for _, token := range []oauth2.Token{
		{AccessToken: ""},
		{AccessToken: "a b"},
		{AccessToken: "a\r\nX: y"},
		{AccessToken: "é"},
		{AccessToken: "a", TokenType: "mac"},
		{AccessToken: string(make([]byte, 17<<10))},
	} {
		s := &source{fetch: func(context.Context) (*oauth2.Token, error) { return &token, nil }}
		if got, _, err := s.get(t.Context()); !errors.Is(err, errUseless) || got != "" {
			t.Errorf("%q was taken: %v", got, err)
		}
	}
}

func TestCacheIsPerEndpointAndBounded(t *testing.T) {
	t.Parallel()
	var c cache
	fetcher := func(map[string]string) fetch { return (&issuer{}).fetch }
	auth := func(secret string) hookgate.Auth {
		return hookgate.Auth{Params: map[string]string{"client_secret": secret}}
	}
	a := c.source(&hookgate.Endpoint{ID: "a"}, auth("1"), fetcher)
	if c.source(&hookgate.Endpoint{ID: "a"}, auth("1"), fetcher) != a {
		t.Error("a token is fetched for each attempt")
	}
	if c.source(&hookgate.Endpoint{ID: "b"}, auth("1"), fetcher) == a || c.source(&hookgate.Endpoint{ID: "a", Tenant: "t"}, auth("1"), fetcher) == a ||
		c.source(&hookgate.Endpoint{ID: "a"}, auth("2"), fetcher) == a {
		t.Error("a token is used for another endpoint, or with a secret that is gone")
	}
	for i := range maxSources + 10 {
		c.source(&hookgate.Endpoint{ID: fmt.Sprint(i)}, auth("1"), fetcher)
	}
	if n := len(c.sources); n > maxSources {
		t.Errorf("%d sources are kept", n)
	}
}
