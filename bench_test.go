package hookgate_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hookgate/hookgate"
)

// instant answers at once, as the fastest of receivers.
type instant struct {
	n    atomic.Int64
	want int64
	done chan struct{} // closed when want were delivered; nil: nobody waits for that
}

func (d *instant) Dispatch(context.Context, *hookgate.Request) (*hookgate.Response, error) {
	if n := d.n.Add(1); n == d.want && d.done != nil {
		close(d.done)
	}
	return &hookgate.Response{Status: http.StatusOK}, nil
}

// callers runs fn b.N times from 64 goroutines.
func callers(b *testing.B, fn func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				fn(i)
			}
		})
	}
	wg.Wait()
}

// BenchmarkPublish is a durable publish of 1 KiB to one endpoint, 64 callers at a time; nothing is delivered.
func BenchmarkPublish(b *testing.B) {
	gw, ev := benchGateway(b, nil)
	b.ReportAllocs()
	b.ResetTimer()
	callers(b, func(int64) {
		if _, err := gw.Publish(context.Background(), ev); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkPublishAndDeliver is the same with delivery, up to an answer that comes at once, and its durable record.
func BenchmarkPublishAndDeliver(b *testing.B) {
	d := &instant{}
	gw, ev := benchGateway(b, d)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = gw.Run(ctx) })
	b.ReportAllocs()
	b.ResetTimer()
	callers(b, func(int64) {
		if _, err := gw.Publish(context.Background(), ev); err != nil {
			b.Error(err)
		}
	})
	stop()
	wg.Wait()
	if n := d.n.Load(); n < int64(b.N) {
		b.Logf("%d of %d delivered before Run was stopped", n, b.N)
	}
}

// BenchmarkDrain delivers a backlog that was published before Run began.
func BenchmarkDrain(b *testing.B) {
	d := &instant{done: make(chan struct{}), want: int64(b.N)}
	gw, ev := benchGateway(b, d)
	callers(b, func(int64) {
		if _, err := gw.Publish(context.Background(), ev); err != nil {
			b.Error(err)
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	wg.Go(func() { _ = gw.Run(ctx) })
	<-d.done
	stop()
	wg.Wait()
}

func benchGateway(b *testing.B, d hookgate.Dispatcher) (*hookgate.Gateway, hookgate.Event) {
	gw, err := hookgate.Open(b.TempDir(), &hookgate.Config{Dispatcher: d, PerDestination: 64})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = gw.Close() })
	_, _, err = gw.CreateEndpoint(context.Background(), hookgate.Endpoint{URL: "https://example.com/hook", Subscriptions: []hookgate.Subscription{{}}})
	if err != nil {
		b.Fatal(err)
	}
	return gw, hookgate.Event{Type: "invoice.paid", ContentType: "application/json", Payload: make([]byte, 1024)}
}
