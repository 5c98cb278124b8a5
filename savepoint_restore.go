package tidemark

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor"
)

// RestoreOptions say how an application is restored from a savepoint.
type RestoreOptions struct {
	// Partitions are the new numbers of partitions: by the name of a repartition topic, with or without the application's
	// id in front and "-repartition" behind, or by the number of a sub-topology, which stands for all repartition topics
	// that it reads. Those that are not named have as many as the topology of the savepoint asks for. The topology that is
	// started then has to ask for the same.
	Partitions map[string]int32
	// AllowNonRestoredState and Replace are those of [StartOptions].
	AllowNonRestoredState, Replace bool
	// OnProgress is that of [StartOptions].
	OnProgress func(StartProgress)
}

var errOwnPartitionKey = errors.New("a function of the program finds what chose its partition " +
	"(store.Spec.PartitionKey): use tidemark.StartFrom there")

// Restore is [StartFrom] without the program: what has to be known of the topology is in the savepoint. So stores and
// their types stay as they are; to rename or migrate them is a matter for StartFrom. Of cfg it needs ApplicationID,
// Brokers, Checkpointing, and what the connection and new topics need. Then run the application as always, under that
// application id.
func Restore(ctx context.Context, cfg Config, location string, o RestoreOptions) (report StartReport, err error) {
	cfg, err = cfg.withDefaults()
	if err = errors.Join(err, cfg.validate()); err != nil {
		return report, err
	}
	s := &starting{cfg: &cfg, clock: clock.System(), location: strings.TrimSuffix(location, "/"), o: StartOptions{
		AllowNonRestoredState: o.AllowNonRestoredState, Replace: o.Replace, OnProgress: o.OnProgress,
	}}
	return s.start(ctx, func() error { return s.planFromManifest(o.Partitions) })
}

// planFromManifest takes the plan from the savepoint.
func (s *starting) planFromManifest(partitions map[string]int32) (err error) {
	if s.manifest.Topology == nil {
		return s.fail("an older release made it, which did not write down what a restore has to know of the topology",
			"use tidemark.StartFrom in the program")
	}
	if s.plan, err = planOf(s.manifest); err != nil {
		return s.fail("it describes no topology: "+err.Error(), "use another one, or tidemark.StartFrom in the program")
	}
	for _, name := range slices.Sorted(maps.Keys(partitions)) {
		if err := s.choosePartitions(name, partitions[name]); err != nil {
			return err
		}
	}
	return nil
}

// choosePartitions gives the repartition topics that name stands for another number of partitions.
func (s *starting) choosePartitions(name string, n int32) error {
	if n < 1 {
		return s.fail(fmt.Sprintf("%s cannot have %d partitions", name, n), "want at least one")
	}
	if id, err := strconv.ParseInt(name, 10, 32); err == nil {
		return s.chooseSubtopology(int32(id), n)
	}
	var known []string
	for _, r := range s.plan.Repartitions {
		id := s.manifest.ApplicationID
		if name == r.Name || name+"-repartition" == r.Name || name == changelog.RepartitionTopicName(id, r.Name) {
			r.Partitions = n
			return nil
		}
		known = append(known, r.Name)
	}
	hint := "it has none: add partitions to the input topics"
	if len(known) > 0 {
		hint = "it has " + strings.Join(known, ", ")
	}
	return s.fail(fmt.Sprintf("its topology has no repartition topic %q", name), hint)
}

func (s *starting) chooseSubtopology(id, n int32) error {
	i := slices.IndexFunc(s.plan.Subtopologies, func(sub *processor.Subtopology) bool { return sub.ID == id })
	if i < 0 {
		return s.fail(fmt.Sprintf("its topology has no sub-topology %d", id), "savepoint inspect shows which there are")
	}
	sources := s.plan.Subtopologies[i].SourceTopics
	for _, topic := range sources {
		at := slices.IndexFunc(s.plan.Repartitions, func(r *processor.RepartitionTopic) bool { return r.Name == topic })
		if at < 0 {
			return s.fail(fmt.Sprintf("sub-topology %d reads the topic %q of yours, which has as many partitions as you gave it",
				id, topic), "add partitions to it when all that it has is processed, and then restore without --partitions for it")
		}
		s.plan.Repartitions[at].Partitions = n
	}
	return nil
}
