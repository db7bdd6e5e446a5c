package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The receiver is the other process. It takes POSTs on ports that are opened on request, answers 200, and counts.
//
// A path is an inbox: "/nine" and "/hang?delay=10s" are two. The query says how an inbox behaves:
//
//	delay=10s   wait so long before answering
//	fail=10     answer 500 to every tenth new message when it comes for the first time
//	order=1     check that messages of one key arrive with growing serial numbers
//	lag=1       note how long each message was on its way
//
// Control is a port of its own, so that its connections are not counted: POST /open answers a new port, GET /read?port=
// its counts, GET /lag?port=&inbox= the times on the way since the last call, POST /close?port= forgets it.

// inboxCounts says what came to one inbox.
type inboxCounts struct {
	Requests  int // all of them
	Unique    int // different message ids among those answered with 200
	Repeated  int // answered with 200 before
	Refused   int // answered with 500 on purpose
	Unsigned  int // without a signature, or not a payload of ours; answered with 400
	Disorders int // new messages that came after a later one of their key
}

// portCounts says what came to one port.
type portCounts struct {
	Connections int // opened
	Inboxes     map[string]inboxCounts
}

// lagCounts are times on the way, from publishing to the arrival of the whole body, in nanoseconds.
type lagCounts struct {
	Count    int
	P50, P99 int64
}

type inbox struct {
	mu      sync.Mutex
	counts  inboxCounts
	seen    map[string]struct{}
	refused map[string]struct{}
	fresh   int               // different ids, refused ones included
	last    map[uint64]uint64 // key to serial number
	lags    []int64
}

// manners is how an inbox behaves, parsed once for each path and query.
type manners struct {
	inbox *inbox
	delay time.Duration
	fail  int
	order bool
	lag   bool
}

type port struct {
	server      *http.Server
	connections atomic.Int64
	manners     sync.Map // path and query to *manners
	mu          sync.Mutex
	inboxes     map[string]*inbox
}

func (p *port) behave(target string) (*manners, error) {
	if m, ok := p.manners.Load(target); ok {
		return m.(*manners), nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	m := &manners{order: q.Has("order"), lag: q.Has("lag")}
	if s := q.Get("delay"); s != "" {
		if m.delay, err = time.ParseDuration(s); err != nil {
			return nil, err
		}
	}
	if s := q.Get("fail"); s != "" {
		if m.fail, err = strconv.Atoi(s); err != nil {
			return nil, err
		}
	}
	name := strings.TrimPrefix(u.Path, "/")
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.inbox = p.inboxes[name]; m.inbox == nil {
		m.inbox = &inbox{seen: map[string]struct{}{}, refused: map[string]struct{}{}, last: map[uint64]uint64{}}
		p.inboxes[name] = m.inbox
	}
	got, _ := p.manners.LoadOrStore(target, m)
	return got.(*manners), nil
}

var bodies = sync.Pool{New: func() any { return new([4 * payloadSize]byte) }}

func (p *port) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, err := p.behave(r.RequestURI)
	if err != nil || r.ContentLength < 0 || r.ContentLength > 4*payloadSize {
		http.Error(w, "not for this receiver", http.StatusBadRequest)
		return
	}
	buf := bodies.Get().(*[4 * payloadSize]byte)
	defer bodies.Put(buf)
	body := buf[:r.ContentLength]
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return
	}
	now := time.Now()
	if m.delay > 0 {
		wait := time.NewTimer(m.delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
	}
	w.WriteHeader(m.take(r.Header.Get("webhook-id"), r.Header.Get("webhook-signature"), body, now))
}

// take counts one message and says how to answer it.
func (m *manners) take(id, signature string, body []byte, now time.Time) int {
	n, at, key, err := readPayload(body)
	in := m.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	in.counts.Requests++
	if err != nil || id == "" || signature == "" {
		in.counts.Unsigned++
		return http.StatusBadRequest
	}
	if _, ok := in.seen[id]; ok {
		in.counts.Repeated++
		return http.StatusOK
	}
	if m.fail > 0 {
		if _, ok := in.refused[id]; !ok {
			if in.fresh++; in.fresh%m.fail == 0 {
				in.refused[id] = struct{}{}
				in.counts.Refused++
				return http.StatusInternalServerError
			}
		}
	}
	in.seen[id] = struct{}{}
	in.counts.Unique++
	if m.order {
		if n <= in.last[key] {
			in.counts.Disorders++
		} else {
			in.last[key] = n
		}
	}
	if m.lag {
		in.lags = append(in.lags, now.UnixNano()-int64(at))
	}
	return http.StatusOK
}

func (p *port) read() portCounts {
	c := portCounts{Connections: int(p.connections.Load()), Inboxes: map[string]inboxCounts{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, in := range p.inboxes {
		in.mu.Lock()
		c.Inboxes[name] = in.counts
		in.mu.Unlock()
	}
	return c
}

func (p *port) lag(name string) lagCounts {
	p.mu.Lock()
	in := p.inboxes[name]
	p.mu.Unlock()
	if in == nil {
		return lagCounts{}
	}
	in.mu.Lock()
	lags := in.lags
	in.lags = nil
	in.mu.Unlock()
	slices.Sort(lags)
	return lagCounts{Count: len(lags), P50: percentile(lags, 0.5), P99: percentile(lags, 0.99)}
}

// receiverProcess is all ports.
type receiverProcess struct {
	mu    sync.Mutex
	ports map[string]*port
}

func (rp *receiverProcess) open() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p := &port{inboxes: map[string]*inbox{}}
	p.server = &http.Server{
		Handler:  p,
		ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				p.connections.Add(1)
			}
		},
	}
	rp.mu.Lock()
	rp.ports[l.Addr().String()] = p
	rp.mu.Unlock()
	go func() { _ = p.server.Serve(l) }() // ends with Close
	return l.Addr().String(), nil
}

// onPort finds the port that the query names.
func (rp *receiverProcess) onPort(f func(w http.ResponseWriter, r *http.Request, addr string, p *port)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		addr := r.URL.Query().Get("port")
		rp.mu.Lock()
		p := rp.ports[addr]
		rp.mu.Unlock()
		if p == nil {
			http.Error(w, "no such port", http.StatusNotFound)
			return
		}
		f(w, r, addr, p)
	}
}

func (rp *receiverProcess) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /open", func(w http.ResponseWriter, _ *http.Request) {
		addr, err := rp.open()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(w, addr)
	})
	mux.HandleFunc("GET /read", rp.onPort(func(w http.ResponseWriter, _ *http.Request, _ string, p *port) {
		writeJSON(w, p.read())
	}))
	mux.HandleFunc("GET /lag", rp.onPort(func(w http.ResponseWriter, r *http.Request, _ string, p *port) {
		writeJSON(w, p.lag(r.URL.Query().Get("inbox")))
	}))
	mux.HandleFunc("POST /close", rp.onPort(func(w http.ResponseWriter, _ *http.Request, addr string, p *port) {
		rp.mu.Lock()
		delete(rp.ports, addr)
		rp.mu.Unlock()
		_ = p.server.Close()
		writeJSON(w, "closed")
	}))
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// receive is the whole life of the receiver process. It writes the address of its control port, and ends when its input
// does: that is when the program that started it is gone, however it went.
func receive(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	rp := &receiverProcess{ports: map[string]*port{}}
	server := &http.Server{Handler: rp.control(), ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Shutdown(context.Background())
	}()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// receiveAndExit is what main does in the receiver process.
func receiveAndExit() {
	if err := receive(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench: receiver:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
