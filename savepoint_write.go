package tidemark

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// startTimeout is how long the transaction that writes a savepoint may take: the most that brokers allow by default
// (transaction.max.timeout.ms).
const startTimeout = 15 * time.Minute

// startBatchBytes is how much is sent at once.
const startBatchBytes = 8 << 20

// write writes everything in one transaction.
func (s *starting) write(ctx context.Context) (err error) {
	offsets, err := s.offsets(ctx)
	if err != nil {
		return err
	}
	codec, err := kafka.ParseCompression(s.cfg.Compression)
	if err != nil {
		return err
	}
	p, err := kafka.NewProducer(s.client, kafka.ProducerConfig{
		TransactionalID: s.cfg.ApplicationID + "-start", GroupID: s.cfg.ApplicationID, TransactionTimeout: startTimeout,
		Compression: codec, MaxRequestBytes: s.cfg.MaxRequestBytes, DeliveryTimeout: 2 * time.Minute,
		RequestTimeout: 30 * time.Second, Suspects: func() []record.TopicPartition { return nil }, Logger: s.cfg.Logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Init(ctx); err != nil {
		return err
	}
	w := &startWriter{ctx: ctx, producer: p, batches: make(map[record.TopicPartition]*record.Batch)}
	if err := p.Begin(ctx, nil, true); err != nil {
		return err
	}
	err = s.writeAll(ctx, w)
	if err == nil {
		err = p.SendOffsets(ctx, eos.Member{GroupID: s.cfg.ApplicationID, Generation: -1}, offsets)
	}
	if err == nil {
		err = p.Commit(ctx)
	}
	if err != nil {
		aborting, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		return errors.Join(fmt.Errorf("tidemark: start from %s: nothing is written: %w", s.location, err), p.Abort(aborting))
	}
	return nil
}

func (s *starting) writeAll(ctx context.Context, w *startWriter) error {
	progress := s.progress()
	s.report.Rows = make(map[string]int64)
	for i := range s.stores {
		if err := s.writeStore(ctx, w, &s.stores[i], progress); err != nil {
			return err
		}
	}
	if err := s.writeInFlight(ctx, w); err != nil {
		return err
	}
	return w.flush()
}

// progress returns what tells the user of rows.
func (s *starting) progress() func(store string) {
	var p StartProgress
	for _, st := range s.stores {
		p.Total += s.reader.StateBytes(st.was.Name)
	}
	s.reader.OnRead(func(n int) { p.Bytes += int64(n) })
	clock, told := s.app.clock, time.Time{}
	began := clock.Now()
	return func(storeName string) {
		p.Rows++
		if s.o.OnProgress == nil || p.Rows%1024 != 0 || clock.Since(told) < 100*time.Millisecond {
			return
		}
		told = clock.Now()
		took := told.Sub(began)
		p.Store, p.RecordsPerSecond = storeName, float64(p.Rows)/took.Seconds()
		if p.Bytes > 0 {
			p.Remaining = time.Duration(float64(took) / float64(p.Bytes) * float64(max(0, p.Total-p.Bytes)))
		}
		s.o.OnProgress(p)
	}
}

// writeStore writes the rows of a store to its changelog.
func (s *starting) writeStore(ctx context.Context, w *startWriter, st *restoredStore, progress func(string)) error {
	changelog := s.topics.changelog(st.now.Name)
	to := s.topics.partitions[changelog]
	from := s.manifest.TasksOf(st.was.Subtopology)
	place, done, err := s.placer(ctx, st, from, to)
	if err != nil {
		return err
	}
	defer done()
	migrate := s.o.Migrate[st.now.Name]
	clocks := newClocks()
	for row, err := range s.reader.Rows(ctx, st.was.Name) {
		if err != nil {
			return err
		}
		raw := record.Raw{Key: row.Key, Value: row.Value, Timestamp: row.Timestamp}
		where, partition, err := place(row.Task, raw)
		if err != nil {
			return s.fail(err.Error(), "restore with as many partitions as before, or leave the store out")
		}
		if where != store.ByKey {
			if err := clocks.add(where, raw); err != nil {
				return err
			}
			continue
		}
		if migrate != nil {
			if raw.Key, raw.Value, err = migrate(raw.Key, raw.Value); err != nil {
				return fmt.Errorf("tidemark: migrate a row of store %q: %w", st.now.Name, err)
			}
			if raw.Value == nil && row.Value != nil {
				continue
			}
		}
		tp := record.TopicPartition{Topic: changelog, Partition: partition}
		if err := w.add(tp, raw); err != nil {
			return err
		}
		s.report.Rows[st.now.Name]++
		progress(st.now.Name)
	}
	for raw := range clocks.all() {
		for p := range to {
			if err := w.add(record.TopicPartition{Topic: changelog, Partition: p}, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// placer returns what tells the partition of a row. With as many partitions as before each row stays where it is.
func (s *starting) placer(ctx context.Context, st *restoredStore, from, to int32) (
	place func(task record.TaskID, raw record.Raw) (store.Placement, int32, error), done func(), err error,
) {
	if from == to {
		return func(task record.TaskID, _ record.Raw) (store.Placement, int32, error) {
			return store.ByKey, task.Partition, nil
		}, func() {}, nil
	}
	if why := bound(st.now); why != "" {
		return nil, nil, s.fail(fmt.Sprintf("store %q has %s, and the number of partitions changes from %d to %d",
			st.now.Name, why, from, to), "restore with as many partitions as before, or leave the store out")
	}
	spec := st.now.Spec
	spec.InMemory = true
	set, err := store.OpenSet(ctx, store.SetConfig{Specs: []store.Spec{spec}, Logger: s.cfg.Logger})
	if err != nil {
		return nil, nil, err
	}
	return func(_ record.TaskID, raw record.Raw) (store.Placement, int32, error) {
		where, key, err := set.PartitionKey(spec.Name, raw)
		if err != nil || where != store.ByKey {
			return where, 0, err
		}
		return where, processor.DefaultPartition(key, to), nil
	}, func() { _ = set.Close(false) }, nil // it is empty
}

// bound says why the rows of a store cannot go to other partitions, "" if they can.
func bound(st *processor.StoreSpec) string {
	windows := strings.Contains(st.KeySerde, "indowedSerde") && st.Type != store.TypeWindow && st.Type != store.TypeSession
	switch {
	case st.PartitionKey != nil:
		return "the subscriptions of a foreign-key join, which name partitions"
	case windows:
		return "keys with windows, of which the window is not what chose the partition"
	}
	return ""
}

// clocks are rows that belong to every partition: of those with the same key one counts.
type clocks struct {
	rows map[string]record.Raw
}

func newClocks() *clocks { return &clocks{rows: make(map[string]record.Raw)} }

func (c *clocks) add(where store.Placement, raw record.Raw) error {
	if where == store.Nowhere {
		return nil
	}
	value, err := store.ClockValue(raw)
	if err != nil {
		return err
	}
	raw.Key, raw.Value = slices.Clone(raw.Key), slices.Clone(raw.Value)
	have, ok := c.rows[string(raw.Key)]
	if !ok {
		c.rows[string(raw.Key)] = raw
		return nil
	}
	other, err := store.ClockValue(have)
	if err != nil {
		return err
	}
	const never = -1
	if where == store.GreatestEverywhere && value > other ||
		where == store.LeastEverywhere && value != never && (other == never || value < other) {
		c.rows[string(raw.Key)] = raw
	}
	return nil
}

func (c *clocks) all() iter.Seq[record.Raw] {
	return func(yield func(record.Raw) bool) {
		for _, key := range slices.Sorted(maps.Keys(c.rows)) {
			if !yield(c.rows[key]) {
				return
			}
		}
	}
}

// writeInFlight writes what was between sub-topologies to the topics where it was.
func (s *starting) writeInFlight(ctx context.Context, w *startWriter) error {
	had := s.partitionsBefore()
	for rec, err := range s.inFlight(ctx) {
		if err != nil {
			return err
		}
		logical, ok := s.logicalOf(rec.Topic)
		if !ok {
			if s.o.AllowNonRestoredState {
				continue
			}
			return s.fail(fmt.Sprintf("records were in flight in %s, which has no counterpart in the topology", rec.Topic),
				"make the savepoint when nothing is in flight, or drop them with AllowNonRestoredState")
		}
		topic := s.topics.physical(logical)
		before, now := had[rec.Topic], s.topics.partitions[topic]
		tp := record.TopicPartition{Topic: topic, Partition: rec.Partition}
		switch {
		case before == now:
		case foreignKeyTopic(logical):
			return s.fail(
				fmt.Sprintf("messages of a foreign-key join were in flight in %s, and they name partitions", rec.Topic),
				"restore with as many partitions as before, or make the savepoint when nothing is in flight")
		case rec.Key == nil:
			tp.Partition = int32(rec.Offset % int64(now))
		default:
			tp.Partition = processor.DefaultPartition(rec.Key, now)
		}
		if err := w.add(tp, rec.Raw); err != nil {
			return err
		}
		s.report.InFlight++
	}
	return nil
}

// startWriter collects records and sends them in large batches.
type startWriter struct {
	ctx      context.Context //nolint:containedctx // of one call of StartFrom
	producer *kafka.Producer
	batches  map[record.TopicPartition]*record.Batch
	bytes    int
}

func (w *startWriter) add(tp record.TopicPartition, raw record.Raw) error {
	b := w.batches[tp]
	if b == nil {
		b = &record.Batch{TopicPartition: tp}
		w.batches[tp] = b
	}
	b.Append(raw.Key, raw.Value, raw.Timestamp, raw.Headers)
	if w.bytes += len(raw.Key) + len(raw.Value) + recordOverheadBytes; w.bytes < startBatchBytes {
		return nil
	}
	return w.flush()
}

const recordOverheadBytes = 40

func (w *startWriter) flush() error {
	batches := slices.Collect(maps.Values(w.batches))
	_, err := w.producer.Send(w.ctx, batches)
	for _, b := range batches {
		b.Reset()
	}
	w.bytes = 0
	return err
}

// inFlight yields the records in flight: a savepoint has them, those of a checkpoint are still in their topics.
func (s *starting) inFlight(ctx context.Context) iter.Seq2[checkpointing.InFlightRecord, error] {
	if s.manifest.Kind == checkpointing.KindSavepoint {
		return s.reader.InFlight(ctx)
	}
	return func(yield func(checkpointing.InFlightRecord, error) bool) {
		for _, t := range s.manifest.Tasks {
			for _, r := range t.InFlight {
				for raw, err := range readRange(ctx, s.client, r) {
					rec := checkpointing.InFlightRecord{Topic: r.Topic, Partition: r.Partition, From: r.From, Raw: raw}
					if !yield(rec, err) || err != nil {
						return
					}
				}
			}
		}
	}
}
