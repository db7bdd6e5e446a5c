package signing

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"time"
)

// Message is what a Signer signs: one attempt to send one event.
type Message struct {
	// ID names the event. It stays the same over all attempts, so that the receiver can drop repeats.
	ID string
	// Time is when this attempt is made. Zero means now.
	Time time.Time
	// Type is what happened, such as "invoice.paid", for schemes that name it in a header. Empty: the header is left out.
	Type string
	// Method and URL are those of the request, for schemes that sign them.
	Method, URL string
	// ContentType is the body's, for schemes that sign it, where h has no Content-Type yet.
	ContentType string
	// Body is signed byte for byte. It is neither changed nor kept.
	Body []byte
}

// A Signer makes the headers by which a receiver knows that a message is ours.
//
// A Signer must be safe for concurrent use, must not keep h, m.Body or secrets, and must leave h as it was when it
// returns an error.
type Signer interface {
	// Sign sets its headers in h, under canonical names, replacing what is there. It signs with every secret, so that a
	// receiver may hold any of them while a key is being rotated; with the first alone, which is the newest, where the
	// scheme has room for one signature.
	Sign(h http.Header, m Message, secrets []Secret) error
	// CheckSecret says what is wrong with a secret before it is stored: nil means that Sign will work with it.
	CheckSecret(s Secret) error
	// NewSecret makes a fresh random secret in the form that Sign wants; the zero Secret if Sign wants none, as Unsigned.
	NewSecret() Secret
}

// HeaderLister is what a Signer may also be: one that says which headers it sets, so that nobody tries to set them as well.
// All signers of this package are.
type HeaderLister interface {
	// Headers lists them under their canonical names.
	Headers() []string
}

// Request is an inbound request as it came in, its body read to the end.
type Request struct {
	// Method and URL are those of the request; URL is the public URL as the provider knows it, with its query.
	Method, URL string
	// Header must have canonical names, as net/http makes them.
	Header http.Header
	// Body holds the exact bytes that were sent. A verifier does not change or keep it.
	Body []byte
	// Time is when the request came in. Zero means now.
	Time time.Time
	// Remote is the sender's address, in front of all proxies that the receiver trusts; not valid where nobody knows it.
	Remote netip.Addr
	// TLS is the state of the connection that the request came in by; nil without TLS, and behind a proxy that ends it.
	TLS *tls.ConnectionState
	// Context bounds what a verifier has to fetch first, such as a provider's keys. Nil means context.Background.
	Context context.Context
}

func (r *Request) context() context.Context {
	if r.Context == nil {
		return context.Background()
	}
	return r.Context
}

// Verdict is what is known about a request whose sender is proven.
type Verdict struct {
	// Type and ID are the provider's name for what happened and for this event; OrderingKey says which events must stay
	// in order. Each is empty where the provider does not say. Where they come from headers, most providers do not sign
	// them: they are as trustworthy as the connection.
	Type, ID, OrderingKey string
	// Subject is who sent the request, where the method names somebody: the user of Basic, the subject of a token or of
	// a client's certificate. Empty for the others.
	Subject string
	// Key is the place of the secret that fit among those given, from 0; -1 where there is none.
	Key int
	// Covers says what the proof is worth.
	Covers Covers
}

// Covers says which part of a request is protected against changes.
type Covers uint8

const (
	// CoversNothing: the sender knows a token, or nothing was checked. Whoever can read one request can make others.
	CoversNothing Covers = iota
	// CoversMetadata: some fields are signed, the body as a whole is not.
	CoversMetadata
	// CoversBody: the whole body is signed.
	CoversBody
)

// String gives "nothing", "metadata" or "body".
func (c Covers) String() string {
	switch c {
	case CoversBody:
		return "body"
	case CoversMetadata:
		return "metadata"
	default:
		return "nothing"
	}
}

// A Verifier proves who sent a request. It must be safe for concurrent use, must never panic, whatever the request, and
// must not change or keep any part of it.
type Verifier interface {
	// Verify answers what is known about a request that is genuine, and an error that matches ErrRefused for every other.
	Verify(r *Request) (Verdict, error)
}

// Unverified takes every request from anybody. It proves nothing: use it only where something else keeps strangers out.
var Unverified Verifier = unverified{}

type unverified struct{}

func (unverified) Verify(*Request) (Verdict, error) { return Verdict{Key: -1}, nil }
