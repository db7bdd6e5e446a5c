package hookgate

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// signedBy says which of the secrets, by name, verify a request that was sent.
func signedBy(t *testing.T, a arrival, secrets map[string]Secret) (names string) {
	t.Helper()
	for _, name := range []string{"first", "second", "third"} {
		s, ok := secrets[name]
		if !ok {
			continue
		}
		v, err := signing.Standard(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(&signing.Request{Method: "POST", Header: a.header, Body: []byte(a.body), Time: a.at}); err == nil {
			names += name + " "
		} else if !errors.Is(err, signing.ErrMismatch) {
			t.Fatal(err)
		}
	}
	return names
}

// A key that is scheduled for tomorrow signs from tomorrow on, and the old one until its overlap is over, whichever process
// runs by then. One that is taken back never signs.
func TestScheduledSecretSignsInItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &consumer{}
		store, sealer := newTestStore(t), newTestSealer(t)
		start := func() *Gateway { return startGateway(t, Config{Store: store, Sealer: sealer, Dispatcher: c}) }
		g := start()
		began := time.Now()
		_, first, err := g.CreateEndpoint(t.Context(), Endpoint{
			ID: "a", URL: "https://example.com", Header: map[string]string{"X-Api-Key": "k"}, Subscriptions: []Subscription{{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		tomorrow := began.Add(24 * time.Hour)
		second, err := g.ScheduleSecret(t.Context(), "", "a", Rotation{From: tomorrow, Overlap: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		secrets := map[string]Secret{"first": first, "second": second}
		send := func(want string) {
			t.Helper()
			before := c.count()
			mustPublish(t, g, Event{Payload: []byte("x")})
			synctest.Wait()
			all := c.arrivals()
			if len(all) != before+1 {
				t.Fatalf("%d requests were sent, want 1", len(all)-before)
			}
			last := all[len(all)-1]
			if got := signedBy(t, last, secrets); got != want || last.header.Get("X-Api-Key") != "k" {
				t.Errorf("at %v the request was signed with %q, want %q", last.at.Sub(began), got, want)
			}
		}
		until := func(at time.Time) { time.Sleep(time.Until(at)) }

		send("first ")
		until(tomorrow.Add(-time.Second))
		send("first ")
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = start() // another process, that never heard of the rotation
		until(tomorrow.Add(-time.Nanosecond))
		send("first ")
		until(tomorrow)
		send("first second ")
		until(tomorrow.Add(time.Hour - time.Nanosecond))
		send("first second ")
		until(tomorrow.Add(time.Hour))
		send("second ")
		if infos, err := g.Secrets(t.Context(), "", "a"); err != nil || len(infos) != 1 || !infos[0].From.Equal(tomorrow) || !infos[0].Expires.IsZero() {
			t.Errorf("%+v, %v", infos, err)
		}

		// One of our own, scheduled and taken back: the second stays beyond the end that it had.
		third := signing.StandardWebhooks.NewSecret()
		secrets["third"] = third
		later := time.Now().Add(time.Hour)
		if got, err := g.ScheduleSecret(t.Context(), "", "a", Rotation{Secret: third, From: later, Overlap: -1}); err != nil || got.Reveal() != third.Reveal() {
			t.Fatalf("another secret came back, or %v", err)
		}
		infos, err := g.Secrets(t.Context(), "", "a")
		if err != nil || len(infos) != 2 || infos[0].Active(time.Now()) || !infos[1].Active(time.Now()) || !infos[1].Expires.Equal(later) {
			t.Fatalf("%+v, %v", infos, err)
		}
		if err := g.ExpireSecret(t.Context(), "", "a", infos[0].ID); err != nil {
			t.Fatal(err)
		}
		until(later.Add(time.Minute))
		send("second ")
	})
}

func TestScheduleRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{})
		mustCreate(t, g, "", "a")
		ctx := t.Context()
		_, err := g.ScheduleSecret(ctx, "", "a", Rotation{From: time.Now().Add(400 * 24 * time.Hour)})
		wantField(t, err, "Rotation.From")
		_, err = g.ScheduleSecret(ctx, "", "a", Rotation{Secret: signing.NewSecret("whsec_no")})
		wantField(t, err, "Rotation.Secret")
		_, err = g.ScheduleSecret(ctx, "", "b", Rotation{})
		wantError(t, err, ErrNotFound)
		if _, err := g.ScheduleSecret(ctx, "", "a", Rotation{From: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		for _, r := range []Rotation{{From: time.Now().Add(2 * time.Hour)}, {From: time.Now().Add(2 * time.Hour), Overlap: -1}, {}} {
			_, err = g.ScheduleSecret(ctx, "", "a", r)
			wantError(t, err, ErrConflict, "a rotation is scheduled", "ExpireSecret")
		}
		// A leak does not wait for a schedule.
		if _, err := g.RotateSecret(ctx, "", "a", -1); err != nil {
			t.Fatal(err)
		}
		if infos, err := g.Secrets(ctx, "", "a"); err != nil || len(infos) != 1 || !infos[0].Active(time.Now()) {
			t.Errorf("%+v, %v", infos, err)
		}
		// A time that has passed is now.
		if _, err := g.ScheduleSecret(ctx, "", "a", Rotation{From: time.Now().Add(-time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if infos, err := g.Secrets(ctx, "", "a"); err != nil || len(infos) != 2 || !infos[0].From.Equal(time.Now()) || !infos[0].Active(time.Now()) {
			t.Errorf("%+v, %v", infos, err)
		}
	})
}

func TestExpireSecretLeavesOneThatSigns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newSurface(t, Config{})
		mustCreate(t, g, "", "a")
		ctx := t.Context()
		ids := func(want int) (ids []string) {
			t.Helper()
			infos, err := g.Secrets(ctx, "", "a")
			if err != nil || len(infos) != want {
				t.Fatalf("%+v, %v", infos, err)
			}
			for _, i := range infos {
				ids = append(ids, i.ID)
			}
			return ids
		}
		only := ids(1)[0]
		wantError(t, g.ExpireSecret(ctx, "", "a", only), ErrConflict, "the only active secret", "RotateSecret")
		wantError(t, g.ExpireSecret(ctx, "", "a", "nobody"), ErrNotFound)
		wantError(t, g.ExpireSecret(ctx, "other", "a", only), ErrNotFound)

		// One that is scheduled does not help now.
		if _, err := g.ScheduleSecret(ctx, "", "a", Rotation{From: time.Now().Add(time.Hour), Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
		wantError(t, g.ExpireSecret(ctx, "", "a", only), ErrConflict)
		time.Sleep(90 * time.Minute)
		newest := ids(2)[0]

		// The newest leaks: the one that was on its way out goes on for good.
		if err := g.ExpireSecret(ctx, "", "a", newest); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if left := ids(1); left[0] != only {
			t.Errorf("%s is left, want %s", left[0], only)
		}
		wantError(t, g.ExpireSecret(ctx, "", "a", newest), ErrNotFound)

		// Two that sign, and one that begins after the first of them ends: ending the second makes no gap.
		if _, err := g.RotateSecret(ctx, "", "a", time.Minute); err != nil {
			t.Fatal(err)
		}
		middle := ids(2)[0]
		from := time.Now().Add(time.Hour).Truncate(time.Second)
		if _, err := g.ScheduleSecret(ctx, "", "a", Rotation{From: from, Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if err := g.ExpireSecret(ctx, "", "a", middle); err != nil {
			t.Fatal(err)
		}
		tg := g.view.target("ep:/a")
		for at := time.Now(); at.Before(from.Add(3 * time.Hour)); at = at.Add(10 * time.Second) {
			if keys, err := tg.secrets(at); err != nil || len(keys) != 1 {
				t.Fatalf("%v before the next begins, %d secrets sign, %v", from.Sub(at), len(keys), err)
			}
		}
	})
}

// What newRing prepared is what its keys say, at every moment around every turn.
func TestRingAnswersTheKeysOfTheMoment(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(h int) time.Time {
		if h < 0 {
			return time.Time{}
		}
		return base.Add(time.Duration(h) * time.Hour)
	}
	for seed := range 3000 {
		x := uint64(seed)
		next := func(n int) int { x = mix(x, 0x9e3779b97f4a7c15); return int(x>>33) % n }
		var keys []ringKey
		for i := range 1 + next(5) {
			k := newRingKey(signing.NewSecret(fmt.Sprint("key", i)), base)
			k.from, k.expires = at(next(9)-4), at(next(9)-4)
			keys = append(keys, k)
		}
		r := newRing(keys, nil)
		for m := -1; m < 6; m++ {
			for _, d := range []time.Duration{-1, 0, 1} {
				now := base.Add(time.Duration(m)*time.Hour + d)
				want, got := "", ""
				for _, k := range keys {
					if !now.Before(k.from) && (k.expires.IsZero() || now.Before(k.expires)) {
						want += k.secret.Reveal() + " "
					}
				}
				for _, s := range r.active(now) {
					got += s.Reveal() + " "
				}
				if got != want {
					t.Fatalf("seed %d, %v: %q, want %q", seed, now.Sub(base), got, want)
				}
			}
		}
	}
}

func TestActiveSecretsAllocateNothing(t *testing.T) {
	old, next := newRingKey(signing.NewSecret("a"), time.Now()), newRingKey(signing.NewSecret("b"), time.Now())
	old.expires, next.from = time.Now().Add(time.Hour), time.Now().Add(time.Minute)
	r := newRing([]ringKey{next, old}, nil)
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		for _, d := range []time.Duration{0, 2 * time.Minute, 2 * time.Hour} {
			if len(r.active(now.Add(d))) == 0 {
				t.Error("no key")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// LastUsed tells what this process signed with, and goes with the secret over changes of the endpoint and restarts that
// follow one.
func TestSecretsTellWhenTheyWereLastUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, sealer := newTestStore(t), newTestSealer(t)
		g := startGateway(t, Config{Store: store, Sealer: sealer, Dispatcher: &consumer{}})
		ep := mustCreate(t, g, "", "a", "x")
		infos := func(want int) []SecretInfo {
			t.Helper()
			infos, err := g.Secrets(t.Context(), "", "a")
			if err != nil || len(infos) != want {
				t.Fatalf("%+v, %v", infos, err)
			}
			return infos
		}
		if !infos(1)[0].LastUsed.IsZero() {
			t.Error("used before anything was sent")
		}
		time.Sleep(time.Hour)
		sent := time.Now()
		mustPublish(t, g, Event{Type: "x"})
		time.Sleep(time.Hour)
		if got := infos(1)[0].LastUsed; !got.Equal(sent) {
			t.Errorf("last used at %v, want %v", got, sent)
		}
		ep.Description = "something else" // its secrets stay as they are
		if _, err := g.UpdateEndpoint(t.Context(), *ep); err != nil {
			t.Fatal(err)
		}
		if got := infos(1)[0].LastUsed; !got.Equal(sent) {
			t.Errorf("after a change: last used at %v, want %v", got, sent)
		}
		if _, err := g.RotateSecret(t.Context(), "", "a", 10*time.Hour); err != nil {
			t.Fatal(err)
		}
		if list := infos(2); !list[0].LastUsed.IsZero() || !list[1].LastUsed.Equal(sent) {
			t.Errorf("after a rotation: %+v", list)
		}
		time.Sleep(time.Hour)
		again := time.Now()
		mustPublish(t, g, Event{Type: "x"})
		time.Sleep(time.Hour)
		if list := infos(2); !list[0].LastUsed.Equal(again) || !list[1].LastUsed.Equal(again) {
			t.Errorf("after another: %+v", list)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = newEngine(t, Config{Store: store, Sealer: sealer})
		if list := infos(2); !list[0].LastUsed.IsZero() || !list[1].LastUsed.Equal(sent) {
			t.Errorf("after a restart: %+v", list)
		}
	})
}
