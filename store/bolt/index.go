package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
)

const (
	formatVersion = 1
	minimumIndex  = 4 * 4096 // bbolt begins with four pages
	initialMap    = 1 << 30  // of address space: a file that outgrows its mapping makes writers wait for readers
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	aboutBucket = []byte("hookgate") // what the file is
	formatKey   = []byte("format")
	idKey       = []byte("store")
)

// index is the bbolt file as package kvstore wants it: a bucket for each kind of row, and a checksum behind each value.
type index struct {
	db      *bbolt.DB
	file    *os.File // the one that bbolt has open
	path    string
	size    atomic.Int64
	checked atomic.Int64          // when the file's size was looked at last, in nanoseconds since start
	broken  atomic.Pointer[error] // bbolt panicked and may hold its locks for good: it is not called any more
}

var _ kvstore.KV = (*index)(nil)

func options() *bbolt.Options {
	o := &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
	if strconv.IntSize == 64 {
		o.InitialMmapSize = initialMap
	}
	return o
}

// createIndex makes an index that gets its name when it is whole and on disk: a power cut while bbolt writes its first pages
// must not leave something that looks like a store. Of several processes that begin one at a time, one succeeds.
func createIndex(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newName) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	f, err := os.CreateTemp(dir, newName+"*")
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(temp, 0o600, options())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(aboutBucket)
		if err != nil {
			return err
		}
		var id [16]byte
		rand.Read(id[:])
		if err := b.Put(formatKey, []byte{formatVersion}); err != nil {
			return err
		}
		return b.Put(idKey, id[:])
	})
	if err == nil {
		err = db.Sync()
	}
	if e := db.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := giveName(temp, filepath.Join(dir, indexName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// giveName gives a new index its name, unless another process was faster: its index must not be replaced.
func giveName(temp, path string) error {
	err := os.Link(temp, path)
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
		return nil
	case errors.Is(err, os.ErrNotExist): // a process that began at the same moment took it for a leftover
		return store.ErrBusy
	}
	// A file system without links.
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return os.Rename(temp, path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openIndex opens the file and says which store it is.
func openIndex(path string) (x *index, id [16]byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	x = &index{path: path}
	defer func() {
		if err != nil { // also when bbolt panicked
			if x != nil && x.file != nil {
				unlock(x.file)
				x.file.Close()
			}
			x = nil
		}
	}()
	defer survive(&err)
	o := options()
	o.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		if x.file != nil {
			return os.OpenFile(name, flag, mode) // for a copy
		}
		f, err := os.OpenFile(name, flag&^os.O_CREATE, mode) // an index that is gone is an error and no new one
		x.file = f
		return f, err
	}
	db, err := bbolt.Open(path, 0o600, o)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, id, store.ErrBusy
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, id, fmt.Errorf("%w: %s is not a bbolt file, or its head is damaged: %w", store.ErrCorrupt, path, err)
	case err != nil:
		return nil, id, err
	}
	x.db = db
	err = db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(aboutBucket)
		if b == nil {
			return fmt.Errorf("%w: %s is a bbolt file of another program", store.ErrCorrupt, path)
		}
		format := b.Get(formatKey)
		if len(format) != 1 || copy(id[:], b.Get(idKey)) != len(id) {
			return fmt.Errorf("%w: %s does not say which store it is", store.ErrCorrupt, path)
		}
		if format[0] > formatVersion {
			return fmt.Errorf("%w: %s has format %d, and this program knows none later than %d: use a newer version of hookgate",
				store.ErrCorrupt, path, format[0], formatVersion)
		}
		x.size.Store(tx.Size())
		return nil
	})
	if err != nil {
		db.Close()
		return nil, id, err
	}
	return x, id, nil
}

var start = time.Now()

// usable says why bbolt must not be called: because it panicked while it held locks, or because somebody cut the file short.
// The size is asked for a thousand times a second at the most.
func (x *index) usable() error {
	if err := x.broken.Load(); err != nil {
		return *err
	}
	now := int64(time.Since(start))
	if last := x.checked.Load(); now-last < int64(time.Millisecond) && now >= last && last > 0 {
		return nil
	}
	x.checked.Store(now)
	info, err := x.file.Stat()
	if err != nil {
		return err
	}
	if want := x.size.Load(); info.Size() < want {
		return fmt.Errorf("%w: %s was cut short: it has %d bytes and should have %d: restore it from a backup", store.ErrCorrupt, x.path, info.Size(), want)
	}
	return nil
}

// stop ends all use of bbolt after a panic, unless it was over a single row.
func (x *index) stop(err *error) {
	if *err != nil {
		x.broken.CompareAndSwap(nil, err)
	}
}

// survive makes an error of a panic: a file that was cut short or damaged faults in the memory that maps it, and bbolt
// panics over pages that make no sense. Neither may end the program around us.
func survive(err *error) {
	switch p := recover().(type) {
	case nil:
	case damaged:
		*err = fmt.Errorf("%w: %s", store.ErrCorrupt, string(p))
	default:
		*err = fmt.Errorf("%w: the index cannot be read: %v", store.ErrCorrupt, p)
	}
}

// damaged is the panic for a row whose checksum is wrong, where a reader cannot answer with an error.
type damaged string

