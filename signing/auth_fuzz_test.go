package signing

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// FuzzAuthorization gives the generic verifiers arbitrary headers. Nobody who made them has a secret: nothing may be
// accepted, nothing may panic, and no error may be anything else than a refusal.
func FuzzAuthorization(f *testing.F) {
	f.Add("Bearer "+testToken, "x", []byte(`{}`))
	f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte("hook:x")), "", []byte(``))
	f.Add("Basic hook:"+testToken, "Bearer x", []byte("body"))
	f.Add("basic  =", "\x00", []byte("body"))
	f.Add("Bearer "+makeToken(`{"alg":"ES256","kid":"k"}`, `{"aud":"a","exp":1700000001,"hash":"00"}`, crypto.SHA256, testP384()), "..", []byte("{}"))
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AA", []byte("{}"))

	secret := StandardWebhooks.NewSecret() // nobody knows it
	one := []Verifier{
		must(Bearer(secret)), must(Basic("hook", secret)), must(APIKey("X-Api-Key", secret)),
		must(basicProvider.code(Options{}, []Secret{NewSecret("hook:" + secret.Reveal())})),
		must(JWT(JWTOptions{Keys: testSet(), Audience: []string{"a"}})),
		must(JWT(JWTOptions{Secrets: []Secret{secret}, Audience: []string{"a"}, Header: "X-Api-Key", BodyClaim: "hash", MaxAge: time.Hour})),
		must(Allow(netip.MustParsePrefix("192.0.2.0/24"))), must(ClientCertificate(nil, "CN:x")),
		must(Forward(func(context.Context, *Request) (Verdict, error) { return Verdict{}, errors.New("no") })),
		must(Slack(secret)),
	}
	all := append(one, must(AnyOf(one...)), must(AllOf(one...)), must(AnyOf(must(AllOf(one[:3]...)), must(AnyOf(one[3:]...)))))
	f.Fuzz(func(t *testing.T, authorization, key string, body []byte) {
		r := lines()
		r.Header["Authorization"], r.Header["X-Api-Key"] = []string{authorization}, []string{key}
		r.Body, r.Time = body, testNow
		for _, v := range all {
			if d, err := v.Verify(r); !errors.Is(err, ErrRefused) || d != (Verdict{}) {
				t.Fatalf("%T accepts: %+v, %v", v, d, err)
			}
			if h, ok := v.(Handshaker); ok {
				if reply, err := h.Handshake(r); reply != nil || err != nil && !errors.Is(err, ErrRefused) {
					t.Fatalf("%T answers: %+v, %v", v, reply, err)
				}
			}
		}
	})
}
