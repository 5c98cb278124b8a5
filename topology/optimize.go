package topology

// Optimization is a rule by which a topology is made cheaper (topology.optimization). It is an option of [NewBuilder].
// None is on by default, as in Kafka Streams: a rule changes which internal topics there are, and so is part of an
// application's identity like a store's name. Results do not depend on it.
type Optimization string

// The rules (KIP-295). That of KIP-862, single.store.self.join, is none here: an inner join of a stream with itself
// always keeps its records once.
const (
	// ReuseSourceTopics makes the topic that [Table] reads the changelog of the table's store (KIP-295,
	// reuse.ktable.source.topics): no changelog topic is made, and nothing is written twice. A restore reads the topic
	// up to the committed position. The topic must keep every key: compacted, or never deleted from. A table with
	// [WithTimestampExtractor] or [WithoutLogging], or one that starts at the topic's end, keeps what it had.
	ReuseSourceTopics Optimization = "reuse.ktable.source.topics"
	// MergeRepartitions lets several groupings and joins of one stream with a changed key share one repartition topic,
	// the first one's (KIP-295, merge.repartition.topics). Filters between the change and the groupings may then run
	// behind the topic.
	MergeRepartitions Optimization = "merge.repartition.topics"
)

// BuilderOption is for [NewBuilder]: an [Optimization], or [OptimizeAll].
type BuilderOption interface{ applyBuilder(b *Builder) }

func (o Optimization) applyBuilder(b *Builder) {
	switch o {
	case ReuseSourceTopics, MergeRepartitions:
		b.rules[o] = true
	default:
		b.fail("NewBuilder", "there is no optimization %q", string(o))
	}
}

// Optimizations is the option that [OptimizeAll] returns.
type Optimizations []Optimization

// OptimizeAll turns all rules on (topology.optimization=all).
func OptimizeAll() Optimizations {
	return Optimizations{ReuseSourceTopics, MergeRepartitions}
}

func (o Optimizations) applyBuilder(b *Builder) {
	for _, rule := range o {
		rule.applyBuilder(b)
	}
}
