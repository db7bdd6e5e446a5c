package signing_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

// A verifier is a setting, and settings are printed.
func TestVerifiersPrintNoSecret(t *testing.T) {
	t.Parallel()
	raw := "canary-secret-of-a-verifier-1234"
	texts := []string{raw, base64.StdEncoding.EncodeToString([]byte(raw)), "whsec_" + base64.StdEncoding.EncodeToString([]byte(raw)), hex.EncodeToString([]byte(raw))}
	made := 0
	for _, name := range signing.Presets() {
		for _, text := range texts {
			v, err := signing.ForProvider(name, signing.Options{}, signing.NewSecret(text))
			if err != nil {
				continue // it wants another form, or more
			}
			made++
			var out strings.Builder
			for _, it := range []any{v, struct{ Verifier signing.Verifier }{v}, &struct{ v signing.Verifier }{v}, map[string]any{"v": v}} {
				data, _ := json.Marshal(it)
				fmt.Fprintf(&out, "%v\n%+v\n%#v\n%s\n%q\n%x\n%s\n", it, it, it, it, it, it, data)
				slog.New(slog.NewTextHandler(&out, nil)).Info("x", "it", it)
			}
			for _, form := range append(texts, fmt.Sprintf("%x", text), strings.Trim(fmt.Sprint([]byte(raw)), "[]"), strings.Trim(fmt.Sprint([]byte(text)), "[]"), strings.Trim(fmt.Sprintf("%#v", []byte(raw)), "[]byte{}")) {
				if strings.Contains(out.String(), form) {
					t.Errorf("%s prints its secret", name)
					break
				}
			}
			break
		}
	}
	if made < 5 {
		t.Errorf("only %d verifiers were made", made)
	}
}
