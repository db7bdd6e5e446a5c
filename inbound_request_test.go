package hookgate

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestInboundSenderBehindProxies(t *testing.T) {
	t.Parallel()
	trusted := prefixes("10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		name, remote string
		trusted      []netip.Prefix
		forwarded    []string
		want         string
		proxied      bool
	}{
		{"nobody is trusted", "10.0.0.1:80", nil, []string{"1.2.3.4"}, "10.0.0.1", false},
		{"not a proxy", "9.9.9.9:80", trusted, []string{"1.2.3.4"}, "9.9.9.9", false},
		{"one proxy", "10.0.0.1:80", trusted, []string{"1.2.3.4"}, "1.2.3.4", true},
		{"what the sender wrote does not count", "10.0.0.1:80", trusted, []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4", true},
		{"two proxies", "10.0.0.1:80", trusted, []string{"6.6.6.6, 1.2.3.4 , 10.9.9.9"}, "1.2.3.4", true},
		{"several lines", "10.0.0.1:80", trusted, []string{"6.6.6.6", "1.2.3.4", "10.9.9.9"}, "1.2.3.4", true},
		{"only proxies", "10.0.0.1:80", trusted, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", true},
		{"no header", "10.0.0.1:80", trusted, nil, "10.0.0.1", true},
		{"with ports", "10.0.0.1:80", trusted, []string{"1.2.3.4:99"}, "1.2.3.4", true},
		{"IPv6", "[fd00::1]:80", trusted, []string{"[2001:db8::7]:99"}, "2001:db8::7", true},
		{"IPv6 in brackets", "[fd00::1]:80", trusted, []string{"[2001:db8::7]"}, "2001:db8::7", true},
		{"IPv6 with a zone", "[fd00::1%eth0]:80", trusted, []string{"1.2.3.4"}, "1.2.3.4", true},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", trusted, []string{"::ffff:1.2.3.4"}, "1.2.3.4", true},
		{"nonsense ends it", "10.0.0.1:80", trusted, []string{"1.2.3.4, unknown"}, "invalid IP", true},
		{"an empty part ends it", "10.0.0.1:80", trusted, []string{"1.2.3.4, , 10.0.0.2"}, "invalid IP", true},
		{"a socket without address", "@", trusted, []string{"1.2.3.4"}, "invalid IP", false},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		got, proxied := senderOf(r, c.trusted)
		if got.String() != c.want || proxied != c.proxied {
			t.Errorf("%s: %s %v, want %s %v", c.name, got, proxied, c.want, c.proxied)
		}
	}
}

func TestInboundAllowListBehindAProxy(t *testing.T) {
	t.Parallel()
	g, _ := inbound(t, nil)
	addSource(t, g, "src", Source{
		Verifier: &tokenVerifier{token: "good"}, Allow: prefixes("198.51.100.0/24"), TrustedProxies: prefixes("192.0.2.0/24"),
	})
	for forwarded, want := range map[string]int{
		"198.51.100.7": 200, "198.51.100.7, 192.0.2.9": 200, "": 403, "203.0.113.1": 403, "198.51.100.7, 203.0.113.1": 403, "198.51.100.7, x": 403,
	} {
		if got := deliverTo(g.Inbound("src"), good("x", "X-Forwarded-For", forwarded)).StatusCode; got != want {
			t.Errorf("X-Forwarded-For: %q: %d, want %d", forwarded, got, want)
		}
	}
}

func TestInboundURLAsTheProviderKnowsIt(t *testing.T) {
	t.Parallel()
	public, err := url.Parse("https://hooks.example.com/in/twilio?old=1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		public  *url.URL
		proxied bool
		proto   string
		tls     bool
		want    string
	}{
		{"plain", nil, false, "", false, "http://h.test/a%2Fb?x=1"},
		{"TLS", nil, false, "", true, "https://h.test/a%2Fb?x=1"},
		{"a stranger's word", nil, false, "https", false, "http://h.test/a%2Fb?x=1"},
		{"a proxy's word", nil, true, "https", false, "https://h.test/a%2Fb?x=1"},
		{"the first of several", nil, true, "https, http", false, "https://h.test/a%2Fb?x=1"},
		{"nonsense", nil, true, "gopher", false, "http://h.test/a%2Fb?x=1"},
		{"given", public, true, "http", false, "https://hooks.example.com/in/twilio?x=1"},
	} {
		r := httptest.NewRequest("POST", "/a%2Fb?x=1", nil)
		r.Host = "h.test"
		r.Header.Set("X-Forwarded-Proto", c.proto)
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		r.URL.Path = "/cut/by/a/router"
		if got := urlOf(r, c.public, c.proxied); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestInboundRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, s := inbound(t, nil)
		v := &tokenVerifier{token: "good"}
		addSource(t, g, "src", Source{Verifier: v, Rate: 0.25, Burst: 2})
		for i, want := range []int{200, 200, 429, 429} {
			resp := deliverTo(g.Inbound("src"), good("x"))
			if resp.StatusCode != want {
				t.Errorf("request %d: %d, want %d", i, resp.StatusCode, want)
			}
			if want == 429 && resp.Header.Get("Retry-After") != "4" {
				t.Errorf("Retry-After: %s", resp.Header.Get("Retry-After"))
			}
		}
		if v.calls.Load() != 2 || len(s.all(t)) != 2 {
			t.Errorf("verified %d, stored %d", v.calls.Load(), len(s.all(t)))
		}
		time.Sleep(4 * time.Second)
		if got := deliverTo(g.Inbound("src"), good("x")).StatusCode; got != 200 {
			t.Errorf("after Retry-After: %d", got)
		}
		if list, _ := g.Rejected("src"); len(list) != 0 {
			t.Errorf("kept: %+v", list)
		}
	})
}

func TestInboundSizeIsExact(t *testing.T) {
	t.Parallel()
	const most = 100_000
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}, MaxBody: most})
	for _, announced := range []bool{true, false} {
		for _, c := range []struct{ size, status, read int }{
			{0, 200, 0},
			{1, 200, 1},
			{most - 1, 200, most - 1},
			{most, 200, most},
			{most + 1, 413, most + 1},
			{10 * most, 413, most + 1},
		} {
			body := &reader{Reader: bytes.NewReader(bytes.Repeat([]byte("x"), c.size))}
			r := good("")
			r.Body, r.ContentLength = body, -1
			if announced {
				r.ContentLength = int64(c.size)
				if c.status == 413 {
					c.read = 0
				}
			}
			before := len(s.all(t))
			resp := deliverTo(g.Inbound("src"), r)
			if resp.StatusCode != c.status || body.n > int64(c.read) {
				t.Errorf("%d bytes, announced: %v: status %d, %d bytes read; want %d, %d", c.size, announced, resp.StatusCode, body.n, c.status, c.read)
			}
			events := s.all(t)
			if c.status == 200 && (len(events) != before+1 || len(events[before].Payload) != c.size) {
				t.Errorf("%d bytes, announced: %v: not stored whole", c.size, announced)
			}
		}
	}
}

