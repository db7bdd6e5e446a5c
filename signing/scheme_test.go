package signing_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

func TestFormatsOfRows(t *testing.T) {
	t.Parallel()
	base := signing.Scheme{
		Name: "own", Signature: signing.Header("X-Sig"), Algorithm: signing.HMACSHA256, Encoding: signing.Hex,
		Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
	}
	body := "b=1&a=2"
	good := hexMAC(textSecret, body)
	wrong := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		change func(*signing.Scheme)
		lines  []string
		url    string
	}{
		"group":           {func(s *signing.Scheme) { s.Format, s.Prefix = signing.Group, "v0=" }, []string{"X-Sig: v0=" + wrong + "," + good}, ""},
		"optional prefix": {func(s *signing.Scheme) { s.Prefix, s.PrefixOptional = "sha256=", true }, []string{"X-Sig: " + good}, ""},
		"numbered":        {func(s *signing.Scheme) { s.Format = signing.Numbered }, []string{"X-Sig-1: " + wrong, "X-Sig-2: " + good}, ""},
		"positional": {
			func(s *signing.Scheme) {
				s.Format = signing.Positional
				s.Message = []signing.Part{signing.Timestamp, signing.Text("."), signing.Body}
				s.Time = signing.TimeRule{From: signing.Entry("0"), Tolerance: time.Minute}
			}, []string{"X-Sig: 1700000000," + wrong + "," + hexMAC(textSecret, "1700000000."+body)}, "",
		},
		"form and query": {
			func(s *signing.Scheme) {
				s.Message = []signing.Part{signing.Form("a"), signing.Query("q"), signing.Method, signing.URL, signing.Body}
			}, []string{"Content-Type: application/x-www-form-urlencoded; charset=utf-8", "X-Sig: " + hexMAC(textSecret, "2x yPOSThttps://h/p?q=x+y"+body)}, "https://h/p?q=x+y",
		},
		"two algorithms": {
			func(s *signing.Scheme) {
				s.Format, s.Tags = signing.Pairs, []signing.Tag{{Name: "v2", Algorithm: signing.HMACSHA512}, {Name: "v1"}}
			}, []string{"X-Sig: v1=" + good + ",v2=" + wrong}, "",
		},
		"signature in the query": {func(s *signing.Scheme) { s.Signature = signing.Query("sig") }, nil, "https://h/?sig=" + good},
		"otherwise": {
			func(s *signing.Scheme) {
				other := *s
				other.Signature = signing.Header("X-Old-Sig")
				s.Otherwise = &other
			}, []string{"X-Old-Sig: " + good}, "",
		},
	} {
		s := base
		c.change(&s)
		v, err := signing.NewVerifier(s, signing.NewSecret(textSecret))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := request(body, c.lines...)
		r.URL = c.url
		if _, err := v.Verify(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.Body = []byte(body + "0")
		if _, err := v.Verify(r); !errors.Is(err, signing.ErrRefused) {
			t.Errorf("%s: another body is taken: %v", name, err)
		}
	}
}

func TestCoversFollowsFromTheRow(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret(textSecret)
	v, err := signing.NewVerifier(signing.Scheme{
		Name: "token", Signature: signing.Header("X-Token"), Algorithm: signing.Token, Encoding: signing.Raw, Secret: signing.TextSecret,
	}, secret)
	got, err2 := mustVerifier(t, v, err).Verify(request("{}", "X-Token: "+textSecret))
	if err2 != nil || got.Covers != signing.CoversNothing {
		t.Errorf("token: %+v, %v", got, err2)
	}
	if _, err := v.Verify(request("{}", "X-Token: "+textSecret+"x")); !errors.Is(err, signing.ErrMismatch) {
		t.Errorf("another token: %v", err)
	}
	v, err = signing.NewVerifier(signing.Scheme{
		Name: "part", Signature: signing.Header("X-Sig"), Algorithm: signing.HMACSHA256, Encoding: signing.Hex,
		Secret: signing.TextSecret, Message: []signing.Part{signing.JSON("id")},
	}, secret)
	got, err2 = mustVerifier(t, v, err).Verify(request(`{"id":"7"}`, "X-Sig: "+hexMAC(textSecret, "7")))
	if err2 != nil || got.Covers != signing.CoversMetadata {
		t.Errorf("part: %+v, %v", got, err2)
	}
}

