package hookgate

import (
	"errors"
	"fmt"
	"net/textproto"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/hookgate/hookgate/internal/http1"
)

// isConnectionHeader reports whether a header belongs to the connection and the framing of a message. Setting one would
// let a tenant end a message early, reach another virtual host, or leave a connection in a state that the next request
// pays for.
func isConnectionHeader(canonical string) bool {
	switch canonical {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Expect",
		"Connection", "Proxy-Connection", "Keep-Alive", "Upgrade", "Http2-Settings",
		"Proxy-Authorization", "Proxy-Authenticate":
		return true
	}
	return false
}

// signatureHeaders are set by signers. Those of a signer with other names win over an endpoint's by being set last.
var signatureHeaders = map[string]bool{"Webhook-Id": true, "Webhook-Timestamp": true, "Webhook-Signature": true}

// The size of one header that an endpoint may add.
const (
	maxHeaderName  = 128
	maxHeaderValue = 8 << 10
)

// checkHeader says why a header may not be added to requests by the owner of an endpoint; nil: it may. The text never
// holds the value, which may be a secret.
func checkHeader(name, value string) error {
	if name == "" || len(name) > maxHeaderName || !isToken(name) {
		return errors.New("a header's name is made of letters, digits and !#$%&'*+-.^_`|~, 128 at the most")
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if isConnectionHeader(canonical) {
		return fmt.Errorf("the header %s cannot be set: it belongs to the connection", canonical)
	}
	if signatureHeaders[canonical] {
		return fmt.Errorf("the header %s cannot be set: it belongs to the signature", canonical)
	}
	if len(value) > maxHeaderValue {
		return fmt.Errorf("the value of the header %s is longer than %d bytes", canonical, maxHeaderValue)
	}
	if !isFieldValue(value) {
		return fmt.Errorf("the value of the header %s holds a control character", canonical)
	}
	return nil
}

// isToken reports whether s is made of the characters of RFC 9110 section 5.6.2 alone.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s stays on its line: no control character but the tab.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	return true
}

// finishHeader is the last look at a request's header, whoever put it together: what would break the message is an error,
// what belongs to the connection is left out, and what every request has is added to out.
func finishHeader(r *Request, out *http1.Request) error {
	for name, values := range r.Header {
		if !isToken(name) {
			return errors.New("a header of the request has a name that cannot be sent")
		}
		// CanonicalMIMEHeaderKey allocates nothing for a name that has that form already.
		if isConnectionHeader(textproto.CanonicalMIMEHeaderKey(name)) {
			delete(r.Header, name)
			continue
		}
		for _, v := range values {
			if !isFieldValue(v) {
				return fmt.Errorf("the value of the header %s holds a control character", name)
			}
		}
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		out.UserAgent = userAgent()
	}
	if _, ok := r.Header["Content-Type"]; !ok && r.Event != nil {
		if !isFieldValue(r.Event.ContentType) {
			return errors.New("the event's content type holds a control character")
		}
		out.ContentType = r.Event.ContentType
	}
	out.Header = r.Header
	return nil
}

// userAgent names the program and its version, as it was built.
var userAgent = sync.OnceValue(func() string {
	const path = "github.com/hookgate/hookgate"
	version := "dev"
	if info, ok := debug.ReadBuildInfo(); ok {
		modules := append([]*debug.Module{&info.Main}, info.Deps...)
		for _, m := range modules {
			if m.Path == path && m.Version != "" && m.Version != "(devel)" {
				version = strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "hookgate/" + version
})
