package retry

import (
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Growth are the settings of [Exponential]. The zero value of each is its default.
type Growth struct {
	// Initial is the wait after the first failed attempt. 0: 5 s, or Max if that is less. At least 1 ms.
	Initial time.Duration

	// Max is the longest wait, jitter included. 0: 24 h. Not under Initial, and not over [MaxWait].
	Max time.Duration

	// Multiplier is how much longer each wait is than the one before. 0: 2. From 1.01 to 1000, or exactly 1: all waits are
	// equal.
	Multiplier float64

	// Jitter is how far a wait is spread to either side, as a share of it. 0: 0.2, as in [Schedule]. Negative: none. Not
	// over 1.
	Jitter float64

	// Attempts is how many attempts there are in all. 0: 18, which take about 4 days with the other defaults. Negative: no
	// end; then MaxElapsed, or the gateway's MaxAge, ends it.
	Attempts int

	// MaxElapsed ends the retries when the next attempt would begin later than this after the first one. 0: no such end.
	MaxElapsed time.Duration
}

const (
	defaultInitial    = 5 * time.Second
	defaultMax        = 24 * time.Hour
	defaultMultiplier = 2
	defaultAttempts   = 18

	leastInitial    = time.Millisecond // under that, growth by a hundredth would be lost in whole nanoseconds
	leastMultiplier = 1.01
	mostMultiplier  = 1000
)

// Exponential is a policy whose waits grow by a factor up to a limit. After attempt n it waits Initial * Multiplier^(n-1),
// at most Max, spread by Jitter. However large n is, the wait lies between Initial, less its jitter, and Max.
//
// Settings out of range are brought into it; [Check] names them.
func Exponential(g Growth) Policy {
	s := &steps{fault: g.check(), repeat: true}
	g = g.sensible()
	s.attempts, s.elapsed, s.jitter, s.longest = g.Attempts, g.MaxElapsed, g.Jitter, g.Max

	// backoff counts by being called. What we know is the number of a stored attempt, so the waits are counted out once,
	// here, up to where they stop growing: for the smallest multiplier and the widest range that makes 2,431 of them.
	b := backoff.ExponentialBackOff{
		InitialInterval: g.Initial,
		Multiplier:      g.Multiplier,
		MaxInterval:     g.Max,
		Stop:            backoff.Stop,
		Clock:           backoff.SystemClock,
		// RandomizationFactor and MaxElapsedTime stay 0: jitter comes from Failure.Random, and time from Failure.Since.
	}
	b.Reset()
	for {
		wait := b.NextBackOff()
		s.waits = append(s.waits, wait)
		grown := len(s.waits) > 1 && wait == s.waits[len(s.waits)-2]
		if wait >= g.Max || grown || len(s.waits) == g.Attempts-1 {
			return s
		}
	}
}

// check names the first setting that is out of range.
func (g Growth) check() error {
	switch {
	case g.Initial != 0 && (g.Initial < leastInitial || g.Initial > MaxWait):
		return fmt.Errorf("retry.Growth.Initial: %v: must be between %v and %v", g.Initial, leastInitial, MaxWait)
	case g.Max != 0 && (g.Max < leastInitial || g.Max > MaxWait):
		return fmt.Errorf("retry.Growth.Max: %v: must be between %v and %v", g.Max, leastInitial, MaxWait)
	case g.Max > 0 && g.Max < g.Initial:
		return fmt.Errorf("retry.Growth.Max: %v: must not be under Initial, which is %v", g.Max, g.Initial)
	case g.Max == 0 && g.Initial > defaultMax:
		return fmt.Errorf("retry.Growth.Max: must be set, because Initial is %v and the default is %v", g.Initial, defaultMax)
	case g.Multiplier != 0 && g.Multiplier != 1 && !(g.Multiplier >= leastMultiplier && g.Multiplier <= mostMultiplier):
		return fmt.Errorf("retry.Growth.Multiplier: %v: must be 1, or from %v to %v", g.Multiplier, leastMultiplier, mostMultiplier)
	case math.IsNaN(g.Jitter) || g.Jitter > 1:
		return fmt.Errorf("retry.Growth.Jitter: %v: must not be over 1", g.Jitter)
	case g.MaxElapsed < 0:
		return fmt.Errorf("retry.Growth.MaxElapsed: %v: must not be negative", g.MaxElapsed)
	}
	return nil
}

// sensible fills in the defaults and moves the rest into range.
func (g Growth) sensible() Growth {
	if g.Max <= 0 {
		g.Max = defaultMax
	}
	if g.Initial <= 0 {
		g.Initial = min(defaultInitial, g.Max)
	}
	g.Initial = Clamp(g.Initial, leastInitial, MaxWait)
	g.Max = Clamp(g.Max, g.Initial, MaxWait)
	switch {
	case g.Multiplier == 0 || math.IsNaN(g.Multiplier):
		g.Multiplier = defaultMultiplier
	case g.Multiplier <= 1:
		g.Multiplier = 1
	default:
		g.Multiplier = min(max(g.Multiplier, leastMultiplier), mostMultiplier)
	}
	switch {
	case g.Jitter == 0 || math.IsNaN(g.Jitter):
		g.Jitter = Jitter
	case g.Jitter < 0:
		g.Jitter = 0
	}
	g.Jitter = min(g.Jitter, 1)
	if g.Attempts == 0 {
		g.Attempts = defaultAttempts
	}
	g.MaxElapsed = max(g.MaxElapsed, 0)
	return g
}
