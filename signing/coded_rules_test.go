package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// caseOf gives the good request of a provider and its verifier.
func caseOf(tb testing.TB, name string) (*codedCase, Verifier) {
	tb.Helper()
	for _, c := range codedCases() {
		if c.provider == name {
			return &c, c.verifier(tb, c.secrets)
		}
	}
	tb.Fatalf("no case of %s", name)
	return nil, nil
}

// wantErr checks one request; a nil want is for a good one.
func wantErr(tb testing.TB, what string, v Verifier, r *Request, want error) {
	tb.Helper()
	_, err := v.Verify(r)
	if !errors.Is(err, want) || (want == nil && err != nil) {
		tb.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestTwilioSignsURLsAndForms(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://h/x?y": "https://h:443/x?y", "http://h": "http://h:80", "https://h:8443/x": "https://h/x", "https://[::1]/x": "https://[::1]:443/x",
		"https://[::1]:8443/x": "https://[::1]/x", "https://u:p@h/": "https://u:p@h:443/", "https://u:p@h:1/": "https://u:p@h/", "HTTPS://h?q": "HTTPS://h:443?q",
		"no scheme": "no scheme", "": "", "https://h#f": "https://h:443#f", "https://h/a:1": "https://h:443/a:1",
	} {
		if got := otherPort(address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	_, v := caseOf(t, "twilio")
	sign := func(r *Request, message string) *Request {
		r.Header.Set("X-Twilio-Signature", b64(stdMAC(crypto.SHA1, codedKey, message)))
		return r
	}
	hash := hex.EncodeToString(sum256("{}"))
	withURL := func(body, address string, lines ...string) *Request {
		r := codedRequest(body, lines...)
		r.URL = address
		return r
	}
	const at = "https://hooks.test/in"
	wantErr(t, "GET", v, sign(withURL("", at+"?CallSid=1"), at+"?CallSid=1"), nil)
	wantErr(t, "port of the scheme signed", v, sign(withURL("", at), "https://hooks.test:443/in"), nil)
	wantErr(t, "other port signed", v, sign(withURL("", at), "https://hooks.test:444/in"), ErrMismatch)
	wantErr(t, "JSON with hash", v, sign(withURL("{}", at+"?bodySHA256="+hash), at+"?bodySHA256="+hash), nil)
	wantErr(t, "JSON without hash", v, sign(withURL("{}", at), at), ErrMissing)
	wantErr(t, "JSON with another hash", v, sign(withURL("{ }", at+"?bodySHA256="+hash), at+"?bodySHA256="+hash), ErrMismatch)
	wantErr(t, "two hashes", v, sign(withURL("{}", at+"?bodySHA256="+hash+"&bodySHA256="+hash), at+"?bodySHA256="+hash+"&bodySHA256="+hash), ErrMalformed)
	wantErr(t, "empty hash", v, sign(withURL("{}", at+"?bodySHA256="), at+"?bodySHA256="), ErrMismatch)
	wantErr(t, "a form said to be JSON", v, sign(withURL("a=b", at, "Content-Type: application/json"), at), ErrMissing)
	wantErr(t, "a damaged form", v, sign(withURL("a=%zz", at, formType), at), ErrMalformed)
	wantErr(t, "doubled token", v, func() *Request {
		r := sign(withURL("", at), at)
		r.Header["I-Twilio-Idempotency-Token"] = []string{"a", "b"}
		return r
	}(), ErrMalformed)
}

func TestAdyenWantsEveryItemSigned(t *testing.T) {
	t.Parallel()
	_, v := caseOf(t, "adyen")
	good := adyenItem("psp1", adyenKey)
	bad := strings.Replace(adyenItem("psp2", adyenKey), "psp2", "psp3", 1)
	for what, c := range map[string]struct {
		body string
		want error
	}{
		"two good": {adyenBody(good, adyenItem("psp2", adyenKey)), nil}, "good and bad": {adyenBody(good, bad), ErrMismatch}, "bad and good": {adyenBody(bad, good), ErrMismatch},
		"good and empty": {adyenBody(good, "{}"), ErrMalformed}, "unsigned": {adyenBody(good, `{"NotificationRequestItem":{"pspReference":"x"}}`), ErrMissing},
		"none": {adyenBody(), ErrMalformed}, "null": {adyenBody("null"), ErrMalformed}, "too many": {adyenBody(strings.Split(strings.TrimSuffix(strings.Repeat(good+"\n", 65), "\n"), "\n")...), ErrMalformed},
		"items twice":  {`{"notificationItems":[],` + adyenBody(good)[1:], ErrMalformed},
		"field twice":  {adyenBody(strings.Replace(good, `"pspReference"`, `"pspReference":"other","pspReference"`, 1)), ErrMalformed},
		"field list":   {adyenBody(strings.Replace(good, `"success":"true"`, `"success":["true"]`, 1)), ErrMalformed},
		"boolean":      {adyenBody(strings.Replace(good, `"success":"true"`, `"success":true`, 1)), nil},
		"null is none": {adyenBody(strings.Replace(good, `"eventCode"`, `"originalReference":null,"eventCode"`, 1)), nil},
		"currency":     {adyenBody(strings.Replace(good, `EUR`, `USD`, 1)), ErrMismatch},
	} {
		wantErr(t, what, v, codedRequest(c.body), c.want)
	}
	got, err := v.Verify(codedRequest(adyenBody(good, adyenItem("psp2", adyenKey))))
	if err != nil || got.ID != "" || got.Type != "AUTHORISATION" {
		t.Errorf("two items: %+v, %v; one ID cannot name both", got, err)
	}
}

func TestSNSRefusesForeignTopicsAndHosts(t *testing.T) {
	t.Parallel()
	c, v := caseOf(t, "aws-sns")
	for _, version := range []string{"1", "2"} {
		for _, kind := range []string{"Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"} {
			body := snsBody(version, kind, "hello")
			wantErr(t, version+kind, v, codedRequest(body, "X-Amz-Sns-Message-Type: "+kind), nil)
			wantErr(t, version+kind+" with another type in the header", v, codedRequest(body, "X-Amz-Sns-Message-Type: other"), ErrMalformed)
			wantErr(t, version+kind+" of another version", v, codedRequest(strings.Replace(body, `"SignatureVersion":"`+version, `"SignatureVersion":"3`, 1)), ErrMalformed)
		}
	}
	body := snsBody("2", "Notification", "hello")
	wantErr(t, "a downgrade", v, codedRequest(strings.Replace(body, `"SignatureVersion":"2"`, `"SignatureVersion":"1"`, 1)), ErrMismatch)
	wantErr(t, "a subject that nobody signed", v, codedRequest(`{"Subject":"x",`+body[1:]), ErrMismatch)
	wantErr(t, "a subject of null", v, codedRequest(`{"Subject":null,`+body[1:]), nil)
	wantErr(t, "a message twice", v, codedRequest(`{"Message":"x",`+body[1:]), ErrMalformed)
	wantErr(t, "a confirmation without its token", v, codedRequest(strings.Replace(snsBody("2", "SubscriptionConfirmation", "m"), `"Token"`, `"Tok"`, 1)), ErrMissing)
	wantErr(t, "another topic", v, codedRequest(strings.Replace(body, ":mine", ":theirs", 1)), ErrMismatch)
	c.settings = map[string]string{"topic_arn": "arn:aws:sns:eu-west-1:123456789012:other"}
	wantErr(t, "a good message of somebody's topic", c.verifier(t, c.secrets), codedRequest(body), ErrMismatch)
	c.settings = map[string]string{"topic_arn": "arn:aws:sns:eu-west-1:123456789012:mine", "signing_cert_url": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-ffff.pem"}
	wantErr(t, "another certificate than the one that is set up", c.verifier(t, c.secrets), codedRequest(body), ErrMismatch)
	for _, address := range []string{
		"http://sns.eu-west-1.amazonaws.com/x.pem", "https://sns.eu-west-1.amazonaws.com.evil.test/x.pem", "https://evil.test/x.pem", "https://sns.evil.amazonaws.com@evil.test/x.pem",
		"https://u@sns.eu-west-1.amazonaws.com/x.pem", "https://sns.eu-west-1.amazonaws.com:8443/x.pem", "https://sns.eu-west-1.amazonaws.com/x.pem?y", "https://sns.eu-west-1.amazonaws.com/x.pem#y",
		"https://sns.eu-west-1.amazonaws.com/x.txt", "https://sns.eu-west-1.amazonaws.com/a/../x.pem", "https://sns.eu-west-1.amazonaws.com/%2e%2e/x.pem", "https://snsxeu-west-1.amazonaws.com/x.pem",
		"https://sns.a.b.amazonaws.com/x.pem", "https://my-bucket.s3.amazonaws.com/x.pem", "https://sns.eu-west-1.amazonaws.com.cn.evil.test/x.pem", "//sns.eu-west-1.amazonaws.com/x.pem", "", ":",
		"https://sns.eu-west-1.amazonaws.com/x.pem\n", "https://sns.eu-west-1.amazonaws.com/x.pem?",
	} {
		if checkSNSCertURL(address) == nil {
			t.Errorf("%q is taken for an address of a certificate of SNS", address)
		}
	}
	for _, address := range []string{"https://sns.us-gov-west-1.amazonaws.com/SimpleNotificationService-0a.pem", "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a.pem"} {
		if err := checkSNSCertURL(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestSNSFetchesItsCertificateOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		doc := pemCertificate(makeCertificate("sns.amazonaws.com", testRSA(), nil, nil))
		var count atomic.Int32
		client := &http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
			count.Add(1)
			if r.URL.Host != "sns.eu-west-1.amazonaws.com" {
				t.Errorf("fetched from %s", r.URL)
			}
			if strings.Contains(r.URL.Path, "made-up") {
				return answer(403, "no"), nil
			}
			return answer(200, doc), nil
		})}
		v := must(ForProvider("aws-sns", Options{Client: client, Settings: map[string]string{"topic_arn": "arn:aws:sns:eu-west-1:123456789012:mine"}}))
		body := snsBody("2", "Notification", "hello")
		r := codedRequest(body)
		for range 3 {
			got, err := v.Verify(r)
			if err != nil || got.Key != -1 {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		late := codedRequest(body)
		late.Time = time.Unix(codedNow+4000, 0)
		wantErr(t, "a certificate that has run out", v, late, ErrMismatch)
		if n := count.Load(); n != 1 {
			t.Errorf("fetched %d times, want once", n)
		}
		for i := range 200 { // somebody makes addresses up
			bad := codedRequest(strings.Replace(body, "0123456789abcdef", fmt.Sprintf("made-up-%d", i), 1))
			wantErr(t, "a made-up address", v, bad, ErrUnavailable)
		}
		if n := count.Load(); n > newCertsPerMinute+1 {
			t.Errorf("made-up addresses were fetched %d times", n)
		}
		if _, err := v.Verify(r); err != nil {
			t.Errorf("the good certificate is forgotten: %v", err)
		}
		for range 5 {
			time.Sleep(time.Minute)
			for i := range 200 {
				bad := codedRequest(strings.Replace(body, "0123456789abcdef", fmt.Sprintf("made-up-again-%d-%d", time.Now().Unix(), i), 1))
				_, _ = v.Verify(bad)
			}
		}
		certs := v.(*snsConfirmer).Verifier.(*sns).certs
		if n := certs.order.Len(); n > maxCertificates || n != len(certs.byURL) {
			t.Errorf("%d certificates are kept, by %d addresses", n, len(certs.byURL))
		}
	})
}

func TestBoxChecksEachKeyAgainstItsHeader(t *testing.T) {
	t.Parallel()
	c, v := caseOf(t, "box")
	const at = "2023-11-14T22:13:20Z"
	make := func(primary, secondary string) *Request {
		r := c.request()
		r.Header.Del("Box-Signature-Primary")
		for name, key := range map[string]string{"Box-Signature-Primary": primary, "Box-Signature-Secondary": secondary} {
			if key != "" {
				r.Header.Set(name, b64(stdMAC(crypto.SHA256, key, jsonBody+at)))
			}
		}
		return r
	}
	first, second := c.secrets[0], c.secrets[1]
	wantErr(t, "the body as it is, not escaped", v, make(first, ""), nil)
	wantErr(t, "secondary alone", v, make("", second), nil)
	wantErr(t, "secondary good", v, make("wrong key", second), nil)
	wantErr(t, "keys swapped", v, make(second, first), ErrMismatch)
	wantErr(t, "neither", v, make("", ""), ErrMissing)
	alone := c.verifier(t, c.secrets[:1])
	wantErr(t, "a secondary signature without its key", alone, make("", second), ErrMissing)
	wantErr(t, "the primary key in the secondary header", alone, make("wrong key", first), ErrMismatch)
	setting := must(ForProvider("box", Options{Settings: map[string]string{"secondary_key": second}}, NewSecret(first)))
	if got, err := setting.Verify(make("", second)); err != nil || got.Key != -1 {
		t.Errorf("by the setting: %+v, %v", got, err)
	}
	doubled := make(first, second)
	doubled.Header["Box-Signature-Secondary"] = append(doubled.Header["Box-Signature-Secondary"], "x")
	wantErr(t, "secondary doubled", v, doubled, ErrMalformed)
	for seconds, want := range map[int64]error{600: nil, 601: ErrTooOld, -600: nil, -601: ErrTooNew} {
		r := make(first, second)
		r.Time = time.Unix(codedNow+seconds, 0)
		wantErr(t, fmt.Sprintf("%d s old", seconds), v, r, want)
	}
	for name, value := range map[string]string{"Box-Signature-Version": "2", "Box-Signature-Algorithm": "HmacSHA1", "Box-Delivery-Timestamp": "1700000000"} {
		r := make(first, second)
		r.Header.Set(name, value)
		wantErr(t, name, v, r, ErrMalformed)
		r.Header.Del(name)
		wantErr(t, "no "+name, v, r, ErrMissing)
	}
	for body, want := range map[string]string{"é": `\u00e9`, "a\x7fb": `a\u007fb`, "😀": `\ud83d\ude00`, "plain": "", "": "", "\xff": ""} {
		if got := string(escapeNonASCII([]byte(body))); got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}

func TestContentfulCanonicalRequests(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://h/a/b?q=1&w=2": "/a/b?q%253D1%2526w%253D2", "https://h": "/", "https://h?x": "/?x", "/a%20b": "/a%2520b", "https://h/é?ü=!": "/%C3%A9?%25C3%25BC%253D!",
		"https://h/(a)~'*;,:@&=+$#f": "/(a)~'*;,:@&=+$", "https://h/a?": "/a", "https://h/\"[]": "/%22%5B%5D",
	} {
		if got, err := contentfulPath(address); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", address, got, err, want)
		}
	}
	c, v := caseOf(t, "contentful")
	r := c.request()
	r.URL += "?evil=1"
	wantErr(t, "a second question mark, behind which nothing is signed", v, r, ErrMalformed)
	for ms, want := range map[int64]error{29_999: nil, 30_000: ErrTooOld, -30_000: nil, -30_001: ErrTooNew} {
		r := c.request()
		r.Time = time.UnixMilli(codedNow*1000 + ms)
		wantErr(t, fmt.Sprintf("%d ms old", ms), v, r, want)
	}
	for what, change := range map[string]func(*Request){
		"a signed header gone":    func(r *Request) { r.Header.Del("X-Contentful-Topic") },
		"a signed header changed": func(r *Request) { r.Header.Set("X-Contentful-Topic", "U") },
		"the list changed":        func(r *Request) { r.Header.Set("X-Contentful-Signed-Headers", "x-contentful-topic,x-other") },
		"another method":          func(r *Request) { r.Method = "PUT" },
		"another path":            func(r *Request) { r.URL = "https://hooks.test/in?a=2" },
	} {
		r := c.request()
		change(r)
		if what == "the list changed" {
			r.Header.Set("X-Other", "1")
		}
		wantErr(t, what, v, r, ErrMismatch)
	}
	for what, change := range map[string]func(*Request){
		"a signed header twice": func(r *Request) { r.Header.Add("X-Contentful-Topic", "T") },
		"timestamp":             func(r *Request) { r.Header.Set("X-Contentful-Timestamp", "+1700000000000") },
		"timestamp with a zero": func(r *Request) { r.Header.Set("X-Contentful-Timestamp", "01700000000000") },
		"a long list":           func(r *Request) { r.Header.Set("X-Contentful-Signed-Headers", strings.Repeat("a,", 100)) },
		"capital hex": func(r *Request) {
			r.Header.Set("X-Contentful-Signature", strings.ToUpper(r.Header.Get("X-Contentful-Signature")))
		},
	} {
		r := c.request()
		change(r)
		wantErr(t, what, v, r, ErrMalformed)
	}
}

// TestTokensAreCheckedClaimByClaim changes one claim at a time of tokens that are signed with the right key.
func TestTokensAreCheckedClaimByClaim(t *testing.T) {
	t.Parallel()
	hash := hex.EncodeToString(sum256(jsonBody))
	address := hex.EncodeToString(sum256("https://hooks.test/in?a=1"))
	for _, c := range []struct {
		provider, header, claims string
		bad                      map[string]error // claims
	}{
		{"messagebird", "Messagebird-Signature-Jwt: ", `{"iss":"MessageBird","nbf":1700000000,"exp":1700000060,"jti":"j","url_hash":"` + address + `","payload_hash":"` + hash + `"}`, map[string]error{
			`"iss":"MessageBird"=>"iss":"Other"`: ErrMismatch, `"jti":"j",=>`: ErrMissing, `"exp":1700000060,=>`: ErrMissing, `1700000060=>1699999995`: ErrTooOld, `1700000000=>1700000006`: ErrTooNew,
			`,"payload_hash":"` + hash + `"=>`: ErrMissing, `"url_hash"=>"u"`: ErrMissing, address + "=>" + hash: ErrMismatch, `"` + hash + `"=>"zz"`: ErrMalformed, `"` + hash + `"=>null`: ErrMissing,
		}},
		{"vonage", "Authorization: Bearer ", `{"iat":1700000000,"payload_hash":"` + hash + `"}`, map[string]error{
			`"iat":1700000000,=>`: ErrMissing, `1700000000=>1699999699`: ErrTooOld, `1700000000=>1700000301`: ErrTooNew, hash + "=>" + address: ErrMismatch, `"payload_hash"=>"p"`: ErrMissing,
		}},
		{"netlify", "X-Webhook-Signature: ", `{"iss":"netlify","sha256":"` + hash + `"}`, map[string]error{
			`"netlify"=>"other"`: ErrMismatch, hash + "=>" + address: ErrMismatch, `"sha256"=>"s"`: ErrMissing, `"iss"=>"exp":1,"iss"`: ErrTooOld,
		}},
		{"fusionauth", "X-Fusionauth-Signature-Jwt: ", `{"request_body_sha256":"` + b64(sum256(jsonBody)) + `"}`, map[string]error{
			b64(sum256(jsonBody)) + "=>" + hash: ErrMalformed, b64(sum256(jsonBody)) + "=>" + b64(sum256("x")): ErrMismatch, `"request_body=>"exp":1,"request_body`: ErrTooOld, `"request_body_sha256"=>"r"`: ErrMissing,
		}},
	} {
		_, v := caseOf(t, c.provider)
		make := func(claims string) *Request {
			return codedRequest(jsonBody, c.header+makeToken(`{"alg":"HS256"}`, claims, crypto.SHA256, []byte(codedKey)))
		}
		wantErr(t, c.provider, v, make(c.claims), nil)
		for change, want := range c.bad {
			old, new, _ := strings.Cut(change, "=>")
			if !strings.Contains(c.claims, old) {
				t.Fatalf("%s: nothing to change: %s", c.provider, old)
			}
			wantErr(t, c.provider+" with "+change, v, make(strings.Replace(c.claims, old, new, 1)), want)
		}
		for _, header := range []string{`{"alg":"none"}`, `{"alg":"RS256"}`} {
			r := codedRequest(jsonBody, c.header+makeToken(header, c.claims, crypto.SHA256, []byte(codedKey)))
			if _, err := v.Verify(r); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %s is taken", c.provider, header)
			}
		}
	}
	_, v := caseOf(t, "google-pubsub")
	for what, c := range map[string]struct {
		change map[string]any
		want   error
	}{
		"good": {nil, nil}, "issuer": {map[string]any{"iss": "https://evil.test"}, ErrMismatch}, "short issuer": {map[string]any{"iss": "accounts.google.com"}, nil},
		"audience": {map[string]any{"aud": "https://other.test"}, ErrMismatch}, "no audience": {map[string]any{"aud": ""}, ErrMismatch}, "e-mail": {map[string]any{"email": "evil@p.test"}, ErrMismatch},
		"unverified": {map[string]any{"email_verified": false}, ErrMismatch}, "verified in words": {map[string]any{"email_verified": "true"}, ErrMismatch},
		"old": {map[string]any{"exp": codedNow - 60}, ErrTooOld}, "for ever": {map[string]any{"exp": ""}, ErrMissing}, "early": {map[string]any{"iat": codedNow + 61}, ErrTooNew},
	} {
		r := codedRequest(jsonBody, "Authorization: Bearer "+makeToken(`{"alg":"RS256","kid":"g1"}`, googleClaims(c.change), crypto.SHA256, testRSA()))
		wantErr(t, "google: "+what, v, r, c.want)
	}
	r := codedRequest(jsonBody, "Authorization: Basic "+makeToken(`{"alg":"RS256","kid":"g1"}`, googleClaims(nil), crypto.SHA256, testRSA()))
	wantErr(t, "google: not a bearer", v, r, ErrMalformed)
}

func TestGoogleKeysAreFetched(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != googleKeys {
			return nil, errors.New("another address")
		}
		return answer(200, publicSet(map[string]any{"g1": testRSA()})), nil
	})}
	v := must(ForProvider("google-pubsub", Options{Client: client, Settings: map[string]string{"audience": "https://hooks.test/in", "email": "push@p.test"}}))
	r := codedRequest(jsonBody, "Authorization: Bearer "+makeToken(`{"alg":"RS256","kid":"g1"}`, googleClaims(nil), crypto.SHA256, testRSA()))
	if got, err := v.Verify(r); err != nil || got.Key != -1 || got.Subject != "push@p.test" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPayPalCertificatesLeadToTheRoots(t *testing.T) {
	t.Parallel()
	isName := func(name string) bool { return name == "messageverificationcerts.paypal.com" }
	root := makeCertificate("root", testOtherRSA(), nil, nil)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	leaf := makeCertificate("messageverificationcerts.paypal.com", testRSA(), root, testOtherRSA())
	now := time.Unix(codedNow, 0)
	if err := checkChain([]*x509.Certificate{leaf}, roots, now, isName); err != nil {
		t.Error(err)
	}
	own := makeCertificate("messageverificationcerts.paypal.com", testRSA(), nil, nil)
	for what, c := range map[string]struct {
		chain []*x509.Certificate
		now   time.Time
	}{
		"signed by itself": {[]*x509.Certificate{own}, now}, "with its own root": {[]*x509.Certificate{own, own}, now}, "too old": {[]*x509.Certificate{leaf}, now.Add(2 * time.Hour)},
		"another name": {[]*x509.Certificate{makeCertificate("paypal.evil.test", testRSA(), root, testOtherRSA())}, now},
	} {
		if err := checkChain(c.chain, roots, c.now, isName); err == nil {
			t.Errorf("%s: trusted", what)
		}
	}
	// What a server serves that is not trusted is of no use, even from the right host.
	client := &http.Client{Transport: answers(func(*http.Request) (*http.Response, error) { return answer(200, pemCertificate(own)), nil })}
	v := must(ForProvider("paypal", Options{Client: client, Settings: map[string]string{"webhook_id": "WH1"}}))
	c, pinned := caseOf(t, "paypal")
	wantErr(t, "an untrusted certificate", v, c.request(), ErrMismatch)
	for _, address := range []string{
		"http://api.paypal.com/v1/notifications/certs/C", "https://api.paypal.com.evil.test/v1/notifications/certs/C", "https://evil.test/v1/notifications/certs/C", "https://api.paypal.com/other/C",
		"https://api.paypal.com/v1/notifications/certs/../../x", "https://api.paypal.com:444/v1/notifications/certs/C", "https://api.paypal.com/v1/notifications/certs/C?x", "https://u@api.paypal.com/v1/notifications/certs/C",
	} {
		r := c.request()
		r.Header.Set("Paypal-Cert-Url", address)
		wantErr(t, address, pinned, r, ErrMalformed)
	}
	for name, value := range map[string]string{"Paypal-Transmission-Id": "a|b", "Paypal-Transmission-Time": "yesterday", "Paypal-Auth-Algo": "MD5withRSA"} {
		r := c.request()
		r.Header.Set(name, value)
		wantErr(t, name, pinned, r, ErrMalformed)
	}
	c.settings = map[string]string{"webhook_id": "WH2"}
	wantErr(t, "another webhook's", c.verifier(t, c.secrets), c.request(), ErrMismatch)
}

