package signing

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
)

// adyenProvider follows the HMAC validator of Adyen's library for Node. Adyen's banking webhooks sign the body in a header
// and are a row.
var adyenProvider = provider{
	Provider: Provider{
		Title:     "Adyen payments",
		Header:    "`additionalData.hmacSignature` of each item in the body",
		Algorithm: "HMAC-SHA256, base64",
		Signs:     "`pspReference`, `originalReference`, `merchantAccountCode`, `merchantReference`, value, currency, `eventCode` and `success` of each item, with colons between; the rest of the body is not signed",
		Secret:    "the HMAC key, hexadecimal",
		Type:      "`eventCode`",
		ID:        "`pspReference` and `eventCode`, if there is one item",
		Handshake: "wants the answer `[accepted]`",
		Source:    VendorCode,
		Covers:    CoversMetadata,
	},
	code: newAdyen,
}

// maxAdyenItems is how many items one request may have; Adyen sends one, six at the most.
const maxAdyenItems = 64

type adyen struct{ keys macKeys }

func newAdyen(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := newMACKeys(kindSHA256, secrets, 16, decodeHexSecret)
	if err != nil {
		return nil, setupError("adyen", err)
	}
	return &adyen{keys}, nil
}

func decodeHexSecret(text string) ([]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not hexadecimal; copy it again from the provider")
	}
	return raw, nil
}

// Verify implements Verifier. Every item has to hold: whoever may add one item could add any.
func (v *adyen) Verify(r *Request) (Verdict, error) {
	broken := refuse("adyen", ErrMalformed, "the body is not JSON with notificationItems, each a NotificationRequestItem, and each name once")
	body, ok := jsonFields(r.Body)
	if !ok {
		return Verdict{}, broken
	}
	var items []json.RawMessage
	if _, there := body["notificationItems"]; !there {
		return Verdict{}, refuse("adyen", ErrMissing, "the body has no notificationItems: is this a payments webhook?")
	}
	if json.Unmarshal(body["notificationItems"], &items) != nil || len(items) == 0 || len(items) > maxAdyenItems {
		return Verdict{}, broken
	}
	d := Verdict{Covers: CoversMetadata}
	for i, raw := range items {
		outer, ok := jsonFields(raw)
		if !ok {
			return Verdict{}, broken
		}
		item, ok := jsonFields(outer["NotificationRequestItem"])
		if !ok {
			return Verdict{}, broken
		}
		key, err := v.verifyItem(item)
		if err != nil {
			return Verdict{}, err
		}
		if i > 0 {
			d.ID, d.OrderingKey = "", ""
			continue
		}
		d.Key = key
		d.Type, _ = jsonScalar(item["eventCode"])
		reference, _ := jsonScalar(item["pspReference"])
		d.ID = reference + ":" + d.Type
		d.OrderingKey, _ = jsonScalar(item["merchantReference"])
	}
	return d, nil
}

func (v *adyen) verifyItem(item map[string]json.RawMessage) (int, error) {
	broken := refuse("adyen", ErrMalformed, "an item of the body has a field of the wrong kind")
	additional := map[string]json.RawMessage{}
	amount := map[string]json.RawMessage{}
	for name, into := range map[string]*map[string]json.RawMessage{"additionalData": &additional, "amount": &amount} {
		if text, ok := jsonScalar(item[name]); ok && text == "" { // null, or not there
			continue
		}
		read := jsonFields
		if name == "additionalData" {
			read = jsonMembers // the merchant chooses some of its names
		}
		var ok bool
		if *into, ok = read(item[name]); !ok {
			return 0, broken
		}
	}
	text, ok := jsonScalar(additional["hmacSignature"])
	if !ok {
		return 0, broken
	}
	if text == "" {
		return 0, refuse("adyen", ErrMissing, "an item of the body has no additionalData.hmacSignature: is an HMAC key set for this webhook?")
	}
	got, ok := decodeMAC(text, sha256.Size)
	if !ok {
		return 0, refuse("adyen", ErrMalformed, "additionalData.hmacSignature is cut off or not base64")
	}
	values := make([]string, 0, 8)
	for _, value := range []json.RawMessage{
		item["pspReference"], item["originalReference"], item["merchantAccountCode"], item["merchantReference"],
		amount["value"], amount["currency"], item["eventCode"], item["success"],
	} {
		text, ok := jsonScalar(value)
		if !ok {
			return 0, broken
		}
		values = append(values, text)
	}
	key := v.keys.match(got, []byte(strings.Join(values, ":")))
	if key < 0 {
		return 0, mismatched("adyen", "additionalData.hmacSignature of an item", len(v.keys))
	}
	return key, nil
}
