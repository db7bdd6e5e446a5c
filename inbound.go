package hookgate

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
)

// EventIDHeader is the response header in which Inbound tells a proven sender the ID of the event that its request became.
// A repeat of the request gets the ID of the first.
const EventIDHeader = "Hookgate-Event-Id"

// What a sender is asked to wait before it tries again, by what is in the way.
const (
	afterFull     = 30 * time.Second // until somebody makes room
	afterFailed   = time.Minute      // until somebody looks at the disk
	afterClosed   = 5 * time.Second  // until the next process runs
	afterUnknown  = 2 * time.Second  // until the outcome is known
	afterUnproven = 10 * time.Second // until keys can be fetched
	afterCrowd    = time.Second      // until other bodies are stored
)

// minBodyRoom is how many bytes of bodies may be in memory at a time, of all sources together, before they are stored. It is
// more where Config.MaxPayload is large.
const minBodyRoom = 256 << 20

// inboundState is the gateway's sources by name. Requests look them up without a lock.
type inboundState struct {
	g       *Gateway
	sources atomic.Pointer[map[string]*source] // never edited once published
	closed  atomic.Bool
	room    atomic.Int64 // bytes that bodies may still take

	mu       sync.Mutex      // of those who add
	handlers map[string]bool // names that are taken
}

func (s *inboundState) init(g *Gateway) {
	s.g = g
	s.sources.Store(&map[string]*source{})
	s.handlers = make(map[string]bool)
	s.room.Store(max(minBodyRoom, 4*g.cfg.MaxPayload))
}

// hold takes room for a body, if there is any. Whoever took it gives it back by adding it to room.
func (s *inboundState) hold(n int64) bool {
	if s.room.Add(-n) >= 0 {
		return true
	}
	s.room.Add(n)
	return false
}

// close answers 503 from now on and writes the rings. Requests that are on their way to the store are not waited for: the
// committer answers them.
func (s *inboundState) close() {
	if s.closed.Swap(true) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range *s.sources.Load() {
		in.rejected.close()
	}
}

// source answers a source by name; nil if there is none.
func (s *inboundState) source(name string) *source { return (*s.sources.Load())[name] }

func (s *inboundState) add(in *source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	old := *s.sources.Load()
	if old[in.name] != nil {
		return configError("AddSource", "the source %s is declared already; to change its secrets, use ReplaceVerifier", in.name)
	}
	in.openRing(s.g)
	next := maps.Clone(old)
	next[in.name] = in
	s.sources.Store(&next)
	s.g.warnUnverified(in.name, in.Verifier)
	return nil
}

func noSource(name string) error {
	return fmt.Errorf("hookgate: source %q: %w", cleanText(name, 100), ErrNotFound)
}

// Inbound answers the handler that takes a source's requests in. Mount it for every method, because some providers prove
// an address with GET or OPTIONS; it answers 405 itself. It may be mounted before AddSource, answers 404 until then, and
// works without Run.
//
// Mount it outside of middleware that reads, decodes or unpacks bodies: a signature covers the bytes as they were sent.
//
// A request passes these steps, and the first that it fails answers:
//
//	method              405 with Allow
//	announced size      413
//	allow-list          403, before a byte of the body is read
//	rate                429 with Retry-After
//	body                413 too large, 408 too slow, 400 broken off, 503 too many of them at a time
//	handshake           the provider's answer; nothing is stored
//	signature, time     401, or Source.Status, whatever was wrong; 503 where the provider's keys cannot be fetched
//	Source.Check        422
//	the provider's ID   200 if it came before with the same content, 409 if with other content
//	store               503 with Retry-After if it is full, has failed or is closed
//
// Then 200 with an empty body: the event is on disk with all its deliveries, and EventIDHeader says its ID. It is 200 and
// not 202 or 204 because some providers take no other for a success, and empty because some act on what they read. A
// verifier whose provider wants to read something is a signing.Answerer, and its answer is sent instead.
//
// A stranger learns the status. What was wrong is kept for the operator: see Rejected.
func (g *Gateway) Inbound(source string) http.Handler {
	return &inboundHandler{g: g, source: source}
}

type inboundHandler struct {
	g      *Gateway
	source string
}

