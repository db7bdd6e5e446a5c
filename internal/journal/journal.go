package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// Position says where a frame starts. The zero Position is before every frame.
type Position struct {
	Segment uint64
	Offset  int64 // in bytes from the start of the file
}

// Frame is one frame as it was appended.
type Frame struct {
	Position Position
	Seq      uint64
	Body     []byte
}

// Options are the settings of a journal. The zero value is a good one, except for StoreID.
type Options struct {
	// FS is the file system to use. Nil means that of the operating system.
	FS FS

	// StoreID is written into each segment. Open refuses a segment with another one, so that files of two stores are
	// never mixed up.
	StoreID [16]byte

	// MinSegment and MaxSegment are the sizes of the first segment and of the largest, in bytes, rounded up to 4096. Each
	// new segment has twice the size of the last one, up to MaxSegment; a frame that would not fit gets a segment of its
	// own size.
	//
	// Zero means 1 MiB and 64 MiB. The least is 8 KiB.
	MinSegment, MaxSegment int64

	// Pool is how many dropped segments are kept to be used again, which saves writing zeros. Zero means 2, negative none.
	Pool int

	// LoseUpTo, if it is not zero, gives up the promise that a frame is on disk when Append returns. A positive value
	// means that a power cut can lose the frames of that time; they are synced in the background. A negative value means
	// that it can lose every frame of the current segment, as nothing is synced but by Sync, Close, and at the end of a
	// segment. What is lost is always the end of the journal, and the crash of this process alone loses nothing.
	//
	// Zero, the default, loses nothing.
	LoseUpTo time.Duration

	marker func() uint64 // for tests; nil means random
}

// retryPrepare is how long after a failed attempt to prepare a segment the next one may follow. On a full disk this bounds
// how much work the refused appends make.
const retryPrepare = 100 * time.Millisecond

// withDefaults returns a checked copy.
func (o *Options) withDefaults() (Options, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if opt.FS == nil {
		opt.FS = osFS{}
	}
	if opt.MinSegment < 0 {
		return opt, errors.New("Options.MinSegment: must not be negative")
	}
	if opt.MaxSegment < 0 {
		return opt, errors.New("Options.MaxSegment: must not be negative")
	}
	if opt.MinSegment == 0 {
		opt.MinSegment = 1 << 20
	}
	if opt.MaxSegment == 0 {
		opt.MaxSegment = max(64<<20, opt.MinSegment)
	}
	opt.MinSegment = alignBlock(max(opt.MinSegment, minimumSize))
	opt.MaxSegment = alignBlock(max(opt.MaxSegment, minimumSize))
	if opt.MinSegment > opt.MaxSegment {
		return opt, errors.New("Options.MinSegment: must not be larger than MaxSegment")
	}
	if opt.Pool == 0 {
		opt.Pool = 2
	}
	if opt.marker == nil {
		opt.marker = randomMarker
	}
	return opt, nil
}

func alignBlock(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// randomMarker is never zero, so that zeros are never a frame.
func randomMarker() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return max(binary.LittleEndian.Uint64(b[:]), 1)
}

// gate is a lock that is held during writes and syncs. Unlike a sync.Mutex, waiting for it counts as idle for
// testing/synctest, so the clock of a test can go on while a simulated disk takes its time.
type gate chan struct{}

func (g gate) lock()   { g <- struct{}{} }
func (g gate) unlock() { <-g }

// Journal is an open journal. Its methods are safe for concurrent use. Close it when done.
type Journal struct {
	dir string
	fs  FS
	opt Options

	// appending is held for the whole of an append or a sync, and while cur changes. Who holds it may take mu, not the
	// other way round.
	appending gate
	lastEnd   int64 // where the last frame ended; guarded by appending
	torn      bool  // bytes of a frame that did not go through lie at cur.used; guarded by appending

	// dropping lets one Drop work at a time.
	dropping gate

	// mu guards what follows and is never held during a write or a sync.
	mu       sync.Mutex
	changed  *sync.Cond // the preparer has news, or has something to do
	segments []*segment // by number; the last one is cur
	cur      *segment
	seq      uint64 // of the last frame
	lag      uint32 // how many frames at the end are not known to be on disk
	timer    *time.Timer
	armed    bool
	closed   bool
	failed   error

	preparer prepareState
}

