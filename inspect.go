package hookgate

import (
	"context"

	"github.com/hookgate/hookgate/store"
)

// Page is a part of an answer, with the cursor of the next.
type Page[T any] = store.Page[T]

// Events lists events, newest first unless asked otherwise. EventQuery.Tenant is exact: empty means the events that have
// no tenant, AllTenants all of them. A page ends at the limit or when the scan budget is used up; as long as it has a Next,
// there may be more.
func (g *Gateway) Events(ctx context.Context, q EventQuery) (Page[Event], error) {
	page, err := g.store.Events(ctx, q)
	return page, edge("list events", err)
}

// Event answers one event with its payload. One of another tenant is ErrNotFound like one that never was, or that was
// forgotten when its time was over.
func (g *Gateway) Event(ctx context.Context, tenant string, id ID) (*Event, error) {
	if err := oneTenant(tenant); err != nil {
		return nil, err
	}
	page, err := g.store.Events(ctx, EventQuery{Tenant: tenant, IDs: []ID{id}})
	if err != nil {
		return nil, edge("read event", err)
	}
	if len(page.Items) == 0 {
		return nil, edge("read event "+id.String(), ErrNotFound)
	}
	return &page.Items[0], nil
}

// Deliveries lists deliveries, newest first unless asked otherwise; the rules are those of Events.
func (g *Gateway) Deliveries(ctx context.Context, q DeliveryQuery) (Page[Delivery], error) {
	page, err := g.store.Deliveries(ctx, q)
	return page, edge("list deliveries", err)
}

// Delivery answers one delivery. One of another tenant is ErrNotFound like one that never was.
func (g *Gateway) Delivery(ctx context.Context, tenant string, id DeliveryID) (*Delivery, error) {
	if err := oneTenant(tenant); err != nil {
		return nil, err
	}
	page, err := g.store.Deliveries(ctx, DeliveryQuery{Tenant: tenant, IDs: []DeliveryID{id}})
	if err != nil {
		return nil, edge("read delivery", err)
	}
	if len(page.Items) == 0 {
		return nil, edge("read delivery "+id.String(), ErrNotFound)
	}
	return &page.Items[0], nil
}

// Attempts answers the attempts of a delivery in the order in which they were made. A delivery of another tenant is
// ErrNotFound.
func (g *Gateway) Attempts(ctx context.Context, tenant string, id DeliveryID) ([]Attempt, error) {
	if err := oneTenant(tenant); err != nil {
		return nil, err
	}
	attempts, err := g.store.Attempts(ctx, tenant, id)
	return attempts, edge("read attempts", err)
}

// Stats counts what there is. It costs nothing to ask, and counts all tenants together.
func (g *Gateway) Stats(ctx context.Context) (Stats, error) {
	stats, err := g.store.Stats(ctx)
	return stats, edge("read stats", err)
}
