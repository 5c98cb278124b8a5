package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

var _ eos.Producer = (*Producer)(nil)

// ProducerConfig configures a [Producer]. The zero value is an idempotent producer with Kafka's defaults.
type ProducerConfig struct {
	// TransactionalID makes the producer transactional (transactional.id). Defaults to "": idempotent, at least once.
	TransactionalID string
	// GroupID is the consumer group whose offsets go into the transactions.
	GroupID string
	// TransactionTimeout: the coordinator aborts a transaction that is open for longer (transaction.timeout.ms).
	// Defaults to 60 s.
	TransactionTimeout time.Duration
	// Compression of record batches (compression.type). Defaults to none.
	Compression sarama.CompressionCodec
	// CompressionLevel, 0 is the codec's default.
	CompressionLevel int
	// MaxRequestBytes limits one record batch before compression, so also a single record (max.request.size).
	// Defaults to 1 MiB.
	MaxRequestBytes int
	// RequestTimeout limits the wait for one answer (request.timeout.ms). Defaults to 30 s.
	RequestTimeout time.Duration
	// DeliveryTimeout limits one call with all its retries (delivery.timeout.ms). Defaults to 120 s.
	DeliveryTimeout time.Duration
	// Suspects returns the partitions that the application may have written in an earlier life, to be looked at by Init
	// for transactions that the coordinator has forgotten (see producer_markers.go). Defaults to none.
	Suspects func() []record.TopicPartition
	// Logger is told about retries and lost connections. Defaults to none.
	Logger *slog.Logger
}

const (
	defaultTransactionTimeout = 60 * time.Second
	defaultMaxRequestBytes    = 1 << 20
	defaultRequestTimeout     = 30 * time.Second
	defaultDeliveryTimeout    = 120 * time.Second

	// answerSlack is how much longer than the broker's own timeout we wait for its answer.
	answerSlack = 5 * time.Second
	// idleMax: a connection that was idle for so long is replaced before a transaction begins, because the broker may be
	// about to close it (connections.max.idle.ms, 10 min) and a connection lost later costs the transaction.
	idleMax = 4 * time.Minute
)

func (c ProducerConfig) withDefaults() ProducerConfig {
	c.TransactionTimeout = or(c.TransactionTimeout, defaultTransactionTimeout)
	c.MaxRequestBytes = or(c.MaxRequestBytes, defaultMaxRequestBytes)
	c.RequestTimeout = or(c.RequestTimeout, defaultRequestTimeout)
	c.DeliveryTimeout = or(c.DeliveryTimeout, defaultDeliveryTimeout)
	c.CompressionLevel = or(c.CompressionLevel, sarama.CompressionLevelDefault)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func (c ProducerConfig) validate() error {
	var errs []error
	if c.MaxRequestBytes < minRequestBytes || c.MaxRequestBytes > int(sarama.MaxRequestSize)/2 {
		errs = append(errs, fmt.Errorf("kafka: producer: MaxRequestBytes is %d: want %d to %d", c.MaxRequestBytes,
			minRequestBytes, sarama.MaxRequestSize/2))
	}
	if c.TransactionTimeout < 0 || c.RequestTimeout < 0 || c.DeliveryTimeout < 0 {
		errs = append(errs, errors.New("kafka: producer: a timeout is negative"))
	}
	if c.TransactionalID != "" && c.TransactionTimeout < 2*markBase {
		errs = append(errs, fmt.Errorf("kafka: producer: TransactionTimeout is %s: want at least %s", c.TransactionTimeout,
			2*markBase))
	}
	if c.DeliveryTimeout < c.RequestTimeout {
		errs = append(errs, fmt.Errorf("kafka: producer: DeliveryTimeout %s is shorter than RequestTimeout %s: "+
			"it covers at least one request", c.DeliveryTimeout, c.RequestTimeout))
	}
	return errors.Join(errs...)
}

// Producer sends whole epochs. It implements [eos.Producer]: transactional with a TransactionalID, else idempotent.
//
// It builds record batches itself instead of handing single records to sarama's AsyncProducer, which costs several
// channel hops each: an epoch is known as a whole before it is sent.
//
//	producer_init.go, producer_markers.go   the start
//	producer_txn.go                         the transaction's requests
//	producer_send.go, producer_batches.go   sending and encoding
//	producer_state.go, producer_errors.go   the states; what answers and lost connections mean
//
// Goroutines: none of its own; sarama runs one per connection that reads answers, which ends when the connection does.
type Producer struct {
	client *Client
	cfg    ProducerConfig
	// Own connections: a large produce request must not hold back a commit.
	control *conns // coordinators of the transaction and the group
	data    *conns // partition leaders

	mu struct { // Send and SendOffsets may overlap, Close may come at any time
		sync.Mutex
		state txnState
	}

	losses atomic.Int32 // connections lost since the last transaction that ended, see connLost

	id    int64 // producer id and epoch. Written by Init
	epoch int16

	// added are the partitions of the open transaction. Owned by Begin and Send.
	added map[record.TopicPartition]struct{}
	// offsetsAdded says that the open transaction covers the group's offsets. Owned by Begin and SendOffsets.
	offsetsAdded bool

	partitions map[record.TopicPartition]*partition // owned by Send
	buffers    []*batchBuffer                       // free ones, owned by Send
	headerKeys map[string][]byte                    // owned by Send

	suspects map[record.TopicPartition]struct{} // may have lost a marker. Owned by Init
	idleMax  time.Duration
}

// NewProducer does no I/O; Init comes next.
func NewProducer(client *Client, cfg ProducerConfig) (*Producer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	name := cfg.TransactionalID
	if name == "" {
		name = "idempotent"
	}
	wait := cfg.RequestTimeout + answerSlack
	return &Producer{
		client:     client,
		cfg:        cfg,
		control:    client.newConns("transactions of "+name, wait),
		data:       client.newConns("produce of "+name, wait),
		added:      make(map[record.TopicPartition]struct{}),
		partitions: make(map[record.TopicPartition]*partition),
		headerKeys: make(map[string][]byte),
		suspects:   make(map[record.TopicPartition]struct{}),
		idleMax:    idleMax,
	}, nil
}

func (p *Producer) transactional() bool { return p.cfg.TransactionalID != "" }

// TransactionalID implements [eos.Producer].
func (p *Producer) TransactionalID() string { return p.cfg.TransactionalID }

// Close implements [eos.Producer]. Idempotent; methods under way fail.
func (p *Producer) Close() error {
	p.become(stateClosed)
	return errors.Join(p.control.Close(), p.data.Close())
}

func (p *Producer) forgetTransaction() {
	clear(p.added)
	p.offsetsAdded = false
}

// misuse reports a call that the state does not allow. A lost or doomed transaction is an ordinary case: one of two
// overlapping methods failed first.
func (p *Producer) misuse(method string, s txnState) error {
	switch s {
	case stateClosed:
		return fmt.Errorf("kafka: %s: %w", method, errClosed)
	case stateReady, stateOpen, stateEnding:
	case stateLost, stateDoomed:
		return fmt.Errorf("kafka: %s: %w: the producer %q is %s", method, eos.ErrAborted, p.cfg.TransactionalID, s)
	}
	return fmt.Errorf("kafka: %s: the producer %q is %s: call Init and Begin first", method, p.cfg.TransactionalID, s)
}
