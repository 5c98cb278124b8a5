package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// incarnation is everything that runs between two starts: connections, workers, membership. After an error all of it is
// thrown away and made anew, so that there is one way to start and not a second one to recover.
type incarnation struct {
	app     *App
	dir     *store.StateDir
	client  *kafka.Client
	admin   *kafka.Admin
	topics  *topics
	group   *kafka.Group
	threads threads
	manager *worker.Manager
	// standbys follow the changelogs of tasks that others run.
	standbys *worker.Standbys
	global   *worker.Global // nil without global stores
	budget   *store.Budget
	// checkpoints is nil if they are not enabled.
	checkpoints *checkpoints
	// reading is held shared by who reads a global store for the App, which globalClosed ends.
	reading      sync.RWMutex
	globalClosed bool

	ends     inputEnds        // for Status
	fetchers []*kafka.Fetcher // but those of workers
	roster   roster           // of the group, while we lead it
	failed   chan error       // the first error that stops the incarnation
	running  sync.WaitGroup
	// settled is closed when all tasks run for the first time: the group has accepted the topology.
	settled  chan struct{}
	settling sync.Once
	// disagree says that another member of the group knows other inputs.
	disagree chan struct{}
}

// runOnce runs one incarnation: nil when ctx has ended and everything is committed and closed.
func (a *App) runOnce(ctx context.Context, dir *store.StateDir) error {
	in := &incarnation{
		app: a, dir: dir, budget: store.NewBudget(a.cfg.StateBytesMax), failed: make(chan error, 1),
		settled: make(chan struct{}), disagree: make(chan struct{}, 1),
	}
	defer in.release()
	if err := in.connect(ctx); err != nil {
		return err
	}
	if err := in.openControl(ctx); err != nil {
		return err
	}
	if err := in.assemble(ctx); err != nil {
		return err
	}
	if err := in.openGlobal(ctx); err != nil {
		return err
	}
	err := in.run(ctx)
	in.closeGlobal(err)
	return err
}

// connect finds the cluster and prepares the topics.
func (in *incarnation) connect(ctx context.Context) error {
	cfg := &in.app.cfg
	conf, err := cfg.security().Sarama()
	if err != nil {
		return err
	}
	if in.client, err = kafka.NewClient(cfg.Brokers, conf); err != nil {
		return err
	}
	in.admin = kafka.NewAdmin(in.client, kafka.AdminConfig{
		TransactionTimeout: cfg.TransactionTimeout, GroupID: cfg.ApplicationID, Suspects: in.written, Logger: cfg.Logger,
	})
	bounded, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	before, err := in.comparePlans(bounded)
	if err == nil { // before anything is made
		in.topics, err = prepareTopics(bounded, cfg, in.app.plan, in.admin, in.app.first.before(before))
	}
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("tidemark: brokers %v do not answer within %s: check Config.Brokers, TLS and SASL: %w",
			cfg.Brokers, cfg.ConnectTimeout, err)
	}
	if err == nil {
		in.app.first.start(in.topics)
	}
	return err
}

