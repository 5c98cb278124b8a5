package metamorphic

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// The third level: the same scenarios as on the simulated cluster, run by processes of the real application on a
// broker, and kill -9.

// life is how the processes of a run behave, drawn from its seed, and what a process is told.
type life struct {
	Case          cases.Case
	Optimize      bool
	ApplicationID string
	Brokers       []string
	CommitMs      int
	Workers       int
	Caching       bool
}

const (
	// settleWithin bounds the wait for a run to come to rest; a dead member's session is part of it.
	settleWithin = 90 * time.Second
	// sessionMs is longer than a process takes to come back, and shorter than anybody wants to wait for one that does not.
	sessionMs = 4000
)

// appRun compares an undisturbed run of the driver with one of processes that are killed, stopped, added and robbed of
// their state.
func appRun(t *testing.T, s *scenario, seed uint64) error {
	t.Helper()
	want, err := onDriver(s, undisturbed)
	if err != nil {
		return err
	}
	t.Logf("seed %d (%s)", seed, s.class) // what fails in the broker's helpers ends the test at once
	got, err := onApps(t, s, rand.New(rand.NewPCG(seed, 3)))
	if err != nil {
		return fmt.Errorf("processes: %w", err)
	}
	switch s.class {
	case ordered:
		return compare(want, got, perKey)
	case matched:
		return compare(want, got, anyOrder)
	default:
		return compare(want, got, lastValues)
	}
}

// fleet is the processes of one run.
type fleet struct {
	t       *testing.T
	r       *rand.Rand
	cluster *broker.Cluster
	life    life
	dir     string
	read    []string // physical topics that the group reads
	members []*process
	started int
}

func onApps(t *testing.T, s *scenario, r *rand.Rand) (out outputs, err error) {
	t.Helper()
	cluster := broker.Start(t)
	app := broker.Name(t, "app")
	f := &fleet{t: t, r: r, cluster: cluster, dir: t.TempDir(), life: life{
		Case: renamed(&s.Case, app), Optimize: r.IntN(3) == 0, ApplicationID: app, Brokers: cluster.Bootstrap(),
		CommitMs: 10 + r.IntN(60), Workers: 1 + r.IntN(2), Caching: s.class == commutative && r.IntN(2) == 0,
	}}
	sinks, err := f.makeTopics(int32(1 + r.IntN(3)))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	events := f.life.Case.Events
	f.pipe(events[:s.preloaded]) // before anybody looks: nothing tells when a global store has read it
	for range 1 + r.IntN(2) {
		f.start()
	}
	if err := f.settle(); err != nil {
		return nil, err
	}
	for at := s.preloaded; at < len(events); {
		if events[at].TS == flushMs && events[at-1].TS < flushMs {
			if err := f.settle(); err != nil {
				return nil, err
			}
		}
		end := min(at+1+r.IntN(8), len(events))
		for i := at + 1; i < end; i++ {
			if events[i].TS == flushMs && events[i-1].TS < flushMs {
				end = i
			}
		}
		f.pipe(events[at:end])
		at = end
		if err := f.disturb(); err != nil {
			return nil, err
		}
	}
	if err := f.settle(); err != nil {
		return nil, err
	}
	out = make(outputs)
	for _, topic := range sinks {
		for _, rec := range cluster.ReadCommitted(t, topic) {
			plain := strings.TrimPrefix(topic, app+"-")
			out[plain] = append(out[plain], cases.Output{
				Key: bytesOf(rec.Key), Value: bytesOf(rec.Value), TS: rec.Timestamp.UnixMilli(),
			})
		}
	}
	return out, nil
}

// renamed gives the topics of a case names of their own, since runs share a broker.
func renamed(c *cases.Case, app string) cases.Case {
	name := func(topic string) string {
		if topic == "" {
			return ""
		}
		return app + "-" + topic
	}
	out := *c
	out.Topology, out.Events = slices.Clone(c.Topology), slices.Clone(c.Events)
	for i := range out.Topology {
		s := &out.Topology[i]
		s.Topic, s.Topics = name(s.Topic), slices.Clone(s.Topics)
		for j := range s.Topics {
			s.Topics[j] = name(s.Topics[j])
		}
	}
	for i := range out.Events {
		out.Events[i].Topic = name(out.Events[i].Topic)
	}
	return out
}

