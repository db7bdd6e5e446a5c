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
func (v *vector) verify(tb testing.TB, s signing.Scheme) (signing.Verdict, error) {
	tb.Helper()
	verifier, err := signing.NewVerifier(s, v.secrets()...)
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
}

func TestVectorsOfEveryPreset(t *testing.T) {
	t.Parallel()
	ran, good := map[string]int{}, map[string]int{}
	for _, v := range loadVectors(t) {
		name, ok := presetOf[v.Scheme]
		if !ok {
			continue
		}
		s, ok := signing.Preset(name)
		if !ok {
			t.Fatalf("there is no preset %s", name)
		}
		ran[v.Scheme]++
		verdict, err := v.verify(t, s)
		if (err == nil) != v.Valid {
			t.Errorf("%s (%s): valid must be %v, got the error %v", v.ID, v.Why, v.Valid, err)
		}
		if err == nil {
			good[v.Scheme]++
			if verdict.Covers != signing.CoversBody || verdict.Key != 0 {
				t.Errorf("%s: covers %v with key %d, want body with key 0", v.ID, verdict.Covers, verdict.Key)
			}
		}
	}
	covered := map[string]bool{}
	for scheme, preset := range presetOf {
		t.Logf("%-22s %2d entries, %2d of them good", scheme, ran[scheme], good[scheme])
		if ran[scheme] == 0 {
			t.Errorf("no entry of the scheme %s was run", scheme)
		}
		covered[preset] = true
	}
	for _, name := range signing.Presets() {
		if !covered[name] {
			t.Errorf("the preset %s has no vectors", name)
		}
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

// otherRows are rows for providers that the package does not come with. They show that the engine has room for them.
var otherRows = map[string]func(params map[string]string) signing.Scheme{
	"hub-signature":     plainBody("X-Hub-Signature", "sha256=", signing.Hex, signing.TextSecret),
	"gogs":              plainBody("X-Gogs-Signature", "", signing.Hex, signing.TextSecret),
	"line":              plainBody("X-Line-Signature", "", signing.Base64, signing.TextSecret),
	"razorpay":          plainBody("X-Razorpay-Signature", "", signing.Hex, signing.TextSecret),
	"coinbase-commerce": plainBody("X-CC-Webhook-Signature", "", signing.Hex, signing.TextSecret),
	"gocardless":        plainBody("Webhook-Signature", "", signing.Hex, signing.TextSecret),
	"adyen-banking":     plainBody("HmacSignature", "", signing.Base64, signing.HexSecret),
	"pusher": func(params map[string]string) signing.Scheme {
		s := plainBody("X-Pusher-Signature", "", signing.Hex, signing.TextSecret)(nil)
		s.Require = []signing.Match{{Part: signing.Header("X-Pusher-Key"), Value: params["key"]}}
		return s
	},
	"square": func(map[string]string) signing.Scheme {
		s := plainBody("X-Square-Hmacsha256-Signature", "", signing.Base64, signing.TextSecret)(nil)
		s.Message = []signing.Part{signing.URL, signing.Body}
		return s
	},
	"paddle": func(map[string]string) signing.Scheme {
		s := plainBody("Paddle-Signature", "", signing.Hex, signing.TextSecret)(nil)
		s.Format, s.Separator, s.Tags = signing.Pairs, ";", []signing.Tag{{Name: "h1"}}
		s.Message = []signing.Part{signing.Timestamp, signing.Text(":"), signing.Body}
		s.Time = signing.TimeRule{From: signing.Entry("ts"), Tolerance: 5 * time.Second}
		return s
	},
	"pagerduty": versionList("X-PagerDuty-Signature"),
	"circleci":  versionList("Circleci-Signature"),
	"webflow": func(map[string]string) signing.Scheme {
		s := plainBody("X-Webflow-Signature", "", signing.Hex, signing.TextSecret)(nil)
		s.Message = []signing.Part{signing.Timestamp, signing.Text(":"), signing.Body}
		s.Time = signing.TimeRule{From: signing.Header("X-Webflow-Timestamp"), Unit: signing.Milliseconds}
		return s
	},
	"sanity": func(map[string]string) signing.Scheme {
		s := plainBody("Sanity-Webhook-Signature", "", signing.Base64URL, signing.TextSecret)(nil)
		s.Format, s.Tags = signing.Pairs, []signing.Tag{{Name: "v1"}}
		s.Message = []signing.Part{signing.Timestamp, signing.Text("."), signing.Body}
		s.Time = signing.TimeRule{From: signing.Entry("t"), Unit: signing.Milliseconds}
		return s
	},
	"mailgun": func(map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: "mailgun", Signature: signing.JSON("signature", "signature"), MinSecret: 1,
			Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: signing.TextSecret,
			Message: []signing.Part{signing.Timestamp, signing.JSON("signature", "token")},
			Time:    signing.TimeRule{From: signing.JSON("signature", "timestamp")},
		}
	},
	"hubspot-v1": hubspotOld("v1", signing.SecretText, signing.Body),
	"hubspot-v2": hubspotOld("v2", signing.SecretText, signing.Method, signing.URL, signing.Body),
	"hubspot-v3": func(map[string]string) signing.Scheme {
		s := plainBody("X-HubSpot-Signature-v3", "", signing.Base64, signing.TextSecret)(nil)
		s.Message = []signing.Part{signing.Method, signing.URL, signing.Body, signing.Timestamp}
		s.Time = signing.TimeRule{
			From: signing.Header("X-HubSpot-Request-Timestamp"), Unit: signing.Milliseconds, Tolerance: 300 * time.Second, AgeOnly: true,
		}
		return s
	},
	"discord-ed25519": publicKey("X-Signature-Ed25519", "X-Signature-Timestamp", "", signing.Hex, signing.HexSecret, 0),
	"telnyx-ed25519":  publicKey("Telnyx-Signature-Ed25519", "Telnyx-Timestamp", "|", signing.Base64, signing.Base64Secret, 300*time.Second),
	"sendgrid-ecdsa": func(map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: "sendgrid", Signature: signing.Header("X-Twilio-Email-Event-Webhook-Signature"),
			Algorithm: signing.ECDSAP256, Encoding: signing.Base64, Secret: signing.Base64Secret,
			Message: []signing.Part{signing.Timestamp, signing.Body},
			Time:    signing.TimeRule{From: signing.Header("X-Twilio-Email-Event-Webhook-Timestamp")},
		}
	},
	"outpost": func(map[string]string) signing.Scheme {
		s := plainBody("X-Outpost-Signature", "v0=", signing.Hex, signing.TextSecret)(nil)
		s.Format = signing.Group
		return s
	},
	"gitlab-token": token("X-Gitlab-Token", "", signing.Raw),
	"basic-auth":   token("Authorization", "Basic ", signing.Base64),
	"api-key-header": func(params map[string]string) signing.Scheme {
		return token(params["header"], "", signing.Raw)(nil)
	},
	"convoy-simple": func(params map[string]string) signing.Scheme {
		s := plainBody("X-Convoy-Signature", "", encodings[params["encoding"]], signing.TextSecret)(nil)
		s.Algorithm = hashes[params["hash"]]
		return s
	},
}

