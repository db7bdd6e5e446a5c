package hookgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/store"
)

func testJudge() *judge {
	return &judge{
		policy: retry.Schedule(5*time.Second, 5*time.Minute, time.Hour), minAsk: time.Second, maxAsk: 24 * time.Hour,
		random: func() float64 { return 0.5 }, // the middle: no jitter
	}
}

func answer(status int, header ...string) *Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &Response{Status: status, Header: h}
}

func TestOutcomeOfAnswers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		response *Response
		attempts int
		op       store.Op
		after    time.Duration
		hold     time.Duration
		reason   string
		disable  bool
	}{
		{name: "200", response: answer(200), op: store.OpDone, reason: reasonDelivered},
		{name: "204", response: answer(204), op: store.OpDone, reason: reasonDelivered},
		{name: "2xx with Retry-After", response: answer(202, "Retry-After", "60"), op: store.OpDone, reason: reasonDelivered},
		{name: "410", response: answer(410, "Retry-After", "60"), op: store.OpDead, reason: reasonGone, disable: true},
		{name: "400", response: answer(400), op: store.OpRetry, after: 5 * time.Second},
		{name: "404 the second time", response: answer(404), attempts: 1, op: store.OpRetry, after: 5 * time.Minute},
		{name: "302", response: answer(302, "Location", "http://169.254.169.254/"), op: store.OpRetry, after: 5 * time.Second},
		{name: "500", response: answer(500), op: store.OpRetry, after: 5 * time.Second},
		{name: "502", response: answer(502), op: store.OpRetry, after: 5 * time.Second},
		{name: "503 that asks", response: answer(503, "Retry-After", "120"), op: store.OpRetry, after: 2 * time.Minute, hold: 2 * time.Minute},
		{name: "503 that asks for less than the policy", response: answer(503, "Retry-After", "60"), attempts: 1, op: store.OpRetry, after: 5 * time.Minute, hold: time.Minute},
		{name: "at once is a second", response: answer(503, "Retry-After", "0"), op: store.OpRetry, after: 5 * time.Second, hold: time.Second},
		{name: "a year is a day", response: answer(503, "Retry-After", "31536000"), op: store.OpRetry, after: 24 * time.Hour, hold: 24 * time.Hour},
		{name: "a date", response: answer(429, "Retry-After", "Thu, 15 Jan 2026 12:02:00 GMT"), op: store.OpRetry, after: 2 * time.Minute, hold: 2 * time.Minute},
		{name: "nonsense is no wish", response: answer(503, "Retry-After", "soon"), op: store.OpRetry, after: 5 * time.Second},
		{name: "429 holds without a time", response: answer(429), op: store.OpRetry, after: 5 * time.Second, hold: 5 * time.Second},
		{name: "429 does not hold for hours", response: answer(429), attempts: 2, op: store.OpRetry, after: time.Hour, hold: askedWithout},
		{name: "the end of the list", response: answer(500), attempts: 3, op: store.OpDead, reason: reasonExhausted},
		{name: "the end of the list, with a wish", response: answer(503, "Retry-After", "60"), attempts: 3, op: store.OpDead, reason: reasonExhausted, hold: time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := testJudge().judge(tried{response: c.response, attempts: c.attempts, now: now})
			if v.op != c.op || v.after != c.after || v.hold != c.hold || v.disable != c.disable || c.reason != "" && v.reason != c.reason {
				t.Errorf("%+v", v)
			}
			if v.code != c.response.Status {
				t.Errorf("code %d", v.code)
			}
			if failed := c.op != store.OpDone; failed != (v.text != "") || failed != (v.class != "") {
				t.Errorf("class %q, text %q", v.class, v.text)
			}
		})
	}
}

func TestOutcomeOfErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		tried  tried
		op     store.Op
		after  time.Duration
		class  string
		reason string
		text   string
	}{
		{name: "a handler that is content", op: store.OpDone, reason: reasonDelivered},
		{name: "filtered", tried: tried{filtered: true}, op: store.OpDone, reason: reasonFiltered},
		{name: "an error", tried: tried{err: errors.New("no luck")}, op: store.OpRetry, after: 5 * time.Second, class: classOther, text: "no luck"},
		{name: "a handler's error", tried: tried{err: failed(classHandler, errors.New("no luck"))}, op: store.OpRetry, after: 5 * time.Second, class: classHandler, text: "no luck"},
		{name: "permanent", tried: tried{err: Permanent(errors.New("never"))}, op: store.OpDead, class: classHandler, reason: reasonPermanent, text: "never"},
		{name: "permanent, wrapped", tried: tried{err: fmt.Errorf("charge: %w", Permanent(errors.New("never")))}, op: store.OpDead, class: classHandler, reason: reasonPermanent, text: "charge: never"},
		{name: "retry after", tried: tried{err: RetryAfter(time.Hour, errors.New("later"))}, op: store.OpRetry, after: time.Hour, class: classHandler, text: "later"},
		{name: "retry after nothing", tried: tried{err: RetryAfter(-1, errors.New("later"))}, op: store.OpRetry, after: time.Second, class: classHandler, text: "later"},
		{name: "retry after the last", tried: tried{err: RetryAfter(time.Hour, errors.New("later")), attempts: 3}, op: store.OpDead, class: classHandler, reason: reasonExhausted, text: "later"},
		{name: "ignore", tried: tried{err: Ignore("not mine")}, op: store.OpDone, reason: "ignored: not mine"},
		{name: "timeout", tried: tried{err: context.DeadlineExceeded}, op: store.OpRetry, after: 5 * time.Second, class: classTimeout, text: "context deadline exceeded"},
		{name: "no connection", tried: tried{err: &DispatchError{Class: classConnect, Err: errors.New("refused")}}, op: store.OpRetry, after: 5 * time.Second, class: classConnect, text: "refused"},
		{name: "no descriptors", tried: tried{err: &DispatchError{Class: classConnect, Local: true, Err: errors.New("none left")}}, op: store.OpRelease, after: 1125 * time.Millisecond, class: classConnect, text: "none left"},
		{name: "no descriptors for the fourth time", tried: tried{err: local(classSetup, errors.New("none left")), attempts: 2, recorded: 5}, op: store.OpRelease, after: 9 * time.Second, class: classSetup, text: "none left"},
		{name: "panic", tried: tried{err: errors.New("panic: boom"), panicked: true}, op: store.OpRetry, after: 5 * time.Second, class: classPanic, text: "panic: boom"},
		{name: "panic after an answer", tried: tried{response: answer(200), err: errors.New("panic: boom"), panicked: true}, op: store.OpRetry, after: 5 * time.Second, class: classPanic, text: "panic: boom"},
		{name: "stopped", tried: tried{err: context.Canceled, stopped: true}, op: store.OpRelease, class: classCancelled, reason: reasonShutdown, text: "the attempt was stopped by the gateway, which shuts down"},
		{name: "stopped, and sure all the same", tried: tried{err: Permanent(errors.New("never")), stopped: true}, op: store.OpDead, class: classHandler, reason: reasonPermanent, text: "never"},
		{name: "stopped after the last", tried: tried{err: context.Canceled, stopped: true, attempts: 10}, op: store.OpRelease, class: classCancelled, reason: reasonShutdown, text: "the attempt was stopped by the gateway, which shuts down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := testJudge().judge(c.tried)
			if v.op != c.op || v.after != c.after || v.class != c.class || v.text != c.text || c.reason != "" && v.reason != c.reason || v.hold != 0 || v.disable {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestOutcomeTextsAreClean(t *testing.T) {
	t.Parallel()
	v := testJudge().judge(tried{err: errors.New("a\x00\x1b[31m" + strings.Repeat("x", 10_000))})
	if len(v.text) > 300 || strings.ContainsAny(v.text, "\x00\x1b") {
		t.Errorf("%q", v.text)
	}
}

// A receiver that says "in a second" for ever is given the time that the policy has, not ten seconds.
func TestOutcomeShortWishesDoNotBurnAttempts(t *testing.T) {
	t.Parallel()
	j, total := testJudge(), time.Duration(0)
	for n := 0; ; n++ {
		v := j.judge(tried{response: answer(429, "Retry-After", "1"), attempts: n})
		if v.op == store.OpDead {
			break
		}
		total += v.after
	}
	if total < time.Hour {
		t.Errorf("gave up after %v", total)
	}
}
