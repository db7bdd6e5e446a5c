package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The tests of this file sign by themselves, after the vendors' documentation, without any code of the package.

const codedNow = 1700000000

func stdMAC(h crypto.Hash, key, message string) []byte {
	mac := hmac.New(h.New, []byte(key))
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func sum256(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func pemOf(public any) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))}))
}

// makeCertificate signs a certificate of a key, by itself if there is no parent.
func makeCertificate(name string, key *rsa.PrivateKey, parent *x509.Certificate, by *rsa.PrivateKey) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: parent == nil, BasicConstraintsValid: true,
		NotBefore: time.Unix(codedNow-3600, 0), NotAfter: time.Unix(codedNow+3600, 0), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, by = c, key
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by))))
}

func pemCertificate(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func signRSA(h crypto.Hash, message string) string {
	d := h.New()
	d.Write([]byte(message))
	return b64(must(rsa.SignPKCS1v15(nil, testRSA(), h, d.Sum(nil))))
}

func codedRequest(body string, lines ...string) *Request {
	r := &Request{Method: "POST", URL: "https://hooks.test/in?a=1", Header: http.Header{}, Body: []byte(body), Time: time.Unix(codedNow, 0)}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// codedCase is one good request of a provider.
type codedCase struct {
	provider string
	settings map[string]string
	secrets  []string
	others   []string // of somebody else
	request  func() *Request
	want     Verdict
	proof    string // the header with the proof; empty if it is in the body
	loose    bool   // the body is not covered
}

const (
	formType = "Content-Type: application/x-www-form-urlencoded"
	jsonBody = `{"event_type":"a.b","id":"ev_1","event":{"type":"user.create","id":"e1"},"webhook_type":"ITEM","webhook_code":"DONE",` +
		`"metadata":{"topic":"TOPIC"},"notification":{"notificationId":"n1"},"message":{"messageId":"m1","attributes":{"eventType":"t1"},"orderingKey":"o1"},` +
		`"resource":{"id":"res1"},"trigger":"FILE.UPLOADED","source":{"id":"s1","name":"Zoë"},"item_id":"i1","description":"tracker.updated","result":{"id":"trk"},` +
		`"data":{"resource":{"id":"d1"}}}`
	codedKey  = "a secret for the providers in code"
	codedKey2 = "the secret of somebody else, not ours"
)

func snsBody(version, kind, message string) string {
	m := map[string]string{
		"Type": kind, "MessageId": "msg-1", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:mine", "Message": message, "Timestamp": "2023-11-14T22:13:20.000Z",
		"SignatureVersion": version, "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
	}
	fields := []string{"Message", "MessageId", "Timestamp", "TopicArn", "Type"}
	if kind != "Notification" {
		m["Token"], m["SubscribeURL"] = "tok", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
		fields = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	text := ""
	for _, f := range fields {
		text += f + "\n" + m[f] + "\n"
	}
	m["Signature"] = signRSA(map[string]crypto.Hash{"1": crypto.SHA1, "2": crypto.SHA256}[version], text)
	return string(must(json.Marshal(m)))
}

func adyenItem(psp, key string) string {
	signature := b64(stdMAC(crypto.SHA256, string(must(hex.DecodeString(key))), psp+"::merchant:ref:1000:EUR:AUTHORISATION:true"))
	return `{"NotificationRequestItem":{"additionalData":{"hmacSignature":"` + signature + `"},"pspReference":"` + psp + `","merchantAccountCode":"merchant",` +
		`"merchantReference":"ref","amount":{"currency":"EUR","value":1000},"eventCode":"AUTHORISATION","success":"true"}}`
}

func adyenBody(items ...string) string {
	return `{"live":"false","notificationItems":[` + strings.Join(items, ",") + `]}`
}

const adyenKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func codedCases() []codedCase {
	rsaPEM, otherPEM := pemOf(&testRSA().PublicKey), pemOf(&testOtherRSA().PublicKey)
	token := func(claims string) string {
		return makeToken(`{"alg":"HS256","typ":"JWT"}`, claims, crypto.SHA256, []byte(codedKey))
	}
	hash := hex.EncodeToString(sum256(jsonBody))
	multipart := func(doc string) string {
		return "--XX\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n" + doc + "\r\n--XX--\r\n"
	}
	dropbox := `{"event":{"event_type":"signature_request_sent","event_time":"1348177752","event_hash":"` +
		hex.EncodeToString(stdMAC(crypto.SHA256, codedKey, "1348177752signature_request_sent")) + `"},"signature_request":{"signature_request_id":"sr1"}}`
	braintreePayload := b64([]byte("<notification><timestamp>x</timestamp><kind>subscription_canceled</kind><subject><kind>no</kind></subject></notification>")) + "\n"
	braintreeKey := func() string { s := sha1.Sum([]byte(codedKey)); return string(s[:]) }()
	secret64 := strings.Repeat("s3cret-x", 8)
	return []codedCase{
		{
			provider: "twilio", secrets: []string{codedKey}, others: []string{codedKey2}, proof: "X-Twilio-Signature",
			request: func() *Request {
				body := url.Values{"MessageSid": {"SM1"}, "Body": {"b a", "a", "a"}, "MessageStatus": {"sent"}}.Encode()
				return codedRequest(body, formType, "I-Twilio-Idempotency-Token: tok1", "X-Twilio-Signature: "+
					b64(stdMAC(crypto.SHA1, codedKey, "https://hooks.test/in?a=1"+"BodyaBodyb a"+"MessageSidSM1"+"MessageStatussent")))
			},
			want: Verdict{Type: "sent", ID: "tok1", OrderingKey: "SM1", Covers: CoversBody},
		},
		{
			provider: "mandrill", secrets: []string{codedKey}, others: []string{codedKey2}, proof: "X-Mandrill-Signature",
			request: func() *Request {
				events := `[{"event":"send","_id":"x"}]`
				return codedRequest(url.Values{"mandrill_events": {events}}.Encode(), formType, "X-Mandrill-Signature: "+
					b64(stdMAC(crypto.SHA1, codedKey, "https://hooks.test/in?a=1mandrill_events"+events)))
			},
			want: Verdict{Type: "send", Covers: CoversBody},
		},
		{
			provider: "adyen", secrets: []string{adyenKey}, others: []string{strings.Repeat("ab", 32)},
			request: func() *Request { return codedRequest(adyenBody(adyenItem("psp1", adyenKey))) },
			want:    Verdict{Type: "AUTHORISATION", ID: "psp1:AUTHORISATION", OrderingKey: "ref", Covers: CoversMetadata},
		},
		{
			provider: "aws-sns", secrets: []string{rsaPEM}, others: []string{otherPEM}, settings: map[string]string{"topic_arn": "arn:x, arn:aws:sns:eu-west-1:123456789012:mine"},
			request: func() *Request { return codedRequest(snsBody("2", "Notification", "hello")) },
			want:    Verdict{Type: "Notification", ID: "msg-1", Subject: "arn:aws:sns:eu-west-1:123456789012:mine", Covers: CoversMetadata},
		},
		{
			provider: "box", secrets: []string{codedKey, "the second key"}, others: []string{codedKey2, "another second"}, proof: "Box-Signature-Primary",
			request: func() *Request {
				at := "2023-11-14T22:13:20Z"
				return codedRequest(jsonBody, "Box-Signature-Version: 1", "Box-Signature-Algorithm: HmacSHA256", "Box-Delivery-Timestamp: "+at,
					"Box-Signature-Primary: "+b64(stdMAC(crypto.SHA256, codedKey, strings.Replace(jsonBody, "ë", `\u00eb`, 1)+at)))
			},
			want: Verdict{Type: "FILE.UPLOADED", ID: "ev_1", OrderingKey: "s1", Covers: CoversBody},
		},
		{
			provider: "contentful", secrets: []string{secret64}, others: []string{strings.Repeat("other-k3", 8)}, proof: "X-Contentful-Signature",
			request: func() *Request {
				const list = "x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic"
				message := "POST\n/in?a%253D1\nx-contentful-signed-headers:" + list + ";x-contentful-timestamp:1700000000000;x-contentful-topic:T\n" + jsonBody
				return codedRequest(jsonBody, "X-Contentful-Topic: T", "X-Contentful-Signed-Headers: "+list, "X-Contentful-Timestamp: 1700000000000",
					"X-Contentful-Signature: "+hex.EncodeToString(stdMAC(crypto.SHA256, secret64, message)))
			},
			want: Verdict{Type: "T", Covers: CoversBody},
		},
		{
			provider: "easypost", secrets: []string{"\u00c5ngstr\u00f6m \ufb01"}, others: []string{"Angstrom fi"}, proof: "X-Hmac-Signature",
			request: func() *Request {
				return codedRequest(jsonBody, "X-Hmac-Signature: hmac-sha256-hex="+hex.EncodeToString(stdMAC(crypto.SHA256, "A\u030angstro\u0308m fi", jsonBody)))
			},
			want: Verdict{Type: "tracker.updated", ID: "ev_1", OrderingKey: "trk", Covers: CoversBody},
		},
		{
			provider: "messagebird", secrets: []string{codedKey}, others: []string{codedKey2}, proof: "Messagebird-Signature-Jwt",
			request: func() *Request {
				return codedRequest(jsonBody, "MessageBird-Signature-JWT: "+token(fmt.Sprintf(`{"iss":"MessageBird","nbf":%d,"exp":%d,"jti":"j1","url_hash":"%x","payload_hash":"%s"}`,
					codedNow, codedNow+60, sum256("https://hooks.test/in?a=1"), hash)))
			},
			want: Verdict{ID: "j1", Covers: CoversBody},
		},
		{
			provider: "braintree", settings: map[string]string{"public_key": "pub1"}, secrets: []string{codedKey}, others: []string{codedKey2},
			request: func() *Request {
				pairs := "other|" + strings.Repeat("0", 40) + "&pub1|" + hex.EncodeToString(stdMAC(crypto.SHA1, braintreeKey, braintreePayload))
				return codedRequest(url.Values{"bt_signature": {pairs}, "bt_payload": {braintreePayload}}.Encode(), formType)
			},
			want: Verdict{Type: "subscription_canceled", Covers: CoversBody},
		},
		{
			provider: "dropbox-sign", secrets: []string{codedKey}, others: []string{codedKey2},
			request: func() *Request {
				return codedRequest(multipart(dropbox), "Content-Type: multipart/form-data; boundary=XX")
			},
			want: Verdict{Type: "signature_request_sent", OrderingKey: "sr1", Covers: CoversMetadata},
		},
		{
			provider: "paypal", settings: map[string]string{"webhook_id": "WH1"}, secrets: []string{rsaPEM}, others: []string{otherPEM}, proof: "Paypal-Transmission-Sig",
			request: func() *Request {
				message := fmt.Sprintf("tid|2023-11-14T22:13:20Z|WH1|%d", crc32.ChecksumIEEE([]byte(jsonBody)))
				return codedRequest(jsonBody, "Paypal-Transmission-Id: tid", "Paypal-Transmission-Time: 2023-11-14T22:13:20Z", "Paypal-Auth-Algo: SHA256withRSA",
					"Paypal-Cert-Url: https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270", "Paypal-Transmission-Sig: "+signRSA(crypto.SHA256, message))
			},
			want: Verdict{Type: "a.b", ID: "ev_1", OrderingKey: "res1", Covers: CoversMetadata},
		},
		{
			provider: "vonage", secrets: []string{codedKey}, others: []string{codedKey2}, proof: "Authorization",
			request: func() *Request {
				return codedRequest(jsonBody, "Authorization: Bearer "+token(fmt.Sprintf(`{"iat":%d,"jti":"j2","payload_hash":"%s"}`, codedNow, hash)))
			},
			want: Verdict{ID: "j2", Covers: CoversBody},
		},
		{
			provider: "netlify", secrets: []string{codedKey}, others: []string{codedKey2}, proof: "X-Webhook-Signature",
			request: func() *Request {
				return codedRequest(jsonBody, "X-Netlify-Event: deploy_created", "X-Webhook-Signature: "+token(`{"iss":"netlify","sha256":"`+hash+`"}`))
			},
			want: Verdict{Type: "deploy_created", Covers: CoversBody},
		},
		{
			provider: "fusionauth", secrets: []string{codedKey}, others: []string{codedKey2, otherPEM, publicSet(map[string]any{"kid1": testOtherRSA()})}, proof: "X-Fusionauth-Signature-Jwt",
			request: func() *Request {
				return codedRequest(jsonBody, "X-FusionAuth-Signature-JWT: "+token(`{"request_body_sha256":"`+b64(sum256(jsonBody))+`"}`))
			},
			want: Verdict{Type: "user.create", ID: "e1", Covers: CoversBody},
		},
		{
			provider: "fusionauth", secrets: []string{rsaPEM, oneKey("kid1", testP256())}, others: []string{codedKey2, otherPEM}, proof: "X-Fusionauth-Signature-Jwt",
			request: func() *Request {
				return codedRequest(jsonBody, "X-FusionAuth-Signature-JWT: "+
					makeToken(`{"alg":"ES256","kid":"kid1"}`, `{"request_body_sha256":"`+b64(sum256(jsonBody))+`"}`, crypto.SHA256, testP256()))
			},
			want: Verdict{Type: "user.create", ID: "e1", Key: 1, Covers: CoversBody},
		},
		{
			provider: "wise", secrets: []string{rsaPEM}, others: []string{otherPEM}, proof: "X-Signature-Sha256",
			request: func() *Request {
				return codedRequest(jsonBody, "X-Delivery-Id: del1", "X-Signature-SHA256: "+signRSA(crypto.SHA256, jsonBody))
			},
			want: Verdict{Type: "a.b", ID: "del1", OrderingKey: "d1", Covers: CoversBody},
		},
		{
			provider: "plaid", secrets: []string{oneKey("kid1", testP256())}, others: []string{oneKey("kid1", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))}, proof: "Plaid-Verification",
			request: func() *Request {
				return codedRequest(jsonBody, "Plaid-Verification: "+
					makeToken(`{"alg":"ES256","kid":"kid1"}`, fmt.Sprintf(`{"iat":%d,"request_body_sha256":"%s"}`, codedNow, hash), crypto.SHA256, testP256()))
			},
			want: Verdict{Type: "ITEM.DONE", OrderingKey: "i1", Covers: CoversBody},
		},
		{
			provider: "google-pubsub", settings: map[string]string{"audience": "https://hooks.test/in", "email": "push@p.test"},
			secrets: []string{publicSet(map[string]any{"g1": testRSA()})}, others: []string{publicSet(map[string]any{"g1": testOtherRSA()})}, proof: "Authorization", loose: true,
			request: func() *Request {
				return codedRequest(jsonBody, "Authorization: Bearer "+makeToken(`{"alg":"RS256","kid":"g1"}`, googleClaims(nil), crypto.SHA256, testRSA()))
			},
			want: Verdict{Type: "t1", ID: "m1", OrderingKey: "o1", Subject: "push@p.test", Covers: CoversNothing},
		},
		{
			provider: "ebay", settings: map[string]string{"kid": "k1"}, secrets: []string{strings.ReplaceAll(pemOf(&testP256().PublicKey), "\n", "")},
			others: []string{pemOf(&must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey)}, proof: "X-Ebay-Signature",
			request: func() *Request { return codedRequest(jsonBody, "X-EBAY-SIGNATURE: "+ebayHeader("k1", jsonBody)) },
			want:    Verdict{Type: "TOPIC", ID: "n1", Covers: CoversBody},
		},
	}
}

// oneKey writes a public key as JSON.
func oneKey(kid string, key any) string {
	return strings.TrimSuffix(strings.TrimPrefix(publicSet(map[string]any{kid: key}), `{"keys":[`), `]}`)
}

func ebayHeader(kid, body string) string {
	sum := sha1.Sum([]byte(body))
	signature := must(ecdsa.SignASN1(rand.Reader, testP256(), sum[:]))
	return b64([]byte(`{"alg":"ECDSA","kid":"` + kid + `","signature":"` + b64(signature) + `","digest":"SHA1"}`))
}

// googleClaims are those of a push token, with some changed; empty takes one away.
func googleClaims(change map[string]any) string {
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": "https://hooks.test/in", "email": "push@p.test", "email_verified": true,
		"sub": "1234", "iat": codedNow, "exp": codedNow + 3600,
	}
	for name, value := range change {
		if claims[name] = value; value == "" {
			delete(claims, name)
		}
	}
	return string(must(json.Marshal(claims)))
}

func (c *codedCase) verifier(tb testing.TB, secrets []string) Verifier {
	tb.Helper()
	var list []Secret
	for _, s := range secrets {
		list = append(list, NewSecret(s))
	}
	v, err := ForProvider(c.provider, Options{Settings: c.settings}, list...)
	if err != nil {
		tb.Fatalf("%s: %v", c.provider, err)
	}
	return v
}

func TestCodedProvidersVerifyAndRefuse(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, c := range codedCases() {
		tested[c.provider] = true
		v := c.verifier(t, c.secrets)
		refused := func(what string, r *Request, kinds ...error) {
			t.Helper()
			_, err := v.Verify(r)
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s, %s: not refused: %v", c.provider, what, err)
				return
			}
			for _, k := range kinds {
				if errors.Is(err, k) {
					return
				}
			}
			if len(kinds) > 0 {
				t.Errorf("%s, %s: got %v, want one of %v", c.provider, what, err, kinds)
			}
			if !strings.HasPrefix(err.Error(), "signing: "+c.provider+": ") {
				t.Errorf("%s, %s: the error does not name the provider: %v", c.provider, what, err)
			}
		}
		r := c.request()
		if got, err := v.Verify(r); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.provider, got, err, c.want)
			continue
		}
		if _, err := c.verifier(t, c.others).Verify(r); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: with other keys: %v", c.provider, err)
		}
		if !c.loose {
			for i, body := range codedBodies(string(r.Body)) {
				bad := c.request()
				bad.Body = []byte(body)
				refused(fmt.Sprintf("body %d", i), bad)
			}
		}
		refused("nothing at all", &Request{})
		if c.provider != "adyen" && c.provider != "aws-sns" { // whose body says it all
			refused("no headers", &Request{Method: "POST", URL: r.URL, Body: r.Body})
		}
		if c.proof == "" {
			continue
		}
		good := r.Header[c.proof][0]
		for what, values := range map[string][]string{"missing": nil, "empty": {""}} {
			bad := c.request()
			bad.Header[c.proof] = values
			refused(what, bad, ErrMissing)
		}
		for what, values := range map[string][]string{
			"doubled": {good, good}, "long": {good + strings.Repeat("A", maxHeader)}, "cut": {good[:len(good)-1]}, "newline": {good[:8] + "\n" + good[8:]},
			"cut more": {good[:len(good)/2]}, "short": {"A"}, "junk": {"\x00\xff"}, "padded": {good + "="}, "dots": {"..."},
		} {
			bad := c.request()
			bad.Header[c.proof] = values
			refused(what, bad, ErrMalformed, ErrMissing, ErrMismatch)
		}
	}
	for name := range coded {
		if name == "basic-auth" || name == "api-key-header" { // generic: tested with Basic and APIKey
			continue
		}
		if !tested[name] {
			t.Errorf("the provider %s has no test", name)
		}
	}
}

