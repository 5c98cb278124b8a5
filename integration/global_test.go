package integration

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// globalScenario joins a stream with a global table by the stream's value.
type globalScenario struct {
	*scenario

	table  string // its topic, of three partitions
	rows   int    // records written to it
	orders int    // records written to the stream
}

func newGlobalScenario(t *testing.T) *globalScenario {
	g := &globalScenario{scenario: newScenario(t, broker.Start(t)), table: broker.Name(t, "table")}
	g.cluster.CreateTopic(t, g.table, 3, map[string]string{"cleanup.policy": "compact"})
	return g
}

func (g *globalScenario) build() *topology.Builder {
	b := topology.NewBuilder()
	table := topology.GlobalTable(b, g.table, serde.String, serde.String, topology.As("prices"))
	topology.LeftJoinGlobal(topology.Stream(b, g.in, serde.String, serde.String), table,
		func(_, product string) string { return product },
		func(product string, price topology.Optional[string]) string { return product + "=" + price.Or("none") },
		nil).To(g.out)
	return b
}

// put writes rows, each with the same value; "" deletes.
func (g *globalScenario) put(value string, products ...string) {
	g.t.Helper()
	records := make([]broker.Record, len(products))
	for i, p := range products {
		records[i] = broker.Record{Partition: -1, Key: []byte(p)}
		if value != "" {
			records[i].Value = []byte(value)
		}
	}
	g.cluster.Produce(g.t, g.table, records...)
	g.rows += len(products)
}

// awaitRows waits until the instances have read the whole table.
func (g *globalScenario) awaitRows(apps ...*app) {
	g.t.Helper()
	for _, a := range apps {
		eventually(g.t, "the global table is read", func() bool {
			s, err := a.app.Status(g.t.Context())
			if err != nil || len(s.GlobalStores) != 1 {
				return false
			}
			read := int64(0)
			for _, in := range s.GlobalStores[0].Inputs {
				read += in.Committed
			}
			return s.GlobalStores[0].Store == "prices" && read == int64(g.rows)
		})
	}
}

// order sends each product from several keys, so that all partitions have some, and returns the distinct results of the
// whole test, sorted.
func (g *globalScenario) order(products ...string) []string {
	g.t.Helper()
	var records []broker.Record
	for i := range 40 {
		for _, p := range products {
			records = append(records, broker.Record{Partition: -1, Key: fmt.Appendf(nil, "order-%d", i), Value: []byte(p)})
		}
	}
	g.cluster.Produce(g.t, g.in, records...)
	g.orders += len(records)
	all := g.awaitOutputs(g.out, g.orders)
	results := make(map[string]int)
	for _, r := range all {
		results[string(r.Value)]++
	}
	var distinct []string
	for r := range results {
		distinct = append(distinct, r)
	}
	slices.Sort(distinct)
	return distinct
}

// starts collects where global stores were read from.
type starts struct {
	mu  sync.Mutex
	all []tidemark.RestoreStart
}

func (s *starts) listener() tidemark.RestoreListener {
	return tidemark.RestoreListener{OnStart: func(e tidemark.RestoreStart) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, e)
	}}
}

// toRead returns how many records of the table were left to be read, and from which base.
func (s *starts) toRead(t *testing.T) (records int64, base string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.all, 3, "one per partition")
	for _, e := range s.all {
		require.Equal(t, record.GlobalTaskID(), e.Task)
		require.Equal(t, "prices", e.Store)
		require.Equal(t, s.all[0].Base, e.Base)
		records += e.To - e.From
	}
	return records, s.all[0].Base
}

// Two instances have the whole table, see it change, and continue from where their local state ends.
func TestGlobalTable(t *testing.T) {
	g := newGlobalScenario(t)
	g.put("1", "ant", "bee", "cat", "dog", "eel", "fox")

	var startA starts
	cfgA, cfgB := g.config(), g.config()
	cfgA.RestoreListener = startA.listener()
	a, b := g.run(g.build(), cfgA), g.run(g.build(), cfgB)
	a.awaitRunning()
	b.awaitRunning()
	records, base := startA.toRead(t)
	require.Equal(t, int64(6), records)
	require.Equal(t, "none", base)
	require.Equal(t, []string{"ant=1", "fox=1", "gnu=none"}, g.order("ant", "fox", "gnu"))

	g.put("2", "ant", "gnu")
	g.put("", "fox")
	g.awaitRows(a, b)
	require.Equal(t, []string{"ant=1", "ant=2", "bee=1", "fox=1", "fox=none", "gnu=2", "gnu=none"},
		g.order("ant", "bee", "fox", "gnu"))
	b.close()
	a.close()

	// The rest is read behind the checkpoint.
	g.put("3", "bee", "hen")
	var again starts
	cfgA.RestoreListener = again.listener()
	a = g.run(g.build(), cfgA)
	a.awaitRunning()
	records, base = again.toRead(t)
	require.Equal(t, int64(2), records)
	require.Equal(t, "local", base)
	require.Contains(t, g.order("ant", "bee", "hen"), "hen=3")
	a.close()

	// Without a state directory all of it is read again.
	var wiped starts
	cfgA.StateDir, cfgA.RestoreListener = t.TempDir(), wiped.listener()
	a = g.run(g.build(), cfgA)
	a.awaitRunning()
	records, base = wiped.toRead(t)
	require.Equal(t, int64(11), records)
	require.Equal(t, "none", base)
	results := g.order("cat", "hen")
	require.Contains(t, results, "cat=1")
	require.NotContains(t, results, "hen=none")
	a.close()
}

