package hookgate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// receivers of other senders, by the name of the signer.
func signerReceiver(t *testing.T, name string, secret Secret) signing.Verifier {
	t.Helper()
	plain := signing.Scheme{
		Name: name, Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
	}
	var v signing.Verifier
	var err error
	switch name {
	case "convoy":
		plain.Signature = signing.Header("X-Convoy-Signature")
		v, err = signing.NewVerifier(plain, secret)
	case "convoy-advanced":
		plain.Signature, plain.Format, plain.Tags = signing.Header("X-Convoy-Signature"), signing.Pairs, []signing.Tag{{Name: "v1"}}
		plain.Message = []signing.Part{signing.Timestamp, signing.Text(","), signing.Body}
		plain.Time = signing.TimeRule{From: signing.Entry("t"), Tolerance: time.Minute}
		v, err = signing.NewVerifier(plain, secret)
	case "hookdeck":
		plain.Signature, plain.Encoding, plain.ID = signing.Header("X-Hookdeck-Signature"), signing.Base64, signing.Header("X-Hookdeck-Eventid")
		v, err = signing.NewVerifier(plain, secret)
	case "outpost":
		plain.Signature, plain.Format, plain.Prefix = signing.Header("X-Outpost-Signature"), signing.Group, "v0="
		plain.Time = signing.TimeRule{From: signing.Header("X-Outpost-Timestamp"), Unit: signing.RFC3339, Tolerance: time.Minute}
		plain.ID, plain.Type = signing.Header("X-Outpost-Event-Id"), signing.Header("X-Outpost-Topic")
		v, err = signing.NewVerifier(plain, secret)
	case "none":
		return signing.Unverified
	case "http-message":
		v, err = signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{}, secret)
	default:
		v, err = signing.ForProvider(name, signing.Options{}, secret)
	}
	if err != nil {
		t.Fatal(name, err)
	}
	return v
}

