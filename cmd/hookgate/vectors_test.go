package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/internal/vectors"
)

func hmacHex(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

// githubEntry makes an entry that is good, whatever valid says.
func githubEntry(i int, valid bool) vectors.Entry {
	body := fmt.Sprintf(`{"action":"opened","number":%d}`, i)
	return vectors.Entry{
		ID: fmt.Sprintf("github-%05d", i), Provider: "github", Scheme: "github-sha256", Secret: fmt.Sprintf("secret number %d", i),
		Method: "POST", URL: "https://hooks.example.test/in", Body: base64.StdEncoding.EncodeToString([]byte(body)),
		Headers: map[string][]string{"X-Hub-Signature-256": {"sha256=" + hmacHex(fmt.Sprintf("secret number %d", i), body)}},
		Valid:   valid, Why: "made here",
	}
}

func vectorsFile(t *testing.T, entries []vectors.Entry) string {
	t.Helper()
	data, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "vectors.json", string(data))
}

// Both spellings of the flag, and the whole file of the repository.
func TestVerifyRunsTheVectorsOfTheRepository(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "testdata", "vectors", "signatures.json")
	for _, args := range [][]string{{"-vectors", path}, {"--vectors", path}, {"-vectors=" + path}, {"--vectors=" + path}} {
		runWith("", append([]string{"verify"}, args...)...).want(t, exitGood, "242 passed, 0 failed\n")
	}
}

// Of 20,000 entries the wrong ones are found, in the order of the file, in seconds.
func TestVerifyRunsTwentyThousandEntries(t *testing.T) {
	t.Parallel()
	const n = 20_000
	entries := make([]vectors.Entry, n)
	var want strings.Builder
	for i := range entries {
		entries[i] = githubEntry(i, i%1000 != 999)
		switch i % 4000 {
		case 1000:
			entries[i].Secret = "another secret" // so that a good one is refused
			fmt.Fprintf(&want, "github-%05d must be accepted\n", i)
		case 3000:
			entries[i].Scheme, entries[i].Provider = "unheard-of", "nobody"
			fmt.Fprintf(&want, "github-%05d cannot be run\n", i)
		}
		if !entries[i].Valid {
			fmt.Fprintf(&want, "github-%05d must be refused\n", i)
		}
	}
	path := vectorsFile(t, entries)
	began := time.Now()
	o := runWith("", "verify", "-vectors", path)
	took := time.Since(began)
	if o.code != exitBad {
		t.Errorf("the exit code is %d", o.code)
	}
	lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	var got strings.Builder
	for _, line := range lines[:len(lines)-1] {
		id, reason, _ := strings.Cut(line, ": ")
		words := strings.Join(strings.Fields(strings.NewReplacer(":", "", ",", "").Replace(reason))[:3], " ")
		fmt.Fprintf(&got, "%s %s\n", id, words)
	}
	if got.String() != want.String() {
		t.Errorf("it found\n%s\nwant\n%s", got.String(), want.String())
	}
	if last := lines[len(lines)-1]; last != "19970 passed, 30 failed" {
		t.Errorf("it ends with %q", last)
	}
	t.Logf("%d entries in %v", n, took)
	if took > 20*time.Second { // thousands a second, also on a busy machine
		t.Errorf("%d entries took %v", n, took)
	}
}

// An entry that cannot be run is no success, and a file of good ones ends with 0.
func TestVerifyCountsWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	unknown := githubEntry(2, false)
	unknown.Scheme, unknown.Provider = "unheard-of", "nobody"
	runWith("", "verify", "-vectors", vectorsFile(t, []vectors.Entry{githubEntry(1, true)})).want(t, exitGood, "1 passed, 0 failed\n")
	o := runWith("", "verify", "-vectors", vectorsFile(t, []vectors.Entry{githubEntry(1, true), unknown}))
	o.want(t, exitBad, `github-00002: cannot be run: there is no provider for the scheme "unheard-of"`, "1 passed, 1 failed\n")
	if strings.Contains(o.stdout, unknown.Secret) {
		t.Errorf("it shows a secret: %s", o.stdout)
	}
}

// What is damaged in a file is told of the one entry, and nothing in it reaches the terminal as it stands.
func TestVerifyRunsWhatIsGoodBesideWhatIsDamaged(t *testing.T) {
	t.Parallel()
	strange := githubEntry(2, false)
	strange.ID = "a\x1b[31m\nb"
	path := vectorsFile(t, []vectors.Entry{githubEntry(1, true), githubEntry(1, true), strange})
	o := runWith("", "verify", "-vectors", path)
	o.want(t, exitBad, "github-00001: cannot be run: another entry has the same id\n", `"a\x1b[31m\nb": must be refused`, "\n1 passed, 2 failed\n")
	if strings.Contains(o.stdout, "\x1b") {
		t.Errorf("it prints %q", o.stdout)
	}
	for _, text := range []string{"", "[]", "null", "{}", "\x00\x01\xff", "[1"} {
		runWith("", "verify", "-vectors", file(t, "some.json", text)).want(t, exitUsage)
	}
}
