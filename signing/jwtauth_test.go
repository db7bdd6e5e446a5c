package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// testNow is the clock of these tests.
var testNow = time.Unix(1700000000, 0)

// tokenRequest shows a token of these claims, signed by the P-256 key of the tests.
func tokenRequest(claims string) *Request {
	r := lines("Authorization: Bearer " + makeToken(`{"alg":"ES256","kid":"k"}`, claims, crypto.SHA256, testP256()))
	r.Time = testNow
	return r
}

func testSet() *KeySet { return must(NewKeySet([]byte(publicSet(map[string]any{"k": testP256()})))) }

func TestJWTVerifier(t *testing.T) {
	t.Parallel()
	v := must(JWT(JWTOptions{
		Keys: testSet(), Audience: []string{"https://hooks.example.com/in", "other"}, Issuer: "https://issuer.example.com",
		Claims: map[string]string{"email": "push@example.com", "email_verified": "true", "tier": "3"},
	}))
	const rest = `"iss":"https://issuer.example.com","email":"push@example.com","email_verified":true,"tier":3,"sub":"ann"`
	for _, claims := range []string{
		`{"exp":1700000001,"aud":"https://hooks.example.com/in",` + rest + `}`,
		`{"exp":1700000001,"aud":["x","other"],` + rest + `}`,
		`{"exp":1699999971,"iat":1700000030,"nbf":1700000030,"aud":"other",` + rest + `}`, // the leeway of 30 s
	} {
		if d, err := v.Verify(tokenRequest(claims)); err != nil || d != (Verdict{Key: -1, Subject: "ann"}) {
			t.Errorf("%s: got %+v, %v", claims, d, err)
		}
	}
	for _, c := range []struct {
		claims string
		kind   error
		words  string
	}{
		{`{"exp":1699999970,"aud":"other",` + rest + `}`, ErrTooOld, "the token expired 30s ago"},
		{`{"exp":1700001000,"nbf":1700000031,"aud":"other",` + rest + `}`, ErrTooNew, "begins 31s ahead"},
		{`{"exp":"soon","aud":"other",` + rest + `}`, ErrMalformed, "the claim exp"},
		{`{"aud":"other",` + rest + `}`, ErrMissing, "does not say when it ends (claim exp)"},
		{`{"exp":1700000001,` + rest + `}`, ErrMissing, "names no audience (claim aud)"},
		{`{"exp":1700000001,"aud":[],` + rest + `}`, ErrMissing, "names no audience"},
		{`{"exp":1700000001,"aud":7,` + rest + `}`, ErrMissing, "names no audience"},
		{`{"exp":1700000001,"aud":"https://hooks.example.com/in/",` + rest + `}`, ErrMismatch, "another audience (claim aud)"},
		{`{"exp":1700000001,"aud":[""],` + rest + `}`, ErrMismatch, "another audience"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, "issuer.example", "issuer2.example", 1) + `}`, ErrMismatch, "another issuer (claim iss)"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, `"iss"`, `"isz"`, 1) + `}`, ErrMissing, "does not name its issuer"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, `push@`, `pull@`, 1) + `}`, ErrMismatch, "the claim email of the token has another text"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, `true`, `false`, 1) + `}`, ErrMismatch, "the claim email_verified"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, `true`, `[true]`, 1) + `}`, ErrMissing, "no text in the claim email_verified"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, `true`, `null`, 1) + `}`, ErrMissing, "no text in the claim email_verified"},
		{`{"exp":1700000001,"aud":"other",` + strings.Replace(rest, `"tier":3`, `"tier":3.0`, 1) + `}`, ErrMismatch, "the claim tier"},
	} {
		wantRefused(t, v, tokenRequest(c.claims), c.kind, c.words)
	}
	good := `{"exp":1700000001,"aud":"other",` + rest + `}`
	for _, c := range []struct {
		r     *Request
		kind  error
		words string
	}{
		{lines(), ErrMissing, "header Authorization is not there"},
		{lines("Authorization: Basic aG9vazp4"), ErrMalformed, "of the scheme Basic and not Bearer"},
		{lines("Authorization: Bearer x.y"), ErrMalformed, "not three parts"},
		{lines("Authorization: Bearer " + makeToken(`{"alg":"ES256","kid":"k"}`, good, crypto.SHA256, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))), ErrMismatch, "fits none of 1 key"},
		{lines("Authorization: Bearer " + makeToken(`{"alg":"ES256","kid":"j"}`, good, crypto.SHA256, testP256())), ErrMismatch, "no key has the ID"},
		{lines("Authorization: Bearer " + makeToken(`{"alg":"none","kid":"k"}`, good, 0, nil)), ErrMalformed, "another algorithm than RS256, ES256, EdDSA"},
		{lines("Authorization: Bearer " + makeToken(`{"alg":"HS256","kid":"k"}`, good, crypto.SHA256, []byte(textSecretForJWT))), ErrMalformed, "another algorithm"},
		{lines(append([]string{"Authorization: " + tokenRequest(good).Header.Get("Authorization")}, "Authorization: x")...), ErrMalformed, "more than once"},
	} {
		c.r.Time = testNow
		wantRefused(t, v, c.r, c.kind, c.words)
	}
}