// Each signer that comes with the package is used by its name, over HTTP, and a receiver verifies it.
func TestEverySignerByName(t *testing.T) {
	t.Parallel()
	g := startGateway(t, Config{AllowPrivate: loopback})
	type got struct {
		name, problem string
		verdict       signing.Verdict
		header        http.Header
	}
	arrived := make(chan got, 100)
	for _, name := range signing.Signers() {
		var verifier signing.Verifier
		ready := make(chan struct{})
		var public string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-ready
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			verdict, err := verifier.Verify(&signing.Request{
				Method: r.Method, URL: public + r.URL.RequestURI(), Header: r.Header, Body: body, Time: time.Now(),
			})
			arrived <- got{name, fmt.Sprint(err), verdict, r.Header}
		}))
		t.Cleanup(server.Close)
		public = server.URL
		_, secret, err := g.CreateEndpoint(t.Context(), Endpoint{
			ID: name, URL: server.URL + "/in?a=b c", Signer: name, Header: map[string]string{"X-Own": "mine"},
			Subscriptions: []Subscription{{Types: []string{"*"}}},
		})
		if err != nil {
			t.Fatal(name, err)
		}
		if secret.IsZero() != (name == "none") {
			t.Errorf("%s: is there a secret? %v", name, !secret.IsZero())
		}
		verifier = signerReceiver(t, name, secret)
		close(ready)
	}
	id := mustPublish(t, g, Event{Type: "invoice.paid", Payload: []byte(`{"type":"invoice.paid","id":"in_1"}`), ContentType: "application/json"})
	var seen []string
	for range signing.Signers() {
		select {
		case a := <-arrived:
			seen = append(seen, a.name)
			if a.problem != "<nil>" {
				t.Errorf("%s: %s\n%v", a.name, a.problem, a.header)
			}
			switch a.name {
			case "github", "shopify", "hookdeck", "outpost", "svix", "standard", "http-message":
				if a.verdict.ID != id.String() {
					t.Errorf("%s: the ID is %q, want %s", a.name, a.verdict.ID, id)
				}
			}
			switch a.name {
			case "none", "slack", "convoy", "convoy-advanced", "hookdeck":
			default:
				if a.verdict.Type != "invoice.paid" {
					t.Errorf("%s: the type is %q", a.name, a.verdict.Type)
				}
			}
			if a.header.Get("X-Own") != "mine" || (a.name == "none") != (len(a.header) == 4) { // its own and three of HTTP's
				t.Errorf("%s: the header is %v", a.name, a.header)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("only %q came", seen)
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, signing.Signers()) {
		t.Errorf("came to %q", seen)
	}
}

func TestEndpointsWithoutASecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		g := startGateway(t, Config{Dispatcher: c})
		ctx := t.Context()
		ep, secret, err := g.CreateEndpoint(ctx, Endpoint{ID: "a", URL: "https://example.com/a", Signer: "none", Subscriptions: []Subscription{{}}})
		if err != nil || !secret.IsZero() {
			t.Fatalf("%v, %v", secret, err)
		}
		if list, err := g.Secrets(ctx, "", "a"); err != nil || len(list) != 0 {
			t.Errorf("secrets %v, %v", list, err)
		}
		_, err = g.RotateSecret(ctx, "", "a", 0)
		wantField(t, err, "Endpoint.Signer")
		wantField(t, g.ImportSecret(ctx, "", "a", signing.StandardWebhooks.NewSecret(), 0), "ImportSecret")
		_, _, err = g.CreateEndpoint(ctx, Endpoint{ID: "b", URL: "https://example.com/b", Signer: "none"}, signing.NewSecret("a text of a secret"))
		wantField(t, err, "secrets[0]")

		id := mustPublish(t, g, Event{})
		time.Sleep(time.Minute)
		wantState(t, g, id, Done, reasonDelivered)
		if h := c.arrivals()[0].header; len(h) != 0 {
			t.Errorf("an unsigned request has the headers %v", h)
		}

		// To a signer that needs a secret, and back.
		ep.Signer = "stripe"
		_, err = g.UpdateEndpoint(ctx, *ep)
		wantField(t, err, "Endpoint.Signer")
		mine := signing.NewSecret("a secret of my own")
		if ep, err = g.UpdateEndpoint(ctx, *ep, mine); err != nil {
			t.Fatal(err)
		}
		if list, err := g.Secrets(ctx, "", "a"); err != nil || len(list) != 1 {
			t.Errorf("secrets %v, %v", list, err)
		}
		mustPublish(t, g, Event{})
		time.Sleep(time.Minute)
		if h := c.arrivals()[1].header; !strings.HasPrefix(h.Get("Stripe-Signature"), "t=") {
			t.Errorf("the headers are %v", h)
		}
		ep.Signer = "none"
		if _, err = g.UpdateEndpoint(ctx, *ep); err != nil {
			t.Fatal(err)
		}
		if list, err := g.Secrets(ctx, "", "a"); err != nil || len(list) != 0 {
			t.Errorf("secrets %v, %v: the old one is kept for nothing", list, err)
		}
	})
}

// A header that the endpoint's signer sets cannot be the endpoint's own; those of other signers can.
func TestEndpointHeadersOfTheSignerAreRefused(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ctx := t.Context()
	for signer, header := range map[string]string{
		"stripe": "stripe-signature", "github": "X-GitHub-Event", "hookdeck": "x-hookdeck-signature-2", "http-message": "Signature-Input",
		"outpost": "X-Outpost-Timestamp", "svix": "svix-id", "": "webhook-id",
	} {
		ep := Endpoint{URL: "https://example.com/a", Signer: signer, Header: map[string]string{header: "x"}}
		_, _, err := g.CreateEndpoint(ctx, ep)
		wantField(t, err, "Endpoint.Header")
		wantError(t, err, nil, "belongs to the signature")
		ep.Header = nil
		made, _, err := g.CreateEndpoint(ctx, ep)
		if err != nil {
			t.Fatal(signer, err)
		}
		made.Header = map[string]string{header: "x"}
		_, err = g.UpdateEndpoint(ctx, *made)
		wantField(t, err, "Endpoint.Header")
	}
	if _, _, err := g.CreateEndpoint(ctx, Endpoint{URL: "https://example.com/a", Signer: "stripe", Header: map[string]string{"Svix-Id": "x"}}); err != nil {
		t.Error(err)
	}
}

