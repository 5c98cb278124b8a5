package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// extracts reports whether the source has a timestamp extractor of its own.
func (c *sourceConfig) extracts() bool { return c.extract != nil || c.typed != nil }

// typedExtractor returns the function of a WithTypedTimestampExtractor, nil without one.
func typedExtractor[K, V any](
	b *Builder, operator string, c sourceConfig,
) func(r record.Record[K, V], at processor.Extraction) (int64, error) {
	if c.typed == nil {
		return nil
	}
	typed, ok := c.typed.(func(r record.Record[K, V], at processor.Extraction) (int64, error))
	if !ok {
		b.fail(operator, "WithTypedTimestampExtractor: the function is a %T, the records are of %s and %s", c.typed,
			typeName[K](), typeName[V]())
	} else if typed == nil {
		b.needFunc(operator, true)
	}
	return typed
}

// rawTimedSource is a source whose records get their time from a function on the undecoded record. Owned by the task
// goroutine.
type rawTimedSource[K, V any] struct {
	*sourceNode[K, V]

	extract processor.TimestampExtractor
}

var _ processor.TimedSource = (*rawTimedSource[string, string])(nil)

// ForPartition implements processor.TimedSource; nothing is kept between two records.
func (n *rawTimedSource[K, V]) ForPartition() processor.PartitionSource { return n }

// Timestamp implements processor.PartitionSource.
func (n *rawTimedSource[K, V]) Timestamp(r *record.Raw, at processor.Extraction) (int64, error) {
	n.enter()
	return n.extract(r, at)
}

// typedTimedSource is a source whose records get their time from a function on the decoded record. Owned by the task
// goroutine.
type typedTimedSource[K, V any] struct {
	*sourceNode[K, V]

	extract func(r record.Record[K, V], at processor.Extraction) (int64, error)
}

var _ processor.TimedSource = (*typedTimedSource[string, string])(nil)

// ForPartition implements processor.TimedSource.
func (n *typedTimedSource[K, V]) ForPartition() processor.PartitionSource {
	return &decodedSource[K, V]{typedTimedSource: n}
}

// decodedSource is a typedTimedSource for one partition: it keeps the record that was decoded for its time, so that no
// record is decoded twice. Every partition has its own, since the next records of several wait at the same time.
type decodedSource[K, V any] struct {
	*typedTimedSource[K, V]

	next record.Record[K, V]
}

// Timestamp implements processor.PartitionSource.
func (n *decodedSource[K, V]) Timestamp(raw *record.Raw, at processor.Extraction) (timestamp int64, err error) {
	if n.next, err = n.decode(raw); err != nil {
		return 0, err
	}
	n.enter()
	return n.extract(n.next, at)
}

// ReceiveRaw implements processor.Source.
func (n *decodedSource[K, V]) ReceiveRaw(raw *record.Raw) error {
	r := n.next
	n.next = record.Record[K, V]{} // nothing is kept alive by it
	r.Timestamp = raw.Timestamp
	return n.Forward(r)
}
