package assign

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestPlaceLeaving(t *testing.T) {
	t.Parallel()
	o := Options{Stateful: everyTask, MaxWarmups: 2, StandbyReplicas: 1}
	members := []Member{
		{ID: "a", ProcessID: "a", Owned: parse(t, "0_0 0_1 0_2 0_3"), Leaving: true},
		{ID: "b", ProcessID: "b", Owned: parse(t, "0_4 0_5")},
		{
			ID: "c", ProcessID: "c", Owned: parse(t, "0_6 0_7"), Previous: parse(t, "0_3"), Following: parse(t, "0_3"),
			Ready: parse(t, "0_3"),
		},
	}
	p, err := Place(tasksOf(8), members, o)
	require.NoError(t, err)
	require.Equal(t, parse(t, "0_0 0_1 0_2"), p.Active["a"], "what nobody can take yet")
	require.Equal(t, parse(t, "0_3 0_6 0_7"), p.Active["c"], "what its standby can take goes at once")
	require.Equal(t, 3, p.Waiting)
	require.Len(t, slices.Concat(p.Warmup["b"], p.Warmup["c"]), 2+1, "two, and the standby until it has the task")
	require.Empty(t, p.Warmup["a"])
	require.Empty(t, p.Standby["a"])
	require.Len(t, slices.Concat(p.Standby["b"], p.Standby["c"]), 8, "one of the two warms up, the other has a copy")

	members[1].Leaving, members[2].Leaving = true, true
	p, err = Place(tasksOf(8), members, o)
	require.NoError(t, err)
	require.Equal(t, parse(t, "0_0 0_1 0_2"), p.Active["a"], "nobody stays: they are as good as ever")
	require.True(t, NobodyStays(members))
}

// TestRandomClustersLose: some members of a cluster leave. In a bounded number of rounds they have no task any more,
// the others are balanced, and nothing has moved between those.
func TestRandomClustersLose(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		n, partitions := 2+r.IntN(6), 1+r.Int32N(40)
		tasks := tasksOf(partitions)
		o := Options{Stateful: everyTask, MaxWarmups: 1 + r.IntN(4)}
		members := make([]Member, n)
		for i := range members {
			id := string(rune('a' + i))
			members[i] = Member{ID: id, ProcessID: id, Workers: 1 + r.IntN(3)}
		}
		at, err := Place(tasks, members, Options{})
		require.NoError(t, err)
		leaving := 1 + r.IntN(n-1)
		before := make(map[string][]record.TaskID)
		for i := range members {
			members[i].Owned, members[i].Leaving = at.Active[members[i].ID], i < leaving
			before[members[i].ID] = members[i].Owned
		}
		rounds := 0
		for gone := false; !gone; rounds++ {
			require.Less(t, rounds, int(2*partitions+3), "seed %d: it does not come to an end", seed)
			p, err := Place(tasks, members, o)
			require.NoError(t, err)
			now, _ := Withhold(p.Active, members)
			gone = true
			for i := range members {
				m := &members[i]
				m.Owned, m.Previous, m.Following = now[m.ID], p.Warmup[m.ID], p.Warmup[m.ID]
				m.Warming, m.Ready = p.Warmup[m.ID], p.Warmup[m.ID] // they catch up in between
				if m.Leaving {
					require.Empty(t, p.Warmup[m.ID], "seed %d", seed)
					gone = gone && len(m.Owned) == 0
					continue
				}
				for _, id := range before[m.ID] {
					require.Contains(t, m.Owned, id, "seed %d: a task moved between members that stay", seed)
				}
			}
		}
		stay := slices.Clone(members[leaving:])
		all := 0
		for i := range stay {
			all += len(stay[i].Owned)
		}
		p, err := Place(tasks, stay, o)
		require.NoError(t, err)
		require.Zero(t, p.Waiting, "seed %d: balanced without them", seed)
		require.LessOrEqual(t, all, int(partitions), "seed %d", seed)
		require.Len(t, slices.Concat(slices.Collect(maps.Values(p.Active))...), int(partitions), "seed %d", seed)
	}
}
