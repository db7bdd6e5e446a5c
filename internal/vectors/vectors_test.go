package vectors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/internal/vectors"
	"github.com/hookgate/hookgate/signing"
)

// load reads the file in the folder HOOKGATE_VECTORS, or the copy in this repository.
func load(tb testing.TB) []vectors.Entry {
	tb.Helper()
	dir := os.Getenv("HOOKGATE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "testdata", "vectors")
	}
	entries, err := vectors.Load(filepath.Join(dir, "signatures.json"))
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}

// Every entry of the file comes out as it says.
func TestVectors(t *testing.T) {
	t.Parallel()
	entries := load(t)
	if len(entries) < 200 {
		t.Fatalf("only %d entries", len(entries))
	}
	for _, e := range entries {
		if err := e.Check(); err != nil {
			t.Errorf("%s: %v", e.ID, err)
		}
	}
}

// A wrong verdict is found whichever way it is wrong, and an entry that nobody can verify is no success.
func TestCheckFindsWrongVerdicts(t *testing.T) {
	t.Parallel()
	turned := map[bool]int{}
	for _, e := range load(t) {
		if e.Scheme != "github-sha256" && e.Scheme != "slack-v0" {
			continue
		}
		e.Valid = !e.Valid
		err := e.Check()
		if err == nil || errors.Is(err, vectors.ErrCannotRun) {
			t.Errorf("%s: the opposite verdict gave %v", e.ID, err)
		}
		turned[e.Valid]++
		e.Scheme, e.Provider = "no-such-scheme", "nobody"
		for _, e.Valid = range []bool{true, false} {
			if err := e.Check(); !errors.Is(err, vectors.ErrCannotRun) {
				t.Errorf("%s of an unknown scheme gave %v", e.ID, err)
			}
		}
	}
	if turned[true] == 0 || turned[false] == 0 {
		t.Fatalf("turned %v", turned)
	}
}

