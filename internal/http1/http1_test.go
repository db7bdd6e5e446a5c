package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// server answers requests on a TCP listener with what its function writes; it gets the connection and the requests on it,
// one by one, and returns false to end the connection.
type server struct {
	addr  string
	conns atomic.Int64
}

func serve(t testing.TB, answer func(c *net.TCPConn, r *http.Request, body []byte) bool) *server {
	t.Helper()
	return serveConns(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(r.Body)
			if !answer(c.(*net.TCPConn), r, body) {
				return
			}
		}
	})
}

// serveConns gives each connection to a function, and closes it after that.
func serveConns(t testing.TB, handle func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String()}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			open.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				handle(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return s
}

func newClient(t testing.TB) *Client {
	c := &Client{
		Dial: (&net.Dialer{}).DialContext, MaxHeader: 64 << 10, MaxBody: 1024, MaxDrain: 64 << 10, BodyTimeout: 5 * time.Second,
		MaxIdle: 100, MaxIdlePerHost: 10, IdleTimeout: time.Minute,
	}
	t.Cleanup(c.Close)
	return c
}

func (s *server) post(body string) *Request {
	return &Request{Addr: s.addr, Method: "POST", Target: "/hook?a=1", Host: "shop.test", Body: []byte(body)}
}

func (c *Client) idleConns() int {
	c.idle.mu.Lock()
	defer c.idle.mu.Unlock()
	n := 0
	for e := c.idle.root.next; e != nil && e != &c.idle.root; e = e.next {
		n++
	}
	stacks := 0
	for _, h := range c.idle.hosts {
		stacks += len(h.stack)
	}
	if n != c.idle.count || n != stacks {
		panic(fmt.Sprintf("the pool counts %d, lists %d and stacks %d", c.idle.count, n, stacks))
	}
	return n
}

func do(t *testing.T, c *Client, r *Request) *Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	res, err := c.Do(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestDoWritesExactlyThis(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	c := newClient(t)
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return here, nil }
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 4096)
		n, _ := there.Read(b)
		got <- string(b[:n])
		io.WriteString(there, "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok")
	}()
	res := do(t, c, &Request{
		Addr: "a:1", Method: "POST", Target: "/x?y", Host: "shop.test:81", Body: []byte("body"),
		Header: map[string][]string{"Zeta": {"1", "2"}, "Alpha": {"a"}, "None": nil, "Empty": {""}},
	})
	want := "POST /x?y HTTP/1.1\r\nHost: shop.test:81\r\nAlpha: a\r\nEmpty: \r\nZeta: 1\r\nZeta: 2\r\nContent-Length: 4\r\n\r\nbody"
	if s := <-got; s != want {
		t.Errorf("sent %q\nwant %q", s, want)
	}
	if res.Status != 200 || res.Header.Get("X-A") != "b" || string(res.Body) != "ok" {
		t.Errorf("got %+v", res)
	}
}

func TestDoKeepsTheConnection(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"no body":     "HTTP/1.1 204 No Content\r\n\r\n",
		"empty":       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"length":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"chunked":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"trailer":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
		"more":        "HTTP/1.1 200 OK\r\nContent-Length: 66560\r\n\r\n" + strings.Repeat("x", 66560),
		"interim":     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"http/1.0 ka": "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool { io.WriteString(c, answer); return true })
			c := newClient(t)
			for range 5 {
				do(t, c, s.post("{}"))
			}
			if n := s.conns.Load(); n != 1 || c.idleConns() != 1 {
				t.Errorf("%d connections, %d idle", n, c.idleConns())
			}
		})
	}
}

func TestDoKeepsNoDoubtfulConnection(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"close":              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"http/1.0":           "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"more than asked":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 X\r\n\r\n",
		"body after no body": "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 X\r\n\r\n",
		"too much":           "HTTP/1.1 200 OK\r\nContent-Length: 66561\r\n\r\n" + strings.Repeat("x", 66561),
		"far too much":       "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 5000),
		"bad chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"switching":          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool { io.WriteString(c, answer); return true })
			c := newClient(t)
			for range 2 {
				if res := do(t, c, s.post("{}")); res.Status >= 300 {
					t.Errorf("got %+v", res)
				}
			}
			if n := s.conns.Load(); n != 2 || c.idleConns() != 0 {
				t.Errorf("%d connections, %d idle", n, c.idleConns())
			}
		})
	}
}

