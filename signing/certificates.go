package signing

import (
	"container/list"
	"crypto/rsa"
	"crypto/x509"
	"net/http"
	"sync"
	"time"
)

// Requests name the address of their certificate. However many addresses somebody makes up on the right host, so many are
// remembered, and so many new ones are asked for in a minute.
const (
	maxCertificates   = 32
	newCertsPerMinute = 20
)

// certificates fetches certificates by their address, which the caller has checked, and keeps them.
type certificates struct {
	client *http.Client
	check  func(chain []*x509.Certificate, now time.Time) error

	mu     sync.Mutex
	order  *list.List // of *remote[...], the latest used in front
	byURL  map[string]*list.Element
	minute int64 // of the clock, and the addresses that were new in it
	fresh  int
}

func newCertificates(client *http.Client, check func([]*x509.Certificate, time.Time) error) (*certificates, error) {
	if _, err := newRemote("https://localhost/", client, parseChain); err != nil {
		return nil, err
	}
	return &certificates{client: client, check: check, order: list.New(), byURL: map[string]*list.Element{}}, nil
}

// get gives the key of the certificate at an address.
func (c *certificates) get(r *Request, address string) (*rsa.PublicKey, error) {
	m, err := c.remote(address)
	if err != nil {
		return nil, err
	}
	chain, err := m.get(r.context(), func([]*x509.Certificate) bool { return true })
	if err != nil {
		return nil, err
	}
	if err := c.check(chain, clock(r.Time)); err != nil {
		return nil, flaw(ErrMismatch, "the address of the certificate %v", err)
	}
	return chain[0].PublicKey.(*rsa.PublicKey), nil // parseChain has seen that it is one
}

func (c *certificates) remote(address string) (*remote[[]*x509.Certificate], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byURL[address]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*remote[[]*x509.Certificate]), nil
	}
	if minute := time.Now().Unix() / 60; minute != c.minute {
		c.minute, c.fresh = minute, 0
	}
	if c.fresh++; c.fresh > newCertsPerMinute {
		return nil, flaw(ErrUnavailable, "requests name more than %d new certificates in a minute: somebody makes addresses up", newCertsPerMinute)
	}
	m, err := newRemote(address, c.client, parseChain)
	if err != nil {
		return nil, flaw(ErrMalformed, "the address of the certificate cannot be fetched from")
	}
	if c.order.Len() >= maxCertificates {
		last := c.order.Back()
		delete(c.byURL, last.Value.(*remote[[]*x509.Certificate]).url)
		c.order.Remove(last)
	}
	c.byURL[address] = c.order.PushFront(m)
	return m, nil
}
