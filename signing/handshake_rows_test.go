package signing

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const shakeSecret = "a secret for handshakes"

// shakeWith puts a provider's handshakes on a row that signs the body, as they are put on its own.
func shakeWith(t *testing.T, name string, settings map[string]string, onSecret func(context.Context, Secret) error) *verifier {
	t.Helper()
	p := provider{Provider: Provider{Name: name, Settings: handshakeSettings(name)}}
	if err := p.checkSettings(settings); err != nil {
		t.Fatal(err)
	}
	list, _, err := p.replies(Options{Settings: settings, OnSecret: onSecret})
	if err != nil {
		t.Fatal(err)
	}
	s := presetRow("github")
	s.Name, s.Handshakes = name, list
	v, err := NewVerifier(s, NewSecret(shakeSecret))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*verifier)
}

func shakeSum(text string) []byte {
	mac := hmac.New(sha256.New, []byte(shakeSecret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// shakeRequest makes a request of a line "GET https://h/", "Name: value" lines and a body; "signed" signs it.
func shakeRequest(line, body string, lines ...string) *Request {
	method, url, _ := strings.Cut(line, " ")
	r := &Request{Method: method, URL: url, Header: http.Header{}, Body: []byte(body), Time: time.Unix(1700000000, 0)}
	for _, l := range lines {
		if l == "signed" {
			l = "X-Hub-Signature-256: sha256=" + hex.EncodeToString(shakeSum(body))
		}
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	return r
}

const (
	shakeForm = "Content-Type: application/x-www-form-urlencoded"
	ebayToken = "0123456789012345678901234567890123456789"
	gridCheck = `[{"id":"1","topic":"t","data":{"validationCode":"512d38b6-c7b8"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]`
	xeroCheck = `{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"S0m3r4Nd0m"}`
)

// TestProvidersHandshakes: what each provider sends to check a URL, and what it wants to read.
func TestProvidersHandshakes(t *testing.T) {
	t.Parallel()
	meta := map[string]string{"verify_token": "our verify token"}
	ebay := map[string]string{"verification_token": ebayToken, "endpoint": "https://h/in"}
	ebaySum := sha256.Sum256([]byte("a71e" + ebayToken + "https://h/in"))
	for _, c := range []struct {
		name     string
		settings map[string]string
		r        *Request
		status   int
		header   string // "Name: value" of the reply
		body     string
	}{
		{"meta", meta, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=our+verify+token&hub.challenge=1158201444", ""), 200, "Content-Type: text/plain; charset=utf-8", "1158201444"},
		{"whatsapp", meta, shakeRequest("GET https://h/?hub.challenge=1%3C2&hub.mode=subscribe&hub.verify_token=our%20verify%20token", ""), 200, "X-Content-Type-Options: nosniff", "1<2"},
		{"dropbox", nil, shakeRequest("GET https://h/?challenge=abc123", ""), 200, "X-Content-Type-Options: nosniff", "abc123"},
		{"nylas", nil, shakeRequest("GET https://h/?challenge=abc-123", ""), 200, "Content-Type: text/plain; charset=utf-8", "abc-123"},
		{"onfleet", nil, shakeRequest("GET https://h/?check=d9a0", ""), 200, "Content-Type: text/plain; charset=utf-8", "d9a0"},
		{"x", nil, shakeRequest("GET https://h/?crc_token=NTMw&nonce=1", ""), 200, "Content-Type: application/json", `{"response_token":"sha256=` + base64.StdEncoding.EncodeToString(shakeSum("NTMw")) + `"}`},
		{"convoy", nil, shakeRequest("GET https://h/?crc_token=NTMw", ""), 200, "", `{"response_token":"sha256=` + base64.StdEncoding.EncodeToString(shakeSum("NTMw")) + `"}`},
		{"linkedin", nil, shakeRequest("GET https://h/?challengeCode=890e4665-4dfe", ""), 200, "Content-Type: application/json", `{"challengeCode":"890e4665-4dfe","challengeResponse":"` + hex.EncodeToString(shakeSum("890e4665-4dfe")) + `"}`},
		{"okta", nil, shakeRequest("GET https://h/", "", "X-Okta-Verification-Challenge: Qu/dq-1"), 200, "Content-Type: application/json", `{"verification":"Qu/dq-1"}`},
		{"ebay", ebay, shakeRequest("GET https://proxy/x?challenge_code=a71e", ""), 200, "Content-Type: application/json", `{"challengeResponse":"` + hex.EncodeToString(ebaySum[:]) + `"}`},
		{"trello", nil, shakeRequest("HEAD https://h/", ""), 200, "", ""},
		{"intercom", nil, shakeRequest("HEAD https://h/", ""), 200, "", ""},
		{"mandrill", nil, shakeRequest("HEAD https://h/", ""), 200, "", ""},
		{"mandrill", nil, shakeRequest("POST https://h/", "mandrill_events=%5B%5D", shakeForm), 200, "", ""},
		{"woocommerce", nil, shakeRequest("POST https://h/", "webhook_id=12", shakeForm), 200, "", ""},
		{"microsoft-graph", nil, shakeRequest("POST https://h/?validationToken=Validation%3A+Testing+client", ""), 200, "Content-Type: text/plain; charset=utf-8", "Validation: Testing client"},
		{"azure-event-grid", nil, shakeRequest("POST https://h/", gridCheck, "signed"), 200, "Content-Type: application/json", `{"validationResponse":"512d38b6-c7b8"}`},
		{"azure-event-grid", nil, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: eventgrid.azure.net"), 200, "WebHook-Allowed-Origin: eventgrid.azure.net", ""},
		{"cloudevents", map[string]string{"allowed_origins": "a.test, Emitter.example.com", "allowed_rate": "120"}, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: emitter.example.com", "WebHook-Request-Rate: 200"), 200, "WebHook-Allowed-Rate: 120", ""},
		{"cloudevents", map[string]string{"allowed_origins": "*"}, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: b.test"), 200, "WebHook-Allowed-Origin: b.test", ""},
		{"cloudevents", map[string]string{"allowed_origins": "*"}, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: b.test"), 200, "WebHook-Allowed-Rate: *", ""},
		{"front", nil, shakeRequest("POST https://h/", `{"type":"sync","authorization":{"id":"cmp_abc"}}`, "signed", "X-Front-Challenge: c1"), 200, "Content-Type: text/plain; charset=utf-8", "c1"},
		{"xero", nil, shakeRequest("POST https://h/", xeroCheck, "signed"), 200, "", ""},
		{"discord", nil, shakeRequest("POST https://h/", `{"id":"1","token":"t","type":1,"version":1}`, "signed"), 200, "Content-Type: application/json", `{"type":1}`},
		{"discord", nil, shakeRequest("POST https://h/", `{"version":1,"application_id":"1","type":0}`, "signed"), 204, "", ""},
	} {
		v := shakeWith(t, c.name, c.settings, nil)
		reply, err := v.Handshake(c.r)
		if err != nil || reply == nil || reply.Status != c.status || string(reply.Body) != c.body {
			t.Errorf("%s %s: %+v, %v", c.name, c.r.URL, reply, err)
			continue
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok && reply.Header.Get(name) != value {
			t.Errorf("%s: %s is %q, not %q", c.name, name, reply.Header.Get(name), value)
		}
		if !slices.Contains(v.HandshakeMethods(), c.r.Method) {
			t.Errorf("%s: the methods are %v", c.name, v.HandshakeMethods())
		}
		// What is given away belongs to the caller.
		reply.Header.Set("Allow", "changed")
		clear(reply.Body)
		if again, err := v.Handshake(c.r); err != nil || string(again.Body) != c.body || again.Header.Get("Allow") == "changed" {
			t.Errorf("%s: a caller changed the handshake: %+v, %v", c.name, again, err)
		}
	}
}

// TestHandshakesAreRefused: what is missing, wrong or not set up is never answered.
func TestHandshakesAreRefused(t *testing.T) {
	t.Parallel()
	meta := map[string]string{"verify_token": "our verify token"}
	long := strings.Repeat("x", maxChallenge+1)
	for why, c := range map[string]struct {
		name     string
		settings map[string]string
		r        *Request
		kind     error
	}{
		"no verify token is set up":        {"meta", nil, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=x&hub.challenge=1", ""), ErrMissing},
		"no token is set up, none shown":   {"meta", nil, shakeRequest("GET https://h/?hub.mode=subscribe&hub.challenge=1", ""), ErrMissing},
		"an empty token":                   {"meta", nil, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=&hub.challenge=1", ""), ErrMissing},
		"another token":                    {"meta", meta, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=our+verify+tokem&hub.challenge=1", ""), ErrMismatch},
		"the beginning of the token":       {"meta", meta, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=our&hub.challenge=1", ""), ErrMismatch},
		"two tokens":                       {"meta", meta, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=our+verify+token&hub.verify_token=x&hub.challenge=1", ""), ErrMalformed},
		"the signing secret as a token":    {"meta", meta, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=a+secret+for+handshakes&hub.challenge=1", ""), ErrMismatch},
		"a token without a challenge":      {"meta", meta, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=our+verify+token", ""), ErrMissing},
		"a long challenge":                 {"dropbox", nil, shakeRequest("GET https://h/?challenge="+long, ""), ErrMalformed},
		"two challenges":                   {"dropbox", nil, shakeRequest("GET https://h/?challenge=a&challenge=b", ""), ErrMalformed},
		"a digest of an event":             {"x", nil, shakeRequest("GET https://h/?crc_token=%7B%22a%22:1%7D", ""), ErrMalformed},
		"a hash without a token":           {"ebay", nil, shakeRequest("GET https://h/?challenge_code=a71e", ""), ErrMissing},
		"Event Grid without its token":     {"azure-event-grid", nil, shakeRequest("POST https://h/", gridCheck), ErrMissing},
		"another origin":                   {"azure-event-grid", nil, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: evil.test"), ErrMismatch},
		"no origin is set up":              {"cloudevents", nil, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: b.test"), ErrMismatch},
		"an origin that is no header text": {"cloudevents", map[string]string{"allowed_origins": "*"}, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: b\ttest"), ErrMalformed},
		"Front, not signed":                {"front", nil, shakeRequest("POST https://h/", `{"type":"sync"}`, "X-Front-Challenge: c1"), ErrMissing},
		"Front, without a challenge":       {"front", nil, shakeRequest("POST https://h/", `{"type":"sync"}`, "signed"), ErrMissing},
		"Xero's wrong signature":           {"xero", nil, shakeRequest("POST https://h/", xeroCheck, "X-Hub-Signature-256: sha256="+strings.Repeat("0", 64)), ErrMismatch},
		"Discord's wrong signature":        {"discord", nil, shakeRequest("POST https://h/", `{"type":1}`, "X-Hub-Signature-256: sha256="+strings.Repeat("0", 64)), ErrMismatch},
		"Asana, nobody waits":              {"asana", nil, shakeRequest("POST https://h/", "", "X-Hook-Secret: b537207f20cbfa02"), ErrMissing},
		"Notion, nobody waits":             {"notion", nil, shakeRequest("POST https://h/", `{"verification_token":"secret_tMrlL1qK5vu"}`), ErrMissing},
	} {
		reply, err := shakeWith(t, c.name, c.settings, nil).Handshake(c.r)
		if reply != nil || !errors.Is(err, ErrRefused) || !errors.Is(err, c.kind) {
			t.Errorf("%s: %+v, %v", why, reply, err)
			continue
		}
		for _, secret := range []string{"our verify token", shakeSecret, "b537207f", "secret_tMrl", "tokem"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows %q: %v", why, secret, err)
			}
		}
	}
}

// TestEventsAreNoHandshakes: what looks like a handshake and is an event goes to Verify, so that it is not lost.
func TestEventsAreNoHandshakes(t *testing.T) {
	t.Parallel()
	for why, c := range map[string]struct {
		name string
		r    *Request
	}{
		"a webhook event of Discord":    {"discord", shakeRequest("POST https://h/", `{"version":1,"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}`, "signed")},
		"an interaction of Discord":     {"discord", shakeRequest("POST https://h/", `{"type":2,"token":"t"}`, "signed")},
		"events of Xero":                {"xero", shakeRequest("POST https://h/", `{"events":[{"resourceId":"r","eventType":"CREATE"}],"firstEventSequence":0,"lastEventSequence":0}`, "signed")},
		"an event of Graph":             {"microsoft-graph", shakeRequest("POST https://h/", `{"value":[{"clientState":"s"}]}`, "signed")},
		"an order of WooCommerce":       {"woocommerce", shakeRequest("POST https://h/", "webhook_id=12", shakeForm, "X-WC-Webhook-Signature: x")},
		"events of Mandrill":            {"mandrill", shakeRequest("POST https://h/", "mandrill_events=%5B%7B%7D%5D", shakeForm)},
		"an event of Event Grid":        {"azure-event-grid", shakeRequest("POST https://h/", `[{"eventType":"Microsoft.Storage.BlobCreated","data":{"validationCode":"x"}}]`, "signed")},
		"events of Asana":               {"asana", shakeRequest("POST https://h/", `{"events":[]}`, "signed")},
		"an event of Notion":            {"notion", shakeRequest("POST https://h/", `{"id":"1","type":"page.created","verification_token":"x"}`, "signed")},
		"a GET without a challenge":     {"dropbox", shakeRequest("GET https://h/", "")},
		"Meta without a mode":           {"meta", shakeRequest("GET https://h/?hub.challenge=1&hub.verify_token=x", "")},
		"OPTIONS of a browser":          {"cloudevents", shakeRequest("OPTIONS https://h/", "", "Origin: https://b.test")},
		"a method that nobody asked by": {"okta", shakeRequest("POST https://h/", "{}", "X-Okta-Verification-Challenge: x")},
	} {
		if reply, err := shakeWith(t, c.name, nil, nil).Handshake(c.r); reply != nil || err != nil {
			t.Errorf("%s: %+v, %v", why, reply, err)
		}
	}
}

// TestDeliveredSecret: Asana and Notion bring the secret themselves. It goes to the function and nowhere else.
func TestDeliveredSecret(t *testing.T) {
	t.Parallel()
	var got []string
	var no error
	onSecret := func(_ context.Context, s Secret) error {
		got = append(got, s.Reveal())
		return no
	}
	asana := shakeRequest("POST https://h/", "", "X-Hook-Secret: b537207f20cbfa02")
	reply, err := shakeWith(t, "asana", nil, onSecret).Handshake(asana)
	if err != nil || reply.Status != 200 || reply.Header.Get("X-Hook-Secret") != "b537207f20cbfa02" || len(reply.Body) != 0 {
		t.Errorf("asana: %+v, %v", reply, err)
	}
	notion := shakeRequest("POST https://h/", `{"verification_token":"secret_tMrlL1qK5vu"}`)
	reply, err = shakeWith(t, "notion", nil, onSecret).Handshake(notion)
	if err != nil || reply.Status != 200 || len(reply.Body) != 0 {
		t.Errorf("notion: %+v, %v", reply, err)
	}
	if fmt.Sprint(got) != "[b537207f20cbfa02 secret_tMrlL1qK5vu]" {
		t.Errorf("delivered were %v", got)
	}
	no = errors.New("I have b537207f20cbfa02 already")
	for why, r := range map[string]*Request{
		"not wanted": asana,
		"short":      shakeRequest("POST https://h/", "", "X-Hook-Secret: b537"),
		"twice":      shakeRequest("POST https://h/", "", "X-Hook-Secret: b537207f20cbfa02", "X-Hook-Secret: b537207f20cbfa03"),
	} {
		reply, err := shakeWith(t, "asana", nil, onSecret).Handshake(r)
		if e := (*Error)(nil); reply != nil || !errors.As(err, &e) || !e.HoldsSecret || strings.Contains(err.Error(), "b537") {
			t.Errorf("%s: %+v, %v", why, reply, err)
		}
	}
}

// TestWaitingForTheSecret: before the provider brought its secret there is none to give to ForProvider.
func TestWaitingForTheSecret(t *testing.T) {
	t.Parallel()
	list, reply, err := (&provider{Provider: Provider{Name: "asana"}}).replies(Options{OnSecret: func(context.Context, Secret) error { return nil }})
	if err != nil || reply != nil {
		t.Fatal(err)
	}
	v, err := withHandshakes("asana", waiting{"asana"}, list, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(shakeRequest("POST https://h/", `{"events":[]}`)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "OnSecret") {
		t.Errorf("an event before the secret: %v", err)
	}
	if reply, err := v.(Handshaker).Handshake(shakeRequest("POST https://h/", "", "X-Hook-Secret: b537207f20cbfa02")); err != nil || reply == nil {
		t.Errorf("the secret: %+v, %v", reply, err)
	}
	if _, err := ForProvider("github", Options{OnSecret: func(context.Context, Secret) error { return nil }}); err == nil || !strings.Contains(err.Error(), "OnSecret") {
		t.Errorf("github brings no secret: %v", err)
	}
}

// TestLentSignaturesOpenNothing: whoever has the digest of a challenge has no event for it, whatever its body is.
func TestLentSignaturesOpenNothing(t *testing.T) {
	t.Parallel()
	v := shakeWith(t, "x", nil, nil)
	for _, body := range []string{"12345", "true", "aGVsbG8=", ""} {
		if _, err := v.Verify(shakeRequest("POST https://h/", body, "signed")); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q is taken for an event: %v", body, err)
		}
	}
	if _, err := v.Verify(shakeRequest("POST https://h/", `{"a":1}`, "signed")); err != nil {
		t.Errorf("an event: %v", err)
	}
	// Nothing is lent here, so nothing is refused.
	if _, err := shakeWith(t, "dropbox", nil, nil).Verify(shakeRequest("POST https://h/", "12345", "signed")); err != nil {
		t.Errorf("an event of a provider without digests: %v", err)
	}
}

func TestHandshakeMistakesAreFound(t *testing.T) {
	t.Parallel()
	row := presetRow("github")
	row.Name = "mine"
	metadata := row
	metadata.Message = []Part{Header("X-Id")}
	for words, h := range map[string]Handshake{
		"has no Challenge":      {Method: "GET"},
		"number 0 has no Chall": {Method: "GET", Members: []Member{{Name: "x"}}, Reply: &Reply{}},
		"say When":              {Challenge: JSON("challenge")},
		"When or Unless":        {Reply: &Reply{}},
		"without Name":          {Method: "GET", Challenge: Query("c"), Members: []Member{{}}},
		"without Encoding":      {Method: "GET", Challenge: Query("c"), Members: []Member{{Name: "x", Hash: []Part{Query("c")}}}},
		"both Digest and Hash":  {Method: "GET", Challenge: Query("c"), Members: []Member{{Name: "x", Encoding: Hex, Digest: true, Hash: []Part{Query("c")}}}},
		"a token of 5 bytes":    {Method: "GET", Challenge: Query("c"), Token: Query("t"), TokenSecret: NewSecret("short")},
		"stand in Message only": {Method: "GET", Challenge: Body},
	} {
		s := row
		s.Handshakes = []Handshake{h}
		if _, err := NewVerifier(s, NewSecret(shakeSecret)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", words, err)
		}
	}
	metadata.Handshakes = []Handshake{crc}
	if _, err := NewVerifier(metadata, NewSecret(shakeSecret)); err == nil || !strings.Contains(err.Error(), "sign for strangers") {
		t.Errorf("digests of a scheme that does not sign the body: %v", err)
	}
	for name, settings := range map[string]map[string]string{
		"meta":        {"verify_token": "short"},
		"ebay":        {"verification_token": "too short for eBay", "endpoint": "https://h/"},
		"cloudevents": {"allowed_rate": "many"},
	} {
		if _, err := handshakes(name, settings); err == nil {
			t.Errorf("%s takes %v", name, settings)
		}
	}
	if _, err := handshakes("ebay", map[string]string{"verification_token": ebayToken}); err == nil || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("ebay without its endpoint: %v", err)
	}
}

// TestEveryHandshakeFitsARow: no entry of the table has a mistake, with settings and without.
func TestEveryHandshakeFitsARow(t *testing.T) {
	t.Parallel()
	for name := range handshakesOf {
		v := shakeWith(t, name, nil, nil)
		if len(v.s.Handshakes) == 0 {
			t.Errorf("%s has no handshake", name)
		}
	}
}

func presetRow(name string) Scheme {
	s, _ := Preset(name)
	return s
}

// TestHandshakesOfTheCatalogue: every name of the table is a provider's, and what ForProvider makes answers.
func TestHandshakesOfTheCatalogue(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{slices.Collect(maps.Keys(handshakesOf)), slices.Collect(maps.Keys(answersOf))} {
		for _, name := range names {
			if _, ok := lookUp(name); !ok {
				t.Errorf("%s is no provider", name)
			}
		}
	}
	ask := func(name string, settings map[string]string, r *Request) (*Reply, error) {
		t.Helper()
		v, err := ForProvider(name, Options{Settings: settings}, NewSecret(shakeSecret))
		if err != nil {
			t.Fatal(err)
		}
		return v.(Handshaker).Handshake(r)
	}
	for _, c := range []struct {
		name     string
		settings map[string]string
		r        *Request
		body     string
	}{
		{"meta", map[string]string{"verify_token": "our verify token"}, shakeRequest("GET https://h/?hub.mode=subscribe&hub.verify_token=our+verify+token&hub.challenge=1", ""), "1"},
		{"x", nil, shakeRequest("GET https://h/?crc_token=a", ""), `{"response_token":"sha256=` + base64.StdEncoding.EncodeToString(shakeSum("a")) + `"}`},
		{"linkedin", nil, shakeRequest("GET https://h/?challengeCode=a", ""), `{"challengeCode":"a","challengeResponse":"` + hex.EncodeToString(shakeSum("a")) + `"}`},
		{"okta", nil, shakeRequest("GET https://h/", "", "X-Okta-Verification-Challenge: a"), `{"verification":"a"}`},
		{"mandrill", nil, shakeRequest("HEAD https://h/", ""), ""},
		{"azure-event-grid", nil, shakeRequest("POST https://h/?access_token=a+secret+for+handshakes", gridCheck), `{"validationResponse":"512d38b6-c7b8"}`},
		{"azure-event-grid", nil, shakeRequest("POST https://h/", gridCheck, "Authorization: Bearer "+shakeSecret), `{"validationResponse":"512d38b6-c7b8"}`},
		{"cloudevents", map[string]string{"allowed_origins": "a.test"}, shakeRequest("OPTIONS https://h/", "", "WebHook-Request-Origin: a.test"), ""},
	} {
		if reply, err := ask(c.name, c.settings, c.r); err != nil || reply == nil || string(reply.Body) != c.body {
			t.Errorf("%s: %+v, %v", c.name, reply, err)
		}
	}
	for why, r := range map[string]*Request{
		"no token":      shakeRequest("POST https://h/", gridCheck),
		"another token": shakeRequest("POST https://h/?access_token=another+secret", gridCheck),
	} {
		if reply, err := ask("azure-event-grid", nil, r); reply != nil || !errors.Is(err, ErrRefused) {
			t.Errorf("Event Grid, %s: %+v, %v", why, reply, err)
		}
	}
	v, err := ForProvider("asana", Options{OnSecret: func(context.Context, Secret) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := v.(Handshaker).Handshake(shakeRequest("POST https://h/", "", "X-Hook-Secret: b537207f20cbfa02")); err != nil || reply == nil {
		t.Errorf("asana without a secret yet: %+v, %v", reply, err)
	}
	if _, err := ForProvider("asana", Options{}); err == nil {
		t.Error("asana without a secret and without OnSecret")
	}
	if _, err := ForProvider("meta", Options{Settings: map[string]string{"verify_token": "short"}}, NewSecret(shakeSecret)); err == nil || !strings.Contains(err.Error(), "verify_token") || strings.Contains(err.Error(), "short") {
		t.Errorf("a short verify token: %v", err)
	}
}
