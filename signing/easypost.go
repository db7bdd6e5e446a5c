package signing

import (
	"crypto/sha256"
	"net/http"
	"strings"
)

// easypostProvider follows validateWebhook of EasyPost's library for Node, which is a row but for the normalised secret.
var easypostProvider = provider{
	Provider: Provider{
		Title:     "EasyPost",
		Header:    "`X-Hmac-Signature: hmac-sha256-hex=...`",
		Algorithm: "HMAC-SHA256, hex",
		Signs:     "the body",
		Secret:    "the webhook secret as text, in Unicode's normal form KD",
		Type:      "`description`",
		ID:        "`id`",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newEasyPost,
}

const easypostPrefix = "hmac-sha256-hex="

type easypost struct{ keys macKeys }

func newEasyPost(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := newMACKeys(kindSHA256, secrets, 1, func(text string) ([]byte, error) {
		text, err := nfkd(text)
		return []byte(text), err
	})
	if err != nil {
		return nil, setupError("easypost", err)
	}
	return &easypost{keys}, nil
}

// Verify implements Verifier.
func (v *easypost) Verify(r *Request) (Verdict, error) {
	name := http.CanonicalHeaderKey("X-Hmac-Signature")
	text, err := headerOf("easypost", r, name)
	if err != nil {
		return Verdict{}, err
	}
	text, ok := strings.CutPrefix(text, easypostPrefix)
	if !ok {
		return Verdict{}, refuse("easypost", ErrMalformed, "header %s does not begin with %s", name, easypostPrefix)
	}
	got, ok := decodeLowerHex(text, sha256.Size)
	if !ok {
		return Verdict{}, refuse("easypost", ErrMalformed, "header %s is cut off or not hexadecimal", name)
	}
	key := v.keys.match(got, r.Body)
	if key < 0 {
		return Verdict{}, mismatched("easypost", "header "+name, len(v.keys))
	}
	d := Verdict{Key: key, Covers: CoversBody}
	d.Type, _ = jsonText(r.Body, []string{"description"})
	d.ID, _ = jsonText(r.Body, []string{"id"})
	d.OrderingKey, _ = jsonText(r.Body, []string{"result", "id"})
	return d, nil
}
