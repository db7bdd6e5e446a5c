package hookgate

import (
	"context"
	"fmt"
	"time"
)

// The secrets of an endpoint: its signing keys, the values of its headers, and what it has for Auth and TLS. They are stored
// sealed, in the endpoint's own document, so that an endpoint and its secrets are changed by one compare-and-swap and
// deleted as one.

// maxKeys is how many keys of an endpoint may be active at a time. Each adds a signature to every request.
const maxKeys = 8

// defaultOverlap is how long old secrets stay active after a rotation.
const defaultOverlap = 24 * time.Hour

// SecretInfo tells of a signing secret without telling it.
type SecretInfo struct {
	// ID tells the secrets of an endpoint apart.
	ID string

	Created time.Time

	// From is when it begins to sign, by the clock of this machine: when it was made, or the time that it is scheduled for.
	From time.Time

	// Expires is when it stops signing; zero for one that has no end, such as the newest.
	Expires time.Time

	// LastUsed is when an attempt was last signed with it, as far as this process knows: its own attempts since it was
	// opened, and what was written when the endpoint's secrets were last changed. Other processes on the same store, and
	// a restart, are not seen. It is for finding out what is surely used, not for proving that something is not. Zero: not
	// that we know.
	LastUsed time.Time
}

// Active reports whether the secret signs at a time.
func (i SecretInfo) Active(t time.Time) bool {
	return !t.Before(i.From) && (i.Expires.IsZero() || t.Before(i.Expires))
}

// Rotation is how the signing secret of an endpoint is replaced. The zero value is RotateSecret with the usual overlap.
type Rotation struct {
	// Secret is one of your own. Zero: a new one is made.
	Secret Secret

	// From is when the new secret begins to sign, in whole seconds, at most a year from now. Zero, or a time that has
	// passed: now.
	From time.Time

	// Overlap is how long the old secrets go on signing beside it, counted from From. 0: 24 hours. Negative: they end
	// when it begins.
	Overlap time.Duration
}

// Secrets lists an endpoint's signing secrets that are active or scheduled, the newest first, without telling them.
func (g *Gateway) Secrets(ctx context.Context, tenant, id string) ([]SecretInfo, error) {
	t, ring, err := g.readRing(ctx, tenant, id)
	if err != nil {
		return nil, edge("list secrets", err)
	}
	used := t.lastUsed()
	var out []SecretInfo
	for _, k := range ring.living(time.Now()) {
		k.use(used)
		out = append(out, SecretInfo{ID: k.id, Created: k.created, From: k.start(), Expires: k.expires, LastUsed: k.used})
	}
	return out, nil
}

// RotateSecret makes a new signing secret for an endpoint and answers it, this once. Requests are signed with the new one
// first, and with those that were active before until overlap is over, so that the receiver can change at leisure. Overlap
// 0 means 24 hours; negative ends all others at once, scheduled ones too, for a secret that is known to others.
//
// At most 8 secrets are active at a time; ErrConflict says that old ones have to end first, or that another rotation is
// scheduled already.
func (g *Gateway) RotateSecret(ctx context.Context, tenant, id string, overlap time.Duration) (Secret, error) {
	s, err := g.rotate(ctx, tenant, id, Rotation{Overlap: overlap}, "RotateSecret")
	return s, edge("rotate secret", err)
}

// ImportSecret is RotateSecret with a secret of your own in the place of a new one.
func (g *Gateway) ImportSecret(ctx context.Context, tenant, id string, secret Secret, overlap time.Duration) error {
	if secret.IsZero() {
		return configError("ImportSecret", "the secret is empty")
	}
	_, err := g.rotate(ctx, tenant, id, Rotation{Secret: secret, Overlap: overlap}, "ImportSecret")
	return edge("rotate secret", err)
}

