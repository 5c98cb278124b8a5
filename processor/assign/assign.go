package assign

import (
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
	// Leaving says that the member is about to leave the group: its tasks move to others, warmed up like all that move, as
	// long as any member stays.
	Leaving bool
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

// weight is 0 of a member that leaves while others stay.
func (m *Member) weight() int64 {
	if m.Leaving {
		return 0
	}
	return int64(max(m.Workers, 1))
}

// Assign is [Place] of tasks without state. The result has an entry for every member, sorted by task. It is the
// target: what the group should look like when every hand-over is done; pass it to [Withhold] before sending it.
// All members must run one topology, see [Admit]; the only error is a *MixedTopologyError. Without members the result
// is empty.
func Assign(tasks []record.TaskID, members []Member) (map[string][]record.TaskID, error) {
	p, err := Place(tasks, members, Options{})
	return p.Active, err
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
