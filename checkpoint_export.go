package tidemark

import (
	"context"
	"errors"
	"iter"
	"log/slog"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// openExporter makes what stores the snapshots of this instance's tasks.
func (m *checkpoints) openExporter() (err error) {
	m.exporter, err = checkpointing.NewExporter(checkpointing.ExporterConfig{
		Config: m.cfg.Checkpointing, Logger: m.logger, Clock: m.in.app.clock, ForgetChanges: m.forgetChanges,
		InFlight: m.inFlight,
	})
	return err
}

// export stores a cut in the background, and acknowledges or declines the checkpoint then.
func (m *checkpoints) export(t checkpointing.Trigger, c checkpointing.Cut) {
	m.exporter.Export(t, c, func(s checkpointing.TaskSnapshot, err error) {
		a := checkpointing.Ack{ID: t.ID, Task: c.Task.String(), Snapshot: &s}
		if err != nil {
			a.Snapshot, a.Declined = nil, err.Error()
			a.NotRunning = errors.Is(err, checkpointing.ErrMoved)
		}
		m.acks.add(a)
	})
}

// leaves ends what is stored of a task before its stores are closed.
func (m *checkpoints) leaves(id record.TaskID) { m.exporter.Forget(id) }

// forgetChanges tells a task which changes no snapshot will be asked for any more.
func (m *checkpoints) forgetChanges(id record.TaskID, upTo uint64) {
	w, ok := m.in.manager.WorkerOf(id)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.ConnectTimeout)
	defer cancel()
	err := w.Read(ctx, id, func(t *task.Task) error {
		t.Stores().ForgetChanges(upTo)
		return nil
	})
	if err != nil { // it has left: its changes go with it
		m.logger.Debug("changes are not forgotten yet", slog.String("task", id.String()), slog.Any("error", err))
	}
}

// inFlight reads what one task has sent in a range of a repartition topic.
func (m *checkpoints) inFlight(ctx context.Context, r checkpointing.Range) iter.Seq2[record.Raw, error] {
	return readRange(ctx, m.in.client, r)
}

func readRange(ctx context.Context, client *kafka.Client, r checkpointing.Range) iter.Seq2[record.Raw, error] {
	return func(yield func(record.Raw, error) bool) {
		stopped := errors.New("stopped")
		tp := record.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		read := func(records []record.Raw, _ int64) error {
			for _, raw := range records {
				origin, barrier, rest := checkpointing.SplitHeaders(raw.Headers)
				if barrier != nil || origin == nil {
					continue
				}
				from, err := checkpointing.ParseTask(origin)
				if err != nil {
					return err
				}
				raw.Headers = rest
				if from == r.From && !yield(raw, nil) {
					return stopped
				}
			}
			return nil
		}
		if err := kafka.NewReader(client).Read(ctx, tp, r.Start, r.End, read); err != nil && !errors.Is(err, stopped) {
			yield(record.Raw{}, err)
		}
	}
}

// publish stores the manifest of a checkpoint or savepoint.
func (m *checkpoints) publish(ctx context.Context, p checkpointing.Publish) error {
	to := m.cfg.Checkpointing.Storage
	if p.Trigger.Savepoint {
		to = m.cfg.Checkpointing.SavepointStorage
	}
	return checkpointing.PublishManifest(ctx, to, p.Manifest(m.application()))
}

// clean deletes what no checkpoint needs any more.
func (m *checkpoints) clean(ctx context.Context, c checkpointing.Clean) error {
	cleaner := checkpointing.Cleaner{
		ApplicationID: m.cfg.ApplicationID, Checkpoints: m.cfg.Checkpointing.Storage,
		Savepoints: m.cfg.Checkpointing.SavepointStorage, Logger: m.logger,
	}
	_, err := cleaner.Clean(ctx, c)
	return err
}

// stored looks what the storages hold.
func (m *checkpoints) stored(ctx context.Context) (checkpointing.Stored, error) {
	c := &m.cfg.Checkpointing
	impatient := func(s storage.Storage) storage.Storage {
		if s == nil {
			return nil
		}
		return storage.LimitStalls(s, stallMax(c)) // who waits for it does not hear that another coordinates by now
	}
	return checkpointing.ScanStored(ctx, m.cfg.ApplicationID, impatient(c.Storage), impatient(c.SavepointStorage))
}

// application is what a manifest says of this application.
func (m *checkpoints) application() checkpointing.Application {
	plan, topics := m.in.topics.plan, m.in.topics
	app := checkpointing.Application{
		ID: m.cfg.ApplicationID, Partitions: make(map[string]int32), Topology: topologyOf(plan),
	}
	for _, sub := range plan.Subtopologies {
		for _, topic := range sub.SourceTopics {
			if !topics.internal(topic) {
				app.Partitions[topic] = topics.readable(topic)
			}
		}
		for _, st := range sub.Stores {
			info := storeInfo(st, sub.ID, plan)
			if st.Changelogged() {
				info.Changelog = topics.changelog(st.Name)
			}
			app.Stores = append(app.Stores, info)
		}
	}
	return app
}

// snapshotType is the type of a store as snapshots name it.
func snapshotType(s *processor.StoreSpec) string {
	if s.Type == store.TypeKeyValue && s.TTL != (store.TTL{}) {
		return store.TypeTTLKeyValue
	}
	return s.Type
}
