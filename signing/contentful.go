package signing

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// contentfulProvider follows verifyRequest of Contentful's node-apps-toolkit.
var contentfulProvider = provider{
	Provider: Provider{
		Title:     "Contentful",
		Header:    "`X-Contentful-Signature`",
		Algorithm: "HMAC-SHA256, hex",
		Signs:     "method, path with query, the headers that `X-Contentful-Signed-Headers` lists, and body, with line feeds between",
		Time:      "`X-Contentful-Timestamp` in milliseconds, less than 30 seconds",
		Secret:    "the signing secret, 64 characters",
		Type:      "`X-Contentful-Topic`",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newContentful,
}

const (
	contentfulTolerance = 30 * time.Second
	contentfulSecret    = 64 // characters
	maxSignedHeaders    = 64
)

type contentful struct{ keys macKeys }

func newContentful(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := newMACKeys(kindSHA256, secrets, contentfulSecret, nil)
	if err != nil {
		return nil, setupError("contentful", err)
	}
	return &contentful{keys}, nil
}

// Verify implements Verifier.
func (v *contentful) Verify(r *Request) (Verdict, error) {
	text, err := headerOf("contentful", r, "X-Contentful-Signature")
	if err != nil {
		return Verdict{}, err
	}
	got, ok := decodeLowerHex(text, sha256.Size)
	if !ok {
		return Verdict{}, refuse("contentful", ErrMalformed, "header X-Contentful-Signature is cut off or not hexadecimal")
	}
	stamp, err := headerOf("contentful", r, "X-Contentful-Timestamp")
	if err != nil {
		return Verdict{}, err
	}
	ms, err := strconv.ParseUint(stamp, 10, 53)
	if err != nil || stamp[0] == '0' {
		return Verdict{}, refuse("contentful", ErrMalformed, "header X-Contentful-Timestamp is not a Unix time in milliseconds: digits only")
	}
	path, err := contentfulPath(r.URL)
	if err != nil {
		return Verdict{}, err
	}
	headers, err := contentfulHeaders(r)
	if err != nil {
		return Verdict{}, err
	}
	key := v.keys.match(got, []byte(r.Method+"\n"+path+"\n"+headers+"\n"), r.Body)
	if key < 0 {
		return Verdict{}, refuse("contentful", ErrMismatch, "header X-Contentful-Signature fits none of %s: the secret belongs to another app, the key was rotated, "+
			"or a proxy changed the body, the path, the query or a signed header", count(len(v.keys), "key"))
	}
	// A request of exactly 30 seconds is too old: their library counts so.
	at := time.UnixMilli(int64(ms))
	if age := clock(r.Time).Sub(at); age >= contentfulTolerance {
		return Verdict{}, refuse("contentful", ErrTooOld, "header X-Contentful-Timestamp is %s ago and must be less than %s: "+
			"somebody repeats an old request, a proxy held it back, or the clock of this machine is fast", age.Round(time.Millisecond), contentfulTolerance)
	}
	if err := checkAge("contentful", "header X-Contentful-Timestamp", at, r.Time, contentfulTolerance); err != nil {
		return Verdict{}, err
	}
	d := Verdict{Key: key, Covers: CoversBody}
	if d.Type, err = optionalHeader("contentful", r, "X-Contentful-Topic"); err != nil {
		return Verdict{}, err
	}
	return d, nil
}

// contentfulPath gives path and query as they are signed: the path percent-encoded once more, the query twice.
func contentfulPath(address string) (string, error) {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		start := strings.IndexAny(rest, "/?#")
		if start < 0 {
			start = len(rest)
		}
		address = rest[start:]
	}
	address, _, _ = strings.Cut(address, "#")
	path, query, _ := strings.Cut(address, "?")
	if strings.Contains(query, "?") {
		// Their library leaves out what is behind the second one, so that nobody would have signed it.
		return "", refuse("contentful", ErrMalformed, "the query of the URL has a question mark, which must be written %%3F")
	}
	if path == "" {
		path = "/"
	}
	const component, uri = "-_.!~*'()", "-_.!~*'();,/?:@&=+$#" // what JavaScript's escaping leaves alone, beside letters and digits
	if query != "" {
		path += "?" + percentEncode(query, component)
	}
	return percentEncode(path, uri), nil
}

func percentEncode(text, keep string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// contentfulHeaders gives the signed headers in a row. The list of their names and the timestamp are always among them.
// The list is made again of the headers that are there, so that one that was taken away shows.
func contentfulHeaders(r *Request) (string, error) {
	list, err := headerOf("contentful", r, "X-Contentful-Signed-Headers")
	if err != nil {
		return "", err
	}
	names := strings.Split(list, ",")
	if len(names) > maxSignedHeaders {
		return "", refuse("contentful", ErrMalformed, "header X-Contentful-Signed-Headers lists more than %d names", maxSignedHeaders)
	}
	names = append(names, "x-contentful-signed-headers", "x-contentful-timestamp")
	slices.Sort(names)
	names = slices.Compact(names)
	there := names[:0]
	values := map[string]string{}
	for _, name := range names {
		if name != strings.ToLower(name) {
			continue
		}
		key := http.CanonicalHeaderKey(name)
		switch value := r.Header[key]; {
		case len(value) > 1:
			return "", stateError("contentful", "header "+key, repeated)
		case len(value) == 1:
			values[name] = strings.TrimSpace(value[0])
			there = append(there, name)
		}
	}
	values["x-contentful-signed-headers"] = strings.Join(there, ",")
	var b strings.Builder
	for i, name := range there {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(name + ":" + values[name])
	}
	return b.String(), nil
}
