package hookgate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// The secrets of an endpoint: its signing keys and the values of its headers. They are stored sealed, in the endpoint's own
// document, so that an endpoint and its secrets are changed by one compare-and-swap and deleted as one.

// maxKeys is how many keys of an endpoint may be active at a time. Each adds a signature to every request.
const maxKeys = 8

// defaultOverlap is how long old secrets stay active after a rotation.
const defaultOverlap = 24 * time.Hour

// maxRings is how many opened key rings are kept. An opened ring saves a decryption, or a call to wherever a custom Sealer
// keeps its key, for each attempt.
const maxRings = 16384

// How a key ring is stored: one byte that says whether it is sealed, then the ring.
const (
	ringSealed = 's'
	ringPlain  = 'p'
)

// SecretInfo tells of a signing secret without telling it.
type SecretInfo struct {
	// ID tells the secrets of an endpoint apart.
	ID string

	Created time.Time

	// Expires is when it stops being active, by the clock of this machine; zero for the newest.
	Expires time.Time
}

// keyRing is the secrets of one endpoint, opened. It is never edited.
type keyRing struct {
	keys   []ringKey // newest first
	header map[string]string

	all []signing.Secret  // of keys
	one [1]signing.Secret // room for all, nearly always enough
	end time.Time         // when the first of keys expires; zero: none does
}

type ringKey struct {
	id      string
	secret  signing.Secret
	created time.Time
	expires time.Time
}

// ringDoc is a key ring as it is sealed. Nobody reads it there and every endpoint's is held in memory, so names are short.
type ringDoc struct {
	Keys   []ringKeyDoc      `json:"k"`
	Header map[string]string `json:"h,omitempty"`
}

type ringKeyDoc struct {
	ID      string `json:"i"`
	Secret  string `json:"s"`
	Created int64  `json:"c"` // unix seconds
	Expires int64  `json:"e,omitempty"`
}

func newRing(keys []ringKey, header map[string]string) *keyRing {
	r := &keyRing{keys: keys, header: header}
	r.all = r.one[:0]
	for _, k := range keys {
		r.all = append(r.all, k.secret)
		if !k.expires.IsZero() && (r.end.IsZero() || k.expires.Before(r.end)) {
			r.end = k.expires
		}
	}
	return r
}

// active answers the secrets to sign with, the newest first.
func (r *keyRing) active(now time.Time) []signing.Secret {
	if r.end.IsZero() || now.Before(r.end) {
		return r.all[:len(r.all):len(r.all)]
	}
	var out []signing.Secret
	for _, k := range r.activeKeys(now) {
		out = append(out, k.secret)
	}
	return out
}

func (r *keyRing) activeKeys(now time.Time) []ringKey {
	out := make([]ringKey, 0, len(r.keys)+1)
	for _, k := range r.keys {
		if k.expires.IsZero() || now.Before(k.expires) {
			out = append(out, k)
		}
	}
	return out
}

// rotate makes a ring whose newest key is secret. The others end after overlap at the latest.
func (r *keyRing) rotate(secret signing.Secret, overlap time.Duration, now time.Time) *keyRing {
	keys := []ringKey{newRingKey(secret, now)}
	for _, k := range r.activeKeys(now) {
		if end := now.Add(overlap); k.expires.IsZero() || end.Before(k.expires) {
			k.expires = end
		}
		if now.Before(k.expires) {
			keys = append(keys, k)
		}
	}
	return newRing(keys, r.header)
}

func newRingKey(secret signing.Secret, now time.Time) ringKey {
	var id [6]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic("hookgate: no randomness: " + err.Error()) // crypto/rand never fails
	}
	return ringKey{id: hex.EncodeToString(id[:]), secret: secret, created: now}
}

// ringContext is where a ring belongs. A ring that somebody moves to another endpoint in the store cannot be opened
// there. An ID has no slash, so no two endpoints have the same.
func ringContext(tenant, id string) string { return "secret:" + tenant + "/" + id }

// sealRing makes of a ring what is stored.
func (g *Gateway) sealRing(tenant, id string, r *keyRing) (string, error) {
	doc := ringDoc{Header: r.header}
	for _, k := range r.keys {
		kd := ringKeyDoc{ID: k.id, Secret: k.secret.Reveal(), Created: k.created.Unix()}
		if !k.expires.IsZero() {
			kd.Expires = k.expires.Unix()
		}
		doc.Keys = append(doc.Keys, kd)
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		return "", errors.New("the key ring cannot be encoded")
	}
	if g.sealer == nil {
		if !g.cfg.PlainSecrets {
			return "", configError("Config.Sealer", "is needed to store a secret: set one, or PlainSecrets to store secrets as they are")
		}
		return string(ringPlain) + string(plain), nil
	}
	defer clear(plain)
	sealed, err := g.sealer.Seal(plain, ringContext(tenant, id))
	if err != nil {
		return "", fmt.Errorf("seal the secrets of the endpoint: %w", err)
	}
	return string(ringSealed) + string(sealed), nil
}

