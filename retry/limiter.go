package retry

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Limiter allows so many per second, and a few at once after a quiet time. It counts; it does not make anybody wait.
//
// A nil Limiter, like the zero value, allows everything. It is safe for concurrent use and has nothing to close.
type Limiter struct {
	rate *rate.Limiter
}

// NewLimiter allows perSecond on average and burst at once. A perSecond that is not above 0 means no limit. A burst under
// 1 is taken as 1. The limiter starts full.
func NewLimiter(perSecond float64, burst int) *Limiter {
	if !(perSecond > 0) {
		return &Limiter{}
	}
	return &Limiter{rate: rate.NewLimiter(rate.Limit(perSecond), max(burst, 1))}
}

// Allow reports whether one more is allowed at now, and takes it if so. If not, nothing is taken, and after says how long
// from now until it would be, at most [MaxWait], if nobody else comes first.
//
// now comes from the caller, by its own clock. When it goes back nothing is lost, and at most a burst is gained.
func (l *Limiter) Allow(now time.Time) (ok bool, after time.Duration) {
	if l == nil || l.rate == nil || l.rate.AllowN(now, 1) {
		return true, 0
	}
	// A reservation that is cancelled would tell the same, but two of them at a time lose tokens.
	missing := 1 - l.rate.TokensAt(now)
	wait := math.Ceil(missing / float64(l.rate.Limit()) * float64(time.Second))
	if !(wait < float64(MaxWait)) {
		return false, MaxWait
	}
	return false, max(time.Duration(wait), 1)
}
