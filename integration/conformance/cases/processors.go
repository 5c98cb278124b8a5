package cases

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

type (
	procContext = processor.Context[text, text]
	textRecord  = record.Record[text, text]
	textStore   = *store.KeyValue[text, text]
	textGlobal  = *store.Global[text, text]
)

// proc is a processor made of functions; init may be missing.
type proc struct {
	init    func(ctx procContext) error
	process func(ctx procContext, r textRecord) error
}

// Init implements processor.ContextInitializer.
func (p *proc) Init(ctx procContext) error {
	if p.init == nil {
		return nil
	}
	return p.init(ctx)
}

// Process implements processor.Processor.
func (p *proc) Process(ctx procContext, r textRecord) error { return p.process(ctx, r) }

// processors are those of the format, by name.
func processors() map[string]func(s *Step) *proc {
	return map[string]func(s *Step) *proc{
		"dedup":          dedup,
		"timer":          timer,
		"wallclock_dump": wallClockDump,
		"ticker":         ticker,
		"running_sum":    runningSum,
		"put":            put,
		"get":            get,
		"lookup":         lookUp,
		"window_recent":  windowRecent,
		"retime":         retime,
		"multi":          multi,
		"header_add":     headerAdd,
		"header_remove":  headerRemove,
		"header_read":    headerRead,
		"stream_time": suffix(func(ctx procContext, _ textRecord) string {
			return "@" + strconv.FormatInt(ctx.StreamTime(), 10)
		}),
		"wall_time": suffix(func(ctx procContext, _ textRecord) string {
			return "@" + strconv.FormatInt(ctx.CurrentSystemTime(), 10)
		}),
		"source": suffix(func(ctx procContext, _ textRecord) string {
			m, _ := ctx.RecordMetadata()
			return fmt.Sprintf("<%s/%d", m.Topic, m.Offset)
		}),
	}
}

// keyed is a processor with a store of texts that drops null keys.
func keyed(
	s *Step, process func(ctx procContext, kv textStore, r textRecord) error, init func(ctx procContext, kv textStore),
) *proc {
	var kv textStore
	return &proc{
		init: func(ctx procContext) (err error) {
			if kv, err = processor.StateStore[textStore](ctx, s.Store); err == nil && init != nil {
				init(ctx, kv)
			}
			return err
		},
		process: func(ctx procContext, r textRecord) error {
			if r.Key == nil {
				return nil
			}
			return process(ctx, kv, r)
		},
	}
}

// suffix is a processor that appends to the value.
func suffix(of func(ctx procContext, r textRecord) string) func(s *Step) *proc {
	return func(*Step) *proc {
		return &proc{process: func(ctx procContext, r textRecord) error {
			return ctx.Forward(withValue(r, show(r.Value)+of(ctx, r)))
		}}
	}
}

func withValue(r textRecord, v string) textRecord { return record.WithValue(r, Some(v)) }

func interval(s *Step) time.Duration { return time.Duration(s.Args.IntervalMs) * time.Millisecond }

