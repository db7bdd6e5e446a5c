package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
	"github.com/hookgate/hookgate/store/memory"
	"github.com/hookgate/hookgate/store/storetest"
)

// faulty is a map whose writes fail when they are told to.
type faulty struct {
	*memory.Map
	mu   sync.Mutex
	n    int
	once bool
	err  error
}

func (f *faulty) Update(ctx context.Context, fn func(kvstore.Writer) error) error {
	f.mu.Lock()
	err := error(nil)
	if f.err != nil {
		if f.n--; f.n <= 0 {
			err = f.err
			if f.once {
				f.err = nil
			}
		}
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.Map.Update(ctx, fn)
}

func (f *faulty) failAt(n int, once bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.once, f.err = n, once, err
}

func harness(t *testing.T) storetest.Harness {
	m := memory.NewMap()
	f := &faulty{Map: m}
	s, err := kvstore.New(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	var old []store.Store
	t.Cleanup(func() {
		for _, s := range old {
			s.Close()
		}
	})
	current := s
	return storetest.Harness{
		Store: s,
		Reopen: func() (store.Store, error) {
			s, err := kvstore.New(m, nil)
			current = s
			return s, err
		},
		Crash: func() (store.Store, error) {
			old = append(old, current)
			m = m.Clone()
			s, err := kvstore.New(m, nil)
			current = s
			return s, err
		},
		FailAt: f.failAt,
	}
}

func TestConformance(t *testing.T) { storetest.Run(t, harness) }

func TestMapKeepsOrderAndSnapshots(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(1, 2))
	m := memory.NewMap()
	plain := map[string]string{}
	for round := range 300 {
		err := m.Update(ctx, func(w kvstore.Writer) error {
			for range 20 {
				k := fmt.Sprintf("%03d", rng.IntN(500))
				if rng.IntN(3) == 0 {
					delete(plain, k)
					w.Delete([]byte(k))
				} else {
					plain[k] = fmt.Sprint(round)
					w.Put([]byte(k), []byte(plain[k]))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		failed := m.Update(ctx, func(w kvstore.Writer) error {
			w.Put([]byte("001"), []byte("never"))
			return store.ErrFull
		})
		if failed == nil {
			t.Fatal("a failed update reported success")
		}
		from, to := fmt.Sprintf("%03d", rng.IntN(500)), fmt.Sprintf("%03d", rng.IntN(500))
		var want []string
		for k, v := range plain {
			if k >= from && k < to {
				want = append(want, k+v)
			}
		}
		slices.Sort(want)
		var got, back []string
		m.View(ctx, func(r kvstore.Reader) error {
			m.Update(ctx, func(w kvstore.Writer) error { return w.Put([]byte("250x"), []byte("later")) })
			for k, v := range r.Scan([]byte(from), []byte(to)) {
				got = append(got, string(k)+string(v))
			}
			for k, v := range r.ScanBack([]byte(from), []byte(to)) {
				back = append(back, string(k)+string(v))
			}
			return nil
		})
		m.Update(ctx, func(w kvstore.Writer) error { return w.Delete([]byte("250x")) })
		slices.Reverse(back)
		if !slices.Equal(got, want) || !slices.Equal(back, want) {
			t.Fatalf("round %d, [%s, %s): got %v and %v, want %v", round, from, to, got, back, want)
		}
	}
}
