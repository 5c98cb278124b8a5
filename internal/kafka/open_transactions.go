package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

// openTransactions finds out which producers have a transaction open in which partitions (DescribeProducers, KIP-664).
// It asks on until every partition has answered: "no leader just now" must not pass for "none open".
type openTransactions struct {
	client  *Client
	brokers *conns

	asked  []record.TopicPartition           // still to be asked
	open   map[record.TopicPartition][]int64 // ids of producers
	denied []record.TopicPartition           // we may not read these
}

// findOpenTransactions asks until ctx ends. Partitions that do not exist have no transactions. Brokers before Kafka 2.8
// answer ErrUnsupportedVersion.
func findOpenTransactions(
	ctx context.Context, client *Client, brokers *conns, tps []record.TopicPartition,
) (*openTransactions, error) {
	o := &openTransactions{
		client: client, brokers: brokers, asked: tps, open: make(map[record.TopicPartition][]int64),
	}
	if err := retry(ctx, defaultBackoff(), func() error { return o.round(ctx) }); err != nil {
		return nil, err
	}
	return o, nil
}

// round asks each leader once. The error says why partitions remain to be asked.
func (o *openTransactions) round(ctx context.Context) error {
	byLeader := make(map[int32][]record.TopicPartition)
	var again []record.TopicPartition
	var why error
	failed := func(tp record.TopicPartition, err error) {
		switch {
		case errors.Is(err, sarama.ErrTopicAuthorizationFailed):
			o.denied = append(o.denied, tp)
			return
		case staleLeader(err):
			o.client.forgetLeader(tp)
		}
		again = append(again, tp)
		if why == nil || retriable(why) {
			why = fmt.Errorf("%s: %w", tp, err)
		}
	}
	for _, tp := range o.asked {
		leader, err := o.client.leader(ctx, tp)
		switch {
		case err == nil:
			byLeader[leader] = append(byLeader[leader], tp)
		case !errors.Is(err, sarama.ErrUnknownTopicOrPartition):
			failed(tp, err)
		}
	}
	for leader, tps := range byLeader {
		answers, err := o.ask(ctx, leader, tps)
		for _, tp := range tps {
			switch answer := answers[tp]; {
			case err != nil:
				failed(tp, err)
			case answer == nil:
				failed(tp, errUnknownInternal)
			case answer.ErrorCode != sarama.ErrNoError:
				failed(tp, withMessage(answer.ErrorCode, answer.ErrorMessage))
			default:
				o.note(tp, answer.ActiveProducers)
			}
		}
	}
	o.asked = again
	return why
}

func (o *openTransactions) ask(ctx context.Context, leader int32, tps []record.TopicPartition) (
	map[record.TopicPartition]*sarama.DescribeProducersResponsePartition, error,
) {
	byTopic := make(map[string][]int32)
	for _, tp := range tps {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], tp.Partition)
	}
	req := &sarama.DescribeProducersRequest{}
	for topic, partitions := range byTopic {
		req.Topics = append(req.Topics, sarama.DescribeProducersRequestTopic{Name: topic, PartitionIndexes: partitions})
	}
	res, err := callBroker(ctx, o.brokers, leader, (*sarama.Broker).DescribeProducers, req)
	if err != nil {
		return nil, err
	}
	answers := make(map[record.TopicPartition]*sarama.DescribeProducersResponsePartition)
	for _, t := range res.Topics {
		for i := range t.Partitions {
			answers[record.TopicPartition{Topic: t.Name, Partition: t.Partitions[i].PartitionIndex}] = &t.Partitions[i]
		}
	}
	return answers, nil
}

func (o *openTransactions) note(tp record.TopicPartition, producers []sarama.ProducerState) {
	for _, s := range producers {
		if s.CurrentTxnStartOffset >= 0 {
			o.open[tp] = append(o.open[tp], s.ProducerID)
		}
	}
}
