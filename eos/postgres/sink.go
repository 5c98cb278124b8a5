package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemarkio/tidemark/eos"
)

// Config says where the rows go.
type Config struct {
	// ConnString is a URL or a list of keywords, as libpq takes it: "postgres://user@host/database".
	ConnString string
	// Table receives the rows: "orders", or with its schema "sales.orders".
	Table string
	// Columns are those that a row has values for, in this order.
	Columns []string
	// Key are the columns of a primary key or unique constraint, which the record's key determines: then each row is
	// written by one task only. A row replaces the one of the same key. Empty, which Upsert does not take, inserts every
	// row (by COPY, the fastest way).
	Key []string

	// ConnectTimeout bounds an attempt to connect. Defaults to 10 s.
	ConnectTimeout time.Duration
	// LockTimeout bounds how long a statement waits for rows that others have locked. Defaults to 10 s.
	LockTimeout time.Duration
	// TakeOverWait is how long a task that has moved waits for the session of its owner before to end by itself; then
	// it ends it. Defaults to 2 s.
	TakeOverWait time.Duration
}

// Row is what a record becomes.
type Row struct {
	// Values are in the order of Config.Columns. pgx encodes them.
	Values []any
	// Delete removes the row of the same key instead. Only the values of the key are used.
	Delete bool
}

// Columns that Upsert adds to each row. The table must have them.
const (
	PartitionColumn = "tidemark_partition" // integer
	EpochColumn     = "tidemark_epoch"     // bigint
)

// Sink is a table. Make it with [TwoPhase] or [Upsert].
type Sink struct {
	cfg       Config
	conf      *pgx.ConnConfig
	twoPhase  bool
	table     pgx.Identifier
	keyValues []int // indexes of the key's values in a row
	write     string
	remove    string
	probe     string // has write planned
}

var _ eos.Sink[Row] = (*Sink)(nil)

// Defaults of Config.
const (
	connectTimeoutDefault = 10 * time.Second
	lockTimeoutDefault    = 10 * time.Second
	takeOverWaitDefault   = 2 * time.Second
)

// TwoPhase makes a sink that writes each row exactly once, with prepared transactions. The server must allow as many as
// there are tasks (max_prepared_transactions, 0 in a new server). It does no I/O; its error says what is wrong with
// cfg.
func TwoPhase(cfg Config) (*Sink, error) { return newSink(cfg, true) }

// Upsert makes an idempotent sink, for servers without prepared transactions, or for at_least_once. The table holds the
// last row of each key. Rows are visible before the commit of their input, and a crash may write them again. Two more
// columns guard a row against an owner that was deposed: tidemark_partition integer and tidemark_epoch bigint.
func Upsert(cfg Config) (*Sink, error) { return newSink(cfg, false) }

func newSink(cfg Config, twoPhase bool) (*Sink, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("postgres: "+format, args...)) }
	s := &Sink{cfg: cfg, twoPhase: twoPhase, table: pgx.Identifier(strings.Split(cfg.Table, "."))}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&s.cfg.ConnectTimeout, connectTimeoutDefault},
		{&s.cfg.LockTimeout, lockTimeoutDefault},
		{&s.cfg.TakeOverWait, takeOverWaitDefault},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < 0 {
			bad("ConnectTimeout, LockTimeout and TakeOverWait: want positive durations")
		}
	}
	var err error
	if s.conf, err = pgx.ParseConfig(cfg.ConnString); err != nil {
		bad("ConnString: %w", err) // the driver leaves the password out
	} else {
		s.conf.ConnectTimeout = s.cfg.ConnectTimeout
		s.conf.RuntimeParams["lock_timeout"] = strconv.FormatInt(s.cfg.LockTimeout.Milliseconds(), 10)
	}
	if slices.Contains(s.table, "") || len(s.table) > 2 {
		bad("Table %q: want a table, or a schema and a table with a dot between them", cfg.Table)
	}
	if len(cfg.Columns) == 0 || slices.Contains(cfg.Columns, "") {
		bad("Columns %q: want the names of the columns that rows have values for", cfg.Columns)
	}
	if len(cfg.Key) == 0 && !twoPhase {
		bad("Key: Upsert wants the columns of the table's primary key, or of a unique constraint")
	}
	for _, k := range cfg.Key {
		i := slices.Index(cfg.Columns, k)
		if i < 0 {
			bad("Key: %q is none of the columns %q", k, cfg.Columns)
		}
		s.keyValues = append(s.keyValues, i)
	}
	s.statements()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// statements makes those for the rows of a table with a key.
