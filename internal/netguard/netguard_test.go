package netguard

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func addr(t testing.TB, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestCheckKnowsEveryForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr string
		want kind
	}{
		// IPv4, with the neighbours of each range.
		{"0.0.0.0", unspecified},
		{"0.0.0.1", thisNetwork},
		{"0.255.255.255", thisNetwork},
		{"1.0.0.0", public},
		{"9.255.255.255", public},
		{"10.0.0.0", private},
		{"10.255.255.255", private},
		{"11.0.0.0", public},
		{"100.63.255.255", public},
		{"100.64.0.0", shared},
		{"100.100.100.199", shared},
		{"100.100.100.200", metadata},
		{"100.127.255.255", shared},
		{"100.128.0.0", public},
		{"126.255.255.255", public},
		{"127.0.0.1", loopback},
		{"127.255.255.255", loopback},
		{"128.0.0.0", public},
		{"168.63.129.15", public},
		{"168.63.129.16", metadata},
		{"169.253.255.255", public},
		{"169.254.0.0", linkLocal},
		{"169.254.169.254", metadata},
		{"169.254.170.2", metadata},
		{"169.254.255.255", linkLocal},
		{"169.255.0.0", public},
		{"172.15.255.255", public},
		{"172.16.0.0", private},
		{"172.31.255.255", private},
		{"172.32.0.0", public},
		{"192.0.0.0", protocol},
		{"192.0.0.192", metadata},
		{"192.0.0.255", protocol},
		{"192.0.1.0", public},
		{"192.0.2.1", documentation},
		{"192.0.3.0", public},
		{"192.88.99.1", relay},
		{"192.167.255.255", public},
		{"192.168.0.0", private},
		{"192.168.255.255", private},
		{"192.169.0.0", public},
		{"198.17.255.255", public},
		{"198.18.0.0", benchmark},
		{"198.19.255.255", benchmark},
		{"198.20.0.0", public},
		{"198.51.100.1", documentation},
		{"203.0.113.1", documentation},
		{"223.255.255.255", public},
		{"224.0.0.1", multicast},
		{"239.255.255.255", multicast},
		{"240.0.0.1", reserved},
		{"255.255.255.254", reserved},
		{"255.255.255.255", broadcast},

		// IPv4-mapped is IPv4.
		{"::ffff:10.0.0.1", private},
		{"::ffff:7f00:1", loopback},
		{"::ffff:169.254.169.254", metadata},
		{"::ffff:0.0.0.0", unspecified},
		{"::ffff:8.8.8.8", public},

		// The other forms that carry an IPv4 address.
		{"::10.0.0.1", compatible},
		{"::8.8.8.8", compatible},
		{"::ffff:0:10.0.0.1", translated},
		{"::ffff:0:8.8.8.8", translated},
		{"64:ff9b::10.0.0.1", nat64},
		{"64:ff9b::127.0.0.1", nat64},
		{"64:ff9b::169.254.169.254", metadata},
		{"64:ff9b::8.8.8.8", public},
		{"64:ff9b:0:0:1::8.8.8.8", reserved},
		{"64:ff9b:1::8.8.8.8", localNAT64},
		{"64:ff9b:1:ffff::10.0.0.1", localNAT64},
		{"64:ff9b:2::8.8.8.8", reserved},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", teredo},
		{"2001::a00:1", teredo},
		{"2002:a00:1::1", sixToFour},
		{"2002:808:808::1", sixToFour},
		{"2a00:1450:4001:81b:0:5efe:10.0.0.1", isatap},
		{"2a00:1450:4001:81b:200:5efe:192.168.1.1", isatap},
		{"2a00:1450:4001:81b:200:5efe:169.254.169.254", metadata},
		{"2a00:1450:4001:81b:200:5efe:8.8.8.8", public},
		{"2a00:1450:4001:81b:100:5efe:10.0.0.1", public}, // not an identifier of ISATAP
		{"fe80::5efe:8.8.8.8", linkLocal},

		// IPv6 proper.
		{"::", unspecified},
		{"::1", loopback},
		{"::2", compatible},
		{"1::1", reserved},
		{"100::1", discard},
		{"100:0:0:1::1", discard},
		{"100:0:0:2::1", reserved},
		{"1fff:ffff::1", reserved},
		{"2000::1", public},
		{"2001:1::1", protocol},
		{"2001:2::1", benchmark},
		{"2001:10::1", protocol},
		{"2001:20::1", protocol},
		{"2001:1ff:ffff::1", protocol},
		{"2001:200::1", public},
		{"2001:db8::1", documentation},
		{"2001:db9::1", public},
		{"2001:4860:4860::8888", public},
		{"2600:1f18::1", public},
		{"2a03:2880:f12f:83:face:b00c:0:25de", public},
		{"3ffe::1", reserved},
		{"3fff::1", documentation},
		{"3fff:fff:ffff::1", documentation},
		{"3fff:1000::1", public},
		{"4000::1", reserved},
		{"5f00::1", segments},
		{"fbff::1", reserved},
		{"fc00::1", private},
		{"fdff:ffff::1", private},
		{"fd00:ec2::254", metadata},
		{"fd20:ce::254", metadata},
		{"fd00:c1::a9fe:a9fe", metadata},
		{"fe00::1", reserved},
		{"fe80::1", linkLocal},
		{"febf::1", linkLocal},
		{"fec0::1", siteLocal},
		{"feff::1", siteLocal},
		{"ff02::1", multicast},
		{"ff0e::1", multicast},

		// A zone, on whatever it hangs.
		{"fe80::1%eth0", zoned},
		{"2a00:1450::1%eth0", zoned},
		{"::ffff:8.8.8.8%1", zoned},
	} {
		a := addr(t, c.addr)
		if got := classify(a); got != c.want {
			t.Errorf("%s is %s, want %s", c.addr, got, c.want)
		}
		err := (&Guard{}).Check(a)
		if (err == nil) != (c.want == public) || (err != nil && !errors.Is(err, ErrBlocked)) {
			t.Errorf("%s: %v", c.addr, err)
		}
	}
	if err := New(prefixes("0.0.0.0/0", "::/0")).Check(netip.Addr{}); !errors.Is(err, ErrBlocked) {
		t.Errorf("no address at all: %v", err)
	}
}

