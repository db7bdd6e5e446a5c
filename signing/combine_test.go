package signing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// scripted is a verifier that answers as the test says, and counts how often it is asked.
type scripted struct {
	verdict   Verdict
	err       error
	reply     *Reply
	shakeErr  error
	methods   []string
	tolerance time.Duration

	verified, shaken int
}

func (s *scripted) Verify(*Request) (Verdict, error) {
	s.verified++
	if s.err != nil {
		return Verdict{}, s.err
	}
	return s.verdict, nil
}

func (s *scripted) Handshake(*Request) (*Reply, error) { s.shaken++; return s.reply, s.shakeErr }
func (s *scripted) HandshakeMethods() []string         { return s.methods }
func (s *scripted) Tolerance() time.Duration           { return s.tolerance }

func refusing(kind error, detail string) *scripted {
	return &scripted{err: &Error{Scheme: "scripted", Kind: kind, Detail: detail}}
}

func TestAllOfMergesVerdicts(t *testing.T) {
	t.Parallel()
	v := must(AllOf(
		&scripted{verdict: Verdict{Key: -1}},
		&scripted{verdict: Verdict{Key: 3, ID: "id", Subject: "ann", Covers: CoversBody}},
		&scripted{verdict: Verdict{Key: 1, Type: "type", ID: "other", Subject: "bob", OrderingKey: "key", Covers: CoversMetadata}},
	))
	want := Verdict{Type: "type", ID: "id", OrderingKey: "key", Subject: "ann", Key: 3, Covers: CoversBody}
	if d, err := v.Verify(&Request{}); err != nil || d != want {
		t.Errorf("got %+v, %v, want %+v", d, err, want)
	}

	last := &scripted{}
	for _, no := range []*scripted{refusing(ErrTooOld, "stale"), {err: errors.New("stale, and no Error")}} {
		for _, list := range [][]Verifier{{no, last}, {&scripted{}, no, last}} {
			d, err := must(AllOf(list...)).Verify(&Request{})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "stale") || d != (Verdict{}) {
				t.Errorf("got %+v, %v", d, err)
			}
		}
	}
	if last.verified > 0 {
		t.Error("a member behind one that refused was asked")
	}
}

func TestAnyOfTakesTheFirst(t *testing.T) {
	t.Parallel()
	first, second := Verdict{Type: "first", Key: 2}, Verdict{Type: "second", Key: -1, Covers: CoversBody}
	last := &scripted{}
	for _, c := range []struct {
		list []Verifier
		want Verdict
	}{
		{[]Verifier{&scripted{verdict: first}, &scripted{verdict: second}}, first},
		{[]Verifier{refusing(ErrMissing, "x"), &scripted{verdict: second}, last}, second},
	} {
		if d, err := must(AnyOf(c.list...)).Verify(&Request{}); err != nil || d != c.want {
			t.Errorf("got %+v, %v, want %+v", d, err, c.want)
		}
	}
	if last.verified > 0 {
		t.Error("a member behind the one that let the request in was asked")
	}
	v := must(AnyOf(refusing(ErrMissing, "no header"), &scripted{err: errors.New("not ours")}, refusing(ErrMalformed, "half a header")))
	wantRefused(t, v, &Request{}, ErrMismatch,
		"signing: any-of: no signature fits: none of 3 verifiers lets it in: scripted: missing: no header; verifier 2: no signature fits: not ours; scripted: malformed: half a header")
	for _, kind := range furthest {
		v := must(AnyOf(refusing(ErrMissing, "a"), refusing(kind, "b"), refusing(ErrMissing, "c")))
		wantRefused(t, v, &Request{}, kind, "a; scripted: "+kind.Error()+": b; ")
	}
	long := must(AnyOf(slices.Repeat([]Verifier{refusing(ErrMismatch, strings.Repeat("x", 10*maxReason))}, maxCombined)...))
	if _, err := long.Verify(&Request{}); len(err.Error()) > maxCombined*(maxReason+100) {
		t.Errorf("the text has %d bytes", len(err.Error()))
	}
	if _, err := AnyOf(slices.Repeat([]Verifier{&scripted{}}, maxCombined+1)...); err == nil {
		t.Error("too many members are taken")
	}
}

