package storetest

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hookgate/hookgate/store"
)

var (
	flagSeed  = flag.Uint64("storetest.seed", 0, "seed of the random test of stores; 0 chooses one")
	flagSteps = flag.Int("storetest.steps", 400, "how many random operations each random test does")
)

// randomCases do random operations on the store and on a model, and compare every answer.
var randomCases = []testCase{
	{"Everything", func(s *suite) {
		random(s, mix{commit: 10, claim: 6, sleep: 4, again: 1, restart: 1, prune: 1, read: 4})
	}},
	{"Restarts", func(s *suite) { random(s, mix{commit: 8, claim: 6, sleep: 4, again: 1, restart: 4, read: 2}) }},
	{"FewLanes", func(s *suite) { random(s, mix{commit: 10, claim: 8, sleep: 4, restart: 1, read: 1, lanes: true}) }},
}

// mostEvents is how many events a random test keeps at a time: more of them make it slow and find nothing.
const mostEvents = 100

// mix says how often each kind of step comes.
type mix struct {
	commit, claim, sleep, again, restart, prune, read int

	lanes bool // every delivery is in one of few lanes
}

// walker is one random walk.
type walker struct {
	*suite
	mix
	oracle
	rng  *rand.Rand
	seed uint64
	step int
	log  []string
	last *store.Batch
	made int
}

func random(s *suite, x mix) {
	seed := *flagSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	w := &walker{suite: s, mix: x, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed}
	w.oracle = newOracle(s, w.fail)
	for w.step = range *flagSteps {
		w.tick()
		w.next()
		if w.step%50 == 49 {
			w.compareAll()
		}
	}
	w.compareAll()
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// fail ends the test with what is needed to do it again, and what was done to the events that the message names.
func (w *walker) fail(format string, args ...any) {
	w.Helper()
	msg := fmt.Sprintf(format, args...)
	names := uuid.FindAllString(msg, 4)
	var story []string
	for i, line := range w.log {
		if i >= len(w.log)-8 || strings.HasSuffix(line, " reopen") || strings.HasSuffix(line, " crash") || slices.ContainsFunc(names, func(n string) bool { return strings.Contains(line, n) }) {
			story = append(story, line)
		}
	}
	w.Fatalf("%s\nat step %d; again with -storetest.seed=%d -storetest.steps=%d\nwhat was done to it, and last:\n%s",
		msg, w.step, w.seed, *flagSteps, strings.Join(story[max(0, len(story)-60):], "\n"))
}

func (w *walker) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%4d %s ", w.step, w.now.Format("01-02 15:04:05"))+fmt.Sprintf(format, args...))
}

// tick brings the clock to a whole second. Whatever ends does so half a second between, so that it is never in doubt
// what came first.
func (w *walker) tick() {
	w.align()
	w.m.expire(w.now)
	w.adopt()
}

func (w *walker) align() {
	now := time.Now()
	if at := now.Truncate(time.Second); !at.Equal(now) {
		time.Sleep(time.Second - now.Sub(at))
	}
	w.now = time.Now()
}

// after is a random time that ends between two whole seconds.
func (w *walker) after() time.Duration {
	d := time.Duration(w.rng.IntN(20)) * time.Second
	switch w.rng.IntN(8) {
	case 0:
		d = time.Duration(w.rng.IntN(200)) * time.Minute
	case 1:
		return 0
	}
	return d + time.Second/2
}

func (w *walker) one(n int) bool { return w.rng.IntN(n) == 0 }

func pick[T any](w *walker, list ...T) T { return list[w.rng.IntN(len(list))] }

func (w *walker) next() {
	n := w.rng.IntN(w.mix.commit + w.mix.claim + w.mix.sleep + w.mix.again + w.mix.restart + w.mix.prune + w.mix.read)
	for _, k := range []struct {
		weight int
		do     func()
	}{
		{w.mix.commit, w.commitStep},
		{w.mix.claim, w.claimStep},
		{w.mix.sleep, w.sleepStep},
		{w.mix.again, w.againStep},
		{w.mix.restart, w.restartStep},
		{w.mix.prune, w.pruneStep},
		{w.mix.read, w.readStep},
	} {
		if n -= k.weight; n < 0 {
			k.do()
			return
		}
	}
}

