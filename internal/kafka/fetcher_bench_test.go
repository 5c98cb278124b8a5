package kafka

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

const (
	benchPartitions = 4
	benchRecords    = 1_000_000
)

// realKafka returns the bootstrap address of a real broker.
func realKafka(tb testing.TB) string {
	tb.Helper()
	addr := os.Getenv("TIDEMARK_KAFKA")
	if addr == "" {
		tb.Skip("SKIPPED: no real Kafka: set TIDEMARK_KAFKA to a bootstrap address")
	}
	return addr
}

// cpuTime is what this process has used, all threads.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loadBench fills a topic with records of 100 bytes (8 of them key) in big batches, once per broker.
func loadBench(b *testing.B, addr string) (topic string) {
	b.Helper()
	topic = fmt.Sprintf("bench-%d", benchRecords)
	conf := sarama.NewConfig()
	conf.Version = kafkaVersion
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	conf.Producer.Flush.Bytes = 1 << 20
	conf.Producer.Flush.MaxMessages = 0
	conf.Producer.Flush.Frequency = 50 * time.Millisecond
	conf.Producer.MaxMessageBytes = 900_000
	admin, err := sarama.NewClusterAdmin([]string{addr}, conf)
	require.NoError(b, err)
	defer func() { _ = admin.Close() }()
	err = admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: benchPartitions, ReplicationFactor: 1}, false)
	if err != nil {
		return topic // it is there
	}
	producer, err := sarama.NewAsyncProducer([]string{addr}, conf)
	require.NoError(b, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for err := range producer.Errors() {
			b.Error(err)
		}
	})
	value := bytes.Repeat([]byte("v"), 92)
	for i := range benchRecords {
		producer.Input() <- &sarama.ProducerMessage{
			Topic: topic, Partition: int32(i % benchPartitions),
			Key: sarama.StringEncoder(fmt.Sprintf("%08d", i)), Value: sarama.ByteEncoder(value),
		}
	}
	producer.AsyncClose()
	wg.Wait()
	return topic
}

// BenchmarkFetcher reads a million records from a real broker: fetch, decode, convert.
func BenchmarkFetcher(b *testing.B) {
	addr := realKafka(b)
	topic := loadBench(b, addr)
	client, err := NewClient([]string{addr}, nil)
	require.NoError(b, err)
	defer func() { _ = client.Close() }()
	var total int
	before := cpuTime(b)
	for b.Loop() {
		f := NewFetcher(client, FetcherConfig{})
		for p := range int32(benchPartitions) {
			f.Add(record.TopicPartition{Topic: topic, Partition: p}, 0)
		}
		for n := 0; n < benchRecords; {
			batch := <-f.Batches()
			require.NoError(b, batch.Err)
			n += len(batch.Records)
			total += len(batch.Records)
			f.Release(batch)
		}
		require.NoError(b, f.Close())
	}
	report(b, total, cpuTime(b)-before)
}

// BenchmarkReader reads the same through the reader.
func BenchmarkReader(b *testing.B) {
	addr := realKafka(b)
	topic := loadBench(b, addr)
	client, err := NewClient([]string{addr}, nil)
	require.NoError(b, err)
	defer func() { _ = client.Close() }()
	var total int
	before := cpuTime(b)
	for b.Loop() {
		for p := range int32(benchPartitions) {
			err := NewReader(client).Read(b.Context(), record.TopicPartition{Topic: topic, Partition: p}, 0,
				benchRecords/benchPartitions, func(records []record.Raw, _ int64) error {
					total += len(records)
					return nil
				})
			require.NoError(b, err)
		}
	}
	report(b, total, cpuTime(b)-before)
}

func report(b *testing.B, records int, cpu time.Duration) {
	b.Helper()
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(records), "cpu-ns/record")
	b.ReportMetric(0, "ns/op")
}
