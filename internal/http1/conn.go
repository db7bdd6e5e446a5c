package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

var errDeadline = os.ErrDeadlineExceeded

// longAgo as a deadline ends every read and write.
var longAgo = time.Unix(1, 0)

// patience is how long a request may be under way before its context is listened to, and so how late it may be noticed
// that one was cancelled. A context's deadline is noticed in time.
const patience = 250 * time.Millisecond

// afterFailedWrite is for reading an answer when the request could not be written.
const afterFailedWrite = time.Second

// conn is a connection and what it needs to be used again. One goroutine has it at a time, but abort may be called by any.
type conn struct {
	nc    net.Conn
	br    *bufio.Reader
	key   hostKey
	abort func() // ends reads and writes; for good, as far as this package is concerned
	peek  func() pending

	mu      sync.Mutex      // of the next five
	timer   *time.Timer     // calls listen when the patience is over
	rings   time.Time       // when it will; zero: it is not set
	ctx     context.Context // of the request that is under way; nil: none is
	stop    func() bool     // ends the listening; nil: nobody listens
	waiting waiting         // for send

	socket syscall.RawConn    // to wait for it; nil: this cannot be done
	step   func(uintptr) bool // sendStep
	out    *[]byte            // what send has not written yet
	outErr error              // why it was not

	plain plain // the last plain head
	left  int   // bytes that may still be read before the headers end; negative: no limit
	exact exact // the body, if its length is known
	timed bool  // a read deadline is set for the body

	idleAt     time.Time
	host       *host // that it is idle in
	prev, next *conn // in the list of idle connections
}

func newConn(nc net.Conn, key hostKey) *conn {
	c := &conn{nc: nc, key: key, peek: peeker(nc), left: -1}
	c.abort = func() { nc.SetDeadline(longAgo) }
	c.br = bufio.NewReaderSize(c, readBuffer)
	if tc, ok := nc.(*net.TCPConn); ok && canWait {
		if socket, err := tc.SyscallConn(); err == nil {
			c.socket, c.step = socket, c.sendStep
		}
	}
	return c
}

func (c *conn) close() {
	c.nc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// begin takes the context that ends reads and writes from here on.
//
// To hear a context end costs more than to read an answer, and most answers come soon. So a timer runs first, and only when
// it is over the context is listened to. It is not stopped with the request: the next one finds it running, and is listened
// to a little earlier than it had to be.
func (c *conn) begin(ctx context.Context) {
	deadline, limited := ctx.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx = ctx
	if !c.rings.IsZero() && !(limited && deadline.Before(c.rings)) {
		return
	}
	now := time.Now()
	c.rings = now.Add(patience)
	if limited && deadline.Before(c.rings) {
		c.rings = deadline
	}
	if wait := c.rings.Sub(now); c.timer == nil {
		c.timer = time.AfterFunc(wait, c.listen)
	} else {
		c.timer.Reset(wait)
	}
}

// listen has the connection aborted when the context of the request that is under way ends. A timer that could not be
// reset in time may call it too early: no harm.
func (c *conn) listen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rings = time.Time{}
	if c.ctx == nil || c.stop != nil {
		return
	}
	c.stop = context.AfterFunc(c.ctx, c.abort)
	if c.waiting == yes {
		c.waiting = cutShort
		c.nc.SetReadDeadline(longAgo)
	}
}

// end forgets the context. It reports whether the connection is as it was: if abort has begun, it may end the reads of
// whoever has the connection next.
func (c *conn) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	calm := c.stop == nil || c.stop()
	c.ctx, c.stop = nil, nil
	return calm
}

// waiting is whether send waits.
type waiting uint8

const (
	no waiting = iota
	yes
	cutShort // its wait is over: the read deadline has passed, and must be taken away
)

// send writes what is in the buffer and gives it back. Then it waits until something can be read, where it is able to. A
// read that comes first, finds nothing and waits then is one more call to the system: a few percent of a request's cost.
//
// The system tells of each arrival once. So the wait is begun first, and the writing happens inside of it: an answer cannot
// be missed. What came before is missed, however: the end of a connection that was just taken for usable. Mostly it will
// be told again, because whoever has closed a connection resets it when more arrives. For the rest, the wait is cut short
// when the patience is over, and the read that follows sees what there is. If the patience is over before the wait, there
// is none.
func (c *conn) send(ctx context.Context, buf *[]byte) error {
	c.out = buf
	if c.socket == nil || !c.beginWait() {
		c.sendStep(0)
		return c.outErr
	}
	c.socket.Read(c.step) // it fails if the deadline has passed; then the next read does, too
	if c.endWait() == cutShort {
		c.nc.SetReadDeadline(time.Time{})
		if ctx.Err() != nil {
			c.abort() // it may have come before the new deadline
		}
	}
	if c.out != nil {
		c.sendStep(0) // the deadline had passed before the wait began
	}
	return c.outErr
}

