package journal

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// simFS is a file system in memory that knows what a power cut may do to it: it keeps what was synced apart from what was
// only written, for the bytes of files and for their names.
type simFS struct {
	mu      sync.Mutex
	names   map[string]*simFile // as programs see them
	durable map[string]*simFile // as the disk has them
	pending []nameOp            // between durable and names

	// room is how many bytes all files may have together; negative means any.
	room int64
	// fail may make an operation fail. It is called with mu held. lose is for a failed sync: what was written since the
	// last one is gone from the disk for good, but programs go on seeing it, as Linux has it.
	fail func(op, path string) (err error, lose bool)
	// after is called after each operation that changed something, with mu held.
	after func(op string)
}

type simFile struct {
	fs     *simFS
	path   string // for fail, the first name
	view   []byte
	synced []byte
	writes []simWrite
}

type simWrite struct {
	off  int64
	data []byte
}

// nameOp gives file the name to, if it is not empty, and takes away the name from, if it is not empty.
type nameOp struct {
	from, to string
	file     *simFile
}

func (o nameOp) apply(names map[string]*simFile) {
	if o.from != "" && names[o.from] == o.file {
		delete(names, o.from)
	}
	if o.to != "" {
		names[o.to] = o.file
	}
}

func newSimFS() *simFS {
	return &simFS{names: map[string]*simFile{}, durable: map[string]*simFile{}, room: -1}
}

// begin locks and asks fail. The caller unlocks, whatever it returns.
func (s *simFS) begin(op, path string) (err error, lose bool) {
	s.mu.Lock()
	if s.fail != nil {
		return s.fail(op, path)
	}
	return nil, false
}

func (s *simFS) did(op string) {
	if s.after != nil {
		s.after(op)
	}
}

func (s *simFS) Mkdir(dir string) error { return nil }

func (s *simFS) ReadDir(dir string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for name := range s.names {
		if filepath.Dir(name) == dir {
			list = append(list, filepath.Base(name))
		}
	}
	return list, nil
}

func (s *simFS) Open(path string) (File, error) {
	err, _ := s.begin("open", path)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f := s.names[path]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return f, nil
}

func (s *simFS) Create(path string) (File, error) {
	err, _ := s.begin("create", path)
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f := &simFile{fs: s, path: path}
	s.change(nameOp{to: path, file: f})
	s.did("create")
	return f, nil
}

func (s *simFS) Rename(from, to string) error {
	err, _ := s.begin("rename", from)
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	f := s.names[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	s.change(nameOp{from: from, to: to, file: f})
	s.did("rename")
	return nil
}

func (s *simFS) Remove(path string) error {
	err, _ := s.begin("remove", path)
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	f := s.names[path]
	if f == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	s.change(nameOp{from: path, file: f})
	s.did("remove")
	return nil
}

func (s *simFS) SyncDir(dir string) error {
	err, _ := s.begin("syncdir", dir)
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	s.durable = maps.Clone(s.names)
	s.pending = nil
	s.did("syncdir")
	return nil
}

func (s *simFS) change(o nameOp) {
	o.apply(s.names)
	s.pending = append(s.pending, o)
}

// used is how many bytes the files have together.
func (s *simFS) used() int64 {
	var n int64
	for _, f := range s.names {
		n += int64(len(f.view))
	}
	return n
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.view)) {
		return 0, io.EOF
	}
	n := copy(p, f.view[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	err, _ := f.fs.begin("write", f.path)
	defer f.fs.mu.Unlock()
	n := len(p)
	if err != nil {
		n /= 2 // torn
		if len(p) <= HeaderSize {
			n = 0
		}
	}
	if grow := off + int64(n) - int64(len(f.view)); grow > 0 {
		if free := f.fs.room - f.fs.used(); f.fs.room >= 0 && grow > free {
			n -= int(grow - max(free, 0))
			n = max(n, 0)
			err = syscall.ENOSPC
		}
	}
	f.write(simWrite{off, slices.Clone(p[:n])})
	f.fs.did("write")
	return n, err
}

func (f *simFile) write(w simWrite) {
	f.view = w.apply(f.view)
	f.writes = append(f.writes, w)
}

func (w simWrite) apply(b []byte) []byte {
	if len(w.data) == 0 {
		return b
	}
	if end := int(w.off) + len(w.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.off:], w.data)
	return b
}

func (f *simFile) Sync() error {
	err, lose := f.fs.begin("sync", f.path)
	defer f.fs.mu.Unlock()
	if lose {
		f.writes = nil
	}
	if err != nil {
		return err
	}
	f.settle()
	f.fs.did("sync")
	return nil
}

func (f *simFile) settle() {
	for _, w := range f.writes {
		f.synced = w.apply(f.synced)
	}
	f.writes = nil
}

func (f *simFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.view)), nil
}

func (f *simFile) Close() error { return nil }

// crash returns what a power cut at this moment may leave: of the unsynced writes and names, each with the given chance,
// and some writes only in part. The caller holds mu.
func (s *simFS) crash(rng *rand.Rand, chance float64) *simFS {
	image := newSimFS()
	names := maps.Clone(s.durable)
	for _, o := range s.pending {
		if rng.Float64() < chance {
			o.apply(names)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		b := slices.Clone(f.synced)
		for _, w := range f.writes {
			if rng.Float64() < chance {
				b = w.apply(b)
			} else if rng.IntN(2) == 0 {
				b = w.tear(rng, b)
			}
		}
		image.add(name, b)
	}
	return image
}

// tear writes some of the sectors of w, and of one of them only the beginning.
func (w simWrite) tear(rng *rand.Rand, b []byte) []byte {
	const sector = 512
	for i := 0; i < len(w.data); {
		n := min(sector-int(w.off+int64(i))%sector, len(w.data)-i)
		switch rng.IntN(4) {
		case 0, 1:
			b = simWrite{w.off + int64(i), w.data[i : i+n]}.apply(b)
		case 2:
			b = simWrite{w.off + int64(i), w.data[i : i+rng.IntN(n)]}.apply(b)
		}
		i += n
	}
	return b
}

// clone returns a file system with the same files, everything on disk.
func (s *simFS) clone() *simFS {
	s.mu.Lock()
	defer s.mu.Unlock()
	image := newSimFS()
	for name, f := range s.names {
		image.add(name, slices.Clone(f.view))
	}
	return image
}

func (s *simFS) add(name string, b []byte) {
	f := &simFile{fs: s, path: name, view: b, synced: slices.Clone(b)}
	s.names[name], s.durable[name] = f, f
}

// bytes returns the content of a segment, to be read or changed in place while no journal is open.
func (s *simFS) bytes(n uint64) []byte {
	f := s.names[filepath.Join(simDir, segmentName(n))]
	if f == nil {
		panic(fmt.Sprintf("no segment %d among %v", n, slices.Sorted(maps.Keys(s.names))))
	}
	return f.view
}

// count returns how many files have the suffix.
func (s *simFS) count(suffix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name := range s.names {
		if strings.HasSuffix(name, suffix) {
			n++
		}
	}
	return n
}

const simDir = "journal"
