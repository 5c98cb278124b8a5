package processor_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
)

// patternPlan has two sources with patterns in two sub-topologies, and one of the topic "lone".
func patternPlan() *processor.Plan {
	orders := &processor.Node{Name: "orders", Pattern: "orders-.*", Position: "x.go:1"}
	lone := &processor.Node{Name: "lone", Topics: []string{"lone"}, Position: "x.go:2"}
	returns := &processor.Node{Name: "returns", Pattern: "(?i)returns|back", Position: "x.go:3"}
	return &processor.Plan{
		Nodes:        []*processor.Node{orders, lone, returns},
		Repartitions: []*processor.RepartitionTopic{{Name: "orders-by-item-repartition", Position: "x.go:4"}},
		Subtopologies: []*processor.Subtopology{
			{Nodes: []*processor.Node{orders, lone}, SourceTopics: []string{"lone"}},
			{ID: 1, Nodes: []*processor.Node{returns}},
		},
	}
}

func TestResolve(t *testing.T) {
	p := patternPlan()
	require.True(t, p.HasPatterns())
	require.Empty(t, p.Matched())
	topics := []string{"orders-us", "other", "RETURNS", "backs", "xorders-eu", "orders-eu", "lone", "orders-eu"}
	r, err := p.Resolve(topics)
	require.NoError(t, err)
	require.Equal(t, []string{"orders-eu", "orders-us"}, r.Nodes[0].Topics)
	require.Equal(t, []string{"RETURNS", "orders-eu", "orders-us"}, r.Matched())
	require.Equal(t, []string{"lone", "orders-eu", "orders-us"}, r.Subtopologies[0].SourceTopics)
	require.Equal(t, []string{"RETURNS"}, r.Subtopologies[1].SourceTopics)
	require.Same(t, r.Nodes[0], r.Subtopologies[0].Nodes[0])
	require.Same(t, p.Nodes[1], r.Nodes[1])
	require.Equal(t, patternPlan(), p, "the plan does not change")
	require.Equal(t, p.Fingerprint(), r.Fingerprint())

	again, err := r.Resolve([]string{"orders-us", "back"})
	require.NoError(t, err)
	require.Equal(t, []string{"back", "orders-us"}, again.Matched())
	require.Equal(t, []string{"lone", "orders-us"}, again.Subtopologies[0].SourceTopics)
	none, err := again.Resolve(nil)
	require.NoError(t, err)
	require.Empty(t, none.Matched())
	require.Equal(t, []string{"lone"}, none.Subtopologies[0].SourceTopics)
	require.Empty(t, none.Subtopologies[1].SourceTopics)

	same := examplePlan()
	r, err = same.Resolve([]string{"a", "b", "c"})
	require.NoError(t, err)
	require.Same(t, same, r)
	require.False(t, same.HasPatterns())
}

func TestResolveConflicts(t *testing.T) {
	p := patternPlan()
	p.Nodes[2].Pattern = "o.*[st]"
	_, err := p.Resolve([]string{"orders-eu", "ost"})
	require.NoError(t, err)
	_, err = p.Resolve([]string{"orders-us"})
	var failed *processor.PatternError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "orders-us", failed.Topic)
	require.EqualError(t, err, `processor: topic "orders-us" matches the pattern of `+
		`["o.*[st] (x.go:3)" "orders-.* (x.go:1)"]: a topic is read by one source: change the patterns so that only one `+
		`matches it`)
	p.Nodes[2].Pattern = "l.*"
	_, err = p.Resolve([]string{"lone"})
	require.ErrorContains(t, err, `the source "lone" reads it too (x.go:2)`)
	_, err = p.Resolve([]string{"orders-by-item-repartition"})
	require.ErrorContains(t, err, "an internal topic of the topology has that name (x.go:4)")
}

func TestPatternFingerprint(t *testing.T) {
	p, named := patternPlan(), patternPlan()
	base := p.Fingerprint()
	p.Nodes[0].Pattern = "orders-+"
	require.NotEqual(t, base, p.Fingerprint())
	named.Nodes[0].Pattern, named.Nodes[0].Topics = "", []string{"orders-.*"}
	require.NotEqual(t, base, named.Fingerprint(), "a topic is no pattern")
}

func TestCompilePattern(t *testing.T) {
	re, err := processor.CompilePattern("a|b")
	require.NoError(t, err)
	require.True(t, re.MatchString("b"))
	require.False(t, re.MatchString("ab"))
	require.False(t, re.MatchString("b\n"))
	for _, bad := range []string{"(", "a)|(b", "*"} {
		_, err := processor.CompilePattern(bad)
		require.Error(t, err)
	}
}
