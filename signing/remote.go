package signing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrUnavailable is the Kind of an Error about a request that may be good: the keys or the certificate to verify it with
// could not be fetched. The sender should try again later.
var ErrUnavailable = errors.New("keys unavailable")

// How documents are fetched and kept.
const (
	maxRemote     = 256 << 10 // bytes
	remoteTimeout = 5 * time.Second
	remoteRetry   = 10 * time.Second // between two fetches of one document
	remoteKeep    = time.Hour        // where the server says nothing
	remoteMinKeep = time.Minute
	remoteMaxKeep = 24 * time.Hour
)

// remote is a document at an HTTPS address, fetched when it is needed and kept.
type remote[T any] struct {
	url    string
	client *http.Client
	parse  func([]byte) (T, error)
	accept string // media type to ask for

	mu      sync.Mutex
	value   T
	have    bool
	expires time.Time
	tried   time.Time     // when the last fetch began
	call    chan struct{} // closed when the fetch that is on its way is over; nil if there is none
	err     error         // of the last fetch
}

// newRemote checks the address. It fetches nothing.
func newRemote[T any](address string, client *http.Client, parse func([]byte) (T, error)) (*remote[T], error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, errors.New("the address must be of the form https://host/path")
	}
	if client == nil {
		return nil, errors.New("there is no client to fetch with: set Options.Client, to Gateway.HTTPClient for example")
	}
	c := *client // a redirect would lead past the address that was checked
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &remote[T]{url: address, client: &c, parse: parse}, nil
}

// get gives the document: the one that is kept, if it is fresh and enough, or else a new one. All that wait at the same
// time wait for one fetch. Where none may begin or it fails, the last document has to do.
func (m *remote[T]) get(ctx context.Context, enough func(T) bool) (T, error) {
	m.mu.Lock()
	now := time.Now()
	if m.have && now.Before(m.expires) && enough(m.value) {
		defer m.mu.Unlock()
		return m.value, nil
	}
	if m.call == nil && (m.tried.IsZero() || now.Sub(m.tried) >= remoteRetry) {
		m.tried = now
		m.call = make(chan struct{})
		// It goes on when this request is given up: others wait for it too.
		go m.fetch(context.WithoutCancel(ctx), m.call)
	}
	call := m.call
	m.mu.Unlock()
	if call != nil {
		select {
		case <-call:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.have && (m.err == nil || enough(m.value)):
		return m.value, nil
	case m.err != nil:
		return m.value, flaw(ErrUnavailable, "what it takes to verify could not be fetched: %v", m.err)
	default:
		return m.value, flaw(ErrUnavailable, "what it takes to verify was not fetched in time")
	}
}

func (m *remote[T]) fetch(ctx context.Context, call chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	value, keep, err := m.load(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
	if err == nil {
		m.value, m.have = value, true
		m.expires = time.Now().Add(keep)
	}
	m.call = nil
	close(call)
}

func (m *remote[T]) load(ctx context.Context) (value T, keep time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil {
		return value, 0, errors.New("the address cannot be read")
	}
	if m.accept != "" {
		req.Header.Set("Accept", m.accept)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		var wrapped *url.Error // says the address again
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return value, 0, fmt.Errorf("get %s: %w", req.URL.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return value, 0, fmt.Errorf("get %s: the answer has the status %d", req.URL.Host, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRemote+1))
	switch {
	case err != nil:
		return value, 0, fmt.Errorf("get %s: %w", req.URL.Host, err)
	case len(body) > maxRemote:
		return value, 0, fmt.Errorf("get %s: the answer is longer than %d bytes", req.URL.Host, maxRemote)
	}
	if value, err = m.parse(body); err != nil {
		return value, 0, fmt.Errorf("get %s: the answer %w", req.URL.Host, err)
	}
	return value, keepFor(resp.Header), nil
}

// keepFor reads how long an answer may be kept.
func keepFor(h http.Header) time.Duration {
	for item := range strings.SplitSeq(strings.ToLower(strings.Join(h["Cache-Control"], ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		switch name {
		case "no-store", "no-cache":
			return remoteMinKeep
		case "max-age":
			n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return remoteMinKeep
			}
			return min(max(time.Duration(n)*time.Second, remoteMinKeep), remoteMaxKeep)
		}
	}
	return remoteKeep
}
