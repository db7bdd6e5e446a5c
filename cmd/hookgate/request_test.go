package main

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

func TestSplitShell(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                                 nil,
		" a  b\tc\n":                       {"a", "b", "c"},
		"a \\\n  b \\\r\n c":               {"a", "b", "c"},
		`'a b'"c d"e`:                      {"a bc de"},
		`'' ""`:                            {"", ""},
		`"\$ \" \\ \x"`:                    {`$ " \ \x`},
		`a\ b \' \"`:                       {"a b", "'", `"`},
		`$'\n\x41\u00e9\101\'' 'a\'`:       {"\nAéA'", `a\`},
		`'{"a":"$x"}' a#b $ "$ "`:          {`{"a":"$x"}`, "a#b", "$", "$ "},
		"-d 'line one\nline two' '`;|&>('": {"-d", "line one\nline two", "`;|&>("},
	} {
		if got, err := splitShell(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q gave %q, %v; want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		"'a": "is not closed", `"a`: "is not closed", "$'a": "is not closed", `"$A"`: "put something in", "$(id)": "put something in",
		"${A}": "put something in", "`id`": "outside of quotes", `"` + "`id`" + `"`: "would run", "a | b": "without pipes", "a; b": "one command",
		"a > b": "redirections", "a # b": "comment", `$'\xzz'`: "without digits", `$'\q'`: "needs none", `$'\UFFFFFFFF'`: "no character",
	} {
		if got, err := splitShell(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestCurlSendsWhatCurlWould(t *testing.T) {
	t.Parallel()
	form := "application/x-www-form-urlencoded"
	body := file(t, "body", "a\r\nb\n")
	for line, want := range map[string]signing.Request{
		"curl a.example":                              {Method: "GET", URL: "http://a.example/", Header: http.Header{}},
		"curl 'https://a.example?x=%2f#y'":            {Method: "GET", URL: "https://a.example/?x=%2f", Header: http.Header{}},
		"curl -I https://a.example/%7Eb":              {Method: "HEAD", URL: "https://a.example/%7Eb", Header: http.Header{}},
		"curl -d x -da=b --url https://a.example/":    {Method: "POST", URL: "https://a.example/", Header: http.Header{"Content-Type": {form}}, Body: []byte("x&a=b")},
		"curl -XPUT https://a.example/ --data-raw @x": {Method: "PUT", URL: "https://a.example/", Header: http.Header{"Content-Type": {form}}, Body: []byte("@x")},
		"curl https://a.example/ -d @" + body:         {Method: "POST", URL: "https://a.example/", Header: http.Header{"Content-Type": {form}}, Body: []byte("ab")},
		"curl https://a.example/ --data-binary @" + body + " -H content-type:": {
			Method: "POST", URL: "https://a.example/", Header: http.Header{}, Body: []byte("a\r\nb\n"),
		},
		"curl --json '{}' -H 'X-A: 1' -H 'x-a: 2' -H 'X-Empty;' -sSkLo /dev/null https://a.example/": {
			Method: "POST", URL: "https://a.example/", Body: []byte("{}"),
			Header: http.Header{"Content-Type": {"application/json"}, "X-A": {"1", "2"}, "X-Empty": {""}},
		},
		"curl -u me:pw -A agent -b a=b -e https://b.example --compressed --http2 -m 5 https://a.example/": {
			Method: "GET", URL: "https://a.example/",
			Header: http.Header{"Authorization": {"Basic bWU6cHc="}, "User-Agent": {"agent"}, "Cookie": {"a=b"}, "Referer": {"https://b.example"}},
		},
	} {
		got, notes, err := parseRequest([]byte(line))
		if err != nil || len(notes) > 0 {
			t.Errorf("%s: %v, %v", line, err, notes)
			continue
		}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s gave\n%+v, want\n%+v", line, *got, want)
		}
	}
	for line, want := range map[string]string{
		"curl ":                    "no URL",
		"curl a b":                 "two URLs",
		"curl -F a=b a":            "-F is not known",
		"curl --form a=b a":        "--form is not known",
		"curl a -H":                "--header has no value",
		"curl a -H nonsense":       "not written as Name: value",
		"curl a -H @x":             "write the headers out",
		"curl a -d @/no/such/file": "no such file",
		"curl a -d @-":             "give a file",
		"curl http://%zz":          "cannot be read",
		"curl a | sh":              "without pipes",
	} {
		if _, _, err := parseRequest([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

func TestRawRequests(t *testing.T) {
	t.Parallel()
	r, notes, err := parseRequest([]byte("\r\nPOST /in?a=%2F HTTP/1.1\r\nhost: a.example\r\nX-A:1\r\nx-a:  2 \r\n\r\nbody\r\n\r\nmore"))
	want := signing.Request{
		Method: "POST", URL: "https://a.example/in?a=%2F", Header: http.Header{"X-A": {"1", "2"}}, Body: []byte("body\r\n\r\nmore"),
	}
	if err != nil || len(notes) > 0 || !reflect.DeepEqual(*r, want) {
		t.Errorf("got %+v, %v, %v", r, notes, err)
	}
	r, _, err = parseRequest([]byte("GET https://b.example/ \nHost: a.example"))
	if err != nil || r.Method != "GET" || r.URL != "https://b.example/" || len(r.Body) > 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	for text, want := range map[string]string{
		"":                              "empty",
		"{\"a\": 1}":                    "first line must be",
		"POST /in HTTP/1.1\n{}":         "empty line in front of the body",
		"POST /in HTTP/1.1\nX A: 1\n\n": "not written as Name: value",
		"A: b\nTransfer-Encoding: Chunked\n\n5\r\nhello\r\n0\r\n\r\n": "chunked",
	} {
		if _, _, err := parseRequest([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Whatever is pasted, it is read or refused, and a request has canonical names of headers.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(githubRequest))
	f.Add([]byte("curl -X POST 'https://a.example' -H \"X-A: 1\" -d $'a\\u00e9' --json {}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "@") {
			return // it could name a file
		}
		r, _, err := parseRequest(text)
		if err != nil {
			return
		}
		for name := range r.Header {
			if http.CanonicalHeaderKey(name) != name {
				t.Errorf("the name %q", name)
			}
		}
		if r.Method == "" || r.URL == "" {
			t.Errorf("%q: %q", r.Method, r.URL)
		}
	})
}
