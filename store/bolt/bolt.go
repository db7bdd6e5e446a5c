package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
)

// Options adjusts Open. Nil, and the zero value, mean all defaults.
type Options struct {
	// MustExist makes an error of a folder without a store, which Open otherwise begins.
	MustExist bool

	// LoseUpTo, if positive, gives up the promise that what was committed survives a power cut: the last so many seconds
	// may be lost. The crash of the process alone loses nothing. A negative value leaves it to the system when anything
	// reaches the disk. Zero loses nothing.
	LoseUpTo time.Duration

	// MinSegment and MaxSegment are the sizes of the journal's first segment and of the largest, in bytes. 0: 1 MiB, 64 MiB.
	MinSegment, MaxSegment int64

	// FlushEvery, Cache and Keys are those of [kvstore.Options].
	FlushEvery time.Duration
	Cache      int
	Keys       int

	// Logger gets what nobody is there to be told. Nil: slog.Default.
	Logger *slog.Logger
}

const (
	indexName   = "hookgate.db"
	newName     = "hookgate.db.new"
	journalName = "journal"
	lockWait    = 100 * time.Millisecond
)

// Store is the store in a folder. Open makes one; Close gives the folder back. It is safe for concurrent use by one
// process; a second process gets [store.ErrBusy].
type Store struct {
	*kvstore.Store
	dir string
}

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

// Open opens the store in a folder, or begins one there; the folder is made if its parent exists. What was committed and not
// yet in the index is read from the journal first.
//
// It answers [store.ErrBusy] if another process has the store, [store.ErrCorrupt] if something is damaged, missing or from a
// newer version, [store.ErrFull] if there is no room to begin, and otherwise what the system said. In no case does it
// change or throw away what it does not understand.
func Open(dir string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	s, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o *Options) (*Store, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, explain(err)
	}
	if err := begin(dir, o); err != nil {
		return nil, explain(err)
	}
	kv, id, err := openIndex(filepath.Join(dir, indexName))
	if err != nil {
		return nil, explain(err)
	}
	log := &journalLog{dir: filepath.Join(dir, journalName), id: id, options: o}
	s, err := kvstore.New(kv, &kvstore.Options{
		Log: log, FlushEvery: o.FlushEvery, Cache: o.Cache, Keys: o.Keys, Logger: o.Logger,
	})
	if err != nil {
		return nil, explain(errors.Join(err, log.Close(), kv.Close()))
	}
	return &Store{s, dir}, nil
}

// begin makes a new index if there is none. A journal without its index is damage and not a new store.
//
// The journal is looked for first: an index is always there before its journal, so a journal that was seen has one, also when
// another process begins the store at this moment.
func begin(dir string, o *Options) error {
	entries, err := os.ReadDir(filepath.Join(dir, journalName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	path := filepath.Join(dir, indexName)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%w: %s is a folder", store.ErrCorrupt, path)
	case err == nil && info.Size() < minimumIndex:
		return fmt.Errorf("%w: %s has only %d bytes, which is less than the smallest store: restore it from a backup", store.ErrCorrupt, path, info.Size())
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if o.MustExist {
		return fmt.Errorf("%w: there is no store in this folder (%s is missing)", store.ErrNotFound, path)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".seg" }) {
		return fmt.Errorf("%w: there is a journal and no index (%s is missing): restore it from a backup", store.ErrCorrupt, path)
	}
	return createIndex(dir)
}

// explain adds what to do to errors of the system, and says them in the store's terms.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the folder must be writable for this process: %w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		if !errors.Is(err, store.ErrFull) {
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
	}
	return err
}
