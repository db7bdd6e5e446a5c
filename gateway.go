package hookgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/bolt"
)

// Gateway receives events, keeps them, and delivers them. Make one with Open or New. It is safe for concurrent use.
//
// Making one starts nothing: events are accepted, from Publish and from the inbound handlers, and are safe in the store. Run
// delivers them.
type Gateway struct {
	cfg        Config // a copy, with defaults filled in
	dir        string // the folder of Open; "" under New
	store      Store
	ownsStore  bool
	guard      *guard
	dispatcher Dispatcher
	closer     io.Closer // of the dispatcher that we made
	log        *slog.Logger
	sealer     Sealer // nil: none
	random     *lockedRand
	judge      judge
	opening    openings
	commit     *committer
	sched      *scheduler
	keeper     *keeper
	view       view
	parts      parts
	inbound    inboundState

	mu     sync.Mutex
	run    *running
	ended  bool // Run may not be called any more
	failed error

	closing sync.Once
	closed  chan struct{} // closed when Close is done
	closeBy error
}

// Open opens the gateway that is kept in a folder, and makes the folder if it is not there. Everything is inside: the
// events and their journal, the endpoints, and secrets.key, the key that seals stored secrets (keep a copy of it apart
// from your backups: without it the stored secrets are lost). The folder belongs to one process at a time; for another
// one the error is ErrBusy.
//
// A nil Config means all defaults. Close the gateway when it is no longer used.
func Open(path string, c *Config) (*Gateway, error) {
	cfg, err := c.withDefaults(true)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, configError("path", "is empty: name the folder to keep everything in")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("hookgate: open: %w", err)
	}
	s, err := bolt.Open(path, &bolt.Options{LoseUpTo: cfg.Sync.lose, Logger: cfg.Logger})
	if err != nil {
		return nil, edge("open", err)
	}
	cfg.Store = s
	if cfg.Sealer == nil {
		if cfg.Sealer, err = openSealer(path, cfg.KeyProvider); err != nil {
			return nil, errors.Join(edge("open", err), s.Close())
		}
	}
	g, err := newGateway(cfg, path)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return g, nil
}

// New makes a gateway over a store of your own, which Config.Store names and which stays yours to close. Close the gateway
// before the store.
func New(c *Config) (*Gateway, error) {
	cfg, err := c.withDefaults(false)
	if err != nil {
		return nil, err
	}
	return newGateway(cfg, "")
}

func newGateway(cfg Config, dir string) (*Gateway, error) {
	g := &Gateway{
		cfg: cfg, dir: dir, store: cfg.Store, ownsStore: dir != "", log: cfg.Logger, sealer: cfg.Sealer,
		dispatcher: cfg.Dispatcher, random: newLockedRand(cfg.Random), closed: make(chan struct{}),
	}
	g.guard = newGuard(&g.cfg)
	if g.dispatcher == nil {
		d := newHTTPDispatcher(&g.cfg, g.guard, nil)
		g.dispatcher, g.closer = d, d
	}
	g.judge = judge{policy: cfg.Retry, minAsk: cfg.MinRetryAfter, maxAsk: cfg.MaxRetryAfter, random: g.random.Float64}
	g.keeper = newKeeper(g)
	g.sched = newScheduler(g, uuid.NewString())
	g.commit = newCommitter(g.store, g.sched, g.log, g.storeFailed)
	g.opening = newOpenings(cfg.Workers)
	g.view.init(g)
	g.inbound.init(g)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.view.load(ctx); err != nil {
		g.view.close()
		if g.closer != nil {
			g.closer.Close()
		}
		return nil, edge("open", err)
	}
	return g, nil
}

// running is one call of Run.
type running struct {
	stop     chan struct{} // closed when Run is to end
	stopOnce sync.Once
	hard     chan struct{} // closed when attempts may take no longer
	hardOnce sync.Once
	done     chan struct{} // closed when Run returned
	err      error         // what it returned

	attempts context.Context // of every attempt
	cancel   context.CancelFunc
	workers  sync.WaitGroup
}

