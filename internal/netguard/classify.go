package netguard

import (
	"encoding/binary"
	"net/netip"
)

// kind is what an address is for.
type kind uint8

const (
	public kind = iota
	invalid
	zoned
	unspecified
	multicast
	broadcast
	thisNetwork
	loopback
	private
	shared
	linkLocal
	metadata
	siteLocal
	protocol
	documentation
	benchmark
	relay
	reserved
	discard
	segments
	compatible
	translated
	localNAT64
	nat64
	teredo
	sixToFour
	isatap
)

var kinds = [...]string{
	public:        "public",
	invalid:       "not an address",
	zoned:         "one with a zone",
	unspecified:   "the unspecified one",
	multicast:     "for multicast",
	broadcast:     "for broadcast",
	thisNetwork:   "in 0.0.0.0/8 (this network)",
	loopback:      "on this machine (loopback)",
	private:       "private",
	shared:        "in the range that carriers share (100.64.0.0/10)",
	linkLocal:     "link-local",
	metadata:      "a cloud's metadata service",
	siteLocal:     "site-local",
	protocol:      "reserved for protocols (IETF)",
	documentation: "for documentation",
	benchmark:     "for benchmarks",
	relay:         "a 6to4 relay",
	reserved:      "reserved",
	discard:       "for discarding traffic",
	segments:      "for segment routing",
	compatible:    "an IPv4-compatible one",
	translated:    "an IPv4-translated one (SIIT)",
	localNAT64:    "for local NAT64",
	nat64:         "a NAT64 form of one that is not public",
	teredo:        "a Teredo one",
	sixToFour:     "a 6to4 one",
	isatap:        "an ISATAP form of one that is not public",
}

func (k kind) String() string { return kinds[k] }

// never reports whether no allow-list opens the kind: nobody can be reached there, and on some systems the unspecified
// address is the machine itself.
func (k kind) never() bool { return k >= invalid && k <= broadcast }

// range4 is an IPv4 range as a comparison.
type range4 struct {
	net, mask uint32
	kind      kind
}

// ranges4 is searched from the front: a single address stands before the range that holds it.
var ranges4 = compile4([]entry{
	{"0.0.0.0/32", unspecified},
	{"0.0.0.0/8", thisNetwork},
	{"10.0.0.0/8", private},
	{"100.100.100.200/32", metadata}, // Alibaba Cloud
	{"100.64.0.0/10", shared},
	{"127.0.0.0/8", loopback},
	{"168.63.129.16/32", metadata},   // Azure; a public address, answered by the host of the machine
	{"169.254.169.254/32", metadata}, // AWS, Azure, Google, Oracle, DigitalOcean, OpenStack and more
	{"169.254.169.253/32", metadata}, // AWS: the resolver
	{"169.254.169.123/32", metadata}, // AWS: the clock
	{"169.254.170.2/32", metadata},   // AWS: credentials of ECS tasks
	{"169.254.170.23/32", metadata},  // AWS: credentials of EKS pods
	{"169.254.0.0/16", linkLocal},
	{"172.16.0.0/12", private},
	{"192.0.0.192/32", metadata}, // Oracle Cloud (classic)
	{"192.0.0.0/24", protocol},
	{"192.0.2.0/24", documentation},
	{"192.88.99.0/24", relay},
	{"192.168.0.0/16", private},
	{"198.18.0.0/15", benchmark},
	{"198.51.100.0/24", documentation},
	{"203.0.113.0/24", documentation},
	{"224.0.0.0/4", multicast},
	{"255.255.255.255/32", broadcast},
	{"240.0.0.0/4", reserved},
})

// range6 is an IPv6 range as a comparison.
type range6 struct {
	net, mask [2]uint64
	kind      kind
}

// ranges6 is searched from the front. What it does not hold is public inside 2000::/3 and reserved outside.
var ranges6 = compile6([]entry{
	{"::/128", unspecified},
	{"::1/128", loopback},
	{"::/96", compatible},
	{"::ffff:0:0:0/96", translated},
	{"64:ff9b::/96", nat64},
	{"64:ff9b:1::/48", localNAT64},
	{"100::/63", discard}, // 100::/64, and the dummy prefix 100:0:0:1::/64
	{"2001::/32", teredo},
	{"2001:2::/48", benchmark},
	{"2001::/23", protocol},
	{"2001:db8::/32", documentation},
	{"2002::/16", sixToFour},
	{"3ffe::/16", reserved}, // the 6bone, given back in 2006
	{"3fff::/20", documentation},
	{"5f00::/16", segments},
	{"fd00:ec2::/32", metadata},          // AWS: metadata, resolver, clock, credentials of tasks and pods
	{"fd20:ce::254/128", metadata},       // Google Cloud
	{"fd00:c1::a9fe:a9fe/128", metadata}, // Oracle Cloud
	{"fc00::/7", private},
	{"fe80::/10", linkLocal},
	{"fec0::/10", siteLocal},
	{"ff00::/8", multicast},
})

type entry struct {
	prefix string
	kind   kind
}

func compile4(entries []entry) []range4 {
	out := make([]range4, len(entries))
	for i, e := range entries {
		p := netip.MustParsePrefix(e.prefix)
		b := p.Addr().As4()
		out[i] = range4{net: binary.BigEndian.Uint32(b[:]), mask: ^uint32(0) << (32 - p.Bits()), kind: e.kind}
	}
	return out
}

func compile6(entries []entry) []range6 {
	out := make([]range6, len(entries))
	for i, e := range entries {
		p := netip.MustParsePrefix(e.prefix)
		hi, lo := halves(p.Addr())
		r := range6{net: [2]uint64{hi, lo}, kind: e.kind}
		n := p.Bits()
		r.mask[0] = ^uint64(0) << max(64-n, 0)
		r.mask[1] = ^uint64(0) << min(128-n, 64)
		out[i] = r
	}
	return out
}

func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// classify says what an address is for, whatever the allow-list. IPv4-mapped addresses are unmapped.
func classify(a netip.Addr) kind {
	switch {
	case !a.IsValid():
		return invalid
	case a.Zone() != "":
		return zoned
	case a.Is4(), a.Is4In6():
		b := a.As16()
		return classify4(binary.BigEndian.Uint32(b[12:]))
	}
	return classify6(halves(a))
}

func classify4(a uint32) kind {
	for i := range ranges4 {
		if r := &ranges4[i]; a&r.mask == r.net {
			return r.kind
		}
	}
	return public
}

func classify6(hi, lo uint64) kind {
	for i := range ranges6 {
		r := &ranges6[i]
		if hi&r.mask[0] != r.net[0] || lo&r.mask[1] != r.net[1] {
			continue
		}
		if r.kind == nat64 {
			return inside(uint32(lo), nat64)
		}
		return r.kind
	}
	if hi>>61 != 1 { // 2000::/3
		return reserved
	}
	// An interface identifier of ISATAP, with the bit for "globally unique" set or not.
	if lo>>32&^0x02000000 == 0x00005efe {
		return inside(uint32(lo), isatap)
	}
	return public
}

// inside judges an IPv4 address that an IPv6 address carries. A metadata service stays one.
func inside(a uint32, form kind) kind {
	switch k := classify4(a); k {
	case public, metadata:
		return k
	}
	return form
}
