package journal

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// osFile syncs with fdatasync: the size of a segment does not change, so there is nothing else about it to write.
type osFile struct {
	*os.File

	raw     syscall.RawConn
	sync    func(fd uintptr) // made once, so that Sync allocates nothing
	syncErr error            // what sync left behind; Sync is called by one goroutine at a time
}

func newOSFile(f *os.File) (File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	file := &osFile{File: f, raw: raw}
	file.sync = func(fd uintptr) {
		for {
			file.syncErr = unix.Fdatasync(int(fd))
			if file.syncErr != unix.EINTR {
				return
			}
		}
	}
	return file, nil
}

func (f *osFile) Size() (int64, error) { return sizeOS(f.File) }

func (f *osFile) Sync() error {
	if err := f.raw.Control(f.sync); err != nil {
		return err
	}
	if f.syncErr != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: f.syncErr}
	}
	return nil
}
