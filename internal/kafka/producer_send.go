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

const (
	// requestBytes is when a produce request is full: its size stays below requestBytes + MaxRequestBytes. Two or three
	// of that size under way per broker are enough to encode one while the broker writes another.
	requestBytes = 1 << 20
	// brokerRequestsMax bounds the requests under way to one broker. They never carry the same partition, see
	// partition.sequence. Below sarama's default of Net.MaxOpenRequests, beyond which it would block.
	brokerRequestsMax = 3
	// requestsMax bounds the requests under way to all brokers, and with them the memory of a Send.
	requestsMax = 32
)

// Send implements [eos.Producer]. The result of an empty batch is -1, and so is that of a batch whose last records the
// broker acknowledged as duplicates without telling where they are (DUPLICATE_SEQUENCE_NUMBER after a lost answer).
// After an error the result is nil and no request is under way any more: either all have been answered, or their
// connections are cut and the producer is lost.
func (p *Producer) Send(ctx context.Context, batches []*record.Batch) ([]int64, error) {
	switch s := p.state(); {
	case p.transactional() && s != stateOpen, !p.transactional() && s != stateReady:
		return nil, p.misuse("Send", s)
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DeliveryTimeout)
	defer cancel()
	s := &sending{
		p: p, offsets: make([]int64, len(batches)), answers: make(chan answer, requestsMax),
		underWay: make(map[*conn]int),
	}
	var targets []record.TopicPartition
	for i, b := range batches {
		s.offsets[i] = -1
		if b.Len() == 0 {
			continue
		}
		part := p.partitions[b.TopicPartition]
		if part == nil {
			part = &partition{tp: b.TopicPartition, bytesMax: p.cfg.MaxRequestBytes}
			p.partitions[b.TopicPartition] = part
		}
		if len(part.queue) == 0 {
			part.backoff, part.retryAt = defaultBackoff(), time.Time{}
			s.parts = append(s.parts, part)
			targets = append(targets, b.TopicPartition)
		}
		part.queue = append(part.queue, source{batch: b, index: i})
	}
	defer s.release()
	if p.transactional() {
		if err := p.addPartitions(ctx, targets); err != nil {
			return nil, err
		}
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	return s.offsets, nil
}

// sending is one call of Send: a loop on the caller's goroutine that keeps every broker busy and takes answers.
type sending struct {
	p       *Producer
	parts   []*partition // with something left to send, in turn
	offsets []int64
	answers chan answer // capacity requestsMax: the goroutine that reads answers never blocks
	// underWay counts requests by connection, total all of them.
	underWay map[*conn]int
	total    int
	err      error // the first that ends the sending; no request starts after it
}

// request is one produce request under way.
type request struct {
	conn  *conn
	parts []*partition
}

type answer struct {
	*request
	res *sarama.ProduceResponse
	err error
}

func (s *sending) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if s.err == nil {
			s.startRequests(ctx)
		}
		if s.total == 0 && (s.err != nil || len(s.parts) == 0) {
			return s.err
		}
		timer.Reset(s.untilRetry())
		select {
		case a := <-s.answers:
			s.take(ctx, a)
		case <-timer.C:
		case <-ctx.Done():
			s.interrupted(ctx)
		}
	}
}

// interrupted ends the sending because the caller's context or DeliveryTimeout ended.
func (s *sending) interrupted(ctx context.Context) {
	cause := context.Cause(ctx)
	err := fmt.Errorf("kafka: send: %w: %w", eos.ErrAborted, cause)
	if s.err != nil {
		err = s.err
	}
	for _, part := range s.parts {
		if part.sending != nil && !part.busy && s.err == nil { // what it was waiting for
			err = fmt.Errorf("kafka: send to %s: %w: not acknowledged in time: %w", part.tp, eos.ErrAborted, cause)
		}
	}
	if s.total > 0 || !s.p.transactional() {
		s.p.worsen(stateLost) // without an answer the sequence numbers are unknown
	} else {
		s.p.worsen(stateDoomed)
	}
	s.abandon(err)
	s.drain()
}

// abandon cuts what is under way: the epoch is over, and Init makes brokers refuse what they have not read yet.
func (s *sending) abandon(err error) {
	if s.err == nil {
		s.err = err
	}
	for c := range s.underWay {
		c.cut()
	}
}

// drain takes the answers of requests whose connections are cut: they come at once.
func (s *sending) drain() {
	for s.total > 0 {
		a := <-s.answers
		s.landed(a.request)
		if a.err != nil {
			a.conn.close()
		}
	}
}

// release gives back what the call used.
func (s *sending) release() {
	for _, part := range s.parts {
		part.queue, part.busy = nil, false
		if part.sending != nil {
			s.p.giveBuffer(part.sending)
			part.sending = nil
		}
	}
}

