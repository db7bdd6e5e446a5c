package signing_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

func b64MAC(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// outgoing is what the tests sign.
var outgoing = signing.Message{
	ID: "evt_1", Type: "invoice.paid", Time: time.Unix(1700000000, 999e6), Method: "POST", URL: "https://example.com/hook?a=1",
	ContentType: "application/json", Body: []byte(`{"type":"invoice.paid","amount":5}`),
}

func TestReadySignersWriteWhatIsDocumented(t *testing.T) {
	t.Parallel()
	const newest, older = "the newest secret of all", "the older secret of all"
	body := string(outgoing.Body)
	std := func(n byte) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(n), 32))) }
	raw := func(n byte) string { return strings.Repeat(string(n), 32) }
	for name, c := range map[string]struct {
		secrets []string
		want    http.Header
	}{
		"svix": {[]string{"whsec_" + std('a'), std('b')}, http.Header{
			"Svix-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"},
			"Svix-Signature": {"v1," + b64MAC(raw('a'), "evt_1.1700000000."+body) + " v1," + b64MAC(raw('b'), "evt_1.1700000000."+body)},
		}},
		"stripe": {[]string{newest, older}, http.Header{
			"Stripe-Signature": {"t=1700000000,v1=" + hexMAC(newest, "1700000000."+body) + ",v1=" + hexMAC(older, "1700000000."+body)},
		}},
		"github": {[]string{newest, older}, http.Header{
			"X-Hub-Signature-256": {"sha256=" + hexMAC(newest, body)}, "X-Github-Event": {"invoice.paid"}, "X-Github-Delivery": {"evt_1"},
		}},
		"shopify": {[]string{newest, older}, http.Header{
			"X-Shopify-Hmac-Sha256": {b64MAC(newest, body)}, "X-Shopify-Topic": {"invoice.paid"}, "X-Shopify-Webhook-Id": {"evt_1"},
		}},
		"slack": {[]string{newest}, http.Header{
			"X-Slack-Signature": {"v0=" + hexMAC(newest, "v0:1700000000:"+body)}, "X-Slack-Request-Timestamp": {"1700000000"},
		}},
		"hookdeck": {[]string{newest, older, "a third secret"}, http.Header{
			"X-Hookdeck-Signature": {b64MAC(newest, body)}, "X-Hookdeck-Signature-2": {b64MAC(older, body)}, "X-Hookdeck-Eventid": {"evt_1"},
		}},
		"convoy": {[]string{newest}, http.Header{"X-Convoy-Signature": {hexMAC(newest, body)}}},
		"convoy-advanced": {[]string{newest, older}, http.Header{
			"X-Convoy-Signature": {"t=1700000000,v1=" + hexMAC(newest, "1700000000,"+body) + ",v1=" + hexMAC(older, "1700000000,"+body)},
		}},
		"outpost": {[]string{newest, older}, http.Header{
			"X-Outpost-Signature": {"v0=" + hexMAC(newest, body) + "," + hexMAC(older, body)}, "X-Outpost-Timestamp": {"2023-11-14T22:13:20Z"},
			"X-Outpost-Topic": {"invoice.paid"}, "X-Outpost-Event-Id": {"evt_1"},
		}},
		"none": {nil, http.Header{}},
	} {
		signer, ok := signing.SignerFor(name)
		if !ok {
			t.Errorf("there is no signer %s", name)
			continue
		}
		h := http.Header{}
		if err := signer.Sign(h, outgoing, secretsOf(c.secrets...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if fmt.Sprint(h) != fmt.Sprint(c.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, h, c.want)
		}
	}
}

func secretsOf(texts ...string) []signing.Secret {
	out := make([]signing.Secret, len(texts))
	for i, text := range texts {
		out[i] = signing.NewSecret(text)
	}
	return out
}

