package hookgate

import (
	"context"
	"errors"
	"time"

	"github.com/hookgate/hookgate/store"
)

const (
	sweepEvery = time.Second            // while anything is leased
	pruneFirst = 10 * time.Second       // after Run began
	pruneEvery = time.Minute            // between rounds
	prunePause = 20 * time.Millisecond  // between the calls of a round, so that publishing is not held up
	expirePage = 100                    // deliveries that are ended for their age in one commit
	expireMost = 20                     // such commits in a round
	handGrace  = 500 * time.Millisecond // for attempts to return when their contexts were cancelled
)

// keeper looks after what takes longer: leases of work that is under way are extended, attempts that do not return are
// called failed, deliveries over Config.MaxAge become dead letters, and what need not be kept any more is forgotten.
type keeper struct {
	g     *Gateway
	timer *time.Timer   // the next sweep; armed only while something is leased
	told  chan struct{} // somebody wants a round of pruning now
}

func newKeeper(g *Gateway) *keeper {
	k := &keeper{g: g, timer: time.NewTimer(time.Hour), told: make(chan struct{}, 1)}
	k.timer.Stop()
	return k
}

// arm is called when something is leased after nothing was.
func (k *keeper) arm() { k.timer.Reset(sweepEvery) }

// run is the keeper's sweeper, a goroutine of Run. It goes on during the drain, and ends with ctx.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.timer.C:
			if k.sweep(time.Now()) > 0 {
				k.arm()
			}
		}
	}
}

// sweep extends leases and ends attempts that are overdue. It answers how much is leased.
func (k *keeper) sweep(now time.Time) int {
	extend, overdue, left := k.g.sched.sweep(now)
	if len(extend) > 0 {
		k.g.commit.post(false, extend...)
	}
	for _, o := range overdue {
		k.g.log.Warn("hookgate: an attempt does not return; its worker stays occupied until it does",
			"delivery", o.work.id.String(), "destination", string(o.work.dest.name), "since", o.work.began)
		res := tried{err: failed(classTimeout, errors.New("the attempt did not return in its time")), now: now}
		k.g.record(o.work, k.g.view.target(o.work.dest.name), res, o.event)
	}
	return left
}

// prune is the keeper's other goroutine of Run: a round now and then. It ends with ctx.
func (k *keeper) prune(ctx context.Context) {
	next := time.NewTimer(pruneFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-k.told:
		}
		k.tell(ctx, "deliveries over the age limit could not be ended", k.expire(ctx))
		k.tell(ctx, "old events could not be pruned", k.pruneRound(ctx))
		next.Reset(pruneEvery)
	}
}

func (k *keeper) tell(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, store.ErrClosed) {
		return
	}
	k.g.log.Warn("hookgate: "+what, "error", err)
}

// pruneRound forgets what need not be kept any more.
func (k *keeper) pruneRound(ctx context.Context) error {
	r := store.PruneRequest{Done: k.g.cfg.KeepDone, Dead: k.g.cfg.KeepDead}
	if r.Done == forGood {
		r.Done = 0
	}
	if r.Dead == forGood {
		r.Dead = 0
	}
	if r.Done == 0 && r.Dead == 0 {
		return nil
	}
	for {
		res, err := k.g.store.Prune(ctx, r)
		if err != nil || !res.More {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(prunePause):
		}
	}
}

// expire makes dead letters of pending deliveries whose event is older than MaxAge. Those that get an attempt are found
// there; this is for those that are held.
func (k *keeper) expire(ctx context.Context) error {
	if k.g.cfg.MaxAge == forGood {
		return nil
	}
	q := store.DeliveryQuery{
		Tenant: AllTenants, States: []State{store.Pending}, Oldest: true,
		To: time.Now().Add(-k.g.cfg.MaxAge), Page: store.Paging{Limit: expirePage},
	}
	for range expireMost {
		page, err := k.g.store.Deliveries(ctx, q)
		if err != nil {
			return err
		}
		b := new(store.Batch)
		for i := range page.Items {
			d := &page.Items[i]
			if d.Reason == reasonRedeliver {
				continue
			}
			s := store.Settle{ID: d.ID, Op: store.OpExpire, Tenant: d.Tenant, Reason: reasonTooOld}
			if t := k.g.view.target(d.Destination); t != nil && d.Lane != "" {
				sub := t.subscription(&Event{Tenant: d.Tenant, Source: d.Source, Type: d.Type})
				s.Block = sub != nil && sub.Block
			}
			b.Settles = append(b.Settles, s)
		}
		if len(b.Settles) > 0 {
			// One that was claimed or settled meanwhile refuses, and that is fine.
			if _, err := k.g.commit.do(ctx, b); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Page.Cursor = page.Next
	}
	return nil
}

// PruneNow starts a round of forgetting now instead of within the next minute. It does not wait for its end, and does
// nothing unless Run runs.
func (g *Gateway) PruneNow() {
	select {
	case g.keeper.told <- struct{}{}:
	default:
	}
}
