package hookgate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// loopback opens the guard for servers on this machine.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func newTestDispatcher(t testing.TB, c Config) *HTTPDispatcher {
	t.Helper()
	if c.AllowPrivate == nil {
		c.AllowPrivate = loopback
	}
	d := NewHTTPDispatcher(&c)
	t.Cleanup(func() { d.Close() })
	return d
}

func post(url, body string) *Request {
	return &Request{
		Method: http.MethodPost, URL: url, Body: []byte(body), Timeout: 5 * time.Second,
		Header: http.Header{"Content-Type": {"application/json"}},
		Event:  &Event{}, Endpoint: &Endpoint{URL: url},
	}
}

// serveRaw answers every request on a plain TCP listener with what answer writes, and counts the connections.
func serveRaw(t *testing.T, answer func(c *net.TCPConn, r *http.Request)) (addr string, contacts *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	contacts = new(atomic.Int64)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			contacts.Add(1)
			open.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				in := bufio.NewReader(c)
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				answer(c.(*net.TCPConn), r)
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().String(), contacts
}

func dispatchError(t *testing.T, err error) *DispatchError {
	t.Helper()
	var de *DispatchError
	if !errors.As(err, &de) {
		t.Fatalf("got %v (%T), want a *DispatchError", err, err)
	}
	return de
}

func TestDispatchSendsTheBytesItWasGiven(t *testing.T) {
	t.Parallel()
	type seen struct {
		header http.Header
		host   string
		body   string
		length int64
		path   string
	}
	got := make(chan seen, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Header, r.Host, string(body), r.ContentLength, r.URL.RequestURI()}
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "thank you")
	}))
	t.Cleanup(srv.Close)
	d := newTestDispatcher(t, Config{MaxResponse: 5})
	r := post(srv.URL+"/hook?a=1#part", "{ \"n\": 1.0 }\n")
	r.Header.Set("Webhook-Id", "msg_1")
	r.Header.Set("Host", "elsewhere.test")
	r.Header.Set("Connection", "close")
	r.Header.Set("Transfer-Encoding", "chunked")
	r.Header["content-length"] = []string{"1"}
	res, err := d.Dispatch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != http.StatusAccepted || string(res.Body) != "thank" || res.Header.Get("X-Answer") != "yes" {
		t.Errorf("response %d %q %v", res.Status, res.Body, res.Header)
	}
	s := <-got
	if s.body != "{ \"n\": 1.0 }\n" || s.length != int64(len(s.body)) || s.path != "/hook?a=1" {
		t.Errorf("the receiver saw %+v", s)
	}
	if s.host != strings.TrimPrefix(srv.URL, "http://") {
		t.Errorf("host %q: an endpoint's header must not choose it", s.host)
	}
	for _, name := range []string{"Connection", "Transfer-Encoding", "Accept-Encoding"} {
		if v, ok := s.header[name]; ok {
			t.Errorf("header %s: %q was sent", name, v)
		}
	}
	if s.header.Get("Webhook-Id") != "msg_1" || !strings.HasPrefix(s.header.Get("User-Agent"), "hookgate/") {
		t.Errorf("headers %v", s.header)
	}
}

func TestDispatchAddsOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	t.Cleanup(srv.Close)
	d := newTestDispatcher(t, Config{})
	for name, c := range map[string]struct {
		header      http.Header
		event       *Event
		agent, kind []string
	}{
		"all":       {nil, &Event{ContentType: "text/csv"}, []string{userAgent()}, []string{"text/csv"}},
		"nothing":   {http.Header{"Content-Type": {"a/b"}, "User-Agent": {"me"}}, &Event{ContentType: "text/csv"}, []string{"me"}, []string{"a/b"}},
		"no type":   {http.Header{}, &Event{}, []string{userAgent()}, nil},
		"no event":  {http.Header{}, nil, []string{userAgent()}, nil},
		"left out":  {http.Header{"Content-Type": nil}, &Event{ContentType: "text/csv"}, []string{userAgent()}, nil},
		"two types": {http.Header{"Content-Type": {"a/b", "c/d"}}, &Event{}, []string{userAgent()}, []string{"a/b", "c/d"}},
	} {
		r := post(srv.URL, "{}")
		r.Header, r.Event = c.header, c.event
		if _, err := d.Dispatch(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if h := <-got; !slices.Equal(h["User-Agent"], c.agent) || !slices.Equal(h["Content-Type"], c.kind) {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// What the gateway's own dispatcher reads of an answer is enough for its judge: a change there may need one here.
func TestTheGatewaysDispatcherKeepsRetryAfter(t *testing.T) {
	t.Parallel()
	addr, _ := serveRaw(t, func(c *net.TCPConn, _ *http.Request) {
		fmt.Fprint(c, "HTTP/1.1 429 Slow\r\nretry-after: 7\r\nX-Other: x\r\nContent-Length: 0\r\n\r\n")
	})
	config := &Config{AllowPrivate: loopback}
	for _, c := range []struct {
		d    *HTTPDispatcher
		want http.Header
	}{
		{newHTTPDispatcher(config, newGuard(config), nil), http.Header{"Retry-After": {"7"}}},
		{NewHTTPDispatcher(config), http.Header{"Retry-After": {"7"}, "X-Other": {"x"}, "Content-Length": {"0"}}},
	} {
		defer c.d.Close()
		res, err := c.d.Dispatch(t.Context(), post("http://"+addr, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(res.Header, c.want, slices.Equal) {
			t.Errorf("got %v, want %v", res.Header, c.want)
		}
	}
}

func TestDispatchNeedsNoMoreConnectionsThanWorkers(t *testing.T) {
	t.Parallel()
	const workers, requests = 16, 2000
	var opened atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, strings.Repeat("x", 3000)) // more than is kept, little enough to drain
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	d := newTestDispatcher(t, Config{Workers: workers})
	var left atomic.Int64
	left.Store(requests)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if res, err := d.Dispatch(context.Background(), post(srv.URL, "{}")); err != nil || res.Status != 200 {
					t.Errorf("dispatch: %v %v", res, err)
				}
			}
		})
	}
	wg.Wait()
	if n := opened.Load(); n > workers {
		t.Errorf("%d connections for %d workers", n, workers)
	}
}

func TestDispatchNeverInflates(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 64<<20))
	z.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	}))
	t.Cleanup(srv.Close)
	d := newTestDispatcher(t, Config{MaxResponse: 100})
	res, err := d.Dispatch(t.Context(), post(srv.URL, "{}"))
	if err != nil || res.Status != 200 {
		t.Fatalf("%v %v", res, err)
	}
	if !bytes.Equal(res.Body, bomb.Bytes()[:100]) {
		t.Errorf("the kept body is not the beginning of what was sent")
	}
}

func TestDispatchReadsAnEndlessBodyOnlyToItsLimit(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := []byte("1000\r\n" + strings.Repeat("x", 0x1000) + "\r\n")
		for {
			n, err := c.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	d := newTestDispatcher(t, Config{})
	res, err := d.Dispatch(t.Context(), post("http://"+addr, "{}"))
	if err != nil || res.Status != 200 || len(res.Body) != 1<<10 {
		t.Fatalf("%v %v", res, err)
	}
}

func TestDispatchTimesOut(t *testing.T) {
	t.Parallel()
	trickle := func(c *net.TCPConn, text string) {
		for i := range len(text) {
			if _, err := c.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(time.Second) // a real socket: this is what a slow receiver is
		}
	}
	d := newTestDispatcher(t, Config{})
	t.Run("slow headers are no answer", func(t *testing.T) {
		t.Parallel()
		addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) { trickle(c, "HTTP/1.1 200 OK\r\n\r\n") })
		r := post("http://"+addr, "{}")
		r.Timeout = 300 * time.Millisecond
		start := time.Now()
		_, err := d.Dispatch(t.Context(), r)
		if de := dispatchError(t, err); de.Class != classTimeout || de.Local {
			t.Errorf("got %q local=%v: %v", de.Class, de.Local, de)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("a slow body is", func(t *testing.T) {
		t.Parallel()
		addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
			trickle(c, strings.Repeat("x", 30))
		})
		r := post("http://"+addr, "{}")
		r.Timeout = 300 * time.Millisecond
		res, err := d.Dispatch(t.Context(), r)
		if err != nil || res.Status != 200 || string(res.Body) != "x" {
			t.Errorf("%+v %v", res, err)
		}
	})
	t.Run("a receiver that hangs", func(t *testing.T) {
		t.Parallel()
		over := make(chan struct{})
		addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) { <-over })
		t.Cleanup(func() { close(over) })
		r := post("http://"+addr, "{}")
		r.Timeout = 100 * time.Millisecond
		_, err := d.Dispatch(t.Context(), r)
		if de := dispatchError(t, err); de.Class != classTimeout {
			t.Errorf("got %v", de)
		}
	})
}