func TestBraintreePairsAndChallenge(t *testing.T) {
	t.Parallel()
	_, v := caseOf(t, "braintree")
	sum := sha1.Sum([]byte(codedKey))
	sign := func(payload string) string { return hex.EncodeToString(stdMAC(crypto.SHA1, string(sum[:]), payload)) }
	make := func(pairs, payload string) *Request {
		return codedRequest(url.Values{"bt_signature": {pairs}, "bt_payload": {payload}}.Encode(), formType)
	}
	wantErr(t, "a newline lost on the way", v, make("pub1|"+sign("QUJD\n"), "QUJD"), nil)
	wantErr(t, "another key pair", v, make("pub2|"+sign("QUJD"), "QUJD"), ErrMismatch)
	wantErr(t, "the first of our pairs counts", v, make("pub1|"+sign("x")+"&pub1|"+sign("QUJD"), "QUJD"), ErrMismatch)
	wantErr(t, "capital letters", v, make("pub1|"+strings.ToUpper(sign("QUJD")), "QUJD"), ErrMalformed)
	wantErr(t, "no pair", v, make(sign("QUJD"), "QUJD"), ErrMismatch)
	wantErr(t, "too many", v, make(strings.Repeat("x|y&", 16)+"pub1|"+sign("QUJD"), "QUJD"), ErrMalformed)
	wantErr(t, "not base64", v, make("pub1|"+sign("QU JD"), "QU JD"), ErrMalformed)
	wantErr(t, "a field twice", v, codedRequest("bt_payload=QUJD&bt_payload=QUJE&bt_signature=pub1|"+sign("QUJD"), formType), ErrMalformed)
	wantErr(t, "no form", v, codedRequest("bt_payload=QUJD&bt_signature=pub1|"+sign("QUJD")), ErrMalformed)
	h := v.(Handshaker)
	get := func(query string) (*Reply, error) {
		return h.Handshake(&Request{Method: "GET", URL: "https://h/in?" + query})
	}
	challenge := "20f9f8ed05f77439fe955c977e4c8a53" // that of Braintree's own tests
	reply, err := get("bt_challenge=" + challenge)
	if err != nil || string(reply.Body) != "pub1|"+sign(challenge) {
		t.Errorf("got %+v, %v", reply, err)
	}
	for _, query := range []string{"bt_challenge=QUJD", "bt_challenge=", "bt_challenge=" + challenge + "&bt_challenge=" + challenge, "bt_challenge=" + strings.Repeat("a", 33)} {
		if reply, err := get(query); reply != nil || !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %+v, %v", query, reply, err)
		}
	}
	if reply, err := get("other=1"); reply != nil || err != nil {
		t.Errorf("no challenge: got %+v, %v", reply, err)
	}
}

