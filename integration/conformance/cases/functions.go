package cases

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The functions of a case are written "name:arg:arg". Each kind has its table; a name that is not in it is an error of
// the case, and not an operator that is missing.

type (
	predicate  func(key keyText, value text) bool
	valueFunc  func(key keyText, value text) text
	keyFunc    func(key keyText, value text) text
	listFunc   func(value text) []text
	pairFunc   func(key keyText, value text) [][2]text
	aggregator func(key keyText, value, aggregate text) text
	reducer    func(a, b text) text
	joiner     func(key keyText, left, right text) text
)

// call is a function's name and arguments.
type call struct {
	name string
	args []string
}

func parseCall(s string) call {
	parts := strings.Split(s, ":")
	return call{parts[0], parts[1:]}
}

// arg returns the i-th argument, "" if there is none.
func (c call) arg(i int) string {
	if i >= len(c.args) {
		return ""
	}
	return c.args[i]
}

// number returns the i-th argument as a number; 0 if it is none.
func (c call) number(i int) int64 { return integer(c.arg(i)) }

// lookup finds a function by name and gives it its arguments.
func lookup[F any](kind string, table map[string]func(c call) F, spec string) (F, error) {
	c := parseCall(spec)
	with, ok := table[c.name]
	if !ok {
		var none F
		return none, fmt.Errorf("conformance: unknown %s %q", kind, spec)
	}
	return with(c), nil
}

// Some is a text that is not null.
func Some(s string) Text { return &s }

// show is a null or a text as text.
func show(t text) string {
	if t == nil {
		return "null"
	}
	return *t
}

// empty reports null or "".
func empty(t text) bool { return t == nil || *t == "" }

func integerOf(t text) int64 {
	if t == nil {
		return 0
	}
	return integer(*t)
}

