package topology_test

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// timesOf pipes records with these timestamps through a source with the extractor, at the wall-clock time of 5 s, and
// returns the event times they get.
func timesOf(extract processor.TimestampExtractor, timestamps ...int64) (times []int64, err error) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String, topology.WithTimestampExtractor(extract)).To("out")
	d, err := tidemarktest.Open(b, tidemarktest.WithWallClock(time.UnixMilli(5000)))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	for _, ts := range timestamps {
		if err := in.TryPipe("k", "v", ts); err != nil {
			return times, err
		}
		for _, r := range out.ReadAll() {
			times = append(times, r.Timestamp)
		}
	}
	return times, nil
}

// The default, for records of producers that know no timestamps.
func ExampleWithTimestampExtractor_failOnInvalidTimestamp() {
	times, err := timesOf(processor.FailOnInvalidTimestamp, 1000, -1)
	failed, _ := errors.AsType[*processor.TimestampError](err)
	fmt.Println(times, failed.TopicPartition, failed.Offset, failed.Problem)
	// Output:
	// [1000] in-0 1 the timestamp is negative
}

func ExampleWithTimestampExtractor_logAndSkipOnInvalidTimestamp() {
	fmt.Println(timesOf(processor.LogAndSkipOnInvalidTimestamp, 1000, -1, 3000))
	// Output:
	// [1000 3000] <nil>
}

func ExampleWithTimestampExtractor_usePreviousTimeOnInvalidTimestamp() {
	fmt.Println(timesOf(processor.UsePreviousTimeOnInvalidTimestamp, 1000, -1, 3000))
	// Output:
	// [1000 1000 3000] <nil>
}

func ExampleWithTimestampExtractor_wallclockTimestampExtractor() {
	fmt.Println(timesOf(processor.WallclockTimestampExtractor, 1000, -1))
	// Output:
	// [5000 5000] <nil>
}

// The time is a header of the record, which is there before the record is decoded.
func ExampleWithTimestampExtractor() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String, topology.WithTimestampExtractor(
		func(r *record.Raw, _ processor.Extraction) (int64, error) {
			at, found := record.LastHeader(r.Headers, "ordered-at")
			if !found {
				return r.Timestamp, nil
			}
			return strconv.ParseInt(string(at), 10, 64)
		})).To("out")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "orders", serde.String, serde.String)
	in.Pipe("ann", "shoes", 2000, record.Header{Key: "ordered-at", Value: []byte("1200")})
	in.Pipe("bob", "hat", 2000)
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Timestamp)
	}
	// Output:
	// ann 1200
	// bob 2000
}

// The time is part of the value.
func ExampleWithTypedTimestampExtractor() {
	type order struct {
		Item string
		At   int64
	}
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.JSON[order](), topology.WithTypedTimestampExtractor(
		func(r record.Record[string, order], _ processor.Extraction) (int64, error) { return r.Value.At, nil })).To("out")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "orders", serde.String, serde.JSON[order]())
	in.Pipe("ann", order{"shoes", 1200}, 2000)
	in.Pipe("bob", order{"hat", -1}, 2000) // a negative time drops the record
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.JSON[order]()).ReadAll() {
		fmt.Println(r.Key, r.Value.Item, r.Timestamp)
	}
	// Output:
	// ann shoes 1200
}
