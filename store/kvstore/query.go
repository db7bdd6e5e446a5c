package kvstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

// paging is how far an answer has come. What makes up the query is part of its cursors, so that
// a cursor of another query is found out.
type paging struct {
	limit  int
	budget int
	from   ref // where to go on; zero for the beginning
	hash   uint32
}

const (
	defaultLimit  = 100
	maximumLimit  = 1000
	defaultBudget = 10_000
)

func newPaging(p store.Paging, query any) (*paging, error) {
	x := &paging{limit: p.Limit, budget: p.Budget}
	if x.limit <= 0 {
		x.limit = defaultLimit
	}
	x.limit = min(x.limit, maximumLimit)
	if x.budget <= 0 {
		x.budget = defaultBudget
	}
	b, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	h := fnv.New32a()
	h.Write(b)
	x.hash = h.Sum32()
	if p.Cursor == "" {
		return x, nil
	}
	parts := strings.Split(p.Cursor, ".")
	if len(parts) != 3 {
		return nil, store.ErrBadCursor
	}
	seq, e1 := strconv.ParseUint(parts[0], 36, 64)
	n, e2 := strconv.ParseUint(parts[1], 36, 64)
	x.from = ref{seq, n}
	if e1 != nil || e2 != nil || seq == 0 || x.cursor(x.from) != p.Cursor {
		return nil, store.ErrBadCursor
	}
	return x, nil
}

// cursor names the place from which the next page goes on.
func (x *paging) cursor(at ref) string {
	place := strconv.FormatUint(at.seq, 36) + "." + strconv.FormatUint(at.n, 36)
	h := fnv.New32a()
	fmt.Fprintf(h, "%x %s", x.hash, place)
	return place + "." + strconv.FormatUint(uint64(h.Sum32()), 36)
}

// matchType reports whether a type is the wanted one, or begins as a wanted prefix that ends in "*".
func matchType(want, have string) bool {
	if want == "" || want == have {
		return true
	}
	p, ok := strings.CutSuffix(want, "*")
	return ok && strings.HasPrefix(have, p)
}

func matchTenant(want, have string) bool { return want == store.AllTenants || want == have }

