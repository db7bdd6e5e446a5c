package signing_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// Most providers that nobody has heard of send the HMAC of the body, in hex, in a header: a row of six fields.
func ExampleScheme_hmac() {
	verifier, err := signing.NewVerifier(signing.Scheme{
		Name:      "parcels",
		Signature: signing.Header("X-Parcels-Signature"), Prefix: "sha256=",
		Algorithm: signing.HMACSHA256, Encoding: signing.Hex, Secret: signing.TextSecret,
		Message: []signing.Part{signing.Body},
	}, signing.NewSecret("the secret of parcels"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = verifier.Verify(&signing.Request{
		Header: http.Header{"X-Parcels-Signature": {"sha256=" + hexMAC("the secret of parcels", `{"parcel":1}`)}},
		Body:   []byte(`{"parcel":1}`),
	})
	fmt.Println(err)
	// Output: <nil>
}

// With Ed25519 the receiver holds a public key, which is no secret: nobody can make a request with it.
func ExampleScheme_ed25519() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := signing.NewVerifier(signing.Scheme{
		Name:      "chat",
		Signature: signing.Header("X-Signature-Ed25519"),
		Algorithm: signing.Ed25519, Encoding: signing.Hex, Secret: signing.HexSecret,
		Message: []signing.Part{signing.Timestamp, signing.Body},
		Time:    signing.TimeRule{From: signing.Header("X-Signature-Timestamp"), Tolerance: 5 * time.Minute},
	}, signing.NewSecret(hex.EncodeToString(public)))
	if err != nil {
		fmt.Println(err)
		return
	}
	signature := ed25519.Sign(private, []byte(`1700000000{"type":"joined"}`))
	verdict, err := verifier.Verify(&signing.Request{
		Header: http.Header{"X-Signature-Ed25519": {hex.EncodeToString(signature)}, "X-Signature-Timestamp": {"1700000000"}},
		Body:   []byte(`{"type":"joined"}`),
		Time:   time.Unix(1700000060, 0),
	})
	fmt.Println(verdict.Covers, err)
	// Output: body <nil>
}

// With ECDSA the public key is given as base64 of a SubjectPublicKeyInfo: the middle of a PEM file.
func ExampleScheme_ecdsa() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := signing.NewVerifier(signing.Scheme{
		Name:      "mail",
		Signature: signing.Header("X-Mail-Signature"),
		Algorithm: signing.ECDSAP256, Encoding: signing.Base64, Secret: signing.Base64Secret,
		Message: []signing.Part{signing.Body},
	}, signing.NewSecret(base64.StdEncoding.EncodeToString(public)))
	if err != nil {
		fmt.Println(err)
		return
	}
	body := []byte(`{"type":"bounced"}`)
	digest := sha256.Sum256(body)
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = verifier.Verify(&signing.Request{
		Header: http.Header{"X-Mail-Signature": {base64.StdEncoding.EncodeToString(signature)}}, Body: body,
	})
	fmt.Println(err)
	// Output: <nil>
}

// A password is let in only from the office, and its refusal says what was wrong with it.
func ExampleAllOf() {
	office, err := signing.Allow(netip.MustParsePrefix("192.0.2.0/24"))
	if err != nil {
		fmt.Println(err)
		return
	}
	password, err := signing.Basic("billing", signing.NewSecret("the new password"), signing.NewSecret("the old password"))
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := signing.AllOf(office, password)
	if err != nil {
		fmt.Println(err)
		return
	}
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte("billing:the old password"))
	r := &signing.Request{Header: http.Header{"Authorization": {login}}, Remote: netip.MustParseAddr("192.0.2.17")}
	verdict, err := verifier.Verify(r)
	fmt.Println(verdict.Subject, verdict.Key, verdict.Covers, err)

	r.Header.Set("Authorization", "Basic YmlsbGluZw==")
	_, err = verifier.Verify(r)
	fmt.Println(err)

	r.Remote = netip.MustParseAddr("198.51.100.9")
	_, err = verifier.Verify(r)
	fmt.Println(errors.Is(err, signing.ErrMismatch))
	// Output:
	// billing 1 nothing <nil>
	// signing: basic-auth: malformed: header Authorization holds no colon between user and password
	// true
}

// Two ways in while a sender moves from an API key to signatures.
func ExampleAnyOf() {
	old, err := signing.APIKey("X-Api-Key", signing.NewSecret("an old key"))
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := signing.GitHub(signing.NewSecret("a new secret"))
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := signing.AnyOf(signed, old)
	if err != nil {
		fmt.Println(err)
		return
	}
	verdict, err := verifier.Verify(&signing.Request{Header: http.Header{"X-Api-Key": {"an old key"}}})
	fmt.Println(verdict.Covers, err)
	// Output: nothing <nil>
}

// A token is taken only if it was made for us, by one of the sender's public keys.
func ExampleJWT() {
	keys, err := signing.NewKeySet([]byte(`{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "2026",
		"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := signing.JWT(signing.JWTOptions{
		Keys: keys, Issuer: "https://issuer.example.com", Audience: []string{"https://hooks.example.com/in/billing"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = verifier.Verify(&signing.Request{Header: http.Header{"Authorization": {"Basic aG9vazpwYXNzd29yZA=="}}})
	fmt.Println(err)
	// Output: signing: jwt: malformed: header Authorization is of the scheme Basic and not Bearer: set up the one that the sender uses
}

// A function decides, such as one that asks a service of yours.
func ExampleForward() {
	verifier, err := signing.Forward(func(_ context.Context, r *signing.Request) (signing.Verdict, error) {
		if r.Header.Get("X-Partner") != "acme" {
			return signing.Verdict{}, errors.New("the partner is not one of ours")
		}
		return signing.Verdict{Subject: "acme", Key: -1}, nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	verdict, err := verifier.Verify(&signing.Request{Header: http.Header{"X-Partner": {"acme"}}})
	fmt.Println(verdict.Subject, err)
	_, err = verifier.Verify(&signing.Request{Header: http.Header{}})
	fmt.Println(err)
	// Output:
	// acme <nil>
	// signing: forward: no signature fits: the partner is not one of ours
}
