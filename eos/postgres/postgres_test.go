package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/eos/postgres"
	server "github.com/tidemarkio/tidemark/integration/postgres"
	"github.com/tidemarkio/tidemark/record"
)

// Names of prepared transactions are unique on a server: tests that use it run one after the other.

// ordersAt is a task with a sink for orders.
func ordersAt(partition int32) eos.SinkTask {
	return eos.SinkTask{
		ApplicationID: "shop", Sink: "orders-db", Task: record.TaskID{Partition: partition},
		Logger: slog.New(slog.DiscardHandler),
	}
}

func nameOf(at eos.SinkTask, epoch int, owner string) eos.TransactionName {
	return eos.TransactionName{
		ApplicationID: at.ApplicationID, Task: at.Task, Epoch: record.Epoch(epoch), Sink: at.Sink, Owner: owner,
	}
}

func row(values ...any) postgres.Row { return postgres.Row{Values: values} }

// connect makes a connection that has taken its task over.
func connect(t *testing.T, s *postgres.Sink, at eos.SinkTask) (eos.SinkConn[postgres.Row], []eos.TransactionName) {
	t.Helper()
	c, err := s.Connect(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	found, err := c.Recover(t.Context())
	require.NoError(t, err)
	return c, found
}

func TestMistakesInConfig(t *testing.T) {
	t.Parallel()
	good := postgres.Config{ConnString: "postgres://u@h/d", Table: "t", Columns: []string{"k", "v"}, Key: []string{"k"}}
	_, err := postgres.Upsert(good)
	require.NoError(t, err)
	for want, change := range map[string]func(c *postgres.Config){
		"ConnString":             func(c *postgres.Config) { c.ConnString = "postgres://u:secret@h:port/d" },
		`Table "a.b.c"`:          func(c *postgres.Config) { c.Table = "a.b.c" },
		`Table ""`:               func(c *postgres.Config) { c.Table = "" },
		"Columns []":             func(c *postgres.Config) { c.Columns = nil },
		`"x" is none of the col`: func(c *postgres.Config) { c.Key = []string{"x"} },
		"Upsert wants":           func(c *postgres.Config) { c.Key = nil },
		"positive":               func(c *postgres.Config) { c.LockTimeout = -1 },
	} {
		c := good
		change(&c)
		_, err := postgres.Upsert(c)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestTwoPhaseInserts(t *testing.T) {
	d := server.Start(t)
	d.Exec(t, `CREATE SCHEMA sales; CREATE TABLE sales.orders (id bigint, item text, note text DEFAULT 'none')`)
	s, err := postgres.TwoPhase(postgres.Config{
		ConnString: d.URL, Table: "sales.orders", Columns: []string{"id", "item"},
	})
	require.NoError(t, err)
	require.Equal(t, "postgres table sales.orders", s.String())
	require.False(t, s.Idempotent())
	at := ordersAt(0)
	c, found := connect(t, s, at)
	require.Empty(t, found)

	first := nameOf(at, 1, "o")
	require.NoError(t, c.Prepare(t.Context(), first, []postgres.Row{row(1, "pen"), row(2, nil)}))
	require.Empty(t, d.Lines(t, "SELECT * FROM sales.orders"), "nobody sees it yet")
	names, err := postgres.Prepared(t.Context(), d.URL, "shop")
	require.NoError(t, err)
	require.Equal(t, []eos.TransactionName{first}, names)
	names, err = postgres.Prepared(t.Context(), d.URL, "sho")
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, c.Commit(t.Context(), first))
	require.ErrorIs(t, c.Commit(t.Context(), first), eos.ErrNotPrepared)
	require.Equal(t, []string{"1 pen none", "2 <nil> none"}, d.Lines(t, "SELECT * FROM sales.orders ORDER BY id"))

	second := nameOf(at, 2, "o")
	require.NoError(t, c.Prepare(t.Context(), second, []postgres.Row{row(3, "ink")}))
	require.NoError(t, c.Abort(t.Context(), second))
	require.NoError(t, c.Abort(t.Context(), second), "whether it exists or not")
	require.NoError(t, c.Prepare(t.Context(), second, []postgres.Row{row(4, "ink")}), "the name may come again")
	require.NoError(t, c.Commit(t.Context(), second))
	require.Equal(t, []string{"1", "2", "4"}, d.Lines(t, "SELECT id FROM sales.orders ORDER BY id"))
}

func TestTwoPhaseByKey(t *testing.T) {
	d := server.Start(t)
	d.Exec(t, `CREATE TABLE stock ("Item" text, shop int, n bigint, PRIMARY KEY (shop, "Item"))`)
	s, err := postgres.TwoPhase(postgres.Config{
		ConnString: d.URL, Table: "stock", Columns: []string{"Item", "shop", "n"}, Key: []string{"Item", "shop"},
	})
	require.NoError(t, err)
	at := ordersAt(0)
	c, _ := connect(t, s, at)
	var rows []postgres.Row
	for i := range 2500 { // several batches, each key several times
		rows = append(rows, row(fmt.Sprint("item-", i%3), 1, i))
	}
	rows = append(rows, postgres.Row{Values: []any{"item-1", 1, nil}, Delete: true},
		postgres.Row{Values: []any{"never there", 1, nil}, Delete: true})
	require.NoError(t, c.Prepare(t.Context(), nameOf(at, 1, "o"), rows))
	require.NoError(t, c.Commit(t.Context(), nameOf(at, 1, "o")))
	require.Equal(t, []string{"item-0 1 2499", "item-2 1 2498"}, d.Lines(t, `SELECT * FROM stock ORDER BY "Item"`))
}

func TestUpsert(t *testing.T) {
	d := server.Start(t)
	d.Exec(t, `CREATE TABLE counts (word text PRIMARY KEY, n bigint, tidemark_partition integer, tidemark_epoch bigint)`)
	s, err := postgres.Upsert(postgres.Config{
		ConnString: d.URL, Table: "counts", Columns: []string{"word", "n"}, Key: []string{"word"},
	})
	require.NoError(t, err)
	require.True(t, s.Idempotent())
	at := ordersAt(3)
	c, found := connect(t, s, at)
	require.Empty(t, found)
	lines := func() []string { return d.Lines(t, "SELECT * FROM counts ORDER BY word") }
	for range 2 { // a crash repeats it
		rows := []postgres.Row{row("be", 1), row("to", 1), row("be", 2)}
		require.NoError(t, c.Prepare(t.Context(), nameOf(at, 5, "o"), rows))
		require.Equal(t, []string{"be 2 3 5", "to 1 3 5"}, lines())
	}
	require.NoError(t, c.Commit(t.Context(), nameOf(at, 5, "o")))
	require.NoError(t, c.Abort(t.Context(), nameOf(at, 5, "o")))
	require.Equal(t, []string{"be 2 3 5", "to 1 3 5"}, lines())

	// What is older comes too late.
	require.NoError(t, c.Prepare(t.Context(), nameOf(at, 4, "o"), []postgres.Row{
		row("be", 0), {Values: []any{"to", nil}, Delete: true},
	}))
	require.Equal(t, []string{"be 2 3 5", "to 1 3 5"}, lines())
	gone := postgres.Row{Values: []any{"to", nil}, Delete: true}
	require.NoError(t, c.Prepare(t.Context(), nameOf(at, 6, "o"), []postgres.Row{gone}))
	require.Equal(t, []string{"be 2 3 5"}, lines())
	// Another number of partitions moves keys, and epochs begin anew.
	other := ordersAt(1)
	moved, _ := connect(t, s, other)
	require.NoError(t, moved.Prepare(t.Context(), nameOf(other, 1, "o"), []postgres.Row{row("be", 7)}))
	require.Equal(t, []string{"be 7 1 1"}, lines())
}

// The next owner ends the session of the one before, finds what that has prepared, and nobody prepares any more.
func TestTakeOver(t *testing.T) {
	d := server.Start(t)
	d.Exec(t, `CREATE TABLE orders (id bigint)`)
	s, err := postgres.TwoPhase(postgres.Config{
		ConnString: d.URL, Table: "orders", Columns: []string{"id"}, TakeOverWait: 50 * time.Millisecond,
	})
	require.NoError(t, err)
	at := ordersAt(0)
	zombie, _ := connect(t, s, at)
	of := func(at eos.SinkTask, sink string) eos.SinkTask { at.Sink = sink; return at }
	bystander, _ := connect(t, s, of(at, "another-db"))
	require.NoError(t, bystander.Prepare(t.Context(), nameOf(of(at, "another-db"), 1, "z"), []postgres.Row{row(9)}))
	require.NoError(t, zombie.Prepare(t.Context(), nameOf(at, 1, "z"), []postgres.Row{row(1)}))

	began := time.Now()
	owner, found := connect(t, s, at)
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond, "it may have been about to end by itself")
	require.Equal(t, []eos.TransactionName{nameOf(at, 1, "z")}, found)
	require.NoError(t, owner.Commit(t.Context(), found[0]))

	require.Error(t, zombie.Prepare(t.Context(), nameOf(at, 2, "z"), []postgres.Row{row(2)}), "its session was ended")
	require.ErrorIs(t, zombie.Prepare(t.Context(), nameOf(at, 2, "z"), []postgres.Row{row(2)}), eos.ErrFenced)
	require.ErrorIs(t, zombie.Commit(t.Context(), nameOf(at, 1, "z")), eos.ErrNotPrepared, "the owner has done it")
	require.NoError(t, zombie.Abort(t.Context(), nameOf(at, 2, "z")))

	require.NoError(t, owner.Prepare(t.Context(), nameOf(at, 2, "o"), []postgres.Row{row(3)}))
	require.NoError(t, owner.Commit(t.Context(), nameOf(at, 2, "o")))
	require.NoError(t, bystander.Abort(t.Context(), nameOf(of(at, "another-db"), 1, "z")))
	require.Equal(t, []string{"1", "3"}, d.Lines(t, "SELECT id FROM orders ORDER BY id"))
	left, err := postgres.Prepared(t.Context(), d.URL, "shop")
	require.NoError(t, err)
	require.Empty(t, left)
}

// An owner that is cut off, and whose lock a zombie takes meanwhile, still ends what it has prepared.
func TestDecidedWithoutTheLock(t *testing.T) {
	d := server.Start(t)
	door := d.Door(t)
	d.Exec(t, `CREATE TABLE orders (id bigint)`)
	cfg := postgres.Config{ConnString: d.URL, Table: "orders", Columns: []string{"id"}}
	direct, err := postgres.TwoPhase(cfg)
	require.NoError(t, err)
	cfg.ConnString = door.URL
	cut, err := postgres.TwoPhase(cfg)
	require.NoError(t, err)
	at := ordersAt(0)
	zombie, _ := connect(t, direct, at)
	require.NoError(t, zombie.Close())
	owner, _ := connect(t, cut, at)
	require.NoError(t, owner.Prepare(t.Context(), nameOf(at, 1, "o"), []postgres.Row{row(1)}))
	door.Close()
	require.Eventually(t, func() bool {
		return zombie.Prepare(t.Context(), nameOf(at, 1, "z"), []postgres.Row{row(2)}) == nil
	}, time.Minute, 20*time.Millisecond)
	door.Open()
	require.Error(t, owner.Commit(t.Context(), nameOf(at, 1, "o")), "the connection is found to be cut")
	require.NoError(t, owner.Commit(t.Context(), nameOf(at, 1, "o")))
	require.ErrorIs(t, owner.Prepare(t.Context(), nameOf(at, 2, "o"), []postgres.Row{row(3)}), eos.ErrFenced)
	require.NoError(t, owner.Abort(t.Context(), nameOf(at, 2, "o")))
	require.NoError(t, zombie.Abort(t.Context(), nameOf(at, 1, "z"))) // Kafka has refused its commit
	require.NoError(t, zombie.Close())                                // and it knows who it is
	require.Eventually(t, func() bool {
		return owner.Prepare(t.Context(), nameOf(at, 2, "o"), []postgres.Row{row(3)}) == nil
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, owner.Commit(t.Context(), nameOf(at, 2, "o")))
	require.Equal(t, []string{"1", "3"}, d.Lines(t, "SELECT id FROM orders ORDER BY id"))
}

// TestConnectionLossAnywhere cuts the connection after each number of bytes, with and without the request in which it
// happens reaching the server, and does what a commit does then.
func TestConnectionLossAnywhere(t *testing.T) {
	d := server.Start(t)
	door := d.Door(t)
	d.Exec(t, `CREATE TABLE orders (id bigint)`)
	s, err := postgres.TwoPhase(postgres.Config{
		ConnString: door.URL, Table: "orders", Columns: []string{"id"}, ConnectTimeout: 5 * time.Second,
	})
	require.NoError(t, err)
	at := ordersAt(0)
	c, _ := connect(t, s, at)
	until := func(what string, try func(ctx context.Context) error) (tries int) {
		for {
			err := try(t.Context())
			tries++
			if err == nil {
				return tries
			}
			require.NotErrorIs(t, err, eos.ErrFenced)
			require.Less(t, tries, 20, "%s: %v", what, err)
			door.Open()
		}
	}
	const stepBytes = 9
	id := 0
	for _, delivered := range []bool{false, true} {
		for after, lossless := 0, false; !lossless; after += stepBytes {
			id++
			name := nameOf(at, id, "o")
			door.CloseAfter(after, delivered)
			lossless = true
			for {
				err := c.Prepare(t.Context(), name, []postgres.Row{row(id)})
				if err == nil {
					break
				}
				lossless = false
				door.Open()
				until("abort", func(ctx context.Context) error { return c.Abort(ctx, name) })
				names, err := postgres.Prepared(t.Context(), d.URL, "shop")
				require.NoError(t, err)
				require.Empty(t, names)
			}
			tries := until("commit", func(ctx context.Context) error {
				if err := c.Commit(ctx, name); err != eos.ErrNotPrepared { //nolint:errorlint // of an attempt before
					return err
				}
				return nil
			})
			lossless = lossless && tries == 1
			door.Open()
			require.Less(t, after, 10_000)
		}
	}
	t.Logf("%d transactions", id)
	require.Greater(t, id, 40)
	require.Equal(t, []string{fmt.Sprintf("%d %d %d", id, id, id)},
		d.Lines(t, "SELECT count(*), count(DISTINCT id), max(id) FROM orders"))
	names, err := postgres.Prepared(t.Context(), d.URL, "shop")
	require.NoError(t, err)
	require.Empty(t, names)
}

// Errors that no retry mends are fatal, and all say what to do.
func TestErrors(t *testing.T) {
	d := server.Start(t)
	d.Exec(t, `CREATE TABLE orders (id bigint PRIMARY KEY, item varchar(3)); CREATE TABLE keyless (id bigint)`)
	at := ordersAt(0)
	cfg := postgres.Config{ConnString: d.URL, Table: "orders", Columns: []string{"id", "item"}}
	s, err := postgres.TwoPhase(cfg)
	require.NoError(t, err)
	c, _ := connect(t, s, at)
	for want, rows := range map[string][]postgres.Row{
		"duplicate key":       {row(1, "a"), row(1, "b")},
		"too long":            {row(1, "abcd")},
		"1 values for the 2":  {row(1)},
		"the sink has no key": {{Values: []any{1, nil}, Delete: true}},
	} {
		err := c.Prepare(t.Context(), nameOf(at, 1, "o"), rows)
		require.ErrorIs(t, err, eos.ErrFatal, want)
		require.ErrorContains(t, err, want)
		require.NoError(t, c.Abort(t.Context(), nameOf(at, 1, "o")))
	}
	for want, change := range map[string]func(c *postgres.Config, at *eos.SinkTask){
		"nowhere":          func(c *postgres.Config, _ *eos.SinkTask) { c.Table = "nowhere" },
		`"price" does not`: func(c *postgres.Config, _ *eos.SinkTask) { c.Columns = []string{"price"} },
		"no unique": func(c *postgres.Config, _ *eos.SinkTask) {
			c.Table, c.Columns, c.Key = "keyless", []string{"id"}, []string{"id"}
		},
		"a shorter name": func(_ *postgres.Config, at *eos.SinkTask) { at.Sink = fmt.Sprintf("%0180d", 0) },
	} {
		cfg, at := cfg, at
		change(&cfg, &at)
		s, err := postgres.TwoPhase(cfg)
		require.NoError(t, err)
		_, err = s.Connect(t.Context(), at)
		require.ErrorIs(t, err, eos.ErrFatal, want)
		require.ErrorContains(t, err, want)
	}
	cfg.Key = []string{"id"}
	up, err := postgres.Upsert(cfg)
	require.NoError(t, err)
	_, err = up.Connect(t.Context(), at)
	require.ErrorContains(t, err, "tidemark_partition")
}

func TestServerWithoutPreparedTransactions(t *testing.T) {
	d := server.StartNew(t, 0)
	d.Exec(t, `CREATE TABLE orders (id bigint)`)
	s, err := postgres.TwoPhase(postgres.Config{ConnString: d.URL, Table: "orders", Columns: []string{"id"}})
	require.NoError(t, err)
	_, err = s.Connect(t.Context(), ordersAt(0))
	require.ErrorIs(t, err, eos.ErrFatal)
	require.ErrorContains(t, err, "ALTER SYSTEM SET max_prepared_transactions")
}
