package vectors

import "testing"

// The provider is found however a file spells it.
func TestVerifierFindsTheProvider(t *testing.T) {
	t.Parallel()
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, c := range []struct{ provider, scheme, secret, want string }{
		{"standard-webhooks", "standard-webhooks-v1", key, "standard"},
		{"standard-webhooks", "Standard_Webhooks_V1", key, "standard"},
		{"openai", "standard-webhooks-v1", key, "standard"},
		{"openai", "openai-v1", key, "openai"},
		{"openai", "hmac-sha256", key, "openai"},
		{"replicate", "replicate-v1", key, "replicate"},
		{"polar", "polar-v1", "polar_whs_0123456789", "polar"},
		{"polar", "standard-webhooks-v1", "polar_whs_0123456789", "polar"},
		{"clerk", "standard-webhooks-v1", key, "clerk"},
		{"svix", "svix-v1", key, "svix"},
		{"mux", "mux-v1", "a secret text", "mux"},
		{"", "Mux_V1", "a secret text", "mux"},
		{"workos", "work_os", "a secret text", "workos"},
		{"work-os", "hmac-sha256-hex", "a secret text", "workos"},
		{"eleven_labs", "elevenlabs-v0", "a secret text", "elevenlabs"},
		{"mollie", "mollie-sha256", "a secret text", "mollie"},
		{"hellosign", "hellosign", "a secret text", "dropbox-sign"},
		{"hellosign", "event-hash", "a secret text", "dropbox-sign"},
		{"dropbox", "dropbox_sign", "a secret text", "dropbox-sign"},
		{"braintree", "braintree-sha1", "a secret text", "braintree"},
		{"facebook", "x-hub-signature-256", "a secret text", "meta"},
		{"somebody", "hub-signature-256", "a secret text", "github"},
		{"somebody", "hub-signature", "a secret text", "bitbucket"},
		{"jira", "hub-signature", "a secret text", "jira"},
		{"twitter", "twitter-sha256", "a secret text", "x"},
		{"x", "hmac-sha256", "a secret text", "x"},
		{"postmark", "basic", "user:a password", "basic-auth"},
		{"anybody", "api-key", "a secret text", "api-key-header"},
		{"stripe", "Stripe_V1", "a secret text", "stripe"},
		{"adyen", "adyen-banking", "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", "adyen-banking"},
	} {
		e := Entry{
			ID: "one", Provider: c.provider, Scheme: c.scheme, Secret: c.secret,
			Params: map[string]string{"Header": "X-Api-Key", "publicKey": "pq4c9xw7dz6hk2mt", "nobody_asked": "for this"},
		}
		if p, _ := e.provider(); p.Name != c.want {
			t.Errorf("%s of %q is verified as %q, want %q", c.scheme, c.provider, p.Name, c.want)
		}
		if _, err := e.Verifier(); err != nil {
			t.Errorf("%s of %q: %v", c.scheme, c.provider, err)
		}
	}
}
