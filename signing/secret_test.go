package signing_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const text = "whsec_c2VjcmV0IHRleHQgdGhhdCBtdXN0IG5vdCBzaG93"
	s := signing.NewSecret(text)
	type open struct {
		Name   string
		Secret signing.Secret
		Ptr    *signing.Secret
		List   []signing.Secret
		Map    map[string]signing.Secret
	}
	type hidden struct{ secret signing.Secret }
	values := map[string]any{
		"value": s, "pointer": &s, "slice": []signing.Secret{s}, "hidden": hidden{s}, "pointer to hidden": &hidden{s},
		"open": open{"x", s, &s, []signing.Secret{s}, map[string]signing.Secret{"k": s}},
	}
	check := func(how, out string) {
		t.Helper()
		for _, part := range []string{text, text[6:], fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprintf("% x", text), fmt.Sprintf("%v", []byte(text))} {
			if strings.Contains(out, part) {
				t.Errorf("%s shows the secret: %s", how, out)
			}
		}
	}
	for name, v := range values {
		for _, verb := range "vsdqxXbcoOUeEfFgGtTp" {
			for _, flags := range []string{"", "+", "#", " ", "-20", "020.3"} {
				format := "%" + flags + string(verb)
				check(name+" "+format, fmt.Sprintf(format, v))
			}
		}
		check(name+" Print", fmt.Sprint(v)+fmt.Sprintln(v))
		check(name+" error", fmt.Errorf("failed with %v and %+v: %#v", v, v, v).Error())
		if out, err := json.Marshal(v); err == nil {
			check(name+" json", string(out))
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
		check(name+" slog", text.String()+js.String())
		var g bytes.Buffer
		if err := gob.NewEncoder(&g).Encode(v); err == nil {
			check(name+" gob", g.String())
		}
	}
	type settings struct{ S signing.Secret }
	out, err := xml.Marshal(settings{s})
	if err != nil {
		t.Fatal(err)
	}
	check("xml", string(out))

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "REDACTED" {
			t.Errorf("%s prints %q, want REDACTED", verb, got)
		}
	}
	if got, _ := json.Marshal(s); string(got) != `"REDACTED"` {
		t.Errorf("JSON is %s", got)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(s); err == nil {
		t.Error("gob takes a secret: what comes back would be none")
	}
	if s.Reveal() != text {
		t.Errorf("Reveal gives %q", s.Reveal())
	}
}

func TestSecretZeroValueIsNone(t *testing.T) {
	t.Parallel()
	var s signing.Secret
	if !s.IsZero() || s.Reveal() != "" || !signing.NewSecret("").IsZero() {
		t.Error("the zero value is not none")
	}
	if fmt.Sprint(s) != "REDACTED" {
		t.Errorf("prints %v", s)
	}
	if err := signing.StandardWebhooks.CheckSecret(s); err == nil {
		t.Error("CheckSecret takes no secret for one")
	}
}

func TestSecretFromSettings(t *testing.T) {
	t.Parallel()
	var c struct{ Key signing.Secret }
	if err := json.Unmarshal([]byte(`{"Key":"whsec_abc"}`), &c); err != nil || c.Key.Reveal() != "whsec_abc" {
		t.Errorf("got %q, %v", c.Key.Reveal(), err)
	}
	printed, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(printed, &c); err == nil {
		t.Error("a file written from printed settings gives the secret REDACTED")
	}
}
