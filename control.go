package tidemark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/record"
)

// Control gives commands to a running application from anywhere that reaches its brokers: the service needs no port.
// Commands travel on the topic <application-id>-checkpoints, and so do their results. The instance that coordinates
// checkpoints carries them out.
//
// Every method waits for the result until ctx ends, and takes the command back then if it has not begun. Safe for
// concurrent use.
type Control struct {
	cfg    Config
	client *kafka.Client
	admin  *kafka.Admin
	clock  clock.Clock
}

// ErrNoControl says that an application has no control topic: it has not run with checkpointing on this cluster.
var ErrNoControl = errors.New("tidemark: the application has no control topic: it has not run with " +
	"Config.Checkpointing on this cluster yet")

// CommandError says why a command was not carried out.
type CommandError struct {
	Kind   checkpointing.CommandKind
	Reason string
}

func (e *CommandError) Error() string { return fmt.Sprintf("tidemark: %s: %s", e.Kind, e.Reason) }

// commandTimeout is how long a command waits for a coordinator if the context has no deadline: nobody expects an
// application to stop that is started next week.
const commandTimeout = 10 * time.Minute

// NewControl connects to an application. Of cfg it needs ApplicationID, Brokers, and what the connection needs.
func NewControl(ctx context.Context, cfg Config) (*Control, error) {
	cfg, err := cfg.withDefaults()
	if err = errors.Join(err, cfg.validate()); err != nil {
		return nil, err
	}
	conf, err := cfg.security().Sarama()
	if err != nil {
		return nil, &ConfigError{Field: "SASL", Value: cfg.SASL.Mechanism, Hint: err.Error()}
	}
	client, err := kafka.NewClient(cfg.Brokers, conf)
	if err != nil {
		return nil, err
	}
	c := &Control{cfg: cfg, client: client, clock: clock.System(), admin: kafka.NewAdmin(client, kafka.AdminConfig{
		GroupID: cfg.ApplicationID, Logger: cfg.Logger,
	})}
	bounded, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	topic := controlTopic(cfg.ApplicationID).Topic
	existing, err := c.admin.Partitions(bounded, []string{topic})
	if err == nil && existing[topic] == 0 {
		err = ErrNoControl
	}
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return c, nil
}

// Close closes the connections.
func (c *Control) Close() error { return c.client.Close() }

// SavepointOptions say what a savepoint should be like.
type SavepointOptions struct {
	// Timeout after which it is given up. Defaults to Config.Checkpointing.Timeout.
	Timeout time.Duration
}

// CheckpointOptions say what a checkpoint out of turn should be like.
type CheckpointOptions struct {
	// Timeout after which it is given up. Defaults to Config.Checkpointing.Timeout.
	Timeout time.Duration
	// Full stores all state, also where checkpoints are incremental.
	Full bool
}

// SnapshotInfo is a checkpoint or a savepoint that was made.
type SnapshotInfo struct {
	ID int64
	// Location is its folder in the storage.
	Location string
}

// TriggerCheckpoint makes a checkpoint, beside the periodic ones (REST: checkpoints/trigger in Flink).
func (c *Control) TriggerCheckpoint(ctx context.Context, o CheckpointOptions) (SnapshotInfo, error) {
	return c.snapshot(ctx, checkpointing.Command{
		Kind: checkpointing.CommandCheckpoint, TimeoutMs: o.Timeout.Milliseconds(), Full: o.Full,
	})
}

// Savepoint makes a savepoint: whole, in a folder of its own, and never deleted by the application.
func (c *Control) Savepoint(ctx context.Context, o SavepointOptions) (SnapshotInfo, error) {
	return c.snapshot(ctx, checkpointing.Command{
		Kind: checkpointing.CommandSavepoint, TimeoutMs: o.Timeout.Milliseconds(),
	})
}

// StopWithSavepoint makes a savepoint and ends the application: no task processes anything that is not in the
// savepoint, and Run returns nil in every instance. If the savepoint fails, the application goes on.
func (c *Control) StopWithSavepoint(ctx context.Context, o SavepointOptions) (SnapshotInfo, error) {
	return c.snapshot(ctx, checkpointing.Command{
		Kind: checkpointing.CommandStop, TimeoutMs: o.Timeout.Milliseconds(),
	})
}

// Cancel ends the application without a savepoint: Run returns nil in every instance, after its last commit.
func (c *Control) Cancel(ctx context.Context) error {
	_, err := c.do(ctx, checkpointing.Command{Kind: checkpointing.CommandCancel})
	return err
}

