package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

// publisher is the ledger of what was tried, and of what was accepted with which ID.
type publisher struct {
	mu       sync.Mutex
	tried    map[string]bool
	accepted map[string]hookgate.ID
	problem  error
	pushes   int // accepted so far
	orders   int
	open     int // orders tried so far

	handler *consumer // what the handler told of
}

func newPublisher() *publisher {
	return &publisher{tried: map[string]bool{}, accepted: map[string]hookgate.ID{}, handler: newConsumer("the handler", 0)}
}

// enter puts a name into the ledger: tried while id is zero, then accepted. The same name must always get the same ID.
func (p *publisher) enter(name string, id hookgate.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried[name] = true
	if id.IsZero() {
		return
	}
	if before, ok := p.accepted[name]; ok && before != id {
		p.problem = fmt.Errorf("%s was accepted as event %s, and then as event %s", name, before, id)
	}
	p.accepted[name] = id
}

// pushUntilKilled is GitHub: it sends one push after the other until the child does not answer any more. The first is the
// one that the child before did not answer, with the same GUID.
func (p *publisher) pushUntilKilled(ctx context.Context, url string) {
	for {
		ok, err := p.push(ctx, url, p.pushes+1)
		if err != nil || !ok {
			return
		}
		p.pushes++
	}
}

// push sends the n-th push and reports whether it was accepted.
func (p *publisher) push(ctx context.Context, url string, n int) (bool, error) {
	guid := fmt.Sprintf("push-%06d", n)
	p.enter(guid, hookgate.ID{})
	body := fmt.Sprintf(`{"ref":"refs/heads/main","after":"%040x","repository":{"full_name":"acme/rocket"}}`, n)
	mac := hmac.New(sha256.New, []byte(githubSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", guid)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, nil
	}
	var id hookgate.ID
	if err := id.UnmarshalText([]byte(res.Header.Get(hookgate.EventIDHeader))); err != nil {
		return false, err
	}
	p.enter(guid, id)
	return true, nil
}

// consumer is the ledger of one receiver. It refuses some requests, so that there are retries to be interrupted.
type consumer struct {
	name  string
	moody int // refuses one request in so many, but no event more than three times; 0: none

	mu       sync.Mutex
	verifier signing.Verifier
	requests int
	forged   int
	refused  map[string]int // how often each event was refused, by ID
	got      map[string]int // and accepted
}

func newConsumer(name string, moody int) *consumer {
	return &consumer{name: name, moody: moody, refused: map[string]int{}, got: map[string]int{}}
}

// ServeHTTP verifies a webhook and enters it.
func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // its sender was killed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	verdict, err := c.verifier.Verify(&signing.Request{Method: r.Method, Header: r.Header, Body: body, Time: time.Now()})
	switch {
	case err != nil:
		c.forged++
		w.WriteHeader(http.StatusUnauthorized)
	case c.moody > 0 && c.requests%c.moody == 0 && c.refused[verdict.ID] < 3:
		c.refused[verdict.ID]++
		w.WriteHeader(http.StatusInternalServerError)
	default:
		c.got[verdict.ID]++
		w.WriteHeader(http.StatusNoContent)
	}
}

// enter counts an event that arrived.
func (c *consumer) enter(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got[id]++
}

func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// connect makes an endpoint for the consumer, and serves it until ctx ends.
func (c *consumer) connect(ctx context.Context, gw *hookgate.Gateway) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, secret, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{
		ID: c.name, URL: "http://" + l.Addr().String(), Subscriptions: []hookgate.Subscription{{Source: "*"}},
	})
	if err != nil {
		return err
	}
	if c.verifier, err = signing.Standard(secret); err != nil {
		return err
	}
	s := &http.Server{Handler: c, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { s.Close() })
	go s.Serve(l)
	return nil
}

// child is the program that is killed.
type child struct {
	cmd   *exec.Cmd
	input io.Closer
	url   string
	told  chan struct{} // closed when all that it told is entered
	gone  chan struct{} // closed when it was killed
}

// startChild starts this program as a child, and enters what it tells. The last child publishes only what is open.
func startChild(ctx context.Context, dir string, p *publisher, last bool) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	to := math.MaxInt32
	if last {
		to = p.open
	}
	c := &child{told: make(chan struct{}), gone: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, exe, "-child", dir, "-from", strconv.Itoa(p.orders+1), "-to", strconv.Itoa(to))
	c.cmd.Stderr = os.Stderr
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, errors.Join(errors.New("the child did not come up"), c.cmd.Wait())
	}
	c.url = strings.TrimPrefix(lines.Text(), "listening ")
	go func() {
		defer close(c.told)
		for lines.Scan() {
			p.listen(strings.Fields(lines.Text()))
		}
	}()
	return c, nil
}

// listen enters a line of the child.
func (p *publisher) listen(words []string) {
	switch words[0] {
	case "publishing":
		p.enter(words[1], hookgate.ID{})
		p.open++
	case "accepted":
		var id hookgate.ID
		if err := id.UnmarshalText([]byte(words[2])); err != nil {
			p.problem = err
		}
		p.enter(words[1], id)
		p.orders++
		p.open = p.orders
	case "handled":
		p.handler.enter(words[1])
	}
}

// kill ends the child as a power cut would, as far as a process can tell.
func (c *child) kill() {
	c.cmd.Process.Kill()
	<-c.told
	c.cmd.Wait()
	close(c.gone)
}

// finish lets the child work off what is pending, and waits for its end.
func (c *child) finish() error {
	c.input.Close()
	<-c.told
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the last child: %w", err)
	}
	return nil
}
