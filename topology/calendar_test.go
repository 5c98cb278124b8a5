package topology

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	in, err := time.LoadLocation(name)
	require.NoError(t, err)
	return in
}

func TestCalendarWindows(t *testing.T) {
	for _, c := range []struct {
		windows    func(*time.Location) CalendarWindows
		zone       string
		at         string // in the zone
		start, end string // UTC
	}{
		// A day of 23 hours, and one of 25.
		{Days, "Europe/Berlin", "2024-03-31 12:00", "2024-03-30 23:00", "2024-03-31 22:00"},
		{Days, "Europe/Berlin", "2024-03-31 00:00", "2024-03-30 23:00", "2024-03-31 22:00"},
		{Days, "Europe/Berlin", "2024-10-27 23:59", "2024-10-26 22:00", "2024-10-27 23:00"},
		{Days, "America/New_York", "2024-03-10 03:00", "2024-03-10 05:00", "2024-03-11 04:00"},
		{Days, "America/New_York", "2024-11-03 23:59", "2024-11-03 04:00", "2024-11-04 05:00"},
		{Weeks, "Europe/Berlin", "2024-03-31 12:00", "2024-03-24 23:00", "2024-03-31 22:00"},
		{Weeks, "America/New_York", "2024-11-04 00:00", "2024-11-04 05:00", "2024-11-11 05:00"},
		{Months, "Europe/Berlin", "2024-02-29 12:00", "2024-01-31 23:00", "2024-02-29 23:00"},
		{Months, "Europe/Berlin", "2024-03-31 23:59", "2024-02-29 23:00", "2024-03-31 22:00"},
		{Months, "America/New_York", "2024-12-31 23:59", "2024-12-01 05:00", "2025-01-01 05:00"},
		{Years, "Asia/Kathmandu", "2024-06-01 00:00", "2023-12-31 18:15", "2024-12-31 18:15"},
		{Years, "America/St_Johns", "2024-06-01 00:00", "2024-01-01 03:30", "2025-01-01 03:30"},
		{Days, "UTC", "2024-02-29 23:59", "2024-02-29 00:00", "2024-03-01 00:00"},
		// Midnight is left out, and is there twice.
		{Days, "America/Sao_Paulo", "2018-11-04 12:00", "2018-11-04 03:00", "2018-11-05 02:00"},
		{Days, "America/Sao_Paulo", "2018-11-03 23:59", "2018-11-03 03:00", "2018-11-04 03:00"},
		{Days, "America/Havana", "2024-11-03 12:00", "2024-11-03 04:00", "2024-11-04 05:00"},
		// A day that a place left out.
		{Days, "Pacific/Apia", "2011-12-29 12:00", "2011-12-29 10:00", "2011-12-30 10:00"},
		{Days, "Pacific/Apia", "2011-12-31 12:00", "2011-12-30 10:00", "2011-12-31 10:00"},
		// Before the epoch there is no time.
		{Days, "Europe/Berlin", "1970-01-01 12:00", "1970-01-01 00:00", "1970-01-01 23:00"},
		{Days, "America/New_York", "1969-12-31 20:00", "1970-01-01 00:00", "1970-01-01 05:00"},
	} {
		in := zone(t, c.zone)
		const layout = "2006-01-02 15:04"
		at, err := time.ParseInLocation(layout, c.at, in)
		require.NoError(t, err)
		w := c.windows(in)
		require.Empty(t, w.check())
		got := w.appendWindows(nil, at.UnixMilli())
		require.Len(t, got, 1)
		require.Equal(t, c.start+" to "+c.end, fmt.Sprintf("%s to %s", got[0].StartTime().UTC().Format(layout),
			got[0].EndTime().UTC().Format(layout)), "%s in %s", c.at, c.zone)
	}
	monday := Weeks(time.UTC).appendWindows(nil, time.Date(2024, 5, 5, 12, 0, 0, 0, time.UTC).UnixMilli())[0]
	sunday := Weeks(time.UTC).StartingOn(time.Sunday).
		appendWindows(nil, time.Date(2024, 5, 5, 12, 0, 0, 0, time.UTC).UnixMilli())[0]
	require.Equal(t, time.Monday, monday.StartTime().UTC().Weekday())
	require.Equal(t, time.Date(2024, 5, 5, 0, 0, 0, 0, time.UTC).UnixMilli(), sunday.Start)
}

// TestCalendarIsAPartition checks what an aggregation relies on: each time is in one window, windows touch, and starts
// and ends are found from either side. St. John's put its clocks back over midnight.
func TestCalendarIsAPartition(t *testing.T) {
	for _, name := range []string{
		"Europe/Berlin", "America/New_York", "America/St_Johns", "America/Havana", "America/Sao_Paulo", "Pacific/Apia",
		"Asia/Kathmandu", "Australia/Lord_Howe",
	} {
		in := zone(t, name)
		for unit, w := range map[string]CalendarWindows{
			"days": Days(in), "weeks": Weeks(in), "months": Months(in), "years": Years(in),
		} {
			step := 53 * time.Minute
			if unit != "days" {
				step *= 7
			}
			from := time.Date(2010, 12, 28, 0, 0, 0, 0, time.UTC).UnixMilli()
			until := time.Date(2012, 1, 3, 0, 0, 0, 0, time.UTC).UnixMilli()
			last := w.appendWindows(nil, from)[0]
			for ts := from; ts < until; ts += step.Milliseconds() {
				got := w.appendWindows(nil, ts)[0]
				// Asked a hundred thousand times: words only for what fails.
				if got.Start > ts || got.End <= ts || got.End-got.Start > w.length().Milliseconds() ||
					got != last && got.Start != last.End ||
					w.endOf(got.Start) != got.End || w.nextStart(got.Start+1) != got.End || w.nextStart(got.Start) != got.Start ||
					w.lastClosed(ts) != got.Start-1 {
					require.FailNow(t, "no partition of time",
						"%s in %s at %d: %v behind %v; ends at %d, next start at %d, from it %d, last closed %d",
						unit, name, ts, got, last, w.endOf(got.Start), w.nextStart(got.Start+1), w.nextStart(got.Start),
						w.lastClosed(ts))
				}
				last = got
			}
		}
	}
	require.Equal(t, int64(-1), Days(time.UTC).lastClosed(-5))
}
