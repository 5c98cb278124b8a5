package assign

import "slices"

// standbys places the copies of each task's state: for each task with state as many members as the options say, neither
// its owner nor who warms up for it, and fewer if there are no more. They are spread over the values of the rack tags,
// are balanced, and stay where they are, in this order.
//
// Copies have to stay put even more than tasks, since a new one reads the whole state. So first all stay that may, then
// the others are placed, and only then some move: those of a task that are spread worse than they could be, and those
// that are too many somewhere. None of that undoes what a call before has done: copies move to be spread better, or to
// be balanced better and spread no worse. So a call that finds what the one before has asked for changes nothing.
//
// Balanced means that no copy, nor any chain of them, can move and make the loads more even (standby_level.go). A
// share of the copies is not always possible, for nobody has a copy of what it runs: a member that runs nearly all
// tasks has next to none. Let k be the copies of each of n tasks, and let m members be of equal weight, without tags.
// If nobody runs more than m-k times its share of these tasks, n/m, then everybody gets n·k/m copies, rounded up or
// down: any members together have room enough beside what they run (Hall's theorem). With k = m-1 a copy is everywhere
// but at the owner, so that the copies are as even as the tasks.
func (c *cluster) standbys(active, warmups []int) [][]int {
	if c.StandbyReplicas <= 0 {
		return nil
	}
	s := newStandbyPlacer(c, active, warmups)
	for t := range c.tasks {
		s.stay(t)
	}
	for t := range c.tasks {
		for len(s.copies[t]) < s.wanted[t] {
			s.add(t)
		}
	}
	for t := range s.copies {
		s.respread(t)
	}
	s.level()
	for t := range s.copies {
		slices.Sort(s.copies[t])
	}
	return s.copies
}

type standbyPlacer struct {
	c               *cluster
	active, warmups []int
	copies          [][]int // by task, the members
	wanted          []int   // by task, how many
	load            []int   // by member, how many copies
	caps            []int   // by member, its share of all copies, rounded up
	at              [][]int // by member, the tasks it has copies of; while they are leveled
	tags            [][]int // by member and rack tag, a number for the value; 0: it has none
}

func newStandbyPlacer(c *cluster, active, warmups []int) *standbyPlacer {
	s := &standbyPlacer{
		c: c, active: active, warmups: warmups, copies: make([][]int, len(c.tasks)), wanted: make([]int, len(c.tasks)),
		load: make([]int, len(c.members)), caps: make([]int, len(c.members)), tags: make([][]int, len(c.members)),
	}
	var all int64
	for t := range c.tasks {
		if c.stateful[t] {
			free := c.staying
			if !c.members[active[t]].Leaving {
				free--
			}
			if warmups[t] >= 0 {
				free--
			}
			s.wanted[t] = min(c.StandbyReplicas, free)
		}
		all += int64(s.wanted[t])
	}
	values := make([]map[string]int, len(c.RackTags))
	for k := range values {
		values[k] = make(map[string]int)
	}
	for i := range c.members {
		s.caps[i] = int((all*c.members[i].weight() + c.weights - 1) / c.weights)
		s.tags[i] = make([]int, len(c.RackTags))
		for k, key := range c.RackTags {
			if value, ok := c.members[i].Tags[key]; ok {
				if values[k][value] == 0 {
					values[k][value] = len(values[k]) + 1
				}
				s.tags[i][k] = values[k][value]
			}
		}
	}
	return s
}

// allowed reports whether a member can have a copy of a task, besides those it has.
func (s *standbyPlacer) allowed(t, i int) bool {
	return i != s.active[t] && i != s.warmups[t] && !slices.Contains(s.copies[t], i) && !s.c.members[i].Leaving
}

// spread is by how many tags a member differs from the owner of a task and from the given copies of it, but for the
// one at the member but.
func (s *standbyPlacer) spread(t, i int, copies []int, but int) int {
	n := 0
	for k, value := range s.tags[i] {
		differs := value != 0 && value != s.tags[s.active[t]][k]
		for _, j := range copies {
			differs = differs && (j == i || j == but || value != s.tags[j][k])
		}
		if differs {
			n++
		}
	}
	return n
}

// stay keeps the copies that are there.
func (s *standbyPlacer) stay(t int) {
	for _, h := range s.c.holders[t] {
		if h.open && s.allowed(t, h.member) && len(s.copies[t]) < s.wanted[t] {
			s.copies[t] = append(s.copies[t], h.member)
			s.load[h.member]++
		}
	}
}

// respread chooses other copies of a task if they are spread better over the racks than those that it has. How well
// that is possible follows from the tags alone, so that a later call finds no reason to choose again.
func (s *standbyPlacer) respread(t int) {
	have := s.spreadOf(t, s.copies[t])
	if have == len(s.c.RackTags)*s.wanted[t] {
		return
	}
	var best []int
	for range s.copies[t] {
		best = append(best, s.widest(t, best))
	}
	if have >= s.spreadOf(t, best) {
		return
	}
	for _, i := range s.copies[t] {
		s.load[i]--
	}
	var near []int
	for range s.copies[t] {
		near = append(near, s.choose(t, near, nil))
	}
	if s.spreadOf(t, near) >= s.spreadOf(t, best) { // of several tags it may take the wrong ones first
		best = near
	}
	s.copies[t] = best
	for _, i := range best {
		s.load[i]++
	}
}

// spreadOf is over how many values of the tags copies are, besides those of the owner.
func (s *standbyPlacer) spreadOf(t int, copies []int) (n int) {
	for k, i := range copies {
		n += s.spread(t, i, copies[:k], i)
	}
	return n
}

// widest returns the first of the members that spread the copies of a task most.
func (s *standbyPlacer) widest(t int, copies []int) int {
	best, most := -1, -1
	for i := range s.c.members {
		if i == s.active[t] || i == s.warmups[t] || slices.Contains(copies, i) {
			continue
		}
		if n := s.spread(t, i, copies, i); n > most {
			best, most = i, n
		}
	}
	return best
}

// add places one more copy.
func (s *standbyPlacer) add(t int) {
	i := s.choose(t, s.copies[t], nil)
	s.copies[t] = append(s.copies[t], i)
	s.load[i]++
}

// choose returns the best member for one more copy of a task beside the given ones, of those that may; nil: all may.
// It is -1 if none may.
func (s *standbyPlacer) choose(t int, copies []int, may func(i int) bool) int {
	near := make([]standing, len(s.c.members))
	for _, h := range s.c.holders[t] {
		near[h.member] = h.standing
	}
	if i := s.c.owner[t]; i >= 0 {
		near[i] = standings // who hands the task over has all of it
	}
	best := -1
	var bestSpread int
	for i := range s.c.members {
		if i == s.active[t] || i == s.warmups[t] || slices.Contains(copies, i) || s.c.members[i].Leaving ||
			may != nil && !may(i) {
			continue
		}
		spread := s.spread(t, i, copies, i)
		if best < 0 || spread > bestSpread || spread == bestSpread && s.better(i, best, near) {
			best, bestSpread = i, spread
		}
	}
	return best
}

// better reports whether member a should get a copy rather than b, if the racks are the same to it.
func (s *standbyPlacer) better(a, b int, near []standing) bool {
	if full := s.load[a] >= s.caps[a]; full != (s.load[b] >= s.caps[b]) {
		return !full
	}
	if near[a] != near[b] {
		return near[a] > near[b]
	}
	return s.c.compareLoad(s.load, a, b) < 0
}
