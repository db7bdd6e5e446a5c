package hookgate_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store/bolt"
)

// The child of TestTorture: a program with a gateway, a server and publishers, that is killed. It tells the parent what it
// does, one line of JSON for each thing, before and after it does it. A line is one write to a pipe, which a kill does not
// take back.

// tortureEnv makes the test binary a child of TestTorture. It names the folder.
const tortureEnv = "HOOKGATE_TORTURE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(tortureEnv); dir != "" {
		tortureChild(dir)
		return
	}
	os.Exit(m.Run())
}

// plan is what the parent tells the child, as the first line of its input.
type plan struct {
	Seed    uint64
	Round   int
	Key     int     // how many idempotency keys there are
	Unknown []thing // what has to be published again, with these IDs
}

// thing is something that is published: all that is in its event follows from it.
type thing struct {
	Name   string
	Type   string      `json:",omitzero"`
	Tenant string      `json:",omitzero"`
	Key    string      `json:",omitzero"` // idempotency
	Lane   string      `json:",omitzero"` // ordering key
	ID     hookgate.ID `json:",omitzero"` // chosen by the publisher, or told with an unknown outcome
}

func (th thing) event() hookgate.Event {
	return hookgate.Event{
		ID: th.ID, Type: th.Type, Tenant: th.Tenant, IdempotencyKey: th.Key, OrderingKey: th.Lane,
		Payload: tortureBody(th.Name), ContentType: "application/json",
	}
}

// tortureBody is the payload of a name. Most are small, a few are large.
func tortureBody(name string) []byte {
	h := fnv.New64a()
	h.Write([]byte(name))
	sum := h.Sum64()
	fill := int(sum % 900)
	if sum>>32%50 == 0 {
		fill += 40_000
	}
	return fmt.Appendf(nil, `{"name":%q,"fill":"%s"}`, name, strings.Repeat(string('a'+rune(sum%26)), fill))
}

// bodyName is the name in a payload.
func bodyName(body []byte) string {
	var b struct{ Name string }
	if json.Unmarshal(body, &b) != nil {
		return ""
	}
	return b.Name
}

// lane of a push, for Source.KeyOf.
func pushLane(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	return "push-" + strconv.Itoa(int(h.Sum32()%3))
}

// word is one line that the child says.
type word struct {
	Op    string // listening, try, accepted, refused, unknown, started, ended, broken, closed
	Thing thing  `json:",omitzero"`
	ID    hookgate.ID
	Text  string    `json:",omitzero"`
	At    time.Time `json:",omitzero"`

	// Of a handler's call, by its number in this round.
	Call    int  `json:",omitzero"`
	Success bool `json:",omitzero"`
}

// teller writes words.
type teller struct {
	mu  sync.Mutex
	out io.Writer
}

func (t *teller) say(w word) {
	line, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.out.Write(append(line, '\n')); err != nil {
		os.Exit(3) // the parent is gone
	}
}

// Headers that the child's dispatcher adds, for the receiver's ledger.
const (
	roundHeader = "X-Torture-Round"
	sentHeader  = "X-Torture-Sent" // nanoseconds
)

// roundDispatcher says in each request which round it belongs to: a request may be read after its sender was killed.
type roundDispatcher struct {
	hookgate.Dispatcher
	round int
}

func (d roundDispatcher) Dispatch(ctx context.Context, r *hookgate.Request) (*hookgate.Response, error) {
	r.Header.Set(roundHeader, strconv.Itoa(d.round))
	r.Header.Set(sentHeader, strconv.FormatInt(time.Now().UnixNano(), 10))
	return d.Dispatcher.Dispatch(ctx, r)
}

const (
	tortureSecret   = "a secret for the torture of github"
	tortureAttempts = 7 // at the most
	smallSegments   = "small-segments"
)

// tortured is a gateway with the store that it does not close by itself, if there is one.
type tortured struct {
	*hookgate.Gateway
	store io.Closer
}

// Close closes both.
func (g *tortured) Close() error {
	err := g.Gateway.Close()
	if g.store != nil {
		err = errors.Join(err, g.store.Close())
	}
	return err
}

