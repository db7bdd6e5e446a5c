package hookgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/storetest"
)

// serveHTTP answers with a handler that gets the body read.
func serveHTTP(t *testing.T, fn func(w http.ResponseWriter, r *http.Request, body []byte)) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fn(w, r, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// loudSigner signs as a scheme with other headers than those of Standard Webhooks would.
type loudSigner struct{ Signer }

func (loudSigner) Sign(h http.Header, m signing.Message, _ []Secret) error {
	h["Authorization"] = []string{"Signature " + h.Get("X-Key")}
	h["X-Signature"] = []string{"of " + m.ID}
	return nil
}

func TestAuthIsInTheRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		auth Auth
		want http.Header
	}{
		"basic":         {Auth{"basic", map[string]string{"user": "Aladdin", "password": "open sesame"}}, http.Header{"Authorization": {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}}},
		"password only": {Auth{"basic", map[string]string{"password": "p:w"}}, http.Header{"Authorization": {"Basic OnA6dw=="}}},
		"bearer":        {Auth{"bearer", map[string]string{"token": "abc.def"}}, http.Header{"Authorization": {"Bearer abc.def"}}},
		"api-key":       {Auth{"api-key", map[string]string{"header": "x-key", "key": "k 1"}}, http.Header{"X-Key": {"k 1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sent := &consumer{}
				g := startGateway(t, Config{Dispatcher: sent})
				_, secret, err := g.CreateEndpoint(t.Context(), Endpoint{URL: "https://example.com", Subscriptions: []Subscription{{}}, Auth: &c.auth})
				if err != nil {
					t.Fatal(err)
				}
				// Neither the event nor anybody else has a word in it.
				mustPublish(t, g, Event{Payload: []byte("hello"), Header: http.Header{"X-Key": {"event"}, "Authorization": {"event"}}})
				synctest.Wait()
				got := sent.arrivals()[0].header
				for name, want := range c.want {
					if fmt.Sprint(got[name]) != fmt.Sprint(want) {
						t.Errorf("%s: %q, want %q", name, got[name], want)
					}
				}
				v, err := signing.Standard(secret)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := v.Verify(&signing.Request{Method: "POST", Header: got, Body: []byte("hello"), Time: time.Now()}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// wrapAuthorizer is one of the application's.
type wrapAuthorizer struct {
	check    func(Auth) error
	dispatch func(context.Context, *Request, Auth, Dispatcher) (*Response, error)
}

func (a wrapAuthorizer) Check(x Auth) error {
	if a.check == nil {
		return nil
	}
	return a.check(x)
}

func (a wrapAuthorizer) Dispatch(ctx context.Context, r *Request, x Auth, next Dispatcher) (*Response, error) {
	return a.dispatch(ctx, r, x, next)
}

func TestSignatureWinsOverAuth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := &consumer{}
		g := startGateway(t, Config{Dispatcher: sent, Signer: loudSigner{signing.StandardWebhooks}})
		greedy := wrapAuthorizer{dispatch: func(ctx context.Context, r *Request, a Auth, next Dispatcher) (*Response, error) {
			r.Header["Authorization"] = []string{"mine"}
			r.Header["X-Signature"][0] = "mine"
			r.Header["X-Proof"] = []string{a.Params["p"]}
			return next.Dispatch(ctx, r)
		}}
		if err := g.RegisterAuthorizer("greedy", greedy); err != nil {
			t.Fatal(err)
		}
		for i, a := range []Auth{
			{"bearer", map[string]string{"token": "t"}},
			{"api-key", map[string]string{"header": "X-Key", "key": "k"}},
			{"greedy", map[string]string{"p": "proof"}},
			{"greedy", nil},
			{"aws-sigv4", map[string]string{"region": "r", "service": "s", "access_key_id": "a", "secret_access_key": "k"}},
		} {
			ep := Endpoint{ID: fmt.Sprint(i), URL: "https://example.com", Subscriptions: []Subscription{{Types: []string{fmt.Sprint("t", i)}}}, Auth: &a}
			if i == 2 {
				ep.Auth.Params["p"] = "proof"
			}
			if _, _, err := g.CreateEndpoint(t.Context(), ep); err != nil {
				t.Fatal(err)
			}
			mustPublish(t, g, Event{Type: fmt.Sprint("t", i)})
			synctest.Wait()
			h := sent.arrivals()[i].header
			want := "Signature "
			if a.Kind == "api-key" {
				want += "k" // it was there when the request was signed
			}
			if h.Get("Authorization") != want || !strings.HasPrefix(h.Get("X-Signature"), "of ") || h.Get("X-Proof") != a.Params["p"] {
				t.Errorf("%s: %v", a.Kind, h)
			}
		}
	})
}

func TestAuthIsCheckedAtTheDoor(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	if err := g.RegisterAuthorizer("own", wrapAuthorizer{check: func(a Auth) error {
		if a.Params["x"] == "" {
			return errors.New("x is required")
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"own", "basic", "a/b", ""} {
		if err := g.RegisterAuthorizer(name, wrapAuthorizer{}); err == nil {
			t.Errorf("%q can be registered", name)
		}
	}
	wantField(t, g.RegisterAuthorizer("nil", nil), "RegisterAuthorizer.nil")
	long := strings.Repeat("x", 7<<10)
	for _, c := range []struct {
		auth   Auth
		header map[string]string
		field  string
	}{
		{Auth{"", map[string]string{"token": "canary"}}, nil, "Endpoint.Auth.Kind"},
		{Auth{"oauth9", map[string]string{"token": "canary"}}, nil, "Endpoint.Auth.Kind"},
		{Auth{"bearer", nil}, nil, "Endpoint.Auth.Params[token]"},
		{Auth{"bearer", map[string]string{"token": "canary\n"}}, nil, "Endpoint.Auth.Params[token]"},
		{Auth{"bearer", map[string]string{"token": "canary" + long}}, nil, "Endpoint.Auth.Params[token]"},
		{Auth{"bearer", map[string]string{"token": redacted}}, nil, "Endpoint.Auth.Params[token]"},
		{Auth{"bearer", map[string]string{"token": "canary", "user": "canary"}}, nil, "Endpoint.Auth.Params[user]"},
		{Auth{"bearer", map[string]string{"token": "canary"}}, map[string]string{"authorization": "canary"}, "Endpoint.Header"},
		{Auth{"aws-sigv4", map[string]string{"region": "r", "service": "s", "access_key_id": "a", "secret_access_key": "k"}}, map[string]string{"authorization": "canary"}, "Endpoint.Header"},
		{Auth{"aws-sigv4", map[string]string{"region": "r/x", "service": "s", "access_key_id": "a", "secret_access_key": "k"}}, nil, "Endpoint.Auth.Params[region]"},
		{Auth{"basic", map[string]string{"user": "canary:x"}}, nil, "Endpoint.Auth.Params[user]"},
		{Auth{"basic", nil}, nil, "Endpoint.Auth.Params"},
		{Auth{"api-key", map[string]string{"header": "webhook-id", "key": "canary"}}, nil, "Endpoint.Auth.Params[header]"},
		{Auth{"api-key", map[string]string{"header": "Host", "key": "canary"}}, nil, "Endpoint.Auth.Params[header]"},
		{Auth{"api-key", map[string]string{"header": "x-a", "key": "canary"}}, map[string]string{"X-A": "canary"}, "Endpoint.Header"},
		{Auth{"own", nil}, nil, "Endpoint.Auth"},
		{Auth{"own", map[string]string{"x": long, "y": long, "z": long}}, nil, "Endpoint.Auth.Params"},
		{Auth{"own", map[string]string{"x y": "canary"}}, nil, "Endpoint.Auth.Params"},
	} {
		_, _, err := g.CreateEndpoint(t.Context(), Endpoint{URL: "https://example.com", Auth: &c.auth, Header: c.header})
		wantField(t, err, c.field)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%v shows a value", err)
		}
	}
}

// headerSigner says that it sets Authorization.
type headerSigner struct{ loudSigner }

func (headerSigner) Headers() []string { return []string{"Authorization"} }

// The headers of the signature come last, so a proof under one of their names would never leave the house.
func TestAuthThatTheSignatureReplacesIsRefused(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	if err := g.RegisterSigner("loud", headerSigner{loudSigner{signing.StandardWebhooks}}); err != nil {
		t.Fatal(err)
	}
	apiKey := func(header string) Auth {
		return Auth{"api-key", map[string]string{"header": header, "key": "canary"}}
	}
	bearer := Auth{"bearer", map[string]string{"token": "canary"}}
	for _, c := range []struct {
		signer string
		auth   Auth
		bad    bool
	}{
		{"stripe", apiKey("stripe-signature"), true},
		{"github", apiKey("X-Hub-Signature-256"), true},
		{"github", apiKey("stripe-signature"), false},
		{"none", apiKey("stripe-signature"), false},
		{"loud", bearer, true},
		{"loud", Auth{"basic", map[string]string{"user": "canary"}}, true},
		{"loud", apiKey("X-Key"), false},
		{"loud", Auth{"aws-sigv4", map[string]string{"region": "r", "service": "s", "access_key_id": "a", "secret_access_key": "canary"}}, true},
	} {
		made, _, err := g.CreateEndpoint(t.Context(), Endpoint{URL: "https://example.com", Signer: c.signer, Auth: &c.auth})
		if c.bad {
			wantField(t, err, "Endpoint.Auth")
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("%v shows a value", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s with %v: %v", c.signer, c.auth, err)
			continue
		}
		if c.signer != "none" { // nor does it come about by a change of the signer
			continue
		}
		made.Signer = "stripe"
		_, err = g.UpdateEndpoint(t.Context(), *made, signing.NewSecret("whsec_a-text-that-is-long-enough-for-it"))
		wantField(t, err, "Endpoint.Auth")
	}
}

func TestAuthKeepsWhatIsRedacted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		model, sent := storetest.NewModel(), &consumer{}
		g := startGateway(t, Config{Store: model, Dispatcher: sent})
		made, _, err := g.CreateEndpoint(ctx, Endpoint{
			ID: "a", URL: "https://example.com", Subscriptions: []Subscription{{}},
			Auth: &Auth{"basic", map[string]string{"user": "canary-user", "password": "canary-password"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"user": redacted, "password": redacted}; made.Auth.Kind != "basic" || !maps.Equal(made.Auth.Params, want) {
			t.Fatalf("it came back as %s %v", made.Auth.Kind, made.Auth.Params)
		}
		sees := func(want string) {
			t.Helper()
			mustPublish(t, g, Event{})
			synctest.Wait()
			all := sent.arrivals()
			if got := all[len(all)-1].header.Get("Authorization"); got != want {
				t.Errorf("the receiver saw %q, want %q", got, want)
			}
		}
		sees("Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk")
		if _, err := g.RotateSecret(ctx, "", "a", time.Hour); err != nil {
			t.Fatal(err)
		}
		sees("Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk")
		made, err = g.Endpoint(ctx, "", "a")
		if err != nil {
			t.Fatal(err)
		}
		made.Auth.Params["user"] = "new"
		if made, err = g.UpdateEndpoint(ctx, *made); err != nil {
			t.Fatal(err)
		}
		sees("Basic bmV3OmNhbmFyeS1wYXNzd29yZA==")
		made.Description = "other"
		if made, err = g.UpdateEndpoint(ctx, *made); err != nil {
			t.Fatal(err)
		}
		sees("Basic bmV3OmNhbmFyeS1wYXNzd29yZA==")
		made.Auth = &Auth{"bearer", map[string]string{"token": redacted}}
		_, err = g.UpdateEndpoint(ctx, *made)
		wantField(t, err, "Endpoint.Auth.Params[token]")
		made.Auth = &Auth{"bearer", map[string]string{"token": "t"}}
		if made, err = g.UpdateEndpoint(ctx, *made); err != nil {
			t.Fatal(err)
		}
		sees("Bearer t")
		made.Auth = nil
		if made, err = g.UpdateEndpoint(ctx, *made); err != nil {
			t.Fatal(err)
		}
		sees("")
		if made.Auth != nil {
			t.Errorf("it came back with %v", made.Auth)
		}
	})
}

// TestMissingAuthorizerMakesDeliveriesWait: an endpoint of a process that lacks the part loses nothing.
func TestMissingAuthorizerMakesDeliveriesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, sent := newTestStore(t), &consumer{}
		plain := wrapAuthorizer{dispatch: func(ctx context.Context, r *Request, _ Auth, next Dispatcher) (*Response, error) {
			return next.Dispatch(ctx, r)
		}}
		g := newEngine(t, Config{Store: s, Dispatcher: sent, PlainSecrets: true})
		if err := g.RegisterAuthorizer("own", plain); err != nil {
			t.Fatal(err)
		}
		if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{URL: "https://example.com", Auth: &Auth{Kind: "own"}, Subscriptions: []Subscription{{}}}); err != nil {
			t.Fatal(err)
		}
		id := mustPublish(t, g, Event{})
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = startGateway(t, Config{Store: s, Dispatcher: sent, PlainSecrets: true})
		time.Sleep(time.Hour)
		if d := wantState(t, g, id, Pending, ""); d.Attempts != 0 || sent.count() != 0 {
			t.Errorf("%+v, %d requests", d, sent.count())
		}
		if err := g.RegisterAuthorizer("own", plain); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		wantState(t, g, id, Done, reasonDelivered)
	})
}

// TestAuthShowsNowhere looks for planted credentials in whatever is printed, encoded, logged or stored.
func TestAuthShowsNowhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	model := storetest.NewModel()
	g := newSurface(t, Config{Store: model})
	ca := newTestCA(t)
	client := ca.client(t, "canary-client", time.Now().Add(time.Hour))
	ep := Endpoint{
		ID: "a", URL: "https://example.com", TLS: &client,
		Auth: &Auth{"basic", map[string]string{"user": "canary-user", "password": "canary-password"}},
	}
	ep.TLS.RootCAs = ca.pem()
	made, _, err := g.CreateEndpoint(ctx, ep)
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	show := func(things ...any) {
		for _, thing := range things {
			data, err := json.Marshal(thing)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(&seen, "%v %+v %#v %s %q %s\n", thing, thing, thing, thing, thing, data)
			slog.New(slog.NewTextHandler(&seen, nil)).Info("thing", "it", thing)
			slog.New(slog.NewJSONHandler(&seen, nil)).Info("thing", "it", thing)
		}
	}
	// An endpoint of the caller's own too, except for its Header.
	show(ep, ep.Auth, ep.TLS, *ep.Auth, *ep.TLS, *made, made, g.view.target("ep:/a").endpoint)
	docs, err := model.Docs(ctx, store.DocQuery{Kind: kindEndpoint, Tenant: AllTenants})
	if err != nil || len(docs.Items) != 1 {
		t.Fatal(err)
	}
	fmt.Fprintf(&seen, "%s", docs.Items[0].Data)
	var doc endpointDoc
	if err := json.Unmarshal(docs.Items[0].Data, &doc); err != nil {
		t.Fatal(err)
	}
	seen.Write(doc.Secrets)
	if !strings.Contains(seen.String(), "basic(password user)") || !strings.Contains(seen.String(), "tls(Certificate Key RootCAs)") {
		t.Error("this looks in the wrong place")
	}
	for _, secret := range []string{"canary", client.Key[40:80], client.Certificate[40:80], ep.TLS.RootCAs[40:80], "Y2FuYXJ5"} {
		if i := strings.Index(seen.String(), secret); i >= 0 {
			t.Errorf("%q shows: %q", secret, seen.String()[max(0, i-100):min(seen.Len(), i+100)])
		}
	}
}

// An endpoint without Auth and TLS costs no allocation for them.
func TestNoAuthCostsNothing(t *testing.T) {
	g := newSurface(t, Config{})
	mustCreate(t, g, "", "a", "x")
	tg := g.view.target("ep:/a")
	if n := testing.AllocsPerRun(100, func() {
		if c, err := tg.credentials(); c != nil || err != nil {
			t.Errorf("%v, %v", c, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
