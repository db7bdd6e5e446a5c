package hookgate

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// keyFile is the file in the gateway's folder whose keys seal what the store keeps secret, a line for each. The first seals;
// the others open what they sealed when they were first. Whoever has the store and not this file has no secret; so a backup
// leaves it out, and it is kept somewhere else.
const (
	keyFile     = "secrets.key"
	keyVersion  = "hookgate-key-1:" // then 32 bytes in base64
	keySize     = 32
	maxFileKeys = 16
	fileKeyID   = "file:" // then the four bytes that name the key, in hex
)

// fileKeys are the keys of secrets.key: a KeyProvider without a network.
type fileKeys struct{ keys []*aesSealer }

// dataKeyContext is what a wrapped data key is bound to.
const dataKeyContext = "data key"

func (f *fileKeys) idOf(k *aesSealer) string { return fileKeyID + hex.EncodeToString(k.head[1:]) }

// KeyID names the first.
func (f *fileKeys) KeyID() string { return f.idOf(f.keys[0]) }

// Wrap seals a data key.
func (f *fileKeys) Wrap(_ context.Context, keyID string, dataKey []byte) ([]byte, error) {
	k := f.key(keyID)
	if k == nil {
		return nil, errOtherKey
	}
	return k.Seal(dataKey, dataKeyContext)
}

// Unwrap opens it.
func (f *fileKeys) Unwrap(_ context.Context, keyID string, wrapped []byte) ([]byte, error) {
	k := f.key(keyID)
	if k == nil {
		return nil, errOtherKey
	}
	return k.Open(wrapped, dataKeyContext)
}

// key answers the one with an ID; nil: it is not in the file.
func (f *fileKeys) key(keyID string) *aesSealer {
	for _, k := range f.keys {
		if f.idOf(k) == keyID {
			return k
		}
	}
	return nil
}

// sealedBy answers the key that sealed a value without a data key; nil: it is not in the file.
func (f *fileKeys) sealedBy(sealed []byte) *aesSealer {
	for _, k := range f.keys {
		if !k.otherKey(sealed) {
			return k
		}
	}
	return nil
}

// open opens a value that was sealed without a data key.
func (f *fileKeys) open(sealed []byte, context string) ([]byte, error) {
	k := f.sealedBy(sealed)
	if k == nil {
		return nil, errOtherKey
	}
	return k.Open(sealed, context)
}

// String keeps the keys out of anything that is printed.
func (f *fileKeys) String() string { return "the keys of " + keyFile }

// GoString is String.
func (f *fileKeys) GoString() string { return f.String() }

// openSealer makes the sealer of a folder: of the provider, or of the keys in the folder, of which it makes one if there is
// none. With a provider the keys of a folder that has some open what they sealed before. The caller has the folder's store
// open, so nobody else makes a key at the same time.
func openSealer(dir string, p KeyProvider) (Sealer, error) {
	path := filepath.Join(dir, keyFile)
	keys, err := readKeys(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p != nil:
		return newEnvelopeSealer(p, nil), nil
	case errors.Is(err, fs.ErrNotExist):
		key := make([]byte, keySize)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make %s: %w", path, err)
		}
		keys, err = [][]byte{key}, writeKey(dir, path, key)
		if err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	file, err := newFileKeys(path, keys)
	if err != nil {
		return nil, err
	}
	if p == nil {
		p = file
	}
	return newEnvelopeSealer(p, file), nil
}

// newFileKeys wipes the keys that it is given.
func newFileKeys(path string, keys [][]byte) (*fileKeys, error) {
	file := new(fileKeys)
	for i, key := range keys {
		k, err := newAESSealer(key)
		clear(key)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(file.keys, func(o *aesSealer) bool { return o.head == k.head }) {
			return nil, fmt.Errorf("%s has the key of line %d twice: leave one of them out", path, i+1)
		}
		file.keys = append(file.keys, k)
	}
	return file, nil
}

// readKeys never repeats what is in the file.
func readKeys(path string) (keys [][]byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular() || info.Size() > 2000:
		return nil, fmt.Errorf("%s is not a key file: put the one of this folder back, from where you keep it apart from the backups", path)
	case mode.Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("%s can be read by other users (mode %04o): chmod 600 it", path, mode.Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	line := 0
	for l := range strings.Lines(strings.TrimSpace(string(text)) + "\n") {
		line++
		encoded, ok := strings.CutPrefix(strings.TrimSpace(l), keyVersion)
		if !ok {
			return nil, fmt.Errorf("line %d of %s does not begin with %s: it is damaged or was written by another version; put the one of this folder back", line, path, keyVersion)
		}
		key, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil || len(key) != keySize {
			return nil, fmt.Errorf("line %d of %s does not hold %d bytes in base64: it is damaged; put the one of this folder back", line, path, keySize)
		}
		keys = append(keys, key)
	}
	if len(keys) > maxFileKeys {
		return nil, fmt.Errorf("%s holds %d keys, the limit is %d: call RewrapSecrets and leave old ones out", path, len(keys), maxFileKeys)
	}
	return keys, nil
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
