package kafka

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/record"
)

// listen accepts connections and hands them to serve, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestNewClientReportsAllMistakes(t *testing.T) {
	t.Parallel()
	conf := sarama.NewConfig()
	conf.ClientID = "not allowed!"
	conf.Net.MaxOpenRequests = 0
	_, err := NewClient([]string{"a:1", "no port", ":"}, conf)
	require.ErrorContains(t, err, `"no port"`)
	require.ErrorContains(t, err, `":"`)
	require.ErrorContains(t, err, "MaxOpenRequests")
	_, err = NewClient(nil, nil)
	require.ErrorContains(t, err, "no bootstrap brokers")
}

func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	conf := sarama.NewConfig()
	before := *conf
	c, err := NewClient([]string{"a:1"}, conf)
	require.NoError(t, err)
	require.Equal(t, before.Version, conf.Version)
	require.Equal(t, before.MetricRegistry, conf.MetricRegistry)
	require.True(t, c.conf.Version.IsAtLeast(kafkaVersion))
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err = c.metadata(t.Context(), "t")
	require.ErrorIs(t, err, errClosed)
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	c := producerEnv{addrs: []string{addr}}.client(t)
	_, err = c.metadata(testContext(t), "t")
	require.ErrorContains(t, err, addr)
	require.ErrorContains(t, err, "refused")
	require.True(t, isConnLost(err))
	require.True(t, retriable(err), "%v", err)
}

func TestHintWhenTheBrokerHangsUp(t *testing.T) {
	t.Parallel()
	addr := listen(t, func(c net.Conn) {
		b := make([]byte, 1)
		_, _ = c.Read(b)
		_ = c.Close()
	})
	c := producerEnv{addrs: []string{addr}}.client(t)
	_, err := c.metadata(testContext(t), "t")
	require.ErrorContains(t, err, addr)
	require.ErrorContains(t, err, "TLS or SASL")
}

func TestContextEndsWhileConnecting(t *testing.T) {
	t.Parallel()
	accepted := make(chan struct{}, 8)
	addr := listen(t, func(c net.Conn) { // never answers
		t.Cleanup(func() { _ = c.Close() })
		accepted <- struct{}{}
	})
	c := producerEnv{addrs: []string{addr}}.client(t)
	ctx, cancel := context.WithCancelCause(testContext(t))
	reason := errors.New("enough")
	done := make(chan error, 1)
	go func() {
		_, err := c.metadata(ctx, "t")
		done <- err
	}()
	<-accepted
	cancel(reason)
	require.ErrorIs(t, <-done, reason)
}

func TestCloseWhileConnecting(t *testing.T) {
	t.Parallel()
	accepted := make(chan struct{}, 8)
	addr := listen(t, func(c net.Conn) {
		t.Cleanup(func() { _ = c.Close() })
		accepted <- struct{}{}
	})
	c := producerEnv{addrs: []string{addr}}.client(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.metadata(testContext(t), "t")
		done <- err
	}()
	<-accepted
	require.NoError(t, c.Close())
	require.Error(t, <-done)
}

func TestALostConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	c := env.client(t)
	_, err := c.metadata(ctx, controllerTopic)
	require.NoError(t, err)
	s := c.newConns("test", 0)
	first, err := s.get(ctx, 0)
	require.NoError(t, err)
	again, err := s.get(ctx, 0)
	require.NoError(t, err)
	require.Same(t, first, again)

	var done atomic.Bool
	env.fake.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("hang up"), !done.Swap(true)
	})
	ask := func(conn *conn) error {
		_, err := call(ctx, conn, (*sarama.Broker).GetMetadata, sarama.NewMetadataRequest(kafkaVersion, nil))
		return err
	}
	err = ask(first)
	require.True(t, isConnLost(err), "%v", err)
	require.True(t, isConnLost(ask(first)), "it stays lost")
	second, err := s.get(ctx, 0)
	require.NoError(t, err)
	require.NotSame(t, first, second)
	require.NoError(t, ask(second))

	s.dropIdle(time.Hour)
	kept, err := s.get(ctx, 0)
	require.NoError(t, err)
	require.Same(t, second, kept)
	s.dropIdle(-time.Hour)
	third, err := s.get(ctx, 0)
	require.NoError(t, err)
	require.NotSame(t, second, third)
	require.NoError(t, s.Close())
	_, err = s.get(ctx, 0)
	require.ErrorIs(t, err, errClosed)
}

func TestLeaderThatIsNotThere(t *testing.T) {
	t.Parallel()
	env := newFake(t, kfake.SeedTopics(2, "t"))
	ctx := testContext(t)
	c := env.client(t)
	_, err := c.leader(ctx, record.TopicPartition{Topic: "t", Partition: 7})
	require.ErrorContains(t, err, "the topic has 2 partitions")
	require.True(t, retriable(err))
	_, err = c.leader(ctx, record.TopicPartition{Topic: "missing"})
	require.ErrorIs(t, err, sarama.ErrUnknownTopicOrPartition)
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	t.Parallel()
	b := backoff{first: time.Millisecond, max: 5 * time.Millisecond}
	var steps []time.Duration
	for range 5 {
		steps = append(steps, b.step())
	}
	ms := time.Millisecond
	require.Equal(t, []time.Duration{ms, 2 * ms, 4 * ms, 5 * ms, 5 * ms}, steps)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, retry(ctx, b, func() error { return sarama.ErrNotLeaderForPartition }), context.Canceled)
}