func TestDoTakesNothingUnaskedForAnAnswer(t *testing.T) {
	t.Parallel()
	answered := make(chan struct{})
	var asked atomic.Int64
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if asked.Add(1) == 1 {
			<-answered
			io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
		}
		return true
	})
	c := newClient(t)
	do(t, c, s.post("{}"))
	if c.idleConns() != 1 {
		t.Fatal("the connection was not kept")
	}
	idle := c.idle.root.next
	if idle.peek() == unknown {
		t.Skip("nothing can be told about idle connections on this system")
	}
	close(answered)
	for idle.peek() != something {
		runtime.Gosched()
	}
	idle.idleAt = idle.idleAt.Add(-trusted)
	if res := do(t, c, s.post("{}")); res.Status != 200 || s.conns.Load() != 2 {
		t.Errorf("got %+v on %d connections", res, s.conns.Load())
	}
}

func TestDoRepeatsOnAKeptConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]string{"silent": "", "in the middle": "HTTP/1.1 2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
				if asked.Add(1) == 2 {
					io.WriteString(c, last)
					return false
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				return true
			})
			c := newClient(t)
			do(t, c, s.post("{}"))
			_, err := c.Do(t.Context(), s.post("{}"))
			if want := last == ""; (err == nil) != want || (s.conns.Load() == 2) != want {
				t.Errorf("%v after %d connections", err, s.conns.Load())
			}
		})
	}
}

func TestDoSendsALargeBody(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB
	s := serve(t, func(c *net.TCPConn, r *http.Request, body []byte) bool {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Same: %v\r\nContent-Length: 0\r\n\r\n", string(body) == big)
		return true
	})
	c := newClient(t)
	for range 2 {
		if res := do(t, c, s.post(big)); res.Header.Get("X-Same") != "true" {
			t.Errorf("got %+v", res)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestDoHearsAnAnswerBeforeTheBodyIsSent(t *testing.T) {
	t.Parallel()
	// Nobody reads the body: a pipe takes no byte that is not read.
	c := newClient(t)
	c.Dial = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			r := bufio.NewReaderSize(there, 16)
			for {
				line, err := r.ReadString('\n')
				if err != nil || line == "\r\n" {
					break
				}
			}
			io.WriteString(there, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
		}()
		return here, nil
	}
	r := &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a", Body: make([]byte, 1<<20)}
	if res := do(t, c, r); res.Status != 413 || c.idleConns() != 0 {
		t.Errorf("got %+v, %d idle", res, c.idleConns())
	}
	clear(r.Body) // under -race: nobody may read it any more
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 2, "large": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if c, err := l.Accept(); err == nil {
					<-over
					c.Close()
				}
			}()
			t.Cleanup(func() { close(over); l.Close() })
			c := newClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			r := &Request{Addr: l.Addr().String(), Method: "POST", Target: "/", Host: "a", Body: make([]byte, size)}
			if _, err := c.Do(ctx, r); err == nil {
				t.Error("no error")
			}
			<-ctx.Done() // a dialer may give up a moment earlier
			clear(r.Body)
			if took := time.Since(start); took > 5*time.Second || c.idleConns() != 0 {
				t.Errorf("it took %v; %d idle", took, c.idleConns())
			}
			if _, err := c.Do(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with an ended context: %v", err)
			}
		})
	}
}

func TestDoBoundsHeaders(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"one line":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"many lines":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20000) + "\r\n",
		"status line": "HTTP/1.1 200 " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"interim":     strings.Repeat("HTTP/1.1 103 X\r\nA: "+strings.Repeat("x", 20<<10)+"\r\n\r\n", 5) + "HTTP/1.1 200 OK\r\n\r\n",
	} {
		s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool { io.WriteString(c, answer); return false })
		if _, err := newClient(t).Do(t.Context(), s.post("{}")); !errors.Is(err, ErrHeaderTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, strings.Repeat("HTTP/1.1 103 X\r\n\r\n", 100)+"HTTP/1.1 200 OK\r\n\r\n")
		return false
	})
	if _, err := newClient(t).Do(t.Context(), s.post("{}")); !errors.Is(err, errInterim) {
		t.Errorf("endless interim answers: %v", err)
	}
}

