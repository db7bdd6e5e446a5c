package hookgate

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// How a key ring is stored: one byte that says whether it is sealed, then the ring.
const (
	ringSealed = 's'
	ringPlain  = 'p'
)

// keyRing is the secrets of one endpoint, opened. It is never edited.
type keyRing struct {
	keys   []ringKey // the newest first; one that is scheduled is the newest
	header hidden[map[string]string]

	credentials *credentials // of Endpoint.Auth and Endpoint.TLS; nil: they ask for nothing

	// What to sign with: first until the first of later begins, and so on. Most rings have one key that never changes,
	// which needs no memory of its own.
	first []signing.Secret
	later []ringPhase
	one   [1]signing.Secret // room for first
}

// ringPhase is a time from which on these secrets are the ones to sign with, the newest first.
type ringPhase struct {
	from    time.Time
	secrets []signing.Secret
}

// ringKey is a signing secret and the time in which it signs: from from, or from ever if that is zero, to expires, or for
// good. Both are whole seconds once they were stored.
type ringKey struct {
	id      string
	secret  signing.Secret
	created time.Time
	from    time.Time
	expires time.Time
	used    time.Time // as far as it was written
}

func (k *ringKey) active(now time.Time) bool {
	return !now.Before(k.from) && (k.expires.IsZero() || now.Before(k.expires))
}

// start is when a key begins to sign. A key without a from does so since it was made.
func (k *ringKey) start() time.Time {
	if k.from.IsZero() {
		return k.created
	}
	return k.from
}

// ringDoc is a key ring as it is sealed. Nobody reads it there and every endpoint's is held in memory, so names are short.
type ringDoc struct {
	Keys        []ringKeyDoc      `json:"k"`
	Header      map[string]string `json:"h,omitempty"`
	Credentials *credentialsDoc   `json:"p,omitempty"`
}

// ringKeyDoc has its times in unix seconds; 0 is no time.
type ringKeyDoc struct {
	ID      string `json:"i"`
	Secret  string `json:"s"`
	Created int64  `json:"c"`
	From    int64  `json:"f,omitempty"`
	Expires int64  `json:"e,omitempty"`
	Used    int64  `json:"u,omitempty"`
}

func newRing(keys []ringKey, header map[string]string) *keyRing {
	r := &keyRing{keys: keys}
	if len(header) > 0 {
		r.header = hide(header)
	}
	var turns []time.Time // when what is active changes
	for i := range keys {
		for _, t := range [...]time.Time{keys[i].from, keys[i].expires} {
			if !t.IsZero() {
				turns = append(turns, t)
			}
		}
	}
	if len(turns) == 0 {
		r.first = r.one[:0]
		for i := range keys {
			r.first = append(r.first, keys[i].secret)
		}
		return r
	}
	slices.SortFunc(turns, time.Time.Compare)
	turns = slices.CompactFunc(turns, time.Time.Equal)
	r.first = r.secretsAt(turns[0].Add(-1))
	for _, t := range turns {
		r.later = append(r.later, ringPhase{t, r.secretsAt(t)})
	}
	return r
}

func (r *keyRing) secretsAt(now time.Time) []signing.Secret {
	var out []signing.Secret
	for i := range r.keys {
		if r.keys[i].active(now) {
			out = append(out, r.keys[i].secret)
		}
	}
	return out[:len(out):len(out)]
}

// active answers the secrets to sign with, the newest first. It is asked at every attempt, so it looks up what newRing
// prepared. The slice is shared.
func (r *keyRing) active(now time.Time) []signing.Secret {
	for i := len(r.later) - 1; i >= 0; i-- {
		if !now.Before(r.later[i].from) {
			return r.later[i].secrets
		}
	}
	return r.first[:len(r.first):len(r.first)]
}

// most is how many keys are active at the worst of all times from now on.
func (r *keyRing) most(now time.Time) int {
	n := len(r.active(now))
	for _, p := range r.later {
		if p.from.After(now) {
			n = max(n, len(p.secrets))
		}
	}
	return n
}

