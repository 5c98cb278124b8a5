package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/processor/worker"
)

// fetchVersion is the newest version without flexible fields: the byte arrays of later ones bring us nothing.
const fetchVersion = 11

// runBroker fetches from one broker until the fetcher is closed.
func (f *Fetcher) runBroker(ctx context.Context, b *fetchBroker) {
	for {
		parts, busy, at := f.due(b.id)
		if len(parts) == 0 {
			if !waitAny(ctx, b.wake, at) {
				return
			}
			continue
		}
		began := time.Now()
		records, err := f.fetch(ctx, b, parts, busy)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			f.lost(ctx, b, parts, err)
		case records > 0 && records < paceRecords && f.conf.Pace > 0:
			if !waitAny(ctx, nil, began.Add(f.conf.Pace)) {
				return
			}
		}
	}
}

// fetchTarget is a partition in a request, and the offset asked for.
type fetchTarget struct {
	*fetchPartition
	from     int64
	bytesMax int32
}

// due takes the partitions to ask a broker for now and marks them in flight. busy says that the answer must not be
// waited for long, as others are left out only because their batches are out; at is when the next one is due if none is
// now.
func (f *Fetcher) due(broker int32) (parts []fetchTarget, busy bool, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, p := range f.mu.parts {
		switch {
		case p.leader != broker || p.inFlight || p.ended:
		case p.out >= batchesMax:
			busy = true
		case p.notBefore.After(now):
			at = earliest(at, p.notBefore)
		case p.solo:
			for _, t := range parts {
				t.inFlight = false
			}
			p.inFlight = true
			return []fetchTarget{{p, p.offset, p.bytesMax}}, true, at
		default:
			p.inFlight = true
			busy = busy || !p.told // tasks may be waiting to hear of it: no long poll
			parts = append(parts, fetchTarget{p, p.offset, p.bytesMax})
		}
	}
	return parts, busy || !at.IsZero(), at
}

// fetch makes one round trip. An error means that nothing came of it.
func (f *Fetcher) fetch(ctx context.Context, b *fetchBroker, parts []fetchTarget, busy bool) (records int, err error) {
	wait := f.conf.MaxWait
	if busy {
		wait = min(wait, busyWait)
	}
	req := &sarama.FetchRequest{
		Version: fetchVersion, MaxWaitTime: int32(wait.Milliseconds()), MinBytes: 1, MaxBytes: f.conf.ResponseBytesMax,
		Isolation: sarama.ReadCommitted, SessionEpoch: -1, // no fetch session: the set of partitions changes too often
	}
	for _, t := range parts {
		// The order in the request is that of a map, so every partition is the first now and then, which is the one that
		// gets its batch even if it exceeds the limits (KIP-74).
		req.AddBlock(t.tp.Topic, t.tp.Partition, t.from, t.bytesMax, -1)
		req.MaxBytes = max(req.MaxBytes, t.bytesMax)
	}
	conn, err := f.conns.get(ctx, b.id)
	if err != nil {
		return 0, err
	}
	res, err := call(ctx, conn, (*sarama.Broker).Fetch, req)
	if err != nil {
		return 0, err
	}
	for _, t := range parts {
		records += f.answer(ctx, t, res)
	}
	return records, nil
}

