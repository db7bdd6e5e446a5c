package hookgate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hookgate/hookgate/store"
)

// How large what belongs to an event can be, beside its payload.
const (
	maxKey         = 256 // of an idempotency key and of an ordering key
	maxContentType = 256
	maxEventHeader = 64
	maxPublishAll  = 10_000 // events in one call
	maxWait        = 366 * 24 * time.Hour
)

// ErrTooLarge: the event is larger than the gateway or the store takes; a *LimitError in the same error has the sizes.
var ErrTooLarge = errors.New("too large")

// LimitError says what is too large, with its size and the limit.
type LimitError = store.LimitError

// Receipt is what became of a published event.
type Receipt struct {
	// ID is the event's. With Duplicate it is that of the event that was there first, as it is with ErrConflict over an
	// idempotency key. It is also set where the outcome is unknown: publish again with it.
	ID ID

	// Deliveries is how many destinations the event goes to; 0 with Duplicate, where they belong to the first.
	Deliveries int

	// Duplicate says that nothing new was stored: an event with this idempotency key and content, or with this ID, was
	// accepted before.
	Duplicate bool

	// Err is why this event of a PublishAll was not accepted; nil for one that was. Publish leaves it nil.
	Err error
}

// PublishOption changes how an event is published.
type PublishOption func(*publishOptions)

type publishOptions struct {
	notBefore   time.Time
	expireAfter time.Duration
	expires     bool
	only        bool // To was given
	to          []string
}

// NotBefore holds back the first attempt until t, at most a year from now and less than Config.MaxAge. A time that has
// passed means at once. With an ordering key, later events of the same key wait for this one.
func NotBefore(t time.Time) PublishOption { return func(o *publishOptions) { o.notBefore = t } }

// ExpireAfter gives up, with a dead letter, what is not delivered in so long a time, counted from acceptance. It must be
// positive. Config.MaxAge holds all the same.
func ExpireAfter(d time.Duration) PublishOption {
	return func(o *publishOptions) { o.expireAfter, o.expires = d, true }
}

// To restricts the event to these endpoints of its tenant: those of them that subscribe to it get it, and nobody else
// does. With no IDs nobody gets it. An ID that does not exist is ErrNotFound, and the event is not accepted.
func To(endpointIDs ...string) PublishOption {
	return func(o *publishOptions) { o.to, o.only = append(o.to, endpointIDs...), true }
}

// Publish accepts an event: when it returns nil the event is on disk, together with one delivery for each destination that
// subscribes to it. It needs no Run; deliveries wait until one runs. An event that nobody subscribes to is stored all the
// same. The payload and everything else in ev may be used again when Publish returns.
//
// Type is required. Source must be empty: it is for inbound events. ID may be left zero. Seq, Accepted, Expires,
// Deliveries and View are ignored.
//
// An idempotency key that was used before, in the window and by the same tenant, makes a Receipt with Duplicate and the
// first event's ID if the content is the same, and ErrConflict if it is not.
//
// Errors: *ConfigError names the field that is wrong; ErrTooLarge, ErrFull, ErrFailed and ErrClosed mean that the event
// was not accepted. ErrUnknownOutcome means that nobody knows, because ctx ended or the store failed at the worst moment:
// set Event.ID to the receipt's ID and publish again, which is harmless in either case.
//
// Publish is safe for concurrent use, and fastest so: callers that come together share a write to disk.
func (g *Gateway) Publish(ctx context.Context, ev Event, opts ...PublishOption) (Receipt, error) {
	var o publishOptions
	for _, opt := range opts {
		opt(&o)
	}
	now, err := g.checkOptions(&o)
	if err != nil {
		return Receipt{}, err
	}
	own := new(Event) // by itself: the scheduler keeps it until it is delivered
	*own = ev
	appends := make([]store.Append, 1)
	named := !ev.ID.IsZero()
	if err := g.prepare(own, &appends[0], &o, now); err != nil {
		return Receipt{ID: ev.ID}, edge("publish", err)
	}
	results, err := g.commit.append(ctx, appends)
	if err != nil {
		if !errors.Is(err, ErrUnknownOutcome) {
			return Receipt{ID: ev.ID}, edge("publish", err)
		}
		return Receipt{ID: own.ID}, edge("publish", err)
	}
	receipt, err := g.receipt(ctx, own, &results[0], named)
	return receipt, edge("publish", err)
}

