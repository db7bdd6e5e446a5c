package signing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Scheme is how one provider signs, as a row of data: NewVerifier makes a Verifier of it. Preset gives the rows that
// come with the package, to use or to change. A Scheme is only read, and its slices are kept: leave them alone once a
// verifier was made of it.
type Scheme struct {
	// Name stands in errors, such as "stripe". Required.
	Name string

	// Signature is where the signature is: Header, JSON, Form or Query. Required.
	Signature Part
	// AnyValue takes a signature header that comes more than once and tries every value. Otherwise it is refused: who
	// sends two headers hopes that two readers pick different ones.
	AnyValue bool
	// Second is another Header where a signature may be, made with the other key during a rotation. Either is enough.
	Second Part
	// Format is how that text is built. The zero value is Plain.
	Format Format
	// Prefix must stand before the signature, such as "sha256="; with PrefixOptional it may. Plain and Group only.
	Prefix         string
	PrefixOptional bool
	// Separator stands between the entries of a list. Empty: "," for Pairs, Group and Positional, " " for Tagged.
	Separator string
	// Sets takes several lists with a space between them, one for each key: "t=1,v1=xxx t=1,v1=yyy". What is no signature
	// must be the same in each. Pairs only.
	Sets bool
	// Tags names the entries that are signatures, in Pairs and Tagged. Others are left alone.
	Tags []Tag

	// Algorithm is how the signature is made. Required, unless every tag says its own.
	Algorithm Algorithm
	// Encoding is how its bytes are written. Required; Raw for tokens only.
	Encoding Encoding

	// Secret is how the text of a secret becomes a key. Required.
	Secret SecretKind
	// MinSecret is how short a key may be, in bytes. 0: 8 for texts, 16 for decoded keys, 24 for those of Standard Webhooks.
	MinSecret int

	// Message is what is signed, in order. Required, unless Algorithm is Token.
	Message []Part
	// Time is the rule for the timestamp. The zero value: there is none.
	Time TimeRule
	// Require lists what else must hold.
	Require []Match

	// Type, ID and OrderingKey say where the verdict takes these from. Zero: the provider does not say.
	Type, ID, OrderingKey Part

	// Handshakes are the requests with which the provider checks the URL.
	Handshakes []Handshake
	// Answer is what the provider wants to read in answer to an event. Nil: nothing but the status 200.
	Answer *Reply

	noEmptyBody bool // an empty body is refused, signed or not

	// Otherwise is tried where the Signature of this scheme is absent: the same provider under other header names.
	Otherwise *Scheme
}

// Format is how the text with the signature is built.
type Format uint8

const (
	// Plain: the text is the signature, after a prefix if there is one.
	Plain Format = iota
	// Pairs: "t=1,v1=xxx,v1=yyy". An entry that is not a pair makes the whole malformed.
	Pairs
	// Tagged: "v1,xxx v1a,yyy". An entry without a tag is left alone.
	Tagged
	// Group: a prefix, then "xxx,yyy".
	Group
	// Numbered: one signature per header, the headers named and so on; Signature gives X.
	Numbered
	// Positional: "1,xxx,yyy": the first entry is the timestamp, the others are signatures.
	Positional
)

// Tag names the entries of a list that are signatures. A zero Algorithm is that of the scheme.
type Tag struct {
	Name      string
	Algorithm Algorithm
}

// Algorithm is how a signature is made.
type Algorithm uint8

// The algorithms. SHA256 is the bare hash of a message that holds the SecretText, as old schemes have it. Ed25519 and
// ECDSAP256 (SHA-256, ASN.1) check with a public key. Token is no signature: the sender shows the secret itself.
const (
	HMACSHA256 Algorithm = iota + 1
	HMACSHA1
	HMACSHA512
	SHA256
	Ed25519
	ECDSAP256
	Token
	lastAlgorithm = Token
)

// Encoding is how the bytes of a signature are written. Each is read strictly: no white space, no missing padding, no
// stray bits.
type Encoding uint8

// The encodings. Base64URL has no padding; Raw is the text itself.
const (
	Hex Encoding = iota + 1
	Base64
	Base64URL
	Raw
)

