package oauth2_test

import (
	"context"
	"log"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/contrib/oauth2"
)

func Example() {
	gw, err := hookgate.Open("hooks", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	if err := gw.RegisterAuthorizer("oauth2", oauth2.New(gw)); err != nil { // before Run
		log.Fatal(err)
	}
	_, _, err = gw.CreateEndpoint(context.Background(), hookgate.Endpoint{
		URL:           "https://api.example.com/hooks",
		Subscriptions: []hookgate.Subscription{{Types: []string{"invoice.*"}}},
		Auth: &hookgate.Auth{Kind: "oauth2", Params: map[string]string{
			"token_url":     "https://login.example.com/oauth/token",
			"client_id":     "hooks",
			"client_secret": "from your vault",
			"scopes":        "events:write",
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
}
