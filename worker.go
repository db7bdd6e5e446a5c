package hookgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/transform"
)

// overdueAfter is what an attempt gets beyond its timeout to notice that its context ended.
const overdueAfter = time.Second

// work is a worker, one of Config.Workers goroutines of Run: it takes what the scheduler gives it, tries once, and hands
// the outcome to the committer. It ends when the scheduler says so.
//
// A function of the application that calls runtime.Goexit ends the goroutine that runs it. Then another worker takes
// the place of this one.
func (g *Gateway) work(r *running) {
	var w *work
	home := false
	defer func() {
		if home {
			r.workers.Done()
			return
		}
		if w != nil {
			ev := w.event
			g.conclude(w, g.view.target(w.dest.name), tried{err: errors.New("the function ended its goroutine (runtime.Goexit)"), panicked: true}, ev)
			g.sched.free(w)
		}
		go g.work(r) // a worker, in the place of this one
	}()
	for {
		if w = g.sched.next(w); w == nil {
			home = true
			return
		}
		g.attempt(r.attempts, w)
	}
}

// attempt tries a delivery once and sees to its outcome.
func (g *Gateway) attempt(ctx context.Context, w *work) {
	ev := w.event
	if ev == nil {
		var err error
		if ev, err = g.readEvent(ctx, w.id.Event); err != nil {
			if errors.Is(err, ErrNotFound) {
				g.finish(w, verdict{op: store.OpDead, reason: reasonMissing}, false)
				return
			}
			g.conclude(w, nil, tried{err: local(classSetup, fmt.Errorf("the event could not be read: %w", err)), stopped: ctx.Err() != nil}, nil)
			return
		}
	}
	t, err := g.view.find(ctx, w.dest.name)
	switch {
	case err != nil:
		g.conclude(w, nil, tried{err: local(classSetup, err), stopped: ctx.Err() != nil}, nil)
		return
	case t == nil && isEndpoint(w.dest.name):
		g.finish(w, verdict{op: store.OpDead, reason: reasonDeleted}, false)
		return
	case t == nil:
		// Neither this nor the next is handed out as a rule: it changed after the claim.
		g.finish(w, verdict{op: store.OpRelease, after: time.Minute, reason: reasonNoHandler}, false)
		return
	case t.disabled():
		g.finish(w, verdict{op: store.OpRelease, after: time.Minute, reason: reasonDisabled}, false)
		return
	}
	began := time.Now()
	if reason := g.tooLate(w, ev, began); reason != "" {
		g.finish(w, verdict{op: store.OpDead, reason: reason}, g.blocks(w, t, ev))
		return
	}

	if t.endpoint != nil && t.opened.Load() == nil {
		// A KeyProvider may have to be asked, and that is not the attempt's time.
		if !g.opening.enter(ctx) {
			g.finish(w, verdict{op: store.OpRelease, after: g.judge.localWait(tried{}), reason: reasonKeys}, false)
			return
		}
		if err := g.opening.open(ctx, t); err != nil {
			g.conclude(w, t, tried{err: local(classSetup, err), stopped: ctx.Err() != nil}, ev)
			return
		}
		began = time.Now()
	}

	timeout := g.cfg.Timeout
	switch {
	case t.handler != nil:
		timeout = t.handler.timeout
	case t.endpoint.Timeout > 0:
		timeout = t.endpoint.Timeout
	}
	g.sched.begin(w, began, began.Add(timeout+overdueAfter), max(t.limit, 1))
	within := newAttemptContext(ctx, began.Add(timeout))
	res := g.try(within, w, t, ev, began, timeout)
	within.end()
	res.stopped = res.err != nil && ctx.Err() != nil
	g.conclude(w, t, res, ev)
}

func isEndpoint(d Destination) bool {
	return len(d) > len(endpointPrefix) && d[:len(endpointPrefix)] == endpointPrefix
}

// tooLate says why a delivery is not worth an attempt any more. One that a person asked for always is.
func (g *Gateway) tooLate(w *work, ev *Event, now time.Time) string {
	switch {
	case w.reason == reasonRedeliver:
	case !ev.Expires.IsZero() && !now.Before(ev.Expires):
		return reasonExpired
	case now.Sub(ev.Accepted) > g.cfg.MaxAge:
		return reasonTooOld
	}
	return ""
}

