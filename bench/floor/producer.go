package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	transactionTimeout = time.Minute
	produceTimeoutMs   = 30_000
	retryEvery         = time.Millisecond
	retriesMax         = 30_000
)

// producer is a transactional producer of whole epochs. Owned by one goroutine at a time.
type producer struct {
	plan      plan
	id        string
	conn      *sarama.Broker
	producer  int64
	epoch     int16
	sequences map[string]map[int32]int32
}

func newProducer(p plan, id string) (*producer, error) {
	conn, err := dial(p.addr)
	if err != nil {
		return nil, err
	}
	t := &producer{plan: p, id: id, conn: conn, sequences: map[string]map[int32]int32{p.out: {}, p.changelog: {}}}
	err = retry("init producer id", func() (sarama.KError, error) {
		r, err := conn.InitProducerID(&sarama.InitProducerIDRequest{
			Version: 3, TransactionalID: &id, TransactionTimeout: transactionTimeout, ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil {
			return 0, err
		}
		t.producer, t.epoch = r.ProducerID, r.ProducerEpoch
		return r.Err, nil
	})
	return t, err
}

// commit is the protocol, once.
func (t *producer) commit(e *epoch) error {
	var ids []int32
	for id := range e.records {
		ids = append(ids, id)
	}
	if err := t.addPartitions(ids); err != nil {
		return err
	}
	produced := make(chan error, 1)
	go func() { produced <- t.produce(e) }()
	if err := errors.Join(<-produced, t.sendOffsets(e)); err != nil {
		return err
	}
	return retry("end transaction", func() (sarama.KError, error) {
		r, err := t.conn.EndTxn(&sarama.EndTxnRequest{
			Version: 2, TransactionalID: t.id, ProducerID: t.producer, ProducerEpoch: t.epoch, TransactionResult: true,
		})
		if err != nil {
			return 0, err
		}
		return r.Err, nil
	})
}

func (t *producer) addPartitions(ids []int32) error {
	return retry("add partitions", func() (sarama.KError, error) {
		r, err := t.conn.AddPartitionsToTxn(&sarama.AddPartitionsToTxnRequest{
			Version: 2, TransactionalID: t.id, ProducerID: t.producer, ProducerEpoch: t.epoch,
			TopicPartitions: map[string][]int32{t.plan.out: ids, t.plan.changelog: ids},
		})
		if err != nil {
			return 0, err
		}
		for _, partitions := range r.Errors {
			for _, p := range partitions {
				if p.Err != sarama.ErrNoError {
					return p.Err, nil
				}
			}
		}
		return sarama.ErrNoError, nil
	})
}

func (t *producer) sendOffsets(e *epoch) error {
	err := retry("add offsets", func() (sarama.KError, error) {
		r, err := t.conn.AddOffsetsToTxn(&sarama.AddOffsetsToTxnRequest{
			Version: 2, TransactionalID: t.id, ProducerID: t.producer, ProducerEpoch: t.epoch, GroupID: t.plan.group,
		})
		if err != nil {
			return 0, err
		}
		return r.Err, nil
	})
	if err != nil {
		return err
	}
	var offsets []*sarama.PartitionOffsetMetadata
	for id, offset := range e.offsets {
		offsets = append(offsets, &sarama.PartitionOffsetMetadata{Partition: id, Offset: offset, LeaderEpoch: -1})
	}
	return retry("commit offsets", func() (sarama.KError, error) {
		r, err := t.conn.TxnOffsetCommit(&sarama.TxnOffsetCommitRequest{
			Version: 2, TransactionalID: t.id, GroupID: t.plan.group, ProducerID: t.producer, ProducerEpoch: t.epoch,
			Topics: map[string][]*sarama.PartitionOffsetMetadata{t.plan.in: offsets},
		})
		if err != nil {
			return 0, err
		}
		for _, partitions := range r.Topics {
			for _, p := range partitions {
				if p.Err != sarama.ErrNoError {
					return p.Err, nil
				}
			}
		}
		return sarama.ErrNoError, nil
	})
}

// produce sends the epoch in as few requests as the batch limit allows, and waits for all of them.
func (t *producer) produce(e *epoch) error {
	var (
		mu     sync.Mutex
		errs   []error
		waiter sync.WaitGroup
	)
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	for from, more := 0, true; more; from += recordsPerRequest {
		req := &sarama.ProduceRequest{
			Version: 7, TransactionalID: &t.id, RequiredAcks: sarama.WaitForAll, Timeout: produceTimeoutMs,
		}
		more = false
		for id, all := range e.records {
			if from >= len(all) {
				continue
			}
			records := all[from:min(len(all), from+recordsPerRequest)]
			more = more || from+recordsPerRequest < len(all)
			refs := make([]*sarama.Record, len(records))
			for i := range records {
				records[i].OffsetDelta = int64(i)
				refs[i] = &records[i]
			}
			for _, topic := range []string{t.plan.out, t.plan.changelog} {
				req.AddBatch(topic, id, &sarama.RecordBatch{
					Version: 2, PartitionLeaderEpoch: -1, LastOffsetDelta: int32(len(refs) - 1),
					FirstTimestamp: e.stamps[id], MaxTimestamp: e.stamps[id],
					ProducerID: t.producer, ProducerEpoch: t.epoch, FirstSequence: t.sequences[topic][id],
					IsTransactional: true, Records: refs,
				})
				t.sequences[topic][id] += int32(len(refs))
			}
		}
		waiter.Add(1)
		err := t.conn.AsyncProduce(req, func(r *sarama.ProduceResponse, err error) {
			defer waiter.Done()
			if err != nil {
				fail(fmt.Errorf("produce: %w", err))
				return
			}
			for topic, partitions := range r.Blocks {
				for id, block := range partitions {
					if block.Err != sarama.ErrNoError {
						fail(fmt.Errorf("produce to %s-%d: %w", topic, id, block.Err))
					}
				}
			}
		})
		if err != nil {
			waiter.Done()
			fail(fmt.Errorf("produce: %w", err))
			break
		}
	}
	waiter.Wait()
	return errors.Join(errs...)
}

// retry repeats a request while the broker answers that it is not ready: its coordinator is loading, or it still writes
// the markers of the last transaction.
func retry(what string, request func() (sarama.KError, error)) error {
	for range retriesMax {
		code, err := request()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case code == sarama.ErrNoError:
			return nil
		case code == sarama.ErrConcurrentTransactions, code == sarama.ErrConsumerCoordinatorNotAvailable,
			code == sarama.ErrOffsetsLoadInProgress, code == sarama.ErrNotCoordinatorForConsumer:
			time.Sleep(retryEvery)
		default:
			return fmt.Errorf("%s: %w", what, code)
		}
	}
	return fmt.Errorf("%s: the broker is not ready after %s", what, retriesMax*retryEvery)
}
