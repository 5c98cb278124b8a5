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

func everyTask(record.TaskID) bool { return true }

// parsePositions reads "0_1=30": local state up to position 30; "0_1": local state, position unknown.
func parsePositions(t *testing.T, list string) (previous []record.TaskID, positions map[record.TaskID]int64) {
	t.Helper()
	positions = make(map[record.TaskID]int64)
	for s := range strings.FieldsSeq(list) {
		name, at, known := strings.Cut(s, "=")
		task := parse(t, name)[0]
		previous = append(previous, task)
		if known {
			var position int64
			_, err := fmt.Sscan(at, &position)
			require.NoError(t, err)
			positions[task] = position
		}
	}
	return previous, positions
}

func TestPlace(t *testing.T) {
	type in struct {
		id, owned, state, following, warming, ready, zone string

		new bool
	}
	for _, tc := range []struct {
		name                      string
		tasks                     []record.TaskID
		standbys                  int
		members                   []in
		active, standby, warmup   string
		waiting                   int
		stateless, noEnds, noTags bool
		noWarmups                 bool
	}{
		{
			name: "a task stays with its owner while the new one warms up", tasks: tasksOf(4),
			members: []in{{id: "a", owned: "0_0 0_1 0_2 0_3"}, {id: "b"}},
			active:  "a:[0_0 0_1 0_2 0_3] b:[]", warmup: "a:[] b:[0_2 0_3]", waiting: 2,
		},
		{
			name: "so many warm up at a time", tasks: tasksOf(8),
			members: []in{{id: "a", owned: "0_0 0_1 0_2 0_3 0_4 0_5 0_6 0_7"}, {id: "b"}},
			active:  "a:[0_0 0_1 0_2 0_3 0_4 0_5 0_6 0_7] b:[]", warmup: "a:[] b:[0_4 0_5]", waiting: 4,
		},
		{
			name: "a warm-up that has caught up gets its task, and goes on until it is handed over", tasks: tasksOf(4),
			members: []in{
				{id: "a", owned: "0_0 0_1 0_2 0_3"},
				{id: "b", state: "0_2=995 0_3=10", following: "0_2 0_3", warming: "0_2 0_3"},
			},
			active: "a:[0_0 0_1 0_3] b:[0_2]", warmup: "a:[] b:[0_2 0_3]", waiting: 1,
		},
		{
			name: "a warm-up that says it is ready gets its task, however fast its changelog grows", tasks: tasksOf(2),
			members: []in{
				{id: "a", owned: "0_0 0_1"}, {id: "b", state: "0_1=10", following: "0_1", warming: "0_1", ready: "0_1"},
			},
			active: "a:[0_0] b:[0_1]", warmup: "a:[] b:[0_1]",
		},
		{
			name: "nobody has caught up while the ends are unknown", tasks: tasksOf(2), noEnds: true,
			members: []in{{id: "a", owned: "0_0 0_1"}, {id: "b", state: "0_1=1000", following: "0_1", warming: "0_1"}},
			active:  "a:[0_0 0_1] b:[]", warmup: "a:[] b:[0_1]", waiting: 1,
		},
		{
			name: "a task without state moves at once", tasks: tasksOf(2), stateless: true,
			members: []in{{id: "a", owned: "0_0 0_1"}, {id: "b"}},
			active:  "a:[0_0] b:[0_1]", warmup: "a:[] b:[]",
		},
		{
			name: "without warm-ups tasks move at once", tasks: tasksOf(2), noWarmups: true,
			members: []in{{id: "a", owned: "0_0 0_1"}, {id: "b"}},
			active:  "a:[0_0] b:[0_1]", warmup: "a:[] b:[]",
		},
		{
			name: "local state that is near enough is opened before the task moves", tasks: tasksOf(2),
			members: []in{{id: "a", owned: "0_0 0_1"}, {id: "b", state: "0_0=991"}},
			active:  "a:[0_0 0_1] b:[]", warmup: "a:[] b:[0_0]", waiting: 1,
		},
		{
			name: "a warm-up in progress is finished, though a standby has caught up", tasks: tasksOf(2),
			members: []in{
				{id: "a", owned: "0_0 0_1"}, {id: "b", state: "0_0=1000 0_1=3", following: "0_0 0_1", warming: "0_1"},
			},
			active: "a:[0_0 0_1] b:[]", warmup: "a:[] b:[0_1]", waiting: 1,
		},
		{
			name: "a task that nobody runs starts where a standby is, beyond its share", tasks: tasksOf(4),
			members: []in{
				{id: "a", owned: "0_0 0_1", state: "0_2=1000 0_3=1000", following: "0_2 0_3"}, {id: "b"},
			},
			active: "a:[0_0 0_1 0_2 0_3] b:[]", warmup: "a:[] b:[0_2 0_3]", waiting: 2,
		},
		{
			name: "of several standbys the one that lacks the least takes over", tasks: tasksOf(3),
			members: []in{
				{id: "a", owned: "0_0", state: "0_2=100", following: "0_2"},
				{id: "b", owned: "0_1", state: "0_2=200", following: "0_2"},
				{id: "c"},
			},
			active: "a:[0_0] b:[0_1 0_2] c:[]", warmup: "a:[] b:[] c:[0_2]", waiting: 1,
		},
		{
			name: "who comes back gets what it has run, though there are standbys", tasks: tasksOf(5), standbys: 1,
			members: []in{
				{id: "a", state: "0_0=1000 0_1=1000 0_2=1000", new: true},
				{id: "b", owned: "0_3 0_4", state: "0_0=1000 0_1=1000 0_2=1000", following: "0_0 0_1 0_2"},
			},
			active:  "a:[0_0 0_1 0_2] b:[0_3 0_4]",
			standby: "a:[0_3 0_4] b:[0_0 0_1 0_2]", warmup: "a:[] b:[]",
		},
		{
			name: "the first members share what nobody has state of", tasks: tasksOf(4), standbys: 1,
			members: []in{{id: "a"}, {id: "b"}},
			active:  "a:[0_0 0_2] b:[0_1 0_3]", standby: "a:[0_1 0_3] b:[0_0 0_2]", warmup: "a:[] b:[]",
		},
		{
			name: "no standby beside a single member", tasks: tasksOf(1), standbys: 2, members: []in{{id: "a"}},
			active: "a:[0_0]", standby: "a:[]", warmup: "a:[]",
		},
		{
			name: "standbys are where neither the owner nor the warm-up is", tasks: tasksOf(2), standbys: 2,
			members: []in{{id: "a", owned: "0_0 0_1"}, {id: "b"}, {id: "c"}},
			active:  "a:[0_0 0_1] b:[] c:[]", standby: "a:[] b:[0_0] c:[0_0 0_1]", warmup: "a:[] b:[0_1] c:[]", waiting: 1,
		},
		{
			name: "standbys stay where they are", tasks: tasksOf(3), standbys: 1,
			members: []in{
				{id: "a", owned: "0_0", following: "0_2"},
				{id: "b", owned: "0_1", following: "0_0"},
				{id: "c", owned: "0_2", following: "0_1"},
			},
			active: "a:[0_0] b:[0_1] c:[0_2]", standby: "a:[0_2] b:[0_0] c:[0_1]", warmup: "a:[] b:[] c:[]",
		},
		{
			name: "standbys are in another zone, though one is in the same", tasks: tasksOf(2), standbys: 1,
			members: []in{
				{id: "a", owned: "0_0", zone: "x", following: "0_1"},
				{id: "b", owned: "0_1", zone: "x", following: "0_0"},
				{id: "c", zone: "y"},
			},
			active: "a:[0_0] b:[0_1] c:[]", standby: "a:[] b:[] c:[0_0 0_1]", warmup: "a:[] b:[] c:[]",
		},
		{
			name: "without tags they are anywhere", tasks: tasksOf(2), standbys: 1, noTags: true,
			members: []in{
				{id: "a", owned: "0_0", zone: "x", following: "0_1"},
				{id: "b", owned: "0_1", zone: "x", following: "0_0"},
				{id: "c", zone: "y"},
			},
			active: "a:[0_0] b:[0_1] c:[]", standby: "a:[0_1] b:[0_0] c:[]", warmup: "a:[] b:[] c:[]",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{
				Stateful: everyTask, AcceptableLag: 10, StandbyReplicas: tc.standbys, MaxWarmups: 2, RackTags: []string{"zone"},
				Ends: make(map[record.TaskID]int64),
			}
			for _, task := range tc.tasks {
				o.Ends[task] = 1000
			}
			if tc.noEnds {
				o.Ends = nil
			}
			if tc.noTags {
				o.RackTags = nil
			}
			if tc.stateless {
				o.Stateful = nil
			}
			if tc.noWarmups {
				o.MaxWarmups = 0
			}
			var members []Member
			for _, m := range tc.members {
				previous, positions := parsePositions(t, m.state)
				generation := int32(5)
				if m.new {
					generation = -1
				}
				members = append(members, Member{
					ID: m.id, Owned: parse(t, m.owned), Previous: previous, Positions: positions, Generation: generation,
					Following: parse(t, m.following), Warming: parse(t, m.warming), Ready: parse(t, m.ready),
					Tags: map[string]string{"zone": m.zone},
				})
			}
			p, err := Place(tc.tasks, members, o)
			require.NoError(t, err)
			require.Equal(t, tc.active, format(p.Active))
			require.Equal(t, tc.warmup, format(p.Warmup), "warm-ups")
			require.Equal(t, tc.waiting, p.Waiting)
			if tc.standbys > 0 {
				require.Equal(t, tc.standby, format(p.Standby), "standbys")
			}
			slices.Reverse(members)
			again, err := Place(tc.tasks, members, o)
			require.NoError(t, err)
			require.Equal(t, p, again, "the order of members must not matter")
		})
	}
}

