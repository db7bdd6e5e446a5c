package signing

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// boxProvider follows the webhook manager of Box's library for Node.
var boxProvider = provider{
	Provider: Provider{
		Title: "Box",
		Settings: []Setting{{
			Name: "secondary_key", Doc: "The secondary signature key of the application; better given as the second secret, where secrets are kept.",
		}},
		Header:    "`BOX-SIGNATURE-PRIMARY` and `BOX-SIGNATURE-SECONDARY`",
		Algorithm: "HMAC-SHA256, base64",
		Signs:     "the body, then `BOX-DELIVERY-TIMESTAMP`",
		Time:      "`BOX-DELIVERY-TIMESTAMP`, 10 minutes",
		Secret:    "the primary signature key as text, and as a second secret the secondary one; each checks its own header, and one is enough",
		Type:      "`trigger`",
		ID:        "`id`",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newBox,
}

const boxTolerance = 10 * time.Minute

// box has the primary key, and the secondary one if it was given.
type box struct {
	keys  macKeys
	given int // how many of them came as secrets
}

func newBox(o Options, secrets []Secret) (Verifier, error) {
	given := len(secrets)
	if second := o.Settings["secondary_key"]; second != "" && given > 0 {
		if len(secrets) > 1 {
			return nil, setupError("box", errors.New("the secondary key is given twice: as the second secret, and as the setting secondary_key"))
		}
		secrets = append(append([]Secret(nil), secrets...), NewSecret(second))
	}
	if len(secrets) > 2 {
		return nil, setupError("box", errors.New("there are two keys, the primary and the secondary one; give no more secrets"))
	}
	keys, err := newMACKeys(kindSHA256, secrets, 8, nil)
	if err != nil {
		return nil, setupError("box", err)
	}
	return &box{keys, given}, nil
}

// Verify implements Verifier.
func (v *box) Verify(r *Request) (Verdict, error) {
	for name, want := range map[string]string{"Box-Signature-Version": "1", "Box-Signature-Algorithm": "HmacSHA256"} {
		text, err := headerOf("box", r, name)
		if err != nil {
			return Verdict{}, err
		}
		if text != want {
			return Verdict{}, refuse("box", ErrMalformed, "header %s is not %s, the only one there is", name, want)
		}
	}
	stamp, err := headerOf("box", r, "Box-Delivery-Timestamp")
	if err != nil {
		return Verdict{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return Verdict{}, refuse("box", ErrMalformed, "header Box-Delivery-Timestamp is not an RFC 3339 time")
	}
	key, err := v.match(r, stamp)
	if err != nil {
		return Verdict{}, err
	}
	if err := checkAge("box", "header Box-Delivery-Timestamp", at, r.Time, boxTolerance); err != nil {
		return Verdict{}, err
	}
	d := Verdict{Key: key, Covers: CoversBody}
	if key >= v.given {
		d.Key = -1 // that of the setting
	}
	d.Type, _ = jsonText(r.Body, []string{"trigger"})
	d.ID, _ = jsonText(r.Body, []string{"id"})
	d.OrderingKey, _ = jsonText(r.Body, []string{"source", "id"})
	return d, nil
}

// match holds each key against its own header.
func (v *box) match(r *Request, stamp string) (int, error) {
	there, readable := false, false
	escaped := escapeNonASCII(r.Body)
	fit := -1
	for i, name := range []string{"Box-Signature-Primary", "Box-Signature-Secondary"}[:len(v.keys)] {
		text, err := optionalHeader("box", r, name)
		if err != nil {
			return 0, err
		}
		if text == "" {
			continue
		}
		there = true
		got, ok := decodeMAC(text, sha256.Size)
		if !ok {
			continue
		}
		readable = true
		if fit < 0 && (v.keys[i].fits(got, r.Body, []byte(stamp)) || escaped != nil && v.keys[i].fits(got, escaped, []byte(stamp))) {
			fit = i
		}
	}
	switch {
	case fit >= 0:
		return fit, nil
	case !there:
		return 0, stateError("box", "header Box-Signature-Primary", absent)
	case !readable:
		return 0, refuse("box", ErrMalformed, "the signature headers are cut off or not base64")
	}
	return 0, mismatched("box", "each signature header", len(v.keys))
}

// escapeNonASCII writes what is not ASCII as Box does before it signs: in UTF-16, as \u00e9. Nil if there is nothing to
// write otherwise, or if the body is not UTF-8.
func escapeNonASCII(body []byte) []byte {
	plain := true
	for _, c := range body {
		plain = plain && c < 0x7f
	}
	if plain || !utf8.Valid(body) {
		return nil
	}
	out := make([]byte, 0, len(body)*2)
	for _, c := range string(body) {
		if c < 0x7f {
			out = append(out, byte(c))
			continue
		}
		for _, unit := range utf16.AppendRune(nil, c) {
			out = append(out, '\\', 'u')
			out = hex.AppendEncode(out, []byte{byte(unit >> 8), byte(unit)})
		}
	}
	return out
}
