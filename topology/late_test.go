package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

func TestLateRecords(t *testing.T) {
	const size = 10 * time.Millisecond
	late := topology.LateRecords(func(s *topology.KStream[string, string]) { s.To("late") })
	for name, c := range map[string]struct {
		aggregate func(*topology.Builder, groupedInput) windowedTable
		want      []string // late ones of those at 19, 9 and 0, when 20 has been seen
		dropped   int
	}{
		"tumbling": {overWindows(topology.Tumbling(size), false, late), []string{"19", "9", "0"}, 0},
		"hopping, late for one of two": {
			overWindows(topology.Hopping(size, size/2), false, late), []string{"9", "0"}, 1,
		},
		"sliding":  {overWindows(topology.Sliding(size), false, late), []string{"9", "0"}, 0},
		"sessions": {overSessions(topology.Session(size/10), false, late), []string{"9", "0"}, 0},
		"days":     {overWindows(topology.Days(time.UTC), false, late), nil, 0},
		"not asked for": {
			overWindows(topology.Tumbling(size), false), nil, 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := runWindowed(t, c.aggregate)
			for _, r := range []struct {
				value string
				ts    int64
			}{{"20", 20}, {"19", 19}, {"9", 9}, {"0", 0}} {
				tidemarktest.Input(d.Driver, "in", serde.String, serde.String).
					Pipe("k", r.value, r.ts, record.Header{Key: "h"})
			}
			var got []string
			for _, r := range tidemarktest.Output(d.Driver, "late", serde.String, serde.String).ReadAll() {
				require.Equal(t, "k", r.Key)
				require.Len(t, r.Headers, 1)
				got = append(got, r.Value)
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.dropped, d.Dropped())
		})
	}
}

func TestLateRecordsMistakes(t *testing.T) {
	other := topology.LateRecords(func(*topology.KStream[string, int64]) {})
	for want, declare := range map[string]func(g groupedInput){
		"LateRecords: a stream that it is for does not come in here": func(g groupedInput) {
			topology.Count(topology.WindowedBy(g, topology.Tumbling(time.Second)), other)
		},
		"or it has no late records": func(g groupedInput) {
			topology.Count(topology.WindowedBy(g, topology.CountWindows(1)),
				topology.LateRecords(func(*topology.KStream[string, string]) {}))
		},
		"LateRecords: without windows no record is late": func(g groupedInput) { topology.Count(g, other) },
		"the function is nil": func(g groupedInput) {
			topology.Count(topology.WindowedBy(g, topology.Tumbling(time.Second)), topology.LateRecords[string, string](nil))
		},
		"the windows are nil": func(g groupedInput) {
			topology.WindowedBy(g, nil)
		},
		"want whole milliseconds, not negative": func(g groupedInput) {
			topology.WindowedBy(g, topology.Sliding(-1))
		},
		"want whole milliseconds, one at least": func(g groupedInput) { topology.SessionWindowedBy(g, topology.Session(0)) },
		"a grace of -1ns is negative": func(g groupedInput) {
			topology.WindowedBy(g, topology.Tumbling(time.Second).Grace(-1))
		},
		"AdvanceWhenIdle(-1ns)": func(g groupedInput) {
			topology.WindowedBy(g, topology.Days(time.UTC).AdvanceWhenIdle(-1))
		},
		"the location is nil": func(g groupedInput) {
			topology.WindowedBy(g, topology.Months(nil))
		},
		"StartingOn: want a day of the week": func(g groupedInput) {
			topology.WindowedBy(g, topology.Days(time.UTC).StartingOn(1))
		},
		"windows of 0 records every 0": func(g groupedInput) {
			topology.WindowedBy(g, topology.CountWindows(0))
		},
		"more than 10000 would be open": func(g groupedInput) {
			topology.WindowedBy(g, topology.CountWindows(1e9).Every(1))
		},
		"Retention: count windows know no time": func(g groupedInput) {
			topology.Count(topology.WindowedBy(g, topology.CountWindows(1)), topology.Retention(time.Hour))
		},
		"is less than the life of a window": func(g groupedInput) {
			topology.Count(topology.SessionWindowedBy(g, topology.Session(time.Hour)), topology.Retention(time.Minute))
		},
		"is an input already": func(g groupedInput) {
			topology.CogroupWith(topology.Cogroup(g, appended), g, appended)
		},
	} {
		t.Run(want, func(t *testing.T) {
			b := topology.NewBuilder()
			declare(topology.Stream(b, "in", serde.String, serde.String).GroupByKey())
			_, err := b.Build()
			require.ErrorContains(t, err, want)
		})
	}
}
