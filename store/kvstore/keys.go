package kvstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hookgate/hookgate/store"
)

// keyEntry is an idempotency key that is taken: a hash of tenant, source and key, and the event that took it. Whether it is
// really the same key, and still taken, is read from that event.
type keyEntry struct {
	hash uint64
	seq  uint64
}

// keyHash mixes tenant, source and key with the store's own salt, so that nobody can prepare keys that collide. The hash is
// kept on disk, so it must stay as it is.
func keyHash(salt uint64, tenant, source, key string) uint64 {
	h := uint64(14695981039346656037) ^ salt
	for _, s := range [...]string{tenant, source, key} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0x1ff) * 1099511628211
	}
	// FNV leaves the high bits of short keys poor; the table takes its place from them.
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	return max(h, 1)
}

// keyTable finds idempotency keys. They are kept in blocks by the hour in which they end, so that forgetting is dropping a
// block, and each block in parts, so that growing is never a long pause.
//
// A key costs 16 bytes in a table that is at most three quarters full: 22 to 43 bytes. When there are more keys than the limit,
// parts of the largest block are frozen: their keys lie sorted in the engine, and memory keeps a filter of ten bits for each.
type keyTable struct {
	blocks map[int64]*keyBlock
	count  int // in memory, in all blocks
	limit  int

	fetched uint64 // keeps fetch from being left out: it has no use

	fresh    []freshKeys // not in the engine yet
	freezing []*keyBlock // with parts on their way there
	ended    []int64     // hours whose rows are to be deleted
}

type freshKeys struct {
	hour  int64
	entry keyEntry
}

const keyParts = 64

type keyBlock struct {
	hour  int64
	parts [keyParts]keyPart
	count int // in parts

	freezing []freezingPart          // on their way to the engine
	frozen   *[keyParts][]frozenPart // nil for none
}

// keyPart is an open-addressing table; its length is a power of two, hash 0 is an empty place.
type keyPart struct {
	slots []keyEntry
	used  int
}

func keyHour(end time.Time) int64 { return end.Unix() / 3600 }

func (t *keyTable) add(e keyEntry, ends time.Time) {
	t.insert(keyHour(ends), e)
	t.fresh = append(t.fresh, freshKeys{keyHour(ends), e})
}

// block is the block of an hour, a new one if need be.
func (t *keyTable) block(hour int64) *keyBlock {
	b := t.blocks[hour]
	if b == nil {
		if t.blocks == nil {
			t.blocks = map[int64]*keyBlock{}
		}
		b = &keyBlock{hour: hour}
		t.blocks[hour] = b
	}
	return b
}

func (t *keyTable) insert(hour int64, e keyEntry) {
	b := t.block(hour)
	b.parts[e.hash>>58].insert(e)
	b.count++
	t.count++
}

func (p *keyPart) insert(e keyEntry) {
	if 4*(p.used+1) > 3*len(p.slots) {
		old := p.slots
		p.slots = make([]keyEntry, max(16, 2*len(old)))
		for _, o := range old {
			if o.hash != 0 {
				p.place(o)
			}
		}
	}
	p.place(e)
	p.used++
}

func (p *keyPart) place(e keyEntry) {
	mask := uint64(len(p.slots) - 1)
	i := e.hash & mask
	for p.slots[i].hash != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = e
}

// fetch looks at the places of many keys, so that they are in the processor's cache when they are wanted. Here nothing waits for
// what it finds, so the memory is asked for many at a time; later each would be waited for, in the middle of a commit.
func (t *keyTable) fetch(hashes []uint64) {
	for _, b := range t.blocks {
		for _, hash := range hashes {
			if p := &b.parts[hash>>58]; hash != 0 && len(p.slots) > 0 {
				t.fetched ^= p.slots[hash&uint64(len(p.slots)-1)].hash
			}
		}
	}
}

// find calls fn for each event that may have taken a key of this hash, until fn says that it did.
func (t *keyTable) find(s *Store, hash uint64, fn func(seq uint64) (bool, error)) error {
	for _, b := range t.blocks {
		if done, err := b.parts[hash>>58].find(hash, fn); done || err != nil {
			return err
		}
		if b.frozen == nil && len(b.freezing) == 0 {
			continue
		}
		if done, err := b.findFrozen(s.kv, hash, fn); done || err != nil {
			return err
		}
	}
	return nil
}

func (p *keyPart) find(hash uint64, fn func(seq uint64) (bool, error)) (bool, error) {
	if len(p.slots) == 0 {
		return false, nil
	}
	mask := uint64(len(p.slots) - 1)
	for i := hash & mask; p.slots[i].hash != 0; i = (i + 1) & mask {
		if p.slots[i].hash != hash {
			continue
		}
		if done, err := fn(p.slots[i].seq); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// forget drops the blocks that have ended; the caller deletes their rows.
func (t *keyTable) forget(now time.Time) (hours []int64) {
	for hour, b := range t.blocks {
		if (hour+1)*3600 <= now.Unix() {
			t.count -= b.count
			delete(t.blocks, hour)
			hours = append(hours, hour)
		}
	}
	hours = append(hours, t.ended...)
	t.ended = nil
	return hours
}

func keysKey(hour int64, no uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kindKeys}, uint64(hour))
	return binary.BigEndian.AppendUint64(b, no)
}

// rows packs the keys that are not in the engine yet, by the hour in which they end.
func (t *keyTable) rows(no uint64, put func(key, value []byte)) {
	if len(t.fresh) == 0 {
		return
	}
	byHour := map[int64]*enc{}
	for _, k := range t.fresh {
		e := byHour[k.hour]
		if e == nil {
			e = &enc{}
			byHour[k.hour] = e
		}
		e.fix64(k.entry.hash)
		e.fix64(k.entry.seq)
	}
	for hour, e := range byHour {
		put(keysKey(hour, no), e.b)
	}
	t.fresh = t.fresh[:0]
}

// load reads the rows of all blocks. Those of blocks that have ended meanwhile are deleted by the next flush.
func (t *keyTable) load(r Reader, now time.Time) error {
	ended := map[int64]bool{}
	over := func(hour int64) bool {
		if (hour+1)*3600 > now.Unix() {
			return false
		}
		if !ended[hour] {
			ended[hour] = true
			t.ended = append(t.ended, hour)
		}
		return true
	}
	if err := t.loadFrozen(r, over); err != nil {
		return err
	}
	for k, v := range r.Scan([]byte{kindKeys}, []byte{kindKeys + 1}) {
		if len(k) != 17 {
			return fmt.Errorf("%w: idempotency keys have the name %x", store.ErrCorrupt, k)
		}
		hour, no := int64(beUint64(k[1:])), beUint64(k[9:])
		if over(hour) {
			continue
		}
		list, err := decodeKeys(k, v)
		if err != nil {
			return err
		}
		b := t.block(hour)
		for _, e := range list {
			if no > b.frozenUntil(int(e.hash>>58)) {
				t.insert(hour, e)
			}
		}
	}
	return nil
}
