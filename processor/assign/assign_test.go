package assign

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func id(sub, part int32) record.TaskID { return record.TaskID{Subtopology: sub, Partition: part} }

func tasksOf(partitions ...int32) []record.TaskID {
	var ids []record.TaskID
	for s, n := range partitions {
		for p := range n {
			ids = append(ids, id(int32(s), p))
		}
	}
	return ids
}

func parse(t *testing.T, list string) []record.TaskID {
	t.Helper()
	var ids []record.TaskID
	for s := range strings.FieldsSeq(list) {
		got, err := record.ParseTaskID(s)
		require.NoError(t, err)
		ids = append(ids, got)
	}
	return ids
}

func format(a map[string][]record.TaskID) string {
	var b strings.Builder
	for _, m := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, "%s:%v ", m, a[m])
	}
	return strings.TrimSpace(b.String())
}

func TestAssign(t *testing.T) {
	type in struct {
		id, owned, previous string
		workers             int
	}
	for _, tc := range []struct {
		name    string
		tasks   []record.TaskID
		members []in
		want    string
	}{
		{"nobody", tasksOf(2), nil, ""},
		{"no tasks", nil, []in{{id: "a"}}, "a:[]"},
		{"one member takes all", tasksOf(2, 1), []in{{id: "a"}}, "a:[0_0 0_1 1_0]"},
		{"each sub-topology is spread", tasksOf(2, 2), []in{{id: "a"}, {id: "b"}}, "a:[0_0 1_0] b:[0_1 1_1]"},
		{
			"odd sub-topologies do not pile up on one member", tasksOf(1, 1, 1, 1),
			[]in{{id: "a"}, {id: "b"}},
			"a:[0_0 1_0] b:[2_0 3_0]",
		},
		{
			"what runs stays", tasksOf(4),
			[]in{{id: "a", owned: "0_2 0_3"}, {id: "b", owned: "0_0 0_1"}},
			"a:[0_2 0_3] b:[0_0 0_1]",
		},
		{
			"a new member gets only its share", tasksOf(4),
			[]in{{id: "a", owned: "0_0 0_1 0_2 0_3"}, {id: "b"}},
			"a:[0_0 0_1] b:[0_2 0_3]",
		},
		{
			"the odd task stays where it runs", tasksOf(3),
			[]in{{id: "a"}, {id: "b", owned: "0_1 0_2"}},
			"a:[0_0] b:[0_1 0_2]",
		},
		{
			"local state attracts", tasksOf(4),
			[]in{{id: "a", previous: "0_1 0_3"}, {id: "b", previous: "0_0 0_2"}},
			"a:[0_1 0_3] b:[0_0 0_2]",
		},
		{
			"state at two members is matched, not grabbed", tasksOf(2),
			[]in{{id: "a", previous: "0_0 0_1"}, {id: "b", previous: "0_0"}},
			"a:[0_1] b:[0_0]",
		},
		{
			"running beats state", tasksOf(2),
			[]in{{id: "a", owned: "0_0"}, {id: "b", previous: "0_0"}},
			"a:[0_0] b:[0_1]",
		},
		{
			"weights", tasksOf(6),
			[]in{{id: "a", workers: 2}, {id: "b", workers: 1}},
			"a:[0_0 0_2 0_3 0_5] b:[0_1 0_4]",
		},
		{
			"hand-over prefers a member with state", tasksOf(4),
			[]in{{id: "a", owned: "0_0 0_1 0_2 0_3"}, {id: "b", previous: "0_0 0_1"}},
			"a:[0_2 0_3] b:[0_0 0_1]",
		},
		{
			"claims to tasks that are gone do not count", tasksOf(2),
			[]in{{id: "a", owned: "5_0 5_1 0_1"}, {id: "b", previous: "7_7"}},
			"a:[0_1] b:[0_0]",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var members []Member
			for _, m := range tc.members {
				members = append(members, Member{
					ID: m.id, Owned: parse(t, m.owned), Previous: parse(t, m.previous), Workers: m.workers,
				})
			}
			got, err := Assign(tc.tasks, members)
			require.NoError(t, err)
			require.Equal(t, tc.want, format(got))
			slices.Reverse(members)
			again, err := Assign(tc.tasks, members)
			require.NoError(t, err)
			require.Equal(t, got, again, "the order of members must not matter")
		})
	}
}

