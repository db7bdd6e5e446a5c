//go:build race

package signing_test

// raceDetector reports whether the tests are built with -race.
const raceDetector = true
