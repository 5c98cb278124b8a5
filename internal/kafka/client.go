package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

var (
	errClosed          = errors.New("kafka: client is closed")
	errUnknownBroker   = errors.New("no broker of that id in the metadata")
	errLeaderUnknown   = errors.New("the partition has no leader at the moment")
	errUnknownInternal = errors.New("the answer does not cover the request")
)

// kafkaVersion is what we speak at least: sarama picks request versions by it, each broker's own limits apply on top.
// 3.7 has all we use (KIP-447, RequireStable, produce v10).
var kafkaVersion = sarama.V3_7_0_0 //nolint:gochecknoglobals // a constant: sarama's versions are arrays

// controllerTopic is asked about when only the brokers matter: sarama's request without topics means all topics.
const controllerTopic = "__consumer_offsets"

// Client knows the cluster: brokers, partition leaders, coordinators. It has no goroutines: knowledge is fetched when
// it is missing and dropped when an answer shows that it is stale. It plays sarama.Client's part, whose calls sleep
// inside and take no context.
//
// Safe for concurrent use. Its users ([Producer], [Admin] and so on) keep their own connections.
type Client struct {
	conf  *sarama.Config // a copy
	dial  func(network, addr string) (net.Conn, error)
	seeds []string
	ask   *conns        // for metadata and coordinators
	turn  chan struct{} // capacity 1: one metadata request at a time

	mu struct {
		sync.Mutex
		closed       bool
		users        map[*conns]struct{}
		addresses    map[int32]string // of brokers by id
		leaders      map[record.TopicPartition]int32
		coordinators map[coordinatorKey]int32
		controller   int32
		next         int // rotates over brokers that are asked
	}
}

type coordinatorKey struct {
	kind sarama.CoordinatorType
	key  string
}

// NewClient does no I/O. conf carries TLS, SASL, proxy and timeouts, and is copied; nil is sarama's default.
func NewClient(brokers []string, conf *sarama.Config) (*Client, error) {
	if conf == nil {
		conf = sarama.NewConfig()
	}
	own := *conf
	own.MetricRegistry = noMetrics{}
	own.ApiVersionsRequest = true
	if !own.Version.IsAtLeast(kafkaVersion) {
		own.Version = kafkaVersion
	}
	var errs []error
	if len(brokers) == 0 {
		errs = append(errs, errors.New("kafka: no bootstrap brokers: give at least one host:port"))
	}
	for _, b := range brokers {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("kafka: bootstrap broker %q: want host:port", b))
		}
	}
	if err := own.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("kafka: client configuration: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c := &Client{conf: &own, seeds: slices.Clone(brokers), turn: make(chan struct{}, 1)}
	if own.Net.Proxy.Enable && own.Net.Proxy.Dialer != nil {
		c.dial = own.Net.Proxy.Dialer.Dial
	}
	c.mu.users = make(map[*conns]struct{})
	c.mu.addresses = make(map[int32]string)
	c.mu.leaders = make(map[record.TopicPartition]int32)
	c.mu.coordinators = make(map[coordinatorKey]int32)
	c.mu.controller = -1
	c.ask = c.newConns("metadata", 0)
	return c, nil
}

// Close closes all connections of all users. Idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	c.mu.closed = true
	users := c.mu.users
	c.mu.users = nil
	c.mu.Unlock()
	for s := range users {
		_ = s.Close()
	}
	return nil
}

func (c *Client) track(s *conns) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		s.mu.closed = true
		return
	}
	c.mu.users[s] = struct{}{}
}

func (c *Client) untrack(s *conns) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.users, s)
}

