package hookgate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/hookgate/hookgate/internal/netguard"
)

// guard is the one way out: whatever the gateway connects to for its users, and whatever a custom part connects to through
// DialContext or HTTPClient, goes through it. Each address is judged when the connection is made, not when a URL
// is registered, because what a name means can change in between.
type guard struct {
	rules    *netguard.Guard
	dialer   *netguard.Dialer
	resolver *watchedResolver
}

func newGuard(c *Config) *guard {
	g := &guard{rules: netguard.New(c.AllowPrivate), resolver: &watchedResolver{Resolver: c.Resolver}}
	if g.resolver.Resolver == nil {
		g.resolver.Resolver = net.DefaultResolver
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	g.dialer = g.rules.Dialer(g.resolver, dial)
	return g
}

func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return g.dialer.DialContext(ctx, network, addr)
}

// checkURL says why a URL can never be reached, as far as that can be told without looking its name up.
func (g *guard) checkURL(raw string) error { return g.rules.CheckURL(raw) }

// resolverAnswers reports whether the resolver answered anything of late.
func (g *guard) resolverAnswers() bool {
	last := g.resolver.answered.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < 10*time.Second
}

// watchedResolver notes when the resolver last gave an answer; "there is no such name" is one.
type watchedResolver struct {
	Resolver
	answered atomic.Int64 // unix nanoseconds
}

// LookupNetIP looks a name up.
func (r *watchedResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs, err := r.Resolver.LookupNetIP(ctx, network, host)
	dns := (*net.DNSError)(nil)
	if err == nil || (errors.As(err, &dns) && dns.IsNotFound) {
		r.answered.Store(time.Now().UnixNano())
	}
	return addrs, err
}

func isBlocked(err error) bool { return errors.Is(err, netguard.ErrBlocked) }

// blockedReason keeps the guard's words about addresses, and nothing else.
func blockedReason(err error) error {
	if isBlocked(err) {
		return errors.New(cleanText(err.Error(), 200))
	}
	return errors.New("the URL cannot be used")
}

// DialContext makes a connection as the gateway does: the address is judged by Config.AllowPrivate at the moment of
// connecting. It is for dispatchers, transformers and other parts of your own that connect to places that users name.
// The limits of time are the context's.
func (g *Gateway) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return g.guard.dial(ctx, network, addr)
}

// HTTPClient answers a client whose connections go through DialContext, that follows no redirect and uses no proxy. Each
// call makes a new one; keep it.
func (g *Gateway) HTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            g.DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			IdleConnTimeout:        idleConnTimeout,
			MaxIdleConns:           maxIdleConns,
			MaxResponseHeaderBytes: maxResponseHeader,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
}

// ClientFailure says what an error of HTTPClient or DialContext means, in the words of the HTTP dispatcher: whether the fault is
// on this side, and its class. Its text holds nothing that the other side sent, and no URL. It is for authorizers and
// dispatchers of your own; the context is the attempt's.
func (g *Gateway) ClientFailure(ctx context.Context, err error) *DispatchError {
	if in := (*url.Error)(nil); errors.As(err, &in) {
		err = in.Err // without the URL
	}
	if f := localFault(err); f != nil {
		return f
	}
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		return fault(classTimeout, false, cause, "no complete answer within the attempt's time")
	case cause != nil:
		return fault(classCancelled, true, cause, "the attempt was stopped by the gateway")
	}
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
		rec  tls.RecordHeaderError
	)
	made := &phaseError{phase: phaseConnect, err: err, timeout: isTimeout(err)}
	switch {
	case isBlocked(err), errors.As(err, &dns), errors.As(err, &op) && op.Op == "dial":
		return g.guard.connectFailure(made)
	case errors.As(err, &cert), errors.As(err, &rec):
		made.phase = phaseHandshake
		return handshakeFailure(made)
	}
	return exchangeFailure(err)
}
