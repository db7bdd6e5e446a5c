package signing_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
)

func mustVerifier(tb testing.TB, v signing.Verifier, err error) signing.Verifier {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// signed is a request as StandardWebhooks signs it.
func signed(tb testing.TB, m signing.Message, secrets ...signing.Secret) *signing.Request {
	tb.Helper()
	h := http.Header{}
	if err := signing.StandardWebhooks.Sign(h, m, secrets); err != nil {
		tb.Fatal(err)
	}
	return &signing.Request{Method: "POST", Header: h, Body: m.Body, Time: m.Time}
}

func TestStandardSignatureIsThePublishedOne(t *testing.T) {
	t.Parallel()
	m := signing.Message{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: time.Unix(1614265330, 0), Body: []byte(`{"test": 2432232314}`)}
	r := signed(t, m, signing.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	want := http.Header{
		"Webhook-Id":        {"msg_p5jXN8AQM9LWM0D4loKWxJek"},
		"Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}
	if fmt.Sprint(r.Header) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", r.Header, want)
	}
}

// TestStandardHMACIsThatOfTheStandardLibrary compares with crypto/hmac over key and body lengths around every block.
func TestStandardHMACIsThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, keyLen := range []int{24, 31, 32, 63, 64} {
		key := bytes.Repeat([]byte{byte(keyLen), 0x5c, 0x36}, 22)[:keyLen]
		secret := signing.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(key))
		for bodyLen := range 200 {
			m := signing.Message{ID: "m", Time: time.Unix(int64(bodyLen), 0), Body: bytes.Repeat([]byte{'x'}, bodyLen)}
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "m.%d.%s", bodyLen, m.Body)
			want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
			if got := signed(t, m, secret).Header.Get("Webhook-Signature"); got != want {
				t.Fatalf("key of %d, body of %d: got %s, want %s", keyLen, bodyLen, got, want)
			}
		}
	}
}

func TestStandardRoundTripWithEveryKindOfKey(t *testing.T) {
	t.Parallel()
	one, two := signing.StandardWebhooks.NewSecret(), signing.StandardWebhooks.NewSecret()
	bare := signing.NewSecret(strings.TrimPrefix(signing.StandardWebhooks.NewSecret().Reveal(), "whsec_"))
	private := signing.NewEd25519Secret()
	public, err := signing.PublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	m := signing.Message{ID: "evt-1", Time: time.Now(), Body: []byte(`{"type":"invoice.paid","data":{}}`)}
	r := signed(t, m, one, private, two, bare)
	tags := ""
	for _, s := range strings.Split(r.Header.Get("Webhook-Signature"), " ") {
		tag, _, _ := strings.Cut(s, ",")
		tags += tag + " "
	}
	if tags != "v1 v1a v1 v1 " {
		t.Errorf("the signatures are of the versions %s", tags)
	}
	other := signing.StandardWebhooks.NewSecret()
	for name, holds := range map[string][]signing.Secret{
		"first": {one}, "second": {two}, "bare": {bare}, "ed25519": {signing.NewSecret(public)},
		"new and old": {other, one}, "other and ed25519": {other, signing.NewSecret(public)},
	} {
		v, err := signing.Standard(holds...)
		verdict, err := mustVerifier(t, v, err).Verify(r)
		want := signing.Verdict{Type: "invoice.paid", ID: "evt-1", Key: len(holds) - 1, Covers: signing.CoversBody}
		if err != nil || verdict != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, verdict, err, want)
		}
	}
	v, err := signing.Standard(other)
	if _, err := mustVerifier(t, v, err).Verify(r); !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("with another key: got %v, want ErrMismatch", err)
	}
}

