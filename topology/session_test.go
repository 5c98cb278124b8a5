package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

func TestSessionsMerge(t *testing.T) {
	d := runWindowed(t, overSessions(topology.Session(10*time.Millisecond).Grace(100*time.Millisecond), false))
	d.pipe("k", "a", 20)
	d.pipe("k", "b", 20)
	require.Equal(t, []string{"k@20/20=a", "k@20/20=ab"}, d.take(), "no null for a session at one point")
	d.pipe("k", "c", 40)
	require.Equal(t, []string{"k@40/40=c"}, d.take())
	d.pipe("k", "d", 30)
	require.Equal(t, []string{"k@20/20=", "k@40/40=", "k@20/40=abcd"}, d.take(), "in the order of their ends")
	d.Commit()
	d.Crash()
	d.pipe("k", "e", 35)
	require.Equal(t, []string{"k@20/40=", "k@20/40=abcde"}, d.take(), "restored")
	d.pipe("other", "x", 500)
	d.pipe("k", "late", 25)
	require.Equal(t, []string{"other@500/500=x"}, d.take())
	require.Equal(t, 1, d.Dropped())
}

func TestSessionsWithCache(t *testing.T) {
	d := runWindowed(t, overSessions(topology.Session(10*time.Millisecond), false), tidemarktest.WithCaching())
	d.pipe("k", "a", 1)
	d.pipe("k", "b", 5)
	d.Commit()
	require.Equal(t, []string{"k@1/5=ab"}, d.take(), "nobody has heard of the session that was merged")
	d.pipe("k", "c", 6)
	d.Commit()
	require.Equal(t, []string{"k@1/5=", "k@1/6=abc"}, d.take())
}

// Such a session is not late, though the store has no room for it: with a cache it must go out all the same.
func TestSessionsThatEndAtTheCloseTime(t *testing.T) {
	for _, opts := range [][]tidemarktest.Option{nil, {tidemarktest.WithCaching()}} {
		d := runWindowed(t, overSessions(topology.Session(6*time.Millisecond).Grace(24*time.Millisecond), false), opts...)
		d.pipe("k", "a", 106)
		d.pipe("other", "b", 76)
		d.Commit()
		require.ElementsMatch(t, []string{"k@106/106=a", "other@76/76=b"}, d.take())
		require.Zero(t, d.Dropped())
	}
}

func TestReduceSessionsAndNulls(t *testing.T) {
	d := runWindowed(t, func(_ *topology.Builder, g groupedInput) windowedTable {
		by := topology.SessionWindowedBy(g, topology.Session(10*time.Millisecond).Grace(time.Second))
		return topology.Reduce(by, func(a, b string) string { return a + b })
	})
	d.pipe("k", "a", 1)
	d.pipe("k", "b", 20)
	d.pipe("k", "c", 11)
	require.Equal(t, []string{"k@1/1=a", "k@20/20=b", "k@1/1=", "k@20/20=", "k@1/20=abc"}, d.take())
}

// A record may be so far ahead that everything in the store expires with it: results must have gone out before.
func TestFinalResultsAfterALongPause(t *testing.T) {
	const gap = 10 * time.Millisecond
	for name, c := range map[string]struct {
		aggregate func(*topology.Builder, groupedInput) windowedTable
		want      []string
	}{
		"session":  {overSessions(topology.Session(gap), true), []string{"a@7/7=z", "b@3/7=xy"}},
		"tumbling": {overWindows(topology.Tumbling(gap), true), []string{"a@0/10=z", "b@0/10=xy"}},
		"sliding":  {overWindows(topology.Sliding(gap), true), []string{"a@0/10=z", "b@0/10=xy", "b@4/14=y"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := runWindowed(t, c.aggregate)
			d.pipe("b", "x", 3)
			d.pipe("b", "y", 7)
			d.pipe("a", "z", 7)
			d.Commit()
			d.Crash()
			require.Empty(t, d.take())
			d.pipe("other", "now", 10_000_000)
			require.Equal(t, c.want, d.take())
			d.pipe("other", "again", 10_000_000)
			require.Empty(t, d.take(), "once only")
		})
	}
}

func TestCountSessionsOnClose(t *testing.T) {
	d := runWindowed(t, func(_ *topology.Builder, g groupedInput) windowedTable {
		by := topology.SessionWindowedBy(g, topology.Session(10*time.Millisecond)).EmitOnClose()
		shown := func(n int64) string { return string('0' + rune(n)) }
		return topology.MapTableValues(topology.Count(by), shown, serde.String)
	})
	for i, key := range []string{"b", "a", "b", "a"} {
		d.pipe(key, "v", int64(i*2))
	}
	require.Empty(t, d.take())
	d.pipe("c", "v", 17)
	require.Equal(t, []string{"b@0/4=2", "a@2/6=2"}, d.take(), "by end")
}
