package assign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MixedTopologyError says that members of one application id run different topologies. Sharing tasks would let one
// program read the state and the repartition topics of another. The application that runs already goes on; members of
// another topology are refused and end with this error.
type MixedTopologyError struct {
	// Members are the members by the fingerprint of their topology. Only the leader knows them.
	Members map[string][]string
	// Reason is what the leader wrote to the member that it refuses.
	Reason string
}

func (e *MixedTopologyError) Error() string {
	if e.Reason != "" {
		return "assign: the group refuses this member: " + e.Reason
	}
	var b strings.Builder
	b.WriteString("members of the group run different topologies:")
	for i, fp := range slices.Sorted(maps.Keys(e.Members)) {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %s on %q", strings.Join(e.Members[fp], ", "), fp)
	}
	b.WriteString(": stop the old version before you start another topology, or give it its own application id")
	return b.String()
}

// Admit decides whose topology the group runs when members disagree: that of the members which own the most tasks, so
// that a program that is started by mistake does not disturb the one that runs; the leader's if nobody owns any. It
// returns the members of that topology, its fingerprint, and what to tell the others, nil if all agree.
func Admit(members []Member, leader string) (admitted []Member, fingerprint string, refusal *MixedTopologyError) {
	owned := make(map[string]int)
	for i := range members {
		m := &members[i]
		owned[m.Fingerprint] += len(m.Owned)
		if m.ID == leader {
			fingerprint = m.Fingerprint
		}
	}
	mixed := sameTopology(members)
	if mixed == nil {
		return members, fingerprint, nil
	}
	for _, fp := range slices.Sorted(maps.Keys(owned)) {
		if owned[fp] > owned[fingerprint] {
			fingerprint = fp
		}
	}
	for i := range members {
		if members[i].Fingerprint == fingerprint {
			admitted = append(admitted, members[i])
		}
	}
	return admitted, fingerprint, mixed
}

// sameTopology refuses members of different topologies.
func sameTopology(members []Member) *MixedTopologyError {
	byPrint := make(map[string][]string)
	for i := range members {
		byPrint[members[i].Fingerprint] = append(byPrint[members[i].Fingerprint], members[i].name())
	}
	if len(byPrint) <= 1 {
		return nil
	}
	for fp := range byPrint {
		slices.Sort(byPrint[fp])
	}
	return &MixedTopologyError{Members: byPrint}
}
