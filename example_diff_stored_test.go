package tidemark_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Before a deployment: what would this topology do to the application that runs? Here nobody answers.
func ExampleDiffStored() {
	b := topology.NewBuilder()
	topology.Count(topology.Stream(b, "in", serde.String, serde.String).GroupByKey(), topology.As("counts"))
	changes, err := tidemark.DiffStored(context.Background(), b, tidemark.Config{
		ApplicationID: "app", Brokers: []string{"127.0.0.1:1"}, StateDir: "/var/lib/app",
		ConnectTimeout: 100 * time.Millisecond,
	})
	switch {
	case errors.Is(err, tidemark.ErrNoPlan):
		fmt.Println("it has never run")
	case err != nil:
		fmt.Println("cannot tell")
	case len(changes.LostStores()) > 0:
		fmt.Print(changes)
	}
	// Output: cannot tell
}
