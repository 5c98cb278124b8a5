package assign

import (
	"cmp"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// Member is a group member as the leader sees it.
type Member struct {
	// ID is the member id that the group coordinator gave out.
	ID string
	// InstanceID is the static id (group.instance.id), "" for a dynamic member. Only for messages.
	InstanceID string
	// ProcessID identifies the state directory: it outlives the member id.
	ProcessID string
	// Workers weighs the member: one with twice the workers gets twice the tasks. 0 counts as 1.
	Workers int
	// Fingerprint identifies the member's topology. Only members that agree share tasks, see [Admit].
	Fingerprint string
	// Owned are the tasks that the member runs right now, as of Generation.
	Owned []record.TaskID
	// Generation is the group generation of Owned; -1 if unknown. Of two claims to one task the newer is believed.
	Generation int32
	// Previous are the tasks that the member has local state of.
	Previous []record.TaskID
	// Positions are how far the local state of the tasks in Previous is: the sum of the positions in their changelogs,
	// to compare with [Options.Ends]. Absent: the position is not known.
	Positions map[record.TaskID]int64
	// Following are the standbys and warm-ups that run at the member now; they are in Previous, too.
	Following []record.TaskID
	// Warming are those of Following that are warm-ups: they are on their way to become the task's owner.
	Warming []record.TaskID
	// Ready are those of Following that have caught up by the member's own measure, whatever was written since.
	Ready []record.TaskID
	// Tags say where the member is (client.tag.*), see [Options.RackTags].
	Tags map[string]string
}

// name is what error messages call the member.
func (m *Member) name() string {
	if m.InstanceID != "" {
		return m.InstanceID
	}
	return m.ID
}

func (m *Member) weight() int64 { return int64(max(m.Workers, 1)) }

// Assign distributes the tasks among the members. The result has an entry for every member, sorted by task. It is the
// target: what the group should look like when every hand-over is done; pass it to [Withhold] before sending it.
// All members must run one topology, see [Admit]; the only error is a *MixedTopologyError. Without members the result
// is empty.
func Assign(tasks []record.TaskID, members []Member) (map[string][]record.TaskID, error) {
	if mixed := sameTopology(members); mixed != nil {
		return nil, mixed
	}
	ms := sortedMembers(members)
	result := make(map[string][]record.TaskID, len(ms))
	if len(ms) == 0 {
		return result, nil
	}
	for i := range ms {
		result[ms[i].ID] = nil
	}
	bySub := groupBySubtopology(tasks)
	cl := readClaims(ms, tasks)
	counts := balance(ms, bySub, cl)
	for s, sub := range bySub {
		for i, got := range place(sub, counts[s], ms, cl) {
			result[ms[i].ID] = append(result[ms[i].ID], got...)
		}
	}
	for id := range result {
		slices.SortFunc(result[id], record.TaskID.Compare)
	}
	return result, nil
}

// sortedMembers brings the members into an order that does not depend on the broker's.
func sortedMembers(members []Member) []Member {
	ms := slices.Clone(members)
	slices.SortFunc(ms, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.ProcessID, b.ProcessID), cmp.Compare(a.ID, b.ID))
	})
	return ms
}

// groupBySubtopology returns the distinct tasks, sorted, one slice per sub-topology.
func groupBySubtopology(tasks []record.TaskID) [][]record.TaskID {
	sorted := slices.Clone(tasks)
	slices.SortFunc(sorted, record.TaskID.Compare)
	sorted = slices.Compact(sorted)
	var groups [][]record.TaskID
	for from := 0; from < len(sorted); {
		to := from + 1
		for to < len(sorted) && sorted[to].Subtopology == sorted[from].Subtopology {
			to++
		}
		groups = append(groups, sorted[from:to:to])
		from = to
	}
	return groups
}

// claims is what members have of the tasks.
type claims struct {
	// owner is the member (by its place in the sorted list) whose claim to run the task is believed.
	owner map[record.TaskID]int
	// previous are the members with local state of the task.
	previous map[record.TaskID][]int
}

// readClaims believes, of several claims to one task, the one of the newest generation: the others are zombies that
// the broker will not let commit. Two claims of one generation cannot both be true, so nobody is believed; then both
// give the task up (see Withhold). Claims to tasks that no longer exist are dropped.
func readClaims(ms []Member, tasks []record.TaskID) claims {
	cl := claims{owner: make(map[record.TaskID]int), previous: make(map[record.TaskID][]int)}
	exists := make(map[record.TaskID]bool, len(tasks))
	for _, t := range tasks {
		exists[t] = true
	}
	disputed := make(map[record.TaskID]bool)
	for i := range ms {
		seen := make(map[record.TaskID]bool)
		for _, t := range ms[i].Owned {
			if !exists[t] || seen[t] {
				continue
			}
			seen[t] = true
			j, claimed := cl.owner[t]
			switch {
			case !claimed || ms[i].Generation > ms[j].Generation:
				cl.owner[t] = i
				delete(disputed, t)
			case ms[i].Generation == ms[j].Generation:
				disputed[t] = true
			}
		}
		for _, t := range ms[i].Previous {
			if exists[t] && !slices.Contains(cl.previous[t], i) {
				cl.previous[t] = append(cl.previous[t], i)
			}
		}
	}
	for t := range disputed {
		delete(cl.owner, t)
	}
	return cl
}

// Withhold takes from the target what cannot start yet: a task that another member still runs is given to nobody until
// that member has handed it over and joined again. It returns what each member gets now and which tasks wait.
func Withhold(
	target map[string][]record.TaskID, members []Member,
) (now map[string][]record.TaskID, waiting []record.TaskID) {
	type claim struct {
		member     string
		generation int32
		disputed   bool
	}
	running := make(map[record.TaskID]claim)
	for i := range members {
		m := &members[i]
		for _, t := range m.Owned {
			c, ok := running[t]
			switch {
			case !ok || m.Generation > c.generation:
				running[t] = claim{member: m.ID, generation: m.Generation}
			case m.Generation == c.generation && c.member != m.ID:
				c.disputed = true
				running[t] = c
			}
		}
	}
	now = make(map[string][]record.TaskID, len(target))
	for id, tasks := range target {
		now[id] = nil
		for _, t := range tasks {
			if c, ok := running[t]; ok && (c.member != id || c.disputed) {
				waiting = append(waiting, t)
				continue
			}
			now[id] = append(now[id], t)
		}
	}
	slices.SortFunc(waiting, record.TaskID.Compare)
	return now, waiting
}
