package hookgate

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// vectors reads a file of cases that are the same for every implementation. HOOKGATE_VECTORS names a folder with other
// or more cases.
func vectors(t *testing.T, name string, into any) {
	t.Helper()
	dir := os.Getenv("HOOKGATE_VECTORS")
	if dir == "" {
		dir = filepath.Join("testdata", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestVectorsReceiverResponses(t *testing.T) {
	t.Parallel()
	var cases []struct {
		ID       string
		Raw      string
		Segments [][2]any
		Repeat   int `json:"segments_repeat"`
		After    string
		Outcome  string
		Contacts int64
		Note     string
	}
	vectors(t, "receiver-responses.json", &cases)
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			addr, contacts := serveRaw(t, func(conn *net.TCPConn, _ *http.Request) {
				out := bufio.NewWriter(conn)
				io.WriteString(out, c.Raw)
				for range c.Repeat {
					for _, s := range c.Segments {
						text, count := s[0].(string), int(s[1].(float64))
						if _, err := io.WriteString(out, strings.Repeat(text, count)); err != nil {
							return
						}
					}
				}
				out.Flush()
				if c.After == "rst" {
					conn.SetLinger(0)
				} else {
					conn.CloseWrite()
					io.Copy(io.Discard, conn)
				}
			})
			d := newTestDispatcher(t, Config{})
			res, err := d.Dispatch(t.Context(), post("http://"+addr+"/hook", "{}"))
			delivered := err == nil && res.Status >= 200 && res.Status <= 299
			if err != nil {
				dispatchError(t, err)
			}
			if want := c.Outcome; want != "any" && delivered != (want == "delivered") {
				t.Errorf("%s: want %s, got %+v %v", c.Note, want, res, err)
			}
			if want := max(c.Contacts, 1); contacts.Load() != want {
				t.Errorf("%s: %d connections, want %d", c.Note, contacts.Load(), want)
			}
		})
	}
}

// fakeResolver answers the n-th lookup of a name with the n-th list; the last one repeats.
type fakeResolver map[string][][]string

func (f fakeResolver) resolver() Resolver { return &fakeLookups{answers: f, asked: map[string]int{}} }

type fakeLookups struct {
	answers fakeResolver
	mu      sync.Mutex
	asked   map[string]int
}

func (f *fakeLookups) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lists := f.answers[strings.TrimSuffix(host, ".")]
	if len(lists) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	list := lists[min(f.asked[host], len(lists)-1)]
	f.asked[host]++
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

// wire hands out connections in memory and remembers where they were to go.
type wire struct {
	mu     sync.Mutex
	dialed []netip.AddrPort
	serve  func(net.Conn)
}

func (w *wire) dial(_ context.Context, _, address string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("the guard passed on %q, which is not an address", address)
	}
	w.mu.Lock()
	w.dialed = append(w.dialed, ap)
	w.mu.Unlock()
	here, there := net.Pipe()
	go w.serve(there)
	return here, nil
}

func TestVectorsAddressGuard(t *testing.T) {
	t.Parallel()
	var cases []struct {
		ID        string
		Kind      string
		Input     string `json:"url_or_ip"`
		Block     bool   `json:"must_block"`
		Note      string
		DNS       fakeResolver
		Redirects []struct {
			Status   int
			Location string
		}
	}
	vectors(t, "ssrf.json", &cases)
	ca := newTestCA(t)
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			target := c.Input
			if c.Kind == "ip" {
				target = "http://" + net.JoinHostPort(c.Input, "80") + "/hook"
			}
			w := &wire{serve: func(conn net.Conn) {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				if strings.HasPrefix(strings.ToLower(target), "https:") {
					conn = tls.Server(conn, ca.server(t, "hook.shop.test", "hooks.shop.test", "2a00:1450:4001:81b::200e"))
				}
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				status, location := 200, ""
				if len(c.Redirects) > 0 { // nobody comes for the second hop: what is dialled shows it
					status, location = c.Redirects[0].Status, "Location: "+c.Redirects[0].Location+"\r\n"
				}
				fmt.Fprintf(conn, "HTTP/1.1 %d X\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n", status, location)
			}}
			config := &Config{Resolver: c.DNS.resolver(), Dial: w.dial}
			d := newHTTPDispatcher(config, newGuard(config), ca.pool)
			t.Cleanup(func() { d.Close() })
			var res *Response
			var err error
			for range 3 { // so that every answer of the resolver has its turn
				if got, e := d.Dispatch(t.Context(), post(target, "{}")); e == nil {
					res = got
				} else {
					err = e
					dispatchError(t, e)
				}
			}
			for _, ap := range w.dialed {
				if !plainlyPublic(ap.Addr()) {
					t.Errorf("%s: %s dialled %s", c.Note, c.Input, ap)
				}
			}
			switch {
			case !c.Block && (len(w.dialed) == 0 || res == nil):
				t.Errorf("%s: %s was not reached: %v", c.Note, c.Input, err)
			case c.Block && res != nil && res.Status < 300 && !strings.HasPrefix(c.Note, "public at validation"):
				t.Errorf("%s: %s got through to %v", c.Note, c.Input, w.dialed)
			}
		})
	}
}

// plainlyPublic knows the addresses of the cases that are public, and is no guard.
func plainlyPublic(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range []string{"93.184.215.14/32", "4.4.4.4/32", "172.33.0.0/16", "192.169.0.0/16", "100.200.0.0/16", "2a00::/12", "2404::/16", "2600::/12"} {
		if netip.MustParsePrefix(p).Contains(a) {
			return true
		}
	}
	return false
}
