package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/hookgate/hookgate/signing"
)

// curlFlags are the flags of curl that are known: by long name, those that change what is sent and those that do not.
var curlFlags = map[string]struct {
	value bool                                  // it takes one
	apply func(c *curlCall, value string) error // nil if it does not change the request
}{
	"request":     {true, func(c *curlCall, v string) error { c.method = v; return nil }},
	"url":         {true, func(c *curlCall, v string) error { return c.setURL(v) }},
	"header":      {true, (*curlCall).addHeader},
	"data":        {true, func(c *curlCall, v string) error { return c.addData(v, true, true) }},
	"data-ascii":  {true, func(c *curlCall, v string) error { return c.addData(v, true, true) }},
	"data-binary": {true, func(c *curlCall, v string) error { return c.addData(v, true, false) }},
	"data-raw":    {true, func(c *curlCall, v string) error { return c.addData(v, false, false) }},
	"json":        {true, (*curlCall).addJSON},
	"user":        {true, (*curlCall).addUser},
	"user-agent":  {true, func(c *curlCall, v string) error { c.set("User-Agent", v); return nil }},
	"referer":     {true, func(c *curlCall, v string) error { c.set("Referer", v); return nil }},
	"cookie":      {true, func(c *curlCall, v string) error { c.set("Cookie", v); return nil }},
	"head":        {false, func(c *curlCall, _ string) error { c.method = http.MethodHead; return nil }},

	"silent": {}, "show-error": {}, "insecure": {}, "include": {}, "verbose": {}, "location": {}, "fail": {},
	"fail-with-body": {}, "compressed": {}, "http1.0": {}, "http1.1": {}, "http2": {}, "globoff": {}, "progress-bar": {},
	"ipv4": {}, "ipv6": {}, "no-buffer": {}, "path-as-is": {}, "tlsv1.2": {}, "tlsv1.3": {}, "no-progress-meter": {},
	"output": {value: true}, "max-time": {value: true}, "connect-timeout": {value: true}, "retry": {value: true},
	"write-out": {value: true}, "resolve": {value: true}, "cacert": {value: true}, "cert": {value: true},
	"key": {value: true}, "proxy": {value: true}, "dump-header": {value: true}, "connect-to": {value: true},
}

// curlLetters are the short names.
var curlLetters = map[byte]string{
	'X': "request", 'H': "header", 'd': "data", 'u': "user", 'A': "user-agent", 'e': "referer", 'b': "cookie", 'I': "head",
	's': "silent", 'S': "show-error", 'k': "insecure", 'i': "include", 'v': "verbose", 'L': "location", 'f': "fail",
	'g': "globoff", '#': "progress-bar", '4': "ipv4", '6': "ipv6", 'N': "no-buffer", '0': "http1.0", 'o': "output",
	'm': "max-time", 'w': "write-out", 'E': "cert", 'x': "proxy", 'D': "dump-header",
}

// curlCall gathers what a command line of curl says.
type curlCall struct {
	method, url string
	header      http.Header
	removed     map[string]bool // "-H Name:" takes a header away
	body        []byte
	hasBody     bool
	contentType string // the one that curl adds
}

// parseCurl makes the request that curl would send. words begins behind the word curl. Errors name flags, not their
// values: those can be secrets.
func parseCurl(words []string) (*signing.Request, error) {
	c := &curlCall{header: http.Header{}, removed: map[string]bool{}}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch {
		case word == "-" || !strings.HasPrefix(word, "-"):
			if err := c.setURL(word); err != nil {
				return nil, err
			}
		case strings.HasPrefix(word, "--"):
			rest, err := c.flag(word[2:], "", false, words)
			if err != nil {
				return nil, err
			}
			words = rest
		default: // -sSXPOST is -s -S -X POST
			for letters := word[1:]; letters != ""; {
				name, ok := curlLetters[letters[0]]
				if !ok {
					return nil, fmt.Errorf("curl: the flag -%c is not known here; leave it out if it does not change the request", letters[0])
				}
				letters = letters[1:]
				inline := curlFlags[name].value && letters != ""
				rest, err := c.flag(name, letters, inline, words)
				if err != nil {
					return nil, err
				}
				words = rest
				if inline {
					break
				}
			}
		}
	}
	return c.request()
}