func TestDispatchRefusesInjectedHeaders(t *testing.T) {
	t.Parallel()
	addr, contacts := serveRaw(t, func(c *net.TCPConn, r *http.Request) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n") })
	d := newTestDispatcher(t, Config{})
	for _, h := range []struct{ name, value string }{
		{"X-A", "a\r\nX-Evil: 1"},
		{"X-A", "a\nX-Evil: 1"},
		{"X-A", "a\x00b"},
		{"X-A\r\nX-Evil", "1"},
		{"X A", "1"},
		{"X:A", "1"},
		{"", "1"},
		{"Content-Type", "text/plain\r\n\r\nGET / HTTP/1.1"},
	} {
		r := post("http://"+addr, "{}")
		r.Header[h.name] = []string{h.value}
		_, err := d.Dispatch(t.Context(), r)
		de := dispatchError(t, err)
		if de.Class != classProtocol || strings.Contains(de.Error(), "vil") {
			t.Errorf("%q: %q: got %q: %v", h.name, h.value, de.Class, de)
		}
		if checkHeader(h.name, h.value) == nil {
			t.Errorf("%q: %q may be added to an endpoint", h.name, h.value)
		}
	}
	r := post("http://"+addr, "{}")
	delete(r.Header, "Content-Type")
	r.Event = &Event{ContentType: "a\r\nb"}
	if _, err := d.Dispatch(t.Context(), r); err == nil {
		t.Error("an event's content type breaks the line")
	}
	if n := contacts.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestCheckHeaderNamesWhatBelongsToUs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Host", "host", "CONTENT-LENGTH", "Transfer-Encoding", "Connection", "Upgrade", "te", "Trailer",
		"Expect", "Proxy-Authorization", "webhook-id", "Webhook-Signature", "keep-alive",
	} {
		if checkHeader(name, "x") == nil {
			t.Errorf("%s may be set", name)
		}
	}
	for _, h := range []struct{ name, value string }{{"Authorization", "Bearer x"}, {"X-Tenant", "ä\tö"}, {"user-agent", "me"}} {
		if err := checkHeader(h.name, h.value); err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
	}
	if err := checkHeader("X-Big", strings.Repeat("x", maxHeaderValue+1)); err == nil {
		t.Error("a header may be of any size")
	}
}

func TestDispatchIgnoresProxiesOfTheEnvironment(t *testing.T) {
	addr, contacts := serveRaw(t, func(c *net.TCPConn, r *http.Request) { fmt.Fprint(c, "HTTP/1.1 502 X\r\n\r\n") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "http://"+addr)
	}
	// A name that is not this machine: net/http never proxies loopback addresses, so one would prove nothing.
	var dialled atomic.Int64
	d := newTestDispatcher(t, Config{
		Resolver: fakeResolver{"hooks.shop.test": {{"93.184.215.14"}}}.resolver(),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dialled.Add(1)
			return nil, syscall.ECONNREFUSED
		},
	})
	_, err := d.Dispatch(t.Context(), post("http://hooks.shop.test/", "{}"))
	if de := dispatchError(t, err); de.Class != classConnect || dialled.Load() != 1 || contacts.Load() != 0 {
		t.Errorf("%v; dialled %d, proxy saw %d", de, dialled.Load(), contacts.Load())
	}
}

