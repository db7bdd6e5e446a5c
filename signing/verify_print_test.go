package signing

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestVerifiersPrintNothingSecret: whoever prints a Source prints its verifier.
func TestVerifiersPrintNothingSecret(t *testing.T) {
	t.Parallel()
	printsItsName := func(what string, v Verifier) {
		t.Helper()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			if got := fmt.Sprintf(verb, v); !strings.HasPrefix(got, "verifier of ") || len(got) > 80 {
				t.Errorf("%s printed with %s: %s", what, verb, got)
			}
		}
	}
	tested := map[string]bool{}
	for _, c := range codedCases() {
		tested[c.provider] = true
		printsItsName(c.provider, c.verifier(t, c.secrets))
	}
	for name := range coded {
		if !tested[name] && name != "basic-auth" && name != "api-key-header" {
			t.Errorf("the provider %s was not printed", name)
		}
	}
	secret := NewSecret("a secret that nobody prints")
	basic := must(Basic("user", secret))
	for what, v := range map[string]Verifier{
		"row":          must(GitHub(secret)),
		"Basic":        basic,
		"basic-auth":   must(ForProvider("basic-auth", Options{}, NewSecret("user:password with length"))),
		"APIKey":       must(APIKey("X-Api-Key", secret)),
		"Bearer":       must(Bearer(secret)),
		"JWT":          must(JWT(JWTOptions{Audience: []string{"us"}, Secrets: []Secret{secret}})),
		"Allow":        must(Allow(netip.MustParsePrefix("192.0.2.0/24"))),
		"Forward":      must(Forward(func(context.Context, *Request) (Verdict, error) { return Verdict{}, nil })),
		"AllOf":        must(AllOf(basic, must(GitHub(secret)))),
		"AnyOf":        must(AnyOf(basic, must(GitHub(secret)))),
		"HTTP message": must(NewHTTPMessageVerifier(HTTPMessageOptions{}, StandardWebhooks.NewSecret())),
	} {
		printsItsName(what, v)
	}
}
