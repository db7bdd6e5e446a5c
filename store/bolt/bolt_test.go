package bolt

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/storetest"
)

// small makes segments so small that every test of any length goes through several.
var small = &Options{MinSegment: 64 << 10, MaxSegment: 256 << 10}

// faults makes durable writes of an open store fail, in the journal and in the index alike.
type faults struct {
	mu   sync.Mutex
	n    int
	once bool
	err  error
}

func (f *faults) set(n int, once bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.once, f.err = n, once, err
}

func (f *faults) next() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return nil
	}
	if f.n--; f.n > 0 {
		return nil
	}
	err := f.err
	if f.once {
		f.err = nil
	}
	return err
}

type faultyKV struct {
	*index
	f *faults
}

func (k faultyKV) Update(ctx context.Context, fn func(kvstore.Writer) error) error {
	if err := k.f.next(); err != nil {
		return err
	}
	return k.index.Update(ctx, fn)
}

type faultyLog struct {
	*journalLog
	f *faults
}

func (l faultyLog) Append(frame []byte, reserve bool) (kvstore.Mark, error) {
	if err := l.f.next(); err != nil {
		return kvstore.Mark{}, err
	}
	return l.journalLog.Append(frame, reserve)
}

// opened is a store with its parts in reach.
type opened struct {
	*kvstore.Store
	kv  *index
	dir string
}

func openFaulty(dir string, f *faults) (*opened, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := begin(dir, small); err != nil {
		return nil, err
	}
	kv, id, err := openIndex(filepath.Join(dir, indexName))
	if err != nil {
		return nil, err
	}
	log := &journalLog{dir: filepath.Join(dir, journalName), id: id, options: small}
	s, err := kvstore.New(faultyKV{kv, f}, &kvstore.Options{Log: faultyLog{log, f}})
	if err != nil {
		kv.Close()
		return nil, err
	}
	return &opened{s, kv, dir}, nil
}

// snapshot copies an open store as a crash would leave it: the index first, so that the journal is never behind it.
func (o *opened) snapshot(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, journalName), 0o700); err != nil {
		return err
	}
	err := o.kv.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(filepath.Join(dir, indexName), 0o600) })
	if err != nil {
		return err
	}
	return copyFiles(filepath.Join(o.dir, journalName), filepath.Join(dir, journalName))
}

func copyFiles(from, to string) error {
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, n := range names {
		in, err := os.Open(filepath.Join(from, n.Name()))
		if err != nil {
			if os.IsNotExist(err) {
				continue
			}
			return err
		}
		out, err := os.Create(filepath.Join(to, n.Name()))
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		in.Close()
		if err := out.Close(); err != nil {
			return err
		}
	}
	return nil
}

func harness(t *testing.T) storetest.Harness {
	root := t.TempDir()
	f := &faults{}
	generation := 0
	dir := filepath.Join(root, "0")
	current, err := openFaulty(dir, f)
	if err != nil {
		t.Fatal(err)
	}
	var old []*opened
	t.Cleanup(func() {
		for _, s := range old {
			s.Close()
		}
	})
	reopen := func() (store.Store, error) {
		f = &faults{}
		s, err := openFaulty(dir, f)
		if err != nil {
			return nil, err
		}
		current = s
		return s, nil
	}
	return storetest.Harness{
		Store:  current,
		Reopen: reopen,
		Crash: func() (store.Store, error) {
			generation++
			dir = filepath.Join(root, fmt.Sprint(generation))
			if err := current.snapshot(dir); err != nil {
				return nil, err
			}
			old = append(old, current)
			return reopen()
		},
		FailAt: func(n int, once bool, err error) { f.set(n, once, err) },
	}
}

func TestConformance(t *testing.T) { storetest.Run(t, harness) }
