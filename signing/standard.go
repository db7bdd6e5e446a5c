package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// StandardWebhooks signs as Standard Webhooks has it, with the headers Webhook-Id, Webhook-Timestamp and
// Webhook-Signature. A secret of "whsec_" and base64, or of base64 alone, signs with HMAC-SHA256 (version 1); its key has
// 24 to 64 bytes. One of "whsk_" and base64 signs with Ed25519 (version 1a), see NewEd25519Secret. Each secret makes
// one signature; they stand in the order of the secrets, with a space between them.
//
// The ID must not be empty, nor have a dot, a space or a control character in it: the dot is what separates it from
// the timestamp in what is signed.
var StandardWebhooks Signer = standardSigner{}

type standardSigner struct{}

// signingKey is a secret made ready for signing.
type signingKey struct {
	mac     macKey
	private ed25519.PrivateKey
	err     error
}

// signer gives the key, which is made once and lives as long as the secret.
func (s Secret) signer() *signingKey {
	if s.p == nil {
		return &signingKey{err: errors.New("is empty; make one with NewSecret")}
	}
	p := *s.p
	if k := p.signer.Load(); k != nil {
		return k
	}
	k := makeSigningKey(p.text)
	p.signer.Store(k)
	return k
}

func makeSigningKey(text string) *signingKey {
	fail := func(err error) *signingKey { return &signingKey{err: err} }
	if strings.HasPrefix(text, prefixPublic) {
		return fail(errors.New("is a public key (whpk_), which only verifies; sign with the private one (whsk_)"))
	}
	if rest, ok := strings.CutPrefix(text, prefixPrivate); ok {
		private, err := decodePrivate(rest)
		return &signingKey{private: private, err: err}
	}
	raw, err := decodeBase64(strings.TrimPrefix(text, prefixHMAC))
	if err != nil {
		return fail(err)
	}
	if len(raw) < minStandardKey || len(raw) > maxStandardKey {
		return fail(fmt.Errorf("has a key of %d bytes and must have %d to %d; make one with NewSecret", len(raw), minStandardKey, maxStandardKey))
	}
	mac, err := newMACKey(kindSHA256, raw)
	if err != nil {
		return fail(err)
	}
	return &signingKey{mac: *mac}
}

// decodePrivate reads the seed and the public key that follow "whsk_".
func decodePrivate(text string) (ed25519.PrivateKey, error) {
	raw, err := decodeBase64(text)
	if err != nil {
		return nil, err
	}
	if len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("has %d bytes, a private key has %d: seed and public key; make one with NewEd25519Secret", len(raw), ed25519.PrivateKeySize)
	}
	private := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	// A signature under a public key that does not belong to the seed gives the seed away.
	if subtle.ConstantTimeCompare(private, raw) == 0 {
		return nil, errors.New("holds a public key that does not belong to its private one; copy it again, all of it")
	}
	return private, nil
}

// CheckSecret says whether Sign can use a secret.
func (standardSigner) CheckSecret(s Secret) error {
	if k := s.signer(); k.err != nil {
		return fmt.Errorf("signing: the secret %w", k.err)
	}
	return nil
}

// Headers lists the three headers.
func (standardSigner) Headers() []string {
	return []string{"Webhook-Id", "Webhook-Signature", "Webhook-Timestamp"}
}

// NewSecret makes "whsec_" and the base64 of 32 random bytes.
func (standardSigner) NewSecret() Secret {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return NewSecret(prefixHMAC + base64.StdEncoding.EncodeToString(raw))
}

// NewEd25519Secret makes a private key for StandardWebhooks: "whsk_" and the base64 of its seed and public key.
// Receivers verify with its PublicKey.
func NewEd25519Secret() Secret {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	return NewSecret(prefixPrivate + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed)))
}

