package signing

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// owner is a provider of the catalogue that a header belongs to.
type owner struct {
	name, title string
	others      []string // headers that come along
}

// signatureHeaders tells, by the name of a header, whose signatures it holds.
var signatureHeaders = sync.OnceValue(func() map[string][]owner {
	all := make(map[string][]owner)
	for name, p := range catalogue {
		o := owner{name: name, title: p.Title}
		for _, part := range []*Part{&p.row.Type, &p.row.ID, &p.row.Time.From} {
			part.each(func(p *Part) {
				if p.kind == partHeader {
					o.others = append(o.others, p.name)
				}
			})
		}
		seen := map[string]bool{"Authorization": true} // it is everybody's
		for s := &p.row; s != nil; s = s.Otherwise {
			for _, part := range []*Part{&s.Signature, &s.Second} {
				if part.kind == partHeader && !seen[part.name] {
					seen[part.name] = true
					all[part.name] = append(all[part.name], o)
				}
			}
		}
	}
	for _, owners := range all {
		slices.SortFunc(owners, func(a, b owner) int { return strings.Compare(a.name, b.name) })
	}
	return all
})

// olderHeaders are the headers of weaker signatures that some providers send beside, or instead.
var olderHeaders = map[string]string{
	"X-Hub-Signature-256":           "X-Hub-Signature",
	"X-Square-Hmacsha256-Signature": "X-Square-Signature",
	"X-Hubspot-Signature-V3":        "X-Hubspot-Signature",
}

// otherSender looks for signatures under other names, where that of the row is missing. The words hold nothing of the
// request but names that the catalogue has.
func (x *reading) otherSender() string {
	wanted := x.v.s.Signature.name
	if older := olderHeaders[wanted]; older != "" && len(x.r.Header[older]) > 0 {
		return fmt.Sprintf("only the older %s is there, which is too weak to be taken: have the provider send %s", older, wanted)
	}
	found, best := "", []owner(nil)
	most := -1
	for name := range x.r.Header {
		for _, o := range signatureHeaders()[name] {
			if o.name == x.v.s.Name || name == wanted {
				continue
			}
			along := 0
			for _, other := range o.others {
				if len(x.r.Header[other]) > 0 {
					along++
				}
			}
			switch {
			case along > most || along == most && name < found:
				found, best, most = name, []owner{o}, along
			case along == most && name == found:
				best = append(best, o)
			}
		}
	}
	if len(best) == 0 {
		return ""
	}
	titles := make([]string, 0, 3)
	for _, o := range best[:min(len(best), 3)] {
		titles = append(titles, o.title)
	}
	return fmt.Sprintf("%s is there: is this %s?", found, strings.Join(titles, " or "))
}

// unreadable says what is wrong with the way in which signatures are written.
func (x *reading) unreadable() string {
	const unknown = "its signature is cut off or not written as it should be"
	c, e := &x.found[0], x.v.s.Encoding
	if c.algorithm == Token || c.text == "" || len(c.text) > 1024 {
		return unknown
	}
	least, most := c.algorithm.size()
	fits := func(n int, err error) bool { return err == nil && n >= least && n <= most }
	decoded := func(enc *base64.Encoding) bool {
		raw, err := enc.Strict().DecodeString(c.text)
		return fits(len(raw), err)
	}
	raw, notHex := hex.DecodeString(c.text)
	standard := decoded(base64.StdEncoding)
	forURLs := decoded(base64.RawURLEncoding)
	switch {
	case e != Hex && fits(len(raw), notHex):
		return "its signature is hexadecimal, and " + e.words() + " is expected: is this another kind of webhook of the sender, or does the row have another Encoding than the sender?"
	case e != Base64 && standard:
		return "its signature is base64, and " + e.words() + " is expected: is this another kind of webhook of the sender, or does the row have another Encoding than the sender?"
	case e != Base64URL && (forURLs || decoded(base64.URLEncoding) || decoded(base64.RawStdEncoding)):
		return "its signature is base64 for URLs, or without padding, and " + e.words() + " is expected: was it changed on its way, or does the row have another Encoding than the sender?"
	case strings.TrimSpace(c.text) != c.text:
		return "its signature has white space around it"
	}
	length := base64.StdEncoding.EncodedLen(least)
	switch e {
	case Hex:
		length = 2 * least
	case Base64URL:
		length = base64.RawURLEncoding.EncodedLen(least)
	}
	if least != most { // ECDSA
		return unknown
	}
	if e == Hex && notHex == nil {
		for _, kind := range []struct {
			size int
			name string
		}{{20, "HMAC-SHA1"}, {32, "HMAC-SHA256"}, {64, "HMAC-SHA512 or Ed25519"}} {
			if len(raw) == kind.size && kind.size != least {
				return fmt.Sprintf("its signature is as long as %s makes it, and another algorithm is expected", kind.name)
			}
		}
	}
	switch {
	case len(c.text) < length:
		return fmt.Sprintf("its signature is cut off: it has %d of %d characters", len(c.text), length)
	case len(c.text) > length:
		return fmt.Sprintf("its signature is too long: it has %d characters where %d are expected", len(c.text), length)
	}
	return "its signature has characters that are not " + e.words()
}

