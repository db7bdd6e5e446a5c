package signing_test

import (
	"fmt"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// A program takes the provider's name from its settings.
func ExampleForProvider() {
	secret := signing.NewSecret("convoy-webhook-secret")
	verifier, err := signing.ForProvider("convoy-advanced", signing.Options{Settings: map[string]string{"hash": "SHA256"}}, secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &signing.Request{
		Header: map[string][]string{"X-Convoy-Signature": {"t=1700000000,v1=77b8b9269f25a199846a55a2bd25b3fba151c70fdae60bb1dcd87fbbc943c55c"}},
		Body:   []byte(`{"event":"charge.success","amount":1000,"currency":"NGN"}`),
		Time:   time.Unix(1700000010, 0),
	}
	verdict, err := verifier.Verify(r)
	fmt.Println(verdict.Covers, err)

	_, err = signing.ForProvider("convoy-advanced", signing.Options{Settings: map[string]string{"digest": "SHA256"}}, secret)
	fmt.Println(err)
	// Output:
	// body <nil>
	// signing: convoy-advanced: there is no setting "digest"; there is hash, encoding, header
}

// A settings page shows what a provider needs.
func ExampleProviders() {
	for _, p := range signing.Providers() {
		if p.Name == "paddle" || p.Name == "pusher" {
			fmt.Printf("%s: %s, %s; secret: %s\n", p.Title, p.Header, p.Algorithm, p.Secret)
			for _, s := range p.Settings {
				fmt.Printf("  %s: %s\n", s.Name, s.Doc)
			}
		}
	}
	// Output:
	// Paddle Billing: `Paddle-Signature`: `ts=;h1=`, HMAC-SHA256, hex; secret: text
	// Pusher Channels: `X-Pusher-Signature`, HMAC-SHA256, hex; secret: text
	//   key: the key of the application, which the secret belongs to
}
