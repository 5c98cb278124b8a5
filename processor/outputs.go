package processor

import (
	"fmt"
	"reflect"

	"github.com/tidemarkio/tidemark/record"
)

// Outputs is the [Attacher] that nodes embed: the children of a node, joined once per task. Records pass by value and
// are never boxed. The zero value has no children. Owned by the task goroutine.
type Outputs[K, V any] struct {
	// single is the only child: most nodes have one, and it is worth not to loop for it.
	single Receiver[K, V]
	all    []Receiver[K, V]
}

var _ Attacher = (*Outputs[string, string])(nil)

// Attach adds a child. It fails if the child does not take records of type K, V.
func (o *Outputs[K, V]) Attach(name string, child any) error {
	r, ok := child.(Receiver[K, V])
	if !ok {
		return fmt.Errorf("processor: node %q takes %s, but its parent gives %s", name, inputType(child),
			reflect.TypeFor[record.Record[K, V]]())
	}
	o.all = append(o.all, r)
	o.single = r
	if len(o.all) > 1 {
		o.single = nil
	}
	return nil
}

// Forward hands r to every child in the order in which they were attached; each finishes with all its descendants
// before the next. The first error ends it.
func (o *Outputs[K, V]) Forward(r record.Record[K, V]) error {
	if o.single != nil {
		return o.single.Receive(r)
	}
	for _, child := range o.all {
		if err := child.Receive(r); err != nil {
			return err
		}
	}
	return nil
}

// Len returns the number of children.
func (o *Outputs[K, V]) Len() int { return len(o.all) }

// inputType names what a node takes, for an error message at build time.
func inputType(node any) string {
	if node == nil {
		return "nothing"
	}
	if m, ok := reflect.TypeOf(node).MethodByName("Receive"); ok && m.Type.NumIn() == 2 {
		return m.Type.In(1).String()
	}
	return fmt.Sprintf("no records (%T)", node)
}
