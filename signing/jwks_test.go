package signing

import (
	"context"
	"crypto"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a transport in the process: it needs no socket, so that it works in a bubble too.
type answers func(*http.Request) (*http.Response, error)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func TestKeySetReadsKeys(t *testing.T) {
	t.Parallel()
	keys := map[string]any{"rsa": testRSA(), "p256": testP256(), "p384": testP384(), "p521": testP521(), "ed": testEd()}
	set, err := NewKeySet([]byte(publicSet(keys)))
	if err != nil {
		t.Fatal(err)
	}
	for kid, alg := range map[string]string{"rsa": "RS256", "p256": "ES256", "p384": "ES384", "p521": "ES512", "ed": "EdDSA"} {
		for _, a := range testAlgorithms {
			if a.name != alg {
				continue
			}
			for named, want := range map[string]error{kid: nil, "": nil, "other": ErrMismatch} {
				header := `{"alg":"` + alg + `","kid":"` + named + `"}`
				if named == "" {
					header = `{"alg":"` + alg + `"}`
				}
				k, err := verifyToken(makeToken(header, `{}`, a.hash, keys[kid]), set, alg)
				if !errors.Is(err, want) || (want == nil && (err != nil || k.id != kid)) {
					t.Errorf("%s named %q: got key %q, %v, want %v", alg, named, k.id, err, want)
				}
			}
		}
	}
}

func TestKeySetRefusesBadKeys(t *testing.T) {
	t.Parallel()
	good := publicSet(map[string]any{"k": testP256()})
	edge := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for what, text := range map[string]string{
		"empty": "", "null": "null", "array": "[]", "no keys": `{"keys":[]}`, "keys object": `{"keys":{}}`, "keys null": `{"keys":null}`, "neither": `{"a":1}`,
		"rest": good + "x", "keys twice": `{"keys":[],` + good[1:], "null key": `{"keys":[null]}`,
		"symmetric":  `{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0"}]}`,
		"encryption": edge(`"use":"sig"`, `"use":"enc"`), "not to verify": edge(`"use":"sig"`, `"key_ops":["sign"]`),
		"other algorithm": edge(`"use":"sig"`, `"alg":"RS256"`), "curve": edge("P-256", "secp256k1"), "wrong curve": edge("P-256", "P-384"),
		"not a point": edge(`"x":"`, `"x":"AAAA`), "no x": edge(`"x":`, `"z":`), "padding": edge(`"x":"`, `"x":"=`),
		"weak rsa":     `{"kty":"RSA","n":"` + b64url(make256(128)) + `","e":"AQAB"}`,
		"even rsa":     `{"kty":"RSA","n":"` + b64url(append(make256(256), 0)) + `","e":"AQAB"}`,
		"huge rsa":     `{"kty":"RSA","n":"` + b64url(make256(2048)) + `","e":"AQAB"}`,
		"exponent one": `{"kty":"RSA","n":"` + b64url(testRSA().N.Bytes()) + `","e":"AQ"}`,
		"exponent":     `{"kty":"RSA","n":"` + b64url(testRSA().N.Bytes()) + `","e":"AQABAQAB"}`,
		"ed25519":      `{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		"ed25519 cut":  `{"kty":"OKP","crv":"Ed25519","x":"AQAA"}`,
		"too many":     `{"keys":[` + strings.Repeat(`{"kty":"x"},`, maxSetKeys) + `{"kty":"x"}]}`,
	} {
		if _, err := NewKeySet([]byte(text)); err == nil {
			t.Errorf("%s is taken: %s", what, text)
		}
	}
	mixed := strings.Replace(good, `[`, `[{"kty":"new"},{"kty":"RSA","use":"enc"},`, 1)
	if _, err := NewKeySet([]byte(mixed)); err != nil {
		t.Errorf("keys that are not ours make the set unusable: %v", err)
	}
}

func make256(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func TestFetchKeySetWantsHTTPSAndAClient(t *testing.T) {
	t.Parallel()
	client := &http.Client{}
	for _, url := range []string{"", "http://h/keys", "ftp://h/", "https://", "https:///x", "https://u:p@h/", "https://h/#x", "//h/", "https:h", ":"} {
		if _, err := FetchKeySet(url, client); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	if _, err := FetchKeySet("https://h/keys", nil); err == nil || !strings.Contains(err.Error(), "Client") {
		t.Errorf("without a client: %v", err)
	}
}

// fetched is a set over a server that a test can change, in a bubble.
type fetched struct {
	mu    sync.Mutex
	count int
	reply func() (*http.Response, error)
}

func (f *fetched) set(t *testing.T) *KeySet {
	t.Helper()
	set, err := FetchKeySet("https://issuer.test/keys", &http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet || r.URL.String() != "https://issuer.test/keys" {
			t.Errorf("an unexpected request: %s %s", r.Method, r.URL)
		}
		f.mu.Lock()
		f.count++
		reply := f.reply
		f.mu.Unlock()
		return reply()
	})})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (f *fetched) serve(reply func() (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply = reply
}

func (f *fetched) wantCount(t *testing.T, n int, when string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count != n {
		t.Errorf("%s: fetched %d times, want %d", when, f.count, n)
	}
}

func TestFetchedKeySetIsKeptAndRenewed(t *testing.T) {
	t.Parallel()
	first, both := publicSet(map[string]any{"a": testP256()}), publicSet(map[string]any{"a": testP256(), "b": testRSA()})
	tokenA := makeToken(`{"alg":"ES256","kid":"a"}`, `{}`, crypto.SHA256, testP256())
	tokenB := makeToken(`{"alg":"RS256","kid":"b"}`, `{}`, crypto.SHA256, testRSA())
	synctest.Test(t, func(t *testing.T) {
		f := &fetched{}
		f.serve(func() (*http.Response, error) { return answer(200, first, "Cache-Control: public, max-age=600"), nil })
		set := f.set(t)
		check := func(token string, want error, n int, when string) {
			t.Helper()
			if _, err := verifyToken(token, set, "ES256", "RS256"); !errors.Is(err, want) || (want == nil && err != nil) {
				t.Errorf("%s: got %v, want %v", when, err, want)
			}
			f.wantCount(t, n, when)
		}
		f.wantCount(t, 0, "before the first token")
		check(tokenA, nil, 1, "the first token")
		check(tokenA, nil, 1, "the second token")
		check(tokenB, ErrMismatch, 1, "an unknown key, within 10 s of the last fetch")
		time.Sleep(10 * time.Second)
		check(tokenB, ErrMismatch, 2, "an unknown key")
		check(tokenB, ErrMismatch, 2, "an unknown key again")
		f.serve(func() (*http.Response, error) { return answer(200, both, "Cache-Control: max-age=600"), nil })
		time.Sleep(10 * time.Second)
		check(tokenB, nil, 3, "the key was published")
		time.Sleep(599 * time.Second)
		check(tokenA, nil, 3, "as long as max-age")
		time.Sleep(time.Second)
		f.serve(func() (*http.Response, error) { return answer(503, ""), nil })
		check(tokenA, nil, 4, "the server is ill: the last set goes on to hold")
		check(tokenB, nil, 4, "no second try within 10 s")
		unknown := makeToken(`{"alg":"RS256","kid":"c"}`, `{}`, crypto.SHA256, testRSA())
		check(unknown, ErrUnavailable, 4, "an unknown key while the server is ill")
		f.serve(func() (*http.Response, error) { return answer(200, first), nil })
		time.Sleep(10 * time.Second)
		check(tokenB, ErrMismatch, 5, "the key was withdrawn")
		time.Sleep(remoteKeep - time.Second)
		check(tokenA, nil, 5, "kept for an hour where the server says nothing")
		time.Sleep(time.Second)
		check(tokenA, nil, 6, "and no longer")
	})
}

func TestFetchedKeySetIsFetchedOnceForAll(t *testing.T) {
	t.Parallel()
	body := publicSet(map[string]any{"a": testP256()})
	token := makeToken(`{"alg":"ES256","kid":"a"}`, `{}`, crypto.SHA256, testP256())
	synctest.Test(t, func(t *testing.T) {
		f := &fetched{}
		release := make(chan struct{})
		f.serve(func() (*http.Response, error) { <-release; return answer(200, body), nil })
		set := f.set(t)
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				if _, err := verifyToken(token, set, "ES256"); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait.Go(func() {
			if _, err := must(parseJWT(token)).verify(ctx, set, []string{"ES256"}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a request that was given up: %v", err)
			}
		})
		synctest.Wait()
		cancel() // of one waiter, which must not take the fetch away from the others
		synctest.Wait()
		close(release)
		wait.Wait()
		f.wantCount(t, 1, "51 tokens at the same time")
	})
}

func TestFetchedKeySetRefusesBadAnswers(t *testing.T) {
	t.Parallel()
	good := publicSet(map[string]any{"a": testP256()})
	token := makeToken(`{"alg":"ES256","kid":"a"}`, `{}`, crypto.SHA256, testP256())
	for what, reply := range map[string]func() (*http.Response, error){
		"status":     func() (*http.Response, error) { return answer(404, good), nil },
		"redirect":   func() (*http.Response, error) { return answer(302, good, "Location: https://elsewhere.test/"), nil },
		"no set":     func() (*http.Response, error) { return answer(200, "<html>"), nil },
		"too long":   func() (*http.Response, error) { return answer(200, good+strings.Repeat(" ", maxRemote)), nil },
		"connection": func() (*http.Response, error) { return nil, errors.New("refused by the guard") },
	} {
		f := &fetched{}
		f.serve(reply)
		_, err := verifyToken(token, f.set(t), "ES256")
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want unavailable", what, err)
		}
		if !strings.Contains(err.Error(), "issuer.test") {
			t.Errorf("%s: the error does not name the server: %v", what, err)
		}
		f.wantCount(t, 1, what)
	}
	synctest.Test(t, func(t *testing.T) { // a server that never answers
		client := &http.Client{Transport: answers(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		set := must(FetchKeySet("https://issuer.test/keys", client))
		began := time.Now()
		if _, err := verifyToken(token, set, "ES256"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != remoteTimeout {
			t.Errorf("it took %v, want %v", took, remoteTimeout)
		}
	})
}

func TestAnswersAreKeptAsTheServerSays(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": remoteKeep, "public": remoteKeep, "max-age=300": 5 * time.Minute, "Public, MAX-AGE=300": 5 * time.Minute, `max-age="300"`: 5 * time.Minute,
		"max-age=0": remoteMinKeep, "max-age=59": remoteMinKeep, "no-store": remoteMinKeep, "no-cache, max-age=300": remoteMinKeep,
		"max-age=999999": remoteMaxKeep, "max-age=99999999999999999999": remoteMinKeep, "max-age=-1": remoteMinKeep, "max-age=x": remoteMinKeep,
		"s-maxage=5, max-age=120": 2 * time.Minute,
	} {
		if got := keepFor(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}
