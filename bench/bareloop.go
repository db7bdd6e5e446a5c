package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// bareLoop is the limit for everything that delivers over HTTP: a tuned net/http client that POSTs a signed payload and
// stores nothing. The request has the headers of Standard Webhooks, as hookgate's has, and an id of the same length.
//
// Tuned means: as many idle connections as callers, no compression, no proxy, no redirects, no HTTP/2, no client above the
// transport, one write for each request, the URL parsed once, and buffers that each caller uses again.
type bareLoop struct {
	transport *http.Transport
	template  *http.Request
	serial    atomic.Uint64
	accepted  atomic.Int64 // answered with 200
}

func newBareLoop(to string, callers int) (*bareLoop, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	return &bareLoop{
		transport: &http.Transport{
			DialContext:         (&net.Dialer{}).DialContext,
			DisableCompression:  true,
			MaxIdleConns:        2 * callers,
			MaxIdleConnsPerHost: callers,
			IdleConnTimeout:     time.Minute,
			WriteBufferSize:     16 << 10,
		},
		template: &http.Request{Method: http.MethodPost, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1},
	}, nil
}

func (b *bareLoop) close() { b.transport.CloseIdleConnections() }

// post sends one payload and answers when the receiver did.
func (b *bareLoop) post(s *standardSigner, n uint64, body []byte) error {
	now := time.Now()
	id := bareID(n)
	timestamp, signature := s.sign(id, now, body)
	req := b.template.WithContext(context.Background())
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"bare-loop"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
		"Webhook-Signature": {signature},
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.ContentLength = int64(len(body))
	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("bare loop: the receiver answered %s", resp.Status)
	}
	b.accepted.Add(1)
	return nil
}

// bareID makes a message id that looks like hookgate's.
func bareID(n uint64) string {
	id := []byte("01980000-0000-7000-8000-000000000000")
	putDigits(id[len(id)-12:], n)
	return string(id)
}

// caller answers a function that makes one signed POST per call. It is for one goroutine.
func (b *bareLoop) caller(key int) func() error {
	s := newStandardSigner()
	body := newPayload(0, key)
	return func() error {
		n := b.serial.Add(1)
		putDigits(body[offsetN:offsetN+digitsLong], n)
		return b.post(s, n, body)
	}
}
