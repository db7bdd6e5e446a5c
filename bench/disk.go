package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// eachFile opens the files of a folder one after the other.
func eachFile(dir string, f func(*os.File) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		defer file.Close()
		return f(file)
	})
}

// copyFolder copies a folder that nobody has open, with the permissions of its files: hookgate looks at those of its key.
func copyFolder(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, name), info.Mode().Perm())
	})
}

// unwritten is how many bytes of a store's folder were allocated ahead: segments that are kept to be used again, and the
// zeros at the end of the others. It is a fixed reserve, not the price of an event.
func unwritten(dir string) (int64, error) {
	var sum int64
	err := eachFile(dir, func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(f.Name(), ".pool"), strings.HasSuffix(f.Name(), ".tmp"):
			sum += info.Size()
		case strings.HasSuffix(f.Name(), ".seg"):
			n, err := zerosAtEnd(f, info.Size())
			sum += n
			return err
		}
		return nil
	})
	return sum, err
}

func zerosAtEnd(f io.ReaderAt, size int64) (int64, error) {
	const piece = 1 << 20
	buf := make([]byte, piece)
	for end := size; end > 0; {
		start := max(end-piece, 0)
		b := buf[:end-start]
		if _, err := f.ReadAt(b, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if used := len(bytes.TrimRight(b, "\x00")); used > 0 {
			return size - start - int64(used), nil
		}
		end = start
	}
	return size, nil
}
