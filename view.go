package hookgate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
)

// An endpoint's destination is "ep:", its tenant, a slash and its ID. The tenant may hold slashes, an ID has none.
const (
	endpointPrefix = "ep:"
	handlerPrefix  = "fn:"
)

func endpointDestination(tenant, id string) Destination {
	return Destination(endpointPrefix + tenant + "/" + id)
}

func handlerDestination(name string) Destination { return Destination(handlerPrefix + name) }

// splitEndpoint takes an endpoint's destination apart; its parts share the memory of the whole.
func splitEndpoint(d Destination) (tenant, id string, ok bool) {
	rest, ok := strings.CutPrefix(string(d), endpointPrefix)
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

// view is what this process knows of the endpoints and handlers: all of them, in memory, so that neither a publish nor an
// attempt reads the store. The store is the truth. A change made here is in the view when the call that made it returns;
// one made by another process is found by looking at a counter that every change moves (see view_refresh.go).
//
// Everything is safe for concurrent use. A target is never edited; a change puts another in its place.
type view struct {
	g     *Gateway
	rings ringCache

	mu       sync.RWMutex
	tenants  map[string]*group
	handlers group
	targets  map[Destination]*target
	accepted []Destination // replaced, never edited

	// locks are held while an endpoint is changed in the store and then here, so that changes arrive here in the order in
	// which they were committed. An endpoint has one of them by its destination.
	locks [64]sync.Mutex

	sharing viewSharing
}

// init is called once, before anything else.
func (v *view) init(g *Gateway) {
	v.g = g
	v.tenants = make(map[string]*group)
	v.targets = make(map[Destination]*target)
	v.accepted = []Destination{endpointPrefix + "*"}
	v.sharing.init(g)
}

// close ends what the view has going on.
func (v *view) close() { v.sharing.close() }

// target is what a destination is now.
type target struct {
	destination Destination
	endpoint    *Endpoint // nil for a handler; never edited; its header values are REDACTED, see header
	handler     *handler  // nil for an endpoint
	limit       int       // attempts in flight at a time
	picky       bool      // a subscription names a transformer of its own
	place       int32     // in the ringCache, while opened

	g      *Gateway
	sealed hidden[string] // the key ring of an endpoint, as it is stored: not sealed with PlainSecrets
	broken error          // why its document cannot be used; nil: it can

	opened atomic.Pointer[keyRing] // of sealed; nil: not open. See ringCache
	used   atomic.Int64            // when its secrets last signed, in unix seconds
}

// len and sub give the subscriptions.
func (t *target) len() int {
	if t.endpoint == nil {
		return 1
	}
	return len(t.endpoint.Subscriptions)
}

func (t *target) sub(i int) *Subscription {
	if t.endpoint == nil {
		return &t.handler.sub
	}
	return &t.endpoint.Subscriptions[i]
}

func (t *target) disabled() bool { return t.endpoint != nil && t.endpoint.Disabled }

// subscription answers the first that matches now; nil: none any more.
func (t *target) subscription(ev *Event) *Subscription {
	for i := range t.len() {
		if s := t.sub(i); s.matches(ev.Source, ev.Type) {
			return s
		}
	}
	return nil
}

// secrets answers the keys that are active, the newest first. The slice may be shared: it is read, not changed.
func (t *target) secrets(now time.Time) ([]signing.Secret, error) {
	ring, err := t.ring()
	if err != nil {
		return nil, err
	}
	t.noteUse(now)
	return ring.active(now), nil
}

// header answers the headers that the endpoint adds to each request, with their real values. The map may be shared: it is
// read, not changed.
func (t *target) header() (map[string]string, error) {
	if len(t.endpoint.Header) == 0 {
		return nil, nil
	}
	ring, err := t.ring()
	if err != nil {
		return nil, err
	}
	return ring.header.reveal(), nil
}

// ring opens the endpoint's key ring, or answers it from memory.
func (t *target) ring() (*keyRing, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	if r := t.opened.Load(); r != nil {
		return r, nil
	}
	r, err := t.g.openRing(t.endpoint.Tenant, t.endpoint.ID, t.sealed.reveal()) // it may be a call over the network
	if err != nil {
		return nil, err
	}
	t.g.view.rings.keep(t, r)
	return r, nil
}

// signer answers the endpoint's, or the gateway's. An error means that this process lacks it.
func (t *target) signer() (Signer, error) {
	return t.g.signerOf(t.endpoint.Signer)
}

func (g *Gateway) signerOf(name string) (Signer, error) {
	if name == "" {
		return g.cfg.Signer, nil
	}
	if s, ok := g.parts.signer(name); ok {
		return s, nil
	}
	return nil, fmt.Errorf("the signer %q is not registered in this process: call RegisterSigner before Run", name)
}

// transformer answers that of the subscription that the event matches, the endpoint's or the gateway's; nil: none. An error
// means that this process lacks it.
func (t *target) transformer(ev *Event) (Transformer, error) {
	name := ""
	if t.endpoint != nil {
		name = t.endpoint.Transformer
	}
	if t.picky {
		// Without one, the event came with a subscription that is gone.
		if s := t.subscription(ev); s != nil && s.Transformer != "" {
			name = s.Transformer
		}
	}
	if name == "" {
		return t.g.cfg.Transformer, nil
	}
	if tr, ok := t.g.parts.transformer(name); ok {
		return tr, nil
	}
	return nil, fmt.Errorf("the transformer %q is not registered in this process: call RegisterTransformer before Run", name)
}

// hash is a number that changes with every change of what the target is.
func (t *target) hash() uint64 {
	h := hashString(hashSeed, string(t.destination))
	if t.endpoint != nil {
		return mix(h, t.endpoint.Version)
	}
	s := &t.handler.sub
	h = hashString(h, s.Source)
	for _, typ := range s.Types {
		h = hashString(h, typ)
	}
	return h
}

// match answers one delivery for each destination that subscribes to the event, endpoints first, each by name, and the
// version of the view for the event's tenant. It allocates its answer and nothing else.
func (v *view) match(ev *Event) ([]store.NewDelivery, uint64) {
	v.fresh()
	var room [16]store.NewDelivery
	out := room[:0]
	v.mu.RLock()
	own := v.tenants[ev.Tenant]
	if own != nil {
		out = own.match(out, ev)
	}
	out = v.handlers.match(out, ev)
	version := v.versionOf(own)
	v.mu.RUnlock()
	if len(out) == 0 {
		return nil, version
	}
	return append(make([]store.NewDelivery, 0, len(out)), out...), version
}

// versionOf has 32 bits, because it is stored with every event; mu is held.
func (v *view) versionOf(own *group) uint64 {
	sum := v.handlers.version
	if own != nil {
		sum += own.version
	}
	return uint64(uint32(sum ^ sum>>32))
}

// version is the one that match would answer for a tenant now.
func (v *view) version(tenant string) uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.versionOf(v.tenants[tenant])
}

