package topology_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// topScores is a store of the n highest scores ever seen. Its three states are those of the active, the sealed and the
// committed epoch; they are small, so it copies them.
type topScores struct {
	name                      string
	n                         int
	active, sealed, committed []uint64
}

// Offer takes a score in, if it is one of the highest, and returns them.
func (s *topScores) Offer(score uint64) []uint64 {
	s.active = append(slices.Clone(s.active), score)
	slices.SortFunc(s.active, func(a, b uint64) int { return int(b) - int(a) })
	s.active = s.active[:min(s.n, len(s.active))]
	return s.active
}

func (s *topScores) Name() string      { return s.name }
func (s *topScores) FlushCache() error { return nil }

func (s *topScores) Seal(_ record.Epoch, changelog *record.Batch) error {
	s.sealed = s.active
	if changelog == nil || slices.Equal(s.sealed, s.committed) {
		return nil
	}
	var value []byte
	for _, score := range s.sealed {
		value = binary.BigEndian.AppendUint64(value, score)
	}
	changelog.Append([]byte("top"), value, 0, nil) // one key: compaction keeps the last state
	return nil
}

func (s *topScores) Commit(record.Epoch) { s.committed = s.sealed }

func (s *topScores) Rollback() error {
	s.active, s.sealed = s.committed, s.committed
	return nil
}

func (s *topScores) Replay(r *record.Raw) error {
	if len(r.Value)%8 != 0 {
		return errors.New("scores have 8 bytes each")
	}
	s.committed = nil
	for at := 0; at < len(r.Value); at += 8 {
		s.committed = append(s.committed, binary.BigEndian.Uint64(r.Value[at:]))
	}
	return s.Rollback()
}

func (s *topScores) UncommittedBytes() int {
	if slices.Equal(s.active, s.committed) {
		return 0
	}
	return 8 * len(s.active)
}

// best forwards the highest scores with each record.
type best struct{ scores *topScores }

func (b *best) Init(ctx processor.Context[string, string]) (err error) {
	b.scores, err = processor.StateStore[*topScores](ctx, "top")
	return err
}

func (b *best) Process(ctx processor.Context[string, string], r record.Record[string, int64]) error {
	top := b.scores.Offer(uint64(r.Value))
	return ctx.Forward(record.Record[string, string]{Key: r.Key, Value: fmt.Sprint(top), Timestamp: r.Timestamp})
}

// A store of your own commits, rolls back and is restored with the others: the crash counts no score twice.
func Example_customStore() {
	b := topology.NewBuilder()
	b.AddStore(store.CustomSpec("top", func(store.Env) (store.Store, error) {
		return &topScores{name: "top", n: 2}, nil
	}))
	topology.Process(topology.Stream(b, "scores", serde.String, serde.Int64),
		func() processor.Processor[string, int64, string, string] { return &best{} },
		serde.String, serde.String, topology.WithStores("top")).To("top")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "scores", serde.String, serde.Int64)
	in.Pipe("a", 3, 0)
	in.Pipe("b", 9, 1)
	d.Commit()
	in.Pipe("c", 5, 2)
	d.Crash() // the record comes again, after what was committed
	in.Pipe("d", 7, 3)
	for _, r := range tidemarktest.Output(d, "top", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// a [3]
	// b [9 3]
	// c [9 5]
	// d [9 7]
}
