package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/hookgate/hookgate/store"
)

// damage opens a copy of the golden store in which something was broken before.
func damage(t *testing.T, breakIt func(dir string)) (*opened, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	breakIt(dir)
	return openGolden(dir)
}

// breakIndex changes the index behind the store's back.
func breakIndex(t *testing.T, dir string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, indexName), 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(change), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flip changes a bit in the middle of a value.
func flip(b *bbolt.Bucket, key []byte) error {
	v := bytes.Clone(b.Get(key))
	v[len(v)/2] ^= 1
	return b.Put(key, v)
}

// claimEverything takes all that is due and answers by event how often it was handed out.
func claimEverything(t *testing.T, s *opened) map[store.ID]int {
	t.Helper()
	got := map[store.ID]int{}
	for range 3 {
		r, err := s.Claim(context.Background(), store.ClaimRequest{Worker: "new", Max: 100, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Leases {
			got[l.Event.ID]++
		}
		time.Sleep(3 * time.Second)
	}
	return got
}

// deadAndDamaged checks that a delivery became a dead letter for what is stored of it.
func deadAndDamaged(t *testing.T, s *opened, id store.DeliveryID) {
	t.Helper()
	page, err := s.Deliveries(context.Background(), store.DeliveryQuery{Tenant: store.AllTenants, States: []store.State{store.Dead}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range page.Items {
		if d.ID == id && d.Reason == "damaged" {
			return
		}
	}
	t.Errorf("no dead letter says that delivery %v is damaged: %+v", id, page.Items)
}

func TestDamageStaysWithOneDelivery(t *testing.T) {
	t.Run("a payload in the journal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, err := damage(t, func(dir string) {
				broken := 0
				names, _ := filepath.Glob(filepath.Join(dir, journalName, "*.seg"))
				for _, name := range names {
					b, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					if i := bytes.Index(b, goldenPayload(evReleased, 40)); i >= 0 {
						b[i+7] ^= 0x20
						broken++
						if err := os.WriteFile(name, b, 0o600); err != nil {
							t.Fatal(err)
						}
					}
				}
				if broken != 1 {
					t.Fatalf("the payload was found in %d segments", broken)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got := claimEverything(t, s)
			if got[goldenID(evReleased)] != 0 {
				t.Error("a damaged event was handed out")
			}
			for _, n := range []int{evLate, evLeased, evFreed, evHurried} {
				if got[goldenID(n)] != 1 {
					t.Errorf("event %d was handed out %d times", n, got[goldenID(n)])
				}
			}
			// Nothing can be shown of it, so lists leave it out; it is counted, and the log says where it is.
			if stats, err := s.Stats(context.Background()); err != nil || stats.Dead != 4 {
				t.Errorf("stats are %+v, %v, want one more dead letter than the three that there were", stats, err)
			}
			page, err := s.Events(context.Background(), store.EventQuery{Tenant: "acme", Page: store.Paging{Limit: 1000}})
			if err != nil || len(page.Items) != 16 {
				t.Errorf("%d events are listed, %v, want all but one", len(page.Items), err)
			}
		})
	})
	t.Run("a delivery in the index", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, err := damage(t, func(dir string) {
				breakIndex(t, dir, func(tx *bbolt.Tx) error {
					b := tx.Bucket([]byte("v"))
					c := b.Cursor()
					for k, _ := c.First(); k != nil; k, _ = c.Next() {
						if u64(string(k)) == evHurried {
							return flip(b, k)
						}
					}
					return errors.New("there is no such row")
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got := claimEverything(t, s)
			if got[goldenID(evHurried)] != 0 {
				t.Error("a damaged delivery was handed out")
			}
			for _, n := range []int{evLate, evLeased, evFreed, evReleased} {
				if got[goldenID(n)] != 1 {
					t.Errorf("event %d was handed out %d times", n, got[goldenID(n)])
				}
			}
			deadAndDamaged(t, s, store.DeliveryID{Event: goldenID(evHurried)})
		})
	})
}

// What cannot be opened says why and what to do, and the program lives.
func TestDamagedStoresAreRefusedInWords(t *testing.T) {
	for _, c := range []struct {
		name    string
		breakIt func(t *testing.T, dir string)
		says    string
	}{
		{"the index of a newer version", func(t *testing.T, dir string) {
			breakIndex(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(aboutBucket).Put(formatKey, []byte{2}) })
		}, "use a newer version"},
		{"the index of another program", func(t *testing.T, dir string) {
			breakIndex(t, dir, func(tx *bbolt.Tx) error { return tx.DeleteBucket(aboutBucket) })
		}, "another program"},
		{"the index of another store", func(t *testing.T, dir string) {
			breakIndex(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(aboutBucket).Put(idKey, make([]byte, 16)) })
		}, "belongs to store"},
		{"a meta row that is damaged", func(t *testing.T, dir string) {
			breakIndex(t, dir, func(tx *bbolt.Tx) error { return flip(tx.Bucket([]byte("m")), []byte("s")) })
		}, "checksum"},
		{"an index that was cut short", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, indexName), 5*4096); err != nil {
				t.Fatal(err)
			}
		}, "cannot be read"},
		{"an index that is almost empty", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, indexName), 100); err != nil {
				t.Fatal(err)
			}
		}, "restore it from a backup"},
		{"an index that is no index", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, indexName), bytes.Repeat([]byte("text "), 1<<14), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a bbolt file"},
		{"no index", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, indexName)); err != nil {
				t.Fatal(err)
			}
		}, "a journal and no index"},
		{"a segment that was cut short", func(t *testing.T, dir string) {
			names, _ := filepath.Glob(filepath.Join(dir, journalName, "*.seg"))
			if err := os.Truncate(names[0], 9000); err != nil {
				t.Fatal(err)
			}
		}, "should be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := damage(t, func(dir string) { c.breakIt(t, dir) })
				if err == nil {
					s.Close()
					t.Fatal("it opened")
				}
				if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v, want ErrCorrupt that says %q", err, c.says)
				}
			})
		})
	}
}
