package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
)

// plainLog is the yardstick for durable publishing: one file that grows, and one goroutine that takes whatever waits,
// writes it in one piece and calls fdatasync once for all of it. It waits for nobody, prepares nothing, and cannot find
// anything again. It was written once and is never tuned.
type plainLog struct {
	file    *os.File
	in      chan logRecord
	stopped chan error
}

type logRecord struct {
	bytes []byte
	done  chan<- error
}

const logHeader = 8 // length and CRC-32C

func openLog(path string) (*plainLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &plainLog{file: f, in: make(chan logRecord, 1024), stopped: make(chan error, 1)}
	go l.write()
	return l, nil
}

func (l *plainLog) write() {
	var batch []logRecord
	var buf []byte
	for first := range l.in {
		batch, buf = append(batch[:0], first), append(buf[:0], first.bytes...)
		for waiting := true; waiting; {
			select {
			case next, ok := <-l.in:
				if waiting = ok; ok {
					batch, buf = append(batch, next), append(buf, next.bytes...)
				}
			default:
				waiting = false
			}
		}
		_, err := l.file.Write(buf)
		if err == nil {
			err = fdatasync(l.file)
		}
		for _, r := range batch {
			r.done <- err
		}
	}
	l.stopped <- l.file.Close()
}

// close waits for the writer. Nobody may append any more.
func (l *plainLog) close() error {
	close(l.in)
	return <-l.stopped
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// caller answers a function that appends one payload and returns when it is on disk. It is for one goroutine.
func (l *plainLog) caller() func() error {
	payload := newPayload(0, 0)
	record := make([]byte, logHeader+len(payload))
	done := make(chan error, 1)
	n := uint64(0)
	return func() error {
		n++
		putDigits(payload[offsetN:offsetN+digitsLong], n)
		binary.LittleEndian.PutUint32(record, uint32(len(payload)))
		binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(payload, castagnoli))
		copy(record[logHeader:], payload)
		l.in <- logRecord{record, done}
		if err := <-done; err != nil {
			return fmt.Errorf("log: %w", err)
		}
		return nil
	}
}

// syncedFile is the barest limit: 4 KiB at the end of a file, then fdatasync.
type syncedFile struct {
	file  *os.File
	block []byte
}

func openSynced(path string) (*syncedFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	s := &syncedFile{file: f, block: make([]byte, 4<<10)}
	for i := range s.block {
		s.block[i] = payloadTemplate[i%payloadSize]
	}
	return s, nil
}

func (s *syncedFile) append() error {
	if _, err := s.file.Write(s.block); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return fdatasync(s.file)
}
