package hookgate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/store/memory"
)

// newExample makes a gateway that forgets everything when the program ends.
func newExample() *hookgate.Gateway {
	s, err := memory.New()
	if err != nil {
		log.Fatal(err)
	}
	gw, err := hookgate.New(&hookgate.Config{Store: s, PlainSecrets: true}) // they never leave this process
	if err != nil {
		log.Fatal(err)
	}
	return gw
}

func ExampleGateway_CreateEndpoint() {
	gw := newExample()
	defer gw.Close()
	ctx := context.Background()

	ep, secret, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{
		ID:            "billing",
		URL:           "https://example.com/hooks",
		Header:        map[string]string{"Authorization": "Bearer of a secret"},
		Subscriptions: []hookgate.Subscription{{Types: []string{"invoice.*"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ep.ID, ep.Header)
	fmt.Println("printed:", secret, "- for the receiver:", secret.Reveal()[:len("whsec_")]+"...")

	_, _, err = gw.CreateEndpoint(ctx, hookgate.Endpoint{URL: "http://169.254.169.254/latest/meta-data"})
	var mistake *hookgate.ConfigError
	fmt.Println(errors.As(err, &mistake), mistake.Field)
	// Output:
	// billing map[Authorization:REDACTED]
	// printed: REDACTED - for the receiver: whsec_...
	// true Endpoint.URL
}

func ExampleGateway_Publish() {
	gw := newExample()
	defer gw.Close()
	ctx := context.Background()

	ev := hookgate.Event{Type: "invoice.paid", Payload: []byte(`{"invoice":17}`), IdempotencyKey: "invoice-17"}
	first, err := gw.Publish(ctx, ev)
	fmt.Println(first.Duplicate, err)
	again, err := gw.Publish(ctx, ev)
	fmt.Println(again.Duplicate, again.ID == first.ID, err)

	ev.Payload = []byte(`{"invoice":18}`)
	_, err = gw.Publish(ctx, ev)
	fmt.Println(errors.Is(err, hookgate.ErrConflict))
	// Output:
	// false <nil>
	// true true <nil>
	// true
}

func ExampleGateway_Journey() {
	gw := newExample()
	defer gw.Close()
	ctx := context.Background()
	for id, typ := range map[string]string{"billing": "invoice.*", "support": "ticket.*"} {
		_, _, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{
			ID: id, URL: "https://example.com/" + id, Subscriptions: []hookgate.Subscription{{Types: []string{typ}}},
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	receipt, err := gw.Publish(ctx, hookgate.Event{Type: "invoice.paid"})
	if err != nil {
		log.Fatal(err)
	}
	if err := gw.PauseEndpoint(ctx, "", "billing", "they are moving"); err != nil {
		log.Fatal(err)
	}
	journey, err := gw.Journey(ctx, "", receipt.ID)
	if err != nil {
		log.Fatal(err)
	}
	_, lines, _ := strings.Cut(journey.String(), "\n") // the first line has the ID and the time
	fmt.Print(lines)
	// Output:
	//   to ep:/billing: pending
	//     next: waits while its destination is held: paused (they are moving)
	//   not to ep:/support: the type is invoice.paid, it wants ticket.*
}
