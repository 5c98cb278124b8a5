package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// Lost markers. When a transaction ends, its coordinator writes a marker to every partition of it. Kafka 4.3 skips a
// partition that has no leader at that moment: the look-up of the leader's address answers "none", which the
// coordinator takes for a deleted topic ("these partitions are likely deleted already and hence can be skipped" in its
// log). That happens when a broker is killed while a transaction is prepared and the partition has no other replica.
// The coordinator then calls the transaction complete, but in that partition it is open for ever: read_committed
// readers stop there, and the restore of a changelog never ends. Worse, the next marker of the same producer decides
// over those records too, be it a commit or an abort.
//
// So Init mends it, before anything else is sent. It looks at what the coordinator knew of the last transaction before
// it initialised the id, and when a partition has a transaction of ours open although the coordinator has none, an
// empty transaction over these partitions with the same end writes the marker that is missing.

// fate is how a transaction ended.
type fate int

const (
	fateUnknown fate = iota
	fateAborted
	fateCommitted
)

func (f fate) String() string {
	return [...]string{"unknown", "aborted", "committed"}[f]
}

// fateOf reads the coordinator's state of a transaction (DescribeTransactions), as it will be once the id is
// initialised.
func fateOf(state string) fate {
	switch state {
	case "PrepareCommit", "CompleteCommit":
		return fateCommitted
	case "Ongoing", "PrepareAbort", "CompleteAbort", "PrepareEpochFence":
		return fateAborted // Init aborts what is ongoing
	}
	return fateUnknown // Empty, Dead: it ended before, and somebody else has initialised the id since
}

// observeFate asks the coordinator for the state of the id's last transaction. Best effort: before Kafka 3.0, or
// without permission, nothing is known, and nothing is mended.
func (p *Producer) observeFate(ctx context.Context) {
	if p.mending {
		return // the state is that of our own mending transaction
	}
	broker, err := p.client.coordinator(ctx, sarama.CoordinatorTransaction, p.cfg.TransactionalID)
	if err != nil {
		return
	}
	res, err := callBroker(ctx, p.control, broker, (*sarama.Broker).DescribeTransactions,
		&sarama.DescribeTransactionsRequest{TransactionalIDs: []string{p.cfg.TransactionalID}})
	if err != nil {
		return
	}
	for _, s := range res.TransactionStates {
		if f := fateOf(s.TransactionState); s.ErrorCode == sarama.ErrNoError && f != fateUnknown {
			p.fate = f
		}
	}
}

// markersWait is how long a marker may take from the coordinator's answer to the partition before it counts as lost
// again.
const markersWait = 2 * time.Second

// mendMarkers writes the markers that the coordinator has lost. Only after initProducerID: no transaction of ours is
// open by rights then.
func (p *Producer) mendMarkers(ctx context.Context, suspects []record.TopicPartition) error {
	for {
		open, offsets, err := p.openPartitions(ctx, suspects)
		if err != nil || len(open) == 0 && !offsets {
			p.mending, p.fate = false, fateUnknown
			return err
		}
		if p.fate == fateUnknown {
			return fmt.Errorf("kafka: the last transaction of %q is still open in %v, but its coordinator has ended it and "+
				"forgotten how: %w: end it by hand with kafka-transactions abort, or commit if its offsets were committed",
				p.cfg.TransactionalID, open, eos.ErrFatal)
		}
		p.cfg.Logger.Error("the coordinator has lost transaction markers: writing them again",
			slog.String("transactional_id", p.cfg.TransactionalID), slog.String("outcome", p.fate.String()),
			slog.Any("partitions", open), slog.Bool("offsets", offsets))
		p.mending = true
		if err := p.endAgain(ctx, open, offsets); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, markersWait)
		b := defaultBackoff()
		for b.wait(wait) == nil {
			if open, offsets, err = p.openPartitions(ctx, suspects); err != nil || len(open) == 0 && !offsets {
				break
			}
		}
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("kafka: markers of %q are still missing in %v: %w", p.cfg.TransactionalID, open,
				context.Cause(ctx))
		}
	}
}

// endAgain ends an empty transaction over the partitions the way the last one ended.
func (p *Producer) endAgain(ctx context.Context, open []record.TopicPartition, offsets bool) error {
	p.become(stateReady)
	if err := p.Begin(ctx, open, offsets); err != nil {
		return err
	}
	p.become(stateEnding)
	if _, err := p.endTxn(ctx, p.fate == fateCommitted); err != nil {
		p.worsen(stateLost)
		return fmt.Errorf("kafka: write lost markers of %q: %w: %w", p.cfg.TransactionalID, eos.ErrAborted, err)
	}
	return p.ended()
}

