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

const configureHelp = `Changes how a running application makes checkpoints. Flags that are not given leave a setting as
it is. What was changed holds until it is changed again, also over restarts; --reset goes back to what the program
says, before the other flags apply. Names and meanings are those of checkpointing.Config.`

// configuring are the flags of checkpoint configure.
type configuring struct {
	asking
	interval, checkpointTimeout, minPause, alignedTimeout time.Duration
	maxConcurrent, tolerableFailed, retained              int
	unaligned, incremental, reset                         bool
}

func newConfigure() *cobra.Command {
	var c configuring
	cmd := &cobra.Command{
		Use: "configure", Short: "Change how a running application makes checkpoints", Long: configureHelp, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.overrides(cmd)
			if err != nil {
				return fmt.Errorf("%w\n\n%s", err, cmd.UsageString())
			}
			return c.do(cmd, func(ctx context.Context, control *tidemark.Control) error {
				if err := control.Configure(ctx, o); err != nil {
					return err
				}
				if c.output == "json" {
					return printJSON(cmd.OutOrStdout(), checkpointing.Overrides{}.Merge(o))
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "changed")
				return err
			})
		},
	}
	c.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&c.interval, "interval", 0, "from one periodic checkpoint to the next; 0: none by themselves")
	f.DurationVar(&c.checkpointTimeout, "timeout", 0, "give a checkpoint up after this")
	f.DurationVar(&c.minPause, "min-pause", 0, "between the end of one and the start of the next")
	f.DurationVar(&c.alignedTimeout, "aligned-timeout", 0, "turn unaligned after this; 0: never")
	f.IntVar(&c.maxConcurrent, "max-concurrent", 0, "how many may be in progress at a time")
	f.IntVar(&c.tolerableFailed, "tolerable-failed", 0, "how many may fail in a row; -1: any number, -2: none")
	f.IntVar(&c.retained, "retained", 0, "how many are kept")
	f.BoolVar(&c.unaligned, "unaligned", false, "let barriers overtake records")
	f.BoolVar(&c.incremental, "incremental", false, "store only what has changed, if the program has it on")
	f.BoolVar(&c.reset, "reset", false, "go back to the settings of the program first")
	return cmd
}

// overrides takes what was given; what was not stays nil.
func (c *configuring) overrides(cmd *cobra.Command) (o checkpointing.Overrides, err error) {
	given := false
	changed := func(name string) bool {
		given = given || cmd.Flags().Changed(name)
		return cmd.Flags().Changed(name)
	}
	for name, at := range map[string]struct {
		value time.Duration
		field **int64
	}{
		"interval": {c.interval, &o.IntervalMs}, "timeout": {c.checkpointTimeout, &o.TimeoutMs},
		"min-pause": {c.minPause, &o.MinPauseMs}, "aligned-timeout": {c.alignedTimeout, &o.AlignedTimeout},
	} {
		if changed(name) {
			if at.value%time.Millisecond != 0 {
				return o, fmt.Errorf("--%s is %s: want whole milliseconds", name, at.value)
			}
			ms := at.value.Milliseconds()
			*at.field = &ms
		}
	}
	for name, at := range map[string]struct {
		value *int
		field **int
	}{
		"max-concurrent": {&c.maxConcurrent, &o.MaxConcurrent}, "tolerable-failed": {&c.tolerableFailed, &o.TolerableFailed},
		"retained": {&c.retained, &o.Retained},
	} {
		if changed(name) {
			*at.field = at.value
		}
	}
	if changed("unaligned") {
		o.Unaligned = &c.unaligned
	}
	if changed("incremental") {
		o.Incremental = &c.incremental
	}
	o.Reset = changed("reset") && c.reset
	if !given {
		return o, errors.New("nothing to change: give at least one setting")
	}
	return o, nil
}
