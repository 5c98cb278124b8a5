package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestMergedRepartitions compares a topology with and without merging: which topics there are, and that the results are
// the same.
func TestMergedRepartitions(t *testing.T) {
	var (
		byValue = func(_, v string) string { return v }
		long    = func(_, v string) bool { return len(v) > 1 }
		as      = topology.As
	)
	count := func(s *topology.KStream[string, string], name string) {
		topology.Count(s.GroupByKey(), as(name)).ToStream().To("out-" + name)
	}
	for name, c := range map[string]struct {
		declare func(s *topology.KStream[string, string])
		want    []string // the topics that stay
	}{
		"groupings of one stream": {func(s *topology.KStream[string, string]) {
			s = topology.SelectKey(s, byValue, nil)
			count(s, "a")
			count(s, "b")
			count(s, "c")
		}, []string{"a-repartition"}},
		"one grouping": {func(s *topology.KStream[string, string]) {
			count(topology.SelectKey(s, byValue, nil), "a")
		}, []string{"a-repartition"}},
		"filters between": {func(s *topology.KStream[string, string]) {
			s = topology.SelectKey(s, byValue, nil)
			count(s.Filter(long).FilterNot(func(_, v string) bool { return v == "yy" }), "a")
			count(s, "b")
			s.To("c")
		}, []string{"a-repartition"}},
		"one filter for two": {func(s *topology.KStream[string, string]) {
			s = topology.SelectKey(s, byValue, nil).Filter(long)
			count(s, "a")
			count(s, "b")
		}, []string{"a-repartition"}},
		"a filter that others read": {func(s *topology.KStream[string, string]) {
			s = topology.SelectKey(s, byValue, nil)
			filtered := s.Filter(long)
			filtered.To("c")
			count(filtered, "a")
			count(s, "b")
			count(s, "d")
		}, []string{"a-repartition", "b-repartition"}},
		"values changed between": {func(s *topology.KStream[string, string]) {
			s = topology.MapValues(topology.SelectKey(s, byValue, nil), identity, nil)
			count(s, "a")
			count(s, "b")
		}, []string{"a-repartition", "b-repartition"}},
		"two changes of the key": {func(s *topology.KStream[string, string]) {
			count(topology.SelectKey(s, byValue, nil), "a")
			count(topology.SelectKey(s, byValue, nil), "b")
		}, []string{"a-repartition", "b-repartition"}},
		"merged streams": {func(s *topology.KStream[string, string]) {
			s = s.Merge(topology.SelectKey(s, byValue, nil))
			count(s, "a")
			count(s, "b")
		}, []string{"a-repartition"}},
		"asked for": {func(s *topology.KStream[string, string]) {
			s = topology.SelectKey(s, byValue, nil)
			count(s.Repartition(topology.Named("r"), topology.Partitions(2)), "a")
			count(s, "b")
			count(s, "d")
		}, []string{"r-repartition", "b-repartition"}},
		"a table and a grouping": {func(s *topology.KStream[string, string]) {
			s = topology.SelectKey(s, byValue, nil)
			s.ToTable(topology.Named("t"), as("rows")).ToStream().To("out-a")
			count(s, "b")
		}, []string{"t-repartition"}},
	} {
		t.Run(name, func(t *testing.T) {
			outputs := func(opts ...topology.BuilderOption) (topics []string, written map[string][]string) {
				b := topology.NewBuilder(opts...)
				c.declare(topology.Stream(b, "in", serde.String, serde.String))
				plan := b.MustBuild()
				require.Equal(t, plan.Fingerprint(), b.MustBuild().Fingerprint(), "building changes nothing")
				for _, r := range plan.Repartitions {
					topics = append(topics, r.Name)
				}
				d := run(t, b, false)
				for i, v := range []string{"x", "yy", "x", "zzz", "yy", "zzz"} {
					d.pipe("in", kv("k", v, int64(i)))
				}
				written = make(map[string][]string)
				for _, topic := range []string{"out-a", "out-b", "out-c", "out-d", "c"} {
					for _, r := range d.written[topic] {
						written[topic] = append(written[topic], string(r.Key)+"="+string(r.Value))
					}
				}
				return topics, written
			}
			_, plain := outputs()
			topics, merged := outputs(topology.MergeRepartitions)
			require.Equal(t, c.want, topics)
			require.Equal(t, plain, merged)
			require.NotEmpty(t, merged)
		})
	}
}

func TestReusedSourceTopics(t *testing.T) {
	extract := topology.WithTimestampExtractor(processor.UsePreviousTimeOnInvalidTimestamp)
	for name, c := range map[string]struct {
		rule    topology.BuilderOption
		declare func(b *topology.Builder)
		want    string
	}{
		"on":        {topology.ReuseSourceTopics, tableOf("in", topology.As("rows")), "in"},
		"all":       {topology.OptimizeAll(), tableOf("in", topology.As("rows")), "in"},
		"other":     {topology.MergeRepartitions, tableOf("in", topology.As("rows")), ""},
		"logging":   {topology.OptimizeAll(), tableOf("in", topology.As("rows"), topology.WithoutLogging()), ""},
		"extractor": {topology.OptimizeAll(), tableOf("in", topology.As("rows"), extract), ""},
		"stream": {topology.OptimizeAll(), func(b *topology.Builder) {
			topology.Stream(b, "in", serde.String, serde.String).ToTable(topology.As("rows"))
		}, ""},
	} {
		b := topology.NewBuilder(c.rule)
		c.declare(b)
		require.Equal(t, c.want, b.MustBuild().Stores[0].SourceTopic, name)
	}
	_, err := topology.NewBuilder(topology.Optimization("everything")).Build()
	require.ErrorContains(t, err, `there is no optimization "everything"`)
}

func tableOf(topic string, opts ...topology.TableOption) func(b *topology.Builder) {
	return func(b *topology.Builder) { topology.Table(b, topic, serde.String, serde.String, opts...) }
}

// TestRowsFromSource makes changelog records of what other programs wrote.
func TestRowsFromSource(t *testing.T) {
	type row struct {
		A, B int `json:",omitempty"`
	}
	b := topology.NewBuilder(topology.ReuseSourceTopics)
	topology.Table(b, "in", serde.JSON[row](), serde.Nullable(serde.JSON[row]()), topology.As("rows"))
	rows := b.MustBuild().Stores[0].FromSource()
	raw := func(key, value string, at int64) record.Raw {
		r := record.Raw{Timestamp: at, Key: []byte(key)}
		if value != "" {
			r.Value = []byte(value)
		}
		return r
	}
	for range 2 { // what was returned before is given up
		got := rows([]record.Raw{
			raw(`{"B":2, "A":1}`, `{ "A":3 }`, 5), raw(`{"A":1}`, "", 6),
			{Value: []byte("{}")},
			raw("?", "{}", 7),
			raw("{}", "?", 8), raw("{}", "{}", -1), raw("{}", "null", 9),
		})
		var shown []string
		for _, r := range got {
			shown = append(shown, string(r.Key)+"="+string(r.Value))
			require.Equal(t, r.Value == nil, len(r.Value) == 0)
		}
		require.Equal(t, `{"A":1,"B":2}={"A":3}`, shown[0])
		require.Equal(t, `{"A":1}=`, shown[1])
		require.Len(t, shown, 3)
	}
}