// try makes the attempt. Whatever the application's parts do, short of ending the goroutine, becomes a result.
func (g *Gateway) try(ctx context.Context, w *work, t *target, ev *Event, began time.Time, timeout time.Duration) (res tried) {
	defer func() {
		if p := recover(); p != nil {
			res.panicked, res.response = true, nil
			res.err = fmt.Errorf("panic: %v", p)
			g.logPanic(w, res.err)
		}
	}()
	tr, err := t.transformer(ev)
	if err != nil {
		res.err = local(classSetup, err)
		return res
	}
	if t.handler != nil {
		res = g.tryHandler(ctx, t.handler, tr, ev)
		return res
	}

	req := &Request{
		Delivery: w.id, Attempt: w.attempts + 1, Endpoint: t.endpoint, Event: ev,
		Method: http.MethodPost, URL: t.endpoint.URL, Body: ev.Payload, Timeout: timeout, Time: began,
	}
	own, err := t.header()
	if err != nil {
		res.err = local(classSetup, err)
		return res
	}
	req.Header = make(http.Header, 8+len(ev.Header)+len(own))
	for name, values := range ev.Header {
		req.Header[name] = values[:len(values):len(values)]
	}
	for name, value := range own {
		req.Header.Set(name, value)
	}
	id, at := w.id.Event.String(), began
	if tr != nil {
		m := message(ev, id, req.Method, req.URL, req.Header)
		if m, err = tr.Transform(ctx, m); m == nil || err != nil {
			res.filtered = err == nil
			res.err = transformError(ctx, err)
			return res
		}
		req.Method, req.URL, req.Header, req.Body = m.Method, m.URL, m.Header, m.Body
		if req.Header == nil {
			req.Header = make(http.Header, 8)
		}
		if m.ContentType != "" {
			req.Header["Content-Type"] = []string{m.ContentType}
		}
		at = time.Now()
		req.Time = at
	}

	cred, err := t.credentials()
	if err != nil {
		res.err = local(classSetup, err)
		return res
	}
	if cred != nil {
		res.response, res.err = g.tryAuthorized(ctx, t, cred, req, signing.Message{ID: id, Time: at})
		return res
	}
	if err := t.sign(req, signing.Message{ID: id, Time: at}); err != nil {
		res.err = local(classSetup, err)
		return res
	}
	res.response, res.err = dispatch(ctx, g.dispatcher, req)
	return res
}

// sign signs a request with the endpoint's active keys. The message has its ID and time.
func (t *target) sign(req *Request, m signing.Message) error {
	signer, err := t.signer()
	if err != nil {
		return err
	}
	secrets, err := t.secrets(m.Time)
	if err != nil {
		return err
	}
	// Signed last, with the time of this attempt: the signature's headers win over all others.
	m.Type, m.Method, m.URL, m.ContentType, m.Body = req.Event.Type, req.Method, req.URL, req.Event.ContentType, req.Body
	if err := signer.Sign(req.Header, m, secrets); err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	return nil
}

func dispatch(ctx context.Context, d Dispatcher, req *Request) (*Response, error) {
	res, err := d.Dispatch(ctx, req)
	if res == nil && err == nil {
		err = failed(classOther, errors.New("the dispatcher returned neither an answer nor an error"))
	}
	return res, err
}

// logPanic logs the stack of a panic at the first time that a destination has it with this text, and one line later on:
// a handler that panics does so for every event.
func (g *Gateway) logPanic(w *work, err error) {
	text := cleanText(err.Error(), 300)
	attrs := []any{"delivery", w.id.String(), "destination", string(w.dest.name), "error", text}
	if g.sched.panics.first(string(w.dest.name) + "\x00" + text) {
		attrs = append(attrs, "stack", string(debug.Stack()))
	}
	g.log.Error("hookgate: panic in an attempt", attrs...)
}

// maxPanics is how many kinds of panics are remembered; then all are forgotten and logged with their stacks again.
const maxPanics = 1024

// panicLog knows which panics were logged with their stacks. Its zero value is ready to use, by several goroutines.
type panicLog struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first reports whether the panic is new.
func (l *panicLog) first(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[what] {
		return false
	}
	if l.seen == nil || len(l.seen) >= maxPanics {
		l.seen = make(map[string]bool)
	}
	l.seen[what] = true
	return true
}

// tryHandler calls a handler with the event, or with what a transformer makes of it.
func (g *Gateway) tryHandler(ctx context.Context, h *handler, tr Transformer, ev *Event) (res tried) {
	if tr != nil {
		header := make(http.Header, len(ev.Header))
		for name, values := range ev.Header {
			header[name] = values[:len(values):len(values)]
		}
		m, err := tr.Transform(ctx, message(ev, ev.ID.String(), "", "", header))
		if m == nil || err != nil {
			return tried{filtered: err == nil, err: transformError(ctx, err)}
		}
		changed := *ev
		changed.Payload, changed.ContentType, changed.Header = m.Body, m.ContentType, m.Header
		ev = &changed
	}
	res.err = h.fn(ctx, ev)
	var outcome *outcomeError
	if res.err != nil && !errors.As(res.err, &outcome) {
		class := classHandler
		if errors.Is(res.err, context.DeadlineExceeded) && ctx.Err() != nil {
			class = classTimeout
		}
		res.err = failed(class, res.err)
	}
	return res
}

