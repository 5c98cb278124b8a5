package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemarkio/tidemark/eos"
)

// conn is the connection of one task: a session that holds the task's lock, made anew when it is lost.
type conn struct {
	sink *Sink
	at   eos.SinkTask
	lock int64

	pg *pgx.Conn // nil: lost
	// last is the last session of ours that had the lock: it may still be there, and execute what we sent.
	last session
}

// gidBytesMax is what PostgreSQL takes as the name of a prepared transaction (GIDSIZE without its end).
const gidBytesMax = 199

// ownerBytesMax is more than owners have.
const ownerBytesMax = 16

// check looks whether rows can be written at all.
func (c *conn) check(ctx context.Context) error {
	longest := len(eos.TransactionName{
		ApplicationID: c.at.ApplicationID, Task: c.at.Task, Epoch: math.MaxUint64, Sink: c.at.Sink,
	}.String()) + ownerBytesMax
	if longest > gidBytesMax {
		return fmt.Errorf("the names of prepared transactions would be up to %d bytes long, and PostgreSQL takes %d: "+
			"give the sink a shorter name: %w", longest, gidBytesMax, eos.ErrFatal)
	}
	pg, err := pgx.ConnectConfig(ctx, c.sink.conf)
	if err != nil {
		return err
	}
	defer c.hangUp(pg)
	if c.sink.twoPhase {
		var limit int
		if err := pg.QueryRow(ctx, "SELECT current_setting('max_prepared_transactions')::int").Scan(&limit); err != nil {
			return err
		}
		if limit == 0 {
			return fmt.Errorf("the server allows no prepared transactions: set max_prepared_transactions to at least the "+
				"number of tasks that write to it (ALTER SYSTEM SET max_prepared_transactions = 100) and restart it, or "+
				"use postgres.Upsert: %w", eos.ErrFatal)
		}
	}
	columns := c.sink.cfg.Columns
	if !c.sink.twoPhase {
		columns = append([]string{PartitionColumn, EpochColumn}, columns...)
	}
	_, err = pg.Prepare(ctx, "", fmt.Sprintf("SELECT %s FROM %s", quoted(columns), c.sink.table.Sanitize()))
	if err != nil || len(c.sink.cfg.Key) == 0 {
		return err
	}
	_, err = pg.Exec(ctx, c.sink.probe) // is there a unique constraint?
	return err
}

// Recover implements eos.Participant.
func (c *conn) Recover(ctx context.Context) ([]eos.TransactionName, error) {
	pg, err := c.takeOver(ctx)
	if err != nil {
		return nil, c.sink.explain("take over", err)
	}
	if !c.sink.twoPhase {
		return nil, nil
	}
	of := eos.TransactionName{ApplicationID: c.at.ApplicationID, Task: c.at.Task}
	all, err := prepared(ctx, pg, of.Prefix()+c.at.Task.String()+":")
	if err != nil {
		c.lose()
		return nil, err
	}
	var names []eos.TransactionName
	for _, n := range all {
		if n.For(c.at) {
			names = append(names, n)
		}
	}
	return names, nil
}

// Prepare implements eos.SinkConn.
func (c *conn) Prepare(ctx context.Context, name eos.TransactionName, rows []Row) error {
	pg, err := c.session(ctx)
	if err != nil {
		return c.sink.explain("connect", err)
	}
	err = c.write(ctx, pg, name, rows)
	if err != nil {
		// The session ends, and with it what it has begun. Whether it has come to an end all the same shows when the next
		// session has the lock.
		c.lose()
	}
	return c.sink.explain("write", err)
}

func (c *conn) write(ctx context.Context, pg *pgx.Conn, name eos.TransactionName, rows []Row) error {
	if _, err := pg.Exec(ctx, "BEGIN"); err != nil {
		return err
	}
	if err := c.insert(ctx, pg, name, rows); err != nil {
		return err
	}
	end := "COMMIT"
	if c.sink.twoPhase {
		end = "PREPARE TRANSACTION"
	}
	statement := end
	if c.sink.twoPhase {
		statement += literal(name)
	}
	tag, err := pg.Exec(ctx, statement)
	if err == nil && tag.String() != end {
		err = fmt.Errorf("the server answered %s to %s", tag, end) // it rolls back what has failed, without an error
	}
	return err
}

// Commit implements eos.Participant.
func (c *conn) Commit(ctx context.Context, name eos.TransactionName) error {
	if !c.sink.twoPhase {
		return nil
	}
	return c.end(ctx, "COMMIT PREPARED", name)
}

// Abort implements eos.Participant.
func (c *conn) Abort(ctx context.Context, name eos.TransactionName) error {
	if !c.sink.twoPhase {
		return nil
	}
	err := c.end(ctx, "ROLLBACK PREPARED", name)
	if errors.Is(err, eos.ErrNotPrepared) {
		return nil
	}
	return err
}

// undefinedObject is what PostgreSQL says of a prepared transaction that does not exist.
const undefinedObject = "42704"

// end ends a prepared transaction of ours. Our session before must be over by then: it may have been about to prepare
// it. If we have the lock it is, and if somebody else has the lock it is, too. Then we may be deposed, or it was taken
// while we were cut off; the name is ours in both cases.
func (c *conn) end(ctx context.Context, how string, name eos.TransactionName) error {
	pg, err := c.session(ctx)
	if errors.Is(err, eos.ErrFenced) {
		if pg, err = pgx.ConnectConfig(ctx, c.sink.conf); err == nil {
			defer c.hangUp(pg)
		}
	}
	if err != nil {
		return c.sink.explain("connect", err)
	}
	_, err = pg.Exec(ctx, how+literal(name))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == undefinedObject {
		return eos.ErrNotPrepared
	}
	if err != nil {
		c.lose()
	}
	return c.sink.explain(how, err)
}

// literal quotes a name. Its parts have no quotes.
func literal(name eos.TransactionName) string { return " '" + name.String() + "'" }

// Close implements eos.Participant.
func (c *conn) Close() error {
	c.lose()
	return nil
}

// lose ends the session.
func (c *conn) lose() {
	if c.pg != nil {
		c.hangUp(c.pg)
		c.pg = nil
	}
}

// hangUp closes a connection without waiting long for a server that is gone.
func (c *conn) hangUp(pg *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	if err := pg.Close(ctx); err != nil {
		c.at.Logger.Debug("closing a connection to PostgreSQL", slog.Any("error", err))
	}
}