// openTorture opens the gateway of a round. said gets what the handler does, log what the gateway logs. In every other
// life the journal's segments are small, so that many kills come when one follows another.
func openTorture(dir string, round int, rng *rand.Rand, said func(word), log io.Writer) (*tortured, error) {
	c := &hookgate.Config{
		Workers: 48, Timeout: 2 * time.Second, DrainTimeout: 5 * time.Second,
		MinRetryAfter: 20 * time.Millisecond, MaxRetryAfter: 60 * time.Millisecond,
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Logger:       slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	c.Retry = retry.Schedule(20*time.Millisecond, 30*time.Millisecond, 40*time.Millisecond, 50*time.Millisecond, 60*time.Millisecond, 70*time.Millisecond)
	c.Dispatcher = roundDispatcher{hookgate.NewHTTPDispatcher(c), round}
	gw, err := openSegments(dir, c)
	if err != nil {
		return nil, err
	}
	verifier, err := signing.GitHub(signing.NewSecret(tortureSecret))
	if err != nil {
		return nil, err
	}
	err = gw.AddSource("github", hookgate.Source{
		Verifier: verifier,
		KeyOf:    func(_ *http.Request, body []byte) string { return pushLane(bodyName(body)) },
	})
	if err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex
		calls int
	)
	for _, p := range places {
		if !p.handler {
			continue
		}
		err := gw.Handle(p.name, p.sub, func(_ context.Context, ev *hookgate.Event) error {
			mu.Lock()
			calls++
			call, luck, panics := calls, p.luck(rng, ev.ID), rng.IntN(20) == 0
			mu.Unlock()
			th := thing{Name: bodyName(ev.Payload)}
			said(word{Op: "started", Thing: th, ID: ev.ID, Text: p.name, Call: call, At: time.Now()})
			said(word{Op: "ended", Thing: th, ID: ev.ID, Text: p.name, Call: call, Success: luck == 200, At: time.Now()})
			switch {
			case luck == 200:
				return nil
			case panics:
				panic(fmt.Sprintf("call %d", call))
			}
			return fmt.Errorf("call %d", call)
		})
		if err != nil {
			return nil, err
		}
	}
	return gw, nil
}

// openSegments opens the default store as Open does, or with small segments where the folder's name asks for them.
func openSegments(dir string, c *hookgate.Config) (*tortured, error) {
	if filepath.Base(dir) != smallSegments {
		gw, err := hookgate.Open(dir, c)
		return &tortured{Gateway: gw}, err
	}
	s, err := bolt.Open(dir, &bolt.Options{MinSegment: 128 << 10, MaxSegment: 512 << 10, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	c.Store, c.PlainSecrets = s, true
	gw, err := hookgate.New(c)
	return &tortured{gw, s}, err
}

// tortureChild runs until it is killed, or closes cleanly when its input ends.
func tortureChild(dir string) {
	t := &teller{out: os.Stdout}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		os.Exit(3)
	}
	var p plan
	if err := json.Unmarshal(line, &p); err != nil {
		t.say(word{Op: "broken", Text: "read the plan: " + err.Error()})
		return
	}
	gw, err := openTorture(dir, p.Round, rand.New(rand.NewPCG(p.Seed, 0)), t.say, os.Stderr)
	if err != nil {
		t.say(word{Op: "broken", Text: "open: " + err.Error()})
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(context.Background()) }()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.say(word{Op: "broken", Text: err.Error()})
		return
	}
	go http.Serve(l, gw.Inbound("github"))
	t.say(word{Op: "listening", Text: "http://" + l.Addr().String()})

	pub := &publishers{gw: gw, teller: t, plan: p, stop: make(chan struct{})}
	pub.keys.Store(int64(p.Key))
	pub.again()
	for i, f := range []func(int, *rand.Rand){pub.plain, pub.plain, pub.named, pub.keyed, pub.keyed, pub.keyed, pub.lane, pub.lane, pub.batch, pub.impatient} {
		rng := rand.New(rand.NewPCG(p.Seed, uint64(i+1)))
		pub.running.Go(func() {
			for n := 0; pub.rest(rng); n++ {
				f(i*100_000+n, rng)
			}
		})
	}
	io.Copy(io.Discard, in)
	close(pub.stop)
	pub.running.Wait()
	if err := gw.Close(); err != nil {
		t.say(word{Op: "broken", Text: "close: " + err.Error()})
	}
	if err := <-ended; err != nil {
		t.say(word{Op: "broken", Text: "run: " + err.Error()})
	}
	t.say(word{Op: "closed"})
}

// publishers are the goroutines of the child that publish.
type publishers struct {
	*teller
	gw      *tortured
	plan    plan
	keys    atomic.Int64
	stop    chan struct{}
	running sync.WaitGroup
}

// rest waits a little, and says whether to go on.
func (p *publishers) rest(rng *rand.Rand) bool {
	select {
	case <-p.stop:
		return false
	case <-time.After(time.Duration(1+rng.IntN(12_000)) * time.Microsecond):
		return true
	}
}

func (p *publishers) name(kind string, n int) string {
	return fmt.Sprintf("%s/%d/%d", kind, p.plan.Round, n)
}

