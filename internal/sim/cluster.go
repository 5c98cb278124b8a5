package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Config is what a Cluster is made from.
type Config struct {
	Plan *processor.Plan
	// Rand decides everything. The same one gives the same run.
	Rand *rand.Rand
	// Partitions is the number of partitions of every topic.
	Partitions int32
	Instances  int
	// Dir is where the instances keep their state. "" keeps all stores in memory.
	Dir     string
	Caching bool
	// Checkpoints are made at random moments.
	Checkpoints bool
	// AlignmentBufferBytes is the task's; 0: no bound.
	AlignmentBufferBytes int64
}

// applicationID prefixes internal topics.
const applicationID = "sim"

// Cluster is an application with its topics. It belongs to one goroutine.
type Cluster struct {
	cfg       Config
	logs      map[record.TopicPartition][]record.Raw
	origins   map[record.TopicPartition][]origin // of each record in logs
	instances []*instance
	members   []*member
	global    *task.Task // nil without global stores
	globalCfg task.Config
	internal  map[string]bool
	channels  map[int32]*task.Channels
	// coordinator is nil without checkpoints.
	coordinator *coordinator
	budget      *store.Budget
	nowMs       int64
	robin       int32
	// Events counts what happened.
	Events Events
}

// Events are counters of what disturbed a run.
type Events struct {
	Commits, Aborts, Crashes, Moves, Restores int
	// Of checkpoints: Triggered and Aborted ones, Unaligned cuts, and records InFlight.
	Triggered, Aborted, Unaligned, InFlight int
}

// Add sums counters up.
func (e *Events) Add(other Events) {
	e.Commits += other.Commits
	e.Aborts += other.Aborts
	e.Crashes += other.Crashes
	e.Moves += other.Moves
	e.Restores += other.Restores
	e.Triggered += other.Triggered
	e.Aborted += other.Aborted
	e.Unaligned += other.Unaligned
	e.InFlight += other.InFlight
}

// instance is a process: the tasks that one transaction covers.
type instance struct {
	dir string
	// at is up to where the instance has read the control topic, known what is in progress by it, over what has ended.
	at    int
	known []checkpointing.Barrier
	over  []int64
}

// member is a task, which is on one instance at a time, with what a broker keeps for it.
type member struct {
	cfg task.Config
	on  *instance

	task *task.Task
	// fetched is, by input, up to where records were handed to the task.
	fetched map[record.TopicPartition]int64

	// What survives a crash.
	positions map[record.TopicPartition]task.Position
	epoch     record.Epoch
}

