package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

var errDeadline = os.ErrDeadlineExceeded

// longAgo as a deadline ends every read and write.
var longAgo = time.Unix(1, 0)

// afterFailedWrite is for reading an answer when the request could not be written.
const afterFailedWrite = time.Second

// conn is a connection and what it needs to be used again. One goroutine has it at a time, but abort may be called by any.
type conn struct {
	nc    net.Conn
	br    *bufio.Reader
	key   hostKey
	abort func() // ends reads and writes; for good, as far as this package is concerned
	peek  func() pending

	left  int  // bytes that may still be read before the headers end; negative: no limit
	timed bool // a read deadline is set

	idleAt     time.Time
	prev, next *conn // in the list of idle connections
}

func newConn(nc net.Conn, key hostKey) *conn {
	c := &conn{nc: nc, key: key, peek: peeker(nc)}
	c.abort = func() { nc.SetDeadline(longAgo) }
	c.br = bufio.NewReaderSize(c, readBuffer)
	return c
}

func (c *conn) close() { c.nc.Close() }

// Read reads from the connection within the limit for headers. It is for the buffer.
func (c *conn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, ErrHeaderTooLarge
	}
	if c.left > 0 && len(p) > c.left {
		p = p[:c.left]
	}
	n, err := c.nc.Read(p)
	if c.left > 0 {
		c.left -= n
	}
	return n, err
}

// writing is a request that is being written, or was.
type writing struct {
	done chan struct{} // nil: it was
	err  error
}

func (w *writing) wait() error {
	if w.done != nil {
		<-w.done
	}
	return w.err
}

func (w *writing) poll() (done bool, err error) {
	if w.done != nil {
		select {
		case <-w.done:
		default:
			return false, nil
		}
	}
	return true, w.err
}

// write sends the request, the body with the head if it is small, and beside the caller if it is large.
func (c *conn) write(r *Request) *writing {
	buf := buffers.Get().(*[]byte)
	b := appendHead((*buf)[:0], r)
	w := &writing{}
	if len(r.Body) <= inlineBody {
		b = append(b, r.Body...)
		if _, w.err = c.nc.Write(b); w.err != nil {
			// An answer may have come before the receiver stopped reading, but do not wait for one.
			c.nc.SetReadDeadline(time.Now().Add(afterFailedWrite))
		}
		release(buf, b)
		return w
	}
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		if _, w.err = c.nc.Write(b); w.err == nil {
			_, w.err = c.nc.Write(r.Body)
		}
		release(buf, b)
	}()
	return w
}

func release(buf *[]byte, b []byte) {
	clear(b) // it held a signature, and perhaps an Authorization header
	*buf = b[:0]
	buffers.Put(buf)
}

// posted is what ReadResponse needs to know of almost every request: the answer to a HEAD has no body.
var posted = &http.Request{Method: http.MethodPost}

// readAnswer reads up to the end of the headers. silent: not one byte came.
func (c *conn) readAnswer(limit int, method string) (res *http.Response, silent bool, err error) {
	c.left = limit
	defer func() { c.left = -1 }()
	if _, err := c.br.Peek(1); err != nil {
		return nil, true, err
	}
	r := posted
	if method != http.MethodPost {
		r = &http.Request{Method: method}
	}
	for range maxInterim + 1 {
		res, err = http.ReadResponse(c.br, r)
		if err != nil && c.left == 0 {
			err = ErrHeaderTooLarge // the line that was cut off may have been found malformed
		}
		if err != nil {
			return nil, false, err
		}
		if res.StatusCode < 100 || res.StatusCode > 199 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, false, nil
		}
	}
	return nil, false, errInterim
}

// scratch holds buffers for bodies that are read to be thrown away.
var scratch = sync.Pool{New: func() any { return new([4096]byte) }}

// readBody reads what is kept, then the rest if that is little. whole: the body ended where it should, and the connection
// holds nothing more.
func (c *conn) readBody(ctx context.Context, res *http.Response, keep, drain int, timeout time.Duration) (kept []byte, whole bool) {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil, false
	}
	if res.Body == http.NoBody {
		return nil, c.br.Buffered() == 0
	}
	buf := scratch.Get().(*[4096]byte)
	defer scratch.Put(buf)

	limit := keep + drain
	if res.ContentLength > int64(limit) {
		limit = keep // the connection is lost anyway: read nothing for its sake
	}
	for read := 0; read <= limit; {
		if c.br.Buffered() == 0 && timeout > 0 && !c.timed {
			c.timed = true
			c.nc.SetReadDeadline(time.Now().Add(timeout))
			if ctx.Err() != nil {
				break // abort may have come before the new deadline
			}
		}
		// One byte beyond the limit is asked for: a body that fits exactly still has to show its end.
		n, err := res.Body.Read(buf[:min(len(buf), limit-read+1)])
		if room := keep - len(kept); n > 0 && room > 0 {
			kept = append(kept, buf[:min(n, room)]...)
		}
		read += n
		if err != nil {
			whole = err == io.EOF && read <= limit && c.br.Buffered() == 0
			break
		}
	}
	if whole && c.timed {
		c.nc.SetReadDeadline(time.Time{})
		c.timed = false
	}
	return kept, whole
}
