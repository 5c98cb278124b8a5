package assign

import "slices"

// standbys places the copies of each task's state: for each task with state as many members as the options say, neither
// its owner nor who warms up for it, and fewer if there are no more. They are spread over the values of the rack tags,
// stay where they are, and are balanced, in this order.
//
// Copies have to stay put even more than tasks, since a new one reads the whole state. So first all stay that may, then
// the others are placed, and only then some move that are too many somewhere. None of that undoes what a call before
// has done: copies move to be spread better, or to be balanced better and spread no worse. So it comes to rest.
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
	floors, caps    []int   // by member, its share of all copies, rounded down and up
	tags            [][]int // by member and rack tag, a number for the value; 0: it has none
}

func newStandbyPlacer(c *cluster, active, warmups []int) *standbyPlacer {
	s := &standbyPlacer{
		c: c, active: active, warmups: warmups, copies: make([][]int, len(c.tasks)), wanted: make([]int, len(c.tasks)),
		load: make([]int, len(c.members)), floors: make([]int, len(c.members)), caps: make([]int, len(c.members)),
		tags: make([][]int, len(c.members)),
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
		share := all * c.members[i].weight()
		s.floors[i], s.caps[i] = int(share/c.weights), int((share+c.weights-1)/c.weights)
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

// spread is by how many tags a member differs from the owner of a task and from the given copies of it.
func (s *standbyPlacer) spread(t, i int, copies []int) int {
	n := 0
	for k, value := range s.tags[i] {
		differs := value != 0 && value != s.tags[s.active[t]][k]
		for _, j := range copies {
			differs = differs && (j == i || value != s.tags[j][k])
		}
		if differs {
			n++
		}
	}
	return n
}

// stay keeps the copies that are there, if no others would be spread better over the racks.
func (s *standbyPlacer) stay(t int) {
	var now []int
	for _, h := range s.c.holders[t] {
		if h.open && s.allowed(t, h.member) && len(now) < s.wanted[t] {
			now = append(now, h.member)
		}
	}
	if len(now) == 0 {
		return
	}
	if len(s.c.RackTags) > 0 {
		have, best := 0, 0
		for n, i := range now {
			have += s.spread(t, i, now[:n])
		}
		var ideal []int
		for range now {
			i := s.choose(t, ideal, nil)
			best += s.spread(t, i, ideal)
			ideal = append(ideal, i)
		}
		if have < best {
			now = ideal
		}
	}
	s.copies[t] = now
	for _, i := range now {
		s.load[i]++
	}
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
		spread := s.spread(t, i, copies)
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

// level takes copies from members that have more than their share, and then gives some to those that have less.
func (s *standbyPlacer) level() {
	roomy := func(i int) bool { return s.load[i] < s.caps[i] }
	for t := range s.copies {
		for n, i := range s.copies[t] {
			if s.load[i] <= s.caps[i] {
				continue
			}
			if to := s.choose(t, s.copies[t], roomy); to >= 0 {
				s.move(t, n, to)
			}
		}
	}
	for low := range s.load {
		for t := 0; t < len(s.copies) && s.load[low] < s.floors[low]; t++ {
			for n, i := range s.copies[t] {
				if s.load[i] > s.floors[i] && s.allowed(t, low) && s.move(t, n, low) {
					break
				}
			}
		}
	}
}

// move moves the n-th copy of a task to another member, unless it would be spread worse there.
func (s *standbyPlacer) move(t, n, to int) bool {
	from, others := s.copies[t][n], slices.Delete(slices.Clone(s.copies[t]), n, n+1)
	if s.spread(t, to, others) < s.spread(t, from, others) {
		return false
	}
	s.copies[t][n] = to
	s.load[from]--
	s.load[to]++
	return true
}
