package hookgate

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

// FuzzInbound sends anything to sources that know their senders: nothing panics, nothing is accepted, and the store is
// never called.
func FuzzInbound(f *testing.F) {
	f.Add("POST", "X-Hub-Signature-256", "sha256=00", "X-Forwarded-For", "1.2.3.4, 10.0.0.1", "/in?a=b", []byte(`{"action":"x"}`), int64(-1))
	f.Add("POST", "Stripe-Signature", "t=1,v1=00", "X-Event", "a", "/", []byte(`{"id":"evt_1","type":"a"}`), int64(25))
	f.Add("POST", "Webhook-Signature", "v1,AAAA v1a,AAAA", "Webhook-Timestamp", "1", "/", []byte{}, int64(0))
	f.Add("POST", "X-Slack-Signature", "v0=00", "X-Slack-Request-Timestamp", "1", "/", []byte(`{"type":"url_verification","challenge":"c"}`), int64(1<<40))
	f.Add("GET", "", "", "", "", "/?challenge=x", []byte(nil), int64(-1))

	g, s := inbound(f, nil)
	names := []string{}
	for name, make := range map[string]func(...Secret) (Verifier, error){
		"github": signing.GitHub, "stripe": signing.Stripe, "standard": signing.Standard, "slack": signing.Slack,
	} {
		v, err := make(signing.StandardWebhooks.NewSecret())
		if err != nil {
			f.Fatal(err)
		}
		addSource(f, g, name, Source{Verifier: v, MaxBody: 64, RejectedCount: 4, TrustedProxies: prefixes("10.0.0.0/8")})
		names = append(names, name)
	}
	before := s.calls.Load()
	f.Fuzz(func(t *testing.T, method, name1, value1, name2, value2, target string, body []byte, length int64) {
		for _, source := range names {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Method, r.RequestURI, r.URL.Path, r.ContentLength = method, target, target, length
			r.RemoteAddr = "10.0.0.9:1"
			r.Header.Set(name1, value1)
			r.Header.Add(name2, value2)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if got := deliverTo(g.Inbound(source), r).StatusCode; got < 400 {
				t.Errorf("%s answered %d", source, got)
			}
		}
		if n := s.calls.Load() - before; n != 0 {
			t.Errorf("the store was called %d times", n)
		}
		for _, source := range names {
			list, err := g.Rejected(source)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range list[:min(len(list), 1)] {
				if _, err := g.VerifyAgain(t.Context(), source, it.ID); err == nil {
					t.Errorf("%s accepted it when asked again", source)
				}
			}
		}
	})
}
