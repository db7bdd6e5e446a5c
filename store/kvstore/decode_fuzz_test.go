package kvstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// decoders are all that read what is stored. Whatever the bytes are, each answers or says ErrCorrupt: none panics, and none
// takes memory for what is not there.
var decoders = []struct {
	name string
	read func(b []byte) error
}{
	{"body", func(b []byte) error {
		x, err := parseBody(b)
		if err != nil {
			return err
		}
		_, err = x.frame(Mark{1, 4096, 1}, 48, 7)
		return err
	}},
	{"event", func(b []byte) error { _, err := decodeEvent(b, true); return err }},
	{"event with a right checksum", func(b []byte) error {
		if len(b) < 4 {
			return nil
		}
		binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
		_, err := decodeEvent(b, true)
		return err
	}},
	{"row", func(b []byte) error {
		r, err := decodeRow(b)
		if err == nil {
			if r.class >= store.Classes || r.state > store.Cancelled {
				return errors.New("a row has a state or class that there is not")
			}
			_, err = decodeRow(r.encode()) // it can be written again
		}
		return err
	}},
	{"frame", func(b []byte) error {
		f, err := decodeFrame(1, b)
		if err != nil {
			return err
		}
		for c := range uint32(len(f.cells)) {
			if at := f.refOf(c); !f.has(at.seq) {
				return errors.New("a delivery lies in no event of its frame")
			} else if got, ok := f.cell(at); !ok || got != c {
				return errors.New("a delivery is not found where it is")
			}
		}
		_, err = decodeFrame(1, f.encode())
		return err
	}},
	{"bits", func(b []byte) error {
		f := newFrame(1, time.Time{}, 2, 70)
		f.events, f.cells = []slot{{0, 9, 0}, {13, 9, 40}}, make([]cell, 70)
		if err := f.decodeBits(b); err != nil {
			return err
		}
		for c := uint32(0); ; c++ {
			i, ok := f.open.from(c)
			if !ok {
				return nil
			}
			if i >= uint32(len(f.cells)) {
				return errors.New("a delivery is open that is not there")
			}
			c = i + 1
		}
	}},
	{"open", func(b []byte) error {
		n := min(len(b), 40)
		if err := countOpen(1, b[n:], b[:n], func(uint32, ref) {}); err != nil && !errors.Is(err, errShort) {
			return err
		}
		return nil
	}},
	{"document", func(b []byte) error { _, err := decodeDoc(b); return err }},
	{"gate", func(b []byte) error {
		n := len(b) / 2
		_, err := decodeGateRow(append([]byte{kindGate}, b[:n]...), b[n:])
		return err
	}},
	{"ghost", func(b []byte) error { _, err := decodeGhost(1, b); return err }},
	{"meta", func(b []byte) error { return new(meta).decode(b) }},
	{"keys", func(b []byte) error { _, err := decodeKeys(b, b); return err }},
	{"attempts", func(b []byte) error {
		d := dec{b: b}
		for len(d.b) > 0 && d.err == nil {
			var t tried
			t.decode(&d, 1, time.Time{})
		}
		return nil
	}},
	{"cursor", func(b []byte) error {
		_, err := newPaging(store.Paging{Cursor: string(b)}, store.EventQuery{})
		if k, e := decodeKeyCursor(string(b)); e == nil && encodeKeyCursor(k) != string(b) {
			return errors.New("a cursor reads as another one")
		}
		if errors.Is(err, store.ErrBadCursor) {
			return nil
		}
		return err
	}},
	{"name", func(b []byte) error {
		name, rest := cutName(b)
		if again, _ := cutName(appendName(nil, name)); again != name || len(rest) > len(b) {
			return errors.New("a name reads as another one")
		}
		return nil
	}},
}

func checkDecoders(t *testing.T, b []byte) {
	t.Helper()
	for _, d := range decoders {
		if err := d.read(bytes.Clone(b)); err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s of %x: %v, want ErrCorrupt", d.name, b, err)
		}
	}
}

func FuzzDecoders(f *testing.F) {
	for _, b := range samples() {
		f.Add(b)
	}
	f.Fuzz(checkDecoders)
}

