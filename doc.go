// Package hookgate is an event gateway that lives inside your program: durable, signed, ordered webhooks in both directions,
// from one import and one folder on disk.
//
//	gw, err := hookgate.Open("hooks", nil)
//	...
//	defer gw.Close()
//	go gw.Run(ctx) // delivers; returns after a clean stop
//
// # Sending
//
// An [Endpoint] is a consumer's URL with the [Subscription]s that say which events it gets. CreateEndpoint answers the secret
// that the consumer verifies signatures with.
//
//	_, secret, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{
//		URL: "https://consumer.example/hooks", Subscriptions: []hookgate.Subscription{{Types: []string{"invoice.*"}}},
//	})
//	_, err = gw.Publish(ctx, hookgate.Event{Type: "invoice.paid", Payload: body})
//
// When Publish returns nil, the event and one delivery per matching endpoint are on disk. A delivery is tried until it
// succeeds or the retry policy ends; then it is a dead letter, which Redeliver can still send. Delivery is at least once:
// the event's ID travels in the webhook-id header, so that the receiver can drop repeats.
//
// # Receiving
//
// A [Source] says who may send and how that is proven. Its handler answers 2xx only when the event is on disk.
//
//	verify, err := signing.GitHub(signing.NewSecret(os.Getenv("GITHUB_SECRET")))
//	err = gw.AddSource("github", hookgate.Source{Verifier: verify})
//	mux.Handle("/hooks/github", gw.Inbound("github"))
//	err = hookgate.On(gw, "deploy", hookgate.Subscription{Source: "github", Types: []string{"push"}},
//		func(ctx context.Context, ev *hookgate.Event, push Push) error { ... })
//
// Endpoints may subscribe to a source just as well: then what came in is forwarded, signed anew.
//
// # Parts
//
// Where it is kept ([Store]), how it is signed ([Signer]), what is sent ([Transformer]) and how ([Dispatcher]) are interfaces
// and fields of [Config]. The packages store, signing, transform and retry have what comes with the module.
package hookgate
