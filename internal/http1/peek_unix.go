//go:build unix

package http1

import "syscall"

// canWait is whether a RawConn can wait for something to read. See conn.send.
const canWait = true

// socketPeeker asks the socket for a byte and leaves it there. It answers at once, because Go's sockets never block.
func socketPeeker(raw syscall.RawConn) func() pending {
	var b [1]byte
	var err error
	ask := func(fd uintptr) bool {
		_, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		return true // whatever came: do not wait
	}
	return func() pending {
		if raw.Read(ask) != nil {
			return something // it is closed here
		}
		if err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR {
			return nothing
		}
		return something
	}
}
