package tidemarktest

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// InputTopic writes to a topic that the topology reads. Make it with [Input].
type InputTopic[K, V any] struct {
	d         *Driver
	log       *topicLog
	keys      serde.Serde[K]
	values    serde.Serde[V]
	keyNull   record.Nullness[K]
	valueNull record.Nullness[V]
}

// Input returns a handle to write to a topic with these serdes. It fails the test if the topology does not read the
// topic; one that matches the pattern of a source is read from then on. A record of a topic that fills a global store
// is in the store at once. To pipe null keys and values of types without nil, use [InputTopic.PipeRecord], or
// [serde.Nullable].
func Input[K, V any](
	d *Driver, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
) *InputTopic[K, V] {
	d.helper()
	l := d.log(d.physical(topic))
	d.must(d.conflict)
	if l.reader == nil {
		var read []string
		for _, r := range d.runners {
			read = append(read, r.cfg.Subtopology.SourceTopics...)
			read = append(read, r.cfg.Subtopology.Patterns()...)
		}
		for _, g := range d.plan.Globals {
			read = append(read, g.Topic())
		}
		slices.Sort(read)
		d.must(fmt.Errorf("tidemarktest: the topology does not read %q, only %q", topic, read))
	}
	return &InputTopic[K, V]{
		d: d, log: l, keys: keySerde, values: valueSerde,
		keyNull: record.NullnessOf[K](), valueNull: record.NullnessOf[V](),
	}
}

// Pipe writes a record with an event time in milliseconds, and processes it and all that it causes. A nil key or value
// is null. An error fails the test.
func (in *InputTopic[K, V]) Pipe(key K, value V, timestamp int64, headers ...record.Header) {
	in.d.helper()
	in.d.must(in.TryPipe(key, value, timestamp, headers...))
}

// TryPipe is Pipe; it returns the error instead of failing the test.
func (in *InputTopic[K, V]) TryPipe(key K, value V, timestamp int64, headers ...record.Header) error {
	return in.TryPipeRecord(record.Record[K, V]{Key: key, Value: value, Timestamp: timestamp, Headers: headers})
}

// PipeRecord is Pipe for a record that may have a null key or value (NullKey, NullValue).
func (in *InputTopic[K, V]) PipeRecord(r record.Record[K, V]) {
	in.d.helper()
	in.d.must(in.TryPipeRecord(r))
}

// TryPipeRecord is PipeRecord; it returns the error instead of failing the test.
func (in *InputTopic[K, V]) TryPipeRecord(r record.Record[K, V]) error {
	raw := record.Raw{Timestamp: r.Timestamp, Headers: r.Headers}
	var err error
	if !in.keyNull.IsNull(r.Key, r.NullKey) {
		if raw.Key, err = in.keys.Append([]byte{}, r.Key); err != nil {
			return fmt.Errorf("tidemarktest: encode a key for %q: %w", in.log.topic, err)
		}
	}
	if !in.valueNull.IsNull(r.Value, r.NullValue) {
		if raw.Value, err = in.values.Append([]byte{}, r.Value); err != nil {
			return fmt.Errorf("tidemarktest: encode a value for %q: %w", in.log.topic, err)
		}
	}
	return in.d.do(func() error {
		if err := in.log.append(raw, true); err != nil {
			return err
		}
		return in.d.drain()
	})
}

// OutputTopic reads a topic from its beginning. Make it with [Output]. Each has a position of its own.
type OutputTopic[K, V any] struct {
	d         *Driver
	log       *topicLog
	at        *int
	keys      serde.Serde[K]
	values    serde.Serde[V]
	keyNull   record.Nullness[K]
	valueNull record.Nullness[V]
}

// Output returns a handle to read a topic with these serdes, from its first record. Any topic can be read: outputs,
// inputs, dead letters, and repartition topics by the names that the topology gives them.
func Output[K, V any](
	d *Driver, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
) *OutputTopic[K, V] {
	l := d.log(d.physical(topic))
	at := new(int)
	l.positions = append(l.positions, at)
	return &OutputTopic[K, V]{
		d: d, log: l, at: at, keys: keySerde, values: valueSerde,
		keyNull: record.NullnessOf[K](), valueNull: record.NullnessOf[V](),
	}
}

// Len returns how many records are left to read.
func (out *OutputTopic[K, V]) Len() int { return len(out.log.records) - *out.at }

// Read returns the next record, committed or not. It fails the test if there is none, or if it cannot be decoded. Null
// keys and values are nil, or zero values with NullKey and NullValue. Headers are nil if there are none.
func (out *OutputTopic[K, V]) Read() record.Record[K, V] {
	out.d.helper()
	r, err := out.TryRead()
	out.d.must(err)
	return r
}

// ReadAll returns all records that are left, nil if there are none; see Read.
func (out *OutputTopic[K, V]) ReadAll() []record.Record[K, V] {
	out.d.helper()
	var all []record.Record[K, V]
	for out.Len() > 0 {
		all = append(all, out.Read())
	}
	return all
}

// TryRead is Read; it returns the error instead of failing the test. The record is then passed over.
func (out *OutputTopic[K, V]) TryRead() (record.Record[K, V], error) {
	var r record.Record[K, V]
	if out.Len() == 0 {
		return r, fmt.Errorf("tidemarktest: nothing left to read in %q, after %d records", out.log.topic, *out.at)
	}
	raw := cloneRaw(out.log.records[*out.at].Raw, int64(*out.at))
	*out.at++
	r = record.Record[K, V]{
		Timestamp: raw.Timestamp, Headers: raw.Headers, NullKey: raw.Key == nil, NullValue: raw.Value == nil,
	}
	var err error
	if raw.Key != nil {
		if r.Key, err = out.keys.Decode(raw.Key); err != nil {
			return r, fmt.Errorf("tidemarktest: decode the key of offset %d of %q: %w", raw.Offset, out.log.topic, err)
		}
		r.NullKey = out.keyNull.IsNull(r.Key, false)
	}
	if raw.Value != nil {
		if r.Value, err = out.values.Decode(raw.Value); err != nil {
			return r, fmt.Errorf("tidemarktest: decode the value of offset %d of %q: %w", raw.Offset, out.log.topic, err)
		}
		r.NullValue = out.valueNull.IsNull(r.Value, false)
	}
	return r, nil
}
