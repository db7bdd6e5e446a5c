package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookgate/hookgate/store"
)

// docCases: small documents that are written by compare-and-swap.
var docCases = []testCase{
	{"CompareAndSwap", compareAndSwap},
	{"VersionsGoOnAfterADelete", versionsGoOn},
	{"TTL", docTTL},
	{"NamesAreExact", docNames},
	{"QueriesByKindGroupAndID", docQueries},
	{"TenThousand", tenThousandDocs},
	{"OneOfEightWins", oneOfEightWins},
	{"DocsSurviveRestarts", docsSurvive},
	{"LargeAndEmpty", docSizes},
}

func doc(kind, group, id, data string) store.Doc {
	return store.Doc{Kind: kind, Group: group, ID: id, Data: []byte(data)}
}

// swap puts a document and answers its result.
func (s *suite) swap(d store.Doc, expect uint64) store.DocResult {
	s.Helper()
	return s.commit(&store.Batch{Docs: []store.DocPut{{Doc: d, Expect: expect}}}).Docs[0]
}

func compareAndSwap(s *suite) {
	r := s.swap(doc("endpoint", "t", "e", "0"), 1)
	s.is(r.Err, "a put that expects what is not there", store.ErrConflict)
	at := time.Now()
	d := doc("endpoint", "t", "e", "1")
	d.Version, d.Expires, d.Updated = 77, at, at.Add(time.Hour) // ignored
	r = s.swap(d, 0)
	s.ok(r.Err, "the first put")
	equal(s, r.Version, 1, "the first version")
	version := r.Version
	for i, wrong := range []uint64{0, version + 1, 99} {
		r := s.swap(doc("endpoint", "t", "e", "wrong"), wrong)
		s.is(r.Err, fmt.Sprintf("put %d that expects version %d", i, wrong), store.ErrConflict)
		equal(s, r.Version, version, "the current version")
	}
	got := s.docs(store.DocQuery{Kind: "endpoint", Tenant: "t"})
	if len(got) != 1 || string(got[0].Data) != "1" || got[0].Version != 1 || !sameTime(got[0].Updated, at) || !got[0].Expires.IsZero() {
		s.Fatalf("the document that was put at %v: %+v", at, got)
	}
	for i := range 5 {
		time.Sleep(time.Second)
		r := s.swap(doc("endpoint", "t", "e", fmt.Sprint("next ", i)), version)
		s.ok(r.Err, "the next put")
		if r.Version <= version {
			s.Fatalf("version %d comes after %d", r.Version, version)
		}
		version = r.Version
	}
	got = s.docs(store.DocQuery{Kind: "endpoint", Tenant: "t"})
	if len(got) != 1 || string(got[0].Data) != "next 4" || got[0].Version != version || !sameTime(got[0].Updated, time.Now()) {
		s.Errorf("the document after all: %+v, want version %d", got, version)
	}
}

func versionsGoOn(s *suite) {
	name := doc("secret", "", "s", "x")
	version := s.put(store.DocPut{Doc: name})
	ways := []func(){func() {}}
	for _, way := range s.restarts() {
		ways = append(ways, way)
	}
	for _, way := range ways {
		r := s.commit(&store.Batch{Docs: []store.DocPut{{Doc: name, Expect: version + 5, Delete: true}}}).Docs[0]
		s.is(r.Err, "a delete that expects another version", store.ErrConflict)
		s.put(store.DocPut{Doc: name, Expect: version, Delete: true})
		equal(s, len(s.docs(store.DocQuery{Kind: "secret"})), 0, "documents after a delete")
		way()
		equal(s, len(s.docs(store.DocQuery{Kind: "secret"})), 0, "documents after a delete and a restart")
		r = s.swap(name, version)
		s.is(r.Err, "a put that expects what was deleted", store.ErrConflict)
		next := s.put(store.DocPut{Doc: name})
		if next <= version {
			s.Fatalf("version %d was made after version %d was deleted", next, version)
		}
		version = next
	}
	// Both in one batch.
	r := s.commit(&store.Batch{Docs: []store.DocPut{{Doc: name, Expect: version, Delete: true}, {Doc: name}}})
	s.ok(r.Docs[0].Err, "delete")
	s.ok(r.Docs[1].Err, "put after a delete")
	if r.Docs[1].Version <= version {
		s.Errorf("version %d was made after version %d was deleted", r.Docs[1].Version, version)
	}
}