func TestAssignRefusesMixedTopologies(t *testing.T) {
	_, err := Assign(tasksOf(2), []Member{
		{ID: "m1", InstanceID: "one", Fingerprint: "v1"}, {ID: "m2", Fingerprint: "v2"}, {ID: "m3", Fingerprint: "v1"},
	})
	var mixed *MixedTopologyError
	require.ErrorAs(t, err, &mixed)
	require.Equal(t, map[string][]string{"v1": {"m3", "one"}, "v2": {"m2"}}, mixed.Members)
	require.ErrorContains(t, err, `m3, one on "v1"; m2 on "v2"`)
}

func TestAdmit(t *testing.T) {
	owned := []record.TaskID{id(0, 0)}
	for name, tc := range map[string]struct {
		members []Member
		want    string
		ids     []string
	}{
		"all agree": {
			[]Member{{ID: "a", Fingerprint: "v1"}, {ID: "b", Fingerprint: "v1"}}, "v1", []string{"a", "b"},
		},
		"nobody owns: leader": {[]Member{{ID: "a", Fingerprint: "v2"}, {ID: "b", Fingerprint: "v1"}}, "v2", []string{"a"}},
		"owners, not the leader": {[]Member{
			{ID: "a", Fingerprint: "v2"}, {ID: "b", Fingerprint: "v1", Owned: owned}, {ID: "c", Fingerprint: "v1"},
		}, "v1", []string{"b", "c"}},
		"a draw: leader": {[]Member{
			{ID: "a", Fingerprint: "v2", Owned: owned}, {ID: "b", Fingerprint: "v1", Owned: owned},
		}, "v2", []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			admitted, fingerprint, mixed := Admit(tc.members, "a")
			require.Equal(t, tc.want, fingerprint)
			var ids []string
			for _, m := range admitted {
				ids = append(ids, m.ID)
			}
			require.Equal(t, tc.ids, ids)
			require.Equal(t, len(tc.ids) < len(tc.members), mixed != nil)
		})
	}
	require.ErrorContains(t, &MixedTopologyError{Reason: "why"}, "the group refuses this member: why")
}

func TestWithhold(t *testing.T) {
	target := map[string][]record.TaskID{"a": {id(0, 0)}, "b": {id(0, 1), id(0, 2)}, "c": {id(0, 3)}}
	members := []Member{
		{ID: "a", Owned: []record.TaskID{id(0, 0), id(0, 1)}, Generation: 5},
		{ID: "b", Owned: []record.TaskID{id(0, 2), id(0, 3)}, Generation: 5},
		{ID: "c", Owned: []record.TaskID{id(0, 0), id(0, 3)}, Generation: 4}, // a zombie's claims
	}
	now, waiting := Withhold(target, members)
	require.Equal(t, map[string][]record.TaskID{"a": {id(0, 0)}, "b": {id(0, 2)}, "c": nil}, now)
	require.Equal(t, []record.TaskID{id(0, 1), id(0, 3)}, waiting)
}

func TestWithholdTakesADisputedTaskFromBoth(t *testing.T) {
	members := []Member{
		{ID: "a", Owned: []record.TaskID{id(0, 0)}, Generation: 5},
		{ID: "b", Owned: []record.TaskID{id(0, 0)}, Generation: 5},
	}
	target, err := Assign(tasksOf(1), members)
	require.NoError(t, err)
	now, waiting := Withhold(target, members)
	require.Equal(t, map[string][]record.TaskID{"a": nil, "b": nil}, now)
	require.Equal(t, []record.TaskID{id(0, 0)}, waiting)
}

