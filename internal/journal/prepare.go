package journal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// zeroChunk is how much of a new segment is written and synced at a time. An append that wants the disk meanwhile waits for
// one chunk, not for the whole segment.
const zeroChunk = 1 << 20

var zeros [zeroChunk]byte

// prepareState is what the preparer works on: the goroutine that makes segments before they are needed. It runs from the
// first time it is asked until Close, and never by the clock. Guarded by Journal.mu.
type prepareState struct {
	spares  []*segment // ready to use, by number, all greater than that of cur
	skipped []*segment // spares that were too small for a frame: still under their name, to go to the pool
	pool    []*segment // dropped files to use again

	number   uint64 // of the next segment made
	nextSize int64
	making   int64 // bytes written so far of a segment that is not ready

	asked   bool  // there is one to make; cleared when it is made or cannot be
	need    int64 // the frame it must have room for, 0 for any
	err     error // why the last one could not be made, nil if it could
	retryAt time.Time
	done    chan struct{} // closed when the goroutine has ended; nil before it starts
}

// Full reports whether the last attempt to prepare a segment failed, usually for lack of space. Appends may still go through
// in the space that is left. It turns false when a segment could be prepared, which Append tries by itself.
func (j *Journal) Full() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.preparer.err != nil
}

// makeRoom returns when cur has room for a frame of size bytes, header included, and moves to a spare if need be. The rule
// that it keeps: an ordinary append never takes the last spare, and takes nothing while there is none to be had.
//
// The caller holds appending. Waiting is done on a condition variable, so that a test under testing/synctest sees it.
func (j *Journal) makeRoom(size int64, reserve bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := &j.preparer
	for {
		if err := j.refusalLocked(); err != nil {
			return err
		}
		need := int64(0)
		if j.cur.used+size <= j.cur.size {
			if reserve || len(p.spares) > 0 || p.err == nil {
				return nil
			}
		} else {
			i := slices.IndexFunc(p.spares, func(s *segment) bool { return size <= s.room() })
			if i >= 0 && (reserve || len(p.spares) > 1) {
				j.moveTo(i)
				return nil
			}
			if i < 0 {
				need = size
			}
		}
		if !p.asked {
			if p.err != nil && time.Now().Before(p.retryAt) {
				return fmt.Errorf("%w: %w", ErrFull, p.err)
			}
			j.ask(need)
		}
		j.changed.Wait()
	}
}

// moveTo makes the spare i current. Smaller ones before it cannot be used any more, as their numbers are too low.
func (j *Journal) moveTo(i int) {
	p := &j.preparer
	j.cur = p.spares[i]
	j.segments = append(j.segments, j.cur)
	p.skipped = append(p.skipped, p.spares[:i]...)
	p.spares = slices.Delete(p.spares, 0, i+1)
}

// prepareAhead asks for a segment if one should be made by now. The caller holds mu.
func (j *Journal) prepareAhead() {
	p := &j.preparer
	want := 1
	if j.cur.used > j.cur.size/2 {
		want = 2
	}
	if p.asked || j.closed || j.failed != nil || len(p.spares) >= want {
		return
	}
	if p.err != nil && time.Now().Before(p.retryAt) {
		return
	}
	j.ask(0)
}

// ask has a segment made that takes a frame of need bytes. The caller holds mu.
func (j *Journal) ask(need int64) {
	p := &j.preparer
	p.asked, p.need = true, need
	if p.done == nil {
		p.done = make(chan struct{})
		go j.prepare(p.done)
	}
	j.changed.Broadcast()
}

// stopPreparer waits until the preparer has seen that the journal is closed.
func (j *Journal) stopPreparer() {
	j.mu.Lock()
	done := j.preparer.done
	j.mu.Unlock()
	if done != nil {
		<-done
	}
}

// prepare is the preparer.
func (j *Journal) prepare(done chan struct{}) {
	defer close(done)
	p := &j.preparer
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		for !p.asked && j.refusalLocked() == nil {
			j.changed.Wait()
		}
		if j.refusalLocked() != nil {
			return
		}
		need := p.need
		j.mu.Unlock()
		s, err := j.makeSegment(need)
		j.mu.Lock()

		p.asked, p.making = false, 0
		p.err = err
		if err != nil {
			p.retryAt = time.Now().Add(retryPrepare)
		} else {
			p.spares = append(p.spares, s)
			j.prepareAhead() // for the second one
		}
		j.changed.Broadcast()
	}
}