// PublicKey gives the public key that belongs to a "whsk_" secret: "whpk_" and base64. It is no secret.
func PublicKey(s Secret) (string, error) {
	k := s.signer()
	switch {
	case k.err != nil:
		return "", fmt.Errorf("signing: the secret %w", k.err)
	case k.private == nil:
		return "", errors.New("signing: the secret has no public key: only those with whsk_ have one, see NewEd25519Secret")
	}
	public := k.private[ed25519.SeedSize:]
	return prefixPublic + base64.StdEncoding.EncodeToString(public), nil
}

// writing is room for making headers, reused.
type writing struct {
	message []byte
	out     []byte
}

var writings = sync.Pool{New: func() any { return new(writing) }}

// Sign sets the three headers.
func (standardSigner) Sign(h http.Header, m Message, secrets []Secret) error {
	if err := checkID(m.ID); err != nil {
		return err
	}
	at, err := checkSigning(m, secrets)
	if err != nil {
		return err
	}

	w := writings.Get().(*writing)
	defer w.free()
	w.message = append(append(w.message[:0], m.ID...), '.')
	stamp := len(w.message)
	w.message = strconv.AppendInt(w.message, at.Unix(), 10)
	// One buffer holds the timestamp and all signatures, so that one string is made of it.
	w.out = append(w.out[:0], w.message[stamp:]...)
	stamp = len(w.out)
	w.message = append(w.message, '.')
	head := len(w.message)

	for i, secret := range secrets {
		k := secret.signer()
		if k.err != nil {
			return fmt.Errorf("signing: secret %d of %d %w", i+1, len(secrets), k.err)
		}
		if i > 0 {
			w.out = append(w.out, ' ')
		}
		if k.private != nil {
			if len(w.message) == head {
				w.message = append(w.message, m.Body...)
			}
			w.out = append(w.out, "v1a,"...)
			w.out = base64.StdEncoding.AppendEncode(w.out, ed25519.Sign(k.private, w.message))
			continue
		}
		if err := w.appendMAC(&k.mac, w.message[:head], m.Body); err != nil {
			return err
		}
	}

	text := string(w.out)
	values := [...]string{m.ID, text[:stamp], text[stamp:]}
	all := values[:]
	h["Webhook-Id"], h["Webhook-Timestamp"], h["Webhook-Signature"] = all[0:1:1], all[1:2:2], all[2:3:3]
	return nil
}

// appendMAC adds a signature of version 1.
func (w *writing) appendMAC(mac *macKey, head, body []byte) error {
	h := kindSHA256.get()
	defer kindSHA256.put(h)
	if !mac.begin(h) {
		return errors.New("signing: the hash function of this build cannot restore its state")
	}
	_, _ = h.Write(head)
	_, _ = h.Write(body)
	w.out = append(w.out, "v1,"...)
	w.out = base64.StdEncoding.AppendEncode(w.out, mac.end(h))
	return nil
}

// free gives the room back, unless a large body made it large.
func (w *writing) free() {
	if cap(w.message) > maxHeader {
		w.message = nil
	}
	writings.Put(w)
}

// checkSigning looks at what every signer needs, and answers the time to sign with.
func checkSigning(m Message, secrets []Secret) (at time.Time, err error) {
	switch {
	case len(secrets) == 0:
		return at, errors.New("signing: there is no secret to sign with; make one with NewSecret")
	case len(secrets) > maxSignatures:
		return at, fmt.Errorf("signing: %d secrets are given, %d is the most; drop the expired ones", len(secrets), maxSignatures)
	}
	if at = m.Time; at.IsZero() {
		at = time.Now()
	}
	if at.Unix() < 0 {
		return at, errors.New("signing: Message.Time is before 1970; set it to the time of the attempt")
	}
	return at, nil
}

func checkID(id string) error {
	if id == "" || len(id) > 512 {
		return errors.New("signing: Message.ID must have 1 to 512 bytes: set it to the event's ID")
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c == '.' || c >= 0x7f {
			return errors.New("signing: Message.ID must not have dots, spaces or control characters, and be ASCII: use the event's ID")
		}
	}
	return nil
}
