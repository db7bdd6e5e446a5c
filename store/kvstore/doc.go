// Package kvstore makes a whole store out of an ordered key-value engine that one process owns.
//
// A stranger brings a [KV] of three methods and gets a [store.Store]; the bolt and memory stores are made this way. What
// lives here is everything that such a store needs in memory, written once: the due index, lanes, leases, gates, and the
// decisions that are on disk but not yet in the engine.
//
// # How it works
//
//	Commit ── decide ──▶ frame ── Log.Append (durable) ──▶ apply to memory ──▶ answer
//	                                                            │
//	                                  every 100 ms: flush ──────▶ KV.Update
//
// A batch is decided against memory and the engine, item by item: is this a duplicate, is that version current, is this
// lease alive. What was decided, with times, versions and numbers filled in, is encoded as one frame and appended to a
// [Log], and that is the durable point. Then the frame is applied: a pure function from a frame to changes of rows, the
// same at run time and in recovery, which never refuses anything because everything was decided before. The changed
// rows wait in memory and go to the engine together, off the path of whoever publishes.
//
// # Rows
//
// An event has no row of its own. A frame has one (f: where its events are, to which queues they go) and, while something
// of it is open, another (o: a bit per delivery). That a delivery waits for its first attempt is said by its bit alone.
// Only a delivery with a story of its own (retried, dead, scheduled, replayed, cancelled) has a row (v), and, while it
// waits, an entry in the due index (r). The attempts of a frame's deliveries are packed into few rows (a).
//
// A queue is a tenant and a destination; it has a number, and a window of the deliveries that are next. Beyond the
// window there are only a cursor and a count; when it runs dry, one pass over the open frames fills the windows of all
// that thirst.
//
// # Leases
//
// One process owns the engine, so leases live in memory: a new process cannot meet an old one. They are noted in the next
// frame that is written anyway, so that a delivery which keeps killing the process is found out.
package kvstore
