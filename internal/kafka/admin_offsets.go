package kafka

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

// StartOffsets implements [worker.Admin].
func (a *Admin) StartOffsets(ctx context.Context, tps []record.TopicPartition) (
	map[record.TopicPartition]int64, error,
) {
	return a.listOffsets(ctx, tps, sarama.OffsetOldest, sarama.ReadUncommitted)
}

// EndOffsets implements [worker.Admin].
func (a *Admin) EndOffsets(ctx context.Context, tps []record.TopicPartition, committed bool) (
	map[record.TopicPartition]int64, error,
) {
	isolation := sarama.ReadUncommitted
	if committed {
		isolation = sarama.ReadCommitted
	}
	return a.listOffsets(ctx, tps, sarama.OffsetNewest, isolation)
}

func (a *Admin) listOffsets(
	ctx context.Context, tps []record.TopicPartition, at int64, isolation sarama.IsolationLevel,
) (map[record.TopicPartition]int64, error) {
	offsets := make(map[record.TopicPartition]int64, len(tps))
	err := a.perLeader(ctx, tps, func(broker int32, ask []record.TopicPartition) (map[record.TopicPartition]error, error) {
		req := sarama.NewOffsetRequest(a.client.conf.Version)
		req.IsolationLevel = isolation
		for _, tp := range ask {
			req.AddBlock(tp.Topic, tp.Partition, at, 1)
		}
		res, err := callBroker(ctx, a.conns, broker, (*sarama.Broker).GetAvailableOffsets, req)
		if err != nil {
			return nil, err
		}
		failed := make(map[record.TopicPartition]error)
		for _, tp := range ask {
			switch b := res.GetBlock(tp.Topic, tp.Partition); {
			case b == nil:
				failed[tp] = errUnknownInternal
			case b.Err != sarama.ErrNoError:
				failed[tp] = b.Err
			default:
				offsets[tp] = b.Offset
			}
		}
		return failed, nil
	})
	if err != nil {
		return nil, adminError("list offsets", "DESCRIBE on the topic", err)
	}
	return offsets, nil
}

// DeleteRecords implements [worker.Admin].
func (a *Admin) DeleteRecords(ctx context.Context, before map[record.TopicPartition]int64) error {
	tps := make([]record.TopicPartition, 0, len(before))
	for tp := range before {
		tps = append(tps, tp)
	}
	err := a.perLeader(ctx, tps, func(broker int32, ask []record.TopicPartition) (map[record.TopicPartition]error, error) {
		req := &sarama.DeleteRecordsRequest{
			Version: 2, Topics: make(map[string]*sarama.DeleteRecordsRequestTopic), Timeout: a.cfg.RequestTimeout,
		}
		for _, tp := range ask {
			t := req.Topics[tp.Topic]
			if t == nil {
				t = &sarama.DeleteRecordsRequestTopic{PartitionOffsets: make(map[int32]int64)}
				req.Topics[tp.Topic] = t
			}
			t.PartitionOffsets[tp.Partition] = before[tp]
		}
		res, err := callBroker(ctx, a.conns, broker, (*sarama.Broker).DeleteRecords, req)
		if err != nil {
			return nil, err
		}
		failed := make(map[record.TopicPartition]error)
		for _, tp := range ask {
			var p *sarama.DeleteRecordsResponsePartition
			if t := res.Topics[tp.Topic]; t != nil {
				p = t.Partitions[tp.Partition]
			}
			switch {
			case p == nil:
				failed[tp] = errUnknownInternal
			case p.Err == sarama.ErrOffsetOutOfRange:
				failed[tp] = fmt.Errorf("offset %d lies beyond the end: %w", before[tp], p.Err)
			case p.Err != sarama.ErrNoError:
				failed[tp] = p.Err
			}
		}
		return failed, nil
	})
	if err != nil {
		return adminError("delete records", "DELETE on the topic", err)
	}
	return nil
}

// perLeader asks each leader about its partitions, and again about those that failed in passing, until ctx ends.
func (a *Admin) perLeader(ctx context.Context, tps []record.TopicPartition,
	ask func(broker int32, tps []record.TopicPartition) (map[record.TopicPartition]error, error),
) error {
	open := tps
	return retry(ctx, defaultBackoff(), func() error {
		byLeader := make(map[int32][]record.TopicPartition)
		var again []record.TopicPartition
		var last error
		note := func(tp record.TopicPartition, err error) error {
			if !retriable(err) {
				return fmt.Errorf("%s: %w", tp, err)
			}
			if staleLeader(err) {
				a.client.forgetLeader(tp)
			}
			again, last = append(again, tp), fmt.Errorf("%s: %w", tp, err)
			return nil
		}
		for _, tp := range open {
			leader, err := a.client.leader(ctx, tp)
			if err != nil {
				if err := note(tp, err); err != nil {
					return err
				}
				continue
			}
			byLeader[leader] = append(byLeader[leader], tp)
		}
		for broker, part := range byLeader {
			failed, err := ask(broker, part)
			for _, tp := range part {
				if e := failed[tp]; e != nil || err != nil {
					if e == nil {
						e = err
					}
					if e := note(tp, e); e != nil {
						return e
					}
				}
			}
		}
		open = again
		return last
	})
}
