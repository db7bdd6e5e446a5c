// Command bench measures hookgate against the limits of the machine that it runs on.
//
//	go run ./bench                    everything, up to 15 minutes
//	go run ./bench -quick             everything once, small, under 45 seconds: does each measure run, is anything lost?
//	go run ./bench -check             exit status 1 where a bar is missed
//	go run ./bench -run 'drain|log'   some measures
//	go run ./bench -list              how each measure is taken
//	go run ./bench -json              one line of JSON per measure
//
// Absolute figures belong to a machine and to its mood that minute. So each figure stands beside a limit that was measured
// in the same run, in slices that alternate with ours, and what counts is the ratio. There are three limits:
//
//   - fdatasync: append 4 KiB to a file and wait until it is on disk, over and over.
//   - the log: what a reasonable person would write in an afternoon to keep events durably (see log.go). It is a yardstick,
//     so it is never tuned.
//   - the bare loop: a tuned net/http client that POSTs the same signed body to the same receiver and stores nothing (see
//     bareloop.go). Nobody who delivers with net/http can be faster.
//
// The receiver is a process of its own: this program starts itself again with a hidden flag. It counts the unique message
// ids, so each run also shows that nothing was lost; a loss fails the run whatever the flags.
//
// # How it is laid out
//
//	main.go       flags, order, exit status
//	measure.go    what a measure is, and the list of all
//	run.go        what measures share while they run: folders, receiver, slices, results
//	stats.go      medians, ratios, bars
//	report.go     the table and the lines of JSON
//	log.go, bareloop.go, limits.go     the limits
//	receiver.go, collector.go          the receiver process, and our end of it
//	body.go, disk.go, machine_*.go     payloads and signatures; files; what the operating system tells
//	gateway.go                         hookgate as the measures use it
//	measure_*.go                       the measures, one file for each group
package main