func TestPlaceRefusesMixedTopologies(t *testing.T) {
	_, err := Place(tasksOf(1), []Member{{ID: "a", Fingerprint: "v1"}, {ID: "b", Fingerprint: "v2"}}, Options{})
	var mixed *MixedTopologyError
	require.ErrorAs(t, err, &mixed)
}

// peer is a member of a cluster that is played.
type peer struct {
	Member
	state     map[record.TaskID]int64 // positions of what is not owned
	following map[record.TaskID]bool  // true: a warm-up
	caughtUp  map[record.TaskID]bool  // of following, by its own measure
}

// play is a cluster in which members come and go, and state is restored and written to.
type play struct {
	t          *testing.T
	r          *rand.Rand
	o          Options
	tasks      []record.TaskID
	peers      map[string]*peer
	generation int32
	next       int
	moves      int // tasks that left an owner that is still there
	last       Placement
	history    []noted
}

// noted is put into words if the test fails: most of a test's time went there.
type noted struct {
	format string
	args   []any
}

func (n noted) String() string { return fmt.Sprintf(n.format, n.args...) }

// placed are tasks by member, in the order of their names.
type placed map[string][]record.TaskID

func (p placed) String() string { return format(p) }

// note remembers what happened. Nobody may change the arguments afterwards.
func (p *play) note(format string, args ...any) {
	p.history = append(p.history, noted{format, args})
}