// Every ready signer lists exactly the headers that it sets, takes the secrets that it makes, leaves the header alone when it
// fails, and signs what it signed before in the same way.
func TestReadySignersKeepTheContract(t *testing.T) {
	t.Parallel()
	names := signing.Signers()
	if len(names) < 12 || !slices.IsSorted(names) {
		t.Errorf("the signers are %q", names)
	}
	for _, name := range names {
		if name == "none" {
			continue
		}
		signer, _ := signing.SignerFor(name)
		secrets := []signing.Secret{signer.NewSecret(), signer.NewSecret()}
		if secrets[0].Reveal() == secrets[1].Reveal() || signer.CheckSecret(secrets[0]) != nil {
			t.Errorf("%s: makes secrets that are the same, or bad: %v", name, signer.CheckSecret(secrets[0]))
		}
		h := http.Header{}
		if err := signer.Sign(h, outgoing, secrets); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		lister, ok := signer.(signing.HeaderLister)
		if !ok {
			t.Errorf("%s: lists no headers", name)
			continue
		}
		set := slices.Sorted(maps.Keys(h))
		set = slices.DeleteFunc(set, func(s string) bool { return s == "Content-Type" })
		if got := lister.Headers(); !slices.Equal(got, set) {
			t.Errorf("%s: lists %q and sets %q", name, got, set)
		}
		first := fmt.Sprint(h)
		for n := range h {
			h[n] = []string{"stale", "stale"}
		}
		h.Set("Content-Type", "application/json")
		if err := signer.Sign(h, outgoing, secrets); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h2 := h.Clone()
		if name != "http-message" {
			h2.Del("Content-Type")
		}
		if fmt.Sprint(h2) != first {
			t.Errorf("%s: signed again over stale headers it is\n%v, and was\n%v", name, h2, first)
		}
		for why, fail := range map[string]struct {
			m       signing.Message
			secrets []signing.Secret
		}{
			"no secret":    {outgoing, nil},
			"zero secret":  {outgoing, []signing.Secret{{}}},
			"bad secret":   {outgoing, secretsOf("x")},
			"many secrets": {outgoing, slices.Repeat(secrets, 9)},
		} {
			before := fmt.Sprint(h)
			fail.m.ID, fail.m.Type, fail.m.Time = "evt_2", "other", time.Unix(1800000000, 0)
			if err := signer.Sign(h, fail.m, fail.secrets); err == nil || !strings.HasPrefix(err.Error(), "signing: ") || strings.Contains(err.Error(), "x\"") {
				t.Errorf("%s: %s: the error is %v", name, why, err)
			}
			if fmt.Sprint(h) != before {
				t.Errorf("%s: %s: the header was changed to %v", name, why, h)
			}
		}
	}
}

