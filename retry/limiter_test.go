package retry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hookgate/hookgate/retry"
)

func TestLimiterAllowsABurstThenItsRate(t *testing.T) {
	t.Parallel()
	l := retry.NewLimiter(10, 3)
	now := noon
	for i := range 3 {
		if ok, after := l.Allow(now); !ok || after != 0 {
			t.Fatalf("number %d of the burst: %v, %v", i+1, ok, after)
		}
	}
	ok, after := l.Allow(now)
	if ok || after < 99*time.Millisecond || after > 101*time.Millisecond {
		t.Fatalf("after the burst: %v, %v; want no, and about 100ms", ok, after)
	}
	if ok, _ := l.Allow(now.Add(after / 2)); ok {
		t.Error("half of the wait was enough")
	}
	if ok, _ := l.Allow(now.Add(after)); !ok {
		t.Error("the whole wait was not enough")
	}
}

// Whoever waits for as long as Allow says is allowed then, at any rate, from the tiniest to the largest.
func TestLimiterKeepsItsWord(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		perSecond := math.Pow(10, random.Float64()*13-6) // 1e-6 to 1e7
		l := retry.NewLimiter(perSecond, 1+random.IntN(5))
		now := noon
		for range 50 {
			ok, after := l.Allow(now)
			if ok == (after > 0) || after < 0 || after > retry.MaxWait {
				t.Fatalf("%v per second: %v, %v", perSecond, ok, after)
			}
			now = now.Add(after)
			if !ok {
				if ok, more := l.Allow(now); !ok {
					t.Fatalf("%v per second: after waiting %v it asks for %v more", perSecond, after, more)
				}
			}
			now = now.Add(time.Duration(random.Float64() / perSecond * 2e9))
		}
	}
}

func TestLimiterWithoutALimit(t *testing.T) {
	t.Parallel()
	var none *retry.Limiter
	for _, l := range []*retry.Limiter{
		none, {}, retry.NewLimiter(0, 1), retry.NewLimiter(-1, 0), retry.NewLimiter(math.NaN(), 1), retry.NewLimiter(math.Inf(1), 1),
	} {
		for range 1000 {
			if ok, after := l.Allow(noon); !ok || after != 0 {
				t.Fatalf("%v, %v; want no limit", ok, after)
			}
		}
	}
}

func TestLimiterTakesABurstOfOneAtLeast(t *testing.T) {
	t.Parallel()
	l := retry.NewLimiter(1, -4)
	if ok, _ := l.Allow(noon); !ok {
		t.Error("the first is refused")
	}
	if ok, _ := l.Allow(noon); ok {
		t.Error("the second is allowed")
	}
}

func TestLimiterWaitIsBounded(t *testing.T) {
	t.Parallel()
	l := retry.NewLimiter(1e-300, 1)
	l.Allow(noon)
	if ok, after := l.Allow(noon); ok || after != retry.MaxWait {
		t.Errorf("%v, %v; want no, and the longest wait", ok, after)
	}
}

func TestLimiterBearsAClockThatGoesBack(t *testing.T) {
	t.Parallel()
	l := retry.NewLimiter(1, 2)
	l.Allow(noon)
	if ok, _ := l.Allow(noon.Add(-time.Hour)); !ok {
		t.Error("the second of the burst is refused an hour earlier")
	}
	if ok, after := l.Allow(noon.Add(-time.Hour)); ok || after > 2*time.Second {
		t.Errorf("%v, %v; want no, and about a second", ok, after)
	}
	var gained int
	for range 10 {
		if ok, _ := l.Allow(noon); ok {
			gained++
		}
	}
	if gained > 2 {
		t.Errorf("when the clock is right again %d are allowed, more than the burst", gained)
	}
}

// Refusals must not eat what others would be allowed.
func TestLimiterLosesNothingUnderConcurrency(t *testing.T) {
	t.Parallel()
	l := retry.NewLimiter(1000, 1)
	var allowed atomic.Int64
	for ms := range 200 {
		now := noon.Add(time.Duration(ms) * 2 * time.Millisecond) // two tokens' time, of which the burst keeps one
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if ok, _ := l.Allow(now); ok {
					allowed.Add(1)
				}
			})
		}
		wg.Wait()
	}
	if n := allowed.Load(); n != 200 {
		t.Errorf("%d were allowed, want 200", n)
	}
}

func ExampleLimiter() {
	l := retry.NewLimiter(2, 1)
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	fmt.Println(l.Allow(now))
	fmt.Println(l.Allow(now))
	fmt.Println(l.Allow(now.Add(500 * time.Millisecond)))
	// Output:
	// true 0s
	// false 500ms
	// true 0s
}

func BenchmarkLimiter(b *testing.B) {
	l := retry.NewLimiter(1e6, 100)
	now := noon
	for b.Loop() {
		now = now.Add(500 * time.Nanosecond)
		l.Allow(now)
	}
}
