package signing_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// The keys, the request and the signatures of RFC 9421 appendix B.
const (
	rfcShared  = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
	rfcSeed    = "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"
	rfcPublic  = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"
	rfcURL     = "https://example.com/foo?param=Value&Pet=dog"
	rfcBody    = `{"hello": "world"}`
	rfcCreated = 1618884473
	rfcB25     = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"
	rfcB26     = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
)

func rfcHeader() http.Header {
	return http.Header{
		"Host": {"example.com"}, "Date": {"Tue, 20 Apr 2021 02:07:55 GMT"}, "Content-Type": {"application/json"},
		"Content-Digest": {"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"},
		"Content-Length": {"18"},
	}
}

func rfcKey(t *testing.T) (private, public signing.Secret) {
	t.Helper()
	seed, err := base64.RawURLEncoding.DecodeString(rfcSeed)
	if err != nil {
		t.Fatal(err)
	}
	both := ed25519.NewKeyFromSeed(seed)
	if base64.RawURLEncoding.EncodeToString(both[32:]) != rfcPublic {
		t.Fatal("the key of the RFC is written down wrongly")
	}
	return signing.NewSecret("whsk_" + base64.StdEncoding.EncodeToString(both)), signing.NewSecret("whpk_" + base64.StdEncoding.EncodeToString(both[32:]))
}

func TestHTTPMessageSignaturesAreThoseOfTheRFC(t *testing.T) {
	t.Parallel()
	private, public := rfcKey(t)
	for _, c := range []struct {
		o               signing.HTTPMessageOptions
		secret, holds   signing.Secret
		input, expected string
	}{
		{
			signing.HTTPMessageOptions{
				Components: []string{"date", "@authority", "content-type"}, Label: "sig-b25", KeyID: "test-shared-secret", OmitAlgorithm: true,
			},
			signing.NewSecret(rfcShared), signing.NewSecret("whsec_" + rfcShared),
			`sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`, rfcB25,
		},
		{
			signing.HTTPMessageOptions{
				Components: []string{"date", "@method", "@path", "@authority", "content-type", "content-length"},
				Label:      "sig-b26", KeyID: "test-key-ed25519", OmitAlgorithm: true,
			},
			private, public,
			`sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`, rfcB26,
		},
	} {
		signer, err := signing.HTTPMessageSignatures(c.o)
		if err != nil {
			t.Fatal(err)
		}
		h := rfcHeader()
		m := signing.Message{Time: time.Unix(rfcCreated, 0), Method: "POST", URL: rfcURL, Body: []byte(rfcBody)}
		if err := signer.Sign(h, m, []signing.Secret{c.secret}); err != nil {
			t.Fatal(err)
		}
		if h.Get("Signature-Input") != c.input || h.Get("Signature") != c.expected {
			t.Errorf("got  %s\n     %s\nwant %s\n     %s", h.Get("Signature-Input"), h.Get("Signature"), c.input, c.expected)
		}
		// And a verifier takes what the RFC prints.
		published := rfcHeader()
		published.Set("Signature-Input", c.input)
		published.Set("Signature", c.expected)
		v, err := signing.NewHTTPMessageVerifier(c.o, c.holds)
		v = mustVerifier(t, v, err)
		r := &signing.Request{Method: "POST", URL: rfcURL, Header: published, Body: []byte(rfcBody), Time: time.Unix(rfcCreated+10, 0)}
		if verdict, err := v.Verify(r); err != nil || verdict.Covers != signing.CoversMetadata || verdict.Key != 0 {
			t.Errorf("%+v, %v", verdict, err)
		}
		published.Set("Content-Type", "text/plain")
		if _, err := v.Verify(r); !errors.Is(err, signing.ErrMismatch) {
			t.Errorf("with another type: %v", err)
		}
	}
}

