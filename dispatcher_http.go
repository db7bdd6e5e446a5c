package hookgate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/internal/http1"
)

// What the HTTP dispatcher does not let anybody choose.
const (
	maxResponseHeader = 64 << 10         // all headers of an answer, interim (1xx) answers included
	maxDrain          = 64 << 10         // body beyond what is kept that is read so that the connection can be used again
	maxBodyTime       = 5 * time.Second  // for the body of an answer, whose outcome is known by then
	idleConnTimeout   = 90 * time.Second // how long an unused connection is kept
	maxIdleConns      = 512              // unused connections to all receivers together, or twice the workers if that is more
	maxPrepared       = 4096             // parsed URLs that are remembered
)

// HTTPDispatcher makes attempts over HTTP/1.1. It is what a gateway uses when Config.Dispatcher is nil; make one with
// NewHTTPDispatcher to wrap it in a dispatcher of your own. It is safe for concurrent use.
//
// What counts as an answer: the status line and the headers. A body that is cut off, oversized or too slow changes nothing
// about that, so a 2xx whose body never ends is delivered. At most Config.MaxResponse bytes of the body are kept. A little
// more is read so that the connection can be used again; beyond that the connection is closed.
//
// What it never does: follow a redirect (a 3xx is the answer), use a proxy (the environment is ignored), decompress, speak
// HTTP/2 (receivers are strangers, and its state machine is a large thing to expose to strangers), skip the verification
// of a certificate, or connect to an address that the guard refuses.
//
// A kept connection may turn out to be closed by the other side just as it is used again. If not one byte of an answer
// came, the request is sent once more on another connection, within the same attempt: delivery is at least once anyway,
// and otherwise every receiver with a short keep-alive would cost attempts. On a fresh connection nothing is repeated.
//
// There are never more connections to a receiver than attempts at it at a time. Connections are shared by requests to the same
// host with the same Request.TLS, and by no others: neither is a TLS session.
type HTTPDispatcher struct {
	client    *http1.Client
	guard     *guard
	connect   time.Duration
	handshake time.Duration
	tls       *tls.Config // never changed; cloned for each connection

	urls  sync.Map // URL as text -> *prepared
	known atomic.Int64

	closing context.Context // ends connections that are being made when the dispatcher is closed
	close   context.CancelFunc
}

// prepared is a URL as far as a request needs it.
type prepared struct {
	tls    bool
	addr   string
	target string
	host   string
	err    error // why there is nothing to send to
}

// NewHTTPDispatcher makes a dispatcher with the settings that Open and New would use: Workers, ConnectTimeout, TLSTimeout,
// MaxResponse, AllowPrivate, Resolver and Dial. Nil means all defaults. Close it when it is no longer used; a gateway
// closes only the one that it made itself.
func NewHTTPDispatcher(c *Config) *HTTPDispatcher {
	if c == nil {
		c = &Config{}
	}
	d := newHTTPDispatcher(c, newGuard(c), nil)
	d.client.Headers = nil // all: who wraps it may look at any
	return d
}

// newHTTPDispatcher takes the guard that the gateway also offers to others, and the roots to trust (nil: the system's). Of
// an answer's headers it keeps those that the gateway itself looks at.
func newHTTPDispatcher(c *Config, g *guard, roots *x509.CertPool) *HTTPDispatcher {
	workers := c.Workers
	if workers <= 0 {
		workers = 64
	}
	keep := c.MaxResponse
	if keep == 0 {
		keep = 1 << 10
	}
	d := &HTTPDispatcher{
		guard:     g,
		connect:   orDefault(c.ConnectTimeout, 5*time.Second),
		handshake: orDefault(c.TLSTimeout, 5*time.Second),
		tls: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            roots,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(256),
		},
	}
	d.closing, d.close = context.WithCancel(context.Background())
	d.client = &http1.Client{
		Dial:           d.dialPlain,
		DialTLS:        d.dialTLS,
		Headers:        []string{"Retry-After"},
		MaxHeader:      maxResponseHeader,
		MaxBody:        max(keep, 0),
		MaxDrain:       maxDrain,
		BodyTimeout:    maxBodyTime,
		MaxIdle:        max(maxIdleConns, 2*workers),
		MaxIdlePerHost: workers,
		IdleTimeout:    idleConnTimeout,
	}
	return d
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// Close gives up the connections that are not in use or still being made. Attempts on their way are not disturbed. It may
// be called twice.
func (d *HTTPDispatcher) Close() error {
	d.close()
	d.client.Close()
	return nil
}

