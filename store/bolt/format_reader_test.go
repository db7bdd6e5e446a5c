package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hookgate/hookgate/store"
)

// This file is a reader that knows nothing but docs/format.md: no code of the journal, of package kvstore or of this
// package. If it cannot read the golden files, the document is wrong.

// bytesOf reads values one after the other. Reading beyond the end panics, and the test fails.
type bytesOf struct{ b []byte }

func (r *bytesOf) take(n int) []byte { v := r.b[:n]; r.b = r.b[n:]; return v }
func (r *bytesOf) byte() byte        { return r.take(1)[0] }
func (r *bytesOf) fix32() uint32     { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *bytesOf) fix64() uint64     { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *bytesOf) str() string       { return string(r.take(int(r.uint()))) }

func (r *bytesOf) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.take(n)
	return v
}

func (r *bytesOf) int() int64 {
	v, n := binary.Varint(r.b)
	r.take(n)
	return v
}

func (r *bytesOf) time() time.Time {
	v := r.uint()
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(v)).UTC()
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// readEvent reads the record of an event.
func readEvent(b []byte) (seq uint64, ev store.Event, queues []uint64) {
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], crcTable) {
		panic("the checksum of an event does not fit")
	}
	r := &bytesOf{b[4:]}
	if v := r.byte(); v != 1 {
		panic(fmt.Sprintf("event of version %d", v))
	}
	copy(ev.ID[:], r.take(16))
	seq = r.uint()
	ev.Accepted = time.Unix(0, int64(r.fix64())).UTC()
	ev.Expires = r.time()
	ev.View = r.uint()
	ev.Tenant, ev.Source, ev.Type, ev.IdempotencyKey = r.str(), r.str(), r.str(), r.str()
	if ev.IdempotencyKey != "" {
		r.fix64()
		r.uint()
	}
	ev.OrderingKey, ev.ContentType = r.str(), r.str()
	for range r.uint() {
		if ev.Header == nil {
			ev.Header = map[string][]string{}
		}
		name := r.str()
		for range r.uint() {
			ev.Header[name] = append(ev.Header[name], r.str())
		}
	}
	for range r.uint() {
		if ev.Labels == nil {
			ev.Labels = map[string]string{}
		}
		name := r.str()
		ev.Labels[name] = r.str()
	}
	for range r.uint() {
		queues = append(queues, r.uint())
		flags := r.byte()
		if flags&4 != 0 {
			r.str()
		}
		if flags&8 != 0 {
			r.uint()
		}
	}
	ev.Payload = r.take(int(r.uint()))
	if len(r.b) != 0 {
		panic("an event is followed by something")
	}
	return seq, ev, queues
}