// SecretKind is how the text of a secret becomes a key.
type SecretKind uint8

const (
	// TextSecret: the text as it stands, prefix included.
	TextSecret SecretKind = iota + 1
	// HexSecret and Base64Secret: the decoded bytes. Public keys are given so, an ECDSA one as SubjectPublicKeyInfo.
	HexSecret
	Base64Secret
	// StandardSecret: as Standard Webhooks has it. "whsec_" and base64, or base64 alone, is a key for HMACSHA256;
	// "whpk_" and base64 is a public key for Ed25519.
	StandardSecret
	// SHA1Secret: the SHA-1 of the text.
	SHA1Secret
	// StandardOrText: "whsec_" and base64, or else the text as it stands, as OpenAI has it.
	StandardOrText
	// TailSecret: what stands behind the last "_" is base64, as Replicate has it.
	TailSecret
	lastSecretKind = TailSecret
)

// TimeRule says where the timestamp is and how far it may be from the clock. Both ends of the window are inside it.
type TimeRule struct {
	// From is where the timestamp is; it is then required and must be readable. Zero: there is none.
	From Part
	// Unit is how it is written. The zero value is Seconds.
	Unit TimeUnit
	// Tolerance is how far it may be from the clock. 0: it is not compared, because the provider does not.
	Tolerance time.Duration
	// AgeOnly accepts every timestamp that lies ahead, as some providers do.
	AgeOnly bool
}

// TimeUnit is how a timestamp is written.
type TimeUnit uint8

// The units: Unix time in seconds or milliseconds, digits only; or RFC 3339.
const (
	Seconds TimeUnit = iota
	Milliseconds
	RFC3339
)

// Match holds for a request in which Part has exactly this Value.
type Match struct {
	Part  Part
	Value string
}

// Limits on what is read of a request.
const (
	maxSignatures = 16      // candidates in one request
	maxEntries    = 32      // entries of a list, signatures or not
	maxHeader     = 8 << 10 // bytes of a header or signature text
	maxSecrets    = 16
	maxParts      = 12
)

// rowError is a mistake in a row; it names the field.
func rowError(field, format string, args ...any) error {
	return fmt.Errorf("%s.%s: %s", "Scheme", field, fmt.Sprintf(format, args...))
}

