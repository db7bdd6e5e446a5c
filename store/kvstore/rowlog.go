package kvstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/hookgate/hookgate/store"
)

// rowLog keeps frames as rows of the KV: every Append is an Update of its own. It is for engines that have no journal
// beside them.
type rowLog struct {
	kv KV

	mu       sync.Mutex
	segments []Segment // the last is being written
	size     int64
}

const (
	rowSegmentFrames = 4096     // frames of a segment, at the most
	rowSegmentBytes  = 16 << 20 // bytes of a segment, about
)

func rowKey(segment, frame uint64) []byte {
	return binary.BigEndian.AppendUint64(key64(kindLog, segment), frame)
}

func newRowLog(kv KV) (*rowLog, error) {
	l := &rowLog{kv: kv}
	err := kv.View(context.Background(), func(r Reader) error {
		for k, v := range r.Scan([]byte{kindLog}, []byte{kindLog + 1}) {
			number, no := beUint64(k[1:]), beUint64(k[9:])
			if n := len(l.segments); n == 0 || l.segments[n-1].Number != number {
				l.segments = append(l.segments, Segment{Number: number, First: no})
			}
			s := &l.segments[len(l.segments)-1]
			s.Last = no
			s.Bytes += int64(len(v))
			l.size += int64(len(v))
		}
		return nil
	})
	return l, err
}

func (l *rowLog) HeaderSize() int { return 0 }

func (l *rowLog) Append(frame []byte, _ bool) (Mark, error) {
	l.mu.Lock()
	var cur Segment
	if n := len(l.segments); n > 0 {
		cur = l.segments[n-1]
	}
	l.mu.Unlock()
	no := cur.Last + 1
	fresh := cur.Number == 0 || cur.Last+1-cur.First >= rowSegmentFrames || cur.Bytes >= rowSegmentBytes
	if fresh {
		cur = Segment{Number: cur.Number + 1, First: no}
	}
	err := l.kv.Update(context.Background(), func(w Writer) error { return w.Put(rowKey(cur.Number, no), frame) })
	if err != nil {
		return Mark{}, err
	}
	cur.Last = no
	cur.Bytes += int64(len(frame))
	l.mu.Lock()
	defer l.mu.Unlock()
	if fresh {
		l.segments = append(l.segments, cur)
	} else {
		l.segments[len(l.segments)-1] = cur
	}
	l.size += int64(len(frame))
	return Mark{cur.Number, int64(no) << 32, no}, nil
}

// ReadAt takes the frame's number from the upper half of the offset, and the place in the frame from the lower.
func (l *rowLog) ReadAt(p []byte, segment uint64, offset int64) error {
	return l.kv.View(context.Background(), func(r Reader) error {
		b := r.Get(rowKey(segment, uint64(offset>>32)))
		at := int(offset & (1<<32 - 1))
		if b == nil || at+len(p) > len(b) {
			return fmt.Errorf("%w: there are no %d bytes at %d of segment %d", store.ErrCorrupt, len(p), offset, segment)
		}
		copy(p, b[at:])
		return nil
	})
}

func (l *rowLog) Recover(after Mark, fn func(Mark, []byte) error) error {
	for {
		var b []byte
		var at Mark
		err := l.kv.View(context.Background(), func(r Reader) error {
			for k, v := range r.Scan(rowKey(after.Segment, after.Frame+1), []byte{kindLog + 1}) {
				no := beUint64(k[9:])
				at = Mark{beUint64(k[1:]), int64(no) << 32, no}
				b = append([]byte{}, v...)
				return nil
			}
			return nil
		})
		if err != nil || b == nil {
			return err
		}
		if at.Frame != after.Frame+1 {
			return fmt.Errorf("%w: frame %d is missing", store.ErrCorrupt, after.Frame+1)
		}
		if err := fn(at, b); err != nil {
			return err
		}
		after = at
	}
}

func (l *rowLog) Segments() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Segment{}, l.segments...)
}

func (l *rowLog) Drop(segment uint64) error {
	err := l.kv.Update(context.Background(), func(w Writer) error {
		var keys [][]byte
		for k := range w.Scan(key64(kindLog, segment), key64(kindLog, segment+1)) {
			keys = append(keys, append([]byte{}, k...))
		}
		for _, k := range keys {
			if err := w.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.segments {
		if s.Number == segment {
			l.segments = append(l.segments[:i:i], l.segments[i+1:]...)
			l.size -= s.Bytes
			break
		}
	}
	return nil
}

func (l *rowLog) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

func (l *rowLog) Sync() error  { return nil }
func (l *rowLog) Full() bool   { return false }
func (l *rowLog) Close() error { return nil }
