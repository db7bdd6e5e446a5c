package hookgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/transform"
)

func mustHandle(t *testing.T, g *Gateway, name string, fn func(context.Context, *Event) error, opts ...HandlerOption) {
	t.Helper()
	if err := g.Handle(name, Subscription{}, fn, opts...); err != nil {
		t.Fatal(err)
	}
}

func TestHandlerSaysWhatBecomesOfItsDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, Config{})
		start := time.Now()
		var mu sync.Mutex
		calls := map[string][]time.Duration{}
		mustHandle(t, g, "h", func(_ context.Context, ev *Event) error {
			mu.Lock()
			calls[ev.Type] = append(calls[ev.Type], time.Since(start))
			n := len(calls[ev.Type])
			mu.Unlock()
			switch {
			case ev.Type == "permanent":
				return Permanent(errors.New("no such customer"))
			case ev.Type == "ignore":
				return Ignore("not ours")
			case ev.Type == "later" && n == 1:
				return RetryAfter(time.Hour, errors.New("closed"))
			case ev.Type == "panic" && n == 1:
				panic("boom")
			case ev.Type == "goexit" && n == 1:
				runtime.Goexit()
			case ev.Type == "error" && n == 1:
				return errors.New("no luck")
			}
			return nil
		})
		ids := map[string]ID{}
		for _, typ := range []string{"fine", "permanent", "ignore", "later", "panic", "goexit", "error"} {
			ids[typ] = mustPublish(t, g, Event{Type: typ})
		}
		time.Sleep(2 * time.Hour)
		for typ, want := range map[string]struct {
			state  State
			reason string
			calls  int
			class  string // of the first attempt
		}{
			"fine":      {Done, reasonDelivered, 1, ""},
			"permanent": {Dead, reasonPermanent, 1, classHandler},
			"ignore":    {Done, "ignored: not ours", 1, ""},
			"later":     {Done, reasonDelivered, 2, classHandler},
			"panic":     {Done, reasonDelivered, 2, classPanic},
			"goexit":    {Done, reasonDelivered, 2, classPanic},
			"error":     {Done, reasonDelivered, 2, classHandler},
		} {
			d := wantState(t, g, ids[typ], want.state, want.reason)
			list := attempts(t, g, d.ID)
			if len(calls[typ]) != want.calls || len(list) != want.calls || list[0].Class != want.class || !list[0].Counted {
				t.Errorf("%s: %d calls, attempts %+v", typ, len(calls[typ]), list)
			}
		}
		if again := calls["later"][1]; again < time.Hour || again > time.Hour+time.Second {
			t.Errorf("called again after %v, want an hour", again)
		}
		if again := calls["panic"][1]; again < 4*time.Second || again > 7*time.Second {
			t.Errorf("called again after %v, want 5 s", again)
		}
	})
}

// Functions that end their goroutines do not use the workers up.
func TestWorkersOutliveTheirFunctions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, Config{Workers: 2, PerDestination: 2})
		var calls atomic.Int64
		mustHandle(t, g, "h", func(context.Context, *Event) error {
			if calls.Add(1)%2 == 0 {
				panic(fmt.Sprint("boom ", calls.Load()))
			}
			runtime.Goexit()
			return nil
		})
		for range 50 {
			mustPublish(t, g, Event{})
		}
		time.Sleep(200 * time.Hour)
		if s, err := g.store.Stats(t.Context()); err != nil || s.Dead != 50 || calls.Load() != 500 {
			t.Errorf("%d calls, %+v, %v", calls.Load(), s, err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHandlerThatNeverReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		var calls atomic.Int64
		g := startGateway(t, Config{Timeout: 10 * time.Second})
		mustHandle(t, g, "h", func(context.Context, *Event) error {
			if calls.Add(1) == 1 {
				<-let
			}
			return nil
		}, HandlerLimit(2))
		id := mustPublish(t, g, Event{})
		time.Sleep(13 * time.Second)
		d := wantState(t, g, id, Pending, "")
		list := attempts(t, g, d.ID)
		if len(list) != 1 || list[0].Class != classTimeout || !list[0].Counted {
			t.Errorf("%+v: the attempt failed after its timeout", list)
		}
		if stuck := g.Stuck(); len(stuck) != 1 || stuck[0].Delivery != d.ID || stuck[0].Destination != "fn:h" {
			t.Errorf("stuck: %+v", stuck)
		}
		time.Sleep(time.Hour)
		if n := calls.Load(); n != 1 {
			t.Errorf("called %d times while the first call had not returned", n)
		}
		if d := delivery(t, g, id); d.Attempts != 1 {
			t.Errorf("%+v: it is not tried meanwhile", d)
		}
		other := mustPublish(t, g, Event{})
		time.Sleep(time.Second)
		wantState(t, g, other, Done, reasonDelivered) // there is a second slot
		close(let)
		time.Sleep(time.Minute)
		wantState(t, g, id, Done, reasonDelivered)
		if len(g.Stuck()) != 0 || calls.Load() != 3 {
			t.Errorf("stuck: %+v, %d calls", g.Stuck(), calls.Load())
		}
	})
}

func TestSlowHandlerKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		g := startGateway(t, Config{})
		mustHandle(t, g, "h", func(context.Context, *Event) error {
			calls.Add(1)
			time.Sleep(30 * time.Minute)
			return nil
		}, HandlerTimeout(time.Hour))
		id := mustPublish(t, g, Event{})
		time.Sleep(time.Hour)
		d := wantState(t, g, id, Done, reasonDelivered)
		if calls.Load() != 1 || d.Abandoned != 0 || len(attempts(t, g, d.ID)) != 1 {
			t.Errorf("%d calls, %+v", calls.Load(), d)
		}
	})
}

func TestHandlerThatIsNotRegisteredWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTestStore(t)
		nothing := func(context.Context, *Event) error { return nil }
		g := newEngine(t, Config{Store: s})
		mustHandle(t, g, "h", nothing)
		id := mustPublish(t, g, Event{})
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = startGateway(t, Config{Store: s})
		time.Sleep(time.Hour)
		wantState(t, g, id, Pending, "")
		mustHandle(t, g, "h", nothing)
		g.sched.kick()
		time.Sleep(time.Second)
		wantState(t, g, id, Done, reasonDelivered)
	})
}

func TestTransformersMakeTheMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		failures := 0
		g := startGateway(t, Config{Dispatcher: c, Transformer: transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) {
			switch {
			case m.Type == "filtered":
				return nil, nil
			case m.Type == "failing" && failures == 0:
				failures++
				return nil, errors.New("no template")
			case m.Type == "panic" && failures == 1:
				failures++
				panic("boom")
			}
			m.Header.Set("X-Made", "yes")
			m.Header.Set("Webhook-Signature", "forged")
			m.ContentType = "text/plain"
			m.Body = []byte(strings.ToUpper(string(m.Body)))
			return m, nil
		})})
		mustCreate(t, g, "", "a")
		plain := mustPublish(t, g, Event{Type: "plain", Payload: []byte("abc"), ContentType: "application/json"})
		time.Sleep(time.Second)
		got := c.arrivals()
		if len(got) != 1 || got[0].body != "ABC" || got[0].header.Get("X-Made") != "yes" || got[0].header.Get("Content-Type") != "text/plain" {
			t.Fatalf("%+v", got)
		}
		if sig := got[0].header.Values("Webhook-Signature"); len(sig) != 1 || !strings.HasPrefix(sig[0], "v1,") {
			t.Errorf("signature %q: the signer's headers win", sig)
		}
		wantState(t, g, plain, Done, reasonDelivered)
		page, err := g.store.Events(t.Context(), EventQuery{Tenant: AllTenants, IDs: []ID{plain}})
		if err != nil || string(page.Items[0].Payload) != "abc" {
			t.Errorf("%+v, %v: the event stays as it came", page.Items, err)
		}

		filtered := mustPublish(t, g, Event{Type: "filtered"})
		failing := mustPublish(t, g, Event{Type: "failing"})
		time.Sleep(10 * time.Second)
		panics := mustPublish(t, g, Event{Type: "panic"})
		time.Sleep(time.Minute)
		wantState(t, g, filtered, Done, reasonFiltered)
		for id, class := range map[ID]string{failing: classTransform, panics: classPanic} {
			d := wantState(t, g, id, Done, reasonDelivered)
			if list := attempts(t, g, d.ID); len(list) != 2 || list[0].Class != class {
				t.Errorf("%+v", list)
			}
		}
	})
}

