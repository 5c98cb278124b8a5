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

// holdBack leaves out the partitions of inputs that there is no state for.
func (t *topics) holdBack(log *slog.Logger) {
	for _, sub := range t.plan.Subtopologies {
		n := t.stateFor(sub)
		for _, topic := range sub.SourceTopics {
			has := t.partitions[topic]
			if n == 0 || has <= n || t.internal(topic) {
				continue
			}
			t.held[topic] = n
			args := []any{slog.String("topic", topic), slog.Int("partitions", int(has)), slog.Int("read", int(n))}
			log.Warn("partitions of an input are not read, since there is no state for them "+
				"(Config.IgnoreAddedPartitions): make a savepoint and start from it", args...)
			if has%n != 0 {
				log.Error("keys change between the partitions that are read: who writes places them by the new number of "+
					"partitions, which is no multiple of the one before, so tasks meet keys whose state is with other tasks, and "+
					"results of records that were written since are wrong. Stop who writes, or take a new application id, which "+
					"reads all inputs again", args...)
			}
		}
	}
}

// stateFor is for how many partitions of its inputs a sub-topology has state, 0 if it has none yet or needs none.
func (t *topics) stateFor(sub *processor.Subtopology) (n int32) {
	atMost := func(have int32) {
		if have > 0 && (n == 0 || have < n) {
			n = have
		}
	}
	for _, s := range sub.Stores {
		if s.Changelogged() {
			atMost(t.partitions[t.changelog(s.Name)])
		}
	}
	if bound(sub) != nil {
		for _, topic := range sub.SourceTopics {
			atMost(t.before[topic])
		}
	}
	return n
}

// bound returns a store whose rows nothing can move to other partitions: they are in the input topic itself, or on
// local disks only. Nil: there is none.
func bound(sub *processor.Subtopology) *processor.StoreSpec {
	for _, s := range sub.Stores {
		if !s.Changelogged() {
			return s
		}
	}
	return nil
}

// checkBound refuses inputs that have grown since the application ran last, where rows cannot move with their keys. No
// changelog tells that they have: the description of what ran last does, and this process, which knows what it began
// with.
func (t *topics) checkBound(cfg *Config) error {
	for _, sub := range t.plan.Subtopologies {
		s := bound(sub)
		if s == nil || cfg.AllowStateLoss {
			continue
		}
		for _, topic := range sub.SourceTopics {
			had, has := t.before[topic], t.readable(topic)
			if had == 0 || has <= had || t.internal(topic) {
				continue
			}
			e := &TopicError{Topic: topic, What: fmt.Sprintf("had %d partitions when the application ran last and has %d, and ",
				had, has)}
			moved := "Rows of keys that belong into other partitions now would stay with their old tasks, and not be found. "
			goOn := "; or go on with the partitions of before (Config.IgnoreAddedPartitions)"
			if s.SourceTopic != "" {
				e.What += fmt.Sprintf("the table %q is restored from its topic %q", s.Name, s.SourceTopic)
				e.Hint = moved + "Nothing is lost: write the rows into a new topic with so many partitions, and read that under " +
					"a new application id" + goOn + "; or, if the topic was written anew, set Config.AllowStateLoss for this start"
			} else {
				e.What += fmt.Sprintf("the store %q has no changelog", s.Name)
				e.Hint = moved + "If the application can do without them set Config.AllowStateLoss for this start, or take a new " +
					"application id" + goOn
			}
			return e
		}
	}
	return nil
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
