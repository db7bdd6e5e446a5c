package netguard

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Resolver looks up the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DialFunc connects to an address; the method DialContext of a *net.Dialer is one. It gets literal addresses only.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// minShare is the least that an address gets of the time for connecting, unless less is left.
const minShare = time.Second

// Dialer makes connections that a guard allows. It is safe for concurrent use if its resolver and dial function are.
type Dialer struct {
	guard   *Guard
	resolve Resolver
	dial    DialFunc
}

// Dialer makes a dialer that looks names up with r and connects with dial. Neither may be nil.
func (g *Guard) Dialer(r Resolver, dial DialFunc) *Dialer {
	return &Dialer{guard: g, resolve: r, dial: dial}
}

// DialContext connects to addr, a host and a port, over "tcp", "tcp4" or "tcp6".
//
// A name is looked up once, and all of its addresses are judged: if one is not allowed, none is dialled and the error wraps
// ErrBlocked. A name that leads to both kinds is a mistake or an attack, and which address would have been taken is
// chance. Otherwise the addresses are dialled in turn, IPv6 and IPv4 alternating, and the error is that of the first. Each
// gets an even share of the time that the context leaves, so a dead one does not eat the time of the rest.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	family, err := ipFamily(network)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, refuse("the address is not a host and a port")
	}
	if !isPort(port) {
		return nil, refuse("the port is not a number from 1 to 65535")
	}
	if a, ok := literal(host); ok {
		if err := d.guard.Check(a); err != nil {
			return nil, err
		}
		return d.dial(ctx, network, net.JoinHostPort(unmap(a).String(), port))
	}
	addrs, err := d.lookup(ctx, family, host)
	if err != nil {
		return nil, err
	}
	return d.dialInTurn(ctx, network, addrs, port)
}

func ipFamily(network string) (string, error) {
	switch network {
	case "tcp":
		return "ip", nil
	case "tcp4":
		return "ip4", nil
	case "tcp6":
		return "ip6", nil
	}
	return "", refuse("only connections over TCP are made")
}

// lookup answers the addresses of a name if all of them are allowed: unmapped, each once, families alternating.
func (d *Dialer) lookup(ctx context.Context, family, host string) ([]netip.Addr, error) {
	found, err := d.resolve.LookupNetIP(ctx, family, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var six, four []netip.Addr
	seen := make(map[netip.Addr]bool, len(found))
	for _, a := range found {
		a = unmap(a)
		if k := d.guard.judge(a); k != public {
			return nil, refuse("the name leads to an address that is %s", k)
		}
		switch {
		case seen[a]:
		case a.Is4():
			four = append(four, a)
		default:
			six = append(six, a)
		}
		seen[a] = true
	}
	first, second := six, four
	if unmap(found[0]).Is4() {
		first, second = four, six
	}
	all := make([]netip.Addr, 0, len(first)+len(second))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			all = append(all, first[i])
		}
		if i < len(second) {
			all = append(all, second[i])
		}
	}
	return all, nil
}

func (d *Dialer) dialInTurn(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	var first error
	for i, a := range addrs {
		conn, err := d.dialOne(ctx, network, net.JoinHostPort(a.String(), port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// dialOne dials one address of as many as are left.
func (d *Dialer) dialOne(ctx context.Context, network, addr string, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		share := max(time.Until(deadline)/time.Duration(left), minShare)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	return d.dial(ctx, network, addr)
}

// literal reads a host that is an address: in the usual spellings, with a zone, in the brackets of a URL, with the dot that
// ends a full name.
func literal(host string) (netip.Addr, bool) {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(host, "."))
	return a, err == nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
