package netguard

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		open bool
	}{
		{"http://shop.test/hook", true},
		{"HTTPS://Shop.Test:8443/hook?a=b#c", true},
		{"http://shop.test./", true},
		{"http://a_b.shop-1.test/", true},
		{"http://shop.test/?u=http://10.0.0.1/", true},
		{"http://93.184.215.14/", true},
		{"http://[2a00:1450:4001:81b::200e]:80/", true},
		{"http://bücher.test/", true},
		{"http://intranet/", true}, // the address decides
		{"http://1572395790/", true},
		{"http://0x5db8d70e/", true},

		{"", false},
		{"shop.test", false},
		{"//shop.test/", false},
		{"/hook", false},
		{"ftp://shop.test/", false},
		{"gopher://shop.test/", false},
		{"file:///etc/passwd", false},
		{"unix:///run/docker.sock", false},
		{"javascript:alert(1)", false},
		{"http:", false},
		{"http://", false},
		{"http:///hook", false},
		{"http:/10.0.0.1/", false},
		{"http:10.0.0.1", false},
		{"http://:80/", false},
		{" http://shop.test/", false},
		{"http://shop.test/\r\nX-A: b", false},
		{"http://shop.test:/", false},
		{"http://shop.test:0/", false},
		{"http://shop.test:65536/", false},
		{"http://shop.test:http/", false},
		{"http://user@shop.test/", false},
		{"http://user:password@shop.test/", false},
		{"http://shop.test@10.0.0.1/", false},
		{"http://a b.test/", false},
		{"http://a%20b.test/", false},
		{"http://a..b.test/", false},
		{"http://.test/", false},
		{"http://a,b.test/", false},
		{"http://" + strings.Repeat("a", 64) + ".test/", false},
		{"http://" + strings.Repeat("a.", 130) + "test/", false},
		{"http://shop.test/" + strings.Repeat("a", maxURL), false},

		{"http://localhost/", false},
		{"http://LOCALHOST:80/", false},
		{"http://a.localhost./", false},
		{"http://127.0.0.1/", false},
		{"http://127.0.0.1./", false},
		{"HtTp://10.0.0.1/", false},
		{"http://[::1]/", false},
		{"http://[::]/", false},
		{"http://[::ffff:127.0.0.1]/", false},
		{"http://[::ffff:7f00:1]:80/", false},
		{"http://[fe80::1%25eth0]/", false},
		{"http://[2a00:1450::1%25eth0]/", false},
		{"http://[shop.test]/", false},
		{"http://[10.0.0.1]/", false},
		{"http://[::1]x/", false},
		{"http://10.1/", false},
		{"http://127.1/", false},
		{"http://10.0.1/", false},
		{"http://0/", false},
		{"http://0x0/", false},
		{"http://0x/", false},
		{"http://0x7f.1/", false},
		{"http://0X7F000001/", false},
		{"http://2130706433/", false},
		{"http://0177.0.0.01/", false},
		{"http://0300.0250.1.1/", false},
		{"http://１２７.0.0.1/", false},
		{"http://①②⑦.⓪.⓪.①/", false},
		{"http://127。0。0。1/", false},
		{"http://ｌocalhost/", false},
		{"http://shop.test\u2044@10.0.0.1/", false},
		{"http://a℀b.test/", false}, // becomes a/c
		{"http://169.254.169.254/latest/meta-data/", false},
		{"http://[fd00:ec2::254]/", false},
	} {
		err := (&Guard{}).CheckURL(c.url)
		if (err == nil) != c.open {
			t.Errorf("%q: %v", c.url, err)
		}
		if err != nil && !errors.Is(err, ErrBlocked) {
			t.Errorf("%q: %v does not wrap ErrBlocked", c.url, err)
		}
	}
}

func TestCheckURLFollowsTheAllowList(t *testing.T) {
	t.Parallel()
	g := New(prefixes("127.0.0.0/8", "fd00::/8"))
	for _, url := range []string{"http://127.0.0.1:8080/", "http://localhost/", "http://127.1/", "http://[fd12::1]/", "http://[::ffff:127.0.0.1]/"} {
		if err := g.CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestParseURLGivesWhatIsSent(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"HTTP://shop.test/a?b=c#d":    "http://shop.test/a?b=c",
		"https://Bücher.test:444/%2f": "https://xn--bcher-kva.test:444/%2f",
		"http://[2A00:1450::1]/":      "http://[2A00:1450::1]/",
	} {
		u, err := (&Guard{}).ParseURL(raw)
		if err != nil || u.String() != want {
			t.Errorf("%s became %v, %v", raw, u, err)
		}
	}
}

func TestRefusalsHoldNothingSecret(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://user:CANARY@127.0.0.1/", "http://10.0.0.1/CANARY?k=CANARY", "http://[::1/CANARY", "http://h:CANARY/", "gopher://CANARY/",
		"%zzCANARY", "http://CANARY..test/", "http://[fe80::1%25CANARY]/",
	} {
		err := (&Guard{}).CheckURL(url)
		if err == nil {
			t.Errorf("%s is allowed", url)
		} else if url != "http://[fe80::1%25CANARY]/" && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// FuzzCheckURL holds that a URL that is let through has a host that is a plain name or an allowed address, and says the
// same when it is read again.
func FuzzCheckURL(f *testing.F) {
	for _, c := range readVectors(f) {
		if c.Kind == "url" {
			f.Add(c.Input)
		}
	}
	for _, s := range []string{"http://127.0.0.1./", "http://[::ffff:10.0.0.1]/", "http://①②⑦.⓪.⓪.①/", "http://a℀b.test/", "http://0x7f.1/", "http://bücher.test:8/"} {
		f.Add(s)
	}
	g := &Guard{}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := g.ParseURL(raw)
		if err != nil {
			if !errors.Is(err, ErrBlocked) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		host := u.Hostname()
		if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || host == "" || !isASCII(u.Host) || strings.ContainsAny(u.Host, "/@?#\\ %\r\n") {
			t.Fatalf("%q became %q", raw, u)
		}
		if a, err := netip.ParseAddr(strings.TrimSuffix(host, ".")); err == nil && g.Check(a) != nil {
			t.Fatalf("%q leads to %s", raw, a)
		}
		if a, ok := looseIPv4(strings.ToLower(host)); ok && g.Check(a) != nil {
			t.Fatalf("%q leads to %s", raw, a)
		}
		again, err := g.ParseURL(u.String())
		if err != nil || again.Host != u.Host || again.RequestURI() != u.RequestURI() {
			t.Fatalf("%q became %q, then %q: %v", raw, u, again, err)
		}
	})
}