func newPlay(t *testing.T, r *rand.Rand) *play {
	t.Helper()
	var partitions []int32
	for range 1 + r.IntN(4) {
		partitions = append(partitions, 1+int32(r.IntN(20)))
	}
	p := &play{t: t, r: r, tasks: tasksOf(partitions...), peers: make(map[string]*peer)}
	stateless := int32(r.IntN(6))
	p.o = Options{
		Stateful:      func(id record.TaskID) bool { return id.Subtopology != stateless },
		AcceptableLag: int64(r.IntN(100)), StandbyReplicas: r.IntN(3), MaxWarmups: 1 + r.IntN(4),
		Ends: make(map[record.TaskID]int64),
	}
	if r.IntN(2) == 0 {
		p.o.RackTags = []string{"zone", "rack"}[:1+r.IntN(2)]
	}
	for _, task := range p.tasks {
		p.o.Ends[task] = int64(r.IntN(10_000))
	}
	p.note("tasks %v, %d standbys, %d warm-ups, tags %v", partitions, p.o.StandbyReplicas, p.o.MaxWarmups, p.o.RackTags)
	return p
}

func (p *play) join(weight int) {
	id := fmt.Sprintf("m%02d", p.next)
	p.next++
	p.peers[id] = &peer{
		Member: Member{
			ID: id, ProcessID: id, Workers: weight, Generation: -1,
			Tags: map[string]string{"zone": string(rune('a' + p.r.IntN(3))), "rack": string(rune('a' + p.r.IntN(4)))},
		},
		state: make(map[record.TaskID]int64), following: make(map[record.TaskID]bool),
		caughtUp: make(map[record.TaskID]bool),
	}
	p.note("%s joins, weight %d, %v", id, weight, p.peers[id].Tags)
}