func TestDropboxSignForms(t *testing.T) {
	t.Parallel()
	c, v := caseOf(t, "dropbox-sign")
	body := string(c.request().Body)
	doc := body[strings.Index(body, "{") : strings.LastIndex(body, "}")+1]
	const multi = "Content-Type: multipart/form-data; boundary=XX"
	part := func(name, text string) string {
		return "--XX\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + text + "\r\n"
	}
	wantErr(t, "a field of a form", v, codedRequest(url.Values{"json": {doc}}.Encode(), formType), nil)
	wantErr(t, "other parts", v, codedRequest(part("other", "x")+part("json", doc)+"--XX--\r\n", multi), nil)
	wantErr(t, "two", v, codedRequest(part("json", doc)+part("json", doc)+"--XX--\r\n", multi), ErrMalformed)
	wantErr(t, "none", v, codedRequest(part("other", doc)+"--XX--\r\n", multi), ErrMissing)
	wantErr(t, "no end", v, codedRequest(part("json", doc), multi), ErrMalformed)
	wantErr(t, "no boundary", v, codedRequest(body, "Content-Type: multipart/form-data"), ErrMalformed)
	wantErr(t, "too many parts", v, codedRequest(strings.Repeat(part("x", "y"), 40)+part("json", doc)+"--XX--\r\n", multi), ErrMalformed)
	wantErr(t, "another type", v, codedRequest(doc, "Content-Type: application/json"), ErrMalformed)
	wantErr(t, "an event twice", v, codedRequest(url.Values{"json": {`{"event":{},` + doc[1:]}}.Encode(), formType), ErrMalformed)
	wantErr(t, "another type of event", v, codedRequest(strings.Replace(body, `"signature_request_sent"`, `"signature_request_signed"`, 1), multi), ErrMismatch)
}

