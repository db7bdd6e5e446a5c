package hookgate

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// senderOf answers who sent a request: whoever made the connection or, behind trusted proxies, the rightmost address of
// X-Forwarded-For that is not one of them. Further left, anybody may have written anything. It also reports whether a
// trusted proxy made the connection. The address is not valid if it cannot be told.
func senderOf(r *http.Request, trusted []netip.Prefix) (sender netip.Addr, proxied bool) {
	sender = addrOf(r.RemoteAddr)
	if !contains(trusted, sender) {
		return sender, false
	}
	for _, line := range slices.Backward(r.Header["X-Forwarded-For"]) {
		for line != "" {
			i := strings.LastIndexByte(line, ',')
			sender = addrOf(strings.TrimSpace(line[i+1:]))
			if !contains(trusted, sender) {
				return sender, true
			}
			line = line[:max(i, 0)]
		}
	}
	return sender, true
}

// addrOf reads an address with or without a port, and without a zone.
func addrOf(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// urlOf answers the URL as the provider knows it. X-Forwarded-Proto counts behind a trusted proxy only.
func urlOf(r *http.Request, public *url.URL, proxied bool) string {
	if public != nil {
		u := *public
		u.RawQuery = r.URL.RawQuery
		return u.String()
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if proxied {
		switch proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ","); strings.TrimSpace(proto) {
		case "https":
			scheme = "https"
		case "http":
			scheme = "http"
		}
	}
	path := r.RequestURI // as it was sent; a router may have changed r.URL
	if !strings.HasPrefix(path, "/") {
		path = r.URL.RequestURI()
	}
	return scheme + "://" + r.Host + path
}

// readBody reads the body within its limits of size and time. It reads one byte more than may be, at the most.
func (c *inboundCall) readBody() *refusal {
	r, most := c.r, c.s.MaxBody
	var body []byte
	if c.unread {
		rc := http.NewResponseController(c.w)
		limited := c.s.BodyTimeout > 0 && rc.SetReadDeadline(time.Now().Add(c.s.BodyTimeout)) == nil
		var err error
		body, err = readAll(http.MaxBytesReader(c.w, r.Body, most), r.ContentLength, c.hold)
		c.body = body
		large := (*http.MaxBytesError)(nil)
		timeout := net.Error(nil)
		switch {
		case errors.As(err, &large):
			return tooLarge(most)
		case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
			return refused(http.StatusRequestTimeout, "the body took longer than its time, %d bytes came", len(body))
		case errors.Is(err, errCrowd):
			c.body = nil
			return later(afterCrowd, "the bodies that are on their way take too much memory")
		case errors.Is(err, http.ErrBodyReadAfterClose):
			return alreadyRead()
		case err != nil:
			return refused(http.StatusBadRequest, "the body broke off after %d bytes", len(body))
		}
		c.unread = false
		if limited {
			// The server goes on reading to notice when the sender leaves, and must not take the limit for that; net/http
			// lifts it by itself, others may not. After an error it stays: it also ends the attempt to read the rest.
			_ = rc.SetReadDeadline(time.Time{})
		}
	}
	if r.ContentLength >= 0 && int64(len(body)) != r.ContentLength {
		return alreadyRead()
	}
	c.read = true
	return nil
}

// alreadyRead is a mistake in the host program, so the sender gets a 500 and comes again.
func alreadyRead() *refusal {
	return refused(http.StatusInternalServerError,
		"the body was read or changed before the handler got it: mount Inbound outside of middleware that reads bodies")
}

var errCrowd = errors.New("no room for the body")

// hold takes room for the body of this request; release gives it back.
func (c *inboundCall) hold(n int) bool {
	if !c.g.inbound.hold(int64(n)) {
		return false
	}
	c.held += int64(n)
	return true
}

func (c *inboundCall) release() { c.g.inbound.room.Add(c.held) }

// readAll reads to the end. Memory follows what has come, not what was announced: an announcement costs a sender nothing.
// hold is asked for all memory beforehand.
func readAll(r io.Reader, announced int64, hold func(n int) bool) ([]byte, error) {
	const first = 16 << 10
	size := int64(4 << 10)
	if announced >= 0 {
		size = min(announced+1, first)
	}
	if !hold(int(size)) {
		return nil, errCrowd
	}
	body := make([]byte, 0, size)
	for {
		if len(body) == cap(body) {
			more := len(body)
			if left := announced + 1 - int64(len(body)); left > 0 {
				more = int(min(int64(more), left))
			}
			more = max(more, 1)
			if !hold(more) {
				return body, errCrowd
			}
			body = append(make([]byte, 0, len(body)+more), body...) // just what was asked for
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			if cap(body)-len(body) > len(body)/2 {
				body = bytes.Clone(body) // it may be kept for a while
			}
			return body, nil
		}
		if err != nil {
			return body, err
		}
	}
}

// abandonBody sees to it that the server does not read on for the sake of the connection when a request was refused before
// its body had come. Who is only asked to come later keeps the connection, within the body's time.
func (c *inboundCall) abandonBody(status int) {
	if !c.unread || c.r.ProtoMajor != 1 { // HTTP/2 ends the stream by itself
		return
	}
	wait := time.Duration(0)
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		wait = c.s.BodyTimeout
	default:
		c.w.Header().Set("Connection", "close")
	}
	if wait >= 0 {
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(wait)) // without it the server's limits count
	}
}
