package assign

import "slices"

// level balances the copies: it moves some as long as that makes the loads per worker more even (see eases), and no
// copy is spread worse. In the end no copy can move for the better, nor can any chain of copies, each of which makes
// room for the next: then the loads are as even as they can be, given where copies may be.
//
// For that the fullest member is relieved, over the shortest chain to one with less; if there is no chain, it stays as
// it is, and so do all that its copies could go to, since those that are less full could do no more.
func (s *standbyPlacer) level() {
	s.relieve()
	s.at = make([][]int, len(s.load))
	for _, known := range []bool{false, true} { // what nobody has restored yet moves first
		for t, copies := range s.copies {
			for _, i := range copies {
				if s.c.holder(t, i).open == known {
					s.at[i] = append(s.at[i], t)
				}
			}
		}
	}
	for moved := true; moved; {
		moved = false
		done := make([]bool, len(s.load))
		for from := s.fullest(done); from >= 0; from = s.fullest(done) {
			if s.shift(from, done) {
				moved = true
			}
		}
	}
}

// relieve takes copies from members that have more than their share, and gives them to those with less that have the
// nearest state.
func (s *standbyPlacer) relieve() {
	for t := range s.copies {
		for n, from := range s.copies[t] {
			if s.load[from] <= s.caps[from] {
				continue
			}
			to := s.choose(t, s.copies[t], func(i int) bool { return s.load[i] < s.caps[i] && s.eases(from, i) })
			if to >= 0 && s.movable(t, from, to) {
				s.copies[t][n] = to
				s.load[from]--
				s.load[to]++
			}
		}
	}
}

// eases reports whether a copy less at one member and one more at another makes the loads more even: it lowers the sum
// of their squares, per worker. Between equals it does if they differ by more than one.
func (s *standbyPlacer) eases(from, to int) bool {
	return int64(2*s.load[from]-1)*s.c.members[to].weight() > int64(2*s.load[to]+1)*s.c.members[from].weight()
}

// movable reports whether the copy of a task may move from one member to another, and would be spread no worse.
func (s *standbyPlacer) movable(t, from, to int) bool {
	return s.allowed(t, to) && (len(s.c.RackTags) == 0 ||
		s.spread(t, to, s.copies[t], from) >= s.spread(t, from, s.copies[t], from))
}

// fullest returns the member with the most copies per worker, -1 if all are done.
func (s *standbyPlacer) fullest(done []bool) int {
	best := -1
	for i := range s.load {
		if !done[i] && (best < 0 ||
			int64(2*s.load[i]-1)*s.c.members[best].weight() > int64(2*s.load[best]-1)*s.c.members[i].weight()) {
			best = i
		}
	}
	return best
}

// step is how a search came to a member: with the copy of a task from another.
type step struct{ task, from int }

// shift moves copies along the shortest chain from a member to one that it eases, to the least loaded of those as near.
// If there is none, all members in reach are done; or only this one, if there was a chain that could not be followed.
func (s *standbyPlacer) shift(from int, done []bool) bool {
	steps := make([]step, len(s.load))
	seen := slices.Clone(done)
	seen[from] = true
	queue, failed := []int{from}, false
	for n := 0; n < len(queue); n++ {
		i, best := queue[n], -1
		for j := range s.load {
			if seen[j] {
				continue
			}
			k := slices.IndexFunc(s.at[i], func(t int) bool { return s.movable(t, i, j) })
			if k < 0 {
				continue
			}
			seen[j], steps[j] = true, step{s.at[i][k], i}
			queue = append(queue, j)
			if s.eases(from, j) && (best < 0 || s.c.compareLoad(s.load, j, best) < 0) {
				best = j
			}
		}
		if best >= 0 {
			if s.follow(steps, from, best) {
				return true
			}
			failed = true
		}
	}
	if failed { // members on the way may still move one of their own
		queue = queue[:1]
	}
	for _, i := range queue {
		done[i] = true
	}
	return false
}

// follow moves the copies of a chain, the last one first. Two may be of one task, of which one cannot move, as it would
// be spread worse beside the other: then nothing moves.
func (s *standbyPlacer) follow(steps []step, from, to int) bool {
	for last := to; to != from; to = steps[to].from {
		if st := steps[to]; s.movable(st.task, st.from, to) {
			s.move(st.task, st.from, to)
			continue
		}
		for ; last != to; last = steps[last].from {
			s.move(steps[last].task, last, steps[last].from)
		}
		return false
	}
	return true
}

// move moves the copy of a task from one member to another.
func (s *standbyPlacer) move(t, from, to int) {
	s.copies[t][slices.Index(s.copies[t], from)] = to
	k := slices.Index(s.at[from], t)
	s.at[from] = slices.Delete(s.at[from], k, k+1)
	s.at[to] = slices.Insert(s.at[to], 0, t)
	s.load[from]--
	s.load[to]++
}
