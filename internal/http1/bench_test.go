package http1

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// benchAnswer is what a receiver made with net/http answers.
const benchAnswer = "HTTP/1.1 200 OK\r\nDate: Thu, 15 Jan 2026 12:02:00 GMT\r\nContent-Length: 0\r\n\r\n"

// benchReceiver answers with as little work as it can, so that the sender shows.
func benchReceiver(b *testing.B, size int) *server {
	return serveConns(b, func(c net.Conn) {
		c.SetDeadline(time.Time{})
		buf := make([]byte, 8192)
		for have := 0; ; {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			if i := bytes.Index(buf[:have], []byte("\r\n\r\n")); i >= 0 && have >= i+4+size {
				have = 0
				if _, err := c.Write([]byte(benchAnswer)); err != nil {
					return
				}
			}
		}
	})
}

// BenchmarkDo is a request as a gateway makes it: signed, with a deadline, on a kept connection.
func BenchmarkDo(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 512)
	do := func(b *testing.B, c *Client, s *server) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r := &Request{Addr: s.addr, Method: "POST", Target: "/hook", Host: s.addr, Body: body, Header: http.Header{
			"Content-Type":      {"application/json"},
			"User-Agent":        {"hookgate/dev"},
			"Webhook-Id":        {"01980000-0000-7000-8000-000000000000"},
			"Webhook-Timestamp": {"1768478520"},
			"Webhook-Signature": {"v1,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
		}}
		if res, err := c.Do(ctx, r); err != nil || res.Status != http.StatusOK {
			b.Error(res, err)
		}
	}
	b.Run("one", func(b *testing.B) {
		s, c := benchReceiver(b, len(body)), newClient(b)
		b.ReportAllocs()
		for b.Loop() {
			do(b, c, s)
		}
		b.StopTimer()
		c.Close()
	})
	b.Run("many", func(b *testing.B) {
		s, c := benchReceiver(b, len(body)), newClient(b)
		c.MaxIdlePerHost = 64
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				do(b, c, s)
			}
		})
		b.StopTimer()
		c.Close()
	})
}
