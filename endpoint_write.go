package hookgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// storedRing is a key ring on its way from one document to the next.
type storedRing struct {
	g          *Gateway
	tenant, id string
	stored     string
	used       time.Time // when this process last signed with it
}

// storedRing answers the ring of an endpoint as it is stored now.
func (t *target) storedRing() *storedRing {
	return &storedRing{g: t.g, tenant: t.endpoint.Tenant, id: t.endpoint.ID, stored: t.sealed.reveal(), used: t.lastUsed()}
}

func (r *storedRing) open() (*keyRing, error) {
	ring, err := r.g.openRing(r.tenant, r.id, r.stored)
	if err != nil {
		return nil, err
	}
	for i := range ring.keys { // nobody else has this ring
		ring.keys[i].use(r.used)
	}
	return ring, nil
}

func (r *storedRing) set(ring *keyRing) (err error) {
	r.stored, err = r.g.sealRing(r.tenant, r.id, ring)
	return err
}

// readRing answers an endpoint as this process knows it, with its ring opened.
func (g *Gateway) readRing(ctx context.Context, tenant, id string) (*target, *keyRing, error) {
	t, err := g.known(ctx, tenant, id)
	if err != nil {
		return nil, nil, err
	}
	ring, err := t.ring()
	return t, ring, err
}

// known answers the target of an endpoint that exists.
func (g *Gateway) known(ctx context.Context, tenant, id string) (*target, error) {
	if err := oneTenant(tenant); err != nil {
		return nil, err
	}
	if !isSourceName(id) {
		return nil, ErrNotFound
	}
	g.view.fresh()
	d := endpointDestination(tenant, id)
	t := g.view.target(d)
	if t == nil && g.view.sharing.shared {
		unlock := g.view.lock(d)
		defer unlock()
		var err error
		if t, err = g.view.reload(ctx, d); err != nil {
			return nil, err
		}
	}
	if t == nil {
		return nil, ErrNotFound
	}
	return t, nil
}

// changeOnce calls fn with what an endpoint is, while nobody in this process changes it, and tells others afterwards.
func (g *Gateway) changeOnce(ctx context.Context, tenant, id string, fn func(t *target) error) error {
	if _, err := g.known(ctx, tenant, id); err != nil {
		return err
	}
	d := endpointDestination(tenant, id)
	err := func() error {
		defer g.view.lock(d)()
		t := g.view.target(d)
		if t == nil {
			return ErrNotFound
		}
		return g.view.settled(ctx, d, fn(t))
	}()
	if err == nil {
		g.view.changed(ctx)
	}
	return err
}

// change is changeOnce, again where another process was faster.
func (g *Gateway) change(ctx context.Context, tenant, id string, fn func(t *target) error) error {
	for tries := 0; ; tries++ {
		var seen uint64
		err := g.changeOnce(ctx, tenant, id, func(t *target) error {
			seen = t.endpoint.Version
			return fn(t)
		})
		if !errors.Is(err, ErrConflict) || tries == 10 {
			return err
		}
		if t := g.view.target(endpointDestination(tenant, id)); t != nil && t.endpoint.Version == seen {
			return err // not a matter of versions
		}
	}
}

// warmUp has the keys fetched that a change of an endpoint's secrets needs, before the change takes the lock that others wait
// for. What goes wrong is found again, at once, by the change itself.
func (g *Gateway) warmUp(tenant, id string) {
	if t := g.view.target(endpointDestination(tenant, id)); t != nil {
		_, _ = t.ring()
	}
	if s, ok := g.sealer.(*envelopeSealer); ok {
		_, _ = s.sealing()
	}
}

// changeEndpoint changes an endpoint's document with its secrets, whatever its version.
func (g *Gateway) changeEndpoint(ctx context.Context, tenant, id string, fn func(ep *Endpoint, ring *storedRing) error) error {
	g.warmUp(tenant, id)
	return g.change(ctx, tenant, id, func(t *target) error {
		if t.broken != nil {
			return t.broken
		}
		ep := t.endpoint.clone()
		ring := t.storedRing()
		if err := fn(ep, ring); err != nil {
			return err
		}
		_, err := g.writeEndpoint(ctx, ep, ring.stored, t.endpoint.Version)
		return err
	})
}

// writeEndpoint stores an endpoint if its version is still the expected one, and then shows it to this process. The lock of
// the endpoint is held. It answers a copy.
func (g *Gateway) writeEndpoint(ctx context.Context, ep *Endpoint, ring string, expect uint64, gates ...store.Gate) (*Endpoint, error) {
	data, err := encodeEndpoint(ep, ring)
	if err != nil {
		return nil, err
	}
	doc := store.Doc{Kind: kindEndpoint, Group: ep.Tenant, ID: ep.ID, Data: data}
	doc.Version, err = g.commitEndpoint(ctx, &store.Batch{Docs: []store.DocPut{{Doc: doc, Expect: expect}}, Gates: gates})
	if err != nil {
		return nil, err
	}
	doc.Updated = time.Now()
	t, err := g.view.newTarget(&doc) // read back, so that what is in memory is what a restart would find
	if err != nil {
		return nil, err
	}
	g.view.put(t.destination, t)
	return t.endpoint.clone(), nil
}

// commitEndpoint commits a batch with at most one document and answers its version. The caller's context decides only
// whether it begins: what has begun is waited for, because the view has to know how it ended.
func (g *Gateway) commitEndpoint(ctx context.Context, b *store.Batch) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	receipt, err := g.commit.do(context.WithoutCancel(ctx), b)
	if err != nil {
		return 0, err
	}
	for _, err := range receipt.Gates {
		if err != nil {
			return 0, err
		}
	}
	if len(b.Docs) == 0 {
		return 0, nil
	}
	return receipt.Docs[0].Version, receipt.Docs[0].Err
}

// readHolds fills in what holds endpoints now.
func (g *Gateway) readHolds(ctx context.Context, endpoints []*Endpoint) error {
	all := make(map[Destination]*Endpoint, len(endpoints))
	var ids []string
	for _, ep := range endpoints {
		d := endpointDestination(ep.Tenant, ep.ID)
		all[d] = ep
		for _, cause := range holdCauses {
			ids = append(ids, string(d)+" "+cause)
		}
	}
	for len(ids) > 0 {
		n := min(len(ids), 500)
		err := g.eachGate(ctx, ids[:n], func(gate *store.Gate) {
			ep := all[gate.Destination]
			if ep == nil {
				return
			}
			ep.Holds = append(ep.Holds, Hold{Cause: gate.Cause, Reason: gate.Reason, Since: gate.Since, Until: gate.Until})
			ep.Paused = ep.Paused || gate.Cause == causePaused
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// eachGate calls fn for those of the named gates that hold now.
func (g *Gateway) eachGate(ctx context.Context, ids []string, fn func(*store.Gate)) error {
	q := store.DocQuery{Kind: store.KindGate, IDs: ids, Page: store.Paging{Limit: 1000}}
	for {
		page, err := g.store.Docs(ctx, q)
		if err != nil {
			return fmt.Errorf("read what holds the endpoint: %w", err)
		}
		for _, doc := range page.Items {
			var gate store.Gate
			if err := json.Unmarshal(doc.Data, &gate); err != nil {
				return fmt.Errorf("read what holds the endpoint: %w", store.ErrCorrupt)
			}
			if gate.Hold < 0 || gate.Until.After(time.Now()) {
				fn(&gate)
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Page.Cursor = page.Next
	}
}
