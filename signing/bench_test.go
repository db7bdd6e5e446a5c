package signing_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// body1K is an event of 1 KiB as Standard Webhooks recommends them: the type comes first.
var body1K = func() []byte {
	head := `{"type":"invoice.paid","timestamp":"2026-01-02T03:04:05Z","data":{"note":"`
	return []byte(head + strings.Repeat("x", 1024-len(head)-3) + `"}}`)
}()

// body1KLast has the type behind everything else, and little in strings: the worst for finding it.
var body1KLast = func() []byte {
	tail := `],"type":"invoice.paid"}`
	head := `{"data":[`
	fill := strings.Repeat("1,", (1024-len(head)-len(tail))/2) + "1"
	return []byte(head + fill + tail)
}()

// BenchmarkBareHMAC is what the others are measured against.
func BenchmarkBareHMAC(b *testing.B) {
	key := make([]byte, 32)
	var sum [32]byte
	b.ReportAllocs()
	for b.Loop() {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write(body1K)
		mac.Sum(sum[:0])
	}
}

// BenchmarkReusedHMAC keeps the keyed state, as a loop that is tuned by hand does.
func BenchmarkReusedHMAC(b *testing.B) {
	mac := hmac.New(sha256.New, make([]byte, 32))
	var sum [32]byte
	b.ReportAllocs()
	for b.Loop() {
		mac.Reset()
		_, _ = mac.Write(body1K)
		mac.Sum(sum[:0])
	}
}

func BenchmarkSignStandard(b *testing.B) {
	for name, secrets := range map[string][]signing.Secret{
		"one":     {signing.StandardWebhooks.NewSecret()},
		"two":     {signing.StandardWebhooks.NewSecret(), signing.StandardWebhooks.NewSecret()},
		"ed25519": {signing.NewEd25519Secret()},
	} {
		b.Run(name, func(b *testing.B) {
			h := http.Header{}
			m := signing.Message{ID: "0198c0de-0000-7000-8000-000000000000", Time: time.Now(), Body: body1K}
			b.ReportAllocs()
			for b.Loop() {
				if err := signing.StandardWebhooks.Sign(h, m, secrets); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSignStandardParallel(b *testing.B) {
	secrets := []signing.Secret{signing.StandardWebhooks.NewSecret()}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		h := http.Header{}
		m := signing.Message{ID: "0198c0de-0000-7000-8000-000000000000", Time: time.Now(), Body: body1K}
		for pb.Next() {
			if err := signing.StandardWebhooks.Sign(h, m, secrets); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkVerifyStandard(b *testing.B) {
	for name, body := range map[string][]byte{"type first": body1K, "type last": body1KLast} {
		b.Run(name, func(b *testing.B) {
			secret := signing.StandardWebhooks.NewSecret()
			r := signed(b, signing.Message{ID: "0198c0de-0000-7000-8000-000000000000", Time: time.Now(), Body: body}, secret)
			v, err := signing.Standard(secret)
			benchVerify(b, mustVerifier(b, v, err), r)
		})
	}
}

func BenchmarkVerifyGitHub(b *testing.B) {
	r := github(b, string(body1K), "X-GitHub-Event: push", "X-GitHub-Delivery: d")
	v, err := signing.GitHub(signing.NewSecret(textSecret))
	benchVerify(b, mustVerifier(b, v, err), r)
}

func benchVerify(b *testing.B, v signing.Verifier, r *signing.Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuse is what a request with a wrong signature costs.
func BenchmarkRefuse(b *testing.B) {
	r := github(b, string(body1K))
	v, err := signing.GitHub(signing.NewSecret("another secret"))
	v = mustVerifier(b, v, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err == nil {
			b.Fatal("accepted")
		}
	}
}

// TestVerifyAllocatesLittle holds the number of allocations; the time is for the benchmarks.
func TestVerifyAllocatesLittle(t *testing.T) {
	secret := signing.StandardWebhooks.NewSecret()
	m := signing.Message{ID: "0198c0de-0000-7000-8000-000000000000", Time: time.Now(), Body: body1K}
	r := signed(t, m, secret)
	v, err := signing.Standard(secret)
	v = mustVerifier(t, v, err)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := v.Verify(r); err != nil {
			t.Error(err)
		}
	}); n > 4 {
		t.Errorf("Verify makes %v allocations, 4 are the most", n)
	}
	secrets := []signing.Secret{secret}
	if n := testing.AllocsPerRun(200, func() {
		if err := signing.StandardWebhooks.Sign(r.Header, m, secrets); err != nil {
			t.Error(err)
		}
	}); n > 4 {
		t.Errorf("Sign makes %v allocations, 4 are the most", n)
	}
}
