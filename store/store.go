package store

import "context"

// Store keeps events, deliveries, attempts, gates and documents.
//
// Every method is safe for concurrent use. The store's own clock is the only clock: only durations come in. What a method
// returns belongs to the caller; the store keeps no reference to it, nor to what it was given.
//
// A store that reports ErrFailed from a write does so for every later write until it is opened again; reads go on
// answering from what was applied last.
type Store interface {
	// Commit makes one durable commit of the batch. A nil error means that every item without an error of its own is on
	// disk. An error means that none is known to be: ErrFull and ErrClosed mean that none is, ErrUnknownOutcome and
	// ErrFailed that it cannot be told.
	//
	// Committing the same batch again changes nothing: appends report Repeated, settles are refused or repeat their
	// answer, documents conflict.
	//
	// Cancelling ctx may end the wait, then with ErrUnknownOutcome; it never undoes part of a batch.
	Commit(ctx context.Context, b *Batch) (*Receipt, error)

	// Claim hands out deliveries that are due, not leased, whose destination is not held and is accepted, and hides them
	// from other claimers until their lease ends. In a lane only the head is handed out: the undecided delivery with the
	// smallest Seq. It goes round the tenants, then round a tenant's destinations, so that no backlog starves another, and
	// costs nothing for destinations that are held.
	//
	// When nothing is due the result is empty, not an error. A lease that ends without a settle makes the delivery due
	// again and counts as abandoned; the fifth in a row makes it a dead letter with the reason "poison", at the latest when
	// it would be handed out once more. What was leased at each of the last two crashes may be handed out one at a time, so
	// that whatever kills the process is found out and its neighbours are not blamed.
	Claim(ctx context.Context, r ClaimRequest) (*ClaimResult, error)

	// Prune forgets what the request allows, a bounded piece per call, without stalling commits.
	Prune(ctx context.Context, r PruneRequest) (PruneResult, error)

	// Events, Deliveries and Docs answer a page of what was committed when the call began, and stop at the limit or at
	// the scan budget, whichever comes first. Reading never blocks writing.
	Events(ctx context.Context, q EventQuery) (Page[Event], error)
	Deliveries(ctx context.Context, q DeliveryQuery) (Page[Delivery], error)
	Docs(ctx context.Context, q DocQuery) (Page[Doc], error)

	// Attempts answers the attempts of a delivery in the order of their numbers; ErrNotFound if there is no such
	// delivery for that tenant (or AllTenants).
	Attempts(ctx context.Context, tenant string, id DeliveryID) ([]Attempt, error)

	// Stats answers from memory.
	Stats(ctx context.Context) (Stats, error)

	// Close ends the store's goroutines and gives its files back. Every other call then answers ErrClosed; a second Close
	// does nothing.
	Close() error
}

// Tx is a transaction of the caller's that a store can join. Each store package makes it from what its users hold.
type Tx any

// TxStore is a Store that can make a batch part of the caller's own transaction: the events exist if and only if that
// transaction commits.
type TxStore interface {
	Store

	// CommitTx adds the batch to tx. The receipt holds what is true if tx commits. No leases are granted. A Tx of another
	// store is ErrForeignTx.
	CommitTx(ctx context.Context, tx Tx, b *Batch) (*Receipt, error)
}

// Notifier is a Store that can tell of work and documents that another process committed, sooner than polling would. It
// never changes meaning: a store without it is polled.
type Notifier interface {
	// Notify calls wake, from any goroutine and perhaps for nothing, until stop is called.
	Notify(wake func()) (stop func())
}