// makeTopics creates what the topology reads and writes, and returns the topics that it writes. The events are of 1970:
// a broker would soon delete them by age, and the rows of windows in changelogs.
func (f *fleet) makeTopics(partitions int32) (sinks []string, err error) {
	b, err := cases.Build(&f.life.Case, f.life.options()...)
	if err != nil {
		return nil, err
	}
	plan, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	between := make(map[string]bool)
	for _, r := range plan.Repartitions {
		between[r.Name] = true
	}
	users := make(map[string]bool)
	for _, sub := range plan.Subtopologies {
		for _, topic := range sub.SourceTopics {
			if between[topic] {
				f.read = append(f.read, f.life.ApplicationID+"-"+topic)
			} else {
				users[topic] = true
				f.read = append(f.read, topic)
			}
		}
		for _, topic := range sub.SinkTopics {
			if !between[topic] {
				users[topic] = true
			}
		}
	}
	for _, g := range plan.Globals {
		users[g.Topic()] = true
	}
	for _, e := range f.life.Case.Events {
		users[e.Topic] = true
	}
	for _, sub := range plan.Subtopologies {
		for _, st := range sub.Stores {
			if st.Changelogged() && st.Retention > 0 {
				f.cluster.CreateTopic(f.t, changelog.TopicName(f.life.ApplicationID, st.Name), partitions,
					map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "-1"})
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(users)) {
		f.cluster.CreateTopic(f.t, topic, partitions, map[string]string{"retention.ms": "-1"})
	}
	return b.Sinks, nil
}

func (l *life) options() []topology.BuilderOption {
	if l.Optimize {
		return []topology.BuilderOption{topology.OptimizeAll()}
	}
	return nil
}

// pipe produces events, in runs of one topic.
func (f *fleet) pipe(events []cases.Event) {
	for len(events) > 0 {
		topic, n := events[0].Topic, 0
		var records []broker.Record
		for n < len(events) && events[n].Topic == topic {
			e := raw(events[n])
			rec := broker.Record{Partition: -1, Key: e.Key, Value: e.Value, Timestamp: time.UnixMilli(e.Timestamp)}
			if e.Key == nil {
				rec.Partition = 0
			}
			records = append(records, rec)
			n++
		}
		f.cluster.Produce(f.t, topic, records...)
		events = events[n:]
	}
}

// disturb lets something happen to the processes, or nothing.
func (f *fleet) disturb() error {
	if f.r.IntN(3) > 0 {
		return nil
	}
	<-time.After(time.Duration(f.r.IntN(120)) * time.Millisecond) // the random moment
	i := f.r.IntN(len(f.members))
	switch draw := f.r.IntN(10); {
	case draw < 6: // kill -9, and back on what it left
		f.members[i].kill()
		f.restart(i)
	case draw < 7:
		if err := f.members[i].stop(); err != nil {
			return err
		}
		f.restart(i)
	case draw < 8 && f.cluster.Real(): // with its disk; the embedded broker may count a static member twice then
		f.members[i].kill()
		if err := os.RemoveAll(f.members[i].dir); err != nil {
			return err
		}
		f.restart(i)
	case len(f.members) < 3:
		f.start()
	}
	return nil
}

func (f *fleet) start() {
	f.started++
	f.members = append(f.members, f.launch(filepath.Join(f.dir, fmt.Sprint("state-", f.started))))
}

func (f *fleet) restart(i int) { f.members[i] = f.launch(f.members[i].dir) }

// settle waits until everything that is in any topic of the application is processed and committed.
func (f *fleet) settle() error {
	for deadline := time.Now().Add(settleWithin); ; {
		before := f.position()
		if f.behind() == "" && maps.Equal(before, f.position()) {
			return nil
		}
		for _, m := range f.members {
			if err := m.failure(); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			err := fmt.Errorf("not settled after %s: %s", settleWithin, f.behind())
			for _, m := range f.members {
				err = fmt.Errorf("%w\n%s:\n%s", err, m.dir, m.tail())
			}
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// position is the end of all partitions that are read.
func (f *fleet) position() map[record.TopicPartition]int64 {
	ends := make(map[record.TopicPartition]int64)
	existing := f.cluster.Topics(f.t)
	for _, topic := range f.read {
		if !slices.Contains(existing, topic) {
			ends[record.TopicPartition{Topic: topic, Partition: -1}] = -1 // made at the first start
			continue
		}
		for p, end := range f.cluster.EndOffsets(f.t, topic) {
			ends[record.TopicPartition{Topic: topic, Partition: p}] = end
		}
	}
	return ends
}

// behind names what is not committed to its end.
func (f *fleet) behind() string {
	committed := f.cluster.CommittedOffsets(f.t, f.life.ApplicationID)
	var lag []string
	for tp, end := range f.position() {
		if committed[tp] < end || end < 0 {
			lag = append(lag, fmt.Sprintf("%s at %d of %d", tp, committed[tp], end))
		}
	}
	slices.Sort(lag)
	return strings.Join(lag, ", ")
}

func (f *fleet) stop() error {
	errs := make([]error, 0, len(f.members))
	for _, m := range f.members {
		errs = append(errs, m.stop())
	}
	return errors.Join(errs...)
}

func TestApp(t *testing.T) {
	level(t, clusterScenario, func(s *scenario, seed uint64) error { return appRun(t, s, seed) }, asItIs)
}
