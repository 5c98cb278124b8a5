package task_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

type textContext = processor.Context[string, string]

// scheduled is a probe that schedules one punctuator and forwards no records of its own.
func scheduled(
	interval time.Duration, kind processor.PunctuationType, fn func(ctx textContext, now int64) error,
) *probe {
	return &probe{
		init: func(ctx textContext) error {
			ctx.Schedule(interval, kind, func(now int64) error { return fn(ctx, now) })
			return nil
		},
		process: func(textContext, record.Record[string, string]) error { return nil },
	}
}

// tell forwards the time at which a punctuator fired.
func tell(ctx textContext, now int64) error {
	return ctx.Forward(record.Record[string, string]{Key: "fired", Value: strconv.FormatInt(now, 10), Timestamp: now})
}

func TestStreamTimePunctuator(t *testing.T) {
	h := open(t, harnessConfig(t, through(scheduled(10*time.Millisecond, processor.StreamTime, tell))))
	h.pipe("in", raw(0, 3, "", ""), raw(1, 9, "", ""), raw(2, 10, "", ""), raw(3, 4, "", ""), raw(4, 55, "", ""),
		raw(5, 59, "", ""), raw(6, 60, "", ""))
	require.Equal(t, []string{"fired=3", "fired=10", "fired=55", "fired=60"}, h.commit()["out"],
		"on the first record, then at multiples of the interval, once however far time jumped")
	require.NoError(t, h.Punctuate(1000))
	require.False(t, h.Dirty(), "the wall clock does not move stream time")
}

func TestWallClockPunctuator(t *testing.T) {
	h := open(t, harnessConfig(t, through(scheduled(10*time.Millisecond, processor.WallClockTime, tell))))
	require.Equal(t, int64(10), h.NextWallClock())
	for _, now := range []int64{0, 9, 10, 10, 35, 39, 40} {
		require.NoError(t, h.Punctuate(now))
	}
	require.Equal(t, int64(50), h.NextWallClock())
	require.Equal(t, []string{"fired=10", "fired=35", "fired=40"}, h.commit()["out"])
	h.pipe("in", raw(0, 1000, "", ""))
	require.Empty(t, h.commit()["out"], "stream time does not move the wall clock")
}

// A punctuator sees its own time and no record, whichever time drives it; the record that moved stream time is there
// again for the next one.
func TestPunctuatorHasNoRecord(t *testing.T) {
	for _, kind := range []processor.PunctuationType{processor.StreamTime, processor.WallClockTime} {
		var seen []record.Header
		fired, known := 0, true
		p := scheduled(10*time.Millisecond, kind, func(ctx textContext, now int64) error {
			_, known = ctx.RecordMetadata()
			seen = ctx.Headers()
			fired++
			return tell(ctx, now)
		})
		var metadata []processor.RecordMetadata
		p.process = func(ctx textContext, _ record.Record[string, string]) error {
			m, _ := ctx.RecordMetadata()
			metadata = append(metadata, m)
			return nil
		}
		h := open(t, harnessConfig(t, through(p)))
		r := raw(0, 100, "k", "v")
		r.Headers = []record.Header{{Key: "h"}}
		h.pipe("in", r, raw(1, 200, "k", "v"))
		require.NoError(t, h.Punctuate(100))
		require.Positive(t, fired)
		require.False(t, known, "kind %d", kind)
		require.Empty(t, seen, "kind %d", kind)
		require.Len(t, metadata, 2)
		require.Equal(t, "in", metadata[1].Topic)
		require.Equal(t, int64(1), metadata[1].Offset)
	}
}

func TestPunctuatorCancelsItselfAndSchedulesAnother(t *testing.T) {
	var first processor.Cancellable
	h := open(t, harnessConfig(t, through(&probe{
		init: func(ctx textContext) error {
			first = ctx.Schedule(10*time.Millisecond, processor.WallClockTime, func(now int64) error {
				first.Cancel()
				ctx.Schedule(20*time.Millisecond, processor.WallClockTime, func(now int64) error { return tell(ctx, now) })
				return tell(ctx, now)
			})
			return nil
		},
	})))
	for now := int64(0); now <= 100; now += 5 {
		require.NoError(t, h.Punctuate(now))
	}
	require.Equal(t, []string{"fired=10", "fired=30", "fired=50", "fired=70", "fired=90"}, h.commit()["out"])
	first.Cancel()
	require.Equal(t, int64(110), h.NextWallClock())
}

func TestStreamTimeScheduleMadeByARecordIsDueAtOnce(t *testing.T) {
	made := false
	h := open(t, harnessConfig(t, through(&probe{
		process: func(ctx textContext, _ record.Record[string, string]) error {
			if !made {
				ctx.Schedule(time.Second, processor.StreamTime, func(now int64) error { return tell(ctx, now) })
			}
			made = true
			return nil
		},
	})))
	h.pipe("in", raw(0, 2500, "", ""), raw(1, 2999, "", ""), raw(2, 3000, "", ""))
	require.Equal(t, []string{"fired=2500", "fired=3000"}, h.commit()["out"])
}

