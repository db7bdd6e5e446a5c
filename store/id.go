package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ID names an event: 16 bytes, written as a UUID. The gateway makes UUIDv7, whose order is the order of time, but any
// value is fine: a store finds an event by its ID whatever order the IDs come in.
//
// The zero ID names nothing.
type ID [16]byte

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs by their bytes; the result is -1, 0 or 1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// String gives the 36 characters of the UUID form in lower case.
func (id ID) String() string {
	var b [36]byte
	id.encode(b[:])
	return string(b[:])
}

func (id ID) encode(b []byte) {
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
}

// MarshalText is String as bytes.
func (id ID) MarshalText() ([]byte, error) {
	b := make([]byte, 36)
	id.encode(b)
	return b, nil
}

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

var errID = errors.New("an id has the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")

// ParseID reads the form that String writes; upper case is accepted. Anything else is an error.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, errID
	}
	flat := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(flat)); err != nil {
		return ID{}, errID
	}
	return id, nil
}

// DeliveryID names a delivery: its event and a number that tells the deliveries of one event apart.
//
// Deliveries appended with their event are numbered 0, 1, 2 ... in the order of [Append.Deliveries]. Later ones (a replay
// makes them) carry a number of [FirstLater] or more that the appender derives from its job, so that appending the same
// again changes nothing.
type DeliveryID struct {
	Event ID
	N     uint64
}

// FirstLater is the smallest number of a delivery that was not appended together with its event.
const FirstLater = 1 << 32

// IsZero reports whether id names nothing.
func (id DeliveryID) IsZero() bool { return id.Event.IsZero() }

// Compare orders by event, then by number.
func (id DeliveryID) Compare(other DeliveryID) int {
	if c := id.Event.Compare(other.Event); c != 0 {
		return c
	}
	switch {
	case id.N < other.N:
		return -1
	case id.N > other.N:
		return 1
	}
	return 0
}

// String gives the event's ID, a dot, and the number.
func (id DeliveryID) String() string { return id.Event.String() + "." + strconv.FormatUint(id.N, 10) }

// MarshalText is String as bytes.
func (id DeliveryID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseDeliveryID.
func (id *DeliveryID) UnmarshalText(b []byte) error {
	v, err := ParseDeliveryID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// ParseDeliveryID reads the form that String writes.
func ParseDeliveryID(s string) (DeliveryID, error) {
	ev, num, ok := strings.Cut(s, ".")
	if !ok {
		return DeliveryID{}, fmt.Errorf("a delivery id is an event id, a dot and a number")
	}
	id, err := ParseID(ev)
	if err != nil {
		return DeliveryID{}, err
	}
	n, err := strconv.ParseUint(num, 10, 64)
	if err != nil {
		return DeliveryID{}, fmt.Errorf("a delivery id ends in a number")
	}
	return DeliveryID{id, n}, nil
}

// AppendBinary appends the 24 bytes that order like Compare.
func (id DeliveryID) AppendBinary(b []byte) []byte {
	b = append(b, id.Event[:]...)
	return binary.BigEndian.AppendUint64(b, id.N)
}
