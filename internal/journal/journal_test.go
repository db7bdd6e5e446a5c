package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write testdata again")

// small are options with segments so small that a few frames fill them.
func small(fs FS) *Options {
	return &Options{FS: fs, StoreID: [16]byte{1, 2, 3}, MinSegment: 8 << 10, MaxSegment: 16 << 10}
}

// framed returns a buffer for Append.
func framed(body []byte) []byte {
	return append(make([]byte, HeaderSize), body...)
}

// bodyOf is the body that tests give the frame seq: of a size between 0 and 2999 and different from all others.
func bodyOf(seq uint64) []byte {
	b := make([]byte, seq*seq*7919%3000)
	for i := range b {
		b[i] = byte(seq + uint64(i)*seq)
	}
	return b
}

func mustOpen(t testing.TB, dir string, from Position, after uint64, opt *Options) (*Journal, []Frame) {
	t.Helper()
	j, frames, err := open(dir, from, after, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, frames
}

func open(dir string, from Position, after uint64, opt *Options) (*Journal, []Frame, error) {
	var frames []Frame
	j, err := Open(dir, from, after, opt, func(f Frame) error {
		f.Body = bytes.Clone(f.Body)
		frames = append(frames, f)
		return nil
	})
	return j, frames, err
}

func mustAppend(t testing.TB, j *Journal, body []byte) Position {
	t.Helper()
	pos, _, err := j.Append(framed(body), false)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

// fill appends the frames up to number last, and returns where they are.
func fill(t testing.TB, j *Journal, last uint64) []Position {
	t.Helper()
	var list []Position
	for seq := j.Seq() + 1; seq <= last; seq++ {
		list = append(list, mustAppend(t, j, bodyOf(seq)))
	}
	return list
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkFrames fails unless frames are first to last, in order, with the bodies that fill gave them.
func checkFrames(t testing.TB, frames []Frame, first, last uint64) {
	t.Helper()
	if uint64(len(frames)) != last-first+1 {
		t.Fatalf("got %d frames, want numbers %d to %d", len(frames), first, last)
	}
	for i, f := range frames {
		if f.Seq != first+uint64(i) || !bytes.Equal(f.Body, bodyOf(f.Seq)) {
			t.Fatalf("frame %d of the replay is number %d with %d bytes, want number %d", i, f.Seq, len(f.Body), first+uint64(i))
		}
	}
}

func TestFramesComeBackInOrderAfterReopen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "journal")
	opt := small(nil)
	j, frames := mustOpen(t, dir, Position{}, 0, opt)
	if len(frames) != 0 || j.Seq() != 0 {
		t.Fatalf("a new journal replays %d frames and is at %d", len(frames), j.Seq())
	}
	positions := fill(t, j, 40)
	segments := j.Segments()
	if len(segments) < 3 {
		t.Fatalf("40 frames made %d segments, want some rollovers", len(segments))
	}
	buf := make([]byte, 64)
	for i, pos := range positions {
		f, err := j.ReadFrame(pos, buf)
		if err != nil {
			t.Fatal(err)
		}
		checkFrames(t, []Frame{f}, uint64(i+1), uint64(i+1))
		body := make([]byte, len(f.Body))
		if err := j.ReadAt(body, pos.Segment, pos.Offset+HeaderSize); err != nil || !bytes.Equal(body, f.Body) {
			t.Fatalf("ReadAt differs from ReadFrame: %v", err)
		}
	}
	mustClose(t, j)

	for after := range uint64(41) {
		from := Position{}
		if after > 0 {
			from = positions[after-1]
		}
		for _, from := range []Position{{}, from, {from.Segment, 4096}, {from.Segment, 12345}, {99, 8}} {
			j, frames := mustOpen(t, dir, from, after, opt)
			checkFrames(t, frames, after+1, 40)
			if got := fmt.Sprint(j.Segments()); got != fmt.Sprint(segments) {
				t.Fatalf("from %v after %d: segments are %v, were %v", from, after, got, segments)
			}
			mustClose(t, j)
		}
	}
	if _, _, err := open(dir, Position{}, 41, opt); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Open after a frame that is not there: %v, want ErrCorrupt", err)
	}
}

