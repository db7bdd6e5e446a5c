package signing

import (
	"fmt"
	"strings"
)

// Bearer verifies senders that show a token as "Authorization: Bearer token" (RFC 6750). A request is good if any of the
// tokens fits. For tokens that say themselves who made them, see JWT.
//
// A token has 8 bytes or more. It signs nothing (CoversNothing): whoever reads one request can make others, so let
// requests come by TLS only. Tokens in a URL or a form end in logs and are not read.
//
// An error means a token that is empty, too short, or could not be sent in a header.
func Bearer(tokens ...Secret) (Verifier, error) {
	set, err := newTokens(tokens)
	if err != nil {
		return nil, fmt.Errorf("signing: bearer: %w", err)
	}
	for i, s := range tokens {
		if word, _, ok := strings.Cut(s.Reveal(), " "); ok && strings.EqualFold(word, "Bearer") {
			return nil, fmt.Errorf("signing: bearer: secret %d begins with the word Bearer, which stands in front of the token: leave it out", i+1)
		}
	}
	return &bearer{set}, nil
}

type bearer struct{ tokens tokens }

// Verify compares the token with every one that is set up.
func (v *bearer) Verify(r *Request) (Verdict, error) {
	text, err := authorization(r, "Bearer")
	if err != nil {
		return Verdict{}, named("bearer", err)
	}
	index := v.tokens.find(text)
	if index < 0 {
		cause := "the sender uses another token, or the token was rotated; put in the one that the sender uses"
		if strings.Count(text, ".") == 2 && strings.HasPrefix(text, "eyJ") {
			cause = "the token looks like a JWT, which is a new one each time: take JWT"
		}
		return Verdict{}, named("bearer", flaw(ErrMismatch, "the token fits none of %s: %s", count(len(v.tokens), "secret"), cause))
	}
	return Verdict{Key: index}, nil
}
