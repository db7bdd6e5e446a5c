package hookgate

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
)

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// printEverywhere writes a value in every way in which somebody may print it.
func printEverywhere(w io.Writer, v any) {
	data, _ := json.Marshal(v)
	_, _ = fmt.Fprintf(w, "%v\n%+v\n%#v\n%s\n%q\n%x\n%s\n", v, v, v, v, v, v, data)
	slog.New(slog.NewTextHandler(w, nil)).Info("thing", "it", v)
	slog.New(slog.NewJSONHandler(w, nil)).Info("thing", "it", v)
}

// showsCanary says in which form a planted secret stands in a text; empty: in none. In base64 a text looks different
// depending on where it begins in the groups of three, and its ends depend on what is beside it: those are left out.
func showsCanary(text, canary string) string {
	forms := map[string]string{
		"as it is": canary,
		"hex":      hex.EncodeToString([]byte(canary)),
		"HEX":      strings.ToUpper(hex.EncodeToString([]byte(canary))),
		"% x":      fmt.Sprintf("% x", canary),
		"bytes":    strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		"quoted":   strings.Trim(fmt.Sprintf("%q", canary), `"`),
	}
	for skip := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			padded := enc.EncodeToString(append(make([]byte, skip), canary...))
			forms[fmt.Sprint(name, skip)] = padded[(skip*8+5)/6 : len(padded)-1]
		}
	}
	for name, form := range forms {
		if strings.Contains(text, form) {
			return name
		}
	}
	return ""
}

func TestCanariesAreFoundInEveryForm(t *testing.T) {
	t.Parallel()
	const canary = "canary\x00\xffsecret-17"
	for _, around := range []string{"", "a", "ab", "abc"} {
		text := around + canary + around
		for _, shown := range []string{
			text, hex.EncodeToString([]byte(text)), fmt.Sprintf("%X", text), fmt.Sprintf("%v", []byte(text)), fmt.Sprintf("%q", text), fmt.Sprintf("% x", text),
			base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
		} {
			if showsCanary("before "+shown+" after", canary) == "" {
				t.Errorf("not found in %q", shown)
			}
		}
	}
	if form := showsCanary("an innocent text", canary); form != "" {
		t.Errorf("found %s in an innocent text", form)
	}
}

// lockedBuffer takes the lines of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// canaryRun is a gateway in a folder, with all that it said, and the secrets that must be in none of it.
type canaryRun struct {
	t       *testing.T
	dir     string
	g       *Gateway
	seen    lockedBuffer // logs, errors, and what was answered, printed
	planted map[string]string
	refused int
}

// plant remembers a secret, and the bytes of one in base64.
func (c *canaryRun) plant(name, text string) string {
	c.planted[name] = text
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_")); err == nil && len(raw) >= 16 {
		c.planted[name+", its bytes"] = string(raw)
	}
	return text
}

// keep has looked at whatever the gateway answered.
func (c *canaryRun) keep(values ...any) {
	for _, v := range values {
		printEverywhere(&c.seen, v)
	}
}

// fails keeps an error that has to be there.
func (c *canaryRun) fails(what string, err error) {
	c.t.Helper()
	if err == nil {
		c.t.Errorf("%s: no error", what)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		printEverywhere(&c.seen, e)
	}
}

func (c *canaryRun) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *canaryRun) open(dispatcher Dispatcher) *Gateway {
	c.t.Helper()
	g, err := Open(c.dir, &Config{
		Logger:       slog.New(slog.NewJSONHandler(&c.seen, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})),
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Retry: retry.Schedule(10 * time.Millisecond), Dispatcher: dispatcher, DrainTimeout: 2 * time.Second,
	})
	c.must(err)
	c.g = g
	return g
}

// refuse sends a request that is refused.
func (c *canaryRun) refuse(source, body string, header ...string) {
	c.t.Helper()
	c.refused++
	r := good(body, header...)
	r.Header.Del("X-Token")
	r.URL.RawQuery = "token=" + c.planted["a token in a query"]
	r.RequestURI = r.URL.RequestURI()
	res := deliverTo(c.g.Inbound(source), r)
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode/100 != 4 {
		c.t.Errorf("%s took %v: %d", source, header, res.StatusCode)
	}
	c.keep(res.Status, res.Header, string(text))
}

