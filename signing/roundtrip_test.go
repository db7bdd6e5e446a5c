package signing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// A trip is one request of a provider that has published no example: how it is signed is written out here a second time,
// from the provider's rule and not from the row, and signed with nothing but an HMAC.
type trip struct {
	name     string
	settings map[string]string
	make     func() hash.Hash
	enc      func([]byte) string
	key      string // text, hex, base64, whsec or tail
	headers  string // separated by " | "; those after a "?" may be missing
	message  string
	free     bool // the header may come twice
}

const (
	tripBody  = `{"id":"evt_1","type":"a.b"}`
	tripURL   = "https://h.example/in?data.id=AbC9&x=1"
	tripText  = "a secret for tests"
	tripHex   = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	otherHex  = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	otherText = "another secret for tests"
)

var (
	hexEnc = hex.EncodeToString
	b64Enc = base64.StdEncoding.EncodeToString
)

var trips = []trip{
	{name: "openai", make: sha256.New, enc: b64Enc, key: "whsec", headers: "Webhook-Id: m1 | Webhook-Timestamp: 1700000000 | Webhook-Signature: v1,{sig}", message: "m1.1700000000.{body}"},
	{name: "openai", make: sha256.New, enc: b64Enc, key: "text", headers: "Webhook-Id: m1 | Webhook-Timestamp: 1700000000 | Webhook-Signature: v1,AAAA v1,{sig}", message: "m1.1700000000.{body}"},
	{name: "replicate", make: sha256.New, enc: b64Enc, key: "tail", headers: "Webhook-Id: m1 | Webhook-Timestamp: 1700000000 | Webhook-Signature: v1,{sig}", message: "m1.1700000000.{body}"},
	{name: "polar", make: sha256.New, enc: b64Enc, key: "text", headers: "Webhook-Id: m1 | Webhook-Timestamp: 1700000000 | Webhook-Signature: v1,{sig}", message: "m1.1700000000.{body}"},

	{name: "gitea", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Gitea-Signature: {sig} | ?X-Gitea-Event: push", message: "{body}"},
	{name: "buildkite", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Buildkite-Signature: timestamp=1700000000,signature={sig}", message: "1700000000.{body}"},
	{name: "sentry", make: sha256.New, enc: hexEnc, key: "text", headers: "Sentry-Hook-Signature: {sig} | ?Sentry-Hook-Timestamp: 1", message: "{body}"},
	{name: "vercel", make: sha1.New, enc: hexEnc, key: "text", headers: "X-Vercel-Signature: {sig}", message: "{body}"},
	{name: "heroku", make: sha256.New, enc: b64Enc, key: "text", headers: "Heroku-Webhook-Hmac-SHA256: {sig}", message: "{body}"},
	{name: "launchdarkly", make: sha256.New, enc: hexEnc, key: "text", headers: "X-LD-Signature: {sig}", message: "{body}"},
	{name: "mongodb-atlas", make: sha1.New, enc: b64Enc, key: "text", headers: "X-MMS-Signature: {sig}", message: "{body}"},
	{name: "autodesk", make: sha1.New, enc: hexEnc, key: "text", headers: "X-Adsk-Signature: sha1hash={sig}", message: "{body}"},
	{name: "mux", make: sha256.New, enc: hexEnc, key: "text", headers: "Mux-Signature: t=1700000000,v1={sig}", message: "1700000000.{body}"},
	{name: "elevenlabs", make: sha256.New, enc: hexEnc, key: "text", headers: "ElevenLabs-Signature: t=1700000000,v0={sig}", message: "1700000000.{body}"},
	{name: "workos", make: sha256.New, enc: hexEnc, key: "text", headers: "WorkOS-Signature: t=1700000000000, v1={sig}", message: "1700000000000.{body}"},

	{name: "hookdeck", make: sha256.New, enc: b64Enc, key: "text", headers: "X-Hookdeck-Signature: {sig}", message: "{body}"},
	{name: "hookdeck", make: sha256.New, enc: b64Enc, key: "text", headers: "X-Hookdeck-Signature-2: {sig} | ?X-Hookdeck-Signature: AAAA", message: "{body}"},
	{
		name: "convoy", settings: map[string]string{"hash": "SHA512", "encoding": "base64", "header": "X-Acme-Sig"},
		make: sha512.New, enc: b64Enc, key: "text", headers: "X-Acme-Sig: {sig}", message: "{body}",
	},
	{
		name: "convoy-advanced", settings: map[string]string{"hash": "SHA512", "encoding": "base64"},
		make: sha512.New, enc: b64Enc, key: "text", headers: "X-Convoy-Signature: t=1700000000,v1=00,v2={sig}", message: "1700000000,{body}",
	},

	{name: "mollie", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Mollie-Signature: sha256={sig}", message: "{body}", free: true},
	{name: "mollie", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Mollie-Signature: {sig}", message: "{body}", free: true},
	{name: "xero", make: sha256.New, enc: b64Enc, key: "text", headers: "X-Xero-Signature: {sig}", message: "{body}"},
	{name: "woocommerce", make: sha256.New, enc: b64Enc, key: "text", headers: "X-WC-Webhook-Signature: {sig}", message: "{body}"},
	{name: "lemon-squeezy", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Signature: {sig}", message: "{body}"},
	{name: "recurly", make: sha256.New, enc: hexEnc, key: "text", headers: "Recurly-Signature: 1700000000,00,{sig}", message: "1700000000.{body}"},
	{name: "airwallex", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Timestamp: 1700000000123 | X-Signature: {sig}", message: "1700000000123{body}"},
	{name: "affirm", make: sha512.New, enc: hexEnc, key: "text", headers: "X-Affirm-Signature: t=1700000000,v0={sig}", message: "1700000000.{body}"},
	{name: "shippo", make: sha256.New, enc: hexEnc, key: "text", headers: "Shippo-Auth-Signature: t=1700000000,v1={sig}", message: "1700000000.{body}"},
	{name: "paystack", make: sha512.New, enc: hexEnc, key: "text", headers: "X-Paystack-Signature: {sig}", message: "{body}"},
	{name: "authorize-net", make: sha512.New, enc: upperHex, key: "hex", headers: "X-ANET-Signature: sha512={sig}", message: "{body}"},
	{name: "onfleet", make: sha512.New, enc: hexEnc, key: "hex", headers: "X-Onfleet-Signature: {sig}", message: "{body}"},
	{name: "squarespace", make: sha256.New, enc: hexEnc, key: "hex", headers: "Squarespace-Signature: {sig}", message: "{body}"},
	{name: "mercado-pago", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Signature: ts=1700000000,v1={sig} | X-Request-Id: Req-1", message: "id:abc9;request-id:Req-1;ts:1700000000;"},
	{name: "mercado-pago", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Signature: ts=1700000000123,v1={sig}", message: "id:abc9;ts:1700000000123;"},
	{name: "quickbooks", make: sha256.New, enc: b64Enc, key: "text", headers: "Intuit-Signature: {sig}", message: "{body}"},
	{name: "dwolla", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Request-Signature-SHA-256: {sig}", message: "{body}"},
	{name: "checkout-com", make: sha256.New, enc: hexEnc, key: "text", headers: "Cko-Signature: {sig}", message: "{body}"},
	{name: "modern-treasury", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Signature: {sig}", message: "{body}"},
	{name: "chargify", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Chargify-Webhook-Signature-Hmac-Sha-256: {sig}", message: "{body}"},

	{name: "customer-io", make: sha256.New, enc: hexEnc, key: "text", headers: "X-CIO-Timestamp: 1700000000 | X-CIO-Signature: {sig}", message: "v0:1700000000:{body}"},
	{name: "x", make: sha256.New, enc: b64Enc, key: "text", headers: "X-Twitter-Webhooks-Signature: sha256={sig}", message: "{body}"},
	{name: "tiktok", make: sha256.New, enc: hexEnc, key: "text", headers: "TikTok-Signature: t=1700000000,s={sig}", message: "1700000000.{body}"},
	{name: "linkedin", make: sha256.New, enc: hexEnc, key: "text", headers: "X-LI-Signature: {sig}", message: "hmacsha256={body}"},
	{name: "microsoft-teams", make: sha256.New, enc: b64Enc, key: "base64", headers: "Authorization: HMAC {sig}", message: "{body}"},
	{name: "front", make: sha256.New, enc: b64Enc, key: "text", headers: "X-Front-Request-Timestamp: 1700000000000 | X-Front-Signature: {sig}", message: "1700000000000:{body}"},
	{
		name: "sinch", make: sha256.New, enc: b64Enc, key: "text",
		headers: "X-Sinch-Webhook-Signature-Nonce: n1 | X-Sinch-Webhook-Signature-Timestamp: 1700000000 | X-Sinch-Webhook-Signature: {sig}",
		message: "{body}.n1.1700000000",
	},
	{name: "klaviyo", make: sha256.New, enc: hexEnc, key: "text", headers: "Klaviyo-Timestamp: Tue, 14 Nov | Klaviyo-Signature: {sig}", message: "{body}Tue, 14 Nov"},
	{name: "lob", make: sha256.New, enc: hexEnc, key: "text", headers: "Lob-Signature-Timestamp: 1700000000 | Lob-Signature: {sig}", message: "1700000000.{body}"},
	{name: "airship", make: sha256.New, enc: hexEnc, key: "text", headers: "X-UA-Timestamp: 1700000000 | X-UA-Signature: {sig}", message: "1700000000:{body}"},
	{name: "nylas", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Nylas-Signature: {sig}", message: "{body}"},

	{name: "intercom", make: sha1.New, enc: hexEnc, key: "text", headers: "X-Hub-Signature: sha1={sig}", message: "{body}"},
	{
		name: "zendesk", make: sha256.New, enc: b64Enc, key: "text",
		headers: "X-Zendesk-Webhook-Signature-Timestamp: 2023-11-14T22:13:20Z | X-Zendesk-Webhook-Signature: {sig}", message: "2023-11-14T22:13:20Z{body}",
	},
	{name: "docusign", make: sha256.New, enc: b64Enc, key: "text", headers: "X-DocuSign-Signature-1: {sig}", message: "{body}"},
	{name: "trello", make: sha1.New, enc: b64Enc, key: "text", headers: "X-Trello-Webhook: {sig}", message: "{body}{url}"},
	{name: "typeform", make: sha256.New, enc: b64Enc, key: "text", headers: "Typeform-Signature: sha256={sig}", message: "{body}"},
	{name: "calendly", make: sha256.New, enc: hexEnc, key: "text", headers: "Calendly-Webhook-Signature: t=1700000000,v1={sig}", message: "1700000000.{body}"},
	{name: "dropbox", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Dropbox-Signature: {sig}", message: "{body}"},
	{name: "asana", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Hook-Signature: {sig}", message: "{body}"},
	{name: "notion", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Notion-Signature: sha256={sig}", message: "{body}"},
	{name: "airtable", make: sha256.New, enc: hexEnc, key: "base64", headers: "X-Airtable-Content-MAC: hmac-sha256={sig}", message: "{body}"},
	{name: "persona", make: sha256.New, enc: hexEnc, key: "text", headers: "Persona-Signature: t=1700000000,v1={sig}", message: "1700000000.{body}"},
	{name: "persona", make: sha256.New, enc: hexEnc, key: "text", headers: "Persona-Signature: t=1700000000,v1=00 t=1700000000,v1={sig}", message: "1700000000.{body}"},
	{name: "segment", make: sha1.New, enc: hexEnc, key: "text", headers: "X-Signature: {sig}", message: "{body}"},
	{name: "cal-com", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Cal-Signature-256: {sig}", message: "{body}"},
	{name: "clickup", make: sha256.New, enc: hexEnc, key: "text", headers: "X-Signature: {sig}", message: "{body}"},
}

// shown are the providers that show a token, as a header or Basic.
var shown = []trip{
	{name: "buildkite-token", headers: "X-Buildkite-Token: " + tripText},
	{name: "okta", headers: "Authorization: " + tripText},
	{name: "okta", settings: map[string]string{"header": "x-my-token"}, headers: "X-My-Token: " + tripText},
	{name: "telegram", headers: "X-Telegram-Bot-Api-Secret-Token: " + tripText},
	{name: "cloudevents", headers: "Authorization: Bearer " + tripText},
	{name: "azure-event-grid", headers: "Authorization: Bearer " + tripText},
	{name: "deepgram", headers: "Dg-Token: " + tripText},
	{name: "chargebee", headers: "Authorization: Basic " + b64Enc([]byte(tripText))},
	{name: "postmark", headers: "Authorization: Basic " + b64Enc([]byte(tripText))},
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

// keys gives the key, the text that a user puts in for it, and the text of another key of the kind.
func (c *trip) keys(tb testing.TB) (key []byte, text, other string) {
	tb.Helper()
	raw, err := hex.DecodeString(tripHex)
	if err != nil {
		tb.Fatal(err)
	}
	otherRaw := append([]byte{1}, raw[1:]...)
	switch c.key {
	case "hex":
		return raw, tripHex, otherHex
	case "base64":
		return raw, b64Enc(raw), b64Enc(otherRaw)
	case "whsec":
		return raw, "whsec_" + b64Enc(raw), "whsec_" + b64Enc(otherRaw)
	case "tail":
		return raw, "r8_whsec_" + b64Enc(raw), "r8_whsec_" + b64Enc(otherRaw)
	default:
		return []byte(tripText), tripText, otherText
	}
}

// request signs, and flips a bit of the signature if asked to.
func (c *trip) request(tb testing.TB, flip byte) *signing.Request {
	tb.Helper()
	key, _, _ := c.keys(tb)
	r := request(tripBody)
	r.URL = tripURL
	sig := ""
	if c.make != nil {
		fill := strings.NewReplacer("{body}", tripBody, "{url}", tripURL)
		mac := hmac.New(c.make, key)
		mac.Write([]byte(fill.Replace(c.message)))
		sum := mac.Sum(nil)
		sum[len(sum)/2] ^= flip
		sig = c.enc(sum)
	}
	for line := range strings.SplitSeq(c.headers, " | ") {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "?"), ": ")
		r.Header.Add(name, strings.ReplaceAll(value, "{sig}", sig))
	}
	return r
}

func (c *trip) verifier(tb testing.TB, secret string) signing.Verifier {
	tb.Helper()
	v, err := signing.ForProvider(c.name, signing.Options{Settings: c.settings}, signing.NewSecret(secret))
	return mustVerifier(tb, v, err)
}

// TestProvidersWithoutExamples signs for each, and then breaks what was signed in every way that must be noticed.
func TestProvidersWithoutExamples(t *testing.T) {
	t.Parallel()
	for _, c := range trips {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, text, other := c.keys(t)
			v := c.verifier(t, text)
			good := c.request(t, 0)
			verdict, err := v.Verify(good)
			if err != nil {
				t.Fatalf("a good request is refused: %v", err)
			}
			want := signing.CoversBody
			if c.name == "mercado-pago" {
				want = signing.CoversMetadata
			}
			if verdict.Covers != want {
				t.Errorf("covers %v, want %v", verdict.Covers, want)
			}
			if _, err := c.verifier(t, other).Verify(good); !errors.Is(err, signing.ErrMismatch) {
				t.Errorf("another secret: %v", err)
			}
			if _, err := v.Verify(c.request(t, 1)); !errors.Is(err, signing.ErrMismatch) {
				t.Errorf("another signature: %v", err)
			}
			r := c.request(t, 0)
			r.Body = []byte(strings.Replace(tripBody, "evt_1", "evt_2", 1))
			if _, err := v.Verify(r); (err == nil) != (want != signing.CoversBody) {
				t.Errorf("another body: %v", err)
			}
			r = c.request(t, 0)
			r.URL = strings.Replace(tripURL, "AbC9", "AbC8", 1)
			if _, err := v.Verify(r); (err == nil) != !(c.name == "trello" || c.name == "mercado-pago") {
				t.Errorf("another URL: %v", err)
			}
			c.breakHeaders(t, v)
			c.breakTime(t, v)
		})
	}
}

func (c *trip) breakHeaders(t *testing.T, v signing.Verifier) {
	for line := range strings.SplitSeq(c.headers, " | ") {
		name, _, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(name, "?") {
			continue
		}
		r := c.request(t, 0)
		r.Header.Del(name)
		if _, err := v.Verify(r); !errors.Is(err, signing.ErrRefused) {
			t.Errorf("without %s: %v", name, err)
		}
		r = c.request(t, 0)
		r.Header.Add(name, r.Header.Get(name))
		if _, err := v.Verify(r); (err == nil) != c.free || (err != nil && !errors.Is(err, signing.ErrMalformed)) {
			t.Errorf("%s twice: %v", name, err)
		}
		for _, junk := range []string{"", "x", "=", ",", "t=,v1=", strings.Repeat("A", 10_000)} {
			r = c.request(t, 0)
			r.Header.Set(name, junk)
			if _, err := v.Verify(r); !errors.Is(err, signing.ErrRefused) {
				t.Errorf("%s: %.10q: %v", name, junk, err)
			}
		}
	}
}

// breakTime looks at both ends of the window, which are inside it.
func (c *trip) breakTime(t *testing.T, v signing.Verifier) {
	limit := v.(interface{ Tolerance() time.Duration }).Tolerance()
	if limit == 0 {
		return
	}
	for late, want := range map[time.Duration]error{
		limit: nil, -limit: nil, limit + time.Second: signing.ErrTooOld, -limit - time.Second: signing.ErrTooNew,
	} {
		r := c.request(t, 0)
		r.Time = r.Time.Add(late)
		if _, err := v.Verify(r); !errors.Is(err, want) {
			t.Errorf("%v late: got %v, want %v", late, err, want)
		}
	}
}

func TestProvidersThatShowAToken(t *testing.T) {
	t.Parallel()
	for _, c := range shown {
		v := c.verifier(t, tripText)
		verdict, err := v.Verify(c.request(t, 0))
		if err != nil || verdict.Covers != signing.CoversNothing {
			t.Errorf("%s: %+v, %v", c.name, verdict, err)
		}
		if _, err := c.verifier(t, otherText).Verify(c.request(t, 0)); !errors.Is(err, signing.ErrMismatch) {
			t.Errorf("%s: another secret: %v", c.name, err)
		}
		c.breakHeaders(t, v)
	}
}

// TestEveryNotificationShowsTheToken: Microsoft puts many notifications into one request, each with its token.
func TestEveryNotificationShowsTheToken(t *testing.T) {
	t.Parallel()
	c := trip{name: "microsoft-graph"}
	v := c.verifier(t, tripText)
	for body, want := range map[string]error{
		`{"value":[{"clientState":"` + tripText + `","changeType":"updated"}]}`:                     nil,
		`{"value":[{"clientState":"` + tripText + `"} , {"x":1,"clientState":"` + tripText + `"}]}`: nil,
		`{"value":[{"clientState":"` + otherText + `"}]}`:                                           signing.ErrMismatch,
		`{"value":[{"clientState":"` + tripText + `"},{"clientState":"` + otherText + `"}]}`:        signing.ErrMissing,
		`{"value":[{"clientState":"` + tripText + `"},{"x":1}]}`:                                    signing.ErrMissing,
		`{"value":[{"clientState":"` + tripText + `"},{"clientState":null}]}`:                       signing.ErrMissing,
		`{"value":[{"clientState":"` + tripText + `"}`:                                              signing.ErrMissing,
		`{"value":[{"clientState":"` + tripText + `"} {"clientState":"x"}]}`:                        signing.ErrMissing,
		`{"value":[]}`: signing.ErrMissing,
		``:             signing.ErrMissing,
	} {
		verdict, err := v.Verify(request(body))
		if !errors.Is(err, want) || (want == nil && verdict.Covers != signing.CoversNothing) {
			t.Errorf("%s: got %+v, %v, want %v", body, verdict, err, want)
		}
	}
}

// TestEveryRowIsTried: a row that is neither among the vectors nor here was never seen to accept anything.
func TestEveryRowIsTried(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{"microsoft-graph": true}
	for _, name := range presetOf {
		tried[name] = true
	}
	for name := range sameRule {
		tried[name] = true
	}
	for _, c := range append(trips[:len(trips):len(trips)], shown...) {
		tried[c.name] = true
	}
	for _, name := range signing.Presets() {
		if !tried[name] {
			t.Errorf("nothing tries the row %s: add vectors, or a trip", name)
		}
	}
}

// secretsFor gives texts that fit a row: one for each kind of key that it takes.
func secretsFor(tb testing.TB, s signing.Scheme) []string {
	tb.Helper()
	public, err := signing.PublicKey(signing.NewEd25519Secret())
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	if err != nil {
		tb.Fatal(err)
	}
	switch {
	case s.Algorithm == signing.ECDSAP256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		if raw, err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
			tb.Fatal(err)
		}
		return []string{b64Enc(raw)}
	case s.Secret == signing.HexSecret:
		return []string{hexEnc(raw)}
	case s.Secret == signing.Base64Secret || s.Secret == signing.TailSecret:
		return []string{b64Enc(raw)}
	case s.Secret == signing.StandardSecret:
		return []string{"whsec_" + b64Enc(raw), public}
	default:
		return []string{tripText}
	}
}

// TestEveryRowRefusesBadSecrets: a verifier without a key must not come into being.
func TestEveryRowRefusesBadSecrets(t *testing.T) {
	t.Parallel()
	tested := 0
	for _, p := range signing.Providers() {
		s, ok := signing.Preset(p.Name)
		if !ok && p.Name != "pusher" {
			continue
		}
		o := signing.Options{}
		if p.Name == "pusher" {
			o.Settings = map[string]string{"key": "1"}
		}
		tested++
		bad := []string{"", " ", "x", "abc", "whsec_", "00", "AAAA", " a secret for tests", "a secret for tests\n"}
		if s.Secret != 0 && s.Secret != signing.TextSecret {
			bad = append(bad, "whsec_not base64 but long enough to be a key, is it not", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX=")
		}
		if s.Secret == signing.HexSecret {
			bad = append(bad, tripHex[:62]+"fg", tripHex[:63])
		}
		if s.Secret == signing.TextSecret || p.Name == "pusher" { // four letters may do where people choose them
			bad = []string{"", " ", "x", "abc", " a secret for tests", "a secret for tests\n"}
		}
		if s.Secret == signing.StandardOrText { // what has no prefix is text
			bad = append(bad[:7:7], "whsec_AAAAAAAAAAAAAAAAAAAAAA==", "whsec_not base64 but long enough to be a key, is it not")
		}
		for _, text := range bad {
			if v, err := signing.ForProvider(p.Name, o, signing.NewSecret(text)); err == nil || v != nil {
				t.Errorf("%s takes the secret %q", p.Name, text)
			} else if len(text) > 7 && strings.Contains(err.Error(), strings.TrimSpace(text)) {
				t.Errorf("%s: %q shows the secret", p.Name, err)
			}
		}
		if _, err := signing.ForProvider(p.Name, o); err == nil {
			t.Errorf("%s needs no secret", p.Name)
		}
		if !ok {
			continue
		}
		var secrets []signing.Secret
		for _, text := range secretsFor(t, s) {
			secrets = append(secrets, signing.NewSecret(text))
		}
		if _, err := signing.ForProvider(p.Name, o, secrets...); err != nil {
			t.Errorf("a good secret is refused: %v", err)
		}
	}
	if tested < 100 {
		t.Errorf("only %d rows were tested", tested)
	}
}

func TestSettingsOfProviders(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret(tripText)
	for _, c := range []struct {
		name     string
		settings map[string]string
		want     string
	}{
		{"acme", nil, `no provider "acme"`},
		{"pusher", nil, "the setting key is required"},
		{"stripe", map[string]string{"key": "x"}, `no setting "key"`},
		{"convoy", map[string]string{"hash": "MD5"}, "neither SHA256 nor SHA512"},
		{"convoy", map[string]string{"encoding": "base32"}, "neither hex nor base64"},
		{"okta", map[string]string{"header": "two words"}, "not the name of a header"},
	} {
		if _, err := signing.ForProvider(c.name, signing.Options{Settings: c.settings}, secret); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error that says %q", c.name, err, c.want)
		}
	}
	if _, ok := signing.Preset("pusher"); ok {
		t.Error("the row of Pusher is given without the key that it must require")
	}
}
