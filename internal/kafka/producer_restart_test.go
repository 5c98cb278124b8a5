package kafka

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
)

// counter writes 0, 1, 2 … to every partition, one number a transaction together with its offset, and recovers from
// errors as the port prescribes. It is a worker reduced to its commits.
type counter struct {
	producer *Producer
	admin    *Admin
	tps      []record.TopicPartition
	source   record.TopicPartition // whose offset counts
	next     int64
	classes  map[eos.Class]int
}

func (c *counter) epoch(ctx context.Context) error {
	if err := c.producer.Begin(ctx, c.tps, true); err != nil {
		return err
	}
	batches := make([]*record.Batch, len(c.tps))
	for i, tp := range c.tps {
		batches[i] = batch(tp, strconv.FormatInt(c.next, 10))
	}
	if _, err := c.producer.Send(ctx, batches); err != nil {
		return err
	}
	offsets := map[record.TopicPartition]eos.Offset{c.source: {Offset: c.next + 1}}
	if err := c.producer.SendOffsets(ctx, eos.Member{Generation: -1}, offsets); err != nil {
		return err
	}
	return c.producer.Commit(ctx)
}

// run goes on until count transactions more are committed.
func (c *counter) run(ctx context.Context, count int64, committed func(int64)) error {
	for goal := c.next + count; c.next < goal; {
		err := c.epoch(ctx)
		class := eos.Classify(err)
		c.classes[class]++
		if class == eos.ClassNone {
			c.next++
			committed(c.next)
			continue
		}
		if ctx.Err() != nil || class == eos.ClassFatal {
			return err
		}
		if class == eos.ClassUnknownOutcome {
			if err := c.again(ctx, c.producer.Init); err != nil {
				return err
			}
			got, err := stableOffsets(ctx, c.admin, c.producer.cfg.GroupID, []record.TopicPartition{c.source})
			if err != nil {
				return err
			}
			if next := got[c.source].Offset; next != c.next && next != c.next+1 {
				return fmt.Errorf("offset %d after transaction %d of unknown outcome", next, c.next)
			}
			c.next = got[c.source].Offset
			continue
		}
		if err := c.again(ctx, c.producer.Abort); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) again(ctx context.Context, do func(context.Context) error) error {
	for {
		if err := do(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// TestBrokerKilledInsideTransactions kills the broker (-9) while transactions are running and starts it again. Every
// number must come out exactly once and in order, and no partition may keep an open transaction. The numbers of kills
// can be raised with TIDEMARK_KILLS: the failure this guards against was seen once in seven.
func TestBrokerKilledInsideTransactions(t *testing.T) {
	t.Parallel()
	cluster := broker.StartPrivate(t)
	kills := 1
	if s := os.Getenv("TIDEMARK_KILLS"); s != "" {
		var err error
		kills, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(kills)*time.Minute)
	defer cancel()
	env := producerEnv{addrs: cluster.Bootstrap()}
	topic := env.topic(t, 3, nil)
	source := part(env.topic(t, 1, nil), 0)
	id := ProducerConfig{TransactionalID: uniqueName("tx"), GroupID: uniqueName("g"), RequestTimeout: 5 * time.Second}
	c := &counter{
		producer: env.producer(t, id), admin: NewAdmin(env.client(t), AdminConfig{}), source: source,
		tps:     []record.TopicPartition{part(topic, 0), part(topic, 1), part(topic, 2)},
		classes: make(map[eos.Class]int),
	}
	require.NoError(t, c.producer.Init(ctx))
	for kill := range kills {
		half := make(chan struct{})
		done := make(chan error, 1)
		goal := c.next + int64(50+kill%7)
		go func() {
			done <- c.run(ctx, 300, func(n int64) {
				if n == goal {
					close(half)
				}
			})
		}()
		select {
		case <-half:
		case err := <-done:
			require.FailNow(t, "ended early", "%v", err)
		}
		cluster.Kill9(t)
		cluster.Restart(t)
		require.NoError(t, <-done)
		require.NoError(t, c.closedTransactions(ctx), "after kill %d: a transaction is left open", kill)
	}
	t.Logf("%d transactions, outcomes by class: %v", c.next, c.classes)
	var want []string
	for i := range c.next {
		want = append(want, strconv.FormatInt(i, 10))
	}
	for _, tp := range c.tps {
		require.Equal(t, want, env.committed(t, tp, len(want)), "%s", tp)
	}
}

// closedTransactions waits until the last stable offset of every partition is its end, and the group's offsets are
// stable.
func (c *counter) closedTransactions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	wait := backoff{first: time.Millisecond, max: 100 * time.Millisecond}
	for {
		all, err := c.admin.EndOffsets(ctx, c.tps, false)
		if err != nil {
			return err
		}
		stable, err := c.admin.EndOffsets(ctx, c.tps, true)
		if err != nil {
			return err
		}
		open := ""
		for tp, end := range all {
			if stable[tp] != end {
				blocking, err := c.admin.BlockingProducers(ctx, tp)
				open = fmt.Sprintf("%s: last stable offset %d, end %d, open: %v %v", tp, stable[tp], end, blocking, err)
			}
		}
		if open == "" {
			_, err := c.admin.CommittedOffsets(ctx, c.producer.cfg.GroupID, []record.TopicPartition{c.source})
			if err == nil {
				return nil
			}
			open = err.Error()
		}
		if wait.wait(ctx) != nil {
			return fmt.Errorf("%s", open)
		}
	}
}