// makeSegment returns a new segment, ready to use, with room for a frame of need bytes. It takes a file from the pool or
// makes one. Only one call at a time is allowed, and the caller does not hold mu. If what went wrong is more than a lack
// of space, the journal has failed when makeSegment returns.
func (j *Journal) makeSegment(need int64) (*segment, error) {
	if err := j.retireSkipped(); err != nil {
		return nil, j.judge(err)
	}
	p := &j.preparer
	j.mu.Lock()
	size := max(p.nextSize, alignBlock(need+blockSize))
	number := p.number
	old := j.takePooled(need)
	j.mu.Unlock()

	path := filepath.Join(j.dir, tempName)
	var file File
	var err error
	if old != nil {
		path, file, size = filepath.Join(j.dir, poolName(old.number)), old.file, old.size
	} else {
		file, err = j.newFile(path, size)
	}
	var s *segment
	if err == nil {
		s, err = j.finishSegment(path, file, number, size)
	}
	if err != nil {
		err = fmt.Errorf("prepare segment %d: %w", number, err)
		if file != nil {
			file.Close()
		}
		// What is left is not a segment. If it cannot be removed either, Open will do it.
		_ = j.fs.Remove(path)
		return nil, j.judge(err)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	p.number++
	p.nextSize = max(p.nextSize, min(2*size, j.opt.MaxSegment))
	return s, nil
}

// newFile makes a file of size bytes, all zero and on disk.
func (j *Journal) newFile(path string, size int64) (File, error) {
	file, err := j.fs.Create(path)
	if err != nil {
		return nil, err
	}
	for off := int64(0); off < size; {
		if err := j.refusal(); err != nil {
			return file, err
		}
		n := min(size-off, zeroChunk)
		if err := writeFull(file, zeros[:n], off); err != nil {
			return file, &writeError{err}
		}
		if err := file.Sync(); err != nil {
			return file, &writeError{err}
		}
		off += n
		j.mu.Lock()
		j.preparer.making = off
		j.mu.Unlock()
	}
	return file, nil
}

// finishSegment writes the header of segment number into a file that has the name path, and gives it its own name. The
// order is what makes it safe: a crash between any two steps leaves either no segment or a whole one.
func (j *Journal) finishSegment(path string, file File, number uint64, size int64) (*segment, error) {
	h := segmentHeader{storeID: j.opt.StoreID, number: number, marker: j.opt.marker(), size: size}
	if err := writeFull(file, h.appendTo(make([]byte, 0, blockSize)), 0); err != nil {
		return nil, &writeError{err}
	}
	if err := file.Sync(); err != nil {
		return nil, &writeError{err}
	}
	final := filepath.Join(j.dir, segmentName(number))
	if err := j.fs.Rename(path, final); err != nil {
		return nil, err
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		// It is a whole segment without frames; at worst Open finds it and uses it.
		_ = j.fs.Remove(final)
		return nil, &writeError{err}
	}
	return &segment{number: number, marker: h.marker, size: size, file: file, used: blockSize}, nil
}

// takePooled takes a file with room for a frame of need bytes out of the pool; nil if there is none. A file that somebody
// still reads is left alone. The caller holds mu.
func (j *Journal) takePooled(need int64) *segment {
	p := &j.preparer
	i := slices.IndexFunc(p.pool, func(s *segment) bool { return s.refs == 0 && need <= s.room() })
	if i < 0 {
		return nil
	}
	s := p.pool[i]
	p.pool = slices.Delete(p.pool, i, i+1)
	p.making = s.size
	return s
}

// poolTakes reports whether a segment that is dropped should be kept. Small ones from the first days of a journal are not
// worth it. The caller holds mu.
func (j *Journal) poolTakes(s *segment) bool {
	p := &j.preparer
	return len(p.pool) < j.opt.Pool && s.size >= p.nextSize && s.size <= j.opt.MaxSegment
}

// retireSkipped moves the spares that were passed over to the pool, whatever its size: they are the next to be used.
func (j *Journal) retireSkipped() error {
	for {
		j.mu.Lock()
		if len(j.preparer.skipped) == 0 {
			j.mu.Unlock()
			return nil
		}
		s := j.preparer.skipped[0]
		j.mu.Unlock()
		if err := j.retire(s); err != nil {
			return err
		}
		j.mu.Lock()
		j.preparer.skipped = slices.Delete(j.preparer.skipped, 0, 1)
		j.preparer.pool = append(j.preparer.pool, s)
		j.mu.Unlock()
	}
}

// retire gives the file of a segment without frames its name in the pool.
func (j *Journal) retire(s *segment) error {
	err := j.fs.Rename(filepath.Join(j.dir, segmentName(s.number)), filepath.Join(j.dir, poolName(s.number)))
	if err != nil {
		return err
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return &writeError{err}
	}
	return nil
}

// writeError marks an error after which what is on disk is unknown.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// judge lets the journal fail if err is more than a lack of space, and returns err. Of a file that is not in use yet, a
// sync that finds no space has lost nothing; anything else may mean that the disk is broken.
func (j *Journal) judge(err error) error {
	var w *writeError
	broken := errors.As(err, &w) || errors.Is(err, syscall.EIO)
	if broken && !outOfSpace(err) {
		j.fail(err)
	}
	return err
}

func writeFull(w io.WriterAt, p []byte, off int64) error {
	n, err := w.WriteAt(p, off)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return err
}
