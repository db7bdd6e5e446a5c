package vectors

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
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
}

// Load reads a file of entries. An error names the file, and the entry that is not as it should be.
func Load(path string) ([]Entry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err // it names the file
	}
	entries, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

func parse(data []byte) ([]Entry, error) {
	var entries []Entry
	if err := json.Unmarshal(data, &entries); err != nil {
		if at := (*json.SyntaxError)(nil); errors.As(err, &at) {
			return nil, fmt.Errorf("it is not JSON, at byte %d: %w", at.Offset, err)
		}
		return nil, fmt.Errorf("it must be a JSON list of entries: %w", err)
	}
	if len(entries) == 0 {
		return nil, errors.New("there is no entry in it")
	}
	seen := make(map[string]bool, len(entries))
	for i := range entries {
		e := &entries[i]
		switch {
		case e.ID == "":
			return nil, fmt.Errorf("entry %d has no id", i+1)
		case seen[e.ID]:
			return nil, fmt.Errorf("two entries have the id %q", e.ID)
		case e.Scheme == "" && e.Provider == "":
			return nil, fmt.Errorf("%s has neither a scheme nor a provider", e.ID)
		}
		seen[e.ID] = true
	}
	return entries, nil
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
