package hookgate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testCA signs certificates for tests.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	ca := &testCA{cert: cert, key: key, pool: x509.NewCertPool()}
	ca.pool.AddCert(cert)
	return ca
}

func (ca *testCA) server(t *testing.T, names ...string) *tls.Config {
	return ca.serverUntil(t, time.Now().Add(time.Hour), names...)
}

func (ca *testCA) serverUntil(t *testing.T, end time.Time, names ...string) *tls.Config {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, ca.key.Public(), ca.key)
	if err != nil {
		t.Error(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: ca.key}}}
}

func TestDispatchTellsTLSErrorsApart(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	for _, c := range []struct {
		name   string
		server *tls.Config
		plain  bool
		trust  bool
		want   string
	}{
		{"good", ca.server(t, "127.0.0.1"), false, true, ""},
		{"expired", ca.serverUntil(t, time.Now().Add(-time.Minute), "127.0.0.1"), false, true, "expired"},
		{"wrong name", ca.server(t, "other.test"), false, true, "not for this name"},
		{"unknown authority", ca.server(t, "127.0.0.1"), false, false, "authority"},
		{"old version", func() *tls.Config {
			c := ca.server(t, "127.0.0.1")
			c.MaxVersion = tls.VersionTLS11
			c.MinVersion = tls.VersionTLS10
			return c
		}(), false, true, "TLS"},
		{"no TLS at all", nil, true, true, "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 1 {
					t.Errorf("the request came over %s", r.Proto)
				}
			}))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.EnableHTTP2 = true
			url := ""
			if c.plain {
				srv.Start()
				url = "https" + strings.TrimPrefix(srv.URL, "http")
			} else {
				srv.TLS = c.server
				srv.StartTLS()
				url = srv.URL
			}
			t.Cleanup(srv.Close)
			config := &Config{AllowPrivate: loopback}
			roots := ca.pool
			if !c.trust {
				roots = x509.NewCertPool()
			}
			d := newHTTPDispatcher(config, newGuard(config), roots)
			t.Cleanup(func() { d.Close() })
			_, err := d.Dispatch(t.Context(), post(url, "{}"))
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if de := dispatchError(t, err); de.Class != classTLS || de.Local || !strings.Contains(de.Error(), c.want) {
				t.Errorf("got %q local=%v: %v", de.Class, de.Local, de)
			}
		})
	}
}

func TestDispatchTellsOurFaultsFromTheirs(t *testing.T) {
	t.Parallel()
	dialing := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
		}
	}
	for _, c := range []struct {
		name  string
		dial  error
		dns   error
		class string
		local bool
	}{
		{name: "refused", dial: syscall.ECONNREFUSED, class: classConnect},
		{name: "no route", dial: syscall.EHOSTUNREACH, class: classConnect},
		{name: "no descriptors here", dial: syscall.EMFILE, class: classConnect, local: true},
		{name: "no descriptors on the machine", dial: syscall.ENFILE, class: classConnect, local: true},
		{name: "no ports", dial: syscall.EADDRNOTAVAIL, class: classConnect, local: true},
		{name: "no such name", dns: &net.DNSError{Err: "no such host", Name: "shop.test", IsNotFound: true}, class: classDNS},
		{name: "resolver down", dns: &net.DNSError{Err: "server misbehaving", Name: "shop.test", IsTemporary: true}, class: classDNS, local: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newTestDispatcher(t, Config{
				Dial: dialing(c.dial),
				Resolver: resolverFunc(func() ([]netip.Addr, error) {
					if c.dns != nil {
						return nil, c.dns
					}
					return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
				}),
			})
			_, err := d.Dispatch(t.Context(), post("http://shop.test/", "{}"))
			if de := dispatchError(t, err); de.Class != c.class || de.Local != c.local {
				t.Errorf("got %q local=%v: %v", de.Class, de.Local, de)
			}
		})
	}
	t.Run("a resolver that answers for others", func(t *testing.T) {
		t.Parallel()
		broken := false
		d := newTestDispatcher(t, Config{
			Dial: dialing(syscall.ECONNREFUSED),
			Resolver: resolverFunc(func() ([]netip.Addr, error) {
				if broken {
					return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
				}
				return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
			}),
		})
		d.Dispatch(t.Context(), post("http://well.test/", "{}"))
		broken = true
		_, err := d.Dispatch(t.Context(), post("http://broken.test/", "{}"))
		if de := dispatchError(t, err); de.Class != classDNS || de.Local {
			t.Errorf("got %q local=%v: %v", de.Class, de.Local, de)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) { cancel(); io.Copy(io.Discard, c) })
		d := newTestDispatcher(t, Config{})
		_, err := d.Dispatch(ctx, post("http://"+addr, "{}"))
		if de := dispatchError(t, err); de.Class != classCancelled || !de.Local || !errors.Is(err, context.Canceled) {
			t.Errorf("got %q local=%v: %v", de.Class, de.Local, de)
		}
	})
}

