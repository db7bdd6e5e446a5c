package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// minToken is how short a password, an API key, a token or a secret that is delivered may be, in bytes. A shorter one can be guessed.
const minToken = 8

// APIKey verifies senders that show a key in a header of its own, such as X-Api-Key. The whole text of the header is the
// key: for "Authorization: Bearer key" take Bearer. A request is good if any of the keys fits.
//
// A key has 8 bytes or more. It signs nothing (CoversNothing): whoever reads one request can make others, so let requests
// come by TLS only. Keys in a URL end in logs and are not read.
//
// An error means a name that no header can have, or a key that is empty, too short, or could not be sent in a header.
func APIKey(header string, keys ...Secret) (Verifier, error) {
	return newAPIKey("api-key-header", header, keys)
}

func newAPIKey(scheme, header string, keys []Secret) (Verifier, error) {
	name, err := headerName(header)
	if err != nil {
		return nil, fmt.Errorf("signing: %s: %w", scheme, err)
	}
	set, err := newTokens(keys)
	if err != nil {
		return nil, fmt.Errorf("signing: %s: %w", scheme, err)
	}
	return &apiKey{scheme: scheme, header: name, keys: set}, nil
}

// apiKeyProvider is the entry of the catalogue.
var apiKeyProvider = provider{
	Provider: Provider{
		Title: "API key in a header", Header: "that of the setting `header`", Algorithm: "token, shown",
		Secret: "the key, as text", Source: VendorDocs, Settings: []Setting{
			{Name: "header", Required: true, Doc: "The name of the header that holds the key, such as X-Api-Key."},
		},
	},
	code: func(o Options, secrets []Secret) (Verifier, error) {
		return newAPIKey("api-key-header", o.Settings["header"], secrets)
	},
}

type apiKey struct {
	scheme, header string
	keys           tokens
}

// Verify compares the header with every key.
func (v *apiKey) Verify(r *Request) (Verdict, error) {
	text, err := headerText(r, v.header)
	if err != nil {
		return Verdict{}, named(v.scheme, err)
	}
	index := v.keys.find(text)
	if index < 0 {
		return Verdict{}, named(v.scheme, flaw(ErrMismatch, "header %s fits none of %s: %s", v.header, count(len(v.keys), "key"), v.cause(text)))
	}
	return Verdict{Key: index}, nil
}

// cause is the likely reason of a mismatch.
func (v *apiKey) cause(text string) string {
	if word, rest, ok := strings.Cut(text, " "); ok && v.keys.find(rest) >= 0 {
		if name := knownScheme(word); name != "" {
			return "it fits without the word " + name + " in front: take Bearer, or have the sender leave the word out"
		}
		return "it fits without its first word: have the sender leave that out"
	}
	return "the sender uses another key, or the key was rotated; put in the one that the sender uses"
}

// tokens are secrets that a sender shows as they are. Only their hashes are kept: all have the same length, so that a
// comparison does not show how long a secret is.
type tokens [][sha256.Size]byte

// newTokens makes them of secrets that are neither empty nor short, and that can stand in a header.
func newTokens(secrets []Secret) (tokens, error) {
	texts, err := plainSecrets(secrets, minToken)
	if err != nil {
		return nil, err
	}
	set := make(tokens, len(texts))
	for i, text := range texts {
		switch {
		case len(text) > maxHeader/2:
			return nil, fmt.Errorf("secret %d has %d bytes, %d are the most that fit into a header", i+1, len(text), maxHeader/2)
		case hasControl(text):
			return nil, fmt.Errorf("secret %d has a line break or another control character, which no header can hold; copy it again", i+1)
		}
		set[i] = sha256.Sum256([]byte(text))
	}
	return set, nil
}

// find answers the place of the first secret that is text, or -1. It looks at all of them, whichever fits.
func (s tokens) find(text string) int {
	hashed := sha256.Sum256([]byte(text))
	index := -1
	for i := len(s) - 1; i >= 0; i-- {
		index = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hashed[:], s[i][:]), i, index)
	}
	return index
}

// hasControl reports whether a text has a character that RFC 7617 and RFC 9110 keep out of headers.
func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// headerName gives the canonical name of a header.
func headerName(name string) (string, error) {
	const marks = "!#$%&'*+-.^_`|~"
	bad := strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(marks, c)
	})
	switch {
	case name == "":
		return "", errors.New("the name of the header is missing; put in the one that the sender uses, such as X-Api-Key")
	case bad || len(name) > 128:
		return "", errors.New("what is given is not the name of a header; leave out the colon and what follows it") // which may be the key: it is not repeated
	case http.CanonicalHeaderKey(name) == "Host":
		return "", errors.New("the header Host says where a request goes and proves nothing; choose another")
	}
	return http.CanonicalHeaderKey(name), nil
}

// headerText gives the one value of a header.
func headerText(r *Request, name string) (string, error) {
	text, state := single(r.Header[name])
	if state != absent {
		return text, stateError("", "header "+name, state)
	}
	hint := "is it set up at the sender, and does every proxy pass it on?"
	if name != "Authorization" && len(r.Header["Authorization"]) > 0 {
		hint = "the request has a header Authorization instead; perhaps the sender uses Bearer or Basic"
	}
	return "", flaw(ErrMissing, "header %s is not there: %s", name, hint)
}

// authorization gives what stands behind the word of an authentication scheme (RFC 9110, section 11.4) in the header
// Authorization. The letter case of the word does not matter; exactly one space follows it.
func authorization(r *Request, want string) (string, error) {
	text, err := headerText(r, "Authorization")
	if err != nil {
		return "", err
	}
	word, rest, _ := strings.Cut(text, " ")
	if !strings.EqualFold(word, want) {
		if name := knownScheme(word); name != "" {
			return "", flaw(ErrMalformed, "header Authorization is of the scheme %s and not %s: set up the one that the sender uses", name, want)
		}
		return "", flaw(ErrMalformed, "header Authorization does not begin with the word %s: set up the scheme that the sender uses", want)
	}
	switch {
	case rest == "":
		return "", flaw(ErrMalformed, "header Authorization ends behind the word %s: the sender has no credentials set up", want)
	case rest[0] == ' ':
		return "", flaw(ErrMalformed, "header Authorization has more than one space behind the word %s", want)
	}
	return rest, nil
}

// knownScheme gives the name of an authentication scheme as we write it; empty for a word that is not known, which is not
// repeated in errors: it may be a secret.
func knownScheme(word string) string {
	for _, name := range []string{"Basic", "Bearer", "Digest", "Token", "ApiKey", "Signature", "HMAC", "Negotiate", "DPoP", "GNAP", "AWS4-HMAC-SHA256"} {
		if strings.EqualFold(word, name) {
			return name
		}
	}
	return ""
}
