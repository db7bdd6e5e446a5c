package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/hookgate/hookgate/internal/journal"
)

var measureJournal = measure{
	name: "journal",
	method: `
Our journal beside hashicorp/raft-wal, which is also a log of segments with one sync per batch, also with segments of 64 MiB. One goroutine
appends batches of 1, 32 and 256 payloads of 1 KiB: one Append of one frame, one StoreLogs of as many entries.`,
	rows: []row{
		{name: "journal-1", what: "journal, batches of 1", unit: "events/s", against: "raft-wal"},
		{name: "journal-32", what: "journal, batches of 32", unit: "events/s", against: "raft-wal"},
		{name: "journal-256", what: "journal, batches of 256", unit: "events/s", against: "raft-wal"},
	},
	take: takeJournal,
}

func takeJournal(r *run) error {
	mine, theirs := r.folder(), r.folder()
	if err := os.Mkdir(theirs, 0o700); err != nil {
		return err
	}
	j, err := journal.Open(mine, journal.Position{}, 0, &journal.Options{StoreID: [16]byte{1}}, nil)
	if err != nil {
		return err
	}
	w, err := wal.Open(theirs, wal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return err
	}
	d := r.span(500*time.Millisecond, 60*time.Millisecond)
	index := uint64(0)
	for _, size := range []int{1, 32, 256} {
		frame := make([]byte, journal.HeaderSize, journal.HeaderSize+size*payloadSize)
		logs := make([]*raft.Log, size)
		for i := range logs {
			frame = append(frame, payloadTemplate...)
			logs[i] = &raft.Log{Type: raft.LogCommand, Term: 1, Data: payloadTemplate}
		}
		ours := func() ([]float64, error) {
			l, err := r.callers(1, d, func(int) func() error {
				return func() error { _, _, err := j.Append(frame, false); return err }
			})
			return []float64{float64(size) * l.rate()}, err
		}
		limit := func() ([]float64, error) {
			l, err := r.callers(1, d, func(int) func() error {
				return func() error {
					for _, l := range logs {
						index++
						l.Index = index
					}
					return w.StoreLogs(logs)
				}
			})
			return []float64{float64(size) * l.rate()}, err
		}
		s, err := r.against(fmt.Sprintf("batches of %d /s: journal, raft-wal", size), ours, limit)
		if err != nil {
			return err
		}
		r.report(fmt.Sprintf("journal-%d", size), s[0], "")
	}
	return errors.Join(j.Close(), w.Close(), r.remove(mine), r.remove(theirs))
}
