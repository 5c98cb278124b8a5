package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

var _ worker.Admin = (*Admin)(nil)

// AdminConfig configures an [Admin].
type AdminConfig struct {
	// TransactionTimeout is that of the live producers: FenceProducer registers it with the transactional id.
	// Defaults to 60 s.
	TransactionTimeout time.Duration
	// GroupID and Suspects are those of the live producers: FenceProducer mends what the dead one has left open.
	GroupID  string
	Suspects func() []record.TopicPartition
	// Logger defaults to none.
	Logger *slog.Logger
	// RequestTimeout is how long the broker may work on creating topics and deleting records. Defaults to 30 s.
	RequestTimeout time.Duration
}

// Admin implements [worker.Admin] over its own connections. Every call retries what passes until ctx ends. Safe for
// concurrent use.
type Admin struct {
	client *Client
	cfg    AdminConfig
	conns  *conns
}

// NewAdmin does no I/O. Client.Close closes its connections too.
func NewAdmin(client *Client, cfg AdminConfig) *Admin {
	cfg.TransactionTimeout = or(cfg.TransactionTimeout, defaultTransactionTimeout)
	cfg.RequestTimeout = or(cfg.RequestTimeout, defaultRequestTimeout)
	return &Admin{client: client, cfg: cfg, conns: client.newConns("admin", cfg.RequestTimeout+answerSlack)}
}

// Close closes the connections. Idempotent.
func (a *Admin) Close() error { return a.conns.Close() }

