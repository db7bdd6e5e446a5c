package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hookgate/hookgate/signing"
)

// parseRequest reads a request as people paste it: a command line of curl, or HTTP as it goes over the wire, with line
// ends of either kind. The notes say what was done to it, or is wrong with it.
func parseRequest(text []byte) (r *signing.Request, notes []string, err error) {
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	if rest, ok := bytes.CutPrefix(trimmed, []byte("curl")); ok && len(rest) > 0 && strings.IndexByte(" \t\r\n\\", rest[0]) >= 0 {
		words, err := splitShell(string(rest))
		if err != nil {
			return nil, nil, err
		}
		r, err = parseCurl(words)
		return r, nil, err
	}
	if len(trimmed) == 0 {
		return nil, nil, errors.New("the request is empty: paste the raw HTTP request, or a curl command")
	}
	return parseHTTP(trimmed)
}

func parseHTTP(text []byte) (*signing.Request, []string, error) {
	r := &signing.Request{Method: http.MethodPost, URL: "/", Header: http.Header{}}
	line, rest := cutLine(text)
	if method, target, ok := requestLine(line); ok {
		r.Method, r.URL = method, target
		text = rest
	} else if name, _, ok := strings.Cut(line, ":"); !ok || !token(name) {
		return nil, nil, errors.New("the first line must be a request line, such as POST /hooks/github HTTP/1.1, or a header")
	}
	host := ""
	for number := 1; ; number++ {
		line, rest = cutLine(text)
		text = rest
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !token(name) {
			return nil, nil, fmt.Errorf("header line %d is not written as Name: value; is the empty line in front of the body missing?", number)
		}
		value = strings.Trim(value, " \t")
		if strings.EqualFold(name, "Host") {
			host = value
			continue
		}
		r.Header.Add(name, value)
	}
	if strings.HasPrefix(r.URL, "/") && host != "" {
		r.URL = "https://" + host + r.URL
	}
	if strings.Contains(strings.ToLower(r.Header.Get("Transfer-Encoding")), "chunked") {
		return nil, nil, errors.New("the body is chunked: paste it without the chunks, and leave the header Transfer-Encoding out")
	}
	var notes []string
	r.Body, notes = fitLength(text, r.Header.Get("Content-Length"))
	return r, notes, nil
}

// requestLine reads "POST /path HTTP/1.1"; the version may be left out.
func requestLine(line string) (method, target string, ok bool) {
	words := strings.Fields(line)
	if len(words) == 3 && !strings.HasPrefix(words[2], "HTTP/") || len(words) < 2 || len(words) > 3 || !token(words[0]) {
		return "", "", false
	}
	method, target = words[0], words[1]
	if strings.ToUpper(method) != method || !strings.HasPrefix(target, "/") && !strings.Contains(target, "://") {
		return "", "", false
	}
	return method, target, true
}

// fitLength takes off what an editor added behind the body.
func fitLength(body []byte, header string) ([]byte, []string) {
	if header == "" {
		if bytes.HasSuffix(body, []byte("\n")) {
			return body, []string{"the body ends with a line end; take it off if it came by copying"}
		}
		return body, nil
	}
	length, err := strconv.Atoi(header)
	switch {
	case err != nil || length < 0:
		return body, []string{"Content-Length is not a number, and was left alone"}
	case length == len(body):
		return body, nil
	case length > len(body):
		return body, []string{fmt.Sprintf("the body has %d bytes and Content-Length says %d: it is cut off, or was changed when it was copied", len(body), length)}
	case len(bytes.Trim(body[length:], "\r\n")) == 0:
		return body[:length], []string{fmt.Sprintf("took the first %d bytes of the body, as Content-Length says; line ends follow", length)}
	default:
		return body, []string{fmt.Sprintf("the body has %d bytes and Content-Length says %d: it was changed when it was copied", len(body), length)}
	}
}

// cutLine takes a line off, without its end.
func cutLine(text []byte) (line string, rest []byte) {
	l, rest, _ := bytes.Cut(text, []byte("\n"))
	return string(bytes.TrimSuffix(l, []byte("\r"))), rest
}

// token reports whether a text can be the name of a header.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
