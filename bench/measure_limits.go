package main

import "time"

var measureLimits = measure{
	name: "limits",
	method: `
What this machine does at its best, for orientation; the ratios of the other measures use limits that are taken in turn
with ours. fdatasync: one goroutine appends 4 KiB to a growing file, calls fdatasync, and begins again. Log: 64 callers,
1 KiB each, one writer that syncs once for all who wait (log.go). Bare loop: 64 callers POST the signed payload to
the receiver and store nothing (bareloop.go).`,
	rows: []row{
		{name: "fdatasync", what: "4 KiB append + fdatasync", unit: "/s"},
		{name: "fdatasync-p50", what: "4 KiB append + fdatasync, p50", unit: "ms"},
		{name: "log", what: "log with group fdatasync, 64 callers", unit: "events/s"},
		{name: "bare-loop", what: "bare loop, 64 callers", unit: "POSTs/s"},
		{name: "bare-loop-cpu", what: "bare loop, CPU per 1,000 POSTs", unit: "ms"},
	},
	take: takeLimits,
}

func takeLimits(r *run) error {
	l, err := r.newLimits()
	if err != nil {
		return err
	}
	d := r.span(700*time.Millisecond, 100*time.Millisecond)
	v, err := r.inTurn("fdatasync p50 ms, log /s, bare loop /s", r.slices(), l.sync(d), l.log(d), l.bare(d))
	if err != nil {
		return err
	}
	r.report("fdatasync", alone(column(v[0], 1)...), "")
	r.report("fdatasync-p50", alone(column(v[0], 0)...), "")
	r.report("log", alone(column(v[1], 0)...), "")
	r.report("bare-loop", alone(column(v[2], 0)...), "")
	r.report("bare-loop-cpu", alone(column(v[2], 1)...), "")
	return l.close()
}
