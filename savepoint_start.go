package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// StartOptions say how an application starts from a savepoint.
type StartOptions struct {
	// StoreNames maps names of stores in the savepoint to those of the topology, of operators that were renamed.
	StoreNames map[string]string
	// Migrate has, by the name in the topology, what makes today's rows of those in the savepoint: a store whose types
	// have changed needs one. KeepRows is one that changes nothing.
	Migrate map[string]Migration
	// AllowNonRestoredState drops stores of the savepoint that the topology does not have (Flink's
	// --allowNonRestoredState). Without it they are an error.
	AllowNonRestoredState bool
	// Replace deletes what the application has by now: its internal topics, and its place in its inputs. Local state and
	// checkpoints of before are not used any more. Without it an application that has state is an error.
	Replace bool
	// OnProgress is told how much of the savepoint was read. Calls come from one goroutine.
	OnProgress func(StartProgress)
}

// Migration turns a row of a changelog, as it was, into what it is today; a nil value drops it. The key of a row of
// windows has its window in it. The slices must not be kept.
type Migration func(key, value []byte) (newKey, newValue []byte, err error)

// KeepRows says that the bytes of a store's rows mean the same as before, though its types have other names.
func KeepRows(key, value []byte) (newKey, newValue []byte, err error) { return key, value, nil }

// StartProgress says how much is done.
type StartProgress struct {
	Store            string
	Rows, Bytes      int64 // so far, of all stores; Bytes as they are in the savepoint
	Total            int64 // bytes
	RecordsPerSecond float64
	Remaining        time.Duration // estimated
}

// StartReport says what was written.
type StartReport struct {
	Location string
	// Rows are by store, under the name in the topology; InFlight are the records that were between sub-topologies.
	Rows     map[string]int64
	InFlight int64
	// Dropped are stores of the savepoint that were left out, New are stores that begin empty.
	Dropped, New []string
	Took         time.Duration
}

// SavepointError says why an application cannot start from a savepoint. Nothing was written.
type SavepointError struct {
	Location string
	What     string
	Hint     string
}

func (e *SavepointError) Error() string {
	return fmt.Sprintf("tidemark: start from %s: %s: %s", e.Location, e.What, e.Hint)
}

// StartFrom makes an application that does not run begin where a savepoint, or a checkpoint, was made: it writes the
// state into the application's changelogs, what was in flight into its repartition topics, and its place in the inputs,
// all in one transaction; the next Run goes on from there. cfg.ApplicationID may be a new one, which makes a clone, or
// the old one with [StartOptions.Replace]. cfg.Checkpointing has the storage; location is the folder in it.
//
// The numbers of partitions may be others than in the savepoint: rows and records in flight go where their keys belong.
// Only keys that murmur2 has placed can move; a row that lies elsewhere is an error. Each task goes on with the
// earliest time that tasks had observed, and remembers for each key what was late and which final windows were emitted.
// An input topic may have grown since, if all that was in it is processed; one that has fewer partitions is another
// topic, whose records are read from their beginning.
//
// Unlike Flink's, a savepoint is written back before the start, so that changelogs stay the only truth about state.
func StartFrom(
	ctx context.Context, t Topology, cfg Config, location string, o StartOptions,
) (report StartReport, err error) {
	app, err := New(t, cfg)
	if err != nil {
		return report, err
	}
	s := &starting{
		cfg: &app.cfg, plan: app.plan, clock: app.clock, o: o, location: strings.TrimSuffix(location, "/"),
	}
	return s.start(ctx, func() error { return nil })
}

// start does it. prepare runs when the manifest is there.
func (s *starting) start(ctx context.Context, prepare func() error) (report StartReport, err error) {
	if !s.cfg.Checkpointing.Enabled() {
		return report, &ConfigError{
			Field: "Checkpointing.Storage", Value: "nil", Hint: "set the storage that has the savepoint",
		}
	}
	began := s.clock.Now()
	defer func() { err = errors.Join(err, s.close()) }()
	for _, step := range []func() error{
		func() error { return s.load(ctx) },
		prepare,
		s.mapStores,
		func() error { return s.connect(ctx) },
		func() error { return s.write(ctx) },
	} {
		if err := step(); err != nil {
			return report, err
		}
	}
	s.report.Location, s.report.Took = s.location, s.clock.Since(began)
	s.cfg.Logger.Info("the application starts from a savepoint", slog.String("location", s.location),
		slog.Int64("in_flight", s.report.InFlight), slog.Duration("took", s.report.Took.Round(time.Millisecond)))
	return s.report, nil
}

