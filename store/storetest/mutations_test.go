//go:build !race

package storetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// The tests of the tests: a model with one bug each, most of them seen in a library that exists, and the subtest that has
// to find it. A rule of the contract without a line here is a rule whose test was never seen to fail.
//
// They are not built with the race detector: each is a process of its own, and the suite over the model without a bug shows
// the races that these would.
var mutations = []mutation{
	// Known traps, each from a library that exists.
	{"a retry leaves the row leased", "Settle/Retry", mutant{afterSettle: func(m *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpRetry {
			m.setState(d, store.Leased, false)
			d.Due = d.Due.Add(1000 * day)
		}
	}}},
	{"a retry leaves the row leased (lanes)", "Lane/ARetryShutsTheLane", mutant{afterSettle: func(m *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpRetry {
			m.setState(d, store.Leased, false)
			d.Due = d.Due.Add(1000 * day)
		}
	}}},
	{"a settle checks the state, not the generation", "Settle/AStaleGenerationIsRefused", mutant{beforeSettle: func(_ *Model, s *store.Settle, d *modelDelivery) {
		if s.Gen != 0 && d.State == store.Leased {
			s.Gen = d.Gen
		}
	}}},
	{"a settle of a lease that ended counts until the next claim", "Settle/AfterTheEndButBeforeTheNextClaim", mutant{beforeSettle: func(m *Model, s *store.Settle, d *modelDelivery) {
		if s.Gen == d.Gen && d.State == store.Pending && d.lost > 0 {
			m.setState(d, store.Leased, false)
			d.Due = m.now().Add(time.Minute)
		}
	}}},
	{"a claim without exclusivity", "Claim/OnlyOnce", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) {
			if d.State == store.Leased {
				m.setState(d, store.Pending, false)
				d.Due = m.now()
			}
		})
	}}},
	{"a claim that is now and then not exclusive", "Claim/EightClaimersEachOnce", mutant{afterClaim: func(m *Model, res *store.ClaimResult) {
		for _, l := range res.Leases {
			if d := m.deliveries[l.Delivery.ID]; d.Seq%50 == 0 && d.Attempts == 0 {
				m.setState(d, store.Pending, false)
				d.Due = m.now()
			}
		}
	}}},
	{"no lane predicate", "Lane/OnlyTheHead", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) { d.Lane = "" })
	}}},
	{"no lane predicate (claimers)", "Lane/EightClaimersManyLanes", mutant{afterClaim: func(m *Model, _ *store.ClaimResult) {
		for _, l := range m.lanes {
			slices.Reverse(l)
		}
	}}},
	{"a payload in a JSON column", "Bytes/PayloadsAreExact", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		var v any
		if json.Unmarshal(a.Event.Payload, &v) == nil {
			a.Event.Payload, _ = json.Marshal(v)
		}
	}}},
	{"a payload in a text column", "Bytes/PayloadsAreExact", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		a.Event.Payload = bytes.ToValidUTF8(a.Event.Payload, []byte("?"))
	}}},
	{"a payload that ends at a zero", "Bytes/LargePayload", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		a.Event.Payload, _, _ = bytes.Cut(a.Event.Payload, []byte{0})
	}}},
	{"attempt numbers begin anew after a restart", "Settle/NumbersNeverRepeat", mutant{opened: func(m *Model) { m.each(func(d *modelDelivery) { d.Recorded = 0 }) }}},
	{"attempt numbers begin anew after a redelivery", "Settle/NumbersNeverRepeat", mutant{afterSettle: func(_ *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpHurry {
			d.Recorded = 0
		}
	}}},
	{"generations begin anew after a restart", "Lease/AnOldLeaseIsWorthlessAfterARestart", mutant{opened: func(m *Model) { m.gen = 0 }}},
	{"an event is saved before its deliveries", "Fault/ABrokenDisk", mutant{failed: func(m *Model, b *store.Batch, _ error) {
		for _, a := range b.Appends {
			if ev := m.byID[a.Event.ID]; ev != nil {
				for _, d := range ev.deliveries {
					delete(m.deliveries, d.ID)
				}
				ev.deliveries = nil
			}
		}
	}}},
	{"a failed commit leaves its keys behind", "Fault/AFullDisk", mutant{failed: func(m *Model, b *store.Batch, err error) {
		for _, a := range b.Appends {
			if errors.Is(err, store.ErrFull) {
				m.keys[modelKey{a.Event.Tenant, a.Event.Source, a.Event.IdempotencyKey}] = modelTaken{a.Event.ID, a.Fingerprint, m.now().Add(day)}
			}
		}
	}}},
	{"a repeated append takes the key", "Key/ARefusedAppendTakesNoKey", mutant{beforeAppend: func(m *Model, a *store.Append) {
		if m.byID[a.Event.ID] != nil && a.Event.IdempotencyKey != "" {
			m.keys[modelKey{a.Event.Tenant, a.Event.Source, a.Event.IdempotencyKey}] = modelTaken{a.Event.ID, a.Fingerprint, m.now().Add(day)}
		}
	}}},
	{"a lost lease is never due again", "Lease/AnEndedLeaseIsDueAgain", mutant{afterClaim: func(m *Model, _ *store.ClaimResult) {
		for _, d := range m.leased {
			d.Due = d.Due.Add(1000 * day)
		}
	}}},
	{"what was leased at a restart is lost", "Lease/ARestartLosesNoWork", mutant{opened: func(m *Model) {
		m.each(func(d *modelDelivery) {
			if d.lost > 0 && d.State == store.Pending {
				m.setState(d, store.Leased, false)
				d.Due = m.now().Add(1000 * day)
			}
		})
	}}},
	{"a poison row blocks the queue", "Lease/PoisonDoesNotBlockALane", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) {
			if d.Reason == "poison" && !d.block {
				m.setState(d, store.Dead, true)
			}
		})
	}}},
	{"a shutdown burns an attempt", "Lease/ARestartLosesNoWork", mutant{opened: func(m *Model) {
		m.each(func(d *modelDelivery) {
			if d.lost > 0 && d.State == store.Pending {
				d.Due = d.Due.Add(time.Hour)
			}
		})
	}}},

	// Leases and lanes.
	{"poison is never found", "Lease/TheFifthInARowIsPoison", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) { m.each(func(d *modelDelivery) { d.Abandoned = 0 }) }}},
	{"poison is found only within a process", "Lease/PoisonAcrossCrashes", mutant{opened: func(m *Model) { m.each(func(d *modelDelivery) { d.Abandoned = 0 }) }}},
	{"poison is found too early", "Lease/AbandonedIsCounted", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) {
			if d.Abandoned == 3 {
				m.setState(d, store.Dead, false)
			}
		})
	}}},
	{"poison gives no reason", "Lease/TheFifthInARowIsPoison", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) { m.each(func(d *modelDelivery) { d.Reason = "" }) }}},
	{"a settle does not end the row of lost leases", "Lease/AnyWordEndsTheRow", mutant{afterSettle: func(_ *Model, _ *store.Settle, d, was *modelDelivery) { d.Abandoned = was.Abandoned }}},
	{"a heartbeat ends the row of lost leases", "Lease/ExtendedAndLostIsLost", mutant{afterSettle: func(_ *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpExtend {
			d.Abandoned = 0
		}
	}}},
	{"extend is ignored", "Lease/AnExtendedLeaseGoesOn", mutant{afterSettle: func(_ *Model, s *store.Settle, d, was *modelDelivery) {
		if s.Op == store.OpExtend {
			d.Due = was.Due
		}
	}}},
	{"a head that waits for its retry does not shut its lane", "Lane/ARetryShutsTheLane", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) {
			if d.State == store.Pending && d.Due.After(m.now()) {
				d.Lane = ""
			}
		})
		m.sortLanes(func(a, b *modelDelivery) int { return a.Due.Compare(b.Due) })
	}}},
	{"Block is ignored", "Lane/ADeadLetterThatBlocks", mutant{beforeSettle: func(_ *Model, s *store.Settle, _ *modelDelivery) { s.Block = false }}},
	{"Block is forgotten at a restart", "Lane/LanesSurviveRestarts", mutant{opened: func(m *Model) {
		m.each(func(d *modelDelivery) {
			if d.block {
				m.setState(d, store.Dead, false)
			}
		})
	}}},
	{"every dead letter blocks its lane", "Lane/AfterEachOutcome", mutant{beforeSettle: func(_ *Model, s *store.Settle, _ *modelDelivery) { s.Block = true }}},
	{"lanes are ordered by when a delivery was made", "Lane/BySeqNotByTimeOfAppend", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) {
			if d.ID.N >= store.FirstLater {
				d.Seq += 1000
			}
		})
		m.sortLanes(compareDeliveries)
	}}},
	{"one lane for all destinations", "Lane/LanesAreApart", mutant{beforeClaim: func(m *Model, r *store.ClaimRequest) { r.PerDestination = 1 }}},
	{"a grant is no lease", "Born/AGrantIsALease", mutant{afterCommit: func(m *Model, b *store.Batch, r *store.Receipt) {
		for i, a := range r.Appends {
			for _, g := range a.Leased {
				d := m.byID[b.Appends[i].Event.ID].deliveries[g.Index]
				m.setState(d, store.Pending, false)
				d.Due = m.now()
			}
		}
	}}},
	{"grants do not ask the gates", "Born/OnlyWhereClaimWould", mutant{beforeCommit: func(m *Model, b *store.Batch) {
		if b.Lease != nil {
			m.gates, b.Gates = nil, slices.Repeat([]store.Gate{{}}, len(b.Gates))
		}
	}}},
	{"grants do not ask the limits", "Born/WithinTheLimits", mutant{beforeCommit: func(_ *Model, b *store.Batch) {
		if b.Lease != nil {
			r := *b.Lease
			r.PerDestination, r.PerClass = 0, [store.Classes]int{}
			b.Lease = &r
		}
	}}},
	{"grants that nobody asked for", "Born/NoneWithoutAsking", mutant{beforeCommit: func(_ *Model, b *store.Batch) {
		b.Lease = ptr(request(store.ClaimRequest{}))
	}}},

	// Claims.
	{"first come, first served", "Fair/ABacklogDelaysNoOtherTenant", mutant{beforeClaim: oldestFirst}},
	{"destinations are not served in turn", "Fair/ABacklogDelaysNoOtherDestination", mutant{beforeClaim: oldestFirst}},
	{"tenants do not take turns", "Fair/TenantsTakeTurns", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) { clear(m.tenants) }}},
	{"destinations do not take turns", "Fair/TenantsTakeTurns", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) { clear(m.queues) }}},
	{"the limits per class are ignored", "Claim/PerClassCountsHeldLeases", mutant{beforeClaim: func(_ *Model, r *store.ClaimRequest) { r.PerClass = [store.Classes]int{} }}},
	{"Max counts the leases that are held", "Claim/MaxCountsNoOldLeases", mutant{beforeClaim: func(m *Model, r *store.ClaimRequest) { r.Max -= m.count(r.Worker, nil) }}},
	{"the limits count this claim only", "Claim/PerDestinationCountsHeldLeases", mutant{beforeClaim: func(m *Model, r *store.ClaimRequest) { r.Worker += fmt.Sprint(m.gen) }}},
	{"the limits per class count this claim only", "Claim/PerClassCountsHeldLeases", mutant{beforeClaim: func(m *Model, r *store.ClaimRequest) { r.Worker += fmt.Sprint(m.gen) }}},
	{"the limits are for all workers", "Claim/WorkersCountByThemselves", mutant{beforeClaim: func(_ *Model, r *store.ClaimRequest) { r.Worker = "all" }}},
	{"Accept is ignored", "Claim/Accept", mutant{beforeClaim: func(_ *Model, r *store.ClaimRequest) { r.Accept = nil }}},
	{"an empty Accept is everything", "Claim/Accept", mutant{beforeClaim: func(_ *Model, r *store.ClaimRequest) {
		if len(r.Accept) == 0 {
			r.Accept = nil
		}
	}}},
	{"Accept takes prefixes for names", "Claim/Accept", mutant{beforeClaim: func(_ *Model, r *store.ClaimRequest) {
		var exact []store.Destination
		for _, a := range r.Accept {
			exact = append(exact, store.Destination(strings.TrimSuffix(string(a), "*")))
		}
		r.Accept = exact
	}}},
	{"More is never said", "Claim/MaxAndMore", mutant{afterClaim: func(_ *Model, res *store.ClaimResult) { res.More = false }}},
	{"More is always said", "Claim/NothingIsNoError", mutant{afterClaim: func(_ *Model, res *store.ClaimResult) { res.More = true }}},
	{"Next is too late", "Claim/FollowingNextMissesNothing", mutant{afterClaim: func(_ *Model, res *store.ClaimResult) { res.Next += 5 * time.Second }}},
	{"Next does not know leases", "Claim/NextKnowsTheEndOfALease", mutant{afterClaim: func(_ *Model, res *store.ClaimResult) { res.Next = -1 }}},
	{"what is not due is handed out", "Claim/OnlyWhatIsDue", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		m.each(func(d *modelDelivery) {
			if d.State == store.Pending {
				d.Due = m.now()
			}
		})
	}}},
	{"a replay competes as live", "Claim/PerClassCountsHeldLeases", mutant{afterCommit: func(m *Model, _ *store.Batch, _ *store.Receipt) {
		m.each(func(d *modelDelivery) { d.Class = min(d.Class, store.Retry) })
	}}},
	{"a retried replay becomes a retry", "Later/AddsToAnEvent", mutant{afterSettle: func(_ *Model, s *store.Settle, d, _ *modelDelivery) { d.Class = store.Retry }}},

	// Gates.
	{"gates are ignored", "Gate/HeldUntilPutAgain", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) { m.gates = nil }}},
	{"one cause opens the gates of another", "Gate/TwoCauses", mutant{beforeCommit: func(m *Model, b *store.Batch) {
		for _, g := range b.Gates {
			if g.Hold == 0 {
				m.gates = slices.DeleteFunc(m.gates, func(x *modelGate) bool { return x.Destination == g.Destination })
			}
		}
	}}},
	{"one cause per destination", "Gate/TwoCauses", mutant{beforeCommit: func(_ *Model, b *store.Batch) {
		for i := range b.Gates {
			b.Gates[i].Cause = "any"
		}
	}}},
	{"the last limit counts", "Gate/TheSmallestLimitCounts", mutant{beforeCommit: func(m *Model, b *store.Batch) {
		for range b.Gates {
			for _, g := range m.gates {
				g.MaxInFlight = 0
			}
		}
	}}},
	{"a hold ends too late", "Gate/HeldForATime", mutant{afterCommit: func(m *Model, _ *store.Batch, _ *store.Receipt) {
		for _, g := range m.gates {
			if g.Hold > 0 {
				g.Until = g.Since.Add(2 * g.Hold)
			}
		}
	}}},
	{"gates are forgotten at a restart", "Gate/GatesSurviveRestarts", mutant{opened: func(m *Model) { m.gates = nil }}},
	{"a gate holds destinations that begin with its name", "Gate/OnlyItsDestination", mutant{beforeClaim: func(m *Model, _ *store.ClaimRequest) {
		for _, g := range m.gates {
			m.gates = append(m.gates, &modelGate{Gate: store.Gate{Destination: g.Destination + "b", Hold: g.Hold}})
		}
	}}},

	// Settles and verbs.
	{"done is done again", "Settle/Done", mutant{afterSettle: func(m *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpDone {
			m.setState(d, store.Pending, false)
		}
	}}},
	{"a retry counts nothing", "Settle/RetriesCount", mutant{afterSettle: func(_ *Model, s *store.Settle, d, was *modelDelivery) {
		if s.Op == store.OpRetry && was.Attempts > 0 {
			d.Attempts = was.Attempts
		}
	}}},
	{"a release counts", "Settle/Release", mutant{afterSettle: func(_ *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpRelease {
			d.Attempts++
		}
	}}},
	{"a retry stays live", "Settle/Retry", mutant{afterSettle: func(_ *Model, _ *store.Settle, d, was *modelDelivery) { d.Class = was.Class }}},
	{"a retry is due at once", "Settle/Retry", mutant{beforeSettle: func(_ *Model, s *store.Settle, _ *modelDelivery) {
		if s.Op == store.OpRetry {
			s.After = 0
		}
	}}},
	{"FirstAttempt is the last", "Settle/Retry", mutant{afterSettle: func(m *Model, s *store.Settle, d, _ *modelDelivery) {
		if d.Attempts > 0 {
			d.FirstAttempt = m.now()
		}
	}}},
	{"a late report is dropped", "Settle/ALateReportIsKept", mutant{beforeSettle: func(_ *Model, s *store.Settle, d *modelDelivery) {
		if s.Gen != d.Gen {
			s.Attempt = nil
		}
	}}},
	{"a late report is not marked", "Settle/ALateReportIsKept", mutant{afterCommit: func(m *Model, _ *store.Batch, _ *store.Receipt) {
		m.each(func(d *modelDelivery) {
			for i := range d.attempts {
				d.attempts[i].Late = false
			}
		})
	}}},
	{"a late success makes it done", "Settle/ALateReportIsKept", mutant{afterCommit: func(m *Model, b *store.Batch, r *store.Receipt) {
		for i, s := range b.Settles {
			if errors.Is(r.Settles[i], store.ErrLeaseLost) && s.Op == store.OpDone {
				m.setState(m.deliveries[s.ID], store.Done, false)
			}
		}
	}}},
	{"a late report is kept again and again", "Again/ALateReport", mutant{beforeSettle: func(_ *Model, s *store.Settle, d *modelDelivery) {
		if s.Gen != 0 && d.State != store.Leased {
			s.Gen += uint64(1000 * (1 + len(d.attempts)))
		}
	}}},
	{"a settle of another tenant", "Settle/AnotherTenant", mutant{beforeSettle: func(_ *Model, s *store.Settle, _ *modelDelivery) { s.Tenant = "" }}},
	{"hurry of what is done", "Verb/EveryVerbInEveryState", mutant{beforeSettle: func(m *Model, s *store.Settle, d *modelDelivery) {
		if s.Op == store.OpHurry && d.State == store.Done {
			m.setState(d, store.Dead, false)
		}
	}}},
	{"cancel of what is leased", "Verb/EveryVerbInEveryState", mutant{beforeSettle: func(m *Model, s *store.Settle, d *modelDelivery) {
		if s.Op == store.OpCancel && d.State == store.Leased {
			m.setState(d, store.Pending, false)
		}
	}}},
	{"expire of what is dead", "Verb/EveryVerbInEveryState", mutant{beforeSettle: func(m *Model, s *store.Settle, d *modelDelivery) {
		if s.Op == store.OpExpire && d.State == store.Dead {
			m.setState(d, store.Pending, false)
		}
	}}},
	{"hurry begins to count anew", "Verb/EveryVerbInEveryState", mutant{afterSettle: func(_ *Model, s *store.Settle, d, _ *modelDelivery) {
		if s.Op == store.OpHurry {
			d.Attempts, d.FirstAttempt = 0, time.Time{}
		}
	}}},
	{"hurry does not hurry", "Verb/HurryARetry", mutant{afterSettle: func(_ *Model, s *store.Settle, d, was *modelDelivery) {
		if s.Op == store.OpHurry {
			d.Due = was.Due
		}
	}}},
	{"one bad item fails the batch", "Append/ABadItemHarmsNoNeighbour", mutant{afterCommit: func(m *Model, _ *store.Batch, r *store.Receipt) {
		for _, err := range r.Settles {
			for i := range r.Appends {
				r.Appends[i].Err = cmp.Or(r.Appends[i].Err, err)
			}
		}
	}}},

	// Appends and keys.
	{"a known ID is overwritten", "Append/AKnownIDIsRepeated", mutant{beforeAppend: func(m *Model, a *store.Append) {
		if ev := m.byID[a.Event.ID]; ev != nil {
			ev.Payload = a.Event.Payload
		}
	}}},
	{"a known ID that is done begins anew", "Append/AKnownIDIsRepeated", mutant{beforeAppend: func(m *Model, a *store.Append) {
		if ev := m.byID[a.Event.ID]; ev != nil {
			for _, d := range ev.deliveries {
				m.setState(d, store.Pending, false)
			}
		}
	}}},
	{"IDs are looked for where they ascend", "Append/IDsInAnyOrder", mutant{beforeAppend: func(m *Model, a *store.Append) {
		if n := len(m.events); n > 0 && m.events[n-1].ID.Compare(a.Event.ID) > 0 {
			delete(m.byID, a.Event.ID)
		}
	}}},
	{"a taken number is overwritten", "Later/ATakenNumberIsSkipped", mutant{beforeLater: func(m *Model, a *store.Append) {
		for _, n := range a.Deliveries {
			if d := m.deliveries[store.DeliveryID{Event: a.To, N: n.N}]; d != nil {
				m.setState(d, store.Pending, false)
			}
		}
	}}},
	{"After is ignored", "Append/DelayedDeliveries", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		for i := range a.Deliveries {
			a.Deliveries[i].After = 0
		}
	}}},
	{"header values are sorted", "Bytes/EveryFieldOfAnEvent", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		ev := cloneEvent(a.Event, true)
		for _, v := range ev.Header {
			slices.Sort(v)
		}
		a.Event = &ev
	}}},
	{"header values are compacted", "Bytes/EveryFieldOfAnEvent", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		ev := cloneEvent(a.Event, true)
		for k, v := range ev.Header {
			ev.Header[k] = v[:1]
		}
		a.Event = &ev
	}}},
	{"the store keeps the caller's payload", "Bytes/TheStoreKeepsNoReference", mutant{afterCommit: func(m *Model, b *store.Batch, _ *store.Receipt) {
		for _, a := range b.Appends {
			m.byID[a.Event.ID].Payload = a.Event.Payload
		}
	}}},
	{"keys without their tenant", "Key/TenantsAndSourcesHaveTheirOwn", mutant{beforeAppend: func(m *Model, a *store.Append) {
		for k, v := range m.keys {
			if k.source == a.Event.Source && k.key == a.Event.IdempotencyKey {
				m.keys[modelKey{a.Event.Tenant, k.source, k.key}] = v
			}
		}
	}}},
	{"no default window", "Key/TheWindowIsADayByDefault", mutant{beforeAppend: func(_ *Model, a *store.Append) {
		if a.Window == 0 {
			a.Window = time.Nanosecond
		}
	}}},
	{"a window of at most a day", "Key/TheWindowOutlivesTheDelivery", mutant{beforeAppend: func(_ *Model, a *store.Append) { a.Window = min(a.Window, day) }}},
	{"keys are never free again", "Key/TheWindowEnds", mutant{beforeAppend: func(_ *Model, a *store.Append) { a.Window += 1000 * day }}},
	{"keys are forgotten at a restart", "Key/KeysSurviveRestarts", mutant{opened: func(m *Model) { clear(m.keys) }}},
	{"the fingerprint is ignored", "Key/OtherContentIsAConflict", mutant{beforeAppend: func(_ *Model, a *store.Append) { a.Fingerprint = 0 }}},
	{"a duplicate is answered with its own ID", "Key/ADuplicateGetsTheFirstID", mutant{afterCommit: func(_ *Model, b *store.Batch, r *store.Receipt) {
		for i := range r.Appends {
			if errors.Is(r.Appends[i].Err, store.ErrDuplicate) {
				r.Appends[i].ID = b.Appends[i].Event.ID
			}
		}
	}}},
	{"ExpireAfter is ignored", "Bytes/EveryFieldOfAnEvent", mutant{beforeAppend: func(_ *Model, a *store.Append) { a.ExpireAfter = 0 }}},

	// Documents.
	{"no compare in compare-and-swap", "Doc/CompareAndSwap", mutant{beforeCommit: func(m *Model, b *store.Batch) {
		for i := range b.Docs {
			p := &b.Docs[i]
			if d := m.docs[modelDocName{p.Doc.Kind, p.Doc.Group, p.Doc.ID}]; d != nil && d.there(m.now()) {
				p.Expect = d.Version
			}
		}
	}}},
	{"versions begin anew after a delete", "Doc/VersionsGoOnAfterADelete", mutant{afterCommit: func(m *Model, b *store.Batch, _ *store.Receipt) {
		for _, p := range b.Docs {
			if p.Delete {
				delete(m.docs, modelDocName{p.Doc.Kind, p.Doc.Group, p.Doc.ID})
			}
		}
	}}},
	{"versions begin anew after the TTL", "Doc/TTL", mutant{beforeCommit: func(m *Model, _ *store.Batch) {
		for k, d := range m.docs {
			if !d.there(m.now()) {
				delete(m.docs, k)
			}
		}
	}}},
	{"the TTL is ignored", "Doc/TTL", mutant{beforeCommit: func(_ *Model, b *store.Batch) {
		for i := range b.Docs {
			b.Docs[i].TTL = 0
		}
	}}},
	{"documents are forgotten at a restart", "Doc/DocsSurviveRestarts", mutant{opened: func(m *Model) { clear(m.docs) }}},

	// Queries and tenants.
	{"Events without a tenant filter", "Tenant/ForeignIDsOnEveryMethod", mutant{events: func(q *store.EventQuery) { q.Tenant = store.AllTenants }}},
	{"Deliveries without a tenant filter", "Tenant/ForeignIDsOnEveryMethod", mutant{list: func(q *store.DeliveryQuery) { q.Tenant = store.AllTenants }}},
	{"Docs without a tenant filter", "Tenant/ForeignIDsOnEveryMethod", mutant{documents: func(q *store.DocQuery) { q.Tenant = store.AllTenants }}},
	{"Attempts without a tenant filter", "Tenant/ForeignIDsOnEveryMethod", mutant{attempts: func(tenant *string) { *tenant = store.AllTenants }}},
	{"verbs without a tenant filter", "Tenant/ForeignIDsOnEveryMethod", mutant{beforeSettle: func(_ *Model, s *store.Settle, _ *modelDelivery) {
		if s.Gen == 0 {
			s.Tenant = ""
		}
	}}},
	{"no tenant filter where there are IDs", "Tenant/ForeignIDsOnEveryMethod", mutant{events: func(q *store.EventQuery) {
		if len(q.IDs) > 0 {
			q.Tenant = store.AllTenants
		}
	}}},
	{"no tenant filter where there is an event", "Tenant/ForeignIDsOnEveryMethod", mutant{list: func(q *store.DeliveryQuery) {
		if !q.Event.IsZero() {
			q.Tenant = store.AllTenants
		}
	}}},
	{"an empty tenant is every tenant", "Tenant/EmptyIsNoTenant", mutant{events: func(q *store.EventQuery) { q.Tenant = cmp.Or(q.Tenant, store.AllTenants) }}},
	{"an empty tenant is every tenant (deliveries)", "Tenant/EmptyIsNoTenant", mutant{list: func(q *store.DeliveryQuery) { q.Tenant = cmp.Or(q.Tenant, store.AllTenants) }}},
	{"an empty tenant is every tenant (attempts)", "Tenant/EmptyIsNoTenant", mutant{attempts: func(tenant *string) { *tenant = cmp.Or(*tenant, store.AllTenants) }}},
	{"a type is always a prefix", "Query/EventFilters", mutant{events: func(q *store.EventQuery) {
		if q.Type != "" {
			q.Type += "*"
		}
	}}},
	{"an empty source is no filter", "Query/DeliveryFilters", mutant{list: func(q *store.DeliveryQuery) {
		if q.Source != nil && *q.Source == "" {
			q.Source = nil
		}
	}}},
	{"To is included", "Query/EventFilters", mutant{events: func(q *store.EventQuery) {
		if !q.To.IsZero() {
			q.To = q.To.Add(1)
		}
	}}},
	{"the states are ignored", "Query/DeliveryFilters", mutant{list: func(q *store.DeliveryQuery) { q.States = nil }}},
	{"only the first state counts", "Query/DeliveryFilters", mutant{list: func(q *store.DeliveryQuery) { q.States = q.States[:min(1, len(q.States))] }}},
	{"the labels are ignored", "Query/EventFilters", mutant{events: func(q *store.EventQuery) { q.Labels = nil }}},
	{"always newest first", "Query/NewestAndOldestFirst", mutant{events: func(q *store.EventQuery) { q.Oldest = false }}},
	{"NoPayload is ignored", "Query/WithoutPayload", mutant{events: func(q *store.EventQuery) { q.NoPayload = false }}},
	{"the budget is ignored", "Query/TheBudgetEndsAPage", mutant{events: func(q *store.EventQuery) { q.Page.Budget = 1 << 30 }}},
	{"a default limit of 50", "Query/TheDefaultAndTheLargestLimit", mutant{events: func(q *store.EventQuery) { q.Page.Limit = cmp.Or(q.Page.Limit, 50) }}},
	{"pages by offset", "Query/PagesWhileWriting", mutant{offsets: true}},
	{"any cursor will do", "Query/ABadCursor", mutant{anyCursor: true}},

	// Retention, figures, the end.
	{"prune takes what is pending", "Prune/NeverWhatIsOpen", mutant{prune: func(m *Model, _ *store.PruneRequest) {
		m.each(func(d *modelDelivery) {
			if d.State == store.Pending {
				m.setState(d, store.Cancelled, false)
			}
		})
	}}},
	{"prune takes what is leased", "Prune/NeverWhatIsOpen", mutant{prune: func(m *Model, _ *store.PruneRequest) {
		m.each(func(d *modelDelivery) {
			if d.State == store.Leased {
				m.setState(d, store.Done, false)
			}
		})
	}}},
	{"prune forgets a day early", "Prune/OnlyWhatIsOldEnough", mutant{prune: func(_ *Model, r *store.PruneRequest) { r.Done -= day }}},
	{"dead letters go as done ones do", "Prune/DeadLettersHaveTheirOwnAge", mutant{prune: func(_ *Model, r *store.PruneRequest) { r.Dead = r.Done }}},
	{"zero forgets at once", "Prune/ZeroKeepsForGood", mutant{prune: func(_ *Model, r *store.PruneRequest) { r.Dead = cmp.Or(r.Dead, 1) }}},
	{"prune has no bound", "Prune/ABoundedPiecePerCall", mutant{prune: func(_ *Model, r *store.PruneRequest) { r.Limit = 1 << 30 }}},
	{"prune forgets the keys", "Prune/KeysOutlive", mutant{prune: func(m *Model, _ *store.PruneRequest) { clear(m.keys) }}},
	{"prune changes what it leaves", "Prune/SurvivorsAreUnchanged", mutant{prune: func(m *Model, _ *store.PruneRequest) {
		for i, ev := range m.events {
			ev.Seq = uint64(i + 1)
			ev.Header = nil
		}
	}}},
	{"Seq begins anew when everything was forgotten", "Prune/PruneSurvivesRestarts", mutant{opened: func(m *Model) {
		m.seq = 0
		for _, ev := range m.events {
			m.seq = max(m.seq, ev.Seq)
		}
	}}},
	{"Stats counts leased ones as pending", "Stats/Counts", mutant{stats: func(s *store.Stats) { s.Pending += s.Leased }}},
	{"OldestDue is always zero", "Stats/OldestDue", mutant{stats: func(s *store.Stats) { s.OldestDue = 0 }}},
	{"Close does nothing", "Close/EveryMethodSaysSo", mutant{staysOpen: true}},
	{"a failed store goes on", "Fault/ABrokenDisk", mutant{failed: func(m *Model, _ *store.Batch, _ error) { m.failed = nil }}},
	{"a failed store says that it is well", "Fault/AFailedStoreStillReads", mutant{stats: func(s *store.Stats) { s.Failed = nil }}},
	{"half a batch", "Fault/ABrokenDisk", mutant{failed: func(m *Model, b *store.Batch, err error) {
		for _, p := range b.Docs {
			delete(m.docs, modelDocName{p.Doc.Kind, p.Doc.Group, p.Doc.ID})
		}
		for _, a := range b.Appends {
			if ev := m.byID[a.Event.ID]; ev != nil {
				ev.Deliveries++
			}
		}
	}}},
}

