package bolt

import (
	"path/filepath"
	"testing"

	"github.com/hookgate/hookgate/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) storetest.Harness {
		s, err := Open(filepath.Join(b.TempDir(), "s"), nil)
		if err != nil {
			b.Fatal(err)
		}
		return storetest.Harness{Store: s}
	})
}
