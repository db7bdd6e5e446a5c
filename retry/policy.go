package retry

import (
	"fmt"
	"slices"
	"time"
)

// MaxWait is the longest wait that anything in this package answers. Longer ones are cut to it.
const MaxWait = 365 * 24 * time.Hour

// Jitter is how far the waits of [Schedule] and [Standard] are spread: a fifth to either side. A wait of 5 minutes becomes
// one between 4 and 6 minutes, so that what failed together does not come back together.
const Jitter = 0.2

// Failure is what a policy gets to know about the attempt that failed.
type Failure struct {
	// Attempt is how many attempts counted so far, the failed one included: 1 after the first. Less is taken as 1.
	Attempt int

	// Since is the time since the first attempt. Time for which the destination was held is not part of it.
	Since time.Duration

	// Random gives a number in [0, 1) for the jitter. Nil means no jitter: the wait is the one that the policy names.
	Random func() float64
}

// Policy says what happens after a failed attempt. It is called by many goroutines at once, and has to answer the same for
// the same failure and random number, today and after a restart.
type Policy interface {
	// Next answers how long to wait before the next attempt, or again = false: the delivery becomes a dead letter. A
	// negative wait is taken as 0.
	Next(f Failure) (wait time.Duration, again bool)
}

// Bounder is a Policy that can name the range of a wait in advance. Those of this package can.
type Bounder interface {
	Policy

	// Bounds answers the shortest and the longest wait that Next can give after that many attempts; again = false: none,
	// whatever the other fields of the Failure are.
	Bounds(attempt int) (shortest, longest time.Duration, again bool)
}

// Standard is the schedule that Standard Webhooks recommends: the first attempt at once, then, counted from the failure
// before, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h. That is ten attempts over 75 hours and a half.
// Each wait is spread by [Jitter].
var Standard = Schedule(
	5*time.Second,
	5*time.Minute,
	30*time.Minute,
	2*time.Hour,
	5*time.Hour,
	10*time.Hour,
	14*time.Hour,
	20*time.Hour,
	24*time.Hour,
)

// Schedule is a list of waits: the first follows the first failed attempt, and when the list is over, so is the delivery.
// n waits make n+1 attempts; no waits make one. Each wait is spread by [Jitter], so it lies between 0.8 and 1.2 times what
// the list says.
//
// Negative waits are taken as 0 and those over [MaxWait] are cut; [Check] finds both.
func Schedule(waits ...time.Duration) Policy {
	s := &steps{waits: slices.Clone(waits), attempts: len(waits) + 1, jitter: Jitter, longest: MaxWait}
	for i, w := range waits {
		if s.fault == nil && (w < 0 || w > MaxWait) {
			s.fault = fmt.Errorf("retry.Schedule: wait %d is %v: must be between 0 and %v", i+1, w, MaxWait)
		}
		s.waits[i] = Clamp(w, 0, MaxWait)
	}
	return s
}

// Check answers what is wrong with the settings that a policy of this package was made of, and names the field; nil if
// nothing is. Such a policy works all the same, with the nearest sensible value. A policy of your own joins in with a
// method Check() error.
func Check(p Policy) error {
	if c, ok := p.(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
}

// Clamp moves a wait into the range from lo to hi. If lo is the larger of the two, hi wins.
func Clamp(wait, lo, hi time.Duration) time.Duration {
	return min(max(wait, lo), hi)
}

// steps is every policy of this package: waits that are known beforehand.
type steps struct {
	waits    []time.Duration
	repeat   bool          // the last wait is used again and again
	attempts int           // how many in all; negative: no end
	elapsed  time.Duration // no wait may end later than this after the first attempt; 0: any may
	jitter   float64       // share of the wait, 0 to 1
	longest  time.Duration // jitter included
	fault    error
}

// base is the wait without its jitter.
func (s *steps) base(attempt int) (time.Duration, bool) {
	attempt = max(attempt, 1)
	if s.attempts >= 0 && attempt >= s.attempts {
		return 0, false
	}
	if attempt <= len(s.waits) {
		return s.waits[attempt-1], true
	}
	if s.repeat && len(s.waits) > 0 {
		return s.waits[len(s.waits)-1], true
	}
	return 0, false
}

// spread is the range of a wait. At the upper end it is cut rather than shifted: waits that all end at the limit would
// meet there.
func (s *steps) spread(base time.Duration) (lo, hi time.Duration) {
	by := time.Duration(float64(base) * s.jitter)
	return max(base-by, 0), min(base+by, s.longest)
}

func (s *steps) Next(f Failure) (time.Duration, bool) {
	wait, again := s.base(f.Attempt)
	if !again {
		return 0, false
	}
	if f.Random != nil {
		lo, hi := s.spread(wait)
		wait = lo + time.Duration(unit(f.Random())*float64(hi-lo))
		wait = Clamp(wait, lo, hi) // floats of this size are not exact to the nanosecond
	}
	if s.elapsed > 0 && f.Since > s.elapsed-wait {
		return 0, false
	}
	return wait, true
}

func (s *steps) Bounds(attempt int) (shortest, longest time.Duration, again bool) {
	base, again := s.base(attempt)
	if !again {
		return 0, 0, false
	}
	shortest, longest = s.spread(base)
	return shortest, longest, true
}

func (s *steps) Check() error { return s.fault }

// unit brings a number that should be in [0, 1) there, NaN too.
func unit(r float64) float64 {
	if !(r > 0) {
		return 0
	}
	return min(r, 1)
}
