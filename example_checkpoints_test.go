package tidemark_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// An application with checkpoints: an instance that comes without local state begins with the last one.
func Example_checkpoints() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	topology.Count(clicks.GroupByKey(), topology.As("clicks-by-user"))
	_, err := tidemark.New(b, tidemark.Config{
		ApplicationID: "clicks", Brokers: []string{"localhost:9092"}, StateDir: "/var/lib/tidemark/state",
		Checkpointing: checkpointing.Config{
			Storage:     dir.New("/var/lib/tidemark/checkpoints"),
			Interval:    10 * time.Second,
			Retained:    3,
			Incremental: true,
		},
		CheckpointListener: tidemark.CheckpointListener{
			OnCompleted: func(c checkpointing.Completed) { fmt.Println("checkpoint", c.ID, "has", c.Bytes, "bytes") },
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

// Every mistake in the configuration of checkpoints is found before anything starts.
func ExampleConfig_checkpointing() {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("out")
	_, err := tidemark.New(b, tidemark.Config{
		ApplicationID: "app", Brokers: []string{"localhost:9092"}, StateDir: "/var/lib/app",
		Checkpointing: checkpointing.Config{Interval: time.Second, MaxConcurrent: 99},
	})
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Println(line)
	}
	// Output:
	// tidemark: Config.Checkpointing.Storage = nil: periodic checkpoints need one: set it, or set Interval to 0
	// tidemark: Config.Checkpointing.MaxConcurrent = 99: want 1 to 16
}

// A savepoint from outside of the application: only its brokers have to be reachable.
func ExampleControl() {
	savepoint := func(ctx context.Context, cfg tidemark.Config) error {
		control, err := tidemark.NewControl(ctx, cfg)
		if err != nil {
			return err
		}
		defer control.Close()
		saved, err := control.Savepoint(ctx, tidemark.SavepointOptions{})
		if err != nil {
			return err
		}
		fmt.Println("savepoint", saved.ID, "in", saved.Location)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := savepoint(ctx, tidemark.Config{ApplicationID: "clicks", Brokers: []string{"localhost:1"}})
	fmt.Println(err != nil)
	// Output: true
}
