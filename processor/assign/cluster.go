package assign

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// cluster is the input in the order and the form in which the steps of Place need it: members and tasks are sorted,
// and from here on they are numbers.
type cluster struct {
	Options
	members []Member
	weights int64 // of all members
	staying int   // members that do not leave
	tasks   []record.TaskID
	subs    []span
	// owner is the member whose claim to run the task is believed; -1: nobody runs it.
	owner []int
	// claimed is owner as it was before idle tasks were given away.
	claimed []int
	// holders are the members that have something of the task's state, in the order of the members.
	holders  [][]holder
	stateful []bool
}

// span is a sub-topology: its tasks are those from from, below to.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

// unknownLag is the lag of state whose position, or whose end, is not known.
const unknownLag = math.MaxInt64

// standing is how near a member is to running a task that it does not run, the nearest last. A warm-up in progress is
// preferred to anything else, also to a standby that has caught up: otherwise targets would jump from one to the other.
type standing uint8

const (
	without   standing = iota
	stale              // local state that nobody follows: it is old, or its position is not known
	following          // a standby that has not caught up
	current            // a standby, or local state, that has caught up
	home               // local state that has caught up, of a member that has just come: it ran the task and is back
	warming            // a warm-up in progress
	warm               // a warm-up that has caught up
	standings
)

// holder is a member with state of a task.
type holder struct {
	member   int
	standing standing
	lag      int64
	open     bool // a standby or a warm-up follows the task now
}

// ready reports whether the member can take the task over at once.
func (h holder) ready() bool {
	return h.standing == current || h.standing == home || h.standing == warm
}

func newCluster(tasks []record.TaskID, members []Member, o Options) *cluster {
	c := &cluster{Options: o, members: sortedMembers(members)}
	if NobodyStays(c.members) { // then everything stays
		for i := range c.members {
			c.members[i].Leaving = false
		}
	}
	for i := range c.members {
		c.weights += c.members[i].weight()
		if !c.members[i].Leaving {
			c.staying++
		}
	}
	for _, group := range groupBySubtopology(tasks) {
		c.subs = append(c.subs, span{len(c.tasks), len(c.tasks) + len(group)})
		c.tasks = append(c.tasks, group...)
	}
	c.stateful = make([]bool, len(c.tasks))
	number := make(map[record.TaskID]int, len(c.tasks))
	for t, id := range c.tasks {
		number[id] = t
		c.stateful[t] = o.Stateful != nil && o.Stateful(id)
	}
	c.readOwners(number)
	c.claimed = slices.Clone(c.owner)
	c.readHolders(number)
	return c
}

// NobodyStays reports whether all members leave: then nobody can take their tasks, and they need not wait for that.
func NobodyStays(members []Member) bool {
	for i := range members {
		if !members[i].Leaving {
			return false
		}
	}
	return true
}

// sortedMembers brings the members into an order that does not depend on the broker's.
func sortedMembers(members []Member) []Member {
	ms := slices.Clone(members)
	slices.SortFunc(ms, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.ProcessID, b.ProcessID), cmp.Compare(a.ID, b.ID))
	})
	return ms
}

// groupBySubtopology returns the distinct tasks, sorted, one slice per sub-topology.
func groupBySubtopology(tasks []record.TaskID) [][]record.TaskID {
	sorted := slices.Clone(tasks)
	slices.SortFunc(sorted, record.TaskID.Compare)
	sorted = slices.Compact(sorted)
	var groups [][]record.TaskID
	for from := 0; from < len(sorted); {
		to := from + 1
		for to < len(sorted) && sorted[to].Subtopology == sorted[from].Subtopology {
			to++
		}
		groups = append(groups, sorted[from:to:to])
		from = to
	}
	return groups
}

// readOwners believes, of several claims to one task, the one of the newest generation: the others are zombies that
// the broker will not let commit. Two claims of one generation cannot both be true, so nobody is believed; then both
// give the task up (see Withhold). Claims to tasks that no longer exist are dropped.
func (c *cluster) readOwners(number map[record.TaskID]int) {
	c.owner = make([]int, len(c.tasks))
	disputed := make([]bool, len(c.tasks))
	for t := range c.owner {
		c.owner[t] = -1
	}
	for i := range c.members {
		for _, id := range c.members[i].Owned {
			t, exists := number[id]
			if !exists || c.owner[t] == i {
				continue
			}
			before := int32(math.MinInt32)
			if c.owner[t] >= 0 {
				before = c.members[c.owner[t]].Generation
			}
			switch now := c.members[i].Generation; {
			case c.owner[t] < 0 || now > before:
				c.owner[t], disputed[t] = i, false
			case now == before:
				disputed[t] = true
			}
		}
	}
	for t := range disputed {
		if disputed[t] {
			c.owner[t] = -1
		}
	}
}

// readHolders finds out where state is, and how far it is. What a member runs itself is not looked at, nor what one has
// that leaves.
func (c *cluster) readHolders(number map[record.TaskID]int) {
	c.holders = make([][]holder, len(c.tasks))
	for i := range c.members {
		m := &c.members[i]
		if m.Leaving {
			continue
		}
		at := func(id record.TaskID) *holder {
			t, exists := number[id]
			if !exists || c.owner[t] == i {
				return nil
			}
			if n := len(c.holders[t]); n == 0 || c.holders[t][n-1].member != i {
				c.holders[t] = append(c.holders[t], holder{member: i, standing: stale, lag: c.lag(m, id)})
			}
			return &c.holders[t][len(c.holders[t])-1]
		}
		for _, id := range m.Previous {
			if h := at(id); h != nil && h.lag <= c.AcceptableLag {
				h.standing = current
				if m.Generation < 0 {
					h.standing = home
				}
			}
		}
		for _, id := range m.Following {
			if h := at(id); h != nil {
				h.open, h.standing = true, following
				if h.lag <= c.AcceptableLag {
					h.standing = current
				}
			}
		}
		for _, id := range m.Ready {
			if h := at(id); h != nil {
				h.open, h.standing, h.lag = true, current, min(h.lag, max(c.AcceptableLag, 0))
			}
		}
		for _, id := range m.Warming {
			switch h := at(id); {
			case h == nil:
			case h.ready():
				h.open, h.standing = true, warm
			default:
				h.open, h.standing = true, warming
			}
		}
	}
}

// lag is how many records of a task a member lacks.
func (c *cluster) lag(m *Member, id record.TaskID) int64 {
	end, known := c.Ends[id]
	position, told := m.Positions[id]
	if !known || !told {
		return unknownLag
	}
	return max(end-position, 0)
}

// holder returns what a member has of a task that it does not run.
func (c *cluster) holder(t, member int) holder {
	for _, h := range c.holders[t] {
		if h.member == member {
			return h
		}
	}
	return holder{member: member, lag: unknownLag}
}