func TestReplayErrorStopsOpen(t *testing.T) {
	t.Parallel()
	sim := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
	fill(t, j, 3)
	mustClose(t, j)
	stop := errors.New("stop")
	seen := 0
	_, err := Open(simDir, Position{}, 0, small(sim), func(Frame) error { seen++; return stop })
	if !errors.Is(err, stop) || seen != 1 {
		t.Fatalf("Open: %v after %d frames", err, seen)
	}
	j, err = Open(simDir, Position{}, 0, small(sim), nil)
	if err != nil || j.Seq() != 3 {
		t.Fatalf("Open without replay: %v", err)
	}
	mustClose(t, j)
}

func TestLargeFrameGetsItsOwnSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Position{}, 0, small(nil))
	mustAppend(t, j, []byte("small"))
	large := bytes.Repeat([]byte("large"), 500_000)
	pos := mustAppend(t, j, large)
	mustAppend(t, j, []byte("small again"))
	if f, err := j.ReadFrame(pos, nil); err != nil || !bytes.Equal(f.Body, large) {
		t.Fatalf("ReadFrame: %v", err)
	}
	mustClose(t, j)
	_, frames := mustOpen(t, dir, Position{}, 0, small(nil))
	if len(frames) != 3 || !bytes.Equal(frames[1].Body, large) {
		t.Fatalf("replayed %d frames", len(frames))
	}
	if _, _, err := j.Append(make([]byte, HeaderSize-1), false); err == nil {
		t.Fatal("Append took a buffer without room for the header")
	}
}

func TestSegmentsDoubleAndAreRecycled(t *testing.T) {
	t.Parallel()
	sim := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
	after, from := uint64(0), Position{}
	for seq := uint64(1); seq <= 400; seq++ {
		from = mustAppend(t, j, bodyOf(seq))
		after = seq
		for _, s := range j.Segments() {
			if s.Last < seq && s.Last != 0 {
				if err := j.Drop(s.Number); err != nil {
					t.Fatal(err)
				}
				if err := j.Drop(s.Number); !errors.Is(err, ErrNoSegment) {
					t.Fatalf("second Drop: %v, want ErrNoSegment", err)
				}
			}
		}
	}
	current := j.Segments()
	if err := j.Drop(current[len(current)-1].Number); err == nil {
		t.Fatal("Drop took the current segment")
	}
	if n := sim.count(segmentSuffix) + sim.count(poolSuffix); n > 6 {
		t.Fatalf("%d files after everything was dropped", n)
	}
	if max := int64(6 * 16 << 10); j.Size() > max {
		t.Fatalf("Size is %d, want at most %d", j.Size(), max)
	}
	if current[len(current)-1].Size != 16<<10 || current[len(current)-1].Number < 30 {
		t.Fatalf("after 400 frames: %+v", current)
	}
	mustClose(t, j)

	// The recycled segments hold old frames behind the new ones, whole and with good checksums.
	j, frames := mustOpen(t, simDir, from, after, small(sim))
	if len(frames) != 0 || j.Seq() != 400 {
		t.Fatalf("replayed %d frames and is at %d", len(frames), j.Seq())
	}
	fill(t, j, 401)
	mustClose(t, j)
	_, frames = mustOpen(t, simDir, Position{}, after, small(sim))
	checkFrames(t, frames, 401, 401)
}

// tornJournal returns a journal whose last frame is number last, and where that frame starts and its segment's bytes end.
func tornJournal(t *testing.T, last uint64) (*simFS, Position) {
	sim := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
	positions := fill(t, j, last)
	mustClose(t, j)
	return sim, positions[last-1]
}

func TestTornTailIsOverwritten(t *testing.T) {
	t.Parallel()
	for _, last := range []uint64{1, 4, 13} {
		base, pos := tornJournal(t, last)
		size := int64(HeaderSize + len(bodyOf(last)))
		for _, junk := range []byte{0, 0xff} {
			for cut := range size {
				sim := base.clone()
				b := sim.bytes(pos.Segment)
				tail := b[pos.Offset+cut : pos.Offset+size]
				if before := bytes.Clone(tail); true {
					for i := range tail {
						tail[i] = junk
					}
					if bytes.Equal(before, tail) {
						continue // the same frame
					}
				}
				j, frames := mustOpen(t, simDir, Position{}, 0, small(sim))
				checkFrames(t, frames, 1, last-1)
				fill(t, j, last+1)
				mustClose(t, j)
				_, frames = mustOpen(t, simDir, Position{}, 0, small(sim))
				checkFrames(t, frames, 1, last+1)
			}
		}
	}
}

