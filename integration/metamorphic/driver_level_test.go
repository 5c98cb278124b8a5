package metamorphic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/tidemarktest"
)

// outputs are the records of each topic, in order.
type outputs map[string][]cases.Output

// onDriver pipes the events of a scenario into the test driver. around is called before and behind each event, and may
// commit or crash; all is committed in the end.
func onDriver(
	s *scenario, around func(d *tidemarktest.Driver, next *cases.Event) error, opts ...tidemarktest.Option,
) (out outputs, err error) {
	b, err := cases.Build(&s.Case)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	d, err := tidemarktest.Open(b.Builder, opts...)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for i := range s.Events {
		e := &s.Events[i]
		err := around(d, e)
		switch {
		case err != nil:
		case e.Topic == "":
			err = d.TryAdvanceWallClock(time.Duration(e.AdvanceWallClockMs) * time.Millisecond)
		default:
			in := tidemarktest.Input(d, e.Topic, cases.TextSerde(), cases.TextSerde())
			err = in.TryPipe(e.Key, e.Value, e.TS)
		}
		if err == nil {
			err = around(d, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
	}
	if err := d.TryCommit(); err != nil {
		return nil, err
	}
	out = make(outputs)
	for _, topic := range b.Sinks {
		read := tidemarktest.Output(d, topic, cases.TextSerde(), cases.TextSerde())
		for read.Len() > 0 {
			r, err := read.TryRead()
			if err != nil {
				return nil, err
			}
			out[topic] = append(out[topic], outputOf(r))
		}
	}
	return out, nil
}

func outputOf(r record.Record[cases.Text, cases.Text]) cases.Output {
	return cases.Output{Key: r.Key, Value: r.Value, TS: r.Timestamp}
}

func undisturbed(*tidemarktest.Driver, *cases.Event) error { return nil }

// disturber commits and crashes at random.
func disturber(r *rand.Rand, s *scenario) func(d *tidemarktest.Driver, next *cases.Event) error {
	uncommitted, often := 0, 1+r.IntN(6)
	commit := func(d *tidemarktest.Driver) error {
		uncommitted = 0
		return d.TryCommit()
	}
	return func(d *tidemarktest.Driver, next *cases.Event) error {
		// Global stores are in no transaction, and nor are punctuations: a crash between one and the next commit may
		// give other results, which are as right.
		if next != nil && next.Topic == "in5" || next == nil && uncommitted < 0 {
			return commit(d)
		}
		if next != nil {
			if uncommitted++; next.Topic == "" {
				uncommitted = -1
			}
			return nil
		}
		if s.late && uncommitted > 1 {
			return commit(d)
		}
		for range 2 {
			switch r.IntN(often + 2) {
			case 0:
				if err := commit(d); err != nil {
					return err
				}
			case 1:
				if err := d.TryCrash(); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// driverRun compares an undisturbed run of the driver with a disturbed one.
func driverRun(s *scenario, seed uint64) error {
	want, err := onDriver(s, undisturbed)
	if err != nil {
		return err
	}
	var opts []tidemarktest.Option
	if s.class == tables {
		opts = append(opts, tidemarktest.WithCaching())
	}
	got, err := onDriver(s, disturber(rand.New(rand.NewPCG(seed, 1)), s), opts...)
	if err != nil {
		return fmt.Errorf("disturbed: %w", err)
	}
	if s.class == tables {
		return compare(want, got, lastValues)
	}
	return compare(want, got, sequence)
}