func TestStandardSignReplacesOldHeadersOrNothing(t *testing.T) {
	t.Parallel()
	h := http.Header{"Webhook-Id": {"old", "older"}, "Webhook-Signature": {"forged"}, "X-Other": {"kept"}}
	before := fmt.Sprint(h)
	good := signing.StandardWebhooks.NewSecret()
	m := signing.Message{ID: "new", Body: []byte("x")}
	bad := []struct {
		name    string
		m       signing.Message
		secrets []signing.Secret
	}{
		{"no secret", m, nil},
		{"zero secret", m, []signing.Secret{good, {}}},
		{"undecodable secret", m, []signing.Secret{good, signing.NewSecret("whsec_?")}},
		{"too many", m, make([]signing.Secret, 17)},
		{"no id", signing.Message{}, []signing.Secret{good}},
		{"dot in the id", signing.Message{ID: "a.1"}, []signing.Secret{good}},
		{"newline in the id", signing.Message{ID: "a\nX-Evil: 1"}, []signing.Secret{good}},
		{"long id", signing.Message{ID: strings.Repeat("a", 513)}, []signing.Secret{good}},
		{"time before 1970", signing.Message{ID: "a", Time: time.Unix(-1, 0)}, []signing.Secret{good}},
	}
	for _, c := range bad {
		if err := signing.StandardWebhooks.Sign(h, c.m, c.secrets); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if fmt.Sprint(h) != before {
			t.Fatalf("%s: the error left the headers changed: %v", c.name, h)
		}
	}
	if err := signing.StandardWebhooks.Sign(h, m, []signing.Secret{good}); err != nil {
		t.Fatal(err)
	}
	if len(h["Webhook-Id"]) != 1 || h.Get("Webhook-Id") != "new" || strings.Contains(h.Get("Webhook-Signature"), "forged") || h.Get("X-Other") != "kept" {
		t.Errorf("the headers are %v", h)
	}
	h.Add("Webhook-Id", "second")
	if h["Webhook-Timestamp"][0] == "second" {
		t.Error("adding to one header writes over another")
	}
}

func TestStandardTimeDefaultsToNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := signing.StandardWebhooks.NewSecret()
		r := signed(t, signing.Message{ID: "m"}, s)
		v, err := signing.Standard(s)
		v = mustVerifier(t, v, err)
		time.Sleep(300 * time.Second)
		if _, err := v.Verify(r); err != nil {
			t.Errorf("300 s old: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := v.Verify(r); !errors.Is(err, signing.ErrTooOld) {
			t.Errorf("301 s old: got %v, want ErrTooOld", err)
		}
	})
}

func TestStandardCheckSecret(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	mixed := append(bytes.Clone(private[:32]), bytes.Repeat([]byte{1}, 32)...)
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, want := range map[string]string{
		"whsec_" + b64(24): "",
		"whsec_" + b64(64): "",
		b64(32):            "",
		"whsk_" + base64.StdEncoding.EncodeToString(private): "",
		"whsec_" + b64(23):        "23 bytes",
		"whsec_" + b64(65):        "65 bytes",
		"whsec_":                  "0 bytes",
		"whsec_" + b64(32)[:43]:   "not base64",
		"whsec_" + b64(24) + "\n": "not base64",
		"whsk_" + b64(32):         "32 bytes",
		"whsk_" + base64.StdEncoding.EncodeToString(mixed): "does not belong",
		"whpk_" + b64(32): "public key",
		"text of no kind": "not base64",
	} {
		err := signing.StandardWebhooks.CheckSecret(signing.NewSecret(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want an error that says %q", text, err, want)
		}
	}
	for range 20 {
		if err := signing.StandardWebhooks.CheckSecret(signing.StandardWebhooks.NewSecret()); err != nil {
			t.Error(err)
		}
		if err := signing.StandardWebhooks.CheckSecret(signing.NewEd25519Secret()); err != nil {
			t.Error(err)
		}
	}
	if _, err := signing.PublicKey(signing.StandardWebhooks.NewSecret()); err == nil {
		t.Error("an HMAC secret has a public key")
	}
}
