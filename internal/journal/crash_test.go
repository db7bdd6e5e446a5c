package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// ledger is what the user of a journal knows, and what therefore has to hold after a crash. Like a store, it keeps durably
// up to where it has dealt with frames, and drops segments behind that.
type ledger struct {
	mu      sync.Mutex
	begun   uint64 // the last frame given to Append
	acked   uint64 // the last frame promised to be on disk
	applied uint64
	from    Position
}

func (l *ledger) set(change func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *ledger) get() ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ledger{begun: l.begun, acked: l.acked, applied: l.applied, from: l.from}
}

// check opens the journal in sim and says what is wrong with it, nil if it has every frame that was acknowledged and none
// that was not appended, and takes another one.
func (l *ledger) check(sim *simFS, opt Options) (err error) {
	know := l.get()
	opt.FS = sim
	j, frames, err := open(simDir, know.from, know.applied, &opt)
	if err != nil {
		return err
	}
	defer j.Close()
	for i, f := range frames {
		if want := know.applied + 1 + uint64(i); f.Seq != want || !bytes.Equal(f.Body, bodyOf(want)) {
			return fmt.Errorf("frame %d of the replay is number %d with %d bytes, want number %d", i, f.Seq, len(f.Body), want)
		}
	}
	last := know.applied + uint64(len(frames))
	if last < know.acked || last > know.begun || j.Seq() != last {
		return fmt.Errorf("the journal ends at %d and is at %d, acknowledged were %d, begun %d", last, j.Seq(), know.acked, know.begun)
	}
	for _, s := range j.Segments() {
		if s.Last > 0 && (s.First == 0 || s.First > s.Last || s.Used > s.Size) {
			return fmt.Errorf("segment %+v makes no sense", s)
		}
	}
	// What recovery found is on disk now, so a power cut at this moment takes nothing of it.
	sim.mu.Lock()
	again := sim.crash(rand.New(rand.NewPCG(1, last)), 0)
	sim.mu.Unlock()
	for _, take := range []struct {
		sim  *simFS
		more uint64
	}{{again, 0}, {sim, 1}} {
		if take.more > 0 {
			if _, _, err := j.Append(framed(bodyOf(last+1)), true); err != nil {
				return fmt.Errorf("append: %w", err)
			}
			j.Close()
		}
		opt.FS = take.sim
		j2, frames, err := open(simDir, Position{}, know.applied, &opt)
		if err != nil {
			return fmt.Errorf("second open: %w", err)
		}
		j2.Close()
		if want := last - know.applied + take.more; uint64(len(frames)) != want {
			return fmt.Errorf("second open: %d frames, want %d", len(frames), want)
		}
	}
	return nil
}

// work appends, applies, drops and reopens, until steps are done or the journal fails. It returns the error of the failure.
func (l *ledger) work(rng *rand.Rand, opt Options, steps int) error {
	know := l.get()
	j, _, err := open(simDir, know.from, know.applied, &opt)
	if err != nil {
		return err
	}
	defer func() {
		if j != nil {
			j.Close()
		}
	}()
	if j.Seq() > know.begun {
		return fmt.Errorf("the journal is at %d and only %d were begun", j.Seq(), know.begun)
	}
	l.set(func(l *ledger) { l.acked = j.Seq() }) // a frame that was seen has to stay
	var at []Position
	first := j.Seq() + 1
	for range steps {
		switch n := rng.IntN(20); {
		case n < 16:
			seq := j.Seq() + 1
			l.set(func(l *ledger) { l.begun = seq })
			pos, got, err := j.Append(framed(bodyOf(seq)), n < 4)
			if errors.Is(err, ErrFull) {
				l.set(func(l *ledger) { l.begun = seq - 1 })
				time.Sleep(retryPrepare)
				continue
			}
			if err != nil {
				return err
			}
			if got != seq {
				return fmt.Errorf("Append gave number %d, want %d", got, seq)
			}
			at = append(at, pos)
			if opt.LoseUpTo == 0 {
				l.set(func(l *ledger) { l.acked = seq })
			}
		case n < 17:
			if err := j.Sync(); err != nil {
				return err
			}
			l.set(func(l *ledger) { l.acked = j.Seq() })
		case n < 19:
			if acked := l.get().acked; acked >= first {
				l.set(func(l *ledger) { l.applied, l.from = acked, at[acked-first] })
			}
			if s := j.Segments(); len(s) > 2 && s[0].Last <= l.get().applied && s[0].Last < j.Seq() {
				if err := j.Drop(s[0].Number); err != nil && j.Failed() != nil {
					return err
				}
			}
		default:
			if err := j.Close(); err != nil {
				return err
			}
			l.set(func(l *ledger) { l.acked = l.begun })
			know := l.get()
			if j, _, err = open(simDir, know.from, know.applied, &opt); err != nil {
				return err
			}
			if j.Seq() != know.begun {
				return fmt.Errorf("reopened at %d, want %d", j.Seq(), know.begun)
			}
			first, at = j.Seq()+1, nil
		}
	}
	return nil
}

