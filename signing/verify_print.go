package signing

import (
	"fmt"
	"io"
)

// What a verifier is made of has secrets in it, and whoever prints a Source prints its verifier. So each writes what it is,
// whatever the verb, and nothing else.

func printed(f fmt.State, name string) { _, _ = io.WriteString(f, "verifier of "+name) }

// Format writes the scheme's name.
func (v *verifier) Format(f fmt.State, _ rune) { printed(f, v.s.Name) }

// Format writes the name of the method.
func (v *adyen) Format(f fmt.State, _ rune) { printed(f, "adyen") }

// Format writes the name of the method.
func (v *allow) Format(f fmt.State, _ rune) { printed(f, "allowed addresses") }

// Format writes the name of the method.
func (v *allOf) Format(f fmt.State, _ rune) { printed(f, "all-of") }

// Format writes the name of the method.
func (v *anyOf) Format(f fmt.State, _ rune) { printed(f, "any-of") }

// Format writes the name of the method.
func (v *basic) Format(f fmt.State, _ rune) { printed(f, "basic-auth") }

// Format writes the name of the method.
func (v *bearer) Format(f fmt.State, _ rune) { printed(f, "bearer tokens") }

// Format writes the name of the method.
func (v *box) Format(f fmt.State, _ rune) { printed(f, "box") }

// Format writes the name of the method.
func (v *braintree) Format(f fmt.State, _ rune) { printed(f, "braintree") }

// Format writes the name of the method.
func (v *clientCertificate) Format(f fmt.State, _ rune) { printed(f, "client certificates") }

// Format writes the name of the method.
func (v *contentful) Format(f fmt.State, _ rune) { printed(f, "contentful") }

// Format writes the name of the method.
func (v *dropboxSign) Format(f fmt.State, _ rune) { printed(f, "dropbox-sign") }

// Format writes the name of the method.
func (v *easypost) Format(f fmt.State, _ rune) { printed(f, "easypost") }

// Format writes the name of the method.
func (v *ebay) Format(f fmt.State, _ rune) { printed(f, "ebay") }

// Format writes the name of the method.
func (v *forward) Format(f fmt.State, _ rune) { printed(f, "a function") }

// Format writes the name of the method.
func (v *fusionauth) Format(f fmt.State, _ rune) { printed(f, "fusionauth") }

// Format writes the name of the method.
func (v *messageVerifier) Format(f fmt.State, _ rune) { printed(f, "HTTP message signatures") }

// Format writes the name of the method.
func (v *jwtVerifier) Format(f fmt.State, _ rune) { printed(f, "tokens (JWT)") }

// Format writes the name of the method.
func (v *messagebird) Format(f fmt.State, _ rune) { printed(f, "messagebird") }

// Format writes the name of the method.
func (v *netlify) Format(f fmt.State, _ rune) { printed(f, "netlify") }

// Format writes the name of the method.
func (v *paypal) Format(f fmt.State, _ rune) { printed(f, "paypal") }

// Format writes the name of the method.
func (v *plaid) Format(f fmt.State, _ rune) { printed(f, "plaid") }

// Format writes the name of the method.
func (v *pubsub) Format(f fmt.State, _ rune) { printed(f, "google-pubsub") }

// Format writes the name of the method.
func (v *sns) Format(f fmt.State, _ rune) { printed(f, "aws-sns") }

// Format writes the name of the method.
func (v *snsConfirmer) Format(f fmt.State, _ rune) { printed(f, "aws-sns") }

// Format writes the name of the method.
func (v *vonage) Format(f fmt.State, _ rune) { printed(f, "vonage") }

// Format writes the name of the method.
func (v *wise) Format(f fmt.State, _ rune) { printed(f, "wise") }

// Format writes the name of the provider.
func (v *urlForm) Format(f fmt.State, _ rune) { printed(f, v.name) }

// Format writes the name of the header.
func (v *apiKey) Format(f fmt.State, _ rune) { printed(f, "header "+v.header) }

// Format writes what the verifier inside writes.
func (s *shaking) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, s.Verifier) }
