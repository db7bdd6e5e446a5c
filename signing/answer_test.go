package signing

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// lone is a verifier that is no row.
type lone struct{}

func (lone) Verify(*Request) (Verdict, error) { return Verdict{Type: "lone"}, nil }
func (lone) Tolerance() time.Duration         { return time.Hour }

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"adyen": "[accepted]", "dropbox-sign": "Hello API Event Received"} {
		reply, err := eventAnswer(name, nil)
		if err != nil || string(reply.Body) != want {
			t.Fatalf("%s: %+v, %v", name, reply, err)
		}
		v, err := withHandshakes(name, lone{}, nil, reply, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := v.(Answerer).Answer(&Request{})
		if got.Status != 200 || string(got.Body) != want || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %+v", name, got)
		}
		clear(got.Body)
		if again := v.(Answerer).Answer(&Request{}); string(again.Body) != want {
			t.Errorf("%s: a caller changed the answer", name)
		}
		if v.(interface{ Tolerance() time.Duration }).Tolerance() != time.Hour {
			t.Errorf("%s: the tolerance is hidden", name)
		}
	}
	if reply, err := eventAnswer("github", nil); reply != nil || err != nil {
		t.Errorf("github wants %+v, %v", reply, err)
	}
	if reply, err := eventAnswer("discord", map[string]string{"answer": `{"type":5}`}); err != nil || string(reply.Body) != `{"type":5}` || reply.Header.Get("Content-Type") != "application/json" {
		t.Errorf("discord: %+v, %v", reply, err)
	}
	if _, err := eventAnswer("discord", map[string]string{"answer": `{"type":`}); err == nil {
		t.Error("discord takes what is no JSON")
	}
}

func TestAnswerOfARow(t *testing.T) {
	t.Parallel()
	s := presetRow("github")
	s.Name, s.Answer = "mine", &Reply{Status: 202, Header: http.Header{"X-A": {"b"}}}
	v, err := NewVerifier(s, NewSecret(shakeSecret))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.(Answerer).Answer(&Request{}); got.Status != 202 || got.Header.Get("X-A") != "b" {
		t.Errorf("got %+v", got)
	}
	s.Answer = nil
	if v, err := NewVerifier(s, NewSecret(shakeSecret)); err != nil || v.(Answerer).Answer(&Request{}) != nil {
		t.Errorf("an answer out of nothing, %v", err)
	}
	s.Answer = &Reply{Status: 302}
	if _, err := NewVerifier(s, NewSecret(shakeSecret)); err == nil || !strings.Contains(err.Error(), "Answer") {
		t.Errorf("an answer that is no success: %v", err)
	}
}

// TestHandshakesOfCode: a verifier that is no row gets a provider's handshakes too, and proves those that are signed.
func TestHandshakesOfCode(t *testing.T) {
	t.Parallel()
	list, _, err := (&provider{Provider: Provider{Name: "discord"}}).replies(Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := withHandshakes("discord", lone{}, list, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := v.(Handshaker).Handshake(shakeRequest("POST https://h/", `{"type":1}`)); err != nil || string(reply.Body) != `{"type":1}` {
		t.Errorf("got %+v, %v", reply, err)
	}
	v, err = withHandshakes("discord", waiting{"discord"}, list, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := v.(Handshaker).Handshake(shakeRequest("POST https://h/", `{"type":1}`)); err == nil || reply != nil {
		t.Errorf("an unproven PING: %+v, %v", reply, err)
	}
	// A digest without a secret is refused, not made with an empty key.
	v, err = withHandshakes("x", lone{}, []Handshake{crc}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := v.(Handshaker).Handshake(shakeRequest("GET https://h/?crc_token=a", "")); err == nil || reply != nil {
		t.Errorf("a digest with no key: %+v, %v", reply, err)
	}
	if v, err := withHandshakes("github", lone{}, nil, nil, nil); err != nil || v != (lone{}) {
		t.Errorf("nothing to add makes %T, %v", v, err)
	}
}
