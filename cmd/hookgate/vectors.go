package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hookgate/hookgate/internal/vectors"
)

// runVectors verifies every entry of a file and prints those that come out wrong, in the order of the file.
func runVectors(path string, out io.Writer) error {
	entries, err := vectors.Load(path)
	if err != nil {
		return fmt.Errorf("--vectors: %w", err)
	}
	wrong := checkAll(entries)
	w := bufio.NewWriter(out)
	failed := 0
	for i, err := range wrong {
		if err != nil {
			failed++
			fmt.Fprintf(w, "%s: %s\n", printable(entries[i].ID), printable(err.Error()))
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", len(entries)-failed, failed)
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return errBad
	}
	return nil
}

// checkAll says what is wrong with each entry; nil if nothing is.
func checkAll(entries []vectors.Entry) []error {
	wrong := make([]error, len(entries))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(entries)) {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(entries) {
					return
				}
				wrong[i] = entries[i].Check()
			}
		})
	}
	wait.Wait()
	return wrong
}