func TestEBayKeysHaveIDs(t *testing.T) {
	t.Parallel()
	c, v := caseOf(t, "ebay")
	wantErr(t, "another ID", v, codedRequest(jsonBody, "X-EBAY-SIGNATURE: "+ebayHeader("k2", jsonBody)), ErrMismatch)
	c.settings = nil
	wantErr(t, "any ID", c.verifier(t, c.secrets), codedRequest(jsonBody, "X-EBAY-SIGNATURE: "+ebayHeader("k2", jsonBody)), nil)
	plain := string(must(decodeStd(ebayHeader("k1", jsonBody))))
	for change, want := range map[string]error{
		`"ECDSA"=>"RSA"`: ErrMalformed, `"SHA1"=>"MD5"`: ErrMalformed, `"kid":"k1",=>`: ErrMissing, `"signature"=>"s"`: ErrMissing, `"kid":"k1"=>"kid":"x","kid":"k1"`: ErrMalformed,
		`"ECDSA"=>"ecdsa"`: nil, `,"digest":"SHA1"=>`: nil,
	} {
		old, new, _ := strings.Cut(change, "=>")
		wantErr(t, change, v, codedRequest(jsonBody, "X-EBAY-SIGNATURE: "+b64([]byte(strings.Replace(plain, old, new, 1)))), want)
	}
}

