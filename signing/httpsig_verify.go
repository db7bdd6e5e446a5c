package signing

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// NewHTTPMessageVerifier verifies what HTTPMessageSignatures makes, and what other senders make of RFC 9421 with
// hmac-sha256 and ed25519. A request is good if one of its signatures covers all of Components, was created within
// Tolerance and is not expired, and fits any of the secrets: "whsec_" and base64 for hmac-sha256, "whpk_" and base64 for
// ed25519. Which algorithm is used follows from the secret alone; a parameter "alg" that says another is refused.
//
// Where "content-digest" is covered, the body must have one of the SHA-256 and SHA-512 digests, and all of these that are
// given. The ID is the header Webhook-Id if that is covered, the type the member "type" of the body. Request.URL must be the
// public URL.
func NewHTTPMessageVerifier(o HTTPMessageOptions, secrets ...Secret) (Verifier, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	if o.Components == nil {
		o.Components = slices.DeleteFunc(slices.Clone(defaultComponents), func(name string) bool { return name == "content-type" })
	}
	v := &messageVerifier{o: o}
	kinds := Scheme{Secret: StandardSecret, Tags: []Tag{{Algorithm: HMACSHA256}, {Algorithm: Ed25519}}}
	switch {
	case len(secrets) == 0:
		return nil, errors.New("signing: http-message: no secret is given; put in the one that the sender shows")
	case len(secrets) > maxSecrets:
		return nil, fmt.Errorf("signing: http-message: %d secrets are given, %d is the most; drop the expired ones", len(secrets), maxSecrets)
	}
	for i, secret := range secrets {
		keys, err := kinds.makeKeys(i, secret)
		if err != nil {
			return nil, fmt.Errorf("signing: http-message: secret %d of %d %w", i+1, len(secrets), err)
		}
		v.keys = append(v.keys, keys...)
	}
	return v, nil
}

type messageVerifier struct {
	o    HTTPMessageOptions
	keys []key
}

