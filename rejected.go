package hookgate

import (
	"bytes"
	"encoding/gob"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rejection is an inbound request that was refused, as the operator sees it. The sender got a status and nothing else.
type Rejection struct {
	// ID names it for VerifyAgain, within its source.
	ID string

	Time   time.Time
	Remote string // the address that it came from, behind trusted proxies
	Method string
	Path   string // without the query, which may hold a secret
	Status int    // what the sender got

	// Reason says what was wrong, for people.
	Reason string

	// Header is what came, with everything that may be a secret replaced by REDACTED.
	Header http.Header

	// Body is the beginning of the body, or all of it if Whole. It is nil where the request was refused before its body
	// was read.
	Body  []byte
	Whole bool
}

// The ring holds this much of a source unless the source says otherwise, and takes in no more than this.
const (
	defaultRejected      = 100
	defaultRejectedBytes = 1 << 20
	rejectedPerSecond    = 20              // beyond a burst of the ring's size; the rest is counted only
	rejectedTold         = time.Minute     // how often the log hears of that
	rejectedFlush        = 2 * time.Second // how long a rejection may wait to be written
	rejectedStart        = 4 << 10         // what is kept of a body that is too large to keep
)

// rejected is a request in the ring, complete, for checking it again.
type rejected struct {
	No     uint64
	Time   time.Time
	Remote string
	Method string
	URL    string // as it was verified, with its query
	Host   string
	Status int
	Reason string
	Header http.Header
	Body   []byte
	Whole  bool

	origin string // whom it counts against in a flood
}

func (r *rejected) size() int64 {
	n := 256 + len(r.URL) + len(r.Reason) + len(r.Body)
	for name, values := range r.Header {
		n += len(name) + 16
		for _, v := range values {
			n += len(v) + 16
		}
	}
	return int64(n)
}

// rejectedRing keeps the last refused requests of one source. It is for an operator who wants to know why a provider's
// requests do not come in, and promises nothing: it is bounded in number, in bytes and in how fast it takes things in, it is
// written now and then without a sync, and a crash may lose its end. Whoever sends nonsense at line rate costs a
// counter.
//
// When it is full, the oldest entry of the origin with the most entries goes, and origins that have an entry share an
// allowance of their own: a flood from one place neither washes out nor keeps out what comes from others. An origin is an
// address, or the network of 2^64 addresses that a single IPv6 customer has.
type rejectedRing struct {
	source string
	path   string // where it is kept; empty: in memory
	sealer Sealer // what is kept holds secrets: no file without it
	log    *slog.Logger

	maxItems int
	maxBytes int64

	mu      sync.Mutex
	items   []*rejected // oldest first
	bytes   int64
	next    uint64
	origins map[string]int // how many items each has

	known allowance // of origins that have an item
	fresh allowance // of the others

	skipped uint64    // not taken in, for coming too fast
	told    time.Time // when the log last heard of that

	timer  *time.Timer // armed while something is not written
	closed bool

	writing sync.Mutex // one writer at a time
}

// openRejected reads what is kept at path. What cannot be read is given up: nothing was promised.
func openRejected(source, path string, items int, bytes int64, sealer Sealer, log *slog.Logger) *rejectedRing {
	if items == 0 {
		items = defaultRejected
	}
	if bytes == 0 {
		bytes = defaultRejectedBytes
	}
	if sealer == nil {
		path = ""
	}
	r := &rejectedRing{
		source: source, path: path, sealer: sealer, log: log,
		maxItems: max(items, 0), maxBytes: max(bytes, 0),
		next: 1, origins: make(map[string]int),
	}
	r.known.left, r.fresh.left = float64(r.maxItems), float64(r.maxItems)
	if path != "" && r.maxItems > 0 {
		if err := r.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("hookgate: the rejected requests of a source could not be read and are forgotten", "source", source, "error", err)
			r.items, r.bytes, r.next = nil, 0, 1
			clear(r.origins)
		}
	}
	return r
}

// Where the rings are in the gateway's folder, and what the name of one ends with while it is written.
const (
	rejectedDir = "rejected"
	rejectedNew = ".new"
)

