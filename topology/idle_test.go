package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/topology"
)

func TestIdleTimeClosesTheLastWindow(t *testing.T) {
	const minute, after = time.Minute, 10 * time.Second
	for name, c := range map[string]struct {
		aggregate func(*topology.Builder, groupedInput) windowedTable
		want      string
	}{
		"tumbling": {overWindows(topology.Tumbling(minute).AdvanceWhenIdle(after), true), "k@0/60000=ab"},
		"calendar": {overWindows(topology.Days(time.UTC).AdvanceWhenIdle(after), true), "k@0/86400000=ab"},
		"sliding":  {overWindows(topology.Sliding(minute).AdvanceWhenIdle(after), true), "k@0/60000=ab"},
		"session":  {overSessions(topology.Session(minute).AdvanceWhenIdle(after), true), "k@1000/2000=ab"},
	} {
		t.Run(name, func(t *testing.T) {
			d := runWindowed(t, c.aggregate)
			d.AdvanceWallClock(time.Hour)
			d.pipe("k", "a", 1000)
			d.AdvanceWallClock(after / 2)
			d.pipe("k", "b", 2000)
			d.AdvanceWallClock(after / 2)
			require.Empty(t, d.take(), "not idle for long enough")
			d.AdvanceWallClock(after)
			require.Empty(t, d.take(), "idle, but the window is longer")
			d.AdvanceWallClock(25 * time.Hour)
			require.Contains(t, d.take(), c.want)
			d.Commit()
			d.Crash()
			d.AdvanceWallClock(25 * time.Hour)
			require.Empty(t, d.take(), "once only")
			d.pipe("k", "late", 2001)
			require.Empty(t, d.take())
			require.Equal(t, 1, d.Dropped(), "the time that it reached is kept, and decides what is late")
		})
	}
}

func TestIdleTimeStandsStillBeforeTheFirstRecord(t *testing.T) {
	d := runWindowed(t, overWindows(topology.Tumbling(time.Second).AdvanceWhenIdle(time.Second), true))
	d.AdvanceWallClock(time.Hour)
	d.pipe("k", "a", 0)
	require.Zero(t, d.Dropped())
}
