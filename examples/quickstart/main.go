// Quickstart is hookgate's main job in one small program. GitHub pushes, a Go function is called, two consumers are told,
// and the program tells them something of its own:
//
//	GitHub --push--> gateway --> handler "announce" --publishes--> build.requested
//	                         --> endpoint "chat"                  --> endpoint "chat"
//	                         --> endpoint "deploy" (refuses twice, then recovers)
//
// Run it with: go run ./examples/quickstart
//
// It prints the journey of both events and ends by itself. The exit code is 0 only if everything arrived. What a real
// program leaves to the world outside, GitHub and the two consumers, is in world.go; how to look at what happened in look.go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	fmt.Println("Everything arrived.")
}

// push is what we care about in a GitHub push event.
type push struct {
	Ref        string `json:"ref"`
	After      string `json:"after"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
}

func run(ctx context.Context) error {
	// A gateway is a folder. Defaults are fine for production; here retries come quickly and consumers are on this machine.
	dir, err := os.MkdirTemp("", "hookgate-quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	gw, err := hookgate.Open(dir, &hookgate.Config{
		Retry:        retry.Schedule(300*time.Millisecond, 600*time.Millisecond, time.Second),
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		return err
	}
	defer gw.Close()

	// Receiving: a source says how senders prove themselves, and its handler goes on any router.
	verifier, err := signing.GitHub(signing.NewSecret(githubSecret))
	if err != nil {
		return err
	}
	if err := gw.AddSource("github", hookgate.Source{Verifier: verifier}); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/hooks/github", gw.Inbound("github"))

	// Handling: a Go function gets the payload as a struct. It may be called again after a crash, so what it publishes has
	// an idempotency key.
	pushes := hookgate.Subscription{Source: "github", Types: []string{"push"}}
	err = hookgate.On(gw, "announce", pushes, func(ctx context.Context, ev *hookgate.Event, p push) error {
		body, err := json.Marshal(map[string]string{"repository": p.Repository.FullName, "ref": p.Ref, "commit": p.After})
		if err != nil {
			return hookgate.Permanent(err)
		}
		_, err = gw.Publish(ctx, hookgate.Event{
			Type: "build.requested", Payload: body, ContentType: "application/json", IdempotencyKey: ev.ID.String(),
		})
		return err
	})
	if err != nil {
		return err
	}

	// Sending: an endpoint is a consumer's URL with its subscriptions. Here are two consumers.
	chat, deploy := &consumer{name: "chat"}, &consumer{name: "deploy", refuse: 2}
	builds := hookgate.Subscription{Types: []string{"build.*"}}
	if err := connect(ctx, gw, chat, pushes, builds); err != nil {
		return err
	}
	if err := connect(ctx, gw, deploy, pushes); err != nil {
		return err
	}

	// Running: Run delivers until its context ends. Then the world may knock.
	go gw.Run(ctx)
	url, err := serve(ctx, mux)
	if err != nil {
		return err
	}
	if err := pushFromGitHub(ctx, url+"/hooks/github"); err != nil {
		return err
	}

	// Looking back: wait until nothing is pending, then tell what became of every event, attempt by attempt.
	late := settled(ctx, gw)
	arrived, err := printJourneys(gw)
	switch {
	case err != nil:
		return err
	case late != nil:
		return late
	case arrived != 4 || chat.count() != 2 || deploy.count() != 1:
		return fmt.Errorf("%d of 4 deliveries are done, chat got %d of 2 events, deploy %d of 1", arrived, chat.count(), deploy.count())
	}
	return nil
}

// connect makes an endpoint for a consumer. The secret is told this once: the consumer verifies with it.
func connect(ctx context.Context, gw *hookgate.Gateway, c *consumer, subscriptions ...hookgate.Subscription) error {
	url, err := serve(ctx, c)
	if err != nil {
		return err
	}
	_, secret, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{ID: c.name, URL: url, Subscriptions: subscriptions})
	if err != nil {
		return err
	}
	return c.trust(secret)
}
