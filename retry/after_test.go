package retry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hookgate/hookgate/retry"
)

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func header(lines ...string) http.Header { return http.Header{"Retry-After": lines} }

func TestAfter(t *testing.T) {
	t.Parallel()
	const year = retry.MaxWait
	for _, c := range []struct {
		value string
		wait  time.Duration
		ok    bool
	}{
		{"120", 2 * time.Minute, true},
		{" 120\t", 2 * time.Minute, true},
		{"31536000", year, true},
		{"31536001", year, true},
		{"18446744073709551616", year, true},
		{"999999999999999999999999999999999999", year, true},
		{"Thu, 15 Jan 2026 12:02:00 GMT", 2 * time.Minute, true},
		{"Thursday, 15-Jan-26 12:02:00 GMT", 2 * time.Minute, true},
		{"Thu Jan 15 12:02:00 2026", 2 * time.Minute, true},
		{"Sun Feb  1 12:00:00 2026", 17 * 24 * time.Hour, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", year, true},
		{"Sat, 01 Jan 0000 00:00:00 GMT", 0, true},
		{"Thu, 15 Jan 2026 11:59:59 GMT", 0, true},
		{"Friday, 15-Jan-75 12:00:00 GMT", year, true}, // 2075 is less than 50 years ahead
		{"Friday, 15-Jan-77 12:00:00 GMT", 0, true},    // 2077 is more: 1977
		{"Friday, 15-Jan-99 12:00:00 GMT", 0, true},

		{"", 0, false},
		{" ", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1.5", 0, false},
		{"1e3", 0, false},
		{"1_000", 0, false},
		{"120s", 0, false},
		{"120, 60", 0, false},
		{"\u0661\u0662", 0, false}, // digits, but not ours
		{"120\u00a0", 0, false},
		{"120\x00", 0, false},
		{"Thu, 15 Jan 2026 12:02:00 UTC", 0, false},
		{"Thu, 15 Jan 2026 12:02:00 gmt", 0, false},
		{"Thu, 15 Jan 2026 12:02:00.5 GMT", 0, false},
		{"Thu, 15 Jan 2026 12:02:00", 0, false},
		{"Thu, 15 Jan 2026 2:02:00 GMT", 0, false},
		{"Thu, 5 Jan 2026 12:02:00 GMT", 0, false},
		{"Thu, 29 Feb 2026 12:02:00 GMT", 0, false},
		{"Thu, 15 Jan 2026 24:02:00 GMT", 0, false},
		{"Thursday, 15-Jan-26 12:02:00 PST", 0, false},
		{"Thursday, 15-Jan-2026 12:02:00 GMT", 0, false},
		{"Thu Jan 15 12:02:00.500 2026", 0, false},
		{"2026-01-15T12:02:00Z", 0, false},
		{"tomorrow", 0, false},
		{",", 0, false},
	} {
		if wait, ok := retry.After(header(c.value), noon); wait != c.wait || ok != c.ok {
			t.Errorf("%q: %v, %v; want %v, %v", c.value, wait, ok, c.wait, c.ok)
		}
	}
}

func TestAfterTakesOneLineOnly(t *testing.T) {
	t.Parallel()
	for _, h := range []http.Header{nil, {}, header(), header("120", "60"), header("120", "120")} {
		if wait, ok := retry.After(h, noon); wait != 0 || ok {
			t.Errorf("%v: %v, %v; want none", h, wait, ok)
		}
	}
}

func TestAfterTakesTheZoneOfNowAway(t *testing.T) {
	t.Parallel()
	local := noon.In(time.FixedZone("far east", 11*60*60))
	for _, v := range []string{"Thu, 15 Jan 2026 12:02:00 GMT", "Thursday, 15-Jan-26 12:02:00 GMT", "Thu Jan 15 12:02:00 2026"} {
		if wait, ok := retry.After(header(v), local); wait != 2*time.Minute || !ok {
			t.Errorf("%q: %v, %v; want 2m0s", v, wait, ok)
		}
	}
	newYear := time.Date(2100, 1, 1, 1, 0, 0, 0, time.FixedZone("east", 2*60*60)) // still 1999 and a century in GMT
	if wait, ok := retry.After(header("Thursday, 31-Dec-99 23:00:10 GMT"), newYear); wait != 10*time.Second || !ok {
		t.Errorf("at the turn of the century: %v, %v; want 10s", wait, ok)
	}
}

// The cases are the same for every implementation. HOOKGATE_VECTORS names a folder with other or more of them.
func TestVectorsRetryAfter(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("HOOKGATE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "testdata", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "retry-after.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID      string
		Headers []string
		Now     time.Time
		Expect  struct {
			Delay  *float64 `json:"delay_s"`
			Clamp  bool
			Past   bool
			Ignore bool
		}
		Note string
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("the file has no cases")
	}
	const lo, hi = time.Second, 24 * time.Hour // what a gateway clamps to by default
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			wait, ok := retry.After(header(c.Headers...), c.Now)
			var good bool
			switch e := c.Expect; {
			case e.Delay != nil:
				good = ok && wait == time.Duration(*e.Delay*float64(time.Second))
			case e.Clamp:
				good = ok && wait > hi && wait <= retry.MaxWait && retry.Clamp(wait, lo, hi) == hi
			case e.Past:
				good = ok && wait == 0
			case e.Ignore:
				good = !ok && wait == 0
			}
			if !good {
				t.Errorf("%q at %v: %v, %v; want %+v (%s)", c.Headers, c.Now, wait, ok, c.Expect, c.Note)
			}
		})
	}
}

func FuzzAfter(f *testing.F) {
	for _, v := range []string{
		"120", "-1", "18446744073709551616", "Thu, 15 Jan 2026 12:02:00 GMT", "Thursday, 15-Jan-26 12:02:00 GMT",
		"Thu Jan 15 12:02:00 2026", "Thu, 15 Jan 2026 13:02:00 +0100", "120\u00a0",
	} {
		f.Add(v, noon.Unix())
	}
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		now := time.Unix(unix, 0)
		wait, ok := retry.After(header(value), now)
		if wait < 0 || wait > retry.MaxWait || (!ok && wait != 0) {
			t.Errorf("%q at %v: %v, %v", value, now, wait, ok)
		}
		if two, ok := retry.After(header(value, value), now); two != 0 || ok {
			t.Errorf("%q twice: %v, %v", value, two, ok)
		}
		if at, err := http.ParseTime(value); ok && err == nil && wait < retry.MaxWait && at.Year() > 2000 && at.Year() < 2068 && now.Year() > 2000 && now.Year() < 2020 {
			if want := max(at.Sub(now), 0); wait != want {
				t.Errorf("%q at %v: %v, but package http reads %v", value, now, wait, want)
			}
		}
	})
}

func ExampleAfter() {
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	answer := http.Header{"Retry-After": {"Thu, 15 Jan 2026 12:02:00 GMT"}}
	if wait, ok := retry.After(answer, now); ok {
		fmt.Println(retry.Clamp(wait, time.Second, time.Minute))
	}
	// Output: 1m0s
}
