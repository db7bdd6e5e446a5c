package hookgate

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClientFailureTellsWhoseFaultItIs asks real servers with HTTPClient.
func TestClientFailureTellsWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	cut, _ := serveRaw(t, func(*net.TCPConn, *http.Request) {})
	noise, _ := serveRaw(t, func(c *net.TCPConn, _ *http.Request) { fmt.Fprint(c, "canary\r\n\r\n") })
	silent, _ := serveRaw(t, func(c *net.TCPConn, _ *http.Request) { _, _ = io.Copy(io.Discard, c) })
	noFiles := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	down := resolverFunc(func() ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "canary", Name: "name.test", IsTemporary: true}
	})
	for _, c := range []struct {
		name, url   string
		config      Config
		stop, brief bool
		class       string
		local       bool
		text        string
	}{
		{name: "blocked", url: "http://10.0.0.1/canary", class: classBlocked, text: "10.0.0.1"},
		{name: "refused", url: gone.URL + "/canary", class: classConnect, text: "refused"},
		{name: "no TLS", url: "https" + strings.TrimPrefix(gone.URL, "http") + "/canary", class: classConnect, text: "refused"},
		{name: "unknown authority", url: secure.URL + "/canary", class: classTLS, text: "authority"},
		{name: "cut", url: "http://" + cut + "/canary", class: classReset, text: "before an answer"},
		{name: "noise", url: "http://" + noise + "/canary", class: classProtocol, text: "not valid HTTP"},
		{name: "late", url: "http://" + silent + "/canary", brief: true, class: classTimeout, text: "attempt's time"},
		{name: "stopped", url: "http://" + silent + "/canary", stop: true, class: classCancelled, local: true, text: "stopped"},
		{name: "no descriptors", url: gone.URL + "/canary", config: Config{Dial: noFiles}, class: classConnect, local: true, text: "descriptor"},
		{name: "no resolver", url: "http://name.test/canary", config: Config{Resolver: down}, class: classDNS, local: true, text: "resolver"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.config.AllowPrivate = loopback
			g := newSurface(t, c.config)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if c.brief {
				ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
			}
			defer cancel()
			if c.stop {
				cancel()
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader("canary"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := g.HTTPClient().Do(req)
			if err == nil {
				res.Body.Close()
				t.Fatal("there is an answer")
			}
			f := g.ClientFailure(ctx, err)
			if f.Class != c.class || f.Local != c.local || !strings.Contains(f.Error(), c.text) || strings.Contains(f.Error(), "canary") {
				t.Errorf("got %v, local %v; want %s, %q", f, f.Local, c.class, c.text)
			}
		})
	}
}