func TestTasks(t *testing.T) {
	tasks, err := Tasks([]Subtopology{
		{ID: 1, Topics: map[string]int32{"b": 1, "a": 2}}, {ID: 0, Topics: map[string]int32{"a": 2}},
	})
	require.NoError(t, err)
	require.Equal(t, "[{0_0 [a-0]} {0_1 [a-1]} {1_0 [a-0 b-0]} {1_1 [a-1]}]", fmt.Sprint(tasks))
	require.Equal(t, "[a-0 b-0]", fmt.Sprint(Partitions(tasks, []record.TaskID{id(0, 0), id(1, 0), id(9, 9)})))
	require.Len(t, IDs(tasks), 4)

	_, err = Tasks([]Subtopology{{ID: 3, Topics: map[string]int32{"gone": 0}}})
	require.ErrorContains(t, err, `source topic "gone" of sub-topology 3 does not exist`)
}

// newSeed takes the seed from TIDEMARK_SEED, where "random" draws one, and prints it, so that a failure can be
// repeated.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv("TIDEMARK_SEED"); s == "random" {
		seed = rand.Uint64()
	} else if s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("repeat with TIDEMARK_SEED=%d", seed)
	return seed
}

// newRand returns a source of its own, see [newSeed].
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(newSeed(t), 0))
}

// requireBalanced checks both roundings and that every task is somewhere exactly once.
func requireBalanced(t *testing.T, tasks []record.TaskID, members []Member, a map[string][]record.TaskID) {
	t.Helper()
	var weights int64
	for i := range members {
		weights += members[i].weight()
	}
	bySub := groupBySubtopology(tasks)
	var all []record.TaskID
	for i := range members {
		m := &members[i]
		all = append(all, a[m.ID]...)
		requireShare(t, len(a[m.ID]), int64(len(tasks))*m.weight(), weights, "%s in total", m.ID)
		for _, sub := range bySub {
			n := 0
			for _, task := range a[m.ID] {
				if task.Subtopology == sub[0].Subtopology {
					n++
				}
			}
			requireShare(t, n, int64(len(sub))*m.weight(), weights, "%s in sub-topology %d", m.ID, sub[0].Subtopology)
		}
	}
	slices.SortFunc(all, record.TaskID.Compare)
	require.Equal(t, tasks, all, "each task exactly once")
}

func requireShare(t *testing.T, n int, share, weights int64, msg string, args ...any) {
	t.Helper()
	floor := share / weights
	ceil := (share + weights - 1) / weights
	if int64(n) < floor || int64(n) > ceil { // called so often that the words count
		require.FailNow(t, fmt.Sprintf("%d tasks, want %d to %d", n, floor, ceil), append([]any{msg}, args...)...)
	}
}

// fewTasks draws so few tasks that all ways to place them can be tried.
func fewTasks(r *rand.Rand, partitions int) (tasks []record.TaskID) {
	for s := range 1 + r.IntN(3) {
		for p := range 1 + r.IntN(partitions) {
			tasks = append(tasks, id(int32(s), int32(p)))
		}
	}
	return tasks[:min(len(tasks), 7)]
}

// TestAssignMovesTheLeast compares the flow with trying every balanced assignment of a small cluster.
func TestAssignMovesTheLeast(t *testing.T) {
	r := newRand(t)
	for range 400 {
		tasks := fewTasks(r, 3)
		members := make([]Member, 2+r.IntN(2))
		for i := range members {
			members[i] = Member{ID: string(rune('a' + i)), Workers: 1 + r.IntN(3)}
		}
		owner := make(map[record.TaskID]string)
		for _, task := range tasks {
			if r.IntN(4) > 0 {
				m := &members[r.IntN(len(members))]
				m.Owned = append(m.Owned, task)
				owner[task] = m.ID
			}
		}
		got, err := Assign(tasks, members)
		require.NoError(t, err)
		requireBalanced(t, tasks, members, got)
		require.Equal(t, mostKept(tasks, members, owner), kept(got, owner), "%v\n%+v\n%s", tasks, members, format(got))
	}
}

func kept(a map[string][]record.TaskID, owner map[record.TaskID]string) int {
	n := 0
	for m, tasks := range a {
		for _, task := range tasks {
			if owner[task] == m {
				n++
			}
		}
	}
	return n
}

