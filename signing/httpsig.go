package signing

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HTTPMessageOptions says what HTTP Message Signatures (RFC 9421) cover and how they are named. The zero value is a good
// choice for webhooks.
type HTTPMessageOptions struct {
	// Components are what is signed, in this order: headers in lower case, and "@method", "@target-uri", "@authority",
	// "@scheme", "@request-target", "@path" and "@query". Parameters such as ";sf" are not known.
	//
	// Nil signs "@method", "@target-uri", "content-digest", "content-type" if the message has one, and "webhook-id". A
	// verifier demands at least these, without "content-type".
	Components []string
	// Label is the name of the first signature; those of further secrets have "-2", "-3" and so on after it. Empty: "sig".
	// Verifiers take every label.
	Label string
	// KeyID is the parameter "keyid" of all signatures. Empty: for Ed25519 the RFC 7638 thumbprint of the public key, which
	// is its "kid" in JWKS, and for HMAC a hash that says nothing about the key. Verifiers that have a KeyID take no other.
	KeyID string
	// OmitAlgorithm leaves the parameter "alg" out, for receivers that know it by the key.
	OmitAlgorithm bool
	// Tolerance is how far the parameter "created" may be from the clock of a verifier, either way. 0: five minutes.
	Tolerance time.Duration
}

// The names of the algorithms in RFC 9421.
const (
	messageHS256   = "hmac-sha256"
	messageEd25519 = "ed25519"
)

var defaultComponents = []string{"@method", "@target-uri", "content-digest", "content-type", "webhook-id"}

// unsignable are the headers that net/http, a proxy or a Dispatcher sets as it needs.
var unsignable = []string{
	"host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect",
	"http2-settings", "proxy-authorization", "proxy-authenticate",
}

// HTTPMessageSignatures signs as RFC 9421 has it. It sets Signature-Input and Signature, and, if they are covered,
// Content-Digest (RFC 9530, SHA-256), Webhook-Id with Message.ID, and Content-Type with Message.ContentType where there is
// none yet. Each secret makes a signature with a label of its own.
//
// Secrets are those of StandardWebhooks: "whsec_" and base64 for hmac-sha256, "whsk_" and base64 for ed25519.
func HTTPMessageSignatures(o HTTPMessageOptions) (Signer, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	return &messageSigner{o}, nil
}

// check looks for mistakes and fills in the label.
func (o HTTPMessageOptions) check() (HTTPMessageOptions, error) {
	bad := func(field, format string, args ...any) (HTTPMessageOptions, error) {
		return o, fmt.Errorf("signing: HTTPMessageOptions.%s: %s", field, fmt.Sprintf(format, args...))
	}
	if o.Components != nil && len(o.Components) == 0 || len(o.Components) > maxEntries {
		return bad("Components", "name 1 to %d; nil means those that webhooks need", maxEntries)
	}
	o.Components = slices.Clone(o.Components)
	for i, name := range o.Components {
		switch {
		case slices.Contains(o.Components[:i], name):
			return bad("Components", "%q comes twice", name)
		case strings.HasPrefix(name, "@") && !slices.Contains(derived, name):
			return bad("Components", "%q is not among %s", name, strings.Join(derived, ", "))
		case !strings.HasPrefix(name, "@") && !isComponent(name):
			return bad("Components", "%q is not the name of a header in lower case", name)
		case slices.Contains(unsignable, name):
			return bad("Components", "%q belongs to the connection and may change on the way; cover \"@authority\" for the host", name)
		case name == "signature" || name == "signature-input":
			return bad("Components", "%q cannot sign itself", name)
		}
	}
	if o.Label == "" {
		o.Label = "sig"
	}
	if !isLabel(o.Label) || len(o.Label) > 64 {
		return bad("Label", "must begin with a letter of a to z and hold these, digits and _ - . *, at most 64")
	}
	for i := range len(o.KeyID) {
		if c := o.KeyID[i]; c < ' ' || c >= 0x7f || i >= 256 {
			return bad("KeyID", "must be printable ASCII, at most 256 bytes")
		}
	}
	if o.Tolerance < 0 {
		return bad("Tolerance", "must not be negative; 0 means five minutes")
	}
	if o.Tolerance == 0 {
		o.Tolerance = 5 * time.Minute
	}
	return o, nil
}

func isComponent(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= 128
}

func isLabel(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', c == '*':
		case i > 0 && ('0' <= c && c <= '9' || strings.IndexByte("_-.", c) >= 0):
		default:
			return false
		}
	}
	return name != ""
}

type messageSigner struct{ o HTTPMessageOptions }

// covers reports whether a component is signed, or may be.
func (s *messageSigner) covers(name string) bool {
	if s.o.Components == nil {
		return slices.Contains(defaultComponents, name)
	}
	return slices.Contains(s.o.Components, name)
}

