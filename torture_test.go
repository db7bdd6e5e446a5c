package hookgate_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

var (
	tortureRounds = flag.Int("torture.rounds", 6, "how often TestTorture kills its child")
	tortureLife   = flag.Int("torture.life", 10, "how many kills a folder survives before TestTorture takes the next")
	tortureSeed   = flag.Uint64("torture.seed", 0, "where TestTorture's random choices begin; 0: anywhere")
)

// TestTorture kills a program with SIGKILL at random moments, again and again, while it publishes, receives and delivers,
// and compares three ledgers after each kill: what publishers were told, what receivers saw, and what the store says. See
// the methods of ledgers for what has to hold, with the promises of docs/guarantees.md.
//
// The seed is printed. With it the same things are published and the kills come after the same times, which is as far as
// two runs can be alike.
func TestTorture(t *testing.T) {
	t.Parallel()
	seed := *tortureSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("to repeat it: go test -run TestTorture -torture.rounds=%d -torture.life=%d -torture.seed=%d .", *tortureRounds, *tortureLife, seed)
	rounds := *tortureRounds
	if testing.Short() {
		rounds = min(rounds, 2)
	}
	life := max(min(*tortureLife, (rounds+1)/2), 1)
	for done := 0; done < rounds; {
		kills := min(rounds-done, life)
		tr := newTorture(t, seed+uint64(done), [...]string{"hooks", smallSegments}[done/life%2])
		round := 1
		for ; len(tr.killed) < kills; round++ {
			tr.round(t, round)
			tr.compare(t, round)
		}
		tr.heal(t, round)
		done += kills
	}
}

// torture is the life of one folder.
type torture struct {
	dir       string
	seed      uint64
	rng       *rand.Rand
	receivers *receivers
	client    *http.Client
	log       bytes.Buffer // of the gateways

	mu sync.Mutex // of the publishers' ledger
	*ledgers
	pushes []thing // that may have to be sent again
}