// publish tries until the outcome is known, and tells all of it. It answers the ID, zero if the thing was refused.
func (p *publishers) publish(ctx context.Context, th thing) hookgate.ID {
	for {
		p.say(word{Op: "try", Thing: th})
		receipt, err := p.gw.Publish(ctx, th.event())
		switch {
		case err == nil:
			p.say(word{Op: "accepted", Thing: th, ID: receipt.ID})
			return receipt.ID
		case errors.Is(err, hookgate.ErrUnknownOutcome):
			th.ID = receipt.ID
			p.say(word{Op: "unknown", Thing: th, Text: err.Error()})
			if receipt.ID.IsZero() {
				p.say(word{Op: "broken", Thing: th, Text: "an unknown outcome came without an ID"})
				return receipt.ID
			}
			ctx = context.Background()
		case ctx.Err() != nil:
			p.say(word{Op: "refused", Thing: th, ID: receipt.ID, Text: err.Error()})
			return hookgate.ID{}
		default:
			p.say(word{Op: "refused", Thing: th, ID: receipt.ID, Text: err.Error()})
			p.say(word{Op: "broken", Thing: th, Text: err.Error()})
			return hookgate.ID{}
		}
	}
}

// again publishes what was left unknown when the process before this one died.
func (p *publishers) again() {
	for _, th := range p.plan.Unknown {
		p.publish(context.Background(), th)
	}
}

func (p *publishers) plain(n int, _ *rand.Rand) {
	p.publish(context.Background(), thing{Name: p.name("plain", n), Type: "plain.thing"})
}

// named publishes with an ID of its own.
func (p *publishers) named(n int, rng *rand.Rand) {
	th := thing{Name: p.name("named", n), Type: "plain.named"}
	for i := range th.ID {
		th.ID[i] = byte(rng.Uint32())
	}
	p.publish(context.Background(), th)
}

// keyed publishes under idempotency keys that others use too, at the same time and in other rounds. The same key with other
// content must be a conflict.
func (p *publishers) keyed(_ int, rng *rand.Rand) {
	k := max(int(p.keys.Load())-8+rng.IntN(10), 0)
	for now := p.keys.Load(); int64(k) >= now && !p.keys.CompareAndSwap(now, int64(k)+1); now = p.keys.Load() {
	}
	tenant := [...]string{"", "acme"}[rng.IntN(2)]
	th := thing{Name: fmt.Sprintf("key/%s/%d", tenant, k), Type: "key.thing", Tenant: tenant, Key: strconv.Itoa(k)}
	id := p.publish(context.Background(), th)
	if id.IsZero() || rng.IntN(4) > 0 {
		return
	}
	th.Name = p.name("conflict", int(rng.Uint32()))
	p.say(word{Op: "refused", Thing: th}) // it has to be, whatever comes now
	receipt, err := p.gw.Publish(context.Background(), th.event())
	if !errors.Is(err, hookgate.ErrConflict) || receipt.ID != id {
		p.say(word{Op: "broken", Thing: th, ID: receipt.ID, Text: fmt.Sprintf("a key was used again with other content, and the answer was %v", err)})
	}
}

// lane publishes into a lane of its own, one after the other, and into one that all share.
func (p *publishers) lane(n int, rng *rand.Rand) {
	lane := fmt.Sprintf("own-%d", n/100_000)
	if rng.IntN(3) == 0 {
		lane = "shared"
	}
	p.publish(context.Background(), thing{Name: p.name(lane, n), Type: "lane.thing", Lane: lane})
}

// batch publishes several together.
func (p *publishers) batch(n int, rng *rand.Rand) {
	things := make([]thing, 1+rng.IntN(12))
	events := make([]hookgate.Event, len(things))
	for i := range things {
		things[i] = thing{Name: p.name("batch", n*100+i), Type: "batch.thing"}
		if i%3 == 0 {
			things[i].Type, things[i].Lane = "lane.batch", "batch"
		}
		p.say(word{Op: "try", Thing: things[i]})
		events[i] = things[i].event()
	}
	receipts, err := p.gw.PublishAll(context.Background(), events)
	for i, r := range receipts {
		if r.Err != nil {
			p.say(word{Op: "unknown", Thing: things[i], Text: r.Err.Error()})
			p.say(word{Op: "broken", Thing: things[i], Text: r.Err.Error()})
			continue
		}
		p.say(word{Op: "accepted", Thing: things[i], ID: r.ID})
	}
	if len(receipts) != len(things) {
		p.say(word{Op: "broken", Text: fmt.Sprintf("%d receipts for %d events: %v", len(receipts), len(things), err)})
	}
}

// impatient publishes with a context that ends, perhaps in the middle.
func (p *publishers) impatient(n int, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(3000))*time.Microsecond)
	defer cancel()
	p.publish(ctx, thing{Name: p.name("impatient", n), Type: "plain.impatient"})
}
