// Package journal keeps frames of bytes in order, on disk, for good. It is an append-only log in a folder of its own: one
// [Journal.Append] is one frame, one write, and one sync of data that was allocated long before. The store above it may
// say "accepted" when Append returns nil, and finds every such frame again after a crash.
//
// A frame has a [Position], which says where it lies, and a sequence number, which counts frames from 1 without gaps. The
// journal neither knows nor asks what is inside a frame.
//
// One process at a time may open a folder. The journal takes no lock itself: whoever opens it already holds one.
//
// # Files
//
//	0000000000000007.seg   a segment: number 7 (hexadecimal), in use or waiting to be
//	0000000000000003.pool  a dropped segment that is kept to become a new one; its content means nothing
//	next.tmp               a new segment that is not finished; removed when the journal is opened
//
// A segment gets its full size, written with zeros, and its header before it gets its name, and the folder is synced
// before the first frame goes in. So an append never grows a file, and no file is ever seen half-made. Every segment file
// stays open as long as it is in the journal.
//
// # Bytes
//
// Numbers are little endian. The checksum is CRC-32C. A segment begins with one block of 4096 bytes; only its first 64
// are used, the others are zero:
//
//	offset  size  segment header
//	     0     8  magic, "hookgseg"
//	     8     4  format version, 1
//	    12     4  flags, zero
//	    16    16  store id
//	    32     8  segment number, the same as in the file's name
//	    40     8  marker, random
//	    48     8  size of the file
//	    56     4  zero
//	    60     4  checksum of the 60 bytes before
//
// Later format versions keep the magic, the version and the place of the checksum, so that an old program can tell a newer
// file from a damaged one.
//
// Frames follow from offset 4096, each on a multiple of 8:
//
//	offset  size  frame header
//	     0     8  the segment's marker
//	     8     8  segment number
//	    16     8  sequence number
//	    24     4  lag: how many of the frames before this one were not known to be on disk when it was written
//	    28     4  flags, zero; kept for compression and the like
//	    32     8  where the frame before this one ended, in this segment or the one before
//	    40     4  length of the body
//	    44     4  checksum of the 44 bytes before and the body
//	    48        the body
//
// The marker is what makes bytes a frame. It is drawn anew each time a file becomes a segment, so the old frames in a
// recycled file are only bytes, and nobody who sends us a payload can put a frame inside it. It also keeps the search
// described below fast: with a fixed magic, one payload full of false frame headers would cost a checksum for each.
//
// # Where the journal ends
//
// Open reads forward to the first place where no intact frame stands. That is either a crash in the middle of an append,
// whose frame nobody was promised, or damage to a frame that somebody was. The frames behind it tell which:
//
//	| 41 | 42 | 43 | ....................          43 is the last frame
//	| 41 | 42 | 4#   ....................          43 was being written: the journal ends at 42, 43 is written again
//	| 41 | 4# | 43 | ....................          43 says that 42 was on disk: ErrCorrupt
//	| 41 | 42 | ....     | 43 | 44 | ....          the segment had no room for 43: goes on in the next one
//	| 41 | 4# | ....     | 43 | 44 | ....          ErrCorrupt
//
// A frame says with its lag which frames before it were on disk. Usually that is all of them. With [Options.LoseUpTo] a
// power cut may take one frame and leave its successor; then the lag shows that nothing promised is missing, and the
// journal ends before the hole.
//
// Before Open returns it writes the last frame once more, and syncs. After a failed sync the system may go on showing
// bytes that never reached the disk, and a second sync alone would not write them.
//
// # When the disk is full
//
// One goroutine prepares segments ahead: always one spare, and a second when the current segment is half used. An ordinary
// append moves into a spare only if another one stays behind. What stays behind is the reserve: when no space is left,
// ordinary appends get ErrFull, while appends with reserve = true, which record what was done, go on in it. Each later
// append tries again to prepare a segment, ten times a second at most, so the journal recovers when space appears.
//
// A full disk is found while preparing, where it does no harm. Any other failed write, and any failed sync, leaves us not
// knowing what is on disk. Then the journal refuses every further write until it is opened again; reading goes on.
package journal