// TestNoPowerCutLosesAnAcknowledgedFrame cuts the power after every single operation, in several ways each time.
func TestNoPowerCutLosesAnAcknowledgedFrame(t *testing.T) {
	t.Parallel()
	for _, lose := range []time.Duration{0, -1, time.Millisecond} {
		t.Run(fmt.Sprint("LoseUpTo ", lose), func(t *testing.T) {
			t.Parallel()
			for round := range rounds(12) {
				crashSweep(t, rand.Uint64()+uint64(round), lose)
			}
		})
	}
}

// rounds makes long tests shorter with -short.
func rounds(n int) int {
	if testing.Short() {
		return max(1, n/10)
	}
	return n
}

func crashSweep(t *testing.T, seed uint64, lose time.Duration) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	sim := newSimFS()
	opt := *small(sim)
	opt.LoseUpTo = lose
	var l ledger
	images := 0
	cuts := rand.New(rand.NewPCG(seed, 2))
	sim.after = func(op string) {
		for _, chance := range []float64{0, 1, 0.5, 0.9} {
			if t.Failed() {
				return
			}
			images++
			if err := l.check(sim.crash(cuts, chance), opt); err != nil {
				t.Errorf("seed %d, image %d, after %s: %v", seed, images, op, err)
			}
		}
	}
	if err := l.work(rng, opt, 120); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	if images < 500 {
		t.Errorf("seed %d: only %d images", seed, images)
	}
}

// TestPowerCutDuringRecovery cuts the power again while the journal is being opened after the first cut.
func TestPowerCutDuringRecovery(t *testing.T) {
	t.Parallel()
	for range rounds(60) {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 1))
		sim := newSimFS()
		opt := *small(sim)
		if seed%2 == 0 {
			opt.LoseUpTo = -1
		}
		var l ledger
		if err := l.work(rng, opt, 30+rng.IntN(40)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		sim.mu.Lock()
		image := sim.crash(rng, 0.6)
		sim.mu.Unlock()
		image.after = func(op string) {
			if err := l.check(image.crash(rng, 0.5), opt); err != nil && !t.Failed() {
				t.Errorf("seed %d: after %s: %v", seed, op, err)
			}
		}
		know := l.get()
		opt.FS = image
		j, _, err := open(simDir, know.from, know.applied, &opt)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		image.mu.Lock()
		image.after = nil
		image.mu.Unlock()
		mustClose(t, j)
	}
}

