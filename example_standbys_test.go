package tidemark_test

import (
	"fmt"
	"os"

	"github.com/tidemarkio/tidemark"
)

// Each task has a standby in another zone than its own.
func ExampleConfig_standbyReplicas() {
	cfg := tidemark.Config{ApplicationID: "orders", Brokers: []string{"broker-1:9092"}}
	cfg.StandbyReplicas = 1
	cfg.ClientTags = map[string]string{"zone": os.Getenv("ZONE")}
	cfg.RackAwareTags = []string{"zone"}
	cfg.StandbyListener.OnUpdateSuspended = func(e tidemark.StandbyUpdateSuspended) {
		if e.Reason == tidemark.StandbyPromoted {
			fmt.Println("an instance has died:", e)
		}
	}
	fmt.Println(cfg.StandbyReplicas, "standby of each task")
	// Output: 1 standby of each task
}