func eventMatches(q *store.EventQuery, ev *store.Event) bool {
	if !matchTenant(q.Tenant, ev.Tenant) || !matchType(q.Type, ev.Type) || q.Source != nil && *q.Source != ev.Source {
		return false
	}
	if !q.From.IsZero() && ev.Accepted.Before(q.From) || !q.To.IsZero() && !ev.Accepted.Before(q.To) {
		return false
	}
	for k, v := range q.Labels {
		if have, ok := ev.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// Events answers a page of events: see [store.Store].
func (s *Store) Events(ctx context.Context, q store.EventQuery) (store.Page[store.Event], error) {
	s.life.RLock()
	defer s.life.RUnlock()
	page, err := s.events(ctx, &q)
	if err != nil {
		return store.Page[store.Event]{}, fmt.Errorf("read events: %w", err)
	}
	return page, nil
}

func (s *Store) events(ctx context.Context, q *store.EventQuery) (page store.Page[store.Event], err error) {
	shape := *q
	shape.Page = store.Paging{}
	shape.NoPayload = false
	x, err := newPaging(q.Page, shape)
	if err != nil {
		return page, err
	}
	if q.IDs != nil {
		return s.eventsByID(ctx, q, x)
	}
	if err := s.sync(); err != nil {
		return page, err
	}
	w, err := s.walk(q.From, q.To, q.Oldest, x)
	if err != nil {
		return page, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		f, _, err := w.next(false)
		if err != nil || f == nil {
			return page, err
		}
		for _, seq := range w.events(f) {
			if len(page.Items) == x.limit || page.Scanned >= x.budget {
				page.Next = x.cursor(ref{seq, 0})
				return page, nil
			}
			if f.forgot(seq) {
				continue
			}
			page.Scanned++
			r, err := s.readAgain(f, seq, !q.NoPayload)
			if err != nil {
				return page, err
			}
			if r != nil && eventMatches(q, &r.event) {
				page.Items = append(page.Items, r.event)
			}
		}
	}
}

// readAgain reads an event of a frame that was looked at a moment ago; nil if retention forgot it since, or if it is damaged.
func (s *Store) readAgain(f *frame, seq uint64, payload bool) (*record, error) {
	i := uint32(seq - f.base)
	if f.moved == nil || !f.moved.has(i) {
		slot := f.events[i]
		if r, err := s.readRecord(seq, f.segment, f.start+int64(slot.offset), int(slot.size), payload); err == nil {
			return r, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.record(seq, payload)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case errors.Is(err, store.ErrCorrupt):
		s.logger.Warn("hookgate: an event cannot be read and is left out", "seq", seq, "error", err)
		return nil, nil
	}
	return r, err
}

func (s *Store) eventsByID(ctx context.Context, q *store.EventQuery, x *paging) (page store.Page[store.Event], err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(false); err != nil {
		return page, err
	}
	var places []ref
	for _, id := range q.IDs {
		seq, err := s.seqOf(id)
		if err != nil {
			return page, err
		}
		if seq != 0 {
			places = append(places, ref{seq, 0})
		}
	}
	for _, at := range inDirection(places, q.Oldest, x.from) {
		if len(page.Items) == x.limit || page.Scanned >= x.budget {
			page.Next = x.cursor(at)
			break
		}
		if err := ctx.Err(); err != nil {
			return page, err
		}
		page.Scanned++
		r, err := s.record(at.seq, !q.NoPayload)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return page, err
		}
		if eventMatches(q, &r.event) {
			page.Items = append(page.Items, r.event)
		}
	}
	return page, nil
}

// inDirection orders places as a walk would come by them, each once, without those before from.
func inDirection(places []ref, oldest bool, from ref) []ref {
	slices.SortFunc(places, func(a, b ref) int {
		switch {
		case a == b:
			return 0
		case a.before(b) == oldest:
			return -1
		}
		return 1
	})
	places = slices.Compact(places)
	if from.seq == 0 {
		return places
	}
	return slices.DeleteFunc(places, func(at ref) bool { return at != from && at.before(from) == oldest })
}

// Deliveries answers a page of deliveries: see [store.Store].
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.Page[store.Delivery], error) {
	s.life.RLock()
	defer s.life.RUnlock()
	page, err := s.deliveries(ctx, &q)
	if err != nil {
		return store.Page[store.Delivery]{}, fmt.Errorf("read deliveries: %w", err)
	}
	return page, nil
}

func deliveryMatches(q *store.DeliveryQuery, d *store.Delivery, accepted time.Time) bool {
	if !matchTenant(q.Tenant, d.Tenant) || !matchType(q.Type, d.Type) || q.Source != nil && *q.Source != d.Source {
		return false
	}
	if q.Destination != "" && d.Destination != q.Destination || len(q.States) > 0 && !slices.Contains(q.States, d.State) {
		return false
	}
	if !q.Event.IsZero() && d.ID.Event != q.Event {
		return false
	}
	return (q.From.IsZero() || !accepted.Before(q.From)) && (q.To.IsZero() || accepted.Before(q.To))
}

func (s *Store) deliveries(ctx context.Context, q *store.DeliveryQuery) (page store.Page[store.Delivery], err error) {
	shape := *q
	shape.Page = store.Paging{}
	x, err := newPaging(q.Page, shape)
	if err != nil {
		return page, err
	}
	if q.IDs != nil {
		return s.deliveriesByID(ctx, q, x)
	}
	if err := s.sync(); err != nil {
		return page, err
	}
	w, err := s.walk(q.From, q.To, q.Oldest, x)
	if err != nil {
		return page, err
	}
	if !q.Event.IsZero() {
		if ok, err := w.only(q.Event); err != nil || !ok {
			return page, err
		}
	}
	// Whatever is not plainly done has a bit or a row, and only those are looked at where nothing else is wanted.
	told := len(q.States) > 0 && !slices.Contains(q.States, store.Done)
	for {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		f, rows, err := w.next(told)
		if err != nil || f == nil {
			return page, err
		}
		list, err := s.frameDeliveries(f, rows, w, q)
		if err != nil {
			return page, err
		}
		for _, at := range list {
			if len(page.Items) == x.limit || page.Scanned >= x.budget {
				page.Next = x.cursor(at.at)
				return page, nil
			}
			page.Scanned++
			d, accepted, err := s.publicDelivery(f, at)
			if err != nil {
				return page, err
			}
			if d != nil && deliveryMatches(q, d, accepted) {
				page.Items = append(page.Items, *d)
			}
		}
	}
}

func (s *Store) deliveriesByID(ctx context.Context, q *store.DeliveryQuery, x *paging) (page store.Page[store.Delivery], err error) {
	byPlace := map[ref]store.DeliveryID{}
	var places []ref
	s.mu.Lock()
	err = s.usable(false)
	for _, id := range q.IDs {
		at, _, e := s.find(id)
		if e == nil {
			byPlace[at] = id
			places = append(places, at)
		} else if !errors.Is(e, store.ErrNotFound) {
			err = e
		}
	}
	s.mu.Unlock()
	if err != nil {
		return page, err
	}
	for _, at := range inDirection(places, q.Oldest, x.from) {
		if len(page.Items) == x.limit || page.Scanned >= x.budget {
			page.Next = x.cursor(at)
			break
		}
		if err := ctx.Err(); err != nil {
			return page, err
		}
		page.Scanned++
		d, accepted, err := s.deliveryByID(byPlace[at])
		if err != nil {
			return page, err
		}
		if d != nil && deliveryMatches(q, d, accepted) {
			page.Items = append(page.Items, *d)
		}
	}
	return page, nil
}

func (s *Store) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable(false)
}