func (r *running) end()  { r.stopOnce.Do(func() { close(r.stop) }) }
func (r *running) rush() { r.hardOnce.Do(func() { close(r.hard) }) }

// Run delivers what is due until ctx ends, Shutdown or Close is called, or the store fails. It can be called once; a
// second call while it runs is ErrRunning, a later one ErrClosed.
//
// When ctx ends, Run takes nothing new, lets attempts that are under way finish for up to Config.DrainTimeout, gives back
// what was not started, and returns nil. Nothing of this uses up an attempt of a delivery. The error says what could not be
// finished: a store that failed, or a handler that does not return.
//
// Publish and the inbound handlers work before, while and after Run runs, until Close.
func (g *Gateway) Run(ctx context.Context) error {
	r := &running{stop: make(chan struct{}), hard: make(chan struct{}), done: make(chan struct{})}
	g.mu.Lock()
	switch {
	case g.run != nil:
		g.mu.Unlock()
		select {
		case <-g.run.done:
			return ErrClosed
		default:
			return ErrRunning
		}
	case g.ended:
		g.mu.Unlock()
		return ErrClosed
	}
	g.run = r
	failed := g.failed
	g.mu.Unlock()
	if failed != nil {
		r.end()
	}

	r.attempts, r.cancel = context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	claims, stopClaims := context.WithCancel(context.Background())
	sweeps, stopSweeps := context.WithCancel(context.Background())
	if g.cfg.Workers > 0 {
		g.sched.start()
		helpers.Go(func() { g.sched.claimer(claims) }) // the claimer: fills the scheduler's window
		r.workers.Add(g.cfg.Workers)
		for range g.cfg.Workers {
			go g.work(r) // a worker: one attempt at a time
		}
	}
	helpers.Go(func() { g.keeper.run(sweeps) })   // the keeper: leases and attempts that take too long
	helpers.Go(func() { g.keeper.prune(claims) }) // the pruner: what is too old, and what may be forgotten

	select {
	case <-ctx.Done():
	case <-r.stop:
	}
	limit := time.AfterFunc(max(g.cfg.DrainTimeout-margin(g.cfg.DrainTimeout), 0), r.rush)
	err := g.drain(r, stopClaims)
	limit.Stop()
	stopSweeps()
	helpers.Wait()

	g.mu.Lock()
	r.err = errors.Join(g.failed, err)
	g.ended = true
	g.mu.Unlock()
	close(r.done)
	return r.err
}

// margin is what is kept of a limit for recording outcomes, when attempts took all the rest.
func margin(limit time.Duration) time.Duration { return min(limit/4, time.Second) }

// drain ends what is under way.
func (g *Gateway) drain(r *running, stopClaims context.CancelFunc) error {
	stopClaims()
	g.sched.stop()
	home := make(chan struct{})
	go func() { // ends with the last worker
		r.workers.Wait()
		close(home)
	}()
	select {
	case <-home:
	case <-r.hard:
	}
	r.cancel() // attempts that are still under way end now, and do not count
	var left []overdueWork
	select {
	case <-home:
	case <-time.After(handGrace):
		left = g.sched.abandonAll()
	}
	for _, o := range left {
		item := o.work.settle(verdict{op: store.OpRelease, reason: reasonShutdown})
		g.commit.post(false, item)
	}
	ctx, cancel := context.WithTimeout(context.Background(), handGrace)
	defer cancel()
	err := g.commit.flush(ctx)
	if errors.Is(err, ErrFailed) {
		err = nil // Run says so already
	}
	if stuck := g.sched.stuckWork(); len(stuck) > 0 {
		err = errors.Join(err, &StuckError{Attempts: stuck})
	}
	return edge("drain", err)
}

