package cases

import (
	"slices"
	"strings"
)

// merger makes one aggregate of those of two sessions.
type merger func(k, a, b text) text

func mergerOf(spec string) (merger, error) {
	return lookup("merger", map[string]func(c call) merger{
		"concat": func(c call) merger {
			return eitherSide(func(a, b text) text { return Some(*a + c.arg(0) + *b) })
		},
		"bag": func(c call) merger {
			return func(_, a, b text) text {
				all := append(list(a, c.arg(0)), list(b, c.arg(0))...)
				slices.Sort(all)
				return Some(strings.Join(all, c.arg(0)))
			}
		},
		"sum": func(call) merger {
			return func(_, a, b text) text { return decimal(integerOf(a) + integerOf(b)) }
		},
		"max": func(call) merger {
			return eitherSide(func(a, b text) text { return decimal(max(integerOf(a), integerOf(b))) })
		},
	}, spec)
}

// eitherSide gives the other side where one is null or empty.
func eitherSide(both func(a, b text) text) merger {
	return func(_, a, b text) text {
		switch {
		case empty(a):
			return b
		case empty(b):
			return a
		}
		return both(a, b)
	}
}