// github is a good entry, small enough to be changed by hand: the example of GitHub's documentation.
func github() vectors.Entry {
	return vectors.Entry{
		ID: "github", Provider: "github", Scheme: "github-sha256", Secret: "It's a Secret to Everybody", Method: "POST", Valid: true,
		Headers: map[string][]string{"x-HUB-signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}},
		Body:    "SGVsbG8sIFdvcmxkIQ==",
	}
}

func TestCheckOfOneEntry(t *testing.T) {
	t.Parallel()
	signature := github().Headers["x-HUB-signature-256"][0]
	for name, change := range map[string]func(e *vectors.Entry){
		"as it is":                  func(*vectors.Entry) {},
		"the second secret fits":    func(e *vectors.Entry) { e.Secret, e.ExtraSecrets = "another secret", []string{e.Secret} },
		"a header twice is refused": func(e *vectors.Entry) { e.Headers["X-Hub-Signature-256"], e.Valid = []string{signature}, false },
		"two values are refused": func(e *vectors.Entry) {
			e.Headers["x-HUB-signature-256"], e.Valid = []string{signature, signature}, false
		},
		"no secret is no good verdict":        func(e *vectors.Entry) { e.Secret, e.Valid = "", false },
		"an empty further secret is no good":  func(e *vectors.Entry) { e.ExtraSecrets, e.Valid = []string{""}, false },
		"a secret of two bytes is none":       func(e *vectors.Entry) { e.Secret, e.Valid = "ab", false },
		"a scheme that is the provider's":     func(e *vectors.Entry) { e.Scheme = "github" },
		"an unknown scheme, a known provider": func(e *vectors.Entry) { e.Scheme = "octo-v7" },
		"an unknown suffix":                   func(e *vectors.Entry) { e.Scheme, e.Provider = "github-hmac-v9", "somebody" },
	} {
		e := github()
		change(&e)
		if err := e.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Published examples have short secrets. A text may be as short as theirs, and a decoded key may not.
func TestVerifierTakesTheShortSecretsOfExamples(t *testing.T) {
	t.Parallel()
	e := github()
	e.Secret = "tofu"
	if _, err := e.Verifier(); err != nil {
		t.Error(err)
	}
	for _, scheme := range []string{"standard-webhooks-v1", "svix"} {
		e.Scheme, e.Secret = scheme, "whsec_dG9mdQ=="
		if _, err := e.Verifier(); err == nil || !strings.Contains(err.Error(), "too short") {
			t.Errorf("%s: a key of four bytes gave %v", scheme, err)
		}
	}
}

// The accepted window is the entry's, also where a row has another one behind it.
func TestVerifierTakesTheWindowOfTheEntry(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	for _, e := range load(t) {
		if e.Scheme != "standard-webhooks-v1" || !e.Valid || e.Secret != secret.Reveal() {
			continue
		}
		for _, scheme := range []string{"standard-webhooks-v1", "svix"} {
			e := e
			e.Scheme = scheme
			r, err := e.Request()
			if err != nil {
				t.Fatal(err)
			}
			var sent int64
			if _, err := fmt.Sscan(r.Header.Get("Webhook-Timestamp"), &sent); err != nil {
				t.Fatal(err)
			}
			for _, window := range []int64{10, 300, 7200} {
				e.Tolerance = window
				e.Now, e.Valid = sent+window, true
				if err := e.Check(); err != nil {
					t.Errorf("%s, at the end of %d s: %v", scheme, window, err)
				}
				e.Now, e.Valid = sent+window+1, false
				if err := e.Check(); err != nil {
					t.Errorf("%s, after %d s: %v", scheme, window, err)
				}
			}
		}
		return
	}
	t.Fatal("there is no entry to try")
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	one, err := json.Marshal(github())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                      "not JSON",
		"[{]":                                   "not JSON, at byte 3",
		`{"id": "a"}`:                           "must be a JSON list",
		"null":                                  "no entry",
		"[]":                                    "no entry",
		fmt.Sprintf(`[%s] trailing words`, one): "not JSON",
	} {
		path := filepath.Join(t.TempDir(), "some.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := vectors.Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "some.json") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := vectors.Load(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there gave %v", err)
	}
	e := github()
	e.Body = "SGVsbG8sIFdvcmxkIQ=" // cut off
	if err := e.Check(); !errors.Is(err, vectors.ErrCannotRun) || !strings.Contains(err.Error(), "body_base64") {
		t.Errorf("a damaged body gave %v", err)
	}
}

// What is wrong with one entry is said of that one, and the others run.
func TestLoadKeepsWhatIsGoodBesideWhatIsDamaged(t *testing.T) {
	t.Parallel()
	one, err := json.Marshal(github())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"id": 5}`:                         "entry 2: cannot be run: id cannot be a JSON number",
		`"words"`:                           "entry 2: cannot be run: an entry is a JSON object, and this is a JSON string",
		`null`:                              "entry 2: cannot be run: it has no id",
		`{"scheme": "slack-v0"}`:            "entry 2: cannot be run: it has no id",
		`{"id": "a"}`:                       "a: cannot be run: it has neither a scheme nor a provider",
		string(one):                         "github: cannot be run: another entry has the same id",
		`{"id": "a", "scheme": "slack-v0"}`: "a: cannot be run: it does not say whether it is valid",
		`{"id":"a","params":[1]}`:           "a: cannot be run: params cannot be a JSON array",
	} {
		path := filepath.Join(t.TempDir(), "some.json")
		if err := os.WriteFile(path, fmt.Appendf(nil, "\ufeff[%s, %s]", one, text), 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := vectors.Load(path)
		if err != nil || len(entries) != 2 {
			t.Fatalf("%s: %d entries, %v", text, len(entries), err)
		}
		if err := entries[0].Check(); err != nil {
			t.Errorf("beside %s a good entry gave %v", text, err)
		}
		err = entries[1].Check()
		if !errors.Is(err, vectors.ErrCannotRun) || !strings.HasPrefix(fmt.Sprintf("%s: %v", entries[1].ID, err), want) {
			t.Errorf("%s: got %s: %v, want %s", text, entries[1].ID, err, want)
		}
	}
}
