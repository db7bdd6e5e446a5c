package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
)

// However few keys are kept in memory, an idempotency key is taken for its window and free after it: through frozen parts,
// closed and crashed stores, and hours that end.
func TestFrozenKeysAreNeitherForgottenNorKept(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { frozenKeys(t, seed) })
		})
	}
}

type takenKey struct {
	id   store.ID
	ends time.Time
}

func frozenKeys(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	m, full := memory.NewMap(), &atomic.Bool{}
	options := &kvstore.Options{Keys: 100, Log: &plainLog{}}
	s := open(t, fullKV{m, full}, options)
	taken := map[string]takenKey{}
	frozen := false
	for n := 0; n < 10_000; {
		b := &store.Batch{}
		var keys []string
		for range 1 + rng.IntN(40) {
			key := fmt.Sprint("k", rng.IntN(2500))
			window := time.Duration(1+rng.IntN(20)) * time.Hour
			b.Appends = append(b.Appends, store.Append{Event: &store.Event{ID: testID(n), Type: "t", IdempotencyKey: key}, Window: window})
			keys = append(keys, key)
			n++
		}
		now := time.Now()
		r, err := s.Commit(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range r.Appends {
			old, ok := taken[keys[i]]
			switch {
			case ok && old.ends.After(now):
				if !errors.Is(a.Err, store.ErrDuplicate) || a.ID != old.id {
					t.Fatalf("%q is taken by %v until %v, now is %v: %+v", keys[i], old.id, old.ends, now, a)
				}
			case a.Err != nil:
				t.Fatalf("%q is free: %+v", keys[i], a)
			default:
				taken[keys[i]] = takenKey{a.ID, now.Add(b.Appends[i].Window)}
			}
		}
		switch rng.IntN(30) {
		case 0:
			time.Sleep(time.Duration(rng.IntN(180)) * time.Minute)
		case 1, 2, 3, 4:
			time.Sleep(150 * time.Millisecond) // long enough for a flush
			synctest.Wait()
		case 5:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, fullKV{m, full}, options)
		case 6: // a crash, perhaps between two flushes
			left := m.Clone()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			m = left
			s = open(t, fullKV{m, full}, options)
		case 7, 8:
			full.Store(!full.Load())
		}
		if err := s.Flush(); err != nil && !errors.Is(err, store.ErrFull) {
			t.Fatal(err)
		}
		if n, _ := s.KeysInMemory(); n > options.Keys {
			t.Fatalf("%d keys are in memory, and %d are allowed", n, options.Keys)
		}
		frozen = frozen || rows(t, m, 'z') > 0
	}
	if !frozen {
		t.Fatal("nothing was ever frozen, so nothing was tested")
	}
	full.Store(false)
	time.Sleep(48 * time.Hour)
	commit(t, s, &store.Batch{Docs: []store.DocPut{{Doc: store.Doc{Kind: "k", ID: "x"}}}})
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if z, h := rows(t, m, 'z'), rows(t, m, 'h'); z+h > 0 {
		t.Errorf("every key is free, and %d rows of frozen keys and %d others are still there", z, h)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A store that is opened when all its keys are free again gives their rows back too.
func TestKeysThatEndWhileTheStoreIsClosedAreDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory.NewMap()
		s := open(t, m, nil)
		commit(t, s, &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: testID(1), Type: "t", IdempotencyKey: "k"}}}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if rows(t, m, 'h') != 1 {
			t.Fatal("the key has no row")
		}
		time.Sleep(26 * time.Hour)
		s = open(t, m, nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n := rows(t, m, 'h'); n != 0 {
			t.Errorf("%d rows of keys that ended are still there", n)
		}
	})
}

// Memory holds a key in at most 43 bytes, and a frozen one in a filter of about ten bits.
func TestKeysTakeTheMemoryThatTheirCommentSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit, keys = 20_000, 120_000
		s := open(t, memory.NewMap(), &kvstore.Options{Keys: limit})
		for n := 0; n < keys; {
			b := &store.Batch{}
			for range 1000 {
				b.Appends = append(b.Appends, store.Append{Event: &store.Event{ID: testID(n), Type: "t", IdempotencyKey: fmt.Sprint(n)}})
				n++
			}
			commit(t, s, b)
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		n, size := s.KeysInMemory()
		most := 43*limit + (keys-limit)*2
		t.Logf("%d keys in memory, %d bytes for all", n, size)
		if n > limit || size > most {
			t.Errorf("%d keys of %d are in memory, all take %d bytes, want at most %d", n, keys, size, most)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func commit(t testing.TB, s *kvstore.Store, b *store.Batch) *store.Receipt {
	t.Helper()
	r, err := s.Commit(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range r.Appends {
		if a.Err != nil {
			t.Fatalf("append %d: %v", i, a.Err)
		}
	}
	return r
}

// rows counts the rows of a kind.
func rows(t testing.TB, m kvstore.KV, kind byte) int {
	t.Helper()
	n := 0
	err := m.View(context.Background(), func(r kvstore.Reader) error {
		for k := range r.Scan([]byte{kind}, []byte{kind + 1}) {
			if bytes.HasPrefix(k, []byte{kind}) {
				n++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
