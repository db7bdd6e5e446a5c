package signing

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// explainJSON is up to how many bytes JSON is written anew, to see whether it fits then.
const explainJSON = 16 << 10

// changedBody undoes what middleware likes to do to a body, and says what fits.
func (x *reading) changedBody() string {
	keys := x.v.keys[:min(len(x.v.keys), explainKeys)]
	body := x.r.Body
	fits := func(other []byte) bool { return string(other) != string(body) && x.match(keys, other) >= 0 }
	switch {
	case fits(bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))):
		return "it fits without the newline at the end of the body: a middleware changed the body"
	case fits(append(bytes.Clone(body), '\n')):
		return "it fits with a newline at the end of the body: a middleware changed the body"
	case fits(bytes.TrimSpace(body)):
		return "it fits without the white space around the body: a middleware changed the body"
	case fits(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))):
		return "it fits with other line ends: a middleware changed the body"
	}
	if len(body) > explainJSON || !json.Valid(body) {
		return ""
	}
	for _, form := range jsonForms(body) {
		if fits(form.text) {
			return "it fits when the JSON is " + form.words + ": a middleware changed the body, it was decoded and written anew; keep the bytes as they came"
		}
	}
	return ""
}

// jsonForm is the same document written another way.
type jsonForm struct {
	words string
	text  []byte
}

// jsonForms writes a document as the common libraries do.
func jsonForms(doc []byte) []jsonForm {
	var compact, html, indented, sorted bytes.Buffer
	if json.Compact(&compact, doc) != nil || json.Indent(&indented, doc, "", "  ") != nil {
		return nil
	}
	tight := compact.Bytes()
	json.HTMLEscape(&html, tight)
	forms := []jsonForm{
		{"compacted", tight},
		{"indented", indented.Bytes()},
		{"compacted with <, > and & escaped", html.Bytes()},
		{"compacted with all but ASCII escaped", asciiJSON(tight)},
		{"written with all but ASCII escaped", asciiJSON(doc)},
		{"compacted and not escaped", plainJSON(tight)},
		{"written with / escaped", escapeSlashes(doc)},
		{"compacted with / and all but ASCII escaped", asciiJSON(escapeSlashes(plainJSON(tight)))},
		{"written with / not escaped", bytes.ReplaceAll(doc, []byte(`\/`), []byte("/"))},
		{"written with spaces behind colons and commas", spacedJSON(tight)},
		{"written with spaces behind colons and commas, and all but ASCII escaped", asciiJSON(spacedJSON(tight))},
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber()
	if decoder.Decode(&value) == nil {
		encoder := json.NewEncoder(&sorted)
		encoder.SetEscapeHTML(false)
		if encoder.Encode(value) == nil {
			text := bytes.TrimSuffix(sorted.Bytes(), []byte("\n"))
			forms = append(forms, jsonForm{"compacted with its keys sorted", text}, jsonForm{"written with its keys sorted", spacedJSON(text)})
		}
	}
	return forms
}

// inStrings copies a valid document and gives each byte to f with the rest of the document behind it: f appends what is to
// stand there and answers how many bytes that was.
func inStrings(doc []byte, inside, outside func(out, rest []byte) ([]byte, int)) []byte {
	out := make([]byte, 0, len(doc)+len(doc)/8)
	quoted := false
	for i := 0; i < len(doc); {
		if doc[i] == '"' {
			quoted = !quoted
			out = append(out, '"')
			i++
			continue
		}
		f := outside
		if quoted {
			f = inside
		}
		n := 0
		if f != nil {
			out, n = f(out, doc[i:])
		}
		if n == 0 {
			n = 1
			if quoted && doc[i] == '\\' {
				n = 2 // with what it escapes
			}
			out = append(out, doc[i:i+n]...)
		}
		i += n
	}
	return out
}

// asciiJSON escapes what is beyond ASCII, with small letters.
func asciiJSON(doc []byte) []byte {
	return inStrings(doc, func(out, rest []byte) ([]byte, int) {
		if rest[0] < utf8.RuneSelf {
			return out, 0
		}
		r, n := utf8.DecodeRune(rest)
		for _, unit := range utf16.Encode([]rune{r}) {
			out = append(out, '\\', 'u')
			digits := strconv.AppendUint(nil, uint64(unit), 16)
			out = append(out, "0000"[len(digits):]...)
			out = append(out, digits...)
		}
		return out, n
	}, nil)
}

// plainJSON takes the escapes from what is beyond ASCII, and from / < > &.
func plainJSON(doc []byte) []byte {
	unit := func(rest []byte) (rune, bool) {
		if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(rest[2:6]), 16, 16)
		return rune(n), err == nil
	}
	return inStrings(doc, func(out, rest []byte) ([]byte, int) {
		if len(rest) > 1 && rest[0] == '\\' && rest[1] == '/' {
			return append(out, '/'), 2
		}
		r, ok := unit(rest)
		switch {
		case !ok:
			return out, 0
		case utf16.IsSurrogate(r):
			low, ok := unit(rest[6:])
			if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
				return out, 0
			}
			return utf8.AppendRune(out, r), 12
		case r >= utf8.RuneSelf || r == '<' || r == '>' || r == '&':
			return utf8.AppendRune(out, r), 6
		}
		return out, 0
	}, nil)
}

// escapeSlashes writes / as PHP does.
func escapeSlashes(doc []byte) []byte {
	return inStrings(doc, func(out, rest []byte) ([]byte, int) {
		if rest[0] != '/' {
			return out, 0
		}
		return append(out, '\\', '/'), 1
	}, nil)
}

// spacedJSON writes a compact document as Python does.
func spacedJSON(tight []byte) []byte {
	return inStrings(tight, nil, func(out, rest []byte) ([]byte, int) {
		if rest[0] != ':' && rest[0] != ',' {
			return out, 0
		}
		return append(out, rest[0], ' '), 1
	})
}