// untilRetry is how long the first partition that waits has to wait.
func (s *sending) untilRetry() time.Duration {
	d := time.Hour
	for _, part := range s.parts {
		if !part.busy && !part.retryAt.IsZero() {
			d = min(d, time.Until(part.retryAt))
		}
	}
	return max(d, 0)
}

// startRequests sends until no partition is free, or every broker has enough. Requests are built one after the other:
// while one is encoded, the brokers work on those before.
func (s *sending) startRequests(ctx context.Context) {
	s.findLeaders(ctx)
	for s.total < requestsMax && s.err == nil {
		r, req := s.build(ctx)
		if r == nil {
			return
		}
		for _, part := range r.parts {
			part.busy = true
		}
		s.underWay[r.conn]++
		s.total++
		stop := context.AfterFunc(ctx, r.conn.cut) // for a broker that does not read
		err := r.conn.broker.AsyncProduce(req, func(res *sarama.ProduceResponse, err error) {
			s.answers <- answer{r, res, err}
		})
		stop()
		if err != nil { // not sent: the callback is not called
			s.take(ctx, answer{r, nil, err})
		}
	}
}

// findLeaders asks for all leaders that are not known in one request.
func (s *sending) findLeaders(ctx context.Context) {
	var topics []string
	now := time.Now()
	for _, part := range s.parts {
		if part.busy || now.Before(part.retryAt) {
			continue
		}
		if _, ok := s.p.client.cachedLeader(part.tp); !ok && !slices.Contains(topics, part.tp.Topic) {
			topics = append(topics, part.tp.Topic)
		}
	}
	if len(topics) > 1 {
		_, _ = s.p.client.metadata(ctx, topics...) // build asks again for what is missing, and minds errors
	}
}

// build collects one request: partitions of one broker that are free to send.
func (s *sending) build(ctx context.Context) (*request, *sarama.ProduceRequest) {
	p := s.p
	now := time.Now()
	var r *request
	var req *sarama.ProduceRequest
	bytes := 0
	for i := 0; i < len(s.parts) && bytes < requestBytes && s.err == nil; i++ {
		part := s.parts[i]
		if part.busy || now.Before(part.retryAt) {
			continue
		}
		leader, err := p.client.leader(ctx, part.tp)
		if err != nil {
			s.postpone(ctx, part, fmt.Sprintf("send to %s", part.tp), err)
			continue
		}
		if r != nil && leader != r.conn.brokerID {
			continue
		}
		if r == nil {
			conn, err := p.data.get(ctx, leader)
			if err != nil {
				s.lost(ctx, []*partition{part}, err)
				continue
			}
			if s.underWay[conn] >= brokerRequestsMax {
				continue
			}
			r = &request{conn: conn}
			req = &sarama.ProduceRequest{
				Version: 10, TransactionalID: optional(p.cfg.TransactionalID), RequiredAcks: sarama.WaitForAll,
				Timeout: int32(p.cfg.RequestTimeout.Milliseconds()),
			}
		}
		if part.sending == nil {
			b := p.takeBuffer()
			part.sending = b
			if err := p.fill(b, part); err != nil {
				s.unsendable(err)
				return nil, nil
			}
		}
		part.retryAt = time.Time{}
		req.AddBatch(part.tp.Topic, part.tp.Partition, &part.sending.batch)
		r.parts = append(r.parts, part)
		bytes += part.sending.bytes
	}
	if s.err != nil {
		return nil, nil
	}
	return r, req
}

// unsendable ends the sending because of a record that cannot be sent.
func (s *sending) unsendable(err error) {
	s.err = err
	s.p.worsen(stateDoomed)
}

// landed notes that a request is not under way any more.
func (s *sending) landed(r *request) {
	s.total--
	if s.underWay[r.conn]--; s.underWay[r.conn] == 0 {
		delete(s.underWay, r.conn)
	}
	for _, part := range r.parts {
		part.busy = false
	}
}

// take handles the answer to one request.
func (s *sending) take(ctx context.Context, a answer) {
	s.landed(a.request)
	if encodingError(a.err) {
		s.refuse(fmt.Errorf("kafka: send to %s: %w: %w", a.parts[0].tp, eos.ErrFatal, a.err), stateDoomed)
		return
	}
	if a.err != nil {
		a.conn.close()
		s.lost(ctx, a.parts, a.conn.failed(ctx, a.err))
		return
	}
	a.conn.answered.Store(true)
	a.conn.lastUse.Store(time.Now().UnixNano())
	for _, part := range a.parts {
		block := a.res.GetBlock(part.tp.Topic, part.tp.Partition)
		if block == nil {
			s.refuse(fmt.Errorf("kafka: send to %s: %w: %w", part.tp, eos.ErrAborted, errUnknownInternal), stateLost)
			continue
		}
		s.answered(ctx, part, block)
	}
}

