package hookgate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Redeliver asks for one more attempt of a delivery, now: of a dead letter, or of one that waits for a retry. The bytes are
// the same, and so are its ID and history. If the attempt fails, the retry policy says whether there is another one. A
// destination that is held keeps it waiting until the hold ends.
//
// A delivery that is done, cancelled, or being tried at this moment is ErrConflict; one of another tenant is ErrNotFound.
func (g *Gateway) Redeliver(ctx context.Context, tenant string, id DeliveryID) error {
	return edge("redeliver", g.operate(ctx, tenant, id, store.OpHurry, reasonRedeliver))
}

// Cancel ends a delivery that is pending or a dead letter: it will not be tried, and it holds no later one up. That
// cannot be undone. Its history stays.
//
// A delivery that is done, cancelled, or being tried at this moment is ErrConflict; one of another tenant is ErrNotFound.
func (g *Gateway) Cancel(ctx context.Context, tenant string, id DeliveryID) error {
	return edge("cancel", g.operate(ctx, tenant, id, store.OpCancel, "cancelled"))
}

func (g *Gateway) operate(ctx context.Context, tenant string, id DeliveryID, op store.Op, reason string) error {
	// The store checks a tenant that has a name. That the delivery has none is checked here, once and for all: the tenant
	// of a delivery never changes.
	if _, err := g.Delivery(ctx, tenant, id); err != nil {
		return err
	}
	receipt, err := g.commit.do(ctx, &store.Batch{Settles: []store.Settle{{ID: id, Op: op, Tenant: tenant, Reason: reason}}})
	if err != nil {
		return err
	}
	err = receipt.Settles[0]
	if errors.Is(err, ErrConflict) {
		return g.explain(ctx, tenant, id)
	}
	return err
}

// explain says why the state of a delivery does not allow what was asked.
func (g *Gateway) explain(ctx context.Context, tenant string, id DeliveryID) error {
	d, err := g.Delivery(ctx, tenant, id)
	if err != nil {
		return err
	}
	why := "its state changed just now: ask again"
	switch d.State {
	case Done:
		why = "it is done; publish the event again, under a new ID, to send it once more"
	case Cancelled:
		why = "it was cancelled, and that is for good"
	case Leased:
		why = fmt.Sprintf("it is being tried at this moment, or its lease ends by itself in %v: ask again", max(time.Until(d.Due), 0).Round(time.Second))
	}
	return fmt.Errorf("%w: delivery %s: %s", ErrConflict, id, why)
}
