package bolt

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hookgate/hookgate/store"
)

// The tests of this file do not run side by side: while one of them starts a process, that process holds every file of this one
// for a moment, and with it the locks that another test has just given back.

// childDir, where set, makes this test binary the other process of a test: it opens the store in that folder.
const childDir = "HOOKGATE_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child commits for ever, and says what was acknowledged; it ends when it is killed, or when its input ends.
func child(dir string) int {
	s, err := Open(dir, quiet(small))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("open")
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(time.Now().UnixNano())))
	for {
		b := &store.Batch{}
		for range 1 + rng.IntN(4) {
			b.Appends = append(b.Appends, testAppend(newID(rng), []byte(fmt.Sprint(rng.Uint64())), "d"))
		}
		res, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: 3, Lease: time.Minute})
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		for _, l := range res.Leases {
			b.Settles = append(b.Settles, done(l))
		}
		r, err := s.Commit(ctx, b)
		if err != nil {
			fmt.Println("error", err)
			return 1
		}
		for i, a := range r.Appends {
			if a.Err != nil {
				fmt.Println("error", a.Err)
				return 1
			}
			fmt.Println("event", a.ID, string(b.Appends[i].Event.Payload))
		}
		for i, l := range res.Leases {
			if r.Settles[i] == nil {
				fmt.Println("done", l.Delivery.ID)
			}
		}
	}
}

func quiet(o *Options) *Options {
	q := *o
	q.Logger = slog.New(slog.DiscardHandler)
	return &q
}

// newID makes a UUIDv7 of now.
func newID(rng *rand.Rand) (id store.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16)
	binary.BigEndian.PutUint64(id[8:], rng.Uint64())
	id[6], id[7] = 0x70|byte(rng.IntN(16)), byte(rng.IntN(256))
	return id
}

func testAppend(id store.ID, payload []byte, dest store.Destination) store.Append {
	return store.Append{
		Event:      &store.Event{ID: id, Type: "t", Payload: payload},
		Deliveries: []store.NewDelivery{{Destination: dest}},
	}
}

func done(l store.Lease) store.Settle {
	return store.Settle{ID: l.Delivery.ID, Gen: l.Gen, Op: store.OpDone, Reason: "delivered", Attempt: &store.Attempt{Code: 200}}
}

func startChild(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner, io.Closer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out), in
}

// Whatever was acknowledged before a kill -9 is there after it: every event with its bytes, and nothing that was done is handed
// out again.
func TestKilledProcessLosesNothing(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	dir := filepath.Join(t.TempDir(), "s")
	events := map[string]string{}
	finished := map[string]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		cmd, out, in := startChild(t, dir)
		var kill *time.Timer
		for out.Scan() {
			f := strings.Fields(out.Text())
			switch f[0] {
			case "open":
				kill = time.AfterFunc(time.Duration(rng.IntN(120))*time.Millisecond, func() { cmd.Process.Kill() })
			case "event":
				if len(f) == 3 {
					events[f[1]] = f[2]
				}
			case "done":
				finished[f[1]] = true
			case "error":
				t.Fatalf("round %d: %s", round, out.Text())
			}
		}
		cmd.Wait()
		if kill == nil {
			t.Fatalf("round %d: the store did not open", round)
		}
		kill.Stop()
		in.Close()
	}
	s, err := Open(dir, quiet(small))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(events) < rounds {
		t.Fatalf("only %d events were acknowledged in %d rounds", len(events), rounds)
	}
	for id, payload := range events {
		e, _ := store.ParseID(id)
		page, err := s.Events(context.Background(), store.EventQuery{IDs: []store.ID{e}})
		if err != nil || len(page.Items) != 1 || string(page.Items[0].Payload) != payload {
			t.Fatalf("event %s: %+v, %v, want %q", id, page.Items, err, payload)
		}
	}
	for {
		r, err := s.Claim(context.Background(), store.ClaimRequest{Worker: "w", Max: 1000, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Leases {
			if finished[l.Delivery.ID.String()] {
				t.Errorf("%v is done and was handed out again", l.Delivery.ID)
			}
		}
		if len(r.Leases) == 0 {
			break
		}
	}
	t.Logf("%d rounds, %d events, %d done", rounds, len(events), len(finished))
}

// A second process gets its answer at once and in words.
func TestSecondProcessIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	cmd, out, in := startChild(t, dir)
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("the other process says %q", out.Text())
	}
	began := time.Now()
	_, err := Open(dir, nil)
	if !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("Open: %v, want ErrBusy", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	in.Close()
	for out.Scan() {
	}
	cmd.Wait()
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Several processes may begin a store in one folder at one moment: there is one store afterwards, and nobody's is replaced.
func TestBeginningAtOnceMakesOneStore(t *testing.T) {
	for range 30 {
		dir := filepath.Join(t.TempDir(), "s")
		var mu sync.Mutex
		var opened []*Store
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				s, err := Open(dir, quiet(small))
				if err != nil {
					if !errors.Is(err, store.ErrBusy) {
						t.Errorf("Open: %v", err)
					}
					return
				}
				mu.Lock()
				opened = append(opened, s)
				mu.Unlock()
			})
		}
		all.Wait()
		if len(opened) > 1 {
			t.Fatalf("%d opened it", len(opened))
		}
		for _, s := range opened {
			if _, err := s.Commit(context.Background(), &store.Batch{Appends: []store.Append{testAppend(store.ID{1}, nil, "d")}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(dir, quiet(small))
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(context.Background())
		if err != nil || st.Events != int64(len(opened)) {
			t.Fatalf("%d committed, and the store has %+v, %v", len(opened), st, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), newName) {
				t.Errorf("%s was left behind", e.Name())
			}
		}
	}
}

