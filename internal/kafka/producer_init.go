package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// Init implements [eos.Producer]. It never continues an old epoch: a plain InitProducerId, as a new process would send,
// aborts what is open, waits for what is prepared, and fences what is late. Retried until ctx ends or DeliveryTimeout.
func (p *Producer) Init(ctx context.Context) error {
	if s := p.state(); s == stateClosed {
		return p.misuse("Init", s)
	}
	p.worsen(stateLost)
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DeliveryTimeout)
	defer cancel()
	attempt := func() error { return p.acquire(ctx, p.cfg.TransactionTimeout) }
	if p.transactional() {
		p.suspectWritten()
		attempt = func() error { return p.endLastAndAcquire(ctx) }
	}
	err := retry(ctx, backoff{first: time.Millisecond, max: 50 * time.Millisecond}, attempt)
	if err != nil {
		k, ok := errors.AsType[sarama.KError](err)
		if ok && !retriableCode(k) && !errors.Is(err, classOf(k)) {
			return p.refused("initialise producer", "", k)
		}
		return fmt.Errorf("kafka: initialise producer %q: %w", p.cfg.TransactionalID, err)
	}
	clear(p.suspects)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.state == stateClosed {
		return errClosed
	}
	p.becomeLocked(stateReady)
	return nil
}

// acquire asks once for a producer id and epoch. With a transactional id it fences others, and is refused with
// CONCURRENT_TRANSACTIONS until what they sent is decided.
func (p *Producer) acquire(ctx context.Context, timeout time.Duration) error {
	req := &sarama.InitProducerIDRequest{
		Version: 4, TransactionTimeout: timeout, ProducerID: -1, ProducerEpoch: -1,
		TransactionalID: optional(p.cfg.TransactionalID),
	}
	var res *sarama.InitProducerIDResponse
	var err error
	if !p.transactional() {
		res, err = askAny(ctx, p.client, (*sarama.Broker).InitProducerID, req)
	} else {
		res, err = askCoordinator(ctx, p, (*sarama.Broker).InitProducerID, req)
	}
	if err == nil {
		err = codeError(res.Err)
	}
	if err != nil {
		return p.staleCoordinator(err)
	}
	p.id, p.epoch = res.ProducerID, res.ProducerEpoch
	clear(p.partitions) // sequences begin at 0 with every epoch
	p.forgetTransaction()
	return nil
}

// askCoordinator sends a request once to the coordinator of the transactional id.
func askCoordinator[Q, R any](
	ctx context.Context, p *Producer, method func(*sarama.Broker, Q) (R, error), req Q,
) (R, error) {
	broker, err := p.client.coordinator(ctx, sarama.CoordinatorTransaction, p.cfg.TransactionalID)
	if err != nil {
		var zero R
		return zero, err
	}
	return callBroker(ctx, p.control, broker, method, req)
}

// staleCoordinator forgets the coordinator of the transactional id if the error says so, and returns the error.
func (p *Producer) staleCoordinator(err error) error {
	if p.transactional() && staleCoordinator(err) {
		p.client.forgetCoordinator(sarama.CoordinatorTransaction, p.cfg.TransactionalID)
	}
	return err
}
