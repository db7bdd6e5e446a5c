package storetest

import (
	"github.com/hookgate/hookgate/store"
)

// txCases: a batch that is part of the caller's own transaction.
var txCases = []testCase{
	{"AForeignTx", foreignTx},
	{"CommittedOrNot", committedOrNot},
}

func foreignTx(s *suite) {
	tx, ok := s.store.(store.TxStore)
	if s.none(ok, "join a transaction") {
		return
	}
	for _, foreign := range []store.Tx{nil, 7, "tx", struct{}{}, s.store} {
		_, err := tx.CommitTx(s.ctx, foreign, &store.Batch{Appends: []store.Append{{Event: &store.Event{ID: s.id()}}}})
		s.is(err, "CommitTx in a transaction of another store", store.ErrForeignTx)
	}
	equal(s, s.count(), 0, "events")
}

func committedOrNot(s *suite) {
	st, ok := s.store.(store.TxStore)
	if s.none(ok && s.Begin != nil, "begin a transaction") {
		return
	}
	for _, commits := range []bool{false, true} {
		tx, commit, rollback, err := s.Begin()
		s.ok(err, "begin a transaction")
		b := &store.Batch{
			Appends: []store.Append{{Event: &store.Event{ID: s.id(), IdempotencyKey: "k"}, Deliveries: []store.NewDelivery{to("ep:a"), to("ep:b")}}},
			Lease:   ptr(request(store.ClaimRequest{})),
		}
		r, err := st.CommitTx(s.ctx, tx, b)
		s.ok(err, "CommitTx")
		if len(r.Appends) != 1 || r.Appends[0].Err != nil || r.Appends[0].ID != b.Appends[0].Event.ID || len(r.Appends[0].Leased) > 0 {
			s.Fatalf("CommitTx: %+v, want an append without leases", r.Appends)
		}
		if !commits {
			s.ok(rollback(), "roll back")
			s.idle("the transaction was rolled back")
			equal(s, s.count(), 0, "events after a rollback")
			continue
		}
		s.ok(commit(), "commit the transaction")
		id := b.Appends[0].Event.ID
		s.claims("the transaction was committed", first(id), store.DeliveryID{Event: id, N: 1})
		equal(s, s.append(b.Appends[0]).Repeated, true, "Repeated, after the transaction was committed")
	}
}
