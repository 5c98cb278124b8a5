package tidemark

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/record"
)

// controlTopic is the one partition on which instances, coordinator and command line speak about checkpoints.
func controlTopic(applicationID string) record.TopicPartition {
	return record.TopicPartition{Topic: applicationID + "-checkpoints"}
}

// coordinatorID is the transactional id of the coordinator: whoever initialises it has deposed the one before.
func coordinatorID(applicationID string) string { return applicationID + "-coordinator" }

// controlTopicConfig keeps the topic short: every instance reads it from its beginning, and the broker does not compact
// the segment that is written.
func controlTopicConfig() map[string]string {
	return changelog.TopicConfig(0, map[string]string{
		"segment.bytes": strconv.Itoa(8 << 20), "segment.ms": strconv.FormatInt((10 * time.Minute).Milliseconds(), 10),
		"delete.retention.ms": strconv.FormatInt(time.Hour.Milliseconds(), 10),
	})
}

// makeControlTopic creates or checks the control topic.
func (t *topics) makeControlTopic(ctx context.Context, cfg *Config) error {
	if !cfg.Checkpointing.Enabled() {
		return nil
	}
	name := controlTopic(cfg.ApplicationID).Topic
	have := t.partitions[name]
	if have == 0 {
		if err := t.admin.CreateTopic(ctx, name, 1, cfg.ReplicationFactor, controlTopicConfig()); err != nil {
			return fmt.Errorf("tidemark: create control topic %q: %w", name, err)
		}
		t.partitions[name] = 1
		return nil
	}
	if have != 1 {
		return &TopicError{
			Topic: name, What: fmt.Sprintf("has %d partitions, and must have one", have),
			Hint: "checkpoints are coordinated on it, in one order: delete it, it is made anew",
		}
	}
	config, err := t.admin.TopicConfig(ctx, name)
	if err != nil {
		return fmt.Errorf("tidemark: read the configuration of %q: %w", name, err)
	}
	return changelog.CheckPolicy(name, config, 0, nil)
}

// openControl prepares the member's part in checkpoints.
func (in *incarnation) openControl(ctx context.Context) error {
	if !in.app.cfg.Checkpointing.Enabled() {
		return nil
	}
	var err error
	if in.checkpoints, err = newCheckpoints(in); err != nil { //nolint:contextcheck // it outlives the start
		return err
	}
	if in.app.controlFrom < 0 { // what is there by now was said to another life
		topic := in.checkpoints.topic
		ends, err := in.admin.EndOffsets(ctx, []record.TopicPartition{topic}, true)
		if err != nil {
			return err
		}
		in.app.controlFrom = ends[topic]
	}
	in.checkpoints.from = in.app.controlFrom
	return nil
}

// controlWriter writes messages: in transactions if it is the coordinator's.
type controlWriter struct {
	producer *kafka.Producer
	topic    record.TopicPartition
	now      func() int64
}

func newControlWriter(
	client *kafka.Client, cfg *Config, transactionalID string, now func() int64,
) (*controlWriter, error) {
	topic := controlTopic(cfg.ApplicationID)
	p, err := kafka.NewProducer(client, kafka.ProducerConfig{
		TransactionalID: transactionalID, GroupID: cfg.ApplicationID, TransactionTimeout: cfg.TransactionTimeout,
		MaxRequestBytes: cfg.MaxRequestBytes, RequestTimeout: cfg.ConnectTimeout, DeliveryTimeout: cfg.ConnectTimeout,
		Suspects: func() []record.TopicPartition { return []record.TopicPartition{topic} }, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &controlWriter{producer: p, topic: topic, now: now}, nil
}

// write returns when the messages are there, all of them or none.
func (w *controlWriter) write(ctx context.Context, messages ...checkpointing.Message) error {
	batch := &record.Batch{TopicPartition: w.topic}
	for _, m := range messages {
		batch.Append([]byte(m.Key), m.Value, w.now(), nil)
	}
	if err := w.producer.Begin(ctx, []record.TopicPartition{w.topic}, false); err != nil {
		return err
	}
	if _, err := w.producer.Send(ctx, []*record.Batch{batch}); err != nil {
		return err
	}
	return w.producer.Commit(ctx)
}

// controlMessages are messages that were read together.
type controlMessages struct {
	messages []checkpointing.Message
	offsets  []int64
	next     int64 // behind them
	// begins says that the topic is read from its beginning again, and that it ends at next by now; 0: it is empty.
	begins bool
}

// tailControl reads the control topic from its beginning and hands it over until ctx ends. It begins with the end that
// the topic has: what lies before it is history, and most of it long over. pending says whether that end includes
// transactions that are not decided yet.
func tailControl(
	ctx context.Context, client *kafka.Client, admin *kafka.Admin, topic record.TopicPartition, pending bool,
	fn func(controlMessages) error,
) error {
	starts, err := admin.StartOffsets(ctx, []record.TopicPartition{topic})
	if err != nil {
		return err
	}
	ends, err := admin.EndOffsets(ctx, []record.TopicPartition{topic}, !pending)
	if err != nil {
		return err
	}
	end := ends[topic]
	if end <= starts[topic] {
		end = 0 // nothing to wait for
	}
	if err := fn(controlMessages{begins: true, next: end}); err != nil {
		return err
	}
	read := func(records []record.Raw, next int64) error {
		m := controlMessages{next: next}
		for _, r := range records {
			message := checkpointing.Message{Key: string(r.Key)}
			if r.Value != nil {
				message.Value = append([]byte{}, r.Value...)
			}
			m.messages, m.offsets = append(m.messages, message), append(m.offsets, r.Offset)
		}
		return fn(m)
	}
	return kafka.NewReader(client).Tail(ctx, topic, starts[topic], read)
}

// newCommandID makes the id of a command.
func newCommandID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
