package hookgate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// AWS Signature Version 4, after the AWS documentation ("Create a signed AWS API request") and its published test suite. It signs what
// goes over the wire: method, path, query, all headers, and the hash of the body.

const (
	sigV4Algorithm = "AWS4-HMAC-SHA256"
	sigV4Time      = "20060102T150405Z"
)

// sigV4 is a request as it is signed.
type sigV4 struct {
	method string
	target string // path and query, as in the request line
	host   string
	header http.Header
	body   []byte
	at     time.Time

	region, service  string
	keyID, secretKey string

	// onceEncoded takes the path as it is on the wire. It is the rule of S3; for all others the path is encoded once more.
	onceEncoded bool
}

// signSigV4 signs a request for AWS, last of all: it covers the signature's headers, and whatever else is there.
func (g *Gateway) signSigV4(r *Request, params map[string]string) error {
	u, err := g.guard.rules.ParseURL(r.URL)
	if err != nil {
		return &DispatchError{Class: classBlocked, Err: blockedReason(err)}
	}
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	if _, ok := r.Header["Content-Type"]; !ok && r.Event != nil && r.Event.ContentType != "" {
		r.Header["Content-Type"] = []string{r.Event.ContentType} // the dispatcher would add it unsigned
	}
	for name := range r.Header {
		if isConnectionHeader(http.CanonicalHeaderKey(name)) {
			delete(r.Header, name) // the dispatcher would take it out
		}
	}
	delete(r.Header, "Authorization")
	r.Header["X-Amz-Date"] = []string{at.UTC().Format(sigV4Time)}
	if token := params["session_token"]; token != "" {
		r.Header["X-Amz-Security-Token"] = []string{token}
	} else {
		delete(r.Header, "X-Amz-Security-Token")
	}
	if params["service"] == "s3" {
		r.Header["X-Amz-Content-Sha256"] = []string{hexSHA256(r.Body)}
	}
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	s := sigV4{
		method: method, target: wireTarget(u.RequestURI()), host: u.Host, header: r.Header, body: r.Body, at: at.UTC(),
		region: params["region"], service: params["service"], keyID: params["access_key_id"], secretKey: params["secret_access_key"],
		onceEncoded: params["service"] == "s3",
	}
	value, err := s.authorization()
	if err != nil {
		return &DispatchError{Class: classProtocol, Err: err}
	}
	r.Header["Authorization"] = []string{value}
	return nil
}

// authorization answers the value of the header Authorization.
func (s *sigV4) authorization() (string, error) {
	canonical, signed, err := s.canonical()
	if err != nil {
		return "", err
	}
	day := s.at.Format("20060102")
	scope := day + "/" + s.region + "/" + s.service + "/aws4_request"
	text := sigV4Algorithm + "\n" + s.at.Format(sigV4Time) + "\n" + scope + "\n" + hexSHA256([]byte(canonical))
	key := []byte("AWS4" + s.secretKey)
	for _, part := range []string{day, s.region, s.service, "aws4_request"} {
		key = hmacSHA256(key, part)
	}
	return sigV4Algorithm + " Credential=" + s.keyID + "/" + scope + ", SignedHeaders=" + signed +
		", Signature=" + hex.EncodeToString(hmacSHA256(key, text)), nil
}

// canonical answers the request in its canonical form, and the names of the headers in it.
func (s *sigV4) canonical() (text, signed string, err error) {
	path, query, _ := strings.Cut(s.target, "?")
	if path == "" {
		path = "/"
	}
	if !s.onceEncoded {
		path = awsEscape(path, true)
	}
	pairs, err := canonicalQuery(query)
	if err != nil {
		return "", "", err
	}
	names, values := []string{"host"}, map[string]string{"host": s.host}
	for name, all := range s.header {
		name = strings.ToLower(name)
		// These may be changed on the way.
		if name == "user-agent" || name == "x-amzn-trace-id" || name == "authorization" || len(all) == 0 {
			continue
		}
		if _, twice := values[name]; twice {
			return "", "", errors.New("a header of the request is there under two spellings, and cannot be signed")
		}
		trimmed := make([]string, len(all))
		for i, v := range all {
			trimmed[i] = strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' }), " ")
		}
		names = append(names, name)
		values[name] = strings.Join(trimmed, ",")
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(s.method + "\n" + path + "\n" + pairs + "\n")
	for _, name := range names {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	signed = strings.Join(names, ";")
	b.WriteString("\n" + signed + "\n" + hexSHA256(s.body))
	return b.String(), signed, nil
}

// canonicalQuery sorts a query by name and value, each encoded in the one way of AWS.
func canonicalQuery(query string) (string, error) {
	if query == "" {
		return "", nil
	}
	type pair struct{ name, value string }
	var pairs []pair
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return "", errors.New("the query of the URL is not well encoded, and cannot be signed")
		}
		pairs = append(pairs, pair{awsEscape(name, false), awsEscape(value, false)})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String(), nil
}

// awsEscape encodes all but the unreserved characters of RFC 3986, and slashes if they are to stay.
func awsEscape(s string, slashes bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && slashes:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func hmacSHA256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
