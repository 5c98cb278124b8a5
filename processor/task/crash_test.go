package task_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// crashCase is a topology over the topic "in" with one store, and what becomes of its input.
type crashCase struct {
	name  string
	build func() *topology.Builder
	store string
	// image reads the store with its values encoded.
	image func(t *testing.T, s store.Store) map[string]string
	// model folds one record into the store's image. It returns the output, if there is one.
	model func(state map[string]string, key, value string) (output string, ok bool)
}

func readImage[V any](t *testing.T, s store.Store, value serde.Serde[V]) map[string]string {
	t.Helper()
	kv, ok := s.(*store.KeyValue[string, V])
	require.True(t, ok)
	out := make(map[string]string)
	for e, err := range kv.All() {
		require.NoError(t, err)
		data, err := value.Append(nil, e.Value)
		require.NoError(t, err)
		out[e.Key] = string(data)
	}
	return out
}

func crashCases() []crashCase {
	number := func(n int64) string {
		data, _ := serde.Int64.Append(nil, n)
		return string(data)
	}
	return []crashCase{
		{
			name: "count", build: func() *topology.Builder { return counting() }, store: "counts",
			image: func(t *testing.T, s store.Store) map[string]string { return readImage(t, s, serde.Int64) },
			model: func(state map[string]string, key, _ string) (string, bool) {
				n := int64(0)
				if old, ok := state[key]; ok {
					n, _ = serde.Int64.Decode([]byte(old))
				}
				state[key] = number(n + 1)
				return state[key], true
			},
		},
		{
			// Values gather until they are too long; then the row is deleted.
			name: "filter and aggregate", store: "gathered",
			build: func() *topology.Builder {
				b := topology.NewBuilder()
				g := texts(b, "in").Filter(func(_, value string) bool { return value != "0" }).GroupByKey()
				topology.Aggregate(g, func() []byte { return nil }, func(_, value string, sum []byte) []byte {
					if len(sum) >= 4 {
						return nil
					}
					return append(append([]byte{}, sum...), value...)
				}, serde.Bytes, topology.As("gathered")).ToStream().To("out")
				return b
			},
			image: func(t *testing.T, s store.Store) map[string]string { return readImage(t, s, serde.Bytes) },
			model: func(state map[string]string, key, value string) (string, bool) {
				if value == "0" {
					return "", false
				}
				if len(state[key]) >= 4 {
					delete(state, key)
					return "", true
				}
				state[key] += value
				return state[key], true
			},
		},
	}
}

// crashRun drives one task through commits, rollbacks and crashes against a model of the broker.
type crashRun struct {
	t      *testing.T
	rnd    *rand.Rand
	c      crashCase
	cfg    task.Config
	cached bool
	input  []record.Raw
	task   *task.Task

	// The broker.
	logs    map[string][]record.Raw // by topic
	offset  task.Position
	epoch   record.Epoch
	fetched int64 // where the next batch begins
	steps   []string
}

func (r *crashRun) note(format string, args ...any) {
	r.steps = append(r.steps, fmt.Sprintf(format, args...))
}

// start opens the task on what its directory holds and replays the rest of the changelog.
func (r *crashRun) start() {
	tk, err := task.Open(r.t.Context(), r.cfg)
	require.NoError(r.t, err)
	cp, _ := tk.Stores().Checkpoint()
	if cp.Changelog == nil {
		cp.Changelog = make(map[string]int64)
	}
	log := r.logs[r.cfg.Changelog(r.c.store)]
	from := cp.Changelog[r.c.store]
	require.LessOrEqual(r.t, from, int64(len(log)), "%v", r.steps)
	r.note("start from %d of %d", from, len(log))
	for from < int64(len(log)) {
		to := min(int64(len(log)), from+1+int64(r.rnd.IntN(50)))
		require.NoError(r.t, tk.Stores().Replay(r.c.store, log[from:to]))
		cp.Changelog[r.c.store] = to
		require.NoError(r.t, tk.Stores().Replayed(cp))
		from = to
	}
	epoch := max(r.epoch, cp.Epoch)
	require.NoError(r.t, tk.Init(map[record.TopicPartition]task.Position{tp("in"): r.offset}, cp.Changelog, epoch, 0))
	r.task, r.fetched = tk, r.offset.Offset
	r.compare()
}

// process fetches and processes some records, in batches that do not end where processing stops.
func (r *crashRun) process() {
	for range r.rnd.IntN(4) {
		if r.fetched == int64(len(r.input)) {
			break
		}
		to := min(int64(len(r.input)), r.fetched+1+int64(r.rnd.IntN(20)))
		r.task.Add(task.Input{TopicPartition: tp("in"), Records: r.input[r.fetched:to], Next: to})
		r.fetched = to
	}
	_, err := r.task.Process(1+r.rnd.IntN(40), 0)
	require.NoError(r.t, err)
}

