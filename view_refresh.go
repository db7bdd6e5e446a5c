package hookgate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/store"
)

// The documents of the view. Those of endpoints have the tenant as their group. The marker is one document: its version
// grows after every change of an endpoint, so that one look tells whether anything changed at all.
const (
	kindEndpoint = "endpoint"
	kindMarker   = "view"
	idMarker     = "endpoints"
)

// How old the view of a store that others write to may be. Looking costs one small read, and nobody looks while nothing
// is published and nothing delivered.
const (
	viewPoll   = 2 * time.Second        // between looks
	viewBusy   = 100 * time.Millisecond // how late somebody asks for a look, where much is going on
	viewNotify = 250 * time.Millisecond // between looks where the store tells of changes
	viewWhole  = 5 * time.Minute        // between complete comparisons, for a process that died between a change and its mark
	viewWait   = 5 * time.Second        // for the store to answer
)

// viewSharing is what a view needs when other processes write to the same store.
type viewSharing struct {
	shared   bool // the store may have other writers
	notified bool // it tells of them
	stop     func()

	ctx    context.Context // ends with the gateway
	cancel context.CancelFunc

	woken atomic.Bool
	next  atomic.Int64 // when to look again, in unix nanoseconds

	marker  atomic.Uint64 // the version of the marker that the view is at least as new as
	looking sync.Mutex
	whole   time.Time // of the last comparison

	changes atomic.Uint64 // made by this process
	marking sync.Mutex
	marked  uint64 // the changes that the marker tells of
}

// init: the store of Open belongs to this process alone; any other may be shared.
func (s *viewSharing) init(g *Gateway) {
	s.shared = !g.ownsStore
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if n, ok := g.store.(store.Notifier); ok && s.shared {
		s.notified = true
		s.stop = n.Notify(func() { s.woken.Store(true) })
	}
}

func (s *viewSharing) close() {
	s.cancel()
	if s.stop != nil {
		s.stop()
	}
}

// load fills the view from the store. It is called once, before the gateway does anything.
func (v *view) load(ctx context.Context) error {
	marker, err := v.readMarker(ctx)
	if err != nil {
		return err
	}
	v.sharing.marker.Store(marker)
	v.sharing.whole = time.Now()
	v.sharing.next.Store(time.Now().Add(viewPoll).UnixNano())
	unreadable, otherKey := 0, 0
	err = v.eachDoc(ctx, func(doc *store.Doc) error {
		t, err := v.newTarget(doc)
		if err != nil {
			return err
		}
		if t.broken != nil {
			unreadable++
			v.g.log.Error("hookgate: the document of an endpoint is damaged: its deliveries wait until it is deleted, or deleted and made again", "endpoint", t.destination)
		} else if v.g.otherKey(t.sealed.reveal()) {
			otherKey++
		}
		v.put(t.destination, t)
		return nil
	})
	if err != nil {
		return fmt.Errorf("load the endpoints: %w", err)
	}
	if otherKey > 0 {
		v.g.log.Error("hookgate: stored secrets were sealed with another key: put the old "+keyFile+" back, or make new secrets with RotateSecret and a negative overlap",
			"endpoints", otherKey)
	}
	return nil
}

// eachDoc goes through the documents of all endpoints.
func (v *view) eachDoc(ctx context.Context, fn func(*store.Doc) error) error {
	q := store.DocQuery{Kind: kindEndpoint, Tenant: AllTenants, Page: store.Paging{Limit: 1000}}
	for {
		page, err := v.g.store.Docs(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := fn(&page.Items[i]); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Page.Cursor = page.Next
	}
}

func (v *view) readMarker(ctx context.Context) (uint64, error) {
	page, err := v.g.store.Docs(ctx, store.DocQuery{Kind: kindMarker, IDs: []string{idMarker}})
	if err != nil {
		return 0, fmt.Errorf("look for changes of endpoints: %w", err)
	}
	if len(page.Items) == 0 {
		return 0, nil
	}
	return page.Items[0].Version, nil
}

// fresh looks whether another process changed an endpoint, if it is time to. Where much is going on the look is taken beside
// it, so that nobody waits for the store's answer; the first caller after a while without any waits for it, so that what he
// does is not done with an old view. When the store does not answer, the view stays as it is.
//
// No lock of an endpoint may be held, nor may the caller be one that commits wait for.
func (v *view) fresh() {
	s := &v.sharing
	if !s.shared {
		return
	}
	now, next := time.Now(), s.next.Load()
	late := time.Duration(now.UnixNano() - next)
	if late < 0 && !(s.notified && s.woken.Load() && late >= viewNotify-viewPoll) {
		return
	}
	if !s.looking.TryLock() {
		return // somebody looks already; what is known will do
	}
	s.woken.Store(false)
	look := func() {
		defer s.looking.Unlock()
		ctx, cancel := context.WithTimeout(s.ctx, viewWait)
		defer cancel()
		if err := v.look(ctx, now); err != nil && s.ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			v.g.log.Warn("hookgate: changes of endpoints by other processes could not be read; trying again", "error", err)
		}
		s.next.Store(time.Now().Add(viewPoll).UnixNano())
	}
	if late < viewBusy && !(s.notified && late < 0) {
		go look() // ends with the store's answer, and looking is held until then
		return
	}
	look()
}