// ringFile is what the file holds, sealed.
type ringFile struct {
	Version int
	Next    uint64
	Items   []*rejected
}

func (r *rejectedRing) context() string { return "rejected:" + r.source }

func (r *rejectedRing) load() error {
	info, err := os.Stat(r.path)
	if err != nil {
		return err
	}
	if info.Size() > 8*r.maxBytes+1<<20 {
		return errors.New("the file is larger than it can be")
	}
	sealed, err := os.ReadFile(r.path)
	if err != nil {
		return err
	}
	plain, err := r.sealer.Open(sealed, r.context())
	if err != nil {
		return err
	}
	var f ringFile
	if err := gob.NewDecoder(bytes.NewReader(plain)).Decode(&f); err != nil {
		return errors.New("the file is damaged")
	}
	if f.Version != 1 {
		return errors.New("the file was written by another version")
	}
	r.next = max(f.Next, 1)
	for _, it := range f.Items {
		if it != nil {
			it.origin = originOf(it.Remote)
			r.insert(it)
			r.next = max(r.next, it.No+1)
		}
	}
	r.shrink()
	return nil
}

// add keeps a request, or only counts it. It copies what it keeps of Header and Body.
func (r *rejectedRing) add(it *rejected) {
	it.origin = originOf(it.Remote)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.maxItems == 0 || r.maxBytes == 0 || r.closed {
		return
	}
	from := &r.fresh
	if r.origins[it.origin] > 0 {
		from = &r.known
	}
	if !from.take(it.Time, r.maxItems) {
		r.skip(it.Time)
		return
	}
	if int64(len(it.Body)) > r.maxBytes/4 {
		it.Body, it.Whole = it.Body[:min(len(it.Body), rejectedStart)], false
	}
	if it.size() > r.maxBytes/4 {
		it.Header, it.Whole = nil, false // it is the headers then
	}
	if it.size() > r.maxBytes/4 {
		it.URL = it.URL[:min(len(it.URL), 256)] // or the URL
	}
	it.Header, it.Body = it.Header.Clone(), bytes.Clone(it.Body)
	it.No = r.next
	r.next++
	r.insert(it)
	r.shrink()
	r.dirty()
}

// skip counts a request that came too fast, and tells the log now and then.
func (r *rejectedRing) skip(now time.Time) {
	r.skipped++
	if r.told.IsZero() || now.Sub(r.told) >= rejectedTold {
		r.told = now
		r.log.Warn("hookgate: a source refuses requests faster than they can be kept", "source", r.source, "not_kept", r.skipped)
	}
}

// allowance lets a burst through, then so many a second.
type allowance struct {
	left float64
	last time.Time
}