// sendStep is called when the wait has begun, and when something came. It reports whether the wait is over.
func (c *conn) sendStep(uintptr) bool {
	if c.out == nil {
		return true
	}
	_, c.outErr = c.nc.Write(*c.out)
	release(c.out)
	c.out = nil
	return c.outErr != nil
}

// beginWait says that send waits from here on. It refuses if the context is listened to already: nothing would cut the
// wait short any more.
func (c *conn) beginWait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return false
	}
	c.waiting = yes
	return true
}

// endWait says that send waits no more, and answers what became of the wait.
func (c *conn) endWait() waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.waiting
	c.waiting = no
	return was
}

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

// writing is a large body that is being written beside the caller.
type writing struct {
	done chan struct{}
	err  error // once done is closed
}

// wait answers the error of writing when it is done.
func (w *writing) wait() error {
	if w == nil {
		return nil
	}
	<-w.done
	return w.err
}

// finished reports whether everything was written by now.
func (w *writing) finished() bool {
	if w == nil {
		return true
	}
	select {
	case <-w.done:
		return w.err == nil
	default:
		return false
	}
}

// write sends the request: the body together with the head if it is small, and beside the caller if it is large.
func (c *conn) write(ctx context.Context, r *Request) (beside *writing, err error) {
	buf := buffers.Get().(*[]byte)
	*buf = appendHead((*buf)[:0], r)
	if len(r.Body) > inlineBody {
		return c.writeBeside(buf, r.Body), nil
	}
	*buf = append(*buf, r.Body...)
	if err = c.send(ctx, buf); err != nil {
		// An answer may have come before the receiver stopped reading, but do not wait for one.
		c.nc.SetReadDeadline(time.Now().Add(afterFailedWrite))
		if ctx.Err() != nil {
			c.abort() // it may have come before the new deadline
		}
	}
	return nil, err
}

func (c *conn) writeBeside(head *[]byte, body []byte) *writing {
	w := &writing{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		if _, w.err = c.nc.Write(*head); w.err == nil {
			_, w.err = c.nc.Write(body)
		}
		release(head)
	}()
	return w
}

func release(buf *[]byte) {
	clear(*buf) // it held a signature, and perhaps an Authorization header
	*buf = (*buf)[:0]
	buffers.Put(buf)
}

// posted is what ReadResponse needs to know of almost every request: the answer to a HEAD has no body.
var posted = &http.Request{Method: http.MethodPost}

// readAnswer reads up to the end of the headers. silent: not one byte came.
func (c *conn) readAnswer(client *Client, method string) (a answer, silent bool, err error) {
	c.left = client.MaxHeader
	defer func() { c.left = -1 }()
	if _, err := c.br.Peek(1); err != nil {
		return a, true, err
	}
	if method != http.MethodHead {
		b, _ := c.br.Peek(c.br.Buffered())
		if p := &c.plain; p.read(b, client.Headers) {
			c.br.Discard(len(p.head))
			a = answer{status: p.status, header: p.header(), length: p.length}
			if a.length > 0 {
				c.exact = exact{c.br, a.length}
				a.body = &c.exact
			}
			return a, false, nil
		}
	}
	r := posted
	if method != http.MethodPost {
		r = &http.Request{Method: method}
	}
	for range maxInterim + 1 {
		res, err := http.ReadResponse(c.br, r)
		if err != nil && c.left == 0 {
			err = ErrHeaderTooLarge // the line that was cut off may have been found malformed
		}
		if err != nil {
			return a, false, err
		}
		if res.StatusCode < 100 || res.StatusCode > 199 || res.StatusCode == http.StatusSwitchingProtocols {
			a = answer{status: res.StatusCode, header: res.Header, length: res.ContentLength, close: res.Close}
			if res.Body != http.NoBody {
				a.body = res.Body
			}
			return a, false, nil
		}
	}
	return a, false, errInterim
}

// scratch holds buffers for bodies that are read to be thrown away.
var scratch = sync.Pool{New: func() any { return new([4096]byte) }}

// readBody reads what is kept, then the rest if that is little. whole: the body ended where it should, and the connection
// holds nothing more.
func (c *conn) readBody(ctx context.Context, a *answer, keep, drain int, timeout time.Duration) (kept []byte, whole bool) {
	if a.status == http.StatusSwitchingProtocols {
		return nil, false
	}
	if a.body == nil {
		return nil, c.br.Buffered() == 0
	}
	buf := scratch.Get().(*[4096]byte)
	defer scratch.Put(buf)

	limit := keep + drain
	if a.length > int64(limit) {
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
		n, err := a.body.Read(buf[:min(len(buf), limit-read+1)])
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
