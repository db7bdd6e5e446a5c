package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The key pairs of these tests, made once: RSA keys take their time.
var (
	testRSA      = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	testOtherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	testP256     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	testP384     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	testP521     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	testEd       = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// makeToken signs a token, without any code of the package: header and claims are JSON text.
func makeToken(header, claims string, hash crypto.Hash, key any) string {
	signed := b64url([]byte(header)) + "." + b64url([]byte(claims))
	var digest []byte
	if hash != 0 {
		h := hash.New()
		h.Write([]byte(signed))
		digest = h.Sum(nil)
	}
	var signature []byte
	switch k := key.(type) {
	case []byte:
		mac := hmac.New(hash.New, k)
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	case *rsa.PrivateKey:
		if strings.Contains(header, "PS256") {
			signature = must(rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		} else {
			signature = must(rsa.SignPKCS1v15(nil, k, hash, digest))
		}
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			panic(err)
		}
		size := (k.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(signed))
	case nil:
	default:
		panic(fmt.Sprintf("a key of type %T", key))
	}
	return signed + "." + b64url(signature)
}

// testKeys has one key of every family.
func testKeys() secretKeys {
	keys := secretKeys{{family: hmacFamily, hmac: []byte(textSecretForJWT)}}
	for _, public := range []any{&testRSA().PublicKey, &testP256().PublicKey, &testP384().PublicKey, &testP521().PublicKey, testEd().Public()} {
		keys = append(keys, must(publicJWK(public)))
	}
	for i := range keys {
		keys[i].index = i
	}
	return keys
}

const textSecretForJWT = "a secret for the tests of tokens"

var testAlgorithms = []struct {
	name string
	hash crypto.Hash
	key  func() any
	want int // index in testKeys
}{
	{"HS256", crypto.SHA256, func() any { return []byte(textSecretForJWT) }, 0},
	{"HS384", crypto.SHA384, func() any { return []byte(textSecretForJWT) }, 0},
	{"HS512", crypto.SHA512, func() any { return []byte(textSecretForJWT) }, 0},
	{"RS256", crypto.SHA256, func() any { return testRSA() }, 1},
	{"RS384", crypto.SHA384, func() any { return testRSA() }, 1},
	{"RS512", crypto.SHA512, func() any { return testRSA() }, 1},
	{"PS256", crypto.SHA256, func() any { return testRSA() }, 1},
	{"ES256", crypto.SHA256, func() any { return testP256() }, 2},
	{"ES384", crypto.SHA384, func() any { return testP384() }, 3},
	{"ES512", crypto.SHA512, func() any { return testP521() }, 4},
	{"EdDSA", 0, func() any { return testEd() }, 5},
}

func verifyToken(text string, keys keySource, allowed ...string) (jwk, error) {
	t, err := parseJWT(text)
	if err != nil {
		return jwk{}, err
	}
	return t.verify(context.Background(), keys, allowed)
}

func TestJWTOfEveryAlgorithm(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	if len(testAlgorithms) != len(jwtAlgorithms) {
		t.Fatalf("%d algorithms are tested, there are %d", len(testAlgorithms), len(jwtAlgorithms))
	}
	for _, a := range testAlgorithms {
		header := `{"alg":"` + a.name + `","typ":"JWT"}`
		token := makeToken(header, `{"sub":"x"}`, a.hash, a.key())
		k, err := verifyToken(token, keys, a.name)
		if err != nil || k.index != a.want {
			t.Errorf("%s: got key %d, %v, want key %d", a.name, k.index, err, a.want)
		}
		signed, signature, _ := strings.Cut(token[strings.Index(token, ".")+1:], ".")
		for what, bad := range map[string]string{
			"other claims":        token[:strings.Index(token, ".")+1] + b64url([]byte(`{"sub":"y"}`)) + "." + signature,
			"other header":        b64url([]byte(header+" ")) + "." + signed + "." + signature,
			"no signature":        strings.TrimSuffix(token, signature),
			"cut signature":       token[:len(token)-4],
			"longer signature":    token + "AAAA",
			"empty signature key": makeToken(header, `{"sub":"x"}`, 0, nil),
		} {
			if _, err := verifyToken(bad, keys, a.name); !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: got %v, want a refusal", a.name, what, err)
			}
		}
		for _, other := range testAlgorithms {
			if _, err := verifyToken(token, keys, other.name); other.name != a.name && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s is taken where only %s is allowed: %v", a.name, other.name, err)
			}
		}
	}
}

