package hookgate_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hookgate/hookgate"
)

// The ledgers of TestTorture, and what has to be true of them.

// published is all that the publisher's ledger knows of one thing.
type published struct {
	thing
	source   string
	accepted bool
	refused  bool
	ids      map[hookgate.ID]bool // that it was accepted with
}

// ledgers are the publisher's, the receivers' and the store's, from the beginning of a folder.
type ledgers struct {
	things    map[string]*published
	receivers *receivers
	killed    map[int]time.Time // rounds that ended with a kill, and when
	problems  []string

	// What the store said before.
	events   map[hookgate.ID]*hookgate.Event
	settled  map[hookgate.DeliveryID]settled
	attempts map[hookgate.DeliveryID][]hookgate.Attempt
	newest   map[int]time.Time // by round: the last answer that is recorded
}

// settled is a delivery that was over, as the store said after a round.
type settled struct {
	state hookgate.State
	round int
}

func newLedgers(r *receivers) *ledgers {
	return &ledgers{
		things: map[string]*published{}, receivers: r, killed: map[int]time.Time{}, events: map[hookgate.ID]*hookgate.Event{},
		settled: map[hookgate.DeliveryID]settled{}, attempts: map[hookgate.DeliveryID][]hookgate.Attempt{},
	}
}

func (l *ledgers) wrong(promise, format string, args ...any) {
	l.problems = append(l.problems, promise+": "+fmt.Sprintf(format, args...))
}

// tried enters a thing before it is published.
func (l *ledgers) tried(th thing, source string) *published {
	p := l.things[th.Name]
	if p == nil {
		p = &published{thing: th, source: source, ids: map[hookgate.ID]bool{}}
		l.things[th.Name] = p
	}
	return p
}

// heard enters what a publisher said.
func (l *ledgers) heard(w word, source string) {
	p := l.tried(w.Thing, source)
	switch w.Op {
	case "accepted":
		p.accepted = true
		p.ids[w.ID] = true
	case "refused":
		p.refused = true
	case "unknown":
		p.ID = w.Thing.ID
	}
}