// The whole of a request as it is signed by default, put together here by hand.
func TestHTTPMessageSignaturesByDefault(t *testing.T) {
	t.Parallel()
	signer, err := signing.HTTPMessageSignatures(signing.HTTPMessageOptions{KeyID: `a "key" \ 1`})
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(strings.Repeat("k", 32))
	secret := signing.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(key))
	for _, c := range []struct{ url, target string }{
		{"HTTPS://Example.COM:443/hook?a=1#part", "https://example.com/hook?a=1"},
		{"http://example.com:80", "http://example.com/"},
		{"http://example.com:8080/a b?c d=ü", "http://example.com:8080/a%20b?c%20d=%C3%BC"},
	} {
		for _, contentType := range []string{"application/json", ""} {
			m := outgoing
			m.URL, m.ContentType = c.url, contentType
			h := http.Header{}
			if err := signer.Sign(h, m, []signing.Secret{secret}); err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256(m.Body)
			list := `("@method" "@target-uri" "content-digest" "content-type" "webhook-id")`
			typeLine := "\"content-type\": application/json\n"
			if contentType == "" {
				list, typeLine = `("@method" "@target-uri" "content-digest" "webhook-id")`, ""
			}
			params := list + `;created=1700000000;keyid="a \"key\" \\ 1";alg="hmac-sha256"`
			base := "\"@method\": POST\n\"@target-uri\": " + c.target + "\n\"content-digest\": sha-256=:" +
				base64.StdEncoding.EncodeToString(digest[:]) + ":\n" + typeLine + "\"webhook-id\": evt_1\n\"@signature-params\": " + params
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(base))
			if got := h.Get("Signature-Input"); got != "sig="+params {
				t.Errorf("%s: signs %s\nwant %s", c.url, got, params)
			}
			if got := h.Get("Signature"); got != "sig=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":" {
				t.Errorf("%s: another signature than that of\n%s", c.url, base)
			}
			if h.Get("Content-Type") != contentType {
				t.Errorf("the content type is %q", h.Get("Content-Type"))
			}
		}
	}
}

// Each secret signs under a label of its own, and a receiver that holds any one of them is content.
func TestHTTPMessageSignaturesDuringARotation(t *testing.T) {
	t.Parallel()
	signer, _ := signing.SignerFor("http-message")
	private := signing.NewEd25519Secret()
	public, err := signing.PublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	shared, other := signer.NewSecret(), signer.NewSecret()
	h := http.Header{}
	if err := signer.Sign(h, outgoing, []signing.Secret{private, shared, other}); err != nil {
		t.Fatal(err)
	}
	input := h.Get("Signature-Input")
	for _, label := range []string{"sig=(", ", sig-2=(", ", sig-3=("} {
		if !strings.Contains(input, label) {
			t.Errorf("no %q in %s", label, input)
		}
	}
	for _, s := range []signing.Secret{private, shared, other} {
		if strings.Contains(input, s.Reveal()[8:20]) {
			t.Error("the input shows a part of a secret")
		}
	}
	r := &signing.Request{Method: "POST", URL: outgoing.URL, Header: h, Body: outgoing.Body, Time: outgoing.Time}
	for _, holds := range [][]signing.Secret{{signing.NewSecret(public)}, {shared}, {other}, {signer.NewSecret(), other}} {
		v, err := signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{}, holds...)
		v = mustVerifier(t, v, err)
		verdict, err := v.Verify(r)
		want := signing.Verdict{Type: "invoice.paid", ID: "evt_1", Key: len(holds) - 1, Covers: signing.CoversBody}
		if err != nil || verdict != want {
			t.Errorf("%+v, %v", verdict, err)
		}
	}
	v, err := signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{}, signer.NewSecret())
	v = mustVerifier(t, v, err)
	if _, err := v.Verify(r); !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("a stranger's key: %v", err)
	}
}

