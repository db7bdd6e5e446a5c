package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// result is a row that was measured.
type result struct {
	row
	value      float64 // median of ours
	limit      float64 // median of the limit; 0: there is none
	ratio      float64 // median of the ratios; NaN where there is no limit
	low, high  float64 // of what is judged, over all slices
	slices     int
	ok         bool
	indicative bool
	note       string
}

func newResult(w row, s series, quick bool, note string) result {
	res := result{row: w, value: median(s.ours()), ratio: math.NaN(), slices: len(s), indicative: quick, note: note}
	res.low, res.high = spread(s.ours())
	if w.limited() {
		res.limit, res.ratio = median(s.limit()), median(s.ratios())
		res.low, res.high = spread(s.ratios())
	}
	slack := 1.0
	if quick {
		slack = 2
	}
	res.ok = w.bar.met(res.judged(), slack)
	return res
}

func (w row) limited() bool { return w.against != "" }

// judged is what the bar is for.
func (res result) judged() float64 {
	if res.limited() {
		return res.ratio
	}
	return res.value
}

// MarshalJSON makes the line of -json. Numbers that do not exist are null.
func (res result) MarshalJSON() ([]byte, error) {
	number := func(v float64, exists bool) *float64 {
		if !exists || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	return json.Marshal(struct {
		Name       string   `json:"name"`
		What       string   `json:"what"`
		Unit       string   `json:"unit"`
		Value      *float64 `json:"value"`
		Limit      *float64 `json:"limit"`
		LimitIs    string   `json:"limit_is,omitempty"`
		Ratio      *float64 `json:"ratio"`
		Low        *float64 `json:"low"`
		High       *float64 `json:"high"`
		Bar        *float64 `json:"bar"`
		BarIs      string   `json:"bar_is,omitempty"`
		Stretch    *float64 `json:"stretch"`
		OK         bool     `json:"ok"`
		Slices     int      `json:"slices"`
		Indicative bool     `json:"indicative"`
		Note       string   `json:"note,omitempty"`
	}{
		res.name, res.what, res.unit, number(res.value, true), number(res.limit, res.limited()), res.against,
		number(res.ratio, res.limited()), number(res.low, true), number(res.high, true),
		number(res.bar.must, res.bar.kind != noBar), res.bar.kind.String(), number(res.bar.stretch, res.bar.stretch != 0),
		res.ok, res.slices, res.indicative, res.note,
	})
}

func (k barKind) String() string { return [...]string{"", "at least", "at most", "below"}[k] }

// writeTable writes Markdown that can go into a README as it is.
func writeTable(w io.Writer, results []result) error {
	var b strings.Builder
	b.WriteString("| measure | measured | limit | ratio (lowest to highest slice) | bar | stretch | |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	for _, res := range results {
		limit, ratio := "", ""
		if res.limited() {
			limit = short(res.limit) + " " + res.unit + " (" + res.against + ")"
			ratio = fmt.Sprintf("**%s** (%s to %s)", short(res.ratio), short(res.low), short(res.high))
		} else if res.slices > 1 {
			ratio = fmt.Sprintf("(%s to %s)", short(res.low), short(res.high))
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s | %s | %s | %s |\n", res.what, short(res.value), res.unit, limit, ratio,
			res.bar.text(res.bar.must), res.bar.text(res.bar.stretch), res.verdict())
	}
	var notes []string
	for _, res := range results {
		if res.note != "" {
			notes = append(notes, "- "+res.name+": "+res.note+"\n")
		}
	}
	if len(notes) > 0 {
		b.WriteString("\n" + strings.Join(notes, ""))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (res result) verdict() string {
	switch {
	case res.bar.kind == noBar:
		return ""
	case !res.ok:
		return "MISSED"
	case res.indicative:
		return "(ok)"
	case res.bar.stretched(res.judged()):
		return "stretch"
	}
	return "ok"
}

func (b bar) text(v float64) string {
	if b.kind == noBar || (v == 0 && v != b.must) {
		return ""
	}
	return [...]string{"", "≥ ", "≤ ", "< "}[b.kind] + strconv.FormatFloat(v, 'f', -1, 64)
}

// short writes a number with about three digits that matter, or all before the point, in groups of three.
func short(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case v == math.Trunc(v) && a < 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 0.1:
		return strconv.FormatFloat(v, 'f', 4, 64)
	case a < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
