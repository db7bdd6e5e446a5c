package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == receiverFlag {
		receiveAndExit()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	missed, err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	case missed:
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	quick, check, json, list bool
	only                     *regexp.Regexp
	dir                      string
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	var only string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(out)
	f.BoolVar(&o.quick, "quick", false, "everything once and small, in under 45 seconds; ratios are indicative, a bar is missed below half of it")
	f.BoolVar(&o.check, "check", false, "exit with status 1 where a bar is missed")
	f.BoolVar(&o.json, "json", false, "write a line of JSON per measure instead of the table")
	f.BoolVar(&o.list, "list", false, "say how each measure is taken, and measure nothing")
	f.StringVar(&only, "run", "", "take only measures whose name, or the name of one of their rows, matches this regular expression")
	f.StringVar(&o.dir, "dir", "", "where to make the folder for all files; empty: here, or in the folder for temporary files if here is memory")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is not understood: see -help", f.Arg(0))
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	return o, nil
}

// selected are the measures that -run names.
func (o options) selected() []*measure {
	var out []*measure
	for i := range measures {
		m := &measures[i]
		match := o.only.MatchString(m.name)
		for _, row := range m.rows {
			match = match || o.only.MatchString(row.name)
		}
		if match {
			out = append(out, m)
		}
	}
	return out
}

// bench does what the flags ask for. missed says that -check found a bar missed.
func bench(ctx context.Context, args []string, stdout, stderr io.Writer) (missed bool, err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return false, err
	}
	chosen := o.selected()
	if len(chosen) == 0 {
		return false, errors.New("-run matches no measure: see -list")
	}
	if o.list {
		return false, list(stdout, chosen)
	}
	dir, err := workFolder(o.dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	recv, err := startReceiver()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, recv.close()) }()

	where := fmt.Sprintf("%s, %d processors, %s, GOGC %s, files on %s; %s", runtime.Version(), runtime.GOMAXPROCS(0), machine(),
		gogc(), fileSystem(dir), mode(o.quick))
	fmt.Fprintln(stderr, where)
	start := time.Now()
	r := &run{ctx: ctx, quick: o.quick, dir: dir, receiver: recv, progress: stderr, started: start}
	var failures []error
	for i, m := range chosen {
		fmt.Fprintf(stderr, "[%d/%d, %s] %s\n", i+1, len(chosen), time.Since(start).Round(time.Second), m.name)
		if err := r.take(m); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", m.name, err))
			fmt.Fprintln(stderr, "  FAILED:", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintf(stderr, "took %s\n", time.Since(start).Round(100*time.Millisecond))

	if err := write(stdout, o.json, where, r.results); err != nil {
		return false, err
	}
	for _, res := range r.results {
		missed = missed || !res.ok
	}
	return missed && o.check, errors.Join(failures...)
}

// take runs one measure and makes sure that it filled all of its rows.
func (r *run) take(m *measure) error {
	r.current, r.measured = m, time.Now()
	before := len(r.results)
	flushDisk(r.dir) // what others wrote, or the measure before
	watch := time.AfterFunc(r.span(5*time.Minute, time.Minute), func() { r.hung(m) })
	defer watch.Stop()
	err := m.take(r)
	if err = errors.Join(err, r.clean()); err != nil {
		return err
	}
	if got := len(r.results) - before; got != len(m.rows) {
		return fmt.Errorf("reported %d of %d rows", got, len(m.rows))
	}
	return nil
}

// hung ends the program when a measure does not come to an end, not even with an error, and shows where it is.
func (r *run) hung(m *measure) {
	fmt.Fprintf(r.progress, "bench: %s does not end; this is where everything stands:\n", m.name)
	_ = pprof.Lookup("goroutine").WriteTo(r.progress, 1)
	_ = os.RemoveAll(r.dir)
	os.Exit(1)
}

func write(w io.Writer, lines bool, where string, results []result) error {
	if lines {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, res := range results {
			if err := enc.Encode(res); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", where); err != nil {
		return err
	}
	return writeTable(w, results)
}

func list(w io.Writer, chosen []*measure) error {
	for _, m := range chosen {
		if _, err := fmt.Fprintf(w, "%s\n    %s\n", m.name, strings.ReplaceAll(strings.TrimSpace(m.method), "\n", "\n    ")); err != nil {
			return err
		}
		for _, row := range m.rows {
			line := fmt.Sprintf("    - %s: %s, %s", row.name, row.what, row.unit)
			if row.limited() {
				line += "; over " + row.against
			}
			if row.bar.kind != noBar {
				line += "; bar " + row.bar.text(row.bar.must)
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// workFolder makes the folder for all files. Memory is no disk, so it looks for something else unless it was told where.
func workFolder(in string) (string, error) {
	if in != "" {
		return os.MkdirTemp(in, ".bench-")
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{here, os.TempDir()} {
		if fileSystem(dir) != "tmpfs" {
			return os.MkdirTemp(dir, ".bench-")
		}
	}
	return "", fmt.Errorf("%s and %s are memory, where a sync costs nothing: name a folder on a disk with -dir", here, filepath.Clean(os.TempDir()))
}

func mode(quick bool) string {
	if quick {
		return "quick run with a tenth of the work or less: ratios are indicative"
	}
	return "full run"
}

func gogc() string {
	if v := os.Getenv("GOGC"); v != "" {
		return v
	}
	return "100"
}
