package signing

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"mime/multipart"
)

// dropboxSignProvider follows the event callback helper of Dropbox Sign's library for Node.
var dropboxSignProvider = provider{
	Provider: Provider{
		Title:     "Dropbox Sign",
		Header:    "`event.event_hash` of the JSON in the form field `json`",
		Algorithm: "HMAC-SHA256, hex",
		Signs:     "`event_time`, then `event_type`; the rest of the body is not signed",
		Secret:    "the API key, as text",
		Type:      "`event.event_type`",
		Handshake: "wants the answer `Hello API Event Received`",
		Source:    VendorCode,
		Covers:    CoversMetadata,
	},
	code: newDropboxSign,
}

const (
	dropboxSignField = "json"
	maxFormParts     = 32
)

type dropboxSign struct{ keys macKeys }

func newDropboxSign(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := newMACKeys(kindSHA256, secrets, 8, nil)
	if err != nil {
		return nil, setupError("dropbox-sign", err)
	}
	return &dropboxSign{keys}, nil
}

// Verify implements Verifier.
func (v *dropboxSign) Verify(r *Request) (Verdict, error) {
	doc, err := v.document(r)
	if err != nil {
		return Verdict{}, err
	}
	outer, ok := jsonFields(doc)
	if !ok {
		return Verdict{}, refuse("dropbox-sign", ErrMalformed, "form field json is not a JSON object with each name once")
	}
	event, ok := jsonFields(outer["event"])
	if !ok {
		return Verdict{}, refuse("dropbox-sign", ErrMalformed, "form field json has no object event with each name once")
	}
	text := map[string]string{}
	for _, name := range []string{"event_hash", "event_time", "event_type"} {
		if text[name], ok = jsonScalar(event[name]); !ok || text[name] == "" {
			return Verdict{}, refuse("dropbox-sign", ErrMissing, "form field json has no text event.%s", name)
		}
	}
	got, ok := decodeLowerHex(text["event_hash"], sha256.Size)
	if !ok {
		return Verdict{}, refuse("dropbox-sign", ErrMalformed, "event.event_hash is cut off or not hexadecimal")
	}
	key := v.keys.match(got, []byte(text["event_time"]), []byte(text["event_type"]))
	if key < 0 {
		return Verdict{}, mismatched("dropbox-sign", "event.event_hash", len(v.keys))
	}
	d := Verdict{Key: key, Covers: CoversMetadata, Type: text["event_type"]}
	d.OrderingKey, _ = jsonText(doc, []string{"signature_request", "signature_request_id"})
	return d, nil
}

// document finds the JSON in the form, which is a multipart one as a rule.
func (v *dropboxSign) document(r *Request) ([]byte, error) {
	kind, params := mediaType(r)
	if kind != "multipart/form-data" {
		form, err := formOf("dropbox-sign", r)
		if err != nil {
			return nil, refuse("dropbox-sign", ErrMalformed, "the body is not a form that can be read (Content-Type: multipart/form-data)")
		}
		text, err := field("dropbox-sign", form, dropboxSignField)
		return []byte(text), err
	}
	broken := refuse("dropbox-sign", ErrMalformed, "the multipart form in the body is damaged")
	if params["boundary"] == "" {
		return nil, broken
	}
	reader := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	var doc []byte
	for parts := 0; ; parts++ {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || parts == maxFormParts {
			return nil, broken
		}
		if p.FormName() != dropboxSignField {
			continue
		}
		if doc != nil {
			return nil, stateError("dropbox-sign", "form field json", repeated)
		}
		if doc, err = io.ReadAll(p); err != nil {
			return nil, broken
		}
	}
	if len(doc) == 0 {
		return nil, stateError("dropbox-sign", "form field json", absent)
	}
	return doc, nil
}
