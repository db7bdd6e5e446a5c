package hookgate

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
)

// Config holds every setting. The zero value of each is its default, and nil means all defaults. Open and New copy it;
// changing it later changes nothing.
type Config struct {
	// Store keeps everything. Open makes its own and refuses one here; New requires it. Who opens it closes it.
	Store Store

	// Sync says when an accepted event is on disk. It is for Open alone: a store of your own has its own settings. Zero:
	// SyncEveryCommit, so that nothing accepted is ever lost. LoseUpTo is faster and says what it costs.
	Sync Sync

	// Signer signs outbound requests unless an endpoint names another. Nil: Standard Webhooks.
	Signer Signer

	// Transformer makes the outbound message unless an endpoint or subscription names another. Nil: the event as it is.
	Transformer Transformer

	// Dispatcher makes the attempts at endpoints. Nil: HTTP, through the address guard.
	Dispatcher Dispatcher

	// Retry says when to try again. Nil: the Standard Webhooks schedule, ten attempts over three days.
	Retry RetryPolicy

	// Workers is how many attempts run at a time. 0: 64. Negative: none; this process only publishes and receives.
	Workers int

	// PerDestination is how many attempts run at a time at one destination, so that one that hangs cannot take all
	// workers. 0: a quarter of Workers, at least one.
	PerDestination int

	// Timeout is for one attempt, all in all. 0: 15 s. ConnectTimeout and TLSTimeout are parts of it; 0: 5 s each, or
	// Timeout where that is shorter.
	Timeout        time.Duration
	ConnectTimeout time.Duration
	TLSTimeout     time.Duration

	// MinRetryAfter and MaxRetryAfter clamp what a receiver asks for. 0: 1 s, 24 h.
	MinRetryAfter time.Duration
	MaxRetryAfter time.Duration

	// MaxAge is how long a delivery may wait, held or retried, counted from its event. When it is over the delivery
	// becomes a dead letter; nothing is deleted, and Redeliver can still send it. 0: 30 days. Negative: no end.
	MaxAge time.Duration

	// MaxPayload is how large an event's payload may be, in bytes. 0: 5 MiB.
	MaxPayload int64

	// MaxResponse is how much of a receiver's answer is kept with the attempt, in bytes. 0: 1 KiB. Negative: nothing.
	MaxResponse int

	// IdempotencyWindow is how long an idempotency key stays taken. 0: 24 h.
	IdempotencyWindow time.Duration

	// KeepDone and KeepDead are how long finished events, and those with dead letters, are kept, counted from
	// acceptance. 0: 7 days, 30 days. Negative: for good.
	KeepDone time.Duration
	KeepDead time.Duration

	// DrainTimeout is how long Run lets attempts finish when its context ends. 0: 30 s. Negative: not at all.
	DrainTimeout time.Duration

	// Window bounds the work that is held in memory, ready to be tried, in bytes of payload. 0: 16 MiB.
	Window int64

	// AllowPrivate lists address ranges that connections may be made to although they are not public, such as
	// 127.0.0.0/8 in a test. Nothing else opens the guard.
	AllowPrivate []netip.Prefix

	// Resolver looks names up; nil: the system's. Dial connects to an address that the guard allowed; nil: the system's.
	Resolver Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)

	// Sealer seals secrets before they are stored. Open makes one with a key in the folder; New needs one as soon as a
	// secret is stored, or PlainSecrets.
	Sealer       Sealer
	PlainSecrets bool

	// KeyProvider seals secrets under keys that something else keeps, such as a KMS, in the place of a Sealer. Open makes
	// no key of its own then; one that the folder has already still opens what it sealed.
	KeyProvider KeyProvider

	// Logger gets what nobody is there to be told. Nil: slog.Default.
	Logger *slog.Logger

	// Random is the one source of randomness for waits (not for keys). Nil: seeded by the system.
	Random rand.Source
}

// Resolver looks up the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Sealer encrypts the secrets that the store keeps. The context string binds a sealed secret to where it belongs, so that
// stored secrets cannot be swapped.
type Sealer interface {
	Seal(plain []byte, context string) ([]byte, error)
	Open(sealed []byte, context string) ([]byte, error)
}

// Sync says when what was accepted is on disk. The zero value is SyncEveryCommit.
type Sync struct{ lose time.Duration }

// SyncEveryCommit syncs each commit before anything in it is accepted. Callers that wait at the same time share a sync.
var SyncEveryCommit = Sync{}

// LoseUpTo syncs in the background, within d. It is faster where syncs are slow, and a power cut or a crash of the
// operating system loses up to the last d of accepted events and outcomes. A crash of the program alone loses nothing.
func LoseUpTo(d time.Duration) Sync { return Sync{lose: d} }

// String says it in words.
func (s Sync) String() string {
	if s.lose == 0 {
		return "every commit"
	}
	return "lose up to " + s.lose.String()
}

