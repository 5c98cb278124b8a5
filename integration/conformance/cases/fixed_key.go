package cases

import (
	"strconv"

	"github.com/tidemarkio/tidemark/processor"
)

type (
	fixedContext = processor.FixedKeyContext[text, text]
	fixedRecord  = processor.FixedKeyRecord[text, text]
)

// fixedProc is a processor that keeps keys, made of functions; init may be missing.
type fixedProc struct {
	init    func(ctx fixedContext) error
	process func(ctx fixedContext, r fixedRecord) error
}

// Init implements processor.FixedKeyInitializer.
func (p *fixedProc) Init(ctx fixedContext) error {
	if p.init == nil {
		return nil
	}
	return p.init(ctx)
}

// Process implements processor.FixedKeyProcessor.
func (p *fixedProc) Process(ctx fixedContext, r fixedRecord) error { return p.process(ctx, r) }

// fixedKeyProcessors are those of the format for processValues, by name.
func fixedKeyProcessors() map[string]func(s *Step) *fixedProc {
	return map[string]func(s *Step) *fixedProc{
		"running_count": runningCount,
		"stamp": fixedSuffix(func(_ *Step, r fixedRecord) string {
			return "@" + strconv.FormatInt(r.Timestamp, 10)
		}),
		"header_read": fixedSuffix(func(s *Step, r fixedRecord) string {
			return showHeader(r.Header(s.Args.Name))
		}),
	}
}

func runningCount(s *Step) *fixedProc {
	var kv textStore
	return &fixedProc{
		init: func(ctx fixedContext) (err error) {
			kv, err = processor.StateStore[textStore](ctx, s.Store)
			return err
		},
		process: func(ctx fixedContext, r fixedRecord) error {
			if r.Key() == nil {
				return nil
			}
			n, _, err := kv.Get(r.Key())
			if err != nil {
				return err
			}
			n = decimal(integerOf(n) + 1)
			if err := kv.Put(r.Key(), n); err != nil {
				return err
			}
			return ctx.Forward(processor.FixedKeyWithValue(r, Some(show(r.Value)+"#"+*n)))
		},
	}
}

// fixedSuffix is a processor that appends to the value.
func fixedSuffix(of func(s *Step, r fixedRecord) string) func(s *Step) *fixedProc {
	return func(s *Step) *fixedProc {
		return &fixedProc{process: func(ctx fixedContext, r fixedRecord) error {
			return ctx.Forward(processor.FixedKeyWithValue(r, Some(show(r.Value)+of(s, r))))
		}}
	}
}
