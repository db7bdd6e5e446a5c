package http1

import (
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

// hostKey is what connections can be shared for.
type hostKey struct {
	tls      bool
	addr     string
	identity *tls.Config // by its address: the key keeps it alive, so no other gets the same one
}

// host is where connections can be shared.
type host struct{ stack []*conn } // the idle ones

func (h *host) count() int {
	if h == nil {
		return 0
	}
	return len(h.stack)
}

// maxEmptyHosts is how many hosts are remembered at least, so that a busy one keeps the memory of its stack.
const maxEmptyHosts = 1024

// pool keeps idle connections: those of a host as a stack, because the one used last is the most likely to be alive, and
// all of them in a list, the one idle longest in front. It has no goroutine; a timer runs while there is something to
// time out.
type pool struct {
	mu     sync.Mutex
	hosts  map[hostKey]*host
	root   conn // of the ring of all connections
	count  int
	timer  *time.Timer
	closed bool
}

// get answers a connection that can be used, or nil.
func (p *pool) get(key hostKey) *conn {
	for {
		p.mu.Lock()
		h := p.hosts[key]
		if h == nil || len(h.stack) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := h.stack[len(h.stack)-1]
		p.remove(c)
		p.mu.Unlock()
		if c.usable() {
			return c
		}
		c.close()
	}
}

// put keeps a connection, perhaps at the expense of an older one.
func (p *pool) put(client *Client, c *conn) {
	p.mu.Lock()
	h := p.hosts[c.key]
	if p.closed || client.MaxIdle <= 0 || h.count() >= client.MaxIdlePerHost {
		p.mu.Unlock()
		c.close()
		return
	}
	if p.hosts == nil {
		p.hosts = map[hostKey]*host{}
		p.root.prev, p.root.next = &p.root, &p.root
	}
	if h == nil {
		h = &host{}
		p.hosts[c.key] = h
	}
	c.idleAt, c.host = time.Now(), h
	h.stack = append(h.stack, c)
	c.prev, c.next = p.root.prev, &p.root
	c.prev.next, c.next.prev = c, c
	p.count++
	var old *conn
	if p.count > client.MaxIdle {
		old = p.root.next
		p.remove(old)
	}
	if p.timer == nil && client.IdleTimeout > 0 {
		p.timer = time.AfterFunc(client.IdleTimeout, func() { p.sweep(client.IdleTimeout) })
	}
	p.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// remove takes a connection out. The stack of a host is emptied from its end, except by the sweep.
func (p *pool) remove(c *conn) {
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
	p.count--
	h := c.host
	i := len(h.stack) - 1
	for h.stack[i] != c {
		i--
	}
	h.stack = slices.Delete(h.stack, i, i+1)
	if len(h.stack) == 0 && len(p.hosts) > maxEmptyHosts {
		delete(p.hosts, c.key)
	}
}

// sweep closes what was idle for too long, and comes back for the rest.
func (p *pool) sweep(limit time.Duration) {
	var old []*conn
	p.mu.Lock()
	p.timer = nil
	now := time.Now()
	for p.count > 0 {
		c := p.root.next
		if wait := limit - now.Sub(c.idleAt); wait > 0 {
			p.timer = time.AfterFunc(wait, func() { p.sweep(limit) })
			break
		}
		p.remove(c)
		old = append(old, c)
	}
	if p.count == 0 {
		clear(p.hosts)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

func (p *pool) closeAll(forGood bool) {
	var old []*conn
	p.mu.Lock()
	p.closed = p.closed || forGood
	for p.count > 0 {
		c := p.root.next
		p.remove(c)
		old = append(old, c)
	}
	clear(p.hosts)
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}