func newTorture(t *testing.T, seed uint64, folder string) *torture {
	t.Helper()
	r := newReceivers(t, seed)
	tr := &torture{
		dir: filepath.Join(t.TempDir(), folder), seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), receivers: r, ledgers: newLedgers(r),
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second},
	}
	gw := tr.open(t, 0)
	defer gw.Close()
	for i := range places {
		p := &places[i]
		if p.handler {
			continue
		}
		_, secret, err := gw.CreateEndpoint(t.Context(), hookgate.Endpoint{
			ID: p.name, Tenant: p.tenant, URL: r.server.URL + "/" + p.name, Subscriptions: []hookgate.Subscription{p.sub},
			MaxInFlight: p.flight, Timeout: p.timeout,
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.secrets[p.name], err = signing.Standard(secret); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// open opens the folder in this process. Without Run nothing is delivered.
func (tr *torture) open(t *testing.T, round int) *tortured {
	t.Helper()
	calls := map[int]*request{}
	gw, err := openTorture(tr.dir, round, rand.New(rand.NewPCG(tr.seed, 2)), func(w word) { tr.receivers.heard(round, w, calls) }, &tr.log)
	if err != nil {
		t.Fatalf("round %d: the folder does not open: %v", round, err)
	}
	return gw
}

// round starts a child and ends it: as a rule with a kill, now and then cleanly.
func (tr *torture) round(t *testing.T, round int) {
	t.Helper()
	early, clean := tr.rng.IntN(6) == 0, tr.rng.IntN(8) == 0
	life := time.Duration(10+tr.rng.IntN(500)) * time.Millisecond

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), exe)
	child.Env = append(os.Environ(), tortureEnv+"="+tr.dir)
	child.Stderr = &tr.log
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(plan{Seed: tr.rng.Uint64(), Round: round, Key: tr.keys(), Unknown: tr.unknown()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}

	address, over := make(chan string, 1), make(chan bool, 1)
	go func() { // the listener of this round: enters what the child says
		over <- tr.listen(round, out, address)
	}()
	senders, stopSenders := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	kill := time.After(life)
	if !early {
		select {
		case url := <-address:
			for i := range 2 {
				rng := rand.New(rand.NewPCG(tr.rng.Uint64(), uint64(i)))
				sending.Go(func() { tr.send(senders, url, round, i, rng) })
			}
			kill = time.After(life)
		case <-time.After(30 * time.Second):
			t.Errorf("round %d: the child did not come up within 30 s", round)
		}
	}
	<-kill
	if clean && !early {
		stopSenders()
		sending.Wait()
		in.Close()
		select {
		case closed := <-over:
			over <- closed
		case <-time.After(30 * time.Second):
			t.Errorf("round %d: the child did not close within 30 s", round)
			clean = false
		}
	}
	at := time.Now()
	child.Process.Kill()
	closed := <-over
	child.Wait()
	stopSenders()
	sending.Wait()
	if !closed {
		tr.killed[round] = at
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := tr.receivers.settle(ctx); err != nil {
		t.Error(err)
	}
}

// keys is how many idempotency keys publishers have used.
func (tr *torture) keys() (n int) {
	for _, p := range tr.things {
		if p.Key != "" && p.source == "" {
			n++
		}
	}
	return n / 2
}

// listen enters what a child says until it is gone, and reports whether it closed cleanly.
func (tr *torture) listen(round int, out io.Reader, address chan<- string) (closed bool) {
	calls := map[int]*request{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var w word
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			tr.mu.Lock()
			tr.wrong("test", "round %d: the child said %q: %v", round, lines.Bytes(), err)
			tr.mu.Unlock()
			continue
		}
		switch w.Op {
		case "listening":
			address <- w.Text
		case "closed":
			closed = true
		case "started", "ended":
			tr.receivers.heard(round, w, calls)
		case "broken":
			tr.mu.Lock()
			tr.wrong("child", "round %d: %s %s", round, w.Thing.Name, w.Text)
			tr.mu.Unlock()
		default:
			tr.mu.Lock()
			tr.ledgers.heard(w, "")
			tr.mu.Unlock()
		}
	}
	return closed
}

// send is GitHub: it sends pushes until they are accepted, some of them twice, some of them forged.
func (tr *torture) send(ctx context.Context, url string, round, sender int, rng *rand.Rand) {
	tr.mu.Lock()
	old := tr.pushes
	tr.pushes = nil
	tr.mu.Unlock()
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("push/%d/%d", round, sender*100_000+n)
		th := thing{Name: name, Type: "push", Key: "guid " + name, Lane: pushLane(name)}
		if n < len(old) {
			th = old[n]
		} else if rng.IntN(20) == 0 {
			th.Name += "/forged"
			th.Key += "/forged"
			tr.forge(ctx, url, th, "somebody else's secret", http.StatusUnauthorized)
			continue
		}
		if !tr.push(ctx, url, th) {
			tr.mu.Lock()
			tr.pushes = append(tr.pushes, th)
			if n < len(old) {
				tr.pushes = append(tr.pushes, old[n+1:]...)
			}
			tr.mu.Unlock()
			return
		}
		switch rng.IntN(8) {
		case 0, 1: // GitHub's button "redeliver"
			tr.push(ctx, url, th)
		case 2: // the same GUID with another body
			th.Name += "/other"
			tr.forge(ctx, url, th, tortureSecret, http.StatusConflict)
		}
	}
}

// push sends one and reports whether the answer was 200.
func (tr *torture) push(ctx context.Context, url string, th thing) bool {
	tr.mu.Lock()
	tr.tried(th, "github")
	tr.mu.Unlock()
	status, id, err := tr.post(ctx, url, th, tortureSecret)
	if err != nil || status == http.StatusServiceUnavailable {
		return false
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if status != http.StatusOK {
		tr.wrong("P1", "%s was answered with %d", th.Name, status)
		return false
	}
	tr.ledgers.heard(word{Op: "accepted", Thing: th, ID: id}, "github")
	return true
}

// forge sends what must not be accepted.
func (tr *torture) forge(ctx context.Context, url string, th thing, secret string, want int) {
	tr.mu.Lock()
	tr.ledgers.heard(word{Op: "refused", Thing: th}, "github")
	tr.mu.Unlock()
	status, _, err := tr.post(ctx, url, th, secret)
	if err == nil && status != want && status != http.StatusServiceUnavailable {
		tr.mu.Lock()
		tr.wrong("P11", "%s was answered with %d, want %d", th.Name, status, want)
		tr.mu.Unlock()
	}
}

func (tr *torture) post(ctx context.Context, url string, th thing, secret string) (status int, id hookgate.ID, err error) {
	body := tortureBody(th.Name)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, id, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", th.Key)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := tr.client.Do(req)
	if err != nil {
		return 0, id, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		err = id.UnmarshalText([]byte(res.Header.Get(hookgate.EventIDHeader)))
	}
	return res.StatusCode, id, err
}

// compare opens the folder that a round left behind, delivers nothing, and compares the ledgers.
func (tr *torture) compare(t *testing.T, round int) {
	t.Helper()
	gw := tr.open(t, round)
	err := tr.check(t.Context(), gw.Gateway, round, false)
	if err := errors.Join(err, gw.Close()); err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	tr.report(t, round)
}

// heal lets all receivers recover, delivers what is left and compares the ledgers for the last time.
func (tr *torture) heal(t *testing.T, round int) {
	t.Helper()
	tr.receivers.healed.Store(true)
	gw := tr.open(t, round)
	defer gw.Close()
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(t.Context()) }()
	for _, th := range tr.unknown() {
		tr.tried(th, "")
		r, err := gw.Publish(t.Context(), th.event())
		if err != nil {
			t.Errorf("publish %s again: %v", th.Name, err)
			continue
		}
		tr.ledgers.heard(word{Op: "accepted", Thing: th, ID: r.ID}, "")
	}
	limit := time.After(60 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		stats, err := gw.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		waiting = stats.Pending+stats.Leased > 0
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("%d deliveries are pending and %d leased after a minute of good weather", stats.Pending, stats.Leased)
			waiting = false
		}
	}
	if err := tr.check(t.Context(), gw.Gateway, round, true); err != nil {
		t.Fatal(err)
	}
	if err := gw.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	tr.report(t, round)
	dead := 0
	for _, s := range tr.settled {
		if s.state == hookgate.Dead {
			dead++
		}
	}
	t.Logf("%s: %d kills, %d events, %d deliveries (%d dead letters), %d requests and calls",
		filepath.Base(tr.dir), len(tr.killed), len(tr.events), len(tr.settled), dead, len(tr.receivers.seen()))
}

// report fails the test if the ledgers do not agree.
func (tr *torture) report(t *testing.T, round int) {
	t.Helper()
	if len(tr.problems) == 0 {
		return
	}
	slices.Sort(tr.problems)
	for i, p := range tr.problems {
		if i == 20 {
			t.Errorf("and %d more", len(tr.problems)-i)
			break
		}
		t.Error(p)
	}
	t.Logf("the last that was logged:\n%s", tr.log.Bytes()[max(tr.log.Len()-5000, 0):])
	t.Fatalf("after round %d the ledgers of %s do not agree", round, tr.dir)
}