// deliveryByID reads a delivery as it stands after the last commit; nil if there is none.
func (s *Store) deliveryByID(id store.DeliveryID) (*store.Delivery, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(false); err != nil {
		return nil, time.Time{}, err
	}
	s.expire(s.clock())
	at, q, err := s.find(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	r, err := s.record(at.seq, false)
	if errors.Is(err, store.ErrNotFound) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	d := s.describe(id, at, &r.event, q)
	if at.n < uint64(len(r.targets)) {
		d.Lane = r.targets[at.n].lane
	}
	x, err := s.current(at)
	if err != nil {
		return nil, time.Time{}, err
	}
	if x != nil {
		x.fill(&d)
	} else {
		var h history
		if err := s.eachAttemptInOrder(at, func(t *tried) { h.add(t) }); err != nil {
			return nil, time.Time{}, err
		}
		h.fill(&d, r.accepted)
	}
	s.addLease(&d, at)
	return &d, r.accepted, nil
}

// addLease shows a lease on a delivery that waits; the caller holds mu.
func (s *Store) addLease(d *store.Delivery, at ref) {
	if l := s.byRef[at]; l != nil && d.State == store.Pending {
		d.State, d.Due, d.Gen, d.Abandoned = store.Leased, l.until, l.gen, l.lost
		return
	}
	if n := s.lost[at]; d.State == store.Pending && n > d.Abandoned {
		d.Abandoned = n
	}
}

// fill puts what the attempts of a delivery without a row say into the public record: it is done.
func (h *history) fill(d *store.Delivery, accepted time.Time) {
	d.State = store.Done
	d.Gen, d.Attempts, d.Recorded, d.Code, d.Error, d.Reason = h.gen, h.attempts, h.recorded, h.code, h.err, h.reason
	d.Created, d.FirstAttempt, d.Settled = accepted, h.first, h.settled
	d.Due = accepted
	if h.attempts > 1 {
		d.Class = store.Retry
	}
}

// eachAttemptInOrder is eachAttempt by number.
func (s *Store) eachAttemptInOrder(at ref, fn func(*tried)) error {
	var all []tried
	if err := s.eachAttempt(at, func(t *tried) { all = append(all, *t) }); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b tried) int { return a.no - b.no })
	for i := range all {
		fn(&all[i])
	}
	return nil
}

// Attempts answers the attempts of a delivery: see [store.Store].
func (s *Store) Attempts(ctx context.Context, tenant string, id store.DeliveryID) ([]store.Attempt, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(false); err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	at, q, err := s.find(id)
	if err == nil && !matchTenant(tenant, q.tenant.name) {
		err = store.ErrNotFound
	}
	var out []store.Attempt
	if err == nil {
		err = s.eachAttemptInOrder(at, func(t *tried) { out = append(out, t.public(id)) })
	}
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	return out, nil
}

