package signing_test

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// FuzzHeaders gives every preset arbitrary headers and an arbitrary body. No key was used to make them, so nothing may be
// accepted, nothing may panic, and no error may show what was sent.
func FuzzHeaders(f *testing.F) {
	for _, v := range loadVectors(f) {
		if presetOf[v.Scheme] == "" {
			continue
		}
		var sig, stamp, id string
		for name, values := range v.Headers {
			switch n := strings.ToLower(name); {
			case strings.Contains(n, "signature") || strings.Contains(n, "hmac"):
				sig = values[0]
			case strings.Contains(n, "timestamp"):
				stamp = values[0]
			case strings.HasSuffix(n, "id"):
				id = values[0]
			}
		}
		f.Add(sig, stamp, id, v.request(f).Body)
	}
	f.Add("v1,=v1a,== v1a,", "18446744073709551616", "\x00", []byte(`{"type":"url_verification","challenge":"x"}`))

	var verifiers []signing.Verifier
	headers := []string{"Webhook-Signature"}
	for _, p := range signing.Providers() {
		if s, ok := signing.Preset(p.Name); ok {
			var secrets []signing.Secret
			for _, text := range secretsFor(f, s) {
				secrets = append(secrets, signing.NewSecret(text))
			}
			v, err := signing.NewVerifier(s, secrets...)
			verifiers = append(verifiers, mustVerifier(f, v, err))
			for _, m := range inHeader.FindAllStringSubmatch(p.Header, -1) {
				headers = append(headers, m[1])
			}
		}
	}
	if len(headers) < 60 {
		f.Fatalf("only the headers %q were found", headers)
	}
	f.Fuzz(func(t *testing.T, sig, stamp, id string, body []byte) {
		r := &signing.Request{Method: "POST", URL: "https://h/?" + id, Header: http.Header{}, Body: body, Time: time.Unix(1700000000, 0)}
		for _, name := range headers {
			r.Header[name] = []string{sig}
		}
		for _, name := range []string{
			"Webhook-Timestamp", "Svix-Timestamp", "X-Slack-Request-Timestamp", "Twitch-Eventsub-Message-Timestamp", "X-Zm-Request-Timestamp",
		} {
			r.Header[name] = []string{stamp}
		}
		for _, name := range []string{"Webhook-Id", "Svix-Id", "Twitch-Eventsub-Message-Id", "Twitch-Eventsub-Message-Type"} {
			r.Header[name] = []string{id}
		}
		for _, v := range verifiers {
			if _, err := v.Verify(r); !errors.Is(err, signing.ErrRefused) {
				t.Fatalf("accepted: %v", err)
			}
			if reply, err := v.(signing.Handshaker).Handshake(r); reply != nil || (err != nil && !errors.Is(err, signing.ErrRefused)) {
				t.Fatalf("a handshake without a signature: %+v, %v", reply, err)
			}
		}
	})
}

// inHeader finds the names of headers in Provider.Header.
var inHeader = regexp.MustCompile("`([A-Z][A-Za-z0-9-]*)`")

// FuzzRow makes arbitrary rows. A row is refused, or it works: it accepts nothing that was not made with the key.
func FuzzRow(f *testing.F) {
	f.Add(uint8(0), uint8(1), uint8(1), uint8(1), uint8(0), "sha256=", ",", "v1", "X", "sha256=00")
	f.Add(uint8(1), uint8(1), uint8(1), uint8(1), uint8(1), "", ";", "h1", "ts", "ts=1700000000;h1=00")
	f.Add(uint8(2), uint8(2), uint8(2), uint8(2), uint8(2), "", "", "v1", "0", "v1,AA==")
	f.Add(uint8(4), uint8(3), uint8(3), uint8(3), uint8(0), "", "", "", "", "00")
	f.Add(uint8(5), uint8(7), uint8(4), uint8(5), uint8(1), "", ",", "", "0", "1700000000,00,11")
	secret := signing.NewSecret("whsec_dGhlcmUgYXJlIHRoaXJ0eS10d28gYnl0ZXMgaGVyZSE=")
	f.Fuzz(func(t *testing.T, format, algorithm, encoding, kind, unit uint8, prefix, separator, tag, name, text string) {
		s := signing.Scheme{
			Name: "fuzz", Signature: signing.Header("X-Sig"), Format: signing.Format(format), Prefix: prefix, Separator: separator,
			Algorithm: signing.Algorithm(algorithm), Encoding: signing.Encoding(encoding), Secret: signing.SecretKind(kind),
			Time:    signing.TimeRule{From: signing.FirstOf(signing.Entry(name), signing.Header(name), signing.JSON(name, "0")), Unit: signing.TimeUnit(unit), Tolerance: time.Minute},
			Message: []signing.Part{signing.Timestamp, signing.Join(prefix, signing.Form(name), signing.Query(name)), signing.Optional(signing.Lower(signing.JSON(name, "*")), signing.Text(tag)), signing.SecretText, signing.Body},
			Type:    signing.Join(".", signing.JSON(name), signing.Form(name)),
			Require: []signing.Match{{Part: signing.Header(name), Value: text}},
		}
		s.Sets = format == 1 && unit > 0
		if encoding > 2 {
			s.Second = signing.Header("X-Sig-2")
		}
		if tag != "" {
			s.Tags = []signing.Tag{{Name: tag}, {Name: name, Algorithm: signing.HMACSHA1}}
		}
		if s.Algorithm == signing.Token {
			s.Message = nil
		}
		v, err := signing.NewVerifier(s, secret)
		if err != nil {
			if strings.Contains(err.Error(), secret.Reveal()) {
				t.Fatalf("the error shows the secret: %v", err)
			}
			return
		}
		r := request(text, "Content-Type: application/x-www-form-urlencoded")
		r.URL = "https://h/?" + text
		for _, header := range []string{"X-Sig", "X-Sig-1", "X-Sig-2", http.CanonicalHeaderKey(name)} {
			r.Header[header] = []string{text}
		}
		if _, err := v.Verify(r); !errors.Is(err, signing.ErrRefused) {
			t.Fatalf("accepted: %v", err)
		}
	})
}
