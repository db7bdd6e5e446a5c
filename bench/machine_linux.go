package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// flushDisk returns when the file system of a folder has written what it had put off, whoever it was from. It is a
// courtesy to the next measure, so nothing depends on it.
func flushDisk(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = unix.Syncfs(int(f.Fd()))
		_ = f.Close()
	}
}

// cpuTime is what this process used so far, in user and in kernel mode.
func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.F2FS_SUPER_MAGIC: "f2fs", unix.NFS_SUPER_MAGIC: "nfs", 0x2fc12fc1: "zfs",
	0x65735546: "fuse",
}

// fileSystem names the type of the file system that a folder is on.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	if name, ok := fileSystems[int64(s.Type)]; ok {
		return name
	}
	return fmt.Sprintf("type %#x", int64(s.Type))
}

// onDisk is how many bytes are allocated to the files of a folder.
func onDisk(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return sum, err
}

// coolDown takes the files of a folder out of the page cache, and says how. The files must not be open.
func coolDown(dir string) (string, error) {
	err := eachFile(dir, func(f *os.File) error {
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
	if err != nil {
		return "", fmt.Errorf("cool down: %w", err)
	}
	warm, err := resident(dir)
	if err != nil {
		return "", err
	}
	how := "posix_fadvise"
	if warm > 0.01 && os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0o200) == nil {
		how = "posix_fadvise and drop_caches"
		if warm, err = resident(dir); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s, %.1f %% left in the page cache", how, 100*warm), nil
}

// resident is the share of a folder's bytes that is in the page cache.
func resident(dir string) (float64, error) {
	var pages, in int
	err := eachFile(dir, func(f *os.File) error {
		info, err := f.Stat()
		if err != nil || info.Size() == 0 {
			return err
		}
		m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Munmap(m) }()
		size := os.Getpagesize()
		marks := make([]byte, (len(m)+size-1)/size)
		if _, _, no := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&marks[0]))); no != 0 {
			return no
		}
		pages += len(marks)
		for _, b := range marks {
			in += int(b & 1)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look into the page cache: %w", err)
	}
	return float64(in) / float64(max(pages, 1)), nil
}

// machine describes where we run, in a line.
func machine() string {
	var u unix.Utsname
	kernel := "unknown kernel"
	if unix.Uname(&u) == nil {
		kernel = "kernel " + unix.ByteSliceToString(u.Release[:])
	}
	cpu := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t :\n")
				break
			}
		}
	}
	return cpu + ", " + kernel
}
