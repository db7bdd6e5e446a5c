package signing

import (
	"crypto/ecdsa"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ebayProvider follows eBay's event-notification SDK for Node. The keys are had from an API that wants credentials, so they
// are given as secrets.
var ebayProvider = provider{
	Provider: Provider{
		Title:     "eBay",
		Settings:  []Setting{{Name: "kid", Doc: "The IDs of the keys that are given as secrets, in their order, with commas between; empty takes any ID."}},
		Header:    "`X-EBAY-SIGNATURE`, JSON in base64",
		Algorithm: "ECDSA with SHA-1, base64",
		Signs:     "the body",
		Secret:    "the public key of eBay, in PEM, as `/commerce/notification/v1/public_key/` gives it in the member `key`",
		Type:      "`metadata.topic`",
		ID:        "`notification.notificationId`",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newEBay,
}

type ebay struct {
	keys []*ecdsa.PublicKey
	ids  []string // one for each key, or none
}

func newEBay(o Options, secrets []Secret) (Verifier, error) {
	texts, err := plainSecretsPEM(secrets)
	if err != nil {
		return nil, setupError("ebay", err)
	}
	v := &ebay{}
	if list := o.Settings["kid"]; list != "" {
		v.ids = strings.Split(list, ",")
		if len(v.ids) != len(texts) {
			return nil, setupError("ebay", fmt.Errorf("the setting kid names %d keys, and %s given", len(v.ids), count(len(texts), "secret")))
		}
	}
	for i, text := range texts {
		public, err := pemPublic(pemLines(text))
		if err != nil {
			return nil, setupError("ebay", fmt.Errorf("secret %d %w", i+1, err))
		}
		k, ok := public.(*ecdsa.PublicKey)
		if !ok {
			return nil, setupError("ebay", fmt.Errorf("secret %d is a key of another kind than ECDSA", i+1))
		}
		v.keys = append(v.keys, k)
	}
	for i := range v.ids {
		if v.ids[i] = strings.TrimSpace(v.ids[i]); v.ids[i] == "" {
			return nil, setupError("ebay", errors.New("the setting kid has an empty entry"))
		}
	}
	return v, nil
}

// pemLines puts the line ends into PEM that eBay writes without.
func pemLines(text string) string {
	const head, foot = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
	inner, ok := strings.CutPrefix(text, head)
	if !ok || strings.ContainsAny(text, "\r\n") {
		return text
	}
	if inner, ok = strings.CutSuffix(inner, foot); !ok {
		return text
	}
	return head + "\n" + inner + "\n" + foot + "\n"
}

// Verify implements Verifier.
func (v *ebay) Verify(r *Request) (Verdict, error) {
	name := http.CanonicalHeaderKey("X-EBAY-SIGNATURE")
	text, err := headerOf("ebay", r, name)
	if err != nil {
		return Verdict{}, err
	}
	raw, err := decodeStd(text)
	if err != nil {
		return Verdict{}, refuse("ebay", ErrMalformed, "header %s is not base64", name)
	}
	members, ok := jsonMembers(raw)
	if !ok {
		return Verdict{}, refuse("ebay", ErrMalformed, "header %s is not a JSON object with each name once", name)
	}
	for member, want := range map[string]string{"alg": "ecdsa", "digest": "sha1"} {
		if got, there := jsonString(members[member]); there && !strings.EqualFold(got, want) {
			return Verdict{}, refuse("ebay", ErrMalformed, "header %s names another %s than %s, the only one there is", name, member, want)
		}
	}
	encoded, ok := jsonString(members["signature"])
	if !ok {
		return Verdict{}, refuse("ebay", ErrMissing, "header %s has no signature", name)
	}
	signature, err := decodeStd(encoded)
	if err != nil {
		return Verdict{}, refuse("ebay", ErrMalformed, "header %s: its signature is not base64", name)
	}
	kid, ok := jsonString(members["kid"])
	if !ok {
		return Verdict{}, refuse("ebay", ErrMissing, "header %s names no key (kid)", name)
	}
	digest := sha1.Sum(r.Body)
	tried := 0
	for i, k := range v.keys {
		if v.ids != nil && v.ids[i] != kid {
			continue
		}
		tried++
		if !ecdsa.VerifyASN1(k, digest[:], signature) {
			continue
		}
		d := Verdict{Key: i, Covers: CoversBody}
		d.Type, _ = jsonText(r.Body, []string{"metadata", "topic"})
		d.ID, _ = jsonText(r.Body, []string{"notification", "notificationId"})
		return d, nil
	}
	if tried == 0 {
		return Verdict{}, refuse("ebay", ErrMismatch, "header %s names a key that is not set up: fetch its public key from eBay and add it", name)
	}
	return Verdict{}, mismatched("ebay", "header "+name, tried)
}
