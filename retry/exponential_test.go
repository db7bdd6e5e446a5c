package retry_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/retry"
)

func TestExponentialDoublesUpToItsLimit(t *testing.T) {
	t.Parallel()
	p := retry.Exponential(retry.Growth{Initial: time.Second, Max: time.Minute, Attempts: -1})
	for attempt, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second, 7: time.Minute, 8: time.Minute,
		60: time.Minute, 64: time.Minute, 10_000: time.Minute, math.MaxInt: time.Minute,
	} {
		if wait, again := p.Next(retry.Failure{Attempt: attempt}); wait != want || !again {
			t.Errorf("after attempt %d: %v, %v; want %v, true", attempt, wait, again, want)
		}
	}
}

// The waits must follow the formula in the documentation, also where the smallest multiplier makes the longest list.
func TestExponentialFollowsItsFormula(t *testing.T) {
	t.Parallel()
	for _, g := range []retry.Growth{
		{Initial: time.Millisecond, Max: retry.MaxWait, Multiplier: 1.01, Attempts: -1},
		{Initial: 3 * time.Second, Max: 5 * time.Hour, Multiplier: 1.7, Attempts: -1},
		{Initial: time.Second, Max: retry.MaxWait, Multiplier: 1000, Attempts: -1},
		{Initial: time.Minute, Max: time.Hour, Multiplier: 1, Attempts: -1},
	} {
		p := retry.Exponential(g)
		if err := retry.Check(p); err != nil {
			t.Errorf("%+v: %v", g, err)
		}
		for attempt := 1; attempt < 4000; attempt += 1 + attempt/7 {
			want := min(float64(g.Initial)*math.Pow(g.Multiplier, float64(attempt-1)), float64(g.Max))
			wait, again := p.Next(retry.Failure{Attempt: attempt})
			if off := math.Abs(float64(wait)/want - 1); off > 0.001 || !again {
				t.Errorf("%+v: after attempt %d: %v, %v; want %v", g, attempt, wait, again, time.Duration(want))
			}
		}
	}
}

func TestExponentialDefaults(t *testing.T) {
	t.Parallel()
	p := retry.Exponential(retry.Growth{})
	var total time.Duration
	for attempt := 1; ; attempt++ {
		wait, again := p.Next(retry.Failure{Attempt: attempt})
		if !again {
			if attempt != 18 {
				t.Errorf("it ends after %d attempts, want 18", attempt)
			}
			break
		}
		total += wait
	}
	if days := total.Hours() / 24; days < 3.8 || days > 4 {
		t.Errorf("it takes %.2f days, want about 4", days)
	}
	if wait, _ := p.Next(retry.Failure{Attempt: 1, Random: func() float64 { return 0 }}); wait != 4*time.Second {
		t.Errorf("the shortest first wait is %v, want 4s", wait)
	}
	short := retry.Exponential(retry.Growth{Max: time.Second})
	if wait, _ := short.Next(retry.Failure{Attempt: 1}); wait != time.Second || retry.Check(short) != nil {
		t.Errorf("with Max alone the first wait is %v, %v; want 1s", wait, retry.Check(short))
	}
}

func TestExponentialEndsAtMaxElapsed(t *testing.T) {
	t.Parallel()
	p := retry.Exponential(retry.Growth{Initial: time.Minute, Multiplier: 1, MaxElapsed: time.Hour})
	for since, want := range map[time.Duration]bool{
		0: true, 59 * time.Minute: true, 59*time.Minute + 1: false, time.Hour: false, math.MaxInt64: false, -time.Hour: true,
	} {
		if _, again := p.Next(retry.Failure{Attempt: 1, Since: since}); again != want {
			t.Errorf("%v after the first attempt: again is %v, want %v", since, again, want)
		}
	}
}

func TestExponentialAttemptsAreInAll(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 5} {
		p := retry.Exponential(retry.Growth{Attempts: n})
		made := 1
		for {
			if _, again := p.Next(retry.Failure{Attempt: made}); !again {
				break
			}
			made++
		}
		if made != n {
			t.Errorf("Attempts %d made %d", n, made)
		}
	}
}

func TestExponentialJitterCanBeOff(t *testing.T) {
	t.Parallel()
	p := retry.Exponential(retry.Growth{Initial: time.Second, Jitter: -1})
	for _, r := range []float64{0, 0.3, 0.999} {
		if wait, _ := p.Next(retry.Failure{Attempt: 2, Random: func() float64 { return r }}); wait != 2*time.Second {
			t.Errorf("with the random number %v: %v, want 2s", r, wait)
		}
	}
}

func TestCheckNamesTheSetting(t *testing.T) {
	t.Parallel()
	for field, g := range map[string]retry.Growth{
		"Initial: ":    {Initial: -1},
		"Initial: 1ns": {Initial: 1},
		"Initial: 9":   {Initial: 9000 * time.Hour},
		"Max: ":        {Max: -1},
		"Max: 9":       {Max: 9000 * time.Hour},
		"Max: 1s":      {Initial: time.Minute, Max: time.Second},
		"Max: must":    {Initial: 48 * time.Hour},
		"Multiplier: ": {Multiplier: 0.5},
		"Multiplier: N": {
			Multiplier: math.NaN(),
		},
		"Multiplier: 1001": {Multiplier: 1001},
		"Jitter: 1.5":      {Jitter: 1.5},
		"Jitter: N":        {Jitter: math.NaN()},
		"MaxElapsed: -1ns": {MaxElapsed: -1},
	} {
		err := retry.Check(retry.Exponential(g))
		if err == nil || !strings.HasPrefix(err.Error(), "retry.Growth."+field) {
			t.Errorf("%+v: %v; want an error that names %s", g, err, field)
		}
	}
}

func ExampleExponential() {
	p := retry.Exponential(retry.Growth{Initial: time.Second, Max: 10 * time.Second, Attempts: 6})
	for attempt := 1; attempt <= 6; attempt++ {
		fmt.Println(p.Next(retry.Failure{Attempt: attempt}))
	}
	// Output:
	// 1s true
	// 2s true
	// 4s true
	// 8s true
	// 10s true
	// 0s false
}

func BenchmarkExponential(b *testing.B) {
	p := retry.Exponential(retry.Growth{Attempts: -1})
	random := func() float64 { return 0.4 }
	for b.Loop() {
		p.Next(retry.Failure{Attempt: 10_000, Random: random})
	}
}