// words names an encoding.
func (e Encoding) words() string {
	switch e {
	case Hex:
		return "hexadecimal"
	case Base64:
		return "base64"
	case Base64URL:
		return "base64 for URLs without padding"
	default:
		return "plain text"
	}
}

// otherPrefix says what stands in place of a prefix.
func otherPrefix(text string) string {
	for _, prefix := range []string{"sha1=", "sha256=", "sha512=", "v0=", "v1=", "t=", "Bearer ", "Basic "} {
		if strings.HasPrefix(text, prefix) {
			return ", but with " + strings.TrimSpace(prefix) + ": is this another kind of signature, or an older one?"
		}
	}
	return ": is it the header of this provider, and did a proxy change it?"
}

// urlVariant is the URL as the sender may have signed it.
type urlVariant struct{ words, url string }

// urlVariants are the forms of a URL between which proxies and providers disagree.
func urlVariants(raw string) []urlVariant {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil
	}
	with := func(change func(*url.URL)) string {
		c := *u
		change(&c)
		return c.String()
	}
	scheme, port, otherPort := "https", "80", "443"
	if u.Scheme == "https" {
		scheme, port, otherPort = "http", "443", "80"
	}
	bare := func(c *url.URL) { c.Host = strings.TrimSuffix(c.Host, ":"+c.Port()) }
	host := u.Hostname()
	slash := func(c *url.URL) {
		c.RawPath = ""
		if strings.HasSuffix(c.Path, "/") {
			c.Path = strings.TrimSuffix(c.Path, "/")
		} else {
			c.Path += "/"
		}
	}
	forms := []urlVariant{
		{"with " + scheme, with(func(c *url.URL) { c.Scheme = scheme })},
		{"without its port", with(bare)},
		{"with " + scheme + " and without its port", with(func(c *url.URL) { bare(c); c.Scheme = scheme })},
		{"with the port " + port, with(func(c *url.URL) { c.Host = net.JoinHostPort(host, port) })},
		{"with " + scheme + " and the port " + otherPort, with(func(c *url.URL) { c.Scheme, c.Host = scheme, net.JoinHostPort(host, otherPort) })},
		{"without its query", with(func(c *url.URL) { c.RawQuery, c.ForceQuery = "", false })},
		{"with another slash at the end", with(slash)},
		{"with " + scheme + " and another slash at the end", with(func(c *url.URL) { slash(c); c.Scheme = scheme })},
	}
	return slices.DeleteFunc(forms, func(f urlVariant) bool { return f.url == raw })
}

// otherURL tries the URL in other forms, where it is signed.
func (x *reading) otherURL() string {
	keys := x.v.keys[:min(len(x.v.keys), explainKeys)]
	for i := range x.v.s.Message {
		if x.v.s.Message[i].kind != partURL {
			continue
		}
		was := x.fields[i]
		for _, form := range urlVariants(was) {
			x.fields[i] = form.url
			if x.match(keys, x.r.Body) >= 0 {
				x.fields[i] = was
				return "it fits the URL " + form.words + ": a proxy changed the URL; set Source.PublicURL to the one that the sender was given"
			}
		}
		x.fields[i] = was
		return "the URL is signed: if Source.PublicURL is not the one that the sender was given, set it; or the secret is another, or the body was changed on its way"
	}
	return ""
}
