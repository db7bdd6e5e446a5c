package signing

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testToken, testOtherToken = "token-for-these-tests", "other-token-for-these-tests"

// lines makes a request of "Name: value" lines.
func lines(header ...string) *Request {
	r := &Request{Method: http.MethodPost, Header: http.Header{}, Body: []byte(`{"a":1}`)}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func basicText(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// wantRefused checks that a request is refused for this reason, in these words, and that the words hold nothing of texts
// that nobody may read.
func wantRefused(t *testing.T, v Verifier, r *Request, kind error, words string) {
	t.Helper()
	verdict, err := v.Verify(r)
	if !errors.Is(err, ErrRefused) || !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), words) {
		t.Fatalf("the error is %v, want one of the kind %q that says %q", err, kind, words)
	}
	if verdict != (Verdict{}) {
		t.Errorf("a verdict comes with the refusal: %+v", verdict)
	}
	for _, values := range r.Header {
		for _, value := range values {
			for word := range strings.FieldsSeq(value) {
				if len(word) >= minToken && strings.Contains(err.Error(), word) {
					t.Errorf("the error shows what was sent: %v", err)
				}
			}
		}
	}
	for _, secret := range []string{testToken, testOtherToken, textSecretForJWT} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	v := must(Bearer(NewSecret(testToken), NewSecret(testOtherToken)))
	for line, key := range map[string]int{
		"Authorization: Bearer " + testToken:      0,
		"Authorization: bearer " + testToken:      0,
		"Authorization: Bearer " + testOtherToken: 1,
	} {
		if d, err := v.Verify(lines(line)); err != nil || d != (Verdict{Key: key}) {
			t.Errorf("%s: got %+v, %v", line, d, err)
		}
	}
	for _, c := range []struct {
		r     *Request
		kind  error
		words string
	}{
		{lines(), ErrMissing, "header Authorization is not there"},
		{lines("Authorization: "), ErrMissing, "header Authorization is not there"},
		{lines("Authorization: " + testToken), ErrMalformed, "does not begin with the word Bearer"},
		{lines("Authorization: Basic " + testToken), ErrMalformed, "of the scheme Basic and not Bearer"},
		{lines("Authorization: Bearer"), ErrMalformed, "ends behind the word Bearer"},
		{lines("Authorization: Bearer  " + testToken), ErrMalformed, "more than one space"},
		{lines("Authorization: Bearer " + testToken + " "), ErrMismatch, "fits none of 2 secrets"},
		{lines("Authorization: Bearer " + testToken[1:]), ErrMismatch, "fits none of 2 secrets"},
		{lines("Authorization: Bearer " + testToken + "x"), ErrMismatch, "the token was rotated"},
		{lines("Authorization: Bearer " + strings.ToUpper(testToken)), ErrMismatch, "another token"},
		{lines("Authorization: Bearer eyJhbGciOiJub25lIn0.e30."), ErrMismatch, "looks like a JWT"},
		{lines("Authorization: Bearer "+testToken, "Authorization: Bearer "+testToken), ErrMalformed, "more than once"},
		{lines("Authorization: Bearer " + testToken + ", Bearer " + testToken), ErrMismatch, "fits none"},
		{lines("Authorization: Bearer " + strings.Repeat("x", maxHeader)), ErrMalformed, "longer than 8192 bytes"},
		{lines("Proxy-Authorization: Bearer " + testToken), ErrMissing, "Authorization is not there"},
		{&Request{}, ErrMissing, "is not there"},
	} {
		wantRefused(t, v, c.r, c.kind, c.words)
	}
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	v := must(APIKey("x-api-key", NewSecret(testOtherToken), NewSecret(testToken)))
	if d, err := v.Verify(lines("X-Api-Key: " + testToken)); err != nil || d != (Verdict{Key: 1}) {
		t.Errorf("got %+v, %v", d, err)
	}
	for _, c := range []struct {
		r     *Request
		kind  error
		words string
	}{
		{lines(), ErrMissing, "header X-Api-Key is not there: is it set up"},
		{lines("Authorization: Bearer " + testToken), ErrMissing, "a header Authorization instead"},
		{lines("X-Api-Key: " + testToken + testToken), ErrMismatch, "fits none of 2 keys"},
		{lines("X-Api-Key: Bearer " + testToken), ErrMismatch, "it fits without the word Bearer"},
		{lines("X-Api-Key: Mine " + testToken), ErrMismatch, "it fits without its first word"},
		{lines("X-Api-Key: "+testToken, "X-Api-Key: "+testToken), ErrMalformed, "more than once"},
		{lines("X-Api-Key: " + strings.Repeat("x", maxHeader+1)), ErrMalformed, "longer than"},
	} {
		wantRefused(t, v, c.r, c.kind, c.words)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	v := must(Basic("hook", NewSecret(testToken), NewSecret(testOtherToken+":with a colon")))
	for line, key := range map[string]int{
		basicText("hook", testToken):                                       0,
		strings.Replace(basicText("hook", testToken), "Basic", "BASIC", 1): 0,
		basicText("hook", testOtherToken+":with a colon"):                  1,
	} {
		if d, err := v.Verify(lines(line)); err != nil || d != (Verdict{Key: key, Subject: "hook"}) {
			t.Errorf("got %+v, %v", d, err)
		}
	}
	good := basicText("hook", testToken)
	for _, c := range []struct {
		r     *Request
		kind  error
		words string
	}{
		{lines(), ErrMissing, "header Authorization is not there"},
		{lines("Authorization: Basic"), ErrMalformed, "ends behind the word Basic"},
		{lines("Authorization: Bearer " + testToken), ErrMalformed, "of the scheme Bearer and not Basic"},
		{lines("Authorization: Basic hook:" + testToken), ErrMalformed, "as they are"},
		{lines(strings.TrimRight(basicText("hook", "12345678901"), "=")), ErrMalformed, "its padding is missing"},
		{lines("Authorization: Basic ____"), ErrMalformed, "cut off or of another alphabet"},
		{lines("Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("no colon at all"))), ErrMalformed, "no colon"},
		{lines(basicText("hook", testToken+"x")), ErrMismatch, "has the right user, and the password fits none of 2 secrets"},
		{lines(basicText("hook", "")), ErrMismatch, "the right user"},
		{lines(basicText("hoo", testToken)), ErrMismatch, "another user"},
		{lines(basicText("", testToken)), ErrMismatch, "another user"},
		{lines(basicText("Hook", testToken)), ErrMismatch, "another user"},
		{lines(basicText("hook", testToken+"\n")), ErrMismatch, "without the white space"},
		{lines(good, good), ErrMalformed, "more than once"},
		{lines("Authorization: Basic " + strings.Repeat("QUFB", maxHeader/4)), ErrMalformed, "longer than"},
	} {
		wantRefused(t, v, c.r, c.kind, c.words)
	}
}

// A pair of one user and another's password is no pair.
func TestBasicPairsOfTheCatalogue(t *testing.T) {
	t.Parallel()
	v := must(basicProvider.code(Options{}, []Secret{NewSecret("ann:" + testToken), NewSecret("bob:" + testOtherToken)}))
	for i, c := range []struct{ user, password string }{{"ann", testToken}, {"bob", testOtherToken}} {
		if d, err := v.Verify(lines(basicText(c.user, c.password))); err != nil || d.Key != i || d.Subject != c.user {
			t.Errorf("%s: got %+v, %v", c.user, d, err)
		}
	}
	wantRefused(t, v, lines(basicText("ann", testOtherToken)), ErrMismatch, "the right user")
	wantRefused(t, v, lines(basicText("bob", testToken)), ErrMismatch, "the right user")
}

// What cannot prove anything, or could never be sent, is an error before the first request, and shows no secret.
func TestTokensThatCannotWork(t *testing.T) {
	t.Parallel()
	good := NewSecret(testToken)
	bearer := func(s ...Secret) (Verifier, error) { return Bearer(s...) }
	basicOf := func(s ...Secret) (Verifier, error) { return Basic("hook", s...) }
	key := func(s ...Secret) (Verifier, error) { return APIKey("X-Api-Key", s...) }
	catalogue := func(s ...Secret) (Verifier, error) {
		for i := range s {
			if !s[i].IsZero() {
				s[i] = NewSecret("hook:" + s[i].Reveal())
			}
		}
		return basicProvider.code(Options{}, s)
	}
	for name, f := range map[string]func(...Secret) (Verifier, error){"bearer": bearer, "basic": basicOf, "key": key, "catalogue": catalogue} {
		for words, secrets := range map[string][]Secret{
			"needs a secret":                           {},
			"secret 1 is empty":                        {{}},
			"secret 2 is empty":                        {good, {}},
			"secret 1 is too short: it has 7 bytes":    {NewSecret("sevenby")},
			"secret 2 begins or ends with white space": {good, NewSecret(testToken + "\n")},
			"secret 1 has a line break":                {NewSecret("a token\nof two lines")},
			"secret 1 has 4097 bytes":                  {NewSecret(strings.Repeat("x", 4097))},
			"has 17 secrets":                           slicesOf(17, good),
		} {
			v, err := f(secrets...)
			if err == nil || v != nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: got %v, %v, want an error that says %q", name, v, err, words)
			} else if strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), "sevenby") || !strings.HasPrefix(err.Error(), "signing: ") {
				t.Errorf("%s: the error shows a secret, or does not name the package: %v", name, err)
			}
		}
	}
	for words, f := range map[string]func() (Verifier, error){
		"begins with the word Bearer":      func() (Verifier, error) { return Bearer(NewSecret("Bearer " + testToken)) },
		"the user is empty":                func() (Verifier, error) { return Basic("", good) },
		"the user has a colon":             func() (Verifier, error) { return Basic("a:b", good) },
		"the user has a colon or a contro": func() (Verifier, error) { return Basic("a\nb", good) },
		"the user has 3000 bytes":          func() (Verifier, error) { return Basic(strings.Repeat("u", 3000), good) },
		"the name of the header is missin": func() (Verifier, error) { return APIKey("", good) },
		"is not the name of a header":      func() (Verifier, error) { return APIKey("X-Api-Key: "+testToken, good) },
		"is not the name":                  func() (Verifier, error) { return APIKey("X Api", good) },
		"the header Host":                  func() (Verifier, error) { return APIKey("host", good) },
		"the name of the header":           func() (Verifier, error) { return apiKeyProvider.code(Options{}, []Secret{good}) },
		"secret 1 has no colon":            func() (Verifier, error) { return basicProvider.code(Options{}, []Secret{good}) },
		"secret 1: the user is empty":      func() (Verifier, error) { return basicProvider.code(Options{}, []Secret{NewSecret(":" + testToken)}) },
	} {
		if v, err := f(); err == nil || v != nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), testToken) {
			t.Errorf("got %v, %v, want an error that says %q", v, err, words)
		}
	}
}