type resolverFunc func() ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return f() }

// A receiver may send back what it got, in places where an error would quote it.
func TestDispatchErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "CANARY-7f3a"
	answers := map[string]func(c *net.TCPConn, seen string){
		"as the status line": func(c *net.TCPConn, seen string) { fmt.Fprint(c, seen) },
		"as the version":     func(c *net.TCPConn, seen string) { fmt.Fprintf(c, "HTTP/%s 200 OK\r\n\r\n", canary) },
		"as the status":      func(c *net.TCPConn, seen string) { fmt.Fprintf(c, "HTTP/1.1 %s\r\n\r\n", canary) },
		"as a header line":   func(c *net.TCPConn, seen string) { fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", canary) },
		"as a length": func(c *net.TCPConn, seen string) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", canary)
		},
		"as a transfer coding": func(c *net.TCPConn, seen string) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n", canary)
		},
		"with a terminal trick": func(c *net.TCPConn, seen string) { fmt.Fprintf(c, "\x1b[2J\u202e%s", canary) },
		"not at all":            func(c *net.TCPConn, seen string) {},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := serveRaw(t, func(c *net.TCPConn, r *http.Request) {
				dump, _ := httputil.DumpRequest(r, false)
				answer(c, string(dump))
			})
			d := newTestDispatcher(t, Config{})
			r := post("http://"+addr+"/hook?token="+canary, canary)
			r.Header.Set("Authorization", "Bearer "+canary)
			_, err := d.Dispatch(t.Context(), r)
			expectClean(t, err, canary)
		})
	}
	for _, url := range []string{
		"http://user:" + canary + "@127.0.0.1/", "http://127.0.0.1:1/?k=" + canary, "http://[::1/?k=" + canary,
		"http://127.0.0.1:x" + canary, "gopher://127.0.0.1/" + canary, "%zz" + canary, "http://10.0.0.1/?k=" + canary,
	} {
		d := newTestDispatcher(t, Config{})
		_, err := d.Dispatch(t.Context(), post(url, "{}"))
		expectClean(t, err, canary)
	}
	d := newTestDispatcher(t, Config{})
	r := post("http://127.0.0.1:1/", "{}")
	r.Header.Set("Authorization", canary+"\n")
	_, err := d.Dispatch(t.Context(), r)
	expectClean(t, err, canary)
}

func expectClean(t *testing.T, err error, canary string) {
	t.Helper()
	de := dispatchError(t, err)
	text := fmt.Sprintf("%v %+v %s %v", err, err, de.Err, de.Class)
	if strings.Contains(text, canary) || strings.ContainsAny(text, "\x1b\r\n\u202e") || len(text) > 2000 {
		t.Errorf("the error says %q", text)
	}
}

func TestDispatchErrorSaysItsClassAndReason(t *testing.T) {
	t.Parallel()
	if got := (&DispatchError{Class: "queue"}).Error(); got != "queue" {
		t.Errorf("without a reason: %q", got)
	}
	err := error(&DispatchError{Class: "queue", Err: io.ErrShortWrite})
	if err.Error() != "queue: short write" || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("with one: %q", err)
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "tab\tand\nline": `tab\x09and\x0aline`, "ü": "ü", "\xff": `\xff`, "\u202e": `\xe280ae`, "": "",
		strings.Repeat("a", 40): strings.Repeat("a", 17) + "…",
	} {
		if got := cleanText(in, 20); got != want {
			t.Errorf("cleanText(%q) = %q, want %q", in, got, want)
		}
	}
}
