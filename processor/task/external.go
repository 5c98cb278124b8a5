package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
)

// external is a sink outside of Kafka: its node, and the task's connection to it.
type external struct {
	at    eos.SinkTask
	node  processor.ExternalSink
	conn  eos.Participant // nil before ConnectSinks
	owner string
}

// External is what an epoch wrote to one sink outside of Kafka.
type External struct {
	Name eos.TransactionName
	// Decided says that the commit decides the transaction, and therefore has to name it.
	Decided bool
	Conn    eos.Participant
	// Rows prepares the transaction under the given name; see processor.ExternalSink.
	Rows func(ctx context.Context, name eos.TransactionName) error
}

// Prepare writes the rows and prepares the transaction.
func (e External) Prepare(ctx context.Context) error {
	if err := e.Rows(ctx, e.Name); err != nil {
		return fmt.Errorf("task %s: sink %q: prepare epoch %d: %w", e.Name.Task, e.Name.Sink, e.Name.Epoch, err)
	}
	return nil
}

// Prepared says what the commit of the epoch decides.
func (e *Epoch) Prepared() (p eos.Prepared) {
	for _, x := range e.Externals {
		if x.Decided {
			p.Owner, p.Sinks = x.Name.Owner, append(p.Sinks, x.Name.Sink)
		}
	}
	return p
}

// collectExternals finds the sinks outside of Kafka.
func (t *Task) collectExternals() error {
	for _, in := range t.nodes {
		if in.node.External == "" {
			continue
		}
		n, ok := in.impl.(processor.ExternalSink)
		if !ok {
			return fmt.Errorf("task %s: sink %q writes to %s, but is none", t.cfg.ID, in.node.Name, in.node.External)
		}
		at := eos.SinkTask{
			ApplicationID: t.cfg.ApplicationID, Sink: in.node.Name, Task: t.cfg.ID,
			Logger: t.cfg.Logger.With(slog.String("task", t.cfg.ID.String()), slog.String("sink", in.node.Name)),
		}
		t.externals = append(t.externals, &external{at: at, node: n})
	}
	return nil
}

// HasSinks reports whether the task writes to systems outside of Kafka.
func (t *Task) HasSinks() bool { return len(t.externals) > 0 }

// ConnectSinks takes the task over at all sinks outside of Kafka: what the owner before has prepared there is committed
// if the metadata of the committed offsets (any of them) decides it, and aborted otherwise. owner is a name that no
// other start of this task has. Call it before Init, when the offsets cannot change any more. What it began it
// continues when called again after an error.
func (t *Task) ConnectSinks(ctx context.Context, owner string, committed []eos.Metadata) error {
	all := eos.Prepared{Owner: owner}
	for _, x := range t.externals {
		all.Sinks = append(all.Sinks, x.at.Sink)
	}
	if n := all.Bytes(); n > eos.PreparedBytesMax {
		return fmt.Errorf("task %s: the names of its %d sinks take %d bytes, and the metadata of an offset has room for %d: "+
			"give them shorter names: %w", t.cfg.ID, len(t.externals), n, eos.PreparedBytesMax, eos.ErrFatal)
	}
	for _, x := range t.externals {
		x.owner = owner
		if err := x.takeOver(ctx, committed); err != nil {
			return fmt.Errorf("task %s: sink %q: %w", t.cfg.ID, x.at.Sink, err)
		}
	}
	return nil
}

func (x *external) takeOver(ctx context.Context, committed []eos.Metadata) error {
	if x.conn == nil {
		conn, err := x.node.Connect(ctx, x.at)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		x.conn = conn
	}
	found, err := x.conn.Recover(ctx)
	if err != nil {
		return fmt.Errorf("take over from the owner before: %w", err)
	}
	for _, name := range found {
		end, what := x.conn.Abort, "aborted: its commit did not happen"
		if slices.ContainsFunc(committed, func(m eos.Metadata) bool { return m.Decides(name) }) {
			end, what = x.conn.Commit, "committed: its commit had happened"
		}
		if err := end(ctx, name); err != nil && !errors.Is(err, eos.ErrNotPrepared) {
			return fmt.Errorf("end %s, which the owner before has prepared: %w", name, err)
		}
		x.at.Logger.Info("ended a prepared transaction of the owner before", slog.String("transaction", name.String()),
			slog.String("outcome", what))
	}
	return nil
}

// sealExternals takes what the epoch wrote to sinks outside of Kafka.
func (t *Task) sealExternals(e *Epoch) error {
	for _, x := range t.externals {
		rows := x.node.SealRows()
		if rows == nil {
			continue
		}
		if x.conn == nil {
			return fmt.Errorf("task %s: sink %q is not connected", t.cfg.ID, x.at.Sink)
		}
		e.Externals = append(e.Externals, External{
			Name: eos.TransactionName{
				ApplicationID: x.at.ApplicationID, Task: x.at.Task, Epoch: e.Number, Sink: x.at.Sink, Owner: x.owner,
			},
			Decided: !x.node.Idempotent(), Conn: x.conn, Rows: rows,
		})
	}
	return nil
}

// DisconnectSinks gives the connections back. What is prepared stays.
func (t *Task) DisconnectSinks() error {
	var errs []error
	for _, x := range t.externals {
		if x.conn != nil {
			if err := x.conn.Close(); err != nil {
				errs = append(errs, fmt.Errorf("task %s: sink %q: close: %w", t.cfg.ID, x.at.Sink, err))
			}
			x.conn = nil
		}
	}
	return errors.Join(errs...)
}