// codedBodies are what a body becomes in wrong hands, none of it signed.
func codedBodies(body string) []string {
	list := []string{"", "{}", "[]", "null", "{", body[:len(body)/2], `{"notificationItems":[]}`, `{"notificationItems":[{}]}`, "bt_signature=x|y&bt_payload=z", "json=%7B%7D"}
	for _, change := range [][2]string{
		{"user.create", "user.delete"}, {"EUR", "USD"}, {"hello", "Hello"}, {"sent", "sen"}, {"Mzg", "Mzh"}, {"PG5v", "PG5w"}, {"1348177752", "1348177753"},
	} {
		if strings.Contains(body, change[0]) {
			list = append(list, strings.ReplaceAll(body, change[0], change[1]))
		}
	}
	return list
}

func TestCodedProvidersAreSetUpWithCare(t *testing.T) {
	t.Parallel()
	for _, c := range codedCases() {
		o := Options{Settings: c.settings}
		for what, secrets := range map[string][]string{
			"empty": {""}, "second empty": {c.secrets[0], ""}, "space": {" "}, "too many": make([]string, maxSecrets+1),
		} {
			var list []Secret
			for _, s := range secrets {
				list = append(list, NewSecret(s))
			}
			if _, err := ForProvider(c.provider, o, list...); err == nil {
				t.Errorf("%s: %s secrets are taken", c.provider, what)
			}
		}
		if _, err := ForProvider(c.provider, o); err == nil {
			t.Errorf("%s: neither a secret nor a client, and no error", c.provider)
		}
		if _, err := ForProvider(c.provider, Options{Settings: map[string]string{"no_such": "x"}}, NewSecret(c.secrets[0])); err == nil {
			t.Errorf("%s: an unknown setting is taken", c.provider)
		}
		for _, s := range coded[c.provider].Settings {
			without := maps.Clone(c.settings)
			delete(without, s.Name)
			if _, err := ForProvider(c.provider, Options{Settings: without}, NewSecret(c.secrets[0])); s.Required && (err == nil || !strings.Contains(err.Error(), s.Name)) {
				t.Errorf("%s: without the setting %s: %v", c.provider, s.Name, err)
			}
		}
		p := coded[c.provider]
		if p.Title == "" || p.Header == "" || p.Algorithm == "" || p.Secret == "" || p.Source == "" || p.Covers != c.want.Covers {
			t.Errorf("%s: its description is not whole or not right: %+v", c.provider, p.Provider)
		}
	}
	bad := func(name string, settings map[string]string, secrets ...string) {
		t.Helper()
		var list []Secret
		for _, s := range secrets {
			list = append(list, NewSecret(s))
		}
		_, err := ForProvider(name, Options{Settings: settings}, list...)
		if err == nil {
			t.Errorf("%s with %v and %d secrets is taken", name, settings, len(secrets))
			return
		}
		for _, s := range secrets {
			if len(s) > 3 && strings.Contains(err.Error(), s) {
				t.Errorf("%s: the error shows the secret: %v", name, err)
			}
		}
	}
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	bad("adyen", nil, "not hexadecimal at all, but long")
	bad("adyen", nil, "00ff")
	bad("box", nil, codedKey, codedKey, codedKey)
	bad("box", map[string]string{"secondary_key": "x"}, codedKey)
	bad("box", map[string]string{"secondary_key": codedKey}, codedKey, codedKey2)
	bad("box", map[string]string{"secondary_key": codedKey})
	bad("contentful", nil, strings.Repeat("x", 63))
	bad("easypost", nil, "Devanagari \u0915")
	bad("easypost", nil, "latin1 \xe9")
	bad("messagebird", nil, "s h o")
	bad("messagebird", nil, pemOf(&testRSA().PublicKey))
	bad("braintree", map[string]string{"public_key": "a|b"}, codedKey)
	bad("braintree", map[string]string{"public_key": "a"}, "s h o")
	bad("paypal", map[string]string{"webhook_id": "a|b"}, pemOf(&testRSA().PublicKey))
	bad("paypal", map[string]string{"webhook_id": "a"}, "no PEM")
	const topic = "arn:aws:sns:eu-west-1:123456789012:mine"
	bad("aws-sns", nil, pemOf(&testRSA().PublicKey))
	bad("aws-sns", map[string]string{"topic_arn": topic, "signing_cert_url": "https://evil.test/x.pem"}, pemOf(&testRSA().PublicKey))
	bad("aws-sns", map[string]string{"topic_arn": "mine"}, pemOf(&testRSA().PublicKey))
	bad("aws-sns", map[string]string{"topic_arn": topic}, pemOf(&testP256().PublicKey))
	bad("aws-sns", map[string]string{"topic_arn": topic}, pemOf(&small.PublicKey))
	bad("wise", nil, pemOf(&testRSA().PublicKey)+pemOf(&testRSA().PublicKey))
	bad("wise", nil, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testRSA())})))
	bad("wise", nil, strings.Replace(pemOf(&testRSA().PublicKey), "MII", "MIJ", 1))
	bad("plaid", nil, `{"kty":"EC"}`)
	bad("plaid", nil, codedKey)
	bad("plaid", nil, oneKey("", testP256()))
	bad("plaid", nil, oneKey("k", testRSA()))
	bad("plaid", nil, publicSet(map[string]any{"k": testP256()}))
	bad("plaid", nil, strings.Replace(oneKey("k", testP256()), `{`, `{"expired_at":1700000000,`, 1))
	bad("google-pubsub", map[string]string{"audience": "a", "email": "e"}, codedKey)
	bad("google-pubsub", map[string]string{"audience": "a", "email": "e"}, publicSet(map[string]any{"k": testP256()}))
	// Google makes a token for any audience, for whoever asks.
	bad("google-pubsub", map[string]string{"audience": "a"}, publicSet(map[string]any{"k": testRSA()}))
	bad("ebay", map[string]string{"kid": "a,b"}, pemOf(&testP256().PublicKey))
	bad("ebay", map[string]string{"kid": " "}, pemOf(&testP256().PublicKey))
	bad("ebay", nil, pemOf(&testRSA().PublicKey))
	bad("fusionauth", map[string]string{"jwks_url": "https://h/"}, codedKey)
	bad("fusionauth", map[string]string{"jwks_url": "http://h/"})
	bad("fusionauth", nil, `{"keys":[]}`)
	bad("fusionauth", nil, "s h o")
}
