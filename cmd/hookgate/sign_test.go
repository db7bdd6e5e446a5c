package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

const standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// What sign prints, verify accepts: as headers and as a command line, with a body that a shell would like to read.
func TestSignedIsVerified(t *testing.T) {
	t.Parallel()
	secret := file(t, "secret", standardSecret+"\n")
	other := file(t, "other", signing.StandardWebhooks.NewSecret().Reveal())
	body := "{\"type\":\"invoice.paid\",\"note\":\"it's $5 \\\\ `x` \\u00fc ü\"}\n"
	verify := []string{"verify", "--provider", "standard", "--secret-file", secret}

	o := runWith(body, "sign", "--secret-file", other, "--secret-file", secret, "--id", "evt_17")
	o.want(t, exitGood, "Content-Type: application/json\n", "Webhook-Id: evt_17\n", "Webhook-Signature: v1,", "Webhook-Timestamp: ")
	runWith("POST /in HTTP/1.1\n"+o.stdout+"\n"+body, verify...).want(t, exitGood, "accepted", "invoice.paid", "evt_17")
	runWith("POST /in HTTP/1.1\n"+o.stdout+"\n"+body+" ", verify...).want(t, exitBad, "refused")

	for _, from := range []string{"-", file(t, "it's a body.json", body)} {
		o = runWith(body, "sign", "--provider", "standard", "--secret-file", secret, "--url", "https://example.com/in?a=1&b=2", "--curl", "--id", "evt_18", from)
		o.want(t, exitGood, "curl -X POST")
		if strings.Contains(o.stdout, standardSecret) {
			t.Errorf("it shows the secret: %s", o.stdout)
		}
		runWith(o.stdout, verify...).want(t, exitGood, "accepted", "invoice.paid", "evt_18")
	}
}

// The published example of Standard Webhooks comes out as it stands there.
func TestSignTakesIDAndTime(t *testing.T) {
	t.Parallel()
	secret := file(t, "secret", standardSecret)
	for _, at := range []string{"1614265330", "2021-02-25T15:02:10Z"} {
		runWith(`{"test": 2432232314}`, "sign", "-secret-file", secret, "-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "-time", at).
			want(t, exitGood, "Webhook-Signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\n", "Webhook-Timestamp: 1614265330\n")
	}
	runWith("x\x00y", "sign", "--secret-file", secret, "--curl", "--url", "https://a.example").want(t, exitUsage, "put it into a file")
	runWith("{}", "sign", "--secret-file", secret, "--id", "a.b").want(t, exitUsage, "hookgate: ")
}

// Words come back out of a real shell, and out of splitShell, as they went in.
func TestQuoteIsWhatShellsRead(t *testing.T) {
	t.Parallel()
	words := []string{"plain", "", "it's", `back\slash`, "$HOME `id` \"x\"", "a\nb\tc", "ü€", "-H", "*?[a]", "#", "~", "a;b&c|d>e<f(g)"}
	line := ""
	for _, w := range words {
		line += " " + quote(w)
	}
	if got, err := splitShell(line); err != nil || !slices.Equal(got, words) {
		t.Errorf("splitShell gave %q, %v", got, err)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		return // not on this system; splitShell was tried
	}
	out, err := exec.CommandContext(t.Context(), sh, "-c", `printf '%s\0'`+line).Output()
	if err != nil || string(out) != strings.Join(words, "\x00")+"\x00" {
		t.Errorf("sh gave %q, %v", out, err)
	}
}