func TestDoKnowsMethodsWithoutBodies(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, r *http.Request, _ []byte) bool {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Length: %v\r\nContent-Length: 10\r\n\r\n", r.Header["Content-Length"])
		if r.Method != http.MethodHead {
			io.WriteString(c, "0123456789")
		}
		return true
	})
	c := newClient(t)
	for _, method := range []string{"HEAD", "GET", "POST", "HEAD"} {
		r := s.post("")
		r.Method = method
		if res := do(t, c, r); (len(res.Body) == 0) != (method == "HEAD") {
			t.Errorf("%s: %+v", method, res)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// pipes is a network in memory whose servers answer each request with an empty 200 at once.
type pipes struct {
	mu     sync.Mutex
	opened int
	closed atomic.Int64
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	p.mu.Lock()
	p.opened++
	p.mu.Unlock()
	here, there := net.Pipe()
	go func() {
		defer p.closed.Add(1)
		in := bufio.NewReader(there)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}()
	return here, nil
}

func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{}
		c := &Client{Dial: p.dial, MaxHeader: 1 << 10, MaxIdle: 3, MaxIdlePerHost: 2, IdleTimeout: time.Minute}
		to := func(addr string) { do(t, c, &Request{Addr: addr, Method: "POST", Target: "/", Host: "a"}) }
		to("a:1")
		time.Sleep(30 * time.Second)
		to("b:1")
		time.Sleep(29 * time.Second)
		if n := c.idleConns(); n != 2 {
			t.Errorf("%d idle after 59 s", n)
		}
		time.Sleep(2 * time.Second)
		if n := c.idleConns(); n != 1 || p.closed.Load() != 1 {
			t.Errorf("%d idle, %d closed after 61 s", n, p.closed.Load())
		}
		time.Sleep(time.Minute)
		if n := c.idleConns(); n != 0 || p.closed.Load() != 2 || len(c.idle.hosts) != 0 {
			t.Errorf("%d idle, %d closed after 121 s", n, p.closed.Load())
		}

		for _, addr := range []string{"a:1", "b:1", "c:1", "d:1"} { // one more than MaxIdle
			to(addr)
		}
		synctest.Wait()
		if n := c.idleConns(); n != 3 || p.closed.Load() != 3 || c.idle.hosts[hostKey{addr: "a:1"}].count() != 0 {
			t.Errorf("%d idle, %d closed", n, p.closed.Load())
		}
		c.CloseIdle()
		to("a:1")
		if n := c.idleConns(); n != 1 {
			t.Errorf("%d idle after CloseIdle and one request", n)
		}
		c.Close()
		c.Close()
		to("a:1") // still works, and keeps nothing
		synctest.Wait()
		if n := c.idleConns(); n != 0 || int(p.closed.Load()) != p.opened {
			t.Errorf("%d idle after Close; %d of %d closed", n, p.closed.Load(), p.opened)
		}
	})
}

func TestIdleConnectionsOfOneHostAreBounded(t *testing.T) {
	t.Parallel()
	const callers = 8
	var all sync.WaitGroup
	all.Add(callers)
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		all.Done()
		all.Wait() // so that there are as many connections as callers
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	c := newClient(t)
	c.MaxIdlePerHost = 3
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := c.Do(t.Context(), s.post("{}")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.idleConns(); n != 3 || s.conns.Load() != callers {
		t.Errorf("%d idle of %d connections", n, s.conns.Load())
	}
}

func TestASlowBodyEndsTheWaitNotTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Client{
			MaxHeader: 1 << 10, MaxBody: 100, MaxDrain: 100, BodyTimeout: 3 * time.Second, MaxIdle: 3, MaxIdlePerHost: 3,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() {
					defer there.Close()
					in := bufio.NewReader(there)
					for _, step := range []time.Duration{500 * time.Millisecond, 2 * time.Second} {
						if _, err := http.ReadRequest(in); err != nil {
							return
						}
						io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
						for range 4 {
							time.Sleep(step)
							if _, err := io.WriteString(there, "x"); err != nil {
								return
							}
						}
					}
				}()
				return here, nil
			},
		}
		r := &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a"}
		if res := do(t, c, r); string(res.Body) != "xxxx" || c.idleConns() != 1 {
			t.Errorf("got %+v, %d idle", res, c.idleConns())
		}
		start := time.Now()
		if res := do(t, c, r); res.Status != 200 || string(res.Body) != "x" || c.idleConns() != 0 {
			t.Errorf("got %+v, %d idle", res, c.idleConns())
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute) // for the server
	})
}