// Headers lists the headers that Sign sets. Content-Type is not among them: whoever sets it is welcome.
func (s *messageSigner) Headers() []string {
	names := []string{"Signature", "Signature-Input"}
	if s.covers("webhook-id") {
		names = append(names, "Webhook-Id")
	}
	if s.covers("content-digest") {
		names = append([]string{"Content-Digest"}, names...)
	}
	return names
}

// CheckSecret says whether Sign can use a secret.
func (s *messageSigner) CheckSecret(secret Secret) error { return StandardWebhooks.CheckSecret(secret) }

// NewSecret makes one for hmac-sha256; NewEd25519Secret makes one for ed25519.
func (s *messageSigner) NewSecret() Secret { return StandardWebhooks.NewSecret() }

// Sign sets the headers.
func (s *messageSigner) Sign(h http.Header, m Message, secrets []Secret) error {
	at, err := checkSigning(m, secrets)
	if err != nil {
		return err
	}
	// Nothing is set in h before everything is known to work.
	own := make(map[string][]string, 5)
	if s.covers("webhook-id") {
		if err := checkID(m.ID); err != nil {
			return err
		}
		own["Webhook-Id"] = []string{m.ID}
	}
	if s.covers("content-digest") {
		own["Content-Digest"] = []string{string(contentDigest(m.Body))}
	}
	if len(h["Content-Type"]) == 0 && m.ContentType != "" && s.covers("content-type") {
		own["Content-Type"] = []string{m.ContentType}
	}
	components := s.o.Components
	if components == nil {
		components = defaultComponents
		if len(h["Content-Type"]) == 0 && own["Content-Type"] == nil {
			components = slices.DeleteFunc(slices.Clone(components), func(name string) bool { return name == "content-type" })
		}
	}
	r := &Request{Method: m.Method, URL: m.URL, Header: h, Body: m.Body}
	base, err := signatureBase(r, own, components)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	var inputs, signatures []byte
	for i, secret := range secrets {
		k := secret.signer()
		if k.err != nil {
			return fmt.Errorf("signing: secret %d of %d %w", i+1, len(secrets), k.err)
		}
		label := s.o.Label
		if i > 0 {
			label += "-" + strconv.Itoa(i+1)
			inputs, signatures = append(inputs, ", "...), append(signatures, ", "...)
		}
		params, err := s.params(components, at, k)
		if err != nil {
			return err
		}
		signature, err := signBase(k, append(base[:len(base):len(base)], params...))
		if err != nil {
			return err
		}
		inputs = append(append(append(inputs, label...), '='), params...)
		signatures = append(append(signatures, label...), "=:"...)
		signatures = append(base64.StdEncoding.AppendEncode(signatures, signature), ':')
	}
	own["Signature-Input"], own["Signature"] = []string{string(inputs)}, []string{string(signatures)}
	for name, values := range own {
		h[name] = values
	}
	return nil
}

// params are the components and the parameters of one signature, as an inner list of RFC 8941.
func (s *messageSigner) params(components []string, at time.Time, k *signingKey) ([]byte, error) {
	id := s.o.KeyID
	if id == "" {
		var err error
		if id, err = k.id(); err != nil {
			return nil, err
		}
	}
	out := appendComponents(nil, components)
	out = append(out, ";created="...)
	out = strconv.AppendInt(out, at.Unix(), 10)
	out = append(out, `;keyid="`...)
	for i := range len(id) {
		if id[i] == '"' || id[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, id[i])
	}
	out = append(out, '"')
	if s.o.OmitAlgorithm {
		return out, nil
	}
	name := messageHS256
	if k.private != nil {
		name = messageEd25519
	}
	return append(append(append(out, `;alg="`...), name...), '"'), nil
}

// appendComponents writes the list. Names have nothing in them that would have to be escaped.
func appendComponents(out []byte, components []string) []byte {
	out = append(out, '(')
	for i, name := range components {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(append(append(out, '"'), name...), '"')
	}
	return append(out, ')')
}

// id names a key without giving it away: the thumbprint of a public key, or 12 bytes of an HMAC.
func (k *signingKey) id() (string, error) {
	if k.private != nil {
		return keyThumbprint(k.private[ed25519.SeedSize:]), nil
	}
	sum, err := k.mac.sum([]byte("the name of this key"))
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

// signBase signs a whole signature base.
func signBase(k *signingKey, base []byte) ([]byte, error) {
	if k.private != nil {
		return ed25519.Sign(k.private, base), nil
	}
	return k.mac.sum(base)
}

// sum gives the HMAC of a message in one piece.
func (m *macKey) sum(message []byte) ([]byte, error) {
	h := m.kind.get()
	defer m.kind.put(h)
	if !m.begin(h) {
		return nil, errors.New("signing: the hash function of this build cannot restore its state")
	}
	_, _ = h.Write(message)
	sum := m.end(h)
	if len(sum) == 0 {
		return nil, errors.New("signing: the hash function of this build cannot restore its state")
	}
	return slices.Clone(sum), nil
}