func (v *messageVerifier) refuse(kind error, format string, args ...any) (Verdict, error) {
	return Verdict{}, &Error{Scheme: "http-message", Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Verify tries every key on every signature that covers enough. What is wrong with the last one that came closest is what
// the error tells.
func (v *messageVerifier) Verify(r *Request) (Verdict, error) {
	texts := [2]string{}
	for i, name := range [...]string{"Signature-Input", "Signature"} {
		text, state := single(r.Header[name])
		switch state {
		case present:
			texts[i] = text
		case absent:
			return v.refuse(ErrMissing, "header %s is not there: is a secret set at the sender, and does every proxy pass it on?", name)
		case repeated:
			return v.refuse(ErrMalformed, "header %s comes more than once", name)
		default:
			return v.refuse(ErrMalformed, "header %s is longer than %d bytes", name, maxHeader)
		}
	}
	inputs, err := readInputs(texts[0])
	if err != nil {
		return v.refuse(ErrMalformed, "header Signature-Input: %s", err)
	}
	signatures, err := readByteDictionary(texts[1])
	if err != nil {
		return v.refuse(ErrMalformed, "header Signature: %s", err)
	}
	var why *Error
	tried := 0
	for i := range inputs {
		in := &inputs[i]
		got := signatures.find(in.label)
		if got == nil {
			continue
		}
		tried++
		verdict, refused := v.try(r, in, got)
		if refused == nil {
			return verdict, nil
		}
		if why == nil || rank(refused.Kind) > rank(why.Kind) {
			why = refused
		}
	}
	if tried == 0 {
		return v.refuse(ErrMalformed, "no signature has the label of an entry of Signature-Input")
	}
	return Verdict{}, why
}

// rank says how close to good a refused signature is.
func rank(kind error) int {
	return slices.Index([]error{ErrMissing, ErrMalformed, ErrMismatch, ErrTooNew, ErrTooOld}, kind)
}

// try checks one signature.
func (v *messageVerifier) try(r *Request, in *messageInput, got []byte) (Verdict, *Error) {
	bad := func(kind error, format string, args ...any) (Verdict, *Error) {
		return Verdict{}, &Error{Scheme: "http-message", Kind: kind, Detail: fmt.Sprintf(format, args...)}
	}
	for _, name := range v.o.Components {
		if !slices.Contains(in.components, name) {
			return bad(ErrMissing, "%q is not covered by the signature: have the sender cover it", name)
		}
	}
	if !in.hasCreated {
		return bad(ErrMissing, "the parameter created is not there")
	}
	if v.o.KeyID != "" && subtle.ConstantTimeCompare([]byte(in.keyID), []byte(v.o.KeyID)) == 0 {
		return bad(ErrMismatch, "the signature names another key than the keyid that is set")
	}
	base, err := signatureBase(r, nil, in.components)
	if err != nil {
		return bad(ErrMissing, "%s", err)
	}
	base = append(base, in.params...)
	index := -1
	for i := range v.keys {
		if v.keys[i].index != index && v.keys[i].signed(in.algorithm, base, got) {
			index = v.keys[i].index
			break
		}
	}
	if index < 0 {
		return bad(ErrMismatch, "the signature fits none of %d keys: is the secret the one of this sender, is Request.URL the public URL, and does no proxy change a covered header?", len(v.keys))
	}
	verdict := Verdict{Key: index, Covers: CoversMetadata}
	if slices.Contains(in.components, "content-digest") {
		if refused := v.checkDigest(r); refused != nil {
			return Verdict{}, refused
		}
		verdict.Covers = CoversBody
	}
	now := clock(r.Time)
	age := scale(now.Unix()-in.created, time.Second)
	switch {
	case age > v.o.Tolerance:
		return bad(ErrTooOld, "the signature was created %s ago and may be %s: somebody repeats an old request, or the clock of this machine is fast", age, v.o.Tolerance)
	case age < -v.o.Tolerance:
		return bad(ErrTooNew, "the signature was created %s ahead and may be %s: the clock of this machine is slow", -age, v.o.Tolerance)
	case in.hasExpires && now.Unix() >= in.expires:
		return bad(ErrTooOld, "the signature has expired")
	}
	if slices.Contains(in.components, "webhook-id") {
		var state state
		if verdict.ID, state = single(r.Header["Webhook-Id"]); state != present {
			return bad(ErrMalformed, "header Webhook-Id comes more than once, or is too long")
		}
	}
	verdict.Type, _ = jsonText(r.Body, []string{"type"})
	return verdict, nil
}

// signed reports whether the key made the signature. An alg that is not the key's is refused.
func (k *key) signed(name string, base, got []byte) bool {
	switch k.algorithm {
	case Ed25519:
		return (name == "" || name == messageEd25519) && len(got) == ed25519.SignatureSize && ed25519.Verify(k.public, base, got)
	case HMACSHA256:
		want, err := k.mac.sum(base)
		return (name == "" || name == messageHS256) && err == nil && subtle.ConstantTimeCompare(want, got) == 1
	default:
		return false
	}
}

// checkDigest compares the body with the digests that the sender gives of it.
func (v *messageVerifier) checkDigest(r *Request) *Error {
	bad := func(kind error, text string) *Error { return &Error{Scheme: "http-message", Kind: kind, Detail: text} }
	text, state := single(r.Header["Content-Digest"])
	if state != present {
		return bad(ErrMalformed, "header Content-Digest comes more than once, or is too long")
	}
	given, err := readByteDictionary(text)
	if err != nil {
		return bad(ErrMalformed, "header Content-Digest: "+err.Error())
	}
	short, long := sha256.Sum256(r.Body), sha512.Sum512(r.Body)
	known := false
	for _, d := range given {
		var want []byte
		switch d.label {
		case "sha-256":
			want = short[:]
		case "sha-512":
			want = long[:]
		default:
			continue
		}
		known = true
		if subtle.ConstantTimeCompare(want, d.value) == 0 {
			return bad(ErrMismatch, "the body is not the one of Content-Digest: a middleware changed it")
		}
	}
	if !known {
		return bad(ErrMalformed, "header Content-Digest has neither sha-256 nor sha-512")
	}
	return nil
}

// messageInput is an entry of Signature-Input.
type messageInput struct {
	label      string
	params     []byte // the list and its parameters, as they are signed
	components []string

	created, expires       int64
	hasCreated, hasExpires bool
	keyID, algorithm       string
}

// byteEntries are a dictionary of byte sequences, such as Signature.
type byteEntries []struct {
	label string
	value []byte
}

func (d byteEntries) find(label string) []byte {
	for i := range d {
		if d[i].label == label {
			return d[i].value
		}
	}
	return nil
}

// fieldReader is a structured field (RFC 8941) being read. Of its grammar only what these headers need is known.
type fieldReader struct{ rest []byte }

var errField = errors.New("is not written as RFC 8941 has it")

func (f *fieldReader) next(c byte) bool {
	if len(f.rest) == 0 || f.rest[0] != c {
		return false
	}
	f.rest = f.rest[1:]
	return true
}

func (f *fieldReader) spaces() {
	f.rest = bytes.TrimLeft(f.rest, " ")
}

// label reads a key: of an entry, or of a parameter.
func (f *fieldReader) label() (string, error) {
	n := 0
	for n < len(f.rest) && n <= 64 && isLabel(string(f.rest[:n+1])) {
		n++
	}
	if n == 0 || n > 64 {
		return "", errField
	}
	text := string(f.rest[:n])
	f.rest = f.rest[n:]
	return text, nil
}

// text reads a string.
func (f *fieldReader) text() (string, error) {
	if !f.next('"') {
		return "", errField
	}
	var out []byte
	for len(f.rest) > 0 {
		c := f.rest[0]
		f.rest = f.rest[1:]
		switch {
		case c == '"':
			return string(out), nil
		case c == '\\':
			if len(f.rest) == 0 || (f.rest[0] != '"' && f.rest[0] != '\\') {
				return "", errField
			}
			c = f.rest[0]
			f.rest = f.rest[1:]
		case c < ' ' || c >= 0x7f:
			return "", errField
		}
		out = append(out, c)
	}
	return "", errField
}

// integer reads a number of at most 15 digits.
func (f *fieldReader) integer() (int64, error) {
	n := 0
	for n < len(f.rest) && (f.rest[n] >= '0' && f.rest[n] <= '9' || n == 0 && f.rest[n] == '-') {
		n++
	}
	if n > 15 {
		return 0, errField
	}
	v, err := strconv.ParseInt(string(f.rest[:n]), 10, 64)
	f.rest = f.rest[n:]
	if err != nil {
		return 0, errField
	}
	return v, nil
}

// entries calls read for each entry of a dictionary, behind its label and "=".
func (f *fieldReader) entries(read func(label string) error) error {
	var seen []string
	for {
		label, err := f.label()
		switch {
		case err != nil:
			return err
		case slices.Contains(seen, label):
			return errors.New("has a label twice")
		case len(seen) == maxSignatures:
			return fmt.Errorf("has more than %d entries", maxSignatures)
		case !f.next('='):
			return errField
		}
		seen = append(seen, label)
		if err := read(label); err != nil {
			return err
		}
		f.rest = bytes.TrimLeft(f.rest, " \t")
		if len(f.rest) == 0 {
			return nil
		}
		if !f.next(',') {
			return errField
		}
		f.rest = bytes.TrimLeft(f.rest, " \t")
	}
}

// readByteDictionary reads "a=:base64:, b=:base64:".
func readByteDictionary(text string) (byteEntries, error) {
	f := &fieldReader{[]byte(text)}
	var out byteEntries
	err := f.entries(func(label string) error {
		if !f.next(':') {
			return errField
		}
		end := bytes.IndexByte(f.rest, ':')
		if end < 1 {
			return errField
		}
		raw, err := decodeBase64(string(f.rest[:end]))
		if err != nil {
			return errors.New("holds a value that is not base64")
		}
		f.rest = f.rest[end+1:]
		out = append(out, struct {
			label string
			value []byte
		}{label, raw})
		return nil
	})
	return out, err
}

// readInputs reads the whole of Signature-Input.
func readInputs(text string) ([]messageInput, error) {
	f := &fieldReader{[]byte(text)}
	var out []messageInput
	err := f.entries(func(label string) error {
		in := messageInput{label: label}
		whole := f.rest
		if err := f.readList(&in); err != nil {
			return err
		}
		if err := f.readParams(&in); err != nil {
			return err
		}
		in.params = whole[:len(whole)-len(f.rest)]
		out = append(out, in)
		return nil
	})
	return out, err
}

// readList reads the components.
func (f *fieldReader) readList(in *messageInput) error {
	if !f.next('(') {
		return errField
	}
	for f.spaces(); !f.next(')'); {
		name, err := f.text()
		switch {
		case err != nil:
			return err
		case slices.Contains(in.components, name):
			return errors.New("has a component twice")
		case len(in.components) == maxEntries:
			return fmt.Errorf("has more than %d components", maxEntries)
		case len(f.rest) == 0 || (f.rest[0] != ' ' && f.rest[0] != ')'):
			return errors.New("has a component with parameters, which are not known here")
		case !slices.Contains(derived, name) && !isComponent(name):
			return errors.New("has a component that is not known here")
		}
		in.components = append(in.components, name)
		f.spaces()
	}
	return nil
}

// readParams reads what follows the list. Each parameter may come once; those that are not known are signed and not used.
func (f *fieldReader) readParams(in *messageInput) error {
	var seen []string
	for f.next(';') {
		f.spaces()
		name, err := f.label()
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) || len(seen) == maxEntries {
			return errors.New("has a parameter twice, or too many")
		}
		seen = append(seen, name)
		if !f.next('=') {
			return errField
		}
		switch name {
		case "created":
			in.created, err = f.integer()
			in.hasCreated = true
		case "expires":
			in.expires, err = f.integer()
			in.hasExpires = true
		case "keyid":
			in.keyID, err = f.text()
		case "alg":
			if in.algorithm, err = f.text(); err == nil && in.algorithm == "" {
				err = errField
			}
		default: // nonce, tag and those of tomorrow are strings or numbers
			if len(f.rest) > 0 && f.rest[0] == '"' {
				_, err = f.text()
			} else {
				_, err = f.integer()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
