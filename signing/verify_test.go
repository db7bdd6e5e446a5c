package signing_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

const textSecret = "a secret for tests"

func hexMAC(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// request makes a request of "Name: value" lines.
func request(body string, lines ...string) *signing.Request {
	r := &signing.Request{Method: "POST", Header: http.Header{}, Body: []byte(body), Time: time.Unix(1700000000, 0)}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func github(tb testing.TB, body string, lines ...string) *signing.Request {
	tb.Helper()
	return request(body, append(lines, "X-Hub-Signature-256: sha256="+hexMAC(textSecret, body))...)
}

func make1(tb testing.TB, f func(...signing.Secret) (signing.Verifier, error), secrets ...string) signing.Verifier {
	tb.Helper()
	var list []signing.Secret
	for _, s := range secrets {
		list = append(list, signing.NewSecret(s))
	}
	v, err := f(list...)
	return mustVerifier(tb, v, err)
}

func TestVerifyTellsTypeAndID(t *testing.T) {
	t.Parallel()
	stripeBody := `{"id":"evt_1","object":"event","data":{"id":"x","type":"no"},"type":"charge.failed"}`
	slackBody := `{"type":"event_callback","event":{"type":"app_mention"},"event_id":"Ev1"}`
	for name, c := range map[string]struct {
		make func(...signing.Secret) (signing.Verifier, error)
		r    *signing.Request
		want signing.Verdict
	}{
		"github action": {
			signing.GitHub, github(t, `{"action":"opened","issue":{}}`, "X-GitHub-Event: issues", "X-GitHub-Delivery: d1"),
			signing.Verdict{Type: "issues.opened", ID: "d1"},
		},
		"github push": {
			signing.GitHub, github(t, `{"ref":"refs/heads/main"}`, "X-GitHub-Event: push", "X-GitHub-Delivery: d2"),
			signing.Verdict{Type: "push", ID: "d2"},
		},
		"github form": {
			signing.GitHub, github(t, `payload=%7B%7D`, "X-GitHub-Event: push", "Content-Type: application/x-www-form-urlencoded"),
			signing.Verdict{Type: "push"},
		},
		"stripe": {
			signing.Stripe, request(stripeBody, "Stripe-Signature: t=1699999990,v0=00,v1="+hexMAC(textSecret, "1699999990."+stripeBody)),
			signing.Verdict{Type: "charge.failed", ID: "evt_1"},
		},
		"slack": {
			signing.Slack, request(slackBody, "X-Slack-Request-Timestamp: 1700000000", "X-Slack-Signature: v0="+hexMAC(textSecret, "v0:1700000000:"+slackBody)),
			signing.Verdict{Type: "app_mention", ID: "Ev1"},
		},
	} {
		c.want.Covers = signing.CoversBody
		got, err := make1(t, c.make, textSecret).Verify(c.r)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestVerifySaysWhichSecretFits(t *testing.T) {
	t.Parallel()
	v := make1(t, signing.GitHub, "first secret", "second secret", textSecret)
	got, err := v.Verify(github(t, "{}"))
	if err != nil || got.Key != 2 {
		t.Errorf("got key %d, %v, want 2", got.Key, err)
	}
}

// TestVerifyTellsTheOperatorWhy checks both: the kind of error, and what the operator reads.
func TestVerifyTellsTheOperatorWhy(t *testing.T) {
	t.Parallel()
	body := `{"a": 1}`
	sig := "X-Hub-Signature-256: sha256="
	slack := func(at int64) *signing.Request {
		s := strconv.FormatInt(at, 10)
		return request(body, "X-Slack-Request-Timestamp: "+s, "X-Slack-Signature: v0="+hexMAC(textSecret, "v0:"+s+":"+body))
	}
	standardKey := []byte("0123456789abcdef0123456789abcdef")
	standardText := "whsec_" + base64.StdEncoding.EncodeToString(standardKey)
	asText := hmac.New(sha256.New, []byte(standardText))
	asText.Write([]byte("m.1700000000." + body))
	for name, c := range map[string]struct {
		make  func(...signing.Secret) (signing.Verifier, error)
		r     *signing.Request
		kind  error
		words []string
	}{
		"missing":        {signing.GitHub, request(body), signing.ErrMissing, []string{"header X-Hub-Signature-256", "is a secret set"}},
		"empty":          {signing.GitHub, request(body, sig[:21]), signing.ErrMissing, nil},
		"twice":          {signing.GitHub, github(t, body, sig+"00"), signing.ErrMalformed, []string{"more than once"}},
		"no prefix":      {signing.GitHub, request(body, sig[:21]+hexMAC(textSecret, body)), signing.ErrMalformed, []string{"begin with sha256="}},
		"cut off":        {signing.GitHub, request(body, sig+"00ff"), signing.ErrMalformed, []string{"cut off"}},
		"long":           {signing.GitHub, request(body, sig+strings.Repeat("0", 9000)), signing.ErrMalformed, []string{"8192"}},
		"event twice":    {signing.GitHub, github(t, body, "X-GitHub-Event: a", "X-GitHub-Event: b"), signing.ErrMalformed, []string{"X-Github-Event"}},
		"another key":    {signing.GitHub, request(body, sig+hexMAC("another secret", body)), signing.ErrMismatch, []string{"none of 2 keys", "another endpoint"}},
		"newline added":  {signing.GitHub, request(body+"\n", sig+hexMAC(textSecret, body)), signing.ErrMismatch, []string{"without the newline", "a middleware changed the body"}},
		"crlf added":     {signing.GitHub, request(body+"\r\n", sig+hexMAC(textSecret, body)), signing.ErrMismatch, []string{"without the newline"}},
		"newline lost":   {signing.GitHub, request(body, sig+hexMAC(textSecret, body+"\n")), signing.ErrMismatch, []string{"with a newline"}},
		"space added":    {signing.GitHub, request("  "+body+"\n\n", sig+hexMAC(textSecret, body)), signing.ErrMismatch, []string{"white space around"}},
		"line ends":      {signing.GitHub, request("{\r\n}", sig+hexMAC(textSecret, "{\n}")), signing.ErrMismatch, []string{"other line ends"}},
		"made pretty":    {signing.GitHub, request("{ \"a\": 1 }", sig+hexMAC(textSecret, `{"a":1}`)), signing.ErrMismatch, []string{"compacted"}},
		"body read":      {signing.GitHub, request("", sig+hexMAC(textSecret, body)), signing.ErrMismatch, []string{"body is empty"}},
		"slack old":      {signing.Slack, slack(1700000000 - 301), signing.ErrTooOld, []string{"5m1s ago", "5m0s"}},
		"slack new":      {signing.Slack, slack(1700000000 + 301), signing.ErrTooNew, []string{"5m1s ahead"}},
		"slack far":      {signing.Slack, slack(1 << 52), signing.ErrTooNew, nil},
		"slack beyond":   {signing.Slack, slack(1 << 60), signing.ErrMalformed, []string{"too many digits"}},
		"slack negative": {signing.Slack, slack(-1), signing.ErrMalformed, []string{"digits only"}},
		"stripe future": {
			signing.Stripe, request(body, "Stripe-Signature: t=1800000000,v1="+hexMAC(textSecret, "1800000000."+body)), nil, nil,
		},
		"stripe two times": {signing.Stripe, request(body, "Stripe-Signature: t=1,t=2,v1="+hexMAC(textSecret, "1."+body)), signing.ErrMalformed, []string{"more than once"}},
		"stripe junk": {
			signing.Stripe, request(body, "Stripe-Signature: t=1700000000,junk,v1="+hexMAC(textSecret, "1700000000."+body)), signing.ErrMalformed, []string{"without a value"},
		},
		"stripe v0": {signing.Stripe, request(body, "Stripe-Signature: t=1700000000,v0=00"), signing.ErrMalformed, []string{"version v1"}},
		"kind of key": {
			func(...signing.Secret) (signing.Verifier, error) {
				return signing.Standard(signing.NewSecret(standardText))
			},
			request(body, "Webhook-Id: m", "Webhook-Timestamp: 1700000000", "Webhook-Signature: v1a,"+base64.StdEncoding.EncodeToString(make([]byte, 64))),
			signing.ErrMismatch,
			[]string{"v1a wants whpk_"},
		},
		"read otherwise": {
			func(...signing.Secret) (signing.Verifier, error) {
				return signing.Standard(signing.NewSecret(standardText))
			},
			request(body, "Webhook-Id: m", "Webhook-Timestamp: 1700000000", "Webhook-Signature: v1,"+base64.StdEncoding.EncodeToString(asText.Sum(nil))),
			signing.ErrMismatch,
			[]string{"plain text"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := make1(t, c.make, textSecret, "the old secret")
			_, err := v.Verify(c.r)
			if c.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, c.kind) || !errors.Is(err, signing.ErrRefused) {
				t.Fatalf("got %v, want %v, and ErrRefused", err, c.kind)
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			harmless(t, err.Error(), c.r, textSecret, "the old secret", standardText)
		})
	}
}

// harmless checks that an error holds no secret, no body and no signature, right or wrong.
func harmless(tb testing.TB, text string, r *signing.Request, secrets ...string) {
	tb.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			tb.Errorf("%q shows a secret", text)
		}
		if len(r.Body) > 0 && strings.Contains(text, hexMAC(s, string(r.Body))) {
			tb.Errorf("%q shows a signature", text)
		}
	}
	if len(r.Body) > 4 && strings.Contains(text, string(r.Body)) {
		tb.Errorf("%q shows the body", text)
	}
	for name, values := range r.Header {
		for _, value := range values {
			if len(value) > 6 && strings.Contains(text, value) {
				tb.Errorf("%q shows what is in %s", text, name)
			}
		}
	}
}

func TestMismatchesAllLookTheSameOutside(t *testing.T) {
	t.Parallel()
	v := make1(t, signing.GitHub, textSecret)
	for _, r := range []*signing.Request{
		request("{}", "X-Hub-Signature-256: sha256="+hexMAC("another secret", "{}")),
		request("{}\n", "X-Hub-Signature-256: sha256="+hexMAC(textSecret, "{}")),
		request("{}"),
	} {
		verdict, err := v.Verify(r)
		if verdict != (signing.Verdict{}) || !errors.Is(err, signing.ErrRefused) {
			t.Errorf("got %+v, %v", verdict, err)
		}
	}
	if s := signing.ErrRefused.Error(); s != "the request could not be verified" {
		t.Errorf("the outward text is %q", s)
	}
}

func TestExplainingIsBounded(t *testing.T) {
	t.Parallel()
	v := make1(t, signing.GitHub, textSecret)
	explained := 0
	for range 10_000 {
		_, err := v.Verify(request("{}\n", "X-Hub-Signature-256: sha256="+hexMAC(textSecret, "{}")))
		if !errors.Is(err, signing.ErrMismatch) {
			t.Fatal(err)
		}
		if strings.Contains(err.Error(), "newline") {
			explained++
		}
	}
	if explained == 0 || explained > 1000 { // 20 a second; the loop may take some
		t.Errorf("%d of 10000 mismatches were explained", explained)
	}
}

func TestSixteenSignaturesAreTheMost(t *testing.T) {
	t.Parallel()
	secret := signing.StandardWebhooks.NewSecret()
	m := signing.Message{ID: "m", Time: time.Unix(1700000000, 0), Body: []byte("{}")}
	r := signed(t, m, secret)
	good := r.Header.Get("Webhook-Signature")
	other := "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32)) + " "
	v := make1(t, signing.Standard, secret.Reveal())
	for n, want := range map[int]error{0: nil, 15: nil, 16: signing.ErrMalformed, 30: signing.ErrMalformed, 100: signing.ErrMalformed} {
		r.Header.Set("Webhook-Signature", strings.Repeat(other, n)+good)
		if _, err := v.Verify(r); !errors.Is(err, want) {
			t.Errorf("%d before the good one: got %v, want %v", n, err, want)
		}
	}
	r.Header.Set("Webhook-Signature", "v9,x nothing , ,, "+good)
	if _, err := v.Verify(r); err != nil {
		t.Errorf("unknown entries are in the way: %v", err)
	}
}

// TestEncodingsAreStrict changes a good signature in ways that a lenient decoder does not see.
func TestEncodingsAreStrict(t *testing.T) {
	t.Parallel()
	body := "the body"
	mac := hmac.New(sha256.New, []byte(textSecret))
	mac.Write([]byte(body))
	good := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	v := make1(t, signing.Shopify, textSecret)
	verify := func(sig string) error {
		_, err := v.Verify(&signing.Request{Header: http.Header{"X-Shopify-Hmac-Sha256": {sig}}, Body: []byte(body)})
		return err
	}
	if err := verify(good); err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := strings.IndexByte(alphabet, good[42])
	for _, sig := range []string{
		good[:43], good + "=", good + "\n", good[:20] + "\r\n" + good[20:], " " + good, good + " ", good + "AAAA", good[:42] + "==",
		good[:42] + alphabet[last+1:last+2] + "=", good[:42] + alphabet[last+3:last+4] + "=", // the two lowest bits mean nothing
		strings.NewReplacer("+", "-", "/", "_").Replace(good) + "?",
	} {
		if err := verify(sig); err == nil {
			t.Errorf("%q is taken for %q", sig, good)
		}
	}
}

func TestDuplicateSignatureHeaders(t *testing.T) {
	t.Parallel()
	s, _ := signing.Preset("github")
	s.AnyValue = true
	v, err := signing.NewVerifier(s, signing.NewSecret(textSecret))
	v = mustVerifier(t, v, err)
	wrong := "X-Hub-Signature-256: sha256=" + strings.Repeat("0", 64)
	if _, err := v.Verify(github(t, "{}", wrong)); err != nil {
		t.Errorf("AnyValue does not try each: %v", err)
	}
	if _, err := v.Verify(request("{}", wrong, wrong)); !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestUnverifiedTakesEverything(t *testing.T) {
	t.Parallel()
	got, err := signing.Unverified.Verify(request("x"))
	if err != nil || got.Key != -1 || got.Covers != signing.CoversNothing {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	secret := signing.StandardWebhooks.NewSecret()
	v := make1(t, signing.Standard, secret.Reveal())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				m := signing.Message{ID: fmt.Sprintf("m-%d-%d", g, i), Time: time.Now(), Body: fmt.Appendf(nil, `{"type":"t%d"}`, i)}
				h := http.Header{}
				if err := signing.StandardWebhooks.Sign(h, m, []signing.Secret{secret}); err != nil {
					t.Error(err)
					return
				}
				r := &signing.Request{Header: h, Body: m.Body, Time: m.Time}
				if d, err := v.Verify(r); err != nil || d.ID != m.ID || d.Type != fmt.Sprintf("t%d", i) {
					t.Errorf("got %+v, %v", d, err)
					return
				}
				r.Body = append(r.Body, ' ')
				if _, err := v.Verify(r); !errors.Is(err, signing.ErrMismatch) {
					t.Errorf("got %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSupabaseSecretsAreTakenAsTheyAreShown(t *testing.T) {
	t.Parallel()
	secret := signing.StandardWebhooks.NewSecret()
	v, err := signing.ForProvider("supabase", signing.Options{}, signing.NewSecret("v1,"+secret.Reveal()))
	r := signed(t, signing.Message{ID: "msg_1", Time: time.Now(), Body: []byte(`{"type":"user.created"}`)}, secret)
	if _, err := mustVerifier(t, v, err).Verify(r); err != nil {
		t.Error(err)
	}
}