// A record that cannot be decoded goes to the handler, before and while tasks run.
func TestGlobalTableBadRecord(t *testing.T) {
	g := newGlobalScenario(t)
	build := func() *topology.Builder {
		b := topology.NewBuilder()
		table := topology.GlobalTable(b, g.table, serde.String, serde.Int64, topology.As("prices"))
		topology.JoinGlobal(topology.Stream(b, g.in, serde.String, serde.String), table,
			func(_, product string) string { return product },
			func(product string, price int64) string { return fmt.Sprintf("%s=%d", product, price) }, nil).To(g.out)
		return b
	}
	one := string([]byte{0, 0, 0, 0, 0, 0, 0, 1})
	g.put(one, "ant")
	g.put("not a number", "bee")
	a := g.run(build(), g.config())
	err := a.awaitError("global stores", g.table, "OnDeserializationError")
	var bad *processor.DeserializationError
	require.ErrorAs(t, err, &bad)

	var mu sync.Mutex
	failed := 0
	cfg := g.config()
	cfg.OnDeserializationError = func(f processor.Failure) processor.Action {
		mu.Lock()
		defer mu.Unlock()
		if f.Task == record.GlobalTaskID() && f.TopicPartition.Topic == g.table {
			failed++
		}
		return processor.ContinueAction()
	}
	a = g.run(build(), cfg)
	a.awaitRunning()
	g.put("nor is this", "cat")
	g.put(one, "dog")
	g.awaitRows(a)
	require.Equal(t, []string{"ant=1", "dog=1"}, g.order("ant", "dog"))
	mu.Lock()
	require.Equal(t, 2, failed)
	mu.Unlock()
	a.close()

	// There is no transaction that a dead letter could be part of.
	cfg = g.config()
	cfg.OnDeserializationError = processor.DeadLetter(g.out)
	err = g.run(build(), cfg).awaitError("part of no transaction", "GlobalTaskID")
	require.ErrorAs(t, err, &bad)
}

// A processor fills a global store, which others read by its name.
func TestAddGlobalStore(t *testing.T) {
	g := newGlobalScenario(t)
	b := topology.NewBuilder()
	topology.AddGlobalStore(b, store.KeyValueSpec("prices", serde.String, serde.String), g.table, serde.String,
		serde.String, func() processor.Processor[string, string, processor.Void, processor.Void] { return &collected{} })
	topology.ProcessValues(topology.Stream(b, g.in, serde.String, serde.String),
		func() processor.FixedKeyProcessor[string, string, string] { return &lookUp{} }, nil).To(g.out)
	g.put("1", "ant")
	g.put("2", "ant")
	a := g.run(b, g.config())
	a.awaitRunning()
	require.Equal(t, []string{"ant=1,2"}, g.order("ant"))
	a.close()

	missing := g.config()
	g.table = "no-such-topic"
	err := g.run(g.build(), missing).awaitError(
		`"no-such-topic"`, `fills the global store "prices"`, "cleanup.policy=compact")
	var topic *tidemark.TopicError
	require.ErrorAs(t, err, &topic)
}

// collected keeps the values of a key in one row.
type collected struct {
	rows *store.KeyValue[string, string]
}

func (p *collected) Init(ctx processor.Context[processor.Void, processor.Void]) (err error) {
	p.rows, err = processor.StateStore[*store.KeyValue[string, string]](ctx, "prices")
	return err
}

func (p *collected) Process(
	_ processor.Context[processor.Void, processor.Void], r record.Record[string, string],
) error {
	old, found, err := p.rows.Get(r.Key)
	if err != nil {
		return err
	}
	if found {
		return p.rows.Put(r.Key, old+","+r.Value)
	}
	return p.rows.Put(r.Key, r.Value)
}

// lookUp forwards the row of the value.
type lookUp struct{ rows *store.Global[string, string] }

func (p *lookUp) Init(ctx processor.FixedKeyContext[string, string]) (err error) {
	p.rows, err = processor.StateStore[*store.Global[string, string]](ctx, "prices")
	return err
}

func (p *lookUp) Process(
	ctx processor.FixedKeyContext[string, string], r processor.FixedKeyRecord[string, string],
) error {
	row, _, err := p.rows.Get(r.Value)
	if err != nil {
		return err
	}
	return ctx.Forward(processor.FixedKeyWithValue(r, r.Value+"="+row))
}