func (w *walker) commitStep() {
	b := &store.Batch{}
	for range w.rng.IntN(3) {
		p := w.docPut()
		if !slices.ContainsFunc(b.Docs, func(x store.DocPut) bool { return x.Doc.ID == p.Doc.ID }) {
			b.Docs = append(b.Docs, p)
		}
	}
	if w.one(4) {
		b.Gates = append(b.Gates, w.someGate())
	}
	for range w.rng.IntN(6) {
		if d := w.someDelivery(); d != nil {
			x := w.someSettle(d)
			// A second, other attempt of one lease, or one without a lease: what becomes of it is not said.
			said := slices.ContainsFunc(d.attempts, func(a store.Attempt) bool { return a.Gen == x.Gen }) ||
				slices.ContainsFunc(b.Settles, func(y store.Settle) bool { return y.ID == x.ID && y.Attempt != nil })
			if x.Gen == 0 || said {
				x.Attempt = nil
			}
			b.Settles = append(b.Settles, x)
		}
	}
	for range w.rng.IntN(4) {
		if len(w.m.events) < mostEvents {
			b.Appends = append(b.Appends, w.someAppend())
		}
	}
	if w.one(3) {
		b.Lease = ptr(w.claimRequest())
	}
	w.last = b
	w.both(b)
}

func (w *walker) both(b *store.Batch) {
	for i := range b.Settles {
		x := &b.Settles[i]
		w.say("  %v %v gen %d after %v block %v tenant %q attempt %v", x.Op, x.ID, x.Gen, x.After, x.Block, x.Tenant, x.Attempt != nil)
	}
	for i := range b.Appends {
		a := &b.Appends[i]
		if a.Event != nil {
			w.say("  append %v of %q key %q: %+v", a.Event.ID, a.Event.Tenant, a.Event.IdempotencyKey, a.Deliveries)
		} else {
			w.say("  append to %v: %+v", a.To, a.Deliveries)
		}
	}
	w.say("commit %d docs, gates %+v", len(b.Docs), b.Gates)
	w.commitBoth(b)
}

func (w *walker) againStep() {
	if w.last != nil {
		w.say("the last batch again:")
		w.both(w.last)
	}
}

func (w *walker) docPut() store.DocPut {
	p := store.DocPut{Doc: doc(pick(w, "endpoint", "job"), pick(w, "", "a"), fmt.Sprint("d", w.rng.IntN(4)), fmt.Sprint(w.rng.Uint64()))}
	if old := w.m.docs[modelDocName{p.Doc.Kind, p.Doc.Group, p.Doc.ID}]; old != nil && !w.one(4) {
		p.Expect = old.Version
		if !old.there(w.now) && !w.one(4) {
			p.Expect = 0
		}
		p.Delete = w.one(4) && old.there(w.now)
	}
	if w.one(3) {
		p.TTL = w.after()
	}
	return p
}

func (w *walker) someDest() store.Destination {
	if w.mix.lanes {
		return pick(w, store.Destination("ep:a"), "ep:b")
	}
	return pick(w, store.Destination("ep:a"), "ep:b", "ep:c", "fn:a", "fn:b")
}

func (w *walker) someGate() store.Gate {
	g := store.Gate{Destination: w.someDest(), Cause: pick(w, "paused", "breaker", "limit"), Reason: "r"}
	switch w.rng.IntN(5) {
	case 0:
		g.Hold = -1
	case 1:
		g.Hold = w.after()
	case 2:
		g.MaxInFlight = 1 + w.rng.IntN(4)
	}
	return g
}

// someDelivery prefers the leased ones.
func (w *walker) someDelivery() *modelDelivery {
	if len(w.m.leased) > 0 && !w.one(4) {
		var list []*modelDelivery
		for _, d := range w.m.leased {
			list = append(list, d)
		}
		slices.SortFunc(list, compareDeliveries)
		return pick(w, list...)
	}
	for range 10 {
		if len(w.m.events) == 0 {
			return nil
		}
		if ev := pick(w, w.m.events...); len(ev.deliveries) > 0 {
			return pick(w, ev.deliveries...)
		}
	}
	return nil
}

