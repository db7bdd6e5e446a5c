package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v82/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/hookgate/hookgate/signing"
)

// library is somebody else's code for a scheme. Node says which of the libraries for Node it is; verify and sign are it
// for Go.
type library struct {
	name     string
	provider string // hookgate's name for the scheme
	node     string
	verify   func(secret string, h http.Header, body []byte) error
	sign     func(secret, id string, at time.Time, body []byte) (http.Header, error)
}

var libraries = []library{
	{
		name: "standardwebhooks for Go", provider: "standard",
		verify: func(secret string, h http.Header, body []byte) error {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				return err
			}
			return wh.Verify(body, h)
		},
		sign: func(secret, id string, at time.Time, body []byte) (http.Header, error) {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				return nil, err
			}
			signature, err := wh.Sign(id, at, body)
			return trio("Webhook-", id, at, signature), err
		},
	},
	{
		name: "svix for Go", provider: "svix",
		verify: func(secret string, h http.Header, body []byte) error {
			wh, err := svix.NewWebhook(secret)
			if err != nil {
				return err
			}
			return wh.Verify(body, h)
		},
		sign: func(secret, id string, at time.Time, body []byte) (http.Header, error) {
			wh, err := svix.NewWebhook(secret)
			if err != nil {
				return nil, err
			}
			signature, err := wh.Sign(id, at, body)
			return trio("Svix-", id, at, signature), err
		},
	},
	{
		name: "stripe for Go", provider: "stripe",
		verify: func(secret string, h http.Header, body []byte) error {
			return webhook.ValidatePayload(body, h.Get("Stripe-Signature"), secret)
		},
		sign: func(secret, _ string, at time.Time, body []byte) (http.Header, error) {
			p := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret, Timestamp: at})
			return http.Header{"Stripe-Signature": {p.Header}}, nil
		},
	},
	{name: "standardwebhooks for Node", provider: "standard", node: "standardwebhooks"},
	{name: "svix for Node", provider: "svix", node: "svix"},
	{name: "stripe for Node", provider: "stripe", node: "stripe"},
	{name: "@octokit/webhooks-methods for Node", provider: "github", node: "octokit"},
}

func trio(prefix, id string, at time.Time, signature string) http.Header {
	return http.Header{prefix + "Id": {id}, prefix + "Timestamp": {fmt.Sprint(at.Unix())}, prefix + "Signature": {signature}}
}

// signers are ours, by the provider whose libraries accept what they sign. Svix's take the standard headers too.
//
// None of the libraries verifies v1a, the Ed25519 signatures of Standard Webhooks: what we sign that way is tried in package
// signing alone.
var signers = map[string][]string{
	"standard": {"standard"},
	"svix":     {"svix", "standard"},
	"stripe":   {"stripe"},
	"github":   {"github"},
}

// signerOf gives the signer of that name.
func signerOf(t *testing.T, name string) signing.Signer {
	t.Helper()
	signer, ok := signing.SignerFor(name)
	if !ok {
		t.Fatalf("there is no signer %q", name)
	}
	return signer
}

// bodies are what is signed. Libraries that take text want UTF-8.
var bodies = map[string]string{
	"an object":        `{"type":"invoice.paid","id":"evt_1","data":{"amount":1000}}`,
	"spaces, new line": "{ \"type\" : \"invoice.paid\" ,\r\n\t\"id\": \"evt_1\" }\n",
	"letters":          `{"type":"ünïcödé","id":"ev\u0074","emoji":"🎣","escaped":"\ud83c\udfa3 \/ <>&"}`,
	"numbers":          `{"type":"n","id":"1","big":12345678901234567890,"small":1.0,"exp":1e3}`,
}

// secretOf makes a secret in the form that the provider's libraries want. GitHub's may be any text, also one with letters of
// several bytes.
func secretOf(t *testing.T, provider string) string {
	t.Helper()
	secret := signerOf(t, provider).NewSecret().Reveal()
	if provider == "github" {
		return "ein Geheimnis für " + secret
	}
	return secret
}

func newVerifier(t *testing.T, provider, secret string) signing.Verifier {
	t.Helper()
	v, err := signing.ForProvider(provider, signing.Options{}, signing.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// changed is a body that somebody touched: one letter is another.
func changed(t *testing.T, body string) string {
	t.Helper()
	for i, c := range body {
		if c == 'e' {
			other := body[:i] + "f" + body[i+1:]
			if !json.Valid([]byte(other)) {
				t.Fatalf("%q is no JSON, which a library could refuse for that", other)
			}
			return other
		}
	}
	t.Fatalf("there is nothing to change in %q", body)
	return ""
}
