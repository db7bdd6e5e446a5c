package signing

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Explaining a mismatch costs more than finding it. It is done for small bodies, with few keys, and so many times a
// second for each verifier; the rest is refused with less to read.
const (
	explainBody   = 64 << 10
	explainKeys   = 4
	explainSecond = 20
)

// budget allows so many explanations a second.
type budget struct {
	mu     sync.Mutex
	second int64
	used   int
}

func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := now.Unix(); s != b.second {
		b.second, b.used = s, 0
	}
	b.used++
	return b.used <= explainSecond
}

// mismatch says that nothing fits, and why, where that can be found out.
func (x *reading) mismatch() error {
	detail := fmt.Sprintf("%s fits none of %s", x.v.where, count(len(x.v.secrets), "key"))
	if n := len(x.found); n > 1 {
		detail = fmt.Sprintf("none of the %d signatures in %s fits any of %s", n, x.v.where, count(len(x.v.secrets), "key"))
	}
	return x.refuse(ErrMismatch, "%s: %s", detail, x.cause())
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// cause is the likely reason of a mismatch.
func (x *reading) cause() string {
	switch {
	case x.v.covers == CoversNothing:
		return "put in the token that the sender uses"
	case !x.hasKey():
		return "the signature is of a kind for which no secret is set (v1 wants whsec_, v1a wants whpk_)"
	}
	if len(x.r.Body) <= explainBody && x.v.explain.take(time.Now()) {
		if x.v.covers == CoversBody {
			if s := x.changedBody(); s != "" {
				return s
			}
		}
		if s := x.otherKey(); s != "" {
			return s
		}
		if s := x.otherURL(); s != "" {
			return s
		}
	}
	if x.v.covers == CoversBody && len(x.r.Body) == 0 {
		return "the body is empty, perhaps because a middleware read it first"
	}
	return "the secret belongs to another endpoint, the key was rotated, or the body was changed on its way"
}

// hasKey reports whether any key is of the kind of any signature.
func (x *reading) hasKey() bool {
	for i := range x.v.keys {
		if x.wants(x.v.keys[i].algorithm) {
			return true
		}
	}
	return false
}

// otherKey tries the other ways in which a secret can be read.
func (x *reading) otherKey() string {
	for i, secret := range x.v.secrets[:min(len(x.v.secrets), explainKeys)] {
		text := secret.Reveal()
		for _, other := range []struct {
			kind  SecretKind
			words string
		}{
			{TextSecret, "as plain text (TextSecret)"},
			{StandardSecret, "as base64 (StandardSecret)"},
			{HexSecret, "as hexadecimal (HexSecret)"},
		} {
			raw := []byte(text)
			var err error
			switch other.kind {
			case StandardSecret:
				raw, err = decodeBase64(strings.TrimPrefix(text, prefixHMAC))
			case HexSecret:
				raw, err = hex.DecodeString(text)
			}
			if other.kind == x.v.s.Secret || err != nil || len(raw) == 0 {
				continue
			}
			if x.fitsKey(raw, text) {
				return fmt.Sprintf("it fits secret %d when that is read %s: the row reads secrets another way than the sender", i+1, other.words)
			}
		}
	}
	return ""
}

// fitsKey tries a key of these bytes with every algorithm of the row.
func (x *reading) fitsKey(raw []byte, text string) bool {
	for _, tag := range x.v.s.Tags {
		kind := tag.Algorithm.kind()
		if kind == nil {
			continue
		}
		mac, err := newMACKey(kind, raw)
		if err == nil && x.fits(&key{algorithm: tag.Algorithm, mac: mac, text: NewSecret(text)}, x.r.Body) {
			return true
		}
	}
	return false
}
