package storetest

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

// page walks records in order, from behind the cursor on. The cursor is a hash of the query and the name of the last
// record that was looked at.
func page[R, T any](p store.Paging, query string, records []R, name func(R) string, match func(R) (T, bool)) (store.Page[T], error) {
	limit, budget := p.Limit, p.Budget
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 1000)
	if budget <= 0 {
		budget = 10_000
	}
	h := fnv.New64a()
	h.Write([]byte(query))
	sum := fmt.Sprintf("%016x", h.Sum64())
	if p.Cursor != "" {
		have, last, _ := strings.Cut(p.Cursor, ".")
		behind, err := hex.DecodeString(last)
		if have != sum || err != nil {
			return store.Page[T]{}, store.ErrBadCursor
		}
		i := slices.IndexFunc(records, func(r R) bool { return name(r) > string(behind) })
		if i < 0 {
			i = len(records)
		}
		records = records[i:]
	}
	var out store.Page[T]
	for i, r := range records {
		out.Scanned++
		if v, ok := match(r); ok {
			out.Items = append(out.Items, v)
		}
		if (len(out.Items) == limit || out.Scanned == budget) && i < len(records)-1 {
			out.Next = sum + "." + hex.EncodeToString([]byte(name(r)))
			break
		}
	}
	return out, nil
}

// place names a position in commit order so that names sort as the records do.
func place(seq, n uint64, oldest bool) string {
	if !oldest {
		seq, n = ^seq, ^n
	}
	return fmt.Sprintf("%016x%016x", seq, n)
}

func deref(s *string) string {
	if s == nil {
		return "any"
	}
	return "is " + *s
}

func inTenant(query, tenant string) bool { return query == store.AllTenants || query == tenant }

func within(at, from, to time.Time) bool {
	return (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to))
}

// Events looks at every event in order.
func (m *Model) Events(ctx context.Context, q store.EventQuery) (store.Page[store.Event], error) {
	if err := m.enter(ctx); err != nil {
		return store.Page[store.Event]{}, err
	}
	defer m.mu.Unlock()
	var records []*modelEvent
	for _, ev := range m.events {
		if q.IDs == nil || slices.Contains(q.IDs, ev.ID) {
			records = append(records, ev)
		}
	}
	if !q.Oldest {
		slices.Reverse(records)
	}
	query := fmt.Sprint("events", q.Tenant, q.IDs, deref(q.Source), q.Type, q.Labels, q.From, q.To, q.Oldest)
	return page(q.Page, query, records,
		func(ev *modelEvent) string { return place(ev.Seq, 0, q.Oldest) },
		func(ev *modelEvent) (store.Event, bool) {
			ok := inTenant(q.Tenant, ev.Tenant) && (q.Source == nil || *q.Source == ev.Source) &&
				(q.Type == "" || matches(q.Type, ev.Type)) && within(ev.Accepted, q.From, q.To)
			for k, v := range q.Labels {
				have, there := ev.Labels[k]
				ok = ok && there && have == v
			}
			return cloneEvent(&ev.Event, !q.NoPayload), ok
		})
}

// Deliveries looks at every delivery in order.
func (m *Model) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.Page[store.Delivery], error) {
	if err := m.enter(ctx); err != nil {
		return store.Page[store.Delivery]{}, err
	}
	defer m.mu.Unlock()
	var records []*modelDelivery
	for _, ev := range m.events {
		if !q.Event.IsZero() && q.Event != ev.ID {
			continue
		}
		for _, d := range ev.deliveries {
			if q.IDs == nil || slices.Contains(q.IDs, d.ID) {
				records = append(records, d)
			}
		}
	}
	if !q.Oldest {
		slices.Reverse(records)
	}
	query := fmt.Sprint("deliveries", q.Tenant, q.IDs, q.Event, q.Destination, q.States, deref(q.Source), q.Type, q.From, q.To, q.Oldest)
	return page(q.Page, query, records,
		func(d *modelDelivery) string { return place(d.Seq, d.ID.N, q.Oldest) },
		func(d *modelDelivery) (store.Delivery, bool) {
			ok := inTenant(q.Tenant, d.Tenant) && (q.Destination == "" || q.Destination == d.Destination) &&
				(len(q.States) == 0 || slices.Contains(q.States, d.State)) && (q.Source == nil || *q.Source == d.Source) &&
				(q.Type == "" || matches(q.Type, d.Type)) && within(d.event.Accepted, q.From, q.To)
			return d.Delivery, ok
		})
}

