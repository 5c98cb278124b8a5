package tidemark

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/processor"
)

// Inputs may get more partitions while an application has state. Tasks without stores read them as soon as they are
// noticed. A store is divided by the partitions of its inputs: with more of them its keys belong elsewhere, and only a
// start from a savepoint moves them.

// readable is how many partitions of a topic are read: all, unless added ones are ignored.
func (t *topics) readable(topic string) int32 {
	if n, ok := t.held[topic]; ok {
		return n
	}
	return t.partitions[topic]
}

// holdBack leaves out the partitions of inputs for which changelogs have none.
func (t *topics) holdBack(log *slog.Logger) {
	for _, sub := range t.plan.Subtopologies {
		n := int32(0)
		for _, s := range sub.Stores {
			if have := t.partitions[t.changelog(s.Name)]; s.Changelogged() && have > 0 && (n == 0 || have < n) {
				n = have
			}
		}
		for _, topic := range sub.SourceTopics {
			if has := t.partitions[topic]; n > 0 && has > n && !t.internal(topic) {
				t.held[topic] = n
				log.Warn("partitions of an input are not read, since the changelogs have none for them "+
					"(Config.IgnoreAddedPartitions): make a savepoint and start from it", slog.String("topic", topic),
					slog.Int("partitions", int(has)), slog.Int("read", int(n)))
			}
		}
	}
}

// kept is how many partitions a repartition topic has for which n follow from the topics upstream. One that exists
// keeps what it has if inputs have grown, or are gone: its records are placed by its own number, whatever the inputs'.
func (t *topics) kept(topic string, n int32) int32 {
	if have := t.partitions[t.physical(topic)]; have > 0 && (have < n || n == 0) {
		return have
	}
	return n
}

// outgrown is the error for a changelog that has fewer partitions than the n of the inputs.
func (t *topics) outgrown(cfg *Config, sub *processor.Subtopology, name string, n int32) error {
	var grown []string
	for _, topic := range sub.SourceTopics {
		if physical := t.physical(topic); t.readable(physical) > t.partitions[name] {
			grown = append(grown, fmt.Sprintf("%q has %d", physical, t.readable(physical)))
		}
	}
	slices.Sort(grown)
	at := "--brokers " + strings.Join(cfg.Brokers, ",") + " --application-id " + cfg.ApplicationID
	return &changelog.TopicError{
		Topic: name,
		What: fmt.Sprintf("has %d partitions, and the topology needs %d: the input topic %s", t.partitions[name], n,
			strings.Join(grown, " and ")),
		Hint: "the keys of its rows belong into other partitions now, so the state has to be rescaled. Nothing is lost: " +
			"stop who writes to the inputs, run all instances with Config.IgnoreAddedPartitions and Config.Checkpointing " +
			"until what is in the partitions of before is processed, end them with \"tidemark savepoint stop " + at +
			"\", write the state where it belongs with \"tidemark savepoint rescale <its location> " + at + " --replace\" " +
			"(tidemark.StartFrom in Go), and run them as before. Or use a new application id",
	}
}
