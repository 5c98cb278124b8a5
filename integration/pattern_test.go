package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// patterned is an application whose inputs come and go. Their names begin with that of the scenario's input.
type patterned struct {
	*scenario

	sentTo map[string]int // by topic
}

func newPatterned(t *testing.T) *patterned {
	s := newScenario(t, broker.Start(t))
	return &patterned{scenario: s, sentTo: make(map[string]int)}
}

// topic is an input of that name.
func (p *patterned) topic(name string) string { return p.in + "-" + name }

func (p *patterned) create(name string, partitions int32) {
	p.t.Helper()
	p.cluster.CreateTopic(p.t, p.topic(name), partitions, nil)
}

func (p *patterned) source(b *topology.Builder, opts ...topology.SourceOption) *topology.KStream[string, string] {
	pattern := regexp.MustCompile(regexp.QuoteMeta(p.in) + `-.*`)
	return topology.StreamPattern(b, pattern, serde.String, serde.String, opts...)
}

func (p *patterned) copies(opts ...topology.SourceOption) *topology.Builder {
	b := topology.NewBuilder()
	p.source(b, opts...).To(p.out)
	return b
}

// feed writes n records with distinct values to a topic.
func (p *patterned) feed(name string, n int) {
	p.t.Helper()
	records := make([]broker.Record, n)
	for i := range records {
		v := fmt.Sprintf("%s-%d", name, p.sentTo[name])
		p.sentTo[name]++
		records[i] = broker.Record{Partition: -1, Key: []byte(v), Value: []byte(v)}
	}
	p.cluster.Produce(p.t, p.topic(name), records...)
	p.sent += n
}

// checkAll waits until every record has been copied, and makes sure that it was so once.
func (p *patterned) checkAll() {
	p.t.Helper()
	got := values(p.awaitOutputs(p.out, p.sent))
	var want []string
	for name, n := range p.sentTo {
		for i := range n {
			want = append(want, fmt.Sprintf("%s-%d", name, i))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(p.t, want, got)
}

// awaitTotal waits until these instances have n tasks together, all running.
func awaitTotal(t *testing.T, n int, apps ...*app) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d tasks", n), func() bool {
		total := 0
		for _, a := range apps {
			s, ok := a.restored()
			if !ok {
				return false
			}
			total += s.Running
		}
		return total == n
	})
}

// TestPatternTopicsComeAndGo: two instances notice at different moments which topics there are, and agree on it.
func TestPatternTopicsComeAndGo(t *testing.T) {
	p := newPatterned(t)
	cfgA, cfgB := p.config(), p.config()
	cfgA.LeaveGroupOnClose, cfgB.LeaveGroupOnClose = false, false
	// Each hears of news from the other, long before it would look itself. (One of them has to look.)
	cfgB.MetadataMaxAge = 300e9
	a := p.run(p.copies(), cfgA)
	eventually(t, "an instance without tasks", func() bool { return a.app.State() == tidemark.Running })
	b := p.run(p.copies(), cfgB)
	eventually(t, "an instance without tasks", func() bool { return b.app.State() == tidemark.Running })
	require.Contains(t, a.log.String(), "no topic matches the pattern of a source yet")

	p.create("eu", 3)
	p.feed("eu", 300)
	awaitTotal(t, 3, a, b)
	p.checkAll()

	p.create("us", 5) // more tasks
	p.feed("us", 200)
	p.feed("eu", 100)
	awaitTotal(t, 5, a, b)
	p.checkAll()

	p.create("asia", 2) // as many tasks as before
	p.feed("asia", 200)
	p.feed("us", 50)
	p.checkAll()

	p.cluster.DeleteTopics(t, p.topic("us"))
	p.feed("eu", 100)
	awaitTotal(t, 3, a, b)
	p.feed("asia", 100)
	p.checkAll()

	p.cluster.AddPartitions(t, p.topic("asia"), 4)
	p.feed("asia", 100)
	awaitTotal(t, 4, a, b)
	p.checkAll()
	stored, err := tidemark.StoredPlan(t.Context(), p.config())
	require.NoError(t, err)
	text, err := stored.JSON()
	require.NoError(t, err)
	require.NotContains(t, string(text), p.topic("asia"), "the stored plan has the pattern only")
	a.close()
	b.close()
	require.False(t, a.saw(tidemark.Failed) || b.saw(tidemark.Failed))
}