func TestPlaidKeysGoByTheirIDs(t *testing.T) {
	t.Parallel()
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	v := must(ForProvider("plaid", Options{}, NewSecret(oneKey("old", other)), NewSecret(oneKey("new", testP256()))))
	claims := fmt.Sprintf(`{"iat":%d,"request_body_sha256":"%x"}`, codedNow-300, sum256(jsonBody))
	make := func(header, claims string, key any) *Request {
		return codedRequest(jsonBody, "Plaid-Verification: "+makeToken(header, claims, crypto.SHA256, key))
	}
	if got, err := v.Verify(make(`{"alg":"ES256","kid":"new"}`, claims, testP256())); err != nil || got.Key != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	wantErr(t, "under another name", v, make(`{"alg":"ES256","kid":"old"}`, claims, testP256()), ErrMismatch)
	wantErr(t, "HMAC", v, make(`{"alg":"HS256","kid":"new"}`, claims, must(testP256().PublicKey.Bytes())), ErrMalformed)
	wantErr(t, "301 s old", v, make(`{"alg":"ES256","kid":"new"}`, strings.Replace(claims, "1699999700", "1699999699", 1), testP256()), ErrTooOld)
}

func TestNFKDPublishedExamples(t *testing.T) {
	t.Parallel()
	// Of Unicode Standard Annex 15, and of its test file.
	for text, want := range map[string]string{
		"\u00e9": "e\u0301", "\u212b": "A\u030a", "\ufb01": "fi", "2\u2075": "25", "\u1e9b\u0323": "s\u0323\u0307", "\u1e0a\u0323": "D\u0323\u0307", "\uac00": "\u1100\u1161",
		"\ud4db": "\u1111\u1171\u11b6", "\uff21": "A", "\uff76\uff9e": "\u30ab\u3099", "plain ASCII ~": "plain ASCII ~", "": "", "\u01c4": "DZ\u030c", "\u00bd": "1\u20442", "\u4e2d": "\u4e2d",
		"a\u0315\u0300\u05ae": "", "\u1f600": "\u1f60\u0030",
	} {
		got, err := nfkd(text)
		if text == "a\u0315\u0300\u05ae" { // a mark of a script that is not in the tables
			if err == nil {
				t.Error("a Hebrew mark is taken")
			}
			continue
		}
		if text == "\u1f600" {
			want = "\u03c9\u03130"
		}
		if err != nil || got != want {
			t.Errorf("%+q: got %+q, %v, want %+q", text, got, err, want)
		}
	}
	for _, text := range []string{"\u0915", "\u05d0", "\xff", "\u0000\u0600"} {
		if got, err := nfkd(text); err == nil {
			t.Errorf("%+q gives %+q, want an error", text, got)
		}
	}
}

