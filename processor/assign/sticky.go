package assign

import "github.com/tidemarkio/tidemark/record"

// place picks the tasks of one sub-topology for each member, given how many each gets: what runs stays, then local
// state is used as far as a matching goes, then the rest fills up by partition.
func place(sub []record.TaskID, counts []int, ms []Member, cl claims) [][]record.TaskID {
	got := make([][]record.TaskID, len(ms))
	var idle []record.TaskID
	for i := range ms {
		keep, release := keepRunning(sub, i, counts[i], cl)
		got[i] = keep
		idle = append(idle, release...)
	}
	for _, t := range sub {
		if _, running := cl.owner[t]; !running {
			idle = append(idle, t)
		}
	}
	room := make([]int, len(ms))
	for i := range ms {
		room[i] = counts[i] - len(got[i])
	}
	home := matchState(idle, room, cl)
	for n, t := range idle {
		if i := home[n]; i >= 0 {
			got[i] = append(got[i], t)
			room[i]--
		}
	}
	for n, t := range idle {
		if home[n] >= 0 {
			continue
		}
		i := roomiest(room, ms)
		got[i] = append(got[i], t)
		room[i]--
	}
	return got
}

// keepRunning splits what member i runs into what it keeps and what it has to give up. It gives up first what another
// member has state of, so that the hand-over is cheap.
func keepRunning(sub []record.TaskID, i, limit int, cl claims) (keep, release []record.TaskID) {
	var cheap []record.TaskID
	for _, t := range sub {
		owner, ok := cl.owner[t]
		switch {
		case !ok || owner != i:
		case stateElsewhere(t, i, cl):
			cheap = append(cheap, t)
		default:
			keep = append(keep, t)
		}
	}
	keep = append(keep, cheap...)
	if len(keep) > limit {
		release = append(release, keep[limit:]...)
		keep = keep[:limit:limit]
	}
	return keep, release
}

func stateElsewhere(t record.TaskID, i int, cl claims) bool {
	for _, j := range cl.previous[t] {
		if j != i {
			return true
		}
	}
	return false
}

// matchState gives idle tasks to members that have their state and room: a maximum matching by augmenting paths (a
// task that took the last place moves on to another member with its state, if there is one). home is -1 for a task
// without a place.
func matchState(idle []record.TaskID, room []int, cl claims) (home []int) {
	home = make([]int, len(idle))
	for n := range home {
		home[n] = -1
	}
	taken := make([][]int, len(room)) // the idle tasks placed at a member
	var tried []bool
	var find func(n int) bool
	find = func(n int) bool {
		for _, i := range cl.previous[idle[n]] {
			if tried[i] {
				continue
			}
			tried[i] = true
			if len(taken[i]) < room[i] {
				taken[i] = append(taken[i], n)
				home[n] = i
				return true
			}
			for k, other := range taken[i] {
				if find(other) {
					taken[i][k] = n
					home[n] = i
					return true
				}
			}
		}
		return false
	}
	for n := range idle {
		tried = make([]bool, len(room))
		find(n)
	}
	return home
}

// roomiest returns the member with the most room per worker; the first of equals.
func roomiest(room []int, ms []Member) int {
	best := -1
	for i := range room {
		if room[i] <= 0 {
			continue
		}
		if best < 0 || int64(room[i])*ms[best].weight() > int64(room[best])*ms[i].weight() {
			best = i
		}
	}
	return best
}