func TestReadAllFollowsWhatCame(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 511, 4096, 16 << 10, 16<<10 + 1, 1 << 20} {
		want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, announced := range []int64{-1, int64(size)} {
			for name, r := range map[string]io.Reader{
				"whole": bytes.NewReader(want), "halves": iotest.HalfReader(bytes.NewReader(want)), "end with data": iotest.DataErrReader(bytes.NewReader(want)),
			} {
				held := 0
				got, err := readAll(r, announced, func(n int) bool { held += n; return true })
				if held < len(got) {
					t.Errorf("%d bytes, announced %d, %s: room for %d was taken", size, announced, name, held)
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, announced %d, %s: %d bytes, %v", size, announced, name, len(got), err)
				}
				if waste := cap(got) - len(got); waste > len(got)/2+64 {
					t.Errorf("%d bytes, announced %d, %s: %d bytes are held", size, announced, name, cap(got))
				}
			}
		}
	}
	got, err := readAll(io.MultiReader(strings.NewReader("abc"), failingReader{io.ErrUnexpectedEOF}), 5<<20, func(int) bool { return true })
	if !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "abc" || cap(got) > 32<<10 {
		t.Errorf("3 of 5 MiB: %q, %v, %d bytes are held", got, err, cap(got))
	}
}

func TestInboundBodiesInMemoryAreBounded(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	v := &tokenVerifier{token: "good"}
	addSource(t, g, "src", Source{Verifier: v})
	if room := g.inbound.room.Load(); room != minBodyRoom {
		t.Errorf("room for %d bytes", room)
	}
	const room = 64 << 10
	g.inbound.room.Store(room)
	large := strings.Repeat("x", 2*room)
	for range 3 {
		body := &reader{Reader: strings.NewReader(large)}
		r := good("")
		r.Body, r.ContentLength = body, int64(len(large))
		resp := deliverTo(g.Inbound("src"), r)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || body.n > room {
			t.Errorf("status %d after %d bytes", resp.StatusCode, body.n)
		}
		if got := deliverTo(g.Inbound("src"), good(large[:room/4])).StatusCode; got != 200 {
			t.Errorf("a small one: %d", got)
		}
	}
	if got := g.inbound.room.Load(); got != room {
		t.Errorf("%d of %d bytes were given back", got, room)
	}
	if v.calls.Load() != 3 || len(s.all(t)) != 3 {
		t.Errorf("verified %d, stored %d", v.calls.Load(), len(s.all(t)))
	}
}

// pipeNet is a network of pipes, for a real http.Server in a synctest bubble.
type pipeNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return addressed{c}, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeNet) Addr() net.Addr { return addressed{}.RemoteAddr() }

