package signing

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"strings"
)

// wiseProvider follows Wise's page on webhook signatures. The public keys, one for production and one for the sandbox, are
// published there.
var wiseProvider = provider{
	Provider: Provider{
		Title:     "Wise",
		Header:    "`X-Signature-SHA256`",
		Algorithm: "RSA PKCS #1 v1.5 with SHA-256, base64",
		Signs:     "the body",
		Secret:    "the public key of Wise, in PEM",
		Type:      "`event_type`",
		ID:        "`X-Delivery-Id`",
		Source:    ThirdParty,
		Covers:    CoversBody,
	},
	code: newWise,
}

type wise struct{ keys []*rsa.PublicKey }

func newWise(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := pinnedRSA(secrets)
	if err != nil {
		return nil, setupError("wise", err)
	}
	return &wise{keys}, nil
}

// Verify implements Verifier.
func (v *wise) Verify(r *Request) (Verdict, error) {
	name := http.CanonicalHeaderKey("X-Signature-SHA256")
	text, err := headerOf("wise", r, name)
	if err != nil {
		return Verdict{}, err
	}
	signature, err := strictStd.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return Verdict{}, refuse("wise", ErrMalformed, "header %s is not base64", name)
	}
	digest := sha256.Sum256(r.Body)
	for i, k := range v.keys {
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) != nil {
			continue
		}
		d := Verdict{Key: i, Covers: CoversBody}
		d.Type, _ = jsonText(r.Body, []string{"event_type"})
		d.OrderingKey, _ = jsonText(r.Body, []string{"data", "resource", "id"})
		if d.ID, err = optionalHeader("wise", r, "X-Delivery-Id"); err != nil {
			return Verdict{}, err
		}
		return d, nil
	}
	return Verdict{}, mismatched("wise", "header "+name, len(v.keys))
}
