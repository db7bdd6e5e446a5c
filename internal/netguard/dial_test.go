package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// lookups answers the n-th lookup with the n-th list; the last one repeats.
type lookups struct {
	lists    [][]string
	asked    int
	networks []string
}

func (l *lookups) LookupNetIP(_ context.Context, network, _ string) (out []netip.Addr, err error) {
	if len(l.lists) == 0 {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	list := l.lists[min(l.asked, len(l.lists)-1)]
	l.asked++
	l.networks = append(l.networks, network)
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

// line records what is dialled. Addresses in dead never answer, those in refusing refuse at once.
type line struct {
	dialled        []string
	dead, refusing []string
}

var errRefused = errors.New("refused")

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.dialled = append(l.dialled, address)
	if slices.Contains(l.refusing, address) {
		return nil, errRefused
	}
	if slices.Contains(l.dead, address) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func TestDialJudgesTheAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		network string
		addr    string
		answers []string
		want    []string // nil: blocked
	}{
		{"a public name", "tcp", "shop.test:443", []string{"93.184.215.14"}, []string{"93.184.215.14:443"}},
		{"a private one", "tcp", "shop.test:443", []string{"10.0.0.1"}, nil},
		{"public first, then private", "tcp", "shop.test:443", []string{"93.184.215.14", "10.0.0.1"}, nil},
		{"private first, then public", "tcp", "shop.test:443", []string{"::1", "93.184.215.14"}, nil},
		{"mapped", "tcp", "shop.test:443", []string{"::ffff:93.184.215.14"}, []string{"93.184.215.14:443"}},
		{"mapped and private", "tcp", "shop.test:443", []string{"::ffff:10.0.0.1"}, nil},
		{"with a zone", "tcp", "shop.test:443", []string{"2a00:1450::1%eth0"}, nil},
		{"through NAT64", "tcp", "shop.test:443", []string{"64:ff9b::93.184.215.14"}, []string{"[64:ff9b::5db8:d70e]:443"}},
		{"through NAT64, private", "tcp", "shop.test:443", []string{"64:ff9b::10.0.0.1"}, nil},
		{"a literal", "tcp", "93.184.215.14:80", nil, []string{"93.184.215.14:80"}},
		{"a literal with a dot", "tcp", "127.0.0.1.:80", []string{"93.184.215.14"}, nil},
		{"a private literal", "tcp", "10.0.0.1:80", nil, nil},
		{"a mapped literal", "tcp", "[::ffff:93.184.215.14]:80", nil, []string{"93.184.215.14:80"}},
		{"IPv6", "tcp6", "[2a00:1450::1]:80", nil, []string{"[2a00:1450::1]:80"}},
		{"IPv6 with a zone", "tcp", "[2a00:1450::1%eth0]:80", nil, nil},
		{"no host", "tcp", ":80", []string{}, []string{}},
		{"no port", "tcp", "shop.test", []string{"93.184.215.14"}, nil},
		{"a named port", "tcp", "shop.test:http", []string{"93.184.215.14"}, nil},
		{"port zero", "tcp", "shop.test:0", []string{"93.184.215.14"}, nil},
		{"a socket file", "unix", "/run/docker.sock", nil, nil},
		{"another protocol", "udp", "93.184.215.14:53", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := &line{}
			in := &lookups{lists: [][]string{c.answers}}
			conn, err := (&Guard{}).Dialer(in, out.dial).DialContext(t.Context(), c.network, c.addr)
			switch {
			case len(c.want) > 0:
				if err != nil || conn == nil {
					t.Fatal(err)
				}
				conn.Close()
			case c.want == nil:
				if !errors.Is(err, ErrBlocked) {
					t.Errorf("got %v, want a refusal", err)
				}
			default:
				if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || !dns.IsNotFound {
					t.Errorf("got %v, want no such name", err)
				}
			}
			if !slices.Equal(out.dialled, c.want) {
				t.Errorf("dialled %v, want %v", out.dialled, c.want)
			}
		})
	}
}

func TestDialLooksUpOnce(t *testing.T) {
	t.Parallel()
	in := &lookups{lists: [][]string{{"93.184.215.14"}, {"10.0.0.9"}}}
	out := &line{}
	d := (&Guard{}).Dialer(in, out.dial)
	conn, err := d.DialContext(t.Context(), "tcp4", "flip.test:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if in.asked != 1 || in.networks[0] != "ip4" {
		t.Errorf("%d lookups, %v", in.asked, in.networks)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "flip.test:80"); !errors.Is(err, ErrBlocked) {
		t.Errorf("the second connection: %v", err)
	}
	if !slices.Equal(out.dialled, []string{"93.184.215.14:80"}) {
		t.Errorf("dialled %v", out.dialled)
	}
}

func TestDialGivesTheErrorOfTheLookup(t *testing.T) {
	t.Parallel()
	_, err := (&Guard{}).Dialer(&lookups{}, (&line{}).dial).DialContext(t.Context(), "tcp", "nowhere.test:80")
	if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || errors.Is(err, ErrBlocked) {
		t.Errorf("got %v", err)
	}
}

func TestDialTriesTheAddressesInTurn(t *testing.T) {
	t.Parallel()
	in := &lookups{lists: [][]string{{"2a00::1", "2a00::2", "2a00::1", "4.4.4.4", "::ffff:4.4.4.4", "4.4.8.8"}}}
	want := []string{"[2a00::1]:80", "4.4.4.4:80", "[2a00::2]:80", "4.4.8.8:80"}
	out := &line{refusing: want[:3]}
	conn, err := (&Guard{}).Dialer(in, out.dial).DialContext(t.Context(), "tcp", "shop.test:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !slices.Equal(out.dialled, want) {
		t.Errorf("dialled %v, want %v", out.dialled, want)
	}
	out.refusing = want
	if _, err := (&Guard{}).Dialer(in, out.dial).DialContext(t.Context(), "tcp", "shop.test:80"); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
}

func TestDialADeadAddressLeavesTimeForTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &lookups{lists: [][]string{{"2a00::1", "4.4.4.4"}}}
		out := &line{dead: []string{"[2a00::1]:80"}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		conn, err := (&Guard{}).Dialer(in, out.dial).DialContext(ctx, "tcp", "shop.test:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if took := time.Since(start); took != 2500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &lookups{lists: [][]string{{"2a00::1", "4.4.4.4", "4.4.8.8"}}}
		out := &line{dead: []string{"[2a00::1]:80", "4.4.4.4:80", "4.4.8.8:80"}}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := (&Guard{}).Dialer(in, out.dial).DialContext(ctx, "tcp", "shop.test:80")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 1500*time.Millisecond || len(out.dialled) != 2 {
			t.Errorf("it took %v and dialled %v", took, out.dialled)
		}
	})
}
