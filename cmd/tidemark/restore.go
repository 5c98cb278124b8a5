package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// restoring are the flags of commands that start an application from a savepoint.
type restoring struct {
	cluster
	storage    place
	partitions map[string]int
	replicas   int
	replace    bool
	allowLoss  bool
}

const restoreHelp = `LOCATION is the folder of a savepoint, or of a checkpoint, as savepoint list and checkpoint list
print it. Nothing of the application may run. All of the state is written in one transaction: all of it or nothing.
Then start the service, with this application id.

The topology is that of the savepoint: stores keep their names and types. To rename or migrate them, call
tidemark.StartFrom in the program.`

func newRestore() *cobra.Command {
	var r restoring
	cmd := r.command("restore LOCATION", "Let an application begin where a savepoint was made")
	cmd.Long = "Writes the state of a savepoint into the changelogs of an application, what was in flight into its\n" +
		"repartition topics, and its place in the inputs. Under a new --application-id that makes a clone; to bring\n" +
		"the same application back to the savepoint takes --replace.\n\n" + restoreHelp
	return cmd
}

func newRescale() *cobra.Command {
	var r restoring
	cmd := r.command("rescale LOCATION", "Restore an application with other numbers of partitions")
	cmd.Long = "Is savepoint restore with other numbers of partitions: rows and records in flight go where their keys\n" +
		"belong. The service that is started then has to ask for the same numbers (topology.Partitions), or its start\n" +
		"is refused.\n\n" +
		"  tidemark savepoint stop    --brokers localhost:9092 --application-id orders\n" +
		"  tidemark savepoint rescale orders/savepoint-18-4f5e6d7c --brokers localhost:9092 --application-id orders \\\n" +
		"      --replace --partitions by-product=12\n\n" + restoreHelp
	cmd.Flags().StringToIntVar(&r.partitions, "partitions", nil, "new numbers of partitions, `TOPIC=N,...`: TOPIC is a "+
		"repartition topic, or the number of a sub-topology for all that it reads; may be repeated")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(r.partitions) == 0 {
			return fmt.Errorf("--partitions is missing; savepoint restore leaves them as they are\n\n%s", cmd.UsageString())
		}
		return run(cmd, args)
	}
	return cmd
}

func (r *restoring) command(use, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly(1),
		ValidArgsFunction: r.storage.completeLocations(checkpointing.KindSavepoint, checkpointing.KindCheckpoint),
		RunE:              func(cmd *cobra.Command, args []string) error { return r.run(cmd, args[0]) },
	}
	r.flags(cmd)
	r.storage.flags(cmd, true)
	r.storage.keyFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.replace, "replace", false, "delete what the application has by now")
	f.BoolVar(&r.allowLoss, "allow-non-restored-state", false, "leave stores out that have no changelog")
	f.IntVar(&r.replicas, "replication-factor", 0, "of the topics that are made; 0: the brokers' default")
	return cmd
}

func (r *restoring) run(cmd *cobra.Command, location string) error {
	if r.brokers == "" || r.applicationID == "" {
		return fmt.Errorf("--brokers and --application-id are needed\n\n%s", cmd.UsageString())
	}
	s, err := r.storage.open()
	if err != nil {
		return err
	}
	o := tidemark.RestoreOptions{
		Partitions: make(map[string]int32), Replace: r.replace, AllowNonRestoredState: r.allowLoss,
	}
	for name, n := range r.partitions {
		if n < 1 || n > math.MaxInt32 {
			return fmt.Errorf("--partitions: %s=%d: want a positive number", name, n)
		}
		o.Partitions[name] = int32(n)
	}
	cfg, err := r.restoreConfig(s)
	if err != nil {
		return err
	}
	var shown *bar
	done := int64(0)
	o.OnProgress = func(p tidemark.StartProgress) {
		if shown == nil {
			shown = newBar(cmd, p.Total, "restoring")
		}
		shown.add(int(p.Bytes - done))
		done = p.Bytes
	}
	report, err := tidemark.Restore(cmd.Context(), cfg, r.storage.locate(location), o)
	if shown != nil {
		shown.end()
	}
	if err != nil {
		return err
	}
	return r.print(cmd, report)
}

func (r *restoring) restoreConfig(s storage.Storage) (tidemark.Config, error) {
	cfg := r.config()
	cfg.Checkpointing.Storage = s
	if r.replicas < 0 || r.replicas > math.MaxInt16 {
		return cfg, errors.New("--replication-factor: want 0 or a small number")
	}
	if r.replicas > 0 {
		cfg.ReplicationFactor = int16(r.replicas)
	}
	keys, err := r.storage.keys()
	cfg.Checkpointing.OldEncryptionKeys = keys
	return cfg, err
}

// restored is the result, as JSON.
type restored struct {
	Location      string           `json:"location"`
	ApplicationID string           `json:"applicationId"`
	Rows          map[string]int64 `json:"rows"`
	InFlight      int64            `json:"inFlight"`
	Dropped       []string         `json:"dropped,omitempty"`
	TookMs        int64            `json:"tookMs"`
}

func (r *restoring) print(cmd *cobra.Command, report tidemark.StartReport) error {
	out := cmd.OutOrStdout()
	if r.storage.output == "json" {
		return printJSON(out, restored{
			Location: report.Location, ApplicationID: r.applicationID, Rows: report.Rows, InFlight: report.InFlight,
			Dropped: report.Dropped, TookMs: report.Took.Milliseconds(),
		})
	}
	rows := int64(0)
	for _, n := range report.Rows {
		rows += n
	}
	text := fmt.Sprintf("%s: restored from %s, %d rows of %d stores, %d records in flight, in %s\n", r.applicationID,
		report.Location, rows, len(report.Rows), report.InFlight, report.Took.Round(time.Millisecond))
	if len(report.Dropped) > 0 {
		text += "left out: " + strings.Join(report.Dropped, ", ") + "\n"
	}
	_, err := fmt.Fprint(out, text)
	return err
}