func (c *canaryRun) wait(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%s: it does not happen", what)
		}
	}
}

// TestCanariesShowNowhere plants secrets in every place that takes one, has the gateway do all that it does, well and badly,
// and looks for them in what it logs, in its errors, in what it answers, and in every file of its folder but secrets.key.
func TestCanariesShowNowhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := &canaryRun{t: t, dir: t.TempDir(), planted: map[string]string{}}
	own := func(n int) Secret {
		raw := fmt.Sprintf("canary-signing-secret-%010d", n)
		return signing.NewSecret(c.plant(raw, "whsec_"+base64.StdEncoding.EncodeToString([]byte(raw))))
	}
	plantSecret := func(name string, s Secret) Secret {
		c.plant(name, s.Reveal())
		return s
	}

	// The receivers. They keep the signatures, which are secrets too: with one, anybody can repeat a request.
	var mu sync.Mutex
	signatures, served := map[string]bool{}, 0
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		served++
		for _, s := range r.Header.Values("Webhook-Signature") {
			for _, one := range strings.Fields(s) {
				signatures[one] = true
			}
		}
		switch r.URL.Path {
		case "/fails":
			w.WriteHeader(500)
		case "/gone":
			w.WriteHeader(410)
		case "/hangs-up":
			panic(http.ErrAbortHandler)
		}
	}))
	defer receiver.Close()

	g := c.open(nil)
	c.keep(g)
	key, err := os.ReadFile(filepath.Join(c.dir, keyFile))
	c.must(err)
	c.plant("the key of secrets.key", strings.TrimPrefix(strings.TrimSpace(string(key)), keyVersion))

	// Endpoints.
	headerValue := c.plant("a header value", "canary-header-value-1")
	for i, path := range []string{"ok", "fails", "gone", "hangs-up", "damaged"} {
		made, secret, err := g.CreateEndpoint(ctx, Endpoint{
			ID: path, Tenant: "acme", URL: receiver.URL + "/" + path, Subscriptions: []Subscription{{}},
			Header: map[string]string{"Authorization": "Bearer " + headerValue},
		}, own(i))
		c.must(err)
		c.keep(made, *made, secret)
	}
	_, secret, err := g.CreateEndpoint(ctx, Endpoint{ID: "refused", Tenant: "acme", URL: "http://127.0.0.1:1/", Subscriptions: []Subscription{{}}})
	c.must(err)
	plantSecret("a secret that was made", secret)
	secret, err = g.RotateSecret(ctx, "acme", "ok", time.Hour)
	c.must(err)
	c.keep(plantSecret("a rotated secret", secret))
	secret, err = g.ScheduleSecret(ctx, "acme", "ok", Rotation{From: time.Now().Add(time.Hour)})
	c.must(err)
	plantSecret("a scheduled secret", secret)
	c.keep(Rotation{Secret: secret})
	infos, err := g.Secrets(ctx, "acme", "ok")
	c.must(err)
	c.keep(infos)
	c.must(g.ExpireSecret(ctx, "acme", "ok", infos[0].ID))
	c.must(g.ImportSecret(ctx, "acme", "ok", own(20), -1))

	// Mistakes with secrets in them.
	bad := c.plant("a secret of a bad form", "whsec_canary-bad-secret-!")
	_, err = g.ScheduleSecret(ctx, "acme", "ok", Rotation{Secret: signing.NewSecret(bad)})
	c.fails("a bad secret", err)
	c.fails("a bad secret", g.ImportSecret(ctx, "acme", "ok", signing.NewSecret(bad), 0))
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://example.com"}, signing.NewSecret(bad))
	c.fails("a bad secret", err)
	password := c.plant("a password in a URL", "canary-url-password")
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://user:" + password + "@example.com"})
	c.fails("a password in a URL", err)
	broken := c.plant("a broken header value", "canary-broken-header")
	_, _, err = g.CreateEndpoint(ctx, Endpoint{URL: "https://example.com", Header: map[string]string{"A": broken + "\n"}})
	c.fails("a broken header", err)
	ep, err := g.Endpoint(ctx, "acme", "ok")
	c.must(err)
	change := *ep
	change.Header = map[string]string{"Authorization": redacted, "X-Other": redacted}
	_, err = g.UpdateEndpoint(ctx, change)
	c.fails("a value that is not there", err)
	for _, bad := range []string{"", "x"} {
		_, err = signing.Standard(signing.NewSecret(c.planted["a secret of a bad form"] + bad))
		c.fails("a bad verifier", err)
	}

	// Sources.
	github := signing.NewSecret(c.plant("the secret of a source", "canary-github-secret"))
	verifier, err := signing.GitHub(github)
	c.must(err)
	c.keep(verifier)
	c.must(g.AddSource("github", Source{Verifier: verifier, RejectedCount: 100}))
	standard, err := signing.Standard(own(30))
	c.must(err)
	c.must(g.AddSource("standard", Source{Verifier: standard}))
	slack, err := signing.Slack(signing.NewSecret(c.plant("another secret of a source", "canary-slack-secret")))
	c.must(err)
	c.must(g.AddSource("slack", Source{Verifier: slack}))
	c.fails("declared twice", g.AddSource("slack", Source{Verifier: slack}))
	c.plant("a token in a query", "canary-query-token")
	for i, source := range []string{"github", "standard", "slack"} {
		forged := c.plant(fmt.Sprint("a forged signature ", i), hex.EncodeToString(fmt.Appendf(nil, "canary-forged-signature-%08d", i)))
		b64 := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "canary-forged-base64-sig%08d", i))
		c.plant(fmt.Sprint("a forged signature in base64 ", i), b64)
		basic := base64.StdEncoding.EncodeToString([]byte("user:" + c.plant("a Basic password", "canary-basic-password")))
		now := fmt.Sprint(time.Now().Unix())
		for _, header := range [][]string{
			{},
			{"X-Hub-Signature-256", "sha256=" + forged, "Webhook-Signature", "v1," + b64, "X-Slack-Signature", "v0=" + forged},
			{"X-Hub-Signature-256", "sha256=" + forged + "!", "Webhook-Signature", "v1," + b64 + "!", "X-Slack-Signature", "v0=" + forged + "!"},
			{"X-Hub-Signature-256", forged, "Webhook-Signature", b64, "X-Slack-Signature", forged},
			{"Authorization", "Basic " + basic, "Cookie", "session=" + forged, "X-Api-Key", forged},
		} {
			c.refuse(source, `{"a":1}`, append(header, "Webhook-Id", "m1", "Webhook-Timestamp", now, "X-Slack-Request-Timestamp", now)...)
		}
		list, err := g.Rejected(source)
		c.must(err)
		c.keep(list)
		for _, r := range list {
			_, err := g.VerifyAgain(ctx, source, r.ID)
			c.fails("verified again", err)
		}
	}
	if c.refused != 15 {
		t.Errorf("%d requests were refused", c.refused)
	}

	// Work: answers of all kinds, handlers that fail and panic, a ring that was damaged in the store.
	c.must(g.Handle("panics", Subscription{}, func(context.Context, *Event) error { panic("oh no") }))
	c.must(g.Handle("fails", Subscription{}, func(context.Context, *Event) error { return errors.New("no luck") }))
	damage(t, g, "acme", "damaged")
	go func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	receipt, err := g.Publish(ctx, Event{Tenant: "acme", Type: "x", Payload: []byte("{}")})
	c.must(err)
	c.keep(receipt)
	dead := func() (ids []DeliveryID, waiting bool) {
		page, err := g.Deliveries(ctx, DeliveryQuery{Tenant: AllTenants, Event: receipt.ID})
		c.must(err)
		for _, d := range page.Items {
			if d.State == Dead {
				ids = append(ids, d.ID)
			}
			if d.Destination == "ep:acme/damaged" {
				waiting = d.Reason != ""
			}
		}
		c.keep(page)
		return ids, waiting
	}
	c.wait("dead letters and a delivery that waits", func() bool {
		ids, waiting := dead()
		return len(ids) >= 5 && waiting
	})
	ids, _ := dead()
	for _, id := range ids {
		c.must(g.Redeliver(ctx, "acme", id))
	}
	j, err := g.Journey(ctx, "acme", receipt.ID)
	c.must(err)
	c.keep(j, *j, j.String())
	for _, d := range j.Deliveries {
		list, err := g.Attempts(ctx, "acme", d.ID)
		c.must(err)
		c.keep(list)
	}
	_, err = g.Secrets(ctx, "acme", "damaged")
	c.fails("a damaged ring", err)
	_, err = g.RotateSecret(ctx, "acme", "damaged", time.Hour)
	c.fails("a damaged ring", err)
	res, err := g.RewrapSecrets(ctx)
	c.must(err)
	c.keep(res)
	all, err := g.Endpoints(ctx, AllTenants, Paging{})
	c.must(err)
	for _, ep := range all.Items {
		c.keep(ep, *ep, g.view.target(endpointDestination(ep.Tenant, ep.ID)))
	}
	stats, err := g.Stats(ctx)
	c.must(err)
	c.keep(stats)
	c.must(g.Close())
	c.keep(g) // when nothing changes it any more

	// The folder without its key: another one is made, and nothing opens.
	c.must(os.Rename(filepath.Join(c.dir, keyFile), filepath.Join(t.TempDir(), keyFile)))
	g = c.open(nil)
	_, err = g.Secrets(ctx, "acme", "ok")
	c.fails("another key", err)
	_, err = g.RewrapSecrets(ctx)
	c.fails("another key", err)
	c.must(g.AddSource("github", Source{Verifier: verifier}))
	c.must(g.Close())
	c.must(os.WriteFile(filepath.Join(c.dir, keyFile), []byte(keyVersion+c.planted["the key of secrets.key"]+"=="), 0o600))
	_, err = Open(c.dir, &Config{Logger: discardLog()})
	c.fails("a damaged key file", err)

	mu.Lock()
	if served < 6 || len(signatures) < 4 {
		t.Errorf("%d requests with %d signatures came", served, len(signatures))
	}
	for s := range signatures {
		c.plant("a signature that was sent: "+s[:6], strings.TrimPrefix(s, "v1,"))
	}
	mu.Unlock()
	c.look()
}

