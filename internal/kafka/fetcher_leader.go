package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

// runLeaders gives homeless partitions to their leaders. It is a goroutine of its own because the search may take long
// and must not hold back partitions whose leader is known.
func (f *Fetcher) runLeaders(ctx context.Context) {
	for {
		at := f.findLeaders(ctx)
		if !waitAny(ctx, f.find, at) {
			return
		}
	}
}

// findLeaders makes one round and returns when the next one is due (zero: when woken).
func (f *Fetcher) findLeaders(ctx context.Context) time.Time {
	homeless := f.homeless()
	var unknown []*fetchPartition
	var topics []string
	for _, p := range homeless {
		if id, ok := f.client.cachedLeader(p.tp); ok {
			f.settle(ctx, p, id)
			continue
		}
		unknown = append(unknown, p)
		if !slices.Contains(topics, p.tp.Topic) {
			topics = append(topics, p.tp.Topic)
		}
	}
	if len(unknown) > 0 {
		f.askLeaders(ctx, topics, unknown)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var at time.Time
	for _, p := range f.mu.parts {
		if p.leader < 0 && !p.ended {
			at = earliest(at, p.notBefore)
			if p.notBefore.IsZero() { // added while we were asking; the wake-up may be consumed
				at = time.Now()
			}
		}
	}
	return at
}

// homeless returns the partitions whose leader is due to be searched.
func (f *Fetcher) homeless() []*fetchPartition {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	var list []*fetchPartition
	for _, p := range f.mu.parts {
		if p.leader < 0 && !p.ended && !p.notBefore.After(now) {
			list = append(list, p)
		}
	}
	return list
}

// askLeaders asks the cluster and settles what it tells; the others wait or fail.
func (f *Fetcher) askLeaders(ctx context.Context, topics []string, parts []*fetchPartition) {
	short, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	res, err := f.client.metadata(short, topics...)
	if err != nil {
		if ctx.Err() == nil {
			f.conf.Logger.Warn("kafka: cannot find partition leaders, retrying", slog.Any("topics", topics),
				slog.Any("err", err))
		}
		f.mu.Lock()
		for _, p := range parts {
			f.postponeLocked(p, true)
		}
		f.mu.Unlock()
		return
	}
	for _, p := range parts {
		if id, ok := f.client.cachedLeader(p.tp); ok {
			f.settle(ctx, p, id)
			continue
		}
		f.noLeader(ctx, p, leaderError(res, p.tp))
	}
}

// leaderError says why a metadata response has no leader for a partition.
func leaderError(res *sarama.MetadataResponse, tp record.TopicPartition) error {
	for _, t := range res.Topics {
		if t.Name != tp.Topic {
			continue
		}
		if t.Err != sarama.ErrNoError {
			return t.Err
		}
		for _, p := range t.Partitions {
			if p.ID == tp.Partition {
				return errLeaderUnknown
			}
		}
	}
	return sarama.ErrUnknownTopicOrPartition
}

// settle gives a partition to its leader and starts the leader's goroutine if it is new.
func (f *Fetcher) settle(ctx context.Context, p *fetchPartition, id int32) {
	f.mu.Lock()
	p.leader = id
	b := f.mu.brokers[id]
	if b == nil {
		b = &fetchBroker{id: id, wake: make(chan struct{}, 1)}
		f.mu.brokers[id] = b
		f.wg.Go(func() { f.runBroker(ctx, b) })
	}
	f.mu.Unlock()
	f.wakeUp(b)
}

// noLeader postpones a partition whose leader cannot be found, or ends it if no retry will help.
func (f *Fetcher) noLeader(ctx context.Context, p *fetchPartition, err error) {
	if final := f.final(p, err); final != nil {
		f.fail(ctx, p, final)
		return
	}
	f.mu.Lock()
	f.postponeLocked(p, true)
	failures := p.failures
	f.mu.Unlock()
	level := slog.LevelDebug
	if failures == 5 { // an election takes a few rounds; say once that this takes longer
		level = slog.LevelWarn
	}
	f.conf.Logger.Log(ctx, level, "kafka: partition without leader, waiting",
		slog.String("topic", p.tp.Topic), slog.Int("partition", int(p.tp.Partition)), slog.Any("err", err))
}

// final returns the error that ends a partition, or nil if a retry may help.
func (f *Fetcher) final(p *fetchPartition, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		p.unknownSince = time.Time{}
	}
	switch {
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed):
		return fmt.Errorf("kafka: fetch %s: %w: grant this principal the ACL Read on topic %q", p.tp, err, p.tp.Topic)
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		now := time.Now()
		if p.unknownSince.IsZero() {
			p.unknownSince = now
		}
		if now.Sub(p.unknownSince) < f.conf.UnknownTopicTimeout {
			return nil
		}
		return fmt.Errorf("kafka: fetch %s: %w for %v: was the topic deleted, or may this principal not Describe it?",
			p.tp, err, f.conf.UnknownTopicTimeout)
	case errors.Is(err, sarama.ErrUnknown): // UNKNOWN_SERVER_ERROR may pass
		if p.failures < attemptsMax {
			return nil
		}
	case retriable(err) || staleLeader(err):
		return nil
	}
	return fmt.Errorf("kafka: fetch %s at offset %d: %w", p.tp, p.offset, err)
}