func (w *walker) someSettle(d *modelDelivery) store.Settle {
	x := store.Settle{ID: d.ID, Gen: d.Gen, After: w.after(), Reason: pick(w, "", "delivered", "filtered", "refused"), Block: w.one(2)}
	x.Op = pick(w, store.OpDone, store.OpDone, store.OpRetry, store.OpRetry, store.OpDead, store.OpRelease, store.OpExtend)
	if d.State != store.Leased && !w.one(3) {
		x.Op, x.Gen = pick(w, store.OpHurry, store.OpHurry, store.OpCancel, store.OpExpire), 0
	}
	if d.State == store.Leased && w.one(12) {
		x.Op, x.Gen = pick(w, store.OpHurry, store.OpCancel, store.OpExpire), 0
	}
	if x.Op == store.OpExtend {
		x.After += time.Minute
		if x.After%time.Second == 0 {
			x.After += time.Second / 2
		}
	}
	if x.Op <= store.OpDead && !w.one(5) {
		w.made++
		x.Attempt = try(200 + w.made%400)
		x.Attempt.Took = time.Duration(w.made) * time.Millisecond
		x.Attempt.Ago = 10 * time.Millisecond
	}
	switch {
	case w.one(15):
		x.Gen += 1000
	case w.one(15):
		x.Tenant = pick(w, "a", "b", "nobody")
	case w.one(3):
		x.Tenant = d.Tenant
	case w.one(30):
		x.ID.N += 77
	}
	return x
}

func (w *walker) someAppend() store.Append {
	if len(w.m.events) > 0 && w.one(6) {
		ev := pick(w, w.m.events...)
		a := store.Append{To: ev.ID}
		for range 1 + w.rng.IntN(2) {
			d := w.newDelivery(ev.Tenant)
			d.N = store.FirstLater + uint64(w.rng.IntN(6))
			if len(ev.deliveries) > 0 {
				d.Origin = ev.deliveries[0].ID
			}
			a.Deliveries = append(a.Deliveries, d)
		}
		return a
	}
	ev := &store.Event{
		ID: w.id(), Tenant: pick(w, "", "a", "b"), Source: pick(w, "", "src"), Type: pick(w, "x.a", "x.b", "y"),
		Payload: []byte(fmt.Sprint("payload ", w.rng.Uint64())), Labels: map[string]string{"n": fmt.Sprint(w.rng.IntN(3))},
	}
	if w.one(3) {
		names := slices.Sorted(maps.Keys(oddPayloads))
		ev.Payload = oddPayloads[pick(w, names...)]
		ev.Header = map[string][]string{"X-A": {pick(w, "2", "1"), pick(w, "", "1", "2")}, pick(w, "x-b", "X-B"): {"b"}}
	}
	switch {
	case w.one(4):
		for i := range ev.ID {
			ev.ID[i] = byte(w.rng.Uint32())
		}
	case w.one(10) && len(w.m.events) > 0:
		old := pick(w, w.m.events...)
		ev.ID, ev.Tenant = old.ID, old.Tenant
	}
	a := store.Append{Event: ev}
	if w.one(3) {
		ev.IdempotencyKey = fmt.Sprint("k", w.rng.IntN(10))
		a.Fingerprint = uint64(w.rng.IntN(2))
		a.Window = time.Duration(1+w.rng.IntN(500))*time.Minute + time.Second/2
	}
	if w.one(4) {
		a.ExpireAfter = time.Hour
	}
	for range w.rng.IntN(4) {
		a.Deliveries = append(a.Deliveries, w.newDelivery(ev.Tenant))
	}
	return a
}

func (w *walker) newDelivery(tenant string) store.NewDelivery {
	d := store.NewDelivery{Destination: w.someDest()}
	if w.mix.lanes || w.one(2) {
		d.Lane = tenant + pick(w, " l0", " l1")
	}
	if w.one(6) {
		d.After = w.after()
	}
	if w.one(6) {
		d.Class = store.Replay
	}
	return d
}

func (w *walker) claimRequest() store.ClaimRequest {
	r := store.ClaimRequest{Worker: pick(w, "one", "two"), Max: 1 + w.rng.IntN(12), Lease: w.after() + 10*time.Second}
	if r.Lease%time.Second == 0 {
		r.Lease += time.Second / 2
	}
	if w.one(3) {
		r.PerDestination = 1 + w.rng.IntN(4)
	}
	if w.one(3) {
		r.PerClass = [store.Classes]int{w.rng.IntN(5), w.rng.IntN(5), w.rng.IntN(5)}
	}
	switch w.rng.IntN(6) {
	case 0:
		r.Accept = []store.Destination{"ep:*"}
	case 1:
		r.Accept = []store.Destination{"fn:a", "ep:a", "x"}
	}
	return r
}

