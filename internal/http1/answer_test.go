package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// plainAnswers are read here; the others are left to net/http.
var plainAnswers = map[string]string{
	"usual":             "HTTP/1.1 200 OK\r\nDate: Thu, 15 Jan 2026 12:02:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
	"empty":             "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
	"no content":        "HTTP/1.1 204 No Content\r\n\r\n",
	"not modified":      "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
	"no reason":         "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
	"reason":            "HTTP/1.1 599  ünd so weiter\r\nContent-Length: 0\r\n\r\n",
	"small names":       "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-rate-limit: 5\r\nretry-after: 7\r\n\r\nabc",
	"large names":       "HTTP/1.1 429 Slow\r\nCONTENT-LENGTH: 0\r\nRETRY-AFTER: 7\r\n\r\n",
	"a name twice":      "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nA: b\r\nretry-after: 8\r\nContent-Length: 0\r\nRetry-After: 9\r\n\r\n",
	"space around":      "HTTP/1.1 200 OK\r\nA: \t b  c\t \r\nB:\r\nC: \t\r\nContent-Length:\t0 \r\n\r\n",
	"keep-alive":        "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
	"leading zeros":     "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok",
	"cut off":           "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
	"more than asked":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 X\r\n\r\n",
	"colons and quotes": "HTTP/1.1 200 OK\r\nA: \"b:c\": d\r\nContent-Length: 0\r\n\r\n",
	"all name bytes":    "HTTP/1.1 200 OK\r\n!#$%&'*+-.^_`|~09: x\r\nContent-Length: 0\r\n\r\n",
}

var otherAnswers = map[string]string{
	"none":                     "",
	"incomplete":               "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
	"interim":                  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"switching":                "HTTP/1.1 101 X\r\nContent-Length: 0\r\n\r\n",
	"http/1.0":                 "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
	"http/1.2":                 "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
	"small http":               "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"two spaces":               "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
	"short status":             "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
	"long status":              "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
	"status with a sign":       "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
	"status out of range":      "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
	"control in the reason":    "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
	"ended by the connection":  "HTTP/1.1 200 OK\r\nA: b\r\n\r\nok",
	"chunked":                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"chunked and length":       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"identity and length":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
	"chunked without content":  "HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n",
	"close":                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
	"keep-alive and close":     "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n",
	"trailer":                  "HTTP/1.1 200 OK\r\nTrailer: A\r\nContent-Length: 0\r\n\r\n",
	"pragma":                   "HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 0\r\n\r\n",
	"length twice":             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
	"two lengths":              "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokx",
	"list of lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
	"length without content":   "HTTP/1.1 204 X\r\nContent-Length: x\r\n\r\n",
	"no length":                "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
	"negative length":          "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	"length with a sign":       "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
	"hexadecimal length":       "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
	"long length":              "HTTP/1.1 200 OK\r\nContent-Length: 0000000000000002\r\n\r\nok",
	"huge length":              "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
	"folded":                   "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
	"folded first":             "HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 0\r\n\r\n",
	"folded with a colon":      "HTTP/1.1 200 OK\r\nA: b\r\n\tContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
	"space before the colon":   "HTTP/1.1 200 OK\r\nContent-Length : 5\r\nContent-Length: 0\r\n\r\n",
	"no name":                  "HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
	"no colon":                 "HTTP/1.1 200 OK\r\nA\r\nContent-Length: 0\r\n\r\n",
	"a name that is no token":  "HTTP/1.1 200 OK\r\nA(b): c\r\nContent-Length: 0\r\n\r\n",
	"ü in a name":              "HTTP/1.1 200 OK\r\nü: c\r\nContent-Length: 0\r\n\r\n",
	"control in a value":       "HTTP/1.1 200 OK\r\nA: b\x01\r\nContent-Length: 0\r\n\r\n",
	"delete in a value":        "HTTP/1.1 200 OK\r\nA: b\x7f\r\nContent-Length: 0\r\n\r\n",
	"bare LF everywhere":       "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
	"bare LF in a header":      "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
	"bare LF after the status": "HTTP/1.1 200 OK\nA: b\r\nContent-Length: 0\r\n\r\n",
	"empty line of LF":         "HTTP/1.1 204 OK\r\nA: b\r\n\nContent-Length: 0\r\n\r\n",
	"bare CR":                  "HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
	"two CR":                   "HTTP/1.1 200 OK\r\nA: b\r\r\nContent-Length: 0\r\n\r\n",
	"empty line first":         "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}

// checkPlain holds a plain answer against what net/http makes of the same bytes.
func checkPlain(t *testing.T, raw []byte) bool {
	t.Helper()
	before := bytes.Clone(raw)
	var p plain
	ok := p.read(raw, nil)
	if !bytes.Equal(raw, before) {
		t.Fatalf("the bytes were changed: %q", raw)
	}
	if p.read(raw, nil) != ok {
		t.Fatalf("%q was plain only once", raw)
	}
	if !ok {
		return false
	}
	a, n := answer{status: p.status, header: p.header(), length: p.length}, len(p.head)
	whole := bufio.NewReaderSize(bytes.NewReader(raw), 1<<20)
	res, err := http.ReadResponse(whole, posted)
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", raw, err)
	}
	if a.status != res.StatusCode || a.close != res.Close || !reflect.DeepEqual(a.header, res.Header) {
		t.Fatalf("%q\nwas read as %+v\nnet/http: %d, close %v, %v", raw, a, res.StatusCode, res.Close, res.Header)
	}
	if (a.length == 0) != (res.Body == http.NoBody) {
		t.Fatalf("%q: length %d, net/http: %v", raw, a.length, res.ContentLength)
	}
	rest := bufio.NewReader(bytes.NewReader(raw[n:]))
	body, err := io.ReadAll(&exact{rest, a.length})
	theirs, theirErr := io.ReadAll(res.Body)
	if !bytes.Equal(body, theirs) || err != theirErr {
		t.Fatalf("%q: body %q, %v; net/http: %q, %v", raw, body, err, theirs, theirErr)
	}
	after, _ := io.ReadAll(rest)
	if theirs, _ := io.ReadAll(whole); !bytes.Equal(after, theirs) {
		t.Fatalf("%q: left %q, net/http: %q", raw, after, theirs)
	}
	return true
}