// TestJWTKeyCannotChangeItsKind is the classic: a token signed by HMAC with the text of the public key that everybody has.
func TestJWTKeyCannotChangeItsKind(t *testing.T) {
	t.Parallel()
	all := make([]string, 0, len(jwtAlgorithms)+1)
	for name := range jwtAlgorithms {
		all = append(all, name)
	}
	all = append(all, "none")
	public := testKeys()[1:]
	for _, material := range [][]byte{
		testRSA().N.Bytes(), testEd().Public().(ed25519.PublicKey), must(testP256().PublicKey.Bytes()), {},
	} {
		for name, hash := range map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512} {
			token := makeToken(`{"alg":"`+name+`"}`, `{}`, hash, material)
			if _, err := verifyToken(token, public, all...); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s with a public key for secret: %v", name, err)
			}
		}
	}
	// A key of P-256 with the longer numbers and the other hash of ES384.
	signed := b64url([]byte(`{"alg":"ES384"}`)) + "." + b64url([]byte(`{}`))
	digest := sha512.Sum384([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, testP256(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	token := signed + "." + b64url(append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...))
	if _, err := verifyToken(token, secretKeys{must(publicJWK(&testP256().PublicKey))}, all...); !errors.Is(err, ErrMismatch) {
		t.Errorf("ES384 with a key of P-256: %v", err)
	}
	for _, name := range []string{"none", "None", "NONE", "nOnE", "HS1", "hs256", "RS1", "PS384", "ES256K", "dir", "Ed448"} {
		token := makeToken(`{"alg":"`+name+`"}`, `{}`, 0, nil)
		if _, err := verifyToken(token, testKeys(), append(all, name)...); !errors.Is(err, ErrMalformed) {
			t.Errorf("alg %s: %v", name, err)
		}
	}
	if _, err := hmacKeys([]Secret{NewSecret("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----")}, 8); err == nil {
		t.Error("a public key is taken as the secret of an HMAC")
	}
}

func TestJWTIsReadStrictly(t *testing.T) {
	t.Parallel()
	good := makeToken(`{"alg":"HS256"}`, `{"a":1}`, crypto.SHA256, []byte(textSecretForJWT))
	if _, err := verifyToken(good, testKeys(), "HS256"); err != nil {
		t.Fatal(err)
	}
	token := func(header, claims string) string {
		return makeToken(header, claims, crypto.SHA256, []byte(textSecretForJWT))
	}
	parts := strings.Split(good, ".")
	for what, text := range map[string]string{
		"empty": "", "dots": "..", "two parts": parts[0] + "." + parts[1], "four parts": good + ".", "padding": good + "=",
		"newline": good[:10] + "\n" + good[10:], "space": " " + good, "other alphabet": strings.Replace(good, ".", ".+/", 1),
		"loose bits":    strings.TrimSuffix(good, parts[2]) + parts[2][:len(parts[2])-1] + nextChar(parts[2][len(parts[2])-1]),
		"long":          good + strings.Repeat("A", maxJWT),
		"no alg":        token(`{"typ":"JWT"}`, `{}`),
		"alg null":      token(`{"alg":null}`, `{}`),
		"alg list":      token(`{"alg":["HS256"]}`, `{}`),
		"alg twice":     token(`{"alg":"none","alg":"HS256"}`, `{}`),
		"crit":          token(`{"alg":"HS256","crit":["exp"]}`, `{}`),
		"b64":           token(`{"alg":"HS256","b64":false}`, `{}`),
		"kid number":    token(`{"alg":"HS256","kid":1}`, `{}`),
		"header array":  token(`[]`, `{}`),
		"header text":   token(`"x"`, `{}`),
		"header rest":   token(`{"alg":"HS256"}{}`, `{}`),
		"no claims":     token(`{"alg":"HS256"}`, ``),
		"claims array":  token(`{"alg":"HS256"}`, `[]`),
		"claims null":   token(`{"alg":"HS256"}`, `null`),
		"claims cut":    token(`{"alg":"HS256"}`, `{"a":1`),
		"claims rest":   token(`{"alg":"HS256"}`, `{"a":1}x`),
		"claim twice":   token(`{"alg":"HS256"}`, `{"exp":1,"exp":2}`),
		"claims latin1": token(`{"alg":"HS256"}`, "{\"a\":\"\xe9\"}"),
	} {
		if _, err := verifyToken(text, testKeys(), "HS256"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want malformed", what, err)
		}
	}
}

// nextChar flips the lowest bit of a character of base64url, which decoders that are not strict do not look at.
func nextChar(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

// TestJWTPublishedExamples are those of RFC 7515, appendix A.1 and A.3.
func TestJWTPublishedExamples(t *testing.T) {
	t.Parallel()
	const claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	secret := must(strictURL.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"))
	set := must(NewKeySet([]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`)))
	for text, keys := range map[string]keySource{
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk":                        secretKeys{{family: hmacFamily, hmac: secret}},
		"eyJhbGciOiJFUzI1NiJ9." + claims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q": set,
	} {
		if _, err := verifyToken(text, keys, "HS256", "ES256"); err != nil {
			t.Error(err)
			continue
		}
		parsed := must(parseJWT(text))
		if iss, _ := parsed.text("iss"); iss != "joe" {
			t.Errorf("the issuer is %q", iss)
		}
		if err := parsed.checkTime(time.Unix(1300819379, 0), 0); err != nil {
			t.Error(err)
		}
		if err := parsed.checkTime(time.Unix(1300819380, 0), 0); !errors.Is(err, ErrTooOld) {
			t.Errorf("at exp: %v", err)
		}
	}
}

func TestJWTClaimsAndTimes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1700000000, 0)
	for claims, want := range map[string]error{
		`{}`: nil, `{"exp":1700000001}`: nil, `{"exp":1700000000}`: nil, `{"exp":1699999996}`: nil, `{"exp":1699999995}`: ErrTooOld,
		`{"exp":1699999995.5}`: nil, `{"nbf":1700000005}`: nil, `{"nbf":1700000006}`: ErrTooNew, `{"iat":1700000006}`: ErrTooNew,
		`{"iat":1}`: nil, `{"exp":"1700000001"}`: ErrMalformed, `{"exp":null}`: ErrMalformed, `{"nbf":true}`: ErrMalformed, `{"exp":1e300}`: ErrMalformed,
		`{"iat":{}}`: ErrMalformed, `{"exp":-1e18}`: ErrMalformed,
	} {
		parsed := must(parseJWT(makeToken(`{"alg":"HS256"}`, claims, crypto.SHA256, []byte("x"))))
		if err := parsed.checkTime(now, 5*time.Second); !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("%s: got %v, want %v", claims, err, want)
		}
	}
	for claims, want := range map[string]error{
		`{"iat":1699999700}`: nil, `{"iat":1699999699}`: ErrTooOld, `{}`: ErrMissing, `{"iat":"x"}`: ErrMalformed,
	} {
		parsed := must(parseJWT(makeToken(`{"alg":"HS256"}`, claims, crypto.SHA256, []byte("x"))))
		if err := parsed.checkAge(now, 5*time.Minute); !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("age of %s: got %v, want %v", claims, err, want)
		}
	}
	parsed := must(parseJWT(makeToken(`{"alg":"HS256"}`, `{"aud":["a","b"],"sub":"me","n":1,"e":""}`, crypto.SHA256, []byte("x"))))
	if got := parsed.audience(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("audience %q", got)
	}
	if s, ok := parsed.text("sub"); !ok || s != "me" {
		t.Errorf("subject %q", s)
	}
	if !parsed.has("n") || parsed.has("m") {
		t.Error("has does not tell what is there")
	}
	for _, name := range []string{"n", "e", "m", "aud"} {
		if s, ok := parsed.text(name); ok {
			t.Errorf("%s is no text: %q", name, s)
		}
	}
	for claims, n := range map[string]int{`{"aud":"a"}`: 1, `{"aud":7}`: 0, `{"aud":[1]}`: 0, `{}`: 0, `{"aud":{}}`: 0} {
		parsed := must(parseJWT(makeToken(`{"alg":"HS256"}`, claims, crypto.SHA256, []byte("x"))))
		if got := parsed.audience(); len(got) != n {
			t.Errorf("%s: audience %q", claims, got)
		}
	}
}

// FuzzJWT: no text makes it panic, and none is good, as nobody signed it with these keys.
func FuzzJWT(f *testing.F) {
	for _, a := range testAlgorithms {
		f.Add(makeToken(`{"alg":"`+a.name+`","kid":"k"}`, `{"exp":1}`, a.hash, a.key())[1:])
	}
	f.Add("..")
	keys := testKeys()
	all := make([]string, 0, len(jwtAlgorithms))
	for name := range jwtAlgorithms {
		all = append(all, name)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseJWT(text)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("not an error about a request: %v", err)
			}
			return
		}
		_ = parsed.checkTime(time.Unix(1700000000, 0), 0)
		_ = parsed.checkAge(time.Unix(1700000000, 0), time.Minute)
		_ = parsed.audience()
		if _, err := parsed.verify(context.Background(), keys, all); !errors.Is(err, ErrRefused) {
			t.Errorf("accepted: %v", err)
		}
	})
}

// publicSet writes public keys as a key set, each with the name that it has in the map.
func publicSet(keys map[string]any) string {
	var list []map[string]string
	for kid, key := range keys {
		m := map[string]string{"kid": kid, "use": "sig"}
		switch k := key.(type) {
		case *rsa.PrivateKey:
			m["kty"], m["n"], m["e"] = "RSA", b64url(k.N.Bytes()), "AQAB"
		case *ecdsa.PrivateKey:
			point := must(k.PublicKey.Bytes())[1:]
			m["kty"], m["crv"] = "EC", k.Params().Name
			m["x"], m["y"] = b64url(point[:len(point)/2]), b64url(point[len(point)/2:])
		case ed25519.PrivateKey:
			m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64url(k.Public().(ed25519.PublicKey))
		}
		list = append(list, m)
	}
	return string(must(json.Marshal(map[string]any{"keys": list})))
}
