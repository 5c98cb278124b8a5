package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/record"
)

var _ changelog.Reader = (*Reader)(nil)

const (
	// readBytesMax is what one fetch of a reader brings. Larger fetches gain nothing: at 4 MiB the round trip is below
	// a tenth of the decoding.
	readBytesMax = 4 << 20
	// readMaxWait is how long a broker may wait for data. A reader reads what exists, so it hardly ever waits.
	readMaxWait = 250 * time.Millisecond
	// tailBytesMax and tailMaxWait are the same for a reader that follows a topic with few and small records, and waits
	// most of the time.
	tailBytesMax = 1 << 20
	tailMaxWait  = 2 * time.Second
	// unknownTopicTimeout is how long a reader waits for a topic that the brokers do not know (yet).
	unknownTopicTimeout = 30 * time.Second
)

// Reader reads ranges of partitions in large fetches, to restore state. Safe for concurrent use: every Read has its own
// connection and holds at most three fetches: one at fn, one waiting for it, one on its way.
type Reader struct {
	client *Client
}

// NewReader returns a reader. It does no I/O and need not be closed.
func NewReader(client *Client) *Reader { return &Reader{client: client} }

// Read implements [changelog.Reader]. Transient errors are retried until ctx ends.
func (r *Reader) Read(
	ctx context.Context, tp record.TopicPartition, from, to int64, fn func(records []record.Raw, next int64) error,
) error {
	if from >= to {
		return nil
	}
	return r.read(ctx, &rangeRead{
		client: r.client, tp: tp, next: from, to: to, bytesFirst: readBytesMax, wait: readMaxWait,
	}, fn)
}

// Tail reads a partition from an offset on, and waits for more at its end: it returns when ctx ends, fn fails, or an
// error is not transient. fn gets what is committed, as with Read; next may move without records.
func (r *Reader) Tail(
	ctx context.Context, tp record.TopicPartition, from int64, fn func(records []record.Raw, next int64) error,
) error {
	return r.read(ctx, &rangeRead{
		client: r.client, tp: tp, next: from, to: math.MaxInt64, bytesFirst: tailBytesMax, wait: tailMaxWait,
	}, fn)
}

func (r *Reader) read(
	ctx context.Context, run *rangeRead, fn func(records []record.Raw, next int64) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	fetches := make(chan decoded)
	failed := make(chan error, 1)
	run.bytesMax = run.bytesFirst
	run.conns = r.client.newConns("read", 0)
	go func() {
		defer close(fetches)
		failed <- run.prefetch(ctx, fetches)
	}()
	err := func() error {
		for d := range fetches {
			if err := fn(d.records, d.next); err != nil {
				return err
			}
		}
		return <-failed
	}()
	cancel()
	_ = run.conns.Close() // ends a fetch under way
	for range fetches {   // until the goroutine has ended
	}
	return err
}

// rangeRead is one Read. Owned by the prefetching goroutine.
type rangeRead struct {
	client       *Client
	conns        *conns
	tp           record.TopicPartition
	next, to     int64
	bytesFirst   int32 // what a fetch brings
	bytesMax     int32 // more for a large batch
	wait         time.Duration
	unknownSince time.Time
	failures     int // unknown server errors in a row
}

// prefetch sends everything up to the end of the range, in order.
func (r *rangeRead) prefetch(ctx context.Context, out chan<- decoded) error {
	pause := backoff{first: 10 * time.Millisecond, max: time.Second}
	for r.next < r.to {
		d, err := r.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("kafka: read %s at offset %d: %w", r.tp, r.next, context.Cause(ctx))
		case err != nil && r.transient(err):
			if staleLeader(err) {
				r.client.forgetLeader(r.tp)
			}
			if pause.wait(ctx) != nil {
				return fmt.Errorf("kafka: read %s at offset %d: %w, last: %w", r.tp, r.next, context.Cause(ctx), err)
			}
			continue
		case err != nil:
			return fmt.Errorf("kafka: read %s at offset %d: %w", r.tp, r.next, err)
		case d.incomplete:
			r.bytesMax = min(r.bytesMax*2, fetchBytesLimit)
			continue
		}
		pause.next, r.bytesMax, r.unknownSince, r.failures = 0, r.bytesFirst, time.Time{}, 0
		if d.next == r.next {
			continue // nothing committed yet
		}
		for n := len(d.records); n > 0 && d.records[n-1].Offset >= r.to; n-- {
			d.records = d.records[:n-1] // the rest of the last batch
		}
		d.next = min(d.next, r.to)
		r.next = d.next
		select {
		case out <- d:
		case <-ctx.Done():
		}
	}
	return nil
}

// transient tells whether to try again.
func (r *rangeRead) transient(err error) bool {
	if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		now := time.Now()
		if r.unknownSince.IsZero() {
			r.unknownSince = now
		}
		return now.Sub(r.unknownSince) < unknownTopicTimeout
	}
	if errors.Is(err, sarama.ErrUnknown) { // UNKNOWN_SERVER_ERROR may pass
		r.failures++
		return r.failures < attemptsMax
	}
	return retriable(err) || staleLeader(err)
}

// fetch makes one round trip.
func (r *rangeRead) fetch(ctx context.Context) (decoded, error) {
	leader, err := r.client.leader(ctx, r.tp)
	if err != nil {
		return decoded{}, err
	}
	conn, err := r.conns.get(ctx, leader)
	if err != nil {
		return decoded{}, err
	}
	req := &sarama.FetchRequest{
		Version: fetchVersion, MaxWaitTime: int32(r.wait.Milliseconds()), MinBytes: 1, MaxBytes: r.bytesMax,
		Isolation: sarama.ReadCommitted, SessionEpoch: -1,
	}
	req.AddBlock(r.tp.Topic, r.tp.Partition, r.next, r.bytesMax, -1)
	res, err := call(ctx, conn, (*sarama.Broker).Fetch, req)
	if err != nil {
		return decoded{}, err
	}
	block := res.GetBlock(r.tp.Topic, r.tp.Partition)
	switch {
	case res.ErrorCode != 0:
		return decoded{}, sarama.KError(res.ErrorCode)
	case block == nil:
		return decoded{}, errUnknownInternal
	case block.Err == sarama.ErrOffsetOutOfRange:
		return decoded{}, fmt.Errorf("%w: %w", changelog.ErrPositionLost, block.Err)
	case block.Err == sarama.ErrTopicAuthorizationFailed:
		return decoded{}, fmt.Errorf("%w: grant this principal the ACL Read on topic %q", block.Err, r.tp.Topic)
	case block.Err != sarama.ErrNoError:
		return decoded{}, block.Err
	}
	d, err := decodeBlock(block, r.next)
	if err == nil && d.incomplete && partial(block) && r.bytesMax >= fetchBytesLimit {
		err = fmt.Errorf("the batch there is damaged or exceeds %d bytes", fetchBytesLimit)
	}
	return d, err
}