// Partitions implements [worker.Admin].
func (a *Admin) Partitions(ctx context.Context, topics []string) (map[string]int32, error) {
	if len(topics) == 0 {
		return map[string]int32{}, nil
	}
	var counts map[string]int32
	err := retry(ctx, defaultBackoff(), func() error {
		res, err := a.client.metadata(ctx, topics...)
		if err != nil {
			return err
		}
		counts = make(map[string]int32, len(topics))
		for _, t := range res.Topics {
			switch t.Err {
			case sarama.ErrNoError, sarama.ErrLeaderNotAvailable:
				counts[t.Name] = int32(len(t.Partitions))
			case sarama.ErrUnknownTopicOrPartition, sarama.ErrInvalidTopic: // absent; no topic has such a name
			default:
				return fmt.Errorf("topic %q: %w", t.Name, t.Err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, adminError("read metadata of "+strings.Join(topics, ", "), "DESCRIBE on these topics", err)
	}
	return counts, nil
}

// TopicConfig implements [worker.Admin].
func (a *Admin) TopicConfig(ctx context.Context, topic string) (map[string]string, error) {
	config := make(map[string]string)
	err := retry(ctx, defaultBackoff(), func() error {
		res, err := askAny(ctx, a.client, (*sarama.Broker).DescribeConfigs, &sarama.DescribeConfigsRequest{
			Version: 4, Resources: []*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}},
		})
		if err != nil {
			return err
		}
		for _, r := range res.Resources {
			if r.Name != topic {
				continue
			}
			if k := sarama.KError(r.ErrorCode); k != sarama.ErrNoError {
				return withMessage(k, &r.ErrorMsg)
			}
			for _, e := range r.Configs {
				config[e.Name] = e.Value
			}
			return nil
		}
		return errUnknownInternal
	})
	if err != nil {
		return nil, adminError(fmt.Sprintf("read configuration of topic %q", topic), "DESCRIBE_CONFIGS on this topic", err)
	}
	return config, nil
}

// CreateTopic implements [worker.Admin]. It returns when the metadata shows a leader for every partition.
func (a *Admin) CreateTopic(ctx context.Context, topic string, partitions int32, replication int16,
	config map[string]string,
) error {
	detail := &sarama.TopicDetail{
		NumPartitions: partitions, ReplicationFactor: replication, ConfigEntries: make(map[string]*string, len(config)),
	}
	for k, v := range config {
		detail.ConfigEntries[k] = &v
	}
	what := fmt.Sprintf("create topic %q with %d partitions and replication %d", topic, partitions, replication)
	err := retry(ctx, defaultBackoff(), func() error {
		controller, err := a.client.controller(ctx)
		if err != nil {
			return err
		}
		res, err := callBroker(ctx, a.conns, controller, (*sarama.Broker).CreateTopics, sarama.NewCreateTopicsRequest(
			a.client.conf.Version, map[string]*sarama.TopicDetail{topic: detail}, a.cfg.RequestTimeout, false))
		if err != nil {
			a.client.forgetController()
			return err
		}
		e := res.TopicErrors[topic]
		switch {
		case e == nil:
			return errUnknownInternal
		case e.Err == sarama.ErrNoError, e.Err == sarama.ErrTopicAlreadyExists:
			return nil
		}
		a.client.forgetController()
		return withMessage(e.Err, e.ErrMsg)
	})
	if err != nil {
		return adminError(what, "CREATE on this topic or on the cluster", err)
	}
	err = retry(ctx, defaultBackoff(), func() error { return a.ready(ctx, topic) })
	if err != nil {
		return adminError(what+": wait for its leaders", "DESCRIBE on this topic", err)
	}
	return nil
}

// ready fails, retriably, while the topic lacks a leader.
func (a *Admin) ready(ctx context.Context, topic string) error {
	res, err := a.client.metadata(ctx, topic)
	if err != nil {
		return err
	}
	for _, t := range res.Topics {
		if t.Name != topic {
			continue
		}
		if t.Err != sarama.ErrNoError {
			return t.Err
		}
		for _, p := range t.Partitions {
			if p.Leader < 0 {
				return sarama.ErrLeaderNotAvailable
			}
		}
		if len(t.Partitions) > 0 {
			return nil
		}
	}
	return sarama.ErrUnknownTopicOrPartition
}

// FenceProducer aborts what a dead owner's transactional id has open, waits for what it has prepared, and makes brokers
// refuse what it sends later. It returns when the outcome of everything it sent is decided.
func (a *Admin) FenceProducer(ctx context.Context, transactionalID string) error {
	if transactionalID == "" {
		return errors.New("kafka: fence a producer: the transactional id is empty")
	}
	p, err := NewProducer(a.client, ProducerConfig{
		TransactionalID: transactionalID, GroupID: a.cfg.GroupID, TransactionTimeout: a.cfg.TransactionTimeout,
		Suspects: a.cfg.Suspects, Logger: a.cfg.Logger,
	})
	if err != nil {
		return err
	}
	if err := errors.Join(p.Init(ctx), p.Close()); err != nil {
		return adminError(fmt.Sprintf("fence producer %q", transactionalID), "WRITE on this transactional id", err)
	}
	return nil
}

// CommittedOffsets implements [worker.Admin]. [worker.ErrUnstableOffsets] is returned at once: the caller knows which
// producer to fence before it asks again.
func (a *Admin) CommittedOffsets(ctx context.Context, group string, tps []record.TopicPartition) (
	map[record.TopicPartition]eos.Offset, error,
) {
	return a.groupOffsets(ctx, group, tps, true)
}

// PossiblyUnstableOffsets implements [worker.Admin].
func (a *Admin) PossiblyUnstableOffsets(ctx context.Context, group string, tps []record.TopicPartition) (
	map[record.TopicPartition]eos.Offset, error,
) {
	return a.groupOffsets(ctx, group, tps, false)
}

func (a *Admin) groupOffsets(ctx context.Context, group string, tps []record.TopicPartition, stable bool) (
	map[record.TopicPartition]eos.Offset, error,
) {
	if len(tps) == 0 {
		return map[record.TopicPartition]eos.Offset{}, nil
	}
	var offsets map[record.TopicPartition]eos.Offset
	err := retry(ctx, defaultBackoff(), func() (err error) {
		offsets, err = a.fetchOffsets(ctx, group, tps, stable)
		return err
	})
	if err != nil {
		return nil, adminError(fmt.Sprintf("read offsets of group %q", group), "DESCRIBE on this group", err)
	}
	return offsets, nil
}

func (a *Admin) fetchOffsets(ctx context.Context, group string, tps []record.TopicPartition, stable bool) (
	map[record.TopicPartition]eos.Offset, error,
) {
	req := &sarama.OffsetFetchRequest{Version: 8, RequireStable: stable}
	for _, tp := range tps {
		req.AddGroupPartition(group, tp.Topic, tp.Partition)
	}
	broker, err := a.client.coordinator(ctx, sarama.CoordinatorGroup, group)
	if err != nil {
		return nil, err
	}
	res, err := callBroker(ctx, a.conns, broker, (*sarama.Broker).FetchOffset, req)
	if err == nil && stable && req.Version < 7 {
		err = sarama.ErrUnsupportedVersion // without RequireStable
	}
	if err == nil {
		err = codeError(res.GroupError())
	}
	if errors.Is(err, sarama.ErrGroupIDNotFound) { // nobody committed yet
		return map[record.TopicPartition]eos.Offset{}, nil
	}
	if staleCoordinator(err) {
		a.client.forgetCoordinator(sarama.CoordinatorGroup, group)
	}
	if err != nil {
		return nil, unstable(err)
	}
	offsets := make(map[record.TopicPartition]eos.Offset, len(tps))
	for _, tp := range tps {
		b := res.GetBlock(tp.Topic, tp.Partition)
		switch {
		case b == nil:
			return nil, fmt.Errorf("%s: %w", tp, errUnknownInternal)
		case b.Err != sarama.ErrNoError:
			return nil, fmt.Errorf("%s: %w", tp, unstable(b.Err))
		case b.Offset >= 0:
			offsets[tp] = eos.Offset{Offset: b.Offset, Metadata: b.Metadata}
		}
	}
	return offsets, nil
}

func unstable(err error) error {
	if errors.Is(err, sarama.ErrUnstableOffsetCommit) {
		return worker.ErrUnstableOffsets
	}
	return err
}

// BlockingProducers implements [worker.Admin]. Best effort: an id that no coordinator knows any more is missing, and
// brokers before Kafka 3.0 cannot tell at all.
func (a *Admin) BlockingProducers(ctx context.Context, tp record.TopicPartition) ([]string, error) {
	var ids []string
	err := retry(ctx, defaultBackoff(), func() (err error) {
		ids, err = a.blockingProducers(ctx, tp)
		return err
	})
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return nil, nil
	}
	if err != nil {
		return nil, adminError(fmt.Sprintf("find open transactions in %s", tp),
			"READ on the topic and DESCRIBE on the transactional ids", err)
	}
	return ids, nil
}

func (a *Admin) blockingProducers(ctx context.Context, tp record.TopicPartition) ([]string, error) {
	found, err := findOpenTransactions(ctx, a.client, a.conns, []record.TopicPartition{tp})
	if err != nil {
		return nil, err
	}
	if len(found.denied) > 0 {
		return nil, sarama.ErrTopicAuthorizationFailed
	}
	open := found.open[tp]
	if len(open) == 0 {
		return nil, nil
	}
	if _, err := a.client.metadata(ctx, tp.Topic); err != nil { // knows all brokers afterwards
		return nil, err
	}
	var ids []string
	for _, broker := range a.client.brokerIDs() { // each coordinates some ids
		res, err := callBroker(ctx, a.conns, broker, (*sarama.Broker).ListTransactions, &sarama.ListTransactionsRequest{
			ProducerIDFilters: open, DurationFilter: -1,
		})
		if err == nil {
			err = codeError(res.ErrorCode)
		}
		if err != nil {
			return nil, err
		}
		for _, s := range res.TransactionStates {
			ids = append(ids, s.TransactionalID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// callBroker is call on the connection to a broker.
func callBroker[Q, R any](
	ctx context.Context, s *conns, broker int32, method func(*sarama.Broker, Q) (R, error), req Q,
) (R, error) {
	c, err := s.get(ctx, broker)
	if err != nil {
		var zero R
		return zero, err
	}
	return call(ctx, c, method, req)
}

// withMessage adds the broker's own words to a code.
func withMessage(k sarama.KError, message *string) error {
	if message == nil || *message == "" {
		return k
	}
	return fmt.Errorf("%w: %s", k, *message)
}

// adminError says what failed and, if permission is missing, which.
func adminError(what, permission string, err error) error {
	switch k, _ := errors.AsType[sarama.KError](err); k { //nolint:exhaustive // the others have nothing to grant
	case sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed:
		return fmt.Errorf("kafka: %s: %w: grant %s", what, err, permission)
	}
	return fmt.Errorf("kafka: %s: %w", what, err)
}