// Dispatch makes one attempt. Request.Timeout bounds it if the context has no deadline.
func (d *HTTPDispatcher) Dispatch(ctx context.Context, r *Request) (*Response, error) {
	p := d.prepared(r.URL)
	if p.err != nil {
		return nil, p.err
	}
	if r.Timeout > 0 {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, r.Timeout)
			defer cancel()
		}
	}
	out := http1.Request{TLS: p.tls, Addr: p.addr, Method: http.MethodPost, Target: p.target, Host: p.host, Body: r.Body}
	if err := finishHeader(r, &out); err != nil {
		return nil, &DispatchError{Class: classProtocol, Err: err}
	}
	if r.Method != "" && r.Method != out.Method {
		if !isToken(r.Method) || r.Method == http.MethodConnect {
			return nil, &DispatchError{Class: classProtocol, Err: errors.New("the request's method cannot be sent")}
		}
		out.Method = r.Method
	}
	if out.Identity = r.TLS; r.TLS != nil && !p.tls {
		return nil, &DispatchError{Class: classTLS, Err: errors.New("the request is for http, and the endpoint's TLS settings need https")}
	}
	res, err := d.client.Do(ctx, &out)
	if err != nil {
		return nil, withTLSHint(d.failure(ctx, err), r.TLS)
	}
	if res.Status < 100 || res.Status > 599 {
		return nil, fault(classProtocol, false, nil, "the answer has the status %d, which is outside 100 to 599", res.Status)
	}
	return (*Response)(res), nil
}

// prepared answers what is prepared for a URL, and prepares it at the first question. Endpoints come and go; when too many
// URLs were seen, all are forgotten.
func (d *HTTPDispatcher) prepared(raw string) *prepared {
	if p, ok := d.urls.Load(raw); ok {
		return p.(*prepared)
	}
	if d.known.Add(1) > maxPrepared {
		d.urls.Clear()
		d.known.Store(1)
	}
	p := d.prepare(raw)
	d.urls.Store(raw, p)
	return p
}

func (d *HTTPDispatcher) prepare(raw string) *prepared {
	u, err := d.guard.rules.ParseURL(raw)
	if err != nil {
		return &prepared{err: &DispatchError{Class: classBlocked, Err: blockedReason(err)}}
	}
	p := &prepared{tls: u.Scheme == "https", target: wireTarget(u.RequestURI()), host: u.Host}
	port := u.Port()
	switch {
	case port != "":
	case p.tls:
		port = "443"
	default:
		port = "80"
	}
	p.addr = net.JoinHostPort(u.Hostname(), port)
	return p
}

// wireTarget escapes what would end the target in a request line early. The query of a URL may hold spaces and more.
func wireTarget(s string) string {
	plain := true
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] > ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// dialPlain makes a connection through the guard. It has a limit of its own within the attempt's.
func (d *HTTPDispatcher) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.connect, errConnectTimeout)
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	conn, err := d.guard.dial(ctx, network, addr)
	if err != nil {
		return nil, d.phase(ctx, phaseConnect, err)
	}
	return conn, nil
}

// dialTLS does the handshake here, not in the transport, because here its failures can be told from others. An identity
// adds what an endpoint has of its own.
func (d *HTTPDispatcher) dialTLS(ctx context.Context, network, addr string, identity *tls.Config) (net.Conn, error) {
	raw, err := d.dialPlain(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	config := d.tls.Clone()
	config.ServerName = host
	if identity != nil {
		addIdentity(config, identity)
	}
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeoutCause(ctx, d.handshake, errHandshakeTimeout)
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, d.phase(ctx, phaseHandshake, err)
	}
	return conn, nil
}
