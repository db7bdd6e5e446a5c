package signing_test

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

func presetVerifier(tb testing.TB, name string, secrets ...string) signing.Verifier {
	tb.Helper()
	return make1(tb, func(s ...signing.Secret) (signing.Verifier, error) {
		return signing.ForProvider(name, signing.Options{}, s...)
	}, secrets...)
}

// refusedWith checks the kind of a refusal and its words, and that it shows nothing of the request or the secret.
func refusedWith(t *testing.T, what string, v signing.Verifier, r *signing.Request, kind error, words ...string) {
	t.Helper()
	_, err := v.Verify(r)
	if !errors.Is(err, signing.ErrRefused) || !errors.Is(err, kind) {
		t.Errorf("%s: %v", what, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q is not in: %v", what, w, err)
		}
	}
	for _, private := range []string{textSecret, "sent-by-a-stranger", "00ff00ff"} {
		if strings.Contains(err.Error(), private) {
			t.Errorf("%s: the error shows %q: %v", what, private, err)
		}
	}
}

// TestExplainBody: for each way in which a body is written anew, the operator reads which.
func TestExplainBody(t *testing.T) {
	t.Parallel()
	v := make1(t, signing.GitHub, textSecret)
	for _, c := range []struct{ signed, came, words string }{
		{"{}", "{}\n", "without the newline"},
		{"{\"a\": 1}", "{\n  \"a\": 1\n}", "spaces behind colons"},
		{`{"b":1,"a":[1.50,"é"]}`, "{\n \"b\": 1,\n \"a\": [1.50, \"é\"]\n}", "compacted:"},
		{"{\n  \"a\": 1\n}", `{"a":1}`, "indented"},
		{`{"a":"<b>"}`, `{"a":"\u003cb\u003e"}`, "compacted and not escaped"},
		{`{"a":"\u003cb\u003e\u0026"}`, `{"a":"<b>&"}`, "<, > and & escaped"},
		{`{"a":"caf\u00e9 \ud83d\ude00"}`, `{"a":"café 😀"}`, "all but ASCII escaped"},
		{`{"a": "caf\u00e9", "b": [1, 2]}`, `{"a":"café","b":[1,2]}`, "spaces behind colons and commas, and all but ASCII"},
		{`{"a":"café 😀 \\u00e9"}`, `{"a":"caf\u00e9 \ud83d\ude00 \\u00e9"}`, "not escaped"},
		{`{"a":"https:\/\/h\/"}`, `{"a":"https://h/"}`, "/ escaped"},
		{`{"a":"https://h/\n"}`, `{"a":"https:\/\/h\/\n"}`, "not escaped"},
		{`{"a":1,"b":{"c":2,"d":12345678901234567890}}`, `{"b":{"d":12345678901234567890,"c":2},"a":1}`, "keys sorted"},
	} {
		r := request(c.came, "X-Hub-Signature-256: sha256="+hexMAC(textSecret, c.signed))
		refusedWith(t, c.came, v, r, signing.ErrMismatch, c.words, "a middleware changed the body")
	}
	// What no rewriting explains is not explained by one, and nothing panics on what is no JSON.
	for _, body := range []string{`{"a":1}`, `{"a":"\ud83d"}`, `{"a":"\ud83dx"}`, `{"a":`, "\"", `"\`, "\xff\"\\", ""} {
		_, err := v.Verify(request(body, "X-Hub-Signature-256: sha256="+hexMAC("another secret", body)))
		if !errors.Is(err, signing.ErrMismatch) || strings.Contains(err.Error(), "it fits") {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestExplainWriting: a signature that cannot be read is told apart by how it is written.
func TestExplainWriting(t *testing.T) {
	t.Parallel()
	const body = "{}"
	hexSum, b64Sum := hexMAC(textSecret, body), b64MAC(textSecret, body)
	oldSum := sha1.Sum([]byte(body))
	github, shopify, sanity := make1(t, signing.GitHub, textSecret), make1(t, signing.Shopify, textSecret), presetVerifier(t, "sanity", textSecret)
	hub := func(sig string) *signing.Request { return request(body, "X-Hub-Signature-256: "+sig) }
	shop := func(sig string) *signing.Request { return request(body, "X-Shopify-Hmac-Sha256: "+sig) }
	url := base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe\xfd" + strings.Repeat("?", 29)))
	for what, c := range map[string]struct {
		v     signing.Verifier
		r     *signing.Request
		words string
	}{
		"hex for base64":      {shopify, shop(hexSum), "is hexadecimal, and base64 is expected"},
		"base64 for hex":      {github, hub("sha256=" + b64Sum), "is base64, and hexadecimal is expected"},
		"URL for base64":      {shopify, shop(url), "base64 for URLs, or without padding"},
		"no padding":          {shopify, shop(strings.TrimRight(b64Sum, "=")), "without padding"},
		"base64 for URL":      {sanity, request(body, "Sanity-Webhook-Signature: t=1700000000000,v1="+b64Sum), "is base64, and base64 for URLs"},
		"cut off":             {github, hub("sha256=" + hexSum[:40][:38]), "cut off: it has 38 of 64"},
		"base64 cut off":      {shopify, shop(b64Sum[:20]), "cut off: it has 20 of 44"},
		"too long":            {github, hub("sha256=" + hexSum + "00"), "too long: it has 66"},
		"SHA-1":               {github, hub("sha256=" + hex.EncodeToString(oldSum[:])), "as long as HMAC-SHA1"},
		"no hex":              {github, hub("sha256=" + strings.Repeat("zz", 32)), "characters that are not hexadecimal"},
		"white space":         {github, hub("sha256= " + hexSum), "white space"},
		"the old prefix":      {github, hub("sha1=" + hex.EncodeToString(oldSum[:])), "does not begin with sha256=, but with sha1=: "},
		"no prefix":           {github, hub(hexSum), "does not begin with sha256=: is it"},
		"a stranger's prefix": {github, hub("sent-by-a-stranger=" + hexSum), "does not begin with sha256=: is it"},
	} {
		refusedWith(t, what, c.v, c.r, signing.ErrMalformed, c.words)
	}
	// Capital letters are hexadecimal too.
	if _, err := github.Verify(hub("sha256=" + strings.ToUpper(hexSum))); err != nil {
		t.Errorf("capital letters: %v", err)
	}
}

// TestExplainOtherSender: where the signature is missing, the one that is there says who may have sent it.
func TestExplainOtherSender(t *testing.T) {
	t.Parallel()
	stripe, github := make1(t, signing.Stripe, textSecret), make1(t, signing.GitHub, textSecret)
	for _, c := range []struct {
		v     signing.Verifier
		r     *signing.Request
		words string
	}{
		{stripe, request("{}", "X-Hub-Signature-256: sha256=00ff00ff", "X-GitHub-Event: push", "X-GitHub-Delivery: d"), "X-Hub-Signature-256 is there: is this GitHub?"},
		{stripe, request("{}", "X-Slack-Signature: v0=00ff00ff", "X-Slack-Request-Timestamp: 1"), "X-Slack-Signature is there: is this Slack?"},
		{github, request("{}", "Stripe-Signature: t=1,v1=00ff00ff"), "Stripe-Signature is there: is this Stripe?"},
		{github, request("{}", "X-Hub-Signature: sha1=00ff00ff", "X-GitHub-Event: push"), "only the older X-Hub-Signature is there, which is too weak to be taken: have the provider send X-Hub-Signature-256"},
		{github, request("{}", "X-Sent-By-A-Stranger: sent-by-a-stranger", "Authorization: Bearer 00ff00ff"), "is a secret set at the provider"},
		{github, request("{}"), "is a secret set at the provider"},
	} {
		refusedWith(t, c.words, c.v, c.r, signing.ErrMissing, "is not there", c.words)
	}
}

// TestExplainURL: a URL that a proxy changed is named with what has to be set.
func TestExplainURL(t *testing.T) {
	t.Parallel()
	v := presetVerifier(t, "square", textSecret)
	for _, c := range []struct{ signed, came, words string }{
		{"https://h.test/in?a=b", "http://h.test/in?a=b", "with https"},
		{"http://h.test/in", "https://h.test/in", "with http"},
		{"https://h.test/in", "https://h.test:8443/in", "without its port"},
		{"https://h.test/in", "http://h.test:8080/in", "with https and without its port"},
		{"https://h.test:443/in", "https://h.test/in", "with the port 443"},
		{"https://h.test:443/in", "http://h.test/in", "with https and the port 443"},
		{"https://h.test/in", "https://h.test/in?sent-by-a-stranger", "without its query"},
		{"https://h.test/in/", "https://h.test/in", "another slash at the end"},
		{"https://[2001:db8::1]/in", "https://[2001:db8::1]:8443/in", "without its port"},
	} {
		r := request("{}", "X-Square-Hmacsha256-Signature: "+b64MAC(textSecret, c.signed+"{}"))
		r.URL = c.came
		refusedWith(t, c.came, v, r, signing.ErrMismatch, c.words+": a proxy changed the URL; set Source.PublicURL")
		r.URL = c.signed
		if _, err := v.Verify(r); err != nil {
			t.Errorf("%s: %v", c.signed, err)
		}
	}
	for _, url := range []string{"https://other.test/in", "", "://", "/in"} {
		r := request("{}", "X-Square-Hmacsha256-Signature: "+b64MAC(textSecret, "https://h.test/in{}"))
		if r.URL = url; url == "" {
			continue // a URL that is not there is an error of its own
		}
		refusedWith(t, url, v, r, signing.ErrMismatch, "the URL is signed")
	}
}

// TestExplainClock: a good signature with a wrong time tells the clock from the unit.
func TestExplainClock(t *testing.T) {
	t.Parallel()
	slack, linear := make1(t, signing.Slack, textSecret), make1(t, signing.Linear, textSecret)
	at := func(stamp string) *signing.Request {
		return request("{}", "X-Slack-Request-Timestamp: "+stamp, "X-Slack-Signature: v0="+hexMAC(textSecret, "v0:"+stamp+":{}"))
	}
	in := func(body string) *signing.Request {
		return request(body, "Linear-Signature: "+hexMAC(textSecret, body))
	}
	refusedWith(t, "fast clock", slack, at("1699999000"), signing.ErrTooOld, "the signature fits", "16m40s ago and may be 5m0s", "NTP")
	refusedWith(t, "slow clock", slack, at("1700001000"), signing.ErrTooNew, "the signature fits", "16m40s ahead", "NTP")
	refusedWith(t, "milliseconds", slack, at("1700000000000"), signing.ErrTooNew, "looks like milliseconds")
	refusedWith(t, "seconds", linear, in(`{"webhookTimestamp":1700000000}`), signing.ErrTooOld, "looks like seconds")
	refusedWith(t, "old", linear, in(fmt.Sprintf(`{"webhookTimestamp":%d}`, time.Unix(1699999000, 0).UnixMilli())), signing.ErrTooOld, "16m40s ago")
	refusedWith(t, "forged", slack, request("{}", "X-Slack-Request-Timestamp: 1699999000", "X-Slack-Signature: v0="+hexMAC("another", "x")), signing.ErrMismatch)
}

// TestExplainSecret: which of the secrets would fit, by its number.
func TestExplainSecret(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("k", 32)
	r := request("{}", "X-Hub-Signature-256: sha256="+hexMAC(key, "{}"))
	refusedWith(t, "base64", make1(t, signing.GitHub, "another secret of ours", base64.StdEncoding.EncodeToString([]byte(key))), r, signing.ErrMismatch, "it fits secret 2 when that is read as base64")
	refusedWith(t, "hex", make1(t, signing.GitHub, hex.EncodeToString([]byte(key))), r, signing.ErrMismatch, "it fits secret 1 when that is read as hexadecimal")
	refusedWith(t, "none", make1(t, signing.GitHub, textSecret), r, signing.ErrMismatch, "the secret belongs to another endpoint")
}
