package tidemark

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
)

// TopicError says that a topic of the user's is not as the topology needs it.
type TopicError struct {
	Topic string
	What  string
	Hint  string
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("tidemark: topic %q %s: %s", e.Topic, e.What, e.Hint)
}

// topics is what an incarnation knows of the topology's topics: physical names, partition counts, configuration. It is
// made at start and does not change; another number of input partitions needs another incarnation.
type topics struct {
	applicationID string
	plan          *processor.Plan // resolved
	admin         clusterAdmin

	partitions map[string]int32             // by physical name
	before     map[string]int32             // of inputs when the application ran last; absent: not known
	held       map[string]int32             // of inputs of which not all partitions are read
	configs    map[string]map[string]string // of changelogs
	tasks      []assign.Task
	inputs     map[record.TaskID][]record.TopicPartition

	mu    sync.Mutex
	later map[string]int32 // partitions of topics that only records name (dead letters, dynamic sinks)
}

// internal reports whether a topic of the plan is a repartition topic.
func (t *topics) internal(topic string) bool {
	return slices.ContainsFunc(t.plan.Repartitions, func(r *processor.RepartitionTopic) bool { return r.Name == topic })
}

// physical returns a topic's name on the broker.
func (t *topics) physical(topic string) string {
	if t.internal(topic) {
		return changelog.RepartitionTopicName(t.applicationID, topic)
	}
	return topic
}

// changelog returns the changelog topic of a store.
func (t *topics) changelog(name string) string { return changelog.TopicName(t.applicationID, name) }

// sources are the physical names of all topics that are read.
func (t *topics) sources() []string {
	var names []string
	for _, sub := range t.plan.Subtopologies {
		for _, topic := range sub.SourceTopics {
			names = append(names, t.physical(topic))
		}
	}
	return names
}