func TestMistakesAreFoundWhenTheVerifierIsMade(t *testing.T) {
	t.Parallel()
	key := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	short := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23))
	identity := append([]byte{1}, make([]byte, 31)...)
	for _, c := range []struct {
		make    func(...signing.Secret) (signing.Verifier, error)
		secrets []string
		want    string
	}{
		{signing.GitHub, nil, "no secret"},
		{signing.GitHub, []string{""}, "secret 1 of 1 is empty"},
		{signing.GitHub, []string{textSecret, "short"}, "secret 2 of 2 is too short"},
		{signing.GitHub, []string{textSecret + "\n"}, "white space"},
		{signing.GitHub, strings.Split(strings.Repeat(textSecret+";", 17), ";")[:17], "16 is the most"},
		{signing.Standard, []string{short}, "23 bytes"},
		{signing.Standard, []string{"whsec_"}, "too short"},
		{signing.Standard, []string{key[:20] + "!" + key[21:]}, "not base64"},
		{signing.Standard, []string{strings.TrimRight(key, "=")}, "not base64"},
		{signing.Standard, []string{signing.NewEd25519Secret().Reveal()}, "private key"},
		{signing.Standard, []string{"whpk_" + base64.StdEncoding.EncodeToString(make([]byte, 31))}, "31 bytes"},
		{signing.Standard, []string{"whpk_" + base64.StdEncoding.EncodeToString(identity)}, "weak"},
		{signing.Svix, []string{short}, "23 bytes"},
	} {
		var secrets []signing.Secret
		for _, s := range c.secrets {
			secrets = append(secrets, signing.NewSecret(s))
		}
		v, err := c.make(secrets...)
		if err == nil || v != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error that says %q", c.secrets, err, c.want)
			continue
		}
		for _, s := range c.secrets {
			if len(s) > 6 && strings.Contains(err.Error(), strings.TrimSpace(s)) {
				t.Errorf("%q shows the secret", err)
			}
		}
	}
}

func TestMistakesInRowsNameTheField(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*signing.Scheme){
		"Scheme.Name":      func(s *signing.Scheme) { s.Name = "" },
		"Scheme.Signature": func(s *signing.Scheme) { s.Signature = signing.Part{} },
		"Scheme.Format":    func(s *signing.Scheme) { s.Format = 99 },
		"Scheme.Tags":      func(s *signing.Scheme) { s.Tags = nil },
		"Scheme.Prefix":    func(s *signing.Scheme) { s.Prefix = "x" },
		"Scheme.Algorithm": func(s *signing.Scheme) { s.Algorithm = 0 },
		"Scheme.Encoding":  func(s *signing.Scheme) { s.Encoding = 0 },
		"Raw goes with":    func(s *signing.Scheme) { s.Encoding = signing.Raw },
		"Scheme.Secret":    func(s *signing.Scheme) { s.Secret = 0 },
		"say what is":      func(s *signing.Scheme) { s.Message = nil },
		"part 0 is empty":  func(s *signing.Scheme) { s.Message = []signing.Part{{}} },
		"must hold":        func(s *signing.Scheme) { s.Algorithm = signing.SHA256 },
		"signs nothing":    func(s *signing.Scheme) { s.Algorithm = signing.Token },
		"13 parts":         func(s *signing.Scheme) { s.Message = make([]signing.Part, 13) },
		"Time.From":        func(s *signing.Scheme) { s.Time.From = signing.Part{} },
		"found in itself":  func(s *signing.Scheme) { s.Time.From = signing.Timestamp },
		"Time.Unit":        func(s *signing.Scheme) { s.Time.Unit = 9 },
		"Time.Tolerance":   func(s *signing.Scheme) { s.Time.Tolerance = -1 },
		"Scheme.MinSecret": func(s *signing.Scheme) { s.MinSecret = -1 },
		"Scheme.Type":      func(s *signing.Scheme) { s.Type = signing.Body },
		"Scheme.ID":        func(s *signing.Scheme) { s.ID = signing.Join("", signing.SecretText) },
		"wants a path":     func(s *signing.Scheme) { s.OrderingKey = signing.JSON() },
		"goes too deep":    func(s *signing.Scheme) { s.Otherwise = s },
		"has no Challenge": func(s *signing.Scheme) { s.Handshakes = []signing.Handshake{{}} },
		"take every event": func(s *signing.Scheme) { s.Handshakes = []signing.Handshake{{Challenge: signing.JSON("c")}} },
		"AnyValue":         func(s *signing.Scheme) { s.AnyValue, s.Signature = true, signing.JSON("s") },
	} {
		s, _ := signing.Preset("stripe")
		change(&s)
		if _, err := signing.NewVerifier(s, signing.NewSecret(textSecret)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error that says %q, got %v", want, err)
		}
	}
}
