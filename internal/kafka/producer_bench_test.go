package kafka

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidemarkio/tidemark/record"
)

// benchBatches makes batches of n records of 40 bytes, spread over partitions.
func benchBatches(topic string, partitions, n int) []*record.Batch {
	batches := make([]*record.Batch, partitions)
	for i := range batches {
		batches[i] = &record.Batch{TopicPartition: part(topic, int32(i))}
	}
	key, value := make([]byte, 8), make([]byte, 32)
	for i := range n {
		binary.BigEndian.PutUint64(key, uint64(i))
		binary.BigEndian.PutUint64(value, uint64(i)*0x9e3779b97f4a7c15)
		batches[i%partitions].Append(key, value, 1_700_000_000_000+int64(i/1000), nil)
	}
	return batches
}

func producerCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmarkSend(b *testing.B, env producerEnv, partitions, perEpoch int, codec sarama.CompressionCodec) {
	b.Helper()
	topic := env.topic(b, int32(partitions), nil)
	p := env.transactional(b, func(c *ProducerConfig) { c.Compression = codec })
	batches := benchBatches(topic, partitions, perEpoch)
	tps := make([]record.TopicPartition, partitions)
	for i := range tps {
		tps[i] = part(topic, int32(i))
	}
	ctx := b.Context()
	epoch := func() {
		require.NoError(b, p.Begin(ctx, tps, false))
		_, err := p.Send(ctx, batches)
		require.NoError(b, err)
		require.NoError(b, p.Commit(ctx))
	}
	for range 3 {
		epoch()
	}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := producerCPU()
	for b.Loop() {
		epoch()
	}
	records := float64(b.N) * float64(perEpoch)
	b.ReportMetric(records/b.Elapsed().Seconds()/1e6, "Mrec/s")
	b.ReportMetric(float64((producerCPU()-cpu).Nanoseconds())/records, "cpu-ns/rec")
}

// BenchmarkSend measures whole transactions. kfake runs in this process, so only the real broker's CPU figure is ours.
func BenchmarkSend(b *testing.B) {
	for _, partitions := range []int{1, 4, 16} {
		for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionSnappy} {
			b.Run(fmt.Sprintf("kafka/partitions=%d/%s", partitions, codec), func(b *testing.B) {
				benchmarkSend(b, newReal(b), partitions, 100_000, codec)
			})
		}
	}
	b.Run("blackhole/partitions=4", func(b *testing.B) {
		benchmarkSend(b, newFake(b, kfake.BlackholeProduce()), 4, 100_000, sarama.CompressionNone)
	})
}

// BenchmarkFill measures building alone: from a record.Batch to what sarama encodes.
func BenchmarkFill(b *testing.B) {
	p, err := NewProducer(newFake(b).client(b), ProducerConfig{TransactionalID: "x"})
	require.NoError(b, err)
	src := benchBatches("t", 1, batchRecordsMax)[0]
	pt := &partition{tp: src.TopicPartition, bytesMax: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		pt.queue = append(pt.queue[:0], source{batch: src})
		buf := p.takeBuffer()
		if err := p.fill(buf, pt); err != nil {
			b.Fatal(err)
		}
		p.giveBuffer(buf)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchRecordsMax, "ns/rec")
}
