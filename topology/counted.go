package topology

import (
	"fmt"
)

// CountedWindows are windows of so many records of a key, whatever their times are (Flink's countWindow). A window is
// forwarded once, when its last record has come; until then it is kept, and afterwards only how many records its key
// has had. record.Window then holds numbers of records instead of times: Start is that of the first, from 0, and End is
// behind the last. Time plays no part: no record is late, and there is nothing to retain. Kafka Streams has no such
// windows.
type CountedWindows struct{ size, slide int64 }

// CountWindows returns windows of n records each, one at least: the first n of a key, the next n and so on. Records
// with a null value count.
func CountWindows(n int64) CountedWindows { return CountedWindows{size: n, slide: n} }

// Every returns windows of the last records at every slide-th record, as Flink's countWindow(size, slide): the first
// ones are shorter, since there are no records before 0. slide is at least 1; one that is greater than the size leaves
// records out.
func (w CountedWindows) Every(slide int64) CountedWindows {
	w.slide = slide
	return w
}

func (w CountedWindows) notSessions()      {}
func (w CountedWindows) graceMs() int64    { return 0 }
func (w CountedWindows) closeAfter() int64 { return 0 }
func (w CountedWindows) idleMs() int64     { return 0 }

// openMax bounds what is kept of a key.
const openMax = 10_000

func (w CountedWindows) check() string {
	switch {
	case w.size < 1 || w.slide < 1:
		return fmt.Sprintf("windows of %d records every %d: want one at least", w.size, w.slide)
	case w.size/w.slide > openMax:
		return fmt.Sprintf("windows of %d records every %d: more than %d would be open per key", w.size, w.slide, openMax)
	}
	return ""
}

// nextEnd returns the first end of a window behind record i.
func (w CountedWindows) nextEnd(i int64) int64 { return (i/w.slide + 1) * w.slide }
