package topology

import (
	"strings"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// reuseSource makes the topic of source the changelog of a table's store, if [ReuseSourceTopics] is on and the topic
// alone can restore the store: an extractor would have to run again, and a start at the end of the topic leaves rows
// out that a restore would bring back.
func reuseSource[K, V any](
	b *Builder, source *graphNode, name string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
) {
	def := b.storeByName[name]
	switch {
	case !b.rules[ReuseSourceTopics], def == nil, source.kind != processor.SourceNode, len(source.topics) != 1:
		return
	case def.spec.LoggingDisabled, def.spec.Type != store.TypeKeyValue, strings.Contains(name, "@"): // see PositionKey
		return
	case source.extracts, source.reset != processor.ResetDefault && source.reset != processor.ResetEarliest:
		return
	}
	def.spec.SourceTopic = source.topics[0]
	def.fromSource = func() func(records []record.Raw) []record.Raw {
		t := &sourceReplay[K, V]{
			key: keySerde, value: valueSerde, keyNull: record.NullnessOf[K](), valueNull: record.NullnessOf[V](),
		}
		return t.rows
	}
}

// sourceReplay turns records of a source topic into those that the store's changelog would have. They are decoded and
// encoded again: another program wrote them, and its bytes for a key need not be those that the store looks it up by.
// Owned by the goroutine that restores.
type sourceReplay[K, V any] struct {
	key       serde.Serde[K]
	value     serde.Serde[V]
	keyNull   record.Nullness[K]
	valueNull record.Nullness[V]

	out []record.Raw
	buf []byte // the bytes of out; one that was outgrown lives on in the records that lie in it
}

func (t *sourceReplay[K, V]) rows(records []record.Raw) []record.Raw {
	t.out, t.buf = t.out[:0], t.buf[:0]
	for i := range records {
		if r, ok := t.row(&records[i]); ok {
			t.out = append(t.out, r)
		}
	}
	return t.out
}

// row leaves out what did not become a row when it was processed: a null key, a negative timestamp, and what cannot be
// decoded, which the handler let pass, or the position would not be behind it.
func (t *sourceReplay[K, V]) row(r *record.Raw) (row record.Raw, ok bool) {
	if r.Key == nil || r.Timestamp < 0 {
		return row, false
	}
	k, err := t.key.Decode(r.Key)
	if err != nil || t.keyNull.IsNull(k, false) {
		return row, false
	}
	row = record.Raw{Timestamp: r.Timestamp, Offset: r.Offset}
	if row.Key, err = appended(&t.buf, t.key, k); err != nil {
		return row, false
	}
	if r.Value == nil {
		return row, true
	}
	v, err := t.value.Decode(r.Value)
	if err != nil {
		return row, false
	}
	if !t.valueNull.IsNull(v, false) {
		row.Value, err = appended(&t.buf, t.value, v)
	}
	return row, err == nil
}

// appended encodes v behind what buf holds. The result is never nil, which would be null.
func appended[T any](buf *[]byte, s serde.Serde[T], v T) ([]byte, error) {
	start := len(*buf)
	out, err := s.Append(*buf, v)
	if err != nil {
		return nil, err
	}
	if out == nil {
		return []byte{}, nil
	}
	*buf = out
	return out[start:len(out):len(out)], nil
}
