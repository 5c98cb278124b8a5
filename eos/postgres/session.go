package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemarkio/tidemark/eos"
)

// session identifies a session of the server. Process ids come again, hence the start.
type session struct {
	pid   int32
	start string
}

// Pace and bounds.
const (
	lockPoll      = 20 * time.Millisecond
	hangUpTimeout = time.Second
)

// lockKey is the advisory lock of a task and a sink.
func lockKey(at eos.SinkTask) int64 {
	h := sha256.Sum256([]byte(strings.Join([]string{"tidemark", at.ApplicationID, at.Task.String(), at.Sink}, ":")))
	return int64(binary.BigEndian.Uint64(h[:]))
}

// session returns a session that holds the task's lock. A new one waits until the last one is gone, and ends it: only
// then is it decided what that one did. If somebody else has the lock, we are deposed.
func (c *conn) session(ctx context.Context) (*pgx.Conn, error) {
	if c.pg != nil && !c.pg.IsClosed() {
		return c.pg, nil
	}
	return c.connect(ctx, func(holder session, _ time.Duration) (end bool, err error) {
		if c.last.pid != 0 && holder == c.last {
			return true, nil
		}
		return false, fmt.Errorf("another owner has the task: %w", eos.ErrFenced)
	})
}

// takeOver returns a session with the lock, too, and ends whose it is. The task is ours: Kafka says so.
func (c *conn) takeOver(ctx context.Context) (*pgx.Conn, error) {
	c.lose()
	return c.connect(ctx, func(holder session, waited time.Duration) (end bool, err error) {
		return holder == c.last || waited >= c.sink.cfg.TakeOverWait, nil
	})
}

// connect makes a session and waits for the lock. decide says what to do about a session that has it.
func (c *conn) connect(
	ctx context.Context, decide func(holder session, waited time.Duration) (end bool, err error),
) (*pgx.Conn, error) {
	conf := c.sink.conf.Copy()
	conf.RuntimeParams["application_name"] = fmt.Sprintf("%s %s %s", c.at.ApplicationID, c.at.Task, c.at.Sink)
	pg, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return nil, err
	}
	if err := c.acquire(ctx, pg, decide); err != nil {
		c.hangUp(pg)
		return nil, err
	}
	c.pg = pg
	return pg, nil
}

func (c *conn) acquire(
	ctx context.Context, pg *pgx.Conn, decide func(holder session, waited time.Duration) (end bool, err error),
) error {
	began := time.Now()
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		var (
			ok bool
			us session
		)
		err := pg.QueryRow(ctx, `SELECT pg_try_advisory_lock($1), pg_backend_pid(), coalesce(
			(SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()), '')`,
			c.lock).Scan(&ok, &us.pid, &us.start)
		if err != nil {
			return err
		}
		if ok {
			c.last = us
			return nil
		}
		if err := c.displace(ctx, pg, began, decide); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the session before: %w", ctx.Err())
		}
	}
}

// displace ends the session that has the lock, if it is to be ended.
func (c *conn) displace(
	ctx context.Context, pg *pgx.Conn, began time.Time,
	decide func(holder session, waited time.Duration) (end bool, err error),
) error {
	var holder session
	const halfBits = 32 // pg_locks shows a key of 64 bits in two halves
	err := pg.QueryRow(ctx, `SELECT l.pid, coalesce(extract(epoch FROM a.backend_start)::text, '')
		FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid IS NOT NULL
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.classid::bigint = $1 AND l.objid::bigint = $2`,
		int64(uint64(c.lock)>>halfBits), int64(uint32(c.lock))).
		Scan(&holder.pid, &holder.start)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it has gone
	}
	if err != nil {
		return err
	}
	end, err := decide(holder, time.Since(began))
	if err != nil || !end {
		return err
	}
	c.at.Logger.Warn("ending the session of the owner before", slog.Int("pid", int(holder.pid)))
	if _, err := pg.Exec(ctx, "SELECT pg_terminate_backend($1)", holder.pid); err != nil {
		return fmt.Errorf("end the session %d of the owner before (let both connect as the same role, or grant "+
			"pg_signal_backend): %w", holder.pid, err)
	}
	return nil
}
