package signing

import (
	"crypto"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Requests that nobody with the secret has sent: made of what a handshake answers, or of a genuine request that was read.

func TestBraintreeChallengeIsNoPayload(t *testing.T) {
	t.Parallel()
	_, v := caseOf(t, "braintree")
	challenge := "20f9f8ed05f77439fe955c977e4c8a53"
	reply, err := v.(Handshaker).Handshake(&Request{Method: http.MethodGet, URL: "https://h/in?bt_challenge=" + challenge})
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"bt_signature": {string(reply.Body)}, "bt_payload": {challenge}}
	wantErr(t, "a digest that a stranger asked for", v, codedRequest(form.Encode(), formType), ErrMalformed)
}

func TestNamesThatDifferInCaseAreRefused(t *testing.T) {
	t.Parallel()
	_, v := caseOf(t, "adyen")
	item := adyenItem("psp1", adyenKey)
	body := adyenBody(item)
	wantErr(t, "adyen: other items", v, codedRequest(`{"NotificationItems":[],`+body[1:]), ErrMalformed)
	wantErr(t, "adyen: another field", v, codedRequest(strings.Replace(body, `"eventCode"`, `"EventCode":"REFUND","eventCode"`, 1)), ErrMalformed)
	wantErr(t, "adyen: another amount", v, codedRequest(strings.Replace(body, `"currency"`, `"Currency":"USD","currency"`, 1)), ErrMalformed)
	wantErr(t, "adyen: the merchant's own names", v, codedRequest(strings.Replace(body, `{"hmac`, `{"metadata.a":"1","metadata.A":"2","hmac`, 1)), nil)

	_, v = caseOf(t, "aws-sns")
	body = snsBody("2", "Notification", "hello")
	wantErr(t, "sns", v, codedRequest(`{"message":"x",`+body[1:]), ErrMalformed)
	wantErr(t, "sns: a letter that folds to s", v, codedRequest(`{"Me\u017fsage":"x",`+body[1:]), ErrMalformed)

	c, v := caseOf(t, "dropbox-sign")
	r := c.request()
	r.Body = []byte(strings.Replace(string(r.Body), `"event_type"`, `"Event_Type":"other","event_type"`, 1))
	wantErr(t, "dropbox sign: another field", v, r, ErrMalformed)
	r = c.request()
	r.Body = []byte(strings.Replace(string(r.Body), `{"event"`, `{"EVENT":{},"event"`, 1))
	wantErr(t, "dropbox sign: another event", v, r, ErrMalformed)
}

func TestSNSLinesStayInTheMessage(t *testing.T) {
	t.Parallel()
	_, v := caseOf(t, "aws-sns")
	wantErr(t, "a message of several lines", v, codedRequest(snsBody("2", "Notification", "a\nMessageId\nb")), nil)
	// What was signed as the message "a", with "msg-1\nMessageId\nx" for its ID.
	body := snsBody("2", "Notification", "a\nMessageId\nb")
	body = strings.Replace(body, `"Message":"a\nMessageId\nb"`, `"Message":"a"`, 1)
	body = strings.Replace(body, `"MessageId":"msg-1"`, `"MessageId":"b\nMessageId\nmsg-1"`, 1)
	wantErr(t, "the same lines in another field", v, codedRequest(body), ErrMalformed)
}

func TestMailgunDigitsStayInTheTimestamp(t *testing.T) {
	t.Parallel()
	v := must(ForProvider("mailgun", Options{}, NewSecret(codedKey)))
	make := func(stamp, token string) *Request {
		mac := hex.EncodeToString(stdMAC(crypto.SHA256, codedKey, "15290068549a8ce0edb2dd8301dee6c"))
		return codedRequest(`{"signature":{"timestamp":"` + stamp + `","token":"` + token + `","signature":"` + mac + `"}}`)
	}
	wantErr(t, "as it was sent", v, make("1529006854", "9a8ce0edb2dd8301dee6c"), nil)
	wantErr(t, "another token", v, make("152900685", "49a8ce0edb2dd8301dee6c"), ErrMalformed)
	wantErr(t, "a third token", v, make("15290068549", "a8ce0edb2dd8301dee6c"), ErrMalformed)
}

func TestBareHashesAreNotExtended(t *testing.T) {
	t.Parallel()
	v := must(ForProvider("hubspot-v1", Options{}, NewSecret(codedKey)))
	// What SHA-256 itself puts behind a message, and then more: its hash can be made from that of the message alone.
	body := `[{"eventId":1}]` + "\x80" + strings.Repeat("\x00", 14) + `[{"eventId":2}]`
	r := codedRequest(body, "X-Hubspot-Signature-Version: v1", "X-Hubspot-Signature: "+hex.EncodeToString(sum256(codedKey+body)))
	wantErr(t, "an extended body", v, r, ErrMalformed)
}

func TestPublicKeyIsNoSharedSecret(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(pemOf(&testRSA().PublicKey)), "\n")
	bare := strings.Join(lines[1:len(lines)-1], "")
	for name, settings := range map[string]map[string]string{"fusionauth": nil, "vonage": nil, "netlify": nil, "messagebird": nil} {
		if _, err := ForProvider(name, Options{Settings: settings}, NewSecret(bare)); err == nil || strings.Contains(err.Error(), bare) {
			t.Errorf("%s takes a public key for a secret of an HMAC, or shows it: %v", name, err)
		}
	}
}

func TestMercadoPagoFieldsStayApart(t *testing.T) {
	t.Parallel()
	v := must(ForProvider("mercado-pago", Options{}, NewSecret(codedKey)))
	signature := "X-Signature: ts=1700000000,v1=" + hex.EncodeToString(stdMAC(crypto.SHA256, codedKey, "id:1;request-id:r1;ts:1700000000;"))
	r := codedRequest("{}", signature, "X-Request-Id: r1")
	r.URL = "https://hooks.test/in?data.id=1"
	wantErr(t, "as it was sent", v, r, nil)
	// The same text, without the header that is the ID by which repeats are known.
	r = codedRequest("{}", signature)
	r.URL = "https://hooks.test/in?data.id=1%3Brequest-id%3Ar1"
	wantErr(t, "the ID of the request within that of the payment", v, r, ErrMismatch)
}

func TestEmptyBodiesThatAreNeverSent(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"shopify": "X-Shopify-Hmac-Sha256: " + b64(stdMAC(crypto.SHA256, codedKey, "")), "pagerduty": "X-Pagerduty-Signature: v1=" + hex.EncodeToString(stdMAC(crypto.SHA256, codedKey, "")),
	} {
		wantErr(t, name, must(ForProvider(name, Options{}, NewSecret(codedKey))), codedRequest("", header), ErrMalformed)
	}
}

func TestShortSecretOfLinearsOwnTests(t *testing.T) {
	t.Parallel()
	body := `{"webhookTimestamp":1700000000000}`
	v := must(ForProvider("linear", Options{}, NewSecret("SECRET")))
	wantErr(t, "linear", v, codedRequest(body, "Linear-Signature: "+hex.EncodeToString(stdMAC(crypto.SHA256, "SECRET", body))), nil)
}
