package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// cluster is a broker in memory, as far as a member can tell: logs of committed records, and the group's offsets. It
// fills all ports. Transactions leave a marker in each partition.
type cluster struct {
	mu      sync.Mutex
	logs    map[record.TopicPartition][]record.Raw // a nil key and value: a marker
	starts  map[record.TopicPartition]int64
	offsets map[record.TopicPartition]eos.Offset
	member  eos.Member
	// fetchers are told of what comes; fetcher is the newest.
	fetchers []*fakeFetcher
	fetcher  *fakeFetcher

	// fault is asked before each call of the producer, by its name; after says that the call takes effect nevertheless.
	fault func(call string) (after bool, err error)

	// unstable counts down the questions for stable offsets that find a transaction open; -1: until somebody is fenced.
	unstable int
	fenced   []string
	// undecided is how much of the changelog's end is held back until somebody is fenced.
	undecided int64
}

func newCluster() *cluster {
	return &cluster{
		logs: make(map[record.TopicPartition][]record.Raw), starts: make(map[record.TopicPartition]int64),
		offsets: make(map[record.TopicPartition]eos.Offset),
		member:  eos.Member{GroupID: "app", MemberID: "m", Generation: 1},
	}
}

func part(topic string, p int32) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: p}
}

// produce appends committed records of another application, with values in order.
func (c *cluster) produce(tp record.TopicPartition, keys ...string) {
	c.mu.Lock()
	for _, k := range keys {
		c.appendLocked(tp, record.Raw{Key: []byte(k), Value: []byte("v"), Timestamp: int64(len(c.logs[tp]))})
	}
	c.mu.Unlock()
	c.deliver(tp)
}

// deliver tells the fetchers that a partition has grown.
func (c *cluster) deliver(tp record.TopicPartition) {
	c.mu.Lock()
	fetchers := slices.Clone(c.fetchers)
	c.mu.Unlock()
	for _, f := range fetchers {
		f.deliver(tp)
	}
}

func (c *cluster) appendLocked(tp record.TopicPartition, r record.Raw) int64 {
	r.Offset = int64(len(c.logs[tp]))
	c.logs[tp] = append(c.logs[tp], r)
	return r.Offset + 1
}

// read returns the committed records of a partition without markers, as "key=number".
func (c *cluster) read(tp record.TopicPartition) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, r := range c.logs[tp] {
		if r.Key == nil {
			continue
		}
		n, err := serde.Int64.Decode(r.Value)
		if err != nil {
			out = append(out, string(r.Key)+"="+string(r.Value))
			continue
		}
		out = append(out, string(r.Key)+"="+strconv.FormatInt(n, 10))
	}
	return out
}

func (c *cluster) committed(tp record.TopicPartition) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offsets[tp].Offset
}

func (c *cluster) offsetOf(tp record.TopicPartition) eos.Offset {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offsets[tp]
}

func (c *cluster) currentMember() eos.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.member
}

// fakeProducer stages what is sent until the commit.
type fakeProducer struct {
	c      *cluster
	open   bool
	staged []*record.Batch
	offset map[record.TopicPartition]eos.Offset
}

func (p *fakeProducer) call(name string) (after bool, err error) {
	if p.c.fault == nil {
		return false, nil
	}
	return p.c.fault(name)
}

func (p *fakeProducer) Init(context.Context) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if _, err := p.call("init"); err != nil {
		return err
	}
	p.open, p.staged, p.offset = false, nil, nil
	return nil
}

func (p *fakeProducer) Begin(context.Context, []record.TopicPartition, bool) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if _, err := p.call("begin"); err != nil {
		return err
	}
	if p.open {
		return fmt.Errorf("a transaction is open: %w", eos.ErrFatal)
	}
	p.open = true
	return nil
}

// Send answers with the offsets as they will be: one transaction is open at a time.
func (p *fakeProducer) Send(_ context.Context, batches []*record.Batch) ([]int64, error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if _, err := p.call("send"); err != nil {
		return nil, err
	}
	ends, grown := make([]int64, len(batches)), make(map[record.TopicPartition]int)
	for i, b := range batches {
		for j := range b.Len() {
			if r := b.At(j); string(r.Key) == "too large" && b.TopicPartition.Topic == "out" {
				return nil, &eos.RecordTooLargeError{TopicPartition: b.TopicPartition, Batch: b, Index: j, SizeBytes: 1 << 30}
			}
		}
		grown[b.TopicPartition] += b.Len()
		ends[i] = int64(len(p.c.logs[b.TopicPartition]) + grown[b.TopicPartition])
	}
	p.staged = batches
	return ends, nil
}

func (p *fakeProducer) SendOffsets(_ context.Context, m eos.Member, o map[record.TopicPartition]eos.Offset) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if _, err := p.call("offsets"); err != nil {
		return err
	}
	if m != p.c.member {
		return fmt.Errorf("generation %d: %w", m.Generation, eos.ErrGeneration)
	}
	p.offset = o
	return nil
}

