package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outcome is what a run of the command did.
type outcome struct {
	code           int
	stdout, stderr string
}

func runWith(stdin string, args ...string) outcome {
	var out, errs bytes.Buffer
	code := run(args, strings.NewReader(stdin), &out, &errs)
	return outcome{code, out.String(), errs.String()}
}

// want fails unless the run ended with the code and said all of the words, on either side.
func (o outcome) want(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("the exit code is %d, want %d", o.code, code)
	}
	for _, w := range words {
		if !strings.Contains(o.stdout+o.stderr, w) {
			t.Errorf("it does not say %q", w)
		}
	}
	if t.Failed() {
		t.Fatalf("stdout:\n%s\nstderr:\n%s", o.stdout, o.stderr)
	}
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongUseEndsWithTwoAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	secret := file(t, "secret", "It's a Secret to Everybody\n")
	empty := file(t, "empty", "\n")
	const none = "" // standard input
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say what to do"},
		{[]string{"frobnicate"}, "unknown command"},
		{[]string{"verify"}, "--provider NAME"},
		{[]string{"verify", "--vectors"}, "needs an argument"},
		{[]string{"verify", "-vectors", "no-such-file.json"}, "no-such-file.json"},
		{[]string{"verify", "-vectors", file(t, "bad.json", "{}")}, "must be a JSON list"},
		{[]string{"verify", "-vectors=a", "--provider=github"}, "--provider does not go with --vectors"},
		{[]string{"verify", "-vectors", "a", "b"}, "does not go with --vectors"},
		{[]string{"verify", "--provider", "github"}, "--secret-file FILE"},
		{[]string{"verify", "--provider", "github", "--secret-file", "no-such-secret"}, "no-such-secret"},
		{[]string{"verify", "--provider", "github", "--secret-file", empty}, "is empty"},
		{[]string{"verify", "--provider", "github", "--secret-env", "HOOKGATE_NO_SUCH"}, "no environment variable"},
		{[]string{"verify", "--provider", "nobody", "--secret-file", secret}, `no provider "nobody"`},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "--setting", "x"}, "name=value"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "--setting", "x=1"}, `no setting "x"`},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "--setting", "x=1", "--setting", "x=2"}, "given twice"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret}, "the request is empty"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "a", "b"}, "behind --"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "--", "wget", "b"}, "begins with curl"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "no-such-request"}, "no-such-request"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "curl https://a.example", "--url", "/in"}, "--url must be a whole URL"},
		{[]string{"verify", "--provider", "github", "--secret-file", secret, "curl https://a.example", "--now", "noon"}, "RFC 3339"},
		{[]string{"sign"}, "--secret-file FILE"},
		{[]string{"sign", "--signer", "nobody"}, `no signer "nobody"`},
		{[]string{"sign", "--curl"}, "--url must be a whole URL"},
		{[]string{"sign", "--secret-file", secret}, "not base64"},
		{[]string{"sign", "--signer", "standard", "--provider", "standard"}, "none of the others can be"},
		{[]string{"providers", "x"}, "unknown command"},
	} {
		o := runWith(none, c.args...)
		if o.code != exitUsage || !strings.Contains(o.stderr, c.want) || !strings.Contains(o.stderr, "--help") || o.stdout != "" {
			t.Errorf("%q: code %d, want %q\nstdout: %s\nstderr: %s", c.args, o.code, c.want, o.stdout, o.stderr)
		}
	}
}

// A secret as an argument is refused, and whatever goes wrong, it is not shown again.
func TestSecretsAreNeitherTakenAsArgumentsNorPrinted(t *testing.T) {
	t.Parallel()
	const secret = "c2VjcmV0LW9mLTI0LWJ5dGVzLW9yLXNv!" // not base64, for the errors
	path := file(t, "secret", secret)
	for _, args := range [][]string{
		{"verify", "--secret=" + secret},
		{"verify", "-secret=" + secret},
		{"verify", "--provider", "github", "-secret", secret},
		{"sign", "--secret", secret},
		{"sign", "--secret-env", secret},
		{"sign", "--secret-file", path},
		{"verify", "--provider", "standard", "--secret-file", path},
		{"verify", "--provider", "github", "--secret-file", path, "curl -H 'X-Hub-Signature-256: sha256=00' https://a.example"},
		{"verify", "--provider", "github", "--secret-file", path, "curl -u me:" + secret + " -F x=y https://a.example"},
	} {
		o := runWith("{}", args...)
		if o.code == exitGood || strings.Contains(o.stdout+o.stderr, secret) {
			t.Errorf("%q: code %d\n%s%s", args, o.code, o.stdout, o.stderr)
		}
	}
	runWith("", "verify", "-secret="+secret).want(t, exitUsage, "use --secret-file or --secret-env")
}

func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	runWith("", "--help").want(t, exitGood, "verify", "sign", "providers", "version")
	for _, name := range []string{"verify", "sign", "providers", "version"} {
		runWith("", name, "-help").want(t, exitGood, "Examples:", "hookgate "+name)
	}
}

func TestProvidersAndVersion(t *testing.T) {
	t.Parallel()
	o := runWith("", "providers")
	o.want(t, exitGood, "NAME")
	for _, name := range []string{"github", "standard", "stripe", "slack"} {
		if !strings.Contains(o.stdout, "\n"+name+" ") {
			t.Errorf("there is no line for %s:\n%s", name, o.stdout)
		}
	}
	runWith("", "version").want(t, exitGood, "hookgate ", "go1.")
}

// A provider that publishes its keys needs no secret, nor does a signer that signs nothing. Others say what is missing.
func TestSecretsAreWantedWhereTheyAreUsed(t *testing.T) {
	t.Parallel()
	const request = "POST /in HTTP/1.1\nHost: example.test\n\n{}"
	runWith(request, "verify", "--provider", "aws-sns", "--setting", "topic_arn=arn:aws:sns:us-east-1:123456789012:x").
		want(t, exitBad, "refused: aws-sns: missing: field Type")
	for want, args := range map[string][]string{
		"--setting NAME=VALUE":                 {"verify", "--provider", "aws-sns"},
		"no secret is given":                   {"verify", "--provider", "github"},
		"hookgate providers lists the names":   {"verify", "--provider", "no-such-provider"},
		"give the secret with --secret-file":   {"sign"},
		"--secret-file FILE or --secret-env":   {"verify", "--provider", "github"},
		"there is no provider \"no-such-one\"": {"verify", "--provider", "no-such-one"},
	} {
		o := runWith(request, args...)
		if o.code != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%q gave %d and %q, want %q", args, o.code, o.stderr, want)
		}
	}
	runWith("{}", "sign", "--signer", "none").want(t, exitGood, "Content-Type: application/json\n")
}
