package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// TimestampExtractor gives an input record its event time in milliseconds since the Unix epoch, before the record is
// queued: stream time and the choice between partitions follow it (Kafka Streams' TimestampExtractor). It runs on the
// task goroutine, once per record unless the record is fetched again.
//
// A negative result drops the record: it is not processed and moves no time. An error or panic goes to the handler for
// processing errors, as that of any function of the user's, except a [*TimestampError], which no handler may skip.
//
// The extractors that Kafka Streams has are functions of this type: [FailOnInvalidTimestamp], the default,
// [LogAndSkipOnInvalidTimestamp], [UsePreviousTimeOnInvalidTimestamp] and [WallclockTimestampExtractor]. Give one, or
// your own, to a source (topology.WithTimestampExtractor) or to all sources (Config.TimestampExtractor).
type TimestampExtractor func(r *record.Raw, at Extraction) (timestamp int64, err error)

// Extraction is what a [TimestampExtractor] knows beside the record.
type Extraction struct {
	// TopicPartition is where the record comes from.
	TopicPartition record.TopicPartition
	// PartitionTime is the highest event time so far in that partition, -1 before the first. It survives restarts.
	PartitionTime int64
	// WallClock is the wall clock in milliseconds since the Unix epoch, as the task knows it.
	WallClock int64
}

var (
	_ TimestampExtractor = FailOnInvalidTimestamp
	_ TimestampExtractor = LogAndSkipOnInvalidTimestamp
	_ TimestampExtractor = UsePreviousTimeOnInvalidTimestamp
	_ TimestampExtractor = WallclockTimestampExtractor
)

// FailOnInvalidTimestamp takes the record's own timestamp, and stops the application with a [*TimestampError] if it is
// negative. Like Kafka Streams', it asks no handler. The default.
func FailOnInvalidTimestamp(r *record.Raw, at Extraction) (int64, error) {
	if r.Timestamp < 0 {
		return 0, &TimestampError{
			TopicPartition: at.TopicPartition, Offset: r.Offset, Timestamp: r.Timestamp,
			Problem: "the timestamp is negative",
		}
	}
	return r.Timestamp, nil
}

// LogAndSkipOnInvalidTimestamp takes the record's own timestamp, and drops the record if it is negative. Dropped
// records are counted, and one in a thousand is logged.
func LogAndSkipOnInvalidTimestamp(r *record.Raw, _ Extraction) (int64, error) {
	return r.Timestamp, nil
}

// UsePreviousTimeOnInvalidTimestamp takes the record's own timestamp, or the partition time if it is negative (Kafka
// Streams' UsePartitionTimeOnInvalidTimestamp). Before the partition has a time it stops the application with a
// [*TimestampError].
func UsePreviousTimeOnInvalidTimestamp(r *record.Raw, at Extraction) (int64, error) {
	if r.Timestamp >= 0 {
		return r.Timestamp, nil
	}
	if at.PartitionTime < 0 {
		return 0, &TimestampError{
			TopicPartition: at.TopicPartition, Offset: r.Offset, Timestamp: r.Timestamp,
			Problem: "the timestamp is negative, and the partition has no time yet to use instead",
		}
	}
	return at.PartitionTime, nil
}

// WallclockTimestampExtractor takes the wall clock at the time of reading: processing time. Results then depend on when
// records are read, and a record that is read again after a failure gets another time.
func WallclockTimestampExtractor(_ *record.Raw, at Extraction) (int64, error) {
	return at.WallClock, nil
}

// TimestampError says that a record has no usable event time. No handler is asked about it.
type TimestampError struct {
	TopicPartition record.TopicPartition
	Offset         int64
	Timestamp      int64 // the record's own
	Problem        string
}

func (e *TimestampError) Error() string {
	return fmt.Sprintf("processor: %s offset %d (timestamp %d): %s: mend the producer, or choose another timestamp "+
		"extractor, as processor.LogAndSkipOnInvalidTimestamp, in Config.TimestampExtractor or "+
		"topology.WithTimestampExtractor", e.TopicPartition, e.Offset, e.Timestamp, e.Problem)
}
