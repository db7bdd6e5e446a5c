// Package store says what hookgate keeps and what a place that keeps it has to promise.
//
// Most people need nothing of it: [github.com/hookgate/hookgate.Open] makes the default store, a folder with a journal
// and a bbolt file. Read on if you want to write a store of your own, or want to know what the words mean.
//
// # The narrow waist
//
// Everything above [Store] is policy: when to try, how often, to whom, signed how. Everything below it is keeping records.
// There are nine methods. One of them, Commit, is every write there is; it takes state transitions (append, settle,
// hold, put a document) and never "update this row", because whoever updates rows loses retries sooner or later.
//
// # The life of a delivery
//
//	          Append                    Claim                    OpDone
//	(event) ─────────▶ Pending ───────────────────▶ Leased ─────────────────▶ Done
//	                    ▲   ▲                        │ │ │
//	                    │   └─── OpRetry, OpRelease ─┘ │ └─ OpDead, 5 lost leases ─▶ Dead
//	                    │        lease ran out ────────┘                              │
//	                    └──────────────────────── OpHurry (redeliver) ───────────────┘
//
//	OpCancel takes a delivery from Pending or Dead to Cancelled, where it stays. OpExpire takes one that waits (held, say)
//	from Pending to Dead.
//
// Leased is not a state that has to be stored: a store that belongs to one process may keep its leases in memory, because
// a new process cannot meet an old lease. What has to be stored is everything else.
//
// # Writing a store
//
// Implement the nine methods, then run the definition:
//
//	func TestConformance(t *testing.T) { storetest.Run(t, func(t *testing.T) storetest.Harness { ... }) }
//
// If your engine is an ordered key-value map that one process owns, package kvstore needs three methods of you instead
// of nine. The rules are written at each method and each field; storetest has a test for every one of them.
package store
