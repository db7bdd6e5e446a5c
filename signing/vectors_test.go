package signing_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// vector is one request of signatures.json, with the verdict that a correct receiver reaches.
type vector struct {
	ID           string              `json:"id"`
	Scheme       string              `json:"scheme"`
	Secret       string              `json:"secret"`
	ExtraSecrets []string            `json:"extra_secrets"`
	Params       map[string]string   `json:"params"`
	Headers      map[string][]string `json:"headers"`
	Method       string              `json:"method"`
	URL          string              `json:"url"`
	Body         string              `json:"body_base64"`
	Now          int64               `json:"now_unix"`
	Valid        bool                `json:"valid"`
	Why          string              `json:"why"`
}

// loadVectors reads the file from HOOKGATE_VECTORS, or the copy in this repository.
func loadVectors(tb testing.TB) []vector {
	tb.Helper()
	dir := os.Getenv("HOOKGATE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "testdata", "vectors")
	}
	data, err := os.ReadFile(filepath.Join(dir, "signatures.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

func (v *vector) request(tb testing.TB) *signing.Request {
	tb.Helper()
	body, err := base64.StdEncoding.DecodeString(v.Body)
	if err != nil {
		tb.Fatal(err)
	}
	r := &signing.Request{Method: v.Method, URL: v.URL, Header: http.Header{}, Body: body}
	if v.Now != 0 {
		r.Time = time.Unix(v.Now, 0)
	}
	for name, values := range v.Headers {
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
	return r
}

func (v *vector) secrets() []signing.Secret {
	secrets := []signing.Secret{signing.NewSecret(v.Secret)}
	for _, s := range v.ExtraSecrets {
		secrets = append(secrets, signing.NewSecret(s))
	}
	return secrets
}

// verify reaches the verdict; a verifier that cannot be made refuses.
func (v *vector) verify(tb testing.TB, verifier signing.Verifier, err error) (signing.Verdict, error) {
	tb.Helper()
	if err != nil {
		return signing.Verdict{}, err
	}
	verdict, err := verifier.Verify(v.request(tb))
	if err != nil && !errors.Is(err, signing.ErrRefused) {
		tb.Errorf("%s: the error does not match ErrRefused: %v", v.ID, err)
	}
	return verdict, err
}

// presetOf says which row verifies the vectors of which scheme.
var presetOf = map[string]string{
	"standard-webhooks-v1":  "standard",
	"standard-webhooks-v1a": "standard",
	"svix":                  "svix",
	"stripe-v1":             "stripe",
	"github-sha256":         "github",
	"slack-v0":              "slack",
	"shopify":               "shopify",
	"linear":                "linear",
	"twitch":                "twitch",
	"zoom":                  "zoom",
	"hub-signature":         "bitbucket",
	"gogs":                  "gogs",
	"gitlab-token":          "gitlab-token",
	"line":                  "line",
	"razorpay":              "razorpay",
	"coinbase-commerce":     "coinbase-commerce",
	"gocardless":            "gocardless",
	"adyen-banking":         "adyen-banking",
	"pusher":                "pusher",
	"square":                "square",
	"paddle":                "paddle",
	"pagerduty":             "pagerduty",
	"circleci":              "circleci",
	"webflow":               "webflow",
	"sanity":                "sanity",
	"mailgun":               "mailgun",
	"hubspot-v1":            "hubspot-v1",
	"hubspot-v2":            "hubspot-v2",
	"hubspot-v3":            "hubspot",
	"discord-ed25519":       "discord",
	"telnyx-ed25519":        "telnyx",
	"sendgrid-ecdsa":        "sendgrid",
	"outpost":               "outpost",
	"convoy-simple":         "convoy",
	"convoy-advanced":       "convoy-advanced",
}

// sameRule are providers whose rule is that of another one, so that its vectors are theirs too.
var sameRule = map[string]string{
	"jira": "hub-signature", "meta": "github-sha256", "whatsapp": "github-sha256", "gitlab": "standard-webhooks-v1",
	"clerk": "svix", "resend": "svix", "stytch": "svix", "vanta": "svix",
	"supabase": "standard-webhooks-v1", "render": "standard-webhooks-v1", "brex": "standard-webhooks-v1",
	"etsy": "standard-webhooks-v1", "incident-io": "standard-webhooks-v1", "gemini": "standard-webhooks-v1",
}

func TestVectorsOfEveryPreset(t *testing.T) {
	t.Parallel()
	rules := map[[2]string]bool{} // scheme and provider
	for scheme, name := range presetOf {
		rules[[2]string{scheme, name}] = true
	}
	for name, scheme := range sameRule {
		rules[[2]string{scheme, name}] = true
	}
	ran, good := map[[2]string]int{}, map[[2]string]int{}
	for _, v := range loadVectors(t) {
		for rule := range rules {
			if v.Scheme != rule[0] {
				continue
			}
			verifier, err := signing.ForProvider(rule[1], signing.Options{Settings: v.Params}, v.secrets()...)
			verdict, err := v.verify(t, verifier, err)
			if (err == nil) != v.Valid {
				t.Errorf("%s as %s (%s): valid must be %v, got the error %v", v.ID, rule[1], v.Why, v.Valid, err)
			}
			ran[rule]++
			if err == nil {
				good[rule]++
				if want := covers(t, rule[1]); verdict.Covers != want || verdict.Key != 0 {
					t.Errorf("%s: covers %v with key %d, want %v with key 0", v.ID, verdict.Covers, verdict.Key, want)
				}
			}
		}
	}
	for rule := range rules {
		t.Logf("%-22s as %-18s %2d entries, %2d of them good", rule[0], rule[1], ran[rule], good[rule])
		if ran[rule] == 0 || good[rule] == 0 {
			t.Errorf("of the scheme %s %d entries were run, %d of them good", rule[0], ran[rule], good[rule])
		}
	}
}

// covers is what the vectors must show; it is written out because a row that covers less by mistake is a hole.
func covers(tb testing.TB, name string) signing.Covers {
	tb.Helper()
	switch name {
	case "gitlab-token":
		return signing.CoversNothing
	case "mailgun":
		return signing.CoversMetadata
	default:
		return signing.CoversBody
	}
}

// TestVectorsGitHubDocumentation is the example of GitHub's own documentation, word for word.
func TestVectorsGitHubDocumentation(t *testing.T) {
	t.Parallel()
	v, err := signing.GitHub(signing.NewSecret("It's a Secret to Everybody"))
	if err != nil {
		t.Fatal(err)
	}
	r := &signing.Request{Method: "POST", Body: []byte("Hello, World!"), Header: http.Header{}}
	r.Header.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	r.Header.Set("X-GitHub-Event", "ping")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	verdict, err := v.Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	if verdict.Type != "ping" || verdict.ID != "72d3162e-cc78-11e3-81ab-4c9367dc0958" {
		t.Errorf("got %+v", verdict)
	}
}

// ownRows are rows that a user brings: the two ways to show a password that every server knows.
var ownRows = map[string]func(params map[string]string) signing.Scheme{
	"basic-auth": func(map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: "basic", Signature: signing.Header("Authorization"), Prefix: "Basic ",
			Algorithm: signing.Token, Encoding: signing.Base64, Secret: signing.TextSecret,
		}
	},
	"api-key-header": func(params map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: "api-key", Signature: signing.Header(params["header"]),
			Algorithm: signing.Token, Encoding: signing.Raw, Secret: signing.TextSecret,
		}
	},
}

func TestVectorsOfRowsThatUsersBring(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	for _, v := range loadVectors(t) {
		row, ok := ownRows[v.Scheme]
		if !ok {
			continue
		}
		ran[v.Scheme]++
		verifier, err := signing.NewVerifier(row(v.Params), v.secrets()...)
		if _, err := v.verify(t, verifier, err); (err == nil) != v.Valid {
			t.Errorf("%s (%s): valid must be %v, got the error %v", v.ID, v.Why, v.Valid, err)
		}
	}
	for scheme := range ownRows {
		if ran[scheme] == 0 {
			t.Errorf("no entry of the scheme %s was run", scheme)
		}
	}
}
