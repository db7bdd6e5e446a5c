package signing_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// TestSetsOfSignatures: what each set says about the time must agree, or two readers could pick different ones.
func TestSetsOfSignatures(t *testing.T) {
	t.Parallel()
	v, err := signing.ForProvider("persona", signing.Options{}, signing.NewSecret(textSecret))
	v = mustVerifier(t, v, err)
	good, wrong := hexMAC(textSecret, "1700000000.{}"), strings.Repeat("0", 64)
	for header, want := range map[string]error{
		"t=1700000000,v1=" + good:                                         nil,
		"t=1700000000,v1=" + wrong + " t=1700000000,v1=" + good:           nil,
		"t=1700000000,v1=" + good + " t=1700000000,v1=" + wrong:           nil,
		"t=1700000000,v1=" + wrong + " t=1700000001,v1=" + good:           signing.ErrMalformed,
		"t=1700000001,v1=" + wrong + " t=1700000000,v1=" + good:           signing.ErrMalformed,
		"t=1700000000,v1=" + good + "  t=1700000000,v1=" + wrong:          signing.ErrMalformed,
		"t=1700000000,v1=" + wrong + " t=1700000000,v1=" + wrong:          signing.ErrMismatch,
		"v1=" + good + " v1=" + good:                                      signing.ErrMissing,
		strings.Repeat("t=1700000000,v1="+wrong+" ", 16) + "v1=" + good:   signing.ErrMalformed,
		strings.Repeat("t=1700000000,v1="+wrong+" ", 17) + "t=1700000000": signing.ErrMalformed,
	} {
		if _, err := v.Verify(request("{}", "Persona-Signature: "+header)); !errors.Is(err, want) {
			t.Errorf("%.60q: got %v, want %v", header, err, want)
		}
	}
}

func TestSecondHeader(t *testing.T) {
	t.Parallel()
	s := signing.Scheme{
		Name: "own", Signature: signing.Header("X-Sig"), Second: signing.Header("X-Sig-2"),
		Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: signing.TextSecret, Message: []signing.Part{signing.Body},
	}
	v, err := signing.NewVerifier(s, signing.NewSecret(textSecret))
	v = mustVerifier(t, v, err)
	good, wrong := hexMAC(textSecret, "{}"), strings.Repeat("0", 64)
	for lines, want := range map[string]error{
		"X-Sig: " + good: nil, "X-Sig-2: " + good: nil,
		"X-Sig: " + wrong + "|X-Sig-2: " + good:                      nil,
		"X-Sig: " + good + "|X-Sig-2: " + wrong:                      nil,
		"X-Sig: " + wrong + "|X-Sig-2: " + wrong:                     signing.ErrMismatch,
		"X-Sig: " + good + "|X-Sig-2: " + good + "|X-Sig-2: " + good: signing.ErrMalformed,
		"X-Sig: " + good + "|X-Sig: " + good + "|X-Sig-2: " + good:   signing.ErrMalformed,
		"X-Other: " + good: signing.ErrMissing,
	} {
		if _, err := v.Verify(request("{}", strings.Split(lines, "|")...)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", lines, err, want)
		}
	}
}

// TestPartsThatMayBeAbsent is the rule of Mercado Pago with one part after the other missing.
func TestPartsThatMayBeAbsent(t *testing.T) {
	t.Parallel()
	v, err := signing.ForProvider("mercado-pago", signing.Options{}, signing.NewSecret(textSecret))
	v = mustVerifier(t, v, err)
	for _, c := range []struct {
		url     string
		lines   []string
		message string
		want    error
	}{
		{"https://h/?data.id=ABCÄ9", []string{"X-Request-Id: R"}, "id:abcÄ9;request-id:R;ts:1;", nil},
		{"https://h/?data.id=ABC", nil, "id:abc;ts:1;", nil},
		{"https://h/", []string{"X-Request-Id: R"}, "request-id:R;ts:1;", nil},
		{"https://h/", nil, "ts:1;", nil},
		{"https://h/", nil, "id:;request-id:;ts:1;", signing.ErrMismatch},
		{"https://h/?data.id=ABC", nil, "id:ABC;ts:1;", signing.ErrMismatch},
		{"https://h/?data.id=a&data.id=b", nil, "id:a;ts:1;", signing.ErrMalformed},
		{"https://h/", []string{"X-Request-Id: R", "X-Request-Id: S"}, "request-id:R;ts:1;", signing.ErrMalformed},
	} {
		r := request("{}", append(c.lines, "X-Signature: ts=1,v1="+hexMAC(textSecret, c.message))...)
		r.URL = c.url
		if _, err := v.Verify(r); !errors.Is(err, c.want) {
			t.Errorf("%s %q: got %v, want %v", c.url, c.lines, err, c.want)
		}
	}
}

