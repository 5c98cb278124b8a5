package task_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

type timers = processor.Timers[string]

// timed is a topology whose processor does what the values say: "+5" and "-5" register and delete an event timer for
// the key at 5, "w+5" and "w-5" one of the wall clock. A timer is written out as "kind name time stream-time"; then
// fired is called.
func timed(fired func(t store.Timer[string], all timers) error) *topology.Builder {
	b := topology.NewBuilder()
	b.AddStore(store.TimerSpec("timers", serde.String))
	var all timers
	topology.Process(texts(b, "in"), func() processor.Processor[string, string, string, string] {
		return &probe{
			init: func(ctx textContext) (err error) {
				all, err = processor.NewTimers(ctx, "timers", func(t store.Timer[string]) error {
					if err := ctx.Forward(record.Record[string, string]{
						Key: t.Key, Value: fmt.Sprintf("%d%s %d %d", t.Kind, t.Name, t.At, ctx.StreamTime()), Timestamp: t.At,
					}); err != nil {
						return err
					}
					if _, known := ctx.RecordMetadata(); known || ctx.Headers() != nil {
						return errors.New("a timer has no record")
					}
					if fired != nil {
						return fired(t, all)
					}
					return nil
				})
				return err
			},
			process: func(_ textContext, r record.Record[string, string]) error { return command(all, r.Key, r.Value) },
		}
	}, nil, nil, topology.Named("timed"), topology.WithStores("timers")).To("out")
	return b
}