// A token that bears the body's hash is good for that body alone.
func TestJWTCoversTheBody(t *testing.T) {
	t.Parallel()
	body := lines().Body
	sum := sha256.Sum256(body)
	sum512 := crypto.SHA512.New()
	sum512.Write(body)
	for _, c := range []struct {
		o     JWTOptions
		value string
	}{
		{JWTOptions{}, hex.EncodeToString(sum[:])},
		{JWTOptions{BodyEncoding: Base64}, base64.StdEncoding.EncodeToString(sum[:])},
		{JWTOptions{BodyEncoding: Base64URL}, b64url(sum[:])},
		{JWTOptions{BodyEncoding: Hex, BodyHash: crypto.SHA512}, hex.EncodeToString(sum512.Sum(nil))},
	} {
		o := c.o
		o.Header, o.BodyClaim, o.Audience = "x-token", "hash", []string{"a"}
		o.Secrets = []Secret{NewSecret("another secret for the tests"), NewSecret(textSecretForJWT)}
		v := must(JWT(o))
		show := func(value string) *Request {
			return lines("X-Token: " + makeToken(`{"alg":"HS256"}`, fmt.Sprintf(`{"aud":"a","sub":"s","hash":%q}`, value), crypto.SHA256, []byte(textSecretForJWT)))
		}
		want := Verdict{Key: 1, Subject: "s", Covers: CoversBody}
		if d, err := v.Verify(show(c.value)); err != nil || d != want {
			t.Errorf("%+v: got %+v, %v", c.o, d, err)
		}
		changed := show(c.value)
		changed.Body = []byte(`{"a":2}`)
		wantRefused(t, v, changed, ErrMismatch, "is the hash of another body: a middleware changed")
		changed.Body = nil
		wantRefused(t, v, changed, ErrMismatch, "the body is empty")
		wantRefused(t, v, show(""), ErrMissing, "no hash of the body in the claim hash")
		for _, value := range []string{c.value[1:], c.value + "A", c.value + "\n", c.value[:4], "é" + c.value[2:]} {
			wantRefused(t, v, show(value), ErrMalformed, "not a hash of the body")
		}
	}
}

func TestJWTMaxAge(t *testing.T) {
	t.Parallel()
	v := must(JWT(JWTOptions{Keys: testSet(), Audience: []string{"a"}, MaxAge: time.Minute, Leeway: -1}))
	if _, err := v.Verify(tokenRequest(`{"aud":"a","iat":1699999940}`)); err != nil {
		t.Errorf("as old as it may be: %v", err)
	}
	wantRefused(t, v, tokenRequest(`{"aud":"a","iat":1699999939}`), ErrTooOld, "made 1m1s ago, it may be 1m0s")
	wantRefused(t, v, tokenRequest(`{"aud":"a","iat":1700000001}`), ErrTooNew, "1s ahead")
	wantRefused(t, v, tokenRequest(`{"aud":"a","exp":1700001000}`), ErrMissing, "when it was made (iat)")
	wantRefused(t, v, tokenRequest(`{"aud":"a","iat":1700000000,"exp":1700000000}`), ErrTooOld, "expired 0s ago")
}

