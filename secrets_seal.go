package hookgate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// keyFile is the file in the gateway's folder whose key seals what the store keeps secret. Whoever has the store and not
// this file has no secret; so a backup leaves it out, and it is kept somewhere else.
const (
	keyFile    = "secrets.key"
	keyVersion = "hookgate-key-1:" // then 32 bytes in base64
	keySize    = 32
)

// A sealed value is a version, four bytes that name the key, a random nonce, and the ciphertext with its tag.
const (
	sealVersion = 1
	sealHead    = 1 + 4
	sealNonce   = 12
	sealTag     = 16
)

var (
	errOtherKey = errors.New("it was sealed with another key: put the old " + keyFile + " back")
	errSealed   = errors.New("the sealed value is damaged, or belongs somewhere else")
)

// aesSealer seals with AES-256-GCM. Nonces are random: with one key for the secrets of a gateway, 2^32 values would have to
// be sealed before two nonces are likely to be the same.
type aesSealer struct {
	aead cipher.AEAD
	head [sealHead]byte
}

func newAESSealer(key []byte) (*aesSealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &aesSealer{aead: aead}
	sum := sha256.Sum256(append([]byte("hookgate key id "), key...))
	s.head[0] = sealVersion
	copy(s.head[1:], sum[:])
	return s, nil
}

// Seal encrypts plain and binds it to the context.
func (s *aesSealer) Seal(plain []byte, context string) ([]byte, error) {
	out := make([]byte, sealHead+sealNonce, sealHead+sealNonce+len(plain)+sealTag)
	copy(out, s.head[:])
	if _, err := rand.Read(out[sealHead:]); err != nil {
		return nil, err
	}
	return s.aead.Seal(out, out[sealHead:], plain, s.bound(context)), nil
}

// Open decrypts what Seal made for the same context.
func (s *aesSealer) Open(sealed []byte, context string) ([]byte, error) {
	switch {
	case len(sealed) < sealHead+sealNonce+sealTag || sealed[0] != sealVersion:
		return nil, errSealed
	case s.otherKey(sealed):
		return nil, errOtherKey
	}
	plain, err := s.aead.Open(nil, sealed[sealHead:sealHead+sealNonce], sealed[sealHead+sealNonce:], s.bound(context))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// bound is what a sealed value is bound to: its head and where it belongs.
func (s *aesSealer) bound(context string) []byte {
	return append(s.head[:len(s.head):len(s.head)], context...)
}

func (s *aesSealer) otherKey(sealed []byte) bool {
	return len(sealed) >= sealHead && sealed[0] == sealVersion && string(sealed[1:sealHead]) != string(s.head[1:])
}

// String keeps the key out of anything that is printed.
func (s *aesSealer) String() string { return "the sealer of " + keyFile }

// GoString is String.
func (s *aesSealer) GoString() string { return s.String() }

// openSealer reads the key in the folder, or makes one. The caller has the folder's store open, so nobody else makes one at
// the same time.
func openSealer(dir string) (Sealer, error) {
	path := filepath.Join(dir, keyFile)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make %s: %w", path, err)
		}
		err = writeKey(dir, path, key)
	}
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newAESSealer(key)
}

// readKey never repeats what is in the file.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular() || info.Size() > 1024:
		return nil, fmt.Errorf("%s is not a key file: put the one of this folder back, from where you keep it apart from the backups", path)
	case mode.Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("%s can be read by other users (mode %04o): chmod 600 it", path, mode.Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), keyVersion)
	if !ok {
		return nil, fmt.Errorf("%s does not begin with %s: it is damaged or was written by another version; put the one of this folder back", path, keyVersion)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s does not hold %d bytes in base64: it is damaged; put the one of this folder back", path, keySize)
	}
	return key, nil
}

// writeKey makes the file under another name and renames it when it is on disk: there is never half a key, and no secret is
// sealed with a key that a power cut takes away.
func writeKey(dir, path string, key []byte) (err error) {
	f, err := os.CreateTemp(dir, keyFile+".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("make %s: %w", path, err)
		}
	}()
	_, err = f.WriteString(keyVersion + base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be opened there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
