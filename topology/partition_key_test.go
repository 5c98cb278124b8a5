package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestKeyWindows: the windows in a store's keys did not choose the partition of its rows where an aggregation put them
// there, or where a topic with such keys is read, and did behind a repartition topic.
func TestKeyWindows(t *testing.T) {
	b := topology.NewBuilder()
	byKey := textStreamOf(b, "in").GroupByKey()
	minutes := topology.Count(topology.WindowedBy(byKey, topology.Tumbling(time.Minute)), topology.As("minutes"))
	topology.Suppress(minutes, topology.UntilWindowCloses(), topology.As("suppressed"))
	sessions := topology.Count(topology.SessionWindowedBy(byKey, topology.Session(time.Minute)), topology.As("sessions"))
	text := func(n int64) string { return string(rune('0' + n)) }
	topology.MapTableValues(sessions, text, serde.String, topology.As("mapped"))
	windows := minutes.ToStream()
	topology.Count(windows.GroupByKey(), topology.As("updates"))
	topology.Count(topology.WindowedBy(windows.GroupByKey(), topology.Tumbling(time.Hour)), topology.As("hours"))
	byWindow := topology.WindowedBy(windows.GroupByKey(), topology.Tumbling(time.Hour))
	nested := topology.Count(byWindow, topology.As("nested"))
	topology.MapTableValues(nested, text, serde.String, topology.As("nested-mapped"))
	windows.Repartition(topology.Named("anew")).ToTable(topology.As("anew"))
	key := serde.TimeWindowed(serde.String, time.Minute)
	topology.Table(b, "windows", key, serde.String, topology.As("read"))
	joined := topology.ForeignKeyJoin(sessions, textTableOf(b, "right"), text, func(n int64, r string) string {
		return text(n) + r
	}, serde.String, topology.Named("fk"), topology.As("joined"))
	topology.MapTableValues(joined, func(s string) string { return s }, serde.String, topology.As("joined-mapped"))
	plan, err := b.Build()
	require.NoError(t, err)
	windowsOf := map[string][]int{}
	for _, s := range plan.Stores {
		if len(s.KeyWindows) > 0 {
			windowsOf[s.Name] = s.KeyWindows
		}
	}
	require.Equal(t, map[string][]int{
		"suppressed": {8}, "mapped": {16}, "updates": {8}, "hours": {8}, "nested": {8}, "nested-mapped": {8, 8},
		"joined": {16}, "joined-mapped": {16}, "read": {8},
	}, windowsOf)
	require.Len(t, plan.ForeignKeyJoins, 1)
	j := plan.ForeignKeyJoins[0]
	require.Equal(t, "fk-subscription-store", j.Subscribers)
	require.Equal(t, "fk-subscription-registration-topic", j.Requests)
	require.Equal(t, "fk-subscription-response-topic", j.Answers)
	require.Equal(t, 16, j.LeftWindowBytes)
	require.False(t, j.CustomPartitioner)
	for _, s := range plan.Stores {
		if s.Name == "mapped" {
			encoded, err := serde.SessionWindowed(serde.String).Append(nil, record.Windowed[string]{Key: "k"})
			require.NoError(t, err)
			_, part, err := s.Place(record.Raw{Key: encoded})
			require.NoError(t, err)
			require.Equal(t, "k", string(part))
		}
	}
}
