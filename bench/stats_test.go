package main

import (
	"math"
	"testing"
)

func TestMedianIsTheMiddle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 3, 2, 1}, 2.5},
	} {
		in := append([]float64(nil), c.in...)
		if got := median(in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
		for i := range in {
			if in[i] != c.in[i] {
				t.Fatalf("median changed its input to %v", in)
			}
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestPercentileIsNearestRank(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for p, want := range map[float64]int{0: 1, 0.01: 1, 0.5: 50, 0.99: 99, 0.995: 100, 1: 100} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("percentile %v of 1..100 = %d, want %d", p, got, want)
		}
	}
	if got := percentile([]int(nil), 0.5); got != 0 {
		t.Errorf("percentile of nothing = %d", got)
	}
}

// A slow minute halves both sides of one slice. The ratio must not notice.
func TestRatioIsTakenSliceBySlice(t *testing.T) {
	t.Parallel()
	s := series{{90, 100}, {45, 50}, {9, 10}}
	if got := median(s.ratios()); math.Abs(got-0.9) > 1e-12 {
		t.Errorf("ratio = %v, want 0.9", got)
	}
	if !math.IsNaN((pair{ours: 1}).ratio()) {
		t.Error("a ratio to no limit is a number")
	}
}

func TestBarsKnowTheirDirection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		bar    bar
		v      float64
		slack  float64
		met    bool
		beyond bool
	}{
		{"at least, reached", bar{atLeast, 0.75, 0.85}, 0.75, 1, true, false},
		{"at least, missed", bar{atLeast, 0.75, 0.85}, 0.74, 1, false, false},
		{"at least, half is enough when quick", bar{atLeast, 0.75, 0.85}, 0.38, 2, true, false},
		{"at least, below half", bar{atLeast, 0.75, 0.85}, 0.37, 2, false, false},
		{"at least, stretch", bar{atLeast, 0.75, 0.85}, 0.85, 1, true, true},
		{"below, the bar itself is not enough", bar{below, 1.3, 0.9}, 1.3, 1, false, false},
		{"below, reached", bar{below, 1.3, 0.9}, 1.29, 1, true, false},
		{"below, double is the end when quick", bar{below, 1.3, 0.9}, 2.6, 2, false, false},
		{"below, less than double when quick", bar{below, 1.3, 0.9}, 2.5, 2, true, false},
		{"below, stretch", bar{below, 1.3, 0.9}, 0.89, 1, true, true},
		{"at most, the bar itself is enough", bar{atMost, 64, 0}, 64, 1, true, false},
		{"at most, missed", bar{atMost, 64, 0}, 65, 1, false, false},
		{"at most nothing, not even when quick", bar{atMost, 0, 0}, 1, 2, false, false},
		{"no bar", bar{}, 1e9, 1, true, false},
		{"no number", bar{atLeast, 0.5, 0}, math.NaN(), 1, false, false},
		{"no number below", bar{below, 0.5, 0}, math.NaN(), 2, false, false},
	} {
		if got := c.bar.met(c.v, c.slack); got != c.met {
			t.Errorf("%s: met = %v", c.name, got)
		}
		if got := c.bar.stretched(c.v); got != c.beyond {
			t.Errorf("%s: stretched = %v", c.name, got)
		}
	}
}
