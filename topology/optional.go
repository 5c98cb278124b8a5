package topology

// Optional is a value that may be absent: the side of a left or outer join that has no match. Value is the zero value
// then. It is passed by value, so that joining allocates nothing, and what a joiner keeps of it stays as it is.
type Optional[V any] struct {
	Value   V
	Present bool
}

// Some returns a present value.
func Some[V any](value V) Optional[V] { return Optional[V]{Value: value, Present: true} }

// Or returns the value, or other if there is none.
func (o Optional[V]) Or(other V) V {
	if o.Present {
		return o.Value
	}
	return other
}