func TestManyCallersNeverMixAnswers(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, r *http.Request, body []byte) bool {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return len(body)%7 != 0
	})
	c := newClient(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				body := strings.Repeat(string(rune('a'+i)), j+1)
				ctx, cancel := context.WithCancel(t.Context())
				if j%9 == 0 {
					go cancel() // now or never or in the middle
				}
				res, err := c.Do(ctx, s.post(body))
				if err == nil && !strings.HasPrefix(body, string(res.Body)) {
					t.Errorf("sent %q, got %q", body, res.Body)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// Whatever servers do, and whenever callers lose patience: each gets its own answer or an error, in time, and no request is
// sent again unless not one byte came back.
func TestServersOfAllKindsAtOnce(t *testing.T) {
	t.Parallel()
	var sent, began sync.Map // by the request's ID
	s := serveConns(t, func(nc net.Conn) {
		c := nc.(*net.TCPConn)
		for in := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			id := r.Header.Get("X-Id")
			n, _ := sent.LoadOrStore(id, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(id), id)
			kind := r.Header.Get("X-Kind")
			if kind == "early" {
				io.WriteString(c, strings.Replace(answer, "\r\nX-Id", "\r\nConnection: close\r\nX-Id", 1))
				return
			}
			io.Copy(io.Discard, r.Body)
			switch kind {
			case "plain":
				io.WriteString(c, answer)
			case "slow":
				time.Sleep(20 * time.Millisecond)
				io.WriteString(c, answer)
			case "slow body":
				io.WriteString(c, answer[:len(answer)-2])
				time.Sleep(20 * time.Millisecond)
				io.WriteString(c, answer[len(answer)-2:])
			case "pieces":
				for len(answer) > 0 {
					n := min(len(answer), 7)
					io.WriteString(c, answer[:n])
					answer = answer[n:]
					runtime.Gosched()
				}
			case "interim":
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				io.WriteString(c, answer)
			case "closes":
				io.WriteString(c, answer)
				return
			case "closes half":
				io.WriteString(c, answer)
				c.CloseWrite()
				io.Copy(io.Discard, c)
				return
			case "resets":
				io.WriteString(c, answer)
				c.SetLinger(0)
				return
			case "resets first":
				c.SetLinger(0)
				return
			case "one byte":
				began.Store(id, true)
				io.WriteString(c, "H")
				return
			case "mute":
				io.Copy(io.Discard, c)
				return
			}
		}
	})
	kinds := []string{
		"plain", "plain", "plain", "slow", "slow body", "pieces", "interim", "closes", "closes half", "resets", "resets first", "one byte", "mute", "early",
	}
	client := newClient(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	var answers atomic.Int64
	for caller := range 16 {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		all.Go(func() {
			for i := range 50 {
				id, kind, size := fmt.Sprint(caller, "-", i), kinds[random.IntN(len(kinds))], 10
				if random.IntN(5) == 0 {
					size = random.IntN(200 << 10)
				}
				patient := time.Duration(random.IntN(60)) * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), patient)
				if random.IntN(2) == 0 { // cancelled
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
					time.AfterFunc(patient, cancel)
				}
				r := s.post(strings.Repeat("x", size))
				r.Header = map[string][]string{"X-Id": {id}, "X-Kind": {kind}}
				start := time.Now()
				res, err := client.Do(ctx, r)
				cancel()
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("%s: %v after %v", kind, err, took)
				}
				if err == nil {
					answers.Add(1)
					if res.Header.Get("X-Id") != id || !strings.HasPrefix(id, string(res.Body)) {
						t.Errorf("%s: %s got the answer %v, %q", kind, id, res.Header, res.Body)
					}
				}
				if n, ok := sent.Load(id); ok {
					_, byteCame := began.Load(id)
					reset := kind == "early" || strings.HasPrefix(kind, "resets") // an answer may be lost by that
					if n := n.(*atomic.Int64).Load(); n > 2 || n > 1 && (byteCame || !reset) {
						t.Errorf("%s: sent %d times", kind, n)
					}
				}
			}
		})
	}
	all.Wait()
	if answers.Load() == 0 {
		t.Error("nobody got an answer")
	}
}

// FuzzAnswer holds that whatever comes back, the caller gets an answer in bounds or an error, and nothing unread is kept.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nrest", "HTTP/1.0 302 X\r\nLocation: /\r\n\r\n", "", "\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c := &Client{MaxHeader: 1 << 10, MaxBody: 16, MaxDrain: 64, MaxIdle: 1, MaxIdlePerHost: 1}
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				in := bufio.NewReader(there)
				if _, err := http.ReadRequest(in); err == nil {
					there.Write(answer)
				}
			}()
			return here, nil
		}
		res, err := c.Do(t.Context(), &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a"})
		if (res == nil) == (err == nil) {
			t.Fatalf("%v and %v", res, err)
		}
		if res != nil && (len(res.Body) > 16 || !bytes.Contains(answer, res.Body) && !bytes.Contains(answer, []byte("hunked"))) {
			t.Fatalf("body %q", res.Body)
		}
		c.Close()
	})
}
