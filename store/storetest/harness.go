package storetest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/hookgate/hookgate/store"
)

// Harness is a store that was opened for one subtest, and what can be done to it.
type Harness struct {
	// Store is a new, empty store. The subtest closes it.
	Store store.Store

	// Reopen opens the same data again; it is called after Close. Nil means that nothing outlives Close.
	Reopen func() (store.Store, error)

	// Crash opens the same data again while the store that was opened last is still open, as if its process had been
	// killed: nothing of what that store has in memory may reach the disk any more. Its goroutines have to end before the
	// subtest does. Nil means that the harness cannot do it.
	Crash func() (store.Store, error)

	// FailAt makes the n-th durable write from now on, counted from 1, fail with err; after it writes succeed again if
	// once is set, and fail until the next FailAt otherwise. An error that wraps store.ErrFull means a full disk; any other
	// one a broken one. FailAt(0, true, nil) ends all that. A store that was reopened does not fail. Nil means that the
	// harness cannot do it.
	FailAt func(n int, once bool, err error)

	// MaxPayload is the size of the largest payload that the store takes. Zero means that it has no limit worth a test.
	MaxPayload int

	// Begin begins a transaction of the caller's, for a [store.TxStore], with what ends it one way or the other.
	Begin func() (tx store.Tx, commit, rollback func() error, err error)
}

// testCase is one rule.
type testCase struct {
	name string
	run  func(*suite)
}

// groups are the chapters of the definition, in the order of the life of a record.
var groups = []struct {
	name  string
	cases []testCase
}{
	{"Bytes", byteCases},
	{"Append", appendCases},
	{"Later", laterCases},
	{"Key", keyCases},
	{"Claim", claimCases},
	{"Fair", fairCases},
	{"Gate", gateCases},
	{"Lane", laneCases},
	{"Lease", leaseCases},
	{"Born", bornCases},
	{"Settle", settleCases},
	{"Verb", verbCases},
	{"Doc", docCases},
	{"Query", queryCases},
	{"Tenant", tenantCases},
	{"Prune", pruneCases},
	{"Stats", statsCases},
	{"Close", closeCases},
	{"Context", contextCases},
	{"Again", againCases},
	{"Tx", txCases},
	{"Fault", faultCases},
	{"Random", randomCases},
}

// Run tests a store against every rule of package store. It calls open once per subtest, in the subtest's bubble of time;
// whatever open registers with t.Cleanup runs in the bubble too.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { runCase(t, open(t), c.run) })
				})
			}
		})
	}
}

func runCase(t *testing.T, h Harness, run func(*suite)) {
	s := &suite{T: t, Harness: h, store: h.Store, ctx: context.Background()}
	defer func() {
		if err := s.store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	run(s)
	if !s.done && !t.Failed() {
		s.finish()
	}
}
