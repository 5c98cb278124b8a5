package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/topology"
)

// cluster are the flags of commands that ask Kafka.
type cluster struct {
	brokers       string
	applicationID string
}

func (c *cluster) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.brokers, "brokers", "", "the cluster's brokers, `HOST:PORT,...`")
	cmd.Flags().StringVar(&c.applicationID, "application-id", "", "the application's `ID`")
}

func (c *cluster) plan(ctx context.Context) (*topology.Description, error) {
	// The state directory is not touched; without HOME there would be no default for it.
	return tidemark.StoredPlan(ctx, tidemark.Config{
		ApplicationID: c.applicationID, Brokers: strings.Split(c.brokers, ","), StateDir: "unused",
	})
}

func newPlan() *cobra.Command {
	var c cluster
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print the topology that an application stored when it last ran",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.brokers == "" {
				return fmt.Errorf("--brokers is missing\n\n%s", cmd.UsageString())
			}
			d, err := c.plan(cmd.Context())
			if err != nil {
				return err
			}
			data, err := d.JSON()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	c.flags(cmd)
	return cmd
}

func newDiff() *cobra.Command {
	var c cluster
	cmd := &cobra.Command{
		Use:   "diff [OLD.json] NEW.json",
		Short: "Say what a deployment of another topology would keep and lose",
		Long: "Compares the description NEW.json with OLD.json, or with what the application runs on --brokers. Prints a line\n" +
			"for each change, the gravest first. Ends with 1 if a store would be lost.",
		Args: func(cmd *cobra.Command, args []string) error {
			if c.brokers != "" {
				return exactly(1)(cmd, args)
			}
			return exactly(2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := func() (*topology.Description, error) {
				if c.brokers != "" {
					return c.plan(cmd.Context())
				}
				return load(args[0])
			}()
			if err != nil {
				return err
			}
			return diff(before, args[len(args)-1], cmd.OutOrStdout())
		},
	}
	c.flags(cmd)
	return cmd
}

func diff(before *topology.Description, file string, out io.Writer) error {
	after, err := load(file)
	if err != nil {
		return err
	}
	changes := topology.Diff(before, after)
	_, err = io.WriteString(out, changes.String())
	if len(changes.LostStores()) > 0 {
		err = errors.Join(err, errLoss)
	}
	return err
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