// Open opens the journal in dir, or makes one; dir itself is made if its parent exists. It calls replay for each frame
// whose sequence number is greater than after, in order, and returns when the journal is ready for Append and every frame
// replayed is on disk. The Body of a Frame is only valid during the call. If replay returns an error, so does Open; a nil
// replay is allowed.
//
// after is the number of the last frame that the caller has dealt with for good, 0 if there was none. from is the Position
// of that frame, or of any frame not after its successor. It saves reading older frames; it is checked, and if no such
// frame stands there, Open finds the place by itself. The zero Position reads everything.
//
// Open answers ErrCorrupt if a frame after from is missing or damaged, if the journal begins later than at after+1, or if it
// ends before after; ErrForeign and ErrVersion if a segment is not ours to read; ErrFull if the first segment finds no
// space. Nothing is ever repaired by leaving out what was on disk.
func Open(dir string, from Position, after uint64, opt *Options, replay func(Frame) error) (*Journal, error) {
	o, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, fs: o.FS, opt: o, appending: make(gate, 1), dropping: make(gate, 1)}
	j.changed = sync.NewCond(&j.mu)
	if err := j.load(from, after, replay); err != nil {
		j.closeFiles()
		return nil, err
	}
	return j, nil
}

// Append adds a frame at the end and returns when it is on disk, with its Position and its sequence number. The caller
// leaves frame[:HeaderSize] free, which Append overwrites; the body, frame[HeaderSize:], may be empty. Nothing of frame is
// kept.
//
// reserve allows the frame to use the space that is held back for recording what was done, when there is no other. Keep
// such frames small.
//
// ErrFull, ErrTooLarge and ErrClosed mean that nothing happened. After ErrFailed the frame may be on disk or not.
func (j *Journal) Append(frame []byte, reserve bool) (Position, uint64, error) {
	size := int64(len(frame))
	if size < HeaderSize {
		return Position{}, 0, fmt.Errorf("append frame: the buffer has %d bytes, the header alone needs %d", size, HeaderSize)
	}
	if size > HeaderSize+MaxBody {
		return Position{}, 0, fmt.Errorf("append frame: %w: its body has %d bytes, the limit is %d", ErrTooLarge, size-HeaderSize, MaxBody)
	}
	j.appending.lock()
	defer j.appending.unlock()
	pos, seq, err := j.append(frame, reserve)
	if err != nil {
		return Position{}, 0, fmt.Errorf("append frame: %w", err)
	}
	return pos, seq, nil
}

func (j *Journal) append(frame []byte, reserve bool) (Position, uint64, error) {
	size := int64(len(frame))
	if err := j.refusal(); err != nil {
		return Position{}, 0, err
	}
	if err := j.wipeTorn(); err != nil {
		return Position{}, 0, err
	}
	if j.cur.used+size > j.cur.size {
		// Frames that are not on disk are only ever in the last segment. Recovery counts on that.
		if err := j.syncAppended(); err != nil {
			return Position{}, 0, err
		}
	}
	if err := j.makeRoom(size, reserve); err != nil {
		return Position{}, 0, err
	}

	seg, off, seq := j.cur, j.cur.used, j.seq+1
	putFrameHeader(frame, seg.marker, &frameHeader{segment: seg.number, seq: seq, lag: j.lag, back: j.lastEnd})
	n, err := seg.file.WriteAt(frame, off)
	if err != nil || n != len(frame) {
		return Position{}, 0, j.writeFailed(n, len(frame), err)
	}
	if j.opt.LoseUpTo == 0 {
		if err := seg.file.Sync(); err != nil {
			return Position{}, 0, j.fail(fmt.Errorf("sync segment %d: %w", seg.number, err))
		}
	}

	j.lastEnd = alignFrame(off + size)
	j.mu.Lock()
	defer j.mu.Unlock()
	seg.used = j.lastEnd
	seg.last = seq
	if seg.first == 0 {
		seg.first = seq
	}
	j.seq = seq
	if j.opt.LoseUpTo != 0 {
		j.lag += min(1, math.MaxUint32-j.lag)
		j.armTimer()
	}
	j.prepareAhead()
	return Position{seg.number, off}, seq, nil
}