// filled makes a folder with a store that has a few hundred events, and closes it.
func filled(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	s, err := Open(dir, quiet(small))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fill(t *testing.T, s *Store, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	for n > 0 {
		b := &store.Batch{}
		for range min(n, 50) {
			b.Appends = append(b.Appends, testAppend(newID(rng), make([]byte, 500), "d"))
			n--
		}
		if _, err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// An index of any length but its own is an error. The host survives, and the file can be put back and opened by the same
// process: nothing keeps its lock.
func TestTruncatedIndexIsAnError(t *testing.T) {
	dir := filled(t, 2000)
	path := filepath.Join(dir, indexName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, pages := range []int{0, 1, 2, 3, 4, 5, 10, 20} {
		for _, extra := range []int{0, 100} {
			size := pages*os.Getpagesize() + extra
			if err := os.Truncate(path, int64(size)); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, quiet(small))
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("an index of %d pages and %d bytes: %v, want ErrCorrupt", pages, extra, err)
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt(whole, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if s, err = Open(dir, quiet(small)); err != nil {
				t.Fatalf("after an index of %d pages was put back: %v", pages, err)
			}
			if st, err := s.Stats(context.Background()); err != nil || st.Events != 2000 {
				t.Fatalf("%+v, %v", st, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if whole, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// After a panic of bbolt the memory map of the file is lost, and with it, as the system has it, the lock would live on. The folder
// can be opened again all the same.
func TestLockIsGivenBackAfterAPanic(t *testing.T) {
	path := filepath.Join(filled(t, 10), indexName)
	x, _, err := openIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	panicked := errors.New("bbolt panicked")
	x.stop(&panicked)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	again, _, err := openIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file that is cut short under a running store makes its calls fail; neither does the host end nor does a call hang.
func TestTruncationUnderARunningStore(t *testing.T) {
	for _, pages := range []int{0, 1, 3, 10} {
		for _, busy := range []bool{false, true} {
			dir := filled(t, 2000)
			s, err := Open(dir, quiet(small))
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s, 50)
			if !busy {
				time.Sleep(5 * time.Millisecond) // the size of the file is looked at again
			}
			if err := os.Truncate(filepath.Join(dir, indexName), int64(pages*os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				var failed error
				for i := range 300 {
					if _, err := s.Commit(context.Background(), &store.Batch{Appends: []store.Append{testAppend(store.ID{9, byte(i >> 8), byte(i)}, nil, "d")}}); err != nil {
						failed = err
					}
					s.Events(context.Background(), store.EventQuery{Tenant: store.AllTenants})
					s.Claim(context.Background(), store.ClaimRequest{Worker: "w", Max: 10, Lease: time.Second})
				}
				s.Close()
				ended <- failed
			}()
			select {
			case err := <-ended:
				if !errors.Is(err, store.ErrFailed) && !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%d pages are left, and Commit says %v", pages, err)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("with %d pages left a call hangs", pages)
			}
		}
	}
}

// A bbolt file of another program, and one that is no bbolt file, stay as they are.
func TestForeignIndexIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, indexName)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Open: %v, want ErrCorrupt", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file was changed, %v", err)
	}
}

// The journal of another store is refused, also in a folder whose name means something to a pattern.
func TestJournalOfAnotherStoreIsRefused(t *testing.T) {
	one, other := filled(t, 10), filled(t, 10)
	odd := filepath.Join(t.TempDir(), "a[b]*c")
	if err := os.CopyFS(odd, os.DirFS(one)); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(odd, quiet(small)); err != nil {
		t.Fatal(err)
	} else if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(odd, indexName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(odd, quiet(small)); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "a journal and no index") {
		t.Errorf("a journal without its index: %v", err)
	}
	if err := os.CopyFS(odd+"2", os.DirFS(one)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(odd+"2", journalName)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(odd+"2", journalName), os.DirFS(filepath.Join(other, journalName))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(odd+"2", quiet(small)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("the journal of another store: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), &Options{MustExist: true}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a store that must exist: %v", err)
	}
}
