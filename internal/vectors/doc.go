// Package vectors runs files of signed requests with the verdict that a correct receiver reaches, such as
// testdata/vectors/signatures.json. The command hookgate and the tests share it.
//
// An entry says what a provider sent, which secrets the receiver holds and what its clock showed. Its scheme decides which
// of package signing's providers verifies it; where there is none of that name, the entry's provider decides.
package vectors