func command(all timers, key, value string) error {
	for c := range strings.FieldsSeq(value) {
		register, remove := all.Register, all.Delete
		if strings.HasPrefix(c, "w") {
			c, register, remove = c[1:], all.RegisterWallClock, all.DeleteWallClock
		}
		at, err := strconv.ParseInt(c[1:], 10, 64)
		if err != nil {
			return err
		}
		if c[0] == '-' {
			err = remove(key, at)
		} else {
			err = register(key, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *harness) firedBy(records ...record.Raw) []string {
	h.t.Helper()
	before := len(h.outputsOf()["out"])
	h.pipe("in", records...)
	return h.outputsOf()["out"][before:]
}

func TestEventTimers(t *testing.T) {
	h := open(t, harnessConfig(t, timed(nil)))
	require.Empty(t, h.firedBy(raw(0, 1, "b", "+20 +10 +10"), raw(1, 2, "a", "+20 +5 w+3"),
		raw(2, 3, "c", "+30 +40 -30 -77")))
	require.Equal(t, []string{"a=0 5 9"}, h.firedBy(raw(3, 9, "x", "")))
	require.Equal(t, []string{"b=0 10 20", "a=0 20 20", "b=0 20 20"}, h.firedBy(raw(4, 20, "x", "")),
		"in the order of time")
	require.Equal(t, []string{"x=0 7 20"}, h.firedBy(raw(5, 8, "x", "+7")), "for a time that has passed: after the record")
	require.Empty(t, h.firedBy(raw(6, 39, "x", "")), "deleted")
	require.Equal(t, []string{"c=0 40 100"}, h.firedBy(raw(7, 100, "x", "")))
	require.Empty(t, h.firedBy(raw(8, 200, "x", "")))
	require.Equal(t, int64(3), h.NextWallClock())
}

func TestWallClockTimers(t *testing.T) {
	h := open(t, harnessConfig(t, timed(nil)))
	h.pipe("in", raw(0, 1000, "a", "w+10 w+30 w-30"), raw(1, 1000, "b", "w+20 +5000"))
	require.Equal(t, int64(10), h.NextWallClock())
	for _, now := range []int64{0, 9, 10, 15, 40} {
		require.NoError(t, h.Punctuate(now))
	}
	require.Equal(t, []string{"a=1 10 1000", "b=1 20 1000"}, h.commit()["out"])
	require.Equal(t, int64(math.MaxInt64), h.NextWallClock())
	require.NoError(t, h.Punctuate(10_000))
	require.False(t, h.Dirty(), "event timers do not follow the wall clock")
}

// What timers register while they fire: later ones take part, others wait, so that it always ends.
func TestTimersThatRegisterTimers(t *testing.T) {
	h := open(t, harnessConfig(t, timed(func(tm store.Timer[string], all timers) error {
		return errors.Join(all.Register(tm.Key, tm.At+10), all.Named("again").Register(tm.Key, tm.At))
	})))
	h.pipe("in", raw(0, 0, "k", "+10"))
	require.Equal(t, []string{"k=0 10 25", "k=0again 10 25", "k=0 20 25", "k=0again 20 25"},
		h.firedBy(raw(1, 25, "x", "")))
	require.Equal(t, []string{"k=0again 10 25", "k=0 20 25", "k=0again 20 25"}, h.firedBy(raw(2, 25, "x", "")),
		"they had registered themselves")
}

// A failing timer is a failure without a record, names the node, and is gone; the others fire.
func TestFailingTimer(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("bad timer") },
		"panic": func() error { panic("bad timer") },
	} {
		for _, kind := range []string{"", "w"} {
			t.Run(name+kind, func(t *testing.T) {
				build := func() *topology.Builder {
					return timed(func(tm store.Timer[string], all timers) error {
						if tm.Key == "bad" {
							_ = all.Register(tm.Key, tm.At)
							return fail()
						}
						return nil
					})
				}
				fire := func(h *harness) error {
					h.add("in", 3, raw(0, 1, "a", kind+"+10"), raw(1, 2, "bad", kind+"+10 "+kind+"+20"), raw(2, 30, "c", kind+"+15"))
					if _, err := h.Process(10, 0); err != nil {
						return err
					}
					return h.Punctuate(30)
				}
				err := fire(open(t, harnessConfig(t, build())))
				ue, ok := errors.AsType[*processor.UserError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, "timed", ue.Node)
				require.ErrorContains(t, err, "in a timer: bad timer")

				cfg := harnessConfig(t, build())
				var failures []processor.Failure
				cfg.Handlers.Processing = func(f processor.Failure) processor.Action {
					failures = append(failures, f)
					return processor.ContinueAction()
				}
				h := open(t, cfg)
				require.NoError(t, fire(h))
				require.Len(t, failures, 2)
				require.Equal(t, "timed", failures[0].Node)
				require.Empty(t, failures[0].TopicPartition)
				var keys []string
				for _, kv := range h.outputsOf()["out"] {
					key, _, _ := strings.Cut(kv, "=")
					keys = append(keys, key)
				}
				require.Equal(t, []string{"a", "bad", "c", "bad"}, keys)
			})
		}
	}
}

// Timers share the fate of the epoch in which they were registered and fired.
func TestTimersAndRollback(t *testing.T) {
	h := open(t, harnessConfig(t, timed(nil)))
	h.pipe("in", raw(0, 1, "a", "+10 w+10"))
	h.commit()
	again := func() {
		t.Helper()
		require.Equal(t, []string{"a=0 10 10"}, h.firedBy(raw(1, 10, "b", "+11 +100")))
		require.NoError(t, h.Punctuate(10))
		require.Equal(t, []string{"a=0 10 10", "a=1 10 10"}, h.outputsOf()["out"])
	}
	again()
	h.rollback()
	require.Equal(t, int64(1), h.StreamTime())
	require.Equal(t, int64(10), h.NextWallClock(), "due again")
	again()
	h.seal() // and with an epoch in flight
	h.rollback()
	again()
	h.commit()
	require.Equal(t, []string{"b=0 11 50"}, h.firedBy(raw(2, 50, "x", "")))
	h.rollback()
	require.Equal(t, []string{"b=0 11 11"}, h.firedBy(raw(2, 11, "x", "")))
}

// A crash, and a task that moves to another machine, keep timers and stream time.
func TestTimersSurviveCrashes(t *testing.T) {
	for name, local := range map[string]bool{"local state": true, "changelog": false} {
		t.Run(name, func(t *testing.T) {
			cfg := harnessConfig(t, timed(nil))
			h := open(t, cfg)
			h.pipe("in", raw(0, 5, "a", "+10 +20 w+7"), raw(1, 15, "b", "+30"))
			e := h.seal()
			var log []record.Raw
			for i := range e.Batches[0].Len() {
				log = append(log, cloned(e.Batches[0].At(i)))
			}
			require.Equal(t, []string{"a=0 10 15"}, written(e)["out"])
			h.committedEpoch(e, int64(len(log)))
			h.pipe("in", raw(2, 25, "c", "+26")) // fires a's second, and is lost
			require.NoError(t, h.Close(false))

			replay := log
			if !local {
				cfg.Stores.Dir = t.TempDir()
			}
			tk, err := task.Open(t.Context(), cfg)
			require.NoError(t, err)
			require.NoError(t, tk.Stores().Replay("timers", replay))
			next := &harness{t: t, cfg: cfg, Task: tk, committed: h.committed}
			ends := map[string]int64{"timers": int64(len(log))}
			require.NoError(t, tk.Init(maps.Clone(h.committed), ends, e.Number, 0))
			t.Cleanup(func() { _ = tk.Close(false) })
			require.Equal(t, int64(15), tk.StreamTime(), "it travels with the committed offset")
			require.Equal(t, int64(7), tk.NextWallClock())
			require.Equal(t, []string{"a=0 20 25"}, next.firedBy(raw(2, 25, "c", "+26")))
			require.Equal(t, []string{"c=0 26 40", "b=0 30 40"}, next.firedBy(raw(3, 40, "x", "")))
		})
	}
}

func cloned(r record.Raw) record.Raw {
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	return r
}

func TestTimersHaveOneOwner(t *testing.T) {
	b := topology.NewBuilder()
	b.AddStore(store.TimerSpec("timers", serde.String))
	for _, name := range []string{"one", "two"} {
		topology.Process(texts(b, name), func() processor.Processor[string, string, string, string] {
			return &probe{init: func(ctx textContext) error {
				_, err := processor.NewTimers(ctx, "timers", func(store.Timer[string]) error { return nil })
				return err
			}}
		}, nil, nil, topology.Named("node-"+name), topology.WithStores("timers"))
	}
	tk, err := task.Open(t.Context(), harnessConfig(t, b))
	require.NoError(t, err)
	defer tk.Close(false)
	err = tk.Init(map[record.TopicPartition]task.Position{tp("one"): {}, tp("two"): {}}, nil, 0, 0)
	require.ErrorContains(t, err, `belong to node "node-one" already`)
}

// fixedTimers registers a timer for each record, from a processor that cannot change the key.
type fixedTimers struct {
	timers processor.Timers[string]
	fired  *[]int64
}

func (p *fixedTimers) Init(ctx processor.FixedKeyContext[string, string]) (err error) {
	p.timers, err = processor.NewTimers(ctx, "timers", func(t store.Timer[string]) error {
		*p.fired = append(*p.fired, t.At)
		return nil
	})
	return err
}

func (p *fixedTimers) Process(
	_ processor.FixedKeyContext[string, string], r processor.FixedKeyRecord[string, string],
) error {
	return p.timers.Register(r.Key(), r.Timestamp+10)
}

func TestTimersOfAFixedKeyProcessor(t *testing.T) {
	b := topology.NewBuilder()
	b.AddStore(store.TimerSpec("timers", serde.String))
	var fired []int64
	topology.ProcessValues(texts(b, "in"), func() processor.FixedKeyProcessor[string, string, string] {
		return &fixedTimers{fired: &fired}
	}, nil, topology.WithStores("timers"))
	h := open(t, harnessConfig(t, b))
	h.pipe("in", raw(0, 1, "a", ""), raw(1, 5, "b", ""), raw(2, 20, "c", ""))
	require.Equal(t, []int64{11, 15}, fired)
}