func transformError(ctx context.Context, err error) error {
	var outcome *outcomeError
	switch {
	case err == nil, errors.As(err, &outcome):
		return err
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return failed(classTimeout, fmt.Errorf("the transformer was not done in time: %w", err))
	}
	return failed(classTransform, err)
}

// message is what a transformer gets. The labels are the event's own: it reads them.
func message(ev *Event, id, method, url string, header http.Header) *transform.Message {
	m := &transform.Message{
		ID: id, Tenant: ev.Tenant, Source: ev.Source, Type: ev.Type, Accepted: ev.Accepted,
		Method: method, URL: url, Header: header, ContentType: ev.ContentType, Body: ev.Payload,
	}
	if len(ev.Labels) > 0 {
		m.Labels = make(map[string]string, len(ev.Labels))
		for k, v := range ev.Labels {
			m.Labels[k] = v
		}
	}
	return m
}

// readEvent reads an event that was not kept in memory.
func (g *Gateway) readEvent(ctx context.Context, id ID) (*Event, error) {
	page, err := g.store.Events(ctx, store.EventQuery{Tenant: AllTenants, IDs: []ID{id}})
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 {
		return nil, ErrNotFound
	}
	return &page.Items[0], nil
}

// conclude judges an attempt and hands the outcome over, with the attempt's record. It does nothing if the delivery was
// decided already, because the attempt was overdue.
func (g *Gateway) conclude(w *work, t *target, res tried, ev *Event) {
	res.now = time.Now()
	if g.sched.decide(w) {
		g.record(w, t, res, ev)
	}
}

// record is conclude for work that is decided.
func (g *Gateway) record(w *work, t *target, res tried, ev *Event) {
	res.attempts, res.recorded, res.first = w.attempts, w.recorded, w.first
	v := g.judge.judge(res)
	a := &w.attempt
	*a = Attempt{Delivery: w.id, Gen: w.gen, Code: v.code, Class: v.class, Error: v.text}
	if !w.began.IsZero() {
		a.Took = res.now.Sub(w.began)
	}
	if res.response != nil {
		a.Response = res.response.Body[:min(len(res.response.Body), max(g.cfg.MaxResponse, 0))]
	}
	item := w.settle(v)
	item.Attempt, item.ended = a, res.now
	item.Block = v.op == store.OpDead && g.blocks(w, t, ev)
	if v.hold > 0 {
		item.gate = &store.Gate{Destination: w.dest.name, Cause: causeAsked, Hold: v.hold, Reason: reasonAsked}
	}
	g.commit.post(w.ordered || v.hold > 0, item)
	if v.hold > 0 {
		g.sched.giveBack(w.dest.name)
	}
	if v.disable && t != nil && t.endpoint != nil {
		if err := g.setDisabled(g.commit.ctx, t.endpoint.Tenant, t.endpoint.ID, true, reasonGone); err != nil {
			g.log.Warn("hookgate: an endpoint answered 410 and could not be disabled", "destination", string(w.dest.name), "error", err)
		}
	}
}

// finish decides a delivery without an attempt.
func (g *Gateway) finish(w *work, v verdict, block bool) {
	if !g.sched.decide(w) {
		return
	}
	item := w.settle(v)
	item.Block = block
	g.commit.post(w.ordered, item)
}

// settle makes the outcome that a verdict means. That a person asked for an attempt is kept until there was one.
func (w *work) settle(v verdict) settleItem {
	if v.op == store.OpRelease {
		v.reason = releaseReason(w.reason, v.reason)
	}
	return settleItem{work: w, Settle: store.Settle{ID: w.id, Gen: w.gen, Op: v.op, After: v.after, Reason: v.reason}}
}

// releaseReason is the reason of a release: that a person asked stays in sight.
func releaseReason(had, now string) string {
	if had == reasonRedeliver {
		return had
	}
	return now
}

// blocks reports whether a dead letter keeps its lane shut.
func (g *Gateway) blocks(w *work, t *target, ev *Event) bool {
	if !w.ordered || t == nil || ev == nil {
		return false
	}
	sub := t.subscription(ev)
	return sub != nil && sub.Block
}
