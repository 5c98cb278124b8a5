package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/bench/measure"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

const (
	numberDigits = 12  // at the head of a loaded value
	stateBytes   = 100 // of a key in the restore workload: its count (8) and the head of its last value (92)
)

// build makes the workload's topology, the same as the peer's down to the bytes of its outputs.
func build(workload, in, out string, args measure.Args) (*topology.Builder, error) {
	b := topology.NewBuilder()
	input := topology.Stream(b, in, serde.String, serde.Bytes)
	switch workload {
	case "count":
		counts := topology.Count(input.GroupByKey(), topology.As("counts"))
		counts.ToStream().To(out)
	case "windowed":
		size := time.Duration(args.Int("window-ms", windowMs)) * time.Millisecond
		windowed := topology.WindowedBy(input.GroupByKey(), topology.Tumbling(size))
		counts := topology.Count(windowed, topology.As("windows"))
		// The key is the peer's: key@start.
		topology.ToStreamBy(counts, windowName, serde.String).To(out)
	case "join":
		table, err := args.Need("table")
		if err != nil {
			return nil, err
		}
		rows := topology.Table(b, table, serde.String, serde.Bytes, topology.As("table"))
		joined := topology.JoinTable(input, rows, numbers, serde.String)
		joined.To(out)
	case "repartition":
		groups := uint64(args.Int("groups", 10_000))
		grouped := topology.GroupBy(input, func(_ string, v []byte) string { return group(v, groups) },
			serde.String, topology.Named("groups"))
		counts := topology.Count(grouped, topology.As("counts"))
		counts.ToStream().To(out)
	case "restore":
		state := topology.Aggregate(input.GroupByKey(), func() []byte { return nil }, remember, serde.Bytes,
			topology.As("state"))
		counts := topology.MapValues(state.ToStream(), countOf, serde.Int64)
		counts.To(out)
	default:
		return nil, fmt.Errorf("--workload count|windowed|join|repartition|restore, not %s", workload)
	}
	return b, nil
}

// windowMs is the size of the windowed workload's windows.
const windowMs = 10_000

func windowName(w record.Windowed[string], _ int64) string {
	name := append(make([]byte, 0, len(w.Key)+1+20), w.Key...)
	return string(strconv.AppendInt(append(name, '@'), w.Window.Start, 10))
}

// numbers is the join's result: the numbers at the heads of both values, as text.
func numbers(left, right []byte) string {
	text := make([]byte, 0, 2*numberDigits+1)
	text = strconv.AppendUint(text, number(left), 10)
	return string(strconv.AppendUint(append(text, ':'), number(right), 10))
}

func number(value []byte) (n uint64) {
	for _, c := range value[:numberDigits] {
		n = n*10 + uint64(c-'0')
	}
	return n
}

// group is the number at the head of a value modulo the number of groups, as g000000.
func group(value []byte, groups uint64) string {
	return fmt.Sprintf("g%06d", number(value)%groups)
}

// remember is the aggregator of the restore workload. State must not be changed in place, so each update is a new
// slice.
func remember(_ string, value, state []byte) []byte {
	next := make([]byte, stateBytes)
	copy(next[8:], value)
	binary.BigEndian.PutUint64(next, 1)
	if state != nil {
		binary.BigEndian.PutUint64(next, binary.BigEndian.Uint64(state)+1)
	}
	return next
}

func countOf(state []byte) int64 { return int64(binary.BigEndian.Uint64(state)) }