// writeFailed decides what a frame that was not written means. A full disk is no failure: the next frame goes to the same
// place. But the torn bytes have to be wiped first, in case what is missing of them is what the disk held there before,
// and the frame that was refused is whole after all.
func (j *Journal) writeFailed(n, want int, err error) error {
	if err == nil {
		err = io.ErrShortWrite
	}
	err = fmt.Errorf("write %d bytes to segment %d at offset %d: %w", want, j.cur.number, j.cur.used, err)
	if !outOfSpace(err) {
		return j.fail(err)
	}
	j.torn = n > 0
	if err := j.wipeTorn(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// wipeTorn makes sure that the torn bytes of an earlier append, if there are any, are not a frame.
func (j *Journal) wipeTorn() error {
	if !j.torn {
		return nil
	}
	seg := j.cur
	n, err := seg.file.WriteAt(zeros[:HeaderSize], seg.used)
	switch {
	case err == nil && n != HeaderSize:
		return j.fail(fmt.Errorf("wipe a torn frame in segment %d: %w", seg.number, io.ErrShortWrite))
	case outOfSpace(err):
		return fmt.Errorf("%w: wipe a torn frame in segment %d: %w", ErrFull, seg.number, err)
	case err != nil:
		return j.fail(fmt.Errorf("wipe a torn frame in segment %d: %w", seg.number, err))
	}
	if err := seg.file.Sync(); err != nil {
		return j.fail(fmt.Errorf("sync segment %d: %w", seg.number, err))
	}
	j.torn = false
	return nil
}

// Sync returns when every frame appended so far is on disk. It is only of use with Options.LoseUpTo; without, it has
// nothing to do.
func (j *Journal) Sync() error {
	j.appending.lock()
	defer j.appending.unlock()
	err := j.refusal()
	if err == nil {
		err = j.syncAppended()
	}
	if err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// syncAppended syncs the current segment if it holds frames that are not known to be on disk. The caller holds appending.
func (j *Journal) syncAppended() error {
	if j.lag == 0 { // only changed by who holds appending
		return nil
	}
	if err := j.cur.file.Sync(); err != nil {
		return j.fail(fmt.Errorf("sync segment %d: %w", j.cur.number, err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lag = 0
	return nil
}

// armTimer sees to it that a frame just appended is synced in time. The caller holds mu.
func (j *Journal) armTimer() {
	switch {
	case j.opt.LoseUpTo < 0 || j.armed || j.closed:
		return
	case j.timer == nil:
		j.timer = time.AfterFunc(j.opt.LoseUpTo, j.syncLate)
	default:
		j.timer.Reset(j.opt.LoseUpTo)
	}
	j.armed = true
}

// syncLate is what the timer runs. An error is not lost: it has made the journal fail.
func (j *Journal) syncLate() {
	j.mu.Lock()
	j.armed = false // before the sync: a frame that comes after it needs a timer of its own
	j.mu.Unlock()
	_ = j.Sync()
}

// refusal is why the journal takes no writes, nil if it does.
func (j *Journal) refusal() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.refusalLocked()
}

func (j *Journal) refusalLocked() error {
	if j.closed {
		return ErrClosed
	}
	return j.failed
}

// fail ends all writing, for the reason cause unless there is one already, and returns the reason.
func (j *Journal) fail(cause error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		j.failed = fmt.Errorf("%w: %w", ErrFailed, cause)
		j.changed.Broadcast()
	}
	return j.failed
}

// Failed returns why the journal refuses writes until it is opened again: an error that wraps ErrFailed and the first
// cause. It returns nil as long as the journal is sound; a full journal is.
func (j *Journal) Failed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Seq returns the sequence number of the last frame appended, 0 if there was none yet.
func (j *Journal) Seq() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seq
}

// Close waits for an Append that has begun, syncs what Options.LoseUpTo left unsynced, and closes the files. Readers may go
// on to the end of their call. It returns the error of that sync. A second Close does nothing and returns nil.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	if j.timer != nil {
		j.timer.Stop()
	}
	j.changed.Broadcast()
	j.mu.Unlock()

	j.stopPreparer()
	j.dropping.lock()
	defer j.dropping.unlock()
	j.appending.lock()
	defer j.appending.unlock()
	var err error
	if j.Failed() == nil {
		err = j.syncAppended()
	}
	j.closeFiles()
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// closeFiles closes every file, those with readers when the last of them is done.
func (j *Journal) closeFiles() {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := &j.preparer
	for _, list := range [][]*segment{j.segments, p.spares, p.skipped, p.pool} {
		for _, s := range list {
			j.leave(s)
		}
	}
	j.segments, p.spares, p.skipped, p.pool = nil, nil, nil, nil
}
