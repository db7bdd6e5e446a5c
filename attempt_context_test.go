package hookgate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What an attempt's context says is what one of the standard library says, whatever ends it and however one looks.
func TestAttemptContextIsLikeTheStandardOne(t *testing.T) {
	t.Parallel()
	type key struct{}
	ends := map[string]func(parent, own func()){
		"nothing":                           func(_, _ func()) {},
		"the deadline":                      func(_, _ func()) { time.Sleep(2 * time.Second) },
		"the parent":                        func(parent, _ func()) { parent() },
		"its end":                           func(_, own func()) { own() },
		"its end, late":                     func(_, own func()) { time.Sleep(2 * time.Second); own() },
		"the parent, then it":               func(parent, own func()) { parent(); own() },
		"it, then the parent":               func(parent, own func()) { own(); parent() },
		"it, then the deadline":             func(_, own func()) { own(); time.Sleep(2 * time.Second) },
		"the deadline, then the parent":     func(parent, _ func()) { time.Sleep(2 * time.Second); parent() },
		"the deadline, the parent, then it": func(parent, own func()) { time.Sleep(2 * time.Second); parent(); own() },
		"the parent, it, then the deadline": func(parent, own func()) { parent(); own(); time.Sleep(2 * time.Second) },
		"it, the parent, then the deadline": func(parent, own func()) { own(); parent(); time.Sleep(2 * time.Second) },
	}
	looks := map[string]func(ctx context.Context) func() string{
		"Err": func(ctx context.Context) func() string { return func() string { return fmt.Sprint(ctx.Err()) } },
		"Err late": func(ctx context.Context) func() string {
			_ = ctx.Err()
			return func() string { return fmt.Sprint(ctx.Err()) }
		},
		"Done": func(ctx context.Context) func() string {
			done := ctx.Done()
			return func() string {
				select {
				case <-done:
					return fmt.Sprint("closed ", ctx.Err(), ctx.Done() == done)
				default:
					return "open"
				}
			}
		},
		"Done late": func(ctx context.Context) func() string {
			return func() string {
				select {
				case <-ctx.Done():
					return fmt.Sprint("closed ", ctx.Err())
				default:
					return "open"
				}
			}
		},
		"Cause": func(ctx context.Context) func() string {
			return func() string { return fmt.Sprint(ctx.Err(), context.Cause(ctx)) }
		},
		"Cause alone": func(ctx context.Context) func() string {
			return func() string { return fmt.Sprint(context.Cause(ctx)) }
		},
		"a late child": func(ctx context.Context) func() string {
			return func() string {
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				return fmt.Sprint(child.Err(), context.Cause(child), child.Value(key{}))
			}
		},
		"a child": func(ctx context.Context) func() string {
			child, cancel := context.WithCancel(ctx)
			return func() string {
				defer cancel()
				return fmt.Sprint(child.Err(), child.Value(key{}))
			}
		},
		"AfterFunc": func(ctx context.Context) func() string {
			called := false
			stop := context.AfterFunc(ctx, func() { called = true })
			return func() string { return fmt.Sprint(stop(), called) }
		},
		"Value": func(ctx context.Context) func() string { return func() string { return fmt.Sprint(ctx.Value(key{})) } },
		"Deadline": func(ctx context.Context) func() string {
			return func() string { at, ok := ctx.Deadline(); return fmt.Sprint(time.Until(at) < time.Hour, ok) }
		},
	}
	for endName, end := range ends {
		for lookName, look := range looks {
			t.Run(endName+"/"+lookName, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					parent, cancelParent := context.WithCancelCause(context.WithValue(t.Context(), key{}, "v"))
					stop := func() { cancelParent(errors.New("the parent's cause")) }
					defer stop()
					at := time.Now().Add(time.Second)
					std, cancel := context.WithDeadline(parent, at)
					defer cancel()
					ours := newAttemptContext(parent, at)
					defer ours.end()
					want, got := look(std), look(ours)
					end(stop, func() { cancel(); ours.end() })
					synctest.Wait()
					if w, g := want(), got(); w != g {
						t.Errorf("got %q, the standard library has %q", g, w)
					}
				})
			})
		}
	}
}

// Whoever looks, and whatever ends it meanwhile: once it has ended, everybody sees that.
func TestAttemptContextEndsForEverybody(t *testing.T) {
	t.Parallel()
	for range 200 {
		parent, stop := context.WithCancel(t.Context())
		ctx := newAttemptContext(parent, time.Now().Add(time.Millisecond))
		var all sync.WaitGroup
		for _, f := range []func(){
			func() { <-ctx.Done() },
			func() { _ = ctx.Err() },
			func() { _ = context.Cause(ctx) },
			func() { ctx.Value(1) },
			func() {
				child, cancel := context.WithCancel(ctx)
				<-child.Done()
				cancel()
			},
			func() { context.AfterFunc(ctx, func() {})() },
			ctx.end,
			stop,
		} {
			all.Go(f)
		}
		all.Wait()
		<-ctx.Done()
		if ctx.Err() == nil || context.Cause(ctx) == nil {
			t.Fatalf("it is done, and says %v, %v", ctx.Err(), context.Cause(ctx))
		}
	}
}

// An attempt that nobody waits for leaves nothing behind: no timer, no child of the context that all attempts share.
func TestAttemptContextCostsOneAllocation(t *testing.T) {
	parent, stop := context.WithCancel(context.Background())
	defer stop()
	var err error
	if n := testing.AllocsPerRun(100, func() {
		ctx := newAttemptContext(parent, time.Now().Add(time.Minute))
		err = errors.Join(err, ctx.Err())
		ctx.end()
	}); n > 1 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}