// openRing is the way back. Errors say what to do and nothing of what is in the ring.
func (g *Gateway) openRing(tenant, id, stored string) (*keyRing, error) {
	if len(stored) == 0 {
		return nil, errors.New("the endpoint has no secrets: make one with RotateSecret and a negative overlap")
	}
	plain := []byte(stored[1:])
	switch {
	case stored[0] == ringSealed && g.sealer == nil:
		return nil, configError("Config.Sealer", "is needed to open stored secrets: set the one that sealed them")
	case stored[0] == ringSealed:
		var err error
		if plain, err = g.sealer.Open(plain, ringContext(tenant, id)); err != nil {
			return nil, fmt.Errorf("open the secrets of the endpoint: %w", err)
		}
	case stored[0] != ringPlain:
		return nil, errors.New("the secrets of the endpoint were stored by another version")
	case !g.cfg.PlainSecrets:
		// Otherwise whoever can write to the store could put a secret of his own in the place of a sealed one.
		return nil, configError("Config.PlainSecrets", "is needed to read a secret that was stored as it is: set it, beside a Sealer, until all are rotated")
	}
	var doc ringDoc
	if err := json.Unmarshal(plain, &doc); err != nil {
		return nil, errors.New("the secrets of the endpoint are damaged: make one with RotateSecret and a negative overlap")
	}
	keys := make([]ringKey, 0, len(doc.Keys))
	for _, kd := range doc.Keys {
		k := ringKey{id: kd.ID, secret: signing.NewSecret(kd.Secret), created: time.Unix(kd.Created, 0)}
		if kd.Expires != 0 {
			k.expires = time.Unix(kd.Expires, 0)
		}
		keys = append(keys, k)
	}
	return newRing(keys, doc.Header), nil
}

// otherKey reports whether a stored ring was sealed with a key that the sealer of the folder does not have.
func (g *Gateway) otherKey(stored string) bool {
	s, ok := g.sealer.(*aesSealer)
	return ok && len(stored) > 0 && stored[0] == ringSealed && s.otherKey([]byte(stored[1:]))
}

// ringCache says which targets have their key ring open: some of them, not all that were ever sent something. A ring belongs
// to a target, and a change of the endpoint makes another target, so what is open is never out of date.
type ringCache struct {
	mu   sync.Mutex
	open []*target // nil: a free place
	next int       // the place that is used next when there are as many as there may be
}

// keep lets a target have its ring, in the place of the one that has had its own for longest.
func (c *ringCache) keep(t *target, r *keyRing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.opened.Load() != nil || t.g.view.target(t.destination) != t {
		return // somebody else opened it, or the endpoint was changed meanwhile
	}
	if len(c.open) < maxRings {
		t.place = len(c.open)
		c.open = append(c.open, t)
	} else {
		if old := c.open[c.next]; old != nil {
			old.opened.Store(nil)
		}
		t.place = c.next
		c.open[c.next] = t
		c.next = (c.next + 1) % maxRings
	}
	t.opened.Store(r)
}

func (c *ringCache) forget(t *target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.opened.Load() != nil {
		c.open[t.place] = nil
		t.opened.Store(nil)
	}
}

// Secrets lists an endpoint's signing secrets that are active, the newest first, without telling them.
func (g *Gateway) Secrets(ctx context.Context, tenant, id string) ([]SecretInfo, error) {
	_, ring, err := g.readRing(ctx, tenant, id)
	if err != nil {
		return nil, edge("list secrets", err)
	}
	var out []SecretInfo
	for _, k := range ring.activeKeys(time.Now()) {
		out = append(out, SecretInfo{ID: k.id, Created: k.created, Expires: k.expires})
	}
	return out, nil
}

// RotateSecret makes a new signing secret for an endpoint and answers it, this once. Requests are signed with the new one
// first, and with those that were active before until overlap is over, so that the receiver can change at leisure. Overlap
// 0 means 24 hours; negative ends the old ones at once, for a secret that is known to others.
//
// At most 8 secrets are active at a time; ErrConflict says that old ones have to end first.
func (g *Gateway) RotateSecret(ctx context.Context, tenant, id string, overlap time.Duration) (Secret, error) {
	return g.rotate(ctx, tenant, id, Secret{}, overlap)
}

// ImportSecret is RotateSecret with a secret of your own in the place of a new one.
func (g *Gateway) ImportSecret(ctx context.Context, tenant, id string, secret Secret, overlap time.Duration) error {
	if secret.IsZero() {
		return configError("ImportSecret", "the secret is empty")
	}
	_, err := g.rotate(ctx, tenant, id, secret, overlap)
	return err
}

func (g *Gateway) rotate(ctx context.Context, tenant, id string, secret Secret, overlap time.Duration) (Secret, error) {
	if overlap == 0 {
		overlap = defaultOverlap
	}
	err := g.changeEndpoint(ctx, tenant, id, func(ep *Endpoint, ring *storedRing) error {
		signer, err := g.signerOf(ep.Signer)
		if err != nil {
			return err
		}
		if secret.IsZero() {
			if secret = signer.NewSecret(); secret.IsZero() {
				return configError("Endpoint.Signer", "signs with no secret: there is nothing to rotate")
			}
		} else if err := signer.CheckSecret(secret); err != nil {
			return configError("ImportSecret", "%w", err)
		}
		old, err := ring.open()
		if err != nil {
			// Keys that cannot be read cannot be kept. Header values are lost with them; UpdateEndpoint gives new ones.
			if overlap > 0 {
				return err
			}
			old = newRing(nil, nil)
			ep.Header = nil
		}
		now := time.Now()
		next := old.rotate(secret, overlap, now)
		if len(next.keys) > maxKeys {
			return fmt.Errorf("%w: %d secrets would be active, the limit is %d; wait until one ends, or use a negative overlap", ErrConflict, len(next.keys), maxKeys)
		}
		return ring.set(next)
	})
	if err != nil {
		return Secret{}, edge("rotate secret", err)
	}
	return secret, nil
}
