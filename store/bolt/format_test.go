package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
)

// testdata/v1 is a store as version 1 of the format wrote it, stopped by a crash. Every later version has to open it and find
// what want.txt tells. The folder is made once, by
//
//	go test ./store/bolt -run TestFormat -update
//
// and not again as long as the format is version 1: a program that writes other bytes has another version.
var update = flag.Bool("update", false, "write the golden files of the format anew")

const goldenDir = "testdata/v1"

var goldenOptions = &Options{MinSegment: 16 << 10, MaxSegment: 16 << 10}

func openGolden(dir string) (*opened, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := begin(dir, goldenOptions); err != nil {
		return nil, err
	}
	kv, id, err := openIndex(filepath.Join(dir, indexName))
	if err != nil {
		return nil, err
	}
	log := &journalLog{dir: filepath.Join(dir, journalName), id: id, options: goldenOptions}
	s, err := kvstore.New(kv, &kvstore.Options{Log: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, errors.Join(err, log.Close(), kv.Close())
	}
	return &opened{s, kv, dir}, nil
}

// copyOfGolden opens a copy, so that nothing is written to the golden files.
func copyOfGolden(t *testing.T) *opened {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	s, err := openGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// goldenID is the ID of the nth event: a UUIDv7 of the first of January 2000, where the time of a bubble begins.
func goldenID(n int) (id store.ID) {
	ms := uint64(946_684_800_000)
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6], id[8], id[14], id[15] = 0x70, 0x80, byte(n>>8), byte(n)
	return id
}

// goldenPayload has bytes that are no text.
func goldenPayload(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n + i*i)
	}
	return b
}

var asideID = store.ID{0xfe, 15: 1} // made by no clock

// The events of the golden store, by the number in their ID, and what became of their first delivery.
const (
	evForgotten = 1 + iota // done and pruned; its idempotency key is still taken
	evMoved                // waits until spring; retention copied it out of a segment that was given back
	evGone                 // done and pruned
	evBig                  // done and pruned
	evBig2                 // done and pruned
	evWaits                // pending, and two more deliveries: done and retried
	evDead                 // a dead letter, and a later delivery that repeats it
	evHead                 // a dead letter that keeps its lane shut
	evBehind               // waits behind it
	evOwnLane              // retried, in a lane that is not named by the ordering key
	evCancelled
	evHurried
	evExpired
	evFiltered // done without an attempt
	evReplay   // appended as a replay
	evKey      // has an idempotency key
	evLate     // its lease was lost, and its attempt came late
	evReleased
	evLeased // leased when the store was closed, and again at the crash
	evFreed
	evUnloaded // in the journal, and not in the index
)

// writer fills the golden store.
type goldenWriter struct {
	t *testing.T
	s *opened
}

func (w *goldenWriter) commit(b *store.Batch) *store.Receipt {
	w.t.Helper()
	r, err := w.s.Commit(context.Background(), b)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range r.Appends {
		if a.Err != nil {
			w.t.Fatal(a.Err)
		}
	}
	for _, d := range r.Docs {
		if d.Err != nil {
			w.t.Fatal(d.Err)
		}
	}
	return r
}

func goldenEvent(n int, typ string) *store.Event {
	return &store.Event{
		ID: goldenID(n), Tenant: "acme", Type: typ, ContentType: "application/json", View: uint64(n), Payload: goldenPayload(n, 40),
	}
}

func (w *goldenWriter) add(ev *store.Event, to ...store.NewDelivery) {
	w.t.Helper()
	w.commit(&store.Batch{Appends: []store.Append{{Event: ev, Deliveries: to}}})
}

// claim leases the one delivery that is due at a destination.
func (w *goldenWriter) claim(to store.Destination, lease time.Duration) store.Lease {
	w.t.Helper()
	r, err := w.s.Claim(context.Background(), store.ClaimRequest{Worker: "golden", Accept: []store.Destination{to}, Max: 1, Lease: lease})
	if err != nil || len(r.Leases) != 1 {
		w.t.Fatalf("claim %s: %d leases, %v", to, len(r.Leases), err)
	}
	return r.Leases[0]
}

