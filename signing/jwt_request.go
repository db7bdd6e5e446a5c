package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// hmacAlgorithms are those of tokens that are signed with a shared secret.
var hmacAlgorithms = []string{"HS256", "HS384", "HS512"}

// headerJWT reads the token in a header and proves it. The times in it are left to the caller.
func headerJWT(scheme string, r *Request, header string, keys keySource, allowed []string) (*jwt, jwk, error) {
	text, err := headerOf(scheme, r, header)
	if err != nil {
		return nil, jwk{}, err
	}
	t, k, err := proveJWT(r, text, keys, allowed)
	return t, k, named(scheme, err)
}

// hashed holds a claim against the SHA-256 of what it should be the hash of.
func (t *jwt) hashed(claim string, decode func(string) ([]byte, error), of []byte, otherwise string) error {
	text, ok := t.text(claim)
	if !ok {
		return flaw(ErrMissing, "the token has no claim %s, so nothing protects what that is about", claim)
	}
	got, err := decode(text)
	if err != nil || len(got) != sha256.Size {
		return flaw(ErrMalformed, "the claim %s of the token is not a SHA-256 hash", claim)
	}
	want := sha256.Sum256(of)
	if subtle.ConstantTimeCompare(got, want[:]) == 0 {
		return flaw(ErrMismatch, "the claim %s of the token is another hash: %s", claim, otherwise)
	}
	return nil
}

// proveJWT reads and verifies a token. The times in it are left to the caller.
func proveJWT(r *Request, text string, keys keySource, allowed []string) (*jwt, jwk, error) {
	t, err := parseJWT(text)
	if err != nil {
		return nil, jwk{}, err
	}
	k, err := t.verify(r.context(), keys, allowed)
	return t, k, err
}

// decodeStd reads base64 strictly, for hashes in claims.
func decodeStd(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return strictStd.DecodeString(text)
}
