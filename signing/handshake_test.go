package signing_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

func TestHandshakes(t *testing.T) {
	t.Parallel()
	slackSigned := func(body string) *signing.Request {
		return request(body, "X-Slack-Request-Timestamp: 1700000000", "X-Slack-Signature: v0="+hexMAC(textSecret, "v0:1700000000:"+body))
	}
	slack := make1(t, signing.Slack, textSecret).(signing.Handshaker)
	reply, err := slack.Handshake(slackSigned(`{"type":"url_verification","challenge":"3eZbr\"<","token":"x"}`))
	if err != nil || reply == nil || reply.Status != 200 || string(reply.Body) != `{"challenge":"3eZbr\"\u003c"}` || reply.Header.Get("Content-Type") != "application/json" {
		t.Errorf("slack: %+v, %v", reply, err)
	}
	for name, r := range map[string]*signing.Request{
		"unsigned":     request(`{"type":"url_verification","challenge":"x"}`),
		"no challenge": slackSigned(`{"type":"url_verification"}`),
		"long":         slackSigned(`{"type":"url_verification","challenge":"` + strings.Repeat("x", 1100) + `"}`),
	} {
		if reply, err := slack.Handshake(r); reply != nil || !errors.Is(err, signing.ErrRefused) {
			t.Errorf("slack, %s: %+v, %v", name, reply, err)
		}
	}
	if reply, err := slack.Handshake(slackSigned(`{"type":"event_callback"}`)); reply != nil || err != nil {
		t.Errorf("an event is taken for a handshake: %+v, %v", reply, err)
	}
	if got := fmt.Sprint(slack.HandshakeMethods()); got != "[POST]" {
		t.Errorf("the methods are %s", got)
	}

	const zoomSecret = "zoom-secret-token-test-1"
	body := `{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}`
	zoom := make1(t, signing.Zoom, zoomSecret).(signing.Handshaker)
	reply, err = zoom.Handshake(request(body, "X-Zm-Request-Timestamp: 1700000000", "X-Zm-Signature: v0="+hexMAC(zoomSecret, "v0:1700000000:"+body)))
	if err != nil || string(reply.Body) != `{"encryptedToken":"ea48be200bdca6d5aea866c5235a8e9c0081c18e7518fb4e394561093e4185b4","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}` {
		t.Errorf("zoom: %+v, %v", reply, err)
	}
	if reply, err := zoom.Handshake(request(body)); reply != nil || !errors.Is(err, signing.ErrRefused) {
		t.Errorf("zoom signs for a stranger: %+v, %v", reply, err)
	}

	body = `{"challenge":"pogchamp","subscription":{}}`
	twitch := make1(t, signing.Twitch, textSecret).(signing.Handshaker)
	at := "2023-11-14T22:13:20Z"
	reply, err = twitch.Handshake(request(body, "Twitch-Eventsub-Message-Id: i", "Twitch-Eventsub-Message-Timestamp: "+at,
		"Twitch-Eventsub-Message-Type: webhook_callback_verification", "Twitch-Eventsub-Message-Signature: sha256="+hexMAC(textSecret, "i"+at+body)))
	if err != nil || string(reply.Body) != "pogchamp" || !strings.HasPrefix(reply.Header.Get("Content-Type"), "text/plain") || reply.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("twitch: %+v, %v", reply, err)
	}

	ping := github(t, `{"zen":"Keep it logically awesome."}`, "X-GitHub-Event: ping")
	hub := make1(t, signing.GitHub, textSecret)
	if reply, err := hub.(signing.Handshaker).Handshake(ping); reply != nil || err != nil {
		t.Errorf("github: a ping is taken for a handshake: %+v, %v", reply, err)
	}
	if verdict, err := hub.Verify(ping); err != nil || verdict.Type != "ping" {
		t.Errorf("github: %+v, %v", verdict, err)
	}
}

// TestHandshakeSignsNoEvents: a digest on request must not be a signature that verifies.
func TestHandshakeSignsNoEvents(t *testing.T) {
	t.Parallel()
	s, _ := signing.Preset("github")
	s.Handshakes = []signing.Handshake{{
		Method: "GET", Challenge: signing.Query("crc_token"),
		Members: []signing.Member{{Name: "response_token", Digest: true, Encoding: signing.Base64, Prefix: "sha256="}},
	}}
	v, err := signing.NewVerifier(s, signing.NewSecret(textSecret))
	h := mustVerifier(t, v, err).(signing.Handshaker)
	get := func(url string) (*signing.Reply, error) {
		return h.Handshake(&signing.Request{Method: "GET", URL: url, Header: http.Header{}})
	}
	reply, err := get("https://h/?crc_token=abc_-123")
	if err != nil || !strings.HasPrefix(string(reply.Body), `{"response_token":"sha256=`) {
		t.Errorf("got %+v, %v", reply, err)
	}
	if reply, err := get("https://h/?crc_token=%7B%22type%22:%22forged%22%7D"); reply != nil || !errors.Is(err, signing.ErrMalformed) {
		t.Errorf("it signs an event on request: %+v, %v", reply, err)
	}
	if reply, err := get("https://h/"); reply != nil || err != nil {
		t.Errorf("a plain GET is taken for a handshake: %+v, %v", reply, err)
	}
}
