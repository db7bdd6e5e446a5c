package hookgate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

// The causes for which an endpoint is held, beside causeAsked. Each has one owner, who alone opens it.
const (
	causePaused   = "paused"   // a person
	causeDisabled = "disabled" // a person, or the receiver with 410
)

// holdCauses are all that an endpoint's Holds may tell of.
var holdCauses = []string{causePaused, causeDisabled, causeAsked, "breaker", "slow start"}

// CreateEndpoint adds an endpoint and answers it as it is stored, together with its signing secret, this once: give it to
// the receiver. Secrets of your own, the newest first, take the place of a new one; all of them are active, and the
// first is answered. An endpoint whose signer is "none" has no secret, and the zero Secret is answered.
//
// Mistakes are a *ConfigError that names the field. An ID that exists is ErrConflict. The endpoint gets the events that are
// accepted from now on.
func (g *Gateway) CreateEndpoint(ctx context.Context, ep Endpoint, secrets ...Secret) (*Endpoint, Secret, error) {
	made, secret, err := g.createEndpoint(ctx, ep.clone(), secrets)
	if err != nil {
		return nil, Secret{}, edge("create endpoint", err)
	}
	return made, secret, nil
}

func (g *Gateway) createEndpoint(ctx context.Context, ep *Endpoint, secrets []Secret) (*Endpoint, Secret, error) {
	if ep.ID == "" {
		ep.ID = strings.ToLower(rand.Text())
	}
	if ep.Version != 0 {
		return nil, Secret{}, configError("Endpoint.Version", "is set: this endpoint exists; use UpdateEndpoint, or leave it 0 for a copy")
	}
	if err := g.checkEndpoint(ep); err != nil {
		return nil, Secret{}, err
	}
	for name, value := range ep.Header {
		if value == redacted {
			return nil, Secret{}, configError("Endpoint.Header", "the value of %s is REDACTED: it was lost when the endpoint was read; put the real one in", textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	keys, err := g.ownKeys(ep.Signer, secrets)
	if err != nil {
		return nil, Secret{}, err
	}
	if len(keys) == 0 {
		signer, err := g.signerOf(ep.Signer)
		if err != nil {
			return nil, Secret{}, err
		}
		if secret := signer.NewSecret(); !secret.IsZero() {
			keys = []ringKey{newRingKey(secret, time.Now())}
		}
	}
	ring := &storedRing{g: g, tenant: ep.Tenant, id: ep.ID}
	ep.Header = canonicalHeader(ep.Header)
	p, err := g.mergeCredentials(ep, &Endpoint{}, nil)
	if err != nil {
		return nil, Secret{}, err
	}
	if err := ring.set(newRing(keys, ep.Header).with(p)); err != nil {
		return nil, Secret{}, err
	}
	ep.Created, ep.Disabled = time.Now(), false

	d := endpointDestination(ep.Tenant, ep.ID)
	unlock := g.view.lock(d)
	made, err := g.writeEndpoint(ctx, ep, ring.stored, 0)
	err = g.view.settled(ctx, d, err)
	unlock()
	if err != nil {
		if errors.Is(err, ErrConflict) {
			err = fmt.Errorf("%w: there is an endpoint %s already", ErrConflict, ep.ID)
		}
		return nil, Secret{}, err
	}
	g.view.changed(ctx)
	if len(keys) == 0 {
		return made, Secret{}, nil
	}
	return made, keys[0].secret, nil
}

// ownKeys makes keys of the secrets that the caller brought.
func (g *Gateway) ownKeys(signerName string, secrets []Secret) ([]ringKey, error) {
	if len(secrets) > maxKeys {
		return nil, configError("secrets", "%d are more than %d", len(secrets), maxKeys)
	}
	signer, err := g.signerOf(signerName)
	if err != nil {
		return nil, err
	}
	var keys []ringKey
	for i, s := range secrets {
		if s.IsZero() {
			return nil, configError(fmt.Sprintf("secrets[%d]", i), "is empty")
		}
		if err := signer.CheckSecret(s); err != nil {
			return nil, configError(fmt.Sprintf("secrets[%d]", i), "%w", err)
		}
		keys = append(keys, newRingKey(s, time.Now()))
	}
	return keys, nil
}

func canonicalHeader(header map[string]string) map[string]string {
	if len(header) == 0 {
		return nil
	}
	out := make(map[string]string, len(header))
	for name, value := range header {
		out[textproto.CanonicalMIMEHeaderKey(name)] = value
	}
	return out
}

// Endpoint answers one endpoint with its holds. One of another tenant is ErrNotFound like one that never was.
func (g *Gateway) Endpoint(ctx context.Context, tenant, id string) (*Endpoint, error) {
	ep, err := g.readEndpoint(ctx, tenant, id)
	if err != nil {
		return nil, edge("read endpoint", err)
	}
	return ep, nil
}

func (g *Gateway) readEndpoint(ctx context.Context, tenant, id string) (*Endpoint, error) {
	if err := oneTenant(tenant); err != nil {
		return nil, err
	}
	doc, err := g.view.readDoc(ctx, endpointDestination(tenant, id))
	if err != nil {
		return nil, err
	}
	ep, _, err := decodeEndpoint(doc)
	if err != nil {
		return nil, err
	}
	if err := g.readHolds(ctx, []*Endpoint{ep}); err != nil {
		return nil, err
	}
	return ep, nil
}

// Endpoints lists a tenant's endpoints, or those of AllTenants, by tenant and ID.
func (g *Gateway) Endpoints(ctx context.Context, tenant string, page Paging) (Page[*Endpoint], error) {
	var out Page[*Endpoint]
	docs, err := g.store.Docs(ctx, store.DocQuery{Kind: kindEndpoint, Tenant: tenant, Page: page})
	if err != nil {
		return out, edge("list endpoints", err)
	}
	out.Next, out.Scanned = docs.Next, docs.Scanned
	for i := range docs.Items {
		ep, _, err := decodeEndpoint(&docs.Items[i])
		if err != nil {
			return Page[*Endpoint]{}, edge("list endpoints", err)
		}
		out.Items = append(out.Items, ep)
	}
	if err := g.readHolds(ctx, out.Items); err != nil {
		return Page[*Endpoint]{}, edge("list endpoints", err)
	}
	return out, nil
}

// UpdateEndpoint replaces what an endpoint is, if it still has the Version that the caller read; otherwise it is ErrConflict:
// read it again and repeat. Header values and parts of Auth and TLS that are REDACTED stay as they are stored. Secrets, if
// any are given, take the place of all that there were; RotateSecret is the gentle way. A change to the signer "none"
// drops them. Deliveries that are pending go to the new URL.
//
// An update that brings secrets and all values of Header, Auth and TLS needs nothing of what is stored: it is the way out if
// that cannot be opened any more.
func (g *Gateway) UpdateEndpoint(ctx context.Context, ep Endpoint, secrets ...Secret) (*Endpoint, error) {
	made, err := g.updateEndpoint(ctx, ep.clone(), secrets)
	if err != nil {
		return nil, edge("update endpoint", err)
	}
	return made, nil
}

func (g *Gateway) updateEndpoint(ctx context.Context, ep *Endpoint, secrets []Secret) (*Endpoint, error) {
	if ep.Version == 0 {
		return nil, configError("Endpoint.Version", "is 0: give the one of the endpoint as you read it")
	}
	if err := g.checkEndpoint(ep); err != nil {
		return nil, err
	}
	keys, err := g.ownKeys(ep.Signer, secrets)
	if err != nil {
		return nil, err
	}
	ep.Header = canonicalHeader(ep.Header) // encodeEndpoint stores the names alone
	if t := g.view.target(endpointDestination(ep.Tenant, ep.ID)); t != nil && changesRing(t.endpoint, ep, keys) {
		g.warmUp(ep.Tenant, ep.ID)
	}
	var made *Endpoint
	err = g.changeOnce(ctx, ep.Tenant, ep.ID, func(t *target) error {
		if t.endpoint.Version != ep.Version {
			return ErrConflict
		}
		if t.broken != nil {
			return t.broken
		}
		ring := t.storedRing()
		if err := g.updateRing(ring, t.endpoint, ep, keys); err != nil {
			return err
		}
		ep.Created, ep.Disabled = t.endpoint.Created, t.endpoint.Disabled
		made, err = g.writeEndpoint(ctx, ep, ring.stored, ep.Version)
		return err
	})
	if errors.Is(err, ErrConflict) {
		err = fmt.Errorf("%w: the endpoint %s was changed since you read it: read it again", ErrConflict, ep.ID)
	}
	return made, err
}

// changesRing reports whether an update changes anything in the ring. The header is canonical.
func changesRing(old, ep *Endpoint, keys []ringKey) bool {
	return len(keys) > 0 || ep.Signer != old.Signer || !maps.Equal(ep.Header, old.Header) || !sameCredentials(old, ep)
}

// updateRing gives the ring what an update changes in it. It stays sealed if that is nothing.
func (g *Gateway) updateRing(ring *storedRing, old, ep *Endpoint, keys []ringKey) error {
	if !changesRing(old, ep, keys) {
		return nil
	}
	now, err := ring.open()
	if err != nil {
		if !g.replacesRing(ep, keys) {
			return err
		}
		now = newRing(nil, nil) // it is lost, or cannot be had now: nothing of it is needed
	}
	header := ep.Header
	for name, value := range header {
		if value != redacted {
			continue
		}
		stored, ok := now.header.reveal()[name]
		if !ok {
			return configError("Endpoint.Header", "the value of %s is REDACTED, and none is stored: put the real one in", name)
		}
		header[name] = stored
	}
	p, err := g.mergeCredentials(ep, old, now.credentials)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		keys = now.living(time.Now())
		signer, err := g.signerOf(ep.Signer)
		if err != nil {
			return err
		}
		if keys, err = keysFor(signer, keys); err != nil {
			return err
		}
	}
	return ring.set(newRing(keys, header).with(p))
}

// replacesRing reports whether an update brings all that a ring holds.
func (g *Gateway) replacesRing(ep *Endpoint, keys []ringKey) bool {
	if signer, err := g.signerOf(ep.Signer); err != nil || len(keys) == 0 && !signer.NewSecret().IsZero() {
		return false
	}
	for _, values := range []map[string]string{ep.Header, ep.auth().Params} {
		for _, v := range values {
			if v == redacted {
				return false
			}
		}
	}
	t := ep.clientTLS()
	return t.Certificate != redacted && t.Key != redacted && t.RootCAs != redacted
}

// DeleteEndpoint removes an endpoint with its secrets and holds. Deliveries that are pending for it become dead letters
// with the reason "the endpoint was deleted" when their turn comes; its history stays.
func (g *Gateway) DeleteEndpoint(ctx context.Context, tenant, id string) error {
	d := endpointDestination(tenant, id)
	err := g.change(ctx, tenant, id, func(t *target) error {
		batch := &store.Batch{Docs: []store.DocPut{{
			Doc: store.Doc{Kind: kindEndpoint, Group: tenant, ID: id}, Expect: t.endpoint.Version, Delete: true,
		}}}
		for _, cause := range holdCauses {
			batch.Gates = append(batch.Gates, store.Gate{Destination: d, Cause: cause})
		}
		if _, err := g.commitEndpoint(ctx, batch); err != nil {
			return err
		}
		g.view.put(d, nil)
		return nil
	})
	return edge("delete endpoint", err)
}

// PauseEndpoint holds an endpoint until ResumeEndpoint: new deliveries queue and wait, nothing is lost, attempts on their
// way end. The reason is for people. It survives restarts; pausing again replaces the reason.
func (g *Gateway) PauseEndpoint(ctx context.Context, tenant, id, reason string) error {
	if why := badText(reason, maxDescription); why != "" {
		return configError("reason", "%s", why)
	}
	return edge("pause endpoint", g.putGate(ctx, tenant, id, store.Gate{Cause: causePaused, Hold: -1, Reason: reason}))
}

// ResumeEndpoint ends a pause. Other holds stay. Resuming one that is not paused changes nothing.
func (g *Gateway) ResumeEndpoint(ctx context.Context, tenant, id string) error {
	return edge("resume endpoint", g.putGate(ctx, tenant, id, store.Gate{Cause: causePaused}))
}

func (g *Gateway) putGate(ctx context.Context, tenant, id string, gate store.Gate) error {
	return g.changeOnce(ctx, tenant, id, func(t *target) error {
		gate.Destination = t.destination
		_, err := g.commitEndpoint(ctx, &store.Batch{Gates: []store.Gate{gate}})
		return err
	})
}

// DisableEndpoint ends deliveries to an endpoint until EnableEndpoint: those that are pending stay where they are, and new
// events make none for it. A receiver that answers 410 does the same. The reason is for people.
func (g *Gateway) DisableEndpoint(ctx context.Context, tenant, id, reason string) error {
	if why := badText(reason, maxDescription); why != "" {
		return configError("reason", "%s", why)
	}
	return edge("disable endpoint", g.setDisabled(ctx, tenant, id, true, reason))
}

// EnableEndpoint takes a disabled endpoint back: what is pending is delivered, and new events reach it again. Enabling one
// that is not disabled changes nothing.
func (g *Gateway) EnableEndpoint(ctx context.Context, tenant, id string) error {
	return edge("enable endpoint", g.setDisabled(ctx, tenant, id, false, ""))
}

// setDisabled is DisableEndpoint and EnableEndpoint. Disabling what is disabled changes nothing: whoever was first has the
// reason.
func (g *Gateway) setDisabled(ctx context.Context, tenant, id string, disabled bool, reason string) error {
	gate := store.Gate{Destination: endpointDestination(tenant, id), Cause: causeDisabled, Reason: reason}
	if disabled {
		gate.Hold = -1
	}
	return g.change(ctx, tenant, id, func(t *target) error {
		switch {
		case t.broken != nil:
			return t.broken
		case t.endpoint.Disabled == disabled:
			if disabled {
				return nil
			}
			_, err := g.commitEndpoint(ctx, &store.Batch{Gates: []store.Gate{gate}})
			return err
		}
		ep := t.endpoint.clone()
		ep.Disabled = disabled
		_, err := g.writeEndpoint(ctx, ep, t.sealed.reveal(), t.endpoint.Version, gate)
		return err
	})
}
