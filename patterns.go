package tidemark

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/worker"
)

// clusterAdmin is a worker.Admin that can list topics.
type clusterAdmin interface {
	worker.Admin
	// Topics returns the number of partitions of each topic that is not internal to Kafka.
	Topics(ctx context.Context) (map[string]int32, error)
}

// resolvePatterns finds what the patterns of a plan match in the cluster: a resolved copy of the plan, which an
// incarnation works with, and how many partitions the matched topics have. Fingerprint and stored plan are those of the
// plan itself, so that instances agree that have found different topics.
func resolvePatterns(
	ctx context.Context, applicationID string, plan *processor.Plan, admin clusterAdmin,
) (resolved *processor.Plan, counts map[string]int32, err error) {
	if !plan.HasPatterns() {
		return plan, nil, nil
	}
	existing, err := admin.Topics(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("tidemark: look for the topics that match patterns: %w", err)
	}
	maps.DeleteFunc(existing, func(topic string, _ int32) bool { return internalName(applicationID, topic) })
	if resolved, err = plan.Resolve(slices.Collect(maps.Keys(existing))); err != nil {
		return nil, nil, fmt.Errorf("tidemark: %w", err)
	}
	counts = make(map[string]int32)
	for _, topic := range resolved.Matched() {
		counts[topic] = existing[topic]
	}
	return resolved, counts, nil
}

// internalName reports whether a topic is internal to the application by its name, as Kafka's tool that resets
// applications tells: also one that a former version of the topology has left.
func internalName(applicationID, topic string) bool {
	rest, ok := strings.CutPrefix(topic, applicationID+"-")
	if !ok {
		return false
	}
	if topic == planTopic(applicationID) || topic == controlTopic(applicationID).Topic {
		return true
	}
	return slices.ContainsFunc([]string{
		"-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic",
	}, func(suffix string) bool { return strings.HasSuffix("-"+rest, suffix) }) ||
		strings.HasPrefix(rest, "KTABLE-FK-JOIN-SUBSCRIPTION-") && strings.HasSuffix(rest, "-topic")
}

// sayUnmatched tells of patterns that match nothing yet.
func (t *topics) sayUnmatched(log *slog.Logger) {
	for _, n := range t.plan.Nodes {
		if n.Pattern != "" && len(n.Topics) == 0 {
			log.Info("no topic matches the pattern of a source yet: it reads nothing", slog.String("pattern", n.Pattern),
				slog.String("source", n.Name), slog.String("declared", n.Position))
		}
	}
}

// onePattern reports whether all that a sub-topology reads comes from one source with a pattern. Its topics may have
// different numbers of partitions, as in Kafka Streams: nothing is joined with them.
func onePattern(sub *processor.Subtopology) bool {
	return len(sub.Patterns()) == 1 && !slices.ContainsFunc(sub.SourceTopics, func(topic string) bool {
		return !slices.ContainsFunc(sub.Nodes, func(n *processor.Node) bool {
			return n.Pattern != "" && slices.Contains(n.Topics, topic)
		})
	})
}

// sayUneven tells of what follows from different numbers of partitions where there are stores.
func (t *topics) sayUneven(log *slog.Logger) {
	for _, sub := range t.plan.Subtopologies {
		if len(sub.Stores) == 0 || len(sub.SourceTopics) == 0 || !onePattern(sub) {
			continue
		}
		least, most := slices.MinFunc(sub.SourceTopics, t.byPartitions), slices.MaxFunc(sub.SourceTopics, t.byPartitions)
		if t.byPartitions(least, most) != 0 {
			log.Warn("topics that match the pattern of a source have different numbers of partitions: records of one key "+
				"meet different tasks, and rows of stores, if they are in different topics",
				slog.Int("subtopology", int(sub.ID)), slog.String("topic", least),
				slog.Int("partitions", int(t.readable(least))), slog.String("other", most),
				slog.Int("other_partitions", int(t.readable(most))))
		}
	}
}

func (t *topics) byPartitions(a, b string) int { return cmp.Compare(t.readable(a), t.readable(b)) }

// awaits reports whether the number of partitions of a repartition topic follows from topics that do not exist yet,
// since nothing matches the patterns of who writes it.
func (t *topics) awaits(topic string) bool {
	seen := make(map[int32]bool)
	var writers func(topic string) bool
	writers = func(topic string) bool {
		for _, sub := range t.plan.Subtopologies {
			if seen[sub.ID] || !slices.Contains(sub.SinkTopics, topic) {
				continue
			}
			seen[sub.ID] = true
			if len(sub.Patterns()) > 0 || slices.ContainsFunc(sub.SourceTopics, writers) {
				return true
			}
		}
		return false
	}
	return writers(topic)
}
