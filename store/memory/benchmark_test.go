package memory_test

import (
	"testing"

	"github.com/hookgate/hookgate/store/memory"
	"github.com/hookgate/hookgate/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) storetest.Harness {
		s, err := memory.New()
		if err != nil {
			b.Fatal(err)
		}
		return storetest.Harness{Store: s}
	})
}
