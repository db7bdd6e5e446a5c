package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// heard is a context that tells when somebody begins to listen to it.
type heard struct {
	context.Context
	once sync.Once
	c    chan struct{}
}

func (h *heard) Done() <-chan struct{} {
	h.once.Do(func() { close(h.c) })
	return h.Context.Done()
}

func TestAQuickRequestIsNotListenedFor(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return true
	})
	c := newClient(t)
	ctx := &heard{Context: t.Context(), c: make(chan struct{})}
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", s.addr) }
	start := time.Now()
	for range 2 {
		if res, err := c.Do(ctx, s.post("{}")); err != nil || string(res.Body) != "ok" {
			t.Fatal(res, err)
		}
	}
	select {
	case <-ctx.c:
		if time.Since(start) < patience { // or else it was no quick request
			t.Error("it was listened for")
		}
	default:
	}
}

// silent is a network in memory whose servers read and never answer.
func silent(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go io.Copy(io.Discard, there)
	return here, nil
}

// deaf is a network in memory whose servers do not even read.
func deaf(context.Context, string, string) (net.Conn, error) {
	here, _ := net.Pipe()
	return here, nil
}

func TestTheContextIsListenedToWhenThePatienceIsOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		dial             DialFunc
		size             int
		deadline, cancel time.Duration
		want             time.Duration
	}{
		{"deadline", silent, 2, 100 * time.Millisecond, time.Minute, 100 * time.Millisecond},
		{"late deadline", silent, 2, 15 * time.Second, time.Minute, 15 * time.Second},
		{"cancelled early", silent, 2, time.Minute, 100 * time.Millisecond, patience},
		{"cancelled late", silent, 2, time.Minute, 3 * time.Second, 3 * time.Second},
		{"large body", silent, inlineBody + 1, time.Minute, 3 * time.Second, 3 * time.Second},
		{"writing", deaf, 2, 100 * time.Millisecond, time.Minute, 100 * time.Millisecond},
		{"writing a large body", deaf, inlineBody + 1, time.Minute, 3 * time.Second, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				time.AfterFunc(c.cancel, cancel)
				client := &Client{Dial: c.dial, MaxHeader: 1 << 10, MaxIdle: 1, MaxIdlePerHost: 1}
				start := time.Now()
				_, err := client.Do(ctx, &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a", Body: make([]byte, c.size)})
				if took := time.Since(start); took != c.want || !errors.Is(err, errDeadline) || ctx.Err() == nil {
					t.Errorf("%v after %v, want %v", err, took, c.want)
				}
			})
		})
	}
}

func TestAContextThatEndsLaterDoesNoHarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{}
		c := &Client{Dial: p.dial, MaxHeader: 1 << 10, MaxIdle: 3, MaxIdlePerHost: 2, IdleTimeout: time.Minute}
		defer c.Close()
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := c.Do(ctx, &Request{Addr: "a:1", Method: "POST", Target: "/", Host: "a"}); err != nil {
				t.Fatal(err)
			}
			idle := c.idle.root.next
			idle.listen() // a timer that was stopped too late
			if idle.ctx != nil || idle.stop != nil {
				t.Error("an idle connection holds a context")
			}
			cancel()
			time.Sleep(2 * patience)
		}
		if p.opened != 1 {
			t.Errorf("%d connections", p.opened)
		}
	})
}

func TestABusyConnectionIsNotLookedAt(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *net.TCPConn, _ *http.Request, _ []byte) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	c := newClient(t)
	do(t, c, s.post("{}"))
	idle := c.idle.root.next
	looks := 0
	look := idle.peek
	idle.peek = func() pending { looks++; return look() }
	for _, step := range []struct {
		idle time.Duration
		want int
	}{{-time.Hour, 0}, {trusted, 1}, {-time.Hour, 1}, {time.Minute, 2}} {
		idle.idleAt = time.Now().Add(-step.idle)
		if do(t, c, s.post("{}")); looks != step.want {
			t.Errorf("idle for %v: looked at %d times", step.idle, looks)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
