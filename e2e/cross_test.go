package e2e

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// What we sign, their libraries accept; under another secret, with another body or too old, they refuse it.
func TestTheyAcceptWhatWeSign(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, lib := range libraries {
		names := signers[lib.provider]
		if len(names) == 0 {
			t.Errorf("nothing of ours is shown to %s", lib.name)
		}
		for _, name := range names {
			t.Run(lib.name+", signer "+name, func(t *testing.T) {
				t.Parallel()
				secret := secretOf(t, lib.provider)
				tries := lib.tries(t, signerOf(t, name), secret, now)
				for i, err := range lib.judge(t, secret, tries) {
					if (err == nil) != tries[i].good {
						t.Errorf("%s: accepted must be %v, the library says %v", tries[i].name, tries[i].good, err)
					}
				}
			})
		}
	}
}

// tries are requests that the signer signs, good ones and bad ones, for a receiver with the secret.
func (lib *library) tries(t *testing.T, signer signing.Signer, secret string, now time.Time) (tries []try) {
	t.Helper()
	sign := func(at time.Time, body string, secrets ...string) http.Header {
		t.Helper()
		h := http.Header{}
		var keys []signing.Secret
		for _, s := range secrets {
			keys = append(keys, signing.NewSecret(s))
		}
		m := signing.Message{ID: "evt_1", Time: at, Type: "invoice.paid", Method: "POST", Body: []byte(body)}
		if err := signer.Sign(h, m, keys); err != nil {
			t.Fatal(err)
		}
		return h
	}
	other := secretOf(t, lib.provider)
	for name, body := range bodies {
		h := sign(now, body, secret)
		tries = append(tries,
			try{name: name, header: h, body: body, good: true},
			try{name: name + ", changed", header: h, body: changed(t, body)},
			try{name: name + ", another secret", header: sign(now, body, other), body: body},
		)
	}
	one := bodies["an object"]
	if lib.provider == "github" { // one signature, without a time
		return tries
	}
	return append(tries,
		try{name: "the first of two secrets", header: sign(now, one, secret, other), body: one, good: true},
		try{name: "the second of two secrets", header: sign(now, one, other, secret), body: one, good: true},
		try{name: "an hour old", header: sign(now.Add(-time.Hour), one, secret), body: one},
	)
}

// What their libraries sign, we accept, and refuse when it was changed.
func TestWeAcceptWhatTheySign(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			secret := secretOf(t, lib.provider)
			verifier, other := newVerifier(t, lib.provider, secret), newVerifier(t, lib.provider, secretOf(t, lib.provider))
			for name, signed := range lib.signAll(t, secret, "evt_1", now, bodies) {
				r := &signing.Request{Method: "POST", Header: signed, Body: []byte(bodies[name]), Time: now.Add(time.Minute)}
				verdict, err := verifier.Verify(r)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if verdict.Covers != signing.CoversBody {
					t.Errorf("%s: covers %v", name, verdict.Covers)
				}
				if _, err := other.Verify(r); !errors.Is(err, signing.ErrMismatch) {
					t.Errorf("%s: under another secret it gave %v", name, err)
				}
				r.Body = []byte(changed(t, bodies[name]))
				if _, err := verifier.Verify(r); !errors.Is(err, signing.ErrMismatch) {
					t.Errorf("%s: changed, it gave %v", name, err)
				}
			}
		})
	}
}

// try is a request for a library to judge.
type try struct {
	name   string
	header http.Header
	body   string
	good   bool
}

// judge answers what the library says about each: nil if it accepts.
func (lib *library) judge(t *testing.T, secret string, tries []try) []error {
	t.Helper()
	errs := make([]error, len(tries))
	if lib.node == "" {
		for i := range tries {
			errs[i] = lib.verify(secret, tries[i].header, []byte(tries[i].body))
		}
		return errs
	}
	jobs := make([]job, len(tries))
	for i := range tries {
		jobs[i] = job{Library: lib.node, Does: "verify", Secret: secret, Headers: lower(tries[i].header), Body: tries[i].body}
	}
	for i, r := range runNode(t, jobs) {
		if r.Error != "" {
			errs[i] = errors.New(r.Error)
		}
	}
	return errs
}

// signAll has the library sign every body, and answers the headers.
func (lib *library) signAll(t *testing.T, secret, id string, at time.Time, bodies map[string]string) map[string]http.Header {
	t.Helper()
	signed := map[string]http.Header{}
	var jobs []job
	var names []string
	for name, body := range bodies {
		if lib.node != "" {
			names = append(names, name)
			jobs = append(jobs, job{Library: lib.node, Does: "sign", Secret: secret, ID: id, Time: at.Unix(), Body: body})
			continue
		}
		h, err := lib.sign(secret, id, at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		signed[name] = h
	}
	if len(jobs) > 0 {
		for i, r := range runNode(t, jobs) {
			if r.Error != "" {
				t.Fatalf("%s: %s", names[i], r.Error)
			}
			h := http.Header{}
			for name, value := range r.Headers {
				h.Set(name, value)
			}
			signed[names[i]] = h
		}
	}
	if len(signed) != len(bodies) {
		t.Fatalf("signed %d of %d", len(signed), len(bodies))
	}
	return signed
}
