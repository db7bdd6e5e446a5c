package retry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hookgate/hookgate/retry"
)

func TestStandardIsTheScheduleOfStandardWebhooks(t *testing.T) {
	t.Parallel()
	want := []string{"5s", "5m0s", "30m0s", "2h0m0s", "5h0m0s", "10h0m0s", "14h0m0s", "20h0m0s", "24h0m0s"}
	for i, w := range want {
		wait, again := retry.Standard.Next(retry.Failure{Attempt: i + 1})
		if !again || wait.String() != w {
			t.Errorf("after attempt %d: %v, %v; want %s, true", i+1, wait, again, w)
		}
	}
	for _, attempt := range []int{10, 11, 10_000, math.MaxInt} {
		if wait, again := retry.Standard.Next(retry.Failure{Attempt: attempt}); again || wait != 0 {
			t.Errorf("after attempt %d: %v, %v; want the end", attempt, wait, again)
		}
	}
}

func TestScheduleEndsWithItsList(t *testing.T) {
	t.Parallel()
	if wait, again := retry.Schedule().Next(retry.Failure{Attempt: 1}); again {
		t.Errorf("an empty schedule tries again after %v", wait)
	}
	waits := []time.Duration{time.Minute, time.Hour}
	p := retry.Schedule(waits...)
	waits[0] = 7 * time.Hour
	for _, c := range []struct {
		attempt int
		wait    time.Duration
		again   bool
	}{{math.MinInt, time.Minute, true}, {0, time.Minute, true}, {1, time.Minute, true}, {2, time.Hour, true}, {3, 0, false}} {
		if wait, again := p.Next(retry.Failure{Attempt: c.attempt}); wait != c.wait || again != c.again {
			t.Errorf("after attempt %d: %v, %v; want %v, %v", c.attempt, wait, again, c.wait, c.again)
		}
	}
}

func TestScheduleCutsWaitsToItsRange(t *testing.T) {
	t.Parallel()
	p := retry.Schedule(-time.Second, math.MaxInt64)
	for _, r := range []float64{0, 0.5, math.Nextafter(1, 0)} {
		random := func() float64 { return r }
		if wait, again := p.Next(retry.Failure{Attempt: 1, Random: random}); wait != 0 || !again {
			t.Errorf("a negative wait became %v, %v", wait, again)
		}
		wait, again := p.Next(retry.Failure{Attempt: 2, Random: random})
		if wait < retry.MaxWait*8/10 || wait > retry.MaxWait || !again {
			t.Errorf("an enormous wait became %v, %v", wait, again)
		}
	}
	if err := retry.Check(p); err == nil {
		t.Error("Check finds nothing wrong with a negative wait")
	}
	if err := retry.Check(retry.Standard); err != nil {
		t.Errorf("Check of Standard: %v", err)
	}
}

func TestJitterSpreadsOverTheWholeRange(t *testing.T) {
	t.Parallel()
	p := retry.Schedule(100 * time.Second)
	for r, want := range map[float64]time.Duration{
		0:            80 * time.Second,
		0.25:         90 * time.Second,
		0.5:          100 * time.Second,
		1:            120 * time.Second,
		-1:           80 * time.Second, // out of range is brought into it
		7:            120 * time.Second,
		math.Inf(1):  120 * time.Second,
		math.Inf(-1): 80 * time.Second,
	} {
		if wait, _ := p.Next(retry.Failure{Attempt: 1, Random: func() float64 { return r }}); wait != want {
			t.Errorf("with the random number %v: %v, want %v", r, wait, want)
		}
	}
	if wait, _ := p.Next(retry.Failure{Attempt: 1, Random: math.NaN}); wait != 80*time.Second {
		t.Errorf("with NaN: %v, want the shortest wait", wait)
	}
}

// Every policy of this package, any attempt, any random number: the wait lies in the range that Bounds names, which lies in
// 0 to MaxWait, and both agree on when it is over.
func TestWaitsStayInTheirBounds(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	duration := func() time.Duration { return time.Duration(random.Uint64() >> random.IntN(64)) } // any sign, any size
	factor := func() float64 {
		return []float64{0, 1, 2, 1.01, 1.5, 1e300, math.NaN(), math.Inf(1), -3, random.Float64() * 4}[random.IntN(10)]
	}
	for range 2000 {
		var p retry.Policy
		var what string
		if random.IntN(2) == 0 {
			waits := make([]time.Duration, random.IntN(8))
			for i := range waits {
				waits[i] = duration()
			}
			p, what = retry.Schedule(waits...), fmt.Sprintf("Schedule(%v)", waits)
		} else {
			g := retry.Growth{
				Initial: duration(), Max: duration(), Multiplier: factor(), Jitter: factor() - 1,
				Attempts: random.IntN(30) - 5, MaxElapsed: duration(),
			}
			p, what = retry.Exponential(g), fmt.Sprintf("Exponential(%+v)", g)
		}
		for _, attempt := range []int{-1, 1, 2, 3, 9, 10, 11, 60, 63, 64, 65, 1000, 10_000, math.MaxInt} {
			shortest, longest, more := p.(retry.Bounder).Bounds(attempt)
			if shortest < 0 || longest < shortest || longest > retry.MaxWait {
				t.Fatalf("%s: after attempt %d the bounds are %v to %v", what, attempt, shortest, longest)
			}
			for _, f := range []retry.Failure{
				{Attempt: attempt},
				{Attempt: attempt, Random: random.Float64},
				{Attempt: attempt, Random: func() float64 { return 0 }},
				{Attempt: attempt, Random: func() float64 { return math.Nextafter(1, 0) }},
				{Attempt: attempt, Random: factor, Since: duration()},
			} {
				wait, again := p.Next(f)
				if again && !more {
					t.Fatalf("%s: after attempt %d Bounds says that it is over, Next says %v", what, attempt, wait)
				}
				if again && (wait < shortest || wait > longest) {
					t.Fatalf("%s: after attempt %d: %v, outside of %v to %v", what, attempt, wait, shortest, longest)
				}
				if !again && wait != 0 {
					t.Fatalf("%s: after attempt %d: over, but with a wait of %v", what, attempt, wait)
				}
			}
		}
	}
}

func TestClamp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ wait, lo, hi, want time.Duration }{
		{5, 1, 9, 5},
		{-5, 1, 9, 1},
		{50, 1, 9, 9},
		{math.MaxInt64, 1, 9, 9},
		{math.MinInt64, 1, 9, 1},
		{5, 9, 1, 1},
	} {
		if got := retry.Clamp(c.wait, c.lo, c.hi); got != c.want {
			t.Errorf("Clamp(%d, %d, %d) = %d, want %d", c.wait, c.lo, c.hi, got, c.want)
		}
	}
}

func ExampleSchedule() {
	p := retry.Schedule(time.Minute, time.Hour)
	for attempt := 1; attempt <= 3; attempt++ {
		fmt.Println(p.Next(retry.Failure{Attempt: attempt}))
	}
	// Output:
	// 1m0s true
	// 1h0m0s true
	// 0s false
}
