package hookgate

import (
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
)

// Source says where inbound events come from and how they are checked. Declare it with AddSource and mount the handler
// that Inbound answers.
type Source struct {
	// Verifier proves who sent a request. It is required: to take events from anybody, say so with signing.Unverified.
	// ReplaceVerifier exchanges it while the gateway runs.
	Verifier Verifier

	// Tenant is whose events these are.
	Tenant string

	// MaxBody is how large a body may be, in bytes, as it is sent: a compressed body is stored compressed, because that
	// is what was signed. 0: Config.MaxPayload, which is also the most.
	MaxBody int64

	// BodyTimeout is how long a body may take to arrive. 0: 10 s. Negative: as long as the server allows. It needs a
	// ResponseWriter that can set a read deadline, as that of net/http can; a middleware that wraps it should have an
	// Unwrap method. Otherwise the server's own limits are all there is.
	BodyTimeout time.Duration

	// Allow lists who may call; nil: anybody, an empty list nobody. Others get 403 before a byte of their body is read.
	Allow []netip.Prefix

	// TrustedProxies lists the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. The sender is then the
	// rightmost address that is not a trusted proxy. Nil: nobody's, the sender is who made the connection.
	TrustedProxies []netip.Prefix

	// PublicURL is the URL as the provider knows it, for schemes that sign the URL, such as
	// "https://hooks.example.com/in/twilio". Its query is replaced by the request's. Empty: taken from the request.
	PublicURL string

	// Rate is how many requests are let in a second, Burst how many at once, all senders together. More get 429 with
	// Retry-After. Rate 0: no limit. Burst 0: as many as Rate, at least one.
	Rate  float64
	Burst int

	// TypeOf, IDOf and KeyOf say an event's type, the provider's ID for it and its ordering key, where the verifier does
	// not know them or others are wanted. They are called after the sender is proven and may be called by many
	// goroutines. The body may not be kept or changed. An empty answer of TypeOf or IDOf leaves what the verifier found;
	// an answer of KeyOf, even an empty one, is final.
	//
	// The provider's ID is the event's idempotency key, for Config.IdempotencyWindow but at least an hour, and at least as
	// long as the verifier takes the same signature; a verifier with a wide tolerance says so with a method
	// Tolerance() time.Duration. A request without an ID is never a duplicate: a repeat of it is an event of its own.
	//
	// An event without a type is of type "unknown"; what a type may not hold becomes "_".
	TypeOf func(r *http.Request, body []byte) string
	IDOf   func(r *http.Request, body []byte) string
	KeyOf  func(r *http.Request, body []byte) string

	// Check, if set, looks at a request whose sender is proven, such as a schema does. Its error answers 422; the
	// operator finds the text among the rejected.
	Check func(r *http.Request, body []byte) error

	// IDDecides makes the provider's ID alone tell whether an event came before. Set it for a provider whose repeats
	// differ in details, such as Stripe, which counts pending webhooks in the body.
	//
	// Otherwise the same ID with another body is a conflict: it is answered 409 and kept among the rejected, and never
	// 2xx, because an answer of 2xx promises that what was sent is stored.
	IDDecides bool

	// Keep lists the request headers that are kept with the event and sent on to endpoints, beside Content-Type and
	// Content-Encoding; at most 16 KiB of them. Nil: User-Agent and those in which the provider says the event's type and
	// ID. Authorization, cookies, and what belongs to the connection or to our own signature cannot be kept.
	Keep []string

	// Status is the answer to a sender who is not proven. 0: 401.
	Status int

	// RejectedCount and RejectedBytes bound what is kept of refused requests, for Rejected and VerifyAgain. 0: 100, 1 MiB.
	// Negative: nothing. At most 10,000 and 64 MiB. Of a body that is larger than a quarter of RejectedBytes only the
	// beginning is kept, and it cannot be verified again.
	RejectedCount int
	RejectedBytes int64
}

// The most that a source may keep of refused requests.
const (
	maxRejected      = 10_000
	maxRejectedBytes = 64 << 20
)

const (
	defaultBodyTimeout = 10 * time.Second
	minInboundWindow   = time.Hour
)

// source is a Source at work.
type source struct {
	Source
	name     string
	keep     []string // canonical; nil: what tellsOfEvent finds
	public   *url.URL // nil: from the request
	limiter  *retry.Limiter
	rejected *rejectedRing
	proof    atomic.Pointer[proof]
	again    sync.Mutex   // held by VerifyAgain: an entry is accepted once
	told     atomic.Int64 // when the log last heard of requests that could not be stored, unix nanoseconds
}

// proof is what follows from a verifier; ReplaceVerifier swaps the whole.
type proof struct {
	verifier  Verifier
	handshake signing.Handshaker // nil: none
	answer    signing.Answerer   // nil: every event is answered with an empty 200
	methods   []string
	allow     string        // the methods, for the Allow header
	window    time.Duration // of idempotency keys
}

// newProof finds out what a verifier can do. The window of idempotency keys is never shorter than the time for which the
// verifier takes the same signature, and a timestamp may lie as far ahead as behind. A verifier that does not say its
// tolerance gets an hour, three times what the widest known scheme needs.
func newProof(v Verifier, window time.Duration) *proof {
	p := &proof{verifier: v, methods: []string{http.MethodPost}, window: max(window, minInboundWindow)}
	if h, ok := v.(signing.Handshaker); ok {
		p.handshake = h
		for _, m := range h.HandshakeMethods() {
			if !slices.Contains(p.methods, m) {
				p.methods = append(p.methods, m)
			}
		}
	}
	p.answer, _ = v.(signing.Answerer)
	if t, ok := v.(interface{ Tolerance() time.Duration }); ok {
		p.window = max(p.window, 2*t.Tolerance())
	}
	p.allow = strings.Join(p.methods, ", ")
	return p
}