var (
	encodings = map[string]signing.Encoding{"hex": signing.Hex, "base64": signing.Base64}
	hashes    = map[string]signing.Algorithm{"SHA256": signing.HMACSHA256, "SHA512": signing.HMACSHA512}
)

func plainBody(header, prefix string, e signing.Encoding, k signing.SecretKind) func(map[string]string) signing.Scheme {
	return func(map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: header, Signature: signing.Header(header), Prefix: prefix, MinSecret: 1,
			Algorithm: signing.HMACSHA256, Encoding: e, Secret: k, Message: []signing.Part{signing.Body},
		}
	}
}

func versionList(header string) func(map[string]string) signing.Scheme {
	return func(map[string]string) signing.Scheme {
		s := plainBody(header, "", signing.Hex, signing.TextSecret)(nil)
		s.Format, s.Tags = signing.Pairs, []signing.Tag{{Name: "v1"}}
		return s
	}
}

func hubspotOld(version string, message ...signing.Part) func(map[string]string) signing.Scheme {
	return func(map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: "hubspot", Signature: signing.Header("X-HubSpot-Signature"), MinSecret: 1,
			Algorithm: signing.SHA256, Encoding: signing.Hex, Secret: signing.TextSecret, Message: message,
			Require: []signing.Match{{Part: signing.Header("X-HubSpot-Signature-Version"), Value: version}},
		}
	}
}

func publicKey(header, stamp, sep string, e signing.Encoding, k signing.SecretKind, tolerance time.Duration) func(map[string]string) signing.Scheme {
	return func(map[string]string) signing.Scheme {
		message := []signing.Part{signing.Timestamp, signing.Body}
		if sep != "" {
			message = []signing.Part{signing.Timestamp, signing.Text(sep), signing.Body}
		}
		return signing.Scheme{
			Name: header, Signature: signing.Header(header),
			Algorithm: signing.Ed25519, Encoding: e, Secret: k, Message: message,
			Time: signing.TimeRule{From: signing.Header(stamp), Tolerance: tolerance},
		}
	}
}

func token(header, prefix string, e signing.Encoding) func(map[string]string) signing.Scheme {
	return func(map[string]string) signing.Scheme {
		return signing.Scheme{
			Name: header, Signature: signing.Header(header), Prefix: prefix, MinSecret: 1,
			Algorithm: signing.Token, Encoding: e, Secret: signing.TextSecret,
		}
	}
}

func TestVectorsOfRowsThatUsersBring(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	for _, v := range loadVectors(t) {
		row, ok := otherRows[v.Scheme]
		if !ok {
			continue
		}
		ran[v.Scheme]++
		if _, err := v.verify(t, row(v.Params)); (err == nil) != v.Valid {
			t.Errorf("%s (%s): valid must be %v, got the error %v", v.ID, v.Why, v.Valid, err)
		}
	}
	total := 0
	for scheme := range otherRows {
		t.Logf("%-18s %2d entries", scheme, ran[scheme])
		if total += ran[scheme]; ran[scheme] == 0 {
			t.Errorf("no entry of the scheme %s was run", scheme)
		}
	}
	t.Logf("%d schemes, %d entries", len(otherRows), total)
}
