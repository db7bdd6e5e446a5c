package hookgate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/hookgate/hookgate/internal/http1"
)

// DispatchError says why an attempt got no answer. A dispatcher of your own may return one to be as exact as the HTTP one;
// any other error of a Dispatcher is kept as class "error" and counts as an attempt.
type DispatchError struct {
	// Class is one word for lists and metrics, kept with the attempt: timeout, dns, connect, tls, blocked, reset, protocol,
	// cancelled, auth, or one of your own.
	Class string

	// Local says that the fault is on this side: no descriptors left, no resolver, shutting down. The attempt does not
	// count, and nothing is held against the destination.
	Local bool

	// Err is the reason. Its text is stored and shown to the owner of the endpoint: it must hold no secret, no header and
	// no body. Nil: the class says it all.
	Err error
}

// Error gives the class and the reason.
func (e *DispatchError) Error() string {
	if e.Err == nil {
		return e.Class
	}
	return e.Class + ": " + e.Err.Error()
}

// Unwrap gives the reason.
func (e *DispatchError) Unwrap() error { return e.Err }

// The classes of a DispatchError that the HTTP dispatcher makes; an Attempt keeps the word.
const (
	classTimeout   = "timeout"   // a limit of time was over: connecting, TLS, or the whole attempt
	classDNS       = "dns"       // the name has no address, or could not be looked up
	classConnect   = "connect"   // nobody accepted the connection
	classTLS       = "tls"       // the handshake failed, or the certificate is not one to trust
	classBlocked   = "blocked"   // the guard does not allow the address or the URL
	classReset     = "reset"     // the connection ended before an answer
	classProtocol  = "protocol"  // what came back, or what was to be sent, is not HTTP
	classCancelled = "cancelled" // the gateway stopped the attempt
)

var (
	errConnectTimeout   = errors.New("no connection within the time for connecting")
	errHandshakeTimeout = errors.New("the TLS handshake was not done in time")
)

// phase is the part of making a connection that an error comes from.
type phase uint8

const (
	phaseConnect phase = iota + 1
	phaseHandshake
)

// phaseError marks an error of making a connection, so that it can be told from one of using it.
type phaseError struct {
	phase   phase
	timeout bool
	closing bool
	err     error
}

func (e *phaseError) Error() string { return e.err.Error() }
func (e *phaseError) Unwrap() error { return e.err }

func (d *HTTPDispatcher) phase(ctx context.Context, p phase, err error) error {
	e := &phaseError{phase: p, err: err, closing: d.closing.Err() != nil}
	if ctx.Err() != nil || isTimeout(err) {
		e.timeout = !e.closing
	}
	return e
}

// attemptError is the text that is stored and shown, with the cause behind it for errors.Is. The text is made here and
// never taken from the other side: an error of net/http may quote what a receiver sent, which may in turn quote what we
// sent, and so carry the query of a URL or a secret header into the history.
type attemptError struct {
	text  string
	cause error
}

func (e *attemptError) Error() string { return e.text }
func (e *attemptError) Unwrap() error { return e.cause }

func fault(class string, local bool, cause error, format string, args ...any) *DispatchError {
	text := cleanText(fmt.Sprintf(format, args...), 300)
	return &DispatchError{Class: class, Local: local, Err: &attemptError{text: text, cause: cause}}
}

// failure says what an error of the transport means. Local faults are ours: they do not count as attempts, and a
// receiver's breaker does not hear of them.
func (d *HTTPDispatcher) failure(ctx context.Context, err error) *DispatchError {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		d.client.CloseIdle() // they hold what is missing
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
	if made := (*phaseError)(nil); errors.As(err, &made) {
		switch {
		case made.closing:
			return fault(classCancelled, true, err, "the attempt was stopped by the gateway")
		case made.phase == phaseHandshake:
			return handshakeFailure(made)
		}
		return d.guard.connectFailure(made)
	}
	return exchangeFailure(err)
}

// localFaults are the errors of the system that say nothing about the receiver.
var localFaults = []struct {
	errno syscall.Errno
	text  string
}{
	{syscall.EMFILE, "this process has no file descriptor left: raise its limit (ulimit -n)"},
	{syscall.ENFILE, "this machine has no file descriptor left"},
	{syscall.EADDRNOTAVAIL, "this machine has no local port left for a connection"},
	{syscall.ENOBUFS, "this machine has no network buffer left"},
	{syscall.ENOMEM, "this machine has no memory left for a connection"},
	{syscall.ENETDOWN, "this machine's network is down"},
}