func TestPlainAnswersAreReadAsNetHTTPWould(t *testing.T) {
	t.Parallel()
	for name, raw := range plainAnswers {
		if !checkPlain(t, []byte(raw)) {
			t.Errorf("%s: it was left to net/http", name)
		}
	}
}

func TestWhateverIsNotPlainIsLeftToNetHTTP(t *testing.T) {
	t.Parallel()
	for name, raw := range otherAnswers {
		if checkPlain(t, []byte(raw)) {
			t.Errorf("%s: it was taken for plain", name)
		}
	}
}

func TestPlainAnswersTakeFewAllocations(t *testing.T) {
	raw := []byte(plainAnswers["usual"])
	other := bytes.Replace(raw, []byte(":00 GMT"), []byte(":01 GMT"), 1)
	var p plain
	for _, c := range []struct {
		name   string
		second []byte
		wanted []string
		want   float64
	}{
		{"the same head", raw, nil, 2 * 3},  // one for all values, two for the map
		{"another head", other, nil, 2 * 4}, // one for all text
		{"nothing wanted, the same head", raw, []string{}, 0},
		{"nothing wanted, another head", other, []string{}, 2 * 1},
	} {
		p.head = ""
		n := testing.AllocsPerRun(100, func() {
			p.read(raw, c.wanted)
			p.header()
			p.read(c.second, c.wanted)
			p.header()
		})
		if n > c.want {
			t.Errorf("%s: %v allocations for two answers, want %v", c.name, n, c.want)
		}
	}
}

func TestAHeadThatComesAgainIsReadOnce(t *testing.T) {
	t.Parallel()
	const first, longer, other = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\nC: d\r\n\r\n", "HTTP/1.1 503 No\r\nA: c\r\nContent-Length: 3\r\n\r\n"
	var p plain
	for i, c := range []struct {
		raw    string
		ok     bool
		status int
		length int64
		header http.Header
	}{
		{first, true, 200, 0, http.Header{"A": {"b"}, "Content-Length": {"0"}}},
		{first, true, 200, 0, http.Header{"A": {"b"}, "Content-Length": {"0"}}},
		{first[:len(first)-2], false, 0, 0, nil}, // a part of it
		{first + "rest", true, 200, 0, http.Header{"A": {"b"}, "Content-Length": {"0"}}},
		{longer, true, 200, 0, http.Header{"A": {"b"}, "C": {"d"}, "Content-Length": {"0"}}},
		{other + "abc", true, 503, 3, http.Header{"A": {"c"}, "Content-Length": {"3"}}},
		{"HTTP/1.1 503 No\r\nA: c\r\n\r\n", false, 0, 0, nil},
		{other, true, 503, 3, http.Header{"A": {"c"}, "Content-Length": {"3"}}},
		{first, true, 200, 0, http.Header{"A": {"b"}, "Content-Length": {"0"}}},
	} {
		if ok := p.read([]byte(c.raw), nil); ok != c.ok {
			t.Fatalf("%d: plain: %v", i, ok)
		}
		if !c.ok {
			continue
		}
		h := p.header()
		if p.status != c.status || p.length != c.length || !reflect.DeepEqual(h, c.header) {
			t.Errorf("%d: %d, %d bytes, %v", i, p.status, p.length, h)
		}
		h["A"][0] = "changed by the caller"
		h.Add("Content-Length", "another")
		h.Set("X", "y")
	}
}

func TestOnlyTheHeadersThatAreWantedAreKept(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 503 No\r\nA: b\r\nretry-after: 7\r\nRetry-After: 8\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	for _, c := range []struct {
		wanted []string
		want   http.Header
	}{
		{nil, http.Header{"A": {"b"}, "Retry-After": {"7", "8"}, "Content-Length": {"0"}}},
		{[]string{"Retry-After"}, http.Header{"Retry-After": {"7", "8"}}},
		{[]string{"Date"}, nil},
	} {
		client := newClient(t)
		client.Headers = c.wanted
		for range 2 {
			if res := do(t, client, s.post("{}")); res.Status != 503 || !reflect.DeepEqual(res.Header, c.want) {
				t.Errorf("%v: got %d %v", c.wanted, res.Status, res.Header)
			}
		}
		client.Close()
	}
}

func TestABodyOfKnownLengthShowsItsEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		left int64
		want string
		err  error
	}{{0, "", nil}, {2, "ab", nil}, {4, "abcd", nil}, {5, "abcd", io.ErrUnexpectedEOF}} {
		got, err := io.ReadAll(&exact{bufio.NewReader(strings.NewReader("abcd")), c.left})
		if string(got) != c.want || err != c.err {
			t.Errorf("%d bytes: %q, %v", c.left, got, err)
		}
	}
}

// FuzzPlainAnswer holds that an answer that is read here is one that net/http reads in the same way, to the last byte.
func FuzzPlainAnswer(f *testing.F) {
	for _, raw := range plainAnswers {
		f.Add([]byte(raw))
	}
	for _, raw := range otherAnswers {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkPlain(t, raw) })
}
