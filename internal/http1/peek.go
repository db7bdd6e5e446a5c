package http1

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// pending is what waits to be read on a connection.
type pending uint8

const (
	unknown pending = iota // it cannot be told
	nothing
	something // bytes, or an end, or an error
)

// trusted is how long a connection may have been idle to be used again without a look at its socket. The look is a call
// to the system and a tenth of a request's cost, and a connection that is busy would pay it each time.
//
// What is given up: bytes that come unasked after the answer was read and before the next request is written, all within
// this time, are taken for the answer to that. What came together with the answer is seen in any case, because it is read
// with it. Only a receiver that answers once too often can do this, and it gets hold of its own answers alone. An end that
// came is found when the connection is used, perhaps only after the patience: then the request is sent once more.
const trusted = 5 * time.Millisecond

// blindTrust is how long a connection may have been idle where nothing can be told about it.
const blindTrust = time.Second

// recordTime is for reading what came on an idle TLS connection: it is probably a session ticket, and that is no harm.
const recordTime = 2 * time.Millisecond

// peeker makes a function that looks at a connection's socket and reads nothing.
func peeker(nc net.Conn) func() pending {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	s, ok := nc.(syscall.Conn)
	if !ok {
		return func() pending { return unknown }
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return func() pending { return unknown }
	}
	return socketPeeker(raw)
}

// usable reports whether a connection that was idle still stands and has nothing to say, as far as that can be told.
func (c *conn) usable() bool {
	idle := time.Since(c.idleAt)
	_, encrypted := c.nc.(*tls.Conn)
	if idle < trusted && !encrypted {
		return true
	}
	seen := nothing
	if idle >= trusted {
		seen = c.peek()
	}
	if encrypted {
		// What was read from the socket may wait inside, so it must be asked, too. A past deadline keeps it from the socket.
		deadline := longAgo
		if seen == something {
			deadline = time.Now().Add(recordTime)
		}
		return c.silent(deadline) && (seen != unknown || idle < blindTrust)
	}
	switch seen {
	case nothing:
		return true
	case something:
		return false
	}
	return c.silent(longAgo) && idle < blindTrust
}

// silent reports whether a read until the deadline ends with nothing but the deadline.
func (c *conn) silent(deadline time.Time) bool {
	if c.nc.SetReadDeadline(deadline) != nil {
		return false
	}
	var b [1]byte
	n, err := c.nc.Read(b[:])
	return n == 0 && errors.Is(err, errDeadline) && c.nc.SetReadDeadline(time.Time{}) == nil
}
