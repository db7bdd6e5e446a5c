package hookgate

import (
	"bufio"
	"crypto/rand"
	"io"

	"github.com/google/uuid"

	"github.com/hookgate/hookgate/store"
)

// idMaker makes event IDs: UUIDs of version 7, each greater than the one before. Random bytes are read in bulk, because a
// system call for each ID would cost more than the rest. It is not safe for concurrent use.
type idMaker struct{ random io.Reader }

func (m *idMaker) next() store.ID {
	if m.random == nil {
		m.random = bufio.NewReaderSize(rand.Reader, 1024)
	}
	id, err := uuid.NewV7FromReader(m.random)
	if err != nil {
		// crypto/rand never fails; a program that cannot have randomness must not go on.
		panic("hookgate: no randomness: " + err.Error())
	}
	return store.ID(id)
}
