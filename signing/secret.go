package signing

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
)

const redacted = "REDACTED"

// Secret is a signing secret. However it is printed, logged or encoded, it shows as REDACTED; Reveal is the one way to
// its text. The zero value is no secret. A Secret may be copied and used by many goroutines.
type Secret struct {
	// A pointer to a pointer, because fmt does not ask a Secret in an unexported field of another struct how it wants to
	// be printed: it looks inside, through one pointer at the most, and finds an address.
	p **secretText
}

type secretText struct {
	text   string
	signer atomic.Pointer[signingKey] // made at the first Sign; it lives no longer than the secret
	row    atomic.Pointer[rowSecret]  // the same for the signer of a row
}

// NewSecret makes a Secret of its text exactly as the provider shows it, prefix included. An empty text is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	both := &struct { // in one piece: whoever signs for ten thousand endpoints finds it cold
		p    *secretText
		text secretText
	}{}
	both.p = &both.text
	both.text.text = text
	return Secret{&both.p}
}

// Reveal gives the text. Keep it out of logs and errors.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return (*s.p).text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.p == nil }

// String gives REDACTED.
func (s Secret) String() string { return redacted }

// GoString gives REDACTED.
func (s Secret) GoString() string { return redacted }

// Format writes REDACTED, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue gives REDACTED.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives REDACTED.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives "REDACTED".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// GobEncode is an error: gob is for data that comes back, and a secret would not.
func (s Secret) GobEncode() ([]byte, error) {
	return nil, errors.New("signing: a Secret is not encoded; encode what Reveal gives, sealed")
}

// UnmarshalText takes the text in, so that a Secret can stand in a settings file. It refuses the word REDACTED: that is a
// file written from printed settings.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == redacted {
		return errors.New("signing: the text of the secret is REDACTED: it was lost when it was written; put the real one in")
	}
	*s = NewSecret(string(text))
	return nil
}
