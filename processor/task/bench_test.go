package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// BenchmarkCount runs a count through the whole task, from raw records to sealed batches: 100,000 keys, records of 100
// bytes, an epoch of 100,000 records. The figure is the time of one record.
func BenchmarkCount(b *testing.B) {
	for _, cache := range []bool{true, false} {
		b.Run(fmt.Sprintf("cache=%t", cache), func(b *testing.B) {
			const keys, epoch, batch = 100_000, 100_000, 5000
			tb := topology.NewBuilder()
			counts := topology.Count(topology.Stream(tb, "in", serde.String, serde.Bytes).GroupByKey(), topology.As("counts"))
			counts.ToStream().To("out")
			plan, err := tb.Build()
			require.NoError(b, err)
			in := record.TopicPartition{Topic: "in"}
			tk, err := task.Open(context.Background(), task.Config{
				ApplicationID: "bench", Subtopology: plan.Subtopologies[0], Inputs: []record.TopicPartition{in},
				Physical:   func(topic string) string { return topic },
				Partitions: func(string) (int32, error) { return 4, nil },
				Changelog:  func(name string) string { return name },
				Logger:     slog.New(slog.DiscardHandler),
				Stores:     store.SetConfig{Dir: b.TempDir(), CachingEnabled: cache},
			})
			require.NoError(b, err)
			defer func() { require.NoError(b, tk.Close(false)) }()
			require.NoError(b, tk.Init(map[record.TopicPartition]task.Position{in: {}}, nil, 0, 0))
			rnd := rand.New(rand.NewPCG(1, 2))
			raws := make([]record.Raw, epoch)
			for i := range raws {
				raws[i] = record.Raw{Key: fmt.Appendf(nil, "k%08d", rnd.IntN(keys)), Value: make([]byte, 100)}
			}
			offset := int64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				for from := 0; from < epoch && n < b.N; from += batch {
					rs := raws[from : from+batch]
					for i := range rs {
						rs[i].Offset, rs[i].Timestamp = offset, offset
						offset++
					}
					tk.Add(task.Input{TopicPartition: in, Records: rs, Next: offset})
					for tk.Buffered() {
						done, err := tk.Process(1024, 0)
						require.NoError(b, err)
						n += done
					}
					tk.Released()
				}
				e, err := tk.Seal()
				require.NoError(b, err)
				ends := make([]int64, len(e.Batches))
				require.NoError(b, tk.Committed(ends, 0))
			}
		})
	}
}
