//go:build !unix

package http1

import "syscall"

// canWait is whether a RawConn can wait for something to read. See conn.send.
const canWait = false

// socketPeeker cannot tell anything here, so connections are trusted for a short time only.
func socketPeeker(syscall.RawConn) func() pending {
	return func() pending { return unknown }
}
