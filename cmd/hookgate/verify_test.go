package main

import (
	"fmt"
	"strings"
	"testing"
)

// The example of GitHub's documentation.
const (
	githubSecret    = "It's a Secret to Everybody"
	githubSignature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	githubRequest   = "POST /in/github HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 13\r\nx-hub-signature-256: " + githubSignature +
		"\r\nX-GitHub-Event: ping\r\nX-GitHub-Delivery: 72d3162e\r\n\r\nHello, World!"
)

func TestVerifySaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	secret := file(t, "secret", githubSecret+"\n")
	other := file(t, "other", "another secret")
	verify := []string{"verify", "--provider", "github", "--secret-file", secret}
	want := func(o outcome) {
		t.Helper()
		o.want(t, exitGood, "accepted\n", "ping\n", "72d3162e\n", "body: all of it is signed")
		if strings.Contains(o.stdout+o.stderr, githubSecret) {
			t.Errorf("it shows the secret:\n%s%s", o.stdout, o.stderr)
		}
	}
	want(runWith(githubRequest, verify...))
	want(runWith(githubRequest, append(verify, "-")...))
	want(runWith("ignored", append(verify, file(t, "request.http", githubRequest))...))
	want(runWith(githubRequest+"\n\n", verify...)) // with what an editor adds
	want(runWith(strings.ReplaceAll(githubRequest, "\r\n", "\n"), verify...))
	want(runWith(strings.TrimPrefix(githubRequest, "POST /in/github HTTP/1.1\r\n"), verify...))
	o := runWith(githubRequest, "verify", "-provider=github", "-secret-file", other, "-secret-file", secret)
	want(o)
	o.want(t, exitGood, "secret 2")
	headers := []string{"-H", "X-Hub-Signature-256: " + githubSignature, "-HX-GitHub-Event: ping", "--header", "X-GitHub-Delivery: 72d3162e"}
	want(runWith("", append(append(verify, "--", "curl"), append(headers, "-sSd", "Hello, World!", "https://hooks.example.com")...)...))
	want(runWith("", append(verify, "curl -X POST https://hooks.example.com/ -H '"+strings.Join(headers[1:2], "")+"' \\\n -H \"X-GitHub-Event: ping\" -H 'X-GitHub-Delivery: 72d3162e' --data-raw $'Hello\\u002c World\\x21'")...))
	body := file(t, "body", "Hello,\n World!\r\n")
	want(runWith("curl https://a.example -d @"+body+" -H 'x-hub-signature-256: "+githubSignature+"' -H x-github-event:ping -H x-github-delivery:72d3162e", verify...))
}

func TestVerifySaysWhyNot(t *testing.T) {
	t.Parallel()
	secret := file(t, "secret", githubSecret)
	verify := []string{"verify", "--provider", "github", "--secret-file", secret}
	changed := strings.Replace(githubRequest, "Hello", "Hullo", 1)
	o := runWith(changed, verify...)
	o.want(t, exitBad, "refused: github: no signature fits", "1 key")
	if strings.Contains(o.stdout, "accepted") {
		t.Error(o.stdout)
	}
	runWith(strings.Replace(githubRequest, "x-hub", "x-hob", 1), verify...).want(t, exitBad, "refused: github: missing")
	// What the gateway calls a change by a middleware may also come from copying: the note says so.
	runWith(strings.Replace(githubRequest, "Content-Length: 13\r\n", "", 1)+"\n", verify...).
		want(t, exitBad, "newline at the end", "note: the body ends with a line end")
	runWith(strings.Replace(githubRequest, "World!", "W", 1), verify...).want(t, exitBad, "note: the body has 8 bytes and Content-Length says 13: it is cut off")
}

func TestVerifyTakesTheClockTheURLAndHandshakes(t *testing.T) {
	t.Parallel()
	// From Slack's documentation, its clock at that time.
	secret := file(t, "secret", "8f742231b10e8888abcd99yyyzzz85a5")
	const body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	request := "POST /in HTTP/1.1\nX-Slack-Request-Timestamp: 1531420618\n" +
		"X-Slack-Signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503\n\n" + body
	slack := []string{"verify", "--provider", "slack", "--secret-file", secret}
	for _, now := range []string{"1531420618", "2018-07-12T18:36:58Z", "2018-07-12T20:36:58+02:00"} {
		runWith(request, append(slack, "-now", now)...).want(t, exitGood, "accepted")
	}
	runWith(request, slack...).want(t, exitBad, "too old")
	runWith(request, append(slack, "--now", "1531420000")...).want(t, exitBad, "too new")

	// A handshake of Zoom: signed with hookgate's own words for it, see below.
	challenge := `{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}`
	zoom := file(t, "zoom", "zoom-secret-token")
	signature := hmacHex("zoom-secret-token", "v0:1700000000:"+challenge)
	handshake := fmt.Sprintf("POST /in HTTP/1.1\nX-Zm-Request-Timestamp: 1700000000\nX-Zm-Signature: v0=%s\n\n%s", signature, challenge)
	runWith(handshake, "verify", "--provider", "zoom", "--secret-file", zoom).
		want(t, exitGood, "accepted, as a handshake", "200 OK", hmacHex("zoom-secret-token", "abc"))
	runWith(strings.Replace(handshake, signature, signature[1:]+"0", 1), "verify", "--provider", "zoom", "--secret-file", zoom).
		want(t, exitBad, "refused", "handshake")
}