// leave removes a random member; a member that closes leaves nothing behind either, but it may come back.
func (p *play) leave() (gone *peer) {
	id := slices.Sorted(maps.Keys(p.peers))[p.r.IntN(len(p.peers))]
	gone = p.peers[id]
	delete(p.peers, id)
	p.note("%s leaves", id)
	return gone
}

// back lets a member return with its local state, as after a restart.
func (p *play) back(q *peer) {
	for _, task := range q.Owned {
		q.state[task] = p.o.Ends[task]
	}
	q.Owned, q.Generation, q.following, q.caughtUp = nil, -1, make(map[record.TaskID]bool), make(map[record.TaskID]bool)
	p.peers[q.ID] = q
	p.note("%s is back", q.ID)
}

func (p *play) members() []Member {
	list := make([]Member, 0, len(p.peers))
	for _, id := range slices.Sorted(maps.Keys(p.peers)) {
		m := p.peers[id].Member
		m.Positions = p.peers[id].state
		m.Previous = append(slices.Clone(m.Owned), slices.SortedFunc(maps.Keys(m.Positions), record.TaskID.Compare)...)
		for task, warming := range p.peers[id].following {
			m.Following = append(m.Following, task)
			if warming {
				m.Warming = append(m.Warming, task)
			}
			if p.peers[id].caughtUp[task] {
				m.Ready = append(m.Ready, task)
			}
		}
		list = append(list, m)
	}
	return list
}

// rebalance lets everybody join, checks what is placed, and carries it out. changed: somebody came or left.
func (p *play) rebalance(changed bool) (handOver bool) {
	p.generation++
	members := p.members()
	moves, least := p.moves, p.leastMoves()
	to, err := Place(p.tasks, members, p.o)
	require.NoError(p.t, err)
	now, withheld := Withhold(to.Active, members)
	p.note("%d: active %s; standby %s; warm-up %s; %d waiting; withheld %v",
		p.generation, placed(to.Active), placed(to.Standby), placed(to.Warmup), to.Waiting, withheld)
	p.check(to, now)
	for id, q := range p.peers {
		for task, warming := range q.following {
			if warming && !changed && !slices.Contains(to.Warmup[id], task) && !slices.Contains(to.Active[id], task) {
				require.Fail(p.t, "a warm-up is given up", "%v at %s", task, id)
			}
		}
		for _, task := range q.Owned {
			if !slices.Contains(now[id], task) {
				p.moves++
				q.state[task] = p.o.Ends[task]
			}
		}
		q.Owned, q.Generation = now[id], p.generation
		for _, task := range q.Owned {
			delete(q.state, task)
		}
		q.following = make(map[record.TaskID]bool)
		for _, task := range to.Standby[id] {
			q.following[task] = false
		}
		for _, task := range to.Warmup[id] {
			q.following[task] = true
		}
		for task := range q.following {
			if _, ok := q.state[task]; !ok {
				q.state[task] = 0
			}
		}
		maps.DeleteFunc(q.caughtUp, func(task record.TaskID, _ bool) bool {
			_, follows := q.following[task]
			return !follows
		})
	}
	p.last = to
	if !changed {
		require.Equal(p.t, least, p.moves-moves+p.leastMoves(), "the rest of the way is longer than it was")
	}
	return len(withheld) > 0
}

// fail ends the test. Checks of every task call it themselves: require would look at each value by reflection.
func (p *play) fail(format string, args ...any) {
	p.t.Helper()
	require.FailNow(p.t, fmt.Sprintf(format, args...))
}