func localFault(err error) *DispatchError {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return nil
	}
	for _, f := range localFaults {
		if f.errno == errno {
			return fault(classConnect, true, err, "%s", f.text)
		}
	}
	return nil
}

func (g *guard) connectFailure(e *phaseError) *DispatchError {
	if isBlocked(e.err) {
		return fault(classBlocked, false, e, "%s", blockedReason(e.err))
	}
	if dns := (*net.DNSError)(nil); errors.As(e.err, &dns) {
		if dns.IsNotFound {
			return fault(classDNS, false, e, "the name %s has no address", dns.Name)
		}
		// A resolver that answers for other names is well: then it is this name's servers that fail.
		if g.resolverAnswers() {
			return fault(classDNS, false, e, "the name %s could not be looked up", dns.Name)
		}
		return fault(classDNS, true, e, "the resolver of this machine does not answer (asked for %s)", dns.Name)
	}
	switch {
	case e.timeout:
		return fault(classTimeout, false, e, "%s", errConnectTimeout)
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return fault(classConnect, false, e, "the connection was refused")
	case errors.Is(e.err, syscall.EHOSTUNREACH), errors.Is(e.err, syscall.ENETUNREACH):
		return fault(classConnect, false, e, "there is no way to the receiver's address")
	case errors.Is(e.err, syscall.ECONNRESET):
		return fault(classConnect, false, e, "the connection was reset while it was made")
	}
	return fault(classConnect, false, e, "connecting failed: %s", plainCause(e.err))
}

func handshakeFailure(e *phaseError) *DispatchError {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
	)
	text := ""
	switch err := e.err; {
	case e.timeout:
		return fault(classTimeout, false, e, "%s", errHandshakeTimeout)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text = "the certificate has expired or is not valid yet"
	case errors.As(err, &hostname):
		text = "the certificate is not for this name"
	case errors.As(err, &unknown):
		text = "the certificate was signed by an authority that this machine does not know"
	case errors.As(err, &invalid):
		text = "the certificate is not valid for this use"
	case errors.As(err, &record):
		text = "the receiver does not speak TLS on this port"
	case remoteAlert(err) != "":
		text = "the receiver ended the handshake: " + remoteAlert(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		text = "the connection ended during the handshake"
	case strings.Contains(err.Error(), "protocol version"):
		text = "the receiver offers no version of TLS that is still safe (1.2 or later)"
	default:
		text = "the handshake failed"
	}
	return fault(classTLS, false, e, "TLS: %s", text)
}

// exchangeFailure is for errors on a connection that stood.
func exchangeFailure(err error) *DispatchError {
	text := err.Error()
	switch {
	case remoteAlert(err) != "":
		// Where the client's part of the handshake is done first, as in TLS 1.3, the receiver's word comes in the place of an answer.
		return fault(classTLS, false, err, "TLS: the receiver ended the connection: %s", remoteAlert(err))
	case errors.Is(err, http1.ErrHeaderTooLarge), strings.Contains(text, "header too long"):
		return fault(classProtocol, false, err, "the headers of the answer are larger than %d KiB", maxResponseHeader>>10)
	case strings.Contains(text, "malformed"), strings.Contains(text, "invalid"), strings.Contains(text, "unsupported"),
		strings.Contains(text, "too many"), strings.Contains(text, "bad "), strings.Contains(text, "unexpected"):
		if !isCut(err) {
			return fault(classProtocol, false, err, "what came back is not valid HTTP")
		}
	}
	switch {
	case isTimeout(err):
		return fault(classTimeout, false, err, "no complete answer in time")
	case isCut(err):
		return fault(classReset, false, err, "the connection ended before an answer")
	}
	return fault(classProtocol, false, err, "what came back is not valid HTTP")
}

func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) ||
		strings.Contains(err.Error(), "server closed idle connection")
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &t) && t.Timeout())
}

// plainCause is the innermost word of a system error, without addresses.
func plainCause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return "unknown cause"
}

// cleanText makes a line of at most limit bytes that is safe in a log, a terminal and a page: control and formatting
// characters and broken UTF-8 are written as escapes.
func cleanText(s string, limit int) string {
	plain := len(s) <= limit
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= 0x20 && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	cut := 0 // how much fits together with the sign that something is missing
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+n]
		if (r == utf8.RuneError && n == 1) || !unicode.IsPrint(r) {
			piece = fmt.Sprintf("\\x%02x", s[i:i+n])
		}
		if b.Len()+len(piece) > limit {
			return b.String()[:cut] + "…"
		}
		b.WriteString(piece)
		if b.Len() <= limit-len("…") {
			cut = b.Len()
		}
		i += n
	}
	return b.String()
}
