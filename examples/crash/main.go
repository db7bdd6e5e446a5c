// Crash shows what "accepted" means: it kills a gateway with SIGKILL in the middle of its work, again and again, starts it
// again each time, and then compares three ledgers.
//
//	this program ──GitHub pushes──> child with a gateway ──webhooks──> two consumers in this program
//	             <─ what it was told ─  (killed, started again)
//
// The publisher's ledger holds what was accepted, the consumers' what they got, and the third is the folder itself, which
// this program opens at the end.
//
// Run it with: go run ./examples/crash
//
// The exit code is 0 only if nothing was lost and nothing invented. With -seed the same waits come again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/hookgate/hookgate"
)

func main() {
	child := flag.String("child", "", "be the child that is killed, with this folder (the program uses it itself)")
	from := flag.Int("from", 1, "the first order that the child publishes")
	to := flag.Int("to", 0, "the last")
	rounds := flag.Int("rounds", 6, "how many times to kill")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "where random choices begin")
	flag.Parse()

	var err error
	if *child != "" {
		err = runChild(*child, *from, *to)
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		err = run(ctx, *rounds, *seed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, seed uint64) error {
	fmt.Printf("%d rounds, seed %d\n\n", rounds, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir, err := os.MkdirTemp("", "hookgate-crash-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	p := newPublisher()
	steady, moody := newConsumer("steady", 0), newConsumer("moody", 5)
	gw, err := hookgate.Open(dir, config())
	if err != nil {
		return err
	}
	if err := errors.Join(steady.connect(ctx, gw), moody.connect(ctx, gw), gw.Close()); err != nil {
		return err
	}

	for round := 1; round <= rounds; round++ {
		c, err := startChild(ctx, dir, p, false)
		if err != nil {
			return err
		}
		life := time.Duration(50+rng.IntN(700)) * time.Millisecond
		time.AfterFunc(life, c.kill)
		p.pushUntilKilled(ctx, c.url)
		<-c.gone
		fmt.Printf("round %d: killed after %3d ms; %4d events accepted, %4d at steady, %4d at moody, %4d at the handler\n",
			round, life.Milliseconds(), len(p.accepted), steady.count(), moody.count(), p.handler.count())
	}

	// The last child gets what its predecessors left open, and the time to work everything off.
	c, err := startChild(ctx, dir, p, true)
	if err != nil {
		return err
	}
	if ok, err := p.push(ctx, c.url, p.pushes+1); err != nil || !ok {
		return errors.Join(errors.New("the last push was not accepted"), err)
	}
	if err := c.finish(); err != nil {
		return err
	}
	return p.compare(ctx, dir, steady, moody)
}

// compare holds the three ledgers side by side: what was told to publishers, what the folder holds, and what arrived.
func (p *publisher) compare(ctx context.Context, dir string, consumers ...*consumer) error {
	gw, err := hookgate.Open(dir, config())
	if err != nil {
		return err
	}
	defer gw.Close()
	stored := map[string]string{} // the name of each event, by ID
	lost, invented, twice := 0, 0, 0

	// The folder against what was tried: nothing invented, no name twice.
	names := map[string]bool{}
	q := hookgate.EventQuery{Oldest: true, Page: hookgate.Paging{Limit: 1000}}
	for more := true; more; {
		page, err := gw.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, ev := range page.Items {
			name := ev.IdempotencyKey
			stored[ev.ID.String()] = name
			if names[name] {
				twice++
			}
			if !p.tried[name] {
				invented++
			}
			names[name] = true
		}
		q.Page.Cursor, more = page.Next, page.Next != ""
	}
	// What was accepted against the folder: nothing lost.
	for name, id := range p.accepted {
		if stored[id.String()] != name {
			lost++
		}
	}
	// The folder against what arrived: each event at each consumer, the pushes at the handler, and nothing else.
	arrived, repeats, forged := 0, 0, 0
	for _, c := range append(consumers, p.handler) {
		for id, name := range stored {
			wanted := c != p.handler || strings.HasPrefix(name, "push-")
			if wanted && c.got[id] == 0 {
				lost++
				fmt.Printf("\n%s did not get %s:\n", c.name, name)
				if err := printJourney(ctx, gw, id); err != nil {
					return err
				}
			}
		}
		for id, n := range c.got {
			if stored[id] == "" {
				invented++
			}
			arrived, repeats = arrived+1, repeats+n-1
		}
		forged += c.forged
	}

	fmt.Printf("\npublishers were told that %d events are accepted; the folder holds %d\n", len(p.accepted), len(stored))
	fmt.Printf("%d deliveries arrived; %d arrived once more, because the kill came before the success was on record\n", arrived, repeats)
	fmt.Printf("lost: %d, invented: %d, stored twice: %d, wrongly signed: %d\n", lost, invented, twice, forged)
	switch {
	case p.problem != nil:
		return p.problem
	case lost+invented+twice+forged > 0:
		return errors.New("the ledgers do not agree")
	case len(p.accepted) == 0:
		return errors.New("nothing was accepted at all, so nothing is proven")
	}
	fmt.Println("The ledgers agree.")
	return nil
}

// printJourney tells what became of an event, attempt by attempt.
func printJourney(ctx context.Context, gw *hookgate.Gateway, text string) error {
	var id hookgate.ID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	journey, err := gw.Journey(ctx, "", id)
	if err != nil {
		return err
	}
	fmt.Print(journey)
	return nil
}