// check checks all that holds of every placement.
func (p *play) check(to Placement, now map[string][]record.TaskID) {
	active, runs := p.checkOwners(to, now)
	warming := p.checkWarmups(to, active, runs)
	copies := make(map[record.TaskID]int)
	for id, tasks := range to.Standby {
		for _, task := range tasks {
			copies[task]++
			switch {
			case !p.o.Stateful(task):
				p.fail("a standby of %v, which has no state", task)
			case active[task] == id:
				p.fail("a standby of %v at its owner", task)
			case slices.Contains(to.Warmup[id], task):
				p.fail("a standby of %v beside its warm-up", task)
			}
		}
		require.Len(p.t, slices.Compact(slices.Clone(tasks)), len(tasks))
	}
	for _, task := range p.tasks {
		others := len(p.peers) - 1
		if warming[task] && !slices.Contains(to.Warmup[active[task]], task) {
			others--
		}
		if want := min(p.o.StandbyReplicas, others); p.o.Stateful(task) && copies[task] != want {
			p.fail("%d standbys of %v, want %d", copies[task], task, want)
		}
	}
}

// checkOwners returns who shall run each task, and who runs it for now.
func (p *play) checkOwners(to Placement, now map[string][]record.TaskID) (active, runs map[record.TaskID]string) {
	active, runs = make(map[record.TaskID]string), make(map[record.TaskID]string)
	for id, tasks := range to.Active {
		for _, task := range tasks {
			if active[task] != "" {
				p.fail("%v is active twice", task)
			}
			active[task] = id
		}
	}
	require.Len(p.t, active, len(p.tasks))
	for id, tasks := range now {
		for _, task := range tasks {
			if runs[task] != "" {
				p.fail("%v runs twice", task)
			}
			runs[task] = id
		}
	}
	for id, q := range p.peers {
		for _, task := range q.Owned {
			if by, ok := runs[task]; ok && by != id {
				p.fail("%v starts at %s before its owner %s gave it up", task, by, id)
			}
			if at := active[task]; at != id && p.o.Stateful(task) {
				position, ok := p.peers[at].state[task]
				if !ok || p.o.Ends[task]-position > p.o.AcceptableLag && !p.peers[at].caughtUp[task] {
					p.fail("%v moves to %s, which is behind", task, at)
				}
			}
		}
	}
	return active, runs
}

// checkWarmups returns which tasks have one.
func (p *play) checkWarmups(to Placement, active, runs map[record.TaskID]string) map[record.TaskID]bool {
	warmups, warming := 0, make(map[record.TaskID]bool)
	for id, tasks := range to.Warmup {
		for _, task := range tasks {
			switch {
			case !p.o.Stateful(task):
				p.fail("a warm-up of %v, which has no state", task)
			case runs[task] == id:
				p.fail("a warm-up of %v at its owner", task)
			case warming[task]:
				p.fail("two warm-ups of %v", task)
			}
			warming[task] = true
			if active[task] != id {
				warmups++
			}
		}
	}
	require.LessOrEqual(p.t, warmups, p.o.MaxWarmups)
	require.GreaterOrEqual(p.t, to.Waiting, warmups)
	return warming
}

// catchUp lets standbys and warm-ups restore and owners write, and reports whether a warm-up asks for a rebalance.
func (p *play) catchUp() (asks bool) {
	for _, id := range slices.Sorted(maps.Keys(p.peers)) {
		for _, task := range p.peers[id].Owned {
			p.o.Ends[task] += int64(p.r.IntN(50))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.peers)) {
		q := p.peers[id]
		for _, task := range slices.SortedFunc(maps.Keys(q.following), record.TaskID.Compare) {
			if end := p.o.Ends[task]; p.r.IntN(3) > 0 {
				q.state[task] = end
			} else {
				q.state[task] += int64(p.r.IntN(int(end-q.state[task]) + 1))
			}
			if p.o.Ends[task]-q.state[task] <= p.o.AcceptableLag { // and stays so: it follows as fast as is written
				q.caughtUp[task] = true
				asks = asks || q.following[task]
			}
		}
	}
	return asks
}

