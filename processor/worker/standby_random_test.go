package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// TestPlacesAtRandom moves two tasks between three members, as owners, standbys and warm-ups, while records come in:
// in order, or by losing the owner, and without waiting for what a member is doing. Every record counts once.
func TestPlacesAtRandom(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { placesAtRandom(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func placesAtRandom(t *testing.T, rnd *rand.Rand) {
	c := newCluster()
	members := make([]*member, 3)
	for i := range members {
		members[i], _ = newKeeper(t, c, topology.InMemory())
		members[i].start()
	}
	owner := [2]int{-1, -1}
	var sent [2][]string
	for range 30 {
		for p := range sent {
			for range rnd.IntN(4) {
				key := fmt.Sprintf("k%d", rnd.IntN(3))
				sent[p] = append(sent[p], key)
				c.produce(part("in", int32(p)), key)
			}
		}
		next := owner
		for p := range next {
			if rnd.IntN(3) > 0 {
				next[p] = rnd.IntN(len(members))
			}
		}
		follows := [3]assign.Assignment{}
		for p := range next {
			id := taskID(int32(p))
			for i := range members {
				if i != next[p] && rnd.IntN(2) == 0 {
					follows[i].Standby = append(follows[i].Standby, id)
				} else if i != next[p] && rnd.IntN(3) == 0 {
					follows[i].Warmup = append(follows[i].Warmup, id)
				}
			}
		}
		// First all let go of what goes elsewhere, then the others get it: the cooperative protocol.
		for i, m := range members {
			if rnd.IntN(8) == 0 {
				m.manager.Lost(errSomething)
			}
			a := follows[i]
			a.Standby = slices.DeleteFunc(slices.Clone(a.Standby), func(id record.TaskID) bool { return rnd.IntN(2) == 0 })
			for p := range next {
				if owner[p] == i && next[p] == i {
					a.Tasks = append(a.Tasks, taskID(int32(p)))
				}
			}
			m.assigned(a)
		}
		for i, m := range members {
			for p := range next {
				if next[p] == i {
					follows[i].Tasks = append(follows[i].Tasks, taskID(int32(p)))
				}
			}
			m.assigned(follows[i])
		}
		owner = next
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
		if rnd.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	for p := range owner {
		if owner[p] < 0 {
			owner[p] = 0
		}
	}
	for i, m := range members {
		a := assign.Assignment{}
		for p := range owner {
			id := taskID(int32(p))
			if owner[p] == i {
				a.Tasks = append(a.Tasks, id)
			} else {
				a.Standby = append(a.Standby, id)
			}
		}
		m.assigned(a)
	}
	until(t, "all is counted", func() bool {
		return c.committed(in0) == int64(len(sent[0])) && c.committed(in1) == int64(len(sent[1]))
	})
	for p := range sent {
		want := make(map[string]int64)
		for _, k := range sent[p] {
			want[k]++
		}
		for i, m := range members {
			if i != owner[p] {
				m.has(taskID(int32(p)), want)
			}
		}
	}
	require.ElementsMatch(t, append(counted(sent[0]), counted(sent[1])...), c.read(out0))
	for _, m := range members {
		require.Empty(t, m.failures)
		require.NoError(t, m.close(true))
	}
}
