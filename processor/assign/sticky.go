package assign

import "slices"

// pick picks the tasks of one sub-topology for each member, given how many each gets: what stays stays, then state is
// used as far as a matching goes, the nearest first, then the rest fills up by partition.
func (c *cluster) pick(sub span, sh shares, target []int) {
	m := matching{c: c, sub: sub, target: target, room: slices.Clone(sh.counts), surplus: make([]int, len(sh.counts))}
	for i, n := range sh.stays {
		m.room[i] -= n
		m.surplus[i] -= n
	}
	// Tasks that nobody runs come first: those that run can wait.
	var movable []int
	for t := sub.from; t < sub.to; t++ {
		i, fixed := sh.fixed[t]
		switch {
		case fixed:
			target[t-sub.from] = i
			m.room[i]--
			continue
		case c.owner[t] >= 0:
			m.surplus[c.owner[t]]++
		default:
			movable = append(movable, t)
		}
		target[t-sub.from] = -1
	}
	for t := sub.from; t < sub.to; t++ {
		if i := c.owner[t]; i < 0 || target[t-sub.from] >= 0 {
			continue
		} else if m.surplus[i] == 0 {
			target[t-sub.from] = i
		} else {
			movable = append(movable, t)
		}
	}
	m.matchState(movable)
	m.fill(movable)
}

// matching places the tasks of one sub-topology that may or must move.
type matching struct {
	c       *cluster
	sub     span
	target  []int // by task of the sub-topology; -1: not placed yet
	room    []int // how many more each member may take
	surplus []int // how many of its tasks each member has to give up yet
	taken   [][]int
	tried   []int // the member was visited in this search
	search  int
}

// matchState gives tasks to members that have their state and room: a maximum matching by augmenting paths (a task
// that took the last place moves on to another member with its state, if there is one), grown from the nearest state
// to the farthest.
func (m *matching) matchState(movable []int) {
	m.taken, m.tried = make([][]int, len(m.room)), make([]int, len(m.room))
	var present [standings]bool
	for _, t := range movable {
		for _, h := range m.c.holders[t] {
			present[h.standing] = true
		}
	}
	for least := standings - 1; least > without; least-- {
		if !present[least] {
			continue
		}
		for _, t := range movable {
			owner := m.c.owner[t]
			if m.target[t-m.sub.from] >= 0 || owner >= 0 && m.surplus[owner] == 0 {
				continue
			}
			if m.search++; m.find(t, least) && owner >= 0 {
				m.surplus[owner]--
			}
		}
	}
}

func (m *matching) find(t int, least standing) bool {
	for _, h := range m.c.holders[t] {
		i := h.member
		if h.standing < least || m.tried[i] == m.search {
			continue
		}
		m.tried[i] = m.search
		if m.room[i] > 0 {
			m.room[i]--
			m.taken[i] = append(m.taken[i], t)
			m.target[t-m.sub.from] = i
			return true
		}
		for k, other := range m.taken[i] {
			if m.find(other, least) {
				m.taken[i][k] = t
				m.target[t-m.sub.from] = i
				return true
			}
		}
	}
	return false
}

// fill places the rest: owners keep their first tasks and give up the last, and what has no place goes to whoever has
// the most room.
func (m *matching) fill(movable []int) {
	for _, t := range slices.Backward(movable) {
		if i := m.c.owner[t]; i >= 0 && m.target[t-m.sub.from] < 0 {
			if m.surplus[i] == 0 {
				m.target[t-m.sub.from] = i
			} else {
				m.surplus[i]--
			}
		}
	}
	slices.Sort(movable)
	for _, t := range movable {
		if m.target[t-m.sub.from] < 0 {
			i := roomiest(m.room, m.c.members)
			m.target[t-m.sub.from] = i
			m.room[i]--
		}
	}
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
