// Command tidemark looks after applications from outside: their topologies before a deployment, their checkpoints,
// savepoints and state.
//
//	tidemark plan --brokers HOST:PORT,… --application-id ID                 prints the stored plan of an application
//	tidemark diff OLD.json NEW.json                                         compares two descriptions
//	tidemark diff --brokers HOST:PORT,… --application-id ID NEW.json        compares with what the application runs
//	tidemark checkpoint list|show|verify                                    what is in a storage, and whether it is whole
//	tidemark savepoint list|inspect|verify|dispose
//	tidemark checkpoint trigger|configure, savepoint create|stop            commands to a running application
//	tidemark savepoint restore|rescale                                      let an application begin where one was made
//	tidemark state stores|dump                                              the rows of a store, as JSON lines
//	tidemark completion bash|fish|powershell|zsh
//
// A description is what topology.NewDescription(plan).JSON() writes: let the program that declares the topology have a
// flag for it. diff prints a line for each change, the gravest first, and ends with 1 if a store would be lost. For
// clusters with TLS or SASL call tidemark.StoredPlan and tidemark.DiffStored from a program of your own.
//
// A storage is a URL: file:///mnt/checkpoints, or s3://bucket/prefix?endpoint=https://… with credentials from the
// environment. TIDEMARK_STORAGE is the default.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitLoss  = 1 // a store would be lost, or a checkpoint is damaged
	exitError = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errLoss ends the command with exitLoss; what there is to say has been printed.
var errLoss = errors.New("loss")

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot() //nolint:contextcheck // cobra gives the commands the context
	root.SetArgs(withLongFlags(args))
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	switch {
	case errors.Is(err, errLoss):
		return exitLoss
	case err != nil:
		_, _ = fmt.Fprintln(errs, err) // there is nobody else to tell
		return exitError
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "tidemark",
		Short:         "Look after Tidemark applications",
		Long:          "Compares topologies before a deployment; lists, verifies and reads checkpoints and savepoints.",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("which command?\n\n%s", cmd.UsageString())
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\n\n%s", err, cmd.UsageString())
	})
	root.AddCommand(newPlan(), newDiff(), newCheckpoint(), newSavepoint(), newState())
	return root
}

// withLongFlags lets a single hyphen stand before a long flag too, as with the Go tools. There are no short flags but
// -h.
func withLongFlags(args []string) []string {
	long := make([]string, len(args))
	for i, a := range args {
		if len(a) > 2 && a[0] == '-' && a[1] != '-' {
			a = "-" + a
		}
		if long[i] = a; a == "--" {
			copy(long[i:], args[i:])
			break
		}
	}
	return long
}

// exactly wants so many arguments, and shows the usage if there are others.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return fmt.Errorf("%s wants %d arguments, not %d\n\n%s", cmd.CommandPath(), n, len(args), cmd.UsageString())
	}
}

// group is a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			what := "which command?"
			if len(args) > 0 {
				what = fmt.Sprintf("%s %s is unknown", cmd.CommandPath(), strings.Join(args, " "))
			}
			return fmt.Errorf("%s\n\n%s", what, cmd.UsageString())
		},
	}
	cmd.AddCommand(below...)
	return cmd
}
