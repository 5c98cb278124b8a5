package store

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// sortItem pairs an entry with the eight bytes of its key that follow the common prefix of all keys.
type sortItem struct {
	head  uint64
	entry uint32
}

// sortByKey sorts entries by key bytes. A comparison sort misses the cache twice per comparison, which made it the
// most expensive step of a restore; a radix sort on eight bytes of each key leaves only ties to compare.
func sortByKey(entries []uint32, keyOf func(uint32) []byte) {
	if len(entries) < 2 {
		return
	}
	first := keyOf(entries[0])
	common := len(first)
	for _, e := range entries[1:] {
		k := keyOf(e)
		n := min(common, len(k))
		common = 0
		for common < n && k[common] == first[common] {
			common++
		}
	}
	items := make([]sortItem, len(entries))
	for i, e := range entries {
		items[i] = sortItem{head: head(keyOf(e)[common:]), entry: e}
	}
	items = radixSort(items, make([]sortItem, len(items)))
	for i := 0; i < len(items); {
		j := i + 1
		for j < len(items) && items[j].head == items[i].head {
			j++
		}
		if j-i > 1 {
			slices.SortFunc(items[i:j], func(a, b sortItem) int { return bytes.Compare(keyOf(a.entry), keyOf(b.entry)) })
		}
		i = j
	}
	for i := range items {
		entries[i] = items[i].entry
	}
}

// head returns the first eight bytes of key as a number that orders as they do; shorter keys are padded with zeros.
func head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var h uint64
	for i, b := range key {
		h |= uint64(b) << (56 - 8*i)
	}
	return h
}

// radixSort sorts by head, from the least significant byte, and returns the slice that holds the result.
func radixSort(items, spare []sortItem) []sortItem {
	if len(items) < 256 {
		slices.SortFunc(items, func(a, b sortItem) int {
			switch {
			case a.head < b.head:
				return -1
			case a.head > b.head:
				return 1
			}
			return 0
		})
		return items
	}
	var counts [8][256]uint32
	for i := range items {
		h := items[i].head
		for b := range 8 {
			counts[b][byte(h>>(8*b))]++
		}
	}
	for b := range 8 {
		c := &counts[b]
		if c[byte(items[0].head>>(8*b))] == uint32(len(items)) {
			continue // all alike
		}
		var sum uint32
		for i, n := range c {
			c[i] = sum
			sum += n
		}
		for i := range items {
			d := byte(items[i].head >> (8 * b))
			spare[c[d]] = items[i]
			c[d]++
		}
		items, spare = spare, items
	}
	return items
}
