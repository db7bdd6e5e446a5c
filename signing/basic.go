package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Basic verifies senders that log in with a user and a password (RFC 7617, "Authorization: Basic ..."). A request is good
// if any of the passwords fits. The verdict's Subject is the user.
//
// The user is not empty and has no colon; a password has 8 bytes or more. Both are compared as bytes: where they are not
// ASCII, the sender has to use UTF-8, as RFC 7617 asks. Nothing is signed (CoversNothing): whoever reads one request can
// make others, so let requests come by TLS only.
//
// An error means a user or password that is empty, too short, or could not be sent.
func Basic(user string, passwords ...Secret) (Verifier, error) {
	set, err := newTokens(passwords)
	if err == nil {
		err = checkUser(user)
	}
	if err != nil {
		return nil, fmt.Errorf("signing: basic-auth: %w", err)
	}
	v := &basic{passwords: set}
	for range passwords {
		v.users = append(v.users, user)
		v.hashed = append(v.hashed, sha256.Sum256([]byte(user)))
	}
	return v, nil
}

// basicProvider is the entry of the catalogue. A secret is the user, a colon and the password, as people write it; each
// may have a user of its own.
var basicProvider = provider{
	Provider: Provider{
		Title: "HTTP Basic (Chargebee, Postmark and others)", Header: "`Authorization: Basic`", Algorithm: "user and password, shown",
		Secret: "`user:password`", Source: VendorDocs,
	},
	code: func(_ Options, secrets []Secret) (Verifier, error) {
		v := &basic{}
		passwords := make([]Secret, len(secrets))
		for i, s := range secrets {
			user, password, ok := strings.Cut(s.Reveal(), ":")
			if !ok && !s.IsZero() {
				return nil, fmt.Errorf("signing: basic-auth: secret %d has no colon; write it as user:password", i+1)
			}
			if err := checkUser(user); err != nil && ok {
				return nil, fmt.Errorf("signing: basic-auth: secret %d: %w", i+1, err)
			}
			v.users = append(v.users, user)
			v.hashed = append(v.hashed, sha256.Sum256([]byte(user)))
			passwords[i] = NewSecret(password)
		}
		var err error
		if v.passwords, err = newTokens(passwords); err != nil {
			return nil, fmt.Errorf("signing: basic-auth: %w", err)
		}
		return v, nil
	},
}

func checkUser(user string) error {
	switch {
	case user == "":
		return errors.New("the user is empty; put in the one that the sender uses")
	case strings.Contains(user, ":") || hasControl(user):
		return errors.New("the user has a colon or a control character, which Basic cannot send")
	case len(user) > maxHeader/4:
		return fmt.Errorf("the user has %d bytes, %d are the most", len(user), maxHeader/4)
	}
	return nil
}

// basic holds pairs of a user and a password, at the same place of each list.
type basic struct {
	users     []string
	hashed    tokens // the users
	passwords tokens
}

// Verify compares user and password with every pair.
func (v *basic) Verify(r *Request) (Verdict, error) {
	user, password, err := readBasic(r)
	if err != nil {
		return Verdict{}, named("basic-auth", err)
	}
	index, known := v.find(user, password)
	if index < 0 {
		return Verdict{}, named("basic-auth", v.mismatch(user, password, known))
	}
	return Verdict{Key: index, Subject: v.users[index]}, nil
}

// readBasic takes the header apart.
func readBasic(r *Request) (user, password string, err error) {
	text, err := authorization(r, "Basic")
	if err != nil {
		return "", "", err
	}
	raw, err := strictStd.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		cause := "it is cut off or of another alphabet"
		if _, e := base64.RawStdEncoding.DecodeString(text); e == nil {
			cause = "its padding is missing"
		} else if strings.Contains(text, ":") {
			cause = "the sender put in user and password as they are"
		}
		return "", "", flaw(ErrMalformed, "header Authorization is not base64 behind the word Basic: %s", cause)
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", flaw(ErrMalformed, "header Authorization holds no colon between user and password")
	}
	return user, password, nil
}

// find answers the place of the first pair that fits, or -1, and whether the user is that of any pair. It looks at all of
// them, whichever fits.
func (v *basic) find(user, password string) (index int, known bool) {
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))
	index, same := -1, 0
	for i := len(v.users) - 1; i >= 0; i-- {
		fits := subtle.ConstantTimeCompare(u[:], v.hashed[i][:])
		same |= fits
		index = subtle.ConstantTimeSelect(fits&subtle.ConstantTimeCompare(p[:], v.passwords[i][:]), i, index)
	}
	return index, same == 1
}

func (v *basic) mismatch(user, password string, known bool) error {
	switch index, _ := v.find(strings.TrimSpace(user), strings.TrimSpace(password)); {
	case index >= 0:
		return flaw(ErrMismatch, "header Authorization fits without the white space around user or password: have the sender take that out, perhaps the newline of a file")
	case known:
		return flaw(ErrMismatch, "header Authorization has the right user, and the password fits none of %s: it was rotated, or mistyped at the sender", count(len(v.users), "secret"))
	default:
		return flaw(ErrMismatch, "header Authorization is of another user than this source is set up for")
	}
}
