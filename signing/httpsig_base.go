package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// derived are the components of RFC 9421 section 2.2 that a request has and that need no parameters.
var derived = []string{"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"}

// signatureBase makes the lines of RFC 9421 section 2.5, up to and with `"@signature-params": `. Headers in own go before
// those of r.
func signatureBase(r *Request, own http.Header, components []string) ([]byte, error) {
	base := make([]byte, 0, 512)
	var at *wireTarget
	for _, name := range components {
		var value string
		var err error
		if strings.HasPrefix(name, "@") {
			if at == nil && name != "@method" {
				if at, err = readTarget(r.URL); err != nil {
					return nil, err
				}
			}
			value, err = derive(name, r, at)
		} else {
			value, err = fieldValue(name, r, own)
		}
		if err != nil {
			return nil, err
		}
		base = append(append(append(base, '"'), name...), `": `...)
		base = append(append(base, value...), '\n')
	}
	return append(base, `"@signature-params": `...), nil
}

// wireTarget is a URL as it is on the wire: no fragment, no default port, a path that is never empty, and nothing in it that
// is not printable ASCII.
type wireTarget struct{ scheme, authority, path, query string }

func readTarget(raw string) (*wireTarget, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, errors.New("the URL of the request is signed and is not a whole URL: give the public one")
	}
	t := &wireTarget{scheme: strings.ToLower(u.Scheme), authority: strings.ToLower(u.Host), path: u.EscapedPath()}
	switch {
	case t.scheme == "https":
		t.authority = strings.TrimSuffix(t.authority, ":443")
	case t.scheme == "http":
		t.authority = strings.TrimSuffix(t.authority, ":80")
	}
	if t.path == "" {
		t.path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		t.query = "?" + printable(u.RawQuery)
	}
	return t, nil
}

// printable escapes what cannot stand in a request line; a query may hold spaces and more.
func printable(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f {
			out = append(out, c)
		} else {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(out)
}

// derive gives a component that is not a header.
func derive(name string, r *Request, at *wireTarget) (string, error) {
	var value string
	switch name {
	case "@method":
		value = r.Method
	case "@target-uri":
		value = at.scheme + "://" + at.authority + at.path + at.query
	case "@authority":
		value = at.authority
	case "@scheme":
		value = at.scheme
	case "@request-target":
		value = at.path + at.query
	case "@path":
		value = at.path
	case "@query":
		if value = at.query; value == "" {
			value = "?"
		}
	default:
		return "", fmt.Errorf("the component %s is not known", name)
	}
	if value == "" {
		return "", fmt.Errorf("the component %s is signed, and the request has none", name)
	}
	return checkLine(name, value)
}

// fieldValue gives a header as RFC 9421 section 2.1 has it: its values, trimmed, with a comma between them.
func fieldValue(name string, r *Request, own http.Header) (string, error) {
	if name == "content-length" { // net/http writes it last and may leave it out of Header
		return strconv.Itoa(len(r.Body)), nil
	}
	canonical := http.CanonicalHeaderKey(name)
	values := own[canonical]
	if values == nil {
		values = r.Header[canonical]
	}
	if len(values) == 0 {
		return "", fmt.Errorf("the header %s is signed and is not there", canonical)
	}
	size := 0
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Trim(v, " \t")
		size += len(v)
	}
	if size > maxHeader {
		return "", fmt.Errorf("the header %s is longer than %d bytes", canonical, maxHeader)
	}
	return checkLine(name, strings.Join(trimmed, ", "))
}

// checkLine refuses what would make two lines of one.
func checkLine(name, value string) (string, error) {
	if strings.ContainsAny(value, "\r\n\x00") {
		return "", fmt.Errorf("the component %s holds a line break", name)
	}
	return value, nil
}

// contentDigest is the value of Content-Digest, RFC 9530.
func contentDigest(body []byte) []byte {
	sum := sha256.Sum256(body)
	out := base64.StdEncoding.AppendEncode([]byte("sha-256=:"), sum[:])
	return append(out, ':')
}