func TestDamageBeforeGoodFramesIsReported(t *testing.T) {
	t.Parallel()
	base := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(base))
	positions := fill(t, j, 20)
	segments := j.Segments()
	mustClose(t, j)
	if len(segments) < 3 {
		t.Fatalf("only %d segments", len(segments))
	}
	// Number 20 is left out: damage to the last frame cannot be told from a crash.
	for i, pos := range positions[:19] {
		size := int64(HeaderSize + len(bodyOf(uint64(i+1))))
		for at := int64(0); at < size; at += 1 + size/50 {
			sim := base.clone()
			sim.bytes(pos.Segment)[pos.Offset+at] ^= 0x10
			_, _, err := open(simDir, Position{}, 0, small(sim))
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d of frame %d at %v is damaged, and Open says %v", at, i+1, pos, err)
			}
			for _, word := range []string{segmentName(pos.Segment), fmt.Sprint("offset ", pos.Offset)} {
				if !strings.Contains(err.Error(), word) {
					t.Fatalf("the error does not mention %s: %v", word, err)
				}
			}
		}
	}
	t.Run("missing segment", func(t *testing.T) {
		sim := base.clone()
		delete(sim.names, filepath.Join(simDir, segmentName(segments[1].Number)))
		if _, _, err := open(simDir, Position{}, 0, small(sim)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Open: %v", err)
		}
		// It may have been dropped, if nothing in it is to be replayed.
		after := segments[1].Last
		_, frames := mustOpen(t, simDir, Position{}, after, small(sim))
		checkFrames(t, frames, after+1, 20)
	})
	t.Run("missing start", func(t *testing.T) {
		sim := base.clone()
		delete(sim.names, filepath.Join(simDir, segmentName(segments[0].Number)))
		if _, _, err := open(simDir, Position{}, 0, small(sim)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Open: %v", err)
		}
	})
	t.Run("missing everything", func(t *testing.T) {
		if _, _, err := open(simDir, Position{}, 20, small(newSimFS())); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Open: %v", err)
		}
	})
	t.Run("truncated file", func(t *testing.T) {
		sim := base.clone()
		f := sim.names[filepath.Join(simDir, segmentName(segments[1].Number))]
		for _, size := range []int{0, 100, 5000, len(f.view) - 1} {
			f.view = f.view[:size]
			if _, _, err := open(simDir, Position{}, 0, small(sim)); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("Open: %v", err)
			}
			f.view = f.view[:cap(f.view)]
		}
	})
	t.Run("read", func(t *testing.T) {
		sim := base.clone()
		sim.bytes(positions[5].Segment)[positions[5].Offset+50] ^= 1
		j, _ := mustOpen(t, simDir, positions[10], 10, small(sim)) // damage in what is applied does not stop Open
		if _, err := j.ReadFrame(positions[5], nil); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("ReadFrame: %v", err)
		}
		if _, err := j.ReadFrame(positions[6], nil); err != nil {
			t.Fatal(err)
		}
		for _, pos := range []Position{{1, 0}, {1, 4097}, {1, 4104}, {1, 1 << 40}, {1, -8}} {
			if _, err := j.ReadFrame(pos, nil); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("ReadFrame at %v: %v", pos, err)
			}
		}
		if err := j.ReadAt(make([]byte, 100), j.cur.number, j.cur.used-50); err == nil {
			t.Fatal("ReadAt read past the last frame")
		}
	})
}

func TestHeaderIsChecked(t *testing.T) {
	t.Parallel()
	base, _ := tornJournal(t, 3)
	tests := map[string]struct {
		change func(b []byte)
		want   error
	}{
		"another store":  {func(b []byte) { b[16] ^= 1; resum(b) }, ErrForeign},
		"newer version":  {func(b []byte) { b[8] = 2; resum(b) }, ErrVersion},
		"unknown flags":  {func(b []byte) { b[12] = 1; resum(b) }, ErrVersion},
		"another number": {func(b []byte) { b[32] ^= 4; resum(b) }, ErrCorrupt},
		"too long":       {func(b []byte) { b[53] = 1; resum(b) }, ErrCorrupt},
		"bad checksum":   {func(b []byte) { b[40] ^= 1 }, ErrCorrupt},
		"not a segment":  {func(b []byte) { b[0] ^= 1; resum(b) }, ErrCorrupt},
		"frame flags": {func(b []byte) {
			f := b[blockSize:][:HeaderSize+len(bodyOf(1))]
			f[28] = 1
			sum := crc32.Update(crc32.Checksum(f[:44], castagnoli), castagnoli, f[HeaderSize:])
			binary.LittleEndian.PutUint32(f[44:], sum)
		}, ErrVersion},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sim := base.clone()
			test.change(sim.bytes(1))
			if _, _, err := open(simDir, Position{}, 0, small(sim)); !errors.Is(err, test.want) {
				t.Fatalf("Open: %v, want %v", err, test.want)
			}
		})
	}
	if _, _, err := open(simDir, Position{}, 0, &Options{FS: base.clone()}); !errors.Is(err, ErrForeign) {
		t.Fatalf("Open with another StoreID: %v", err)
	}
}