// ScheduleSecret is RotateSecret for a time to come, and answers the new secret now, this once: give it to the receiver
// before r.From. Until then requests are signed as before; from then on with the new one first. It is stored, so it happens
// whoever runs by then. ExpireSecret takes it back.
//
// One rotation can be scheduled at a time; ErrConflict says that there is one.
func (g *Gateway) ScheduleSecret(ctx context.Context, tenant, id string, r Rotation) (Secret, error) {
	s, err := g.rotate(ctx, tenant, id, r, "Rotation.Secret")
	return s, edge("schedule secret", err)
}

func (g *Gateway) rotate(ctx context.Context, tenant, id string, r Rotation, field string) (Secret, error) {
	if r.Overlap == 0 {
		r.Overlap = defaultOverlap
	}
	if wait := time.Until(r.From); !r.From.IsZero() && wait > maxWait {
		return Secret{}, configError("Rotation.From", "%v from now is more than a year", wait.Round(time.Hour))
	}
	secret := r.Secret
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
			return configError(field, "%w", err)
		}
		now := time.Now()
		key := newRingKey(secret, now)
		if from := r.From.Truncate(time.Second); from.After(now) {
			key.from = from
		}
		old, err := ring.open()
		if err != nil {
			// Keys that cannot be read cannot be kept. Header values, Auth and TLS are lost with them; UpdateEndpoint gives new ones.
			switch {
			case r.Overlap > 0 || !key.from.IsZero():
				return err
			case mayComeBack(err) && (len(ep.Header) > 0 || ep.Auth != nil || ep.TLS != nil):
				return fmt.Errorf("%w; Header, Auth and TLS would be lost: try again later, or give them all to UpdateEndpoint with a new secret", err)
			}
			old = newRing(nil, nil)
			ep.Header, ep.Auth, ep.TLS = nil, nil, nil
		}
		next, err := old.replace(key, r.Overlap, now)
		if err != nil {
			return err
		}
		return ring.set(next)
	})
	if err != nil {
		return Secret{}, err
	}
	return secret, nil
}

// replace is rotate with its rules: one rotation is scheduled at a time, and not too many keys sign.
func (r *keyRing) replace(key ringKey, overlap time.Duration, now time.Time) (*keyRing, error) {
	if at := r.scheduled(now); !at.IsZero() && (overlap > 0 || !key.from.IsZero()) {
		return nil, fmt.Errorf("%w: a rotation is scheduled for %s; take it back with ExpireSecret, or use RotateSecret with a negative overlap to end all others now",
			ErrConflict, at.UTC().Format(time.RFC3339))
	}
	next := r.rotate(key, overlap, now)
	if n := next.most(now); n > maxKeys {
		return nil, fmt.Errorf("%w: %d secrets would be active, the limit is %d; wait until one ends, or use a negative overlap", ErrConflict, n, maxKeys)
	}
	return next, nil
}

// ExpireSecret ends one of an endpoint's secrets now, whether it is active or scheduled; Secrets has their IDs. If what is
// left would end before another begins, the newest that is active takes its place and goes on.
//
// The last active secret cannot be ended: that is ErrConflict. ErrNotFound: there is no such secret any more.
func (g *Gateway) ExpireSecret(ctx context.Context, tenant, id, secretID string) error {
	err := g.changeEndpoint(ctx, tenant, id, func(_ *Endpoint, ring *storedRing) error {
		old, err := ring.open()
		if err != nil {
			return err
		}
		next, err := old.expire(secretID, time.Now())
		if err != nil {
			return err
		}
		return ring.set(next)
	})
	return edge("expire secret", err)
}

// use notes that an attempt was signed at a time, if the key signed then.
func (k *ringKey) use(at time.Time) {
	if at.After(k.used) && !at.Before(k.start()) && (k.expires.IsZero() || at.Before(k.expires)) {
		k.used = at
	}
}

// noteUse keeps when the target's secrets last signed, to the second. It is called for every attempt.
func (t *target) noteUse(now time.Time) {
	if s := now.Unix(); s > t.used.Load() {
		t.used.Store(s)
	}
}

func (t *target) lastUsed() time.Time { return ofSeconds(t.used.Load()) }