// New makes a cluster and starts its tasks.
func New(cfg Config) (*Cluster, error) {
	c := newCluster(cfg)
	if err := c.openGlobal(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for _, m := range c.members {
		if err := c.open(m); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// newCluster makes a cluster without starting anything.
func newCluster(cfg Config) *Cluster {
	c := &Cluster{
		cfg: cfg, logs: make(map[record.TopicPartition][]record.Raw), internal: make(map[string]bool),
		origins: make(map[record.TopicPartition][]origin), budget: store.NewBudget(budgetBytes),
	}
	for _, r := range cfg.Plan.Repartitions {
		c.internal[r.Name] = true
	}
	if cfg.Checkpoints {
		c.coordinator = &coordinator{active: make(map[int64]*Checkpoint)}
		c.channels = task.ChannelsOf(cfg.Plan, c.physical, func(int32) int32 { return cfg.Partitions })
	}
	for i := range cfg.Instances {
		in := &instance{}
		if cfg.Dir != "" {
			in.dir = filepath.Join(cfg.Dir, strconv.Itoa(i))
		}
		c.instances = append(c.instances, in)
	}
	for _, sub := range cfg.Plan.Subtopologies {
		for p := range cfg.Partitions {
			c.members = append(c.members, c.newMember(sub, p))
		}
	}
	return c
}

const budgetBytes = 16 << 20

func (c *Cluster) newMember(sub *processor.Subtopology, partition int32) *member {
	m := &member{
		cfg: c.taskConfig(sub, record.TaskID{Subtopology: sub.ID, Partition: partition}), on: c.anInstance(),
		positions: make(map[record.TopicPartition]task.Position),
	}
	for _, topic := range sub.SourceTopics {
		tp := record.TopicPartition{Topic: c.physical(topic), Partition: partition}
		m.cfg.Inputs = append(m.cfg.Inputs, tp)
		m.positions[tp] = task.Position{StreamTime: -1}
	}
	return m
}

func (c *Cluster) anInstance() *instance { return c.instances[c.cfg.Rand.IntN(len(c.instances))] }

func (c *Cluster) physical(topic string) string {
	if c.internal[topic] {
		return applicationID + "-" + topic
	}
	return topic
}

func (c *Cluster) taskConfig(sub *processor.Subtopology, id record.TaskID) task.Config {
	if c.cfg.Dir == "" || id == record.GlobalTaskID() {
		sub = inMemory(sub)
	}
	cfg := task.Config{
		ID: id, ApplicationID: applicationID, Subtopology: sub, Physical: c.physical,
		Partitions: func(string) (int32, error) { return c.cfg.Partitions, nil },
		Changelog:  func(name string) string { return applicationID + "-" + name + "-changelog" },
		Global:     c.view, Logger: slog.New(slog.DiscardHandler),
		MaxTaskIdle: -1, // what is not in the log need not come soon
		Channels:    c.channels[id.Subtopology], AlignmentBufferBytes: c.cfg.AlignmentBufferBytes,
	}
	cfg.Stores.CachingEnabled, cfg.Stores.Budget = c.cfg.Caching, c.budget
	return cfg
}

func inMemory(sub *processor.Subtopology) *processor.Subtopology {
	out := *sub
	out.Stores = nil
	for _, s := range sub.Stores {
		spec := *s
		spec.InMemory = true
		out.Stores = append(out.Stores, &spec)
	}
	return &out
}

// Pipe appends a record to the partition of its key, in turn if it has none.
func (c *Cluster) Pipe(topic string, r record.Raw) error {
	partition := c.robin % c.cfg.Partitions
	if r.Key == nil {
		c.robin++
	} else {
		partition = processor.DefaultPartition(r.Key, c.cfg.Partitions)
	}
	tp := record.TopicPartition{Topic: topic, Partition: partition}
	c.append(tp, r, origin{})
	if c.global != nil && slices.Contains(c.globalCfg.Inputs, tp) {
		return c.follow(tp)
	}
	return nil
}

// append copies a record, which may lie in a batch that is reused, to a log.
func (c *Cluster) append(tp record.TopicPartition, r record.Raw, from origin) {
	r.Key, r.Value, r.Offset = bytes.Clone(r.Key), bytes.Clone(r.Value), int64(len(c.logs[tp]))
	r.Headers = slices.Clone(r.Headers)
	for i, h := range r.Headers {
		r.Headers[i].Value = bytes.Clone(h.Value)
	}
	c.logs[tp] = append(c.logs[tp], r)
	c.origins[tp] = append(c.origins[tp], from)
}

// Records returns what is committed of a topic, partition by partition.
func (c *Cluster) Records(topic string) (all []record.Raw) {
	for p := range c.cfg.Partitions {
		all = append(all, c.logs[record.TopicPartition{Topic: topic, Partition: p}]...)
	}
	return all
}

// Settle goes on until every record is processed and committed.
func (c *Cluster) Settle() error {
	for range stepsDisturbed {
		if c.idle() {
			return nil
		}
		if err := c.Step(); err != nil {
			return err
		}
	}
	for range stepsMax {
		if c.idle() {
			return nil
		}
		if c.coordinator != nil {
			for _, in := range c.instances {
				if err := c.deliver(in); err != nil {
					return err
				}
			}
		}
		for _, m := range c.members {
			if err := c.process(m, 1+c.cfg.Rand.IntN(recordsMax)); err != nil {
				return err
			}
		}
		for _, in := range c.instances {
			if err := c.transaction(in, commits); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("sim: still busy after %d rounds: %s", stepsMax, c.busy())
}

// busy says who has something to do.
func (c *Cluster) busy() string {
	var s strings.Builder
	for _, m := range c.members {
		for _, tp := range m.cfg.Inputs {
			if p := m.positions[tp]; p.Offset < int64(len(c.logs[tp])) {
				fmt.Fprintf(&s, "task %s reads %s at %d of %d (%+v); ", m.cfg.ID, tp, p.Offset, len(c.logs[tp]), p.Ahead)
			}
		}
		if m.task.Dirty() {
			fmt.Fprintf(&s, "task %s is dirty; ", m.cfg.ID)
		}
	}
	if !c.settled() {
		fmt.Fprintf(&s, "checkpoints %v are in progress", slices.Collect(maps.Keys(c.coordinator.active)))
	}
	return s.String()
}

const (
	stepsDisturbed = 60
	stepsMax       = 10_000
)

func (c *Cluster) idle() bool {
	return c.settled() && !slices.ContainsFunc(c.members, func(m *member) bool {
		for _, tp := range m.cfg.Inputs {
			if m.positions[tp].Offset < int64(len(c.logs[tp])) {
				return true
			}
		}
		return m.task.Dirty()
	})
}

// Close ends the cluster.
func (c *Cluster) Close() error {
	var errs []error
	for _, m := range c.members {
		if m.task != nil {
			errs = append(errs, m.task.Close(false))
		}
	}
	if c.global != nil {
		errs = append(errs, c.global.Close(false))
	}
	return errors.Join(errs...)
}

// openGlobal opens the global stores, which all instances share here.
func (c *Cluster) openGlobal() error {
	sub := c.cfg.Plan.GlobalSubtopology()
	if sub == nil {
		return nil
	}
	c.globalCfg = c.taskConfig(sub, record.GlobalTaskID())
	positions := make(map[record.TopicPartition]task.Position)
	for _, topic := range sub.SourceTopics {
		for p := range c.cfg.Partitions {
			tp := record.TopicPartition{Topic: topic, Partition: p}
			c.globalCfg.Inputs = append(c.globalCfg.Inputs, tp)
			positions[tp] = task.Position{StreamTime: -1}
		}
	}
	var err error
	if c.global, err = task.Open(context.Background(), c.globalCfg); err != nil {
		return err
	}
	return c.global.Init(positions, nil, 0, c.nowMs)
}

// follow puts the last record of a topic into its global store.
func (c *Cluster) follow(tp record.TopicPartition) error {
	end := int64(len(c.logs[tp]))
	c.global.Add(task.Input{
		TopicPartition: tp, Records: slices.Clone(c.logs[tp][end-1:]), Next: end, HighWatermark: end,
	})
	if _, err := c.global.Process(1, c.nowMs); err != nil {
		return err
	}
	c.global.Released()
	if e, err := c.global.Seal(); err != nil || e == nil {
		return err
	}
	if err := c.global.Committed(nil, c.nowMs); err != nil {
		return err
	}
	return c.global.Stores().Flush(context.Background())
}

func (c *Cluster) view(name string) (store.Store, bool, error) {
	if c.global == nil {
		return nil, false, nil
	}
	if _, ok := c.global.Stores().Store(name); !ok {
		return nil, false, nil
	}
	s, err := c.global.Stores().View(name)
	return s, err == nil, err
}