// answer handles what a response says of one partition.
func (f *Fetcher) answer(ctx context.Context, t fetchTarget, res *sarama.FetchResponse) (records int) {
	block := res.GetBlock(t.tp.Topic, t.tp.Partition)
	var err error
	switch {
	case res.ErrorCode != 0:
		err = sarama.KError(res.ErrorCode)
	case block == nil:
		err = sarama.ErrUnknown // the answer does not cover the request
	case block.Err != sarama.ErrNoError:
		err = block.Err
	}
	var d decoded
	if err == nil {
		if d, err = decodeBlock(block, t.from); err != nil {
			f.landed(t)
			f.fail(ctx, t.fetchPartition, fmt.Errorf("kafka: fetch %s at offset %d: %w", t.tp, t.from, err))
			return 0
		}
	}
	f.landed(t)
	switch {
	case err == nil && d.incomplete:
		f.grow(ctx, t, partial(block))
	case err == nil:
		f.succeeded(t)
		if d.next > t.from || f.untold(t) {
			f.deliver(ctx, t.fetchPartition, &worker.Fetched{
				Records: d.records, Bytes: d.bytes, Next: d.next, HighWatermark: block.LastStableOffset,
			})
		}
	case errors.Is(err, sarama.ErrOffsetOutOfRange):
		f.fail(ctx, t.fetchPartition, fmt.Errorf("kafka: fetch %s at offset %d: %w", t.tp, t.from,
			worker.ErrOffsetOutOfRange))
	default:
		f.refused(ctx, t, err)
	}
	return len(d.records)
}

// landed ends the flight. The goroutine goes on to deliver, but it is the only one that fetches this partition.
func (f *Fetcher) landed(t fetchTarget) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.inFlight = false
}

// untold reports that the worker has heard nothing of the partition since it was added: that it has no records beyond
// the position is news, too, and other inputs of the task may be waiting for it.
func (f *Fetcher) untold(t fetchTarget) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !t.told
}

func (f *Fetcher) succeeded(t fetchTarget) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.failures, t.solo, t.unknownSince, t.notBefore = 0, false, time.Time{}, time.Time{}
	t.backoff.next = 0
	t.fetchPartition.bytesMax = f.conf.PartitionBytesMax
}

// grow asks for more next time: the next batch did not fit. A broker that follows KIP-74 sends it whole when it comes
// first in the request, so this is only the last resort, and no error before the limit.
func (f *Fetcher) grow(ctx context.Context, t fetchTarget, cut bool) {
	if cut && t.bytesMax >= fetchBytesLimit {
		f.fail(ctx, t.fetchPartition, fmt.Errorf("kafka: fetch %s: the batch at offset %d is damaged or exceeds %d bytes",
			t.tp, t.from, fetchBytesLimit))
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.fetchPartition.bytesMax = min(t.bytesMax*2, fetchBytesLimit)
}

// refused handles an error code of one partition.
func (f *Fetcher) refused(ctx context.Context, t fetchTarget, err error) {
	if final := f.final(t.fetchPartition, err); final != nil {
		f.fail(ctx, t.fetchPartition, final)
		return
	}
	f.conf.Logger.Debug("kafka: fetch refused, retrying", slog.String("topic", t.tp.Topic),
		slog.Int("partition", int(t.tp.Partition)), slog.Any("err", err))
	stale := staleLeader(err)
	f.mu.Lock()
	f.postponeLocked(t.fetchPartition, stale)
	f.mu.Unlock()
	if stale {
		f.wakeUp(nil)
	}
}

// lost handles a round trip that failed as a whole. If the broker is gone, the leaders are looked up again; if it was
// the answer that could not be decoded, each partition is asked for alone, so that one damaged batch does not stop the
// others, and after a few attempts the culprit ends.
func (f *Fetcher) lost(ctx context.Context, b *fetchBroker, parts []fetchTarget, err error) {
	var undecodable sarama.PacketDecodingError
	damaged := errors.As(err, &undecodable)
	f.conf.Logger.Warn("kafka: fetch failed, retrying", slog.Int("broker", int(b.id)),
		slog.Int("partitions", len(parts)), slog.Any("err", err))
	f.mu.Lock()
	for _, t := range parts {
		t.inFlight = false
		f.postponeLocked(t.fetchPartition, !damaged)
		t.solo = damaged
	}
	failures := parts[0].failures
	f.mu.Unlock()
	if !damaged {
		f.wakeUp(nil)
		return
	}
	if t := parts[0]; len(parts) == 1 && failures >= attemptsMax {
		f.fail(ctx, t.fetchPartition, fmt.Errorf("kafka: fetch %s at offset %d: %w: the log is damaged there",
			t.tp, t.from, err))
	}
}