// Configure changes how checkpoints are made while the application runs. Nil fields stay as they are.
func (c *Control) Configure(ctx context.Context, o checkpointing.Overrides) error {
	_, err := c.do(ctx, checkpointing.Command{Kind: checkpointing.CommandConfigure, Overrides: &o})
	return err
}

func (c *Control) snapshot(ctx context.Context, cmd checkpointing.Command) (SnapshotInfo, error) {
	r, err := c.do(ctx, cmd)
	return SnapshotInfo{ID: r.Checkpoint, Location: r.Location}, err
}

// errAnswered ends the reading.
var errAnswered = errors.New("answered")

// do gives a command and waits for its result.
func (c *Control) do(ctx context.Context, cmd checkpointing.Command) (r checkpointing.Result, err error) {
	now := c.clock.Now()
	cmd.ID, cmd.RequestedMs = newCommandID(), now.UnixMilli()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = now.Add(commandTimeout)
	}
	cmd.ExpiresMs = deadline.UnixMilli()
	topic := controlTopic(c.cfg.ApplicationID)
	ends, err := c.admin.EndOffsets(ctx, []record.TopicPartition{topic}, true)
	if err != nil {
		return r, err
	}
	w, err := newControlWriter(c.client, &c.cfg, "", c.clock.NowMs)
	if err != nil {
		return r, err
	}
	defer func() { _ = w.producer.Close() }()
	if err = w.producer.Init(ctx); err != nil {
		return r, err
	}
	if err = w.write(ctx, checkpointing.CommandMessage(cmd)); err != nil {
		return r, err
	}
	commandKey, resultKey := checkpointing.CommandKeys(cmd.ID)
	err = kafka.NewReader(c.client).Tail(ctx, topic, ends[topic], func(records []record.Raw, _ int64) error {
		for _, raw := range records {
			if string(raw.Key) != resultKey || raw.Value == nil {
				continue
			}
			var err error
			if r, err = checkpointing.ParseResult(raw.Value); err != nil {
				return err
			}
			return errAnswered
		}
		return nil
	})
	switch {
	case errors.Is(err, errAnswered) && r.Error != "":
		return r, &CommandError{Kind: cmd.Kind, Reason: r.Error}
	case errors.Is(err, errAnswered):
		return r, nil
	case ctx.Err() != nil:
		c.takeBack(ctx, w, commandKey)
		return r, fmt.Errorf("tidemark: %s: no result came in time; an instance must run that coordinates checkpoints: %w",
			cmd.Kind, context.Cause(ctx))
	}
	return r, err
}

// takeBack deletes a command that nobody waits for any more.
func (c *Control) takeBack(ctx context.Context, w *controlWriter, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := w.write(ctx, checkpointing.Message{Key: key}); err != nil {
		c.cfg.Logger.Warn("cannot take the command back", slog.String("command", key), slog.Any("error", err))
	}
}

// TriggerCheckpoint makes a checkpoint of the whole application, out of turn. Any instance may ask.
func (a *App) TriggerCheckpoint(ctx context.Context, o CheckpointOptions) (info SnapshotInfo, err error) {
	err = a.control(ctx, func(c *Control) (err error) { info, err = c.TriggerCheckpoint(ctx, o); return err })
	return info, err
}

// Savepoint makes a savepoint of the whole application, see [Control.Savepoint]. Any instance may ask.
func (a *App) Savepoint(ctx context.Context, o SavepointOptions) (info SnapshotInfo, err error) {
	err = a.control(ctx, func(c *Control) (err error) { info, err = c.Savepoint(ctx, o); return err })
	return info, err
}

// StopWithSavepoint makes a savepoint and ends the whole application, see [Control.StopWithSavepoint]. Any instance may
// ask.
func (a *App) StopWithSavepoint(ctx context.Context, o SavepointOptions) (info SnapshotInfo, err error) {
	err = a.control(ctx, func(c *Control) (err error) { info, err = c.StopWithSavepoint(ctx, o); return err })
	return info, err
}

func (a *App) control(ctx context.Context, fn func(c *Control) error) error {
	if !a.cfg.Checkpointing.Enabled() {
		return &ConfigError{Field: "Checkpointing.Storage", Value: "nil", Hint: "set it to make checkpoints and savepoints"}
	}
	c, err := NewControl(ctx, a.cfg)
	if err != nil {
		return err
	}
	return errors.Join(fn(c), c.Close())
}
