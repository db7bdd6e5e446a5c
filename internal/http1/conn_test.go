package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// heard is a context that tells when somebody begins to listen to it.
type heard struct {
	context.Context
	once sync.Once
	c    chan struct{}
}

func (h *heard) Done() <-chan struct{} {
	h.once.Do(func() { close(h.c) })
	return h.Context.Done()
}

func TestAQuickRequestIsNotListenedFor(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return true
	})
	c := newClient(t)
	ctx := &heard{Context: t.Context(), c: make(chan struct{})}
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", s.addr) }
	start := time.Now()
	for range 2 {
		if res, err := c.Do(ctx, s.post("{}")); err != nil || string(res.Body) != "ok" {
			t.Fatal(res, err)
		}
	}
	select {
	case <-ctx.c:
		if time.Since(start) < patience { // or else it was no quick request
			t.Error("it was listened for")
		}
	default:
	}
}

// silent is a network in memory whose servers read and never answer.
func silent(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go io.Copy(io.Discard, there)
	return here, nil
}

// deaf is a network in memory whose servers do not even read.
func deaf(context.Context, string, string) (net.Conn, error) {
	here, _ := net.Pipe()
	return here, nil
}

func TestTheContextIsListenedToWhenThePatienceIsOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		dial             DialFunc
		size             int
		deadline, cancel time.Duration
		want             time.Duration
	}{
		{"deadline", silent, 2, 100 * time.Millisecond, time.Minute, 100 * time.Millisecond},
		{"late deadline", silent, 2, 15 * time.Second, time.Minute, 15 * time.Second},
		{"cancelled early", silent, 2, time.Minute, 100 * time.Millisecond, patience},
		{"cancelled late", silent, 2, time.Minute, 3 * time.Second, 3 * time.Second},
		{"large body", silent, inlineBody + 1, time.Minute, 3 * time.Second, 3 * time.Second},
		{"writing", deaf, 2, 100 * time.Millisecond, time.Minute, 100 * time.Millisecond},
		{"writing a large body", deaf, inlineBody + 1, time.Minute, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				time.AfterFunc(c.cancel, cancel)
				client := &Client{Dial: c.dial, MaxHeader: 1 << 10, MaxIdle: 1, MaxIdlePerHost: 1}
				start := time.Now()
				_, err := client.Do(ctx, &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a", Body: make([]byte, c.size)})
				if took := time.Since(start); took != c.want || !errors.Is(err, errDeadline) || ctx.Err() == nil {
					t.Errorf("%v after %v, want %v", err, took, c.want)
				}
			})
		})
	}
}

func TestAContextThatEndsLaterDoesNoHarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{}
		c := &Client{Dial: p.dial, MaxHeader: 1 << 10, MaxIdle: 3, MaxIdlePerHost: 2, IdleTimeout: time.Minute}
		defer c.Close()
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := c.Do(ctx, &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a"}); err != nil {
				t.Fatal(err)
			}
			idle := c.idle.root.next
			idle.listen() // a timer that was stopped too late
			if idle.ctx != nil || idle.stop != nil {
				t.Error("an idle connection holds a context")
			}
			cancel()
			time.Sleep(2 * patience)
		}
		if p.opened != 1 {
			t.Errorf("%d connections", p.opened)
		}
	})
}

func TestABusyConnectionIsNotLookedAt(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	c := newClient(t)
	do(t, c, s.post("{}"))
	idle := c.idle.root.next
	looks := 0
	look := idle.peek
	idle.peek = func() pending { looks++; return look() }
	for _, step := range []struct {
		idle time.Duration
		want int
	}{{-time.Hour, 0}, {trusted, 1}, {-time.Hour, 1}, {time.Minute, 2}} {
		idle.idleAt = time.Now().Add(-step.idle)
		if do(t, c, s.post("{}")); looks != step.want {
			t.Errorf("idle for %v: looked at %d times", step.idle, looks)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestATimerThatRunsServesTheNextRequestsToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mute atomic.Bool
		c := &Client{MaxHeader: 1 << 10, MaxIdle: 1, MaxIdlePerHost: 1}
		defer c.Close()
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				for in := bufio.NewReader(there); ; {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					if !mute.Load() {
						io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}
			}()
			return here, nil
		}
		r := &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a"}
		quick := func() {
			mute.Store(false)
			for range 10 {
				do(t, c, r)
				time.Sleep(patience / 5)
			}
			mute.Store(true)
		}
		quick()
		for i, step := range []struct{ deadline, cancel, atMost time.Duration }{
			{time.Hour, patience / 25, patience},
			{time.Hour, 3 * patience, 3 * patience},
			{patience / 25, time.Hour, patience / 25},
			{4 * patience, time.Hour, 4 * patience},
		} {
			quick()
			ctx, cancel := context.WithTimeout(t.Context(), step.deadline)
			stop := time.AfterFunc(step.cancel, cancel)
			start := time.Now()
			_, err := c.Do(ctx, r)
			if took := time.Since(start); err == nil || took > step.atMost {
				t.Errorf("%d: %v after %v", i, err, took)
			}
			stop.Stop()
			cancel()
		}
		quick()
		time.Sleep(2 * patience)
		idle := c.idle.root.next
		idle.mu.Lock()
		defer idle.mu.Unlock()
		if !idle.rings.IsZero() || idle.timer.Stop() {
			t.Error("the timer of an idle connection goes on")
		}
	})
}

// kept makes a request, and answers the connection that was kept. The next requests will take it for usable.
func kept(t *testing.T, c *Client, s *server) *conn {
	t.Helper()
	do(t, c, s.post("{}"))
	if c.idleConns() != 1 {
		t.Fatal("the connection was not kept")
	}
	idle := c.idle.root.next
	idle.idleAt = time.Now().Add(time.Hour)
	return idle
}