// TestEveryErrorIsSurvived lets the n-th call of each kind fail, for every n, once or from then on. The journal has to stop
// or go on as it says, and lose nothing; neither when the process goes on, nor when it restarts, nor when the power goes.
func TestEveryErrorIsSurvived(t *testing.T) {
	t.Parallel()
	tests := []struct {
		op     string
		err    error
		onward bool
	}{
		{"sync", syscall.EIO, false},
		{"sync", syscall.EIO, true},
		{"write", syscall.EIO, false},
		{"write", syscall.EIO, true},
		{"write", syscall.ENOSPC, false},
		{"write", syscall.ENOSPC, true},
		{"create", syscall.ENOSPC, false},
		{"create", syscall.ENOSPC, true},
		{"create", syscall.EMFILE, true},
		{"rename", syscall.EIO, false},
		{"rename", syscall.ENOSPC, false},
		{"syncdir", syscall.EIO, false},
		{"syncdir", syscall.EIO, true},
		{"remove", syscall.EIO, false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %v onward %v", test.op, test.err, test.onward), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			for n := 1; n < 1000; n++ {
				reached := true
				synctest.Test(t, func(t *testing.T) {
					reached = errorAt(t, seed, n, test.op, test.err, test.onward)
				})
				if !reached || t.Failed() {
					break
				}
				if testing.Short() {
					n += n / 3
				}
			}
		})
	}
}

// errorAt reports whether there was an n-th call of op.
func errorAt(t *testing.T, seed uint64, n int, op string, fault error, onward bool) bool {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	sim := newSimFS()
	opt := *small(sim)
	var l ledger
	calls := 0
	sim.fail = func(o, path string) (error, bool) {
		if o != op {
			return nil, false
		}
		calls++
		if calls == n || onward && calls > n {
			return fault, op == "sync"
		}
		return nil, false
	}
	err := l.work(rng, opt, 60)
	outOfSpace := outOfSpace(fault)
	switch {
	case calls < n && err != nil:
		t.Errorf("seed %d: %v without a fault", seed, err)
	case err != nil && !errors.Is(err, fault):
		t.Errorf("seed %d, call %d: the cause is lost: %v", seed, n, err)
	case err != nil && outOfSpace && errors.Is(err, ErrFailed) && op != "sync":
		t.Errorf("seed %d, call %d: a full disk made the journal fail: %v", seed, n, err)
	}

	sim.mu.Lock()
	sim.fail = nil
	image := sim.crash(rng, rng.Float64())
	sim.mu.Unlock()
	if err := l.check(image, opt); err != nil {
		t.Errorf("seed %d, call %d, after a power cut: %v", seed, n, err)
	}
	// The process alone restarts: it sees what was written, and must not believe that it is on disk.
	if err := l.check(sim, opt); err != nil {
		t.Errorf("seed %d, call %d, after a restart: %v", seed, n, err)
	}
	return calls >= n
}

func TestAfterAFailedSyncEveryWriteIsRefused(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"sync", "write"} {
		sim := newSimFS()
		j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
		positions := fill(t, j, 12)
		sim.mu.Lock()
		failing := true
		sim.fail = func(op, path string) (error, bool) {
			if failing && op == fault {
				return syscall.EIO, true
			}
			return nil, false
		}
		sim.mu.Unlock()
		_, _, err := j.Append(framed([]byte("unknown")), true)
		if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: %v", fault, err)
		}
		sim.mu.Lock()
		failing = false
		sim.mu.Unlock()
		for range 3 {
			if _, _, err := j.Append(framed(nil), true); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("%s: the next Append: %v", fault, err)
			}
		}
		if err := j.Drop(j.Segments()[0].Number); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: Drop: %v", fault, err)
		}
		if err := j.Failed(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: Failed: %v", fault, err)
		}
		for i, pos := range positions {
			f, err := j.ReadFrame(pos, nil)
			if err != nil {
				t.Fatalf("%s: reading stopped too: %v", fault, err)
			}
			checkFrames(t, []Frame{f}, uint64(i+1), uint64(i+1))
		}
		mustClose(t, j)
	}
}

// TestShortWriteIsAFailure has a disk that takes less than it was given and does not say so.
func TestShortWriteIsAFailure(t *testing.T) {
	t.Parallel()
	sim := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
	j.cur.file = shortFile{j.cur.file}
	if _, _, err := j.Append(framed([]byte("text")), false); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "short write") {
		t.Fatalf("Append: %v", err)
	}
}

type shortFile struct{ File }

func (f shortFile) WriteAt(p []byte, off int64) (int, error) {
	return f.File.WriteAt(p[:len(p)-1], off)
}

