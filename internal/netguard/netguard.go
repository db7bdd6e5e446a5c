// Package netguard decides which addresses the gateway may connect to.
//
// A URL that a stranger registers is a request of that stranger, sent from inside our network. What keeps it from reaching
// the database next door is one rule, kept in one place: a connection goes only to an address that is globally reachable
// unicast, and the address is judged when the connection is made. What was judged is what is dialled, as a literal, with no
// second lookup in between. So neither a name that changes its mind, nor an odd spelling, nor an IPv4 address inside an
// IPv6 one gets around it.
//
// # Which addresses
//
// The tables follow the IANA registries of special-purpose addresses. IPv6 is closed except for 2000::/3, which is all
// that was ever given out for the Internet.
//
// An IPv4-mapped address (::ffff:a.b.c.d) is that IPv4 address, to the system and to the guard. The other forms that
// carry an IPv4 address go through a translator or a tunnel that somebody may run:
//
//   - NAT64 with the well-known prefix (64:ff9b::/96), and ISATAP below a public prefix, are judged by the address inside.
//     IPv6-only hosts reach the whole IPv4 Internet through the former.
//   - IPv4-compatible, SIIT, 6to4, Teredo and local-use NAT64 (64:ff9b:1::/48) addresses are never public. No receiver has
//     a reason to be there.
//
// A network may run NAT64 below a prefix of its own. Its translator must not reach private addresses: nothing in such an
// address shows what it is.
//
// # The allow-list
//
// A range given to New opens the addresses that are dialled, not those carried inside: 10.0.0.0/8 opens 10.1.2.3 and
// ::ffff:10.1.2.3, which are the same, but neither 64:ff9b::a01:203 nor 2002:a01:203::1, which take another road. Such a
// road is opened by its own range. Two things are not opened by a range that merely covers them: the metadata services of
// clouds, which hand out credentials and need their single address (a /32 or /128) in the list, and addresses that are no
// destination at all (unspecified, multicast, broadcast, with a zone), which stay shut.
package netguard

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrBlocked is behind every refusal of a guard; test with errors.Is. The text beside it is safe to show to whoever owns
// the URL: it holds neither the URL nor an address that a lookup found.
var ErrBlocked = errors.New("not allowed")

// Guard judges addresses and URLs. It never changes, and is safe for concurrent use. The zero value allows public
// addresses only.
type Guard struct {
	allow []netip.Prefix // as masked IPv4 ranges where they are IPv4-mapped
}

// New makes a guard that also allows the ranges. Invalid ones open nothing. The slice is not kept.
func New(allow []netip.Prefix) *Guard {
	g := &Guard{}
	for _, p := range allow {
		if p.IsValid() {
			g.allow = append(g.allow, plainPrefix(p))
		}
	}
	return g
}

// plainPrefix writes a range of IPv4-mapped addresses as the IPv4 range that it is.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// Check answers nil if connections to the address are allowed, and an error that wraps ErrBlocked and says why otherwise.
// It allocates only for the error.
func (g *Guard) Check(a netip.Addr) error {
	if k := g.judge(a); k != public {
		return refuse("the address %s is %s", a, k)
	}
	return nil
}

// judge answers public for every address that may be dialled, by itself or by the allow-list.
func (g *Guard) judge(a netip.Addr) kind {
	a = unmap(a)
	k := classify(a)
	if k == public || k.never() {
		return k
	}
	for _, p := range g.allow {
		if p.Contains(a) && (k != metadata || p.IsSingleIP()) {
			return public
		}
	}
	return k
}

// unmap makes an IPv4-mapped address the IPv4 address that it is. A zone is kept, so that it is seen.
func unmap(a netip.Addr) netip.Addr {
	if a.Zone() != "" {
		return a
	}
	return a.Unmap()
}

// blocked is a refusal in words.
type blocked struct{ text string }

func (b *blocked) Error() string { return b.text }
func (b *blocked) Unwrap() error { return ErrBlocked }

func refuse(format string, args ...any) error { return &blocked{fmt.Sprintf(format, args...)} }