func docTTL(s *suite) {
	at := time.Now()
	name := doc("job", "", "lock", "mine")
	v1 := s.put(store.DocPut{Doc: name, TTL: time.Minute})
	s.put(store.DocPut{Doc: doc("job", "", "other", "x")})
	got := s.docs(store.DocQuery{Kind: "job", IDs: []string{"lock"}})
	if len(got) != 1 || !sameTime(got[0].Expires, at.Add(time.Minute)) {
		s.Fatalf("a document that lives for a minute, put at %v: %+v", at, got)
	}
	time.Sleep(59 * time.Second)
	s.is(s.swap(name, 0).Err, "a put while it lives", store.ErrConflict)
	if s.Reopen != nil {
		s.reopen()
		equal(s, len(s.docs(store.DocQuery{Kind: "job"})), 2, "documents after reopening")
	}
	time.Sleep(2 * time.Second)
	equal(s, len(s.docs(store.DocQuery{Kind: "job"})), 1, "documents after the minute")
	equal(s, len(s.docs(store.DocQuery{Kind: "job", IDs: []string{"lock"}})), 0, "documents by ID after the minute")
	s.is(s.swap(name, v1).Err, "a put that expects what is gone", store.ErrConflict)
	r := s.commit(&store.Batch{Docs: []store.DocPut{{Doc: name, TTL: time.Hour}}}).Docs[0]
	s.ok(r.Err, "a put after it is gone")
	if r.Version <= v1 {
		s.Errorf("version %d was made after version %d was gone", r.Version, v1)
	}
	// A put without a TTL makes it live for good, one with a TTL begins anew.
	time.Sleep(59 * time.Minute)
	v := s.put(store.DocPut{Doc: name, Expect: r.Version, TTL: time.Hour})
	time.Sleep(59 * time.Minute)
	s.put(store.DocPut{Doc: name, Expect: v})
	time.Sleep(1000 * time.Hour)
	got = s.docs(store.DocQuery{Kind: "job", IDs: []string{"lock"}})
	if len(got) != 1 || !got[0].Expires.IsZero() {
		s.Errorf("a document without an end: %+v", got)
	}
}

func docNames(s *suite) {
	names := [][3]string{
		{"endpoint", "a", "b"},
		{"endpoint", "ab", ""},
		{"endpoint", "", "ab"},
		{"endpoin", "ta", "b"},
		{"endpoint", "a", "B"},
		{"endpoint", "a b", "c"},
		{"endpoint", "a", "b c"},
		{"endpoint", "é", "日本"},
		{"endpoint", "a", "*"},
		{"endpoint", "*", "a"},
	}
	for i, n := range names {
		s.put(store.DocPut{Doc: doc(n[0], n[1], n[2], fmt.Sprint(i))})
	}
	for i, n := range names {
		if n[1] == store.AllTenants {
			continue // such a group can only be asked for with all the others
		}
		got := s.docs(store.DocQuery{Kind: n[0], Tenant: n[1], IDs: []string{n[2]}})
		if len(got) != 1 || string(got[0].Data) != fmt.Sprint(i) || got[0].Kind != n[0] || got[0].Group != n[1] || got[0].ID != n[2] {
			s.Errorf("document %q: %+v", n, got)
		}
	}
}

func docQueries(s *suite) {
	for _, group := range []string{"b", "", "a"} {
		for _, id := range []string{"3", "1", "2", "10"} {
			s.put(store.DocPut{Doc: doc("endpoint", group, id, group+id)})
		}
	}
	s.put(store.DocPut{Doc: doc("secret", "a", "1", "other")})
	names := func(q store.DocQuery) (all []string) {
		for _, d := range s.docs(q) {
			all = append(all, d.Group+"/"+d.ID)
		}
		return all
	}
	for _, limit := range []int{0, 1, 2, 5} {
		p := store.Paging{Limit: limit}
		for _, c := range []struct {
			q    store.DocQuery
			want []string
		}{
			{store.DocQuery{Kind: "endpoint", Tenant: "*"}, []string{"/1", "/10", "/2", "/3", "a/1", "a/10", "a/2", "a/3", "b/1", "b/10", "b/2", "b/3"}},
			{store.DocQuery{Kind: "endpoint", Tenant: "a"}, []string{"a/1", "a/10", "a/2", "a/3"}},
			{store.DocQuery{Kind: "endpoint"}, []string{"/1", "/10", "/2", "/3"}},
			{store.DocQuery{Kind: "endpoint", Tenant: "b", IDs: []string{"3", "1", "x"}}, []string{"b/1", "b/3"}},
			{store.DocQuery{Kind: "endpoint", Tenant: "*", IDs: []string{"10"}}, []string{"/10", "a/10", "b/10"}},
			{store.DocQuery{Kind: "secret", Tenant: "*"}, []string{"a/1"}},
			{store.DocQuery{Kind: "secret"}, nil},
			{store.DocQuery{Kind: "endpoin", Tenant: "*"}, nil},
			{store.DocQuery{Kind: "endpoint", Tenant: "c"}, nil},
		} {
			c.q.Page = p
			if got := names(c.q); !slices.Equal(got, c.want) {
				s.Errorf("documents of %+v: %q, want %q", c.q, got, c.want)
			}
		}
	}
}