func (p *fakeProducer) Commit(context.Context) error {
	written, err := p.commit()
	for tp := range written {
		p.c.deliver(tp)
	}
	return err
}

func (p *fakeProducer) commit() (map[record.TopicPartition]bool, error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	after, err := p.call("commit")
	if err != nil && !after {
		return nil, err
	}
	written := make(map[record.TopicPartition]bool)
	for _, b := range p.staged {
		for i := range b.Len() {
			r := b.At(i)
			r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
			p.c.appendLocked(b.TopicPartition, r)
			written[b.TopicPartition] = true
		}
	}
	for tp := range written {
		p.c.appendLocked(tp, record.Raw{})
	}
	maps.Copy(p.c.offsets, p.offset)
	p.open, p.staged, p.offset = false, nil, nil
	return written, err
}

func (p *fakeProducer) Abort(ctx context.Context) error { return p.Init(ctx) }
func (p *fakeProducer) TransactionalID() string         { return "app-p-0" }
func (p *fakeProducer) Close() error                    { return nil }

// fakeFetcher delivers one batch of a partition at a time.
type fakeFetcher struct {
	c *cluster

	mu          sync.Mutex
	at          map[record.TopicPartition]int64
	generation  map[record.TopicPartition]uint64
	outstanding map[record.TopicPartition]bool
	told        map[record.TopicPartition]bool // something was delivered since the Add
	added       []string
	batches     chan *Fetched
	batchMax    int64
	held        int64
}

func newFakeFetcher(c *cluster) *fakeFetcher {
	f := &fakeFetcher{
		c: c, at: make(map[record.TopicPartition]int64), generation: make(map[record.TopicPartition]uint64),
		outstanding: make(map[record.TopicPartition]bool), told: make(map[record.TopicPartition]bool),
		batches: make(chan *Fetched, 10_000), batchMax: 3,
	}
	c.mu.Lock()
	c.fetcher, c.fetchers = f, append(c.fetchers, f)
	c.mu.Unlock()
	return f
}

func (f *fakeFetcher) Add(tp record.TopicPartition, offset int64) {
	f.mu.Lock()
	f.generation[tp]++
	f.at[tp], f.outstanding[tp], f.told[tp] = offset, false, false
	f.added = append(f.added, fmt.Sprintf("%s@%d", tp, offset))
	f.mu.Unlock()
	f.deliver(tp)
}

func (f *fakeFetcher) Remove(tp record.TopicPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.generation[tp]++
	delete(f.at, tp)
}

// deliver sends the next batch of a partition if none is out. Records are copied: the task may write on them.
func (f *fakeFetcher) deliver(tp record.TopicPartition) {
	f.c.mu.Lock()
	log, start := slices.Clone(f.c.logs[tp]), f.c.starts[tp]
	f.c.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	log = log[:max(0, int64(len(log))-f.held)]
	at, ok := f.at[tp]
	if !ok || f.outstanding[tp] {
		return
	}
	b := &Fetched{TopicPartition: tp, HighWatermark: int64(len(log)), Generation: f.generation[tp]}
	switch {
	case at < start:
		b.Err = ErrOffsetOutOfRange
	case at >= int64(len(log)) && f.told[tp]:
		return
	default:
		b.Next = min(at+f.batchMax, int64(len(log)))
		for _, r := range log[at:b.Next] {
			if r.Key != nil {
				b.Records = append(b.Records, r)
			}
		}
	}
	f.at[tp], f.outstanding[tp], f.told[tp] = b.Next, true, true
	f.batches <- b
}

func (f *fakeFetcher) Batches() <-chan *Fetched { return f.batches }
func (f *fakeFetcher) Close() error             { return nil }

func (f *fakeFetcher) Buffered(tp record.TopicPartition) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outstanding[tp] {
		return 1
	}
	return 0
}

func (f *fakeFetcher) Stale(b *Fetched) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return b.Generation != f.generation[b.TopicPartition]
}

func (f *fakeFetcher) Release(b *Fetched) {
	if f.Stale(b) {
		return
	}
	f.mu.Lock()
	f.outstanding[b.TopicPartition] = false
	f.mu.Unlock()
	f.deliver(b.TopicPartition)
}

// fakeAdmin answers from the cluster; what it lacks panics.
type fakeAdmin struct {
	Admin

	c *cluster
}

func (a fakeAdmin) StartOffsets(
	_ context.Context, tps []record.TopicPartition,
) (map[record.TopicPartition]int64, error) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	out := make(map[record.TopicPartition]int64)
	for _, tp := range tps {
		out[tp] = a.c.starts[tp]
	}
	return out, nil
}