// assemble makes workers, group and manager. The producers are initialised before the group is joined: that ends
// transactions which an earlier life of this process left open.
func (in *incarnation) assemble(ctx context.Context) error {
	cfg := &in.app.cfg
	instance := ""
	switch {
	case cfg.GroupInstanceID != "":
		instance = cfg.GroupInstanceID
	case !cfg.DynamicMembership:
		instance = cfg.ApplicationID + "-" + in.dir.ProcessID()
	}
	var err error
	in.group, err = kafka.NewGroup(in.client, kafka.GroupConfig{
		GroupID: cfg.ApplicationID, InstanceID: instance, SessionTimeout: cfg.SessionTimeout,
		RebalanceTimeout: cfg.RebalanceTimeout, HeartbeatInterval: cfg.HeartbeatInterval,
		LeaveOnClose: cfg.LeaveGroupOnClose, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	g, initCtx := errgroup.WithContext(ctx)
	for range in.app.workers.n.Load() {
		t, err := in.newThread() //nolint:contextcheck // a fetcher lives until it is closed
		if err != nil {
			return err
		}
		g.Go(func() error { return t.producer.Init(initCtx) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("tidemark: initialise producers: %w", err)
	}
	if err := in.dismissDeparted(ctx, instance); err != nil {
		cfg.Logger.Warn("cannot look for departed members: their tasks wait for their sessions to end",
			slog.Any("error", err))
	}
	from, err := in.newSnapshots()
	if err != nil {
		return err
	}
	restorer := worker.NewRestorer(worker.RestorerConfig{
		Snapshots: from, Lazy: cfg.Checkpointing.LazyRestore, Spoiled: &in.app.spoiled,
		GroupID: cfg.ApplicationID, Admin: in.admin, Reader: kafka.NewReader(in.client), StateDir: in.dir,
		Task: in.taskConfig, ResetOffset: in.resetOffset, EndTransaction: in.endTransaction, OwnIDs: in.ownIDs,
		ChangelogConfig: func(topic string) map[string]string { return in.topics.configs[topic] },
		Parallel:        cfg.RestoreParallel, Listener: in.restoreListener(), Clock: in.app.clock, Logger: cfg.Logger,
	})
	in.standbys = in.newStandbys(restorer) //nolint:contextcheck // a fetcher lives until it is closed
	var onMembers func(ctx context.Context, workers map[string]int)
	if cfg.ProcessingGuarantee == eos.ExactlyOnceV2 {
		onMembers = in.dismiss
	}
	in.manager = worker.NewManager(worker.ManagerConfig{
		Standbys: in.standbys, Endpoint: cfg.ApplicationServer, Tags: cfg.ClientTags, Rejoin: in.group.Rejoin,
		Placing: worker.Placing{
			StandbyReplicas: cfg.StandbyReplicas, MaxWarmups: cfg.MaxWarmupReplicas, AcceptableLag: cfg.recoveryLag(),
			RackTags: cfg.RackAwareTags,
		},
		ProcessID: in.dir.ProcessID(), Fingerprint: in.app.plan.Fingerprint(), Topics: in.topics.sources(),
		Tasks: in.allTasks, Inputs: func(id record.TaskID) []record.TopicPartition { return in.topics.inputs[id] },
		Workers: in.threads.workers(), Restorer: restorer, StateDir: in.dir,
		OnError: in.fail, OnChange: in.changed, OnLeave: in.leaves, OnMembers: onMembers,
		Listener: cfg.RebalanceListener, OnDisagree: func() { notify(in.disagree) }, Logger: cfg.Logger,
	})
	return nil
}

// newStandbys makes what keeps the state of others' tasks up to date.
func (in *incarnation) newStandbys(restorer *worker.Restorer) *worker.Standbys {
	cfg := &in.app.cfg
	f := kafka.NewFetcher(in.client, kafka.FetcherConfig{
		MaxWait: standbyWait, PartitionBytesMax: standbyBytesMax, Pace: standbyPace, Logger: cfg.Logger,
	})
	in.fetchers = append(in.fetchers, f)
	return worker.NewStandbys(worker.StandbysConfig{
		Restorer: restorer, Fetcher: f, AcceptableLag: cfg.recoveryLag(), Listener: cfg.StandbyListener,
	})
}

// ownIDs are the transactional ids of this instance's workers.
func (in *incarnation) ownIDs() (ids []string) {
	if in.app.cfg.ProcessingGuarantee != eos.ExactlyOnceV2 {
		return nil
	}
	for _, t := range in.threads.all() {
		ids = append(ids, t.producer.TransactionalID())
	}
	return ids
}

func (in *incarnation) fetcherConfig() kafka.FetcherConfig {
	cfg := &in.app.cfg
	return kafka.FetcherConfig{
		PartitionBytesMax: fetchBytesMax, Pace: min(cfg.CommitInterval/10, fetchPaceMax), Logger: cfg.Logger,
	}
}

// endTransaction ends the last transaction of a transactional id: through its worker if it is ours, else by fencing.
func (in *incarnation) endTransaction(ctx context.Context, id string) error {
	for _, t := range in.threads.all() {
		if t.producer.TransactionalID() == id {
			return t.EndTransaction(ctx)
		}
	}
	return in.admin.FenceProducer(ctx, id)
}

// taskConfig is what a task of this incarnation is made from.
func (in *incarnation) taskConfig(id record.TaskID) task.Config {
	tc := in.commonTaskConfig(id)
	tc.Subtopology, tc.Inputs, tc.Global = in.topics.subtopology(id), in.topics.inputs[id], in.globalView
	tc.TimestampExtractor, tc.MaxTaskIdle = in.app.cfg.TimestampExtractor, in.app.cfg.MaxTaskIdle
	if in.checkpoints != nil {
		tc.Channels = in.checkpoints.channels[id.Subtopology]
		tc.Stores.TrackChanges = in.app.cfg.Checkpointing.Incremental
		tc.AlignmentBufferBytes = in.app.cfg.Checkpointing.AlignmentBufferBytes
	}
	return tc
}

// written lists the partitions that this application writes: where a transaction of an earlier life may have stayed
// open.
func (in *incarnation) written() []record.TopicPartition {
	var tps []record.TopicPartition
	add := func(topic string) {
		for p := range in.topics.partitions[topic] {
			tps = append(tps, record.TopicPartition{Topic: topic, Partition: p})
		}
	}
	for _, sub := range in.topics.plan.Subtopologies {
		for _, topic := range sub.SinkTopics {
			add(in.topics.physical(topic))
		}
		for _, s := range sub.Stores {
			if s.Changelogged() {
				add(in.topics.changelog(s.Name))
			}
		}
	}
	return tps
}

func (in *incarnation) allTasks(context.Context) ([]record.TaskID, error) {
	ids := make([]record.TaskID, len(in.topics.tasks))
	for i, t := range in.topics.tasks {
		ids[i] = t.ID
	}
	return ids, nil
}

// resetOffset resolves where an input starts that has no position: as its source or the configuration says. A
// repartition topic starts at its beginning: what it holds has not been consumed. So does a topic or a partition that
// was added while we ran: what is in it came later than anything that latest may leave out.
func (in *incarnation) resetOffset(ctx context.Context, tp record.TopicPartition) (int64, error) {
	policy := in.app.cfg.AutoOffsetReset
	if n := in.topics.sourceOf(tp.Topic); n != nil {
		if n.OffsetReset != processor.ResetDefault {
			policy = n.OffsetReset
		}
		if n.Internal || policy == processor.ResetLatest && in.app.first.added(tp) {
			policy = processor.ResetEarliest
		}
	}
	tps := []record.TopicPartition{tp}
	switch policy {
	case processor.ResetNone:
		return 0, &TopicError{
			Topic: tp.Topic, What: fmt.Sprintf("has no position for partition %d", tp.Partition),
			Hint: "auto.offset.reset is none: commit an offset for the group, or set Config.AutoOffsetReset",
		}
	case processor.ResetLatest:
		m, err := in.admin.EndOffsets(ctx, tps, true)
		return m[tp], err
	default:
		m, err := in.admin.StartOffsets(ctx, tps)
		return m[tp], err
	}
}

// fail stops the incarnation with the first error; later ones are logged.
func (in *incarnation) fail(err error) {
	select {
	case in.failed <- err:
	default:
		in.app.cfg.Logger.Error("while stopping after an error", slog.Any("error", err))
	}
}

// changed keeps the App's state in step with the tasks.
func (in *incarnation) changed() {
	if in.checkpoints != nil {
		in.checkpoints.tasksChanged()
	}
	running, restoring := in.manager.TaskStates()
	if running > 0 && restoring == 0 {
		in.settling.Do(func() { close(in.settled) })
	}
	if restoring == 0 {
		in.app.becomeFrom(Rebalancing, Running)
	} else {
		in.app.becomeFrom(Running, Rebalancing)
	}
}

// leaves is told of tasks before their stores are closed.
func (in *incarnation) leaves(id record.TaskID) {
	if in.checkpoints != nil {
		in.checkpoints.leaves(id)
	}
}

// run starts everything and waits for the end of ctx or the first error; then it takes everything down in order: tasks
// commit and close while the member is still one, then workers end, then the member leaves.
func (in *incarnation) run(ctx context.Context) error {
	a := in.app
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	groupCtx, leave := context.WithCancel(background)
	defer leave()
	if err := in.runThreads(background); err != nil {
		in.fail(err)
	}
	in.running.Go(func() { in.standbys.Run(background) })
	left := make(chan struct{})
	in.running.Go(func() {
		defer close(left)
		if err := in.group.Run(groupCtx, in.manager); err != nil && groupCtx.Err() == nil {
			in.fail(err)
		}
	})
	if in.global != nil {
		in.running.Go(func() {
			if err := in.global.Follow(background); err != nil {
				in.fail(err)
			}
		})
	}
	in.running.Go(func() { in.keepPlan(background) })
	in.running.Go(func() { in.purge(background) })
	if in.checkpoints != nil {
		in.running.Go(func() { in.checkpoints.run(background) })
	}
	in.running.Go(func() { in.watchInputs(background) })
	defer a.setIncarnation(nil)

	var err error
	select {
	case <-ctx.Done():
		a.become(Closing)
		err = in.handOver()
	case err = <-in.failed:
	}
	if err != nil {
		if err = in.blameInputs(background, err); errors.Is(err, errStopped) {
			a.become(Closing)
			err = nil
		}
	}
	in.endThreads()
	closing, cancel := in.closing(background, err, leave)
	defer cancel()
	owned := in.manager.Owned()
	// After an error tasks drop what is not committed: whatever failed would fail again.
	in.manager.Close(closing, err == nil, func() {
		if err == nil && !in.leavesGroup() {
			in.leaveWord(closing, owned)
		}
		leave()
		<-left
	})
	stop()
	in.running.Wait()
	in.abortOpen(background)
	if err == nil {
		select {
		case err = <-in.failed: // the last commit
			if errors.Is(err, errStopped) { // and closed at the same time
				err = nil
			}
		default:
		}
	}
	return err
}

// Fetching: half of Kafka's default for a partition keeps twice as many fetches in as much memory, and a tenth of the
// commit interval is latency that nobody notices.
const (
	fetchBytesMax = 512 << 10
	fetchPaceMax  = 5 * time.Millisecond
	// Nobody waits for what a standby reads: it asks less often, and brings more each time.
	standbyWait     = 500 * time.Millisecond
	standbyPace     = 50 * time.Millisecond
	standbyBytesMax = 128 << 10 // of many partitions
)

// abortTimeout bounds the last requests of an incarnation that ends with a transaction open.
const abortTimeout = 2 * time.Second

// abortOpen ends transactions that were dropped in the middle: until somebody does, read_committed readers of our
// outputs wait for them. It costs nothing when the last commit ended well.
func (in *incarnation) abortOpen(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	var aborts sync.WaitGroup
	for _, t := range in.threads.all() {
		aborts.Go(func() {
			if err := t.producer.Abort(ctx); err != nil {
				in.app.cfg.Logger.Warn("a transaction stays open until its timeout",
					slog.String("transactional_id", t.producer.TransactionalID()), slog.Any("error", err))
			}
		})
	}
	aborts.Wait()
}

// release gives connections back.
func (in *incarnation) release() {
	var errs []error
	for _, f := range in.fetchers {
		errs = append(errs, f.Close())
	}
	for _, t := range in.threads.all() {
		errs = append(errs, t.fetcher.Close(), t.producer.Close())
	}
	if in.client != nil {
		errs = append(errs, in.client.Close())
	}
	if err := errors.Join(errs...); err != nil {
		in.app.cfg.Logger.Warn("closing connections", slog.Any("error", err))
	}
}

// purgeInterval is the period of purge (repartition.purge.interval.ms).
const purgeInterval = 30 * time.Second

// purge deletes repartition records that are consumed: nobody will read them again, and their topics keep all else.
func (in *incarnation) purge(ctx context.Context) {
	names := in.topics.repartitionInputs()
	if len(names) == 0 {
		return
	}
	var last map[record.TopicPartition]int64
	every(ctx, purgeInterval, func() {
		before := in.committedRepartitions(ctx)
		if in.checkpoints != nil {
			// A barrier may arrive before we hear of its checkpoint: what was committed some time ago lies before its cut.
			before, last = last, before
			in.checkpoints.spare(before)
		}
		if len(before) == 0 {
			return
		}
		if err := in.admin.DeleteRecords(ctx, before); err != nil && ctx.Err() == nil {
			in.app.cfg.Logger.Warn("cannot purge repartition topics: they keep growing", slog.Any("error", err))
		}
	})
}

// committedRepartitions returns the committed positions of our tasks in repartition topics; none if a worker cannot be
// asked.
func (in *incarnation) committedRepartitions(ctx context.Context) map[record.TopicPartition]int64 {
	names := in.topics.repartitionInputs()
	committed := make(map[record.TopicPartition]int64)
	if len(names) == 0 {
		return committed
	}
	for _, w := range in.threads.workers() {
		s, err := w.Look(ctx, workerPatience) // what it committed before is never too much
		if err != nil {
			return nil
		}
		for _, t := range s.Tasks {
			for _, i := range t.Inputs {
				if names[i.TopicPartition.Topic] && i.Committed > 0 {
					committed[i.TopicPartition] = i.Committed
				}
			}
		}
	}
	return committed
}

func every(ctx context.Context, interval time.Duration, fn func()) {
	t := clock.System().NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			fn()
		case <-ctx.Done():
			return
		}
	}
}
