package netguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL is how long a URL may be. Servers refuse longer ones.
const maxURL = 8 << 10

// CheckURL says why requests to a URL can never be made, as far as that can be told without a lookup; nil means that the
// address decides, when the connection is made. Errors wrap ErrBlocked.
//
// The scheme is http or https, in any case. A user name or password is refused: it would be kept and shown with the URL. A
// host that is an address is judged, in every spelling that a resolver may understand: 10.0.0.1 is also 10.1, 0x0a000001,
// 167772161 and 012.0.0.1, and in full-width digits.
func (g *Guard) CheckURL(raw string) error {
	_, err := g.ParseURL(raw)
	return err
}

// ParseURL reads a URL that CheckURL lets through. Its host is in the ASCII form that is looked up and sent, and the
// fragment is left out.
func (g *Guard) ParseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, refuse("the URL is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, refuse("the URL cannot be read") // the text of err repeats the URL
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, refuse("the URL is neither an http nor an https one")
	case u.User != nil:
		return nil, refuse("the URL holds a user name or password: use an Authorization header")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, refuse("the URL has no host")
	case strings.HasSuffix(u.Host, ":") || (u.Port() != "" && !isPort(u.Port())):
		return nil, refuse("the port of the URL is not a number from 1 to 65535")
	}
	if u.Host, err = asciiHost(u); err != nil {
		return nil, err
	}
	if err := g.checkHost(u.Hostname()); err != nil {
		return nil, err
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// checkHost judges a host in its ASCII form.
func (g *Guard) checkHost(host string) error {
	if a, ok := literal(host); ok {
		return g.Check(a)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if !isName(name) {
		return refuse("the host of the URL is not a name that can be looked up")
	}
	if a, ok := looseIPv4(name); ok {
		return g.Check(a)
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		if g.judge(netip.AddrFrom4([4]byte{127, 0, 0, 1})) != public && g.judge(netip.IPv6Loopback()) != public {
			return refuse("the name localhost leads to an address that is %s", loopback)
		}
	}
	return nil
}

// isName reports whether a lower-case host is made of labels: letters, digits, "-" and "_", 63 each, 253 in all.
func isName(host string) bool {
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}

// looseIPv4 reads what inet_aton reads: one to four numbers, decimal, octal (0...) or hexadecimal (0x...), of which the
// last fills the rest. Go's resolver takes these for names, but the one of the C library may not.
func looseIPv4(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var ip uint64
	for i, part := range parts {
		base := 10
		switch {
		case strings.HasPrefix(part, "0x"):
			base, part = 16, part[2:]
		case len(part) > 1 && part[0] == '0':
			base, part = 8, part[1:]
		}
		n, err := strconv.ParseUint(part, base, 32)
		if part == "" && base == 16 {
			n, err = 0, nil // a bare 0x is a zero
		}
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if err != nil || n>>bits != 0 {
			return netip.Addr{}, false
		}
		ip = ip<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), true
}

// asciiHost answers the form of a URL's host, port included, that is looked up and sent.
func asciiHost(u *url.URL) (string, error) {
	if isASCII(u.Host) {
		return u.Host, nil
	}
	host := lookupForm(u.Hostname())
	if strings.HasPrefix(u.Host, "[") || host == "" || !isASCII(host) || strings.ContainsAny(host, ":[]%/?#@\\ ") {
		return "", refuse("the host of the URL is not a name that can be looked up")
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	return host, nil
}

var errAsked = errors.New("asked and answered")

// lookupForm maps an international name (UTS 46: lower case, full-width and circled characters, dots of other scripts) to
// the ASCII form that net/http would look up. The tables are inside net/http, which shows their result only to a dial
// function; this one makes no connection.
func lookupForm(host string) string {
	form := ""
	t := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		form, _, _ = net.SplitHostPort(addr)
		return nil, errAsked
	}}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: host, Path: "/"}, Header: http.Header{}}
	if _, err := t.RoundTrip(r); !errors.Is(err, errAsked) {
		return ""
	}
	return form
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
