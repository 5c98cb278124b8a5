package metamorphic

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/processor"
)

const (
	lateMaxMs = 60
	stepMaxMs = 25
	// flushMs is when the records come that close every window.
	flushMs = 100_000
)

// scenario is a topology with what happens to it.
type scenario struct {
	cases.Case

	class class
	// preloaded is how many events come before the others begin.
	preloaded int
	// late says that timestamps go back now and then. A crash with more than one record to process again would change
	// their order, since the lowest goes first among those that wait.
	late bool
}

// newScenario makes up a topology and its events.
func newScenario(r *rand.Rand, c class, partitions int32) *scenario {
	g := generate(r, c)
	s := &scenario{class: c, late: r.IntN(2) == 0 || c != anything && c != tables}
	s.Topology = g.steps
	now := int64(0)
	// A table may be read as a stream that is joined with the global one, which is therefore complete before it.
	for _, topic := range slices.Backward(slices.Sorted(slices.Values(g.preload))) {
		for range 8 {
			s.Events = append(s.Events, event(r, topic, now))
			now++
		}
	}
	s.preloaded = len(s.Events)
	for range 15 + r.IntN(30) {
		now += 1 + r.Int64N(stepMaxMs)
		at := now
		if s.late && r.IntN(4) == 0 {
			at = max(0, now-r.Int64N(lateMaxMs))
		}
		topic := g.topics[r.IntN(len(g.topics))]
		if g.global != "" && c == anything && r.IntN(8) == 0 {
			topic = "in5"
		}
		s.Events = append(s.Events, event(r, topic, at))
		if c == anything && r.IntN(10) == 0 {
			s.Events = append(s.Events, cases.Event{AdvanceWallClockMs: 1 + r.Int64N(20)})
		}
	}
	if c == ordered || c == matched {
		for p := range partitions {
			for _, topic := range g.topics {
				s.Events = append(s.Events, cases.Event{
					Topic: topic, Key: keyIn(p, partitions), Value: cases.Some("1"), TS: flushMs,
				})
			}
		}
	}
	return s
}

func event(r *rand.Rand, topic string, at int64) cases.Event {
	e := cases.Event{Topic: topic, TS: at}
	if r.IntN(20) > 0 {
		e.Key = cases.Some("m" + strconv.Itoa(r.IntN(4)))
	}
	switch r.IntN(10) {
	case 0:
	case 1:
		e.Value = cases.Some(strconv.Itoa(r.IntN(9)) + "," + strconv.Itoa(r.IntN(9)))
	default:
		e.Value = cases.Some(strconv.Itoa(r.IntN(12)))
	}
	return e
}

// keyIn returns a key of a partition. All of them pass the same predicates: they have no digits, and one length.
func keyIn(partition, partitions int32) cases.Text {
	for i := 0; ; i++ {
		k := "f" + string(rune('a'+i))
		if processor.DefaultPartition([]byte(k), partitions) == partition {
			return &k
		}
	}
}
