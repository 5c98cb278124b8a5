package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
)

// asking are the flags of commands that a running application carries out.
type asking struct {
	cluster
	wait    time.Duration
	timeout time.Duration
	output  string
}

// waitDefault is longer than a checkpoint may take by default.
const waitDefault = 15 * time.Minute

func (a *asking) flags(cmd *cobra.Command) {
	a.cluster.flags(cmd)
	cmd.Flags().DurationVar(&a.wait, "wait", waitDefault, "how long to wait for the result")
	outputFlag(cmd, &a.output)
}

// do connects, asks and waits.
func (a *asking) do(cmd *cobra.Command, ask func(ctx context.Context, c *tidemark.Control) error) (err error) {
	if a.brokers == "" || a.applicationID == "" {
		return fmt.Errorf("--brokers and --application-id are needed\n\n%s", cmd.UsageString())
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), a.wait, fmt.Errorf("no result within --wait=%s", a.wait))
	defer cancel()
	c, err := tidemark.NewControl(ctx, a.config())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	err = ask(ctx, c)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// made prints what a command has made.
func (a *asking) made(cmd *cobra.Command, kind checkpointing.Kind, s tidemark.SnapshotInfo) error {
	if a.output == "json" {
		return printJSON(cmd.OutOrStdout(), map[string]any{"kind": kind, "id": s.ID, "location": s.Location})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %d: %s\n", kind, s.ID, s.Location)
	return err
}

func newTrigger() *cobra.Command {
	var a asking
	full := false
	cmd := &cobra.Command{
		Use:   "trigger",
		Short: "Have a running application make a checkpoint out of turn",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.do(cmd, func(ctx context.Context, c *tidemark.Control) error {
				s, err := c.TriggerCheckpoint(ctx, tidemark.CheckpointOptions{Timeout: a.timeout, Full: full})
				if err != nil {
					return err
				}
				return a.made(cmd, checkpointing.KindCheckpoint, s)
			})
		},
	}
	a.flags(cmd)
	cmd.Flags().BoolVar(&full, "full", false, "store all state, also where checkpoints are incremental")
	cmd.Flags().DurationVar(&a.timeout, "timeout", 0, "give it up after this; 0: as the application is configured")
	return cmd
}

func newCreate() *cobra.Command {
	return savepointCommand("create", "Have a running application make a savepoint", (*tidemark.Control).Savepoint)
}

func newStop() *cobra.Command {
	const short = "Have an application make a savepoint and end"
	cmd := savepointCommand("stop", short, (*tidemark.Control).StopWithSavepoint)
	cmd.Long = "Stop-with-savepoint: no task processes anything that is not in the savepoint, and then all instances\n" +
		"end. If the savepoint fails, the application goes on."
	return cmd
}

func savepointCommand(
	use, short string,
	ask func(c *tidemark.Control, ctx context.Context, o tidemark.SavepointOptions) (tidemark.SnapshotInfo, error),
) *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.do(cmd, func(ctx context.Context, c *tidemark.Control) error {
				s, err := ask(c, ctx, tidemark.SavepointOptions{Timeout: a.timeout})
				if err != nil {
					return err
				}
				return a.made(cmd, checkpointing.KindSavepoint, s)
			})
		},
	}
	a.flags(cmd)
	cmd.Flags().DurationVar(&a.timeout, "timeout", 0, "give it up after this; 0: as the application is configured")
	return cmd
}