// arrive is what the broker does when a transaction commits.
func (r *crashRun) arrive(e *task.Epoch) (ends []int64) {
	for _, b := range e.Batches {
		topic := b.TopicPartition.Topic
		for i := range b.Len() {
			at := b.At(i)
			copied := record.Raw{
				Key: append([]byte{}, at.Key...), Timestamp: at.Timestamp, Offset: int64(len(r.logs[topic])),
			}
			if at.Value != nil {
				copied.Value = append([]byte{}, at.Value...)
			}
			r.logs[topic] = append(r.logs[topic], copied)
		}
		ends = append(ends, int64(len(r.logs[topic])))
	}
	r.offset, r.epoch = e.Positions[tp("in")], e.Number
	return ends
}

// step does one thing that may happen to a task.
func (r *crashRun) step() {
	r.process()
	e, err := r.task.Seal()
	require.NoError(r.t, err)
	if e == nil {
		return
	}
	ahead := r.rnd.IntN(2) == 0
	if ahead {
		r.process() // the next epoch, while this one is in flight
	}
	switch n := r.rnd.IntN(20); {
	case n < 12:
		r.note("commit %d", e.Number)
		ends := r.arrive(e)
		if r.rnd.IntN(10) == 0 {
			for i := range ends {
				ends[i] = -1
			}
		}
		require.NoError(r.t, r.task.Committed(ends, 0))
		if !ahead {
			r.compare()
		}
	case n < 16:
		r.note("roll back %d", e.Number)
		require.NoError(r.t, r.task.Rollback(map[record.TopicPartition]task.Position{tp("in"): r.offset}))
		r.fetched = r.offset.Offset
		r.compare()
	default:
		if r.rnd.IntN(2) == 0 {
			r.note("crash after %d arrived", e.Number)
			r.arrive(e)
		} else {
			r.note("crash before %d", e.Number)
		}
		require.NoError(r.t, r.task.Close(false))
		if r.rnd.IntN(4) == 0 {
			r.note("directory lost")
			require.NoError(r.t, os.RemoveAll(r.cfg.Stores.Dir))
		}
		r.start()
	}
}

// compare holds the store, the changelog and the outputs against the model, for the committed input.
func (r *crashRun) compare() {
	r.t.Helper()
	state, lastOut := make(map[string]string), make(map[string]string)
	var outputs []string
	for _, in := range r.input[:r.offset.Offset] {
		out, ok := r.c.model(state, string(in.Key), string(in.Value))
		if ok {
			outputs = append(outputs, string(in.Key)+"="+out)
			lastOut[string(in.Key)] = out
		}
	}
	s, ok := r.task.Stores().Store(r.c.store)
	require.True(r.t, ok)
	require.Equal(r.t, state, r.c.image(r.t, s), "the store: %v", r.steps)
	image := make(map[string]string)
	for _, rec := range r.logs[r.cfg.Changelog(r.c.store)] {
		image[string(rec.Key)] = string(rec.Value)
		if rec.Value == nil {
			delete(image, string(rec.Key))
		}
	}
	require.Equal(r.t, state, image, "the changelog: %v", r.steps)
	var all []string
	last := make(map[string]string)
	for _, rec := range r.logs["out"] {
		all = append(all, string(rec.Key)+"="+string(rec.Value))
		last[string(rec.Key)] = string(rec.Value)
	}
	if r.cached {
		maps.DeleteFunc(lastOut, func(k, v string) bool { return v == "" && last[k] == "" }) // made and deleted in one epoch
		maps.DeleteFunc(last, func(_, v string) bool { return v == "" })
		require.Equal(r.t, lastOut, last, "the last output of each key: %v", r.steps)
	} else {
		require.Equal(r.t, outputs, all, "every output once and in order: %v", r.steps)
	}
}

// TestCrashLoop commits, rolls back and abandons a task at random points, and compares input, output, store and
// changelog with a model after each of them. TIDEMARK_SEED repeats a run, TIDEMARK_CRASH_RUNS makes more of them.
func TestCrashLoop(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TIDEMARK_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	runs := 2
	if s := os.Getenv("TIDEMARK_CRASH_RUNS"); s != "" {
		var err error
		runs, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for run := range runs {
		for _, c := range crashCases() {
			for _, cached := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/cached=%t/%d", c.name, cached, run), func(t *testing.T) {
					t.Parallel()
					mine := seed + uint64(run)
					t.Logf("TIDEMARK_SEED=%d", mine)
					rnd := rand.New(rand.NewPCG(mine, 0))
					cfg := harnessConfig(t, c.build())
					cfg.Stores.CachingEnabled = cached
					r := &crashRun{
						t: t, rnd: rnd, c: c, cfg: cfg, cached: cached, logs: make(map[string][]record.Raw),
						offset: task.Position{StreamTime: -1},
					}
					for i := range int64(600) {
						r.input = append(r.input, raw(i, i, "k"+strconv.Itoa(rnd.IntN(60)), strconv.Itoa(rnd.IntN(4))))
					}
					r.start()
					for r.offset.Offset < int64(len(r.input)) {
						r.step()
					}
					require.NoError(t, r.task.Close(true))
					r.start()
					require.NoError(t, r.task.Close(false))
				})
			}
		}
	}
}
