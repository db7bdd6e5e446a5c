package store

import "time"

// Batch is what one durable commit does. Its items are decided in this order: documents, gates, settles, appends; and in
// the order of the slices. Each succeeds or fails by itself, and a bad item never fails its neighbours.
//
// The store keeps no reference to a batch after Commit returned, and does not write to its slices.
type Batch struct {
	Docs    []DocPut
	Gates   []Gate
	Settles []Settle
	Appends []Append

	// Lease asks for leases on the deliveries of Appends: granted only where Claim would have granted them at that moment.
	// Nil asks for none. A store may always grant none.
	Lease *ClaimRequest
}

// Append adds an event with its deliveries: both or neither.
type Append struct {
	// Event is the event to add. Its ID must not be zero. If the ID is known already, nothing is added and the result says
	// Repeated: that is how a publish of unknown outcome is made certain. An ID that an event of another tenant has may be
	// ErrConflict instead. Nil adds deliveries to an event that is there.
	Event *Event

	// To is the event that Deliveries belong to where Event is nil.
	To ID

	// Deliveries are numbered 0, 1, 2 ... with a new event; else each says its number in N.
	Deliveries []NewDelivery

	// Fingerprint is a hash of what the event says, compared when its idempotency key is known already: equal is a
	// duplicate, different a conflict.
	Fingerprint uint64

	// Window is how long the event's idempotency key stays taken. Zero means 24 hours.
	Window time.Duration

	// ExpireAfter, if positive, sets Event.Expires.
	ExpireAfter time.Duration
}

// NewDelivery is a delivery to be appended.
type NewDelivery struct {
	Destination Destination

	// Lane orders it; empty for no order.
	Lane string

	// After is how long to wait before the first attempt.
	After time.Duration

	// Class is Live or Replay.
	Class Class

	// N and Origin are for deliveries added to an event that is there: N must be FirstLater or more, and a number that is
	// taken already is skipped.
	N      uint64
	Origin DeliveryID
}

// Op is what becomes of a delivery.
type Op uint8

// The first five need the lease (ID and Gen of a claim), the others must come without one (Gen 0).
const (
	OpDone    Op = iota + 1 // finished: delivered, or nothing to do; counts if it has an Attempt
	OpRetry                 // failed: due again after After; counts
	OpDead                  // failed for good: a dead letter; counts
	OpRelease               // not tried: due again after After; counts nothing
	OpExtend                // still at it: the lease ends After from now; leaves Abandoned as it is

	OpCancel // not wanted any more; from Pending or Dead
	OpHurry  // try it now; from Pending or Dead
	OpExpire // waited too long: a dead letter; from Pending
)

var opNames = [...]string{"unknown", "done", "retry", "dead", "release", "extend", "cancel", "hurry", "expire"}

// String gives the operation's name.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return opNames[0]
}

// Settle is the outcome of a claimed delivery, or an operator's wish for an unclaimed one. A lease has one outcome: every
// settle after it (but for the same one again, which may get its first answer) is ErrLeaseLost.
type Settle struct {
	ID  DeliveryID
	Gen uint64
	Op  Op

	// Tenant, if not empty, must be the delivery's, else the result is ErrNotFound. Operator verbs always say it.
	Tenant string

	After time.Duration

	// Attempt, if not nil, is recorded in the same commit, also when the lease is lost (then as Late). A lease makes one
	// attempt: of a second one for the same lease a store may record nothing.
	Attempt *Attempt

	// Block, with OpDead and OpExpire, keeps the delivery's lane shut until somebody hurries or cancels it.
	Block bool

	// Reason says in a few words why, for people: "delivered", "filtered", "expired", "refused".
	Reason string
}

// DocPut writes or deletes a document if its version is still the one that the caller saw.
type DocPut struct {
	Doc Doc // Version, Updated and Expires are ignored

	// Expect is the version that must be current; 0 means that the document must not exist.
	Expect uint64

	// Delete removes it. Versions go on counting if it is made again.
	Delete bool

	// TTL, if positive, is how long the document lives.
	TTL time.Duration
}

// Receipt tells the fate of each item of a batch, in its order.
type Receipt struct {
	Docs    []DocResult
	Gates   []error
	Settles []error // nil, ErrLeaseLost, ErrNotFound, ErrConflict (the state does not allow it)
	Appends []AppendResult
}

// DocResult is the fate of a DocPut: its new version, or ErrConflict and the version that is current.
type DocResult struct {
	Version uint64
	Err     error
}

// AppendResult is the fate of an Append.
type AppendResult struct {
	// Err is nil, ErrDuplicate (the idempotency key is taken by an event of the same content: ID says which),
	// ErrConflict (taken by an event of other content), ErrFull, ErrNotFound (To), or a *LimitError.
	Err error

	// ID is the event's; with ErrDuplicate and ErrConflict, the one that was there first.
	ID ID

	// Repeated says that the very same ID was there already, and nothing was added.
	Repeated bool

	Seq        uint64
	Accepted   time.Time
	Deliveries int

	// Leased are the leases granted because Batch.Lease asked.
	Leased []Grant
}

// Grant is a lease on a delivery of the batch itself; whoever holds the batch holds the event.
type Grant struct {
	Index int // in Append.Deliveries
	Gen   uint64
}
