package store

import "time"

// Event is something that happened. It is never edited and keeps its ID for life.
type Event struct {
	// ID names the event. The committer fills it in commit order; a supplied one is kept.
	ID ID

	// Seq is the place in commit order, given by the store: 1, 2, 3 ... perhaps with gaps. Lanes are ordered by it.
	Seq uint64

	// Tenant is whose event this is. Every query names a tenant or says in so many words that it means all.
	Tenant string

	// Source is where an inbound event came from; empty when the application published it.
	Source string

	// Type is what happened, such as "invoice.paid".
	Type string

	// IdempotencyKey, if not empty, is unique per tenant and source for the window given with the append.
	IdempotencyKey string

	// OrderingKey, if not empty, is what the deliveries of this event are ordered by.
	OrderingKey string

	// ContentType is the media type of Payload, as it was given.
	ContentType string

	// Header holds further headers that travel with the event. Nil for none.
	Header map[string][]string

	// Labels are for finding the event again.
	Labels map[string]string

	// Payload is the body, byte for byte as it was given.
	Payload []byte

	// Accepted is when the event was committed, by the store's clock; the store sets it.
	Accepted time.Time

	// Expires is when undelivered deliveries of this event stop being worth it; zero for never. The store sets it from
	// Append.ExpireAfter.
	Expires time.Time

	// Deliveries is how many deliveries were appended with the event; the store sets it.
	Deliveries int

	// View is the version of the endpoints that the event was matched against. The store only keeps it.
	View uint64
}

// Destination is where a delivery ends. The store only compares it; the gateway writes "ep:" and an endpoint's ID, or "fn:"
// and a handler's name.
type Destination string

// State is where a delivery stands.
type State uint8

// The states; Leased is Pending with a lease on it.
const (
	Pending State = iota + 1
	Leased
	Done
	Dead
	Cancelled
)

var stateNames = [...]string{"unknown", "pending", "leased", "done", "dead", "cancelled"}

// String gives the word that logs, metrics and pages use.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[0]
}

// Open reports whether a delivery in this state may still be tried by itself.
func (s State) Open() bool { return s == Pending || s == Leased }

// Class says which share of the workers a delivery competes for: a retry never delays a first attempt, nor a replay live
// traffic.
type Class uint8

// The classes. A delivery is Live until its first counted attempt failed, then Retry; a replayed one is Replay for good.
const (
	Live Class = iota
	Retry
	Replay
	Classes // how many there are
)

var classNames = [...]string{"live", "retry", "replay"}

// String gives the word that logs, metrics and pages use.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Delivery is one event on its way to one destination: the one record that changes.
type Delivery struct {
	ID          DeliveryID
	Seq         uint64 // of its event
	Tenant      string // of its event, as are Source and Type
	Source      string
	Type        string
	Destination Destination

	// Lane, if not empty, orders this delivery among those of the same destination and lane, by Seq.
	Lane string

	State State
	Class Class

	// Due is when it may be tried next, while it is pending. While it is leased, it is when the lease ends.
	Due time.Time

	// Gen is the generation of the newest lease. Attempts counts the attempts that count against the retry policy;
	// Recorded is the number of the last recorded attempt; Abandoned counts leases in a row that ended without a word.
	Gen       uint64
	Attempts  int
	Recorded  int
	Abandoned int

	// Code, Error and Reason tell of the last settle: the HTTP status (0 for none), what went wrong, and why it ended.
	Code   int
	Error  string
	Reason string

	Created      time.Time // when it was appended
	FirstAttempt time.Time // when its first counted attempt ended; zero before
	Settled      time.Time // when it became done, dead or cancelled

	// Origin is the delivery that this one repeats, for a replay.
	Origin DeliveryID
}

// Attempt is one try of a delivery. It is never edited.
type Attempt struct {
	Delivery DeliveryID

	// No is the attempt's number. Numbers never repeat for a delivery and may have gaps. The store gives them.
	No int

	// Gen is the lease under which it was made.
	Gen uint64

	// Counted tells whether it used up one of the retry policy's attempts; the store sets it from the settle's Op.
	Counted bool

	// Late is set by the store when the report came after the lease was lost. Such an attempt is evidence only.
	Late bool

	// At is when the attempt began, by the store's clock; the store computes it from Took and Ago.
	At time.Time

	// Took is how long it lasted; Ago, on the way in, how long before the commit it ended.
	Took time.Duration
	Ago  time.Duration

	// Code is the HTTP status, 0 if there was none.
	Code int

	// Class names the kind of failure in a word, such as "timeout"; empty for a success.
	Class string

	// Error is what went wrong in a sentence; empty for a success. It never holds a secret.
	Error string

	// Response is the beginning of the answer's body.
	Response []byte
}

// Gate holds a destination, or narrows it, for one cause. A destination is held while any of its gates holds; of several
// in-flight limits the smallest counts. A cause is opened only by whoever owns it, so that resuming a paused endpoint does
// not also forget that its breaker is open.
type Gate struct {
	Destination Destination

	// Cause is who holds: "paused", "disabled", "breaker", "asked", "limit" ... The store only compares it.
	Cause string

	// Hold is how long from now on: 0 does not hold, negative holds until the gate is put again.
	Hold time.Duration

	// MaxInFlight, if positive, is how many leases the destination may have at a time.
	MaxInFlight int

	// Reason is for people.
	Reason string

	// Since and Until are set by the store; Until is zero for a hold without an end.
	Since time.Time
	Until time.Time
}

// Doc is a small versioned document: an endpoint, a sealed secret, a job. The store does not look inside.
type Doc struct {
	Kind  string // what it is; together with Group and ID its name
	Group string // the tenant, where there is one
	ID    string

	// Version grows with every put of this document; the first is 1. The store sets it.
	Version uint64

	Data    []byte
	Updated time.Time // by the store's clock; the store sets it
	Expires time.Time // zero for never; the store sets it from DocPut.TTL, and the document is gone then
}

// KindGate is the kind under which a store offers its gates for reading through Docs. Its Group is empty, its ID is the
// destination, a space and the cause, its Data is the gate as JSON. Such documents cannot be put.
const KindGate = "gate"
