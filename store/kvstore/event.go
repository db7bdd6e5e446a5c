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

// texts reads strings that are cut from one copy of the bytes that hold them all.
type texts struct {
	dec
	all  string
	left int // how many bytes there were to read where all begins
}

func (d *texts) str() string {
	v := d.bytes()
	end := d.left - len(d.b)
	if d.err != nil || end > len(d.all) {
		return string(v) // a lane; they come later
	}
	return d.all[end-len(v) : end]
}

// eventTexts looks at what comes in a record from the tenant to the last label: how many bytes that is, and how many values the
// headers have.
func eventTexts(d dec) (size, values int, err error) {
	size = len(d.b)
	for range 3 {
		d.bytes()
	}
	if len(d.bytes()) > 0 {
		d.fix64()
		d.uint()
	}
	d.bytes()
	d.bytes()
	for range d.count(2) {
		d.bytes()
		n := d.count(1)
		for range n {
			d.bytes()
		}
		values += n
	}
	for range 2 * d.count(2) {
		d.bytes()
	}
	return size - len(d.b), values, d.err
}

// decodeEvent checks and reads a record, which shares no memory with b.
func decodeEvent(b []byte, payload bool) (*record, error) {
	r := &record{}
	if err := r.decode(b, payload); err != nil {
		return nil, err
	}
	return r, nil
}

// decode makes r what the bytes of a record say. The array of its targets is used again.
func (r *record) decode(b []byte, payload bool) error {
	if len(b) < 5 || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return fmt.Errorf("%w: the checksum of an event does not fit", store.ErrCorrupt)
	}
	d := texts{dec: dec{b: b[4:]}}
	if v := d.u8(); v != eventVersion {
		return errVersion("event", v)
	}
	*r = record{targets: r.targets[:0]}
	ev := &r.event
	copy(ev.ID[:], d.raw(16))
	ev.Seq = d.uint()
	ev.Accepted = time.Unix(0, int64(d.fix64()))
	ev.Expires = d.time()
	ev.View = d.uint()
	size, values, err := eventTexts(d.dec)
	if err != nil {
		return fmt.Errorf("%w: event: %w", store.ErrCorrupt, err)
	}
	d.all, d.left = string(d.b[:size]), len(d.b)
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
		room := make([]string, values)
		for range n {
			name := d.str()
			v := d.count(1)
			for i := range v {
				room[i] = d.str()
			}
			ev.Header[name], room = room[:v:v], room[v:]
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
	r.targets = slices.Grow(r.targets, n)
	for range n {
		var t target
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
		r.targets = append(r.targets, t)
	}
	body := d.bytes()
	if d.err != nil {
		return fmt.Errorf("%w: event: %w", store.ErrCorrupt, d.err)
	}
	if payload {
		ev.Payload = append(make([]byte, 0, len(body)), body...)
	}
	r.seq, r.accepted, r.expires = ev.Seq, ev.Accepted, ev.Expires
	return nil
}
