package cases

import (
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// sourceOperators are where records enter and leave.
func sourceOperators() map[string]operator {
	return map[string]operator{"stream": addStream, "table": addTable, "to": addTo}
}

func addStream(b *Topology, s *Step) (any, error) {
	topics := s.Topics
	if s.Topic != "" {
		topics = []string{s.Topic}
	}
	var opts []topology.SourceOption
	if s.TSField != nil {
		opts = append(opts, topology.WithTimestampExtractor(timestampIn(*s.TSField)))
	}
	return topology.Streams(b.Builder, topics, TextSerde(), TextSerde(), opts...), nil
}

// timestampIn extracts the integer in a field of the value, if there is one.
func timestampIn(i int) processor.TimestampExtractor {
	return func(r *record.Raw, _ processor.Extraction) (int64, error) {
		if r.Value == nil {
			return r.Timestamp, nil
		}
		if fields := strings.Split(string(r.Value), ","); i < len(fields) && isInteger(fields[i]) {
			return integer(fields[i]), nil
		}
		return r.Timestamp, nil
	}
}

func addTable(b *Topology, s *Step) (any, error) {
	var opts []topology.TableOption
	if s.Store != "" {
		opts = append(opts, topology.As(s.Store))
	}
	if s.HistoryMs != nil {
		opts = append(opts, topology.Versioned(ms(*s.HistoryMs)))
	}
	return topology.Table(b.Builder, s.Topic, TextSerde(), TextSerde(), opts...), nil
}

func addTo(b *Topology, s *Step) (any, error) {
	topics := s.Topics
	if s.Topic != "" {
		topics = []string{s.Topic}
	}
	for _, topic := range topics {
		if !slices.Contains(b.Sinks, topic) {
			b.Sinks = append(b.Sinks, topic)
		}
	}
	switch on := b.made[s.From].(type) {
	case stream:
		addSink(on, topics)
	case windowedStream:
		addSink(on, topics)
	case table:
		addSink(on.ToStream(), topics)
	case windowedTable:
		addSink(on.ToStream(), topics)
	default:
		return nil, misplaced(s, on)
	}
	return nil, nil
}

func addSink[K anyKey](s *topology.KStream[K, text], topics []string) {
	if len(topics) == 1 {
		s.To(topics[0], shownSerdes[K]())
		return
	}
	s.ToEach(func(r record.Record[K, text], _ processor.RecordMetadata) string {
		if r.Value == nil {
			return topics[0]
		}
		return topics[len(*r.Value)%len(topics)]
	}, shownSerdes[K]())
}
