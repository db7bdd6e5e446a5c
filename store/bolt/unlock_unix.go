//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bolt

import (
	"os"
	"syscall"
)

// unlock gives back the lock that bbolt has on a file. Closing the file is not enough where its memory map is lost: the map
// keeps the lock until the program ends.
func unlock(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // of a file that is closed already there is nothing to give back
}
