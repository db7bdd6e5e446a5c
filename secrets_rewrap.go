package hookgate

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hookgate/hookgate/store"
)

// RewrapResult is what RewrapSecrets did.
type RewrapResult struct {
	Endpoints int // that were looked at
	Rewrapped int // of these, sealed anew
	Failed    int // of these, not: they are as they were
	Rejected  int // sources whose refused requests were sealed anew
}

// RewrapSecrets seals everything anew that is not sealed under the current key: the first line of secrets.key, or what
// KeyProvider.KeyID says. When it returns nil, the keys of before are needed by nothing in the store any more. The store's
// journal keeps older versions of documents for a while, and backups do for as long as you keep them: for a key that is known to
// others, rotate the secrets too.
//
// It works while everything else goes on, with or without Run, and each endpoint is sealed anew by itself: called again after
// an error or a crash it goes on with what is left, and called again after that it does nothing. An endpoint's Version grows, so
// an UpdateEndpoint with what was read before is ErrConflict. Secrets that were stored as they are, with PlainSecrets, are
// sealed when there is a Sealer or KeyProvider beside it.
//
// A Sealer of your own is asked what is sealed under its current key if it has the method Current(sealed []byte) bool; without
// it everything is sealed anew at every call.
//
// The error says which endpoints failed and why; the result counts what was done all the same.
func (g *Gateway) RewrapSecrets(ctx context.Context) (RewrapResult, error) {
	var res RewrapResult
	if g.sealer == nil {
		return res, configError("Config.Sealer", "is needed to seal secrets: set one, or KeyProvider")
	}
	var errs []error
	fail := func(what string, err error) {
		if len(errs) < 5 { // the first few will do
			errs = append(errs, &rewrapError{what, err})
		}
	}
	err := g.view.eachDoc(ctx, func(doc *store.Doc) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		res.Endpoints++
		_, stored, err := decodeEndpoint(doc)
		if err == nil && g.current(stored) {
			return nil
		}
		done := false
		if err == nil {
			done, err = g.rewrap(ctx, doc.Group, doc.ID)
		}
		switch {
		case err == nil && done:
			res.Rewrapped++
		case err == nil, errors.Is(err, ErrNotFound): // somebody else did, or deleted it
		case ctx.Err() != nil, errors.Is(err, ErrClosed), errors.Is(err, ErrFailed), errors.Is(err, store.ErrClosed):
			return err
		default:
			res.Failed++
			fail(string(endpointDestination(doc.Group, doc.ID)), err)
		}
		return nil
	})
	if err == nil {
		res.Rejected, err = g.rewrapRejected(fail)
	}
	return res, edge("rewrap secrets", errors.Join(append(errs, err)...))
}

// rewrapError is why one thing of many was not sealed anew.
type rewrapError struct {
	what string
	err  error
}

func (e *rewrapError) Error() string {
	return e.what + ": " + strings.TrimPrefix(e.err.Error(), "hookgate: ")
}

func (e *rewrapError) Unwrap() error { return e.err }

// current reports whether a ring is sealed under the key that seals now. One that is not there needs no key.
func (g *Gateway) current(stored string) bool {
	return len(stored) == 0 || stored[0] == ringSealed && g.sealedNow([]byte(stored[1:]))
}

func (g *Gateway) sealedNow(sealed []byte) bool {
	s, ok := g.sealer.(interface{ Current(sealed []byte) bool })
	return ok && s.Current(sealed)
}

// rewrap seals the ring of one endpoint anew, as it is now. Not done: there was nothing to do.
func (g *Gateway) rewrap(ctx context.Context, tenant, id string) (done bool, err error) {
	g.warmUp(tenant, id)
	err = g.change(ctx, tenant, id, func(t *target) error {
		done = false
		if t.broken != nil {
			return t.broken
		}
		stored := t.storedRing()
		if g.current(stored.stored) {
			return nil
		}
		ring, err := stored.open()
		if err != nil {
			return err
		}
		if err := stored.set(ring); err != nil {
			return err
		}
		done = true
		_, err = g.writeEndpoint(ctx, t.endpoint.clone(), stored.stored, t.endpoint.Version)
		return err
	})
	return done, err
}

// rewrapRejected seals the files of refused requests anew, also those of sources that nobody declared this time.
func (g *Gateway) rewrapRejected(fail func(what string, err error)) (n int, err error) {
	if g.dir == "" {
		return 0, nil
	}
	files, err := os.ReadDir(filepath.Join(g.dir, rejectedDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return 0, err
	}
	for _, f := range files {
		if !f.Type().IsRegular() || !isSourceName(f.Name()) { // such as one that is being written
			continue
		}
		done, err := g.rewrapSource(f.Name())
		if err != nil {
			fail("rejected requests of "+f.Name(), err)
		} else if done {
			n++
		}
	}
	return n, nil
}

func (g *Gateway) rewrapSource(name string) (bool, error) {
	g.inbound.mu.Lock() // nobody declares it meanwhile
	s := g.inbound.source(name)
	if s != nil {
		g.inbound.mu.Unlock()
	} else {
		defer g.inbound.mu.Unlock()
		s = &source{name: name}
		s.rejected = &rejectedRing{source: name, path: filepath.Join(g.dir, rejectedDir, name), sealer: g.sealer}
	}
	return s.rejected.rewrap(g.sealedNow)
}

// rewrap seals the ring's file anew as it is; what is not written yet will be in its turn.
func (r *rejectedRing) rewrap(current func(sealed []byte) bool) (bool, error) {
	if r.path == "" {
		return false, nil
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	sealed, err := os.ReadFile(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case current(sealed):
		return false, nil
	}
	plain, err := r.sealer.Open(sealed, r.context())
	if err != nil {
		return false, err
	}
	return true, r.put(plain)
}