// PublishAll publishes events together, which is faster than one after the other, in their order. Each is accepted or not
// by itself: the receipts are those of the events, in the same order, and the error joins the errors of all that were
// not accepted, each with its place; Receipt.Err has them one by one. The options are for all of them.
//
// More than 10,000 events are a *ConfigError, and none is accepted.
func (g *Gateway) PublishAll(ctx context.Context, evs []Event, opts ...PublishOption) ([]Receipt, error) {
	var o publishOptions
	for _, opt := range opts {
		opt(&o)
	}
	if len(evs) > maxPublishAll {
		return nil, configError("PublishAll", "%d events are more than %d: publish them in several calls", len(evs), maxPublishAll)
	}
	now, err := g.checkOptions(&o)
	if err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(evs))
	copies := make([]*Event, len(evs)) // each by itself: the scheduler keeps it until it is delivered
	appends := make([]store.Append, 0, len(evs))
	place := make([]int, 0, len(evs)) // of each append in evs
	for i := range evs {
		copies[i] = new(Event)
		*copies[i] = evs[i]
		receipts[i].ID = evs[i].ID
		var a store.Append
		if err := g.prepare(copies[i], &a, &o, now); err != nil {
			receipts[i].Err = err
			continue
		}
		appends, place = append(appends, a), append(place, i)
	}
	if len(appends) > 0 {
		results, err := g.commit.append(ctx, appends)
		for n, i := range place {
			switch {
			case err == nil:
				receipts[i], receipts[i].Err = g.receipt(ctx, copies[i], &results[n], !evs[i].ID.IsZero())
			case errors.Is(err, ErrUnknownOutcome):
				receipts[i] = Receipt{ID: copies[i].ID, Err: err}
			default:
				receipts[i] = Receipt{ID: evs[i].ID, Err: err}
			}
		}
	}
	var errs []error
	for i := range receipts {
		if err := receipts[i].Err; err != nil {
			errs = append(errs, &eventError{i, err})
			receipts[i].Err = edge("publish", err)
		}
	}
	return receipts, edge("publish", errors.Join(errs...))
}

// eventError is why one event of many was not accepted.
type eventError struct {
	place int
	err   error
}

func (e *eventError) Error() string {
	return fmt.Sprintf("event %d: %s", e.place, strings.TrimPrefix(e.err.Error(), "hookgate: "))
}

func (e *eventError) Unwrap() error { return e.err }

// checkOptions answers the time against which NotBefore counts.
func (g *Gateway) checkOptions(o *publishOptions) (time.Time, error) {
	var now time.Time
	if !o.notBefore.IsZero() {
		now = time.Now()
		wait := o.notBefore.Sub(now)
		switch {
		case wait > maxWait:
			return now, configError("NotBefore", "%v from now is more than a year", wait.Round(time.Hour))
		case g.cfg.MaxAge > 0 && wait >= g.cfg.MaxAge:
			return now, configError("NotBefore", "%v from now is beyond Config.MaxAge (%v): it would never be sent", wait.Round(time.Second), g.cfg.MaxAge)
		case o.expires && wait >= o.expireAfter && o.expireAfter > 0:
			return now, configError("NotBefore", "%v from now is beyond ExpireAfter (%v): it would never be sent", wait.Round(time.Second), o.expireAfter)
		}
	}
	if o.expires && o.expireAfter <= 0 {
		return now, configError("ExpireAfter", "%v is not positive", o.expireAfter)
	}
	return now, nil
}

// prepare checks a copy of the caller's event, makes it the gateway's own and fills the append in.
func (g *Gateway) prepare(ev *Event, a *store.Append, o *publishOptions, now time.Time) error {
	ev.Seq, ev.Accepted, ev.Expires, ev.Deliveries = 0, time.Time{}, time.Time{}, 0
	if ev.Source != "" {
		return configError("Event.Source", "must be empty: it is for inbound events")
	}
	if err := g.checkEvent(ev); err != nil {
		return err
	}
	// The caller may use them again, while the event is being delivered.
	ev.Payload = bytes.Clone(ev.Payload)
	ev.Labels = maps.Clone(ev.Labels)
	if ev.Header != nil {
		header := make(map[string][]string, len(ev.Header))
		for name, values := range ev.Header {
			header[name] = slices.Clone(values)
		}
		ev.Header = header
	}

	a.Event = ev
	a.Window = g.cfg.IdempotencyWindow
	a.ExpireAfter = o.expireAfter
	if ev.IdempotencyKey != "" {
		a.Fingerprint = fingerprint(ev)
	}
	if o.only {
		var err error
		if a.Deliveries, ev.View, err = g.view.matchOnly(ev, o.to); err != nil {
			return err
		}
	} else {
		a.Deliveries, ev.View = g.view.match(ev)
	}
	if wait := o.notBefore.Sub(now); !o.notBefore.IsZero() && wait > 0 {
		for i := range a.Deliveries {
			a.Deliveries[i].After = wait
		}
	}
	return nil
}

