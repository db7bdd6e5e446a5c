package oauth2

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

const secret = "canary-client-secret"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func openGateway(t *testing.T, c hookgate.Config) *hookgate.Gateway {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	gw, err := hookgate.Open(t.TempDir(), &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gw.Close() })
	return gw
}

// tokens is a token endpoint that gives out canary-token-1, canary-token-2 and so on.
type tokens struct {
	calls  atomic.Int64
	answer func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.calls.Add(1)
	if s.answer != nil && s.answer(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"canary-token-%d","token_type":"Bearer","expires_in":3600}`, n)
}

func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func params(url string, more ...string) hookgate.Auth {
	p := map[string]string{"token_url": url, "client_id": "me", "client_secret": secret, "auth_style": "header"}
	for i := 0; i < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return hookgate.Auth{Kind: "oauth2", Params: p}
}

// receiver is the dispatcher behind the authorizer: it answers with a status and remembers what it saw.
type receiver struct {
	mu     sync.Mutex
	seen   []string
	status func(token string) int
}

func (d *receiver) Dispatch(_ context.Context, r *hookgate.Request) (*hookgate.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	got := r.Header.Get("Authorization")
	d.seen = append(d.seen, got)
	r.Header["Authorization"] = []string{"the request belongs to the attempt"}
	status := 200
	if d.status != nil {
		status = d.status(got)
	}
	return &hookgate.Response{Status: status}, nil
}

func request() *hookgate.Request {
	return &hookgate.Request{Endpoint: &hookgate.Endpoint{ID: "a"}, Header: http.Header{"X": {"y"}}}
}

func TestTokenIsAskedForAsConfigured(t *testing.T) {
	t.Parallel()
	a := New(openGateway(t, hookgate.Config{AllowPrivate: loopback}))
	for _, style := range []string{"header", "body", ""} {
		s := &tokens{answer: func(w http.ResponseWriter, r *http.Request) bool {
			user, password, basic := r.BasicAuth()
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			if style == "" && basic { // a server that knows the other way alone
				http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
				return true
			}
			if basic != (style == "header") || basic && (user != "me" || password != secret) || !basic && r.PostForm.Get("client_secret") != secret {
				t.Errorf("%s: %v %v", style, r.Header, r.PostForm)
			}
			for name, want := range map[string]string{"grant_type": "client_credentials", "scope": "a b", "audience": "them", "tenant": "17"} {
				if got := r.PostForm.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			return false
		}}
		auth := params(serve(t, s), "scopes", " a  b", "audience", "them", "param.tenant", "17", "auth_style", style)
		if err := a.Check(auth); err != nil {
			t.Fatal(err)
		}
		d := &receiver{}
		for range 3 {
			if res, err := a.Dispatch(t.Context(), request(), auth, d); err != nil || res.Status != 200 {
				t.Fatal(res, err)
			}
		}
		calls := s.calls.Load()
		if want := fmt.Sprint("Bearer canary-token-", calls); d.seen[0] != want || d.seen[2] != want || calls > 2 {
			t.Errorf("%q: %q, %d calls", style, d.seen, calls)
		}
	}
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	a := New(openGateway(t, hookgate.Config{AllowPrivate: loopback}))
	s := &tokens{}
	auth := params(serve(t, s))
	d := &receiver{}
	send := func(status int, calls int64, seen ...string) {
		t.Helper()
		d.seen = nil
		res, err := a.Dispatch(t.Context(), request(), auth, d)
		if err != nil || res.Status != status {
			t.Errorf("%v, %v", res, err)
		}
		for i := range seen {
			seen[i] = "Bearer canary-token-" + seen[i]
		}
		if fmt.Sprint(d.seen) != fmt.Sprint(seen) || s.calls.Load() != calls {
			t.Errorf("the receiver saw %q, want %q; %d calls, want %d", d.seen, seen, s.calls.Load(), calls)
		}
	}
	send(200, 1, "1")
	d.status = func(token string) int {
		if token == "Bearer canary-token-1" {
			return 401
		}
		return 200
	}
	send(200, 2, "1", "2") // revoked: a new one, within the attempt
	send(200, 2, "2")
	d.status = func(string) int { return 401 }
	send(401, 3, "2", "3") // once, not for ever
	send(401, 4, "3", "4")
	d.status = func(string) int { return 403 }
	send(403, 4, "4")

	// One that was just fetched is not fetched again.
	fresh := New(openGateway(t, hookgate.Config{AllowPrivate: loopback}))
	d.status, d.seen = func(string) int { return 401 }, nil
	if res, err := fresh.Dispatch(t.Context(), request(), auth, d); err != nil || res.Status != 401 || len(d.seen) != 1 {
		t.Errorf("%v, %v, %q", res, err, d.seen)
	}

	// Many at once share the new one.
	d.status = func(token string) int {
		if token == "Bearer canary-token-4" {
			return 401
		}
		return 200
	}
	before := s.calls.Load()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if res, err := a.Dispatch(t.Context(), request(), auth, d); err != nil || res.Status != 200 {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
	all.Wait()
	if n := s.calls.Load() - before; n != 1 {
		t.Errorf("%d calls for one new token", n)
	}
}

func TestNoTokenIsAFailureThatTellsNothing(t *testing.T) {
	t.Parallel()
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/canary-elsewhere")
			w.WriteHeader(status)
			fmt.Fprint(w, text)
		}
	}
	var followed atomic.Bool
	redirect := http.NewServeMux()
	redirect.HandleFunc("/canary-elsewhere", func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	redirect.HandleFunc("/", body(307, ""))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	open, shut := hookgate.Config{AllowPrivate: loopback}, hookgate.Config{}
	noFiles := open
	noFiles.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	for _, c := range []struct {
		name   string
		config hookgate.Config
		url    string
		local  bool
		want   string
	}{
		{"refused", open, serve(t, body(401, `{"error":"invalid_client","error_description":"canary `+secret+`"}`)), false, "answered 401, invalid_client"},
		{"unknown code", open, serve(t, body(400, `{"error":"canary-`+secret+`"}`)), false, "answered 400"},
		{"error with 200", open, serve(t, body(200, `{"error":"invalid_scope"}`)), false, "answered 200, invalid_scope"},
		{"broken", open, serve(t, body(500, "canary "+secret)), false, "answered 500"},
		{"redirect", open, serve(t, redirect), false, "answered 307: redirects are not followed"},
		{"no JSON", open, serve(t, body(200, "<canary>"+secret)), false, "not a token"},
		{"no token", open, serve(t, body(200, `{"canary":"`+secret+`"}`)), false, "not a token"},
		{"useless", open, serve(t, body(200, `{"access_token":"canary token"}`)), false, "cannot be sent"},
		{"nobody there", open, gone.URL + "/canary", false, "refused"},
		{"private address", shut, serve(t, body(200, `{"access_token":"canary"}`)), false, "the address 127.0.0.1 is"},
		{"metadata service", shut, "http://169.254.169.254/canary", false, "the address 169.254.169.254 is"},
		{"no descriptors", noFiles, "http://127.0.0.1/canary", true, "descriptor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := New(openGateway(t, c.config))
			d := &receiver{}
			_, err := a.Dispatch(t.Context(), request(), params(c.url), d)
			var fault *hookgate.DispatchError
			if !errors.As(err, &fault) || fault.Class != "auth" || fault.Local != c.local || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, err, fault.Err.Error()); strings.Contains(text, "canary") || strings.Contains(text, secret) {
				t.Errorf("it shows too much: %s", text)
			}
			if len(d.seen) != 0 {
				t.Error("the request was sent without a token")
			}
		})
	}
	t.Cleanup(func() {
		if followed.Load() {
			t.Error("a redirect was followed")
		}
	})
}

func TestTokenCallHasTheAttemptsTime(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(hang) })
	a := New(openGateway(t, hookgate.Config{AllowPrivate: loopback}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := a.Dispatch(ctx, request(), params(url), &receiver{})
	var fault *hookgate.DispatchError
	if !errors.As(err, &fault) || fault.Class != "auth" || fault.Local || !strings.Contains(err.Error(), "within the attempt's time") {
		t.Errorf("got %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err = a.Dispatch(stopped, request(), params(url), &receiver{}); !errors.As(err, &fault) || !fault.Local {
		t.Errorf("an attempt that the gateway stopped counts: %v", err)
	}
}

func TestCheckNamesTheParameter(t *testing.T) {
	t.Parallel()
	a := New(openGateway(t, hookgate.Config{}))
	for name, value := range map[string]string{
		"token_url": "", "client_id": "", "client_secret": "", "auth_style": "canary", "canary": "x", "param.scope": "canary", "param.": "canary",
		"audience": "canary\n", "scopes": "canary\x00",
	} {
		auth := params("https://login.example.com/token", name, value)
		if err := a.Check(auth); err == nil || !strings.Contains(err.Error(), name) || name != "canary" && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"canary", "ftp://canary", "https://canary:x@example.com", "https://example.com/#canary", "https://", "http://%zz"} {
		if err := a.Check(params(url)); err == nil || !strings.Contains(err.Error(), "token_url") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestGatewayDeliversWithTokens goes all the way, and looks for what must not be seen afterwards.
func TestGatewayDeliversWithTokens(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	dir := t.TempDir()
	gw, err := hookgate.Open(dir, &hookgate.Config{AllowPrivate: loopback, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.RegisterAuthorizer("oauth2", New(gw)); err != nil {
		t.Fatal(err)
	}
	issuer := &tokens{}
	sealed := signing.StandardWebhooks.NewSecret()
	verifier, err := signing.Standard(sealed)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	consumer := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if _, err := verifier.Verify(&signing.Request{Method: r.Method, Header: r.Header, Body: body.Bytes()}); err != nil {
			t.Error(err)
		}
		got <- r.Header.Get("Authorization")
		if r.Header.Get("Authorization") == "Bearer canary-token-1" && issuer.calls.Load() == 1 && body.String() == "second" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := gw.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	auth := params(serve(t, issuer))
	ep, _, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{
		ID: "a", URL: consumer, Subscriptions: []hookgate.Subscription{{}}, Auth: &auth,
	}, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := gw.CreateEndpoint(ctx, hookgate.Endpoint{URL: consumer, Auth: &hookgate.Auth{Kind: "oauth2"}}); err == nil || !strings.Contains(err.Error(), "Endpoint.Auth") {
		t.Errorf("an endpoint without parameters: %v", err)
	}
	var seen []string
	for _, payload := range []string{"first", "second"} {
		if _, err := gw.Publish(ctx, hookgate.Event{Type: "x", Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, <-got)
	}
	seen = append(seen, <-got)
	if want := "[Bearer canary-token-1 Bearer canary-token-1 Bearer canary-token-2]"; fmt.Sprint(seen) != want {
		t.Errorf("the receiver saw %q", seen)
	}
	ep, err = gw.Endpoint(ctx, "", ep.ID)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := json.Marshal(ep)
	if err != nil || !bytes.Contains(printed, []byte(`"client_secret":"REDACTED"`)) {
		t.Errorf("%s, %v", printed, err)
	}
	stop()
	running.Wait()
	if err := gw.Close(); err != nil {
		t.Fatal(err)
	}
	if maps.Equal(ep.Auth.Params, auth.Params) {
		t.Error("the parameters came back")
	}
	files := 0
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(name)
		for _, s := range []string{"canary", secret} {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%s has %q in clear", name, s)
			}
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files, %v", files, err)
	}
	if s := logged.String() + string(printed); strings.Contains(s, "canary") {
		t.Errorf("it shows: %s", s)
	}
}