func TestCombinedToleranceIsTheWidest(t *testing.T) {
	t.Parallel()
	secret := StandardWebhooks.NewSecret()
	row := must(NewVerifier(Scheme{
		Name: "wide", Signature: Header("X-Sig"), Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Timestamp, Body}, Time: TimeRule{From: Header("X-Time"), Tolerance: 3 * time.Hour},
	}, secret))
	token := must(JWT(JWTOptions{Secrets: []Secret{secret}, Audience: []string{"a"}, MaxAge: 5 * time.Hour, Leeway: time.Minute}))
	for _, c := range []struct {
		v    Verifier
		want time.Duration
	}{
		{must(AnyOf(must(GitHub(secret)))), 0},
		{must(AnyOf(must(Svix(secret)), &scripted{tolerance: time.Second})), 5 * time.Minute},
		{must(AllOf(row, &scripted{tolerance: time.Hour})), 3 * time.Hour},
		{must(AllOf(&scripted{tolerance: 4 * time.Hour}, must(AnyOf(row, must(Stripe(secret)))))), 4 * time.Hour},
		{must(AllOf(must(AnyOf(row, token)), must(Stripe(secret)))), 5*time.Hour + time.Minute},
	} {
		got := c.v.(interface{ Tolerance() time.Duration }).Tolerance()
		if got != c.want {
			t.Errorf("the tolerance is %s, want %s", got, c.want)
		}
	}
}

// slackHandshake is a url_verification that Slack has signed.
func slackHandshake(secret Secret) *Request {
	r := lines("X-Slack-Request-Timestamp: 1700000000")
	r.Body, r.Time = []byte(`{"type":"url_verification","challenge":"x"}`), time.Unix(1700000000, 0)
	r.Header.Set("X-Slack-Signature", "v0="+hexMACOf(secret, "v0:1700000000:"+string(r.Body)))
	return r
}

func hexMACOf(secret Secret, message string) string {
	mac := must(newMACKey(kindSHA256, []byte(secret.Reveal())))
	h := kindSHA256.get()
	defer kindSHA256.put(h)
	mac.begin(h)
	_, _ = h.Write([]byte(message))
	return fmt.Sprintf("%x", mac.end(h))
}

// A handshake gives the sender an answer, and may subscribe him: no member may be passed over for it.
func TestAllOfAnswersNoHandshakeThatAMemberRefuses(t *testing.T) {
	t.Parallel()
	secret := NewSecret(testToken)
	slack := must(Slack(secret))
	office := must(Allow(netip.MustParsePrefix("192.0.2.0/24")))
	password := must(Basic("hook", NewSecret(testOtherToken)))
	inside, outside := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	for name, list := range map[string][]Verifier{
		"behind":         {office, slack},
		"in front":       {slack, office},
		"nested":         {must(AllOf(office)), must(AnyOf(slack))},
		"nested deeper":  {must(AllOf(must(AnyOf(slack)), must(AnyOf(must(AllOf(office))))))},
		"with a wrapper": {must(AnyOf(must(AllOf(office, slack)), must(AllOf(slack, office))))},
	} {
		v := must(AllOf(list...)).(Handshaker)
		r := slackHandshake(secret)
		r.Remote = inside
		if reply, err := v.Handshake(r); err != nil || reply == nil || !strings.Contains(string(reply.Body), `"x"`) {
			t.Errorf("%s: got %+v, %v, want the challenge", name, reply, err)
		}
		r.Remote = outside
		reply, err := v.Handshake(r)
		if err == nil { // then it goes on as an event
			_, err = v.(Verifier).Verify(r)
		}
		if !errors.Is(err, ErrRefused) || reply != nil {
			t.Errorf("%s: an address that is not allowed gets %+v, %v", name, reply, err)
		}
		r.Remote = inside
		r.Header.Set("X-Slack-Signature", "v0="+hexMACOf(NewSecret(testOtherToken), "x"))
		if reply, err := v.Handshake(r); !errors.Is(err, ErrRefused) || reply != nil {
			t.Errorf("%s: a handshake with a wrong signature gets %+v, %v", name, reply, err)
		}
		event := lines()
		event.Remote = inside
		if reply, err := v.Handshake(event); err != nil || reply != nil {
			t.Errorf("%s: an event is taken for a handshake: %+v, %v", name, reply, err)
		}
	}
	v := must(AllOf(slack, password)).(Handshaker)
	if reply, err := v.Handshake(slackHandshake(secret)); !errors.Is(err, ErrMissing) || reply != nil {
		t.Errorf("a handshake without the password gets %+v, %v", reply, err)
	}
	if got := must(AllOf(office, password)).(Handshaker).HandshakeMethods(); len(got) > 0 {
		t.Errorf("members without handshakes have the methods %q", got)
	}
}

