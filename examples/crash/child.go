package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
)

const githubSecret = "correct horse battery staple"

// push is what we care about in a GitHub push event.
type push struct {
	After string `json:"after"`
}

// config is the gateway's, for every child: retries come quickly, and consumers are on this machine.
func config() *hookgate.Config {
	return &hookgate.Config{
		Retry:        retry.Schedule(50*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond, time.Second),
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
}

// runChild is an ordinary program with a gateway. It publishes the orders from..to, takes in pushes, delivers, and tells its
// parent what it was told, line by line: a line that was written survives the kill. When its input ends it works off what is
// pending and closes.
func runChild(dir string, from, to int) error {
	gw, err := hookgate.Open(dir, config())
	if err != nil {
		return err
	}
	defer gw.Close()
	verifier, err := signing.GitHub(signing.NewSecret(githubSecret))
	if err != nil {
		return err
	}
	if err := gw.AddSource("github", hookgate.Source{Verifier: verifier}); err != nil {
		return err
	}
	pushes := hookgate.Subscription{Source: "github", Types: []string{"push"}}
	err = hookgate.On(gw, "deploy", pushes, func(_ context.Context, ev *hookgate.Event, p push) error {
		tell("handled %s %s", ev.ID, p.After)
		return nil
	})
	if err != nil {
		return err
	}
	go gw.Run(context.Background())

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/hooks/github", gw.Inbound("github"))
	go http.Serve(l, mux)
	tell("listening http://%s/hooks/github", l.Addr())

	for n := from; n <= to; n++ {
		// The name is the idempotency key: if the child before this one was killed while it published this order, nobody
		// knows whether it was accepted, and publishing it again is harmless.
		name := fmt.Sprintf("order-%06d", n)
		tell("publishing %s", name)
		receipt, err := gw.Publish(context.Background(), hookgate.Event{
			Type: "order.placed", IdempotencyKey: name, Payload: fmt.Appendf(nil, `{"order":%d}`, n), ContentType: "application/json",
		})
		if err != nil {
			return err
		}
		tell("accepted %s %s", name, receipt.ID)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for {
		stats, err := gw.Stats(context.Background())
		if err != nil {
			return err
		}
		if stats.Pending+stats.Leased == 0 {
			return gw.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var telling sync.Mutex

// tell writes a line to the parent at once.
func tell(format string, args ...any) {
	telling.Lock()
	defer telling.Unlock()
	fmt.Fprintf(os.Stdout, format+"\n", args...)
}