func tenThousandDocs(s *suite) {
	const n = 10_000
	s.large = true
	for from := 0; from < n; from += 1000 {
		b := &store.Batch{}
		for i := from; i < from+1000; i++ {
			x := (i * 7919) % n
			b.Docs = append(b.Docs, store.DocPut{Doc: doc("endpoint", fmt.Sprint("tenant ", x%10), fmt.Sprintf("%05d", x), fmt.Sprint(x))})
		}
		for _, r := range s.commit(b).Docs {
			s.ok(r.Err, "put")
		}
	}
	if s.Reopen != nil {
		s.reopen()
	}
	all := s.docs(store.DocQuery{Kind: "endpoint", Tenant: store.AllTenants, Page: store.Paging{Limit: 700}})
	equal(s, len(all), n, "documents")
	for i, d := range all {
		if i > 0 && (d.Group < all[i-1].Group || d.Group == all[i-1].Group && d.ID <= all[i-1].ID) {
			s.Fatalf("document %q %q comes after %q %q", d.Group, d.ID, all[i-1].Group, all[i-1].ID)
		}
	}
	equal(s, len(s.docs(store.DocQuery{Kind: "endpoint", Tenant: "tenant 3", Page: store.Paging{Limit: 1000}})), n/10, "documents of a tenant")
	got := s.docs(store.DocQuery{Kind: "endpoint", Tenant: "tenant 7", IDs: []string{"00007", "00008", "09997"}})
	equal(s, len(got), 2, "documents of a tenant by ID")
}

func oneOfEightWins(s *suite) {
	version := s.put(store.DocPut{Doc: doc("job", "", "count", "0")})
	var mu sync.Mutex
	wins := map[uint64]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			expect := version
			for range 25 {
				r, err := s.store.Commit(s.ctx, &store.Batch{Docs: []store.DocPut{{Doc: doc("job", "", "count", "x"), Expect: expect}}})
				if err != nil {
					s.Errorf("Commit: %v", err)
					return
				}
				if r.Docs[0].Err == nil {
					mu.Lock()
					wins[expect]++
					mu.Unlock()
				}
				expect = r.Docs[0].Version
			}
		})
	}
	wg.Wait()
	for v, n := range wins {
		equal(s, n, 1, fmt.Sprintf("puts that replaced version %d", v))
	}
	if len(wins) < 25 {
		s.Errorf("%d of 200 puts won, want at least 25", len(wins))
	}
}

func docsSurvive(s *suite) {
	want := map[string]uint64{}
	for name, way := range s.restarts() {
		for i := range 5 {
			id := fmt.Sprint(name, i)
			want[id] = s.put(store.DocPut{Doc: doc("endpoint", "t", id, id)})
			if i%2 == 0 {
				want[id] = s.put(store.DocPut{Doc: doc("endpoint", "t", id, id), Expect: want[id]})
			}
		}
		way()
		got := s.docs(store.DocQuery{Kind: "endpoint", Tenant: "t"})
		equal(s, len(got), len(want), "documents after "+name)
		for _, d := range got {
			if d.Version != want[d.ID] || string(d.Data) != d.ID {
				s.Errorf("after %s: %+v, want version %d", name, d, want[d.ID])
			}
		}
		for id, v := range want {
			r := s.swap(doc("endpoint", "t", id, id), v+1)
			s.is(r.Err, "a put that expects another version after "+name, store.ErrConflict)
			equal(s, r.Version, v, "the current version after "+name)
		}
	}
}

func docSizes(s *suite) {
	big := string(make([]byte, 200_000)) + "end"
	s.put(store.DocPut{Doc: doc("secret", "", "big", big)})
	s.put(store.DocPut{Doc: store.Doc{Kind: "secret", ID: "empty"}})
	got := s.docs(store.DocQuery{Kind: "secret"})
	if len(got) != 2 || string(got[0].Data) != big || len(got[1].Data) != 0 {
		s.Errorf("a large document and an empty one: %d documents", len(got))
	}
}