func TestEveryKindHasWords(t *testing.T) {
	t.Parallel()
	for k := public; k <= isatap; k++ {
		if k.String() == "" {
			t.Errorf("kind %d has none", k)
		}
	}
}

func TestAllowListOpensWhatIsDialled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow string
		addr  string
		open  bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "11.1.2.3", true}, // public anyway
		{"10.9.9.9/8", "10.1.2.3", true},          // bits beyond the length do not count
		{"10.0.0.0/8", "192.168.0.1", false},
		{"10.0.0.0/8", "64:ff9b::10.1.2.3", false},
		{"10.0.0.0/8", "2002:a01:203::1", false},
		{"10.0.0.0/8", "::10.1.2.3", false},
		{"64:ff9b::/96", "64:ff9b::10.1.2.3", true},
		{"64:ff9b:1::/48", "64:ff9b:1::10.1.2.3", true},
		{"64:ff9b::/96", "10.1.2.3", false},
		{"fd00::/8", "fd12::1", true},
		{"127.0.0.0/8", "127.0.0.1", true},
		{"127.0.0.0/8", "0.0.0.0", false},
		{"127.0.0.0/8", "::1", false},
		{"::1/128", "::1", true},
		{"fe80::/10", "fe80::1%eth0", false},
		{"fe80::/10", "fe80::1", true},

		// A metadata service is opened by its own address only.
		{"169.254.0.0/16", "169.254.1.1", true},
		{"169.254.0.0/16", "169.254.169.254", false},
		{"0.0.0.0/0", "169.254.169.254", false},
		{"0.0.0.0/0", "::ffff:169.254.169.254", false},
		{"::/0", "::ffff:169.254.169.254", false},
		{"100.64.0.0/10", "100.100.100.200", false},
		{"fd00::/8", "fd00:ec2::254", false},
		{"64:ff9b::/96", "64:ff9b::169.254.169.254", false},
		{"169.254.169.254/32", "169.254.169.254", true},
		{"fd00:ec2::254/128", "fd00:ec2::254", true},

		// Nothing opens what is no destination.
		{"0.0.0.0/0", "0.0.0.0", false},
		{"0.0.0.0/32", "0.0.0.0", false},
		{"::/0", "::", false},
		{"0.0.0.0/0", "224.0.0.1", false},
		{"::/0", "ff02::1", false},
		{"255.255.255.255/32", "255.255.255.255", false},
	} {
		err := New(prefixes(c.allow)).Check(addr(t, c.addr))
		if (err == nil) != c.open {
			t.Errorf("allow %s, %s: %v", c.allow, c.addr, err)
		}
	}
	if err := New([]netip.Prefix{{}}).Check(addr(t, "10.0.0.1")); err == nil {
		t.Error("an invalid range opens something")
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	g := New(prefixes("10.0.0.0/8", "fd00::/8"))
	for _, s := range []string{"8.8.8.8", "10.1.1.1", "::ffff:10.0.0.1", "2a00:1450:4001:81b::200e", "64:ff9b::8.8.8.8", "fd12::1"} {
		a := addr(t, s)
		if n := testing.AllocsPerRun(100, func() {
			if g.Check(a) != nil {
				t.Error("blocked")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

type vector struct {
	ID    string
	Kind  string
	Input string `json:"url_or_ip"`
	Block bool   `json:"must_block"`
	Note  string
	DNS   map[string][][]string
}

func readVectors(t testing.TB) (cases []vector) {
	t.Helper()
	dir := os.Getenv("HOOKGATE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "testdata", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "ssrf.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// Redirects and lookups that change belong to the dispatcher, which runs the same file.
func TestVectorsAddresses(t *testing.T) {
	t.Parallel()
	g := &Guard{}
	for _, c := range readVectors(t) {
		if c.Kind == "ip" {
			a, err := netip.ParseAddr(c.Input)
			if err == nil {
				err = g.Check(a)
			}
			if (err != nil) != c.Block {
				t.Errorf("%s: %s: %v", c.ID, c.Input, err)
			}
		} else if !c.Block {
			if err := g.CheckURL(c.Input); err != nil {
				t.Errorf("%s: %s: %v", c.ID, c.Input, err)
			}
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	g := New(prefixes("10.0.0.0/8"))
	four, six := addr(b, "93.184.215.14"), addr(b, "2a00:1450:4001:81b::200e")
	b.ReportAllocs()
	for b.Loop() {
		if g.Check(four) != nil || g.Check(six) != nil {
			b.Fatal("blocked")
		}
	}
}

// FuzzCheck holds that what is allowed is globally routed unicast, by the words of net/netip, whatever form it comes in.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:a00:1::", "2a00::5efe:a00:1", "fe80::1%x", "::"} {
		f.Add(s)
	}
	g := &Guard{}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil || g.Check(a) != nil {
			return
		}
		if a.Zone() != "" {
			t.Fatalf("%s: a zone is allowed", s)
		}
		inner := a.Unmap()
		if b := a.As16(); strings.HasPrefix(a.String(), "64:ff9b::") {
			inner = netip.AddrFrom4([4]byte(b[12:]))
		}
		if !inner.IsGlobalUnicast() || inner.IsPrivate() || inner.IsLoopback() || inner.IsLinkLocalUnicast() || inner.IsUnspecified() {
			t.Fatalf("%s is allowed", s)
		}
		if inner.Is6() && !netip.MustParsePrefix("2000::/3").Contains(inner) {
			t.Fatalf("%s is allowed", s)
		}
		if mapped := netip.AddrFrom16(a.As16()); g.Check(mapped) != nil {
			t.Fatalf("%s is allowed, and not in its IPv6 form", s)
		}
	})
}