// ServeHTTP takes one request in.
func (h *inboundHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.g.inbound.source(h.source)
	if s == nil {
		http.NotFound(w, r)
		return
	}
	c := &inboundCall{
		g: h.g, s: s, proof: s.proof.Load(), w: w, r: r, now: time.Now(),
		unread: r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0,
	}
	defer c.release()
	if no := c.serve(); no != nil {
		c.refuse(no)
	}
}

// inboundCall is one request on its way in.
type inboundCall struct {
	g      *Gateway
	s      *source
	proof  *proof
	w      http.ResponseWriter
	r      *http.Request
	now    time.Time  // when it came
	sender netip.Addr // who sent it; not valid if that cannot be told
	remote string     // the same, in words
	url    string     // as the provider knows it
	body   []byte
	held   int64 // the room that body takes
	read   bool  // body is whole
	unread bool  // something of the body is still to come
	secret bool  // the request brought a secret of ours: nothing of it is kept
}

// refusal is why a request goes no further.
type refusal struct {
	status int
	reason string        // for the operator
	after  time.Duration // Retry-After, if positive
}

func refused(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

func later(after time.Duration, reason string) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, reason: reason, after: after}
}

// serve takes the steps in their order, cheapest and safest first. Nothing touches the store before the sender is proven.
func (c *inboundCall) serve() *refusal {
	if no := c.admit(); no != nil {
		return no
	}
	if no := c.readBody(); no != nil {
		return no
	}
	req := &signing.Request{
		Method: c.r.Method, URL: c.url, Header: c.r.Header, Body: c.body, Time: c.now,
		Remote: c.sender, TLS: c.r.TLS, Context: c.r.Context(),
	}
	if c.proof.handshake != nil {
		reply, err := c.proof.handshake.Handshake(req)
		if err != nil {
			c.hide(err)
			return c.unproven(err)
		}
		if reply != nil {
			c.reply(reply)
			return nil
		}
	}
	if c.r.Method != http.MethodPost {
		return refused(http.StatusBadRequest, "a %s request that is no handshake", c.r.Method)
	}
	ev, err := c.s.judge(c.proof, req, c.r)
	if err != nil {
		if check := (*checkError)(nil); errors.As(err, &check) {
			return refused(http.StatusUnprocessableEntity, "%v", err)
		}
		return c.unproven(err)
	}
	receipt, err := c.g.take(c.r.Context(), c.s, c.proof, ev)
	switch {
	case err != nil && c.r.Context().Err() != nil:
		return later(afterUnknown, "the sender did not wait")
	case err != nil:
		return c.g.notStored(c.s, err)
	}
	c.w.Header().Set(EventIDHeader, receipt.ID.String())
	if c.proof.answer != nil {
		if reply := c.proof.answer.Answer(req); reply != nil {
			if reply.Status < 200 || reply.Status > 299 {
				reply.Status = http.StatusOK // the event is stored: nothing else would be true
			}
			c.reply(reply)
			return nil
		}
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// unproven refuses a request whose sender is not proven, and has it sent again where only the keys for that are missing.
func (c *inboundCall) unproven(err error) *refusal {
	if errors.Is(err, signing.ErrUnavailable) {
		c.g.tell(c.s, "inbound requests cannot be verified for now and get 503", err)
		return later(afterUnproven, err.Error())
	}
	return refused(c.s.Status, "%v", err)
}

// hide drops what a refused request brought, if that was a secret of ours: the ring is shown to people.
func (c *inboundCall) hide(err error) {
	if e := (*signing.Error)(nil); errors.As(err, &e) && e.HoldsSecret {
		c.body, c.read, c.secret = nil, false, true
	}
}

// admit decides what can be decided without the body.
func (c *inboundCall) admit() *refusal {
	r, s := c.r, c.s
	sender, proxied := senderOf(r, s.TrustedProxies)
	c.sender = sender
	c.remote = "unknown"
	if sender.IsValid() {
		c.remote = sender.String()
	}
	c.url = urlOf(r, s.public, proxied)

	if c.g.inbound.closed.Load() {
		return later(afterClosed, "the gateway is shutting down")
	}
	if !slices.Contains(c.proof.methods, r.Method) {
		return refused(http.StatusMethodNotAllowed, "the method is not one of %s", c.proof.allow)
	}
	if r.ContentLength > s.MaxBody {
		return tooLarge(s.MaxBody)
	}
	if s.Allow != nil && !contains(s.Allow, sender) {
		return refused(http.StatusForbidden, "%s is not in Source.Allow", c.remote)
	}
	if ok, after := s.limiter.Allow(c.now); !ok {
		return &refusal{status: http.StatusTooManyRequests, reason: "more than Source.Rate", after: after}
	}
	return nil
}

func tooLarge(most int64) *refusal {
	return refused(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", most)
}

// judge proves the sender and makes the event of the request. A *checkError means that the sender is proven.
func (s *source) judge(p *proof, req *signing.Request, r *http.Request) (*Event, error) {
	verdict, err := p.verifier.Verify(req)
	if err != nil {
		return nil, err
	}
	if s.Check != nil {
		if err := s.Check(r, req.Body); err != nil {
			return nil, &checkError{err}
		}
	}
	return s.event(verdict, req, r), nil
}

// checkError is what Source.Check said.
type checkError struct{ err error }

func (e *checkError) Error() string { return "Source.Check: " + e.err.Error() }
func (e *checkError) Unwrap() error { return e.err }

// notStored says what a sender gets whose event could not be stored.
func (g *Gateway) notStored(s *source, err error) *refusal {
	limit := (*store.LimitError)(nil)
	switch {
	case errors.Is(err, ErrConflict):
		return refused(http.StatusConflict, "%s", reasonConflict)
	case errors.As(err, &limit):
		return refused(http.StatusUnprocessableEntity, "%v", err)
	case errors.Is(err, ErrClosed), errors.Is(err, store.ErrClosed):
		return later(afterClosed, "the gateway is shutting down")
	}
	g.tell(s, "inbound requests cannot be stored and get 503", err)
	switch {
	case errors.Is(err, ErrFull):
		return later(afterFull, "the store is full")
	case errors.Is(err, ErrUnknownOutcome):
		return later(afterUnknown, "the outcome is unknown")
	}
	return later(afterFailed, "the store cannot take it")
}

const reasonConflict = "the provider's ID came before with other content; if its repeats may differ, set Source.IDDecides"

// tell writes to the log why a source's requests are to come again, at most every ten seconds.
func (g *Gateway) tell(s *source, what string, err error) {
	now, last := time.Now().UnixNano(), s.told.Load()
	if (last == 0 || now-last >= int64(10*time.Second)) && s.told.CompareAndSwap(last, now) {
		g.log.Error("hookgate: "+what, "source", s.name, "error", err)
	}
}

// reply sends the answer to a handshake, or that to an event.
func (c *inboundCall) reply(reply *signing.Reply) {
	h := c.w.Header()
	for name, values := range reply.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("X-Content-Type-Options", "nosniff") // the body echoes what a stranger sent
	status := reply.Status
	if status == 0 {
		status = http.StatusOK
	}
	if status == http.StatusNoContent {
		h.Del("Content-Type")
		c.w.WriteHeader(status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(reply.Body) // nobody is left to be told; net/http leaves it out for HEAD
}

// refuse answers with the status alone and keeps the request for the operator.
func (c *inboundCall) refuse(no *refusal) {
	h := c.w.Header()
	switch no.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", c.proof.allow)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.FormatInt(max(int64(math.Ceil(no.after.Seconds())), 1), 10))
	}
	c.abandonBody(no.status)
	text := http.StatusText(no.status)
	if text == "" {
		text = "refused"
	}
	http.Error(c.w, strings.ToLower(text), no.status)

	c.g.log.Debug("hookgate: inbound request refused", "source", c.s.name, "status", no.status, "remote", c.remote, "reason", no.reason)
	switch no.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return // nothing is wrong with it, it will come again
	}
	it := &rejected{
		Time: c.now, Remote: c.remote, Method: cut(c.r.Method, 32), URL: c.url, Host: cut(c.r.Host, 255),
		Status: no.status, Reason: cleanText(no.reason, 300), Header: c.r.Header, Body: c.body, Whole: c.read,
	}
	if c.secret {
		it.URL, _, _ = strings.Cut(c.url, "?")
		it.Header = nil
	}
	c.s.rejected.add(it)
}

func cut(s string, most int) string { return s[:min(len(s), most)] }