// withKeys answers the ring with other keys and all else as it is.
func (r *keyRing) withKeys(keys []ringKey) *keyRing {
	return newRing(keys, r.header.reveal()).with(r.credentials)
}

// living answers the keys that sign now or will.
func (r *keyRing) living(now time.Time) []ringKey {
	out := make([]ringKey, 0, len(r.keys)+1)
	for _, k := range r.keys {
		if k.expires.IsZero() || now.Before(k.expires) {
			out = append(out, k)
		}
	}
	return out
}

// scheduled answers the start of the next key that does not sign yet; zero: there is none.
func (r *keyRing) scheduled(now time.Time) (first time.Time) {
	for _, k := range r.living(now) {
		if k.from.After(now) && (first.IsZero() || k.from.Before(first)) {
			first = k.from
		}
	}
	return first
}

// rotate makes a ring with a further key. The others end overlap after it begins, at the latest.
func (r *keyRing) rotate(key ringKey, overlap time.Duration, now time.Time) *keyRing {
	keys := []ringKey{key}
	begins := now
	if key.from.After(now) {
		begins = key.from
	}
	for _, k := range r.living(now) {
		if end := begins.Add(max(overlap, 0)); k.expires.IsZero() || end.Before(k.expires) {
			k.expires = end
		}
		if now.Before(k.expires) {
			keys = append(keys, k)
		}
	}
	return r.withKeys(keys)
}

// errLastKey: a ring without a key cannot sign.
var errLastKey = fmt.Errorf("%w: it is the only active secret of the endpoint: make another with RotateSecret first, or use a negative overlap there", ErrConflict)

// expire makes a ring without a key. Where the others would leave a time with no key, the newest that is active now stays
// until then.
func (r *keyRing) expire(id string, now time.Time) (*keyRing, error) {
	keys := r.living(now)
	i := slices.IndexFunc(keys, func(k ringKey) bool { return k.id == id })
	if i < 0 {
		return nil, ErrNotFound
	}
	keys = slices.Delete(keys, i, i+1)
	rest := r.withKeys(keys)
	newest := slices.IndexFunc(keys, func(k ringKey) bool { return k.active(now) })
	if newest < 0 {
		return nil, errLastKey
	}
	needed := rest.scheduled(now) // zero: for good
	if !slices.ContainsFunc(keys, func(k ringKey) bool {
		return k.active(now) && (k.expires.IsZero() || !needed.IsZero() && !k.expires.Before(needed))
	}) {
		keys[newest].expires = needed
	}
	return r.withKeys(keys), nil
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
	doc := ringDoc{Header: r.header.reveal(), Credentials: r.credentials.doc()}
	for _, k := range r.keys {
		doc.Keys = append(doc.Keys, ringKeyDoc{
			ID: k.id, Secret: k.secret.Reveal(), Created: k.created.Unix(),
			From: seconds(k.from), Expires: seconds(k.expires), Used: seconds(k.used),
		})
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
			return nil, fmt.Errorf("open the secrets of the endpoint: %w", &keeperError{err})
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
		keys = append(keys, ringKey{
			id: kd.ID, secret: signing.NewSecret(kd.Secret), created: time.Unix(kd.Created, 0),
			from: ofSeconds(kd.From), expires: ofSeconds(kd.Expires), used: ofSeconds(kd.Used),
		})
	}
	return newRing(keys, doc.Header).with(doc.Credentials.open()), nil
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func ofSeconds(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0)
}

// otherKey reports whether a stored ring was sealed with a key that the sealer of the folder does not have.
func (g *Gateway) otherKey(stored string) bool {
	s, ok := g.sealer.(interface{ otherKey(sealed []byte) bool })
	return ok && len(stored) > 0 && stored[0] == ringSealed && s.otherKey([]byte(stored[1:]))
}
