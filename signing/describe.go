package signing

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// describe fills in, from the row, what the entry does not say by hand.
func (p *provider) describe() {
	s := &p.row
	if p.code != nil {
		if p.Handshake == "" {
			p.Handshake = s.handshakeWords()
		}
		return
	}
	headers := []string{s.Signature.describe()}
	if s.Format == Numbered {
		headers[0] = "`" + s.Signature.name + "-1` and on"
	}
	if s.Second.kind != partNone {
		headers = append(headers, s.Second.describe())
	}
	for o := s.Otherwise; o != nil; o = o.Otherwise {
		headers = append(headers, o.Signature.describe())
	}
	p.Covers = s.covers()
	for _, f := range []struct {
		field *string
		text  string
	}{
		{&p.Header, strings.Join(headers, " or ") + s.form()},
		{&p.Algorithm, s.algorithms()},
		{&p.Signs, describeAll(s.Message)},
		{&p.Time, s.Time.describe()},
		{&p.Secret, s.secretWords()},
		{&p.Type, s.Type.describe()},
		{&p.ID, s.ID.describe()},
		{&p.Order, s.OrderingKey.describe()},
		{&p.Handshake, s.handshakeWords()},
	} {
		if *f.field == "" {
			*f.field = f.text
		}
	}
}

// form shows how the text of the signature is built.
func (s *Scheme) form() string {
	switch s.Format {
	case Plain, Group:
		switch {
		case s.Algorithm == Token && s.Encoding == Base64:
			return ": `" + s.Prefix + "` and base64"
		case s.Prefix == "":
			return ""
		case s.PrefixOptional:
			return ": `" + s.Prefix + "` or without"
		default:
			return ": `" + s.Prefix + "`"
		}
	case Pairs:
		text := ": `"
		if s.Time.From.kind == partEntry {
			text += s.Time.From.name + "=" + s.separator()
		}
		for i, t := range s.Tags {
			if i > 0 {
				text += s.separator()
			}
			text += t.Name + "="
		}
		return text + "`"
	case Tagged:
		tags := make([]string, len(s.Tags))
		for i, t := range s.Tags {
			tags[i] = "`" + t.Name + ",`"
		}
		return ": " + strings.Join(tags, " ")
	case Positional:
		return ": time,signature"
	default:
		return ""
	}
}

func (s *Scheme) separator() string {
	if s.Separator == "" {
		return ","
	}
	return s.Separator
}

var algorithmNames = map[Algorithm]string{
	HMACSHA256: "HMAC-SHA256", HMACSHA1: "HMAC-SHA1", HMACSHA512: "HMAC-SHA512", SHA256: "SHA-256 (no HMAC)",
	Ed25519: "Ed25519", ECDSAP256: "ECDSA P-256",
}

var encodingNames = map[Encoding]string{Hex: "hex", Base64: "base64", Base64URL: "base64url"}

func (s *Scheme) algorithms() string {
	if s.Algorithm == Token {
		if s.Encoding == Base64 {
			return "Basic"
		}
		return "token"
	}
	names := []string{algorithmNames[s.Algorithm]}
	for i, t := range s.Tags {
		if t.Algorithm == 0 {
			continue
		}
		if i == 0 {
			names = nil
		}
		names = append(names, algorithmNames[t.Algorithm])
	}
	return strings.Join(names, ", ") + ", " + encodingNames[s.Encoding]
}

func describeAll(parts []Part) string {
	texts := make([]string, len(parts))
	for i := range parts {
		texts[i] = parts[i].describe()
	}
	return strings.Join(texts, ", ")
}

// describe names the part for a table.
func (p *Part) describe() string {
	switch p.kind {
	case partNone:
		return ""
	case partHeader:
		return "`" + p.name + "`"
	case partJSON:
		return "body `" + strings.Join(p.path, ".") + "`"
	case partForm:
		return "form `" + p.name + "`"
	case partQuery:
		return "query `" + p.name + "`"
	case partEntry:
		return "entry `" + p.name + "`"
	case partText:
		return "`\"" + p.name + "\"`"
	case partJoin:
		texts := make([]string, len(p.parts))
		for i := range p.parts {
			texts[i] = p.parts[i].describe()
		}
		return strings.Join(texts, " `\""+p.name+"\"` ")
	case partFirst:
		texts := make([]string, len(p.parts))
		for i := range p.parts {
			texts[i] = p.parts[i].describe()
		}
		return strings.Join(texts, " or ")
	case partOptional:
		return "[" + describeAll(p.parts) + "]"
	case partLower:
		return p.parts[0].describe() + " in lower case"
	case partBody:
		return "body"
	case partTimestamp:
		return "time"
	case partMethod:
		return "method"
	case partURL:
		return "URL"
	default:
		return "secret"
	}
}

func (t *TimeRule) describe() string {
	if t.From.kind == partNone {
		return ""
	}
	unit := "seconds"
	switch t.Unit {
	case Milliseconds:
		unit = "milliseconds"
	case RFC3339:
		unit = "RFC 3339"
	}
	limit := "no limit"
	switch {
	case t.AgeOnly:
		limit = "at most " + short(t.Tolerance) + " old"
	case t.Tolerance > 0:
		limit = "±" + short(t.Tolerance)
	}
	return fmt.Sprintf("%s, %s; %s", t.From.describe(), unit, limit)
}

// short writes a duration in words without its zeros.
func short(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func (s *Scheme) secretWords() string {
	public := s.Algorithm == Ed25519 || s.Algorithm == ECDSAP256
	switch {
	case s.Algorithm == Token && s.Encoding == Base64:
		return "`user:password`"
	case s.Algorithm == Token:
		return "the token"
	case public && s.Secret == HexSecret:
		return "public key, hex"
	case public:
		return "public key, base64"
	}
	switch s.Secret {
	case HexSecret:
		return "hex"
	case Base64Secret:
		return "base64"
	case StandardSecret:
		if len(s.Tags) > 1 {
			return "base64 with or without `whsec_`; `whpk_` for Ed25519"
		}
		return "base64 with or without `whsec_`"
	case SHA1Secret:
		return "text, of which the SHA-1 is the key"
	case StandardOrText:
		return "base64 with `whsec_`, text without"
	case TailSecret:
		return "base64 behind the last `_`"
	default:
		return "text"
	}
}

// handshakeWords tells methods, conditions and replies.
func (s *Scheme) handshakeWords() string {
	var all []string
	for i := range s.Handshakes {
		h := &s.Handshakes[i]
		text := h.method()
		for j := range h.When {
			text += " with " + h.When[j].Part.describe() + " = `" + h.When[j].Value + "`"
		}
		switch {
		case h.Delivers:
			text += ": takes the secret in " + h.Challenge.describe()
		case h.Reply != nil && h.ReplyHeader == "":
			text += ": answers " + strconv.Itoa(h.Reply.clone().Status)
		default:
			text += ": answers " + h.Challenge.describe()
		}
		if h.Token.kind != partNone {
			text += ", for the token in " + h.Token.describe()
		}
		if h.Signed {
			text += ", signed"
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
