package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemarkio/tidemark/eos"
)

// batchRows bounds the statements that are sent without waiting for their results.
const batchRows = 1000

// insert writes rows into the open transaction.
func (c *conn) insert(ctx context.Context, pg *pgx.Conn, name eos.TransactionName, rows []Row) error {
	for i, r := range rows {
		switch {
		case len(r.Values) != len(c.sink.cfg.Columns):
			return fmt.Errorf("row %d has %d values for the %d columns %q: %w", i, len(r.Values), len(c.sink.cfg.Columns),
				c.sink.cfg.Columns, eos.ErrFatal)
		case r.Delete && len(c.sink.cfg.Key) == 0:
			return fmt.Errorf("row %d deletes, and the sink has no key: set Config.Key: %w", i, eos.ErrFatal)
		}
	}
	if len(c.sink.cfg.Key) == 0 {
		_, err := pg.CopyFrom(ctx, c.sink.table, c.sink.cfg.Columns,
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return rows[i].Values, nil }))
		return err
	}
	for len(rows) > 0 {
		n := min(len(rows), batchRows)
		batch := &pgx.Batch{}
		for _, r := range rows[:n] {
			c.queue(batch, name, r)
		}
		if err := pg.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// queue adds the statement for one row.
func (c *conn) queue(batch *pgx.Batch, name eos.TransactionName, r Row) {
	statement, args := c.sink.write, r.Values
	if r.Delete {
		statement, args = c.sink.remove, make([]any, 0, len(c.sink.keyValues)+2) //nolint:mnd // the guard
		for _, i := range c.sink.keyValues {
			args = append(args, r.Values[i])
		}
	}
	if !c.sink.twoPhase {
		args = append(slices.Clip(args), name.Task.Partition, int64(name.Epoch))
	}
	batch.Queue(statement, args...)
}

// Classes of SQLSTATE after which trying again is of no use: data, constraints, and what does not exist or is not
// allowed; and prepared transactions that are disabled.
const (
	classData       = "22"
	classIntegrity  = "23"
	classStatement  = "42"
	notPrepareState = "55000"
)

// explain says where an error happened, what class it has, and what to do.
func (s *Sink) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf("%s: %s: %w", s, what, err)
	}
	var more strings.Builder
	for _, text := range []string{pgErr.Detail, pgErr.Hint} {
		if text != "" {
			more.WriteString(" (" + text + ")")
		}
	}
	hint := more.String()
	const lockNotAvailable, tooMany = "55P03", "53200"
	switch class := pgErr.Code[:min(2, len(pgErr.Code))]; {
	case class == classData, class == classIntegrity, class == classStatement, pgErr.Code == notPrepareState:
		return fmt.Errorf("%s: %s: %w: %w%s", s, what, eos.ErrFatal, err, hint)
	case pgErr.Code == lockNotAvailable:
		hint += " (who else writes these rows? Rows of one key must come from one task: key the stream by them)"
	case pgErr.Code == tooMany:
		hint += " (max_prepared_transactions must be at least the number of tasks)"
	}
	return fmt.Errorf("%s: %s: %w%s", s, what, err, hint)
}
