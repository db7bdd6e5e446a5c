package hookgate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/store"
)

// The classes of attempts that failed, beside those of the dispatcher.
const (
	classStatus    = "status"    // the receiver answered, and not with 2xx
	classHandler   = "handler"   // the handler returned an error
	classPanic     = "panic"     // a handler or a part of ours panicked, or ended its goroutine
	classTransform = "transform" // the transformer failed
	classSetup     = "setup"     // something is missing here: a secret, a registered part
	classOther     = "error"     // a dispatcher of the application's own returned an error
)

// The reasons that a delivery ends with, for people.
const (
	reasonDelivered = "delivered"
	reasonFiltered  = "filtered"
	reasonIgnored   = "ignored"
	reasonExhausted = "retries exhausted"
	reasonPermanent = "refused by the handler"
	reasonGone      = "the endpoint answered 410: it is gone"
	reasonExpired   = "expired"
	reasonTooOld    = "older than the limit"
	reasonDeleted   = "the endpoint was deleted"
	reasonMissing   = "the event is not there any more"
	reasonShutdown  = "the gateway shut down"
	reasonAsked     = "the receiver asked to wait"
	reasonStuck     = "the attempt before has not returned"
	reasonDisabled  = "the endpoint is disabled"
	reasonKeys      = "the keys of other endpoints are being waited for"
	reasonNoHandler = "the handler is not registered in this process"
)

// reasonRedeliver marks a delivery that a person asked for one more attempt of: its age does not matter then.
const reasonRedeliver = "redelivered"

// causeAsked is the cause of a hold that a receiver asked for.
const causeAsked = "asked"

// askedWithout is how long a destination is held, at the most, that answers 429 and does not say for how long.
const askedWithout = 30 * time.Second

// judge says what an attempt means. It is a pure function of what it is given and of the random number.
type judge struct {
	policy         RetryPolicy
	minAsk, maxAsk time.Duration // what a receiver may ask for
	random         func() float64
}

// tried is an attempt that ended.
type tried struct {
	response *Response // what came back; nil for a handler, and where nothing did
	err      error
	filtered bool // the transformer wants nothing sent
	stopped  bool // the gateway was shutting down and had cancelled it
	panicked bool

	now      time.Time
	attempts int       // counted before this one
	recorded int       // recorded before this one
	first    time.Time // when the first counted one ended; zero: this is the first
}

// verdict is what becomes of a delivery, and what the attempt's record says.
type verdict struct {
	op     store.Op
	after  time.Duration
	reason string
	code   int
	class  string
	text   string

	hold    time.Duration // the destination asked to be left alone for so long
	disable bool          // the destination is gone for good
}

func (j *judge) judge(t tried) verdict {
	if t.response != nil && t.err == nil && !t.panicked {
		return j.answer(t)
	}
	return j.failure(t)
}

// answer judges a status.
func (j *judge) answer(t tried) verdict {
	status := t.response.Status
	v := verdict{code: status}
	if status >= 200 && status < 300 {
		v.op, v.reason = store.OpDone, reasonDelivered
		return v
	}
	v.class = classStatus
	switch {
	case status == http.StatusGone:
		v.op, v.reason, v.disable = store.OpDead, reasonGone, true
		v.text = "the receiver answered 410 Gone"
		return v
	case status >= 300 && status < 400:
		v.text = fmt.Sprintf("the receiver answered %d, a redirect, and those are not followed: correct the endpoint's URL", status)
	default:
		v.text = fmt.Sprintf("the receiver answered %s", statusText(status))
	}
	j.again(&v, t)
	asked, ok := retry.After(t.response.Header, t.now)
	switch {
	case ok:
		v.hold = retry.Clamp(asked, j.minAsk, j.maxAsk)
	case status == http.StatusTooManyRequests:
		v.hold = retry.Clamp(min(max(v.after, j.minAsk), askedWithout), j.minAsk, j.maxAsk)
	}
	// The receiver's wish makes the wait longer and never shorter: somebody who answers "in a second" for ten minutes
	// would otherwise use up all attempts in that time.
	if v.op == store.OpRetry {
		v.after = max(v.after, v.hold)
	}
	return v
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return fmt.Sprintf("%d %s", status, text)
	}
	return fmt.Sprintf("%d", status)
}

// failure judges everything that is not an answer.
func (j *judge) failure(t tried) verdict {
	var (
		v       verdict
		outcome *outcomeError
		fault   *DispatchError
	)
	switch {
	case t.filtered:
		return verdict{op: store.OpDone, reason: reasonFiltered}
	case t.err == nil:
		return verdict{op: store.OpDone, reason: reasonDelivered}
	case t.stopped && !t.panicked && !errors.As(t.err, &outcome):
		return verdict{op: store.OpRelease, reason: reasonShutdown, class: classCancelled, text: "the attempt was stopped by the gateway, which shuts down"}
	}
	v.text = cleanText(t.err.Error(), 300)
	switch {
	case t.panicked:
		v.class = classPanic
		j.again(&v, t)
	case errors.As(t.err, &outcome):
		v.class = classHandler
		switch outcome.kind {
		case outcomeIgnore:
			return verdict{op: store.OpDone, reason: cleanText(reasonIgnored+": "+outcome.Error(), 200)}
		case outcomePermanent:
			v.op, v.reason = store.OpDead, reasonPermanent
		default:
			j.again(&v, t)
			if v.op == store.OpRetry {
				v.after = retry.Clamp(outcome.after, j.minAsk, j.maxAsk)
			}
		}
	case errors.As(t.err, &fault):
		v.class = fault.Class
		if fault.Err != nil {
			v.text = cleanText(fault.Err.Error(), 300)
		}
		if fault.Local {
			v.op, v.after = store.OpRelease, j.localWait(t)
			v.reason = v.text
			break
		}
		j.again(&v, t)
	case errors.Is(t.err, context.DeadlineExceeded):
		v.class = classTimeout
		j.again(&v, t)
	default:
		v.class = classOther
		j.again(&v, t)
	}
	return v
}

// again asks the retry policy.
func (j *judge) again(v *verdict, t tried) {
	f := retry.Failure{Attempt: t.attempts + 1, Random: j.random}
	if !t.first.IsZero() {
		f.Since = max(t.now.Sub(t.first), 0)
	}
	wait, again := j.policy.Next(f)
	if !again {
		v.op, v.reason = store.OpDead, reasonExhausted
		return
	}
	v.op, v.after, v.reason = store.OpRetry, max(wait, 0), v.text
}

// localWait is how long a delivery waits that failed for a reason of ours: longer each time, because each try leaves a
// record, and spread, because what is missing here is missing for all.
func (j *judge) localWait(t tried) time.Duration {
	wait := time.Second << min(max(t.recorded-t.attempts, 0), 8)
	return wait + time.Duration(j.random()*float64(wait)/4)
}

// local is an error of ours: nothing reached the destination, and the attempt does not count.
func local(class string, err error) error { return &DispatchError{Class: class, Local: true, Err: err} }

// failed is an error that counts as an attempt.
func failed(class string, err error) error { return &DispatchError{Class: class, Err: err} }