// brokenSigner fails as one does whose key store is down.
type brokenSigner struct {
	Signer
	broken atomic.Bool
}

func (s *brokenSigner) Sign(h http.Header, m signing.Message, secrets []Secret) error {
	if s.broken.Load() {
		return errors.New("the key store is down")
	}
	return s.Signer.Sign(h, m, secrets)
}

func TestLocalFaultsBurnNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: func(_ context.Context, n int, _ *Request) (*Response, error) {
			if n <= 20 {
				return nil, local(classConnect, errors.New("no descriptors"))
			}
			return answer(200), nil
		}}
		s := &brokenSigner{Signer: signing.StandardWebhooks}
		g := startGateway(t, Config{Dispatcher: c, Signer: s})
		mustCreate(t, g, "", "a")
		s.broken.Store(true)
		id := mustPublish(t, g, Event{})
		time.Sleep(time.Hour)
		if c.count() != 0 {
			t.Errorf("%d unsigned requests", c.count())
		}
		s.broken.Store(false)
		time.Sleep(3 * time.Hour)
		d := wantState(t, g, id, Done, reasonDelivered)
		if d.Attempts != 1 || c.count() != 21 {
			t.Errorf("%d counted attempts, %d requests", d.Attempts, c.count())
		}
		if list := attempts(t, g, d.ID); len(list) > 60 {
			t.Errorf("%d records of waiting for ourselves", len(list))
		}
	})
}

func TestMissingPartsMakeDeliveriesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := newTestStore(t), &consumer{}
		same := transform.Func(func(_ context.Context, m *transform.Message) (*transform.Message, error) { return m, nil })
		g := newEngine(t, Config{Store: s, Dispatcher: c, PlainSecrets: true})
		if err := g.RegisterTransformer("same", same); err != nil {
			t.Fatal(err)
		}
		if err := g.RegisterTransformer("same", same); err == nil {
			t.Error("a name can be taken twice")
		}
		if _, _, err := g.CreateEndpoint(t.Context(), Endpoint{ID: "a", URL: "https://example.com", Transformer: "same", Subscriptions: []Subscription{{}}}); err != nil {
			t.Fatal(err)
		}
		id := mustPublish(t, g, Event{})
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = startGateway(t, Config{Store: s, Dispatcher: c, PlainSecrets: true})
		time.Sleep(time.Hour)
		if d := wantState(t, g, id, Pending, ""); d.Attempts != 0 || c.count() != 0 {
			t.Errorf("%+v, %d requests", d, c.count())
		}
		if err := g.RegisterTransformer("same", same); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		wantState(t, g, id, Done, reasonDelivered)
	})
}

func TestDispatcherThatAnswersNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{reply: func(_ context.Context, n int, _ *Request) (*Response, error) {
			switch n {
			case 1:
				return nil, nil
			case 2:
				panic("boom")
			case 3:
				return nil, errors.New("plain")
			}
			return &Response{Status: 200, Body: make([]byte, 1<<20)}, nil
		}}
		g := startGateway(t, Config{Dispatcher: nilGuard{c}})
		mustCreate(t, g, "", "a")
		id := mustPublish(t, g, Event{})
		time.Sleep(3 * time.Hour)
		d := wantState(t, g, id, Done, reasonDelivered)
		list := attempts(t, g, d.ID)
		if len(list) != 4 || list[0].Class != classOther || list[1].Class != classPanic || list[2].Error != "plain" || len(list[3].Response) != defaultMaxResponse {
			t.Errorf("%+v", list)
		}
	})
}

// nilGuard calls the reply alone: consumer itself looks into what it answers.
type nilGuard struct{ c *consumer }

func (n nilGuard) Dispatch(ctx context.Context, r *Request) (*Response, error) {
	n.c.mu.Lock()
	n.c.got = append(n.c.got, arrival{})
	i := len(n.c.got)
	n.c.mu.Unlock()
	return n.c.reply(ctx, i, r)
}
