package kvstore

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// docRow is a document as the engine keeps it. A deleted one stays behind as its version, so that versions go on counting.
type docRow struct {
	version uint64
	deleted bool
	updated time.Time
	expires time.Time
	data    []byte
}

const docVersion = 1

func (r *docRow) encode() []byte {
	e := enc{make([]byte, 0, 32+len(r.data))}
	e.u8(docVersion)
	if r.deleted {
		e.u8(1)
	} else {
		e.u8(0)
	}
	e.uint(r.version)
	e.time(r.updated)
	e.time(r.expires)
	e.bytes(r.data)
	return e.b
}

func decodeDoc(b []byte) (*docRow, error) {
	d := dec{b: b}
	if v := d.u8(); v != docVersion && d.err == nil {
		return nil, errVersion("document", v)
	}
	r := &docRow{deleted: d.u8() == 1, version: d.uint(), updated: d.time(), expires: d.time(), data: d.bytes()}
	if d.err != nil {
		return nil, fmt.Errorf("%w: document: %w", store.ErrCorrupt, d.err)
	}
	return r, nil
}

// there reports whether the document exists at a time.
func (r *docRow) there(now time.Time) bool {
	return r != nil && !r.deleted && (r.expires.IsZero() || r.expires.After(now))
}

// docKey orders documents by kind, group and ID. A zero byte in a name is written as 0 ff, the end of a name as 0 1.
func docKey(kind, group, id string) []byte {
	b := append(make([]byte, 0, 8+len(kind)+len(group)+len(id)), kindDoc)
	b = appendName(b, kind)
	b = appendName(b, group)
	return appendName(b, id)
}

func appendName(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

// cutName reads a name that appendName wrote.
func cutName(b []byte) (name string, rest []byte) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != 0 {
			out = append(out, b[i])
			continue
		}
		if i+1 < len(b) && b[i+1] == 0xff {
			out = append(out, 0)
			i++
			continue
		}
		return string(out), b[min(i+2, len(b)):]
	}
	return string(out), nil
}

func (s *Store) applyDoc(d *dec) {
	key := d.bytes()
	value := d.bytes()
	if d.err == nil {
		s.put(append([]byte{}, key...), append([]byte{}, value...))
	}
}

func gateKey(d store.Destination, cause string) []byte {
	return appendName(appendName([]byte{kindGate}, string(d)), cause)
}

func encodeGate(e *enc, g *store.Gate) {
	e.int(int64(g.Hold))
	e.uint(uint64(max(g.MaxInFlight, 0)))
	e.str(g.Reason)
	e.time(g.Since)
	e.time(g.Until)
}

func decodeGate(d *dec, g *store.Gate) {
	g.Hold = time.Duration(d.int())
	g.MaxInFlight = int(d.uint())
	g.Reason = d.str()
	g.Since = d.time()
	g.Until = d.time()
}

// idle reports whether the gate neither holds nor narrows.
func idleGate(g *store.Gate) bool { return g.Hold == 0 && g.MaxInFlight <= 0 }

func (s *Store) applyGate(d *dec, live bool) {
	g := &store.Gate{Destination: store.Destination(d.str()), Cause: d.str()}
	decodeGate(d, g)
	if d.err != nil {
		return
	}
	key := gateKey(g.Destination, g.Cause)
	if idleGate(g) {
		s.del(key)
	} else {
		e := enc{}
		encodeGate(&e, g)
		s.put(key, e.b)
	}
	s.setGate(g)
	if live {
		s.unpark(s.destOf(g.Destination))
	}
}

// setGate changes what memory knows of a destination's gates.
func (s *Store) setGate(g *store.Gate) {
	d := s.destOf(g.Destination)
	if idleGate(g) {
		delete(d.gates, g.Cause)
		return
	}
	if d.gates == nil {
		d.gates = map[string]*store.Gate{}
	}
	d.gates[g.Cause] = g
	if g.Until.After(s.now) {
		heap.Push(&s.wakes, wake{at: g.Until, dest: d})
	}
}

// gateDoc shows a gate as a document.
func gateDoc(g *store.Gate) store.Doc {
	data, _ := json.Marshal(g) // of strings, numbers and times: it cannot fail
	return store.Doc{
		Kind: store.KindGate, ID: string(g.Destination) + " " + g.Cause, Version: 1, Data: data, Updated: g.Since, Expires: g.Until,
	}
}
