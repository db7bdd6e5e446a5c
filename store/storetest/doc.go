// Package storetest is the definition of a store: every rule that package store states in words has a test here.
//
// Whoever writes a store runs
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness {
//			s := mystore.New(t.TempDir())
//			return storetest.Harness{Store: s}
//		})
//	}
//
// and fills in more of the [Harness] as the store can do more: reopen its data, survive a crash, be told to fail. What a
// harness does not offer is reported as not applicable; nothing is skipped in silence.
//
// # Time
//
// Each subtest runs in a bubble of package testing/synctest, from opening the store to its Close, so that waiting three
// days takes no time at all. The store has to use package time for every clock and timer, and its Close has to end its
// goroutines: a bubble in which one stays behind is a failure.
//
// # The random test
//
// Run ends with random operations on the store and on a [Model], whose answers are compared. The seed is printed when
// they differ; run it again with -storetest.seed. How long it goes on is said by -storetest.steps.
package storetest