func TestAnEndThatCameBeforeTheWaitIsFound(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.CloseWrite()
		io.Copy(io.Discard, c) // nothing will tell the client again
		return false
	})
	c := newClient(t)
	idle := kept(t, c, s)
	if idle.peek() == unknown {
		t.Skip("nothing can be told about idle connections on this system")
	}
	for idle.peek() != something {
		runtime.Gosched()
	}
	start := time.Now()
	if res := do(t, c, s.post("{}")); res.Status != 200 || s.conns.Load() != 2 || time.Since(start) > 10*time.Second {
		t.Errorf("got %+v on %d connections after %v", res, s.conns.Load(), time.Since(start))
	}
	c.Close()
}

// The timer of a connection runs on from request to request, so it may ring at any moment of one. What came before the wait
// is told to nobody that waits, and when the timer has rung nothing would end the wait either.
func TestNobodyWaitsWhenThePatienceIsOverBefore(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, step := range []struct {
		name string
		kept bool   // the connection had a request before
		says string // the server, unasked
	}{
		{"the end of a kept connection", true, ""},
		{"the end of a fresh connection", false, ""},
		{"an answer on a fresh connection", false, ok},
	} {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			s := serveConns(t, func(nc net.Conn) {
				if step.kept {
					http.ReadRequest(bufio.NewReader(nc))
					io.WriteString(nc, ok)
				}
				io.WriteString(nc, step.says)
				if step.says == "" {
					nc.(*net.TCPConn).CloseWrite()
				}
				io.Copy(io.Discard, nc) // and nothing more
			})
			client := newClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var c *conn
			if step.kept {
				kept(t, client, s)
				c = client.idle.get(hostKey{addr: s.addr})
			} else if fresh, err := client.connect(ctx, hostKey{addr: s.addr}); err != nil {
				t.Fatal(err)
			} else {
				c = fresh
			}
			defer c.close()
			if c.peek() == unknown {
				t.Skip("it cannot be told on this system when something has come")
			}
			for c.peek() != something {
				runtime.Gosched()
			}
			c.begin(ctx)
			c.listen() // the timer rings
			if _, err := c.write(ctx, s.post("{}")); err != nil {
				t.Fatal(err)
			}
			a, silent, err := c.readAnswer(client, "POST")
			if ctx.Err() != nil || silent == (step.says != "") || a.status == 200 != (step.says != "") {
				t.Errorf("got %d, silent %v, %v; the context: %v", a.status, silent, err, ctx.Err())
			}
			if !c.end() {
				t.Error("the connection was aborted")
			}
		})
	}
}

func TestAWaitThatIsCutShortGoesOn(t *testing.T) {
	t.Parallel()
	var idle *conn
	s := serve(t, func(c *net.TCPConn, _ *http.Request, body []byte) bool {
		if string(body) == "slow" {
			idle.listen() // the patience is over
			for waits := cutShort; waits == cutShort; runtime.Gosched() {
				idle.mu.Lock()
				waits = idle.waiting
				idle.mu.Unlock()
			}
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	c := newClient(t)
	idle = kept(t, c, s)
	for _, body := range []string{"slow", "", "slow", "slow", ""} {
		do(t, c, s.post(body))
	}
	if n := s.conns.Load(); n != 1 || c.idleConns() != 1 {
		t.Errorf("%d connections, %d idle", n, c.idleConns())
	}
}

// eventful is a socket where something happens before a wait, or instead of it.
type eventful struct {
	syscall.RawConn
	before, instead func()
}

func (e eventful) Read(f func(uintptr) bool) error {
	if e.instead == nil {
		e.before()
		return e.RawConn.Read(f)
	}
	f(0)
	e.instead()
	return errDeadline
}

func TestWhatHappensAroundTheWaitIsSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		happens func(c *conn, cancel func())
		instead bool
		failed  bool
		conns   int64
	}{
		{"the patience is over", func(c *conn, _ func()) { c.listen() }, false, false, 1},
		{"the context ends", func(c *conn, cancel func()) { cancel(); c.listen() }, false, true, 1},
		{"the context ends after the patience", func(c *conn, cancel func()) { c.listen(); cancel() }, false, true, 1},
		{"the connection is aborted", func(c *conn, _ func()) { c.abort() }, false, false, 2},
		{"the connection is closed", func(c *conn, _ func()) { c.nc.Close() }, false, false, 2},
		{"aborted when the wait was cut short", func(c *conn, cancel func()) {
			aborted, abort := make(chan struct{}, 9), c.abort
			c.abort = func() { abort(); aborted <- struct{}{} }
			c.listen()
			cancel()
			<-aborted
		}, true, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(tc *net.TCPConn, _ *http.Request, body []byte) bool {
				if c.failed && string(body) == "last" {
					io.Copy(io.Discard, tc)
					return false
				}
				io.WriteString(tc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				return true
			})
			client := newClient(t)
			idle := kept(t, client, s)
			if idle.socket == nil {
				t.Skip("nobody waits on this system")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			e := eventful{RawConn: idle.socket, before: func() { c.happens(idle, cancel) }}
			if c.instead {
				e.instead = e.before
			}
			idle.socket = e
			start := time.Now()
			_, err := client.Do(ctx, s.post("last"))
			if took := time.Since(start); (err != nil) != c.failed || s.conns.Load() != c.conns || took > 10*time.Second {
				t.Errorf("%v on %d connections after %v", err, s.conns.Load(), took)
			}
		})
	}
}