// checkEvent says what is wrong with an event that the application wants to publish.
func (g *Gateway) checkEvent(ev *Event) error {
	bad := func(field, why string) error { return configError("Event."+field, "%s", why) }
	if size := int64(len(ev.Payload)); g.cfg.MaxPayload > 0 && size > g.cfg.MaxPayload {
		return fmt.Errorf("%w: %w (Config.MaxPayload)", ErrTooLarge, &LimitError{What: "Event.Payload", Size: size, Limit: g.cfg.MaxPayload})
	}
	if why := badType(ev.Type); why != "" {
		return bad("Type", why)
	}
	if why := badTenant(ev.Tenant); why != "" {
		return bad("Tenant", why)
	}
	if why := badKey(ev.IdempotencyKey); why != "" {
		return bad("IdempotencyKey", why)
	}
	if why := badKey(ev.OrderingKey); why != "" {
		return bad("OrderingKey", why)
	}
	if len(ev.ContentType) > maxContentType || !isFieldValue(ev.ContentType) {
		return bad("ContentType", "is longer than 256 bytes or holds a control character")
	}
	if why := badLabels(ev.Labels); why != "" {
		return bad("Labels", why)
	}
	if len(ev.Header) == 0 {
		return nil
	}
	count, size := 0, 0
	for name, values := range ev.Header {
		for _, value := range values {
			if err := checkHeader(name, value); err != nil {
				return configError("Event.Header", "%w", err)
			}
			count++
			size += len(name) + len(value)
		}
	}
	if count > maxEventHeader || size > maxHeaderBytes {
		return configError("Event.Header", "%d values of %d bytes are more than %d of %d", count, size, maxEventHeader, maxHeaderBytes)
	}
	return nil
}

// badKey lets through what is text of one line: keys are shown to people.
func badKey(s string) string {
	if len(s) > maxKey {
		return "is longer than 256 bytes"
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return "must not hold a control character"
		}
	}
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	return ""
}

// receipt says what the result of an append means to its caller. named says that the caller chose the ID.
func (g *Gateway) receipt(ctx context.Context, ev *Event, r *store.AppendResult, named bool) (Receipt, error) {
	switch {
	case r.Err == nil && r.Repeated && named:
		return g.repeated(ctx, ev)
	case r.Err == nil:
		return Receipt{ID: r.ID, Deliveries: r.Deliveries}, nil
	case errors.Is(r.Err, store.ErrDuplicate):
		return Receipt{ID: r.ID, Duplicate: true}, nil
	case errors.Is(r.Err, ErrConflict):
		return Receipt{ID: r.ID}, fmt.Errorf("%w: the idempotency key was used for event %s with other content", ErrConflict, r.ID)
	}
	err := r.Err
	if errors.As(err, new(*LimitError)) {
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if named || errors.Is(err, ErrUnknownOutcome) {
		return Receipt{ID: ev.ID}, err
	}
	return Receipt{}, err
}

// repeated looks at the event that has the ID already. The store says only that there is one: if it belongs to another
// tenant, or is something else, what the caller has was not accepted, and must not look so.
func (g *Gateway) repeated(ctx context.Context, ev *Event) (Receipt, error) {
	page, err := g.store.Events(ctx, EventQuery{Tenant: AllTenants, IDs: []ID{ev.ID}})
	switch {
	case err != nil:
		return Receipt{ID: ev.ID}, fmt.Errorf("%w: compare with the event of the same ID: %w", ErrUnknownOutcome, err)
	case len(page.Items) == 0:
		return Receipt{ID: ev.ID, Duplicate: true}, nil // forgotten since, after it was delivered
	}
	first := &page.Items[0]
	if first.Tenant != ev.Tenant || first.Source != ev.Source || first.Type != ev.Type || !bytes.Equal(first.Payload, ev.Payload) {
		return Receipt{ID: ev.ID}, fmt.Errorf("%w: the ID %s belongs to an event with other content; leave Event.ID zero for a new event", ErrConflict, ev.ID)
	}
	return Receipt{ID: ev.ID, Duplicate: true}, nil
}

// edge says what was being done, and puts the name of the package in front, once.
func edge(doing string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "hookgate: ") {
		return err
	}
	return fmt.Errorf("hookgate: %s: %w", doing, err)
}
