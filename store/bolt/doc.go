// Package bolt is the default store: a folder with a journal, which is the truth, and a bbolt file, which is its index.
//
// A commit is one frame in the journal and one fdatasync; the index follows within a tenth of a second, in a transaction of
// its own that nobody who publishes waits for. After a crash the journal's last frames are applied again. What the files look
// like is written in docs/format.md, and how a commit is decided and applied in package kvstore, of which this is the
// durable part.
//
//	hooks/hookgate.db     the index (bbolt)
//	hooks/journal/*.seg   the journal: segments of 1 MiB doubling to 64 MiB
//	hooks/journal/*.pool  segments that were given back and will be used again
//
// # When the disk fails
//
// A failed write or sync makes the store refuse every further write until it is opened again ([store.ErrFailed]): after a
// failed sync nobody knows what is on the disk. Reads go on. A full disk is different: appends get [store.ErrFull], while
// outcomes are still recorded in space kept back for them, and everything recovers when there is room.
//
// Every record carries a CRC-32C. A damaged one is reported or becomes a dead letter; it is never sent. A file that was cut
// short is an error, not the end of the process.
package bolt