// unknown lists the things that a new process can publish again without harm: those with an ID or a key.
func (l *ledgers) unknown() (list []thing) {
	for _, p := range l.things {
		if p.source == "" && !p.accepted && !p.refused && (!p.ID.IsZero() || p.Key != "") {
			list = append(list, p.thing)
		}
	}
	slices.SortFunc(list, func(a, b thing) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// record is what the store has of one delivery, with what the receiver saw of it, in the order of sending.
type record struct {
	hookgate.Delivery
	history  []hookgate.Attempt
	requests []request
}

// check reads the whole store and compares the ledgers. After the last round everything must be over.
func (l *ledgers) check(ctx context.Context, gw *hookgate.Gateway, round int, last bool) error {
	events, byName, err := l.readEvents(ctx, gw)
	if err != nil {
		return err
	}
	records, err := l.readDeliveries(ctx, gw, events)
	if err != nil {
		return err
	}
	seen := l.receivers.seen()
	slices.SortStableFunc(seen, func(a, b request) int {
		return cmp.Or(cmp.Compare(a.round, b.round), a.sent.Compare(b.sent))
	})
	l.assign(seen, events, records)
	l.newest = newestRecorded(seen, records)
	l.checkAccepted(byName)
	for id, ev := range events {
		l.checkFanOut(ev, records[id], last)
	}
	lanes := map[string][]*record{}
	for _, byPlace := range records {
		for _, r := range byPlace {
			l.checkHistory(r, round)
			l.checkRequests(r)
			if key := events[r.ID.Event].OrderingKey; key != "" {
				name := string(r.Destination) + " " + key
				lanes[name] = append(lanes[name], r)
			}
		}
	}
	for name, lane := range lanes {
		l.checkLane(name, lane)
	}
	l.checkOrder(byName)
	return nil
}

// readEvents reads all events. P2: none was invented. P5: none was edited.
func (l *ledgers) readEvents(ctx context.Context, gw *hookgate.Gateway) (map[hookgate.ID]*hookgate.Event, map[string]*hookgate.Event, error) {
	events, byName := map[hookgate.ID]*hookgate.Event{}, map[string]*hookgate.Event{}
	q := hookgate.EventQuery{Tenant: hookgate.AllTenants, Oldest: true, Page: hookgate.Paging{Limit: 1000}}
	for {
		page, err := gw.Events(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		for i := range page.Items {
			ev := &page.Items[i]
			name := bodyName(ev.Payload)
			events[ev.ID] = ev
			p := l.things[name]
			switch {
			case p == nil:
				l.wrong("P2", "event %s %q is stored, and nobody published it", ev.ID, name)
				continue
			case p.refused:
				l.wrong("P2", "%s was refused, and is stored as event %s", name, ev.ID)
			case !bytes.Equal(ev.Payload, tortureBody(name)):
				l.wrong("P8", "the payload of %s is not what was published", name)
			case ev.Type != p.Type || ev.Tenant != p.Tenant || ev.Source != p.source || ev.IdempotencyKey != p.Key || ev.OrderingKey != p.Lane:
				l.wrong("P5", "%s is stored as %+v", name, ev)
			}
			if other := byName[name]; other != nil {
				l.wrong("P11", "%s is stored twice, as events %s and %s", name, other.ID, ev.ID)
			}
			byName[name] = ev
			if before := l.events[ev.ID]; before != nil && !reflect.DeepEqual(before, ev) {
				l.wrong("P5", "event %s was edited: it was %+v, it is %+v", ev.ID, before, ev)
			}
		}
		if page.Next == "" {
			break
		}
		q.Page.Cursor = page.Next
	}
	for id := range l.events {
		if events[id] == nil {
			l.wrong("P1", "event %s was stored after an earlier round, and is gone", id)
		}
	}
	l.events = events
	return events, byName, nil
}

// readDeliveries reads all deliveries and their attempts, by event and destination.
func (l *ledgers) readDeliveries(ctx context.Context, gw *hookgate.Gateway, events map[hookgate.ID]*hookgate.Event) (map[hookgate.ID]map[hookgate.Destination]*record, error) {
	all := map[hookgate.ID]map[hookgate.Destination]*record{}
	q := hookgate.DeliveryQuery{Tenant: hookgate.AllTenants, Oldest: true, Page: hookgate.Paging{Limit: 1000}}
	for {
		page, err := gw.Deliveries(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, d := range page.Items {
			if events[d.ID.Event] == nil {
				l.wrong("P2", "delivery %s has no event", d.ID)
				continue
			}
			r := &record{Delivery: d}
			if r.history, err = gw.Attempts(ctx, d.Tenant, d.ID); err != nil {
				return nil, fmt.Errorf("delivery %s: %w", d.ID, err)
			}
			if all[d.ID.Event] == nil {
				all[d.ID.Event] = map[hookgate.Destination]*record{}
			}
			if all[d.ID.Event][d.Destination] != nil {
				l.wrong("P1", "event %s has two deliveries to %s", d.ID.Event, d.Destination)
			}
			all[d.ID.Event][d.Destination] = r
		}
		if page.Next == "" {
			return all, nil
		}
		q.Page.Cursor = page.Next
	}
}

// assign gives each request to its delivery. P2: nothing was sent that was not accepted. P8: signed, and the same bytes.
func (l *ledgers) assign(seen []request, events map[hookgate.ID]*hookgate.Event, records map[hookgate.ID]map[hookgate.Destination]*record) {
	for _, it := range seen {
		ev := events[it.id]
		switch {
		case it.wrong != "":
			l.wrong("P8", "request %d, %s to %s: %s", it.no, it.name, it.place.name, it.wrong)
		case ev == nil:
			l.wrong("P2", "request %d: %s was sent to %s in round %d, and event %s is not stored", it.no, it.name, it.place.name, it.round, it.id)
		case bodyName(ev.Payload) != it.name:
			l.wrong("P2", "request %d: event %s is %s, and %s was sent", it.no, it.id, bodyName(ev.Payload), it.name)
		case records[it.id][it.place.destination()] == nil:
			l.wrong("P2", "request %d: %s was sent to %s, which has no delivery of it", it.no, it.name, it.place.name)
		default:
			r := records[it.id][it.place.destination()]
			r.requests = append(r.requests, it)
		}
	}
}

// checkAccepted: P1, everything accepted is there. P11, with the one ID that everybody was told.
func (l *ledgers) checkAccepted(byName map[string]*hookgate.Event) {
	for name, p := range l.things {
		if !p.accepted {
			continue
		}
		ev := byName[name]
		if ev == nil {
			l.wrong("P1", "%s was accepted, and is not stored", name)
			continue
		}
		for id := range p.ids {
			if id != ev.ID {
				l.wrong("P11", "%s is event %s, and somebody was told %s", name, ev.ID, id)
			}
		}
	}
}

// checkFanOut: P1 and P2, an event is there with all its deliveries, whatever its publisher heard.
func (l *ledgers) checkFanOut(ev *hookgate.Event, records map[hookgate.Destination]*record, last bool) {
	want := 0
	for i := range places {
		p := &places[i]
		if !p.wants(ev) {
			continue
		}
		want++
		r := records[p.destination()]
		if r == nil {
			l.wrong("P1", "event %s has no delivery to %s", ev.ID, p.name)
			continue
		}
		if last && r.State != hookgate.Done && r.State != hookgate.Dead {
			l.wrong("P1", "delivery %s to %s is %s in the end", r.ID, p.name, r.State)
		}
	}
	if len(records) != want || ev.Deliveries != want {
		l.wrong("P1", "event %s has %d deliveries and says %d, want %d", ev.ID, len(records), ev.Deliveries, want)
	}
}

// checkHistory: P5, the records of a delivery agree with each other and with what they were before.
func (l *ledgers) checkHistory(r *record, round int) {
	before := l.attempts[r.ID]
	if len(r.history) < len(before) || len(before) > 0 && !reflect.DeepEqual(before, r.history[:len(before)]) {
		l.wrong("P5", "the history of %s was edited: it was %+v, it is %+v", r.ID, before, r.history)
	}
	l.attempts[r.ID] = r.history
	was, over := l.settled[r.ID]
	switch {
	case over && was.state != r.State:
		l.wrong("P5", "delivery %s was %s, and is %s", r.ID, was.state, r.State)
	case !over && !r.State.Open():
		l.settled[r.ID] = settled{r.State, round}
	}
	counted, no := 0, 0
	for i := range r.history {
		a := &r.history[i]
		if a.No <= no {
			l.wrong("P5", "attempt %d of %s comes after attempt %d", a.No, r.ID, no)
		}
		no = a.No
		if a.Counted {
			counted++
		}
		if a.Late {
			l.wrong("P3", "attempt %d of %s was reported late, and no lease was lost", a.No, r.ID)
		}
	}
	if counted != r.Attempts || counted > tortureAttempts {
		l.wrong("P5", "delivery %s says %d attempts, %d of those recorded count, %d are allowed", r.ID, r.Attempts, counted, tortureAttempts)
	}
	switch {
	case r.State == hookgate.Done && (len(r.history) == 0 || !succeeded(&r.history[len(r.history)-1])):
		l.wrong("P5", "delivery %s is done (%s) without a success: %+v", r.ID, r.Reason, r.history)
	case r.State == hookgate.Dead && r.Reason == "poison" && len(r.requests) == 0:
		l.wrong("P6", "delivery %s to %s became a dead letter as poison, and was never sent", r.ID, r.Destination)
	case r.State == hookgate.Dead && r.Reason != "poison" && counted != tortureAttempts:
		l.wrong("P6", "delivery %s is dead (%s) after %d attempts of %d", r.ID, r.Reason, counted, tortureAttempts)
	}
}

func succeeded(a *hookgate.Attempt) bool { return a.Error == "" }

// checkRequests: P3 and P5, the requests of a delivery against its recorded attempts. r.requests is in the order of sending.
func (l *ledgers) checkRequests(r *record) {
	recorded := map[int]*hookgate.Attempt{} // by request
	for i := range r.history {
		a := &r.history[i]
		no, known := requestOf(a)
		if !known {
			continue
		}
		i := slices.IndexFunc(r.requests, func(it request) bool { return it.no == no })
		if no == 0 {
			i = nearest(r.requests, a.At)
		}
		switch {
		case i < 0:
			l.wrong("P5", "attempt %d of %s to %s is recorded (%d %q), and nobody saw it", a.No, r.ID, r.Destination, a.Code, a.Response)
			continue
		case a.Code != 0 && r.requests[i].status != a.Code:
			l.wrong("P5", "attempt %d of %s is recorded with %d, and the answer was %d", a.No, r.ID, a.Code, r.requests[i].status)
		case !near(a, r.requests[i].sent):
			l.wrong("P5", "attempt %d of %s is recorded at %v, and was at %v", a.No, r.ID, a.At, r.requests[i].sent)
		case recorded[r.requests[i].no] != nil:
			l.wrong("P5", "attempts %d and %d of %s are the same request", recorded[r.requests[i].no].No, a.No, r.ID)
		}
		recorded[r.requests[i].no] = a
	}

	unrecorded := map[int]int{} // by round
	success := (*request)(nil)  // the one that is recorded, or whose round had no end to blame
	for i := range r.requests {
		it := &r.requests[i]
		if success != nil {
			l.wrong("P3", "%s was sent to %s again (request %d, round %d) after its success (request %d, round %d) was recorded",
				it.name, r.Destination, it.no, it.round, success.no, success.round)
		}
		if over, ok := l.settled[r.ID]; ok && it.round > over.round {
			l.wrong("P3", "%s was sent to %s in round %d, and was %s after round %d", it.name, r.Destination, it.round, over.state, over.round)
		}
		if it.status == 0 {
			continue // it broke off: a reset, a hang or a kill
		}
		if a := recorded[it.no]; a != nil {
			if it.status == http.StatusOK {
				success = it
			}
			continue
		}
		if it.place.handler && it.status != http.StatusOK || brokenOff(r.history, it) {
			continue
		}
		unrecorded[it.round]++
		kill, killed := l.killed[it.round]
		switch {
		case !killed:
			l.wrong("P5", "request %d (%s to %s, round %d) was answered with %d, is not recorded, and nobody was killed", it.no, it.name, r.Destination, it.round, it.status)
		case l.newest[it.round].Sub(it.answered) > 300*time.Millisecond:
			l.wrong("P3", "request %d (%s to %s) was answered with %d %v before the kill, and is not recorded; later ones are",
				it.no, it.name, r.Destination, it.status, kill.Sub(it.answered))
		case unrecorded[it.round] > 1:
			l.wrong("P3", "%d requests of %s to %s in round %d are not recorded", unrecorded[it.round], it.name, r.Destination, it.round)
		}
	}
}

// newestRecorded finds the last answer of each round that is recorded. Outcomes are recorded soon after they are known, so
// what was answered well before it must be recorded too.
func newestRecorded(seen []request, records map[hookgate.ID]map[hookgate.Destination]*record) map[int]time.Time {
	answered := make(map[int]*request, len(seen))
	for i := range seen {
		answered[seen[i].no] = &seen[i]
	}
	newest := map[int]time.Time{}
	for _, byPlace := range records {
		for _, r := range byPlace {
			for i := range r.history {
				no, _ := requestOf(&r.history[i])
				if it := answered[no]; it != nil && it.answered.After(newest[it.round]) {
					newest[it.round] = it.answered
				}
			}
		}
	}
	return newest
}

// requestOf is the number of the request that an attempt was, 0 for a handler's success. It is not known for those that got
// no answer.
func requestOf(a *hookgate.Attempt) (no int, known bool) {
	if text, ok := strings.CutPrefix(string(a.Response), "request "); ok {
		no, err := strconv.Atoi(text)
		return no, err == nil
	}
	return 0, a.Code != 0 || a.Error == ""
}

// nearest finds the successful call of a handler that began about then, or -1.
func nearest(calls []request, at time.Time) int {
	best := -1
	for i, it := range calls {
		if it.status == http.StatusOK && (best < 0 || it.sent.Sub(at).Abs() < calls[best].sent.Sub(at).Abs()) {
			best = i
		}
	}
	return best
}

// near reports whether an attempt was at the time of a request.
func near(a *hookgate.Attempt, sent time.Time) bool {
	const slack = 500 * time.Millisecond
	return sent.After(a.At.Add(-slack)) && sent.Before(a.At.Add(a.Took+slack))
}

// brokenOff reports whether a request was answered after its sender had given up on it.
func brokenOff(history []hookgate.Attempt, it *request) bool {
	return slices.ContainsFunc(history, func(a hookgate.Attempt) bool { return a.Code == 0 && a.Error != "" && near(&a, it.sent) })
}

// checkLane: P4, in a lane nothing is sent after something later was, and nothing while something earlier is undecided.
func (l *ledgers) checkLane(name string, lane []*record) {
	type sent struct {
		seq uint64
		*request
	}
	var all []sent
	slices.SortFunc(lane, func(a, b *record) int { return cmp.Compare(a.Seq, b.Seq) })
	undecided := (*record)(nil)
	for _, r := range lane {
		if undecided != nil && len(r.requests) > 0 {
			l.wrong("P4", "lane %s: %s was sent, and delivery %s before it is %s", name, r.requests[0].name, undecided.ID, undecided.State)
		}
		if r.State.Open() && undecided == nil {
			undecided = r
		}
		for i := range r.requests {
			all = append(all, sent{r.Seq, &r.requests[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b sent) int { return cmp.Or(cmp.Compare(a.round, b.round), a.sent.Compare(b.sent)) })
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		switch {
		case a.seq > b.seq:
			l.wrong("P4", "lane %s: %s (round %d) was sent after %s (round %d), which was committed later", name, b.name, b.round, a.name, a.round)
		case a.seq < b.seq && a.round == b.round && a.status != 0 && a.answered.After(b.sent):
			l.wrong("P4", "lane %s: %s was sent %v before %s was answered", name, b.name, a.answered.Sub(b.sent), a.name)
		}
	}
}

// checkOrder: P4, what one publisher published one after the other was committed in that order.
func (l *ledgers) checkOrder(byName map[string]*hookgate.Event) {
	type placed struct {
		round, n int
		ev       *hookgate.Event
	}
	lanes := map[string][]placed{}
	for name, ev := range byName {
		part := strings.Split(name, "/")
		if len(part) != 3 || part[0] != "batch" && !strings.HasPrefix(part[0], "own-") {
			continue
		}
		round, _ := strconv.Atoi(part[1])
		n, _ := strconv.Atoi(part[2])
		lanes[part[0]] = append(lanes[part[0]], placed{round, n, ev})
	}
	for name, lane := range lanes {
		slices.SortFunc(lane, func(a, b placed) int { return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.n, b.n)) })
		for i := 1; i < len(lane); i++ {
			if a, b := lane[i-1], lane[i]; a.ev.Seq > b.ev.Seq {
				l.wrong("P4", "%s: event %s was published before event %s, and committed after it", name, a.ev.ID, b.ev.ID)
			}
		}
	}
}
