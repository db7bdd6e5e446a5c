package hookgate_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

// A push at GitHub becomes an event in the folder, and calls a function with its payload decoded.
func ExampleGateway_Inbound() {
	dir, err := os.MkdirTemp("", "hookgate")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	gw, err := hookgate.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()

	const secret = "the secret that you gave to GitHub"
	verifier, err := signing.GitHub(signing.NewSecret(secret))
	if err != nil {
		log.Fatal(err)
	}
	if err := gw.AddSource("github", hookgate.Source{Verifier: verifier}); err != nil {
		log.Fatal(err)
	}
	type push struct {
		Ref string `json:"ref"`
	}
	done := make(chan struct{})
	err = hookgate.On(gw, "deploy", hookgate.Subscription{Source: "github", Types: []string{"push"}},
		func(_ context.Context, ev *hookgate.Event, p push) error {
			fmt.Println(ev.Source, ev.Type, p.Ref)
			close(done)
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/hooks/github", gw.Inbound("github")) // no method here: the handler answers 405 itself

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go gw.Run(ctx)

	// What GitHub sends:
	body := `{"ref":"refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(body))
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	<-done
	fmt.Println(w.Code)
	// Output:
	// github push refs/heads/main
	// 200
}

// A secret was wrong for a while: what GitHub sent meanwhile is not lost.
func ExampleGateway_VerifyAgain() {
	dir, err := os.MkdirTemp("", "hookgate")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	gw, err := hookgate.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()

	github := func(secret string) hookgate.Verifier {
		v, err := signing.GitHub(signing.NewSecret(secret))
		if err != nil {
			log.Fatal(err)
		}
		return v
	}
	if err := gw.AddSource("github", hookgate.Source{Verifier: github("the secret of last year, say")}); err != nil {
		log.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("the secret of this year, say"))
	mac.Write([]byte(`{}`))
	r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(`{}`))
	r.Header.Set("X-GitHub-Event", "ping")
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	gw.Inbound("github").ServeHTTP(w, r)
	fmt.Println("first:", w.Code)

	if err := gw.ReplaceVerifier("github", github("the secret of this year, say")); err != nil {
		log.Fatal(err)
	}
	list, err := gw.Rejected("github")
	if err != nil {
		log.Fatal(err)
	}
	for _, it := range list {
		receipt, err := gw.VerifyAgain(context.Background(), "github", it.ID)
		if err != nil {
			log.Fatal(err)
		}
		ev, err := gw.Event(context.Background(), "", receipt.ID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("accepted after all:", ev.Type)
	}
	// Output:
	// first: 401
	// accepted after all: ping
}
