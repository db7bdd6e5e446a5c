package http1

import (
	"sync"
	"time"
)

// hostKey is what connections can be shared for.
type hostKey struct {
	tls  bool
	addr string
}

// maxEmptyHosts is how many hosts are remembered at least, so that a busy one keeps the memory of its stack.
const maxEmptyHosts = 1024

// pool keeps idle connections: those of a host as a stack, because the one used last is the most likely to be alive, and
// all of them in a list, the one idle longest in front. It has no goroutine; a timer runs while there is something to
// time out.
type pool struct {
	mu     sync.Mutex
	hosts  map[hostKey][]*conn
	root   conn // of the ring of all connections
	count  int
	timer  *time.Timer
	closed bool
}

// get answers a connection that can be used, or nil.
func (p *pool) get(key hostKey) *conn {
	for {
		p.mu.Lock()
		stack := p.hosts[key]
		if len(stack) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := stack[len(stack)-1]
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
	if p.closed || client.MaxIdle <= 0 || len(p.hosts[c.key]) >= client.MaxIdlePerHost {
		p.mu.Unlock()
		c.close()
		return
	}
	var old *conn
	if p.count >= client.MaxIdle {
		old = p.root.next
		p.remove(old)
	}
	if p.hosts == nil {
		p.hosts = map[hostKey][]*conn{}
		p.root.prev, p.root.next = &p.root, &p.root
	}
	c.idleAt = time.Now()
	p.hosts[c.key] = append(p.hosts[c.key], c)
	c.prev, c.next = p.root.prev, &p.root
	c.prev.next, c.next.prev = c, c
	p.count++
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
	stack := p.hosts[c.key]
	i := len(stack) - 1
	for stack[i] != c {
		i--
	}
	copy(stack[i:], stack[i+1:])
	stack[len(stack)-1] = nil
	if stack = stack[:len(stack)-1]; len(stack) == 0 && len(p.hosts) > maxEmptyHosts {
		delete(p.hosts, c.key)
		return
	}
	p.hosts[c.key] = stack
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