// snapshot reads a store before it is changed.
func snapshot(kv textStore) (all []store.KeyValueEntry[text, text], err error) {
	for e, err := range kv.All() {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func each(kv textStore, do func(e store.KeyValueEntry[text, text]) error) error {
	all, err := snapshot(kv)
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

func dedup(s *Step) *proc {
	return keyed(s, func(ctx procContext, kv textStore, r textRecord) error {
		at, found, err := kv.Get(r.Key)
		if err != nil || found && r.Timestamp-integerOf(at) < s.Args.TTLMs {
			return err
		}
		if err := kv.Put(r.Key, decimal(r.Timestamp)); err != nil {
			return err
		}
		return ctx.Forward(r)
	}, func(ctx procContext, kv textStore) {
		ctx.Schedule(interval(s), processor.StreamTime, func(now int64) error {
			return each(kv, func(e store.KeyValueEntry[text, text]) error {
				if now-integerOf(e.Value) < s.Args.TTLMs {
					return nil
				}
				if err := kv.Delete(e.Key); err != nil || !s.Args.Announce {
					return err
				}
				return ctx.Forward(textRecord{Key: e.Key, Value: Some("expired"), Timestamp: now})
			})
		})
	})
}

func timer(s *Step) *proc {
	return keyed(s, func(_ procContext, kv textStore, r textRecord) error {
		if r.Value == nil {
			return kv.Delete(r.Key)
		}
		return kv.Put(r.Key, Some(strconv.FormatInt(r.Timestamp+s.Args.DelayMs, 10)+"|"+*r.Value))
	}, func(ctx procContext, kv textStore) {
		ctx.Schedule(interval(s), processor.StreamTime, func(now int64) error {
			return each(kv, func(e store.KeyValueEntry[text, text]) error {
				deadline, value, _ := strings.Cut(*e.Value, "|")
				if integer(deadline) > now {
					return nil
				}
				if err := kv.Delete(e.Key); err != nil {
					return err
				}
				return ctx.Forward(textRecord{Key: e.Key, Value: Some(value), Timestamp: now})
			})
		})
	})
}

func wallClockDump(s *Step) *proc {
	return keyed(s, func(_ procContext, kv textStore, r textRecord) error {
		return kv.Put(r.Key, r.Value) // null deletes
	}, func(ctx procContext, kv textStore) {
		ctx.Schedule(interval(s), processor.WallClockTime, func(now int64) error {
			return each(kv, func(e store.KeyValueEntry[text, text]) error {
				if err := ctx.Forward(textRecord{Key: e.Key, Value: e.Value, Timestamp: now}); err != nil || !s.Args.Clear {
					return err
				}
				return kv.Delete(e.Key)
			})
		})
	})
}

func ticker(s *Step) *proc {
	kind := processor.StreamTime
	if s.Args.Type == "wall" {
		kind = processor.WallClockTime
	}
	var (
		n, count int
		schedule processor.Cancellable
	)
	return &proc{
		init: func(ctx procContext) error {
			schedule = ctx.Schedule(interval(s), kind, func(now int64) error {
				n++
				value := Some(fmt.Sprintf("%d:%d", n, count))
				count = 0
				if err := ctx.Forward(textRecord{Key: Some("tick"), Value: value, Timestamp: now}); err != nil {
					return err
				}
				if n == s.Args.Max {
					schedule.Cancel()
				}
				return nil
			})
			return nil
		},
		process: func(ctx procContext, r textRecord) error {
			count++
			if !s.Args.Pass {
				return nil
			}
			return ctx.Forward(r)
		},
	}
}

func runningSum(s *Step) *proc {
	return keyed(s, func(ctx procContext, kv textStore, r textRecord) error {
		if r.Value == nil {
			if err := kv.Delete(r.Key); err != nil {
				return err
			}
			return ctx.Forward(r)
		}
		sum, _, err := kv.Get(r.Key)
		if err != nil {
			return err
		}
		sum = decimal(integerOf(sum) + integerOf(r.Value))
		if err := kv.Put(r.Key, sum); err != nil {
			return err
		}
		return ctx.Forward(withValue(r, *sum))
	}, nil)
}

func put(s *Step) *proc {
	return keyed(s, func(ctx procContext, kv textStore, r textRecord) error {
		if err := kv.Put(r.Key, r.Value); err != nil {
			return err
		}
		return ctx.Forward(r)
	}, nil)
}

func get(s *Step) *proc {
	var kv textStore
	return &proc{
		init: func(ctx procContext) (err error) {
			kv, err = processor.StateStore[textStore](ctx, s.Store)
			return err
		},
		process: func(ctx procContext, r textRecord) error {
			var found text
			if r.Key != nil {
				var err error
				if found, _, err = kv.Get(r.Key); err != nil {
					return err
				}
			}
			return ctx.Forward(withValue(r, show(r.Value)+"+"+show(found)))
		},
	}
}

// lookUp reads the store of a table, whose rows are texts or counts.
func lookUp(s *Step) *proc {
	var row func(key text) (string, error)
	return &proc{
		init: func(ctx procContext) error {
			st, err := ctx.Store(s.Store)
			if err != nil {
				return err
			}
			switch kv := st.(type) {
			case textStore:
				row = func(key text) (string, error) { return rowOf(kv, key, show) }
			case *store.KeyValue[text, int64]:
				row = func(key text) (string, error) {
					return rowOf(kv, key, func(n int64) string { return strconv.FormatInt(n, 10) })
				}
			case textGlobal:
				row = func(key text) (string, error) { return rowOf(kv, key, show) }
			case versionedStore:
				row = func(key text) (string, error) { return rowOf(kv, key, show) }
			default:
				return fmt.Errorf("conformance: lookup in a %T", st)
			}
			return nil
		},
		process: func(ctx procContext, r textRecord) error {
			found := show(nil)
			if r.Key != nil {
				var err error
				if found, err = row(r.Key); err != nil {
					return err
				}
			}
			return ctx.Forward(withValue(r, show(r.Value)+"+"+found))
		},
	}
}

// timestamped is a store of rows, of a task or global.
type timestamped[V any] interface {
	GetWithTimestamp(key text) (v V, timestamp int64, found bool, err error)
}

func rowOf[V any](kv timestamped[V], key text, shown func(V) string) (string, error) {
	v, ts, found, err := kv.GetWithTimestamp(key)
	if err != nil || !found {
		return show(nil), err
	}
	return fmt.Sprintf("%s@%d", shown(v), ts), nil
}

func retime(s *Step) *proc {
	return &proc{process: func(ctx procContext, r textRecord) error {
		r.Timestamp = max(0, r.Timestamp+s.Args.DeltaMs)
		return ctx.Forward(r)
	}}
}

func multi(s *Step) *proc {
	return &proc{process: func(ctx procContext, r textRecord) error {
		for i := range s.Args.N {
			if err := ctx.Forward(withValue(r, fmt.Sprintf("%s#%d", show(r.Value), i+1))); err != nil {
				return err
			}
		}
		return nil
	}}
}

func headerAdd(s *Step) *proc {
	return &proc{process: func(ctx procContext, r textRecord) error {
		value := s.Args.Value
		if value == "$value" {
			value = show(r.Value)
		}
		r.Headers = append(slices.Clone(r.Headers), record.Header{Key: s.Args.Name, Value: []byte(value)})
		return ctx.Forward(r)
	}}
}

func headerRemove(s *Step) *proc {
	return &proc{process: func(ctx procContext, r textRecord) error {
		r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h record.Header) bool { return h.Key == s.Args.Name })
		return ctx.Forward(r)
	}}
}

func headerRead(s *Step) *proc {
	return suffix(func(_ procContext, r textRecord) string {
		return showHeader(r.Header(s.Args.Name))
	})(s)
}

func showHeader(value []byte, found bool) string {
	if !found {
		return "[-]"
	}
	return "[" + string(value) + "]"
}

func windowRecent(s *Step) *proc {
	var recent *store.Window[text, text]
	return &proc{
		init: func(ctx procContext) (err error) {
			recent, err = processor.StateStore[*store.Window[text, text]](ctx, s.Store)
			return err
		},
		process: func(ctx procContext, r textRecord) error {
			if r.Key == nil {
				return nil
			}
			if err := recent.Put(r.Key, r.Value, r.Timestamp); err != nil { // null deletes
				return err
			}
			var found []string
			for e, err := range recent.FetchRange(r.Key, max(0, r.Timestamp-s.Args.BackMs), r.Timestamp+s.Args.AheadMs) {
				if err != nil {
					return err
				}
				found = append(found, strconv.FormatInt(e.Start, 10)+"="+show(e.Value))
			}
			return ctx.Forward(withValue(r, strings.Join(found, ",")))
		},
	}
}
