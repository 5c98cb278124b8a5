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

// BenchmarkRepartition sends records through a repartition topic, from raw to raw on both sides, and counts behind it.
// With checkpoints each of them names its task.
func BenchmarkRepartition(b *testing.B) {
	for _, checkpoints := range []bool{false, true} {
		b.Run(fmt.Sprintf("checkpoints=%t", checkpoints), func(b *testing.B) {
			const keys, epoch = 1000, 10_000
			tb := topology.NewBuilder()
			stream := topology.Stream(tb, "in", serde.String, serde.Bytes).Repartition(topology.Named("mid"))
			topology.Count(stream.GroupByKey(), topology.InMemory())
			plan, err := tb.Build()
			require.NoError(b, err)
			name := func(topic string) string { return topic }
			channels := map[int32]*task.Channels{}
			if checkpoints {
				channels = task.ChannelsOf(plan, name, func(int32) int32 { return 1 })
			}
			var tasks [2]*task.Task
			for i, sub := range plan.Subtopologies {
				in := record.TopicPartition{Topic: sub.SourceTopics[0]}
				tasks[i], err = task.Open(context.Background(), task.Config{
					ID: record.TaskID{Subtopology: sub.ID}, ApplicationID: "bench", Subtopology: sub,
					Inputs: []record.TopicPartition{in}, Physical: name, Channels: channels[sub.ID],
					Partitions: func(string) (int32, error) { return 1, nil }, Changelog: name,
					Logger: slog.New(slog.DiscardHandler), Stores: store.SetConfig{CachingEnabled: true},
				})
				require.NoError(b, err)
				defer func() { require.NoError(b, tasks[i].Close(false)) }()
				require.NoError(b, tasks[i].Init(map[record.TopicPartition]task.Position{in: {}}, nil, 0, 0))
			}
			raws, mids := make([]record.Raw, epoch), make([]record.Raw, epoch)
			for i := range raws {
				raws[i] = record.Raw{Key: fmt.Appendf(nil, "k%08d", i%keys), Value: make([]byte, 100)}
			}
			offset := int64(0)
			step := func(t *task.Task, rs []record.Raw) *task.Epoch {
				t.Add(task.Input{TopicPartition: t.Inputs()[0], Records: rs, Next: offset})
				for t.Buffered() {
					_, err := t.Process(1024, 0)
					require.NoError(b, err)
				}
				t.Released()
				e, err := t.Seal()
				require.NoError(b, err)
				return e
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += epoch {
				for i := range raws {
					raws[i].Offset, raws[i].Timestamp = offset, offset
					offset++
				}
				first := step(tasks[0], raws)
				for i := range epoch {
					mids[i] = first.Batches[0].At(i)
					mids[i].Offset = offset - epoch + int64(i)
				}
				second := step(tasks[1], mids)
				for i, e := range []*task.Epoch{first, second} {
					require.NoError(b, tasks[i].Committed(make([]int64, len(e.Batches)), 0))
				}
			}
		})
	}
}
