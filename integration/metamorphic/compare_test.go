package metamorphic

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
)

// form is what is compared of a topic's records: lines of text.
type form func(records []cases.Output) []string

func text(t cases.Text) string {
	if t == nil {
		return "null"
	}
	return *t
}

func line(o cases.Output) string { return fmt.Sprintf("%s=%s@%d", text(o.Key), text(o.Value), o.TS) }

// sequence compares everything.
func sequence(records []cases.Output) (lines []string) {
	for _, o := range records {
		lines = append(lines, line(o))
	}
	return lines
}

// perKey compares the sequence of each key. Records without a key are in any partition, and so in any order.
func perKey(records []cases.Output) []string {
	var keyed, keyless []cases.Output
	for _, o := range records {
		if o.Key == nil {
			keyless = append(keyless, o)
		} else {
			keyed = append(keyed, o)
		}
	}
	slices.SortStableFunc(keyed, func(a, b cases.Output) int { return strings.Compare(*a.Key, *b.Key) })
	return slices.Concat(sequence(keyed), anyOrder(keyless))
}

// anyOrder compares the records without their order.
func anyOrder(records []cases.Output) []string {
	return slices.Sorted(slices.Values(sequence(records)))
}

// lastValues compares the last value of each key. A key without one is as one that never had one, and so is the rest
// when all that was ever added is subtracted again ("0", or an empty list), which caches may have left out as a whole.
func lastValues(records []cases.Output) (lines []string) {
	last := make(map[string]string)
	for _, o := range records {
		last[text(o.Key)] = text(o.Value)
	}
	for _, k := range slices.Sorted(maps.Keys(last)) {
		if v := last[k]; v != "null" && v != "0" && v != "" {
			lines = append(lines, k+"="+v)
		}
	}
	return lines
}

func compare(want, got outputs, as form) error {
	topics := slices.Compact(slices.Sorted(slices.Values(slices.Concat(
		slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got))))))
	for _, topic := range topics {
		w, g := as(want[topic]), as(got[topic])
		if reflect.DeepEqual(w, g) {
			continue
		}
		at := 0
		for at < min(len(w), len(g)) && w[at] == g[at] {
			at++
		}
		return fmt.Errorf("topic %s differs from line %d on:\n  undisturbed %q\n  disturbed   %q", topic, at+1,
			w[at:min(len(w), at+6)], g[at:min(len(g), at+6)])
	}
	return nil
}
