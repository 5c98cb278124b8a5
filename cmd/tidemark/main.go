// Command tidemark compares topologies before a deployment.
//
//	tidemark plan -brokers HOST:PORT,… -application-id ID                    prints the stored plan of an application
//	tidemark diff OLD.json NEW.json                                          compares two descriptions
//	tidemark diff -brokers HOST:PORT,… -application-id ID NEW.json           compares with what the application runs
//
// A description is what topology.NewDescription(plan).JSON() writes: let the program that declares the topology have a
// flag for it. diff prints a line for each change, the gravest first, and ends with 1 if a store would be lost. For
// clusters with TLS or SASL call tidemark.StoredPlan and tidemark.DiffStored from a program of your own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/topology"
)

const usage = `usage:
  tidemark plan -brokers HOST:PORT,... -application-id ID
  tidemark diff OLD.json NEW.json
  tidemark diff -brokers HOST:PORT,... -application-id ID NEW.json
`

// Exit codes.
const (
	exitLoss  = 1
	exitError = 2
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	lost, err := command(ctx, args, out)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(out, usage)
	}
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(errs, err) // there is nobody else to tell
		return exitError
	case lost:
		return exitLoss
	}
	return 0
}

func command(ctx context.Context, args []string, out io.Writer) (lost bool, err error) {
	if len(args) == 0 {
		return false, errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	brokers := flags.String("brokers", "", "")
	id := flags.String("application-id", "", "")
	if err := flags.Parse(args[1:]); err != nil {
		return false, err
	}
	stored := func() (*topology.Description, error) {
		// The state directory is not touched; without HOME there would be no default for it.
		return tidemark.StoredPlan(ctx, tidemark.Config{
			ApplicationID: *id, Brokers: strings.Split(*brokers, ","), StateDir: "unused",
		})
	}
	switch {
	case args[0] == "plan" && *brokers != "" && flags.NArg() == 0:
		d, err := stored()
		if err != nil {
			return false, err
		}
		data, err := d.JSON()
		if err != nil {
			return false, err
		}
		_, err = out.Write(data)
		return false, err
	case args[0] == "diff" && *brokers != "" && flags.NArg() == 1:
		before, err := stored()
		if err != nil {
			return false, err
		}
		return diff(before, flags.Arg(0), out)
	case args[0] == "diff" && *brokers == "" && flags.NArg() == 2:
		before, err := load(flags.Arg(0))
		if err != nil {
			return false, err
		}
		return diff(before, flags.Arg(1), out)
	}
	return false, errors.New(usage)
}

func diff(before *topology.Description, file string, out io.Writer) (lost bool, err error) {
	after, err := load(file)
	if err != nil {
		return false, err
	}
	changes := topology.Diff(before, after)
	_, err = io.WriteString(out, changes.String())
	return len(changes.LostStores()) > 0, err
}

func load(file string) (*topology.Description, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tidemark: %w", err)
	}
	d, err := topology.ParseDescription(data)
	if err != nil {
		return nil, fmt.Errorf("tidemark: %s: %w", file, err)
	}
	return d, nil
}