const mutationEnv = "STORETEST_MUTATION"

// TestMutant runs the suite over one mutant, which is named by the environment; TestMutations runs it in processes of
// their own.
func TestMutant(t *testing.T) {
	name := os.Getenv(mutationEnv)
	for _, x := range mutations {
		if x.name == name {
			Run(t, func(*testing.T) Harness { return x.mutant.harness() })
			return
		}
	}
}

// TestMutations makes sure that each bug is found by the subtest that is there for it.
func TestMutations(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range mutations {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			group, name, _ := strings.Cut(x.caught, "/")
			cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^TestMutant$/^"+group+"$/^"+name+"$", "-test.v", "-test.timeout", "60s")
			cmd.Env = append(os.Environ(), mutationEnv+"="+x.name)
			out, err := cmd.CombinedOutput()
			if !bytes.Contains(out, []byte("=== RUN   TestMutant/"+x.caught+"\n")) {
				t.Fatalf("there is no subtest %s:\n%s", x.caught, out)
			}
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
				t.Fatalf("%s did not find it: %v", x.caught, err)
			}
			if !bytes.Contains(out, []byte("--- FAIL: TestMutant/"+x.caught+" ")) {
				t.Fatalf("the process ended before %s found it:\n%s", x.caught, out)
			}
			t.Logf("found by %s", x.caught)
		})
	}
}