func (a fakeAdmin) EndOffsets(
	_ context.Context, tps []record.TopicPartition, committed bool,
) (map[record.TopicPartition]int64, error) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	out := make(map[record.TopicPartition]int64)
	for _, tp := range tps {
		out[tp] = int64(len(a.c.logs[tp]))
		if committed && out[tp] > 0 {
			out[tp] -= a.c.undecided
		}
	}
	return out, nil
}

func (a fakeAdmin) CommittedOffsets(
	ctx context.Context, group string, tps []record.TopicPartition,
) (map[record.TopicPartition]eos.Offset, error) {
	a.c.mu.Lock()
	unstable := a.c.unstable != 0
	if a.c.unstable > 0 {
		a.c.unstable--
	}
	a.c.mu.Unlock()
	if unstable {
		return nil, ErrUnstableOffsets
	}
	return a.PossiblyUnstableOffsets(ctx, group, tps)
}

func (a fakeAdmin) PossiblyUnstableOffsets(
	_ context.Context, _ string, tps []record.TopicPartition,
) (map[record.TopicPartition]eos.Offset, error) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	out := make(map[record.TopicPartition]eos.Offset)
	for _, tp := range tps {
		if o, ok := a.c.offsets[tp]; ok {
			out[tp] = o
		}
	}
	return out, nil
}

func (a fakeAdmin) BlockingProducers(context.Context, record.TopicPartition) ([]string, error) {
	return []string{"dead-writer"}, nil
}

// endTransaction decides what is open.
func (c *cluster) endTransaction(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fenced = append(c.fenced, id)
	c.unstable, c.undecided = 0, 0
	return nil
}

// fakeReader reads changelogs.
type fakeReader struct {
	c *cluster
	// gate, if not nil, holds reads back until it is closed.
	gate chan struct{}
	from []int64
}

func (r *fakeReader) Read(
	ctx context.Context, tp record.TopicPartition, from, to int64, fn func([]record.Raw, int64) error,
) error {
	r.c.mu.Lock()
	r.from = append(r.from, from)
	r.c.mu.Unlock()
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.c.mu.Lock()
	log, start := slices.Clone(r.c.logs[tp]), r.c.starts[tp]
	r.c.mu.Unlock()
	if from < start {
		return changelog.ErrPositionLost
	}
	for at := from; at < to; at++ {
		var rs []record.Raw
		if log[at].Key != nil {
			rs = log[at : at+1]
		}
		if err := fn(rs, at+1); err != nil {
			return err
		}
	}
	return nil
}

// fakeDir is a state directory that is trusted unless a reason is set.
type fakeDir struct {
	root     string
	distrust string
	tasks    []store.TaskState
	mu       sync.Mutex
	log      []string
	position int64 // of the last that was closed cleanly
}

func (d *fakeDir) note(what string, id record.TaskID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, what+" "+id.String())
}

