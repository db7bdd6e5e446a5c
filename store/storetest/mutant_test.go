//go:build !race

package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/hookgate/hookgate/store"
)

// mutation is a bug, and the subtest that has to find it.
type mutation struct {
	name   string
	caught string
	mutant mutant
}

// mutant is a model with a bug.
type mutant struct {
	*Model

	beforeCommit func(*Model, *store.Batch)
	afterCommit  func(*Model, *store.Batch, *store.Receipt)
	failed       func(*Model, *store.Batch, error)
	beforeAppend func(*Model, *store.Append) // of an event
	beforeLater  func(*Model, *store.Append) // of deliveries to an event that is there
	beforeSettle func(m *Model, s *store.Settle, d *modelDelivery)
	afterSettle  func(m *Model, s *store.Settle, d, was *modelDelivery) // if it was not refused
	beforeClaim  func(*Model, *store.ClaimRequest)
	afterClaim   func(*Model, *store.ClaimResult)
	opened       func(*Model)
	prune        func(*Model, *store.PruneRequest)
	events       func(*store.EventQuery)
	list         func(*store.DeliveryQuery)
	documents    func(*store.DocQuery)
	attempts     func(tenant *string)
	stats        func(*store.Stats)
	offsets      bool
	anyCursor    bool
	staysOpen    bool
}

func (m *Model) each(f func(*modelDelivery)) {
	for _, ev := range m.events {
		for _, d := range ev.deliveries {
			f(d)
		}
	}
}

func (m *Model) sortLanes(by func(a, b *modelDelivery) int) {
	for _, l := range m.lanes {
		slices.SortStableFunc(l, by)
	}
}

// oldestFirst lets a claim see nothing but the destination that waits the longest.
func oldestFirst(m *Model, r *store.ClaimRequest) {
	if all := m.claimable(r, m.now()); len(all) > 0 {
		r.Accept = []store.Destination{all[0].Destination}
	}
}

func (x *mutant) locked(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.expire(x.now())
	f()
}

func (x *mutant) Commit(ctx context.Context, b *store.Batch) (*store.Receipt, error) {
	c := *b
	c.Settles, c.Gates, c.Docs = slices.Clone(b.Settles), slices.Clone(b.Gates), slices.Clone(b.Docs)
	c.Appends = slices.Clone(b.Appends)
	was := map[store.DeliveryID]modelDelivery{}
	x.locked(func() {
		if x.beforeCommit != nil {
			x.beforeCommit(x.Model, &c)
		}
		for i := range c.Settles {
			if d := x.deliveries[c.Settles[i].ID]; d != nil {
				if x.beforeSettle != nil {
					x.beforeSettle(x.Model, &c.Settles[i], d)
				}
				was[d.ID] = *d
			}
		}
		for i := range c.Appends {
			a := &c.Appends[i]
			a.Deliveries = slices.Clone(a.Deliveries)
			if a.Event != nil {
				ev := *a.Event
				a.Event = &ev
				if x.beforeAppend != nil {
					x.beforeAppend(x.Model, a)
				}
			} else if x.beforeLater != nil {
				x.beforeLater(x.Model, a)
			}
		}
	})
	r, err := x.Model.Commit(ctx, &c)
	x.locked(func() {
		switch {
		case err != nil && x.failed != nil:
			x.failed(x.Model, &c, err)
		case err == nil && x.afterCommit != nil:
			x.afterCommit(x.Model, &c, r)
		}
		if err == nil && x.afterSettle != nil {
			for i := range c.Settles {
				if d := x.deliveries[c.Settles[i].ID]; r.Settles[i] == nil {
					before := was[d.ID]
					x.afterSettle(x.Model, &c.Settles[i], d, &before)
				}
			}
		}
	})
	return r, err
}

func (x *mutant) Claim(ctx context.Context, r store.ClaimRequest) (*store.ClaimResult, error) {
	if x.beforeClaim != nil {
		x.locked(func() { x.beforeClaim(x.Model, &r) })
	}
	res, err := x.Model.Claim(ctx, r)
	if err == nil && x.afterClaim != nil {
		x.locked(func() { x.afterClaim(x.Model, res) })
	}
	return res, err
}

func (x *mutant) Prune(ctx context.Context, r store.PruneRequest) (store.PruneResult, error) {
	if x.prune != nil {
		x.locked(func() { x.prune(x.Model, &r) })
	}
	return x.Model.Prune(ctx, r)
}

func (x *mutant) Events(ctx context.Context, q store.EventQuery) (store.Page[store.Event], error) {
	if x.events != nil {
		x.events(&q)
	}
	if x.offsets {
		skip, _ := strconv.Atoi(q.Page.Cursor)
		limit := q.Page.Limit
		q.Page = store.Paging{Limit: 1000}
		pg, err := x.Model.Events(ctx, q)
		if pg.Items = pg.Items[min(skip, len(pg.Items)):]; limit > 0 && len(pg.Items) > limit {
			pg.Items, pg.Next = pg.Items[:limit], strconv.Itoa(skip+limit)
		}
		return pg, err
	}
	pg, err := x.Model.Events(ctx, q)
	if x.anyCursor && errors.Is(err, store.ErrBadCursor) {
		q.Page.Cursor = ""
		return x.Model.Events(ctx, q)
	}
	return pg, err
}

func (x *mutant) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.Page[store.Delivery], error) {
	if x.list != nil {
		x.list(&q)
	}
	return x.Model.Deliveries(ctx, q)
}

func (x *mutant) Docs(ctx context.Context, q store.DocQuery) (store.Page[store.Doc], error) {
	if x.documents != nil {
		x.documents(&q)
	}
	return x.Model.Docs(ctx, q)
}

func (x *mutant) Attempts(ctx context.Context, tenant string, id store.DeliveryID) ([]store.Attempt, error) {
	if x.attempts != nil {
		x.attempts(&tenant)
	}
	return x.Model.Attempts(ctx, tenant, id)
}

func (x *mutant) Stats(ctx context.Context) (store.Stats, error) {
	s, err := x.Model.Stats(ctx)
	if x.stats != nil {
		x.stats(&s)
	}
	return s, err
}

func (x *mutant) Close() error {
	if x.staysOpen {
		return nil
	}
	return x.Model.Close()
}

// harness gives the mutant everything that a harness can do.
func (x mutant) harness() Harness {
	x.Model = NewModel()
	h := modelHarness(x.Model)
	cur := &x
	h.Store = cur
	again := func() (store.Store, error) {
		next := *cur
		next.Model = cur.reopen()
		if next.opened != nil {
			next.opened(next.Model)
		}
		cur = &next
		return cur, nil
	}
	h.Reopen, h.Crash = again, again
	h.FailAt = func(n int, once bool, err error) { modelHarness(cur.Model).FailAt(n, once, err) }
	return h
}
