package integration

import (
	"fmt"
	"testing"
)

// awaitSettled waits until these instances, which are all that there are and have as many workers each, run n tasks
// together and keep them: none is on its way, and none will be, since they are spread as the assignment spreads them.
//
// That all tasks run says less. An instance that has just come runs some of its share when it still warms up for the
// rest, and those move within the next second: a checkpoint is declined then, and a query is asked elsewhere.
func awaitSettled(t *testing.T, n int, apps ...*app) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d tasks that stay where they are", n), func() bool { return settled(t, n, apps) })
}

func settled(t *testing.T, n int, apps []*app) bool {
	type span struct{ least, most int }
	total, all := 0, span{least: n}
	bySubtopology := make([]map[int32]int, len(apps))
	for i, a := range apps {
		s, ok := a.restored()
		if !ok {
			return false
		}
		for _, standby := range s.Standbys {
			if standby.WarmUp {
				return false
			}
		}
		bySubtopology[i] = make(map[int32]int)
		for _, w := range s.Workers {
			for _, task := range w.Tasks {
				bySubtopology[i][task.ID.Subtopology]++
			}
		}
		total += s.Running
		all = span{min(all.least, s.Running), max(all.most, s.Running)}
	}
	if total != n || all.most-all.least > 1 {
		return false
	}
	for _, counts := range bySubtopology {
		for subtopology := range counts {
			of := span{least: n}
			for _, other := range bySubtopology {
				of = span{min(of.least, other[subtopology]), max(of.most, other[subtopology])}
			}
			if of.most-of.least > 1 {
				return false
			}
		}
	}
	return true
}