func (w *walker) claimStep() {
	r := w.claimRequest()
	w.say("claim %+v", r)
	for idle := 0; idle < 100; idle++ {
		res, before := w.claimBoth(r)
		w.say("  %d leases, more %v, next %v: %v", len(res.Leases), res.More, res.Next, leaseIDs(res.Leases))
		w.legalClaim(r, res, before)
		if !res.More || len(res.Leases) > 0 {
			return
		}
	}
	w.fail("Claim says More a hundred times and hands nothing out")
}

func (w *walker) sleepStep() {
	d := time.Duration(1+w.rng.IntN(20)) * time.Second
	switch w.rng.IntN(10) {
	case 0:
		d = time.Duration(1+w.rng.IntN(300)) * time.Minute
	case 1:
		d = time.Duration(1+w.rng.IntN(30)) * time.Hour
	}
	time.Sleep(d)
	w.tick()
	w.say("sleep %v", d)
}

func (w *walker) restartStep() {
	switch {
	case w.Crash != nil && (w.Reopen == nil || w.one(2)):
		w.say("crash")
		w.crash()
	case w.Reopen != nil:
		w.say("reopen")
		w.reopen()
	default:
		return
	}
	w.align()
	w.restarted()
}

func (w *walker) pruneStep() {
	r := store.PruneRequest{Done: w.after() * 50, Dead: w.after() * 100, Limit: 1 + w.rng.IntN(20)}
	for _, d := range w.m.deliveries {
		if d.block && d.State == store.Dead {
			r.Dead = 0 // what becomes of the lane of a dead letter that is forgotten is not said
		}
	}
	w.say("prune %+v", r)
	w.last = nil
	w.pruneBoth(r)
}

func (w *walker) readStep() {
	span := func() (from, to time.Time) {
		if w.one(3) && len(w.m.events) > 0 {
			from = pick(w, w.m.events...).Accepted
		}
		if w.one(3) && len(w.m.events) > 0 {
			to = pick(w, w.m.events...).Accepted
		}
		return from, to
	}
	p := store.Paging{Limit: w.rng.IntN(8), Budget: w.rng.IntN(20)}
	tenant := pick(w, "*", "", "a", "b", "c")
	switch d := w.someDelivery(); {
	case w.one(6):
		q := store.DocQuery{Kind: pick(w, "endpoint", "job", "none"), Tenant: tenant, Page: p}
		if w.one(3) {
			q.IDs = []string{"d3", "d0", "x"}
		}
		w.say("docs %+v", q)
		w.docsBoth(q)
		return
	case w.one(6) && d != nil:
		w.say("attempts of %v for %q", d.ID, tenant)
		w.attemptsBoth(tenant, d)
		return
	}
	var source *string
	if w.one(3) {
		source = pick(w, ptr(""), ptr("src"), ptr("none"))
	}
	typ := pick(w, "", "", "x.a", "x.*", "y*", "z")
	if w.one(2) {
		q := store.EventQuery{Tenant: tenant, Source: source, Type: typ, Oldest: w.one(2), Page: p}
		q.From, q.To = span()
		if w.one(4) {
			q.Labels = map[string]string{"n": "1"}
		}
		if w.one(4) && len(w.m.events) > 0 {
			q.IDs = []store.ID{pick(w, w.m.events...).ID, pick(w, w.m.events...).ID, {9}}
		}
		w.say("events %+v", q)
		w.eventsBoth(q)
		return
	}
	q := store.DeliveryQuery{Tenant: tenant, Source: source, Type: typ, Oldest: w.one(2), Page: p}
	q.From, q.To = span()
	if w.one(3) {
		q.Destination = w.someDest()
	}
	if w.one(3) {
		q.States = []store.State{store.State(1 + w.rng.IntN(5)), store.State(1 + w.rng.IntN(5))}
	}
	if w.one(6) && len(w.m.events) > 0 {
		q.Event = pick(w, w.m.events...).ID
	}
	w.say("deliveries %+v", q)
	w.deliveriesBoth(q)
}
