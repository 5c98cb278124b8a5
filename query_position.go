package tidemark

import (
	"fmt"
	"maps"

	"github.com/tidemarkio/tidemark/record"
)

// Position says how far input topics are processed and committed: by partition, the offset behind the last record
// (Kafka Streams' Position, KIP-796, which has the offset of the last record itself). The answer to a query comes with
// the one of the task that answered, and a later query can demand at least that: see [Reader.AtLeast].
//
// It is about the topics that the store's own sub-topology reads. Behind a repartition topic these are that topic's
// offsets and not those of the topic upstream.
type Position map[record.TopicPartition]int64

// Merge returns the greater offset of each partition in p and the others.
func (p Position) Merge(others ...Position) Position {
	merged := make(Position, len(p))
	maps.Copy(merged, p)
	for _, other := range others {
		for tp, offset := range other {
			merged[tp] = max(merged[tp], offset)
		}
	}
	return merged
}

// reached compares with what a task has committed. Partitions that the task does not read do not matter; a topic that
// it does not read is an error, since no wait would help.
func (p Position) reached(committed Position) (bool, error) {
	ok := true
	for tp, offset := range p {
		at, reads := committed[tp]
		switch {
		case reads:
			ok = ok && at >= offset
		case !committed.has(tp.Topic):
			return false, fmt.Errorf("tidemark: the position demands %s, and the store's tasks do not read that topic: "+
				"demand positions that answers about this store came with, or of the topics that its sub-topology reads", tp)
		}
	}
	return ok, nil
}

func (p Position) has(topic string) bool {
	for tp := range p {
		if tp.Topic == topic {
			return true
		}
	}
	return false
}