// settle rebalances until nothing asks for it any more, and checks that the group is balanced then, and idle.
func (p *play) settle() {
	again := p.rebalance(true)
	for rounds := 0; again || p.last.Waiting > 0; rounds++ {
		require.Less(p.t, rounds, 20+4*len(p.tasks), "does not settle")
		if asks := p.catchUp(); again || asks {
			again = p.rebalance(false)
		}
	}
	requireBalanced(p.t, p.tasks, p.members(), p.last.Active)
	before := p.last
	p.rebalance(false)
	require.Equal(p.t, before, p.last, "an idle rebalance changes something")
	p.checkStandbys()
}

// checkStandbys checks that standbys are balanced, as far as their members may have them.
func (p *play) checkStandbys() {
	ids := slices.Sorted(maps.Keys(p.peers))
	holds := make(map[string]map[record.TaskID]bool)
	owner := make(map[record.TaskID]string)
	all, equal, running, most := 0, true, 0, 0
	for _, id := range ids {
		holds[id] = make(map[record.TaskID]bool)
		for _, task := range p.last.Standby[id] {
			holds[id][task] = true
		}
		stateful := 0
		for _, task := range p.last.Active[id] {
			owner[task] = id
			if p.o.Stateful(task) {
				stateful++
			}
		}
		running, most = running+stateful, max(most, stateful)
		all += len(holds[id])
		equal = equal && p.peers[id].weight() == p.peers[ids[0]].weight()
	}
	// If a copy can move from a to b, a reaches b; and so over several members, each of which passes one on.
	reaches := make(map[[2]string]bool)
	for _, a := range ids {
		for _, b := range ids {
			for task := range holds[a] {
				if owner[task] != b && !holds[b][task] &&
					p.spread(task, holds, owner, a, b) >= p.spread(task, holds, owner, "", "") {
					reaches[[2]string{a, b}] = true
				}
			}
		}
	}
	if len(p.o.RackTags) == 0 {
		for _, by := range ids {
			for _, a := range ids {
				for _, b := range ids {
					if reaches[[2]string{a, by}] && reaches[[2]string{by, b}] {
						reaches[[2]string{a, b}] = true
					}
				}
			}
		}
	}
	squares := func(a, b string) float64 {
		sum := 0.0
		for _, id := range ids {
			n := float64(len(holds[id]))
			if id == a {
				n--
			}
			if id == b {
				n++
			}
			sum += n * n / float64(p.peers[id].weight())
		}
		return sum
	}
	for ab := range reaches {
		require.GreaterOrEqual(p.t, squares(ab[0], ab[1])+1e-6, squares("", ""),
			"a standby could move from %s to %s", ab[0], ab[1])
	}
	// Then a share of them is possible for everybody, see standbys.
	k := min(p.o.StandbyReplicas, len(ids)-1)
	if equal && len(p.o.RackTags) == 0 && most*len(ids) <= running*(len(ids)-k) {
		for _, id := range ids {
			requireShare(p.t, len(holds[id]), int64(all), int64(len(ids)), "standbys of %s", id)
		}
	}
}

// spread is over how many values of the tags the copies of a task are, besides those of its owner, if one of them
// moved.
func (p *play) spread(
	task record.TaskID, holds map[string]map[record.TaskID]bool, owner map[record.TaskID]string, from, to string,
) int {
	n := 0
	for _, key := range p.o.RackTags {
		values := make(map[string]bool)
		for id := range holds {
			if holds[id][task] && id != from || id == to {
				values[p.peers[id].Tags[key]] = true
			}
		}
		delete(values, p.peers[owner[task]].Tags[key])
		n += len(values)
	}
	return n
}

// leastMoves is how many tasks have to leave their owners, at least.
func (p *play) leastMoves() int {
	members := p.members()
	target, err := Assign(p.tasks, members)
	require.NoError(p.t, err)
	n := 0
	for i := range members {
		for _, task := range members[i].Owned {
			if !slices.Contains(target[members[i].ID], task) {
				n++
			}
		}
	}
	return n
}