// starting is a start from a savepoint. It needs of the plan what a manifest has, too: no nodes, and no function that
// makes a store.
type starting struct {
	cfg      *Config
	plan     *processor.Plan
	clock    clock.Clock
	o        StartOptions
	location string

	reader   *checkpointing.Reader
	manifest *checkpointing.Manifest
	stores   []restoredStore
	had      map[string]int32 // partitions of the topics that were read, by their names then

	client *kafka.Client
	admin  *kafka.Admin
	topics *topics
	// era is the upper half of the epochs from now on, see record.Epoch.
	era uint64

	report StartReport
}

// restoredStore is a store of the savepoint with its place in the topology.
type restoredStore struct {
	was checkpointing.StoreInfo
	now *processor.StoreSpec
}

func (s *starting) fail(what, hint string) error {
	return &SavepointError{Location: s.location, What: what, Hint: hint}
}

// load reads the manifest, from either storage.
func (s *starting) load(ctx context.Context) error {
	c := s.cfg.Checkpointing.WithDefaults()
	cipher, err := cipherOf(&c)
	if err != nil {
		return err
	}
	var errs []error
	for _, from := range []storage.Storage{c.SavepointStorage, c.Storage} {
		if from == nil {
			continue
		}
		r, err := checkpointing.OpenReader(ctx, from, s.location, cipher)
		if err == nil {
			s.reader, s.manifest = r, r.Manifest()
			s.had = s.partitionsBefore()
			return nil
		}
		errs = append(errs, err)
		if c.Storage == c.SavepointStorage {
			break
		}
	}
	return errors.Join(errs...)
}

// mapStores finds the place of every store of the savepoint.
func (s *starting) mapStores() error {
	found := make(map[string]bool)
	for _, was := range s.manifest.Stores {
		name := was.Name
		if renamed, ok := s.o.StoreNames[name]; ok {
			name = renamed
		}
		now := s.storeOf(name)
		if now == nil || !now.Changelogged() && now.SourceTopic == "" {
			if !s.o.AllowNonRestoredState {
				return s.fail(
					fmt.Sprintf("its store %q has no place in the topology, which has no logged store %q", was.Name, name),
					"map it to its new name with StoreNames, or leave it out with AllowNonRestoredState")
			}
			s.report.Dropped = append(s.report.Dropped, was.Name)
			continue
		}
		found[name] = true
		if now.SourceTopic != "" {
			continue // its rows are in the input topic
		}
		if err := s.compatible(was, now); err != nil {
			return err
		}
		s.stores = append(s.stores, restoredStore{was: was, now: now})
	}
	for _, sub := range s.plan.Subtopologies {
		for _, st := range sub.Stores {
			if !found[st.Name] {
				s.report.New = append(s.report.New, st.Name)
			}
		}
	}
	slices.Sort(s.report.New)
	return nil
}

func (s *starting) storeOf(name string) *processor.StoreSpec {
	for _, sub := range s.plan.Subtopologies {
		for _, st := range sub.Stores {
			if st.Name == name {
				return st
			}
		}
	}
	return nil
}

// compatible says why rows of a store of before are none of the store of today.
func (s *starting) compatible(was checkpointing.StoreInfo, now *processor.StoreSpec) error {
	if today := snapshotType(now); was.Type != today {
		return s.fail(fmt.Sprintf("its store %q is a %s store, and %q in the topology is a %s store", was.Name, was.Type,
			now.Name, today), "give the new store another name, and leave the old one out with AllowNonRestoredState")
	}
	if was.Rows != "" && was.Rows != now.Rows {
		return s.fail(fmt.Sprintf("the rows of its window store %q lie by %s, and those of %q by %s", was.Name, was.Rows,
			now.Name, now.Rows), "give the new store another name, and leave the old one out with AllowNonRestoredState")
	}
	changed := was.KeySerde != now.KeySerde || was.ValueSerde != now.ValueSerde
	if changed && s.o.Migrate[now.Name] == nil {
		return s.fail(fmt.Sprintf("the rows of its store %q were written by %s and %s, and those of %q are by %s and %s",
			was.Name, was.KeySerde, was.ValueSerde, now.Name, now.KeySerde, now.ValueSerde),
			"say with Migrate how to turn them into today's, or that they stay as they are (KeepRows)")
	}
	return nil
}

