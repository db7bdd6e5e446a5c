package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hookgate/hookgate"
)

// printJourneys tells of every event and counts the deliveries that are done.
func printJourneys(gw *hookgate.Gateway) (done int, err error) {
	ctx := context.Background() // also when the time for arriving is over
	events, err := gw.Events(ctx, hookgate.EventQuery{Oldest: true})
	if err != nil {
		return 0, err
	}
	for _, ev := range events.Items {
		journey, err := gw.Journey(ctx, ev.Tenant, ev.ID)
		if err != nil {
			return 0, err
		}
		fmt.Println(journey)
		for _, d := range journey.Deliveries {
			if d.State == hookgate.Done {
				done++
			}
		}
	}
	return done, nil
}

// settled waits until nothing is pending any more, which here takes a second or two.
func settled(ctx context.Context, gw *hookgate.Gateway) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		stats, err := gw.Stats(ctx)
		if err != nil {
			return err
		}
		if stats.Pending+stats.Leased == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the time is over, deliveries still on their way: %d", stats.Pending+stats.Leased)
		}
	}
}
