package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// backoff waits longer each time: first, 2×first, … up to max. It has no jitter: a worker's requests are few.
type backoff struct {
	first, max time.Duration
	next       time.Duration
}

// wait sleeps or returns ctx's error.
func (b *backoff) wait(ctx context.Context) error {
	t := time.NewTimer(b.step())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *backoff) step() time.Duration {
	d := max(b.next, b.first)
	b.next = min(2*d, b.max)
	return d
}

// defaultBackoff suits look-ups and admin requests.
func defaultBackoff() backoff {
	return backoff{first: 5 * time.Millisecond, max: 250 * time.Millisecond}
}

// retry repeats do until it succeeds, fails with an error that is not retriable, or ctx ends; then the error names the
// last failure too.
func retry(ctx context.Context, b backoff, do func() error) error {
	for {
		err := do()
		if err == nil || !retriable(err) {
			return err
		}
		if waitErr := b.wait(ctx); waitErr != nil {
			return fmt.Errorf("%w; last failure: %w", waitErr, err)
		}
	}
}

// retriable tells whether the same request may succeed later: the broker's answer says that it was not executed, or
// executing it twice does no harm. For requests where a lost connection leaves doubt, ask [isConnLost] first.
func retriable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errClosed) {
		return false
	}
	if k, ok := errors.AsType[sarama.KError](err); ok {
		return retriableCode(k)
	}
	return errors.Is(err, errLeaderUnknown) || isConnLost(err)
}

func retriableCode(k sarama.KError) bool {
	switch k { //nolint:exhaustive // no for everything else
	case sarama.ErrUnknownTopicOrPartition, // metadata of a young topic spreads with a delay
		sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition, sarama.ErrReplicaNotAvailable,
		sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch, sarama.ErrOffsetNotAvailable,
		sarama.ErrBrokerNotAvailable, sarama.ErrRequestTimedOut, sarama.ErrNetworkException,
		sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrKafkaStorageError,
		sarama.ErrOffsetsLoadInProgress, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrConcurrentTransactions, sarama.ErrTransactionCoordinatorFenced, sarama.ErrNotController,
		sarama.ErrThrottlingQuotaExceeded:
		return true
	}
	return false
}

// staleCoordinator tells whether an error says that another broker coordinates now, or that this one is gone.
func staleCoordinator(err error) bool {
	return isConnLost(err) || errors.Is(err, sarama.ErrNotCoordinatorForConsumer) ||
		errors.Is(err, sarama.ErrConsumerCoordinatorNotAvailable)
}

// staleLeader tells whether an error says that another broker leads the partition now, or that this one is gone.
func staleLeader(err error) bool {
	if isConnLost(err) || errors.Is(err, errLeaderUnknown) {
		return true
	}
	k, ok := errors.AsType[sarama.KError](err)
	if !ok {
		return false
	}
	switch k { //nolint:exhaustive // no for everything else
	case sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition,
		sarama.ErrReplicaNotAvailable, sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch,
		sarama.ErrKafkaStorageError, sarama.ErrBrokerNotAvailable, sarama.ErrRequestTimedOut, sarama.ErrNetworkException:
		return true
	}
	return false
}
