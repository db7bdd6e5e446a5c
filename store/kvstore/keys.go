package kvstore

import (
	"encoding/binary"
	"time"
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
// A key costs 16 bytes in a table that is at most three quarters full. When there are more keys than the limit, the largest
// block is frozen: its keys lie sorted in the engine, and memory keeps a filter of ten bits for each.
type keyTable struct {
	blocks map[int64]*keyBlock
	count  int // in memory, in all blocks
	limit  int

	fresh []freshKeys // not in the engine yet
}

type freshKeys struct {
	hour  int64
	entry keyEntry
}

const keyParts = 64

type keyBlock struct {
	hour  int64
	parts [keyParts]keyPart
	count int
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

func (t *keyTable) insert(hour int64, e keyEntry) {
	b := t.blocks[hour]
	if b == nil {
		if t.blocks == nil {
			t.blocks = map[int64]*keyBlock{}
		}
		b = &keyBlock{hour: hour}
		t.blocks[hour] = b
	}
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

// find calls fn for each event that may have taken a key of this hash, until fn says that it did.
func (t *keyTable) find(s *Store, hash uint64, fn func(seq uint64) (bool, error)) error {
	for _, b := range t.blocks {
		p := &b.parts[hash>>58]
		if len(p.slots) == 0 {
			continue
		}
		mask := uint64(len(p.slots) - 1)
		for i := hash & mask; p.slots[i].hash != 0; i = (i + 1) & mask {
			if p.slots[i].hash != hash {
				continue
			}
			if done, err := fn(p.slots[i].seq); done || err != nil {
				return err
			}
		}
	}
	return nil
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

// load reads the rows of all blocks.
func (t *keyTable) load(r Reader, now time.Time) {
	for k, v := range r.Scan([]byte{kindKeys}, []byte{kindKeys + 1}) {
		hour := int64(beUint64(k[1:]))
		if (hour+1)*3600 <= now.Unix() {
			continue
		}
		d := dec{b: v}
		for len(d.b) >= 16 {
			t.insert(hour, keyEntry{d.fix64(), d.fix64()})
		}
	}
}
