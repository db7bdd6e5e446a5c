package signing_test

import (
	"errors"
	"os"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

// codedOf says which provider verifies the vectors of which scheme, with which of their parameters for settings.
var codedOf = map[string]struct {
	provider string
	settings []string
	covers   signing.Covers
}{
	"twilio":          {"twilio", nil, signing.CoversBody},
	"adyen-payments":  {"adyen", nil, signing.CoversMetadata},
	"aws-sns":         {"aws-sns", []string{"signing_cert_url", "topic_arn"}, signing.CoversMetadata},
	"box":             {"box", []string{"secondary_key"}, signing.CoversBody},
	"contentful":      {"contentful", nil, signing.CoversBody},
	"easypost":        {"easypost", nil, signing.CoversBody},
	"messagebird-jwt": {"messagebird", nil, signing.CoversBody},
}

// codedElsewhere are schemes that the vectors of this repository do not have; a folder named by HOOKGATE_VECTORS may.
var codedElsewhere = map[string]struct {
	provider string
	settings []string
	covers   signing.Covers
}{
	"braintree":    {"braintree", []string{"public_key"}, signing.CoversBody},
	"dropbox-sign": {"dropbox-sign", nil, signing.CoversMetadata},
	"mandrill":     {"mandrill", nil, signing.CoversBody},
}

func TestVectorsOfProvidersInCode(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	for _, v := range loadVectors(t) {
		c, ok := codedOf[v.Scheme]
		if !ok {
			if c, ok = codedElsewhere[v.Scheme]; !ok {
				continue
			}
		}
		ran[v.Scheme]++
		o := signing.Options{Settings: map[string]string{}}
		for _, name := range c.settings {
			if value := v.Params[name]; value != "" {
				o.Settings[name] = value
			}
		}
		verifier, err := signing.ForProvider(c.provider, o, v.secrets()...)
		var verdict signing.Verdict
		if err == nil {
			verdict, err = verifier.Verify(v.request(t))
			if err != nil && !errors.Is(err, signing.ErrRefused) {
				t.Errorf("%s: the error does not match ErrRefused: %v", v.ID, err)
			}
		}
		if (err == nil) != v.Valid {
			t.Errorf("%s (%s): valid must be %v, got the error %v", v.ID, v.Why, v.Valid, err)
		}
		if err == nil && verdict.Covers != c.covers {
			t.Errorf("%s: covers %v, want %v", v.ID, verdict.Covers, c.covers)
		}
	}
	for scheme := range codedOf {
		t.Logf("%-16s %2d entries", scheme, ran[scheme])
		if ran[scheme] == 0 && os.Getenv("HOOKGATE_VECTORS") == "" {
			t.Errorf("no entry of the scheme %s was run", scheme)
		}
	}
}
