package hookgate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

// Journey is all there is to know about one event: what happened, why, and what happens next.
type Journey struct {
	Event Event

	// Deliveries are those of the event, replays included, in the order of their numbers.
	Deliveries []DeliveryJourney

	// Unmatched are the destinations that the event did not go to, by name, with the reason: as they are now. More counts
	// those beyond 1,000.
	Unmatched []Unmatched
	More      int

	// Changed says that endpoints or handlers changed since the event was accepted: what is said of Unmatched may not be
	// what was true then.
	Changed bool

	// At is when this was true.
	At time.Time
}

// DeliveryJourney is what became of the event at one destination.
type DeliveryJourney struct {
	Delivery

	// History are its attempts in the order in which they were made.
	History []Attempt

	// Holds are the causes for which the destination gets nothing now.
	Holds []Hold

	// Next says in a sentence what happens next.
	Next string
}

// Unmatched is a destination that an event did not go to.
type Unmatched struct {
	Destination Destination
	Reason      string
}

const maxUnmatched = 1000

// Journey answers what happened to an event, for every destination, also for those that it did not go to. An event of
// another tenant is ErrNotFound.
func (g *Gateway) Journey(ctx context.Context, tenant string, id ID) (*Journey, error) {
	ev, err := g.Event(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	j := &Journey{Event: *ev, At: time.Now()}
	if err := g.travelled(ctx, j, tenant); err != nil {
		return nil, edge("read the journey of event "+id.String(), err)
	}
	went := make(map[Destination]bool, len(j.Deliveries))
	for i := range j.Deliveries {
		went[j.Deliveries[i].Destination] = true
	}
	j.Unmatched, j.More = g.view.unmatched(ev, went, maxUnmatched)
	j.Changed = g.view.version(tenant) != ev.View
	return j, nil
}

// travelled fills in the deliveries.
func (g *Gateway) travelled(ctx context.Context, j *Journey, tenant string) error {
	q := DeliveryQuery{Tenant: tenant, Event: j.Event.ID, Oldest: true, Page: Paging{Limit: 1000}}
	for {
		page, err := g.store.Deliveries(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range page.Items {
			one := DeliveryJourney{Delivery: d}
			if one.History, err = g.store.Attempts(ctx, tenant, d.ID); err != nil {
				return err
			}
			if d.State.Open() {
				if one.Holds, err = g.holdsOf(ctx, d.Destination); err != nil {
					return err
				}
			}
			if one.Next, err = g.whatNext(ctx, &one, j.At); err != nil {
				return err
			}
			j.Deliveries = append(j.Deliveries, one)
		}
		if page.Next == "" {
			break
		}
		q.Page.Cursor = page.Next
	}
	slices.SortFunc(j.Deliveries, func(a, b DeliveryJourney) int { return a.ID.Compare(b.ID) })
	return nil
}

func (g *Gateway) holdsOf(ctx context.Context, d Destination) ([]Hold, error) {
	ids := make([]string, 0, len(holdCauses))
	for _, cause := range holdCauses {
		ids = append(ids, string(d)+" "+cause)
	}
	var holds []Hold
	err := g.eachGate(ctx, ids, func(gate *store.Gate) {
		holds = append(holds, Hold{Cause: gate.Cause, Reason: gate.Reason, Since: gate.Since, Until: gate.Until})
	})
	return holds, err
}

// whatNext says what happens next with a delivery.
func (g *Gateway) whatNext(ctx context.Context, d *DeliveryJourney, now time.Time) (string, error) {
	switch d.State {
	case Done, Cancelled:
		return "nothing", nil
	case Dead:
		return "nothing, until somebody asks for Redeliver", nil
	case Leased:
		return "an attempt is under way; if nothing is heard of it by " + clock(d.Due) + ", it is tried again", nil
	}
	t := g.view.target(d.Destination)
	switch {
	case len(d.Holds) > 0:
		var causes []string
		for _, h := range d.Holds {
			causes = append(causes, h.String())
		}
		return "waits while its destination is held: " + strings.Join(causes, "; "), nil
	case t == nil && strings.HasPrefix(string(d.Destination), endpointPrefix):
		return "becomes a dead letter when it is due at " + clock(d.Due) + ": its endpoint was deleted", nil
	case t == nil:
		return "waits for a process that registers the handler", nil
	case d.Due.After(now):
		return fmt.Sprintf("is tried at %s, in %v", clock(d.Due), d.Due.Sub(now).Round(time.Millisecond)), nil
	}
	before, err := g.before(ctx, d, t)
	switch {
	case err != nil:
		return "", err
	case before == nil:
		return "is due, and tried as soon as a worker is free and Run runs", nil
	case before.State == Dead:
		return fmt.Sprintf("waits until somebody redelivers or cancels the dead letter %s, which has the same ordering key", before.ID), nil
	}
	return fmt.Sprintf("waits for its turn behind delivery %s, which has the same ordering key", before.ID), nil
}

// before looks for a delivery that keeps this one's lane shut, among the next 1,000 of the destination.
func (g *Gateway) before(ctx context.Context, d *DeliveryJourney, t *target) (*Delivery, error) {
	if d.Lane == "" {
		return nil, nil
	}
	states := []State{Pending, Leased}
	if sub := t.subscription(&Event{Source: d.Source, Type: d.Type}); sub != nil && sub.Block {
		states = append(states, Dead)
	}
	page, err := g.store.Deliveries(ctx, DeliveryQuery{
		Tenant: d.Tenant, Destination: d.Destination, States: states, Oldest: true, Page: Paging{Limit: 1000},
	})
	if err != nil {
		return nil, err
	}
	for i := range page.Items {
		if b := &page.Items[i]; b.Lane == d.Lane && b.Seq < d.Seq {
			return b, nil
		}
	}
	return nil, nil
}

// unmatched says of the destinations that an event could have gone to, and did not, why. It asks what they are now.
func (v *view) unmatched(ev *Event, went map[Destination]bool, limit int) (out []Unmatched, more int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	groups := []*group{v.tenants[ev.Tenant], &v.handlers}
	for _, g := range groups {
		if g == nil {
			continue
		}
		for _, t := range g.targets {
			switch {
			case went[t.destination]:
			case len(out) == limit:
				more++
			default:
				out = append(out, Unmatched{t.destination, t.whyNot(ev)})
			}
		}
	}
	slices.SortFunc(out, func(a, b Unmatched) int { return cmp.Compare(a.Destination, b.Destination) })
	return out, more
}

// whyNot says why an event does not go to a target.
func (t *target) whyNot(ev *Event) string {
	if t.broken != nil {
		return "its document cannot be read"
	}
	if t.disabled() {
		return "it is disabled"
	}
	if t.len() == 0 {
		return "it has no subscription"
	}
	var sources, types []string
	for i := range t.len() {
		s := t.sub(i)
		switch {
		case s.matches(ev.Source, ev.Type) && t.endpoint != nil && t.endpoint.Created.After(ev.Accepted):
			return "it was made after the event was accepted"
		case s.matches(ev.Source, ev.Type):
			return "it would match now: it, or what the event was restricted to, was different when the event was accepted"
		case !s.wantsSource(ev.Source):
			sources = append(sources, sourceName(s.Source))
		default:
			types = append(types, s.Types...)
		}
	}
	if len(types) > 0 {
		return fmt.Sprintf("the type is %s, it wants %s", ev.Type, someOf(types))
	}
	return fmt.Sprintf("the event is from %s, it wants those from %s", sourceName(ev.Source), someOf(sources))
}

func sourceName(s string) string {
	if s == "" {
		return "the application"
	}
	return "the source " + s
}

// someOf lists the first few.
func someOf(list []string) string {
	list = slices.Compact(slices.Clone(list))
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// String says it in a few words: the cause, the reason, and until when.
func (h Hold) String() string {
	text := h.Cause
	if h.Reason != "" {
		text += " (" + h.Reason + ")"
	}
	if !h.Until.IsZero() {
		text += " until " + clock(h.Until)
	}
	return text
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// String tells the journey line by line, attempt by attempt, for people. Times are UTC. It shows no payload, no header
// and no answer's body.
func (j *Journey) String() string {
	var b strings.Builder
	ev := &j.Event
	fmt.Fprintf(&b, "event %s %s, %d bytes, from %s", ev.ID, ev.Type, len(ev.Payload), sourceName(ev.Source))
	if ev.Tenant != "" {
		fmt.Fprintf(&b, ", tenant %s", ev.Tenant)
	}
	fmt.Fprintf(&b, ", accepted %s\n", clock(ev.Accepted))
	if len(j.Deliveries) == 0 {
		b.WriteString("  it goes nowhere: nobody subscribed to it\n")
	}
	for i := range j.Deliveries {
		j.Deliveries[i].write(&b)
	}
	for _, u := range j.Unmatched {
		fmt.Fprintf(&b, "  not to %s: %s\n", u.Destination, u.Reason)
	}
	if j.More > 0 {
		fmt.Fprintf(&b, "  not to %d more\n", j.More)
	}
	if j.Changed {
		b.WriteString("  (endpoints or handlers changed since it was accepted)\n")
	}
	return b.String()
}

func (d *DeliveryJourney) write(b *strings.Builder) {
	fmt.Fprintf(b, "  to %s: %s", d.Destination, d.State)
	if d.Reason != "" && d.Reason != d.State.String() {
		fmt.Fprintf(b, ", %s", d.Reason)
	}
	b.WriteByte('\n')
	for i := range d.History {
		a := &d.History[i]
		fmt.Fprintf(b, "    attempt %d at %s, %v: ", a.No, clock(a.At), a.Took.Round(100*time.Microsecond))
		switch {
		case a.Code != 0 && a.Error != "":
			fmt.Fprintf(b, "%d, %s", a.Code, a.Error)
		case a.Code != 0:
			fmt.Fprintf(b, "%d", a.Code)
		case a.Error != "":
			b.WriteString(a.Error)
		default:
			b.WriteString("ok")
		}
		switch {
		case a.Late:
			b.WriteString(" (after its lease was lost)")
		case !a.Counted && a.Error != "":
			b.WriteString(" (does not count)")
		}
		b.WriteByte('\n')
	}
	if d.State.Open() || d.State == Dead {
		fmt.Fprintf(b, "    next: %s\n", d.Next)
	}
}
