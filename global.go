package tidemark

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// openGlobal fills the global stores, before the group is joined: no task runs without them.
func (in *incarnation) openGlobal(ctx context.Context) error {
	sub := in.app.plan.GlobalSubtopology()
	if sub == nil {
		return nil
	}
	cfg := &in.app.cfg
	f := kafka.NewFetcher(in.client, in.fetcherConfig()) //nolint:contextcheck // a fetcher lives until it is closed
	in.fetchers = append(in.fetchers, f)
	tc := in.commonTaskConfig(record.GlobalTaskID()) //nolint:contextcheck // what it looks up outlives the start
	tc.Subtopology, tc.Inputs = sub, in.topics.globalInputs()
	var err error
	in.global, err = worker.OpenGlobal(ctx, worker.GlobalConfig{
		Stores: in.app.plan.Globals, Task: tc, Fetcher: f, Admin: in.admin, StateDir: in.dir,
		TopicConfig: func(topic string) map[string]string { return in.topics.configs[topic] },
		Listener:    cfg.RestoreListener, Clock: in.app.clock, Logger: cfg.Logger,
	})
	return err
}

// globalView makes a view of a global store for a task.
func (in *incarnation) globalView(name string) (store.Store, bool, error) {
	if in.global == nil {
		return nil, false, nil
	}
	return in.global.View(name)
}

// closeGlobal closes the global stores, which nothing reads or fills any more. failed is the error that ended the
// incarnation.
func (in *incarnation) closeGlobal(failed error) {
	if in.global == nil {
		return
	}
	in.reading.Lock() // readers of the App are done, and no more come
	defer in.reading.Unlock()
	in.globalClosed = true
	_, corrupt := errors.AsType[*store.CorruptError](failed) // a task may have found it, through its view
	if err := in.global.Close(!corrupt); err != nil {
		in.app.cfg.Logger.Error("closing the global stores", slog.Any("error", err))
	}
}

// commonTaskConfig is what all tasks of this incarnation have in common, the global one included.
func (in *incarnation) commonTaskConfig(id record.TaskID) task.Config {
	cfg := &in.app.cfg
	return task.Config{
		ID: id, ApplicationID: cfg.ApplicationID, Physical: in.topics.physical, Changelog: in.topics.changelog,
		Partitions: func(topic string) (int32, error) {
			ctx, cancel := context.WithTimeout(context.Background(), cfg.ConnectTimeout)
			defer cancel()
			return in.topics.partitionsOf(ctx, topic)
		},
		Handlers: task.Handlers{
			Deserialization: cfg.OnDeserializationError, Processing: cfg.OnProcessingError, Production: cfg.OnProductionError,
		},
		Logger: cfg.Logger,
		Stores: store.SetConfig{
			Budget: in.budget, CachingEnabled: cfg.CacheBytesMax > 0, FlushInterval: cfg.FlushInterval,
			Logger: cfg.Logger, Clock: in.app.clock.NowMs,
		},
	}
}
