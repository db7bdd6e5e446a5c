package signing

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// maxText is how long a text out of a body may be, in bytes. A longer one counts as absent.
const maxText = 4 << 10

// jsonText gives the text of the string, number or boolean at path in a JSON document; ok is false where there is none,
// and for null, objects and arrays. Of a member that comes twice the first counts.
//
// It looks at no more of the document than it must and does not check the rest: it answers in all cases, with no memory
// but the text. It needs no stack for nesting.
func jsonText(doc []byte, path []string) (text string, ok bool) {
	return jsonTextAt(doc, skipSpace(doc, 0), path)
}

// jsonTextAt is jsonText for the value at i.
func jsonTextAt(doc []byte, i int, path []string) (text string, ok bool) {
	for depth, name := range path {
		if i < 0 || i >= len(doc) {
			return "", false
		}
		switch doc[i] {
		case '{':
			i = findMember(doc, i+1, name)
		case '[':
			if name == "*" {
				return everyElement(doc, i+1, path[depth+1:])
			}
			i = findElement(doc, i+1, name)
		default:
			return "", false
		}
	}
	end := skipValue(doc, i)
	if end < 0 || end-i > maxText {
		return "", false
	}
	switch v := doc[i:end]; v[0] {
	case '"':
		return unquote(v)
	case '{', '[':
		return "", false
	default:
		if !json.Valid(v) || v[0] == 'n' {
			return "", false
		}
		return string(v), true
	}
}

// everyElement gives the text that each element of the array has at path. The array's elements start at i.
func everyElement(doc []byte, i int, path []string) (text string, ok bool) {
	for n := 0; ; n++ {
		i = skipSpace(doc, i)
		t, ok := jsonTextAt(doc, i, path)
		if !ok || (n > 0 && t != text) {
			return "", false
		}
		text = t
		if i = skipValue(doc, i); i < 0 {
			return "", false
		}
		if i = skipSpace(doc, i); i >= len(doc) {
			return "", false
		}
		switch doc[i] {
		case ']':
			return text, true
		case ',':
			i++
		default:
			return "", false
		}
	}
}

// findMember answers where the value of the object's member starts, or -1. The object's members start at i.
func findMember(doc []byte, i int, name string) int {
	for {
		i = skipSpace(doc, i)
		if i >= len(doc) || doc[i] != '"' {
			return -1
		}
		end := stringEnd(doc, i)
		if end < 0 {
			return -1
		}
		key := doc[i:end]
		i = skipSpace(doc, end)
		if i >= len(doc) || doc[i] != ':' {
			return -1
		}
		i = skipSpace(doc, i+1)
		if isKey(key, name) {
			return i
		}
		if i = nextItem(doc, i); i < 0 {
			return -1
		}
	}
}

// findElement answers where the element of the array starts that name counts, from "0"; or -1.
func findElement(doc []byte, i int, name string) int {
	n, err := strconv.ParseUint(name, 10, 16)
	if err != nil {
		return -1
	}
	i = skipSpace(doc, i)
	for ; n > 0; n-- {
		if i = nextItem(doc, i); i < 0 {
			return -1
		}
		i = skipSpace(doc, i)
	}
	return i
}

// nextItem skips the value at i and the comma behind it; -1 if there is no comma.
func nextItem(doc []byte, i int) int {
	if i = skipValue(doc, i); i < 0 {
		return -1
	}
	i = skipSpace(doc, i)
	if i >= len(doc) || doc[i] != ',' {
		return -1
	}
	return i + 1
}

func isKey(quoted []byte, name string) bool {
	if plain := quoted[1 : len(quoted)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain) == name
	}
	if len(quoted) > 6*len(name)+2 { // \u0041 is six bytes for one
		return false
	}
	key, ok := unquote(quoted)
	return ok && key == name
}

func unquote(quoted []byte) (string, bool) {
	inner := quoted[1 : len(quoted)-1]
	plain := true
	for _, c := range inner {
		if c < ' ' {
			return "", false
		}
		plain = plain && c != '\\' && c < utf8.RuneSelf
	}
	if plain {
		return string(inner), true
	}
	var s string
	if !utf8.Valid(inner) || json.Unmarshal(quoted, &s) != nil {
		return "", false
	}
	return s, true
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\t' || doc[i] == '\r') {
		i++
	}
	return i
}

// skipValue answers where the value at i ends, at least one byte behind it; -1 if there is no value or no end.
func skipValue(doc []byte, i int) int {
	if i < 0 || i >= len(doc) {
		return -1
	}
	switch doc[i] {
	case '"':
		return stringEnd(doc, i)
	case '{', '[':
		return nestedEnd(doc, i)
	}
	start := i
	for i < len(doc) {
		switch doc[i] {
		case ',', ']', '}', ' ', '\n', '\t', '\r', ':', '"', '{', '[':
			if i == start {
				return -1
			}
			return i
		}
		i++
	}
	return i
}

// structural marks the bytes at which the end of an object or array can be told: its brackets and the quotes.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// nestedEnd answers where the object or array that starts at i ends, by counting brackets; -1 if it does not.
func nestedEnd(doc []byte, i int) int {
	for depth := 0; ; i++ {
		for i < len(doc) && !structural[doc[i]] {
			i++
		}
		if i >= len(doc) {
			return -1
		}
		switch doc[i] {
		case '"':
			end := stringEnd(doc, i)
			if end < 0 {
				return -1
			}
			i = end - 1
		case '{', '[':
			depth++
		default:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// stringEnd answers where the string that starts at i ends, behind its closing quote; -1 if it does not.
func stringEnd(doc []byte, i int) int {
	start := i + 1
	for from := start; ; {
		n := bytes.IndexByte(doc[from:], '"')
		if n < 0 {
			return -1
		}
		quote := from + n
		slashes := 0
		for quote-1-slashes >= start && doc[quote-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return quote + 1
		}
		from = quote + 1
	}
}
