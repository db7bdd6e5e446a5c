package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

// githubSecret is what you type into the settings of the webhook at GitHub.
const githubSecret = "correct horse battery staple"

// pushBody is a push event as GitHub documents it, with the long lists of URLs left out.
//
//go:embed push.json
var pushBody []byte

// pushFromGitHub sends what GitHub sends when somebody pushes.
func pushFromGitHub(ctx context.Context, url string) error {
	mac := hmac.New(sha256.New, []byte(githubSecret))
	mac.Write(pushBody)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(pushBody))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "GitHub-Hookshot/044aadd")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", "0b989ba4-242f-11e5-81e1-c7b6966d2516")
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered GitHub with %s", res.Status)
	}
	fmt.Printf("GitHub pushed, and the gateway has it on disk as event %s.\n\n", res.Header.Get(hookgate.EventIDHeader))
	return nil
}

// consumer is somebody else's service that gets our webhooks.
type consumer struct {
	name string

	mu       sync.Mutex
	verifier signing.Verifier
	refuse   int             // how many requests it refuses before it recovers
	got      map[string]bool // the events that it accepted, by ID
}

// trust tells the consumer the secret that requests are signed with.
func (c *consumer) trust(secret signing.Secret) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = map[string]bool{}
	c.verifier, err = signing.Standard(secret)
	return err
}

// ServeHTTP takes a webhook the way a careful consumer does: it reads all, verifies, and drops repeats by their ID.
func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	verdict, err := c.verifier.Verify(&signing.Request{Method: r.Method, Header: r.Header, Body: body, Time: time.Now()})
	switch {
	case err != nil:
		http.Error(w, "that was not signed by the gateway", http.StatusUnauthorized)
		return
	case c.refuse > 0:
		c.refuse--
		http.Error(w, "we are moving house, come back later", http.StatusServiceUnavailable)
		return
	}
	c.got[verdict.ID] = true
	w.WriteHeader(http.StatusNoContent)
}

// count is how many different events it accepted.
func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// serve runs a server on a free port of this machine until ctx ends.
func serve(ctx context.Context, h http.Handler) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { s.Close() })
	go s.Serve(l)
	return "http://" + l.Addr().String(), nil
}