// Docs looks at every document in order.
func (m *Model) Docs(ctx context.Context, q store.DocQuery) (store.Page[store.Doc], error) {
	if err := m.enter(ctx); err != nil {
		return store.Page[store.Doc]{}, err
	}
	defer m.mu.Unlock()
	var records []store.Doc
	for _, d := range m.docs {
		if d.there(m.now()) {
			records = append(records, d.Doc)
		}
	}
	for _, g := range m.gates {
		records = append(records, g.doc())
	}
	records = slices.DeleteFunc(records, func(d store.Doc) bool {
		return d.Kind != q.Kind || q.IDs != nil && !slices.Contains(q.IDs, d.ID)
	})
	name := func(d store.Doc) string { return d.Group + "\x00" + d.ID }
	slices.SortFunc(records, func(a, b store.Doc) int { return strings.Compare(name(a), name(b)) })
	return page(q.Page, fmt.Sprint("docs", q.Kind, q.Tenant, q.IDs), records, name,
		func(d store.Doc) (store.Doc, bool) {
			d.Data = append([]byte{}, d.Data...)
			return d, inTenant(q.Tenant, d.Group)
		})
}

// Attempts answers the attempts of one delivery.
func (m *Model) Attempts(ctx context.Context, tenant string, id store.DeliveryID) ([]store.Attempt, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	d := m.deliveries[id]
	if d == nil || !inTenant(tenant, d.Tenant) {
		return nil, store.ErrNotFound
	}
	list := slices.Clone(d.attempts)
	for i := range list {
		list[i].Response = slices.Clone(list[i].Response)
	}
	return list, nil
}

// Stats counts.
func (m *Model) Stats(ctx context.Context) (store.Stats, error) {
	if err := m.enter(ctx); err != nil {
		return store.Stats{}, err
	}
	defer m.mu.Unlock()
	now := m.now()
	s := store.Stats{Events: int64(len(m.events)), Exact: true, Failed: m.failed}
	for _, d := range m.deliveries {
		switch d.State {
		case store.Pending:
			s.Pending++
			s.OldestDue = max(s.OldestDue, now.Sub(d.Due))
		case store.Leased:
			s.Leased++
		case store.Dead:
			s.Dead++
		}
	}
	return s, nil
}

// Prune forgets the oldest events that it may.
func (m *Model) Prune(ctx context.Context, r store.PruneRequest) (store.PruneResult, error) {
	if err := m.enter(ctx); err != nil {
		return store.PruneResult{}, err
	}
	defer m.mu.Unlock()
	if m.failed != nil {
		return store.PruneResult{}, m.failed
	}
	limit := r.Limit
	if limit <= 0 {
		limit = 10_000
	}
	var res store.PruneResult
	m.events = slices.DeleteFunc(m.events, func(ev *modelEvent) bool {
		if !ev.forgettable(r, m.now()) {
			return false
		}
		if res.Events == limit {
			res.More = true
			return false
		}
		res.Events++
		res.Bytes += int64(len(ev.Payload))
		delete(m.byID, ev.ID)
		for _, d := range ev.deliveries {
			if d.Lane != "" && d.undecided() { // dead, and its lane was shut
				m.setState(d, store.Dead, false)
			}
			delete(m.deliveries, d.ID)
		}
		return true
	})
	return res, nil
}

func (ev *modelEvent) forgettable(r store.PruneRequest, now time.Time) bool {
	age := r.Done
	for _, d := range ev.deliveries {
		if d.State.Open() {
			return false
		}
		if d.State == store.Dead {
			age = r.Dead
		}
	}
	return age > 0 && now.Sub(ev.Accepted) >= age
}
