package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var exampleRow = row{"drain", "drain of a backlog", "events/s", "bare loop", bar{atLeast, 0.9, 0.97}}

func TestTableShowsRatioSpreadAndVerdict(t *testing.T) {
	t.Parallel()
	results := []result{
		newResult(exampleRow, series{{9_500, 10_000}, {19_000, 20_000}, {9_600, 10_000}}, false, "one note"),
		newResult(exampleRow, series{{8_000, 10_000}}, false, ""),
		newResult(exampleRow, series{{8_000, 10_000}}, true, ""),
		newResult(exampleRow, series{{4_000, 10_000}}, true, ""),
		newResult(exampleRow, series{{9_800, 10_000}}, false, ""),
		newResult(row{name: "heap", what: "heap", unit: "MiB", bar: bar{below, 64, 24}}, alone(30, 20, 25), false, ""),
	}
	var b bytes.Buffer
	if err := writeTable(&b, results); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{
		"| measure | measured | limit | ratio (lowest to highest slice) | bar | stretch | |",
		"|---|---|---|---|---|---|---|",
		"| drain of a backlog | 9,600 events/s | 10,000 events/s (bare loop) | **0.95** (0.95 to 0.96) | ≥ 0.9 | ≥ 0.97 | ok |",
		"| drain of a backlog | 8,000 events/s | 10,000 events/s (bare loop) | **0.80** (0.80 to 0.80) | ≥ 0.9 | ≥ 0.97 | MISSED |",
		"| drain of a backlog | 8,000 events/s | 10,000 events/s (bare loop) | **0.80** (0.80 to 0.80) | ≥ 0.9 | ≥ 0.97 | (ok) |",
		"| drain of a backlog | 4,000 events/s | 10,000 events/s (bare loop) | **0.40** (0.40 to 0.40) | ≥ 0.9 | ≥ 0.97 | MISSED |",
		"| drain of a backlog | 9,800 events/s | 10,000 events/s (bare loop) | **0.98** (0.98 to 0.98) | ≥ 0.9 | ≥ 0.97 | stretch |",
		"| heap | 25 MiB |  | (20 to 30) | < 64 | < 24 | ok |",
		"",
		"- drain: one note",
	} {
		if lines[i] != want {
			t.Errorf("line %d:\n%s\nwant\n%s", i, lines[i], want)
		}
	}
}

func TestJSONLineHasNumbersOrNull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		result result
		want   map[string]any
	}{
		{
			newResult(exampleRow, series{{8_000, 10_000}}, false, ""),
			map[string]any{"name": "drain", "value": 8000.0, "limit": 10000.0, "ratio": 0.8, "bar": 0.9, "bar_is": "at least", "ok": false, "slices": 1.0},
		},
		{
			newResult(row{name: "log", unit: "events/s"}, alone(5), true, ""),
			map[string]any{"name": "log", "value": 5.0, "limit": nil, "ratio": nil, "bar": nil, "stretch": nil, "ok": true, "indicative": true},
		},
		{
			newResult(row{name: "order", bar: bar{atMost, 0, 0}}, alone(0), false, ""),
			map[string]any{"name": "order", "bar": 0.0, "bar_is": "at most", "ok": true},
		},
	} {
		b, err := json.Marshal(c.result)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		for k, v := range c.want {
			if got[k] != v {
				t.Errorf("%s: %s = %v, want %v", c.want["name"], k, got[k], v)
			}
		}
	}
}

func TestShortNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 7: "7", 0.0312: "0.0312", 0.123: "0.12", 9.876: "9.88", 12.34: "12.3", 123.4: "123", 1234: "1,234", 1234567.8: "1,234,568", -1234: "-1,234",
	} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestSidesAreTakenInTurn(t *testing.T) {
	t.Parallel()
	r := &run{ctx: context.Background(), quick: true, progress: io.Discard}
	var order []string
	n := 0.0
	side := func(name string) side {
		return func() ([]float64, error) {
			order = append(order, name)
			n++
			return []float64{n}, nil
		}
	}
	v, err := r.inTurn("", 2, side("a"), side("b"))
	if err != nil {
		t.Fatal(err)
	}
	// The first turn does not count, and each turn begins with the other side.
	if got := strings.Join(order, ""); got != "baabba" {
		t.Errorf("order %s", got)
	}
	if a, b := column(v[0], 0), column(v[1], 0); !slices.Equal(a, []float64{3, 6}) || !slices.Equal(b, []float64{4, 5}) {
		t.Errorf("values %v and %v", a, b)
	}
}

func TestCallersStopAtTheFirstError(t *testing.T) {
	t.Parallel()
	r := &run{ctx: context.Background(), progress: io.Discard}
	_, err := r.callers(4, time.Hour, func(i int) func() error {
		return func() error {
			if i == 2 {
				return os.ErrInvalid
			}
			return nil
		}
	})
	if err == nil || !strings.Contains(err.Error(), os.ErrInvalid.Error()) {
		t.Errorf("got %v", err)
	}
	l, err := r.callers(2, time.Millisecond, func(int) func() error { return func() error { return nil } })
	if err != nil || l.calls == 0 || len(l.waits) != l.calls || l.took < time.Millisecond || !slices.IsSorted(l.waits) {
		t.Errorf("%d calls in %v, %d waits: %v", l.calls, l.took, len(l.waits), err)
	}
}

func TestUnwrittenCountsWhatWasAllocatedAhead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"1.seg":  append(bytes.Repeat([]byte("x"), 5000), make([]byte, 3<<20)...),
		"2.seg":  make([]byte, 4096),
		"3.seg":  []byte("full"),
		"4.pool": bytes.Repeat([]byte("x"), 700),
		"state":  make([]byte, 9999),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := unwritten(dir); err != nil || got != 3<<20+4096+700 {
		t.Errorf("%d bytes, %v", got, err)
	}
}

func TestCopyKeepsPermissions(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(filepath.Join(from, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyFolder(to, from); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(to, "secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestPayloadCarriesItsNumbers(t *testing.T) {
	t.Parallel()
	b := newPayload(123, 45)
	at := time.Now()
	stamp(b, at)
	if !json.Valid(b) || len(b) != payloadSize {
		t.Fatalf("%d bytes, JSON %v", len(b), json.Valid(b))
	}
	n, nanos, key, err := readPayload(b)
	if n != 123 || key != 45 || nanos != uint64(at.UnixNano()) || err != nil {
		t.Errorf("read %d, %d, %d, %v", n, nanos, key, err)
	}
	b[offsetN] = 'x'
	if _, _, _, err := readPayload(b); err == nil {
		t.Error("a damaged payload can be read")
	}
}

func TestEveryMeasureSaysHowItIsTaken(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range measures {
		if m.method == "" || m.take == nil || len(m.rows) == 0 {
			t.Errorf("measure %s is incomplete", m.name)
		}
		for _, row := range m.rows {
			if seen[row.name] || row.what == "" {
				t.Errorf("row %q of %s has no words, or its name is taken", row.name, m.name)
			}
			seen[row.name] = true
		}
	}
	o := options{only: regexp.MustCompile("^deliver-cpu$")}
	if got := o.selected(); len(got) != 1 || got[0].name != "deliver" {
		t.Errorf("-run with the name of a row selects %d measures", len(got))
	}
}
