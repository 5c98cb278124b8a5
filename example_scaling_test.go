package tidemark_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/record"
)

// Who runs which task, and who will, in the whole application. A running App returns it from App.Metadata.
func ExampleMetadata_Tasks() {
	id := func(p int32) record.TaskID { return record.TaskID{Partition: p} }
	m := tidemark.Metadata{Instances: []tidemark.InstanceMetadata{
		{MemberID: "a", Workers: 2, Active: []record.TaskID{id(0), id(1)}},
		{
			MemberID: "b", Workers: 2, Active: []record.TaskID{id(2)}, Standby: []record.TaskID{id(1)},
			WarmUp: []record.TaskID{id(1)},
		},
	}}
	for _, t := range m.Tasks() {
		fmt.Print(t.ID, " runs at ", t.Active.MemberID)
		for _, s := range t.Standbys {
			fmt.Print(", copied by ", s.MemberID)
		}
		fmt.Println()
	}
	// Output:
	// 0_0 runs at a
	// 0_1 runs at a, copied by b
	// 0_2 runs at b
}

// A listener hears which tasks come and go.
func ExampleConfig_rebalanceListener() {
	cfg := tidemark.Config{ApplicationID: "orders", Brokers: []string{"broker-1:9092"}}
	cfg.RebalanceListener.OnRevoked = func(e tidemark.TasksRevoked) { fmt.Println(e) }
	cfg.RebalanceListener.OnAssigned = func(e tidemark.TasksAssigned) { fmt.Println(e) }

	// The App calls them:
	one, two := record.TaskID{Partition: 1}, record.TaskID{Partition: 2}
	cfg.RebalanceListener.OnRevoked(tidemark.TasksRevoked{Tasks: []record.TaskID{one}})
	cfg.RebalanceListener.OnAssigned(tidemark.TasksAssigned{
		Tasks: []record.TaskID{two}, Added: []record.TaskID{two}, Standbys: []record.TaskID{one},
	})
	// Output:
	// revoked [0_1]
	// assigned [0_2], new [0_2], standbys [0_1], warm-ups []
}
