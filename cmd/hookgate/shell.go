package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// splitShell takes a command line apart as a POSIX shell does, with the $'...' that browsers write. What a shell would
// put in or run is an error: nothing is run here, and no variable is known.
func splitShell(line string) ([]string, error) {
	p := &shellParser{in: line}
	for !p.end() {
		if err := p.next(); err != nil {
			return nil, fmt.Errorf("the command line: %w", err)
		}
	}
	p.finish()
	return p.words, nil
}

type shellParser struct {
	in    string
	at    int
	words []string
	word  strings.Builder
	open  bool // there is a word, which may be empty
}

func (p *shellParser) end() bool { return p.at >= len(p.in) }

// take gives the next byte; 0 at the end.
func (p *shellParser) take() byte {
	if p.end() {
		return 0
	}
	c := p.in[p.at]
	p.at++
	return c
}

func (p *shellParser) peek() byte {
	if p.end() {
		return 0
	}
	return p.in[p.at]
}

func (p *shellParser) put(c byte) {
	p.word.WriteByte(c)
	p.open = true
}

func (p *shellParser) finish() {
	if p.open {
		p.words = append(p.words, p.word.String())
	}
	p.word.Reset()
	p.open = false
}

// next reads one character outside of quotes, or one quoted piece.
func (p *shellParser) next() error {
	switch c := p.take(); c {
	case ' ', '\t', '\n', '\r':
		p.finish()
	case '\'':
		p.open = true
		rest, piece, ok := p.until('\'')
		if !ok {
			return errors.New("a ' is not closed")
		}
		p.word.WriteString(piece)
		p.at = rest
	case '"':
		return p.double()
	case '\\':
		p.escaped()
	case '$':
		if p.peek() == '\'' {
			p.at++
			return p.ansi()
		}
		return p.dollar()
	case '`', '|', '&', ';', '<', '>', '(', ')':
		return fmt.Errorf("%q outside of quotes: give one command, without pipes and redirections", c)
	case '#':
		if !p.open {
			return errors.New("# outside of quotes begins a comment: leave it out")
		}
		p.put(c)
	default:
		p.put(c)
	}
	return nil
}

func (p *shellParser) until(c byte) (rest int, piece string, ok bool) {
	i := strings.IndexByte(p.in[p.at:], c)
	if i < 0 {
		return 0, "", false
	}
	return p.at + i + 1, p.in[p.at : p.at+i], true
}

// escaped reads what follows a backslash outside of quotes. At the end of a line it joins the next one.
func (p *shellParser) escaped() {
	c := p.take()
	switch {
	case c == '\r' && p.peek() == '\n':
		p.at++
	case c != '\n' && c != 0:
		p.put(c)
	}
}

// dollar takes a $ that stands for itself.
func (p *shellParser) dollar() error {
	c := p.peek()
	if c == '_' || c == '{' || c == '(' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return errors.New("a shell would put something in for $ here: write the value itself, in single quotes")
	}
	p.put('$')
	return nil
}

func (p *shellParser) double() error {
	p.open = true
	for !p.end() {
		switch c := p.take(); c {
		case '"':
			return nil
		case '`':
			return errors.New("a shell would run what is in ` here: write the value itself, in single quotes")
		case '$':
			if err := p.dollar(); err != nil {
				return err
			}
		case '\\':
			switch c := p.peek(); c {
			case '$', '`', '"', '\\':
				p.at++
				p.put(c)
			case '\n':
				p.at++
			default:
				p.put('\\')
			}
		default:
			p.put(c)
		}
	}
	return errors.New(`a " is not closed`)
}

// ansi reads $'...', with the escapes of C.
func (p *shellParser) ansi() error {
	p.open = true
	for !p.end() {
		c := p.take()
		switch c {
		case '\'':
			return nil
		case '\\':
			if err := p.ansiEscape(); err != nil {
				return err
			}
		default:
			p.put(c)
		}
	}
	return errors.New("a $' is not closed")
}

var ansiLetters = map[byte]byte{
	'a': 7, 'b': 8, 'e': 27, 'E': 27, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\', '\'': '\'', '"': '"', '?': '?',
}

func (p *shellParser) ansiEscape() error {
	c := p.take()
	if letter, ok := ansiLetters[c]; ok {
		p.put(letter)
		return nil
	}
	base, most := 16, 0
	switch c {
	case 'x':
		most = 2
	case 'u':
		most = 4
	case 'U':
		most = 8
	case '0', '1', '2', '3', '4', '5', '6', '7':
		base, most = 8, 3
		p.at--
	default:
		return errors.New(`$'...' has a \ before a character that needs none`)
	}
	digits := p.at
	for p.at < len(p.in) && p.at < digits+most {
		if _, err := strconv.ParseUint(p.in[digits:p.at+1], base, 64); err != nil {
			break
		}
		p.at++
	}
	n, err := strconv.ParseUint(p.in[digits:p.at], base, 32)
	switch {
	case err != nil:
		return fmt.Errorf(`$'...' has a \%c without digits`, c)
	case c == 'u' || c == 'U':
		if n > utf8.MaxRune {
			return errors.New(`$'...' has a \U that is no character`)
		}
		p.word.WriteRune(rune(n))
		p.open = true
	default:
		p.put(byte(n))
	}
	return nil
}
