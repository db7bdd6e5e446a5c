package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// Entry is one request of a file, with the secrets that its receiver holds and the verdict that is right.
type Entry struct {
	// ID is unique in the file.
	ID string `json:"id"`
	// Provider sent the request; Scheme is the rule that verifies it. A provider may have several.
	Provider string `json:"provider"`
	Scheme   string `json:"scheme"`
	// Secret is what the receiver is configured with, ExtraSecrets are others that are good too.
	Secret       string   `json:"secret"`
	ExtraSecrets []string `json:"extra_secrets"`
	// Params are the scheme's further settings.
	Params map[string]string `json:"params"`
	// Headers have their names as they were sent.
	Headers map[string][]string `json:"headers"`
	Method  string              `json:"method"`
	URL     string              `json:"url"`
	// Body is the body in base64.
	Body string `json:"body_base64"`
	// Now is the receiver's clock in Unix seconds; 0 where the scheme does not look at it.
	Now int64 `json:"now_unix"`
	// Tolerance is the accepted window in seconds; 0 where there is none.
	Tolerance int64 `json:"tolerance_s"`
	// Valid is the verdict, and Why says what is special about the entry.
	Valid bool   `json:"valid"`
	Why   string `json:"why"`

	damage string // why it cannot be run; empty if nothing is known against it
}

// maxFile is how much is read of a file.
const maxFile = 256 << 20

// Load reads a file of entries. An error names the file. An entry that is damaged, or has the ID of another, is no reason not to
// run the others: its Check says what is wrong.
func Load(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // it names the file
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err // it names the file too
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: it has more than %d MiB; make several files of it", path, maxFile>>20)
	}
	entries, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

func parse(data []byte) ([]Entry, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &list); err != nil {
		if at := (*json.SyntaxError)(nil); errors.As(err, &at) {
			return nil, fmt.Errorf("it is not JSON, at byte %d: %w", at.Offset, err)
		}
		if at := (*json.UnmarshalTypeError)(nil); errors.As(err, &at) {
			return nil, fmt.Errorf("it must be a JSON list of entries, and is a JSON %s", at.Value)
		}
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("there is no entry in it")
	}
	entries := make([]Entry, len(list))
	seen := make(map[string]bool, len(list))
	for i := range entries {
		e := &entries[i]
		read := struct {
			*Entry
			Valid *bool `json:"valid"`
		}{Entry: e}
		err := json.Unmarshal(list[i], &read)
		e.Valid = read.Valid != nil && *read.Valid
		switch {
		case err != nil:
			e.damage = damaged(err)
		case e.ID == "":
			e.damage = "it has no id"
		case seen[e.ID]:
			e.damage = "another entry has the same id"
		case e.Scheme == "" && e.Provider == "":
			e.damage = "it has neither a scheme nor a provider"
		case read.Valid == nil:
			e.damage = "it does not say whether it is valid"
		}
		if e.ID == "" {
			e.ID = fmt.Sprintf("entry %d", i+1)
		}
		seen[e.ID] = true
	}
	return entries, nil
}

// damaged says what is wrong with an entry's JSON, in its own terms.
func damaged(err error) string {
	at := (*json.UnmarshalTypeError)(nil)
	switch {
	case !errors.As(err, &at):
		return err.Error()
	case at.Field == "":
		return "an entry is a JSON object, and this is a JSON " + at.Value
	default:
		return strings.TrimPrefix(at.Field, "Entry.") + " cannot be a JSON " + at.Value
	}
}

// Request makes the request that a verifier gets. The names of its headers are canonical; a header that came twice has
// two values. Its time is the entry's clock.
func (e *Entry) Request() (*signing.Request, error) {
	body, err := base64.StdEncoding.Strict().DecodeString(e.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: body_base64: %w", ErrCannotRun, err)
	}
	r := &signing.Request{Method: e.Method, URL: e.URL, Header: make(http.Header, len(e.Headers)), Body: body}
	if e.Now != 0 {
		r.Time = time.Unix(e.Now, 0)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		for _, value := range e.Headers[name] {
			r.Header.Add(name, value)
		}
	}
	return r, nil
}

func (e *Entry) secrets() []signing.Secret {
	secrets := make([]signing.Secret, 0, 1+len(e.ExtraSecrets))
	for _, text := range append([]string{e.Secret}, e.ExtraSecrets...) {
		secrets = append(secrets, signing.NewSecret(text))
	}
	return secrets
}