// prepareTopics checks the topics that users make, makes the internal ones, and lists the tasks. before are the numbers
// of partitions that inputs had when the application ran last, as far as they are known.
func prepareTopics(
	ctx context.Context, cfg *Config, plan *processor.Plan, admin clusterAdmin, before map[string]int32,
) (*topics, error) {
	plan, matched, err := resolvePatterns(ctx, cfg.ApplicationID, plan, admin)
	if err != nil {
		return nil, err
	}
	t := &topics{
		applicationID: cfg.ApplicationID, plan: plan, admin: admin, before: before,
		configs: make(map[string]map[string]string), inputs: make(map[record.TaskID][]record.TopicPartition),
		later: make(map[string]int32), held: make(map[string]int32),
	}
	var names []string
	for _, sub := range plan.Subtopologies {
		for _, topic := range slices.Concat(sub.SourceTopics, sub.SinkTopics) {
			names = append(names, t.physical(topic))
		}
		for _, s := range sub.Stores {
			if s.Changelogged() {
				names = append(names, t.changelog(s.Name))
			}
		}
	}
	for _, g := range plan.Globals {
		names = append(names, g.Topic())
	}
	if cfg.Checkpointing.Enabled() {
		names = append(names, controlTopic(cfg.ApplicationID).Topic)
	}
	slices.Sort(names)
	existing, err := admin.Partitions(ctx, slices.Compact(names))
	if err != nil {
		return nil, fmt.Errorf("tidemark: look topics up: %w", err)
	}
	t.partitions = existing
	for topic, n := range matched {
		t.partitions[topic] = max(n, existing[topic]) // one that was deleted in between shows when it is read
	}
	if cfg.IgnoreAddedPartitions {
		t.holdBack(cfg.Logger)
	}
	for _, step := range []func() error{
		t.checkUserTopics,
		func() error { return t.checkBound(cfg) },
		func() error { return t.makeRepartitions(ctx, cfg) },
		func() error { return t.makeChangelogs(ctx, cfg) },
		func() error { return t.readGlobals(ctx) },
		func() error { return t.makeControlTopic(ctx, cfg) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	t.sayUnmatched(cfg.Logger)
	t.sayUneven(cfg.Logger)
	return t, nil
}

// readGlobals reads the configuration of the topics that fill global stores: how long they keep tombstones.
func (t *topics) readGlobals(ctx context.Context) error {
	for _, g := range t.plan.Globals {
		config, err := t.admin.TopicConfig(ctx, g.Topic())
		if err != nil {
			return fmt.Errorf("tidemark: read the configuration of %q: %w", g.Topic(), err)
		}
		t.configs[g.Topic()] = config
	}
	return nil
}

// globalInputs are the partitions of the topics that fill global stores.
func (t *topics) globalInputs() []record.TopicPartition {
	var tps []record.TopicPartition
	for _, g := range t.plan.Globals {
		for p := range t.partitions[g.Topic()] {
			tps = append(tps, record.TopicPartition{Topic: g.Topic(), Partition: p})
		}
	}
	return tps
}

// checkUserTopics fails on topics that do not exist: only their owner knows how many partitions they should have.
func (t *topics) checkUserTopics() error {
	for _, sub := range t.plan.Subtopologies {
		for i, topic := range slices.Concat(sub.SourceTopics, sub.SinkTopics) {
			if t.internal(topic) || t.partitions[topic] > 0 {
				continue
			}
			role := "is read by the topology"
			if i >= len(sub.SourceTopics) {
				role = "is written by the topology"
			}
			return &TopicError{
				Topic: topic, What: role + " and does not exist",
				Hint: "create it first: kafka-topics --create --topic " + topic + " --partitions <n>",
			}
		}
	}
	for _, g := range t.plan.Globals {
		if t.partitions[g.Topic()] == 0 {
			return &TopicError{
				Topic: g.Topic(), What: fmt.Sprintf("fills the global store %q and does not exist", g.Store.Name),
				Hint: "create it first: kafka-topics --create --topic " + g.Topic() +
					" --partitions <n> --config cleanup.policy=compact",
			}
		}
	}
	return nil
}

// makeRepartitions creates the topics between sub-topologies.
func (t *topics) makeRepartitions(ctx context.Context, cfg *Config) error {
	want, err := t.repartitionCounts()
	if err != nil {
		return err
	}
	for _, r := range t.plan.Repartitions {
		name, n := t.physical(r.Name), want[r.Name]
		if n == 0 {
			continue // made when its writers have something to read
		}
		if have := t.partitions[name]; have > 0 {
			if err := changelog.CheckPartitions(name, have, n); err != nil {
				return err
			}
			config, err := t.admin.TopicConfig(ctx, name)
			if err != nil {
				return fmt.Errorf("tidemark: read the configuration of %q: %w", name, err)
			}
			if err := changelog.CheckRepartitionPolicy(name, config); err != nil {
				return err
			}
			continue
		}
		err := t.admin.CreateTopic(ctx, name, n, cfg.ReplicationFactor, changelog.RepartitionTopicConfig())
		if err != nil {
			return fmt.Errorf("tidemark: create repartition topic %q: %w", name, err)
		}
		t.partitions[name] = n
	}
	return nil
}

// repartitionCounts returns the numbers of partitions of the topics between sub-topologies: the user's choice, or that
// of the topics they are joined with, or the largest among the source topics of the sub-topologies that write them;
// those may in turn be repartition topics. One that exists keeps its number when inputs grow. It fails if what must be
// co-partitioned is not, before anything is created.
func (t *topics) repartitionCounts() (map[string]int32, error) {
	want := make(map[string]int32)
	for _, r := range t.plan.Repartitions {
		want[r.Name] = r.Partitions
	}
	for range len(t.plan.Repartitions) { // one more is known after each round
		for _, r := range t.plan.Repartitions {
			if want[r.Name] == 0 {
				want[r.Name] = t.kept(r.Name, t.upstream(r.Name, want))
			}
		}
	}
	t.coPartition(want)
	for _, r := range t.plan.Repartitions {
		if want[r.Name] == 0 && !t.awaits(r.Name) {
			return nil, &TopicError{
				Topic: t.physical(r.Name), What: "has no known number of partitions", Hint: "nothing upstream of it reads a " +
					"topic with partitions (declared at " + r.Position + ")",
			}
		}
	}
	for _, sub := range t.plan.Subtopologies {
		if err := t.checkCoPartitioned(sub, want); err != nil {
			return nil, err
		}
	}
	return want, nil
}

// upstream is the largest partition count among the sources of the sub-topologies that write a topic, 0 if unknown yet.
func (t *topics) upstream(topic string, known map[string]int32) (n int32) {
	for _, sub := range t.plan.Subtopologies {
		if !slices.Contains(sub.SinkTopics, topic) {
			continue
		}
		for _, src := range sub.SourceTopics {
			n = max(n, known[src], t.readable(src))
		}
	}
	return n
}

// coPartition gives repartition topics that are read together with other topics their number of partitions: records of
// a key must meet in one task. Topics of the user's decide; where there are none, the user's choice for one of the
// repartition topics; else the largest number upstream. A choice of the user's is never changed, only refused later.
func (t *topics) coPartition(want map[string]int32) {
	chosen := make(map[string]int32)
	for _, r := range t.plan.Repartitions {
		chosen[r.Name] = r.Partitions
	}
	for _, sub := range t.plan.Subtopologies {
		if len(sub.SourceTopics) < 2 {
			continue
		}
		var users, choice, upstream int32
		for _, src := range sub.SourceTopics {
			if !t.internal(src) {
				users = max(users, t.readable(src))
				continue
			}
			choice, upstream = max(choice, chosen[src]), max(upstream, want[src])
		}
		n := users
		if n == 0 && len(sub.Stores) > 0 { // without state nothing has to meet
			if n = choice; n == 0 {
				n = upstream
			}
		}
		for _, src := range sub.SourceTopics {
			if t.internal(src) && chosen[src] == 0 && n > 0 {
				want[src] = n
			}
		}
	}
}

// makeChangelogs lists the tasks and creates changelogs with a partition per task.
func (t *topics) makeChangelogs(ctx context.Context, cfg *Config) error {
	subs := make([]assign.Subtopology, len(t.plan.Subtopologies))
	for i, sub := range t.plan.Subtopologies {
		subs[i] = assign.Subtopology{ID: sub.ID, Topics: make(map[string]int32)}
		for _, topic := range sub.SourceTopics {
			n := t.readable(t.physical(topic))
			if n > 0 || !t.awaits(topic) {
				subs[i].Topics[t.physical(topic)] = n
			}
		}
	}
	var err error
	if t.tasks, err = assign.Tasks(subs); err != nil {
		return err
	}
	count := make(map[int32]int32)
	for _, task := range t.tasks {
		t.inputs[task.ID] = task.Partitions
		count[task.ID.Subtopology]++
	}
	for _, sub := range t.plan.Subtopologies {
		if count[sub.ID] == 0 {
			continue // what it reads is not there yet
		}
		for _, s := range sub.Stores {
			var err error
			switch {
			case s.SourceTopic != "":
				err = t.checkSourceChangelog(ctx, s)
			case s.Changelogged():
				err = t.makeChangelog(ctx, cfg, sub, s, count[sub.ID])
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCoPartitioned fails if records of one key would not meet: the inputs of joins and of what shares a store must
// have equal numbers of partitions. want has those of the repartition topics.
func (t *topics) checkCoPartitioned(sub *processor.Subtopology, want map[string]int32) error {
	if len(sub.Stores) == 0 || len(sub.SourceTopics) == 0 || onePattern(sub) {
		return nil
	}
	count := func(topic string) int32 {
		if t.internal(topic) {
			return want[topic]
		}
		return t.readable(topic)
	}
	first := sub.SourceTopics[0]
	for _, topic := range sub.SourceTopics[1:] {
		if count(topic) != count(first) {
			return &TopicError{
				Topic: t.physical(topic),
				What: fmt.Sprintf("has %d partitions, and %q has %d, but both are joined or feed the same stores (sub-topology %d)",
					count(topic), t.physical(first), count(first), sub.ID),
				Hint: "records of a key would not meet: give both the same number of partitions, or put a repartition before one",
			}
		}
	}
	return nil
}

func (t *topics) makeChangelog(
	ctx context.Context, cfg *Config, sub *processor.Subtopology, s *processor.StoreSpec, n int32,
) error {
	name := t.changelog(s.Name)
	if have := t.partitions[name]; have > 0 {
		if have < n {
			return t.outgrown(cfg, sub, name, n)
		}
		if err := changelog.CheckPartitions(name, have, n); err != nil {
			return err
		}
	} else {
		config := changelog.TopicConfig(s.Retention, changelog.WithHistory(s.HistoryRetention, s.ChangelogConfig))
		err := t.admin.CreateTopic(ctx, name, n, cfg.ReplicationFactor, config)
		if err != nil {
			return fmt.Errorf("tidemark: create changelog topic %q: %w", name, err)
		}
		t.partitions[name] = n
	}
	config, err := t.admin.TopicConfig(ctx, name)
	if err != nil {
		return fmt.Errorf("tidemark: read the configuration of %q: %w", name, err)
	}
	t.configs[name] = config
	if err := changelog.CheckPolicy(name, config, s.Retention, s.ChangelogConfig); err != nil {
		return err
	}
	return changelog.CheckHistory(name, config, s.HistoryRetention, s.ChangelogConfig)
}

// checkSourceChangelog makes sure that an input topic that is a table's changelog keeps every row.
func (t *topics) checkSourceChangelog(ctx context.Context, s *processor.StoreSpec) error {
	name := t.physical(s.SourceTopic)
	config, err := t.admin.TopicConfig(ctx, name)
	if err != nil {
		return fmt.Errorf("tidemark: read the configuration of %q: %w", name, err)
	}
	t.configs[name] = config
	if why := changelog.Forgets(config); why != "" {
		return &TopicError{
			Topic: name, What: fmt.Sprintf("is the changelog of the table %q and has %s", s.Name, why),
			Hint: "a restore would miss the rows that the broker deletes: set cleanup.policy=compact, or take " +
				"topology.ReuseSourceTopics off",
		}
	}
	return nil
}

// partitionsOf returns the number of partitions of a topic that a task writes, 0 if it does not exist. Topics that no
// sink names are looked up.
func (t *topics) partitionsOf(ctx context.Context, topic string) (int32, error) {
	if n := t.partitions[topic]; n > 0 {
		return n, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.later[topic]; n > 0 {
		return n, nil
	}
	found, err := t.admin.Partitions(ctx, []string{topic})
	if err != nil {
		return 0, err
	}
	t.later[topic] = found[topic] // 0 is asked for again: somebody may create the topic
	return found[topic], nil
}

// taskCounts returns how many tasks each sub-topology has.
func (t *topics) taskCounts() map[int32]int32 {
	n := make(map[int32]int32)
	for _, task := range t.tasks {
		n[task.ID.Subtopology]++
	}
	return n
}

// subtopology returns the sub-topology of a task.
func (t *topics) subtopology(id record.TaskID) *processor.Subtopology {
	for _, sub := range t.plan.Subtopologies {
		if sub.ID == id.Subtopology {
			return sub
		}
	}
	return nil
}

// repartitionInputs are the physical repartition topics, whose records are deleted once they are consumed.
func (t *topics) repartitionInputs() map[string]bool {
	names := make(map[string]bool)
	for _, r := range t.plan.Repartitions {
		names[t.physical(r.Name)] = true
	}
	return names
}