// A member whose answer may have an effect is asked only when nobody else can refuse.
func TestAllOfAsksOthersBeforeAnEffect(t *testing.T) {
	t.Parallel()
	post := []string{http.MethodPost}
	r := lines()
	no := refusing(ErrMismatch, "not you")
	for name, list := range map[string]func(effect Verifier) []Verifier{
		"a plain one":  func(effect Verifier) []Verifier { return []Verifier{effect, no} },
		"a row":        func(effect Verifier) []Verifier { return []Verifier{effect, must(Slack(NewSecret(testToken)))} },
		"an inner one": func(effect Verifier) []Verifier { return []Verifier{must(AllOf(effect)), no} },
		"one of other method": func(effect Verifier) []Verifier {
			return []Verifier{effect, &scripted{err: no.err, methods: []string{"PUT"}}}
		},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			effect := &scripted{reply: &Reply{Status: 200}, methods: []string{method}}
			v := must(AllOf(list(effect)...))
			r := lines()
			r.Method = method
			reply, err := v.(Handshaker).Handshake(r)
			if reply != nil || effect.shaken > 0 || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("%s refuses %s: got %+v, %v, and the handshake was made %d times", name, method, reply, err, effect.shaken)
			}
			if _, err := v.Verify(r); !errors.Is(err, ErrRefused) {
				t.Errorf("%s refuses %s: Verify takes it for an event: %v", name, method, err)
			}
		}
	}
	// What one member refuses may be an event of another.
	either := must(AnyOf(must(AllOf(&scripted{reply: &Reply{}, methods: post}, no)), &scripted{verdict: Verdict{Type: "event"}}))
	if reply, err := either.(Handshaker).Handshake(r); err != nil || reply != nil {
		t.Errorf("an event of another member: got %+v, %v", reply, err)
	}
	if d, err := either.Verify(r); err != nil || d.Type != "event" {
		t.Errorf("an event of another member: got %+v, %v", d, err)
	}
	// Two that answer, and one of them does not take this for a handshake.
	silent := &scripted{err: no.err, methods: post}
	if reply, err := must(AllOf(&scripted{reply: &Reply{}, methods: post}, silent)).(Handshaker).Handshake(r); !errors.Is(err, ErrRefused) || reply != nil {
		t.Errorf("got %+v, %v", reply, err)
	}
	// An ordinary request that nobody refuses.
	plain := &scripted{}
	all := must(AllOf(plain, &scripted{methods: post})).(Handshaker)
	if reply, err := all.Handshake(r); err != nil || reply != nil || plain.verified != 1 {
		t.Errorf("got %+v, %v", reply, err)
	}
	if reply, err := all.Handshake(&Request{Method: http.MethodGet}); err != nil || reply != nil || plain.verified != 1 {
		t.Errorf("a method without handshakes: got %+v, %v", reply, err)
	}
	// Beside rows, which have no effects, a function is asked once for an event.
	asked := 0
	function := must(Forward(func(context.Context, *Request) (Verdict, error) { asked++; return Verdict{}, nil }))
	if reply, err := must(AllOf(function, must(Slack(NewSecret(testToken))))).(Handshaker).Handshake(r); err != nil || reply != nil || asked > 0 {
		t.Errorf("got %+v, %v, and the function was asked %d times", reply, err, asked)
	}
}

func TestAnyOfHandshakes(t *testing.T) {
	t.Parallel()
	one, two := NewSecret(testToken), NewSecret(testOtherToken)
	v := must(AnyOf(must(Slack(one)), must(Basic("hook", one)), must(Slack(two)), &scripted{methods: []string{"GET", "POST"}})).(Handshaker)
	if got := v.HandshakeMethods(); !slices.Equal(got, []string{"POST", "GET"}) {
		t.Errorf("the methods are %q", got)
	}
	for _, secret := range []Secret{one, two} {
		if reply, err := v.Handshake(slackHandshake(secret)); err != nil || reply == nil {
			t.Errorf("got %+v, %v, want an answer, whichever member holds the secret", reply, err)
		}
	}
	reply, err := v.Handshake(slackHandshake(NewSecret("another secret")))
	if reply != nil || !errors.Is(err, ErrMismatch) || !strings.Contains(fmt.Sprint(err), "none of 2 verifiers lets it in: slack: ") {
		t.Errorf("got %+v, %v", reply, err)
	}
	if reply, err := v.Handshake(lines()); reply != nil || err != nil {
		t.Errorf("an event is taken for a handshake: %+v, %v", reply, err)
	}
}