// connect makes sure that nobody runs, and prepares the topics.
func (s *starting) connect(ctx context.Context) error {
	conf, err := s.cfg.security().Sarama()
	if err != nil {
		return err
	}
	if s.client, err = kafka.NewClient(s.cfg.Brokers, conf); err != nil {
		return err
	}
	s.admin = kafka.NewAdmin(s.client, kafka.AdminConfig{GroupID: s.cfg.ApplicationID, Logger: s.cfg.Logger})
	bounded, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	// What there is of the topics that match patterns counts as what the application has.
	if s.plan, _, err = resolvePatterns(bounded, s.cfg.ApplicationID, s.plan, s.admin); err != nil {
		return err
	}
	before, err := s.present(bounded)
	if err != nil {
		return err
	}
	if err := s.nobodyRuns(bounded, before); err != nil {
		return err
	}
	if err := s.replace(bounded, before); err != nil {
		return err
	}
	if s.topics, err = prepareTopics(bounded, s.cfg, s.plan, s.admin, nil); err != nil {
		return err
	}
	s.plan = s.topics.plan
	for _, st := range s.stores {
		if s.topics.partitions[s.topics.changelog(st.now.Name)] == 0 {
			return s.fail(fmt.Sprintf("its store %q belongs to tasks that read topics by a pattern, and none matches today",
				st.now.Name), "create the topics first: their partitions decide where the rows go")
		}
	}
	return nil
}

// present returns what is committed of the application's inputs, before any topic is made.
func (s *starting) present(ctx context.Context) (map[record.TopicPartition]eos.Offset, error) {
	look := &topics{applicationID: s.cfg.ApplicationID, plan: s.plan}
	counts, err := s.admin.Partitions(ctx, look.sources())
	if err != nil {
		return nil, err
	}
	return s.admin.PossiblyUnstableOffsets(ctx, s.cfg.ApplicationID, partitionsOf(counts))
}

// nobodyRuns fails if the application has members. Static ones that have closed are let go: they left word.
func (s *starting) nobodyRuns(ctx context.Context, committed map[record.TopicPartition]eos.Offset) error {
	group := s.cfg.ApplicationID
	_, members, err := s.admin.GroupState(ctx, group)
	if err != nil || members == 0 {
		return err
	}
	if departed := departedIn(committed, ""); len(departed) > 0 {
		if err := s.admin.RemoveMembers(ctx, group, departed); err != nil {
			return err
		}
		if _, members, err = s.admin.GroupState(ctx, group); err != nil || members == 0 {
			return err
		}
	}
	return s.fail(fmt.Sprintf("application %q has %d members", group, members),
		"stop all instances; one that was killed counts until its session ends (Config.SessionTimeout)")
}

// replace deletes what the application has, if it may, and finds the next era.
func (s *starting) replace(ctx context.Context, committed map[record.TopicPartition]eos.Offset) error {
	for _, t := range s.manifest.Tasks {
		s.era = max(s.era, t.Epoch.Era()+1)
	}
	for _, o := range committed {
		if m, err := eos.ParseMetadata(o.Metadata); err == nil {
			s.era = max(s.era, m.Epoch.Era()+1)
		}
	}
	existing, used, err := s.internal(ctx)
	switch {
	case err != nil:
		return err
	case len(committed) == 0 && !used && !s.o.Replace:
		return nil
	case !s.o.Replace:
		return s.fail(fmt.Sprintf("application %q has state already", s.cfg.ApplicationID),
			"take another ApplicationID, or delete what it has with Replace")
	}
	return s.admin.DeleteTopics(ctx, existing)
}

// internal lists the internal topics that exist, and tells whether any of them has records.
func (s *starting) internal(ctx context.Context) (existing []string, used bool, err error) {
	look := &topics{applicationID: s.cfg.ApplicationID, plan: s.plan}
	names := slices.Collect(maps.Keys(look.repartitionInputs()))
	for _, sub := range s.plan.Subtopologies {
		for _, st := range sub.Stores {
			if st.Changelogged() {
				names = append(names, look.changelog(st.Name))
			}
		}
	}
	counts, err := s.admin.Partitions(ctx, names)
	if err != nil {
		return nil, false, err
	}
	existing = slices.Sorted(maps.Keys(counts))
	ends, err := s.admin.EndOffsets(ctx, partitionsOf(counts), false)
	for _, end := range ends {
		used = used || end > 0
	}
	return existing, used, err
}

func partitionsOf(counts map[string]int32) (tps []record.TopicPartition) {
	for topic, n := range counts {
		for p := range n {
			tps = append(tps, record.TopicPartition{Topic: topic, Partition: p})
		}
	}
	return tps
}

func (s *starting) close() error {
	if s.client == nil {
		return nil
	}
	return errors.Join(s.admin.Close(), s.client.Close())
}