func (d *fakeDir) TaskDir(id record.TaskID) string      { return filepath.Join(d.root, id.String()) }
func (d *fakeDir) Trusted(record.TaskID) (bool, string) { return d.distrust == "", d.distrust }
func (d *fakeDir) MarkOpen(id record.TaskID) error      { d.note("open", id); return nil }
func (d *fakeDir) Tasks() ([]store.TaskState, error)    { return d.tasks, nil }
func (d *fakeDir) MarkClean(id record.TaskID, position int64) error {
	d.note("clean", id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.position = position
	return nil
}

func (d *fakeDir) Remove(id record.TaskID) error {
	d.note("remove", id)
	return os.RemoveAll(d.TaskDir(id))
}

func (d *fakeDir) marked(id record.TaskID, what string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.log {
		if l == what+" "+id.String() {
			n++
		}
	}
	return n
}

// member is one member of a group: a manager with one worker over a cluster.
type member struct {
	t        *testing.T
	c        *cluster
	worker   *Worker
	manager  *Manager
	restorer *Restorer
	reader   *fakeReader
	dir      *fakeDir
	fetcher  *fakeFetcher
	plan     *processor.Plan
	stop     context.CancelFunc
	ran      chan error // result of the worker
	failures chan error // of restores
	channels *task.Channels
	standbys *Standbys // nil: the member keeps none
	rejoined chan string
}

func taskID(p int32) record.TaskID { return record.TaskID{Partition: p} }

// countPlan counts the keys of "in" and writes every count to "out".
func countPlan(t *testing.T, opts ...topology.StoreOption) *processor.Plan {
	t.Helper()
	b := topology.NewBuilder()
	g := topology.Stream(b, "in", serde.String, serde.String).GroupByKey()
	opts = append(opts, topology.As("counts"), topology.WithoutCaching())
	topology.Count(g, opts...).ToStream().To("out")
	plan, err := b.Build()
	require.NoError(t, err)
	return plan
}

// newMember makes a member that is not running. change may alter the worker's configuration.
func newMember(t *testing.T, c *cluster, plan *processor.Plan, change func(*Config)) *member {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	m := &member{
		t: t, c: c, plan: plan, reader: &fakeReader{c: c}, dir: &fakeDir{root: t.TempDir()}, ran: make(chan error, 1),
		failures: make(chan error, 10),
	}
	m.fetcher = newFakeFetcher(c)
	reset := func(_ context.Context, tp record.TopicPartition) (int64, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.starts[tp], nil
	}
	cfg := Config{
		Guarantee: eos.ExactlyOnceV2, CommitInterval: 100 * time.Millisecond,
		UncommittedBytesMax: func() int { return 1 << 20 },
		RetryTimeout:        time.Minute, Fetcher: m.fetcher, Producer: &fakeProducer{c: c}, Admin: fakeAdmin{c: c},
		Member: c.currentMember, ResetOffset: reset, Clock: clock.System(), Logger: log,
	}
	if change != nil {
		change(&cfg)
	}
	m.worker = New(cfg)
	m.restorer = NewRestorer(RestorerConfig{
		GroupID: "app", Admin: fakeAdmin{c: c}, Reader: m.reader, StateDir: m.dir, Task: m.taskConfig, ResetOffset: reset,
		EndTransaction: c.endTransaction, OwnIDs: func() []string { return []string{"app-p-0"} },
		ChangelogConfig: func(string) map[string]string { return map[string]string{"delete.retention.ms": "60000"} },
		Parallel:        4, Clock: clock.System(), Logger: log,
	})
	m.manager = NewManager(ManagerConfig{
		ProcessID: "p", Fingerprint: plan.Fingerprint(), Topics: []string{"in"},
		Tasks: func(context.Context) ([]record.TaskID, error) { return []record.TaskID{taskID(0), taskID(1)}, nil },
		Inputs: func(id record.TaskID) []record.TopicPartition {
			return []record.TopicPartition{part("in", id.Partition)}
		},
		Workers: []*Worker{m.worker}, Restorer: m.restorer, StateDir: m.dir,
		OnError: func(err error) { m.failures <- err }, OnChange: func() {}, Logger: log,
	})
	return m
}

func (m *member) taskConfig(id record.TaskID) task.Config {
	return task.Config{
		ID: id, ApplicationID: "app", Subtopology: m.plan.Subtopologies[0],
		Inputs:     []record.TopicPartition{part("in", id.Partition)},
		Physical:   func(topic string) string { return topic },
		Partitions: func(string) (int32, error) { return 1, nil },
		Changelog:  func(name string) string { return name + "-changelog" },
		Logger:     slog.New(slog.DiscardHandler),
		Channels:   m.channels,
	}
}

// keep lets the member keep standbys and warm-ups. change may alter their configuration.
func (m *member) keep(change func(*StandbysConfig)) *member {
	cfg := StandbysConfig{Restorer: m.restorer, Fetcher: newFakeFetcher(m.c), AcceptableLag: 5}
	if change != nil {
		change(&cfg)
	}
	m.standbys, m.rejoined = NewStandbys(cfg), make(chan string, 100)
	mc := m.manager.cfg
	mc.Restorer, mc.Standbys, mc.Rejoin = m.restorer, m.standbys, func(reason string) { m.rejoined <- reason }
	mc.Placing = Placing{StandbyReplicas: 1, MaxWarmups: 2, AcceptableLag: 5}
	m.manager = NewManager(mc)
	return m
}

// start runs the worker and the follower.
func (m *member) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.t.Cleanup(cancel)
	go func() { m.ran <- m.worker.Run(ctx) }()
	if m.standbys != nil {
		go m.standbys.Run(ctx)
	}
}

// assign gives the member exactly these tasks.
func (m *member) assign(ids ...record.TaskID) {
	m.t.Helper()
	m.assigned(assign.Assignment{Tasks: ids})
}

// assigned gives the member exactly this.
func (m *member) assigned(a assign.Assignment) Afterwards {
	m.t.Helper()
	a.Version, a.Fingerprint, a.Total = assign.CommonVersion(nil), m.plan.Fingerprint(), 2
	next, err := m.manager.Assigned(context.Background(), GroupAssignment{UserData: assign.AppendAssignment(nil, a)})
	require.NoError(m.t, err)
	return next
}

// close ends the member in order.
func (m *member) close(commit bool) error {
	m.manager.Close(context.Background(), commit, nil)
	m.stop()
	return <-m.ran
}

var errSomething = errors.New("something")

var textSerde = serde.String

// send delivers a batch as if it had been fetched now.
func (f *fakeFetcher) send(b *Fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b.Generation = f.generation[b.TopicPartition]
	f.batches <- b
}

// hold hides so many records at the end of each partition: they are not decided.
func (f *fakeFetcher) hold(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = n
}
