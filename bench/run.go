package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// run is what measures share while they run.
type run struct {
	ctx      context.Context
	quick    bool
	dir      string // all folders are in here
	receiver *receiver
	progress io.Writer

	started  time.Time
	current  *measure
	measured time.Time // when the current measure began
	results  []result
	folders  []string
	gates    []*gate // opened by the current measure
}

// size is n events or so in a full run, and the smaller number in a quick one.
func (r *run) size(full, quick int) int {
	if r.quick {
		return quick
	}
	return full
}

// span is how long a slice lasts.
func (r *run) span(full, quick time.Duration) time.Duration {
	if r.quick {
		return quick
	}
	return full
}

// slices is how many slices each side gets: 9; in a quick run 2, and only 1 for the measures that a slow machine comes to
// late. It does not change within a measure.
func (r *run) slices() int {
	late := r.measured.Sub(r.started) > 25*time.Second
	if r.quick && late {
		return 1
	}
	return r.size(9, 2)
}

// folder makes a name for a folder that does not exist yet.
func (r *run) folder() string {
	name := filepath.Join(r.dir, fmt.Sprintf("%s-%03d", r.current.name, len(r.folders)))
	r.folders = append(r.folders, name)
	return name
}

// clean closes and removes what a measure left, because it failed.
func (r *run) clean() error {
	var errs []error
	for _, g := range r.gates {
		errs = append(errs, g.close())
	}
	for _, dir := range r.folders {
		errs = append(errs, r.remove(dir))
	}
	r.gates, r.folders = nil, nil
	return errors.Join(errs...)
}

// remove deletes a folder at once, so that a run does not need the disk space of all measures together.
func (r *run) remove(dir string) error { return os.RemoveAll(dir) }

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.progress, "  "+format+"\n", args...)
}

// side is one of the things that are measured in turn. It answers one or more values: a rate, a percentile, whatever is
// compared.
type side func() ([]float64, error)

// calm is how long the machine gets between two sides, so that what one began in the background (writing back, applying,
// collecting garbage) does not land in the time of the other.
func (r *run) calm() {
	runtime.GC()
	time.Sleep(r.span(120*time.Millisecond, 20*time.Millisecond))
}

// inTurn measures the sides again and again, the order turned round every time, after one turn that does not count. It
// answers, for each side, its values in each turn.
func (r *run) inTurn(what string, turns int, sides ...side) ([][][]float64, error) {
	values := make([][][]float64, len(sides))
	for turn := -1; turn < turns; turn++ {
		got := make([][]float64, len(sides))
		order := make([]int, len(sides))
		for i := range order {
			order[i] = i
		}
		if turn%2 != 0 {
			slices.Reverse(order)
		}
		for _, i := range order {
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			r.calm()
			v, err := sides[i]()
			if err != nil {
				return nil, err
			}
			got[i] = v
		}
		if turn < 0 {
			continue
		}
		line := ""
		for i, v := range got {
			values[i] = append(values[i], v)
			line += " " + short(v[0])
		}
		r.say("%s %d/%d:%s", what, turn+1, turns, line)
	}
	return values, nil
}

// against measures ours and the limit in turn, and answers a series for each value.
func (r *run) against(what string, ours, limit side) ([]series, error) {
	v, err := r.inTurn(what, r.slices(), ours, limit)
	if err != nil {
		return nil, err
	}
	return zip(v[0], v[1]), nil
}

// zip makes a series of each value that two sides have in common.
func zip(ours, limit [][]float64) []series {
	all := make([]series, min(len(ours[0]), len(limit[0])))
	for v := range all {
		for turn := range ours {
			all[v] = append(all[v], pair{ours[turn][v], limit[turn][v]})
		}
	}
	return all
}

// column answers one value of a side over all turns.
func column(turns [][]float64, value int) []float64 {
	return each(turns, func(v []float64) float64 { return v[value] })
}

// report files a row of the current measure.
func (r *run) report(name string, s series, note string, args ...any) {
	for _, row := range r.current.rows {
		if row.name == name {
			r.results = append(r.results, newResult(row, s, r.quick, fmt.Sprintf(note, args...)))
			return
		}
	}
	panic("bench: no row " + name + " in measure " + r.current.name)
}

// alone is a series of one side without a limit.
func alone(v ...float64) series { return each(v, func(x float64) pair { return pair{ours: x} }) }

// load is what callers did.
type load struct {
	calls int
	took  time.Duration   // from the first call to the return of the last
	waits []time.Duration // how long each call took, sorted
}

func (l load) rate() float64 { return perSecond(l.calls, l.took) }

// p answers a percentile of the waits in seconds.
func (l load) p(share float64) float64 { return percentile(l.waits, share).Seconds() }

// callers runs so many callers at once, each calling its function again and again for d. The first error ends them all.
func (r *run) callers(n int, d time.Duration, caller func(i int) func() error) (load, error) {
	return r.callersUntil(n, func(start time.Time) bool { return time.Since(start) >= d }, caller)
}

// callersUntil is callers with any end. over is asked by all callers at once, before each call.
func (r *run) callersUntil(n int, over func(start time.Time) bool, caller func(i int) func() error) (load, error) {
	calls := make([]func() error, n)
	for i := range calls {
		calls[i] = caller(i)
	}
	waits := make([][]time.Duration, n)
	errs := make([]error, n)
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	start := time.Now()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for !over(start) && ctx.Err() == nil {
				began := time.Now()
				if errs[i] = calls[i](); errs[i] != nil {
					stop()
					return
				}
				waits[i] = append(waits[i], time.Since(began))
			}
		})
	}
	all.Wait()
	l := load{took: time.Since(start), waits: slices.Concat(waits...)}
	l.calls = len(l.waits)
	slices.Sort(l.waits)
	if err := errors.Join(errs...); err != nil {
		return l, err
	}
	return l, r.ctx.Err()
}