// A signer of the application takes the place of the one of the same name that comes with the package.
func TestRegisteredSignerGoesFirst(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	if err := g.RegisterSigner("stripe", signing.StandardWebhooks); err != nil {
		t.Fatal(err)
	}
	s, err := g.signerOf("stripe")
	if err != nil || s != signing.StandardWebhooks {
		t.Errorf("%v, %v", s, err)
	}
	wantError(t, g.RegisterSigner("stripe", signing.Unsigned), nil, "is registered already")
	_, _, err = g.CreateEndpoint(t.Context(), Endpoint{URL: "https://example.com/a", Signer: "strype"})
	wantField(t, err, "Endpoint.Signer")
}

// The keys of an endpoint are published without their private parts.
func TestPublicKeysOfAnEndpoint(t *testing.T) {
	t.Parallel()
	g := newSurface(t, Config{})
	ctx := t.Context()
	newest, older := signing.NewEd25519Secret(), signing.NewEd25519Secret()
	_, _, err := g.CreateEndpoint(ctx, Endpoint{ID: "a", Tenant: "acme", URL: "https://example.com/a"}, newest, signing.StandardWebhooks.NewSecret(), older)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := g.PublicKeys(ctx, "acme", "a")
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for i, s := range []Secret{newest, older} {
		if public, err := signing.PublicKey(s); err != nil || keys[i] != public {
			t.Errorf("key %d is not the endpoint's (%v)", i, err)
		}
	}
	_, err = g.PublicKeys(ctx, "other", "a")
	wantError(t, err, ErrNotFound)

	mux := http.NewServeMux()
	mux.Handle("GET /keys/{tenant}/{endpoint}", signing.JWKS(func(r *http.Request) ([]string, error) {
		keys, err := g.PublicKeys(r.Context(), r.PathValue("tenant"), r.PathValue("endpoint"))
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return keys, err
	}))
	for path, want := range map[string]int{"/keys/acme/a": 2, "/keys/acme/b": 0, "/keys/other/a": 0} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Code != 200 || len(set.Keys) != want {
			t.Errorf("%s: %d %s, %v", path, w.Code, w.Body, err)
		}
	}
}

// Whoever keeps a key set needs a key before it signs; and a key that has ended is in nobody's way.
func TestScheduledKeysArePublishedAndEndedOnesForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newEngine(t, Config{PlainSecrets: true})
		ctx := t.Context()
		first := signing.NewEd25519Secret()
		if _, _, err := g.CreateEndpoint(ctx, Endpoint{ID: "a", URL: "https://example.com"}, first); err != nil {
			t.Fatal(err)
		}
		second := signing.NewEd25519Secret()
		if _, err := g.ScheduleSecret(ctx, "", "a", Rotation{Secret: second, From: time.Now().Add(time.Hour), Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]Secret{{second, first}, {second, first}, {second}} {
			keys, err := g.PublicKeys(ctx, "", "a")
			if err != nil || len(keys) != len(want) {
				t.Fatalf("%d keys, %v", len(keys), err)
			}
			for i, s := range want {
				if public, err := signing.PublicKey(s); err != nil || keys[i] != public {
					t.Errorf("key %d is another (%v)", i, err)
				}
			}
			time.Sleep(90 * time.Minute)
		}

		text := signing.NewSecret("a text that GitHub's scheme takes")
		made, err := g.Endpoint(ctx, "", "a")
		if err != nil {
			t.Fatal(err)
		}
		made.Signer = "github"
		if _, err = g.UpdateEndpoint(ctx, *made, text); err != nil {
			t.Fatal(err)
		}
		key := signing.StandardWebhooks.NewSecret()
		if err := g.ImportSecret(ctx, "", "a", key, time.Hour); err != nil {
			t.Fatal(err)
		}
		if made, err = g.Endpoint(ctx, "", "a"); err != nil {
			t.Fatal(err)
		}
		made.Signer = ""
		_, err = g.UpdateEndpoint(ctx, *made)
		wantField(t, err, "Endpoint.Signer")
		time.Sleep(2 * time.Hour)
		if _, err = g.UpdateEndpoint(ctx, *made); err != nil {
			t.Errorf("with a key that has ended: %v", err)
		}
	})
}
