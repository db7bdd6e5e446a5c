package signing

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// braintreeProvider follows the webhook notification gateway of Braintree's library for Node.
var braintreeProvider = provider{
	Provider: Provider{
		Title:     "Braintree",
		Settings:  []Setting{{Name: "public_key", Required: true, Doc: "The public key of the API key whose private key is the secret; it is the name of the key."}},
		Header:    "form fields `bt_signature` and `bt_payload`",
		Algorithm: "HMAC-SHA1 with the SHA-1 of the private key, hex",
		Signs:     "`bt_payload`",
		Secret:    "the private key of the API key, as text",
		Type:      "`kind` of the XML in `bt_payload`",
		Handshake: "GET with `bt_challenge`: answers the public key and the keyed digest",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newBraintree,
}

type braintree struct {
	publicKey string
	keys      macKeys
}

func newBraintree(o Options, secrets []Secret) (Verifier, error) {
	v := &braintree{publicKey: o.Settings["public_key"]}
	if strings.ContainsAny(v.publicKey, "|& \t\r\n") {
		return nil, setupError("braintree", errors.New("the setting public_key is not a public key of Braintree; copy it again"))
	}
	if _, err := plainSecrets(secrets, 8); err != nil {
		return nil, setupError("braintree", err)
	}
	var err error
	v.keys, err = newMACKeys(kindSHA1, secrets, 1, func(text string) ([]byte, error) {
		sum := sha1.Sum([]byte(text))
		return sum[:], nil
	})
	if err != nil {
		return nil, setupError("braintree", err)
	}
	return v, nil
}

// Verify implements Verifier.
func (v *braintree) Verify(r *Request) (Verdict, error) {
	form, err := formOf("braintree", r)
	if err != nil {
		return Verdict{}, err
	}
	pairs, err := field("braintree", form, "bt_signature")
	if err != nil {
		return Verdict{}, err
	}
	payload, err := field("braintree", form, "bt_payload")
	if err != nil {
		return Verdict{}, err
	}
	if !isBase64Text(payload) {
		return Verdict{}, refuse("braintree", ErrMalformed, "form field bt_payload has characters that base64 does not have")
	}
	if isBraintreeChallenge(payload) {
		return Verdict{}, refuse("braintree", ErrMalformed, "form field bt_payload could be the challenge of a handshake, of which anybody may have the digest; it is no event")
	}
	got, err := v.signature(pairs)
	if err != nil {
		return Verdict{}, err
	}
	// Some senders of forms lose the newline at the end; Braintree's libraries try both.
	key := v.keys.match(got, []byte(payload))
	if key < 0 {
		key = v.keys.match(got, []byte(payload), []byte("\n"))
	}
	if key < 0 {
		return Verdict{}, mismatched("braintree", "form field bt_signature", len(v.keys))
	}
	return Verdict{Key: key, Covers: CoversBody, Type: braintreeKind(payload)}, nil
}

// isBase64Text reports whether a text has no characters but those of base64 and line feeds.
func isBase64Text(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/=\n", c) >= 0) {
			return false
		}
	}
	return true
}

// signature finds the signature that was made with our key pair, the first as their libraries do.
func (v *braintree) signature(pairs string) ([]byte, error) {
	if len(pairs) > maxHeader {
		return nil, stateError("braintree", "form field bt_signature", tooLong)
	}
	list := strings.Split(pairs, "&")
	if len(list) > maxSignatures {
		return nil, refuse("braintree", ErrMalformed, "form field bt_signature has more than %d signatures", maxSignatures)
	}
	for _, pair := range list {
		name, text, ok := strings.Cut(pair, "|")
		if !ok || name != v.publicKey {
			continue
		}
		got, ok := decodeLowerHex(text, sha1.Size)
		if !ok {
			return nil, refuse("braintree", ErrMalformed, "form field bt_signature: its signature is cut off or not hexadecimal")
		}
		return got, nil
	}
	return nil, refuse("braintree", ErrMismatch, "form field bt_signature has no signature of the key that public_key names: is it the key of another merchant or environment?")
}

// braintreeKind reads the kind of a notification; empty if there is none.
func braintreeKind(payload string) string {
	raw, err := base64.StdEncoding.DecodeString(payload) // which skips line feeds
	if err != nil {
		return ""
	}
	dec := xml.NewDecoder(strings.NewReader(string(raw)))
	depth := 0
	for {
		tok, err := dec.Token()
		if err != nil {
			return ""
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth++; depth == 2 && tok.Name.Local == "kind" {
				var kind string
				if dec.DecodeElement(&kind, &tok) != nil || len(kind) > maxText {
					return ""
				}
				return strings.TrimSpace(kind)
			}
		case xml.EndElement:
			depth--
		}
	}
}

// HandshakeMethods implements Handshaker.
func (v *braintree) HandshakeMethods() []string { return []string{http.MethodGet} }

// isBraintreeChallenge: 20 to 32 hexadecimal digits, as their libraries demand.
func isBraintreeChallenge(text string) bool {
	return len(text) >= 20 && len(text) <= 32 && strings.Trim(text, "0123456789abcdef") == ""
}

// Handshake implements Handshaker: it proves to Braintree that we have the private key. It signs nothing that Verify takes
// for a payload, which is the base64 of XML.
func (v *braintree) Handshake(r *Request) (*Reply, error) {
	if r.Method != http.MethodGet {
		return nil, nil
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, nil
	}
	values := u.Query()["bt_challenge"]
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 {
		return nil, stateError("braintree", "query field bt_challenge", repeated)
	}
	challenge := values[0]
	if !isBraintreeChallenge(challenge) {
		return nil, refuse("braintree", ErrMalformed, "query field bt_challenge is not 20 to 32 hexadecimal digits")
	}
	k := v.keys[0]
	h := k.kind.get()
	defer k.kind.put(h)
	if !k.begin(h) {
		return nil, refuse("braintree", ErrMalformed, "the first secret makes no digest")
	}
	_, _ = h.Write([]byte(challenge))
	reply := &Reply{Status: http.StatusOK, Header: http.Header{}, Body: []byte(v.publicKey + "|" + hex.EncodeToString(k.end(h)))}
	reply.Header.Set("Content-Type", "text/plain; charset=utf-8")
	reply.Header.Set("X-Content-Type-Options", "nosniff")
	return reply, nil
}
