package assign

import "slices"

// target says for each task who shall run it when every hand-over is done.
//
// Of all balanced ways it is one that moves the fewest tasks. A task moves if it leaves its owner; or, if nobody runs
// it, if it starts elsewhere than at its target, since that is sooner (see startIdle). Often several ways move equally
// few: of these it is one that leaves the most tasks under way where they are bound. If a call chose another than the
// call before, warm-ups would have been in vain.
//
// So the number of moves is known beforehand. Let m be the moves of the target. A call after which k tasks are taken
// from their owners leaves m-k to the next: for what the call before has chosen is still balanced, what has been taken
// away can start at once where it is bound, and the rest is as it was. That may fail only if members come or go, or if
// a new owner falls behind, by more than the acceptable lag, after a task was taken from the old one: then the task
// starts elsewhere, since to start soon comes first, and moves once more.
func (c *cluster) target() []int {
	target := make([]int, len(c.tasks))
	for s, shares := range c.balance() {
		c.pick(c.subs[s], shares, target[c.subs[s].from:c.subs[s].to])
	}
	return target
}

// underWay says for each task to whom it is on its way, that is, who has a warm-up of it; and who runs it, if it is on
// no way.
func (c *cluster) underWay() []int {
	bound := slices.Clone(c.owner)
	for t, holders := range c.holders {
		var nearest holder
		for _, h := range holders {
			if h.standing >= warming && h.standing > nearest.standing {
				nearest = h
			}
		}
		if nearest.standing > without {
			bound[t] = nearest.member
		}
	}
	return bound
}