// mostKept is the dumb algorithm: of all assignments that are balanced, the one that keeps the most.
func mostKept(tasks []record.TaskID, members []Member, owner map[record.TaskID]string) int {
	var weights int64
	for i := range members {
		weights += members[i].weight()
	}
	subs := make(map[int32]int64)
	for _, task := range tasks {
		subs[task.Subtopology]++
	}
	fits := func(n int, share int64, full bool) bool {
		return int64(n) <= (share+weights-1)/weights && (!full || int64(n) >= share/weights)
	}
	total := make([]int, len(members))
	perSub := make([]map[int32]int, len(members))
	for i := range perSub {
		perSub[i] = make(map[int32]int)
	}
	best := -1
	var try func(n, keeps int)
	try = func(n, keeps int) {
		full := n == len(tasks)
		for i := range members {
			if !fits(total[i], int64(len(tasks))*members[i].weight(), full) {
				return
			}
			for s, count := range subs {
				if !fits(perSub[i][s], count*members[i].weight(), full) {
					return
				}
			}
		}
		if full {
			best = max(best, keeps)
			return
		}
		for i := range members {
			total[i]++
			perSub[i][tasks[n].Subtopology]++
			k := keeps
			if owner[tasks[n]] == members[i].ID {
				k++
			}
			try(n+1, k)
			total[i]--
			perSub[i][tasks[n].Subtopology]--
		}
	}
	try(0, 0)
	return best
}

// TestRandomClustersConverge plays the group: members come, go and crash; each round is a join in which everybody
// claims what it runs. No task may ever run twice, and two rounds without a change of members must settle everything.
func TestRandomClustersConverge(t *testing.T) {
	r := newRand(t)
	var history []string
	defer func() {
		if t.Failed() {
			t.Log("history:\n" + strings.Join(history, "\n"))
		}
	}()
	for range 60 {
		history = history[:0]
		var partitions []int32
		for range 1 + r.IntN(5) {
			partitions = append(partitions, 1+int32(r.IntN(20)))
		}
		tasks := tasksOf(partitions...)
		members := make(map[string]*Member)
		generation, next := int32(0), 0
		join := func() {
			m := &Member{ID: fmt.Sprintf("m%02d", next), Workers: 1 + r.IntN(4)}
			m.ProcessID = m.ID
			members[m.ID] = m
			next++
		}
		join()
		for range 12 {
			switch n := r.IntN(4); {
			case n == 0 && len(members) > 1:
				gone := slices.Sorted(maps.Keys(members))[r.IntN(len(members))]
				history = append(history, "crash "+gone)
				delete(members, gone)
			case n < 3:
				join()
				history = append(history, "join")
			}
			rounds := 0
			for waiting := true; waiting; rounds++ {
				generation++
				list := make([]Member, 0, len(members))
				for _, name := range slices.Sorted(maps.Keys(members)) {
					list = append(list, *members[name])
				}
				target, err := Assign(tasks, list)
				require.NoError(t, err)
				requireBalanced(t, tasks, list, target)
				now, withheld := Withhold(target, list)
				history = append(history, fmt.Sprintf("%d: %s waiting %v", generation, format(now), withheld))
				runs := make(map[record.TaskID]string)
				for m, got := range now {
					for _, task := range got {
						if runs[task] != "" {
							require.FailNow(t, "runs twice", "%v at %s and %s", task, runs[task], m)
						}
						runs[task] = m
					}
				}
				for _, m := range members {
					for _, task := range m.Owned {
						if by, ok := runs[task]; ok && by != m.ID {
							require.FailNow(t, "starts before its owner gave it up", "%v of %s at %s", task, m.ID, by)
						}
					}
				}
				for name, m := range members {
					m.Owned, m.Generation = now[name], generation
					for _, task := range now[name] {
						if !slices.Contains(m.Previous, task) {
							m.Previous = append(m.Previous, task)
						}
					}
				}
				waiting = len(withheld) > 0
				require.Less(t, rounds, 2, "does not settle")
			}
		}
	}
}