// TestRandomClustersPlace plays clusters with state: whatever comes and goes, they settle in balance, and move no more
// than has to be. TIDEMARK_SEED repeats a run from that seed on, TIDEMARK_ASSIGN_RUNS says how many clusters it has.
func TestRandomClustersPlace(t *testing.T) {
	first := newSeed(t)
	runs := 150
	if s := os.Getenv("TIDEMARK_ASSIGN_RUNS"); s != "" {
		var err error
		runs, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for n := range runs {
		seed := first + uint64(n)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { playSeed(t, seed) })
	}
}

func playSeed(t *testing.T, seed uint64) {
	t.Helper()
	newPlay(t, rand.New(rand.NewPCG(seed, 0))).play(12)
}

func (p *play) play(events int) {
	defer func() {
		if p.t.Failed() {
			p.t.Log("history:")
			for _, n := range p.history {
				p.t.Log(n)
			}
		}
	}()
	equal := p.r.IntN(2) == 0
	weight := func() int {
		if equal {
			return 1
		}
		return 1 + p.r.IntN(4)
	}
	p.join(weight())
	p.settle()
	for range events {
		switch n := p.r.IntN(5); {
		case n == 0 && len(p.peers) > 1: // crash, or leave
			p.leave()
			p.settle()
		case n == 1 && len(p.peers) > 1: // restart, faster than anybody notices
			p.settle()
			before := p.last.Active
			p.back(p.leave())
			p.settle()
			require.Equal(p.t, before, p.last.Active, "a restart moves tasks")
		case n == 2: // in the middle of what is going on
			p.join(weight())
			p.rebalance(true)
			p.catchUp()
		default:
			p.settle() // what is being handed over would be free to go anywhere
			p.join(weight())
			least := p.leastMoves()
			p.moves = 0
			p.settle()
			require.Equal(p.t, least, p.moves, "moves more than it has to")
		}
		if len(p.peers) > 8 {
			p.leave()
			p.settle()
		}
	}
	p.settle()
}

// largeGroup is a group of the size that has to be placed within a second: 100 members, the last of which is new, with
// 10,000 tasks, and a standby of each.
func largeGroup(tb testing.TB) ([]record.TaskID, []Member, Options) {
	tb.Helper()
	tasks := tasksOf(3000, 3000, 1500, 1000, 500, 500, 200, 100, 100, 100)
	o := Options{
		Stateful: everyTask, Ends: make(map[record.TaskID]int64), AcceptableLag: 10_000, StandbyReplicas: 1, MaxWarmups: 2,
		RackTags: []string{"zone"},
	}
	for n, task := range tasks {
		o.Ends[task] = 1<<40 + int64(n)
	}
	members := make([]Member, 100)
	for i := range members {
		members[i] = Member{
			ID: fmt.Sprintf("m%02d", i), Workers: 4, Tags: map[string]string{"zone": fmt.Sprintf("zone-%d", i%3)},
		}
	}
	p, err := Place(tasks, members[:99], o)
	require.NoError(tb, err)
	for i := range members {
		m := &members[i]
		m.Owned, m.Following = p.Active[m.ID], p.Standby[m.ID]
		m.Previous = append(slices.Clone(m.Owned), m.Following...)
		m.Positions = make(map[record.TaskID]int64)
		for _, task := range m.Following {
			m.Positions[task] = o.Ends[task] - 5
		}
	}
	return tasks, members, o
}

func BenchmarkPlace(b *testing.B) {
	tasks, members, o := largeGroup(b)
	restarted := slices.Clone(members) // all at once: everything is idle
	for i := range restarted {
		restarted[i].Owned, restarted[i].Following = nil, nil
	}
	crashed := members[1:]
	many := tasksOf(slices.Repeat([]int32{100}, 100)...) // many small sub-topologies
	for _, bm := range []struct {
		name    string
		tasks   []record.TaskID
		members []Member
	}{
		{"scale-out", tasks, members},
		{"crash", tasks, crashed},
		{"restart", tasks, restarted},
		{"small-subtopologies", many, members[:97]},
		{"first", tasks, members[99:]},
	} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				_, _ = Place(bm.tasks, bm.members, o)
			}
		})
	}
}
