package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// answer is the beginning of an answer, and how to read the rest.
type answer struct {
	status int
	header http.Header
	body   io.Reader // nil: there is none
	length int64     // of the body; negative: it shows when it ends
	close  bool      // the connection ends with it
}

// Any answer can be read by http.ReadResponse, but most answers that a webhook gets are so plain that a page of code can
// read them at a fraction of the cost. plain is that page. It knows the one way of writing a message that leaves no
// room for opinions, and refuses all else: then ReadResponse has its turn, from the first byte, as if nothing had been.
// So it adds no rules of its own to what is accepted, and what it answers is what ReadResponse would have. A fuzz test
// holds that.
//
// Plain is: HTTP/1.1, a final status, all of the head in the buffer, every line ended by CR LF and none folded, names that
// are tokens, values without control characters, and a body whose length is written once in at most maxLengthDigits
// digits, or a status that has none.
type plain struct {
	head   string // all of it; the fields are parts of this one string
	status int
	length int64 // of the body
	fields []field
	all    bool // whether the fields are all that were in the head
}

// field is a line of a head. The name is canonical.
type field struct{ name, value string }

const maxLengthDigits = 15

// The classes of bytes: what a name is made of, and what a value is.
const (
	tokenByte = 1 << iota
	valueByte
)

var byteClass = func() (class [256]uint8) {
	for i := range class {
		c := byte(i)
		if c == '\t' || (c >= ' ' && c != 0x7f) {
			class[i] |= valueByte
		}
		if ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			class[i] |= tokenByte
		}
	}
	return class
}()

// consistsOf reports whether all bytes of s are of a class.
func consistsOf(s string, class uint8) bool {
	for i := range len(s) {
		if byteClass[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// read reads the head of an answer to a request that is no HEAD, if it is plain. Of its fields those in wanted are kept;
// nil means all.
//
// If the head is the same, byte for byte, as the one that was read last, that one is kept, and wanted must be the same,
// too. This is the usual case: what changes in the answers of most receivers is the date, once a second.
func (p *plain) read(b []byte, wanted []string) bool {
	if n := len(p.head); n > 0 && n <= len(b) && string(b[:n]) == p.head {
		return true
	}
	clear(p.fields)
	*p = plain{length: -1, fields: p.fields[:0], all: wanted == nil}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return false
	}
	head := string(b[:end+4])
	line, rest, _ := strings.Cut(head[:end+2], "\r\n")
	if p.status = plainStatus(line); p.status == 0 {
		return false
	}
	for rest != "" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || !consistsOf(name, tokenByte) || !consistsOf(value, valueByte) {
			return false
		}
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t")
		switch name {
		case "Content-Length":
			if p.length >= 0 {
				return false
			}
			if p.length = plainLength(value); p.length < 0 {
				return false
			}
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return false
			}
		case "Transfer-Encoding", "Trailer", "Pragma": // ReadResponse changes the headers where these are
			return false
		}
		if p.all || slices.Contains(wanted, name) {
			p.fields = append(p.fields, field{name, value})
		}
	}
	if p.status == http.StatusNoContent || p.status == http.StatusNotModified {
		p.length = 0
	}
	if p.length < 0 {
		return false
	}
	p.head = head
	return true
}

// header makes a header of the fields. It belongs to the caller. It is nil if nothing that was wanted is there.
func (p *plain) header() http.Header {
	if len(p.fields) == 0 && !p.all {
		return nil
	}
	h := make(http.Header, len(p.fields))
	values := make([]string, len(p.fields))
	for i, f := range p.fields {
		if earlier := h[f.name]; earlier != nil {
			h[f.name] = append(earlier, f.value)
			continue
		}
		values[i] = f.value
		h[f.name] = values[i : i+1 : i+1]
	}
	return h
}

// plainStatus answers the status of a status line, or 0.
func plainStatus(line string) int {
	const version, digits = "HTTP/1.1 ", 3
	code, ok := strings.CutPrefix(line, version)
	if !ok || len(code) < digits || (len(code) > digits && code[digits] != ' ') || !consistsOf(code, valueByte) {
		return 0
	}
	status := 0
	for i := range digits {
		if code[i] < '0' || code[i] > '9' {
			return 0
		}
		status = status*10 + int(code[i]-'0')
	}
	if status < 200 || status > 599 {
		return 0
	}
	return status
}

// plainLength answers the number that s is, or -1.
func plainLength(s string) int64 {
	if s == "" || len(s) > maxLengthDigits {
		return -1
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n
}

// exact reads a body of known length. Its last byte comes together with io.EOF.
type exact struct {
	br   *bufio.Reader
	left int64
}

func (e *exact) Read(p []byte) (n int, err error) {
	if e.left > 0 {
		n, err = e.br.Read(p[:min(int64(len(p)), e.left)])
		e.left -= int64(n)
	}
	switch {
	case e.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
