package hookgate

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/hookgate/hookgate/store"
)

func TestIDsAreUUIDsThatGrow(t *testing.T) {
	t.Parallel()
	var a, b idMaker
	seen := map[[8]byte]bool{} // the random halves
	before := time.Now().Truncate(time.Millisecond)
	var last store.ID
	for i := range 10_000 {
		m := &a
		if i%7 == 0 {
			m = &b
		}
		id := m.next()
		if id.Compare(last) <= 0 {
			t.Fatalf("%s came after %s", id, last)
		}
		last = id
		u, err := uuid.Parse(id.String())
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%s is version %d, variant %s, %v", id, u.Version(), u.Variant(), err)
		}
		seen[[8]byte(id[8:])] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d of 10000 random parts are different", len(seen))
	}
	if at := time.Unix(uuid.UUID(last).Time().UnixTime()); at.Before(before) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("%s was made at %v, it says", last, at)
	}
}

func TestIDsGrowThoughTheClockStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // it is the year 2000, but other tests had the time of today
		var m idMaker
		last := m.next()
		for range 10_000 { // more than the ticks of two milliseconds
			id := m.next()
			if id.Compare(last) <= 0 {
				t.Fatalf("%s came after %s", id, last)
			}
			last = id
		}
	})
}

func TestIDsOfManyMakersAreDifferent(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	var mu sync.Mutex
	times := map[[8]byte]bool{}
	for range 4 {
		all.Go(func() {
			var m idMaker
			var last store.ID
			for range 1000 {
				id := m.next()
				if id.Compare(last) <= 0 {
					t.Errorf("%s came after %s", id, last)
				}
				last = id
				mu.Lock()
				times[[8]byte(id[:8])] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(times) != 4000 {
		t.Errorf("%d of 4000 times are different", len(times))
	}
}

func TestAnIDTakesNoAllocation(t *testing.T) {
	var m idMaker
	if n := testing.AllocsPerRun(1000, func() { m.next() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkID(b *testing.B) {
	var m idMaker
	b.ReportAllocs()
	for b.Loop() {
		m.next()
	}
}