// TestPatternLatest: a topic that appears is read from its beginning; one that was there is not.
func TestPatternLatest(t *testing.T) {
	p := newPatterned(t)
	p.create("old", 2)
	p.cluster.Produce(t, p.topic("old"), broker.Record{Partition: 0, Value: []byte("before")})
	a := p.run(p.copies(topology.WithOffsetReset(processor.ResetLatest)), p.config())
	a.awaitTasks(2)
	p.feed("old", 20)
	p.checkAll()
	p.create("new", 2)
	p.feed("new", 100)
	p.checkAll()
	p.cluster.AddPartitions(t, p.topic("old"), 4)
	p.feed("old", 100)
	a.awaitTasks(4)
	p.checkAll()
	a.close()
}

// TestPatternConflict: a topic that two patterns match ends the application, which says so.
func TestPatternConflict(t *testing.T) {
	p := newPatterned(t)
	p.create("eu", 1)
	b := p.copies()
	other := regexp.MustCompile(`.*` + regexp.QuoteMeta(p.in[len(p.in)-6:]) + `-us`)
	topology.StreamPattern(b, other, serde.String, serde.String).To(p.out)
	a := p.run(b, p.config())
	a.awaitTasks(1)
	p.feed("eu", 10)
	p.checkAll()
	p.create("us", 1)
	err := a.awaitError(p.topic("us"), "a topic is read by one source", "pattern_test.go:")
	var conflict *processor.PatternError
	require.ErrorAs(t, err, &conflict)
}

// TestPatternSavepoint: an application goes on from a savepoint with the topics that there are then, with the program
// and without.
func TestPatternSavepoint(t *testing.T) {
	for _, program := range []bool{true, false} {
		t.Run(fmt.Sprintf("program=%v", program), func(t *testing.T) {
			p := newPatterned(t)
			storage := mem.New()
			build := func() *topology.Builder {
				b := topology.NewBuilder()
				topology.Count(p.source(b).GroupByKey(), topology.As("counts")).ToStream().To(p.out)
				return b
			}
			config := func(name string) tidemark.Config {
				cfg := p.config()
				cfg.ApplicationID, cfg.Checkpointing = name, checkpointing.Config{Storage: storage}
				return cfg
			}
			send := func(name string) {
				records := make([]broker.Record, 40)
				for i := range records {
					records[i] = broker.Record{Partition: -1, Key: fmt.Appendf(nil, "key-%d", i), Value: []byte("v")}
				}
				p.cluster.Produce(t, p.topic(name), records...)
				p.sent += len(records)
				checkCounts(t, p.awaitOutputs(p.out, p.sent), p.sent)
			}
			p.create("eu", 3)
			a := p.run(build(), config(p.app))
			a.awaitTasks(3)
			send("eu")
			p.create("us", 3)
			send("us")
			made, err := a.app.StopWithSavepoint(t.Context(), tidemark.SavepointOptions{})
			require.NoError(t, err)
			<-a.done
			require.NoError(t, a.err)
			m, err := checkpointing.Load(t.Context(), storage, made.Location)
			require.NoError(t, err)
			require.Equal(t, []string{p.topic("eu"), p.topic("us")}, m.Topology.Subtopologies[0].Sources)
			require.Len(t, m.Topology.Subtopologies[0].Patterns, 1)

			p.cluster.DeleteTopics(t, p.topic("us"))
			name := p.app + "-clone"
			if program {
				_, err = tidemark.StartFrom(t.Context(), build(), config(name), made.Location, tidemark.StartOptions{})
			} else {
				_, err = tidemark.Restore(t.Context(), config(name), made.Location, tidemark.RestoreOptions{})
			}
			require.NoError(t, err)
			p.create("asia", 3)
			a = p.run(build(), config(name))
			a.awaitTasks(3)
			send("asia")
			send("eu")
			a.close()

			p.cluster.DeleteTopics(t, p.topic("eu"), p.topic("asia"))
			_, err = tidemark.StartFrom(t.Context(), build(), config(p.app+"-none"), made.Location, tidemark.StartOptions{})
			require.ErrorContains(t, err, "read topics by a pattern, and none matches today")
			require.NotContains(t, strings.Join(p.cluster.Topics(t), " "), p.app+"-none-counts-changelog")
		})
	}
}