// look compares the view with the store if the marker moved; looking is held.
func (v *view) look(ctx context.Context, now time.Time) error {
	s := &v.sharing
	marker, err := v.readMarker(ctx)
	if err != nil {
		return err
	}
	if marker == s.marker.Load() && now.Sub(s.whole) < viewWhole {
		return nil
	}
	if err := v.compare(ctx); err != nil {
		return err
	}
	s.marker.Store(marker)
	s.whole = now
	return nil
}

// compare brings everything up to date whose version is not the stored one.
func (v *view) compare(ctx context.Context) error {
	seen := make(map[Destination]struct{})
	var changed []Destination
	err := v.eachDoc(ctx, func(doc *store.Doc) error {
		d := endpointDestination(doc.Group, doc.ID)
		seen[d] = struct{}{}
		if t := v.target(d); t == nil || t.endpoint.Version != doc.Version {
			changed = append(changed, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.mu.RLock()
	for d, t := range v.targets {
		if _, ok := seen[d]; !ok && t.endpoint != nil {
			changed = append(changed, d)
		}
	}
	v.mu.RUnlock()
	for _, d := range changed {
		unlock := v.lock(d)
		_, err := v.reload(ctx, d)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// reload reads one endpoint's document, whatever the view knows; its lock is held. A nil target: it does not exist.
func (v *view) reload(ctx context.Context, d Destination) (*target, error) {
	doc, err := v.readDoc(ctx, d)
	if errors.Is(err, ErrNotFound) {
		v.put(d, nil)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := v.newTarget(doc)
	if err != nil {
		return nil, err
	}
	v.put(d, t)
	return v.target(d), nil
}

// settled passes on how a change of an endpoint ended. Where that is not known, or somebody else was faster, the store is
// asked what the endpoint is now; its lock is held.
func (v *view) settled(ctx context.Context, d Destination, err error) error {
	if errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrConflict) && v.sharing.shared {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), viewWait)
		defer cancel()
		if _, e := v.reload(ctx, d); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (v *view) readDoc(ctx context.Context, d Destination) (*store.Doc, error) {
	tenant, id, ok := splitEndpoint(d)
	if !ok {
		return nil, ErrNotFound
	}
	page, err := v.g.store.Docs(ctx, store.DocQuery{Kind: kindEndpoint, Tenant: tenant, IDs: []string{id}})
	if err != nil {
		return nil, err
	}
	for i := range page.Items {
		if page.Items[i].Group == tenant {
			return &page.Items[i], nil
		}
	}
	return nil, ErrNotFound
}

// find is target for whoever is about to say that a destination is gone: where other processes make endpoints too, it asks
// the store before it says so. Nil without an error: it is gone, or a handler that is not registered here. An error: it
// cannot be told now, or the endpoint's document cannot be used.
func (v *view) find(ctx context.Context, d Destination) (*target, error) {
	v.fresh()
	t := v.target(d)
	if t == nil && v.sharing.shared && strings.HasPrefix(string(d), endpointPrefix) {
		unlock := v.lock(d)
		defer unlock()
		var err error
		if t, err = v.reload(ctx, d); err != nil {
			return nil, fmt.Errorf("look for the endpoint: %w", err)
		}
	}
	if t != nil && t.broken != nil {
		return nil, t.broken
	}
	return t, nil
}

// changed tells other processes that an endpoint was changed. Callers that come together share one write. It is not worth
// failing for: what it tells is found a little later without it. No lock of an endpoint may be held.
func (v *view) changed(ctx context.Context) {
	s := &v.sharing
	if !s.shared {
		return
	}
	mine := s.changes.Add(1)
	s.marking.Lock()
	defer s.marking.Unlock()
	if s.marked >= mine {
		return
	}
	all := s.changes.Load()
	put := store.DocPut{Doc: store.Doc{Kind: kindMarker, ID: idMarker, Data: []byte("{}")}}
	for range 10 {
		receipt, err := v.g.commit.do(ctx, &store.Batch{Docs: []store.DocPut{put}})
		if err == nil {
			err = receipt.Docs[0].Err
			put.Expect = receipt.Docs[0].Version
		}
		if err == nil {
			s.marked = all
			// Where nobody else moved it meanwhile, there is nothing to find.
			s.marker.CompareAndSwap(put.Expect-1, put.Expect)
			return
		}
		if !errors.Is(err, ErrConflict) {
			v.g.log.Warn("hookgate: other processes hear of a change of an endpoint some minutes late", "error", err)
			return
		}
	}
}