// Update runs fn in a transaction.
func (x *index) Update(ctx context.Context, fn func(kvstore.Writer) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := x.usable(); err != nil {
		return err
	}
	if err := x.update(fn); err != nil {
		if noRoom(err) {
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
		return err
	}
	return nil
}

func (x *index) update(fn func(kvstore.Writer) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var panicked error
	defer func() {
		if panicked != nil {
			err = panicked
			x.stop(&panicked)
		}
	}()
	defer survive(&panicked)
	return x.db.Update(func(tx *bbolt.Tx) error {
		w := writer{reader: reader{tx: tx}}
		err := fn(&w)
		x.size.Store(tx.Size())
		return err
	})
}

// noRoom reports whether an error says that the disk was full before anything was synced. What a sync says is never that:
// after it nobody knows what is on the disk.
func noRoom(err error) bool {
	if err != nil && strings.HasPrefix(err.Error(), "file resize error: ") { // bbolt does not wrap this one
		return strings.HasSuffix(err.Error(), syscall.ENOSPC.Error()) || strings.HasSuffix(err.Error(), syscall.EDQUOT.Error())
	}
	var path *os.PathError
	if !errors.As(err, &path) || path.Op != "write" && path.Op != "truncate" {
		return false
	}
	return errors.Is(path.Err, syscall.ENOSPC) || errors.Is(path.Err, syscall.EDQUOT)
}

// View runs fn over a snapshot.
func (x *index) View(ctx context.Context, fn func(kvstore.Reader) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := x.usable(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer survive(&err)
	tx, err := x.begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return fn(&reader{tx: tx})
}

// begin begins a reading transaction. A fault in it leaves bbolt locked.
func (x *index) begin() (tx *bbolt.Tx, err error) {
	var panicked error
	defer func() {
		if panicked != nil {
			err = panicked
			x.stop(&panicked)
		}
	}()
	defer survive(&panicked)
	return x.db.Begin(false)
}

// Close closes the file. After a panic of bbolt it does only that: the memory that maps the file is then lost.
func (x *index) Close() error {
	if x.broken.Load() != nil {
		unlock(x.file)
		return x.file.Close()
	}
	return x.db.Close()
}

// Size is how large the file is, in bytes.
func (x *index) Size() int64 { return x.size.Load() }

// reader reads in a transaction. The first byte of a key names its bucket.
type reader struct {
	tx   *bbolt.Tx
	open [32]*bbolt.Bucket // a bucket is looked up once in a transaction; kinds are small letters
}

func (r *reader) bucket(kind byte) *bbolt.Bucket {
	b := r.open[kind&31]
	if b == nil {
		b = r.tx.Bucket([]byte{kind})
		r.open[kind&31] = b
	}
	return b
}

func (r *reader) Get(key []byte) []byte {
	b := r.bucket(key[0])
	if b == nil {
		return nil
	}
	v := b.Get(key[1:])
	if v == nil {
		return nil
	}
	return unsum(key[0], key[1:], v)
}

// checksum covers the whole row, so that a value that strayed to another key is found out too.
func checksum(kind byte, key, value []byte) uint32 {
	sum := crc32.Update(uint32(kind), castagnoli, key)
	return crc32.Update(sum, castagnoli, value)
}

// unsum checks a stored value and takes its checksum off. A damaged value reads as a record that no decoder accepts, so that
// the damage stays with the one record.
func unsum(kind byte, key, v []byte) []byte {
	if n := len(v) - 4; n >= 0 && binary.LittleEndian.Uint32(v[n:]) == checksum(kind, key, v[:n]) {
		return v[:n:n]
	}
	if kind == kvstore.DeliveryRow {
		return kvstore.DamagedRow
	}
	panic(damaged(fmt.Sprintf("the checksum of a row %c%x does not fit", kind, key)))
}

func (r *reader) Scan(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		b := r.bucket(from[0])
		if b == nil {
			return
		}
		c := b.Cursor()
		buf := append(make([]byte, 0, 64), from[0])
		for k, v := c.Seek(from[1:]); k != nil; k, v = c.Next() {
			if to[0] == from[0] && bytes.Compare(k, to[1:]) >= 0 {
				return
			}
			buf = append(buf[:1], k...)
			if !yield(buf, unsum(from[0], k, v)) {
				return
			}
		}
	}
}

func (r *reader) ScanBack(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		b := r.bucket(from[0])
		if b == nil {
			return
		}
		c := b.Cursor()
		var k, v []byte
		if to[0] == from[0] {
			k, v = c.Seek(to[1:])
		}
		if k == nil {
			k, v = c.Last()
		}
		for k != nil && to[0] == from[0] && bytes.Compare(k, to[1:]) >= 0 {
			k, v = c.Prev()
		}
		buf := append(make([]byte, 0, 64), from[0])
		for ; k != nil && bytes.Compare(k, from[1:]) >= 0; k, v = c.Prev() {
			buf = append(buf[:1], k...)
			if !yield(buf, unsum(from[0], k, v)) {
				return
			}
		}
	}
}

type writer struct {
	reader
}

func (w *writer) Put(key, value []byte) error {
	b := w.bucket(key[0])
	if b == nil {
		var err error
		if b, err = w.tx.CreateBucketIfNotExists(key[:1]); err != nil {
			return err
		}
		w.open[key[0]&31] = b
	}
	if kvstore.Ascending(key[0]) {
		b.FillPercent = 0.95
	}
	// bbolt keeps the value until the transaction ends, and the key it copies.
	v := make([]byte, len(value)+4)
	copy(v, value)
	binary.LittleEndian.PutUint32(v[len(value):], checksum(key[0], key[1:], value))
	return b.Put(key[1:], v)
}

func (w *writer) Delete(key []byte) error {
	b := w.bucket(key[0])
	if b == nil {
		return nil
	}
	return b.Delete(key[1:])
}