// address returns where a broker listens. Seeds have negative ids.
func (c *Client) address(id int32) (string, bool) {
	if id < 0 {
		return c.seeds[-1-id], true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.mu.addresses[id]
	return addr, ok
}

// brokerIDs returns the brokers known, in order.
func (c *Client) brokerIDs() []int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]int32, 0, len(c.mu.addresses))
	for id := range c.mu.addresses {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// candidates returns whom to ask for metadata, in that order: all brokers known, beginning with another one each time,
// then the seeds, which may have moved.
func (c *Client) candidates() []int32 {
	ids := c.brokerIDs()
	c.mu.Lock()
	c.mu.next++
	n := c.mu.next
	c.mu.Unlock()
	if len(ids) > 0 {
		n %= len(ids)
		ids = append(slices.Clone(ids[n:]), ids[:n]...)
	}
	for i := range c.seeds {
		ids = append(ids, int32(-1-i))
	}
	return ids
}

// askAny sends a request to the first broker that answers.
func askAny[Q, R any](ctx context.Context, c *Client, method func(*sarama.Broker, Q) (R, error), req Q) (R, error) {
	var zero R
	var errs []error
	for _, id := range c.candidates() {
		conn, err := c.ask.get(ctx, id)
		if err == nil {
			var res R
			if res, err = call(ctx, conn, method, req); err == nil {
				return res, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, errClosed) || !isConnLost(err) {
			return zero, err
		}
		errs = append(errs, err)
	}
	return zero, fmt.Errorf("kafka: no broker answers: %w", errors.Join(errs...))
}

// metadata asks for topics (none: for all) and remembers brokers and leaders. One attempt at each broker.
func (c *Client) metadata(ctx context.Context, topics ...string) (*sarama.MetadataResponse, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("kafka: metadata: %w", context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	res, err := askAny(ctx, c, (*sarama.Broker).GetMetadata, sarama.NewMetadataRequest(c.conf.Version, topics))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(res.Brokers) > 0 {
		clear(c.mu.addresses)
	}
	for _, b := range res.Brokers {
		c.mu.addresses[b.ID()] = b.Addr()
	}
	c.mu.controller = res.ControllerID
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			tp := record.TopicPartition{Topic: t.Name, Partition: p.ID}
			if p.Leader < 0 || p.Err == sarama.ErrLeaderNotAvailable {
				delete(c.mu.leaders, tp)
				continue
			}
			c.mu.leaders[tp] = p.Leader
		}
	}
	return res, nil
}

// leader returns the broker that leads a partition. What is not known is asked for, once: retry a [retriable] error.
func (c *Client) leader(ctx context.Context, tp record.TopicPartition) (int32, error) {
	if id, ok := c.cachedLeader(tp); ok {
		return id, nil
	}
	res, err := c.metadata(ctx, tp.Topic)
	if err != nil {
		return -1, err
	}
	if id, ok := c.cachedLeader(tp); ok {
		return id, nil
	}
	for _, t := range res.Topics {
		if t.Name == tp.Topic && t.Err != sarama.ErrNoError && t.Err != sarama.ErrLeaderNotAvailable {
			return -1, fmt.Errorf("kafka: leader of %s: %w", tp, t.Err)
		}
		if t.Name == tp.Topic && !slices.ContainsFunc(t.Partitions,
			func(p *sarama.PartitionMetadata) bool { return p.ID == tp.Partition }) {
			return -1, fmt.Errorf("kafka: leader of %s (the topic has %d partitions): %w", tp, len(t.Partitions),
				sarama.ErrUnknownTopicOrPartition)
		}
	}
	return -1, fmt.Errorf("kafka: leader of %s: %w", tp, errLeaderUnknown)
}

func (c *Client) cachedLeader(tp record.TopicPartition) (int32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.mu.leaders[tp]
	return id, ok
}

// forgetLeader drops stale knowledge: after NOT_LEADER_OR_FOLLOWER and its like, or a lost connection.
func (c *Client) forgetLeader(tps ...record.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tp := range tps {
		delete(c.mu.leaders, tp)
	}
}

// controller returns the broker that creates topics. KRaft names any broker, which forwards.
func (c *Client) controller(ctx context.Context) (int32, error) {
	c.mu.Lock()
	id := c.mu.controller
	c.mu.Unlock()
	if id >= 0 {
		return id, nil
	}
	if _, err := c.metadata(ctx, controllerTopic); err != nil {
		return -1, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.controller < 0 {
		return -1, sarama.ErrNotController
	}
	return c.mu.controller, nil
}

func (c *Client) forgetController() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.controller = -1
}

// coordinator returns the broker that coordinates a group or a transactional id. What is not known is asked for, once:
// retry a [retriable] error.
func (c *Client) coordinator(ctx context.Context, kind sarama.CoordinatorType, key string) (int32, error) {
	ck := coordinatorKey{kind, key}
	c.mu.Lock()
	id, ok := c.mu.coordinators[ck]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	req := &sarama.FindCoordinatorRequest{Version: 3, CoordinatorKey: key, CoordinatorType: kind}
	res, err := askAny(ctx, c, (*sarama.Broker).FindCoordinator, req)
	if err == nil && res.Err != sarama.ErrNoError {
		err = res.Err
	}
	if err == nil && res.Coordinator == nil {
		err = sarama.ErrConsumerCoordinatorNotAvailable
	}
	if err != nil {
		what := "group"
		if kind == sarama.CoordinatorTransaction {
			what = "transactional id"
		}
		return -1, fmt.Errorf("kafka: coordinator of %s %q: %w", what, key, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id = res.Coordinator.ID()
	c.mu.addresses[id] = res.Coordinator.Addr()
	c.mu.coordinators[ck] = id
	return id, nil
}

// forgetCoordinator drops stale knowledge: after NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE or a lost connection.
func (c *Client) forgetCoordinator(kind sarama.CoordinatorType, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.coordinators, coordinatorKey{kind, key})
}