// Shutdown ends Run: nothing new is started, what is under way may finish until ctx ends and is then cancelled and given
// back without counting as an attempt. Every outcome is recorded before it returns. Publishing goes on working.
//
// It returns what Run returns, or earlier, soon after the end of ctx, an error that wraps the context's. Without Run it
// only records what is still in memory.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.ended = true
	r := g.run
	g.mu.Unlock()
	if r == nil {
		return edge("shut down", ignore(g.commit.flush(ctx), ErrClosed))
	}
	if limit, ok := ctx.Deadline(); ok {
		left := time.Until(limit)
		rush := time.AfterFunc(max(left-margin(left), 0), r.rush)
		defer rush.Stop()
	}
	r.end()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	r.rush()
	select {
	case <-r.done:
		return r.err
	case <-time.After(3 * handGrace):
		return edge("shut down", fmt.Errorf("not everything ended in time: %w", ctx.Err()))
	}
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// Close ends everything: Shutdown with Config.DrainTimeout, then the store, if Open opened it. From then on every method
// answers ErrClosed. A second call waits for the first and answers the same. The error says what could not be recorded,
// and which handlers do not return.
func (g *Gateway) Close() error {
	g.closing.Do(func() {
		defer close(g.closed)
		ctx, cancel := context.WithTimeout(context.Background(), g.cfg.DrainTimeout)
		err := g.Shutdown(ctx)
		g.closeInbound(ctx)
		cancel()
		ctx, cancel = context.WithTimeout(context.Background(), 2*handGrace)
		err = errors.Join(err, edge("close", ignore(g.commit.close(ctx), ErrFailed)))
		cancel()
		g.view.close()
		if g.closer != nil {
			err = errors.Join(err, g.closer.Close())
		}
		if g.ownsStore {
			err = errors.Join(err, edge("close", g.store.Close()))
		}
		g.closeBy = err
	})
	<-g.closed
	return g.closeBy
}

// closeInbound writes what was refused, which is under no promise: if it has to wait for a key provider it may be lost.
func (g *Gateway) closeInbound(ctx context.Context) {
	done := make(chan struct{})
	go func() { // ends with the answer of the sealer
		g.inbound.close()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(handGrace):
		g.log.Warn("hookgate: requests that were refused last could not be written in time")
	}
}

// storeFailed is told once, when the store takes no more writes.
func (g *Gateway) storeFailed(err error) {
	g.log.Error("hookgate: the store has failed; deliveries stop until it is opened again", "error", err)
	g.mu.Lock()
	g.failed = edge("run", err)
	r := g.run
	g.mu.Unlock()
	if r != nil {
		r.end()
	}
}

// StuckAttempt is an attempt that did not return within its time.
type StuckAttempt struct {
	Delivery    DeliveryID
	Destination Destination
	Since       time.Time
}

// Stuck lists the attempts that did not return within their time: as a rule, calls of handlers that ignore their context.
// Each keeps a worker occupied until it returns, and its delivery is not tried here before that.
func (g *Gateway) Stuck() []StuckAttempt {
	list := g.sched.stuckWork()
	slices.SortFunc(list, func(a, b StuckAttempt) int { return a.Since.Compare(b.Since) })
	return list
}

// StuckError says that attempts had not returned when the gateway ended. Their deliveries were given back: another
// process, or the next run, makes them again.
type StuckError struct{ Attempts []StuckAttempt }

// Error names the first few.
func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d attempts did not return: ", len(e.Attempts))
	for i, a := range e.Attempts {
		if i == 3 {
			b.WriteString(", ...")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s at %s", a.Delivery, a.Destination)
	}
	return b.String()
}

// lockedRand is a source of randomness for many goroutines.
type lockedRand struct {
	mu  sync.Mutex
	src *rand.Rand // nil: the system's
}

func newLockedRand(src rand.Source) *lockedRand {
	if src == nil {
		return &lockedRand{}
	}
	return &lockedRand{src: rand.New(src)}
}

// Float64 answers a number in [0, 1).
func (r *lockedRand) Float64() float64 {
	if r.src == nil {
		return rand.Float64()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Float64()
}
