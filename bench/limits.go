package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// limits are the three limits with files and a receiver's port of their own, ready to be measured in turn with hookgate.
type limits struct {
	r      *run
	dir    string
	synced *syncedFile
	plain  *plainLog
	door   *door
	loop   *bareLoop
}

func (r *run) newLimits() (*limits, error) {
	l := &limits{r: r, dir: r.folder()}
	if err := os.Mkdir(l.dir, 0o700); err != nil {
		return nil, err
	}
	var errs [4]error
	l.synced, errs[0] = openSynced(filepath.Join(l.dir, "synced"))
	l.plain, errs[1] = openLog(filepath.Join(l.dir, "log"))
	l.door, errs[2] = r.receiver.open()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	l.loop, errs[3] = newBareLoop(l.door.url("bare", ""), workers)
	return l, errs[3]
}

// sync answers the p50 of an append with fdatasync in milliseconds, and the rate.
func (l *limits) sync(d time.Duration) side {
	return func() ([]float64, error) {
		done, err := l.r.callers(1, d, func(int) func() error { return l.synced.append })
		return []float64{1e3 * done.p(0.5), done.rate()}, err
	}
}

// log answers the rate at which 64 callers append to the log.
func (l *limits) log(d time.Duration) side {
	return func() ([]float64, error) {
		done, err := l.r.callers(workers, d, func(int) func() error { return l.plain.caller() })
		return []float64{done.rate()}, err
	}
}

// bare answers the rate at which 64 callers POST, and the milliseconds of CPU that 1,000 of them cost.
func (l *limits) bare(d time.Duration) side {
	return func() ([]float64, error) {
		before, err := cpuTime()
		if err != nil {
			return nil, err
		}
		done, err := l.r.callers(workers, d, l.loop.caller)
		if err != nil {
			return nil, err
		}
		after, err := cpuTime()
		return []float64{done.rate(), perThousand(after-before, done.calls)}, err
	}
}

// perThousand is milliseconds of CPU for 1,000 of n.
func perThousand(cpu time.Duration, n int) float64 {
	return 1e3 * cpu.Seconds() * 1e3 / float64(max(n, 1))
}

// close makes sure that the receiver got what the bare loop sent, and removes everything.
func (l *limits) close() error {
	l.loop.close()
	_, lost := l.door.expect("bare", int(l.loop.accepted.Load()))
	if l.loop.accepted.Load() == 0 {
		lost = nil // it was not measured
	}
	return errors.Join(lost, l.door.close(), l.plain.close(), l.synced.file.Close(), l.r.remove(l.dir))
}