// check looks for mistakes in a row and fills in its defaults.
func (s *Scheme) check() error {
	switch s.Signature.kind {
	case partHeader, partJSON, partForm, partQuery:
	default:
		return rowError("Signature", "say where the signature is: Header, JSON, Form or Query")
	}
	if (s.AnyValue || s.Format == Numbered) && s.Signature.kind != partHeader {
		return rowError("Signature", "must be a Header with AnyValue or Numbered")
	}
	if s.Second.kind != partNone && (s.Second.kind != partHeader || s.AnyValue || s.Format == Numbered) {
		return rowError("Second", "must be a Header, and goes neither with AnyValue nor with Numbered")
	}
	if s.Sets && s.Format != Pairs {
		return rowError("Sets", "goes with Pairs only")
	}
	if s.Format > Positional {
		return rowError("Format", "is not one of the formats")
	}
	if s.Separator == "" {
		s.Separator = ","
		if s.Format == Tagged {
			s.Separator = " "
		}
	}
	s.Tags = slices.Clone(s.Tags)
	switch s.Format {
	case Pairs, Tagged:
		if len(s.Tags) == 0 {
			return rowError("Tags", "say which entries are signatures")
		}
		for i := range s.Tags {
			if s.Tags[i].Algorithm == 0 {
				s.Tags[i].Algorithm = s.Algorithm
			}
		}
		if s.Prefix != "" {
			return rowError("Prefix", "goes with Plain and Group only")
		}
	default:
		if len(s.Tags) > 0 {
			return rowError("Tags", "go with Pairs and Tagged only")
		}
		s.Tags = []Tag{{Algorithm: s.Algorithm}}
	}
	for _, t := range s.Tags {
		switch {
		case t.Algorithm == 0 || t.Algorithm > lastAlgorithm:
			return rowError("Algorithm", "say how signatures are made")
		case t.Algorithm == Token && len(s.Message) > 0:
			return rowError("Message", "a Token signs nothing")
		case t.Algorithm != Token && len(s.Message) == 0:
			return rowError("Message", "say what is signed")
		case t.Algorithm == SHA256 && !slices.ContainsFunc(s.Message, func(p Part) bool { return p.kind == partSecret }):
			return rowError("Message", "must hold SecretText: anybody can make a bare hash")
		case t.Algorithm != Token && s.Encoding == Raw:
			return rowError("Encoding", "Raw goes with Token only")
		}
	}
	if s.Encoding == 0 || s.Encoding > Raw {
		return rowError("Encoding", "say how signatures are written")
	}
	if s.Secret == 0 || s.Secret > lastSecretKind {
		return rowError("Secret", "say how a secret becomes a key")
	}
	if len(s.Message) > maxParts {
		return rowError("Message", "has %d parts, %d is the most", len(s.Message), maxParts)
	}
	for i := range s.Message {
		switch s.Message[i].kind {
		case partNone:
			return rowError("Message", "part %d is empty", i)
		case partTimestamp:
			if s.Time.From.kind == partNone {
				return rowError("Time.From", "say where the timestamp is: Message wants it")
			}
		}
	}
	if s.Time.Unit > RFC3339 {
		return rowError("Time.Unit", "is not one of the units")
	}
	if s.Time.Tolerance < 0 {
		return rowError("Time.Tolerance", "must not be negative")
	}
	if s.Time.Tolerance > 0 && s.Time.From.kind == partNone {
		return rowError("Time.From", "say where the timestamp is: Time.Tolerance wants it")
	}
	if s.MinSecret < 0 {
		return rowError("MinSecret", "must not be negative")
	}
	if err := s.checkTexts(); err != nil {
		return err
	}
	if err := s.checkAnswer(); err != nil {
		return err
	}
	return s.checkHandshakes()
}

// checkTexts looks at the parts that must be short texts: the body and the secret are none, and lists have no lists.
func (s *Scheme) checkTexts() error {
	var err error
	text := func(field string, p *Part) {
		p.each(func(p *Part) {
			switch {
			case p.kind == partBody || p.kind == partSecret:
				err = errors.Join(err, rowError(field, "Body and SecretText stand in Message only, by themselves"))
			case p.kind == partEntry && s.Format != Pairs && s.Format != Tagged && s.Format != Positional:
				err = errors.Join(err, rowError(field, "Entry wants a Format that is a list"))
			case p.kind == partJSON && len(p.path) == 0:
				err = errors.Join(err, rowError(field, "JSON wants a path"))
			}
		})
	}
	for i := range s.Message {
		if k := s.Message[i].kind; k != partBody && k != partSecret {
			text("Message", &s.Message[i])
		}
	}
	s.Time.From.each(func(p *Part) {
		if p.kind == partTimestamp {
			err = errors.Join(err, rowError("Time.From", "Timestamp would be found in itself"))
		}
	})
	text("Time.From", &s.Time.From)
	for i := range s.Require {
		text("Require", &s.Require[i].Part)
	}
	text("Type", &s.Type)
	text("ID", &s.ID)
	text("OrderingKey", &s.OrderingKey)
	for i := range s.Handshakes {
		s.Handshakes[i].eachText(text)
	}
	return err
}

// covers follows from what is signed: a row cannot claim more.
func (s *Scheme) covers() Covers {
	switch {
	case len(s.Message) == 0:
		return CoversNothing
	case slices.ContainsFunc(s.Message, func(p Part) bool { return p.kind == partBody }):
		return CoversBody
	default:
		return CoversMetadata
	}
}

// numbered lists the names of Numbered headers.
func (s *Scheme) numbered() []Part {
	if s.Format != Numbered {
		return nil
	}
	parts := make([]Part, maxSignatures)
	for i := range parts {
		parts[i] = Header(s.Signature.name + "-" + strconv.Itoa(i+1))
	}
	return parts
}