// openPartitions returns the partitions among the suspects in which our producer id has a transaction open, and whether
// the group's offsets have.
func (p *Producer) openPartitions(ctx context.Context, suspects []record.TopicPartition) (
	open []record.TopicPartition, offsets bool, err error,
) {
	group, known := p.offsetsPartition(ctx)
	if known {
		suspects = append(slices.Clone(suspects), group)
	}
	byLeader := make(map[int32]map[string][]int32)
	for _, tp := range suspects {
		var leader int32
		err := retry(ctx, defaultBackoff(), func() (err error) {
			leader, err = p.client.leader(ctx, tp)
			if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
				leader, err = -1, nil // deleted, or not created yet
			}
			return err
		})
		if err != nil {
			return nil, false, fmt.Errorf("kafka: look for open transactions of %q: %w", p.cfg.TransactionalID, err)
		}
		if leader >= 0 {
			if byLeader[leader] == nil {
				byLeader[leader] = make(map[string][]int32)
			}
			byLeader[leader][tp.Topic] = append(byLeader[leader][tp.Topic], tp.Partition)
		}
	}
	for leader, topics := range byLeader {
		found, err := p.openAt(ctx, leader, topics)
		if err != nil {
			return nil, false, err
		}
		for _, tp := range found {
			if known && tp == group {
				offsets = true
			} else {
				open = append(open, tp)
			}
		}
	}
	slices.SortFunc(open, record.TopicPartition.Compare)
	return open, offsets, nil
}

// openAt asks one broker. A partition that it does not lead any more, or that we may not describe, is left out.
func (p *Producer) openAt(
	ctx context.Context, broker int32, topics map[string][]int32,
) ([]record.TopicPartition, error) {
	req := &sarama.DescribeProducersRequest{}
	for topic, partitions := range topics {
		req.Topics = append(req.Topics, sarama.DescribeProducersRequestTopic{Name: topic, PartitionIndexes: partitions})
	}
	var res *sarama.DescribeProducersResponse
	err := retry(ctx, defaultBackoff(), func() (err error) {
		res, err = callBroker(ctx, p.control, broker, (*sarama.Broker).DescribeProducers, req)
		return err
	})
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return nil, nil // before Kafka 2.8
	}
	if err != nil {
		return nil, fmt.Errorf("kafka: look for open transactions of %q: %w", p.cfg.TransactionalID, err)
	}
	var open []record.TopicPartition
	for _, t := range res.Topics {
		for _, part := range t.Partitions {
			tp := record.TopicPartition{Topic: t.Name, Partition: part.PartitionIndex}
			if staleLeader(codeError(part.ErrorCode)) {
				p.client.forgetLeader(tp)
			}
			for _, s := range part.ActiveProducers {
				if s.ProducerID == p.id && s.CurrentTxnStartOffset >= 0 {
					open = append(open, tp)
				}
			}
		}
	}
	return open, nil
}

// offsetsTopic holds the groups' offsets.
const offsetsTopic = "__consumer_offsets"

// offsetsPartition returns the partition that holds the offsets of our group: the broker's Utils.abs(groupId.hashCode)
// modulo the number of partitions.
func (p *Producer) offsetsPartition(ctx context.Context) (record.TopicPartition, bool) {
	if p.cfg.GroupID == "" {
		return record.TopicPartition{}, false
	}
	res, err := p.client.metadata(ctx, offsetsTopic)
	if err != nil {
		return record.TopicPartition{}, false
	}
	for _, t := range res.Topics {
		if t.Name == offsetsTopic && t.Err == sarama.ErrNoError && len(t.Partitions) > 0 {
			return record.TopicPartition{
				Topic: offsetsTopic, Partition: (javaHash(p.cfg.GroupID) & 0x7fffffff) % int32(len(t.Partitions)),
			}, true
		}
	}
	return record.TopicPartition{}, false
}

// javaHash is java.lang.String.hashCode of a string of ASCII, which group ids are.
func javaHash(s string) int32 {
	var h int32
	for i := range len(s) {
		h = 31*h + int32(s[i])
	}
	return h
}

// suspects are the partitions that may have lost a marker: those this producer has written, and those that its
// application may have written in an earlier life.
func (p *Producer) suspects() []record.TopicPartition {
	seen := make(map[record.TopicPartition]struct{})
	for tp := range p.partitions {
		seen[tp] = struct{}{}
	}
	for tp := range p.added {
		seen[tp] = struct{}{}
	}
	if p.cfg.Suspects != nil {
		for _, tp := range p.cfg.Suspects() {
			seen[tp] = struct{}{}
		}
	}
	tps := make([]record.TopicPartition, 0, len(seen))
	for tp := range seen {
		tps = append(tps, tp)
	}
	return tps
}
