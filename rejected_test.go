package hookgate

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testSealer(t testing.TB) Sealer {
	t.Helper()
	s, err := newAESSealer(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testRing(t testing.TB, path string, log *slog.Logger) *rejectedRing {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return openRejected("src", path, 0, 0, testSealer(t), log)
}

// refusal401 is a refused request of an address.
func refusal401(remote, body string) *rejected {
	return &rejected{
		Time: time.Now(), Remote: remote, Method: "POST", URL: "https://h.test/in?token=canary", Host: "h.test", Status: 401, Reason: "no",
		Header: http.Header{"X-Token": {"canary"}, "X-Event": {"push"}, "User-Agent": {"prov/1"}}, Body: []byte(body), Whole: true,
	}
}

func TestRejectedIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := testRing(t, "", nil)
		for i := range 300 {
			r.add(refusal401(fmt.Sprintf("192.0.2.%d", i%250), fmt.Sprint(i)))
			time.Sleep(time.Second)
		}
		list := r.list()
		if len(list) != defaultRejected || string(list[0].Body) != "299" {
			t.Errorf("%d are kept, the newest is %s", len(list), list[0].Body)
		}
		for i, it := range list[1:] {
			if it.ID == list[i].ID || it.Time.After(list[i].Time) {
				t.Fatalf("not the newest first: %s %s", it.ID, list[i].ID)
			}
		}

		r = testRing(t, "", nil)
		big := strings.Repeat("x", defaultRejectedBytes/4-2000)
		for i := range 20 {
			r.add(refusal401(fmt.Sprintf("192.0.2.%d", i), big))
		}
		if r.bytes > r.maxBytes || len(r.items) != 4 || !r.items[0].Whole {
			t.Errorf("%d items of %d bytes", len(r.items), r.bytes)
		}
		r.add(refusal401("192.0.2.200", big+strings.Repeat("x", 3000)))
		it := r.list()[0]
		if it.Whole || len(it.Body) != rejectedStart {
			t.Errorf("%d bytes of a body that is too large are kept, whole: %v", len(it.Body), it.Whole)
		}
		long := refusal401("192.0.2.201", "b")
		long.Header.Set("X-Long", big+big)
		long.URL += big + big
		r.add(long)
		it = r.list()[0]
		if it.Whole || it.Header.Get("X-Long") != "" || string(it.Body) != "b" || len(it.Path) > 300 || r.bytes > r.maxBytes {
			t.Errorf("a request with too much around it is kept as %d bytes", r.items[len(r.items)-1].size())
		}
		sum := int64(0)
		for _, it := range r.items {
			sum += it.size()
		}
		if sum != r.bytes {
			t.Errorf("%d bytes are counted, %d are there", r.bytes, sum)
		}
	})
}

func TestRejectedOff(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]int64{{-1, 0}, {0, -1}} {
		r := openRejected("src", "", int(c[0]), c[1], nil, slog.New(slog.DiscardHandler))
		r.add(refusal401("192.0.2.1", "x"))
		if n := len(r.list()); n != 0 {
			t.Errorf("%d are kept", n)
		}
	}
}

func TestRejectedFloodLeavesOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := testRing(t, "", slog.New(slog.NewTextHandler(&log, nil)))
		r.add(refusal401("203.0.113.1", "early"))
		flood := func() {
			for i := range 20_000 {
				r.add(refusal401("192.0.2.1", "flood"))
				r.add(refusal401(fmt.Sprintf("2001:db8:1:1::%x", i), "flood"))
			}
		}
		flood()
		r.add(refusal401("203.0.113.2", "amid"))
		time.Sleep(time.Second)
		flood()
		r.add(refusal401("203.0.113.3", "late"))
		if len(r.items) != defaultRejected {
			t.Errorf("%d are kept", len(r.items))
		}
		seen := map[string]bool{}
		for _, it := range r.items {
			seen[string(it.Body)] = true
		}
		for _, body := range []string{"early", "amid", "late"} {
			if !seen[body] {
				t.Errorf("%s was lost in the flood", body)
			}
		}
		if n := strings.Count(log.String(), "faster than they can be kept"); n != 1 || r.skipped < 70_000 {
			t.Errorf("the log was told %d times of %d", n, r.skipped)
		}
		if len(r.origins) != 5 {
			t.Errorf("origins: %v", r.origins)
		}
	})
}