// samples are records of every kind as the store writes them.
func samples() [][]byte {
	at := time.Unix(1_700_000_000, 5)
	id := store.ID{1, 2, 3, 4, 5, 6, 0x70}
	ev := &store.Event{
		ID: id, Tenant: "t", Source: "s", Type: "a.b", IdempotencyKey: "k", OrderingKey: "o", ContentType: "c",
		Header: map[string][]string{"A": {"b", "c"}}, Labels: map[string]string{"l": "m"}, Payload: []byte("payload"),
	}
	st := &stamp{seq: 1, accepted: at, expires: at, fingerprint: 9, window: time.Hour}
	targets := []target{{queue: 1, lane: "o", hash: 5}, {queue: 2, lane: "x", hash: 6, after: time.Second, class: store.Replay}, {queue: 1, leased: true}}
	fr := newFrame(1, at, 1, 3)
	fr.segment, fr.start, fr.firstID = 1, 4096, id
	fr.add(ev, st, 0, 100, targets, 7)
	fr.gone, fr.moved = newBitset(1), newBitset(1)
	record := appendEvent(nil, ev, st, targets)
	body := make([]byte, bodyHeader)
	putBodyHeader(body, at, 1, 1, 1)
	body = append(body, byte(len(record)), byte(len(record)>>8), 0, 0)
	body = append(append(body, record...), opOpened)
	r := &row{queue: 1, state: store.Dead, class: store.Retry, lane: 3, laneName: "x", due: at, gen: 4, created: at, origin: store.DeliveryID{Event: id, N: 1}}
	var try, gate, key enc
	(&tried{at: ref{1, 2}, no: 1, gen: 3, began: at, class: "timeout", err: "e", response: []byte("r")}).encode(&try, 1, at)
	encodeGate(&gate, &store.Gate{Hold: -1, MaxInFlight: 3, Reason: "r", Since: at})
	key.fix64(1)
	key.fix64(2)
	return [][]byte{
		record, body, r.encode(), fr.encode(), fr.encodeBits(), try.b, key.b,
		append(gateKey("d", "c")[1:], gate.b...),
		(&docRow{version: 3, updated: at, data: []byte("doc")}).encode(),
		(&meta{lastSeq: 5, lastID: id, lastAt: at}).encode(),
		[]byte("1a.2.abc"),
		{},
		{0},
		DamagedRow, bytes.Repeat([]byte{0xff}, 40),
	}
}

// Every record with one bit changed, cut short at every place, or with random bytes in it.
func TestDecodersTakeAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, b := range samples() {
		checkDecoders(t, b)
		for i := range b {
			checkDecoders(t, b[:i])
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				checkDecoders(t, c)
			}
		}
		for range 2000 {
			c := bytes.Clone(b)
			for range 1 + rng.IntN(4) {
				if len(c) > 0 {
					c[rng.IntN(len(c))] = byte(rng.Uint32())
				}
			}
			checkDecoders(t, c)
		}
	}
}

// FuzzApply gives a store operations that nobody decided: it may refuse them, and must not panic.
func FuzzApply(f *testing.F) {
	var e enc
	e.u8(opQueue)
	e.uint(1)
	e.str("t")
	e.str("d")
	e.u8(opRow)
	e.ref(ref{1, 1 << 32})
	e.bytes((&row{queue: 1, state: store.Pending, lane: 3}).encode())
	e.u8(0)
	e.u8(opLeases)
	e.uint(1)
	e.ref(ref{1, 1 << 32})
	e.u8(opFree)
	e.ref(ref{1, 1 << 32})
	f.Add(e.b)
	f.Add([]byte{opMoved, 1, 1, 1, opOpened, 1, opAttempt})
	f.Fuzz(func(t *testing.T, ops []byte) {
		s := &Store{kv: noKV{}, delta: map[string][]byte{}, frames: map[uint64]*frame{}}
		s.sched.init()
		if err := s.apply(Mark{1, 1, 1}, time.Unix(5, 0), ops, nil, false); err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("apply: %v", err)
		}
	})
}