func resum(b []byte) {
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
}

func TestFrameInsideAPayloadIsNotBelieved(t *testing.T) {
	t.Parallel()
	sim := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
	// A whole frame with a later number, at every place where a frame may start; only the marker is guessed.
	payload := make([]byte, 2000)
	for off := 0; off+56 < len(payload); off += 56 {
		putFrameHeader(payload[off:off+56], 0x6170706c65736175, &frameHeader{segment: 1, seq: 3, back: 4096})
	}
	mustAppend(t, j, []byte("first"))
	pos := mustAppend(t, j, payload)
	mustClose(t, j)

	torn := sim.clone()
	torn.bytes(1)[pos.Offset+40] ^= 1
	_, frames := mustOpen(t, simDir, Position{}, 0, small(torn))
	if len(frames) != 1 {
		t.Fatalf("replayed %d frames, want 1", len(frames))
	}

	// With the marker it is one, which shows that the test can fail.
	for off := 0; off+56 < len(payload); off += 56 {
		at := pos.Offset + HeaderSize + int64(off)
		putFrameHeader(torn.bytes(1)[at:at+56], j.cur.marker, &frameHeader{segment: 1, seq: 3, back: 4096})
	}
	if _, _, err := open(simDir, Position{}, 0, small(torn)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("Open: %v, want ErrCorrupt", err)
	}
}