// The defaults of Config, and the limits of what makes sense.
const (
	defaultWorkers      = 64
	maxWorkers          = 1 << 16
	defaultTimeout      = 15 * time.Second
	defaultConnect      = 5 * time.Second
	defaultRetryMin     = time.Second
	defaultRetryMax     = 24 * time.Hour
	defaultMaxAge       = 30 * 24 * time.Hour
	defaultMaxPayload   = 5 << 20
	maxPayload          = 1 << 30
	defaultMaxResponse  = 1 << 10
	maxMaxResponse      = 1 << 20
	defaultWindow       = 16 << 20
	defaultIdempotency  = 24 * time.Hour
	defaultKeepDone     = 7 * 24 * time.Hour
	defaultKeepDead     = 30 * 24 * time.Hour
	defaultDrainTimeout = 30 * time.Second
)

// forGood is a time that no deadline reaches: what a negative setting becomes.
const forGood = 1<<63 - 1

// withDefaults answers a copy of c in which every setting is filled in and checked; nil means all defaults. It is the one
// place that knows a default. opening says that Open asks, which brings its own store.
func (c *Config) withDefaults(opening bool) (Config, error) {
	var f Config
	if c != nil {
		f = *c
	}
	switch {
	case opening && f.Store != nil:
		return f, configError("Config.Store", "Open makes its own store: leave it nil, or call New")
	case !opening && f.Store == nil:
		return f, configError("Config.Store", "is required by New: pass a store, or call Open")
	case !opening && f.Sync != SyncEveryCommit:
		return f, configError("Config.Sync", "is for Open: set it at the store that you pass")
	case f.Sync.lose < 0:
		return f, configError("Config.Sync", "must not be negative")
	}
	if f.KeyProvider != nil {
		if f.Sealer != nil {
			return f, configError("Config.KeyProvider", "and Config.Sealer are both set: leave one out")
		}
		if err := checkKeyID(f.KeyProvider, f.KeyProvider.KeyID()); err != nil {
			return f, err
		}
		if !opening {
			f.Sealer = newEnvelopeSealer(f.KeyProvider, nil)
		}
	}
	if f.Signer == nil {
		f.Signer = signing.StandardWebhooks
	}
	if f.Retry == nil {
		f.Retry = retry.Standard
	}
	if f.Logger == nil {
		f.Logger = slog.Default()
	}

	switch {
	case f.Workers == 0:
		f.Workers = defaultWorkers
	case f.Workers > maxWorkers:
		return f, configError("Config.Workers", "%d is over the limit of %d", f.Workers, maxWorkers)
	}
	f.Workers = max(f.Workers, 0)
	switch {
	case f.PerDestination < 0:
		return f, configError("Config.PerDestination", "must not be negative")
	case f.PerDestination == 0:
		f.PerDestination = max(f.Workers/4, 1)
	}

	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Timeout", &f.Timeout, defaultTimeout},
		{"ConnectTimeout", &f.ConnectTimeout, 0},
		{"TLSTimeout", &f.TLSTimeout, 0},
		{"MinRetryAfter", &f.MinRetryAfter, defaultRetryMin},
		{"MaxRetryAfter", &f.MaxRetryAfter, 0},
		{"IdempotencyWindow", &f.IdempotencyWindow, defaultIdempotency},
	} {
		switch {
		case *d.value < 0:
			return f, configError("Config."+d.name, "must not be negative")
		case *d.value == 0:
			*d.value = d.def
		}
	}
	if f.ConnectTimeout == 0 {
		f.ConnectTimeout = min(defaultConnect, f.Timeout)
	}
	if f.TLSTimeout == 0 {
		f.TLSTimeout = min(defaultConnect, f.Timeout)
	}
	if f.MaxRetryAfter == 0 {
		f.MaxRetryAfter = max(defaultRetryMax, f.MinRetryAfter)
	}
	if f.MaxRetryAfter < f.MinRetryAfter {
		return f, configError("Config.MaxRetryAfter", "%v is less than Config.MinRetryAfter (%v)", f.MaxRetryAfter, f.MinRetryAfter)
	}

	// Those that have no end when they are negative.
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&f.MaxAge, defaultMaxAge}, {&f.KeepDone, defaultKeepDone}, {&f.KeepDead, defaultKeepDead}} {
		if *d.value == 0 {
			*d.value = d.def
		} else if *d.value < 0 {
			*d.value = forGood
		}
	}
	if f.DrainTimeout == 0 {
		f.DrainTimeout = defaultDrainTimeout
	}
	f.DrainTimeout = max(f.DrainTimeout, 0)

	switch {
	case f.MaxPayload < 0:
		return f, configError("Config.MaxPayload", "must not be negative")
	case f.MaxPayload > maxPayload:
		return f, configError("Config.MaxPayload", "%d is over the limit of %d bytes", f.MaxPayload, maxPayload)
	case f.MaxPayload == 0:
		f.MaxPayload = defaultMaxPayload
	}
	switch {
	case f.MaxResponse > maxMaxResponse:
		return f, configError("Config.MaxResponse", "%d is over the limit of %d bytes", f.MaxResponse, maxMaxResponse)
	case f.MaxResponse == 0:
		f.MaxResponse = defaultMaxResponse
	}
	switch {
	case f.Window < 0:
		return f, configError("Config.Window", "must not be negative")
	case f.Window == 0:
		f.Window = defaultWindow
	}
	f.AllowPrivate = slices.Clone(f.AllowPrivate)
	for i, p := range f.AllowPrivate {
		if !p.IsValid() {
			return f, configError("Config.AllowPrivate", "range %d is not valid", i)
		}
	}
	return f, nil
}
