package hookgate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hookgate/hookgate/signing"
)

// Rejected answers the requests of a source that were refused of late, newest first. It is for people who want to know why
// a provider's requests do not come in. It promises nothing: the number and size are bounded (Source.RejectedCount), a
// flood is kept in part, and a crash may lose the newest. Requests that were only asked to come later (429, 503) are not
// among them.
//
// The error is ErrNotFound if there is no such source.
func (g *Gateway) Rejected(source string) ([]Rejection, error) {
	s := g.inbound.source(source)
	if s == nil {
		return nil, noSource(source)
	}
	return s.rejected.list(), nil
}

// VerifyAgain looks at a refused request once more, with the source's verifier of today and the clock of the time at which
// the request came. If it is genuine now, such as after a secret was mended, its event is stored as if it had been accepted
// then, and the request leaves the ring. It works without Run, and calling it again after an error does no harm.
//
// A request that is stored already under the provider's ID gives the receipt of that event with Duplicate set. Otherwise the
// error says why the request stays out: signing.ErrRefused and its kinds, ErrConflict, or ErrNotFound for a source or
// request that is not there.
func (g *Gateway) VerifyAgain(ctx context.Context, source, id string) (Receipt, error) {
	s := g.inbound.source(source)
	if s == nil {
		return Receipt{}, noSource(source)
	}
	s.again.Lock()
	defer s.again.Unlock()
	it := s.rejected.get(id)
	if it == nil {
		return Receipt{}, fmt.Errorf("hookgate: rejected request %q of %s: %w", cleanText(id, 40), source, ErrNotFound)
	}
	receipt, err := g.verifyAgain(ctx, s, it)
	if err != nil {
		return receipt, edge("verify again", err)
	}
	s.rejected.remove(it.No)
	return receipt, nil
}

func (g *Gateway) verifyAgain(ctx context.Context, s *source, it *rejected) (Receipt, error) {
	switch {
	case it.Method != http.MethodPost:
		return Receipt{}, fmt.Errorf("a %s request is no event", cleanText(it.Method, 20))
	case !it.Whole:
		return Receipt{}, errors.New("its body was not kept whole; the provider has to send it again")
	}
	p := s.proof.Load()
	req := &signing.Request{
		Method: it.Method, URL: it.URL, Header: it.Header.Clone(), Body: bytes.Clone(it.Body), Time: it.Time,
		Remote: addrOf(it.Remote), Context: ctx, // the connection, with its certificate, is gone
	}
	if p.handshake != nil {
		if reply, err := p.handshake.Handshake(req); err != nil || reply != nil {
			return Receipt{}, errors.New("it is a handshake and no event; have the provider repeat it")
		}
	}
	r, err := it.request(ctx, req)
	if err != nil {
		return Receipt{}, err
	}
	ev, err := s.judge(p, req, r)
	if err != nil {
		return Receipt{}, err
	}
	ev.ID = it.eventID(s)
	receipt, err := g.take(ctx, s, p, ev)
	if errors.Is(err, ErrConflict) {
		err = fmt.Errorf("%s: %w", reasonConflict, err)
	}
	return receipt, err
}

// request makes the request again as the source's functions saw it.
func (it *rejected) request(ctx context.Context, req *signing.Request) (*http.Request, error) {
	u, err := url.Parse(it.URL)
	if err != nil {
		return nil, errors.New("its URL cannot be read")
	}
	r := &http.Request{
		Method: it.Method, URL: &url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}, RequestURI: u.RequestURI(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: req.Header, Host: it.Host, RemoteAddr: it.Remote,
		Body: io.NopCloser(bytes.NewReader(req.Body)), ContentLength: int64(len(req.Body)),
	}
	return r.WithContext(ctx), nil
}

// eventID is always the same for one request in the ring, so that accepting it twice makes one event even if the process
// dies before the ring is written.
func (it *rejected) eventID(s *source) ID {
	h := sha256.New()
	head := binary.BigEndian.AppendUint64(nil, it.No)
	head = binary.BigEndian.AppendUint64(head, uint64(it.Time.UnixNano()))
	_, _ = fmt.Fprintf(h, "hookgate verify again\x00%s\x00%s\x00%s\x00%s\x00", s.Tenant, s.name, it.URL, head)
	_, _ = h.Write(it.Body)
	id := ID(h.Sum(nil)[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8: made by rules of our own
	return id
}
