package hookgate_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

// The receivers of TestTorture run in the parent, so that what they saw survives the child.

// place is a destination of the torture, and how well it behaves.
type place struct {
	name    string
	tenant  string
	handler bool
	sub     hookgate.Subscription

	flight  int
	timeout time.Duration
	slow    time.Duration // at the most

	// In a hundred requests: how many get which answer. The rest gets 200.
	fails, asks, resets, hangs int
	refuses                    byte // events whose ID ends in a byte below get 500 for good
}

func anyOf(types ...string) hookgate.Subscription {
	return hookgate.Subscription{Source: "*", Types: types}
}

var places = []place{
	{name: "good", sub: anyOf("*")},
	{name: "flaky", sub: anyOf("plain.*", "key.*", "batch.*"), fails: 15, asks: 3, resets: 5},
	{name: "slow", sub: anyOf("batch.*", "push"), slow: 20 * time.Millisecond, flight: 4},
	{name: "hanging", sub: anyOf("plain.thing"), hangs: 4, flight: 6, timeout: 400 * time.Millisecond},
	{name: "ordered", sub: anyOf("lane.*", "push"), fails: 12, asks: 2, resets: 3},
	{name: "stubborn", sub: anyOf("key.*", "lane.batch"), fails: 5, refuses: 12},
	{name: "acme", tenant: "acme", sub: anyOf("*"), fails: 10},
	{name: "counter", handler: true, sub: anyOf("lane.*", "push", "key.*"), fails: 15},
}

// destination is the place's name in the store.
func (p *place) destination() hookgate.Destination {
	if p.handler {
		return hookgate.Destination("fn:" + p.name)
	}
	return hookgate.Destination("ep:" + p.tenant + "/" + p.name)
}

// wants reports whether an event has to go there.
func (p *place) wants(ev *hookgate.Event) bool {
	return (p.handler || p.tenant == ev.Tenant) && slices.ContainsFunc(p.sub.Types, func(t string) bool {
		prefix, star := strings.CutSuffix(t, "*")
		return t == ev.Type || star && strings.HasPrefix(ev.Type, prefix)
	})
}

// What a place does apart from answering with a status.
const (
	luckReset = -1
	luckHang  = -2
)

// luck says what the next answer is.
func (p *place) luck(rng *rand.Rand, id hookgate.ID) int {
	n := rng.IntN(100)
	if p.refuses > 0 && id[len(id)-1] < p.refuses {
		return http.StatusInternalServerError
	}
	for _, l := range []struct{ share, status int }{
		{p.fails, http.StatusInternalServerError}, {p.asks, http.StatusTooManyRequests}, {p.resets, luckReset}, {p.hangs, luckHang},
	} {
		if n < l.share {
			return l.status
		}
		n -= l.share
	}
	return http.StatusOK
}

// request is what a receiver or handler saw.
type request struct {
	no       int // names it: the answer's body says it
	place    *place
	id       hookgate.ID
	name     string // in the body
	round    int
	sent     time.Time // by the child's clock, which is the parent's
	answered time.Time
	status   int // 0: none
	wrong    string
}

// receivers serve all endpoints, and keep the ledger of requests.
type receivers struct {
	server  *httptest.Server
	secrets map[string]signing.Verifier
	healed  atomic.Bool
	busy    atomic.Int64

	mu       sync.Mutex
	rng      *rand.Rand
	requests []*request
}

func newReceivers(t *testing.T, seed uint64) *receivers {
	r := &receivers{rng: rand.New(rand.NewPCG(seed, 77)), secrets: map[string]signing.Verifier{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.busy.Add(1)
	defer r.busy.Add(-1)
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // its sender was killed in the middle: it was not sent
	}
	it := &request{name: bodyName(body)}
	for i := range places {
		if "/"+places[i].name == req.URL.Path {
			it.place = &places[i]
		}
	}
	if it.place == nil {
		http.NotFound(w, req)
		return
	}
	it.round, _ = strconv.Atoi(req.Header.Get(roundHeader))
	nanos, _ := strconv.ParseInt(req.Header.Get(sentHeader), 10, 64)
	it.sent = time.Unix(0, nanos)
	if err := it.id.UnmarshalText([]byte(req.Header.Get("Webhook-Id"))); err != nil {
		it.wrong = "webhook-id: " + err.Error()
	}
	_, err = r.secrets[it.place.name].Verify(&signing.Request{Method: req.Method, Header: req.Header, Body: body, Time: time.Now()})
	if err != nil {
		it.wrong = err.Error()
	}
	if !bytes.Equal(body, tortureBody(it.name)) {
		it.wrong = fmt.Sprintf("the body of %d bytes is not what was published", len(body))
	}

	r.mu.Lock()
	it.no = len(r.requests) + 1
	r.requests = append(r.requests, it)
	luck := it.place.luck(r.rng, it.id)
	wait := time.Duration(r.rng.Int64N(int64(it.place.slow) + 1))
	r.mu.Unlock()
	if r.healed.Load() && luck != http.StatusInternalServerError {
		luck, wait = http.StatusOK, 0
	}
	switch {
	case luck == luckHang:
		<-req.Context().Done()
		return
	case luck == luckReset:
		panic(http.ErrAbortHandler)
	case wait > 0:
		select {
		case <-req.Context().Done():
			return
		case <-time.After(wait):
		}
	}
	if luck == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	r.mu.Lock()
	it.status, it.answered = luck, time.Now()
	r.mu.Unlock()
	w.WriteHeader(luck)
	fmt.Fprintf(w, "request %d", it.no)
}

// settle waits until what a killed child had sent is dealt with.
func (r *receivers) settle(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.busy.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d requests do not end", r.busy.Load())
		}
	}
	return nil
}

// seen answers the ledger as it is now.
func (r *receivers) seen() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]request, len(r.requests))
	for i, it := range r.requests {
		list[i] = *it
	}
	return list
}

// heard adds a handler's call, which the child told of.
func (r *receivers) heard(round int, w word, calls map[int]*request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.Op == "ended" {
		if it := calls[w.Call]; it != nil {
			it.answered, it.status = w.At, http.StatusInternalServerError
			if w.Success {
				it.status = http.StatusOK
			}
		}
		return
	}
	it := &request{no: len(r.requests) + 1, id: w.ID, name: w.Thing.Name, round: round, sent: w.At}
	for i := range places {
		if places[i].name == w.Text {
			it.place = &places[i]
		}
	}
	calls[w.Call] = it
	r.requests = append(r.requests, it)
}