func slicesOf(n int, s Secret) []Secret {
	all := make([]Secret, n)
	for i := range all {
		all[i] = s
	}
	return all
}

// TestVectorsOfTokens runs the entries of the two schemes that are code and no row.
func TestVectorsOfTokens(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("HOOKGATE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "testdata", "vectors")
	}
	var all []struct {
		ID, Scheme, Secret, Method, URL, Why string
		Extra                                []string `json:"extra_secrets"`
		Params                               map[string]string
		Headers                              map[string][]string
		Body                                 []byte `json:"body_base64"`
		Valid                                bool
	}
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "signatures.json"))), &all); err != nil {
		t.Fatal(err)
	}
	good, bad := map[string]int{}, map[string]int{}
	for _, c := range all {
		p, ok := map[string]provider{"basic-auth": basicProvider, "api-key-header": apiKeyProvider}[c.Scheme]
		if !ok {
			continue
		}
		secrets := []Secret{NewSecret(c.Secret)}
		for _, s := range c.Extra {
			secrets = append(secrets, NewSecret(s))
		}
		v, err := p.code(Options{Settings: c.Params}, secrets)
		if err == nil {
			r := &Request{Method: c.Method, URL: c.URL, Body: c.Body, Header: http.Header{}}
			for name, values := range c.Headers {
				for _, value := range values {
					r.Header.Add(name, value)
				}
			}
			_, err = v.Verify(r)
		}
		if (err == nil) != c.Valid {
			t.Errorf("%s (%s): valid must be %v, got the error %v", c.ID, c.Why, c.Valid, err)
		}
		if c.Valid {
			good[c.Scheme]++
		} else {
			bad[c.Scheme]++
		}
	}
	for _, scheme := range []string{"basic-auth", "api-key-header"} {
		if good[scheme] == 0 || bad[scheme] == 0 {
			t.Errorf("%s: %d good and %d bad entries were run, there must be some of both", scheme, good[scheme], bad[scheme])
		}
	}
}