func TestReadersSurviveDrop(t *testing.T) {
	t.Parallel()
	for _, pool := range []int{-1, 2} {
		opt := small(nil)
		opt.Pool = pool
		opt.MinSegment = opt.MaxSegment
		j, _ := mustOpen(t, t.TempDir(), Position{}, 0, opt)
		pos := mustAppend(t, j, bodyOf(1))
		fill(t, j, 40)
		s, _, err := j.acquire(pos.Segment) // a reader that takes its time
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Drop(pos.Segment); err != nil {
			t.Fatal(err)
		}
		fill(t, j, 80)
		b := make([]byte, len(bodyOf(1)))
		if err := readFull(s.file, b, pos.Offset+HeaderSize); err != nil || !bytes.Equal(b, bodyOf(1)) {
			t.Fatalf("pool %d: the reader of a dropped segment got %v", pool, err)
		}
		if err := j.ReadAt(b, pos.Segment, pos.Offset); !errors.Is(err, ErrNoSegment) {
			t.Fatalf("ReadAt of a dropped segment: %v, want ErrNoSegment", err)
		}
		j.release(s)
		if pool < 0 {
			if err := readFull(s.file, b, 0); !errors.Is(err, os.ErrClosed) {
				t.Fatalf("the last reader did not close the file: %v", err)
			}
		}
		fill(t, j, 120)
		mustClose(t, j)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Position{}, 0, small(nil))
	var wg sync.WaitGroup
	const writers, each = 8, 60
	seen := make([]bool, writers*each+1)
	var mu sync.Mutex
	for w := range writers {
		wg.Go(func() {
			buf := make([]byte, 0, 4096)
			for i := range each {
				body := fmt.Appendf(nil, "%d %d %s", w, i, bytes.Repeat([]byte("x"), i*20))
				pos, seq, err := j.Append(framed(body), i%2 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[seq] {
					t.Errorf("number %d was given twice", seq)
				}
				seen[seq] = true
				mu.Unlock()
				f, err := j.ReadFrame(pos, buf)
				if err != nil && !errors.Is(err, ErrNoSegment) || err == nil && (f.Seq != seq || !bytes.Equal(f.Body, body)) {
					t.Errorf("ReadFrame of number %d: %v", seq, err)
				}
				if list := j.Segments(); w == 0 && i%8 == 7 && len(list) > 2 {
					if err := j.Drop(list[0].Number); err != nil {
						t.Error(err)
					}
				}
				j.Size()
				j.Full()
			}
		})
	}
	wg.Wait()
	first := j.Segments()[0].First
	mustClose(t, j)
	_, frames := mustOpen(t, dir, Position{}, first-1, small(nil))
	if want := writers*each - int(first) + 1; len(frames) != want {
		t.Fatalf("replayed %d frames, want %d", len(frames), want)
	}
}

func TestCloseAtAnyTime(t *testing.T) {
	t.Parallel()
	for round := range 200 {
		sim := newSimFS()
		opt := small(sim)
		if round%3 == 0 {
			opt.LoseUpTo = time.Nanosecond
		}
		j, _, err := open(simDir, Position{}, 0, opt)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var acked uint64
		wg.Go(func() {
			for range 1 + round%20 {
				_, seq, err := j.Append(framed(bodyOf(acked+1)), false)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked = seq
			}
		})
		if round%2 == 0 {
			wg.Go(func() { j.Close() })
		}
		wg.Wait()
		mustClose(t, j)
		mustClose(t, j)
		if _, _, err := j.Append(framed(nil), true); !errors.Is(err, ErrClosed) {
			t.Fatalf("Append after Close: %v", err)
		}
		if err := j.ReadAt(nil, 1, blockSize); !errors.Is(err, ErrClosed) {
			t.Fatalf("ReadAt after Close: %v", err)
		}
		if err := j.Drop(1); !errors.Is(err, ErrClosed) {
			t.Fatalf("Drop after Close: %v", err)
		}
		j, frames := mustOpen(t, simDir, Position{}, 0, small(sim))
		checkFrames(t, frames, 1, acked)
		mustClose(t, j)
	}
}

func TestFullDiskKeepsTheReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSimFS()
		opt := small(sim)
		opt.MaxSegment = opt.MinSegment
		sim.room = 2*8<<10 + 5000 // the first segment, one spare, and not a third
		j, _ := mustOpen(t, simDir, Position{}, 0, opt)
		body := make([]byte, 1000-HeaderSize)
		var err error
		ordinary := 0
		for ; ordinary < 100; ordinary++ {
			if _, _, err = j.Append(framed(body), false); err != nil {
				break
			}
			synctest.Wait() // until the preparer has done what it can
		}
		if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) || ordinary != 4 {
			t.Fatalf("after %d ordinary appends: %v", ordinary, err)
		}
		if !j.Full() || j.Failed() != nil {
			t.Fatalf("Full is %v, Failed is %v", j.Full(), j.Failed())
		}
		if _, _, err := j.Append(framed(body), true); err != nil {
			t.Fatalf("the reserve is not there: %v", err)
		}
		// Now the journal is in its reserve. It stays closed to ordinary appends although there is room.
		time.Sleep(retryPrepare)
		if _, _, err := j.Append(framed(body), false); !errors.Is(err, ErrFull) {
			t.Fatalf("an ordinary append in the reserve: %v", err)
		}
		reserve := 1
		for ; reserve < 100; reserve++ {
			if _, _, err = j.Append(framed(body), true); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrFull) || reserve != 4 {
			t.Fatalf("after %d appends in the reserve: %v", reserve, err)
		}

		// Attempts are rationed, so within 100 ms the new space is not seen.
		tries := 0
		sim.mu.Lock()
		sim.fail = func(op, path string) (error, bool) {
			if op == "create" {
				tries++
			}
			return nil, false
		}
		sim.mu.Unlock()
		for range 50 {
			j.Append(framed(body), false)
		}
		if tries > 1 {
			t.Fatalf("%d attempts to prepare a segment at one moment", tries)
		}
		sim.mu.Lock()
		sim.room = -1
		sim.mu.Unlock()
		time.Sleep(retryPrepare)
		if _, _, err := j.Append(framed(body), false); err != nil || j.Full() {
			t.Fatalf("with space again: %v, Full is %v", err, j.Full())
		}
		want := j.Seq()
		if want != uint64(ordinary+reserve+1) {
			t.Fatalf("number %d after %d appends", want, ordinary+reserve+1)
		}
		mustClose(t, j)
		_, frames := mustOpen(t, simDir, Position{}, 0, opt)
		if uint64(len(frames)) != want {
			t.Fatalf("replayed %d frames, want %d", len(frames), want)
		}
	})
}

func TestDropMakesSpaceOnAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSimFS()
		opt := small(sim)
		opt.MaxSegment = opt.MinSegment
		sim.room = 4 * 8 << 10
		j, _ := mustOpen(t, simDir, Position{}, 0, opt)
		for range 1000 {
			_, _, err := j.Append(framed(make([]byte, 900)), false)
			if err == nil {
				continue
			}
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			if err := j.Drop(j.Segments()[0].Number); err != nil {
				t.Fatal(err)
			}
			// At once: a Drop cuts the waiting short.
			if _, _, err := j.Append(framed(make([]byte, 900)), false); err != nil {
				t.Fatalf("after Drop: %v", err)
			}
		}
	})
}

func TestInTimeTheBackgroundSyncs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newSimFS()
		opt := small(sim)
		opt.LoseUpTo = 20 * time.Millisecond
		j, _ := mustOpen(t, simDir, Position{}, 0, opt)
		unsynced := func() int {
			synctest.Wait()
			sim.mu.Lock()
			defer sim.mu.Unlock()
			return len(j.cur.file.(*simFile).writes)
		}
		for range 3 {
			mustAppend(t, j, []byte("one"))
			mustAppend(t, j, []byte("two"))
			if n := unsynced(); n != 2 {
				t.Fatalf("%d unsynced writes, want 2", n)
			}
			time.Sleep(20 * time.Millisecond)
			if n := unsynced(); n != 0 {
				t.Fatalf("%d unsynced writes after the interval", n)
			}
		}
		mustAppend(t, j, []byte("three"))
		if err := j.Sync(); err != nil || unsynced() != 0 {
			t.Fatalf("Sync: %v", err)
		}
		mustAppend(t, j, []byte("four"))
		mustClose(t, j)
		if unsynced() != 0 {
			t.Fatal("Close did not sync")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, opt := range []Options{{MinSegment: -1}, {MaxSegment: -1}, {MinSegment: 2 << 20, MaxSegment: 1 << 20}} {
		if _, _, err := open(t.TempDir(), Position{}, 0, &opt); err == nil || !strings.HasPrefix(err.Error(), "Options.") {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

// TestFormatStays compares with a file that every later version must read and, for this format, write.
func TestFormatStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opt := &Options{MinSegment: 8 << 10, marker: func() uint64 { return 0x0123456789abcdef }}
	copy(opt.StoreID[:], "golden store id.")
	j, _ := mustOpen(t, dir, Position{}, 0, opt)
	for seq := uint64(1); seq <= 3; seq++ {
		mustAppend(t, j, bodyOf(seq)[:seq*10])
	}
	mustClose(t, j)
	got, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "v1.seg")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		for i := range got {
			if i >= len(want) || got[i] != want[i] {
				t.Fatalf("the format has changed, first at byte %d", i)
			}
		}
	}
	sim := newSimFS()
	sim.add(filepath.Join(simDir, segmentName(1)), want)
	opt.FS = sim
	_, frames := mustOpen(t, simDir, Position{}, 0, opt)
	if len(frames) != 3 || !bytes.Equal(frames[2].Body, bodyOf(3)[:30]) {
		t.Fatalf("the golden file replays %d frames", len(frames))
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	for _, opt := range []*Options{{}, {LoseUpTo: time.Hour}} {
		j, _ := mustOpen(t, filepath.Join(t.TempDir(), "journal"), Position{}, 0, opt)
		frame := framed(make([]byte, 1000))
		mustAppend(t, j, nil)
		j.mu.Lock()
		for j.preparer.asked {
			j.changed.Wait()
		}
		j.mu.Unlock()
		n := testing.AllocsPerRun(100, func() { j.Append(frame, false) })
		if n > 0 {
			t.Errorf("%v allocations per Append", n)
		}
		mustClose(t, j)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			j, _ := mustOpen(b, b.TempDir(), Position{}, 0, nil)
			frame := framed(make([]byte, size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := j.Append(frame, false); err != nil {
					b.Fatal(err)
				}
				if s := j.Segments(); len(s) > 2 {
					if err := j.Drop(s[0].Number); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
