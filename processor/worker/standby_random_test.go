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

// places is a run of TestPlacesAtRandom.
type places struct {
	t       *testing.T
	rnd     *rand.Rand
	c       *cluster
	members [3]*member
	owner   [2]int // of each task, -1: nobody
	sent    [2][]string
}

func placesAtRandom(t *testing.T, rnd *rand.Rand) {
	p := &places{t: t, rnd: rnd, c: newCluster(), owner: [2]int{-1, -1}}
	for i := range p.members {
		p.members[i], _ = newKeeper(t, p.c, topology.InMemory())
		p.members[i].start()
	}
	for range 30 {
		p.send()
		p.rebalance()
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
		if rnd.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	p.settle()
	for id := range p.sent {
		want := make(map[string]int64)
		for _, k := range p.sent[id] {
			want[k]++
		}
		for i, m := range p.members {
			if i != p.owner[id] {
				m.has(taskID(int32(id)), want)
			}
		}
	}
	require.ElementsMatch(t, append(counted(p.sent[0]), counted(p.sent[1])...), p.c.read(out0))
	for _, m := range p.members {
		require.Empty(t, m.failures)
		require.NoError(t, m.close(true))
	}
}

func (p *places) send() {
	for id := range p.sent {
		for range p.rnd.IntN(4) {
			key := fmt.Sprintf("k%d", p.rnd.IntN(3))
			p.sent[id] = append(p.sent[id], key)
			p.c.produce(part("in", int32(id)), key)
		}
	}
}

// rebalance draws new places. First all let go of what goes elsewhere, then the others get it: cooperatively.
func (p *places) rebalance() {
	next := p.owner
	for id := range next {
		if p.rnd.IntN(3) > 0 {
			next[id] = p.rnd.IntN(len(p.members))
		}
	}
	follows := [3]assign.Assignment{}
	for i := range p.members {
		for id, owner := range next {
			switch {
			case i == owner:
			case p.rnd.IntN(2) == 0:
				follows[i].Standby = append(follows[i].Standby, taskID(int32(id)))
			case p.rnd.IntN(3) == 0:
				follows[i].Warmup = append(follows[i].Warmup, taskID(int32(id)))
			}
		}
	}
	for i, m := range p.members {
		if p.rnd.IntN(8) == 0 {
			m.manager.Lost(errSomething)
		}
		a := follows[i]
		a.Standby = slices.DeleteFunc(slices.Clone(a.Standby), func(record.TaskID) bool { return p.rnd.IntN(2) == 0 })
		for id := range next {
			if p.owner[id] == i && next[id] == i {
				a.Tasks = append(a.Tasks, taskID(int32(id)))
			}
		}
		m.assigned(a)
	}
	for i, m := range p.members {
		for id := range next {
			if next[id] == i {
				follows[i].Tasks = append(follows[i].Tasks, taskID(int32(id)))
			}
		}
		m.assigned(follows[i])
	}
	p.owner = next
}

// settle gives each task an owner, makes the others its standbys, and waits until everything is counted.
func (p *places) settle() {
	for i, m := range p.members {
		a := assign.Assignment{}
		for id := range p.owner {
			p.owner[id] = max(p.owner[id], 0)
			if p.owner[id] == i {
				a.Tasks = append(a.Tasks, taskID(int32(id)))
			} else {
				a.Standby = append(a.Standby, taskID(int32(id)))
			}
		}
		m.assigned(a)
	}
	until(p.t, "all is counted", func() bool {
		return p.c.committed(in0) == int64(len(p.sent[0])) && p.c.committed(in1) == int64(len(p.sent[1]))
	})
}