func TestDispatchRepeatsOnlyOnAStaleConnection(t *testing.T) {
	t.Parallel()
	t.Run("kept and closed meanwhile", func(t *testing.T) {
		t.Parallel()
		var requests atomic.Int64
		addr, contacts := serveRaw(t, func(c *net.TCPConn, r *http.Request) {
			requests.Add(1)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if requests.Load() == 1 {
				// The second request on this connection is read and meets a reset: the race of every short keep-alive.
				http.ReadRequest(bufio.NewReader(c))
				c.SetLinger(0)
			}
		})
		d := newTestDispatcher(t, Config{})
		for range 2 {
			if res, err := d.Dispatch(t.Context(), post("http://"+addr, "{}")); err != nil || res.Status != 200 {
				t.Fatalf("%v %v", res, err)
			}
		}
		if n := contacts.Load(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
	t.Run("fresh", func(t *testing.T) {
		t.Parallel()
		addr, contacts := serveRaw(t, func(c *net.TCPConn, r *http.Request) { c.SetLinger(0) })
		d := newTestDispatcher(t, Config{})
		_, err := d.Dispatch(t.Context(), post("http://"+addr, "{}"))
		if de := dispatchError(t, err); de.Class != classReset || de.Local || contacts.Load() != 1 {
			t.Errorf("%v after %d connections", de, contacts.Load())
		}
	})
}

func TestDispatchCloseEndsWhatIsBeingMade(t *testing.T) {
	t.Parallel()
	dialling := make(chan struct{})
	d := newTestDispatcher(t, Config{
		AllowPrivate: loopback,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(dialling)
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	go func() { <-dialling; d.Close() }()
	_, err := d.Dispatch(t.Context(), post("http://127.0.0.1:1/", "{}"))
	if de := dispatchError(t, err); de.Class != classCancelled || !de.Local {
		t.Errorf("%q local=%v: %v", de.Class, de.Local, de)
	}
}

func TestDispatchEscapesWhatWouldEndTheRequestLine(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) {
		got <- r.RequestURI
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	d := newTestDispatcher(t, Config{})
	if _, err := d.Dispatch(t.Context(), post("http://"+addr+"/a b?q=1 HTTP/1.1&u=ü", "{}")); err != nil {
		t.Fatal(err)
	}
	if uri := <-got; uri != "/a%20b?q=1%20HTTP/1.1&u=%C3%BC" {
		t.Errorf("the receiver saw %q", uri)
	}
	r := post("http://"+addr, "{}")
	r.Method = "POST / HTTP/1.1\r\nX: y"
	if _, err := d.Dispatch(t.Context(), r); dispatchError(t, err).Class != classProtocol {
		t.Errorf("a method that breaks the line: %v", err)
	}
}

// BenchmarkDispatch and BenchmarkBarePost belong together: the dispatcher should cost hardly more than a plain loop.
func BenchmarkDispatch(b *testing.B) {
	addr := benchReceiver(b)
	config := &Config{AllowPrivate: loopback}
	d := newHTTPDispatcher(config, newGuard(config), nil) // the gateway's own
	b.Cleanup(func() { d.Close() })
	body := strings.Repeat("x", 1024)
	b.ReportAllocs()
	for b.Loop() {
		r := post("http://"+addr, body)
		r.Header["Webhook-Id"] = []string{"msg_1"}
		r.Header["Webhook-Signature"] = []string{"v1,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
		ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
		if _, err := d.Dispatch(ctx, r); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}

func BenchmarkBarePost(b *testing.B) {
	addr := benchReceiver(b)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}, Timeout: 5 * time.Second}
	body := bytes.Repeat([]byte("x"), 1024)
	b.ReportAllocs()
	for b.Loop() {
		req, _ := http.NewRequest(http.MethodPost, "http://"+addr, bytes.NewReader(body))
		req.Header["Content-Type"] = []string{"application/json"}
		req.Header["Webhook-Id"] = []string{"msg_1"}
		req.Header["Webhook-Signature"] = []string{"v1,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
		res, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// benchReceiver costs as little as it can, so that the sender shows.
func benchReceiver(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 8192)
				for have := 0; ; {
					n, err := c.Read(buf[have:])
					if err != nil {
						return
					}
					have += n
					if i := bytes.Index(buf[:have], []byte("\r\n\r\n")); i >= 0 && have >= i+4+1024 {
						have = 0
						c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