// TestRefusedFrameNeverComesBack refuses a frame for lack of space when all of it but zeros is already written, so that it
// is whole on disk.
func TestRefusedFrameNeverComesBack(t *testing.T) {
	t.Parallel()
	sim := newSimFS()
	j, _ := mustOpen(t, simDir, Position{}, 0, small(sim))
	fill(t, j, 3)
	writes := 0
	sim.mu.Lock()
	sim.fail = func(op, path string) (error, bool) {
		if op == "write" && strings.HasSuffix(path, tempName) && j.cur.file == sim.names["journal/"+segmentName(j.cur.number)] {
			if writes++; writes == 1 {
				return syscall.ENOSPC, false
			}
		}
		return nil, false
	}
	sim.mu.Unlock()
	refused := append(bytes.Repeat([]byte("x"), 100), make([]byte, 1000)...)
	if _, _, err := j.Append(framed(refused), true); !errors.Is(err, ErrFull) || j.Failed() != nil {
		t.Fatalf("Append: %v", err)
	}
	sim.mu.Lock()
	sim.fail = nil
	image := sim.crash(rand.New(rand.NewPCG(1, 1)), 1)
	sim.mu.Unlock()
	_, frames := mustOpen(t, simDir, Position{}, 0, small(image))
	checkFrames(t, frames, 1, 3)
	fill(t, j, 4)
	mustClose(t, j)
	_, frames = mustOpen(t, simDir, Position{}, 0, small(sim))
	checkFrames(t, frames, 1, 4)
}

// FuzzRecover opens a segment whose frames are arbitrary bytes. The marker in them is given away, unlike in life.
func FuzzRecover(f *testing.F) {
	sim := newSimFS()
	opt := small(sim)
	opt.marker = func() uint64 { return 0x1122334455667788 }
	j, _ := mustOpen(f, simDir, Position{}, 0, opt)
	fill(f, j, 2)
	mustClose(f, j)
	good := sim.bytes(1)
	f.Add(good[blockSize:], uint64(0), int64(0))
	f.Add(good[blockSize:blockSize+100], uint64(1), int64(blockSize))
	f.Add(bytes.Repeat(good[blockSize:blockSize+HeaderSize], 20), uint64(1), int64(blockSize))
	f.Add([]byte("short"), uint64(3), int64(-8))
	f.Fuzz(func(t *testing.T, content []byte, after uint64, off int64) {
		if len(content) > blockSize {
			content = content[:blockSize]
		}
		image := newSimFS()
		image.add(simDir+"/"+segmentName(1), append(bytes.Clone(good[:blockSize]), append(content, make([]byte, blockSize-len(content))...)...))
		opt := *small(image)
		total := 0
		j, err := Open(simDir, Position{1, off}, after, &opt, func(f Frame) error {
			total += len(f.Body)
			return nil
		})
		if total > blockSize {
			t.Fatalf("replayed %d bytes out of %d", total, blockSize)
		}
		if err != nil {
			return
		}
		if _, _, err := j.Append(framed([]byte("next")), false); err != nil {
			t.Fatal(err)
		}
		last := j.Seq()
		mustClose(t, j)
		j, _ = mustOpen(t, simDir, Position{}, after, &opt)
		if j.Seq() != last {
			t.Fatalf("the journal was at %d and is at %d", last, j.Seq())
		}
		mustClose(t, j)
	})
}

// FuzzSegmentHeader parses arbitrary bytes as the header of a segment file, and as the whole file.
func FuzzSegmentHeader(f *testing.F) {
	f.Add((&segmentHeader{number: 1, marker: 5, size: minimumSize}).appendTo(nil)[:headerLen], 0)
	f.Fuzz(func(t *testing.T, b []byte, zeros int) {
		if zeros < 0 || zeros > 1<<16 {
			return
		}
		image := newSimFS()
		image.add(simDir+"/"+segmentName(1), append(b, make([]byte, zeros)...))
		j, _, err := open(simDir, Position{}, 0, &Options{FS: image})
		if err == nil {
			mustClose(t, j)
		}
	})
}