// FuzzCodedProviders gives every provider in code arbitrary proofs and an arbitrary body. Nothing may be accepted, and
// nothing may panic.
func FuzzCodedProviders(f *testing.F) {
	type target struct {
		verifier Verifier
		header   []string
	}
	var targets []target
	cases := codedCases()
	for i := range cases {
		c := &cases[i]
		targets = append(targets, target{c.verifier(f, c.others), []string{c.proof}})
		r := c.request()
		f.Add(r.Header.Get(c.proof), r.Header.Get("Content-Type"), r.URL, r.Body)
	}
	f.Add("v", "multipart/form-data; boundary=x", "https://h?bodySHA256=", []byte("--x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, proof, kind, address string, body []byte) {
		r := codedRequest(string(body), "Box-Signature-Version: 1", "Box-Signature-Algorithm: HmacSHA256", "Box-Delivery-Timestamp: 2023-11-14T22:13:20Z",
			"X-Contentful-Timestamp: 1700000000000", "X-Contentful-Signed-Headers: a,b", "Paypal-Transmission-Id: tid", "Paypal-Transmission-Time: 2023-11-14T22:13:20Z",
			"Paypal-Auth-Algo: SHA256withRSA", "Paypal-Cert-Url: https://api.paypal.com/v1/notifications/certs/C")
		r.URL = address
		r.Context = context.Background()
		r.Header["Content-Type"] = []string{kind}
		for _, x := range targets {
			for _, name := range x.header {
				r.Header[name] = []string{proof}
			}
		}
		for _, x := range targets {
			if _, err := x.verifier.Verify(r); !errors.Is(err, ErrRefused) {
				t.Fatalf("%T accepted: %v", x.verifier, err)
			}
			if h, ok := x.verifier.(Handshaker); ok {
				get := *r
				get.Method = http.MethodGet
				if _, err := h.Handshake(&get); err != nil && !errors.Is(err, ErrRefused) {
					t.Fatalf("%T: %v", x.verifier, err)
				}
			}
		}
	})
}
