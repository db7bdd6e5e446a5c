package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == receiverFlag {
		receiveAndExit()
	}
	os.Exit(m.Run())
}

func newTestReceiver(t *testing.T) *receiver {
	t.Helper()
	r, err := startReceiver()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Errorf("the receiver ended with %v", err)
		}
	})
	return r
}

func openDoor(t *testing.T, r *receiver) *door {
	t.Helper()
	d, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func post(t *testing.T, url, id, signature string, body []byte) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-signature", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestReceiverCountsInItsOwnProcess(t *testing.T) {
	t.Parallel()
	d := openDoor(t, newTestReceiver(t))
	body := func(n uint64, key int) []byte { return newPayload(n, key) }

	for _, s := range []struct {
		why    string
		inbox  string
		query  string
		id     string
		sig    string
		body   []byte
		status int
	}{
		{"new", "a", "order=1", "m1", "v1,x", body(1, 7), 200},
		{"the same again", "a", "order=1", "m1", "v1,x", body(1, 7), 200},
		{"later of the same key", "a", "order=1", "m3", "v1,x", body(3, 7), 200},
		{"another key begins anew", "a", "order=1", "m9", "v1,x", body(2, 8), 200},
		{"too late", "a", "order=1", "m2", "v1,x", body(2, 7), 200},
		{"unsigned", "a", "order=1", "m4", "", body(4, 7), 400},
		{"not a payload", "a", "order=1", "m5", "v1,x", bytes.Repeat([]byte("?"), payloadSize), 400},
		{"first of two", "b", "fail=2", "m1", "v1,x", body(1, 0), 200},
		{"second of two", "b", "fail=2", "m2", "v1,x", body(2, 0), 500},
		{"second of two, again", "b", "fail=2", "m2", "v1,x", body(2, 0), 200},
	} {
		if got := post(t, d.url(s.inbox, s.query), s.id, s.sig, s.body); got != s.status {
			t.Errorf("%s: status %d, want %d", s.why, got, s.status)
		}
	}
	c, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Inboxes["a"], (inboxCounts{Requests: 7, Unique: 4, Repeated: 1, Unsigned: 2, Disorders: 1}); got != want {
		t.Errorf("inbox a: %+v, want %+v", got, want)
	}
	if got, want := c.Inboxes["b"], (inboxCounts{Requests: 3, Unique: 2, Refused: 1}); got != want {
		t.Errorf("inbox b: %+v, want %+v", got, want)
	}
	if c.Connections < 1 {
		t.Errorf("%d connections", c.Connections)
	}
}

func TestExpectTellsALoss(t *testing.T) {
	t.Parallel()
	d := openDoor(t, newTestReceiver(t))
	for _, id := range []string{"m1", "m2"} {
		post(t, d.url("a", ""), id, "v1,x", newPayload(1, 0))
	}
	if _, err := d.expect("a", 2); err != nil {
		t.Error(err)
	}
	var loss *lossError
	if _, err := d.expect("a", 3); !errors.As(err, &loss) || loss.got != 2 {
		t.Errorf("a lost message gives %v", err)
	}
	if _, err := d.expect("a", 1); err == nil || errors.As(err, &loss) {
		t.Errorf("a message too many gives %v", err)
	}
}

func TestReceiverMeasuresTheWay(t *testing.T) {
	t.Parallel()
	d := openDoor(t, newTestReceiver(t))
	const early = 40 * time.Millisecond
	body := newPayload(1, 0)
	stamp(body, time.Now().Add(-early))
	post(t, d.url("a", "lag=1"), "m1", "v1,x", body)
	c, err := d.lag("a")
	if err != nil {
		t.Fatal(err)
	}
	if c.Count != 1 || time.Duration(c.P50) < early || c.P50 != c.P99 {
		t.Errorf("lag %+v, want one of at least %v", c, early)
	}
	if c, err = d.lag("a"); err != nil || c.Count != 0 {
		t.Errorf("lag is told twice: %+v, %v", c, err)
	}
}

func TestEachDoorCountsItsOwnConnections(t *testing.T) {
	t.Parallel()
	r := newTestReceiver(t)
	one, other := openDoor(t, r), openDoor(t, r)
	post(t, one.url("a", ""), "m1", "v1,x", newPayload(1, 0))
	for d, want := range map[*door]int{one: 1, other: 0} {
		if c, err := d.read(); err != nil || c.Connections != want {
			t.Errorf("connections %d, want %d (%v)", c.Connections, want, err)
		}
	}
	if err := one.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := one.read(); err == nil {
		t.Error("a closed door still answers")
	}
}

func TestBareLoopIsHeard(t *testing.T) {
	t.Parallel()
	d := openDoor(t, newTestReceiver(t))
	b, err := newBareLoop(d.url("bare", "order=1"), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	post := b.caller(3)
	for range 5 {
		if err := post(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := d.expect("bare", 5); err != nil || c.Disorders != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
