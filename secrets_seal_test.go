package hookgate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestSealerOpensOnlyWhatItSealedForThere(t *testing.T) {
	t.Parallel()
	s := newTestSealer(t)
	plain := []byte("whsec_the-secret")
	sealed, err := s.Seal(plain, "secret:acme/a")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.Seal(plain, "secret:acme/a")
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, again) {
		t.Error("the sealed value shows what is in it")
	}
	if got, err := s.Open(sealed, "secret:acme/a"); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened %q, %v", got, err)
	}
	if _, err := s.Open(sealed, "secret:acme/b"); err != errSealed {
		t.Errorf("moved to another endpoint: %v", err)
	}
	if _, err := newTestSealer(t).Open(sealed, "secret:acme/a"); err != errOtherKey {
		t.Errorf("with another key: %v", err)
	}
	for i := range sealed {
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		if _, err := s.Open(bent, "secret:acme/a"); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := s.Open(sealed[:i], "secret:acme/a"); err == nil {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
}

func TestKeyFileIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := openSealer(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Seal([]byte("x"), "c")
	if err != nil {
		t.Fatal(err)
	}
	second, err := openSealer(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second.Open(sealed, "c"); err != nil || string(got) != "x" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 || files[0].Name() != keyFile {
		t.Errorf("the folder holds %v", files)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	text, _ := os.ReadFile(filepath.Join(dir, keyFile))
	key := strings.TrimSpace(strings.TrimPrefix(string(text), keyVersion))
	raw, _ := base64.StdEncoding.DecodeString(key)
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %s", first, first, first, first), fmt.Sprintf("%+v %#v", struct{ S Sealer }{first}, Config{Sealer: first})} {
		if strings.Contains(printed, key) || strings.Contains(printed, string(raw)) || strings.Contains(printed, fmt.Sprint(raw[:8])[1:]) {
			t.Errorf("the key is printed: %s", printed)
		}
	}
}

func TestBadKeyFileSaysWhatToDo(t *testing.T) {
	t.Parallel()
	const canary = "Q0FOQVJZ"
	good := keyVersion + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"empty":     {"", 0o600, "put the one of this folder back"},
		"garbage":   {canary, 0o600, "put the one of this folder back"},
		"short":     {keyVersion + canary, 0o600, "32 bytes"},
		"no base64": {keyVersion + canary + "!", 0o600, "32 bytes"},
		"version":   {"hookgate-key-9:" + canary, 0o600, "another version"},
		"large":     {good + strings.Repeat(" ", 2000), 0o600, "not a key file"},
		"open":      {good, 0o644, "chmod 600"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.mode != 0o600 && runtime.GOOS == "windows" {
				t.Skip("modes mean nothing here")
			}
			dir := t.TempDir()
			path := filepath.Join(dir, keyFile)
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := openSealer(dir, nil)
			if err == nil {
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), canary) {
				t.Errorf("the error is %q", err)
			}
			if got, _ := os.ReadFile(path); string(got) != c.text {
				t.Error("the file was changed")
			}
		})
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSealer(filepath.Join(t.TempDir(), "missing"), nil); err == nil || !strings.Contains(err.Error(), keyFile) {
		t.Errorf("in a folder that does not exist: %v", err)
	}
}
