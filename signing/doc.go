// Package signing proves who sent a webhook, and signs those that we send.
//
// Receiving: make a Verifier of the secrets that the provider shows you, and give it requests whose body was read to the
// end and not touched.
//
//	verifier, err := signing.GitHub(signing.NewSecret(os.Getenv("GITHUB_WEBHOOK_SECRET")))
//	...
//	verdict, err := verifier.Verify(&signing.Request{
//		Method: r.Method, URL: publicURL, Header: r.Header, Body: body, Time: time.Now(),
//	})
//	// verdict.Type is "push", verdict.ID is what GitHub calls this delivery
//
// With several secrets a request is good if any of them fits, so that a secret can be changed without losing a request.
// Every error matches ErrRefused, and one of ErrMissing, ErrMalformed, ErrMismatch, ErrTooOld and ErrTooNew. Its text
// tells the operator which header, how many keys and how stale, and what the likely cause is: show it to nobody else.
// Answer the sender with a bare 401.
//
// Sending: StandardWebhooks makes the headers of an attempt.
//
//	secret := signing.StandardWebhooks.NewSecret() // give secret.Reveal() to the receiver
//	err := signing.StandardWebhooks.Sign(req.Header, signing.Message{ID: id, Time: time.Now(), Body: body}, []signing.Secret{secret})
//
// SignerFor has signers for receivers that expect what another sender makes, such as "stripe"; Signers lists them, and
// NewSigner makes one of any row. HTTPMessageSignatures is RFC 9421, Unsigned is nothing at all, and JWKS publishes public
// keys. docs/signing.md tells which to take.
//
// Keep a Secret for as long as it is used: it holds its decoded key, which costs more to make than a signature.
//
// # A provider is a row
//
// How a provider signs is a Scheme: a row of data that says where the signature is and how it is written, what is
// signed and with what, where the timestamp is and how far it may be off, and where to find the event's type and ID. One
// engine works off all rows. More than a hundred providers come with the package; ForProvider makes the verifier of one by
// its name, Providers lists them, and docs/providers.md shows all of them in a table:
//
//	verifier, err := signing.ForProvider("paddle", signing.Options{}, secret)
//
// A provider that is not here takes a row of your own:
//
//	acme := signing.Scheme{
//		Name:      "acme",
//		Signature: signing.Header("X-Acme-Signature"),     // X-Acme-Signature: t=1700000000,s=5257a8...
//		Format:    signing.Pairs,
//		Tags:      []signing.Tag{{Name: "s"}},
//		Algorithm: signing.HMACSHA256,
//		Encoding:  signing.Hex,
//		Secret:    signing.TextSecret,
//		Message:   []signing.Part{signing.Timestamp, signing.Text("."), signing.Body},
//		Time:      signing.TimeRule{From: signing.Entry("t"), Tolerance: 5 * time.Minute},
//		Type:      signing.JSON("event", "name"),
//		ID:        signing.Header("X-Acme-Delivery"),
//	}
//	verifier, err := signing.NewVerifier(acme, secret)
//
// To bring a row into this package, add it to the file of its kind, providers_*.go, and its published examples to
// testdata/vectors/signatures.json; docs/providers.md tells how. A provider whose scheme is no row (it fetches
// certificates, say) is a Verifier of its own.
//
// # Senders without a signature of their own
//
// Basic, Bearer and APIKey take a password, a token or a key that the sender shows, JWT a token that its issuer has signed,
// ClientCertificate a certificate of the connection, and Allow an address. NewHTTPMessageVerifier is RFC 9421, and Forward
// asks a function. AllOf and AnyOf combine any of these and the providers; Unverified, which takes everything, stands alone.
// docs/sources.md has an example of each.
//
// A Verifier that is a Handshaker answers the requests with which a provider checks a URL; ask it before Verify. One that is
// an Answerer says what the provider wants to read in answer to an event.
//
// # What the engine is strict about
//
// Encodings are read strictly, down to the padding bits. A header that comes twice is refused. Signatures are compared
// in constant time over their whole length, every key with every signature, of which a request may have 16, in headers
// of 8 KiB. Timestamps are digits only, or RFC 3339. Empty, short and undecodable secrets are refused when the verifier
// is made, and so are Ed25519 keys under which anybody could sign. No request makes it panic.
package signing