// A receiver takes any of the versions: one signature of each kind and secret is enough.
func TestRowSignersMakeOneSignatureOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	signer, err := signing.NewSigner(signing.Scheme{
		Name: "own", Signature: signing.Header("X-Sig"), Format: signing.Pairs,
		Tags:      []signing.Tag{{Name: "v1"}, {Name: "v2", Algorithm: signing.HMACSHA1}, {Name: "v3"}, {Name: "v4"}},
		Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	if err := signer.Sign(h, outgoing, secretsOf("a secret that signs", "another that signs")); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile("=[0-9a-f]+").ReplaceAllString(h.Get("X-Sig"), "")
	if got != "v1,v1,v2,v2" {
		t.Errorf("the entries are %s", got)
	}
}

// What a row signs, the same row verifies: with the newest secret and, where there is room, with each.
func TestRowsVerifyWhatTheySign(t *testing.T) {
	t.Parallel()
	own := signing.Scheme{
		Name: "own", Signature: signing.Header("X-Sig"), Algorithm: signing.HMACSHA256, Encoding: signing.Hex,
		Secret: signing.TextSecret, Message: []signing.Part{signing.Body}, ID: signing.Header("X-Id"), Type: signing.Header("X-Type"),
	}
	rows := map[string]signing.Scheme{}
	with := func(name string, change func(*signing.Scheme)) {
		s := own
		change(&s)
		rows[name] = s
	}
	stamped := []signing.Part{signing.Header("X-Id"), signing.Text("."), signing.Timestamp, signing.Text("."), signing.Body}
	with("plain", func(*signing.Scheme) {})
	with("any value", func(s *signing.Scheme) { s.AnyValue, s.Prefix = true, "v0=" })
	with("numbered", func(s *signing.Scheme) { s.Format, s.Encoding = signing.Numbered, signing.Base64URL })
	with("group", func(s *signing.Scheme) { s.Format, s.Prefix, s.Separator = signing.Group, "v0=", ";" })
	with("pairs", func(s *signing.Scheme) {
		s.Format, s.Tags, s.Message = signing.Pairs, []signing.Tag{{Name: "v1"}, {Name: "v2", Algorithm: signing.HMACSHA512}}, stamped
		s.Time = signing.TimeRule{From: signing.Entry("ts"), Unit: signing.Milliseconds, Tolerance: time.Minute}
	})
	with("tagged", func(s *signing.Scheme) {
		s.Format, s.Tags, s.Message = signing.Tagged, []signing.Tag{{Name: "a", Algorithm: signing.HMACSHA1}}, stamped
		s.Time = signing.TimeRule{From: signing.Entry("t"), Tolerance: time.Minute}
	})
	with("positional", func(s *signing.Scheme) {
		s.Format, s.Message = signing.Positional, stamped
		s.Time = signing.TimeRule{From: signing.Entry("0"), Tolerance: time.Minute}
	})
	with("rfc 3339", func(s *signing.Scheme) {
		s.Message = stamped
		s.Time = signing.TimeRule{From: signing.Header("X-Time"), Unit: signing.RFC3339, Tolerance: time.Minute}
	})
	with("everything", func(s *signing.Scheme) {
		s.Message = []signing.Part{
			signing.Method, signing.URL, signing.Query("a"), signing.JSON("amount"), signing.Header("X-Own"), signing.Header("X-Version"), signing.Body,
		}
		s.Require = []signing.Match{{Part: signing.Header("X-Version"), Value: "2"}}
	})
	with("bare hash", func(s *signing.Scheme) {
		s.Algorithm, s.Message = signing.SHA256, []signing.Part{signing.SecretText, signing.Body}
	})
	with("hex secret", func(s *signing.Scheme) { s.Secret, s.Encoding = signing.HexSecret, signing.Base64 })
	with("base64 secret", func(s *signing.Scheme) { s.Secret, s.MinSecret = signing.Base64Secret, 48 })
	with("hashed secret", func(s *signing.Scheme) { s.Secret = signing.SHA1Secret })
	with("standard secret", func(s *signing.Scheme) { s.Secret = signing.StandardSecret })
	with("ed25519", func(s *signing.Scheme) { s.Algorithm, s.Secret = signing.Ed25519, signing.Base64Secret })
	with("header of the endpoint", func(s *signing.Scheme) {
		s.Message = []signing.Part{signing.Header("X-Endpoint"), signing.Body}
	})
	with("joined type", func(s *signing.Scheme) { s.Type = signing.Join("/", signing.Header("X-Type"), signing.JSON("amount")) })
	for _, name := range signing.Presets() {
		row, _ := signing.Preset(name)
		if _, err := signing.NewSigner(row); err == nil {
			rows["preset "+name] = row
		}
	}
	if len(rows) < 22 {
		t.Fatalf("only %d rows can sign", len(rows))
	}
	for name, row := range rows {
		signer, err := signing.NewSigner(row)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		secrets := []signing.Secret{signer.NewSecret(), signer.NewSecret()}
		h := http.Header{"X-Own": {"mine"}}
		err = signer.Sign(h, outgoing, secrets)
		for n := 0; err != nil && n < 5; n++ { // headers that are signed and belong to nobody are the endpoint's own
			if m := lacking.FindStringSubmatch(err.Error()); m != nil {
				h[m[1]] = []string{"1700000000"}
			}
			err = signer.Sign(h, outgoing, secrets)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := &signing.Request{Method: "POST", URL: outgoing.URL, Header: h, Body: outgoing.Body, Time: outgoing.Time}
		room := row.AnyValue || row.Format != signing.Plain || name == "preset hookdeck"
		for i, s := range secrets {
			v, err := signing.NewVerifier(row, receives(t, row, s))
			if err != nil {
				t.Errorf("%s: the signer makes a secret that the verifier refuses: %v", name, err)
				continue
			}
			verdict, err := v.Verify(r)
			if i > 0 && !room {
				if err == nil {
					t.Errorf("%s: an older secret fits", name)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: secret %d: %v", name, i, err)
				continue
			}
			if row.Name == "own" && (verdict.ID != "evt_1" || !strings.HasPrefix(verdict.Type, "invoice.paid")) {
				t.Errorf("%s: the verdict is %+v", name, verdict)
			}
			other := *r
			other.Body = append(slices.Clone(r.Body), ' ')
			if _, err := v.Verify(&other); !errors.Is(err, signing.ErrRefused) {
				t.Errorf("%s: another body is taken", name)
			}
		}
	}
}

var lacking = regexp.MustCompile("header ([A-Za-z0-9-]+) is signed, and the message has it not")

// receives is what the receiver holds: the secret, or its public half.
func receives(t *testing.T, row signing.Scheme, s signing.Secret) signing.Secret {
	t.Helper()
	if row.Algorithm != signing.Ed25519 {
		return s
	}
	encoding, decode := hex.EncodeToString, hex.DecodeString
	if row.Secret == signing.Base64Secret {
		encoding, decode = base64.StdEncoding.EncodeToString, base64.StdEncoding.DecodeString
	}
	raw, err := decode(s.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return signing.NewSecret(encoding(raw[32:]))
}

// The signatures of rows are those that the standard library makes.
func TestRowSignaturesAreThoseOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdefghij")
	for a, make := range map[signing.Algorithm]func() hash.Hash{
		signing.HMACSHA1: sha1.New, signing.HMACSHA256: sha256.New, signing.HMACSHA512: sha512.New,
	} {
		signer, err := signing.NewSigner(signing.Scheme{
			Name: "own", Signature: signing.Header("X-Sig"), Algorithm: a, Encoding: signing.Base64URL, Secret: signing.HexSecret,
			Message: []signing.Part{signing.Text("a:"), signing.Body, signing.Text(":z")},
		})
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		if err := signer.Sign(h, outgoing, secretsOf(hex.EncodeToString(key))); err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(make, key)
		fmt.Fprintf(mac, "a:%s:z", outgoing.Body)
		if want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); h.Get("X-Sig") != want {
			t.Errorf("algorithm %d: got %s, want %s", a, h.Get("X-Sig"), want)
		}
	}
}

func TestRowsSignWithEd25519(t *testing.T) {
	t.Parallel()
	for _, kind := range []signing.SecretKind{signing.HexSecret, signing.Base64Secret} {
		row := signing.Scheme{
			Name: "own", Signature: signing.Header("X-Sig"), Algorithm: signing.Ed25519, Encoding: signing.Hex, Secret: kind,
			Message: []signing.Part{signing.Timestamp, signing.Body}, Time: signing.TimeRule{From: signing.Header("X-Time"), Tolerance: time.Minute},
		}
		signer, err := signing.NewSigner(row)
		if err != nil {
			t.Fatal(err)
		}
		encode, decode := hex.EncodeToString, hex.DecodeString
		if kind == signing.Base64Secret {
			encode, decode = base64.StdEncoding.EncodeToString, base64.StdEncoding.DecodeString
		}
		secret := signer.NewSecret()
		raw, err := decode(secret.Reveal())
		if err != nil || len(raw) != ed25519.PrivateKeySize {
			t.Fatalf("a fresh key has %d bytes, %v", len(raw), err)
		}
		v, err := signing.NewVerifier(row, signing.NewSecret(encode(raw[32:])))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{encode(raw), encode(raw[:32])} {
			h := http.Header{}
			if err := signer.Sign(h, outgoing, secretsOf(text)); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(&signing.Request{Header: h, Body: outgoing.Body, Time: outgoing.Time}); err != nil {
				t.Error(err)
			}
		}
		raw[63] ^= 1
		for _, text := range []string{encode(raw), encode(raw[:31]), "zz", " " + encode(raw[:32])} {
			if err := signer.CheckSecret(signing.NewSecret(text)); err == nil || strings.Contains(err.Error(), text) {
				t.Errorf("a bad key: %v", err)
			}
		}
	}
}

func TestRowsThatCannotSignSayWhy(t *testing.T) {
	t.Parallel()
	own := signing.Scheme{
		Name: "own", Signature: signing.Header("X-Sig"), Algorithm: signing.HMACSHA256, Encoding: signing.Hex,
		Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
	}
	for want, change := range map[string]func(*signing.Scheme){
		"Scheme.Name":             func(s *signing.Scheme) { s.Name = "" },
		"Scheme.Encoding: say":    func(s *signing.Scheme) { s.Encoding = 0 },
		"Signature: field a":      func(s *signing.Scheme) { s.Signature = signing.JSON("a") },
		"Signature: form field a": func(s *signing.Scheme) { s.Signature = signing.Form("a") },
		"a Token is no signature": func(s *signing.Scheme) { s.Algorithm, s.Message = signing.Token, nil },
		"ECDSAP256 verifies only": func(s *signing.Scheme) { s.Algorithm = signing.ECDSAP256 },
		"must be HexSecret":       func(s *signing.Scheme) { s.Algorithm = signing.Ed25519 },
		"Time.From: field a of":   func(s *signing.Scheme) { s.Time.From = signing.JSON("a") },
		`must be Entry("0")`:      func(s *signing.Scheme) { s.Format = signing.Positional },
		"does not know the entry x": func(s *signing.Scheme) {
			s.Format, s.Message = signing.Group, []signing.Part{signing.Entry("x")}
			s.Format = signing.Positional
			s.Time.From = signing.Entry("0")
		},
		"the entry v1 is a": func(s *signing.Scheme) {
			s.Format, s.Tags, s.Time.From = signing.Pairs, []signing.Tag{{Name: "v1"}}, signing.Entry("v1")
		},
		"Require: field a":         func(s *signing.Scheme) { s.Require = []signing.Match{{Part: signing.JSON("a"), Value: "b"}} },
		"cannot stand in a header": func(s *signing.Scheme) { s.Require = []signing.Match{{Part: signing.Header("a"), Value: "b\n"}} },
		"would have to hold two":   func(s *signing.Scheme) { s.ID, s.Type = signing.Header("X-A"), signing.Header("X-A") },
		"cannot be a key for Ed2551": func(s *signing.Scheme) {
			s.Format, s.Secret = signing.Tagged, signing.HexSecret
			s.Tags = []signing.Tag{{Name: "a"}, {Name: "b", Algorithm: signing.Ed25519}}
		},
	} {
		s := own
		change(&s)
		if signer, err := signing.NewSigner(s); err == nil || signer != nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "signing: ") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// CheckSecret takes a text exactly when the verifier of the row does.
func TestRowSignersCheckSecretsLikeVerifiers(t *testing.T) {
	t.Parallel()
	texts := []string{
		"1234567", "12345678", " 12345678", "12345678\n", "zz", "0123456789abcdef", "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789abcde",
		"AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAB==", "AAAA", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "whsec_", "whsk_AAAA", "whpk_AAAA",
	}
	for kind := signing.TextSecret; kind <= signing.SHA1Secret; kind++ {
		for _, shortest := range []int{0, 20} {
			row := signing.Scheme{
				Name: "own", Signature: signing.Header("X-Sig"), Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: kind,
				MinSecret: shortest, Message: []signing.Part{signing.Body},
			}
			signer, err := signing.NewSigner(row)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				_, refused := signing.NewVerifier(row, signing.NewSecret(text))
				err := signer.CheckSecret(signing.NewSecret(text))
				if (err == nil) != (refused == nil) && !(kind == signing.StandardSecret && shortest == 20) {
					t.Errorf("kind %d, %q: the signer says %v, the verifier %v", kind, text, err, refused)
				}
				if err != nil && len(text) > 6 && strings.Contains(err.Error(), strings.TrimSpace(text)) {
					t.Errorf("the error shows the secret: %v", err)
				}
			}
		}
	}
}

func TestRowSignersRefuseWhatCannotStandInAHeader(t *testing.T) {
	t.Parallel()
	github, _ := signing.SignerFor("github")
	svix, _ := signing.SignerFor("svix")
	good := []signing.Secret{github.NewSecret()}
	standard := []signing.Secret{svix.NewSecret()}
	for name, change := range map[string]func(*signing.Message){
		"no ID":          func(m *signing.Message) { m.ID = "" },
		"a line in ID":   func(m *signing.Message) { m.ID = "a\r\nb" },
		"a line in type": func(m *signing.Message) { m.Type = "a\nb" },
		"a long type":    func(m *signing.Message) { m.Type = strings.Repeat("x", 513) },
	} {
		m := outgoing
		change(&m)
		h := http.Header{"X-Github-Event": {"old"}}
		if err := github.Sign(h, m, good); err == nil || fmt.Sprint(h) != "map[X-Github-Event:[old]]" {
			t.Errorf("%s: %v, %v", name, err, h)
		}
	}
	m := outgoing
	m.ID = "a.b" // would be read as another ID and timestamp
	if err := svix.Sign(http.Header{}, m, standard); err == nil {
		t.Error("svix signs an ID with a dot")
	}
	m = outgoing
	m.Time = time.Unix(-1, 0)
	if err := svix.Sign(http.Header{}, m, standard); err == nil {
		t.Error("svix signs a time before 1970")
	}
	m = outgoing
	m.Type = ""
	h := http.Header{"X-Github-Event": {"old"}}
	if err := github.Sign(h, m, good); err != nil || h["X-Github-Event"] != nil {
		t.Errorf("without a type: %v, %v", err, h)
	}
}

// A receiver of GitHub's joins the action of the body to the type's header, and so gets the event's type as it was.
func TestGitHubSignerSplitsTheType(t *testing.T) {
	t.Parallel()
	signer, _ := signing.SignerFor("github")
	secret := signer.NewSecret()
	v, err := signing.GitHub(secret)
	v = mustVerifier(t, v, err)
	for body, typ := range map[string]string{`{"action":"opened"}`: "issues.opened", `{"a":1}`: "issues.opened", `{"action":"closed"}`: "issues"} {
		m := outgoing
		m.Body, m.Type = []byte(body), typ
		h := http.Header{}
		if err := signer.Sign(h, m, []signing.Secret{secret}); err != nil {
			t.Fatal(err)
		}
		want := typ
		if typ == "issues" {
			want = "issues.closed"
		}
		verdict, err := v.Verify(&signing.Request{Header: h, Body: m.Body})
		if err != nil || verdict.Type != want || verdict.ID != "evt_1" {
			t.Errorf("%s: %+v, %v", body, verdict, err)
		}
	}
}

// One secret, used by the signers of two rows in turn, signs for each as it should.
func TestSecretsCanBeSharedBySigners(t *testing.T) {
	t.Parallel()
	row := signing.Scheme{
		Name: "hex", Signature: signing.Header("X-Hex"), Algorithm: signing.HMACSHA256, Encoding: signing.Hex,
		Secret: signing.HexSecret, Message: []signing.Part{signing.Body},
	}
	text, ok := signing.SignerFor("convoy")
	if !ok {
		t.Fatal("there is no convoy")
	}
	decoded, err := signing.NewSigner(row)
	if err != nil {
		t.Fatal(err)
	}
	secret := signing.NewSecret(strings.Repeat("61", 16))
	for range 3 {
		h := http.Header{}
		if err := errors.Join(text.Sign(h, outgoing, []signing.Secret{secret}), decoded.Sign(h, outgoing, []signing.Secret{secret})); err != nil {
			t.Fatal(err)
		}
		body := string(outgoing.Body)
		if h.Get("X-Convoy-Signature") != hexMAC(strings.Repeat("61", 16), body) || h.Get("X-Hex") != hexMAC(strings.Repeat("a", 16), body) {
			t.Fatalf("%v", h)
		}
	}
}

// A signature that nobody made does not stay behind a shorter list.
func TestNumberedSignersLeaveNothingStale(t *testing.T) {
	t.Parallel()
	signer, err := signing.NewSigner(signing.Scheme{
		Name: "own", Signature: signing.Header("X-Sig"), Format: signing.Numbered, Algorithm: signing.HMACSHA256,
		Encoding: signing.Hex, Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"X-Sig-1": {"old"}, "X-Sig-2": {"old"}, "X-Sig-16": {"old"}}
	if err := signer.Sign(h, outgoing, secretsOf("only one secret")); err != nil || len(h) != 1 || h.Get("X-Sig-1") == "old" {
		t.Errorf("%v, %v", h, err)
	}
}

func TestRowSignersAllocateLittle(t *testing.T) {
	most := 5.0 // the texts and the slices that hold them
	if raceDetector {
		most = 20 // it empties pools at random
	}
	for _, name := range []string{"stripe", "github", "outpost"} {
		signer, _ := signing.SignerFor(name)
		secrets := []signing.Secret{signer.NewSecret(), signer.NewSecret()}
		h := http.Header{}
		if n := testing.AllocsPerRun(200, func() {
			if err := signer.Sign(h, outgoing, secrets); err != nil {
				t.Error(err)
			}
		}); n > most {
			t.Errorf("%s: Sign makes %v allocations, %v are the most", name, n, most)
		}
	}
}

// An own row: the template of a signer.
func ExampleNewSigner() {
	acme := signing.Scheme{
		Name:      "acme",
		Signature: signing.Header("X-Acme-Signature"),
		Format:    signing.Pairs,
		Tags:      []signing.Tag{{Name: "s"}},
		Algorithm: signing.HMACSHA256,
		Encoding:  signing.Hex,
		Secret:    signing.TextSecret,
		Message:   []signing.Part{signing.Timestamp, signing.Text("."), signing.Body},
		Time:      signing.TimeRule{From: signing.Entry("t"), Tolerance: 5 * time.Minute},
		Type:      signing.Header("X-Acme-Event"),
		ID:        signing.Header("X-Acme-Delivery"),
	}
	signer, err := signing.NewSigner(acme)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := http.Header{}
	m := signing.Message{ID: "d-1", Type: "parcel.sent", Time: time.Unix(1700000000, 0), Body: []byte(`{"event":{"name":"parcel.sent"}}`)}
	if err := signer.Sign(h, m, []signing.Secret{signing.NewSecret("the secret of acme")}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Get("X-Acme-Signature"))
	fmt.Println(h.Get("X-Acme-Event"), h.Get("X-Acme-Delivery"))
	// Output:
	// t=1700000000,s=a496ac5f22162a5a9db07b4305f717c257082daeb768cb3b46599b36ef8d2489
	// parcel.sent d-1
}