// readSegments reads the journal: the content of each segment, and the bodies of the frames in order.
func readSegments(t *testing.T) (files map[uint64][]byte, bodies [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(goldenDir, "journal", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	slices.Sort(names)
	files = map[uint64][]byte{}
	last := uint64(0)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		h := &bytesOf{b[:64]}
		if string(h.take(8)) != "hookgseg" || h.fix32() != 1 || h.fix32() != 0 {
			t.Fatalf("%s does not begin like a segment", name)
		}
		h.take(16)
		number, marker, size := h.fix64(), h.fix64(), h.fix64()
		h.take(4)
		if h.fix32() != crc32.Checksum(b[:60], crcTable) || size != uint64(len(b)) || filepath.Base(name) != fmt.Sprintf("%016x.seg", number) {
			t.Fatalf("the header of %s does not fit", name)
		}
		files[number] = b
		for at := 4096; at+48 <= len(b); {
			f := &bytesOf{b[at : at+48]}
			if f.fix64() != marker || f.fix64() != number {
				break
			}
			seq := f.fix64()
			f.take(16)
			length, sum := int(f.fix32()), f.fix32()
			body := b[at+48 : at+48+length]
			if crc32.Update(crc32.Checksum(b[at:at+44], crcTable), crcTable, body) != sum {
				t.Fatalf("%s: the checksum of the frame at %d does not fit", name, at)
			}
			if last != 0 && seq != last+1 {
				t.Fatalf("frame %d follows frame %d", seq, last)
			}
			last = seq
			bodies = append(bodies, body)
			at = (at + 48 + length + 7) / 8 * 8
		}
	}
	return files, bodies
}

// readRows reads the index: the rows of each kind, without their checksums.
func readRows(t *testing.T) map[byte]map[string][]byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hookgate.db")
	if b, err := os.ReadFile(filepath.Join(goldenDir, "hookgate.db")); err != nil || os.WriteFile(path, b, 0o600) != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows := map[byte]map[string][]byte{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if string(name) == "hookgate" {
				if !bytes.Equal(b.Get([]byte("format")), []byte{1}) || len(b.Get([]byte("store"))) != 16 {
					t.Error("the bucket hookgate does not say what the file is")
				}
				return nil
			}
			kind := name[0]
			rows[kind] = map[string][]byte{}
			return b.ForEach(func(k, v []byte) error {
				value, sum := v[:len(v)-4], binary.LittleEndian.Uint32(v[len(v)-4:])
				if got := crc32.Update(crc32.Update(uint32(kind), crcTable, k), crcTable, value); got != sum {
					t.Errorf("the checksum of %c%x does not fit", kind, k)
				}
				rows[kind][string(k)] = bytes.Clone(value)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func u64(k string) uint64 { return binary.BigEndian.Uint64([]byte(k)) }

func TestFormatIsWhatTheDocumentSays(t *testing.T) {
	t.Parallel()
	files, bodies := readSegments(t)
	rows := readRows(t)
	if got, want := string(slices.Sorted(maps.Keys(rows))), "acdfghklmoqrsuvwx"; got != want {
		t.Fatalf("the golden store has rows of the kinds %s, want %s", got, want)
	}

	// Frames: every record in them is an event, and the last frame is one that the index does not know.
	records, operations := 0, map[byte]bool{}
	for _, b := range bodies {
		h := &bytesOf{b}
		if h.byte() != 1 {
			t.Fatal("a frame of another version")
		}
		h.take(8)
		base, n, ops := h.fix64(), h.fix32(), h.fix32()
		for i := range n {
			seq, _, _ := readEvent(h.take(int(h.fix32())))
			if base != 0 && seq != base+uint64(i) {
				t.Errorf("record %d of frame %d has the place %d", i, base, seq)
			}
			records++
		}
		if len(h.b) != int(ops) {
			t.Errorf("frame %d: %d bytes of operations, want %d", base, len(h.b), ops)
		}
		for len(h.b) > 0 {
			operations[readOperation(t, h)] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(operations)), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(got, want) || records == 0 {
		t.Errorf("%d records, and operations %v, want %v", records, got, want)
	}

	// Meta.
	m := &bytesOf{rows['m']["s"]}
	if m.byte() != 1 {
		t.Fatal("meta of another version")
	}
	m.uint()
	m.uint()
	flushed := m.uint()
	clean, opens, lastSeq := m.byte(), m.uint(), m.uint()
	m.take(32)
	m.time()
	events, pending, dead, queues := m.int(), m.int(), m.int(), m.uint()
	m.uint()
	m.fix64()
	m.uint()
	if clean != 0 || opens != 2 || lastSeq != 21 || events != 17 || pending != 14 || dead != 3 || queues != uint64(len(rows['q'])) || len(m.b) != 0 {
		t.Errorf("meta: clean %d, opens %d, last %d, events %d, pending %d, dead %d, queues %d; %d bytes left",
			clean, opens, lastSeq, events, pending, dead, queues, len(m.b))
	}
	if flushed == 0 {
		t.Error("meta does not say up to where the index is applied")
	}

	// Events: through the frames' rows, and where retention put them.
	found := map[store.ID]bool{}
	waiting := 0
	for k, v := range rows['f'] {
		base := u64(k)
		r := &bytesOf{v}
		if r.byte() != 1 {
			t.Fatal("a frame's row of another version")
		}
		flags, segment, start := r.byte(), r.uint(), r.uint()
		r.time()
		first := store.ID(r.take(16))
		r.time()
		type slot struct{ at, size uint64 }
		var slots []slot
		cells, at := 0, start
		for range r.uint() {
			size := r.uint()
			slots = append(slots, slot{at, size})
			at += size + 4
			for range r.uint() {
				if r.uint()&1 != 0 {
					r.fix64()
				}
				cells++
			}
		}
		words := func() (set []uint64) {
			for range (len(slots) + 63) / 64 {
				set = append(set, r.fix64())
			}
			return set
		}
		gone, moved := []uint64{0}, []uint64{0}
		if flags&1 != 0 {
			gone = words()
		}
		if flags&2 != 0 {
			moved = words()
		}
		if len(r.b) != 0 {
			t.Errorf("frame %d: %d bytes left", base, len(r.b))
		}
		for i, s := range slots {
			seq := base + uint64(i)
			if gone[i/64]>>(i%64)&1 != 0 {
				continue
			}
			where := segment
			if moved[i/64]>>(i%64)&1 != 0 {
				u := &bytesOf{rows['u'][string(binary.BigEndian.AppendUint64(nil, seq))]}
				where, s.at, s.size = u.uint(), u.uint(), u.uint()
				guest := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, where), seq)
				if _, ok := rows['w'][string(guest)]; !ok {
					t.Errorf("event %d was moved to segment %d, which does not know of it", seq, where)
				}
			}
			got, ev, _ := readEvent(files[where][s.at : s.at+s.size])
			if got != seq {
				t.Errorf("at the place of event %d lies event %d", seq, got)
			}
			found[ev.ID] = true
			if ev.ID != asideID && !bytes.Equal(ev.Payload, goldenPayload(int(ev.ID[15]), 40)) {
				t.Errorf("event %v has the payload %x", ev.ID, ev.Payload)
			}
			switch s, aside := rows['s'][string(ev.ID[:])]; {
			case first == store.ID{}:
				if !aside || (&bytesOf{s}).uint() != seq {
					t.Errorf("event %v is not found aside", ev.ID)
				}
			case i == 0:
				if x := rows['x'][string(ev.ID[:])]; first != ev.ID || x == nil || (&bytesOf{x}).uint() != base {
					t.Errorf("frame %d is not found by its first event", base)
				}
			}
		}
		if bits := rows['o'][k]; bits != nil {
			b := &bytesOf{bits}
			leased := b.byte()
			n := (cells + 63) / 64
			if len(b.b) != 8*n*(1+int(leased)) {
				t.Errorf("frame %d has %d bytes of bits for %d deliveries", base, len(b.b), cells)
			}
			for range n {
				for w := b.fix64(); w != 0; w &= w - 1 {
					waiting++
				}
			}
		}
	}
	want := map[store.ID]bool{asideID: true}
	for n := evMoved; n < evUnloaded; n++ {
		if n != evGone && n != evBig && n != evBig2 {
			want[goldenID(n)] = true
		}
	}
	if !maps.Equal(found, want) {
		t.Errorf("the index leads to %v, want %v", found, want)
	}

	// Deliveries with a story, and what points at them.
	states, lost := map[store.State]int{}, 0
	for k, v := range rows['v'] {
		r := &bytesOf{v}
		if r.byte() != 1 {
			t.Fatal("a delivery's row of another version")
		}
		st, flags := r.byte(), r.byte()
		state, class := store.State(st&15), st>>4
		states[state]++
		queue := r.uint()
		lane := flags&8 != 0
		if lane {
			r.fix64()
			r.str()
		}
		due := r.time()
		for range 3 {
			r.uint() // lease, attempts, recorded
		}
		if abandoned := r.uint(); abandoned == 1 && flags&1 != 0 {
			lost++
		}
		r.int()
		r.str()
		r.str()
		r.time()
		r.time()
		r.time()
		if flags&4 != 0 {
			r.take(16)
			r.uint()
		}
		if len(r.b) != 0 {
			t.Errorf("delivery %x: %d bytes left", k, len(r.b))
		}
		key := append(binary.BigEndian.AppendUint32(nil, uint32(queue)), class)
		key = binary.BigEndian.AppendUint64(key, uint64(due.UnixNano()))
		if _, ok := rows['r'][string(key)+k]; ok != (state == store.Pending) {
			t.Errorf("delivery %x is %v; in the due index: %v", k, state, ok)
		}
		if _, ok := rows['d'][string(key[:4])+k]; ok != (state == store.Dead) {
			t.Errorf("delivery %x is %v; among the dead: %v", k, state, ok)
		}
		if _, ok := rows['l'][k]; ok != (lane && (state == store.Pending || state == store.Dead && flags&2 != 0)) {
			t.Errorf("delivery %x is %v; keeps its lane shut: %v", k, state, ok)
		}
	}
	if states[store.Dead] != int(dead) || states[store.Pending]+waiting != int(pending) {
		t.Errorf("rows in states %v and %d bits, want %d dead and %d pending", states, waiting, dead, pending)
	}

	if lost != 1 {
		t.Errorf("%d deliveries were leased, lost and leased again, want 1", lost)
	}

	attempts := 0
	for _, v := range rows['a'] {
		for r := (&bytesOf{v}); len(r.b) > 0; attempts++ {
			readAttempt(r)
		}
	}
	if attempts != 6+2 { // two are of events that were forgotten since, in a frame that is still there
		t.Errorf("%d attempts are packed, want 8", attempts)
	}

	// The rest.
	for _, v := range rows['q'] {
		r := &bytesOf{v}
		r.str()
		if dest := r.str(); len(dest) < 4 || len(r.b) != 0 {
			t.Errorf("a queue leads to %q", dest)
		}
	}
	keys := 0
	for k, v := range rows['h'] {
		if len(k) != 16 || len(v)%16 != 0 {
			t.Errorf("keys %x: %d bytes", k, len(v))
		}
		keys += len(v) / 16
	}
	if keys != 2 {
		t.Errorf("%d idempotency keys are taken in the index, want 2", keys)
	}
	for k, v := range rows['k'] {
		r := &bytesOf{v}
		id := store.ID(r.take(16))
		tenant, source, key := r.str(), r.str(), r.str()
		r.time()
		fingerprint, window, deliveries := r.fix64(), time.Duration(r.uint()), r.uint()
		if u64(k) != 1 || id != goldenID(evForgotten) || tenant != "acme" || source != "" || key != "order-1" || fingerprint != 0x1111 ||
			window != 60*24*time.Hour || deliveries != 1 || len(r.b) != 0 {
			t.Errorf("what is kept of a forgotten event's key: %v %q %q %q %x %v %d", id, tenant, source, key, fingerprint, window, deliveries)
		}
	}
	if g := rows['g']["ep:acme/waits\x00\x01paused\x00\x01"]; g == nil {
		t.Error("there is no gate of ep:acme/waits")
	} else if r := (&bytesOf{g}); r.int() != -1 || r.uint() != 0 || r.str() != "they are moving" || r.time().IsZero() || !r.time().IsZero() {
		t.Errorf("the gate is %x", g)
	}
	if c := rows['c']["job\x00\x01\x00\x01with a zero\x00\xffbyte\x00\x01"]; c == nil {
		t.Error("there is no document with a zero byte in its name")
	} else if r := (&bytesOf{c}); r.byte() != 1 || r.byte() != 0 || r.uint() != 1 || r.time().IsZero() || r.time().IsZero() || r.str() != "\x00\x01\x02" {
		t.Errorf("the document is %x", c)
	}
}

// readAttempt reads an attempt as frames and packs have it.
func readAttempt(r *bytesOf) {
	r.uint() // place of the event
	r.uint() // number of the delivery
	r.uint() // number of the attempt
	r.uint() // lease
	r.byte() // flags
	r.int()  // began
	r.uint() // took
	r.uint() // ago
	r.int()  // code
	r.str()  // class
	r.str()  // error
	r.str()  // response
}

func readOperation(t *testing.T, r *bytesOf) byte {
	op := r.byte()
	switch op {
	case 1:
		r.uint()
		r.str()
		r.str()
	case 2:
		r.str()
		r.str()
	case 3:
		r.str()
		r.str()
		r.int()
		r.uint()
		r.str()
		r.time()
		r.time()
	case 4, 6:
		readAttempt(r)
	case 5:
		r.uint()
		r.uint()
		r.str()
		if r.byte() == 1 {
			readAttempt(r)
		}
	case 7:
		for range r.uint() {
			r.uint()
			r.uint()
		}
	case 8:
		for range r.uint() {
			r.uint()
			r.uint()
		}
	case 9:
		r.uint()
	case 10:
		r.uint()
		r.uint()
	default:
		t.Fatalf("there is no operation %d", op)
	}
	return op
}
