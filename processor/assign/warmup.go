package assign

import (
	"cmp"
	"slices"
)

// warmUp decides which tasks go to their target now, and which targets warm up first. A task with state stays with its
// owner until its target has caught up and has its stores open: opening and checking what lies on the disk takes time,
// which the task does not have between its owners. So many warm up at a time as the options allow: those that do
// already come first, then those that lack the least. warmups is -1 for a task without; waiting is how many tasks wait
// for a warm-up that is under way or has not begun.
func (c *cluster) warmUp(target []int) (active, warmups []int, waiting int) {
	active, warmups = slices.Clone(target), make([]int, len(c.tasks))
	var wait []int
	at := make([]holder, len(c.tasks))
	for t, i := range c.owner {
		warmups[t] = -1
		if i < 0 || i == target[t] || !c.stateful[t] || c.MaxWarmups <= 0 {
			continue
		}
		if at[t] = c.holder(t, target[t]); !at[t].ready() || !at[t].open {
			active[t] = i
			wait = append(wait, t)
		}
	}
	slices.SortStableFunc(wait, func(a, b int) int {
		return cmp.Or(cmp.Compare(at[b].standing, at[a].standing), cmp.Compare(at[a].lag, at[b].lag))
	})
	for _, t := range wait[:min(len(wait), c.MaxWarmups)] {
		warmups[t] = target[t]
	}
	return active, warmups, len(wait)
}