func TestRejectedSurvivesReopen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "rejected", "src")
		r := testRing(t, path, nil)
		for i := range 5 {
			r.add(refusal401("192.0.2.1", fmt.Sprint("canary \xff", i)))
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("written at once")
		}
		time.Sleep(rejectedFlush)
		synctest.Wait()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(info, err)
		}
		r.remove(2)
		r.add(refusal401("192.0.2.1", "last"))
		r.close()
		r.add(refusal401("192.0.2.1", "too late"))

		sealed, err := os.ReadFile(path)
		if err != nil || bytes.Contains(sealed, []byte("canary")) {
			t.Errorf("stored in clear, %v", err)
		}
		again := testRing(t, path, nil)
		if got, want := fmt.Sprint(again.list()), fmt.Sprint(r.list()); len(again.items) != 5 || got != want || again.bytes != r.bytes {
			t.Errorf("read %s, want %s", got, want)
		}
		again.add(refusal401("192.0.2.1", "new"))
		if it := again.list()[0]; it.ID != "7" {
			t.Errorf("the next number is %s", it.ID)
		}
		again.close()
		if few := openRejected("src", path, 2, 0, testSealer(t), slog.New(slog.DiscardHandler)); len(few.items) != 2 || few.list()[0].ID != "7" {
			t.Errorf("with less room: %v", few.list())
		}
	})
}

func TestRejectedGivesUpWhatIsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "src")
	r := testRing(t, path, nil)
	r.add(refusal401("192.0.2.1", "x"))
	r.close()
	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{
		"flipped": flipped, "cut": sealed[:len(sealed)-1], "empty": {}, "large": make([]byte, 16<<20),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		r := testRing(t, path, slog.New(slog.NewTextHandler(&log, nil)))
		if len(r.list()) != 0 || !strings.Contains(log.String(), "could not be read") {
			t.Errorf("%s: %d are there, log: %s", name, len(r.list()), log.String())
		}
		r.add(refusal401("192.0.2.1", "y"))
		r.close()
		if n := len(testRing(t, path, nil).list()); n != 1 {
			t.Errorf("%s: %d after a fresh start", name, n)
		}
	}
	other := filepath.Join(dir, "other") // the file of one source does not open as that of another
	if err := os.WriteFile(other, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := openRejected("other", other, 0, 0, testSealer(t), slog.New(slog.DiscardHandler)); len(r.list()) != 0 {
		t.Error("a ring was taken for another")
	}
}

func TestRejectedShowsNoSecret(t *testing.T) {
	t.Parallel()
	r := testRing(t, "", nil)
	it := refusal401("192.0.2.1", "body")
	for _, name := range []string{
		"Authorization", "Cookie", "X-Hub-Signature-256", "Stripe-Signature", "X-Gitlab-Token", "X-Api-Key", "X-Anything",
		"X-Event-Token", "X-Delivery-Signature", "Webhook-Signature", "X-Topic-Secret", "X-Timestamp-Hmac",
	} {
		it.Header.Set(name, "canary")
	}
	it.Header.Set("X-Github-Delivery", "d-1")
	r.add(it)
	shown := r.list()[0]
	if text := fmt.Sprintf("%+v", shown); strings.Contains(text, "canary") {
		t.Errorf("shows a secret: %s", text)
	}
	if shown.Path != "/in" || shown.Header.Get("X-Event") != "push" || shown.Header.Get("X-Github-Delivery") != "d-1" ||
		shown.Header.Get("User-Agent") != "prov/1" || shown.Header.Get("X-Anything") != "REDACTED" {
		t.Errorf("shows %+v", shown)
	}
	shown.Header.Set("X-Event", "changed")
	shown.Body[0] = 'X'
	if again := r.list()[0]; again.Header.Get("X-Event") != "push" || string(again.Body) != "body" {
		t.Error("the caller's changes reached the ring")
	}
	for in, want := range map[string]string{"https://h/p": "/p", "https://h": "/", "/p": "/p", "": ""} {
		if got := pathOnly(in); got != want {
			t.Errorf("pathOnly(%q) = %q", in, got)
		}
	}
}