// integer is the number that s is, 0 if it is none.
func integer(s string) int64 {
	if !isInteger(s) {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func isInteger(s string) bool { return integerForm.MatchString(s) }

var integerForm = regexp.MustCompile(`^-?[0-9]{1,9}$`)

func decimal(n int64) text { return Some(strconv.FormatInt(n, 10)) }

// joined appends b to a list in text.
func joined(a text, sep, b string) text {
	if empty(a) {
		return Some(b)
	}
	return Some(*a + sep + b)
}

// list splits a text; null and "" have no elements.
func list(t text, sep string) []string {
	if empty(t) {
		return nil
	}
	return strings.Split(*t, sep)
}

// field is the i-th part of a text, null if it is missing or empty.
func field(value text, i int64, sep string) text {
	parts := list(value, sep)
	if i < 0 || i >= int64(len(parts)) || parts[i] == "" {
		return nil
	}
	return Some(parts[i])
}

func prefix(s string, n int64) string { return s[:min(int(n), len(s))] }

// without is a list without its first element equal to s.
func without(t text, sep, s string) text {
	parts := list(t, sep)
	i := slices.Index(parts, s)
	if i < 0 {
		return t
	}
	return Some(strings.Join(slices.Delete(parts, i, i+1), sep))
}

func predicateOf(spec string) (predicate, error) {
	value := func(test func(v string) bool) predicate {
		return func(_ keyText, v text) bool { return v != nil && test(*v) }
	}
	constant := func(result bool) func(call) predicate {
		return func(call) predicate { return func(keyText, text) bool { return result } }
	}
	return lookup("predicate", map[string]func(c call) predicate{
		"true":           constant(true),
		"false":          constant(false),
		"value_not_null": func(call) predicate { return value(func(string) bool { return true }) },
		"key_not_null":   func(call) predicate { return func(k keyText, _ text) bool { return k.shown != nil } },
		"value_len_gt": func(c call) predicate {
			return value(func(v string) bool { return int64(len(v)) > c.number(0) })
		},
		"value_contains": func(c call) predicate {
			return value(func(v string) bool { return strings.Contains(v, c.arg(0)) })
		},
		"value_starts": func(c call) predicate {
			return value(func(v string) bool { return strings.HasPrefix(v, c.arg(0)) })
		},
		"key_in": func(c call) predicate {
			keys := strings.Split(c.arg(0), ",")
			return func(k keyText, _ text) bool { return k.shown != nil && slices.Contains(keys, *k.shown) }
		},
		"int_gt": func(c call) predicate {
			return value(func(v string) bool { return isInteger(v) && integer(v) > c.number(0) })
		},
		"int_even": func(call) predicate {
			return value(func(v string) bool { return isInteger(v) && integer(v)%2 == 0 })
		},
	}, spec)
}

func valueFuncOf(spec string) (valueFunc, error) {
	value := func(f func(c call, v string) string) func(call) valueFunc {
		return func(c call) valueFunc {
			return func(_ keyText, v text) text {
				if v == nil {
					return nil
				}
				return Some(f(c, *v))
			}
		}
	}
	return lookup("value function", map[string]func(c call) valueFunc{
		"identity": value(func(_ call, v string) string { return v }),
		"upper":    value(func(_ call, v string) string { return strings.ToUpper(v) }),
		"lower":    value(func(_ call, v string) string { return strings.ToLower(v) }),
		"append":   value(func(c call, v string) string { return v + c.arg(0) }),
		"prepend":  value(func(c call, v string) string { return c.arg(0) + v }),
		"prefix":   value(func(c call, v string) string { return prefix(v, c.number(0)) }),
		"len":      value(func(_ call, v string) string { return strconv.Itoa(len(v)) }),
		"int_add":  value(func(c call, v string) string { return *decimal(integer(v) + c.number(0)) }),
		"int_mul":  value(func(c call, v string) string { return *decimal(integer(v) * c.number(0)) }),
		"reverse": value(func(_ call, v string) string {
			b := []byte(v)
			slices.Reverse(b)
			return string(b)
		}),
		"null_if_contains": func(c call) valueFunc {
			return func(_ keyText, v text) text {
				if v != nil && strings.Contains(*v, c.arg(0)) {
					return nil
				}
				return v
			}
		},
		"with_key": func(c call) valueFunc {
			return func(k keyText, v text) text {
				if v == nil {
					return nil
				}
				return Some(show(k.shown) + c.arg(0) + *v)
			}
		},
		"field": func(c call) valueFunc {
			return func(_ keyText, v text) text { return field(v, c.number(0), c.arg(1)) }
		},
		"const": func(c call) valueFunc { return func(keyText, text) text { return Some(c.arg(0)) } },
		"null_to": func(c call) valueFunc {
			return func(_ keyText, v text) text {
				if v == nil {
					return Some(c.arg(0))
				}
				return v
			}
		},
	}, spec)
}

func keyFuncOf(spec string) (keyFunc, error) {
	key := func(f func(c call, k string) string) func(call) keyFunc {
		return func(c call) keyFunc {
			return func(k keyText, _ text) text {
				if k.shown == nil {
					return nil
				}
				return Some(f(c, *k.shown))
			}
		}
	}
	return lookup("key function", map[string]func(c call) keyFunc{
		"key":        key(func(_ call, k string) string { return k }),
		"key_upper":  key(func(_ call, k string) string { return strings.ToUpper(k) }),
		"key_prefix": key(func(c call, k string) string { return prefix(k, c.number(0)) }),
		"key_append": key(func(c call, k string) string { return k + c.arg(0) }),
		"window_key": func(call) keyFunc { return func(k keyText, _ text) text { return k.plain } },
		"key_value":  func(call) keyFunc { return func(_ keyText, v text) text { return v } },
		"key_field": func(c call) keyFunc {
			return func(_ keyText, v text) text { return field(v, c.number(0), c.arg(1)) }
		},
		"key_value_prefix": func(c call) keyFunc {
			return func(_ keyText, v text) text {
				if empty(v) {
					return nil
				}
				return Some(prefix(*v, c.number(0)))
			}
		},
		"key_const": func(c call) keyFunc { return func(keyText, text) text { return Some(c.arg(0)) } },
		"key_mod": func(c call) keyFunc {
			return func(_ keyText, v text) text {
				n := c.number(0)
				return Some("m" + strconv.FormatInt((integerOf(v)%n+n)%n, 10))
			}
		},
		"key_null_if_contains": func(c call) keyFunc {
			return func(k keyText, v text) text {
				if v != nil && strings.Contains(*v, c.arg(0)) {
					return nil
				}
				return k.shown
			}
		},
	}, spec)
}

func listFuncOf(spec string) (listFunc, error) {
	return lookup("list function", map[string]func(c call) listFunc{
		"split": func(c call) listFunc {
			return func(v text) []text { return nonEmpty(list(v, c.arg(0))) }
		},
		"chars": func(call) listFunc {
			return func(v text) []text { return nonEmpty(list(v, "")) }
		},
		"repeat": func(c call) listFunc {
			return func(v text) []text { return slices.Repeat([]text{v}, int(c.number(0))) }
		},
	}, spec)
}

func nonEmpty(parts []string) []text {
	var out []text
	for _, p := range parts {
		if p != "" {
			out = append(out, Some(p))
		}
	}
	return out
}

func pairFuncOf(spec string) (pairFunc, error) {
	return lookup("pair function", map[string]func(c call) pairFunc{
		"explode": func(c call) pairFunc {
			return func(_ keyText, v text) (pairs [][2]text) {
				for _, p := range nonEmpty(list(v, c.arg(0))) {
					pairs = append(pairs, [2]text{p, p})
				}
				return pairs
			}
		},
		"split_rekey": func(c call) pairFunc {
			return func(k keyText, v text) (pairs [][2]text) {
				for _, p := range nonEmpty(list(v, c.arg(0))) {
					pairs = append(pairs, [2]text{p, Some(show(k.shown))})
				}
				return pairs
			}
		},
		"fan": func(c call) pairFunc {
			return func(k keyText, v text) (pairs [][2]text) {
				for i := range c.number(0) {
					pairs = append(pairs, [2]text{Some(show(k.shown) + "#" + strconv.FormatInt(i, 10)), v})
				}
				return pairs
			}
		},
	}, spec)
}

func aggregatorOf(spec string) (aggregator, error) {
	count := func(by int64) func(call) aggregator {
		return func(call) aggregator {
			return func(_ keyText, _, agg text) text { return decimal(integerOf(agg) + by) }
		}
	}
	add := func(sign int64) func(call) aggregator {
		return func(call) aggregator {
			return func(_ keyText, v, agg text) text { return decimal(integerOf(agg) + sign*integerOf(v)) }
		}
	}
	extreme := func(sign int64) func(call) aggregator {
		return func(call) aggregator {
			return func(_ keyText, v, agg text) text {
				if empty(agg) || sign*integerOf(v) > sign*integerOf(agg) {
					return decimal(integerOf(v))
				}
				return agg
			}
		}
	}
	remove := func(c call) aggregator {
		return func(_ keyText, v, agg text) text { return without(agg, c.arg(0), show(v)) }
	}
	return lookup("aggregator", map[string]func(c call) aggregator{
		"concat": func(c call) aggregator {
			return func(_ keyText, v, agg text) text { return joined(agg, c.arg(0), show(v)) }
		},
		"concat_keyed": func(c call) aggregator {
			return func(k keyText, v, agg text) text { return joined(agg, c.arg(0), show(k.shown)+"="+show(v)) }
		},
		"concat_null_if": func(c call) aggregator {
			return func(_ keyText, v, agg text) text {
				if strings.Contains(show(v), c.arg(1)) {
					return nil
				}
				return joined(agg, c.arg(0), show(v))
			}
		},
		"label": func(c call) aggregator {
			return func(_ keyText, v, agg text) text { return joined(agg, c.arg(1), c.arg(0)+show(v)) }
		},
		"sum":        add(1),
		"sub":        add(-1),
		"inc":        count(1),
		"dec":        count(-1),
		"max":        extreme(1),
		"min":        extreme(-1),
		"last":       func(call) aggregator { return func(_ keyText, v, _ text) text { return Some(show(v)) } },
		"keep":       func(call) aggregator { return func(_ keyText, _, agg text) text { return agg } },
		"remove":     remove,
		"bag_remove": remove,
		"bag": func(c call) aggregator {
			return func(_ keyText, v, agg text) text {
				all := append(list(agg, c.arg(0)), show(v))
				slices.Sort(all)
				return Some(strings.Join(all, c.arg(0)))
			}
		},
		"bag_remove_null": func(c call) aggregator {
			return func(_ keyText, v, agg text) text {
				if rest := without(agg, c.arg(0), show(v)); !empty(rest) {
					return rest
				}
				return nil
			}
		},
	}, spec)
}

func reducerOf(spec string) (reducer, error) {
	extreme := func(sign int64) func(call) reducer {
		return func(call) reducer {
			return func(a, b text) text {
				if sign*integerOf(b) > sign*integerOf(a) {
					return b
				}
				return a
			}
		}
	}
	return lookup("reducer", map[string]func(c call) reducer{
		"concat": func(c call) reducer { return func(a, b text) text { return Some(show(a) + c.arg(0) + show(b)) } },
		"sum":    func(call) reducer { return func(a, b text) text { return decimal(integerOf(a) + integerOf(b)) } },
		"sub":    func(call) reducer { return func(a, b text) text { return decimal(integerOf(a) - integerOf(b)) } },
		"max":    extreme(1),
		"min":    extreme(-1),
		"first":  func(call) reducer { return func(a, _ text) text { return a } },
		"last":   func(call) reducer { return func(_, b text) text { return b } },
		"null_if_contains": func(c call) reducer {
			return func(_, b text) text {
				if strings.Contains(show(b), c.arg(0)) {
					return nil
				}
				return b
			}
		},
		"remove": func(c call) reducer { return func(a, b text) text { return without(a, c.arg(0), show(b)) } },
	}, spec)
}

func joinerOf(spec string) (joiner, error) {
	both := func(c call, left, right text) text { return Some(show(left) + c.arg(0) + show(right)) }
	return lookup("joiner", map[string]func(c call) joiner{
		"pair": func(c call) joiner {
			return func(_ keyText, left, right text) text { return both(c, left, right) }
		},
		"keyed": func(call) joiner {
			return func(k keyText, left, right text) text {
				return Some(show(k.shown) + "=" + show(left) + "|" + show(right))
			}
		},
		"left":  func(call) joiner { return func(_ keyText, left, _ text) text { return left } },
		"right": func(call) joiner { return func(_ keyText, _, right text) text { return right } },
		"sum": func(call) joiner {
			return func(_ keyText, left, right text) text { return decimal(integerOf(left) + integerOf(right)) }
		},
		"null_if_right_contains": func(c call) joiner {
			return func(_ keyText, left, right text) text {
				if right != nil && strings.Contains(*right, c.arg(0)) {
					return nil
				}
				return Some(show(left) + "|" + show(right))
			}
		},
	}, spec)
}
