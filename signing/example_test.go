package signing_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// A receiver proves that GitHub sent a request. This is the example of GitHub's documentation.
func ExampleGitHub() {
	verifier, err := signing.GitHub(signing.NewSecret("It's a Secret to Everybody"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &signing.Request{
		Method: "POST",
		Header: http.Header{
			"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
			"X-Github-Event":      {"ping"},
			"X-Github-Delivery":   {"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
		},
		Body: []byte("Hello, World!"),
		Time: time.Now(),
	}
	verdict, err := verifier.Verify(r)
	fmt.Println(verdict.Type, verdict.ID, err)

	r.Body = append(r.Body, '\n')
	_, err = verifier.Verify(r)
	fmt.Println(err)
	fmt.Println(errors.Is(err, signing.ErrMismatch), errors.Is(err, signing.ErrRefused))
	// Output:
	// ping 72d3162e-cc78-11e3-81ab-4c9367dc0958 <nil>
	// signing: github: no signature fits: header X-Hub-Signature-256 fits none of 1 key: it fits without the newline at the end of the body: a middleware changed the body
	// true true
}

// A sender signs with the new key and the old one, until every receiver has the new one.
func Example_rotation() {
	oldKey, newKey := signing.StandardWebhooks.NewSecret(), signing.StandardWebhooks.NewSecret()
	m := signing.Message{ID: "evt_1", Time: time.Now(), Body: []byte(`{"type":"invoice.paid"}`)}
	h := http.Header{}
	if err := signing.StandardWebhooks.Sign(h, m, []signing.Secret{newKey, oldKey}); err != nil {
		fmt.Println(err)
		return
	}
	for _, holds := range []signing.Secret{oldKey, newKey} {
		verifier, err := signing.Standard(holds)
		if err != nil {
			fmt.Println(err)
			return
		}
		verdict, err := verifier.Verify(&signing.Request{Header: h, Body: m.Body, Time: time.Now()})
		fmt.Println(verdict.Type, verdict.ID, err)
	}
	fmt.Println(oldKey)
	// Output:
	// invoice.paid evt_1 <nil>
	// invoice.paid evt_1 <nil>
	// REDACTED
}

// A key pair lets receivers verify without being able to sign.
func ExamplePublicKey() {
	private := signing.NewEd25519Secret()
	public, err := signing.PublicKey(private)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := signing.Message{ID: "evt_2", Time: time.Now(), Body: []byte(`{"type":"user.created"}`)}
	h := http.Header{}
	if err := signing.StandardWebhooks.Sign(h, m, []signing.Secret{private}); err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := signing.Standard(signing.NewSecret(public))
	if err != nil {
		fmt.Println(err)
		return
	}
	verdict, err := verifier.Verify(&signing.Request{Header: h, Body: m.Body, Time: time.Now()})
	fmt.Println(public[:5], verdict.Type, err)
	// Output: whpk_ user.created <nil>
}

// A provider that the package does not know is a row of data.
func ExampleNewVerifier() {
	acme := signing.Scheme{
		Name:      "acme",
		Signature: signing.Header("X-Acme-Signature"),
		Format:    signing.Pairs,
		Tags:      []signing.Tag{{Name: "s"}},
		Algorithm: signing.HMACSHA256,
		Encoding:  signing.Hex,
		Secret:    signing.TextSecret,
		Message:   []signing.Part{signing.Timestamp, signing.Text("."), signing.Body},
		Time:      signing.TimeRule{From: signing.Entry("t"), Tolerance: 5 * time.Minute},
		Type:      signing.JSON("event", "name"),
		ID:        signing.Header("X-Acme-Delivery"),
	}
	verifier, err := signing.NewVerifier(acme, signing.NewSecret("the secret of acme"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &signing.Request{
		Header: http.Header{
			"X-Acme-Signature": {"t=1700000000,s=a496ac5f22162a5a9db07b4305f717c257082daeb768cb3b46599b36ef8d2489"},
			"X-Acme-Delivery":  {"d-1"},
		},
		Body: []byte(`{"event":{"name":"parcel.sent"}}`),
		Time: time.Unix(1700000100, 0),
	}
	verdict, err := verifier.Verify(r)
	fmt.Println(verdict.Type, verdict.ID, verdict.Covers, err)

	r.Time = time.Unix(1700000400, 0)
	_, err = verifier.Verify(r)
	fmt.Println(err)
	// Output:
	// parcel.sent d-1 body <nil>
	// signing: acme: too old: the signature fits, and entry t of the signature is 6m40s ago and may be 5m0s: somebody repeats an old request, a proxy held it back, or the clock of this machine is fast; set it by NTP
}