func (w *goldenWriter) settle(st store.Settle, want error) {
	w.t.Helper()
	if got := w.commit(&store.Batch{Settles: []store.Settle{st}}).Settles[0]; !errors.Is(got, want) {
		w.t.Fatalf("settle %v: %v, want %v", st.Op, got, want)
	}
}

// reopen closes the store and opens it again.
func (w *goldenWriter) reopen() {
	w.t.Helper()
	err := w.s.Close()
	if err == nil {
		w.s, err = openGolden(w.s.dir)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// end claims what is due at a destination and settles it.
func (w *goldenWriter) end(to store.Destination, st store.Settle) {
	w.t.Helper()
	l := w.claim(to, time.Minute)
	st.ID, st.Gen = l.Delivery.ID, l.Gen
	w.settle(st, nil)
}

func good() *store.Attempt {
	return &store.Attempt{Took: 120 * time.Millisecond, Ago: 3 * time.Millisecond, Code: 200, Response: []byte("ok")}
}

func bad() *store.Attempt {
	return &store.Attempt{Took: time.Second, Code: 503, Class: "status", Error: "the receiver answered 503 Service Unavailable"}
}

func to(d store.Destination) store.NewDelivery { return store.NewDelivery{Destination: d} }

func (w *goldenWriter) fill() {
	delivered := store.Settle{Op: store.OpDone, Reason: "delivered", Attempt: good()}

	// A segment that retention gives back: what is done is forgotten, what waits is moved.
	old := goldenEvent(evForgotten, "order.paid")
	old.IdempotencyKey, old.Payload = "order-1", goldenPayload(evForgotten, 3000)
	spring := goldenEvent(evMoved, "order.remind")
	spring.Header = map[string][]string{"X-Request-Id": {"a1", "b2"}, "User-Agent": {"shop/7"}}
	spring.Labels = map[string]string{"customer": "c-17", "": "an empty name is a name"}
	spring.OrderingKey = "c-17"
	gone := goldenEvent(evGone, "order.paid")
	gone.Payload = goldenPayload(evGone, 3000)
	w.commit(&store.Batch{Appends: []store.Append{
		{Event: old, Deliveries: []store.NewDelivery{to("ep:acme/old")}, Fingerprint: 0x1111, Window: 60 * 24 * time.Hour},
		{Event: spring, Deliveries: []store.NewDelivery{{Destination: "ep:acme/old", Lane: "c-17", After: 90 * 24 * time.Hour}}},
		{Event: gone, Deliveries: []store.NewDelivery{to("ep:acme/old")}},
	}})
	w.end("ep:acme/old", delivered)
	w.end("ep:acme/old", delivered)
	for _, n := range []int{evBig, evBig2} {
		ev := goldenEvent(n, "order.paid")
		ev.Payload = goldenPayload(n, 6000)
		w.add(ev, to("ep:acme/old"))
		w.end("ep:acme/old", delivered)
	}
	time.Sleep(2 * time.Hour)
	first := w.s.kvSegments()[0]
	if res, err := w.s.Prune(context.Background(), store.PruneRequest{Done: time.Hour}); err != nil || res.Events != 4 || res.Bytes == 0 {
		w.t.Fatalf("prune: %+v, %v", res, err)
	}
	if w.s.kvSegments()[0] == first {
		w.t.Fatal("the first segment is still there")
	}

	// Deliveries in every state.
	w.add(goldenEvent(evWaits, "invoice.paid"), to("ep:acme/waits"), to("ep:acme/works"), to("fn:retried"))
	w.end("ep:acme/works", delivered)
	w.end("fn:retried", store.Settle{Op: store.OpRetry, After: 5 * time.Minute, Attempt: bad(), Reason: "the receiver answered 503 Service Unavailable"})

	w.add(goldenEvent(evDead, "invoice.paid"), to("ep:acme/dead"))
	w.end("ep:acme/dead", store.Settle{Op: store.OpDead, Attempt: bad(), Reason: "retries exhausted"})
	dead := store.DeliveryID{Event: goldenID(evDead)}
	w.commit(&store.Batch{Appends: []store.Append{{
		To: dead.Event, Deliveries: []store.NewDelivery{{Destination: "ep:acme/other", Lane: "later", N: store.FirstLater + 7, Class: store.Replay, Origin: dead}},
	}}})

	for _, n := range []int{evHead, evBehind} {
		ev := goldenEvent(n, "customer.changed")
		ev.OrderingKey = "c-18"
		w.add(ev, store.NewDelivery{Destination: "ep:acme/ordered", Lane: "c-18"})
	}
	w.end("ep:acme/ordered", store.Settle{Op: store.OpDead, Block: true, Attempt: bad(), Reason: "retries exhausted"})

	w.add(goldenEvent(evOwnLane, "customer.changed"), store.NewDelivery{Destination: "ep:acme/ordered", Lane: "a lane of its own"})
	w.end("ep:acme/ordered", store.Settle{Op: store.OpRetry, After: time.Hour, Attempt: bad(), Reason: "no"})

	w.add(goldenEvent(evCancelled, "ticket.opened"), to("ep:acme/held"))
	w.add(goldenEvent(evHurried, "ticket.opened"), to("ep:acme/held"))
	w.add(goldenEvent(evExpired, "ticket.opened"), to("ep:acme/held"))
	w.settle(store.Settle{ID: store.DeliveryID{Event: goldenID(evCancelled)}, Tenant: "acme", Op: store.OpCancel, Reason: "not wanted"}, nil)
	w.settle(store.Settle{ID: store.DeliveryID{Event: goldenID(evHurried)}, Tenant: "acme", Op: store.OpHurry, Reason: "redelivered"}, nil)
	w.settle(store.Settle{ID: store.DeliveryID{Event: goldenID(evExpired)}, Tenant: "acme", Op: store.OpExpire, Reason: "older than the limit"}, nil)

	w.add(goldenEvent(evFiltered, "ticket.opened"), to("fn:filters"))
	w.end("fn:filters", store.Settle{Op: store.OpDone, Reason: "filtered"})
	w.add(goldenEvent(evReplay, "ticket.opened"), store.NewDelivery{Destination: "ep:acme/replayed", Class: store.Replay})

	key := goldenEvent(evKey, "order.paid")
	key.IdempotencyKey, key.Source = "order-17", "shop"
	w.commit(&store.Batch{Appends: []store.Append{
		{Event: key, Deliveries: []store.NewDelivery{to("ep:acme/keys")}, Fingerprint: 0x2222, Window: 30 * 24 * time.Hour, ExpireAfter: 48 * time.Hour},
	}})
	aside := &store.Event{ID: asideID, Source: "github", Type: "push", Payload: []byte(`{"ref":"refs/heads/main"}`)}
	w.add(aside, to("fn:deploy"))

	// Leases that were lost, given back, and alive at the crash.
	w.add(goldenEvent(evLate, "slow"), to("ep:acme/slow"))
	late := w.claim("ep:acme/slow", time.Second)
	time.Sleep(2 * time.Second)
	w.settle(store.Settle{ID: late.Delivery.ID, Gen: late.Gen, Op: store.OpDone, Reason: "delivered", Attempt: good()}, store.ErrLeaseLost)
	w.add(goldenEvent(evReleased, "slow"), to("ep:acme/released"))
	released := w.claim("ep:acme/released", time.Hour)
	w.add(goldenEvent(evLeased, "slow"), to("ep:acme/leased")) // notes the lease
	w.settle(store.Settle{ID: released.Delivery.ID, Gen: released.Gen, Op: store.OpRelease}, nil)
	w.claim("ep:acme/leased", time.Hour)
	w.add(goldenEvent(evFreed, "slow"), to("ep:acme/freed")) // notes the lease
	w.reopen()
	w.claim("ep:acme/leased", time.Hour) // the second lease after one that nothing was heard of

	// Documents and gates.
	doc := store.Doc{Kind: "endpoint", Group: "acme", ID: "billing", Data: []byte(`{"format":1}`)}
	w.commit(&store.Batch{Docs: []store.DocPut{{Doc: doc}, {Doc: store.Doc{Kind: "endpoint", Group: "acme", ID: "gone"}}}})
	doc.Data = []byte(`{"format":1,"url":"https://example.com"}`)
	w.commit(&store.Batch{Docs: []store.DocPut{
		{Doc: doc, Expect: 1},
		{Doc: store.Doc{Kind: "endpoint", Group: "acme", ID: "gone"}, Expect: 1, Delete: true},
		{Doc: store.Doc{Kind: "job", ID: "with a zero\x00byte", Data: []byte{0, 1, 2}}, TTL: 1000 * time.Hour},
	}})
	w.commit(&store.Batch{Gates: []store.Gate{
		{Destination: "ep:acme/waits", Cause: "paused", Hold: -1, Reason: "they are moving"},
		{Destination: "ep:acme/keys", Cause: "asked", Hold: 20 * 24 * time.Hour, Reason: "the receiver asked to wait"},
		{Destination: "ep:acme/other", Cause: "limit", MaxInFlight: 3},
	}})
	if _, err := w.s.Events(context.Background(), store.EventQuery{Tenant: store.AllTenants, Page: store.Paging{Limit: 1}}); err != nil {
		w.t.Fatal(err) // a read waits until the index has everything
	}

	// What only the journal has.
	ev := goldenEvent(evUnloaded, "last.words")
	ev.IdempotencyKey = "last"
	w.commit(&store.Batch{
		Appends: []store.Append{{Event: ev, Deliveries: []store.NewDelivery{to("ep:acme/works"), to("ep:acme/new")}, Window: 30 * 24 * time.Hour}},
		Settles: []store.Settle{{ID: store.DeliveryID{Event: asideID}, Op: store.OpCancel, Reason: "not wanted"}},
	})
}

// kvSegments are the numbers of the journal's segments with frames.
func (o *opened) kvSegments() (numbers []uint64) {
	names, _ := filepath.Glob(filepath.Join(o.dir, journalName, "*.seg"))
	for _, name := range names {
		var n uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "%x.seg", &n); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// tell writes down everything that a store answers about itself.
func tell(t *testing.T, s store.Store) string {
	t.Helper()
	ctx := context.Background()
	var out strings.Builder
	line := func(what string, v any) {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", what, data)
	}
	events, err := s.Events(ctx, store.EventQuery{Tenant: store.AllTenants, Oldest: true, Page: store.Paging{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events.Items {
		ev.Accepted, ev.Expires = ev.Accepted.UTC(), ev.Expires.UTC()
		line("event", ev)
	}
	deliveries, err := s.Deliveries(ctx, store.DeliveryQuery{Tenant: store.AllTenants, Oldest: true, Page: store.Paging{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries.Items {
		attempts, err := s.Attempts(ctx, store.AllTenants, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		d.Due, d.Created, d.FirstAttempt, d.Settled = d.Due.UTC(), d.Created.UTC(), d.FirstAttempt.UTC(), d.Settled.UTC()
		line("delivery", d)
		for _, a := range attempts {
			a.At = a.At.UTC()
			line("  attempt", a)
		}
	}
	for _, kind := range []string{"endpoint", "job", store.KindGate} {
		docs, err := s.Docs(ctx, store.DocQuery{Kind: kind, Tenant: store.AllTenants})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs.Items {
			d.Updated, d.Expires = d.Updated.UTC(), d.Expires.UTC()
			if kind == store.KindGate {
				var g store.Gate
				if err := json.Unmarshal(d.Data, &g); err != nil {
					t.Fatal(err)
				}
				g.Since, g.Until = g.Since.UTC(), g.Until.UTC()
				d.Data, _ = json.Marshal(g)
			}
			line("document", d)
			line("  data", string(d.Data))
		}
	}
	return out.String()
}

func writeGolden(t *testing.T) {
	t.Helper()
	s, err := openGolden(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	w := &goldenWriter{t, s}
	w.fill()
	s = w.s
	synctest.Wait() // no segment is half made
	if err := os.RemoveAll(goldenDir); err != nil {
		t.Fatal(err)
	}
	if err := s.snapshot(goldenDir); err != nil {
		t.Fatal(err)
	}
	pools, _ := filepath.Glob(filepath.Join(goldenDir, journalName, "*.pool"))
	for _, p := range pools {
		if err := os.Remove(p); err != nil { // what is in them means nothing
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := copyOfGolden(t)
	if err := os.WriteFile(filepath.Join(goldenDir, "want.txt"), []byte(tell(t, c)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFormatOfVersion1IsReadForGood(t *testing.T) {
	if *update {
		synctest.Test(t, writeGolden)
	}
	size := int64(0)
	err := filepath.WalkDir(goldenDir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil || size > 300<<10 {
		t.Fatalf("the golden files take %d bytes, %v", size, err)
	}
	for name, check := range map[string]func(*testing.T, *opened){
		"everything is found":               everythingIsFound,
		"states are what they were":         statesAreWhatTheyWere,
		"payloads are the same bytes":       payloadsAreTheSame,
		"idempotency keys are taken":        keysAreTaken,
		"what is due is handed out in turn": dueIsHandedOut,
		"versions and gates go on":          versionsAndGatesGoOn,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := copyOfGolden(t)
				check(t, s)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func everythingIsFound(t *testing.T, s *opened) {
	want, err := os.ReadFile(filepath.Join(goldenDir, "want.txt"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(tell(t, s), "\n")
	for i, line := range strings.Split(string(want), "\n") {
		if i >= len(got) || got[i] != line {
			t.Fatalf("line %d of want.txt is\n%s\nand the store says\n%s", i+1, line, got[min(i, len(got)-1)])
		}
	}
	stats, err := s.Stats(context.Background())
	if err != nil || stats.Events != 18 || stats.Pending != 15 || stats.Dead != 3 {
		t.Errorf("stats are %+v, %v", stats, err)
	}
}

func statesAreWhatTheyWere(t *testing.T, s *opened) {
	type want struct {
		state    store.State
		class    store.Class
		attempts int // recorded
		code     int
		reason   string
	}
	first := func(n int) store.DeliveryID { return store.DeliveryID{Event: goldenID(n)} }
	failure := "the receiver answered 503 Service Unavailable"
	for id, w := range map[store.DeliveryID]want{
		first(evMoved):                   {store.Pending, store.Live, 0, 0, ""},
		first(evWaits):                   {store.Pending, store.Live, 0, 0, ""},
		{Event: goldenID(evWaits), N: 1}: {store.Done, store.Live, 1, 200, "delivered"},
		{Event: goldenID(evWaits), N: 2}: {store.Pending, store.Retry, 1, 503, failure},
		first(evDead):                    {store.Dead, store.Retry, 1, 503, "retries exhausted"},
		{Event: goldenID(evDead), N: store.FirstLater + 7}: {store.Pending, store.Replay, 0, 0, ""},
		first(evHead):      {store.Dead, store.Retry, 1, 503, "retries exhausted"},
		first(evBehind):    {store.Pending, store.Live, 0, 0, ""},
		first(evOwnLane):   {store.Pending, store.Retry, 1, 503, "no"},
		first(evCancelled): {store.Cancelled, store.Live, 0, 0, "not wanted"},
		first(evHurried):   {store.Pending, store.Live, 0, 0, "redelivered"},
		first(evExpired):   {store.Dead, store.Live, 0, 0, "older than the limit"},
		first(evFiltered):  {store.Done, store.Live, 0, 0, "filtered"},
		first(evReplay):    {store.Pending, store.Replay, 0, 0, ""},
		first(evKey):       {store.Pending, store.Live, 0, 0, ""},
		{Event: asideID}:   {store.Cancelled, store.Live, 0, 0, "not wanted"},
		first(evLate):      {store.Pending, store.Live, 1, 0, ""},
		first(evReleased):  {store.Pending, store.Live, 0, 0, ""},
		first(evLeased):    {store.Pending, store.Live, 0, 0, ""},
		first(evFreed):     {store.Pending, store.Live, 0, 0, ""},
		first(evUnloaded):  {store.Pending, store.Live, 0, 0, ""},
	} {
		page, err := s.Deliveries(context.Background(), store.DeliveryQuery{Tenant: store.AllTenants, IDs: []store.DeliveryID{id}})
		if err != nil || len(page.Items) != 1 {
			t.Errorf("delivery %v: %d found, %v", id, len(page.Items), err)
			continue
		}
		d := page.Items[0]
		attempts, err := s.Attempts(context.Background(), store.AllTenants, id)
		if err != nil {
			t.Error(err)
		}
		if got := (want{d.State, d.Class, len(attempts), d.Code, d.Reason}); got != w {
			t.Errorf("delivery %v is %v, want %v", id, got, w)
		}
	}
	late, err := s.Attempts(context.Background(), "acme", first(evLate))
	if err != nil || len(late) != 1 || !late[0].Late || late[0].Counted || late[0].Code != 200 || string(late[0].Response) != "ok" {
		t.Errorf("the late attempt is %+v, %v", late, err)
	}
	later, err := s.Deliveries(context.Background(), store.DeliveryQuery{Tenant: "acme", Event: goldenID(evDead), Destination: "ep:acme/other"})
	if err != nil || len(later.Items) != 1 || later.Items[0].Origin != first(evDead) || later.Items[0].Lane != "later" {
		t.Errorf("the later delivery is %+v, %v", later.Items, err)
	}
}

func payloadsAreTheSame(t *testing.T, s *opened) {
	page, err := s.Events(context.Background(), store.EventQuery{Tenant: "acme", Page: store.Paging{Limit: 1000}})
	if err != nil || len(page.Items) != 17 {
		t.Fatalf("%d events, %v", len(page.Items), err)
	}
	for _, ev := range page.Items {
		n := int(ev.ID[14])<<8 | int(ev.ID[15])
		if !bytes.Equal(ev.Payload, goldenPayload(n, 40)) || ev.View != uint64(n) {
			t.Errorf("event %d is %+v", n, ev)
		}
		if n != evMoved {
			continue
		}
		want := map[string][]string{"X-Request-Id": {"a1", "b2"}, "User-Agent": {"shop/7"}}
		if !maps.EqualFunc(ev.Header, want, slices.Equal) || ev.Labels["customer"] != "c-17" || ev.Labels[""] == "" || ev.OrderingKey != "c-17" {
			t.Errorf("what retention moved is %+v", ev)
		}
	}
	page, err = s.Events(context.Background(), store.EventQuery{Tenant: "", IDs: []store.ID{asideID}})
	if err != nil || len(page.Items) != 1 || string(page.Items[0].Payload) != `{"ref":"refs/heads/main"}` || page.Items[0].Source != "github" {
		t.Errorf("the event that is found aside is %+v, %v", page.Items, err)
	}
}

func keysAreTaken(t *testing.T, s *opened) {
	n := 1000
	use := func(source, key string, fingerprint uint64) store.AppendResult {
		n++
		ev := goldenEvent(n, "order.paid")
		ev.Source, ev.IdempotencyKey = source, key
		r, err := s.Commit(context.Background(), &store.Batch{Appends: []store.Append{{Event: ev, Fingerprint: fingerprint}}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Appends[0]
	}
	for _, k := range []struct {
		source, key string
		fingerprint uint64
		holder      int
	}{
		{"", "order-1", 0x1111, evForgotten}, // forgotten, and its key is not
		{"shop", "order-17", 0x2222, evKey},
		{"", "last", 0, evUnloaded},
	} {
		if r := use(k.source, k.key, k.fingerprint); !errors.Is(r.Err, store.ErrDuplicate) || r.ID != goldenID(k.holder) {
			t.Errorf("key %q: %v of %v", k.key, r.Err, r.ID)
		}
		if r := use(k.source, k.key, 0x9999); !errors.Is(r.Err, store.ErrConflict) || r.ID != goldenID(k.holder) {
			t.Errorf("key %q with other content: %v of %v", k.key, r.Err, r.ID)
		}
		if r := use("another source", k.key, 0); r.Err != nil {
			t.Errorf("key %q of another source: %v", k.key, r.Err)
		}
	}
	time.Sleep(31 * 24 * time.Hour)
	if r := use("shop", "order-17", 0x2222); r.Err != nil {
		t.Errorf("after 31 days: %v", r.Err)
	}
	if r := use("", "order-1", 0x1111); !errors.Is(r.Err, store.ErrDuplicate) {
		t.Errorf("a key with a window of 60 days, after 31: %v", r.Err)
	}
	for _, id := range []store.ID{goldenID(evWaits), asideID, goldenID(evUnloaded)} {
		tenant := "acme"
		if id == asideID {
			tenant = ""
		}
		r, err := s.Commit(context.Background(), &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: id, Tenant: tenant, Type: "again"}}}})
		if err != nil || r.Appends[0].Err != nil || !r.Appends[0].Repeated {
			t.Errorf("event %v again: %+v, %v", id, r, err)
		}
	}
}

func dueIsHandedOut(t *testing.T, s *opened) {
	claim := func() (got []store.DeliveryID) {
		r, err := s.Claim(context.Background(), store.ClaimRequest{Worker: "new", Max: 100, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Leases {
			if l.Event.ID != l.Delivery.ID.Event || !bytes.Equal(l.Event.Payload, goldenPayload(int(l.Event.ID[15]), 40)) {
				t.Errorf("the lease of %v brings the event %+v", l.Delivery.ID, l.Event)
			}
			got = append(got, l.Delivery.ID)
		}
		slices.SortFunc(got, store.DeliveryID.Compare)
		return got
	}
	want := func(what string, got []store.DeliveryID, ids ...store.DeliveryID) {
		if slices.SortFunc(ids, store.DeliveryID.Compare); !slices.Equal(got, ids) {
			t.Errorf("%s: claimed %v, want %v", what, got, ids)
		}
	}
	first := func(n int) store.DeliveryID { return store.DeliveryID{Event: goldenID(n)} }
	// Not what is held (evWaits, evKey), shut out by a dead head (evBehind), or not due (evMoved, the retries).
	want("at once", claim(), store.DeliveryID{Event: goldenID(evDead), N: store.FirstLater + 7}, first(evHurried), first(evReplay), first(evLate),
		first(evReleased), first(evLeased), first(evFreed), first(evUnloaded), store.DeliveryID{Event: goldenID(evUnloaded), N: 1})
	time.Sleep(3 * time.Hour)
	r, err := s.Commit(context.Background(), &store.Batch{Settles: []store.Settle{{ID: first(evHead), Tenant: "acme", Op: store.OpCancel}}})
	if err != nil || r.Settles[0] != nil {
		t.Fatalf("cancel the head: %+v, %v", r, err)
	}
	got := claim()
	for _, id := range []store.DeliveryID{{Event: goldenID(evWaits), N: 2}, first(evBehind), first(evOwnLane)} {
		if !slices.Contains(got, id) {
			t.Errorf("three hours later %v is not handed out: %v", id, got)
		}
	}
	time.Sleep(100 * 24 * time.Hour)
	got = claim()
	if !slices.Contains(got, first(evMoved)) || !slices.Contains(got, first(evKey)) || slices.Contains(got, first(evWaits)) {
		t.Errorf("in spring %v is handed out", got)
	}
}

func versionsAndGatesGoOn(t *testing.T, s *opened) {
	put := func(p store.DocPut) store.DocResult {
		r, err := s.Commit(context.Background(), &store.Batch{Docs: []store.DocPut{p}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Docs[0]
	}
	doc := func(kind, group, id string) store.Doc { return store.Doc{Kind: kind, Group: group, ID: id} }
	if r := put(store.DocPut{Doc: doc("endpoint", "acme", "billing"), Expect: 1}); !errors.Is(r.Err, store.ErrConflict) || r.Version != 2 {
		t.Errorf("an old version: %+v", r)
	}
	if r := put(store.DocPut{Doc: doc("endpoint", "acme", "gone")}); r.Err != nil || r.Version != 3 {
		t.Errorf("a document that was deleted, made again: %+v", r)
	}
	if r := put(store.DocPut{Doc: doc("job", "", "with a zero\x00byte"), Expect: 1}); r.Err != nil || r.Version != 2 {
		t.Errorf("a document with a zero byte in its name: %+v", r)
	}
	page, err := s.Docs(context.Background(), store.DocQuery{Kind: store.KindGate, Tenant: store.AllTenants})
	var names []string
	for _, d := range page.Items {
		names = append(names, d.ID)
	}
	if want := []string{"ep:acme/keys asked", "ep:acme/other limit", "ep:acme/waits paused"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("gates are %q, %v, want %q", names, err, want)
	}
}
