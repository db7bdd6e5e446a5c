package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestTLSConnectionsAreKept(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int64
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			srv.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
			srv.StartTLS()
			t.Cleanup(srv.Close)
			config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			config.ServerName = "example.com"
			c := newClient(t)
			c.DialTLS = func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
				return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
			}
			r := &Request{TLS: true, Addr: srv.Listener.Addr().String(), Method: "POST", Target: "/", Host: "example.com", Body: []byte("hello")}
			for range 20 {
				if res := do(t, c, r); string(res.Body) != "hello" {
					t.Errorf("got %+v", res)
				}
			}
			if n := conns.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
			srv.CloseClientConnections()
			if res := do(t, c, r); res.Status != 200 || conns.Load() != 2 {
				t.Errorf("after a restart: %+v on %d connections", res, conns.Load())
			}
		})
	}
}

// joined holds writes back until it is told to send them, all in one piece.
type joined struct {
	net.Conn
	hold bool
	held []byte
}

func (j *joined) Write(p []byte) (int, error) {
	if j.hold {
		j.held = append(j.held, p...)
		return len(p), nil
	}
	return j.Conn.Write(p)
}

func TestTLSTakesNothingUnaskedForAnAnswer(t *testing.T) {
	t.Parallel()
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	t.Cleanup(certs.Close)
	s := serveConns(t, func(nc net.Conn) {
		j := &joined{Conn: nc}
		tc := tls.Server(j, &tls.Config{Certificates: certs.TLS.Certificates})
		if _, err := http.ReadRequest(bufio.NewReader(tc)); err != nil {
			return
		}
		// The second record is read from the socket together with the first, and then waits inside the connection.
		j.hold = true
		io.WriteString(tc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		io.WriteString(tc, "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
		nc.Write(j.held)
		io.Copy(io.Discard, nc)
	})
	config := certs.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	c := newClient(t)
	c.DialTLS = func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
	}
	r := &Request{TLS: true, Addr: s.addr, Method: "POST", Target: "/", Host: "example.com"}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 10 {
		if res, err := c.Do(ctx, r); err != nil || res.Status != 200 {
			t.Fatalf("got %+v, %v", res, err)
		}
	}
	if n := s.conns.Load(); n != 10 {
		t.Errorf("%d connections", n)
	}
	c.Close()
}