func TestHTTPMessageVerifierRefuses(t *testing.T) {
	t.Parallel()
	signer, _ := signing.SignerFor("http-message")
	secret := signer.NewSecret()
	v, err := signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{}, secret)
	v = mustVerifier(t, v, err)
	good := func() *signing.Request {
		h := http.Header{}
		if err := signer.Sign(h, outgoing, []signing.Secret{secret}); err != nil {
			t.Fatal(err)
		}
		return &signing.Request{Method: "POST", URL: outgoing.URL, Header: h, Body: slices.Clone(outgoing.Body), Time: outgoing.Time}
	}
	if _, err := v.Verify(good()); err != nil {
		t.Fatal(err)
	}
	edit := func(name, old, with string) func(*signing.Request) {
		return func(r *signing.Request) {
			text := r.Header.Get(name)
			if !strings.Contains(text, old) {
				t.Fatalf("no %q in %s", old, text)
			}
			r.Header.Set(name, strings.Replace(text, old, with, 1))
		}
	}
	foreign := signing.HTTPMessageOptions{Components: []string{"@method", "webhook-id"}}
	for name, c := range map[string]struct {
		change func(*signing.Request)
		kind   error
	}{
		"no input":         {func(r *signing.Request) { r.Header.Del("Signature-Input") }, signing.ErrMissing},
		"no signature":     {func(r *signing.Request) { r.Header.Del("Signature") }, signing.ErrMissing},
		"two signatures":   {func(r *signing.Request) { r.Header.Add("Signature", "x") }, signing.ErrMalformed},
		"too long":         {func(r *signing.Request) { r.Header.Set("Signature", strings.Repeat("x", 9000)) }, signing.ErrMalformed},
		"method":           {func(r *signing.Request) { r.Method = "PUT" }, signing.ErrMismatch},
		"URL":              {func(r *signing.Request) { r.URL += "&b=2" }, signing.ErrMismatch},
		"no URL":           {func(r *signing.Request) { r.URL = "/hook" }, signing.ErrMissing},
		"body":             {func(r *signing.Request) { r.Body[0] = '[' }, signing.ErrMismatch},
		"digest":           {func(r *signing.Request) { r.Header.Set("Content-Digest", "sha-256=:AAAA:") }, signing.ErrMismatch},
		"content type":     {func(r *signing.Request) { r.Header.Set("Content-Type", "text/html") }, signing.ErrMismatch},
		"ID":               {func(r *signing.Request) { r.Header.Set("Webhook-Id", "evt_2") }, signing.ErrMismatch},
		"no ID":            {func(r *signing.Request) { r.Header.Del("Webhook-Id") }, signing.ErrMissing},
		"old":              {func(r *signing.Request) { r.Time = r.Time.Add(301 * time.Second) }, signing.ErrTooOld},
		"new":              {func(r *signing.Request) { r.Time = r.Time.Add(-301 * time.Second) }, signing.ErrTooNew},
		"created":          {edit("Signature-Input", "created=1700000000", "created=1700000001"), signing.ErrMismatch},
		"no created":       {edit("Signature-Input", ";created=1700000000", ""), signing.ErrMissing},
		"another alg":      {edit("Signature-Input", `"hmac-sha256"`, `"ed25519"`), signing.ErrMismatch},
		"empty alg":        {edit("Signature-Input", `"hmac-sha256"`, `""`), signing.ErrMalformed},
		"component gone":   {edit("Signature-Input", ` "content-digest"`, ""), signing.ErrMissing},
		"component twice":  {edit("Signature-Input", `("@method"`, `("@method" "@method"`), signing.ErrMalformed},
		"component params": {edit("Signature-Input", `"@method"`, `"@method";req`), signing.ErrMalformed},
		"status":           {edit("Signature-Input", `"@method"`, `"@status"`), signing.ErrMalformed},
		"label twice": {func(r *signing.Request) {
			s := r.Header.Get("Signature-Input")
			r.Header.Set("Signature-Input", s+", "+s)
		}, signing.ErrMalformed},
		"other label": {edit("Signature", "sig=", "gis="), signing.ErrMalformed},
		"not base64":  {edit("Signature", "sig=:", "sig=:*"), signing.ErrMalformed},
		"cut off":     {func(r *signing.Request) { r.Header.Set("Signature-Input", r.Header.Get("Signature-Input")[:60]) }, signing.ErrMalformed},
		"covers too little": {func(r *signing.Request) {
			weak, err := signing.HTTPMessageSignatures(foreign)
			if err != nil {
				t.Fatal(err)
			}
			if err := weak.Sign(r.Header, outgoing, []signing.Secret{secret}); err != nil {
				t.Fatal(err)
			}
		}, signing.ErrMissing},
	} {
		r := good()
		c.change(r)
		_, err := v.Verify(r)
		if !errors.Is(err, signing.ErrRefused) || !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}

	// An expired signature is refused, whoever made it: expires is a parameter that the signer here does not write.
	h := rfcHeader()
	params := `("@method");created=1700000000;expires=1700000010;nonce="n";tag="t"`
	raw, _ := base64.StdEncoding.DecodeString(rfcShared)
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "\"@method\": POST\n\"@signature-params\": %s", params)
	h.Set("Signature-Input", "a="+params)
	h.Set("Signature", "a=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
	v, err = signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{Components: []string{"@method"}}, signing.NewSecret(rfcShared))
	v = mustVerifier(t, v, err)
	for at, want := range map[int64]error{1700000009: nil, 1700000010: signing.ErrTooOld} {
		if _, err := v.Verify(&signing.Request{Method: "POST", Header: h, Time: time.Unix(at, 0)}); !errors.Is(err, want) {
			t.Errorf("at %d: %v, want %v", at, err, want)
		}
	}
	v, err = signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{Components: []string{"@method"}, KeyID: "k"}, signing.NewSecret(rfcShared))
	v = mustVerifier(t, v, err)
	if _, err := v.Verify(&signing.Request{Method: "POST", Header: h, Time: time.Unix(1700000000, 0)}); !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("without the keyid that is set: %v", err)
	}
}

func TestHTTPMessageOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]signing.HTTPMessageOptions{
		"no components": {Components: []string{}},
		"status":        {Components: []string{"@status"}},
		"upper case":    {Components: []string{"Date"}},
		"parameters":    {Components: []string{`@query-param";name="a`}},
		"twice":         {Components: []string{"date", "date"}},
		"itself":        {Components: []string{"signature"}},
		"connection":    {Components: []string{"host"}},
		"label":         {Label: "Sig"},
		"label digit":   {Label: "1"},
		"key ID":        {KeyID: "a\n"},
		"long key ID":   {KeyID: strings.Repeat("a", 257)},
		"tolerance":     {Tolerance: -1},
	} {
		if s, err := signing.HTTPMessageSignatures(o); err == nil || s != nil || !strings.HasPrefix(err.Error(), "signing: HTTPMessageOptions.") {
			t.Errorf("%s: a signer is made: %v", name, err)
		}
		if v, err := signing.NewHTTPMessageVerifier(o, signing.StandardWebhooks.NewSecret()); err == nil || v != nil {
			t.Errorf("%s: a verifier is made", name)
		}
	}
	for _, text := range []string{"", "short", "whsec_AAAA", signing.NewEd25519Secret().Reveal()} {
		if _, err := signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{}, signing.NewSecret(text)); err == nil || (text != "" && strings.Contains(err.Error(), text)) {
			t.Errorf("a bad secret: %v", err)
		}
	}
	signer, err := signing.HTTPMessageSignatures(signing.HTTPMessageOptions{Components: []string{"x-absent"}})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	if err := signer.Sign(h, outgoing, []signing.Secret{signer.NewSecret()}); err == nil || len(h) != 0 {
		t.Errorf("a header that is not there is signed: %v, %v", err, h)
	}
}

// FuzzHTTPMessageVerifier looks for headers that make the verifier panic, or that it takes.
func FuzzHTTPMessageVerifier(f *testing.F) {
	f.Add(`sig=("@method" "content-digest");created=1700000000;keyid="a\"";alg="hmac-sha256"`, "sig=:AAAA:", "sha-256=:AAAA:", "https://h/p?q")
	f.Add(`a=();created=-1;x="\\", b=("@query")`, "a=:AA==:,\tb=:AAAA:", "", "")
	f.Add("", "", "", "%")
	v, err := signing.NewHTTPMessageVerifier(signing.HTTPMessageOptions{Components: []string{"@method"}}, signing.StandardWebhooks.NewSecret())
	v = mustVerifier(f, v, err)
	f.Fuzz(func(t *testing.T, input, signature, digest, url string) {
		r := &signing.Request{
			Method: "POST", URL: url, Time: time.Unix(1700000000, 0),
			Header: http.Header{"Signature-Input": {input}, "Signature": {signature}, "Content-Digest": {digest}},
		}
		if _, err := v.Verify(r); !errors.Is(err, signing.ErrRefused) {
			t.Errorf("taken, or another error: %v", err)
		}
	})
}