// AddSource declares a source. It may be done before or while requests come in: until then they get 404. The name is part
// of every event and of its idempotency key, so it must stay the same for good: letters, digits, "-" and "_", at most 64.
//
// A name can be declared once; a second time is a *ConfigError, because two places in a program that claim the same source
// are a mistake. ReplaceVerifier changes its secrets.
func (g *Gateway) AddSource(name string, s Source) error {
	in, err := g.newSource(name, s)
	if err != nil {
		return err
	}
	return g.inbound.add(in)
}

// ReplaceVerifier gives a source another verifier, such as one with a new secret beside the old. Requests that are being
// verified at this moment are judged by the old one. The error is ErrNotFound if there is no such source.
func (g *Gateway) ReplaceVerifier(name string, v Verifier) error {
	in := g.inbound.source(name)
	if in == nil {
		return noSource(name)
	}
	if v == nil {
		return configError("Source."+name+".Verifier", "is required; to take events from anybody, write signing.Unverified")
	}
	in.proof.Store(newProof(v, g.cfg.IdempotencyWindow))
	g.warnUnverified(name, v)
	return nil
}

func (g *Gateway) warnUnverified(name string, v Verifier) {
	if v == signing.Unverified {
		g.log.Warn("hookgate: a source takes events from anybody, nothing is verified", "source", name)
	}
}

// newSource checks a source and fills in its defaults.
func (g *Gateway) newSource(name string, s Source) (*source, error) {
	if !isSourceName(name) {
		return nil, configError("AddSource", "%q is not a name: use letters, digits, - and _, at most 64", cleanText(name, 100))
	}
	in := &source{Source: s, name: name}
	if err := in.check(&g.cfg); err != nil {
		return nil, err
	}
	in.proof.Store(newProof(s.Verifier, g.cfg.IdempotencyWindow))
	if s.Rate > 0 {
		in.limiter = retry.NewLimiter(s.Rate, in.Burst)
	}
	return in, nil
}

// openRing makes the ring of rejected requests: in the gateway's folder, or in memory if it has none.
func (s *source) openRing(g *Gateway) {
	path := ""
	if g.dir != "" {
		path = filepath.Join(g.dir, rejectedDir, s.name)
	}
	s.rejected = openRejected(s.name, path, s.RejectedCount, s.RejectedBytes, g.sealer, g.log)
}

func (s *source) check(c *Config) error {
	bad := func(setting, format string, args ...any) error {
		return configError("Source."+s.name+"."+setting, format, args...)
	}
	switch {
	case s.Verifier == nil:
		return bad("Verifier", "is required; to take events from anybody, write signing.Unverified")
	case badTenant(s.Tenant) != "":
		return bad("Tenant", "%s", badTenant(s.Tenant))
	case s.MaxBody < 0:
		return bad("MaxBody", "must not be negative")
	case s.MaxBody > c.MaxPayload:
		return bad("MaxBody", "%d is more than Config.MaxPayload (%d)", s.MaxBody, c.MaxPayload)
	case s.Status != 0 && (s.Status < 400 || s.Status > 499):
		return bad("Status", "%d does not refuse: use 401, 403 or another 4xx", s.Status)
	case s.Rate < 0 || math.IsNaN(s.Rate) || math.IsInf(s.Rate, 0):
		return bad("Rate", "must be a number of requests per second, or 0 for no limit")
	case s.Burst < 0:
		return bad("Burst", "must not be negative")
	case s.RejectedCount > maxRejected:
		return bad("RejectedCount", "%d is more than %d", s.RejectedCount, maxRejected)
	case s.RejectedBytes > maxRejectedBytes:
		return bad("RejectedBytes", "%d is more than %d", s.RejectedBytes, maxRejectedBytes)
	}
	if s.MaxBody == 0 {
		s.MaxBody = c.MaxPayload
	}
	if s.BodyTimeout == 0 {
		s.BodyTimeout = defaultBodyTimeout
	}
	if s.Status == 0 {
		s.Status = http.StatusUnauthorized
	}
	if s.Burst == 0 {
		s.Burst = int(min(max(s.Rate, 1), 1e6))
	}
	var i int
	if s.Allow, i = plainPrefixes(s.Allow); i >= 0 {
		return bad("Allow", "range %d is not valid", i)
	}
	if s.TrustedProxies, i = plainPrefixes(s.TrustedProxies); i >= 0 {
		return bad("TrustedProxies", "range %d is not valid", i)
	}
	if s.PublicURL != "" {
		u, err := url.Parse(s.PublicURL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return bad("PublicURL", "is not an http or https URL")
		}
		s.public = u
	}
	if s.Keep != nil {
		s.keep = make([]string, 0, len(s.Keep))
		for _, name := range s.Keep {
			name = http.CanonicalHeaderKey(name)
			if neverKept(name) {
				return bad("Keep", "%s holds a secret and is never kept", name)
			}
			if err := checkHeader(name, ""); err != nil {
				return bad("Keep", "%w", err)
			}
			s.keep = append(s.keep, name)
		}
	}
	return nil
}

// plainPrefixes copies a list with IPv4 ranges in their plain form, because that is how addresses are compared. It
// answers the index of a range that is not valid, or -1.
func plainPrefixes(list []netip.Prefix) ([]netip.Prefix, int) {
	if list == nil {
		return nil, -1
	}
	out := make([]netip.Prefix, 0, len(list)) // an empty list allows nobody, nil everybody
	for i, p := range list {
		if !p.IsValid() {
			return nil, i
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, -1
}

func isSourceName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, nameLetters) == ""
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
