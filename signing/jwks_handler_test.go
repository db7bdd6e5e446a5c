package signing_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

// The key and its thumbprint are those of RFC 8037, appendix A.
func TestJWKSThumbprintIsThatOfTheRFC(t *testing.T) {
	t.Parallel()
	const x, kid = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	raw, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	signing.JWKS(func(*http.Request) ([]string, error) {
		public := "whpk_" + base64.StdEncoding.EncodeToString(raw)
		return []string{public, public}, nil
	}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	want := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"` + kid + `","use":"sig","alg":"EdDSA"}]}`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d: got %s\nwant %s", w.Code, w.Body, want)
	}
	if h := w.Header(); h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("the header is %v", h)
	}
}

// Nothing but public keys comes out, whatever the function answers.
func TestJWKSNeverShowsAPrivateKey(t *testing.T) {
	t.Parallel()
	private := signing.NewEd25519Secret()
	public, err := signing.PublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	both, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(private.Reveal(), "whsk_"))
	if err != nil {
		t.Fatal(err)
	}
	seed := ed25519.PrivateKey(both).Seed()
	for name, c := range map[string]struct {
		keys []string
		err  error
		code int
	}{
		"public":      {[]string{public}, nil, 200},
		"none":        {nil, nil, 200},
		"private":     {[]string{public, private.Reveal()}, nil, 503},
		"shared":      {[]string{signing.StandardWebhooks.NewSecret().Reveal()}, nil, 503},
		"long public": {[]string{"whpk_" + base64.StdEncoding.EncodeToString(both)}, nil, 503},
		"error":       {[]string{public}, errors.New("secret words " + private.Reveal()), 503},
	} {
		w := httptest.NewRecorder()
		signing.JWKS(func(*http.Request) ([]string, error) { return c.keys, c.err }).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		out := fmt.Sprint(w.Code, w.Header(), w.Body)
		if w.Code != c.code {
			t.Errorf("%s: %s", name, out)
		}
		for _, part := range []string{
			private.Reveal()[5:40], base64.RawURLEncoding.EncodeToString(seed), base64.StdEncoding.EncodeToString(seed)[:40], `"d"`, "whsec_", "whsk_", "secret words",
		} {
			if strings.Contains(out, part) {
				t.Errorf("%s: shows %q: %s", name, part, out)
			}
		}
		if c.code != 200 {
			if w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s", name, out)
			}
			continue
		}
		var set struct{ Keys []struct{ X, Kid string } }
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || set.Keys == nil || len(set.Keys) != len(c.keys) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
		for _, k := range set.Keys {
			if raw, err := base64.RawURLEncoding.DecodeString(k.X); err != nil || public != "whpk_"+base64.StdEncoding.EncodeToString(raw) {
				t.Errorf("%s: another key: %s", name, out)
			}
			// It is the keyid of what this key signs.
			h := http.Header{}
			signer, _ := signing.SignerFor("http-message")
			if err := signer.Sign(h, outgoing, []signing.Secret{private}); err != nil || !strings.Contains(h.Get("Signature-Input"), `keyid="`+k.Kid+`"`) {
				t.Errorf("%v, %v", h, err)
			}
		}
	}
	w := httptest.NewRecorder()
	signing.JWKS(func(*http.Request) ([]string, error) { return nil, nil }).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
