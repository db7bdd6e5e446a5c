package hookgate

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Endpoint is a consumer's URL with its subscriptions, limits and state. The gateway keeps it in its store. It holds no
// secret in clear once it came from the gateway, so it may be printed.
type Endpoint struct {
	// ID is made by CreateEndpoint if it is empty: letters, digits, "-" and "_", at most 64.
	ID string

	// Tenant owns the endpoint; only events of the same tenant reach it.
	Tenant string

	// URL is where to POST; http or https, 2,048 bytes at the most. Names are resolved and addresses judged at each
	// connection. It is stored and shown as it is: a secret belongs in Header.
	URL string

	// Description is for people.
	Description string

	// Header is added to each request. Hop-by-hop headers, Host, Content-Length and signature headers are refused. The
	// values are sealed like secrets and come back as REDACTED; UpdateEndpoint keeps the stored value of a header whose
	// value is REDACTED.
	Header map[string]string

	// Auth is how requests prove that they may come in, beside their signature: Basic, a bearer token, an API key, AWS
	// Signature Version 4, or a kind of your own. Nil adds nothing.
	Auth *Auth

	// TLS has the client certificate and the authorities of this endpoint, if it has its own. Nil: no client certificate,
	// the system's authorities.
	TLS *ClientTLS

	// Subscriptions say which events come here. None means none.
	Subscriptions []Subscription

	// Signer and Transformer name parts registered with RegisterSigner and RegisterTransformer, or a signer that
	// signing.Signers lists; empty means the gateway's. With "none" requests are not signed and there is no secret.
	Signer      string
	Transformer string

	// MaxInFlight is how many requests may be on their way at a time; 0: Config.PerDestination.
	MaxInFlight int

	// Timeout is for one attempt; 0: Config.Timeout.
	Timeout time.Duration

	// Labels are for people and for lists.
	Labels map[string]string

	// Version is what UpdateEndpoint compares: it grows with every change of the endpoint, a rotation of its secret
	// included. Pausing does not change it.
	Version uint64

	// What follows is set by the gateway and ignored on the way in.

	Created  time.Time
	Updated  time.Time
	Paused   bool
	Disabled bool

	// Holds are the causes for which it gets nothing now. CreateEndpoint and UpdateEndpoint leave them out.
	Holds []Hold
}

// Hold is a cause for which a destination gets nothing at the moment.
type Hold struct {
	Cause  string
	Reason string
	Since  time.Time
	Until  time.Time // zero: no end is known
}

// Subscription is the standing rule that sends some events to a destination.
type Subscription struct {
	// Source is where the event must come from: a source's name, "" for events that the application published, "*" for
	// both.
	Source string

	// Types are the event types that match: "invoice.paid" exactly, "invoice.*" all that begin with "invoice.", "*" all.
	// The star stands at the end. None means all.
	Types []string

	// Transformer names one registered with RegisterTransformer for this subscription; empty means the endpoint's.
	Transformer string

	// Unordered ignores ordering keys here: events are delivered side by side.
	Unordered bool

	// Block keeps a lane shut after one of its events became a dead letter, until somebody redelivers or cancels it.
	// Otherwise the lane goes on with the next event.
	Block bool
}

// Request is one attempt as a Dispatcher gets it, signed and ready.
type Request struct {
	Delivery DeliveryID
	Attempt  int // counted attempts before this one, plus one
	Endpoint *Endpoint
	Event    *Event

	Method  string
	URL     string
	Header  http.Header
	Body    []byte
	Timeout time.Duration

	// Time is when the attempt is made, as it is signed. Zero: now.
	Time time.Time

	// TLS is what Endpoint.TLS asks of the connection: client certificates, authorities, and a cache for sessions of its own.
	// Nil: nothing. It is shared: clone it to add to it. A connection that was made with it, or a TLS session, may not serve
	// requests with another one or none.
	TLS *tls.Config
}

// Response is what came back.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // the beginning
}
