//go:build !linux

package journal

import "os"

// osFile syncs with whatever os.File has, which on macOS includes the disk's own cache.
type osFile struct{ *os.File }

func newOSFile(f *os.File) (File, error) { return osFile{f}, nil }

func (f osFile) Size() (int64, error) { return sizeOS(f.File) }
