// Package http1 sends a request over HTTP/1.1 and reads the beginning of the answer, on connections that are kept.
//
// It exists for one reason: net/http gives each connection two goroutines, and a request crosses from the caller to one of
// them, to the other and back. For a gateway that does little else this is most of the cost. Here the calling goroutine
// writes and reads by itself, and an idle connection is a struct in a list.
//
// What is hard about HTTP stays with net/http: answers are read by http.ReadResponse, all but the plainest. What this package has less of: no
// proxies, redirects, cookies, compression, upgrades, trailers of requests, streaming, or HTTP/2.
//
// The rules of reuse are those of net/http, or stricter. A connection is used again if the whole request was written, the
// whole answer was read, both sides want to keep it, and nothing arrived on it in between: bytes that come unasked could be
// taken for the answer to the next request.
package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// ErrHeaderTooLarge says that the headers of an answer went beyond Client.MaxHeader.
var ErrHeaderTooLarge = errors.New("the headers of the answer are too large")

// errInterim says that an answer never got beyond interim ones.
var errInterim = errors.New("invalid answer: too many interim (1xx) ones")

const (
	// inlineBody is how large a body may be to be written by the caller. The buffers of any system take that much at
	// once, so that the answer can be read next. A larger one is written beside, because a receiver may answer (413)
	// before it has read all.
	inlineBody = 32 << 10

	// maxInterim is how many interim answers are read before an answer.
	maxInterim = 5

	// readBuffer is what a connection keeps for reading.
	readBuffer = 4 << 10
)

// DialFunc connects to a host and port.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// DialTLSFunc connects to a host and port and answers a connection whose handshake is done. The identity is Request.Identity.
type DialTLSFunc func(ctx context.Context, network, addr string, identity *tls.Config) (net.Conn, error)

// Client sends requests. Its fields are set before the first one. It is safe for concurrent use.
type Client struct {
	Dial    DialFunc    // for http
	DialTLS DialTLSFunc // for https

	// Headers names, in their canonical form, those of an answer that somebody will read; others may be missing. It saves
	// work where answers are read for little more than their status. Nil: all.
	Headers []string

	MaxHeader      int           // bytes of all headers of an answer, interim answers included
	MaxBody        int           // bytes of a body that are kept
	MaxDrain       int           // bytes beyond those that are read so that the connection can be used again
	BodyTimeout    time.Duration // for the body, once the headers are there; what came until then is the answer
	MaxIdle        int           // idle connections in all
	MaxIdlePerHost int           // idle connections to one host
	IdleTimeout    time.Duration // how long one is kept idle

	idle pool
}

// Request is what to send. Nothing of it is used after Do returns. The caller has checked that its texts cannot break the
// message: method, target, host and header are written as they are.
type Request struct {
	TLS    bool
	Addr   string // host and port to connect to
	Method string
	Target string // path and query
	Host   string
	Header map[string][]string // without Host, Content-Length and whatever else belongs to the connection
	Body   []byte

	// Identity is what the dial function gets for https. A connection is used again only for requests with the same one:
	// what the other side knows of us by its client certificate, and whom we trust, belong to the connection.
	Identity *tls.Config

	UserAgent   string // added to what Header holds, unless it is empty
	ContentType string // the same
}

// Response is what came back.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // the beginning
}

// Do sends a request and reads the answer. An answer counts as soon as its headers are complete: a body that is cut off,
// endless or slow is no error. The context ends everything, connecting included; that it was cancelled may be noticed a
// quarter of a second late.
//
// If a kept connection breaks before one byte of an answer came, the request is sent once more, on a fresh one.
// Otherwise nothing is repeated. Errors of the dial functions are returned as they are.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := hostKey{r.TLS, r.Addr, r.Identity}
	if cn := c.idle.get(key); cn != nil {
		res, silent, err := c.exchange(ctx, cn, r)
		if err == nil || !silent || ctx.Err() != nil {
			return res, err
		}
	}
	cn, err := c.connect(ctx, key)
	if err != nil {
		return nil, err
	}
	res, _, err := c.exchange(ctx, cn, r)
	return res, err
}

// CloseIdle closes all connections that are not in use.
func (c *Client) CloseIdle() { c.idle.closeAll(false) }

// Close closes all connections that are not in use, and those in use as soon as they are not. It may be called twice.
func (c *Client) Close() { c.idle.closeAll(true) }

func (c *Client) connect(ctx context.Context, key hostKey) (*conn, error) {
	var nc net.Conn
	var err error
	if key.tls {
		nc, err = c.DialTLS(ctx, "tcp", key.addr, key.identity)
	} else {
		nc, err = c.Dial(ctx, "tcp", key.addr)
	}
	if err != nil {
		return nil, err
	}
	return newConn(nc, key), nil
}

// exchange sends the request on a connection, reads the answer, and keeps or closes the connection. silent: not one byte
// came back.
func (c *Client) exchange(ctx context.Context, cn *conn, r *Request) (res *Response, silent bool, err error) {
	cn.begin(ctx)
	keep := false
	defer func() {
		if cn.end() && keep {
			c.idle.put(c, cn)
		} else {
			cn.close()
		}
	}()

	beside, werr := cn.write(ctx, r)
	a, silent, err := cn.readAnswer(c, r.Method)
	if err != nil {
		cn.abort()
		if beside != nil {
			werr = beside.wait()
		}
		if werr != nil && silent && !errors.Is(werr, errDeadline) {
			err = werr
		}
		return nil, silent, err
	}
	body, whole := cn.readBody(ctx, &a, c.MaxBody, c.MaxDrain, c.BodyTimeout)
	if !beside.finished() {
		cn.abort()
		beside.wait()
		whole = false
	}
	keep = whole && werr == nil && !a.close
	return &Response{Status: a.status, Header: a.header, Body: body}, false, nil
}

// buffers holds what requests are put together in.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, readBuffer); return &b }}

// appendHead appends the request line and the headers, in the order of their names.
func appendHead(b []byte, r *Request) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)

	var space [16]field
	fields := space[:0]
	for name, values := range r.Header {
		for _, v := range values {
			fields = insert(fields, field{name, v})
		}
	}
	if r.UserAgent != "" {
		fields = insert(fields, field{"User-Agent", r.UserAgent})
	}
	if r.ContentType != "" {
		fields = insert(fields, field{"Content-Type", r.ContentType})
	}
	for _, f := range fields {
		b = append(b, f.name...)
		b = append(b, ": "...)
		b = append(b, f.value...)
		b = append(b, "\r\n"...)
	}
	if len(r.Body) > 0 || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// insert keeps fields in the order of their names, and those of one name in the order in which they came.
func insert(fields []field, f field) []field {
	fields = append(fields, f)
	for i := len(fields) - 1; i > 0 && fields[i].name < fields[i-1].name; i-- {
		fields[i], fields[i-1] = fields[i-1], fields[i]
	}
	return fields
}
