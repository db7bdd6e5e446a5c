package retry

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// After reads the Retry-After header of an answer that came at now. All forms of RFC 9110 are understood: seconds, and a
// date in any of its three formats.
//
//	Retry-After: 120
//	Retry-After: Thu, 15 Jan 2026 12:02:00 GMT
//	Retry-After: Thursday, 15-Jan-26 12:02:00 GMT
//	Retry-After: Thu Jan 15 12:02:00 2026
//
// The wait lies between 0 and [MaxWait]: a date in the past is 0, and however large a number is, it is MaxWait at most. It
// is what the receiver wants, not yet what it gets: [Clamp] it, and never wait less than the policy says.
//
// ok is false if there is no such header or it means nothing: a sign, a fraction, a unit, another zone than GMT, or more
// than one line, since two answers are none. Then the policy alone decides.
func After(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	lines := h.Values("Retry-After")
	if len(lines) != 1 {
		return 0, false
	}
	v := strings.Trim(lines[0], " \t")
	if wait, ok := seconds(v); ok {
		return wait, true
	}
	if t, ok := date(v, now); ok {
		return Clamp(t.Sub(now), 0, MaxWait), true
	}
	return 0, false
}

// seconds reads digits, and nothing but digits.
func seconds(v string) (time.Duration, bool) {
	if v == "" || strings.Trim(v, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n > uint64(MaxWait/time.Second) {
		return MaxWait, true // the one error that is left is that it is too large
	}
	return time.Duration(n) * time.Second, true
}

// Package time reads more than the layouts show: an hour of one digit, a fraction of a second, any zone. The lengths and
// the literal GMT keep that out.
const (
	layoutFixed  = "Mon, 02 Jan 2006 15:04:05 GMT"
	layoutRFC850 = "Monday, 02-Jan-06 15:04:05 GMT"
	layoutASCII  = "Mon Jan _2 15:04:05 2006"
)

func date(v string, now time.Time) (time.Time, bool) {
	layout := layoutFixed
	day, rest, comma := strings.Cut(v, ",")
	switch {
	case !comma:
		layout = layoutASCII
		if len(v) != len(layout) {
			return time.Time{}, false
		}
	case len(day) > len("Mon"):
		layout = layoutRFC850
		if len(rest) != len(" 02-Jan-06 15:04:05 GMT") {
			return time.Time{}, false
		}
	case len(v) != len(layout):
		return time.Time{}, false
	}
	t, err := time.Parse(layout, v)
	if err != nil {
		return time.Time{}, false
	}
	if layout == layoutRFC850 {
		t = century(t, now)
	}
	return t, true
}

// century places a year of two digits: the one in this century, unless that is more than 50 years ahead; then the one
// before.
func century(t, now time.Time) time.Time {
	now = now.UTC()
	year := now.Year() - now.Year()%100 + t.Year()%100
	at := func(y int) time.Time {
		return time.Date(y, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	}
	if at(year).After(now.AddDate(50, 0, 0)) {
		year -= 100
	}
	return at(year)
}