// matchOnly is match for named endpoints of the event's tenant. One that does not exist is ErrNotFound.
func (v *view) matchOnly(ev *Event, ids []string) ([]store.NewDelivery, uint64, error) {
	v.fresh()
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []store.NewDelivery
	for _, id := range ids {
		t := v.targets[endpointDestination(ev.Tenant, id)]
		if t == nil {
			return nil, 0, fmt.Errorf("endpoint %s: %w", cleanText(id, 100), ErrNotFound)
		}
		if sub := t.subscription(ev); sub != nil && !t.disabled() {
			out = append(out, newDelivery(t, sub, ev))
		}
	}
	slices.SortFunc(out, func(a, b store.NewDelivery) int { return cmp.Compare(a.Destination, b.Destination) })
	out = slices.CompactFunc(out, func(a, b store.NewDelivery) bool { return a.Destination == b.Destination })
	return out, v.versionOf(v.tenants[ev.Tenant]), nil
}

// target answers what a destination is as far as this process knows. Nil: a handler that is not registered here, or an
// endpoint that was deleted, or that another process made a moment ago; find tells these apart.
func (v *view) target(d Destination) *target {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.targets[d]
}

// accept lists what this process can serve.
func (v *view) accept() []Destination {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.accepted
}

// setHandler adds a handler, or puts it in the place of the one with its name.
func (v *view) setHandler(h *handler) {
	limit := h.limit
	if limit <= 0 {
		limit = v.g.cfg.PerDestination
	}
	t := &target{destination: handlerDestination(h.name), handler: h, limit: limit, picky: h.sub.Transformer != "", g: v.g}
	v.mu.Lock()
	old := v.targets[t.destination]
	v.targets[t.destination] = t
	v.handlers.set(old, t)
	if old == nil {
		v.accepted = append(slices.Clone(v.accepted), t.destination)
	}
	v.mu.Unlock()
	if s := v.g.sched; s != nil {
		s.kick() // what waited for the name may be claimed now
	}
}

// newTarget makes the target of an endpoint's document.
func (v *view) newTarget(doc *store.Doc) (*target, error) {
	d := endpointDestination(doc.Group, doc.ID)
	tenant, id, _ := splitEndpoint(d) // they share the memory of d, which has to be kept anyway
	ep, ring, err := decodeEndpoint(doc)
	if err != nil {
		if errors.Is(err, errNewerDoc) {
			return nil, err
		}
		ep = &Endpoint{Version: doc.Version, Disabled: true}
	}
	ep.Tenant, ep.ID = tenant, id
	limit := ep.MaxInFlight
	if limit <= 0 {
		limit = v.g.cfg.PerDestination
	}
	picky := slices.ContainsFunc(ep.Subscriptions, func(s Subscription) bool { return s.Transformer != "" })
	// One allocation for both: there may be ten thousand of them.
	both := &struct {
		target   target
		endpoint Endpoint
	}{endpoint: *ep}
	both.target = target{destination: d, endpoint: &both.endpoint, limit: limit, picky: picky, g: v.g, sealed: hide(ring), broken: err}
	return &both.target, nil
}

// put makes t the target of its destination; nil removes it. It does not go back: an older document changes nothing.
func (v *view) put(d Destination, t *target) {
	if old := v.replace(d, t); old != nil {
		v.rings.forget(old)
	}
}

func (v *view) replace(d Destination, t *target) (old *target) {
	tenant, _, _ := splitEndpoint(d)
	v.mu.Lock()
	defer v.mu.Unlock()
	old = v.targets[d]
	if old == nil && t == nil || old != nil && t != nil && old.endpoint.Version >= t.endpoint.Version {
		return nil
	}
	own := v.tenants[tenant]
	if own == nil {
		own = new(group)
		v.tenants[tenant] = own
	}
	own.set(old, t)
	if t != nil {
		if old != nil && old.sealed.reveal() == t.sealed.reveal() {
			t.used.Store(old.used.Load()) // otherwise the new ring says it
		}
		v.targets[d] = t
		return old
	}
	delete(v.targets, d)
	if len(own.targets) == 0 {
		delete(v.tenants, tenant)
	}
	return old
}

// lock keeps others from changing an endpoint meanwhile.
func (v *view) lock(d Destination) (unlock func()) {
	mu := &v.locks[hashString(hashSeed, string(d))%uint64(len(v.locks))]
	mu.Lock()
	return mu.Unlock
}