// damage changes a byte of a sealed ring in the store, and has the gateway read it.
func damage(t *testing.T, g *Gateway, tenant, id string) {
	t.Helper()
	d := endpointDestination(tenant, id)
	tg := g.view.target(d)
	stored := []byte(tg.sealed.reveal())
	stored[len(stored)-1] ^= 1
	data, err := encodeEndpoint(tg.endpoint.clone(), string(stored))
	if err != nil {
		t.Fatal(err)
	}
	put := store.DocPut{Doc: store.Doc{Kind: kindEndpoint, Group: tenant, ID: id, Data: data}, Expect: tg.endpoint.Version}
	if _, err := g.commitEndpoint(t.Context(), &store.Batch{Docs: []store.DocPut{put}}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.view.reload(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// look searches everything.
func (c *canaryRun) look() {
	c.t.Helper()
	places := map[string]string{"what was printed": c.seen.String()}
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == keyFile {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(c.dir, path)
		places[filepath.ToSlash(name)] = string(bytes.ReplaceAll(data, make([]byte, 4096), nil)) // the journal is mostly room
		return err
	})
	c.must(err)
	for _, want := range []string{"what was printed", "hookgate.db", "rejected/github"} {
		if len(places[want]) < 100 {
			c.t.Errorf("there is nothing in %s: this looks in the wrong place", want)
		}
	}
	// What is no secret is found, so a secret would be.
	journal := ""
	for name, text := range places {
		if strings.HasPrefix(name, "journal/") {
			journal += text
		}
	}
	for where, text := range map[string]string{"what was printed": places["what was printed"], "the journal": journal} {
		if showsCanary(text, "/hangs-up") == "" {
			c.t.Errorf("not even a URL is found in %s", where)
		}
	}
	for name, canary := range c.planted {
		for where, text := range places {
			if form := showsCanary(text, canary); form != "" {
				at := strings.Index(text, canary)
				c.t.Errorf("%s shows in %s (%s): %q", name, where, form, text[max(0, at-150):min(len(text), max(0, at)+150)])
			}
		}
	}
}
