package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is what the journal asks of a file system. Tests put their own in its place, to fail and to crash where they like.
//
// Its methods are called from more than one goroutine at a time.
type FS interface {
	// Mkdir makes a folder in one that exists. If it is there already, that is no error.
	Mkdir(dir string) error
	// ReadDir returns the names of the files in dir, without dir, in any order.
	ReadDir(dir string) ([]string, error)
	// Open opens a file that exists, for reading and writing.
	Open(path string) (File, error)
	// Create makes an empty file, or empties one that exists.
	Create(path string) (File, error)
	// Rename gives a file another name in the same folder, in place of any file that had it. Open files stay usable.
	Rename(from, to string) error
	// Remove takes a name away. Open files stay usable.
	Remove(path string) error
	// SyncDir returns when all changes of names in dir so far are on disk.
	SyncDir(dir string) error
}

// File is an open file. ReadAt may run at the same time as everything but Close.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Size is the length of the file in bytes.
	Size() (int64, error)
	// Sync returns when everything written so far is on disk, with as much about the file as is needed to read it.
	Sync() error
}

// osFS is the file system of the operating system.
type osFS struct{}

func (osFS) Mkdir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (osFS) Open(path string) (File, error) {
	return openOS(path, os.O_RDWR)
}

func (osFS) Create(path string) (File, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(path string) error     { return os.Remove(path) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return newOSFile(f)
}

func sizeOS(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// outOfSpace reports whether err means that there is no room, rather than that something broke.
func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
