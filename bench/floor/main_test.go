package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
)

// The floor is what others are measured against, so it must be right, not only fast.
func TestFloorCountsExactly(t *testing.T) {
	t.Parallel()
	const records, keys = 5000, 70
	for _, cache := range []string{"on", "off"} {
		for _, threads := range []string{"1", "2"} {
			t.Run("cache "+cache+", threads "+threads, func(t *testing.T) {
				t.Parallel()
				c := broker.Start(t)
				in, out, group := broker.Name(t, "in"), broker.Name(t, "out"), broker.Name(t, "app")
				c.CreateTopic(t, in, 3, nil)
				input := make([]broker.Record, records)
				for i := range input {
					input[i] = broker.Record{Partition: -1, Key: fmt.Appendf(nil, "k%d", i*i%keys), Value: []byte("v")}
				}
				c.Produce(t, in, input...)
				var stdout strings.Builder
				err := run(t.Context(), []string{
					"--bootstrap", c.Bootstrap()[0], "--in", in, "--out", out, "--app-id", group,
					"--cache", cache, "--threads", threads, "--commit-ms", "5",
				}, &stdout)
				require.NoError(t, err)

				want := map[string]uint64{}
				for _, r := range input {
					want[string(r.Key)]++
				}
				for _, topic := range []string{out, group + "-counts-changelog"} {
					got := c.ReadCommitted(t, topic)
					last := map[string]uint64{}
					for _, r := range got {
						count := binary.BigEndian.Uint64(r.Value)
						require.Greater(t, count, last[string(r.Key)], "counts grow")
						last[string(r.Key)] = count
					}
					require.Equal(t, want, last)
					if cache == "off" {
						require.Len(t, got, records)
					}
				}
				committed := c.CommittedOffsets(t, group)
				for p, end := range c.EndOffsets(t, in) {
					require.Equal(t, end, committed[record.TopicPartition{Topic: in, Partition: p}])
				}
				var line map[string]any
				require.NoError(t, json.Unmarshal([]byte(stdout.String()), &line))
				require.InEpsilon(t, records, line["records"], 0)
			})
		}
	}
}