func (s *Sink) statements() {
	columns := slices.Clone(s.cfg.Columns)
	if !s.twoPhase {
		columns = append(columns, PartitionColumn, EpochColumn)
	}
	params := make([]string, len(columns))
	var sets []string
	for i, c := range columns {
		params[i] = fmt.Sprintf("$%d", i+1)
		if !slices.Contains(s.cfg.Key, c) {
			sets = append(sets, quote(c)+" = EXCLUDED."+quote(c))
		}
	}
	action := "NOTHING"
	if len(sets) > 0 {
		action = "UPDATE SET " + strings.Join(sets, ", ")
	}
	guard := func(p, e string) string {
		return fmt.Sprintf("(row.%s IS DISTINCT FROM %s OR row.%s <= %s)", PartitionColumn, p, EpochColumn, e)
	}
	if !s.twoPhase {
		action += " WHERE " + guard("EXCLUDED."+PartitionColumn, "EXCLUDED."+EpochColumn)
	}
	insert := func(values []string) string {
		return fmt.Sprintf("INSERT INTO %s AS row (%s) VALUES (%s) ON CONFLICT (%s) DO %s", s.table.Sanitize(),
			quoted(columns), strings.Join(values, ", "), quoted(s.cfg.Key), action)
	}
	s.write, s.probe = insert(params), "EXPLAIN "+insert(slices.Repeat([]string{"NULL"}, len(columns)))
	var where []string
	for i, k := range s.cfg.Key {
		where = append(where, fmt.Sprintf("row.%s = $%d", quote(k), i+1))
	}
	if !s.twoPhase {
		n := len(s.cfg.Key)
		where = append(where, guard(fmt.Sprintf("$%d", n+1), fmt.Sprintf("$%d", n+2))) //nolint:mnd // behind the key
	}
	s.remove = fmt.Sprintf("DELETE FROM %s AS row WHERE %s", s.table.Sanitize(), strings.Join(where, " AND "))
}

func quote(column string) string { return pgx.Identifier{column}.Sanitize() }

func quoted(columns []string) string {
	q := make([]string, len(columns))
	for i, c := range columns {
		q[i] = quote(c)
	}
	return strings.Join(q, ", ")
}

// String implements eos.Sink.
func (s *Sink) String() string { return "postgres table " + s.cfg.Table }

// Idempotent implements eos.Sink.
func (s *Sink) Idempotent() bool { return !s.twoPhase }

// SizeBytes implements eos.Sink.
func (s *Sink) SizeBytes(row Row) int {
	const headerBytes, valueBytes = 32, 24 // a Row; an interface and what it points to
	n := headerBytes + valueBytes*len(row.Values)
	for _, v := range row.Values {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}

// Connect implements eos.Sink: it checks the server and the table.
func (s *Sink) Connect(ctx context.Context, at eos.SinkTask) (eos.SinkConn[Row], error) {
	c := &conn{sink: s, at: at, lock: lockKey(at)}
	if err := c.check(ctx); err != nil {
		return nil, s.explain("connect", err)
	}
	return c, nil
}

// Prepared lists the prepared transactions of an application in the database, for who watches a server. While the
// application runs some come and go; one that stays is of a task that runs nowhere, or of a sink that the topology does
// not have any more.
func Prepared(ctx context.Context, connString, applicationID string) ([]eos.TransactionName, error) {
	pg, err := pgx.Connect(ctx, connString)
	if err != nil {
		return nil, fmt.Errorf("postgres: connect: %w", err)
	}
	defer pg.Close(ctx) //nolint:errcheck // nothing is open
	return prepared(ctx, pg, eos.TransactionName{ApplicationID: applicationID}.Prefix())
}

func prepared(ctx context.Context, pg *pgx.Conn, prefix string) ([]eos.TransactionName, error) {
	rows, err := pg.Query(ctx, `SELECT gid FROM pg_prepared_xacts
		WHERE database = current_database() AND left(gid, length($1)) = $1 ORDER BY prepared`, prefix)
	if err != nil {
		return nil, fmt.Errorf("postgres: list prepared transactions: %w", err)
	}
	gids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("postgres: list prepared transactions: %w", err)
	}
	var names []eos.TransactionName
	for _, gid := range gids {
		n, err := eos.ParseTransactionName(gid)
		if err != nil {
			return nil, fmt.Errorf("postgres: a prepared transaction with our prefix: %w", err)
		}
		names = append(names, n)
	}
	return names, nil
}
