package kvstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/hookgate/hookgate/store"
)

// Frozen keys. When memory holds more idempotency keys than the limit, parts of the largest block are written to the engine
// once more, sorted by hash, and memory keeps a filter that says of most other keys that they are not there. A key that is
// looked for costs a read of one row where a filter says perhaps, which for a key that was never used is one time in a hundred.
//
// The rows that say which keys a flush added stay until their hour ends. A frozen part carries the number of its flush:
// what rows of that number or before say about the part is in the frozen rows, and is not loaded when the store is opened.
const (
	filterBits  = 10      // for each key
	filterTries = 7       // bits that are looked at
	frozenRow   = 256     // keys in a row
	freezePiece = 1 << 16 // keys that one flush freezes, about
)

// keyFilter is a Bloom filter over hashes.
type keyFilter []uint64

func newKeyFilter(keys int) keyFilter { return make(keyFilter, keys*filterBits/64+1) }

// place gives bit number i of a hash.
func (f keyFilter) place(hash uint64, i uint64) (word int, bit uint64) {
	step := hash*0x9e3779b97f4a7c15 | 1
	hi, _ := bits.Mul64((hash^hash>>29)*0xbf58476d1ce4e5b9+i*step, uint64(len(f))*64)
	return int(hi / 64), 1 << (hi % 64)
}

func (f keyFilter) add(hash uint64) {
	for i := range uint64(filterTries) {
		w, bit := f.place(hash, i)
		f[w] |= bit
	}
}

func (f keyFilter) has(hash uint64) bool {
	for i := range uint64(filterTries) {
		if w, bit := f.place(hash, i); f[w]&bit == 0 {
			return false
		}
	}
	return true
}

// frozenPart is what memory keeps of the keys of a part that one flush froze.
type frozenPart struct {
	no     uint64 // of the flush
	filter keyFilter
}

// freezingPart is a part on its way to the engine.
type freezingPart struct {
	part int
	keys keyPart
	frozenPart
}

func frozenKey(hour int64, no, hash uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kindFrozen}, uint64(hour))
	b = binary.BigEndian.AppendUint64(b, no)
	return binary.BigEndian.AppendUint64(b, hash)
}

// freeze writes parts of the largest blocks as sorted rows, until what is left is within the limit or enough was done for one
// flush, whose number is no.
func (t *keyTable) freeze(no uint64, put func(key, value []byte)) {
	for done := 0; t.count > t.limit && done < freezePiece; {
		var b *keyBlock
		for _, x := range t.blocks {
			if b == nil || x.count > b.count {
				b = x
			}
		}
		part := 0
		for i := range b.parts {
			if b.parts[i].used > b.parts[part].used {
				part = i
			}
		}
		keys := b.parts[part]
		if keys.used == 0 {
			return
		}
		b.parts[part] = keyPart{}
		b.count -= keys.used
		t.count -= keys.used
		done += keys.used
		f := freezingPart{part, keys, frozenPart{no, newKeyFilter(keys.used)}}
		b.freezing = append(b.freezing, f)
		t.freezing = append(t.freezing, b)
		list := make([]keyEntry, 0, keys.used)
		for _, e := range keys.slots {
			if e.hash != 0 {
				list = append(list, e)
				f.filter.add(e.hash)
			}
		}
		slices.SortFunc(list, func(a, b keyEntry) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.seq, b.seq)) })
		for len(list) > 0 {
			n := min(frozenRow, len(list))
			for n < len(list) && list[n].hash == list[n-1].hash {
				n++ // keys of one hash stay together, so that one row has them all
			}
			e := enc{make([]byte, 0, 16*n)}
			for _, k := range list[:n] {
				e.fix64(k.hash)
				e.fix64(k.seq)
			}
			put(frozenKey(b.hour, no, list[0].hash), e.b)
			list = list[n:]
		}
	}
}

// froze lets go of the parts that the engine has now.
func (t *keyTable) froze() {
	for _, b := range t.freezing {
		for i := range b.freezing {
			f := &b.freezing[i]
			b.freezeInto(f.part, f.frozenPart)
		}
		b.freezing = nil
	}
	t.freezing = nil
}

func (b *keyBlock) freezeInto(part int, f frozenPart) {
	if b.frozen == nil {
		b.frozen = &[keyParts][]frozenPart{}
	}
	b.frozen[part] = append(b.frozen[part], f)
}

// frozenUntil is the number of the last flush that froze a part of the block; 0 for none.
func (b *keyBlock) frozenUntil(part int) (no uint64) {
	if b.frozen != nil {
		for _, f := range b.frozen[part] {
			no = max(no, f.no)
		}
	}
	return no
}

// findFrozen calls fn for each event that took a key of this hash and whose key is frozen, until fn says that it did.
func (b *keyBlock) findFrozen(kv KV, hash uint64, fn func(seq uint64) (bool, error)) (bool, error) {
	for i := range b.freezing {
		if f := &b.freezing[i]; f.part == int(hash>>58) {
			if done, err := f.keys.find(hash, fn); done || err != nil {
				return done, err
			}
		}
	}
	if b.frozen == nil {
		return false, nil
	}
	for _, f := range b.frozen[hash>>58] {
		if !f.filter.has(hash) {
			continue
		}
		var seqs []uint64
		err := kv.View(context.Background(), func(r Reader) error {
			for k, v := range r.ScanBack(frozenKey(b.hour, f.no, 0), append(frozenKey(b.hour, f.no, hash), 0)) {
				list, err := decodeKeys(k, v)
				for _, e := range list {
					if e.hash == hash {
						seqs = append(seqs, e.seq)
					}
				}
				return err
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, seq := range seqs {
			if done, err := fn(seq); done || err != nil {
				return done, err
			}
		}
	}
	return false, nil
}

// decodeKeys reads a row of packed keys.
func decodeKeys(key, b []byte) ([]keyEntry, error) {
	if len(b)%16 != 0 {
		return nil, fmt.Errorf("%w: idempotency keys %x: the row has %d bytes", store.ErrCorrupt, key, len(b))
	}
	d := dec{b: b}
	list := make([]keyEntry, len(b)/16)
	for i := range list {
		if list[i] = (keyEntry{d.fix64(), d.fix64()}); list[i].hash == 0 {
			return nil, fmt.Errorf("%w: idempotency keys %x: a hash is zero", store.ErrCorrupt, key)
		}
	}
	return list, nil
}

// loadFrozen makes the filters of what is frozen.
func (t *keyTable) loadFrozen(r Reader, over func(hour int64) bool) error {
	type name struct {
		hour int64
		no   uint64
		part int
	}
	hashes := map[name][]uint64{}
	settle := func() {
		for n, list := range hashes {
			f := frozenPart{n.no, newKeyFilter(len(list))}
			for _, h := range list {
				f.filter.add(h)
			}
			t.block(n.hour).freezeInto(n.part, f)
		}
		clear(hashes)
	}
	var at name
	for k, v := range r.Scan([]byte{kindFrozen}, []byte{kindFrozen + 1}) {
		if len(k) != 25 {
			return fmt.Errorf("%w: idempotency keys have the name %x", store.ErrCorrupt, k)
		}
		n := name{hour: int64(beUint64(k[1:])), no: beUint64(k[9:])}
		if over(n.hour) {
			continue
		}
		if n != at {
			settle()
			at = n
		}
		list, err := decodeKeys(k, v)
		if err != nil {
			return err
		}
		for _, e := range list {
			n.part = int(e.hash >> 58)
			hashes[n] = append(hashes[n], e.hash)
		}
	}
	settle()
	return nil
}
