package signing

import "time"

// Answerer is what a Verifier may also be: one whose provider wants to read something in the answer to an event.
type Answerer interface {
	// Answer gives the answer to an event that was verified and is stored; nil for an empty 200. Its status must be a 2xx.
	// The caller may change and keep what it gets. It is called after the event is safe, so it must not fail or wait.
	Answer(r *Request) *Reply
}

// Answer gives the row's answer.
func (v *verifier) Answer(*Request) *Reply {
	if v.s.Answer == nil {
		return nil
	}
	return v.s.Answer.clone()
}

// checkAnswer looks for mistakes in the answer of a row.
func (s *Scheme) checkAnswer() error {
	if s.Answer != nil && s.Answer.Status != 0 && (s.Answer.Status < 200 || s.Answer.Status > 299) {
		return rowError("Answer", "has the status %d; an event that is stored is answered 2xx", s.Answer.Status)
	}
	return nil
}

// shaking gives handshakes and an answer to a verifier that is no row.
type shaking struct {
	Verifier
	hands  *verifier // knows the handshakes only
	answer *Reply
}

// withHandshakes adds a provider's handshakes and answer to its verifier; without any it stays as it is.
func withHandshakes(name string, v Verifier, list []Handshake, answer *Reply, secrets []Secret) (Verifier, error) {
	if len(list) == 0 && answer == nil {
		return v, nil
	}
	s := Scheme{Name: name, Secret: TextSecret, Handshakes: list, Answer: answer}
	if err := s.checkHandshakes(); err != nil {
		return nil, err
	}
	return &shaking{
		Verifier: v, answer: answer,
		hands: &verifier{s: s, where: "the request", secrets: append([]Secret(nil), secrets...), inner: v},
	}, nil
}

// Handshake asks the verifier first.
func (s *shaking) Handshake(r *Request) (*Reply, error) {
	if h, ok := s.Verifier.(Handshaker); ok {
		if reply, err := h.Handshake(r); reply != nil || err != nil {
			return reply, err
		}
	}
	return s.hands.Handshake(r)
}

// HandshakeMethods lists those of both.
func (s *shaking) HandshakeMethods() []string {
	methods := s.hands.HandshakeMethods()
	if h, ok := s.Verifier.(Handshaker); ok {
		methods = append(methods, h.HandshakeMethods()...)
	}
	return methods
}

// Answer gives the provider's answer, or else the verifier's own.
func (s *shaking) Answer(r *Request) *Reply {
	if s.answer != nil {
		return s.answer.clone()
	}
	if a, ok := s.Verifier.(Answerer); ok {
		return a.Answer(r)
	}
	return nil
}

// Tolerance is that of the verifier, for whoever remembers what was seen; 0 if it does not say.
func (s *shaking) Tolerance() time.Duration {
	if t, ok := s.Verifier.(interface{ Tolerance() time.Duration }); ok {
		return t.Tolerance()
	}
	return 0
}

// waiting is the verifier of a provider that has not brought its secret yet.
type waiting struct{ name string }

func (w waiting) Verify(*Request) (Verdict, error) {
	return Verdict{}, &Error{Scheme: w.name, Kind: ErrMissing, Detail: "the provider has not brought its secret yet; once Options.OnSecret got it, make a verifier with it"}
}
