package bolt

import (
	"errors"
	"fmt"

	"github.com/hookgate/hookgate/internal/journal"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
)

// journalLog is the journal as package kvstore wants it.
type journalLog struct {
	dir     string
	id      [16]byte
	options *Options
	j       *journal.Journal
}

var _ kvstore.Log = (*journalLog)(nil)

func (l *journalLog) HeaderSize() int { return journal.HeaderSize }

func (l *journalLog) Recover(after kvstore.Mark, fn func(kvstore.Mark, []byte) error) error {
	j, err := journal.Open(l.dir, journal.Position{Segment: after.Segment, Offset: after.Offset}, after.Frame, &journal.Options{
		StoreID: l.id, MinSegment: l.options.MinSegment, MaxSegment: l.options.MaxSegment, LoseUpTo: l.options.LoseUpTo,
	}, func(f journal.Frame) error {
		return fn(kvstore.Mark{Segment: f.Position.Segment, Offset: f.Position.Offset, Frame: f.Seq}, f.Body)
	})
	if err != nil {
		return translate(err)
	}
	l.j = j
	return nil
}

func (l *journalLog) Append(frame []byte, reserve bool) (kvstore.Mark, error) {
	pos, seq, err := l.j.Append(frame, reserve)
	if err != nil {
		return kvstore.Mark{}, translate(err)
	}
	return kvstore.Mark{Segment: pos.Segment, Offset: pos.Offset, Frame: seq}, nil
}

func (l *journalLog) ReadAt(p []byte, segment uint64, offset int64) error {
	return translate(l.j.ReadAt(p, segment, offset))
}

func (l *journalLog) Segments() []kvstore.Segment {
	list := l.j.Segments()
	out := make([]kvstore.Segment, len(list))
	for i, s := range list {
		out[i] = kvstore.Segment{Number: s.Number, First: s.First, Last: s.Last, Bytes: s.Size}
	}
	return out
}

func (l *journalLog) Drop(segment uint64) error { return translate(l.j.Drop(segment)) }
func (l *journalLog) Sync() error               { return translate(l.j.Sync()) }
func (l *journalLog) Size() int64               { return l.j.Size() }
func (l *journalLog) Full() bool                { return l.j.Full() }

func (l *journalLog) Close() error {
	if l.j == nil {
		return nil
	}
	return translate(l.j.Close())
}

// translate says the journal's errors in the store's terms, and keeps their text.
func translate(err error) error {
	for _, t := range [...]struct{ from, to error }{
		{journal.ErrFull, store.ErrFull},
		{journal.ErrFailed, store.ErrFailed},
		{journal.ErrCorrupt, store.ErrCorrupt},
		{journal.ErrForeign, store.ErrCorrupt},
		{journal.ErrVersion, store.ErrCorrupt},
		{journal.ErrClosed, store.ErrClosed},
	} {
		if errors.Is(err, t.from) {
			return fmt.Errorf("%w: %w", t.to, err)
		}
	}
	return err
}