// flag applies one flag and answers the words behind it.
func (c *curlCall) flag(name, value string, inline bool, words []string) ([]string, error) {
	f, ok := curlFlags[name]
	if !ok {
		return nil, fmt.Errorf("curl: the flag --%s is not known here; leave it out if it does not change the request", name)
	}
	if f.value && !inline {
		if len(words) == 0 {
			return nil, fmt.Errorf("curl: --%s has no value", name)
		}
		value, words = words[0], words[1:]
	}
	if f.apply == nil {
		return words, nil
	}
	return words, f.apply(c, value)
}

func (c *curlCall) setURL(text string) error {
	if c.url != "" {
		return errors.New("curl: there are two URLs; is a quote missing around the body?")
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text // as curl does
	}
	c.url = text
	return nil
}

func (c *curlCall) set(name, value string) { c.header[http.CanonicalHeaderKey(name)] = []string{value} }

func (c *curlCall) addHeader(line string) error {
	if strings.HasPrefix(line, "@") {
		return errors.New("curl: --header @FILE is not known here; write the headers out")
	}
	if name, ok := strings.CutSuffix(line, ";"); ok && !strings.Contains(name, ":") {
		c.header.Add(name, "")
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !token(name) {
		return errors.New("curl: a --header is not written as Name: value")
	}
	if value = strings.Trim(value, " \t"); value == "" {
		c.removed[http.CanonicalHeaderKey(name)] = true
		return nil
	}
	c.header.Add(name, value)
	return nil
}

// addData adds to the body, behind "&" if there is one. With files, @NAME is a file's content; with strip, without line
// ends, as --data has it.
func (c *curlCall) addData(text string, files, strip bool) error {
	data := []byte(text)
	if name, ok := strings.CutPrefix(text, "@"); ok && files {
		if name == "-" {
			return errors.New("curl: a body from stdin is not known here; give a file")
		}
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return fmt.Errorf("curl: the body: %w", err)
		}
		if strip {
			data = []byte(strings.NewReplacer("\r", "", "\n", "").Replace(string(data)))
		}
	}
	if c.hasBody {
		c.body = append(c.body, '&')
	}
	c.body = append(c.body, data...)
	c.hasBody = true
	if c.contentType == "" {
		c.contentType = "application/x-www-form-urlencoded"
	}
	return nil
}

func (c *curlCall) addJSON(text string) error {
	before := c.body
	c.hasBody, c.body = false, nil
	if err := c.addData(text, true, false); err != nil {
		return err
	}
	c.body = append(before, c.body...)
	c.contentType = "application/json"
	return nil
}

func (c *curlCall) addUser(text string) error {
	c.set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(text)))
	return nil
}

func (c *curlCall) request() (*signing.Request, error) {
	if c.url == "" {
		return nil, errors.New("curl: there is no URL")
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Host == "" {
		return nil, errors.New("curl: the URL cannot be read")
	}
	// The text stays as it is, for providers that sign it: reading and writing it could change an escape.
	target, _, _ := strings.Cut(c.url, "#")
	if u.Path == "" {
		before, query, asks := strings.Cut(target, "?")
		if target = before + "/"; asks {
			target += "?" + query
		}
	}
	if c.method == "" {
		c.method = http.MethodGet
		if c.hasBody {
			c.method = http.MethodPost
		}
	}
	if c.contentType != "" && c.header["Content-Type"] == nil && !c.removed["Content-Type"] {
		c.set("Content-Type", c.contentType)
	}
	return &signing.Request{Method: c.method, URL: target, Header: c.header, Body: c.body}, nil
}
