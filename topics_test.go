package tidemark

import (
	"context"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// topicAdmin knows topics and their numbers of partitions. Other calls panic: nothing here makes them.
type topicAdmin struct {
	worker.Admin

	partitions map[string]int32
	created    map[string]int32
}

func (a *topicAdmin) Partitions(context.Context, []string) (map[string]int32, error) {
	return maps.Clone(a.partitions), nil
}

func (a *topicAdmin) Topics(context.Context) (map[string]int32, error) {
	return maps.Clone(a.partitions), nil
}

func (a *topicAdmin) TopicConfig(context.Context, string) (map[string]string, error) { return nil, nil }

func (a *topicAdmin) CreateTopic(_ context.Context, topic string, n int32, _ int16, _ map[string]string) error {
	a.created[topic] = n
	return nil
}

type (
	testStream = topology.KStream[string, string]
	testTable  = topology.KTable[string, string]
)

// joining declares what the tests join: streams and tables of strings.
func joining(declare func(stream func(string) *testStream, table func(string) *testTable)) *topology.Builder {
	b := topology.NewBuilder()
	declare(
		func(topic string) *testStream { return topology.Stream(b, topic, serde.String, serde.String) },
		func(topic string) *testTable { return topology.Table(b, topic, serde.String, serde.String) })
	return b
}

func rekeyed(s *testStream) *testStream {
	return topology.SelectKey(s, func(_, v string) string { return v }, serde.String)
}

func pair(l, r string) string { return l + r }

// TestCoPartitioning: 2 and 4 are topics with so many partitions.
func TestCoPartitioning(t *testing.T) {
	named := topology.Named
	for name, c := range map[string]struct {
		declare func(stream func(string) *testStream, table func(string) *testTable)
		want    map[string]int32 // of the repartition topics
		err     string
	}{
		"a stream and a table": {
			declare: func(stream func(string) *testStream, table func(string) *testTable) {
				topology.JoinTable(stream("2"), table("4"), pair, nil).To("2")
			},
			err: `tidemark: topic "4" has 4 partitions, and "2" has 2, but both are joined or feed the same stores ` +
				`(sub-topology 0): records of a key would not meet: give both the same number of partitions, or put a ` +
				`repartition before one`,
		},
		"two tables": {
			declare: func(_ func(string) *testStream, table func(string) *testTable) {
				topology.JoinTables(table("4"), table("2"), pair, nil).ToStream().To("2")
			},
			err: `topic "2" has 2 partitions, and "4" has 4`,
		},
		"a repartition topic adapts": {
			declare: func(stream func(string) *testStream, table func(string) *testTable) {
				topology.JoinTable(rekeyed(stream("2")), table("4"), pair, nil, named("j")).To("2")
			},
			want: map[string]int32{"app-j-repartition": 4},
		},
		"it goes down as well": {
			declare: func(stream func(string) *testStream, table func(string) *testTable) {
				topology.JoinTable(rekeyed(stream("4")), table("2"), pair, nil, named("j")).To("2")
			},
			want: map[string]int32{"app-j-repartition": 2},
		},
		"two repartition topics": {
			declare: func(stream func(string) *testStream, _ func(string) *testTable) {
				right := rekeyed(stream("4")).ToTable(named("t"))
				topology.JoinTable(rekeyed(stream("2")), right, pair, nil, named("j")).To("2")
			},
			want: map[string]int32{"app-j-repartition": 4, "app-t-repartition": 4},
		},
		"a choice of the user's counts for both": {
			declare: func(stream func(string) *testStream, _ func(string) *testTable) {
				right := stream("4").Repartition(named("r"), topology.Partitions(3)).ToTable()
				topology.JoinTable(rekeyed(stream("2")), right, pair, nil, named("j")).To("2")
			},
			want: map[string]int32{"app-j-repartition": 3, "app-r-repartition": 3},
		},
		"a choice that cannot be": {
			declare: func(stream func(string) *testStream, table func(string) *testTable) {
				left := stream("2").Repartition(named("r"), topology.Partitions(3))
				topology.JoinTable(left, table("4"), pair, nil).To("2")
			},
			err: `topic "4" has 4 partitions, and "app-r-repartition" has 3`,
		},
		"a foreign-key join": {
			declare: func(_ func(string) *testStream, table func(string) *testTable) {
				topology.ForeignKeyJoin(table("2"), table("4"), func(v string) string { return v }, pair, nil, named("fk")).
					ToStream().To("2")
			},
			want: map[string]int32{
				"app-fk-subscription-registration-topic": 4, "app-fk-subscription-response-topic": 2,
			},
		},
		"a foreign-key join of repartitioned tables": {
			declare: func(stream func(string) *testStream, _ func(string) *testTable) {
				left, right := rekeyed(stream("2")).ToTable(named("l")), rekeyed(stream("4")).ToTable(named("r"))
				topology.ForeignKeyJoin(left, right, func(v string) string { return v }, pair, nil, named("fk")).
					ToStream().To("2")
			},
			// The answers come from right's tasks, so left's side follows.
			want: map[string]int32{
				"app-l-repartition": 4, "app-r-repartition": 4,
				"app-fk-subscription-registration-topic": 4, "app-fk-subscription-response-topic": 4,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan, err := joining(c.declare).Build()
			require.NoError(t, err)
			admin := &topicAdmin{partitions: map[string]int32{"2": 2, "4": 4}, created: make(map[string]int32)}
			got, err := prepareTopics(t.Context(), &Config{ApplicationID: "app"}, plan, admin, nil)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.Empty(t, admin.created, "nothing is created for a topology that cannot run")
				return
			}
			require.NoError(t, err)
			for topic, n := range c.want {
				require.Equal(t, n, admin.created[topic], topic)
			}
			require.Len(t, got.repartitionInputs(), len(c.want))
		})
	}
}
