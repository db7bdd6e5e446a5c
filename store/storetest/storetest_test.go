package storetest

import (
	"testing"

	"github.com/hookgate/hookgate/store"
)

// modelHarness is everything that a harness can do, for a model.
func modelHarness(m *Model) Harness {
	cur := m
	again := func() (store.Store, error) {
		cur = cur.reopen()
		return cur, nil
	}
	return Harness{
		Store: m, Reopen: again, Crash: again,
		FailAt: func(n int, once bool, err error) {
			calls := 0
			cur.mu.Lock()
			defer cur.mu.Unlock()
			cur.fail = func() (error, bool) {
				if calls++; n == 0 || calls < n || once && calls > n {
					return nil, false
				}
				return err, n%4 >= 2 // not on disk, or on disk and nobody knows
			}
		},
	}
}

func TestModelPasses(t *testing.T) {
	Run(t, func(*testing.T) Harness { return modelHarness(NewModel()) })
}

func TestModelPassesWithoutRestarts(t *testing.T) {
	Run(t, func(*testing.T) Harness { return Harness{Store: NewModel()} })
}

func BenchmarkModel(b *testing.B) {
	Benchmark(b, func(*testing.B) Harness { return Harness{Store: NewModel()} })
}
