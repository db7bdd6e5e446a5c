package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hookgate/hookgate/store"
)

// smallDisk is a file system of so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("a small file system cannot be mounted, and CI is where it must: %v", err)
		}
		t.Skipf("a small file system cannot be mounted here, which needs root: %v", err) // the injected faults of storetest do not
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func fillDisk(t *testing.T, dir string) (remove func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 16; size >= 512; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// On a full disk appends are refused, outcomes are still recorded, reads answer, a killed store opens, and everything goes on by
// itself when there is room.
func TestFullDiskIsNotTheEnd(t *testing.T) {
	disk := smallDisk(t, 6<<20)
	dir := filepath.Join(disk, "s")
	ctx := context.Background()
	s, err := Open(dir, quiet(small))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 200)
	claim := func(n int) []store.Lease {
		t.Helper()
		r, err := s.Claim(ctx, store.ClaimRequest{Worker: "w", Max: n, Lease: time.Hour})
		if err != nil || len(r.Leases) != n {
			t.Fatalf("claimed %d, want %d: %v", len(r.Leases), n, err)
		}
		return r.Leases
	}
	leases := claim(40)
	fillDisk(t, disk)

	accepted, full := 0, 0
	n := 0
	publish := func() {
		t.Helper()
		n++
		id := store.ID{0xff, byte(n >> 8), byte(n)}
		r, err := s.Commit(ctx, &store.Batch{Appends: []store.Append{testAppend(id, make([]byte, 4000), "d")}})
		switch {
		case err != nil:
			t.Fatalf("append %d: %v", n, err)
		case r.Appends[0].Err == nil:
			accepted++
		case errors.Is(r.Appends[0].Err, store.ErrFull):
			full++
		default:
			t.Fatalf("append %d: %v", n, r.Appends[0].Err)
		}
	}
	for full == 0 && n < 2000 {
		publish()
	}
	if full == 0 {
		t.Fatal("a full disk was never noticed")
	}
	settle := func(list []store.Lease) {
		t.Helper()
		for _, l := range list {
			r, err := s.Commit(ctx, &store.Batch{Settles: []store.Settle{done(l)}})
			if err != nil || r.Settles[0] != nil {
				t.Fatalf("an outcome on a full disk: %+v, %v", r, err)
			}
		}
	}
	settle(leases[:20])
	check := func() {
		t.Helper()
		seen, cursor := 0, ""
		for {
			page, err := s.Deliveries(ctx, store.DeliveryQuery{Tenant: store.AllTenants, States: []store.State{store.Done}, Page: store.Paging{Limit: 1000, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			seen += len(page.Items)
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		st, err := s.Stats(ctx)
		if err != nil || st.Failed != nil || seen+int(st.Pending+st.Leased) != 200+accepted {
			t.Fatalf("%d done of %d, stats %+v, %v", seen, 200+accepted, st, err)
		}
	}
	check()

	// The process is killed on the full disk: what it leaves opens, and the outcomes are in it.
	disk = smallDisk(t, 48<<20) // the copy has no holes
	crashed := filepath.Join(disk, "s")
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	room := fillDisk(t, disk)
	if s, err = Open(crashed, quiet(small)); err != nil {
		t.Fatalf("open on a full disk: %v", err)
	}
	check()
	settle(claim(20))
	check()

	room()
	deadline := time.Now().Add(20 * time.Second)
	for before := accepted; accepted < before+100; {
		publish()
		if time.Now().After(deadline) {
			t.Fatal("there is room again, and the store does not take it")
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(crashed, quiet(small)); err != nil {
		t.Fatal(err)
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A folder that may not be written to is an error that says so.
func TestReadOnlyFolderIsAnError(t *testing.T) {
	disk := smallDisk(t, 6<<20)
	dir := filepath.Join(disk, "s")
	s, err := Open(dir, quiet(small))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(disk, "new")} {
		if _, err := Open(dir, quiet(small)); !errors.Is(err, syscall.EROFS) {
			t.Errorf("Open %s: %v, want EROFS and what to do", dir, err)
		}
	}
}
