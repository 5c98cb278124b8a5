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
	// caught up. A task that its new owner follows is here, too, until its old one has handed it over: so it is not
	// closed in between. Those do not count as warm-ups.
	Warmup map[string][]record.TaskID
	// Waiting is the number of tasks that move once somebody has warmed up.
	Waiting int
}

// Place distributes the tasks among the members, with standbys and warm-ups. From call to call no more tasks leave
// their owners than have to from the first one on, as long as members neither come nor go; the one exception is a task
// whose new owner falls behind after the old one has let go of it: it starts where that is sooner, and moves once more.
//
// All members must run one topology, see [Admit]; the only error is a *MixedTopologyError. Without members the result
// is empty.
//
//	claims ──► target ──► idle tasks start where ──► who waits for ──► standbys
//	           balanced   that is soonest            its warm-up
func Place(tasks []record.TaskID, members []Member, o Options) (Placement, error) {
	if mixed := sameTopology(members); mixed != nil {
		return Placement{}, mixed
	}
	c := newCluster(tasks, members, o)
	if len(c.members) == 0 {
		return c.placement(nil, nil, nil), nil
	}
	target := c.target()
	c.startIdle(target)
	active, warmups, waiting := c.warmUp(target)
	copies := c.standbys(active, warmups)
	for t, i := range active {
		if from := c.claimed[t]; from >= 0 && from != i && c.holder(t, i).open {
			warmups[t] = i
		}
	}
	p := c.placement(active, warmups, copies)
	p.Waiting = waiting
	return p, nil
}

// placement lists per member what the slices say per task.
func (c *cluster) placement(active, warmups []int, standbys [][]int) Placement {
	p := Placement{
		Active:  make(map[string][]record.TaskID, len(c.members)),
		Standby: make(map[string][]record.TaskID, len(c.members)),
		Warmup:  make(map[string][]record.TaskID, len(c.members)),
	}
	for i := range c.members {
		id := c.members[i].ID
		p.Active[id], p.Standby[id], p.Warmup[id] = nil, nil, nil
	}
	add := func(to map[string][]record.TaskID, member, t int) {
		id := c.members[member].ID
		to[id] = append(to[id], c.tasks[t])
	}
	for t, i := range active {
		add(p.Active, i, t)
	}
	for t, i := range warmups {
		if i >= 0 {
			add(p.Warmup, i, t)
		}
	}
	for t, copies := range standbys {
		for _, i := range copies {
			add(p.Standby, i, t)
		}
	}
	return p
}
