package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// pair is one slice: ours and the limit, measured one right after the other.
type pair struct{ ours, limit float64 }

// ratio is ours over the limit; NaN where there is no limit.
func (p pair) ratio() float64 {
	if p.limit == 0 {
		return math.NaN()
	}
	return p.ours / p.limit
}

// series is the slices of one measure.
type series []pair

func (s series) ours() []float64  { return each(s, func(p pair) float64 { return p.ours }) }
func (s series) limit() []float64 { return each(s, func(p pair) float64 { return p.limit }) }

// ratios are taken slice by slice, so that a minute in which the whole machine is slow does not count against one side.
func (s series) ratios() []float64 { return each(s, pair.ratio) }

func each[T, U any](in []T, f func(T) U) []U {
	out := make([]U, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// median is the middle value, or the mean of the two in the middle. It is NaN for none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// spread is the smallest and the largest value.
func spread(v []float64) (low, high float64) {
	if len(v) == 0 {
		return math.NaN(), math.NaN()
	}
	return slices.Min(v), slices.Max(v)
}

// percentile is the smallest value that at least the share p of all values does not exceed (nearest rank). The values must be
// sorted; the result is the zero value for none.
func percentile[T cmp.Ordered](sorted []T, p float64) T {
	if len(sorted) == 0 {
		var none T
		return none
	}
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// bar is what a measure must reach. The zero value asks for nothing.
type bar struct {
	kind    barKind
	must    float64
	stretch float64 // 0: none
}

type barKind uint8

const (
	noBar barKind = iota
	atLeast
	atMost
	below // like atMost, but reaching it is not enough
)

// met reports whether v reaches the bar. slack widens it: 1 for the bar itself, 2 for half of it. NaN never reaches a bar.
func (b bar) met(v, slack float64) bool {
	switch b.kind {
	case atLeast:
		return v >= b.must/slack
	case atMost:
		return v <= b.must*slack
	case below:
		return v < b.must*slack
	}
	return true
}

// stretched reports whether v reaches the stretch goal.
func (b bar) stretched(v float64) bool {
	if b.stretch == 0 {
		return false
	}
	return bar{kind: b.kind, must: b.stretch}.met(v, 1)
}

func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return math.NaN()
	}
	return float64(n) / d.Seconds()
}
