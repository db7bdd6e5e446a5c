package store

import "time"

// ClaimRequest asks for due work.
type ClaimRequest struct {
	// Worker names who claims. Leases of one worker count together.
	Worker string

	// Accept lists the destinations that this process can serve: exact names, or prefixes that end in "*". Nil accepts all.
	Accept []Destination

	// Max is how many leases at the most in all; PerClass, where positive, how many of a class, and PerDestination, if
	// positive, how many the worker may hold on one destination. All but Max count the leases that the worker already holds.
	Max            int
	PerClass       [Classes]int
	PerDestination int

	// Lease is how long the leases last. It must be positive.
	Lease time.Duration
}

// ClaimResult is what Claim hands out.
type ClaimResult struct {
	Leases []Lease

	// More says that more was due, so that claiming again at once makes sense.
	More bool

	// Next is how long until the next known delivery falls due or the next hold ends; negative if nothing is known.
	Next time.Duration
}

// Lease is a time-limited right to try a delivery.
type Lease struct {
	Gen      uint64
	Delivery Delivery
	Event    Event
}

// Page is a part of an answer.
type Page[T any] struct {
	Items []T

	// Next is the cursor of the page that follows; empty at the end. A page may have no items and still a Next: the scan
	// budget was used up before anything matched.
	Next string

	// Scanned is how many records were looked at.
	Scanned int
}

// AllTenants is the value of a Tenant field in a query that means every tenant. An empty one means the events that have
// no tenant; nothing is ever "no filter" by being left out.
const AllTenants = "*"

// EventQuery asks for events, newest first. Zero fields do not filter, except Tenant.
type EventQuery struct {
	Tenant string // exact, or AllTenants
	IDs    []ID   // answered from an index
	Source *string
	Type   string // exact, or a prefix that ends in "*"
	Labels map[string]string

	From, To time.Time // accepted in [From, To)
	Oldest   bool      // oldest first

	// NoPayload leaves Payload out, for lists.
	NoPayload bool

	Page Paging
}

// DeliveryQuery asks for deliveries, newest first. Zero fields do not filter, except Tenant.
type DeliveryQuery struct {
	Tenant      string // exact, or AllTenants
	IDs         []DeliveryID
	Event       ID
	Destination Destination
	States      []State
	Source      *string
	Type        string
	From, To    time.Time // its event accepted in [From, To)
	Oldest      bool
	Page        Paging
}

// DocQuery asks for documents, by Group and ID in order.
type DocQuery struct {
	Kind   string
	Tenant string // the Group: exact, or AllTenants
	IDs    []string
	Page   Paging
}

// Paging bounds an answer.
type Paging struct {
	Cursor string
	Limit  int // 0: 100; at most 1,000
	Budget int // records to look at, at the most; 0: 10,000
}

// Stats are figures that cost nothing to ask for.
type Stats struct {
	// Events that are kept; deliveries by state. Pending includes those that wait for a retry.
	Events    int64
	Pending   int64
	Leased    int64
	Dead      int64
	Exact     bool          // false: estimates
	OldestDue time.Duration // how long the oldest due delivery has waited; 0 for none
	Bytes     int64         // on disk; 0 if the store cannot tell
	Full      bool          // appends are refused for want of space
	Failed    error         // why the store refuses every write; nil if it is well
}

// PruneRequest says what may be forgotten. A zero duration keeps for good.
type PruneRequest struct {
	// Done is how long events whose deliveries are all done or cancelled are kept, counted from acceptance; Dead the same
	// for events with dead letters. Events with open deliveries are never forgotten.
	Done time.Duration
	Dead time.Duration

	// Limit bounds the work of one call, in events; 0: 10,000.
	Limit int
}

// PruneResult is what was forgotten.
type PruneResult struct {
	Events int
	Bytes  int64 // given back to the disk
	More   bool  // call again
}
