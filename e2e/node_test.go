package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// job is one call of a library for Node; testdata/node/check.mjs does it.
type job struct {
	Library string            `json:"library"`
	Does    string            `json:"does"` // "sign" or "verify"
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	ID      string            `json:"id"`
	Time    int64             `json:"time"`
}

type result struct {
	Headers map[string]string `json:"headers"`
	Error   string            `json:"error"`
}

func lower(h http.Header) map[string]string {
	low := map[string]string{}
	for name := range h {
		low[strings.ToLower(name)] = h.Get(name)
	}
	return low
}

// runNode does the jobs in one process of Node.
func runNode(t *testing.T, jobs []job) []result {
	t.Helper()
	dir, err := installNode()
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "node", "check.mjs")
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, errs.Bytes())
	}
	var results []result
	if err := json.Unmarshal(out, &results); err != nil || len(results) != len(jobs) {
		t.Fatalf("%d results of %d jobs: %v\n%s", len(results), len(jobs), err, errs.Bytes())
	}
	return results
}

// installNode installs the libraries into .node, once for each state of the lock file. No package runs code of its own
// when it is installed.
var installNode = sync.OnceValues(func() (string, error) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%s is missing, which these tests need: install Node 20 or newer", program)
		}
	}
	const dir = ".node"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fresh := true
	for _, name := range []string{"package.json", "package-lock.json", "check.mjs"} {
		want, err := os.ReadFile(filepath.Join("testdata", "node", name))
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, name)
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want) {
			fresh = fresh && name == "check.mjs"
			if err := os.WriteFile(path, want, 0o600); err != nil {
				return "", err
			}
		}
	}
	// npm writes this one last.
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil && fresh {
		return dir, nil
	}
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
})