// lost handles a connection that broke or could not be opened.
func (s *sending) lost(ctx context.Context, parts []*partition, err error) {
	p := s.p
	for _, part := range parts {
		p.client.forgetLeader(part.tp)
	}
	if s.err != nil || ctx.Err() != nil { // run notices the end of ctx
		return
	}
	where := fmt.Sprintf("send to %s", parts[0].tp)
	p.cfg.Logger.Warn("connection to partition leader lost", slog.String("request", where), slog.Any("error", err))
	if errors.Is(err, errClosed) {
		s.abandon(fmt.Errorf("kafka: %s: %w", where, err))
		return
	}
	if lost := p.connLost(ctx, where, err); lost != nil {
		s.abandon(lost)
		return
	}
	for _, part := range parts {
		s.postpone(ctx, part, where, err)
	}
}

// postpone has a partition's batch sent again later, or ends the sending if the error does not pass.
func (s *sending) postpone(ctx context.Context, part *partition, where string, err error) {
	p := s.p
	if staleLeader(err) {
		p.client.forgetLeader(part.tp)
	}
	switch {
	case ctx.Err() != nil: // run notices
		part.retryAt = time.Now().Add(time.Hour)
	case retriable(err):
		part.retryAt = time.Now().Add(part.backoff.step())
		p.cfg.Logger.Debug("send again", slog.Any("partition", part.tp), slog.Any("error", err))
	default:
		if k, ok := errors.AsType[sarama.KError](err); ok {
			s.refuse(p.refused(where, part.tp.Topic, k), stateDoomed)
			return
		}
		s.refuse(fmt.Errorf("kafka: %s: %w: %w", where, eos.ErrAborted, err), stateDoomed)
	}
}

// refuse ends the sending, but lets what is under way be answered, so that nothing arrives after the abort.
func (s *sending) refuse(err error, next txnState) {
	if s.err == nil {
		s.err = err
	}
	s.p.worsen(next)
}

// answered handles the broker's word on one batch.
func (s *sending) answered(ctx context.Context, part *partition, block *sarama.ProduceResponseBlock) {
	p, b := s.p, part.sending
	where := fmt.Sprintf("send to %s", part.tp)
	switch block.Err {
	case sarama.ErrNoError:
		s.acknowledged(part, block.Offset)
	case sarama.ErrDuplicateSequenceNumber:
		s.acknowledged(part, -1)
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		s.tooLarge(part, block)
	case sarama.ErrInvalidRecord:
		err := p.refused(where, part.tp.Topic, block.Err)
		if len(block.RecordErrors) > 0 {
			first := block.RecordErrors[0]
			text := "refused"
			if first.BatchIndexErrorMessage != nil {
				text = *first.BatchIndexErrorMessage
			}
			err = fmt.Errorf("%w: record %d: %s", err, b.from+int(first.BatchIndex), text)
		}
		s.refuse(err, stateDoomed)
	default:
		s.postpone(ctx, part, where, block.Err)
	}
}

// acknowledged moves on to a partition's next batch.
func (s *sending) acknowledged(part *partition, offset int64) {
	b := part.sending
	next := int64(-1)
	if offset >= 0 {
		next = offset + int64(b.to-b.from)
	}
	s.offsets[b.source] = next
	part.advance(b)
	part.sending, part.backoff = nil, defaultBackoff()
	s.p.giveBuffer(b)
	if len(part.queue) > 0 {
		return
	}
	for i := range s.parts {
		if s.parts[i] == part {
			s.parts = append(s.parts[:i], s.parts[i+1:]...)
			return
		}
	}
}

// tooLarge splits a batch that the broker finds too large. The partition keeps the smaller size: its topic's
// max.message.bytes is below our limit.
func (s *sending) tooLarge(part *partition, block *sarama.ProduceResponseBlock) {
	b := part.sending
	n := b.to - b.from
	if n == 1 {
		s.refuse(&eos.RecordTooLargeError{
			TopicPartition: part.tp, Batch: part.queue[0].batch, Index: b.from, SizeBytes: b.bytes - batchOverheadBytes,
			Err: block.Err,
		}, stateDoomed)
		return
	}
	s.p.cfg.Logger.Debug("batch is too large for the broker, splitting",
		slog.Any("partition", part.tp), slog.Int("bytes", b.bytes))
	part.bytesMax = b.bytes / 2 // down to single records: fill takes at least one
	part.sending = nil
	s.p.giveBuffer(b)
}
