//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bolt

import "os"

// unlock has nothing to do: here the lock goes with the file.
func unlock(*os.File) {}