func (p *pipeNet) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711} }

// serve runs a handler on a network of pipes until the test ends.
func serve(t *testing.T, h http.Handler) *pipeNet {
	t.Helper()
	p := &pipeNet{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(p) }()
	t.Cleanup(func() { _ = srv.Close() })
	return p
}

const head = "POST /in HTTP/1.1\r\nHost: h.test\r\nX-Token: good\r\n"

func TestInboundSlowBody(t *testing.T) {
	t.Parallel()
	for _, announce := range []string{"Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e8\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			g, s := inbound(t, nil)
			addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}, BodyTimeout: 10 * time.Second})
			conn := serve(t, g.Inbound("src")).dial()
			var sender sync.WaitGroup
			defer sender.Wait()
			defer conn.Close()
			start := time.Now()
			sender.Go(func() {
				_, err := io.WriteString(conn, head+announce)
				for err == nil { // a byte now and then
					time.Sleep(3 * time.Second)
					_, err = conn.Write([]byte("x"))
				}
			})
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); resp.StatusCode != 408 || took != 10*time.Second {
				t.Errorf("status %d after %v", resp.StatusCode, took)
			}
			if _, err := io.Copy(io.Discard, in); err != nil {
				t.Errorf("the connection did not end: %v", err)
			}
			if took := time.Since(start); took > 12*time.Second {
				t.Errorf("the connection was held for %v", took)
			}
			list, _ := g.Rejected("src")
			if len(list) != 1 || list[0].Status != 408 || list[0].Whole || string(list[0].Body) != "xxx" || len(s.all(t)) != 0 {
				t.Errorf("kept as %+v", list)
			}
		})
	}
}

func TestInboundTimeForTheBodyIsNotTimeForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, s := inbound(t, nil)
		addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}, BodyTimeout: time.Second})
		takesLong := func() { time.Sleep(time.Minute) }
		s.before.Store(&takesLong)
		h := g.Inbound("src")
		conn := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			if err := r.Context().Err(); err != nil {
				t.Errorf("the request was given up: %v", err)
			}
		})).dial()
		defer conn.Close()
		in := bufio.NewReader(conn)
		for range 2 { // the connection lives on
			if _, err := io.WriteString(conn, head+"Content-Length: 4\r\n\r\nbody"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
		}
	})
}

func TestInboundRefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]Source{"403": {Allow: prefixes()}, "413": {MaxBody: 5}, "429": {Rate: 1e-9}, "405": {}} {
		for _, announce := range []string{"Content-Length: 200000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789"} {
			synctest.Test(t, func(t *testing.T) {
				g, _ := inbound(t, nil)
				source.Verifier = &tokenVerifier{token: "good"}
				addSource(t, g, "src", source)
				text := head
				switch name {
				case "429":
					deliverTo(g.Inbound("src"), good("x"))
				case "405":
					text = "PUT" + head[4:]
				}
				conn := serve(t, g.Inbound("src")).dial()
				start := time.Now()
				var sender sync.WaitGroup
				defer sender.Wait()
				defer conn.Close()
				sender.Go(func() { _, _ = io.WriteString(conn, text+announce) }) // and no more
				in := bufio.NewReader(conn)
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(resp.StatusCode); got != name || time.Since(start) > 10*time.Second {
					t.Errorf("status %s after %v, want %s", got, time.Since(start), name)
				}
				_, _ = io.Copy(io.Discard, in)
				if took := time.Since(start); took > 11*time.Second || name != "429" && took > 2*time.Second {
					t.Errorf("%s: the connection was held for %v", name, took)
				}
			})
		}
	}
}

func TestInboundOverHTTP2(t *testing.T) {
	t.Parallel()
	g, s := inbound(t, nil)
	addSource(t, g, "src", Source{Verifier: &tokenVerifier{token: "good"}, MaxBody: 5})
	addSource(t, g, "closed", Source{Verifier: &tokenVerifier{token: "good"}, Allow: prefixes()})
	mux := http.NewServeMux()
	mux.Handle("/src", g.Inbound("src"))
	mux.Handle("/closed", g.Inbound("closed"))
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	post := func(path string, body io.Reader) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Token", "good")
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		return resp.StatusCode
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{{"/src", "12345", 200}, {"/src", "123456", 413}, {"/closed", "1", 403}, {"/src", "", 200}} {
		if got := post(c.path, strings.NewReader(c.body)); got != c.status {
			t.Errorf("%s %q: %d, want %d", c.path, c.body, got, c.status)
		}
		if got := post(c.path, struct{ io.Reader }{strings.NewReader(c.body)}); got != c.status {
			t.Errorf("%s %q without a length: %d, want %d", c.path, c.body, got, c.status)
		}
	}
	if n := len(s.all(t)); n != 4 {
		t.Errorf("%d events", n)
	}
}