// An error or panic in a punctuator goes to the handler for processing errors; others that are due still fire.
func TestFailingPunctuator(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("bad timer") },
		"panic": func() error { panic("bad timer") },
	} {
		for _, kind := range []processor.PunctuationType{processor.StreamTime, processor.WallClockTime} {
			t.Run(name+"/"+strconv.Itoa(int(kind)), func(t *testing.T) {
				p := &probe{
					init: func(ctx textContext) error {
						ctx.Schedule(10*time.Millisecond, kind, func(int64) error { return fail() })
						ctx.Schedule(10*time.Millisecond, kind, func(now int64) error { return tell(ctx, now) })
						return nil
					},
					process: func(textContext, record.Record[string, string]) error { return nil },
				}
				fire := func(h *harness) error {
					h.add("in", 1, raw(0, 10, "k", "v"))
					if _, err := h.Process(10, 0); err != nil {
						return err
					}
					return h.Punctuate(10)
				}
				h := open(t, harnessConfig(t, through(p)))
				err := fire(h)
				ue, ok := errors.AsType[*processor.UserError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, "probe", ue.Node)
				require.ErrorContains(t, err, "in a punctuator: bad timer")

				cfg := harnessConfig(t, through(p))
				var failures []processor.Failure
				cfg.Handlers.Processing = func(f processor.Failure) processor.Action {
					failures = append(failures, f)
					return processor.DeadLetterAction("dead")
				}
				h = open(t, cfg)
				require.NoError(t, fire(h))
				require.Len(t, failures, 1)
				require.Equal(t, "probe", failures[0].Node)
				require.Empty(t, failures[0].TopicPartition)
				require.Empty(t, failures[0].Record.Key, "it is not the fault of the record that moved stream time")
				e := h.seal()
				require.Equal(t, []string{"fired=10"}, written(e)["out"])
				require.Equal(t, []string{"=null"}, written(e)["dead"])
				require.Equal(t, uint64(1), h.Metrics().Failed)
			})
		}
	}
}

// A punctuator that fired in an epoch that is dropped is due again: what it did is undone.
func TestPunctuatorsAndRollback(t *testing.T) {
	p := &probe{
		init: func(ctx textContext) error {
			ctx.Schedule(10*time.Millisecond, processor.StreamTime, func(now int64) error { return tell(ctx, now) })
			ctx.Schedule(100*time.Millisecond, processor.WallClockTime, func(now int64) error { return tell(ctx, now) })
			return nil
		},
		process: func(textContext, record.Record[string, string]) error { return nil },
	}
	h := open(t, harnessConfig(t, through(p)))
	h.pipe("in", raw(0, 3, "", ""))
	require.Equal(t, []string{"fired=3"}, h.commit()["out"])
	again := func() {
		t.Helper()
		h.pipe("in", raw(1, 9, "", ""), raw(2, 12, "", ""), raw(3, 18, "", ""))
		require.NoError(t, h.Punctuate(100))
		require.NoError(t, h.Punctuate(101))
		require.Equal(t, []string{"fired=12", "fired=100"}, h.outputsOf()["out"])
	}
	again()
	h.rollback()
	require.Equal(t, int64(3), h.StreamTime())
	require.Equal(t, int64(100), h.NextWallClock())
	again()
	h.seal()
	h.pipe("in", raw(4, 25, "", ""))
	h.rollback()
	again()
	e := h.seal()
	h.pipe("in", raw(4, 25, "", "")) // the next epoch, while this one commits
	h.committedEpoch(e, -1)
	h.rollback()
	require.Equal(t, int64(18), h.StreamTime())
	h.pipe("in", raw(4, 19, "", ""), raw(5, 25, "", ""))
	require.Equal(t, []string{"fired=25"}, h.commit()["out"])
	require.Equal(t, int64(200), h.NextWallClock())
}

// After a restart stream time goes on where it was committed, and schedules begin anew: with the first record, even if
// that is older than stream time.
func TestPunctuatorsAfterARestart(t *testing.T) {
	p := scheduled(10*time.Millisecond, processor.StreamTime, tell)
	cfg := harnessConfig(t, through(p))
	h := open(t, cfg)
	h.pipe("in", raw(0, 25, "", ""))
	h.commit()
	h.pipe("in", raw(1, 99, "", "")) // never committed
	require.NoError(t, h.Close(false))

	tk, err := task.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer tk.Close(false)
	next := &harness{t: t, cfg: cfg, Task: tk, committed: h.committed}
	require.NoError(t, tk.Init(h.committed, nil, 1, 0))
	require.Equal(t, int64(25), tk.StreamTime())
	require.Empty(t, next.outputsOf())
	next.pipe("in", raw(1, 7, "", ""), raw(2, 29, "", ""), raw(3, 30, "", ""))
	require.Equal(t, []string{"fired=25", "fired=30"}, next.commit()["out"])
	require.Equal(t, int64(30), next.committed[tp("in")].StreamTime)
}

// Partition times survive one by one, since extractors ask for them.
func TestPartitionTimesSurvive(t *testing.T) {
	b := topology.NewBuilder()
	var seen []int64
	extract := topology.WithTimestampExtractor(func(r *record.Raw, at processor.Extraction) (int64, error) {
		seen = append(seen, at.PartitionTime)
		return processor.UsePreviousTimeOnInvalidTimestamp(r, at)
	})
	texts(b, "a", extract).Merge(texts(b, "b", extract)).To("out")
	cfg := harnessConfig(t, b)
	h := open(t, cfg)
	h.pipe("a", raw(0, 50, "a", ""))
	h.pipe("b", raw(0, 20, "b", ""))
	h.commit()
	h.pipe("a", raw(1, 70, "a", ""))
	h.rollback()
	seen = nil
	h.pipe("a", raw(1, -1, "a", ""))
	require.Equal(t, []int64{50}, seen, "a rollback takes back time")
	require.NoError(t, h.Close(false))

	tk, err := task.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer tk.Close(false)
	next := &harness{t: t, cfg: cfg, Task: tk, committed: h.committed}
	require.NoError(t, tk.Init(h.committed, nil, 1, 0))
	require.Equal(t, int64(50), tk.StreamTime())
	seen = nil
	next.pipe("b", raw(1, -1, "b", ""))
	next.pipe("a", raw(1, -1, "a", ""))
	require.Equal(t, []int64{20, 50}, seen)
}
