package assign

import "cmp"

// startIdle decides where tasks with state that nobody runs start: where that is soonest. If the target cannot start a
// task at once and somebody else can, that one gets it, also beyond its share: the target then warms up meanwhile. It
// enters them as owners. For the next call the target is as near as for this one, which has counted such a task as one
// that moves.
func (c *cluster) startIdle(target []int) {
	if c.MaxWarmups <= 0 {
		return // a task would move back cold
	}
	load := make([]int, len(c.members))
	var idle []int
	for t, i := range c.owner {
		switch {
		case i >= 0:
			load[i]++
		case c.stateful[t]:
			idle = append(idle, t)
		default:
			load[target[t]]++
		}
	}
	for _, t := range idle {
		i := c.soonest(t, target[t], load)
		c.owner[t] = i
		load[i]++
	}
}

// soonAt reports whether a task that nobody runs starts at a member if it is the target, and not elsewhere; for nil,
// whether there is any such member, so that the task moves once more if its target is another one.
func (c *cluster) soonAt(t int, h *holder) bool {
	if !c.stateful[t] || c.MaxWarmups <= 0 {
		return false
	}
	ready, open, lag := false, false, int64(unknownLag)
	for _, other := range c.holders[t] {
		ready = ready || other.ready()
		if other.open {
			open, lag = true, min(lag, other.lag)
		}
	}
	switch {
	case h == nil:
		return ready || open
	case ready:
		return h.ready()
	}
	return open && (h.lag < lag || h.open && h.lag == lag)
}

// soonest returns the member that can start a task first. Whoever has caught up is as good as any other who has; of
// those the least loaded. Else it is the standby that lacks the least, unless the target lacks no more.
func (c *cluster) soonest(t, target int, load []int) int {
	best := c.holder(t, target)
	if best.ready() {
		return target
	}
	for _, h := range c.holders[t] {
		switch {
		case h.member == target, !h.ready() && !h.open:
		case !h.open && h.standing != home && best.open: // who has just given the task up does not get it back
		case h.ready() && best.ready():
			if c.compareLoad(load, h.member, best.member) < 0 {
				best = h
			}
		case h.ready(), !best.ready() && (h.lag < best.lag || !best.open && h.lag == best.lag):
			best = h
		}
	}
	return best.member
}

// compareLoad compares the loads of two members per worker.
func (c *cluster) compareLoad(load []int, a, b int) int {
	return cmp.Compare(int64(load[a])*c.members[b].weight(), int64(load[b])*c.members[a].weight())
}
