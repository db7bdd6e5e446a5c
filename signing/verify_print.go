package signing

import (
	"fmt"
	"io"
)

// Format writes the scheme's name, whatever the verb: what a verifier is made of has secrets in it, and whoever prints a
// Source prints its verifier.
func (v *verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// String gives the scheme's name.
func (v *verifier) String() string { return "verifier of " + v.s.Name }
