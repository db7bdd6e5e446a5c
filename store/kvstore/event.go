package kvstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func errVersion(what string, v byte) error {
	return fmt.Errorf("%w: %s record of version %d, newer than this program", store.ErrCorrupt, what, v)
}

const eventVersion = 1

// target is one delivery in an event's record: where it goes and how.
type target struct {
	queue  uint32
	leased bool
	lane   string
	hash   uint64
	after  time.Duration
	class  store.Class
}

const (
	targetLeased   = 1 << iota // born leased
	targetKeyed                // its lane is the event's ordering key
	targetLane                 // its lane follows
	targetDelayed              // its delay follows
	targetReplayed             // its class is Replay
)

// stamp is what the store adds to an event when it accepts it.
type stamp struct {
	seq         uint64
	accepted    time.Time
	expires     time.Time
	fingerprint uint64        // of the event's content; kept only with an idempotency key
	window      time.Duration // how long the idempotency key stays taken
}

// keyExpires is when the event's idempotency key is free again.
func (st *stamp) keyExpires() time.Time { return st.accepted.Add(st.window) }

// appendEvent writes the record of an event: a CRC-32C over what follows, then the fields.
func appendEvent(b []byte, ev *store.Event, st *stamp, targets []target) []byte {
	start := len(b)
	e := enc{append(b, 0, 0, 0, 0)}
	e.u8(eventVersion)
	e.raw(ev.ID[:])
	e.uint(st.seq)
	e.fix64(uint64(st.accepted.UnixNano()))
	e.time(st.expires)
	e.uint(ev.View)
	e.str(ev.Tenant)
	e.str(ev.Source)
	e.str(ev.Type)
	e.str(ev.IdempotencyKey)
	if ev.IdempotencyKey != "" {
		e.fix64(st.fingerprint)
		e.uint(uint64(st.window))
	}
	e.str(ev.OrderingKey)
	e.str(ev.ContentType)
	e.uint(uint64(len(ev.Header)))
	if len(ev.Header) > 0 {
		for _, name := range slices.Sorted(maps.Keys(ev.Header)) {
			e.str(name)
			values := ev.Header[name]
			e.uint(uint64(len(values)))
			for _, v := range values {
				e.str(v)
			}
		}
	}
	e.uint(uint64(len(ev.Labels)))
	if len(ev.Labels) > 0 {
		for _, name := range slices.Sorted(maps.Keys(ev.Labels)) {
			e.str(name)
			e.str(ev.Labels[name])
		}
	}
	e.uint(uint64(len(targets)))
	for i := range targets {
		t := &targets[i]
		var flags byte
		if t.leased {
			flags |= targetLeased
		}
		switch {
		case t.lane == "":
		case t.lane == ev.OrderingKey:
			flags |= targetKeyed
		default:
			flags |= targetLane
		}
		if t.after > 0 {
			flags |= targetDelayed
		}
		if t.class == store.Replay {
			flags |= targetReplayed
		}
		e.uint(uint64(t.queue))
		e.u8(flags)
		if flags&targetLane != 0 {
			e.str(t.lane)
		}
		if flags&targetDelayed != 0 {
			e.uint(uint64(t.after))
		}
	}
	e.bytes(ev.Payload)
	binary.LittleEndian.PutUint32(e.b[start:], crc32.Checksum(e.b[start+4:], castagnoli))
	return e.b
}

// readID reads the ID out of the first bytes of a record, unchecked.
func readID(b []byte) (id store.ID) {
	copy(id[:], b[5:])
	return id
}

const idPrefix = 21 // how many bytes of a record readID needs

// record is a decoded event.
type record struct {
	stamp
	event   store.Event
	targets []target
}

// decodeEvent checks and reads a record, which shares no memory with b.
func decodeEvent(b []byte, payload bool) (*record, error) {
	if len(b) < 5 || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return nil, fmt.Errorf("%w: the checksum of an event does not fit", store.ErrCorrupt)
	}
	d := dec{b: b[4:]}
	if v := d.u8(); v != eventVersion {
		return nil, errVersion("event", v)
	}
	r := &record{}
	ev := &r.event
	copy(ev.ID[:], d.raw(16))
	ev.Seq = d.uint()
	ev.Accepted = time.Unix(0, int64(d.fix64()))
	ev.Expires = d.time()
	ev.View = d.uint()
	ev.Tenant = d.str()
	ev.Source = d.str()
	ev.Type = d.str()
	ev.IdempotencyKey = d.str()
	if ev.IdempotencyKey != "" {
		r.fingerprint = d.fix64()
		r.window = time.Duration(d.uint())
	}
	ev.OrderingKey = d.str()
	ev.ContentType = d.str()
	if n := d.count(2); n > 0 {
		ev.Header = make(map[string][]string, n)
		for range n {
			name := d.str()
			values := make([]string, d.count(1))
			for i := range values {
				values[i] = d.str()
			}
			ev.Header[name] = values
		}
	}
	if n := d.count(2); n > 0 {
		ev.Labels = make(map[string]string, n)
		for range n {
			name := d.str()
			ev.Labels[name] = d.str()
		}
	}
	n := d.count(2)
	ev.Deliveries = n
	targets := make([]target, n)
	for i := range targets {
		t := &targets[i]
		t.queue = uint32(d.uint())
		flags := d.u8()
		t.leased = flags&targetLeased != 0
		if flags&targetReplayed != 0 {
			t.class = store.Replay
		}
		switch {
		case flags&targetKeyed != 0:
			t.lane = ev.OrderingKey
		case flags&targetLane != 0:
			t.lane = d.str()
		}
		if flags&targetDelayed != 0 {
			t.after = time.Duration(d.uint())
		}
		t.hash = laneHash(t.queue, t.lane)
	}
	body := d.bytes()
	if d.err != nil {
		return nil, fmt.Errorf("%w: event: %w", store.ErrCorrupt, d.err)
	}
	if payload {
		ev.Payload = append(make([]byte, 0, len(body)), body...)
	}
	r.seq, r.accepted, r.expires, r.targets = ev.Seq, ev.Accepted, ev.Expires, targets
	return r, nil
}