func (a *allowance) take(now time.Time, burst int) bool {
	if !a.last.IsZero() {
		a.left += now.Sub(a.last).Seconds() * rejectedPerSecond
	}
	a.last = now
	a.left = min(max(a.left, 0), float64(burst))
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// originOf is the address, or the /64 of an IPv6 address.
func originOf(remote string) string {
	if a, err := netip.ParseAddr(remote); err == nil && a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return remote
}

func (r *rejectedRing) shrink() {
	for len(r.items) > 0 && (len(r.items) > r.maxItems || r.bytes > r.maxBytes) {
		most := 0
		for _, n := range r.origins {
			most = max(most, n)
		}
		r.drop(slices.IndexFunc(r.items, func(it *rejected) bool { return r.origins[it.origin] == most }))
	}
}

func (r *rejectedRing) insert(it *rejected) {
	r.items = append(r.items, it)
	r.bytes += it.size()
	r.origins[it.origin]++
}

func (r *rejectedRing) drop(i int) {
	it := r.items[i]
	r.bytes -= it.size()
	if r.origins[it.origin]--; r.origins[it.origin] == 0 {
		delete(r.origins, it.origin)
	}
	r.items = slices.Delete(r.items, i, i+1)
}

// dirty sees to it that the ring is written soon; the caller holds mu.
func (r *rejectedRing) dirty() {
	if r.path != "" && r.timer == nil && !r.closed {
		r.timer = time.AfterFunc(rejectedFlush, r.flush)
	}
}

// flush writes the whole ring beside the old file and renames it, at most every two seconds, and never syncs.
func (r *rejectedRing) flush() {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	if r.timer == nil {
		r.mu.Unlock()
		return
	}
	r.timer.Stop()
	r.timer = nil
	f := ringFile{Version: 1, Next: r.next, Items: slices.Clone(r.items)}
	r.mu.Unlock()

	if err := r.write(f); err != nil {
		r.log.Warn("hookgate: the rejected requests of a source could not be written", "source", r.source, "error", err)
	}
}

func (r *rejectedRing) write(f ringFile) error {
	var plain bytes.Buffer // gob, not JSON: header values need not be UTF-8, and are verified again byte for byte
	if err := gob.NewEncoder(&plain).Encode(f); err != nil {
		return err
	}
	return r.put(plain.Bytes())
}

// put seals what the file is to hold and writes it.
func (r *rejectedRing) put(plain []byte) error {
	sealed, err := r.sealer.Seal(plain, r.context())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(r.path+rejectedNew, sealed, 0o600); err != nil {
		return err
	}
	return os.Rename(r.path+rejectedNew, r.path)
}

// close writes what is not written; nothing is kept after it.
func (r *rejectedRing) close() {
	r.flush()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.flush() // what came in between
}

// list answers all, newest first, fit to be shown.
func (r *rejectedRing) list() []Rejection {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Rejection, 0, len(r.items))
	for _, it := range slices.Backward(r.items) {
		path, _, _ := strings.Cut(it.URL, "?")
		out = append(out, Rejection{
			ID: strconv.FormatUint(it.No, 10), Time: it.Time, Remote: it.Remote, Method: it.Method, Path: pathOnly(path),
			Status: it.Status, Reason: it.Reason, Header: redactHeader(it.Header), Body: slices.Clone(it.Body), Whole: it.Whole,
		})
	}
	return out
}

// get answers one, to be read only; nil if there is none.
func (r *rejectedRing) get(id string) *rejected {
	no, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range r.items {
		if it.No == no {
			return it
		}
	}
	return nil
}

// remove takes one out that was accepted after all.
func (r *rejectedRing) remove(no uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.items, func(it *rejected) bool { return it.No == no }); i >= 0 {
		r.drop(i)
		r.dirty()
	}
}

// pathOnly cuts scheme and host off a URL without parsing it: it may be nonsense.
func pathOnly(u string) string {
	if _, rest, ok := strings.Cut(u, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	return u
}

// harmlessHeaders are shown as they came. All others may hold a secret: a list of what is dangerous would have to know
// every provider.
var harmlessHeaders = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Connection": true, "Content-Encoding": true,
	"Content-Length": true, "Content-Type": true, "Date": true, "User-Agent": true, "Via": true, "Forwarded": true,
	"X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true, "X-Real-Ip": true, "X-Request-Id": true,
	"Webhook-Id": true, "Webhook-Timestamp": true, "Svix-Id": true, "Svix-Timestamp": true,
}

// redactHeader copies a header with every value replaced that may be a secret. Names that tell of events and ids are
// harmless too.
func redactHeader(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if harmlessHeaders[name] || tellsOfEvent(name) {
			out[name] = slices.Clone(values)
			continue
		}
		redacted := make([]string, len(values))
		for i := range redacted {
			redacted[i] = "REDACTED"
		}
		out[name] = redacted
	}
	return out
}

// tellsOfEvent reports whether a header by its name says what happened, which delivery it is, or when, and is no token.
func tellsOfEvent(name string) bool {
	n := strings.ToLower(name)
	for _, word := range []string{"sign", "token", "secret", "key", "auth", "pass", "cookie", "cred", "hmac", "digest", "session"} {
		if strings.Contains(n, word) {
			return false
		}
	}
	for _, word := range []string{"event", "topic", "delivery", "timestamp", "message-id", "message-type", "webhook-id", "request-id", "retry"} {
		if strings.Contains(n, word) {
			return true
		}
	}
	return false
}
