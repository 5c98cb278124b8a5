package store

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// MergedClocks makes the clocks of a store, when the number of partitions changes, of those of all tasks of before.
// Every partition gets the same ones. Not safe for concurrent use.
type MergedClocks struct {
	partitions int32 // before
	clocks     map[string]*mergedClock
	filled     map[int32]bool
}

type mergedClock struct {
	where  Placement
	values map[int32]int64 // by partition of before
	before []tasksBefore   // remembered from earlier changes
}

// MergeClocks begins with none. partitions is how many there were.
func MergeClocks(partitions int32) *MergedClocks {
	return &MergedClocks{
		partitions: partitions, clocks: make(map[string]*mergedClock), filled: make(map[int32]bool),
	}
}

// Filled notes that a task of before had rows that are no clocks. Where it never moved a clock, the least is then -1.
func (m *MergedClocks) Filled(partition int32) { m.filled[partition] = true }

// Add takes a clock of a task of before. where is not ByKey. Its slices are not kept.
func (m *MergedClocks) Add(where Placement, partition int32, r record.Raw) error {
	if where == Nowhere {
		return nil
	}
	now, before, err := parseClock(r.Value)
	if err != nil {
		return fmt.Errorf("store: the clock with key %x: %w", r.Key, err)
	}
	c := m.clocks[string(r.Key)]
	if c == nil {
		c = &mergedClock{where: where, values: make(map[int32]int64)}
		m.clocks[string(r.Key)] = c
	}
	c.values[partition] = now
	for i := range before {
		c.remember(before[i].partitions, before[i].values)
	}
	return nil
}

// remember adds what is known of the tasks from when there were so many partitions. Tasks forget at different times, so
// that one may know what another has passed.
func (c *mergedClock) remember(partitions int32, values map[int32]int64) {
	i := slices.IndexFunc(c.before, func(t tasksBefore) bool { return t.partitions == partitions })
	if i < 0 {
		i = len(c.before)
		c.before = append(c.before, tasksBefore{partitions: partitions, values: make(map[int32]int64)})
	}
	for p, v := range values {
		if have, ok := c.before[i].values[p]; !ok || v > have {
			c.before[i].values[p] = v
		}
	}
}

// All yields the merged clocks, by key.
func (m *MergedClocks) All() iter.Seq[record.Raw] {
	return func(yield func(record.Raw) bool) {
		for _, key := range slices.Sorted(maps.Keys(m.clocks)) {
			c := m.clocks[key]
			now := m.value(c)
			if c.where == LeastByKey {
				c.remember(m.partitions, c.values)
			} else {
				c.before = nil
			}
			r := record.Raw{Key: []byte(key), Value: appendClock(nil, now, c.before), Timestamp: max(0, now)}
			if !yield(r) {
				return
			}
		}
	}
}

// value merges the values of a clock. A task without rows that has never moved it says nothing.
func (m *MergedClocks) value(c *mergedClock) int64 {
	merged := int64(clockStart)
	if c.where == GreatestEverywhere {
		for _, v := range c.values {
			merged = max(merged, v)
		}
		return merged
	}
	first := true
	for p := range m.partitions {
		v, ok := c.values[p]
		if !ok {
			v = clockStart
		}
		if v == clockStart && !m.filled[p] {
			continue
		}
		if first || v < merged {
			merged, first = v, false
		}
	}
	return merged
}
