package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
)

// What a broker's error code asks for, by eos' classes. One place, with the reasons:
//
//   - PRODUCER_FENCED and INVALID_PRODUCER_EPOCH: the epoch was taken from us. Usually a newer owner did it. The
//     coordinator does the same when a transaction outlives transaction.timeout.ms, and the codes do not tell the two
//     apart: giving the tasks up and rejoining is right for both, Init then makes the producer usable again.
//   - INVALID_TXN_STATE, UNKNOWN_PRODUCER_ID, INVALID_PRODUCER_ID_MAPPING, OUT_OF_ORDER_SEQUENCE_NUMBER: broker and
//     producer disagree on what was sent (the transaction was ended for us, the id expired, records were lost). EndTxn
//     would be refused too, so they call for Init.
//   - Everything about permission, size of fields and content repeats on every replay: fatal.
func classOf(k sarama.KError) error {
	switch k { //nolint:exhaustive // everything else can only be aborted
	case sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch, sarama.ErrFencedInstancedId:
		return eos.ErrFenced
	case sarama.ErrIllegalGeneration, sarama.ErrUnknownMemberId, sarama.ErrRebalanceInProgress:
		return eos.ErrGeneration
	case sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrSASLAuthenticationFailed, sarama.ErrSecurityDisabled,
		sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedForMessageFormat, sarama.ErrUnsupportedCompressionType,
		sarama.ErrInvalidTransactionTimeout, sarama.ErrInvalidTopic, sarama.ErrInvalidRecord, sarama.ErrInvalidTimestamp,
		sarama.ErrInvalidRequiredAcks, sarama.ErrPolicyViolation, sarama.ErrInvalidGroupId,
		sarama.ErrOffsetMetadataTooLarge, sarama.ErrInvalidCommitOffsetSize, sarama.ErrInvalidRequest:
		return eos.ErrFatal
	}
	return eos.ErrAborted
}

// needsInit tells whether only a new epoch makes the producer usable again.
func needsInit(k sarama.KError) bool {
	switch k { //nolint:exhaustive // no for everything else
	case sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch, sarama.ErrInvalidTxnState, sarama.ErrUnknownProducerID,
		sarama.ErrInvalidProducerIDMapping, sarama.ErrOutOfOrderSequenceNumber:
		return true
	}
	return false
}

// hintFor says what an operator can do about a code, "" if nothing special.
func hintFor(k sarama.KError, topic, txnID, group string) string {
	switch k { //nolint:exhaustive // most speak for themselves
	case sarama.ErrTopicAuthorizationFailed:
		return fmt.Sprintf("grant WRITE and DESCRIBE on topic %q to this principal", topic)
	case sarama.ErrTransactionalIDAuthorizationFailed:
		return fmt.Sprintf("grant WRITE and DESCRIBE on transactional id %q (best as a prefix: the application id)", txnID)
	case sarama.ErrGroupAuthorizationFailed:
		return fmt.Sprintf("grant READ on group %q", group)
	case sarama.ErrClusterAuthorizationFailed:
		return "grant IDEMPOTENT_WRITE on the cluster"
	case sarama.ErrInvalidTransactionTimeout:
		return "the transaction timeout exceeds the broker's transaction.max.timeout.ms"
	case sarama.ErrInvalidRecord:
		return fmt.Sprintf("does topic %q compact (cleanup.policy) and the record have a null key?", topic)
	case sarama.ErrInvalidTimestamp:
		return fmt.Sprintf("see message.timestamp.before.max.ms and .after.max.ms of topic %q", topic)
	case sarama.ErrOffsetMetadataTooLarge:
		return "raise the broker's offset.metadata.max.bytes"
	case sarama.ErrUnsupportedVersion:
		return "Tidemark needs Kafka 2.5 or later (KIP-447)"
	case sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch:
		return "a newer owner initialised this transactional id, or the transaction outlived its timeout"
	}
	return ""
}

// refused turns a broker's answer into an error of its class. where names the request and what it was about.
func (p *Producer) refused(where, topic string, k sarama.KError) error {
	class := classOf(k)
	err := fmt.Errorf("kafka: %s: %w: %w", where, class, k)
	if hint := hintFor(k, topic, p.cfg.TransactionalID, p.cfg.GroupID); hint != "" {
		err = fmt.Errorf("%w: %s", err, hint)
	}
	switch {
	case needsInit(k):
		p.worsen(stateLost)
	case errors.Is(class, eos.ErrGeneration): // the transaction is intact
	default:
		p.worsen(stateDoomed)
	}
	return err
}

// gaveUp is for retriable answers that went on until the time was over.
func (p *Producer) gaveUp(where string, last, why error) error {
	p.worsen(stateDoomed)
	return fmt.Errorf("kafka: %s: %w: gave up retrying (%w); last failure: %w", where, eos.ErrAborted, why, last)
}

// connLost is the rule for lost connections, and the only place that knows it: once a connection to the transaction's
// coordinator, to a partition's leader or to the group's coordinator is lost inside a transaction, the transaction is
// not continued. Only error answers are retried in place.
//
// Why: after a loss nobody knows whether the last request will still be executed, and a late copy of it could take
// effect after a continued transaction has ended. Init bumps the epoch, so brokers refuse such a copy; the caller
// replays the epoch, which costs milliseconds. The rule is simple and safe. Partitions that stayed open after a kill -9
// of the broker were once taken for a reason of it too, but those had lost their markers (producer_markers.go).
//
// Before the transaction's first request, and for an at-least-once producer (whose sequence numbers make repeats
// harmless), a lost connection is an ordinary retriable error: then connLost returns nil.
//
// It waits a little before it returns, longer each time until a transaction ends well: a caller that replays at once
// would otherwise spin while the broker is down.
func (p *Producer) connLost(ctx context.Context, where string, err error) error {
	if !p.transactional() || p.state() == stateLost || p.state() == stateReady {
		return nil
	}
	p.worsen(stateLost)
	n := min(p.losses.Add(1), 8)
	wait := backoff{first: min(10*time.Millisecond<<(n-1), time.Second), max: time.Second}
	_ = wait.wait(ctx)
	return fmt.Errorf("kafka: %s: %w: a transaction is not continued over a lost connection: %w", where, eos.ErrAborted,
		err)
}
