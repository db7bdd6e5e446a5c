package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// publishedKey is a public Ed25519 key as RFC 8037 writes it. There is no field for a private part.
type publishedKey struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
}

// JWKS publishes public keys as a JSON Web Key Set (RFC 7517), so that receivers can fetch them and follow a rotation. The
// "kid" of a key is its RFC 7638 thumbprint, which is what HTTPMessageSignatures gives as "keyid".
//
// The function is called for each request. It answers the keys to publish, as PublicKey gives them ("whpk_"): those of the
// endpoint that the request's path names, say. No keys are an empty set. Its error is answered with 503 and is not shown;
// anything that is no public key is an error as well. Answers may be cached for five minutes: publish a new key that long
// before it signs, and an old one for as long after.
func JWKS(keys func(r *http.Request) ([]string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		public, err := keys(r)
		var body []byte
		if err == nil {
			body, err = keySet(public)
		}
		if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(body)
	})
}

// keySet encodes the keys, each once.
func keySet(public []string) ([]byte, error) {
	set := struct {
		Keys []publishedKey `json:"keys"`
	}{Keys: []publishedKey{}}
	seen := make(map[string]bool)
	for _, text := range public {
		rest, ok := strings.CutPrefix(text, prefixPublic)
		if !ok {
			return nil, errors.New("signing: a key to publish is not a public one (whpk_)")
		}
		raw, err := decodeBase64(rest)
		if err != nil {
			return nil, err
		}
		if err := checkPublicKey(raw); err != nil {
			return nil, err
		}
		id := keyThumbprint(raw)
		if seen[id] {
			continue
		}
		seen[id] = true
		set.Keys = append(set.Keys, publishedKey{
			Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(raw), ID: id, Use: "sig", Alg: "EdDSA",
		})
	}
	return json.Marshal(set)
}

// keyThumbprint is that of RFC 7638 and RFC 8037: the hash of the required members in the order of their names.
func keyThumbprint(public []byte) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