// TestToleranceIsTheLongest: how long a repeat can still be good decides how long an ID must be remembered.
func TestToleranceIsTheLongest(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]time.Duration{
		"stripe": 5 * time.Minute, "twitch": 10 * time.Minute, "elevenlabs": 30 * time.Minute, "svix": 5 * time.Minute, "github": 0, "zoom": 0,
	} {
		v, err := signing.ForProvider(name, signing.Options{}, signing.StandardWebhooks.NewSecret())
		if got := mustVerifier(t, v, err).(interface{ Tolerance() time.Duration }).Tolerance(); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	other, _ := signing.Preset("twitch")
	s, _ := signing.Preset("github")
	s.Otherwise = &other
	v, err := signing.NewVerifier(s, signing.NewSecret(textSecret))
	if got := mustVerifier(t, v, err).(interface{ Tolerance() time.Duration }).Tolerance(); got != 10*time.Minute {
		t.Errorf("with another row behind it: got %v", got)
	}
}

// TestPresetsAreCopies: whoever changes a row must not change it for everybody.
func TestPresetsAreCopies(t *testing.T) {
	t.Parallel()
	s, _ := signing.Preset("svix")
	s.Tags[0].Name, s.Message[0], s.Otherwise.Message[0] = "v9", signing.Text("x"), signing.Text("x")
	again, ok := signing.Preset("svix")
	if !ok || again.Name != "svix" || again.Otherwise.Name != "svix" || again.Tags[0].Name != "v1" {
		t.Errorf("got %+v", again)
	}
	secret := signing.StandardWebhooks.NewSecret()
	v, err := signing.Svix(secret)
	m := signing.Message{ID: "m", Time: time.Unix(1700000000, 0), Body: []byte("{}")}
	r := signed(t, m, secret)
	r.Time = m.Time
	if _, err := mustVerifier(t, v, err).Verify(r); err != nil {
		t.Errorf("a change to one copy has reached the catalogue: %v", err)
	}
}

// TestTypesAndKeysOfProviders looks at some that are put together from several places.
func TestTypesAndKeysOfProviders(t *testing.T) {
	t.Parallel()
	sign := func(body string, lines ...string) *signing.Request {
		return github(t, body, lines...)
	}
	for name, c := range map[string]struct {
		r    *signing.Request
		want signing.Verdict
	}{
		"github": {
			sign(`{"action":"opened","repository":{"full_name":"o/r"},"issue":{"number":7}}`, "X-GitHub-Event: issues"),
			signing.Verdict{Type: "issues.opened", OrderingKey: "o/r#7"},
		},
		"meta": {
			sign(`{"object":"page","entry":[{"changes":[{"field":"feed"}]}]}`), signing.Verdict{Type: "page.feed"},
		},
		"sentry": {
			request(`{"action":"created"}`, "Sentry-Hook-Resource: issue", "Request-ID: r1", "Sentry-Hook-Signature: "+hexMAC(textSecret, `{"action":"created"}`)),
			signing.Verdict{Type: "issue.created", ID: "r1"},
		},
		"mailgun": {
			request(`{"signature":{"timestamp":"1700000000","token":"tok","signature":"` + hexMAC(textSecret, "1700000000tok") + `"},"event-data":{"event":"opened"}}`),
			signing.Verdict{Type: "opened", ID: "tok", Covers: signing.CoversMetadata},
		},
	} {
		if c.want.Covers == signing.CoversNothing {
			c.want.Covers = signing.CoversBody
		}
		v, err := signing.ForProvider(name, signing.Options{}, signing.NewSecret(textSecret))
		got, err := mustVerifier(t, v, err).Verify(c.r)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	form := "timestamp=1700000000&token=tok&event=opened&signature=" + hexMAC(textSecret, "1700000000tok")
	v, err := signing.ForProvider("mailgun", signing.Options{}, signing.NewSecret(textSecret))
	got, err := mustVerifier(t, v, err).Verify(request(form, "Content-Type: application/x-www-form-urlencoded"))
	if err != nil || got.Type != "opened" || got.ID != "tok" {
		t.Errorf("mailgun's old form: got %+v, %v", got, err)
	}
}
