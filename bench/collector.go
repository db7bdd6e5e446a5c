package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// receiverFlag makes this program a receiver. It is not for people.
const receiverFlag = "-be-the-receiver"

// receiver is our end of the receiver process.
type receiver struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	control string
	client  *http.Client
}

// startReceiver starts this program again as a receiver. Close it.
func startReceiver() (*receiver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	r := &receiver{cmd: exec.Command(self, receiverFlag), client: &http.Client{Timeout: 30 * time.Second}}
	r.cmd.Stderr = os.Stderr
	stdin, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	r.stdin = stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start the receiver: it said nothing: %w", err)
	}
	r.control = "http://" + strings.TrimSpace(line)
	return r, nil
}

func (r *receiver) close() error {
	_ = r.stdin.Close()
	return r.cmd.Wait()
}

func (r *receiver) call(method, path string, query url.Values, answer any) error {
	req, err := http.NewRequest(method, r.control+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the receiver: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the receiver for %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// door is a port of the receiver, with counts of its own.
type door struct {
	r    *receiver
	addr string
}

// open opens a port that nobody used before.
func (r *receiver) open() (*door, error) {
	d := &door{r: r}
	return d, r.call(http.MethodPost, "/open", nil, &d.addr)
}

// url is where to POST to. The query says how the inbox behaves; see receiver.go.
func (d *door) url(inbox, query string) string {
	u := url.URL{Scheme: "http", Host: d.addr, Path: "/" + inbox, RawQuery: query}
	return u.String()
}

func (d *door) read() (portCounts, error) {
	var c portCounts
	return c, d.r.call(http.MethodGet, "/read", url.Values{"port": {d.addr}}, &c)
}

// lag answers the times on the way since it was asked last.
func (d *door) lag(inbox string) (lagCounts, error) {
	var c lagCounts
	return c, d.r.call(http.MethodGet, "/lag", url.Values{"port": {d.addr}, "inbox": {inbox}}, &c)
}

func (d *door) close() error {
	var answer string
	return d.r.call(http.MethodPost, "/close", url.Values{"port": {d.addr}}, &answer)
}

// expect fails if an inbox did not get exactly so many different messages, each signed.
func (d *door) expect(inbox string, unique int) (inboxCounts, error) {
	all, err := d.read()
	if err != nil {
		return inboxCounts{}, err
	}
	c := all.Inboxes[inbox]
	switch {
	case c.Unsigned > 0:
		return c, fmt.Errorf("inbox %s: %d messages were unsigned or damaged", inbox, c.Unsigned)
	case c.Unique < unique:
		return c, &lossError{inbox: inbox, want: unique, got: c.Unique}
	case c.Unique > unique:
		return c, fmt.Errorf("inbox %s: %d messages arrived, only %d were accepted", inbox, c.Unique, unique)
	}
	return c, nil
}

// lossError says that accepted events did not arrive. It fails every run.
type lossError struct {
	inbox     string
	want, got int
}

func (e *lossError) Error() string {
	return fmt.Sprintf("LOSS at inbox %s: %d events were accepted, %d arrived", e.inbox, e.want, e.got)
}
