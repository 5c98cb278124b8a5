package tidemark

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
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
	clock, told := s.clock, time.Time{}
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
	join := subscribersOf(s.plan, st.now.Name)
	if err := s.refuseCustom(join, from, to); err != nil {
		return err
	}
	place, left := s.placer(st, from, to), s.leftMoves(join, st.was.Name)
	migrate := s.o.Migrate[st.now.Name]
	clocks := store.MergeClocks(from)
	for row, err := range s.reader.Rows(ctx, st.was.Name) {
		if err != nil {
			return err
		}
		raw := record.Raw{Key: row.Key, Value: row.Value, Timestamp: row.Timestamp}
		where, partition, err := place(row.Task, raw)
		if err != nil {
			return s.fail(err.Error(), sameHint)
		}
		if where != store.ByKey {
			if err := clocks.Add(where, row.Task.Partition, raw); err != nil {
				return err
			}
			continue
		}
		clocks.Filled(row.Task.Partition)
		if left != nil {
			if raw.Value, err = topology.MoveSubscriber(raw.Key, raw.Value, left.partition); err != nil {
				return s.fail(fmt.Sprintf("store %q: %v", st.now.Name, err), sameHint)
			}
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
	for raw := range clocks.All() {
		for p := range to {
			if err := w.add(record.TopicPartition{Topic: changelog, Partition: p}, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeInFlight writes what was between sub-topologies to the topics where it was.
func (s *starting) writeInFlight(ctx context.Context, w *startWriter) error {
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
		raw := rec.Raw
		to, err := s.moveInFlight(logical, &raw, rec.Partition, s.had[rec.Topic], s.topics.partitions[topic])
		if err != nil {
			return err
		}
		if err := w.add(record.TopicPartition{Topic: topic, Partition: to}, raw); err != nil {
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
