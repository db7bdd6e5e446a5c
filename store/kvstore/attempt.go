package kvstore

import (
	"time"

	"github.com/hookgate/hookgate/store"
)

// tried is an attempt as frames and packs keep it.
type tried struct {
	at       ref
	no       int
	gen      uint64
	counted  bool
	late     bool
	final    bool // the delivery is done with it, and has no row that says more
	said     bool // final, with the reason "delivered"
	began    time.Time
	took     time.Duration
	ago      time.Duration
	code     int
	class    string
	err      string
	response []byte
}

const (
	triedCounted = 1 << iota
	triedLate
	triedFinal
	triedSaid
)

// delivered is the one reason that needs no row to be remembered.
const delivered = "delivered"

func (t *tried) encode(e *enc, base uint64, since time.Time) {
	e.uint(t.at.seq - base)
	e.uint(t.at.n)
	e.uint(uint64(t.no))
	e.uint(t.gen)
	var flags byte
	for i, on := range [...]bool{t.counted, t.late, t.final, t.said} {
		if on {
			flags |= 1 << i
		}
	}
	e.u8(flags)
	e.int(int64(t.began.Sub(since)))
	e.uint(uint64(t.took))
	e.uint(uint64(t.ago))
	e.int(int64(t.code))
	e.str(t.class)
	e.str(t.err)
	e.bytes(t.response)
}

func (t *tried) decode(d *dec, base uint64, since time.Time) {
	t.at.seq = base + d.uint()
	t.at.n = d.uint()
	t.no = int(d.uint())
	t.gen = d.uint()
	flags := d.u8()
	t.counted = flags&triedCounted != 0
	t.late = flags&triedLate != 0
	t.final = flags&triedFinal != 0
	t.said = flags&triedSaid != 0
	t.began = since.Add(time.Duration(d.int()))
	t.took = time.Duration(d.uint())
	t.ago = time.Duration(d.uint())
	t.code = int(d.int())
	t.class = d.str()
	t.err = d.str()
	t.response = d.bytes()
}

func (t *tried) public(id store.DeliveryID) store.Attempt {
	a := store.Attempt{
		Delivery: id, No: t.no, Gen: t.gen, Counted: t.counted, Late: t.late, At: t.began, Took: t.took, Ago: t.ago,
		Code: t.code, Class: t.class, Error: t.err,
	}
	if len(t.response) > 0 {
		a.Response = append([]byte{}, t.response...)
	}
	return a
}

// fill puts what the row says into the public record; the rest is said by its event.
func (r *row) fill(d *store.Delivery) {
	d.State, d.Class, d.Due, d.Gen, d.Attempts, d.Recorded, d.Abandoned = r.state, r.class, r.due, r.gen, r.attempts, r.recorded, r.abandoned
	d.Code, d.Error, d.Reason, d.Created, d.FirstAttempt, d.Settled, d.Origin = r.code, r.err, r.reason, r.created, r.first, r.settled, r.origin
	if r.laneName != "" {
		d.Lane = r.laneName
	}
}

// history is what the attempts of a delivery say together.
type history struct {
	attempts int
	recorded int
	gen      uint64
	code     int
	err      string
	reason   string
	first    time.Time
	settled  time.Time
}

func (h *history) add(t *tried) {
	h.recorded = max(h.recorded, t.no)
	if t.counted {
		h.attempts++
		if end := t.began.Add(t.took); h.first.IsZero() || end.Before(h.first) {
			h.first = end
		}
	}
	if t.late {
		return
	}
	h.gen = max(h.gen, t.gen)
	h.code, h.err = t.code, t.err
	if t.final {
		h.settled = t.began.Add(t.took).Add(t.ago)
		if t.said {
			h.reason = delivered
		}
	}
}