// The keys are asked for within the request's context, and where there are none the sender is to try again.
func TestJWTFetchesItsKeys(t *testing.T) {
	t.Parallel()
	asked, down := 0, false
	client := &http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
		asked++
		if down || r.Context().Err() != nil {
			return nil, errors.New("no route")
		}
		return answer(200, publicSet(map[string]any{"k": testP256()})), nil
	})}
	o := JWTOptions{Keys: must(FetchKeySet("https://issuer.example.com/keys", client)), Audience: []string{"a"}}
	v := must(JWT(o))
	for range 3 {
		if _, err := v.Verify(tokenRequest(`{"aud":"a","exp":1700000001}`)); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("the keys were fetched %d times for three requests", asked)
	}
	down = true
	o.Keys = must(FetchKeySet("https://issuer.example.com/keys", client))
	v = must(JWT(o))
	wantRefused(t, v, tokenRequest(`{"aud":"a","exp":1700000001}`), ErrUnavailable, "signing: jwt: keys unavailable")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := tokenRequest(`{"aud":"a","exp":1700000001}`)
	r.Context = ctx
	if _, err := v.Verify(r); !errors.Is(err, ErrRefused) {
		t.Errorf("a request that is over: %v", err)
	}
}

func TestJWTOptionsAreChecked(t *testing.T) {
	t.Parallel()
	secrets := []Secret{NewSecret(textSecretForJWT)}
	for words, o := range map[string]JWTOptions{
		"JWTOptions.Keys: is needed, or": {Audience: []string{"a"}},
		"Keys: is given and Secrets":     {Audience: []string{"a"}, Keys: testSet(), Secrets: secrets},
		"Keys: is empty":                 {Audience: []string{"a"}, Keys: &KeySet{}},
		"secret 1 is empty":              {Audience: []string{"a"}, Secrets: []Secret{{}}},
		"has 15 bytes and must have":     {Audience: []string{"a"}, Secrets: []Secret{NewSecret("fifteen bytes..")}},
		"secret 1 is a key file":         {Audience: []string{"a"}, Secrets: []Secret{NewSecret("-----BEGIN PUBLIC KEY-----")}},
		"Audience: say by which":         {Secrets: secrets},
		"Audience: say":                  {Secrets: secrets, Audience: []string{"a", ""}},
		`Algorithms: "none"`:             {Secrets: secrets, Audience: []string{"a"}, Algorithms: []string{"none"}},
		"Algorithms: RS256 does not":     {Secrets: secrets, Audience: []string{"a"}, Algorithms: []string{"HS256", "RS256"}},
		"Algorithms: HS512 does not":     {Keys: testSet(), Audience: []string{"a"}, Algorithms: []string{"HS512"}},
		"Claims: a name":                 {Secrets: secrets, Audience: []string{"a"}, Claims: map[string]string{"x": ""}},
		"Leeway: 11m0s is more than":     {Secrets: secrets, Audience: []string{"a"}, Leeway: 11 * time.Minute},
		"MaxAge: must not be negative":   {Secrets: secrets, Audience: []string{"a"}, MaxAge: -1},
		"BodyClaim: say which":           {Secrets: secrets, Audience: []string{"a"}, BodyEncoding: Hex},
		"BodyHash: take":                 {Secrets: secrets, Audience: []string{"a"}, BodyClaim: "h", BodyHash: crypto.SHA1},
		"BodyEncoding: take":             {Secrets: secrets, Audience: []string{"a"}, BodyClaim: "h", BodyEncoding: Raw},
		"Header: ":                       {Secrets: secrets, Audience: []string{"a"}, Header: "X Token"},
	} {
		v, err := JWT(o)
		if err == nil || v != nil || !strings.HasPrefix(err.Error(), "signing: jwt: ") || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, %v, want an error that says %q", v, err, words)
		} else if strings.Contains(err.Error(), textSecretForJWT) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	// What the caller changes afterwards changes nothing.
	o := JWTOptions{Keys: testSet(), Audience: []string{"a"}, Algorithms: []string{"ES256"}, Claims: map[string]string{"c": "v"}}
	v := must(JWT(o))
	o.Audience[0], o.Algorithms[0] = "b", "RS256"
	delete(o.Claims, "c")
	wantRefused(t, v, tokenRequest(`{"aud":"b","exp":1700000001,"c":"v"}`), ErrMismatch, "another audience")
	wantRefused(t, v, tokenRequest(`{"aud":"a","exp":1700000001}`), ErrMissing, "no text in the claim c")
	if _, err := v.Verify(tokenRequest(`{"aud":"a","exp":1700000001,"c":"v"}`)); err != nil {
		t.Error(err)
	}
}