// Docs answers a page of documents: see [store.Store].
func (s *Store) Docs(ctx context.Context, q store.DocQuery) (store.Page[store.Doc], error) {
	s.life.RLock()
	defer s.life.RUnlock()
	page, err := s.docs(ctx, &q)
	if err != nil {
		return store.Page[store.Doc]{}, fmt.Errorf("read documents: %w", err)
	}
	return page, nil
}

func (s *Store) docs(ctx context.Context, q *store.DocQuery) (page store.Page[store.Doc], err error) {
	limit, budget := q.Page.Limit, q.Page.Budget
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maximumLimit)
	if budget <= 0 {
		budget = defaultBudget
	}
	prefix := appendName([]byte{kindDoc}, q.Kind)
	if q.Kind == store.KindGate {
		prefix = []byte{kindGate}
	}
	if q.Tenant != store.AllTenants {
		if q.Kind != store.KindGate {
			prefix = appendName(prefix, q.Tenant)
		} else if q.Tenant != "" {
			return page, s.check()
		}
	}
	from := prefix
	if q.Page.Cursor != "" {
		key, err := decodeKeyCursor(q.Page.Cursor)
		if err != nil || !strings.HasPrefix(string(key), string(prefix)) {
			return page, store.ErrBadCursor
		}
		from = key
	}
	if err := ctx.Err(); err != nil {
		return page, err
	}
	if err := s.sync(); err != nil {
		return page, err
	}
	s.mu.Lock()
	now := s.clock()
	s.mu.Unlock()
	err = s.view(func(r Reader) error {
		for k, v := range r.Scan(from, prefixEnd(prefix)) {
			if len(page.Items) == limit || page.Scanned >= budget {
				page.Next = encodeKeyCursor(k)
				return nil
			}
			page.Scanned++
			d, ok, err := publicDoc(k, v, now)
			if err != nil {
				return err
			}
			if ok && (q.IDs == nil || slices.Contains(q.IDs, d.ID)) {
				page.Items = append(page.Items, d)
			}
		}
		return nil
	})
	return page, err
}

func publicDoc(k, v []byte, now time.Time) (store.Doc, bool, error) {
	if k[0] == kindGate {
		g, err := decodeGateRow(k, v)
		if err != nil {
			return store.Doc{}, false, err
		}
		return gateDoc(g), g.Until.IsZero() || g.Until.After(now), nil
	}
	r, err := decodeDoc(v)
	if err != nil {
		return store.Doc{}, false, err
	}
	kind, rest := cutName(k[1:])
	group, rest := cutName(rest)
	id, _ := cutName(rest)
	d := store.Doc{
		Kind: kind, Group: group, ID: id, Version: r.version, Updated: r.updated, Expires: r.expires,
		Data: append([]byte{}, r.data...),
	}
	return d, r.there(now), nil
}

const cursorDigits = "0123456789abcdef"

func encodeKeyCursor(k []byte) string {
	b := make([]byte, 0, 2*len(k))
	for _, c := range k {
		b = append(b, cursorDigits[c>>4], cursorDigits[c&15])
	}
	return string(b)
}

func decodeKeyCursor(c string) ([]byte, error) {
	if len(c)%2 != 0 {
		return nil, store.ErrBadCursor
	}
	b := make([]byte, len(c)/2)
	for i := range b {
		hi, lo := strings.IndexByte(cursorDigits, c[2*i]), strings.IndexByte(cursorDigits, c[2*i+1])
		if hi < 0 || lo < 0 {
			return nil, store.ErrBadCursor
		}
		b[i] = byte(hi<<4 | lo)
	}
	return b, nil
}

// Stats answers from memory: see [store.Store].
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return store.Stats{}, fmt.Errorf("read stats: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(false); err != nil {
		return store.Stats{}, fmt.Errorf("read stats: %w", err)
	}
	now := s.clock()
	s.expire(now)
	oldest, err := s.oldestDue(now)
	if err != nil {
		return store.Stats{}, fmt.Errorf("read stats: %w", err)
	}
	leased := int64(len(s.byRef))
	st := store.Stats{
		Events: s.meta.events, Pending: max(s.meta.pending-leased, 0), Leased: leased, Dead: s.meta.dead, Exact: true,
		Full: s.log.Full(), Failed: s.failed, OldestDue: oldest, Bytes: s.log.Size(),
	}
	if sized, ok := s.kv.(interface{ Size() int64 }); ok {
		st.Bytes += sized.Size()
	}
	return st, nil
}
